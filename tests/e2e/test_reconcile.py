#!/usr/bin/python3
"""`replay reconcile`: what it says of a load that went well, of one that is not finished, of one that GitLab refused in part, and of one
that our state file knows nothing of. That it finds damage is shown by test_reconcile_mischief.py."""
import collections
import csv
import io
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
ROOT = "halden-instruments"
NUMBERS = ("equal", "lost_part", "lost_whole", "refused", "differs", "missing", "unread")


def of(r, what):
    return [x for x in r.lines() if x.get("schema") == f"groupsnap.{what}/1"]


def faults(r):
    return [x for x in of(r, "reconcile-finding") if x["counts_as"] in ("fault", "unread")]


def adds_up(rows, what):
    bad = [x for x in rows if x["captured"] != sum(x[k] for k in NUMBERS) or x["loaded"] != x["equal"] + x["lost_part"] + x["differs"]]
    t.ok(rows and not bad, f"{what}: captured is what became of it, for every relation of every group", repr(bad))


with gstest.scratch() as d:
    key = gstest.keygen(d)

    def reconcile(sim, bundle, *args, token=None, **kw):
        return gstest.replay("reconcile", bundle, "--trust", "key.pub", "--url", sim.url, *args, token=token or sim.tokens["admin"], cwd=d, **kw)

    def apply(sim, bundle, *args, token=None):
        return gstest.replay("apply", bundle, "--trust", "key.pub", "--url", sim.url, "--yes", *args, token=token or sim.tokens["owner"], cwd=d)

    def balanced(r, name, losses, what):
        """Balance zero, and what was lost is what the load itself said would be."""
        t.is_eq(r.code, 0, f"{what}: the books balance", *[json.dumps(x) for x in faults(r)], r.err)
        end = of(r, "reconcile")[-1]
        t.is_eq((end["balance"], end["total"]["balance"], end["exit"]), (0, 0, 0), f"{what}: and the summary says so")
        adds_up(of(r, "reconcile-books"), what)
        lost = collections.Counter(x["rule"] for x in of(r, "reconcile-finding") if x["counts_as"] == "lost" and x["finding"] == "missing"
                                   and x["relation"] != "namespace_settings")  # a part of the group's own record, kept apart by GitLab
        want = collections.Counter()
        for x in losses:
            if x["whole_record"] and x["relation"] not in ("lists", "notes", "award_emoji"):  # parts of other records
                want[x["code"]] += x["count"]
        t.is_eq(lost, want, f"{what}: what is not there was lost by the rules that the load named, as often")

    for via in ("relations", "api"):
        # epic boards are in exports since 18.4
        version = ("--version", "18.10.0-ee") if via == "relations" else ()
        with gstest.Sim(d, "source-" + via, "--tier", "ultimate", *version, "--seed", gstest.DEMO_TREE) as source:
            r = gstest.snap("create", "--url", source.url, ROOT, "-o", f"demo-{via}.gsnap", "--key", key, "--via", via,
                            token=source.tokens["owner"], cwd=d)
            t.is_eq(r.code, 0, f"the demo tree is captured by {via}", str(r))
    for via, who, tier, how in (("relations", "owner", "premium", ()), ("relations", "admin", "ultimate", ("--as-authors",)), ("api", "owner", "ultimate", ())):
        what = f"captured by {via}, loaded as {who} on {tier}"
        with gstest.Sim(d, f"target-{via}-{who}", "--tier", tier, "--empty", "--users", gstest.DEMO_USERS) as sim:
            state = f"{via}-{who}.state"
            r = apply(sim, f"demo-{via}.gsnap", "--state", state, "--json", *how, token=sim.tokens[who])
            t.is_eq(r.code, 0, f"{what}: loaded", str(r))
            losses = r.json()["losses"]
            for reader in ("admin", who) if who != "admin" else ("admin",):
                r = reconcile(sim, f"demo-{via}.gsnap", "--state", state, "--json", token=sim.tokens[reader])
                balanced(r, via, losses, f"{what}, read as {reader}")
            t.ok(not os.path.exists(os.path.join(d, state + ".reconcile")), "nothing is left of the work folder")
            if via == "api":
                continue
            writes = [x for x in sim.requests() if x["method"] != "GET" and not x["path"].endswith("/graphql")]
            before = len(writes)

            # ---- without a state file: what a load by other means is judged by ----
            r = reconcile(sim, f"demo-{via}.gsnap", "--no-state", "--json", token=sim.tokens[who])  # who sees whose address decides who is whom
            balanced(r, via, losses, f"{what}, without the state file")
            t.ok(not of(r, "reconcile")[-1]["state_used"], "and it says that no state file was used")
            writes = [x for x in sim.requests() if x["method"] != "GET" and not x["path"].endswith("/graphql")]
            t.is_eq(len(writes), before, "nothing is written to the target by reading it back")

            # ---- how it is told ----
            r = reconcile(sim, f"demo-{via}.gsnap", "--state", state, "--books", "full.books")
            t.is_eq(r.code, 0, "the table is told", str(r))
            t.has(r.out, "balance 0: every record", "and what it comes to")
            lines = [json.loads(x) for x in open(os.path.join(d, "full.books"))]
            t.is_eq((lines[0]["schema"], lines[-1]["schema"]), ("groupsnap.reconcile-head/1", "groupsnap.reconcile/1"),
                    "the file of --books has a head and a summary")
            adds_up([x for x in lines if x["schema"] == "groupsnap.reconcile-books/1"], "the file of --books")
            r = reconcile(sim, f"demo-{via}.gsnap", "--state", state, "--csv", "books")
            rows = list(csv.DictReader(io.StringIO(r.out)))
            t.is_eq(sum(int(x["captured"]) for x in rows), lines[-1]["total"]["captured"], "--csv books has every relation of every group")
            r = reconcile(sim, f"demo-{via}.gsnap", "--state", state, "--csv", "findings")
            rows = list(csv.DictReader(io.StringIO(r.out)))
            t.is_eq(sum(x["counts_as"] == "lost" for x in rows), sum(x.get("counts_as") == "lost" for x in lines),
                    "--csv findings has what was lost")
            r = reconcile(sim, f"demo-{via}.gsnap", "--state", state, "--csv", "books", "--json")
            t.is_eq(r.code, 2, "--csv and --json exclude each other", str(r))

            # ---- a place of its own, and somebody else's objects there ----
            sim.call("/api/v4/groups", {"name": "Kept", "path": "kept"}, sim.tokens["admin"])
            sim.call("/api/v4/groups/kept/labels", {"name": "theirs", "color": "#112233"}, sim.tokens["admin"])
            args = ("--into", "kept", "--rename", f"{ROOT}=other:Other name")
            r = apply(sim, f"demo-{via}.gsnap", "--state", f"into-{who}.state", "--json", *args, token=sim.tokens["admin"])
            t.is_eq(r.code, 0, "loaded below another group, under another name", str(r))
            losses = r.json()["losses"]
            r = reconcile(sim, f"demo-{via}.gsnap", "--state", f"into-{who}.state", "--json")
            balanced(r, via, losses, "below another group")
            r = reconcile(sim, f"demo-{via}.gsnap", "--no-state", "--json", *args)
            balanced(r, via, losses, "below another group, without the state file")
            r = reconcile(sim, f"demo-{via}.gsnap", "--no-state", "--into", "nowhere")
            t.is_eq(r.code, 10, "a place that is not there", str(r))

    # ---- a load that was stopped, and one that was refused in part ----
    with gstest.Sim(d, "partial", "--tier", "premium", "--empty", "--users", gstest.DEMO_USERS) as sim:
        r = reconcile(sim, "demo-relations.gsnap", "--state", "none.state")
        t.is_eq(r.code, 10, "a state file that is named and not there", str(r))
        r = apply(sim, "demo-relations.gsnap", "--state", "partial.state", "--stop-after", "60")
        r = reconcile(sim, "demo-relations.gsnap", "--state", "partial.state", "--json")
        t.is_eq(r.code, 3, "a load that was stopped does not balance", str(r)[:2000])
        end = of(r, "reconcile")[-1]
        t.ok(end["total"]["missing"] > 50, "what is not loaded yet is missing", json.dumps(end["total"]))
        t.ok(any(x["why"] == "it is not loaded yet" for x in faults(r)), "and it is said why")
        adds_up(of(r, "reconcile-books"), "a load that was stopped")
    with gstest.Sim(d, "refused", "--tier", "ultimate", "--empty", "--users", gstest.DEMO_USERS) as sim:
        sim.faults({"match": {"method": "POST", "path": "/labels$", "body": 'flaky|"audit"'}, "times": 0,
                    "do": {"status": 422, "body": {"message": "no flaky labels here"}}},
                   {"match": {"method": "POST", "path": "/graphql$", "body": 'flaky|"audit"'}, "times": 0, "do": {"status": 422, "body": {"message": "no"}}})
        r = apply(sim, "demo-relations.gsnap", "--state", "refused.state")
        t.is_eq(r.code, 3, "labels are refused, of which one is that of epics and boards", str(r)[-800:])
        sim.reset_faults()
        r = reconcile(sim, "demo-relations.gsnap", "--state", "refused.state", "--json")
        refused = [x for x in of(r, "reconcile-finding") if x["counts_as"] == "refused"]
        t.ok(sorted(x["key"] for x in refused) == ["audit", "flaky"] and "no flaky labels" in refused[0]["why"], "they are refused by name, with the words", r.out[-3000:])
        t.is_eq(r.code, 0, "and the books balance", *[json.dumps(x) for x in faults(r)])
        t.is_eq(of(r, "reconcile")[-1]["total"]["refused"], 2, "with two records refused")
        without = {(x["relation"], x["key"], x["attribute"]): x["rule"] for x in of(r, "reconcile-finding") if x["counts_as"] == "lost" and x["finding"] == "differs"}
        t.is_eq((without.get(("epics", "2", "label_links")), without.get(("epic_boards", "Audit 📋", "epic_lists"))), ("epic-label-missing", "epic-list-reference-missing"),
                "an epic is there without its label, a board without its list", repr(without))
        # somebody makes it by hand, with another colour
        sim.call(f"/api/v4/groups/{ROOT}%2Fquality-assurance/labels", {"name": "flaky", "color": "#000001"}, sim.tokens["admin"])
        r = reconcile(sim, "demo-relations.gsnap", "--state", "refused.state", "--json")
        t.is_eq([(x["key"], x["attribute"], x["target"]) for x in faults(r) if x["attribute"] == "color"], [("flaky", "color", "#000001")],
                "made by hand it is compared like any other")
        t.is_eq(r.code, 3, "and does not balance")
        # another run at the same time
        os.mkdir(os.path.join(d, "busy"))
        import fcntl
        fd = os.open(os.path.join(d, "busy"), os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        r = reconcile(sim, "demo-relations.gsnap", "--state", "refused.state", "--work", "busy")
        t.is_eq(r.code, 11, "a work folder that another run uses", str(r))
        os.close(fd)

    # ---- a group export that GitLab itself made ----
    tree = os.path.join(gstest.CONTRACT, "group_exports/complex")
    if not os.path.isdir(tree):
        t.skip("a real export is loaded and read back", f"no folder {tree}; set GITLAB_CONTRACT_DIR")
    else:
        r = gstest.snap("import-archive", tree, "-o", "complex.gsnap", "--key", key, cwd=d)
        t.is_eq(r.code, 0, "the real export becomes a bundle", str(r))
        with gstest.Sim(d, "complex", "--tier", "premium", "--empty", "--users", gstest.DEMO_USERS) as sim:
            r = apply(sim, "complex.gsnap", "--json")
            t.is_eq(r.code, 0, "and is loaded", str(r)[-2000:])
            losses = r.json()["losses"]
            r = reconcile(sim, "complex.gsnap", "--json")
            balanced(r, "complex", losses, "a real export")
t.done()
