#!/usr/bin/python3
"""Iterations and their cadences, from a simulated source over a bundle into a simulated target: every attribute compared by this program
alone, numbers with gaps, automatic cadences, answers that get lost, groups that were there before, tiers without iterations, undo."""
import datetime
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TREE = json.load(open(os.path.join(gstest.TOP, "tests/sim/planning_tree.json"), encoding="utf-8"))
ROOT = "halden-planning"


def names(dump):
    """Iterations and cadences of a dump, with names in place of ids: what can be carried over the API."""
    paths = {g["id"]: g["full_path"] for g in dump["groups"]}
    cadences = {c["id"]: (paths[c["group_id"]], c["title"], c["description"], bool(c["automatic"]), c["duration_in_weeks"], c["iterations_in_advance"],
                          bool(c["active"]), bool(c["roll_over"])) for c in dump["iterations_cadences"]}
    rows = sorted((cadences[i["cadence_id"]][:2], i["iid"], i["title"], i["description"], i["start_date"], i["due_date"]) for i in dump["iterations"])
    return sorted(cadences.values(), key=repr), rows


def day(n):
    return (datetime.date(2026, 1, 1) + datetime.timedelta(days=n)).isoformat()


def iteration(iid, start, due, **more):
    return {"iid": iid, "start_date": start, "due_date": due, "title": None, "description": None, **more}


def cadence(cid, title, iterations, **more):
    return {"id": cid, "title": title, "description": None, "active": True, "roll_over": False, "start_date": None, "automatic": False,
            "duration_in_weeks": None, "iterations_in_advance": None, "iterations": iterations, **more}


def group(gid, parent, path):
    return {"id": gid, "parent_id": parent, "name": path.title(), "path": path, "visibility_level": 0, "project_creation_level": 2,
            "subgroup_creation_level": 1}


# two cadences of one title, numbers woven together, gaps at the start, in the middle and between; one of them automatic
SMALL = {10: {"self": group(10, None, "team"),
              "iterations_cadences": [
                  cadence(1, "Sprints", [iteration(3, "2024-01-01", "2024-01-14", title="one", id=71), iteration(8, "2024-01-15", "2024-01-28", id=73)]),
                  cadence(2, "Sprints", [iteration(4, "2024-01-01", "2024-01-07", description="text", id=72), iteration(9, "2031-01-06", "2031-01-12", id=74)],
                          automatic=True, duration_in_weeks=1, iterations_in_advance=1, roll_over=True, start_date="2023-12-25")],
              "boards": [{"id": 50, "name": "B", "group_id": 10, "labels": [], "iteration_id": 73, "iteration": {"id": 73, "iid": 8},
                          "lists": [{"id": 501, "list_type": "iteration", "position": 0, "iteration_id": 72, "iteration": {"id": 72, "iid": 4, "start_date": "2024-01-01"}},
                                    {"id": 502, "list_type": "iteration", "position": 1, "iteration_id": 999}]}]},
         11: {"self": group(11, 10, "child"), "iterations_cadences": [cadence(3, "Empty", [])],
              "boards": [{"id": 51, "name": "C", "group_id": 11, "labels": [], "lists": [], "iteration_id": -4, "iteration_cadence_id": None},
                         {"id": 52, "name": "D", "group_id": 11, "labels": [], "lists": [], "iteration_cadence_id": 2, "iteration_cadence": {"id": 2, "title": "Sprints"}}]}}
SMALL_USERS = {"users": [{"id": 1, "username": "root", "email": "root@there.example", "admin": True},
                         {"id": 2, "username": "loader", "email": "loader@there.example"}], "tokens": {"admin": "root", "owner": "loader"}}


def Target(d, name, *args, version="18.8.0-ee", tier="ultimate", users=SMALL_USERS):  # noqa: N802
    return gstest.Target(d, name, "--version", version, "--tier", tier, *args, users=users)


with gstest.scratch() as d:
    key = gstest.keygen(d)
    json.dump(TREE, open(os.path.join(d, "tree.json"), "w"))

    def load(sim, file, state, *args, token=None, verb="apply"):
        more = ("--yes",) if verb == "apply" else ()
        return gstest.replay(verb, file, "--trust", "key.pub", "--url", sim.url, "--state", state, "--json", *more, *args,
                             token=token or sim.tokens["owner"], cwd=d)

    def losses(r):
        return {(x["code"], x["relation"]): x["count"] for x in r.json()["losses"]}

    # ---- both ways of capturing, then the whole way ----
    with gstest.Sim(d, "source", "--seed", os.path.join(d, "tree.json"), "--tier", "ultimate", "--version", "18.8.0-ee") as source:
        truth = source.dump()
        for via in ("api", "relations"):
            r = gstest.snap("create", "--url", source.url, ROOT, "-o", via + ".gsnap", "--key", "key", "--via", via, "--json", token=source.tokens["admin"], cwd=d)
            t.is_eq(r.code, 0, f"{via}: capture", str(r))
        r = gstest.snap("diff", "api.gsnap", "relations.gsnap", "--json", cwd=d)
        differ = [x for x in r.lines() if x.get("relation") == "iterations_cadences" and x.get("kind") != "same"]
        t.is_eq([x for x in differ if x.get("class") == "value"], [], "both captures tell the same of iterations", str(r))
        # an export alone has neither titles nor settings, and says so
        source.faults({"match": {"path": "/graphql$", "body": "iterationCadences\\("}, "times": 0, "do": {"status": 200, "body": {"data": {"group": {"iterationCadences": None}}}}})
        r = gstest.snap("create", "--url", source.url, ROOT, "-o", "bare.gsnap", "--key", "key", "--via", "relations", "--json", token=source.tokens["admin"], cwd=d)
        poor = {x["rule"]: x.get("records", x.get("count")) for x in r.json()["lost"]}
        t.is_eq((poor.get("cadence-settings-not-exported"), poor.get("iteration-title-not-exported")), (3, 30),
                "an export to which the API adds nothing has neither settings nor titles, and the ledger says so", str(r))
    want = names(truth)
    t.ok(len(want[0]) == 3 and len(want[1]) == 30 and sum(c[3] for c in want[0]) == 1, "the source has three cadences, one automatic, and 30 iterations", repr(want[0]))
    users = {"users": TREE["users"], "tokens": TREE["tokens"]}
    for via in ("api", "relations"):
        with Target(d, "whole-" + via, users=users) as sim:
            r = load(sim, via + ".gsnap", via + ".plan", verb="plan", token=sim.tokens["admin"])
            p = losses(r)
            t.is_eq((p.get(("cadence-times", "iterations_cadences")), p.get(("iteration-times", "iterations"))), (3, 30), f"{via}: the plan counts what is lost", str(r))
            r = load(sim, via + ".gsnap", via + ".state", token=sim.tokens["admin"])
            t.is_eq(r.code, 0, f"{via}: load", str(r))
            t.is_eq(names(sim.dump()), want, f"{via}: every cadence and iteration is as at the source, with its number, and no filler remains")
            got = losses(r)
            t.is_eq(got.get(("cadence-start-date", "iterations_cadences")), 1, f"{via}: where the automation begins is a loss record", str(got))
            made = {x["relation"]: x["loaded"] for x in r.json()["relations"]}
            r = gstest.replay("reconcile", via + ".gsnap", "--trust", "key.pub", "--url", sim.url, "--state", via + ".state", token=sim.tokens["admin"], cwd=d)
            row = [x.split() for x in r.out.splitlines() if x.startswith("iterations_cadences")]
            t.is_eq(row[:1], [["iterations_cadences", "3", "3", "2", "1", "0", "0", "0", "0", "0", "0"]], f"{via}: reconcile finds them, one with another start", str(r))
            t.is_eq((made["iterations_cadences"], made["iterations"]), (3, 30), f"{via}: the report counts them", repr(made))
            starts = {c["title"]: c["start_date"] for c in sim.dump()["iterations_cadences"]}
            ahead = min(i["start_date"] for i in truth["iterations"] if i["start_date"] > day(0) and i["cadence_id"] == next(c["id"] for c in truth["iterations_cadences"] if c["automatic"]))
            auto = next(c for c in truth["iterations_cadences"] if c["automatic"])
            t.is_eq({k: v for k, v in starts.items() if k != auto["title"]}, {c["title"]: c["start_date"] for c in truth["iterations_cadences"] if not c["automatic"]}, f"{via}: manual cadences keep their start")
            t.is_eq(starts[auto["title"]], ahead, f"{via}: the automatic one begins with the first that lies ahead")

    # ---- numbers, equal titles, an automatic cadence; then every answer gets lost ----
    small = gstest.bundle(d, key, SMALL, "small")

    def small_truth(dump, base=""):
        c, rows = names(dump)
        return (sorted((x[1:] for x in c), key=repr), [(x[0][1],) + x[1:] for x in rows])

    WANT = ([("Empty", None, False, None, None, True, False), ("Sprints", None, False, None, None, True, False), ("Sprints", None, True, 1, 1, True, True)],
            [("Sprints", 3, "one", None, "2024-01-01", "2024-01-14"), ("Sprints", 4, None, "text", "2024-01-01", "2024-01-07"),
             ("Sprints", 8, None, None, "2024-01-15", "2024-01-28"), ("Sprints", 9, None, None, "2031-01-06", "2031-01-12")])
    with Target(d, "plain") as sim:
        r = load(sim, small, "plain.state")
        t.is_eq(r.code, 0, "a small tree", str(r))
        t.is_eq(small_truth(sim.dump()), WANT, "two cadences of one title, woven numbers with gaps")
        dump = sim.dump()
        at = {x["id"]: x["start_date"] for x in dump["iterations"]}
        cad = {x["id"]: (x["title"], x["automatic"]) for x in dump["iterations_cadences"]}
        t.is_eq(sorted((b["name"], at.get(b["iteration_id"]), cad.get(b["iteration_cadence_id"])) for b in dump["boards"]),
                [("B", "2024-01-15", None), ("C", None, None), ("D", None, ("Sprints", 1))], "boards are limited to their iteration or cadence, also to one of the group above")
        t.is_eq([(x["list_type"], at.get(x["iteration_id"])) for x in dump["lists"] if x["list_type"] not in ("backlog", "closed")], [("iteration", "2024-01-01")], "a list of an iteration")
        got = losses(r)
        t.is_eq((got.get(("board-scope-iteration", "boards")), got.get(("list-reference-missing", "lists"))), (1, 1), "an iteration by its state, and one that the bundle does not have, are losses", str(got))
        r = gstest.replay("undo", "--trust", "key.pub", "--state", "plain.state", "--yes", "--json", token=sim.tokens["admin"], cwd=d)
        t.is_eq((r.code, r.json()["left"]), (0, []), "undo", str(r))
        t.is_eq((sim.dump()["iterations_cadences"], sim.dump()["groups"]), ([], []), "takes groups with iterations away as a whole")
    for what, do in (("lost", {"lose_answer": True}), ("reset", {"reset_after": True}), ("cut", {"cut_after": 20}), ("stale", {"lose_answer": True, "stale_ms": 1200}), ("twice", {"twice": True})):
        with Target(d, "lost-" + what) as sim:
            sim.faults({"match": {"path": "/graphql$", "body": "mutation iteration", "first": True}, "times": 0, "do": do})
            r = load(sim, small, f"lost-{what}.state")
            n = 0
            while r.code == 75 and n < 20:
                n += 1
                r = load(sim, small, f"lost-{what}.state")
            t.is_eq(r.code, 0, f"every answer is {what} once", str(r))
            t.is_eq(small_truth(sim.dump()), WANT, f"{what}: each exactly once")

    # ---- into a group that has iterations already ----
    with Target(d, "merge") as sim:
        own = sim.tokens["owner"]

        def gql(field, payload, head=None, **given):
            q = "mutation($i: %sInput!) { r: %s(input: $i) { errors %s } }" % (head or field[0].upper() + field[1:], field, payload)
            return sim.call("/api/graphql", {"query": q, "variables": {"i": given}}, own)["data"]["r"]

        g = sim.call("/api/v4/groups", {"name": "Team", "path": "team", "visibility": "private"}, own)
        c = gql("iterationCadenceCreate", "iterationCadence { id }", groupPath="team", title="Sprints", automatic=False, active=True)["iterationCadence"]["id"]
        gql("iterationCreate", "iteration { id }", head="iterationCreate", groupPath="team", iterationsCadenceId=c, startDate="2024-01-01", dueDate="2024-01-14", title="mine")
        gql("iterationCreate", "iteration { id }", head="iterationCreate", groupPath="team", iterationsCadenceId=c, startDate="2024-01-20", dueDate="2024-01-25")
        before = sim.dump()
        r = load(sim, small, "merge.state", "--on-existing", "merge")
        fails = gstest.replay("failures", "--state", "merge.state", "--json", cwd=d).lines()
        t.is_eq((r.code, [x["code"] for x in fails if x.get("code")]), (3, ["record-taken"]), "merge: one that would overlap fails, and says so", str(r), repr(fails))
        rows = small_truth(sim.dump())[1]
        t.is_eq([x for x in rows if x[4:] in (("2024-01-01", "2024-01-14"), ("2024-01-20", "2024-01-25"))],
                [("Sprints", 1, "mine", None, "2024-01-01", "2024-01-14"), ("Sprints", 2, None, None, "2024-01-20", "2024-01-25")], "what was there stays as it was")
        t.is_eq([x for x in rows if x[1] > 2], [("Sprints", 4, None, "text", "2024-01-01", "2024-01-07"), ("Sprints", 9, None, None, "2031-01-06", "2031-01-12")], "what is new gets its number", repr(rows))
        t.is_eq(len(sim.dump()["iterations_cadences"]), 3, "the cadence of that title is taken over, the second one made; no cadence of fillers is left")
        got = losses(r)
        t.ok(got.get(("exists-differs", "iterations")) == 1 and got.get(("iteration-iid-changed", "iterations")) == 1, "merge: what differs is named", repr(got))
        # ours gets something of somebody else's: its cadence stays, the rest goes
        auto = next(x for x in sim.dump()["iterations_cadences"] if x["automatic"])
        gql("iterationCadenceUpdate", "iterationCadence { id }", id="gid://gitlab/Iterations::Cadence/%d" % auto["id"], title="theirs now")
        r = gstest.replay("undo", "--trust", "key.pub", "--state", "merge.state", "--yes", "--json", token=sim.tokens["admin"], cwd=d)
        left = {(x["relation"], x["key"]): x["code"] for x in r.json()["left"]}
        t.is_eq(left, {("iterations_cadences", "Sprints"): "changed"}, "undo keeps a cadence that somebody changed", str(r))
        t.is_eq([x[1:] for x in small_truth(sim.dump())[1]], [x[1:] for x in small_truth(before)[1]], "and takes back the iterations that this load made in it")

    # ---- retry of an iteration whose cadence makes its own by now ----
    with Target(d, "retry") as sim:
        sim.faults({"match": {"path": "/graphql$", "body": "2024-01-07"}, "times": 1, "do": {"status": 200, "body": {"data": {"iterationCreate": {"iteration": None, "errors": ["not today"]}}}}})
        r = load(sim, small, "retry.state")
        t.is_eq(r.code, 3, "one is refused", str(r))
        sim.reset_faults()
        r = gstest.replay("retry", "--trust", "key.pub", "--state", "retry.state", "--yes", "--json", token=sim.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "retry", str(r))
        c, rows = small_truth(sim.dump())
        t.is_eq(c, WANT[0], "the cadence makes its own again")
        t.is_eq([x[2:] for x in rows if x[4:] == ("2024-01-01", "2024-01-07")], [(None, "text", "2024-01-01", "2024-01-07")], "and the iteration is there", repr(rows))

    # ---- tiers and versions ----
    for version, tier, there in (("14.10.0-ee", "premium", True), ("15.11.0-ee", "ultimate", True), ("16.11.0-ee", "premium", True), ("17.11.0-ee", "ultimate", True),
                                 ("18.8.0-ee", "free", False), ("15.11.0-ee", "free", False), ("17.11.0", "free", False)):
        with Target(d, f"tier-{version}-{tier}", version=version, tier=tier) as sim:
            state = f"tier-{version}-{tier}.state"
            r = load(sim, small, state)
            got = losses(r)
            if there:
                t.ok(r.code == 0 and small_truth(sim.dump()) == WANT, f"{version} {tier}: loaded", str(r))
            else:
                t.ok(r.code == 0 and got.get(("iterations-not-available", "iterations_cadences")) == 3, f"{version} {tier}: what the tier lacks is a loss and no failure", str(r))
                rel = {x["relation"]: x for x in r.json()["relations"]}
                t.is_eq((rel["iterations"]["in_bundle"], rel["iterations"]["lost"], rel["iterations"]["failed"]), (4, 4, 0), f"{version} {tier}: iterations are counted with it", repr(rel))
t.done()
