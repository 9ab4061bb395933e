#!/usr/bin/python3
"""Who is who: the user map, addresses, names; `replay users`. And acting as others: Sudo over REST, tokens over GraphQL that are made, used
and taken away again, also after a kill and after answers that got lost."""
import csv
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TIME = "2024-01-02T03:04:05.678Z"
DRIVER = os.path.join(gstest.BUILD, "tests/e2e/persona_driver")


def member(mid, uid, name, email):
    return {"id": mid, "access_level": 30, "user_id": uid, "source_type": "Namespace", "created_at": TIME, "updated_at": TIME, "expires_at": None,
            "user": {"id": uid, "public_email": email, "username": name}}


GROUP = {"id": 10, "parent_id": None, "name": "Team", "path": "team", "visibility_level": 0, "project_creation_level": 2, "subgroup_creation_level": 1}
TREE = {10: {"self": GROUP, "members": [member(91, 1, "ann", "ann@here.example"), member(92, 2, "bob", ""), member(93, 3, "cat", "nobody@here.example"),
                                        member(94, 4, "dan", ""), member(95, 5, "eve", "eve@here.example"), member(96, 6, "fay, the \"first\"", "")]}}
USERS = {"users": [{"id": 1, "username": "root", "email": "root@there.example", "admin": True}, {"id": 2, "username": "loader", "email": "loader@there.example"},
                   {"id": 101, "username": "a.there", "email": "ann@here.example", "public_email": "ann@here.example"},
                   {"id": 102, "username": "Bob", "email": "b@there.example"}, {"id": 103, "username": "cat", "email": "c@there.example"},
                   {"id": 104, "username": "dan", "email": "d@there.example", "state": "blocked"}, {"id": 105, "username": "e.there", "email": "e@there.example"}],
         "tokens": {"admin": "root", "owner": "loader"}}

with gstest.scratch() as d:
    key = gstest.keygen(d)
    pack = gstest.bundle(d, key, TREE, "pack")
    with open(os.path.join(d, "map.csv"), "w") as f:
        f.write("source_username,target_username\neve,e.there\n")
    with gstest.Target(d, "people", "--version", "17.8.1-ee", "--tier", "premium", users=USERS) as sim:
        def users(*args, code=0):
            r = gstest.replay("users", pack, "--trust", "key.pub", "--url", sim.url, *args, token=sim.tokens["owner"], cwd=d)
            t.is_eq(r.code, code, "users " + " ".join(args), str(r))
            return r

        def who(r):
            return {x["source_username"]: (x["target_username"], x["how"]) for x in r.json()["people"]}

        before = sim.dump()
        got = users("--json")
        none = {"ann": ("a.there", "email"), "bob": (None, "none:no-public-email"), "cat": (None, "none:not-found"), "dan": (None, "none:no-public-email"),
                "eve": (None, "none:not-found"), "fay, the \"first\"": (None, "none:no-public-email")}
        t.is_eq(who(got), none, "by address alone; a namesake is somebody else")
        t.is_eq([got.json()[k] for k in ("schema", "all", "by_email", "by_map", "by_username", "nobody")], ["groupsnap.users/1", 6, 1, 0, 0, 5], "coverage")
        got = who(users("--json", "--match-username", "--user-map", "map.csv"))
        t.is_eq(got, {**none, "bob": ("Bob", "username"), "cat": ("cat", "username"), "eve": ("e.there", "csv")}, "by map, address, and name where that is asked for; a blocked namesake is nobody")
        r = users("--match-username", "-o", "new.csv")
        t.ok("1 by public email" in r.out and "2 by username" in r.out and "3 are nobody" in r.out and "no public email at the source" in r.out, "for people", r.out)
        t.is_eq(os.stat(os.path.join(d, "new.csv")).st_mode & 0o777, 0o600, "the map is its owner's alone")
        rows = list(csv.DictReader(open(os.path.join(d, "new.csv"), newline="")))
        t.is_eq([(x["source_id"], x["source_username"], x["source_email"], x["target_username"]) for x in rows],
                [("1", "ann", "ann@here.example", "a.there"), ("2", "bob", "", "Bob"), ("3", "cat", "nobody@here.example", "cat"), ("4", "dan", "", ""),
                 ("5", "eve", "eve@here.example", ""), ("6", "fay, the \"first\"", "", "")], "a line per person")
        r = users("-o", "new.csv", code=2)
        t.has(r.err, "[file-exists]", "a map that is there is not overwritten")
        for x in rows:
            if x["source_username"].startswith("fay"):
                x["target_username"] = "e.there"
        with open(os.path.join(d, "filled.csv"), "w", newline="") as f:
            w = csv.DictWriter(f, rows[0].keys())
            w.writeheader()
            w.writerows(rows)
        got = who(users("--json", "--user-map", "filled.csv"))
        t.is_eq({k: v for k, v in got.items() if v[0]}, {"ann": ("a.there", "csv"), "bob": ("Bob", "csv"), "cat": ("cat", "csv"), "fay, the \"first\"": ("e.there", "csv")}, "what was filled in is read again")
        t.is_eq(got["dan"], (None, "none:csv"), "who was left empty is left out")
        t.is_eq(sim.dump(), before, "nothing was written to the target")
        args = (pack, "--trust", "key.pub", "--url", sim.url, "--state", "u.state", "--json")
        r = gstest.replay("apply", *args, "--match-username", "--user-map", "map.csv", "--yes", token=sim.tokens["owner"], cwd=d)
        t.is_eq((r.code, {k: r.json()["people"][k] for k in ("all", "by_email", "by_map", "by_username", "nobody")}), (0, {"all": 6, "by_email": 1, "by_map": 1, "by_username": 2, "nobody": 2}), "a load does the same", str(r))
        gid = next(g["id"] for g in sim.dump()["groups"] if g["full_path"] == "team")
        t.is_eq(sorted(m["user_id"] for m in sim.dump()["members"] if m["source_id" if "source_id" in m else "group_id"] == gid and m["user_id"] > 100), [101, 102, 103, 105], "and makes them members")
        r = gstest.replay("apply", *args, "--yes", "--user-map", "map.csv", token=sim.tokens["owner"], cwd=d)
        t.ok(r.code == 30 and "[state-other-options]" in r.err, "options decide who is who: others are refused", str(r))
        r = gstest.replay("plan", pack, "--trust", "key.pub", "--url", sim.url, "--state", "o.state", "--as-authors", token=sim.tokens["owner"], cwd=d)
        t.ok(r.code == 12 and "[forbidden]" in r.err and "administrator" in r.err, "--as-authors needs an administrator", str(r))

    # ---- acting as others ----
    with gstest.Target(d, "acting", "--version", "18.8.0-ee", "--tier", "ultimate", users=USERS) as sim:
        def drive(what, state="p.state", token=None, **env):
            p = subprocess.run([DRIVER, os.path.join(d, state), sim.url, what], capture_output=True, text=True, timeout=120, cwd=d,
                               env=gstest.environment(token or sim.tokens["admin"], **env))
            return p.returncode, p.stdout.splitlines()

        def tokens(state):
            return [x for u in (101, 102, 105) for x in sim.call(f"/api/v4/users/{u}/impersonation_tokens?state={state}", token=sim.tokens["admin"])]

        def alive():
            return tokens("active")

        def on_disk():
            return [name for name in os.listdir(d) if ".state" in name and b"glpat-sim-imp-" in open(os.path.join(d, name), "rb").read()]

        t.is_eq(drive("check:101"), (0, ["left 0"]), "an administrator with sudo may")
        r = drive("check:101", token=sim.tokens["nosudo"])
        t.ok(r[0] == 1 and "scope" in r[1][-1].split(":")[0], "nor may a token without that scope", str(r))
        r = drive("check:101", token=sim.tokens["owner"])
        t.ok(r[0] == 1 and r[1][-1].startswith("error forbidden"), "others may not", str(r))
        code, lines = drive("act:101,102,105")
        t.is_eq((code, sorted(lines)), (0, sorted(["left 0"] + [f"{how} {u} {u}" for how in ("rest", "graphql") for u in (101, 102, 105)])), "each request is of the user that it is for")
        t.is_eq((len(alive()), len(tokens("all"))), (0, 3), "one token for each, and none is left")
        t.is_eq(drive("alive")[1], ["left 0"], "nor in the state file")
        t.ok(all(x["scopes"] == ["api"] and x["name"].startswith("groupsnap 01234567 ") and x["expires_at"] for x in tokens("all")), "they say whose they are, and end by themselves", str(tokens("all")))
        # a run that is killed, in any turn
        for turn in range(1, 6):
            state = f"pk{turn}.state"
            drive("act:101,102", state=state, PERSONA_KILL=str(turn))
            told = drive("alive", state=state)[1]
            n = len(alive())
            t.ok(int(told[-1].split()[1]) >= n, f"killed in turn {turn}: every token that there is ({n}) is written down", str(told))
            t.is_eq(on_disk(), [], f"killed in turn {turn}: none of them is on the disk itself")
            r = drive("revoke", state=state)
            t.is_eq((r, len(alive()), drive("alive", state=state)[1]), ((0, ["left 0"]), 0, ["left 0"]), f"killed in turn {turn}: the next run takes all away")
        # answers that get lost: the token may be there, under a name that is known
        sim.faults({"match": {"method": "POST", "path": "impersonation_tokens$"}, "times": 1, "do": {"lose_answer": True}})
        code, lines = drive("act:101", state="pl.state")
        t.is_eq((code, sorted(lines), len(alive())), (0, ["graphql 101 101", "left 0", "rest 101 101"], 0), "an answer that got lost: another token, and both are taken away", str(lines))
        sim.reset_faults()
        sim.faults({"match": {"method": "POST", "path": "impersonation_tokens$"}, "times": 0, "do": {"lose_answer": True}})
        code, lines = drive("act:101", state="pm.state")
        t.ok(code == 0 and any(x.startswith("refused 101") for x in lines) and not alive(), "all answers get lost: refused in the end, nothing is left", str(lines))
        sim.reset_faults()
        sim.faults({"match": {"method": "DELETE", "path": "impersonation_tokens"}, "times": 0, "do": {"status": 403, "body": {"message": "403 Forbidden"}}})
        code, lines = drive("act:101", state="pn.state")
        t.ok(code == 0 and lines[-1] == "left 1" and len(alive()) == 1, "one that cannot be taken away stays written down", str(lines))
        sim.reset_faults()
        t.is_eq(drive("revoke", state="pn.state"), (0, ["left 0"]), "and goes with the next run")
        t.is_eq(alive(), [], "none is left")
        # a proxy that drops the header
        sim.faults({"match": {"path": "/api/v4/user$"}, "times": 0, "do": {"drop_sudo": True}})
        r = drive("check:101", state="pc.state")
        t.ok(r[0] == 1 and r[1][-1].startswith("error author-wrong"), "a proxy that drops the Sudo header is found out", str(r))
        sim.reset_faults()
        sim.call("/_sim/config", {"impersonation_enabled": False})
        code, lines = drive("act:101", state="po.state")
        t.ok(code == 0 and "rest 101 101" in lines and any(x.startswith("refused 101") for x in lines), "where impersonation is turned off, REST still goes", str(lines))
    # ---- the planning tree as its authors: over REST, and as work items ----
    tree = os.path.join(gstest.TOP, "tests/sim/planning_tree.json")
    seed = json.load(open(tree, encoding="utf-8"))
    odd = next(e for e in seed["groups"][0]["planning"]["epics"] if e["author"] != "tomasz.wolny")
    odd.setdefault("awards", []).append({"name": "party_wizard", "user": "tomasz.wolny"})  # which the targets do not know
    tree = os.path.join(d, "planning.json")
    with open(tree, "w", encoding="utf-8") as f:
        json.dump(seed, f)

    def made(dump):
        """Who made what: epics by path and number, comments and reactions as they are on them."""
        names, paths = {u["id"]: u["username"] for u in dump["users"]}, {g["id"]: g["full_path"] for g in dump["groups"]}
        at = {e["id"]: (paths[e["group_id"]], e["iid"]) for e in dump["epics"]}
        notes = {n["id"]: n for n in dump["notes"] if not n["system"]}
        return ({at[e["id"]]: names[e["author_id"]] for e in dump["epics"]},
                sorted((at[n["noteable_id"]], names[n["author_id"]]) for n in notes.values()),
                sorted((at[a["awardable_id"] if a["awardable_type"] == "Epic" else notes[a["awardable_id"]]["noteable_id"]], a["name"], names[a["user_id"]])
                       for a in dump["award_emoji"] if a["awardable_type"] == "Epic" or a["awardable_id"] in notes))

    with gstest.Sim(d, "planning", "--seed", tree, "--tier", "ultimate", "--version", "16.11.0-ee") as source:
        r = gstest.snap("create", "--url", source.url, seed["groups"][0]["path"], "-o", "plan.gsnap", "--key", "key", "--via", "api", token=source.tokens["admin"], cwd=d)
        t.is_eq(r.code, 0, "the planning tree is captured", str(r))
        want = made(source.dump())
        want = want[0], want[1], [x for x in want[2] if x[1] != "party_wizard"]
    for version in ("16.11.0-ee", "18.8.0-ee"):
        with gstest.Target(d, "as-" + version, "--version", version, "--tier", "ultimate", users={"users": seed["users"], "tokens": seed["tokens"]}) as sim:
            r = gstest.replay("apply", "plan.gsnap", "--trust", "key.pub", "--url", sim.url, "--state", version + ".as", "--json", "--yes", "--match-username", "--as-authors",
                              token=sim.tokens["admin"], cwd=d)
            t.is_eq(r.code, 0, f"{version}: loaded as their authors", str(r))
            got = made(sim.dump())
            t.ok(len(set(want[0].values())) > 3 and got[0] == want[0], f"{version}: every epic is its author's")
            t.is_eq(got[1], want[1], f"{version}: every comment")
            t.is_eq(got[2], want[2], f"{version}: every reaction")
            t.is_eq([(x["code"], x["count"]) for x in r.json()["losses"] if "author" in x["code"] or x["code"] in ("award-of-others", "award-unknown")], [("award-unknown", 1)],
                    f"{version}: nothing of that is a loss, but for an emoji that is unknown there")
            left = [x for u in seed["users"][:12] if u.get("id") for x in sim.call(f"/api/v4/users/{u['id']}/impersonation_tokens?state=active", token=sim.tokens["admin"])]
            t.is_eq(left, [], f"{version}: no token is left")
t.done()
