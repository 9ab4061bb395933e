#!/usr/bin/python3
"""A real group export of GitLab, carried into the simulator, read back with the stock python3-gitlab and compared with the
export's own lines, attribute by attribute: equal, or named in the list of losses. Then captured again from the target and
compared with `snap diff`.

Needs the export of GITLAB_CONTRACT_DIR (group_exports/complex)."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TREE = os.path.join(gstest.CONTRACT, "group_exports/complex")
if not os.path.isdir(TREE):
    t.skip("the real export is carried and compared", f"no folder {TREE}; set GITLAB_CONTRACT_DIR")
    t.done()
try:
    import gitlab
except ImportError:
    t.skip("the real export is carried and compared", "python3-gitlab is not installed")
    t.done()

BASE = os.path.join(TREE, "tree/groups")
IDS = [int(line) for line in open(os.path.join(BASE, "_all.ndjson"))]


def rows(gid, relation):
    path = os.path.join(BASE, str(gid), relation + ".ndjson")
    if not os.path.exists(path):
        return []
    return [json.loads(line) for line in open(path, encoding="utf-8")]


SELF = {gid: json.load(open(os.path.join(BASE, f"{gid}.json"), encoding="utf-8")) for gid in IDS}
VISIBILITY = {0: "private", 10: "internal", 20: "public"}
PROJECT_LEVEL = {0: "noone", 1: "maintainer", 2: "developer", 3: "administrator", 4: "owner"}
SUBGROUP_LEVEL = {0: "owner", 1: "maintainer"}


def pack(d, what):
    path = os.path.join(d, what + ".tar.gz")
    if what == "whole":
        for name, text in (("VERSION", "0.2.4"), ("GITLAB_VERSION", "12.8.0-ee"), ("GITLAB_REVISION", "abcdef0")):
            with open(os.path.join(d, name), "w") as f:
                f.write(text)
        subprocess.check_call(["tar", "-czf", path, "-C", d, "./VERSION", "./GITLAB_VERSION", "./GITLAB_REVISION",
                               "-C", TREE, "./tree"])
    else:
        subprocess.check_call(["tar", "-czf", path, "-C", TREE, "tree"])
    return path


def people():
    seen = {}
    for gid in IDS:
        for m in rows(gid, "members"):
            seen[m["user"]["username"]] = m["user"]["public_email"]
    users = [{"id": 1, "username": "target.root", "name": "Root", "email": "target.root@there.example", "admin": True},
             {"id": 2, "username": "target.owner", "name": "Owner", "email": "target.owner@there.example",
              "public_email": "target.owner@there.example"}]
    for i, (name, email) in enumerate(sorted(seen.items())):
        # other names there: who is who must come from the e-mail
        users.append({"id": 100 + i, "username": f"t.{name}", "name": name, "email": email, "public_email": email})
    return {"users": users, "tokens": {"admin": "target.root", "owner": "target.owner"}}, seen


def compare(name, got, want, lost):
    """One attribute: equal, or its name stands in the loss list of the record's relation."""
    return got == want or any(code in lost for code in (name,))


with gstest.scratch() as d:
    key = gstest.keygen(d)
    bundles = {}
    for what in ("whole", "tree-only"):
        r = gstest.snap("import-archive", pack(d, what), "-o", what + ".gsnap", "--key", key, cwd=d)
        t.is_eq(r.code, 0, f"import-archive of the export ({what})", str(r))
        bundles[what] = os.path.join(d, what + ".gsnap")
    r = gstest.snap("import-archive", TREE, "-o", "folder.gsnap", "--key", key, cwd=d)
    t.is_eq(r.code, 0, "import-archive of the unpacked folder", str(r))
    bundle = bundles["whole"]
    r = gstest.snap("verify", bundle, "--trust", key + ".pub", "--deep", cwd=d)
    t.is_eq(r.code, 0, "the bundle verifies", str(r))

    # nothing is dropped: every line of every relation is in the bundle, under the group of its folder
    for gid in IDS:
        for f in sorted(os.listdir(os.path.join(BASE, str(gid)))):
            relation = f.split(".")[0]
            want = [json.loads(x) for x in open(os.path.join(BASE, str(gid), f), encoding="utf-8")]
            r = gstest.snap("cat", bundle, f"{gid}/{relation}", "--trust", key + ".pub", cwd=d)
            got = r.lines() if r.code == 0 else []
            # a secret's key may be gone, nothing else
            same = len(got) == len(want) and all(
                {k: v for k, v in w.items() if k in g} == g and not [k for k in w if k not in g and "token" not in k]
                for g, w in zip(got, want))
            t.ok(same, f"{relation} of group {gid}: {len(want)} records carried whole", str(r)[:600])
    everything = gstest.snap("cat", bundle, "--trust", key + ".pub", cwd=d).out + gstest.snap(
        "cat", bundle, "ledger", "--trust", key + ".pub", cwd=d).out
    secrets = {v for g in SELF.values() for k, v in g.items() if v and ("token" in k)}
    t.ok(secrets and not [s for s in secrets if f'"{s}"' in everything], f"{len(secrets)} secrets of the export are withheld")
    t.has(gstest.snap("cat", bundle, "ledger", "--trust", key + ".pub", cwd=d).out, "runners_token", "the ledger names what was withheld")

    users, emails = people()
    with open(os.path.join(d, "users.json"), "w") as f:
        json.dump(users, f)
    with gstest.Sim(d, "target", "--empty", "--users", os.path.join(d, "users.json"), "--tier", "ultimate") as sim:
        token = sim.tokens["admin"]
        r = gstest.replay("apply", bundle, "--trust", key + ".pub", "--url", sim.url, "--state", "s.state", "--yes", "--as-authors", token=token, cwd=d)
        t.is_eq(r.code, 0, "the bundle is loaded", str(r))
        r = gstest.replay("status", "--state", "s.state", "--json", cwd=d)
        t.is_eq(r.code, 0, "status answers", str(r))
        losses = json.dumps(r.json())
        plan = gstest.replay("plan", bundle, "--trust", key + ".pub", "--url", sim.url, "--state", "p.state", "--on-existing", "merge", "--json",
                             token=token, cwd=d)
        for code in ("label-times", "milestone-times", "member-times", "badge-times", "board-times"):
            t.has(losses, code, f"the loss '{code}' is listed")

        gl = gitlab.Gitlab(sim.url, private_token=sim.tokens["admin"])
        root = SELF[IDS[0]]
        paths = {IDS[0]: root["path"]}
        for gid in IDS[1:]:
            paths[gid] = paths[SELF[gid]["parent_id"]] + "/" + SELF[gid]["path"]
        for gid in IDS:
            w = SELF[gid]
            g = gl.groups.get(paths[gid])
            want = {"name": w["name"], "path": w["path"], "description": w["description"] or "",
                    "visibility": VISIBILITY[w["visibility_level"]],
                    "share_with_group_lock": w["share_with_group_lock"],
                    "require_two_factor_authentication": w["require_two_factor_authentication"],
                    "two_factor_grace_period": w["two_factor_grace_period"],
                    "project_creation_level": PROJECT_LEVEL[w["project_creation_level"]],
                    "subgroup_creation_level": SUBGROUP_LEVEL[w["subgroup_creation_level"]],
                    "request_access_enabled": w["request_access_enabled"]}
            if w.get("lfs_enabled") is not None:
                want["lfs_enabled"] = w["lfs_enabled"]
            if w.get("auto_devops_enabled") is not None:
                want["auto_devops_enabled"] = w["auto_devops_enabled"]
            if w.get("emails_enabled") is not None:
                want["emails_enabled"] = w["emails_enabled"]
            elif w.get("emails_disabled") is not None:
                want["emails_enabled"] = not w["emails_disabled"]
            for k, v in want.items():
                t.is_eq(getattr(g, k, None), v, f"group {gid}: {k}")
            t.is_eq(g.parent_id is None, w["parent_id"] is None, f"group {gid}: top level or not")

            got = {x.name: x for x in g.labels.list(include_ancestor_groups=False, all=True)}
            want = {x["title"]: x for x in rows(gid, "labels")}
            t.is_eq(sorted(got), sorted(want), f"group {gid}: label titles")
            for title, x in want.items():
                y = got.get(title)
                t.ok(y is not None and y.color.lower() == x["color"].lower() and (y.description or None) == (x["description"] or None),
                     f"group {gid}: label '{title}': color and description")

            got = {x.iid: x for x in g.milestones.list(all=True)}
            want = {x["iid"]: x for x in rows(gid, "milestones")}
            t.is_eq(sorted(got), sorted(want), f"group {gid}: milestone iids")
            for iid, x in want.items():
                y = got.get(iid)
                for k in ("title", "description", "state", "start_date", "due_date"):
                    t.is_eq((getattr(y, k, None) or None), x[k] or None, f"group {gid}: milestone {iid}: {k}")

            got = [(b.name or None, b.link_url, b.image_url) for b in g.badges.list(all=True)]
            want = [(b.get("name") or None, b["link_url"], b["image_url"]) for b in rows(gid, "badges")]
            t.is_eq(got, want, f"group {gid}: badges in their order")

            got = [(b.name, [(x["label"] or {}).get("name") for x in sorted(b.attributes["lists"], key=lambda x: x["position"])]) for b in g.boards.list(all=True)]
            want = [(b["name"], [x["label"]["title"] for x in sorted((x for x in b.get("lists", []) if x["list_type"] == "label"),
                                                                   key=lambda x: x["position"])]) for b in rows(gid, "boards")]
            t.is_eq(sorted(got), sorted(want), f"group {gid}: boards with their lists in order")

            got = {m.username: m.access_level for m in g.members.list(all=True)}
            for m in rows(gid, "members"):
                name = "t." + m["user"]["username"]
                inherited = 0
                parent = w["parent_id"]
                while parent:
                    inherited = max([inherited] + [x["access_level"] for x in rows(parent, "members") if x["user"]["id"] == m["user"]["id"]])
                    parent = SELF[parent]["parent_id"]
                if name in got or inherited < m["access_level"]:
                    t.is_eq(got.get(name), m["access_level"], f"group {gid}: member {name}: access level")
                else:
                    t.has(losses, "member-inherits-more", f"group {gid}: member {name} has it by inheritance, a named loss")
            t.ok("target.root" not in got, f"group {gid}: the loading user's own ownership is gone")

            # ---- epics, line by line ----
            def listed(path, gid=g.id):
                return gl.http_list(f"/groups/{gid}/epics{path}", all=True)
            got = {x["iid"]: x for x in listed("?include_descendant_groups=false&include_ancestor_groups=false&state=all")}
            want = {x["iid"]: x for x in rows(gid, "epics")}
            t.is_eq(sorted(got), sorted(want), f"group {gid}: numbers of epics")
            number = {x["id"]: x["iid"] for x in want.values()}
            for iid, x in want.items():
                y = got.get(iid, {})
                parent = x.get("parent_id")
                a = [x["title"], x["description"], x.get("state") or x["state_id"], bool(x.get("confidential")), x["start_date"], x["end_date"], x["created_at"], x["updated_at"],
                     number[parent] if parent else None, "t.root"]
                b = [y.get(k) for k in ("title", "description", "state", "confidential", "start_date", "due_date", "created_at", "updated_at", "parent_iid")] + [y.get("author", {}).get("username")]
                t.is_eq(b, a, f"group {gid}: epic &{iid}: texts, state, dates, times, parent, author")
                a = [z["id"] for z in sorted((z for z in want.values() if z.get("parent_id") == x["id"]), key=lambda z: z["relative_position"])]
                t.is_eq([z["iid"] for z in listed(f"/{iid}/epics")], [number[z] for z in a], f"group {gid}: epic &{iid}: its children in their order")
                notes = [z for z in x["notes"] if not z["system"]]
                t.is_eq(sorted(z["body"] for z in listed(f"/{y['id']}/notes") if not z["system"]), sorted(z["note"] for z in notes), f"group {gid}: epic &{iid}: comments")
                t.is_eq(sorted((z["name"], z["user"]["username"]) for z in listed(f"/{iid}/award_emoji")), sorted((z["name"], "t.root") for z in x.get("award_emoji") or []),
                        f"group {gid}: epic &{iid}: emoji")

        every = [x for gid in IDS for x in rows(gid, "epics")]
        lost = {(x["relation"], x["code"]): x["count"] for x in json.loads(losses)["losses"] if x["relation"] in ("epics", "notes", "award_emoji")}
        system = [z for x in every for z in x["notes"] if z["system"]]
        t.is_eq(lost, {("epics", "epic-closing"): sum((x.get("state") or x["state_id"]) == "closed" for x in every), ("notes", "note-system"): len(system),
                       ("award_emoji", "award-without-note"): sum(len(z.get("award_emoji") or ()) for z in system),
                       ("award_emoji", "award-times"): sum(len(x.get("award_emoji") or ()) for x in every)}, "what of the epics is lost, and nothing else")
        # captured again from where it was loaded
        r = gstest.snap("create", "--url", sim.url, paths[IDS[0]], "-o", "again.gsnap", "--key", key, token=sim.tokens["admin"], cwd=d)
        t.is_eq(r.code, 0, "the target is captured again", str(r))
        r = gstest.snap("diff", bundle, "again.gsnap", "--trust", key + ".pub", "--json", cwd=d)
        diff = r.lines()
        print("#", r.err[-300:])
        loaded = {"self", "namespace_settings", "labels", "milestones", "badges", "boards", "members"}
        bad = [x for x in diff if x.get("relation") in loaded and x.get("class") == "value"
               and (x["kind"] == "differs" or x["relation"] != "members")]  # people have other names there
        t.is_eq(bad, [], "captured again: no record of a loaded relation differs in a value")
        other = {x.get("relation") for x in diff if x.get("relation") and x.get("relation") not in loaded}
        t.ok(other <= {"epics"}, "captured again: nothing else differs but in epics", repr(other))
        bad = [x for x in diff if x.get("relation") == "epics" and x.get("class") == "value" and not x.get("attribute", "").startswith(("notes", "events", "relative_position"))]
        t.is_eq(bad, [], "captured again: epics differ in what GitLab itself writes of them, and in nothing else")
t.done()
