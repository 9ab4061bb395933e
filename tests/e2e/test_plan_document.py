#!/usr/bin/python3
"""The plan as a document, decisions that are written into it, what `apply` refuses, the story of one record (`replay why`), and the lists as CSV."""
import csv
import io
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
ROOT = "halden-instruments"


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


with gstest.scratch() as d:
    key = gstest.keygen(d)
    path = lambda name: os.path.join(d, name)  # noqa: E731
    with gstest.Sim(d, "source", "--tier", "premium", "--seed", gstest.DEMO_TREE) as source:
        source.call(f"/api/v4/groups/{ROOT}/labels", {"name": "=1+1", "color": "#112233"}, source.tokens["admin"])
        r = gstest.snap("create", "--url", source.url, ROOT, "-o", "demo.gsnap", "--key", key, token=source.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "the demo tree is captured", str(r))

    def replay(verb, sim, *args, token=None):
        return gstest.replay(verb, "demo.gsnap", "--trust", "key.pub", "--url", sim.url, *args, token=token or sim.tokens["owner"], cwd=d)

    def decide(table, decisions, name="decisions.csv"):
        """The table with a decision where (what, group, key) says so. What stays over was not in it."""
        left = dict(decisions)
        out = io.StringIO(newline="")
        w = csv.DictWriter(out, table[0].keys())
        w.writeheader()
        for x in table:
            what = (x["what"], x["group"], x["key"] if x["what"] != "groups" else "")
            x = dict(x)
            if what in left:
                x["decision"], x["reason"] = left.pop(what), "since we say so"
            w.writerow(x)
        t.is_eq(left, {}, "every row that is decided about is in the table")
        with open(path(name), "w", newline="") as f:
            f.write(out.getvalue())

    with gstest.Sim(d, "target", "--tier", "premium", "--empty", "--users", gstest.DEMO_USERS) as sim:
        r = replay("plan", sim, "--csv", "--html", "plan.html")
        t.is_eq(r.code, 0, "the plan as CSV, and as HTML", str(r)[:500])
        table = rows(r.out)
        t.ok(len(table) > 250 and "decision" in table[0] and "reason" in table[0], f"{len(table)} rows with columns for decisions")
        t.ok(any(x["key"] == "'=1+1" for x in table), "what a spreadsheet would take for a formula is disarmed")
        page = open(path("plan.html")).read()
        t.ok("<h1>Plan to load " + ROOT in page and "Nothing was written" in page and "relation-not-loaded" in page and "<script" not in page, "the page says the plan")

        decide(table, {("labels", ROOT, "audit"): "skip", ("labels", ROOT, "'=1+1"): "skip", ("groups", ROOT + "/cloud-platform", ""): "skip",
                       ("groups", ROOT + "/firmware", ""): "rename fw:Firm ware"})
        r = replay("plan", sim, "--decisions", "decisions.csv", "--json")
        t.is_eq(r.code, 0, "a plan by the decisions", str(r)[:1500])
        t.ok(r.json()["ops"]["decided"] > 60, "with all that stands on what is left out", str(r.json()["ops"]))
        r = replay("apply", sim, "--yes", "--json")
        t.is_eq(r.code, 0, "is loaded", str(r)[-1500:])
        dump = sim.dump()
        t.is_eq(sorted(g["path"] for g in dump["groups"]), ["bootloader", "fw", ROOT, "quality-assurance", "sensor-drivers"], "without the group and those below it")
        t.ok(next(g for g in dump["groups"] if g["path"] == "fw")["name"] == "Firm ware", "a group has the name that was decided")
        labels = {x["title"] for x in dump["labels"] if x["group_id"] == next(g["id"] for g in dump["groups"] if g["path"] == ROOT)}
        t.ok("audit" not in labels and "=1+1" not in labels and len(labels) == 23, "labels are left out where they were decided about, and nowhere else", repr(labels))
        r = gstest.replay("failures", "--state", "demo.state", "--json", cwd=d)
        t.ok({"since we say so"} == {x.get("reason") for x in r.lines()}, "the reason is kept", r.out[:800])
        r = replay("apply", sim, "--decisions", "decisions.csv", "--yes")
        t.is_eq(r.code, 0, "the same decisions may be given again", str(r))
        with open(path("others.csv"), "w") as f:
            f.write("group,relation,key,what,decision\n")
        r = replay("apply", sim, "--decisions", "others.csv", "--yes")
        t.is_eq(r.code, 30, "other decisions for a load that has begun are refused", str(r))
        r = replay("reconcile", sim, "--json", token=sim.tokens["admin"])
        t.is_eq(r.code, 0, "the books balance: what was left out on purpose is explained",
                *[json.dumps(x) for x in r.lines() if x.get("counts_as") in ("fault", "unread")])
        for name, text in (("unknown", "group,relation,key,what,decision\r\na,labels,b,labels,burn\r\n"), ("header", "group,key\r\n"),
                           ("quote", 'group,relation,key,what,decision\r\na,"labels,b,labels,skip\r\n'), ("nothing", "group,relation,key,what,decision\r\nno/such,labels,b,labels,skip\r\n"),
                           ("rename", f"group,relation,key,what,decision\r\n{ROOT},labels,audit,labels,rename x\r\n")):
            with open(path(name + ".csv"), "w", newline="") as f:
                f.write(text)
            r = replay("plan", sim, "--into", ROOT, "--state", "bad.state", "--decisions", name + ".csv")
            t.is_eq((r.code, os.path.exists(path("bad.state"))), (2, False), f"decisions that are wrong: {name}", str(r)[:500])
            t.ok("line" in r.err, "the line is named", r.err)

        # ---- the story of a record ----
        def why(what, *args):
            return gstest.replay("why", what, "--state", "demo.state", *args, token=sim.tokens["admin"], cwd=d)
        r = why(f"{ROOT}/labels/security", "--json")
        t.is_eq(r.code, 0, "why", str(r))
        story = r.json()
        there = next(x for x in dump["labels"] if x["title"] == "security" and x["group_id"] == next(g["id"] for g in dump["groups"] if g["path"] == ROOT))
        t.ok(story["source"][0]["title"] == "security" and story["steps"][0]["target_id"] == there["id"] and story["steps"][0]["now"]["color"] == there["color"]
             and story["steps"][0]["writes"] == 1 and story["losses"][0]["code"] == "label-times", "says where it came from, what was done, and what is there", r.out[:2000])
        sim.call(f"/api/v4/groups/{ROOT}/labels/{there['id']}", token=sim.tokens["admin"], method="DELETE")
        r = why(f"{ROOT}/labels/security")
        t.ok(r.code == 0 and "in the bundle" in r.out and "not there any more" in r.out, "what is gone is said to be gone", str(r))
        r = why(f"{ROOT}/labels/audit", "--offline")
        t.ok(r.code == 0 and "skipped-by-decision" in r.out, "what was decided is told, without the target", str(r))
        r = why(f"{ROOT}/fw/groups")
        t.ok(r.code == 0 and '"full_path":"halden-instruments/fw"' in r.out, "a group, by its path on the target", str(r)[:1500])
        lost = next(x for x in table if x["what"] == "member-no-user" and "cloud" not in x["group"])
        r = why(f"{lost['group']}/members/{lost['key']}")
        t.ok(r.code == 0 and "[member-no-user]" in r.out and "in the bundle" in r.out, "a record that was never planned", str(r))
        t.is_eq(why(f"{ROOT}/labels/no such").code, 10, "a record that is not there")
        t.is_eq(why("elsewhere/labels/x").code, 2, "a group that is not there")

        # ---- lists ----
        for name, column, n in (("groups", "target_group", 8), ("relations", "in_bundle", 7), ("losses", "code", 8), ("people", "why", 7), ("runs", "requests", 1)):
            r = gstest.replay("status", "--state", "demo.state", "--csv", name, cwd=d)
            got = rows(r.out)
            t.ok(r.code == 0 and len(got) >= n and column in got[0] and "\r\n" in r.out, f"status --csv {name}: {len(got)} rows", str(r)[:1000])
        r = gstest.replay("status", "--state", "demo.state", "--csv", "groups", "--json", cwd=d)
        t.is_eq(r.code, 2, "--csv and --json exclude each other")

    # ---- a target that moved since the plan ----
    with gstest.Sim(d, "moved", "--tier", "premium", "--empty", "--users", gstest.DEMO_USERS) as sim:
        r = replay("plan", sim, "--state", "moved.state")
        t.is_eq(r.code, 0, "a plan", str(r)[:300])
        made = sim.call("/api/v4/groups", {"name": "Theirs", "path": ROOT, "visibility": "public"}, sim.tokens["admin"])
        r = replay("apply", sim, "--state", "moved.state", "--yes")
        t.is_eq((r.code, "target-moved" in r.err, [g["id"] for g in sim.dump()["groups"]]), (30, True, [made["id"]]), "its place was taken meanwhile: refused", str(r))
        r = replay("plan", sim, "--state", "merge.state", "--on-existing", "merge")
        sim.call("/_sim/at", {"match": {"path": "/version$"}, "do": [{"delete": "groups", "where": {"path": ROOT}}]})
        sim.call("/api/v4/version", token=sim.tokens["admin"])
        r = replay("apply", sim, "--state", "merge.state", "--on-existing", "merge", "--yes")
        t.is_eq((r.code, "is gone since" in r.err), (30, True), "the group to merge into is gone: refused", str(r))
        r = replay("apply", sim, "--state", "moved.state", "--yes", "--stop-after", "5")
        t.is_eq(r.code, 130, "free again, the plan holds", str(r))
        sim.call("/_sim/config", {"version": "17.9.0-ee"})
        r = replay("apply", sim, "--state", "moved.state", "--yes", "--stop-after", "5")
        t.is_eq(r.code, 130, "a load that has begun goes on after an upgrade", str(r))
    with gstest.Sim(d, "upgraded", "--tier", "premium", "--empty", "--users", gstest.DEMO_USERS) as sim:
        replay("plan", sim, "--state", "old.state")
        sim.call("/_sim/config", {"version": "17.9.0-ee"})
        r = replay("apply", sim, "--state", "old.state", "--yes")
        t.is_eq((r.code, "was GitLab 17.8.1-ee" in r.err, sim.dump()["groups"]), (30, True, []), "a target that was upgraded since the plan: refused", str(r))
        with open(path("demo.gsnap"), "rb") as f, open(path("other.gsnap"), "wb") as g:
            g.write(f.read())
        r = gstest.snap("sign", "other.gsnap", "--key", key, cwd=d)
        gstest.bundle(d, key, {10: {"self": {"id": 10, "name": "Small", "path": "small", "parent_id": None, "visibility_level": 0}}}, "small")
        r = gstest.replay("apply", "small.gsnap", "--trust", "key.pub", "--url", sim.url, "--state", "old.state", "--yes", token=sim.tokens["owner"], cwd=d)
        t.is_eq((r.code, "state-other-bundle" in r.err), (30, True), "a plan made for another bundle: refused", str(r))
t.done()
