#!/usr/bin/python3
"""Exactly once where it is hard: a path that somebody else takes meanwhile, one user who is several people of the bundle,
another user's token, replicas that lag behind, and numbers that add up for every relation."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TIME = "2024-01-02T03:04:05.678Z"
GONE = {"status": 502, "body": "bad gateway"}
NO_TOKEN = {"status": 401, "body": {"message": "401 Unauthorized"}}


def member(mid, uid, level):
    return {"id": mid, "access_level": level, "user_id": uid, "source_type": "Namespace", "created_at": TIME, "updated_at": TIME,
            "expires_at": None, "user": {"id": uid, "public_email": f"p{uid}@here.example", "username": f"src.p{uid}"}}


def milestone(mid, iid, title):
    return {"id": mid, "iid": iid, "title": title, "group_id": 10, "description": None, "state": "active", "start_date": None,
            "due_date": None, "created_at": TIME, "updated_at": TIME}


def group(gid, parent, path, **more):
    return {"id": gid, "parent_id": parent, "name": path.title(), "path": path, "description": f"about {path}", "visibility_level": 0,
            "request_access_enabled": True, **more}


LABEL = {"id": 1, "title": "bug", "color": "#ff0000", "group_id": 10, "description": None, "type": "GroupLabel", "created_at": TIME, "updated_at": TIME}
BOARD = {"id": 50, "name": "Only", "group_id": 10, "milestone_id": None, "weight": None, "hide_backlog_list": False, "hide_closed_list": False,
         "created_at": TIME, "updated_at": TIME, "labels": [],
         "lists": [{"id": 501, "list_type": "label", "position": 0, "label_id": 1, "label": LABEL, "max_issue_count": 0, "max_issue_weight": 0}]}
USERS = {"users": [{"id": 1, "username": "root", "email": "root@there.example", "admin": True},
                   {"id": 2, "username": "loader", "email": "loader@there.example"}] +
         [{"id": 100 + i, "username": f"dst.p{i}", "email": f"p{i}@here.example", "public_email": f"p{i}@here.example"} for i in (1, 2, 3)],
         "tokens": {"admin": "root", "owner": "loader"}}


bundle = gstest.bundle


def Target(d, name, *args, users=USERS):  # noqa: N802
    return gstest.Target(d, name, *args, users=users)


with gstest.scratch() as d:
    key = gstest.keygen(d)

    def replay(verb, sim, file, *args, token=None):
        return gstest.replay(verb, file, "--trust", "key.pub", "--url", sim.url, *args, token=token or sim.tokens["owner"], cwd=d)

    def losses(r):
        return {x["code"]: x for x in r.json()["losses"]}

    def balanced(r, what):
        rows = r.json()["relations"]
        bad = [x for x in rows if x["in_bundle"] != sum(x[k] for k in ("loaded", "there", "lost", "failed", "skipped", "open"))]
        t.ok(rows and not bad, f"{what}: every relation adds up", repr(bad))
        return {x["relation"]: x for x in rows}

    tree = {10: {"self": group(10, None, "team", visibility_level=20, description="x" * 1500), "labels": [LABEL]}}
    team = bundle(d, key, tree, "team")

    # ---- the path is taken by somebody else between two runs ----
    with Target(d, "taken") as sim:
        sim.faults({"match": {"method": "POST", "path": "/groups$"}, "do": GONE})
        sim.faults({"match": {"method": "GET", "path": "/groups/team$", "nth": 2}, "do": NO_TOKEN})
        r = replay("apply", sim, team, "--yes", "--state", "taken.state")
        t.is_eq(r.code, 12, "stopped while looking whether the group is there", str(r))
        sim.reset_faults()
        made = sim.call("/api/v4/groups", {"name": "Team", "path": "team", "visibility": "public"}, sim.tokens["admin"])
        r = replay("apply", sim, team, "--yes", "--json", "--state", "taken.state")
        t.is_eq(r.code, 3, "a group that somebody else made is not taken for ours", str(r))
        t.is_eq([g["id"] for g in sim.dump()["groups"]], [made["id"]], "and no other is made")
        t.is_eq(sim.rows("labels", "team"), [], "and nothing is loaded into it")
        r = gstest.replay("failures", "--state", "taken.state", "--json", cwd=d)
        t.is_eq([x["code"] for x in r.lines()], ["target-taken"], "which is said", str(r))

    # ---- what a group lost is said also when its answer was lost ----
    with Target(d, "found", "--config", '{"restricted_visibility": ["public"], "description_limit": 255}') as sim:
        sim.faults({"match": {"method": "POST", "path": "/groups$", "nth": 3}, "do": {"lose_answer": True}})
        r = replay("apply", sim, team, "--yes", "--json", "--state", "found.state")
        t.is_eq(r.code, 0, "the answer to a new group lost", str(r))
        t.is_eq(r.json()["ops"]["found"], 1, "it is found")
        t.ok({"visibility-lowered", "group-description-cut"} <= set(losses(r)), "and what it lost is said", repr(losses(r)))

    # ---- a gap of numbers, and no filler's answer ever comes ----
    gap = bundle(d, key, {10: {"self": group(10, None, "team"), "milestones": [milestone(31, 1, "first"), milestone(32, 8, "eighth")]}}, "gap")
    with Target(d, "gap") as sim:
        sim.faults({"match": {"method": "POST", "path": "/milestones$", "body": "filler", "first": True}, "times": 100, "do": {"lose_answer": True}})
        r = replay("apply", sim, gap, "--yes", "--json", "--state", "gap.state")
        t.is_eq(r.code, 0, "each of six fillers loses its answer once", str(r))
        t.is_eq([(x["iid"], x["title"]) for x in sim.rows("milestones", "team")], [(1, "first"), (8, "eighth")], "numbers as at the source, no filler left")
        posts = [x["body"]["title"] for x in sim.requests() if x["method"] == "POST" and x["path"].endswith("/milestones")]
        t.is_eq(len(posts), len(set(posts)), "and none was sent twice", repr(posts))

    # ---- what was asked, of a record that is refused with 404 ----
    with Target(d, "notfound") as sim:
        sim.faults({"match": {"method": "POST", "path": "/labels$"}, "times": 9, "do": {"status": 404, "body": {"message": "404 Not found"}}})
        r = replay("apply", sim, bundle(d, key, {10: {"self": group(10, None, "team"), "labels": [LABEL]}}, "notfound"), "--yes", "--state", "nf.state")
        t.is_eq(r.code, 3, "a label refused with 404", str(r))
        asked = [x["request"] for x in gstest.replay("failures", "--state", "nf.state", "--json", cwd=d).lines()]
        t.is_eq(asked, [f"POST /groups/{sim.group('team')['id']}/labels"], "failures names the request that was refused, not the question after it")

    # ---- whether the group is there cannot be found out: the run ends, nothing is concluded from the 404 ----
    with Target(d, "doubt") as sim:
        sim.faults({"match": {"method": "POST", "path": "/labels$"}, "do": {"status": 404, "body": {"message": "404 Not found"}}})
        r = replay("apply", sim, team, "--yes", "--state", "doubt.state", "--stop-after", "1")
        t.ok(r.code not in (0, 3) and "[stopped]" in r.err and sim.group("team"), "--stop-after 1: one step is done, then the run ends", str(r))
        # two samples of what was made come first
        sim.faults(*({"match": {"method": "GET", "path": "/groups/[0-9]+$", "nth": n}, "do": {"status": 500, "body": {"message": "500"}}} for n in range(3, 20)))
        r = replay("apply", sim, team, "--yes", "--state", "doubt.state", "--max-wait", "1")
        t.ok(r.code not in (0, 3), "the run ends", str(r))
        sim.reset_faults()
        r = replay("apply", sim, team, "--yes", "--state", "doubt.state")
        t.is_eq((r.code, [x["title"] for x in sim.rows("labels", "team")]), (0, ["bug"]), "and goes on when it can", str(r))

    # ---- a label that was refused is not replaced by the one of the same title above ----
    below = {**LABEL, "id": 2, "group_id": 11}
    tree = {10: {"self": group(10, None, "team"), "labels": [LABEL]},
            11: {"self": group(11, 10, "child"), "labels": [below],
                 "boards": [{**BOARD, "group_id": 11, "lists": [{**BOARD["lists"][0], "label_id": 2, "label": below}]}]}}
    namesake = bundle(d, key, tree, "namesake")
    with Target(d, "namesake", "--tier", "premium") as sim:
        sim.faults({"match": {"method": "POST", "path": "/labels$", "nth": 1}, "do": {"status": 400, "body": {"message": {"title": ["is invalid"]}}}})
        r = replay("apply", sim, namesake, "--yes", "--json", "--state", "namesake.state")
        t.is_eq(r.code, 3, "the label of the child is refused", str(r))
        t.is_eq([x["title"] for x in sim.rows("labels", "team")], ["bug"], "the one above is there")
        made = [x for x in sim.requests() if x["method"] == "POST" and x["path"].endswith("/lists") and x["status"] == 201]
        t.is_eq(made, [], "no list is made for it in its place")
        balanced(r, "a label refused")

    # ---- renames that cannot work are refused before anything is asked or written ----
    tree = {10: {"self": group(10, None, "team")}, 11: {"self": group(11, 10, "one")}, 12: {"self": group(12, 10, "two")}}
    three = bundle(d, key, tree, "three")
    with Target(d, "renames") as sim:
        for words, what in (("team=x", "too short"), ("team=-bad", "a dash in front"), ("team=a.git", "a name of git"), ("team=a b", "a blank"),
                            ("team=", "nothing"), ("nosuch=xx", "no such group"), ("team", "no new name")):
            r = replay("plan", sim, three, "--rename", words, "--state", "renames.state")
            t.ok(r.code == 2 and "[usage]" in r.err, f"--rename {words}: {what}", str(r))
        r = replay("plan", sim, three, "--rename", "team/one=same", "--rename", "team/two=SAME", "--state", "renames.state")
        t.ok(r.code == 2 and "would both become" in r.err, "two groups of one path", str(r))
        r = replay("plan", sim, three, "--rename", "one=aa", "--rename", "team/one=bb", "--state", "renames.state")
        t.ok(r.code == 2 and "renamed twice" in r.err, "one group renamed twice", str(r))
        t.ok(not os.path.exists(os.path.join(d, "renames.state")), "no state file is left")
        r = replay("plan", sim, three, "--rename", "one=two-b", "--rename", "team/two=one", "--state", "renames.state")
        t.is_eq(r.code, 0, "names may be exchanged", str(r))
        r = replay("apply", sim, three, "--yes", "--rename", "one=other", "--state", "renames.state")
        t.ok(r.code == 30 and "[state-other-options]" in r.err, "other options than those of the plan", str(r))

    # ---- several people of the bundle are one user of the target ----
    tree = {10: {"self": group(10, None, "team"),
                 "members": [member(91, 2, 10), member(92, 1, 50), member(93, 3, 30), member(94, 4, 40), member(95, 5, 20), member(96, 6, 20)]},
            11: {"self": group(11, 10, "child"), "members": [member(97, 4, 30)]}}
    people = bundle(d, key, tree, "people")
    with open(os.path.join(d, "map.csv"), "w") as f:
        f.write("source_username,target_username\nsrc.p2,dst.p1\nsrc.p4,loader\nsrc.p5,loader\n")
    with Target(d, "people") as sim:
        r = replay("apply", sim, people, "--yes", "--json", "--user-map", "map.csv", "--state", "people.state")
        t.is_eq(r.code, 0, "two people are one user", str(r))
        t.is_eq({x["user_id"]: x["access_level"] for x in sim.rows("members", "team")}, {101: 50, 103: 30, 2: 40}, "he has the higher role")
        t.is_eq(losses(r)["member-same-user"]["count"], 2, "the other memberships are a named loss")
        rel = balanced(r, "two people are one user")["members"]
        t.is_eq((rel["in_bundle"], rel["loaded"], rel["lost"]), (7, 3, 4), "members: a role that cannot be given is lost, not loaded", repr(rel))
        balanced(gstest.replay("status", "--state", "people.state", "--json", cwd=d), "status")

    # ---- a group whose settings fail has failed, and the numbers still add up ----
    with Target(d, "settings") as sim:
        tree = {10: {"self": group(10, None, "team", request_access_enabled=False), "members": [member(91, 1, 50)]}}
        settings = bundle(d, key, tree, "settings")
        sim.faults({"match": {"method": "PUT", "path": "/groups/[0-9]+$"}, "do": {"status": 403, "body": {"message": "403 Forbidden"}}})
        r = replay("apply", sim, settings, "--yes", "--json", "--state", "settings.state")
        t.is_eq(r.code, 3, "settings are refused", str(r))
        rel = balanced(r, "settings are refused")["self"]
        t.is_eq((rel["in_bundle"], rel["loaded"], rel["failed"]), (1, 0, 1), "the group counts as failed", repr(rel))

    # ---- another user's token ----
    with Target(d, "token") as sim:
        sim.faults({"match": {"method": "POST", "path": "/labels$"}, "do": NO_TOKEN})
        r = replay("apply", sim, team, "--yes", "--state", "token.state")
        t.is_eq(r.code, 12, "stopped", str(r))
        r = replay("apply", sim, team, "--yes", "--state", "token.state", token=sim.tokens["admin"])
        t.is_eq(r.code, 30, "another user does not go on with it: the first would stay Owner unnoticed", str(r))
        r = replay("apply", sim, team, "--yes", "--state", "token.state")
        t.is_eq(r.code, 0, "the same user does", str(r))

    # ---- replicas that lag behind ----
    tree = {10: {"self": group(10, None, "team"), "labels": [LABEL], "boards": [BOARD],
                 "milestones": [milestone(31, 1, "one"), milestone(32, 4, "four")]}}
    lag = bundle(d, key, tree, "lag")
    with Target(d, "lag", "--tier", "free") as sim:
        # the board is made by GraphQL, its answer is lost, and the first look does not show it
        sim.faults({"match": {"method": "POST", "path": "/graphql$", "body": "createBoard"}, "do": {"lose_answer": True}})
        sim.faults({"match": {"method": "GET", "path": "/boards$", "nth": 3}, "do": {"status": 200, "body": []}})
        # a filler's answer is lost, and the first look for fillers shows none
        sim.faults({"match": {"method": "POST", "path": "/milestones$", "body": "filler"}, "do": {"lose_answer": True}})
        sim.faults({"match": {"method": "GET", "path": "/milestones$", "query": "search="}, "do": {"status": 200, "body": []}})
        r = replay("apply", sim, lag, "--yes", "--json", "--state", "lag.state")
        t.is_eq(r.code, 0, "replicas lag behind", str(r))
        t.is_eq([x["used"] for x in sim.call("/_sim/faults")], [1, 1, 1, 1], "and did so", repr(sim.call("/_sim/faults")))
        t.is_eq(sorted((x["iid"], x["title"]) for x in sim.rows("milestones", "team")), [(1, "one"), (4, "four")], "no filler is left behind")
        t.is_eq([x["name"] for x in sim.rows("boards", "team")], ["Only"], "one board")
        t.is_eq(len([x for x in sim.dump()["lists"] if x.get("label_id")]), 1, "with its list")
        t.ok("boards-not-available" not in losses(r), "which is no loss", repr(losses(r)))
t.done()
