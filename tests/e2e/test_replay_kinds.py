#!/usr/bin/python3
"""Each kind of the loader with its odd cases, against the simulator: titles that a group above has, gaps in milestone numbers,
equal badges, tiers, inherited roles, locks, ownership, merging, lost answers, the user map."""
import copy
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TIME = "2024-01-02T03:04:05.678Z"


def user(uid):
    return {"id": uid, "public_email": f"p{uid}@here.example", "username": f"src.p{uid}"}


def member(mid, uid, level, **more):
    return {"id": mid, "access_level": level, "user_id": uid, "source_type": "Namespace", "created_at": TIME, "updated_at": TIME,
            "expires_at": None, "user": user(uid), **more}


def label(lid, title, gid, color="#ff0000", description=None):
    return {"id": lid, "title": title, "color": color, "group_id": gid, "description": description, "type": "GroupLabel",
            "created_at": TIME, "updated_at": TIME}


def milestone(mid, iid, title, gid, **more):
    return {"id": mid, "iid": iid, "title": title, "group_id": gid, "description": None, "state": "active", "start_date": None,
            "due_date": None, "created_at": TIME, "updated_at": TIME, **more}


def badge(bid, name, link="https://ci.example/%{project_path}", image="https://ci.example/b.svg"):
    return {"id": bid, "name": name, "link_url": link, "image_url": image, "created_at": TIME, "updated_at": TIME, "type": "GroupBadge"}


def lst(lid, position, lab=None, **more):
    return {"id": lid, "list_type": "label", "position": position, "label_id": lab and lab["id"], "label": lab,
            "max_issue_count": 0, "max_issue_weight": 0, **more}


def board(bid, name, gid, lists=(), **more):
    return {"id": bid, "name": name, "group_id": gid, "milestone_id": None, "weight": None, "hide_backlog_list": False,
            "hide_closed_list": False, "created_at": TIME, "updated_at": TIME, "labels": [], "lists": list(lists), **more}


def group(gid, parent, path, **more):
    return {"id": gid, "parent_id": parent, "name": more.pop("name", path.title()), "path": path, "description": f"about {path}",
            "visibility_level": 0, "share_with_group_lock": False, "membership_lock": False, "request_access_enabled": True,
            "project_creation_level": 2, "subgroup_creation_level": 1, "two_factor_grace_period": 48, **more}


BUG, N42, OWN = label(1, "bug", 10), label(2, "42", 10, "#abc"), label(3, "bug", 11, "#00ff00", "the child's own")
NESTED = label(9, "only on a board", 11, "#123456")
TREE = {
    10: {"self": group(10, None, "team", project_creation_level=1, share_with_group_lock=True, request_access_enabled=False),
         "labels": [N42, BUG],
         "milestones": [milestone(33, 5, "v3", 10), milestone(32, 4, "v2 <b>bold</b>", 10, state="closed", due_date="2030-02-01"),
                        milestone(31, 2, "v1", 10, start_date="2030-01-01", due_date="2030-01-31")],
         "badges": [badge(7, "two"), badge(5, "one"), badge(8, "two")],
         "boards": [board(51, "Second", 10, [lst(511, 0, BUG)], hide_backlog_list=True),
                    board(50, "First", 10, [lst(502, 1, N42, max_issue_count=7), lst(501, 0, BUG), {"id": 503, "list_type": "closed", "position": None}])],
         "members": [member(91, 1, 50), member(92, 2, 40), member(93, 3, 30, expires_at="2001-01-01"), member(94, 4, 30),
                     member(95, 5, 30), member(96, 6, 20, expires_at="2999-01-01")]},
    11: {"self": group(11, 10, "child", shared_runners_enabled=False, allow_descendants_override_disabled_shared_runners=False),
         "labels": [OWN],
         "milestones": [milestone(41, 1, "v1", 11)],
         "boards": [board(60, "Third", 11, [lst(601, 0, NESTED), lst(602, 1, OWN)], milestone_id=41, weight=3, labels=[BUG],
                          milestone=milestone(41, 1, "v1", 11))],
         "members": [member(97, 2, 30), member(98, 6, 40)]},
}
USERS = {"users": [{"id": 1, "username": "root", "email": "root@there.example", "admin": True},
                   {"id": 2, "username": "loader", "email": "loader@there.example"}] +
         [{"id": 100 + i, "username": f"dst.p{i}", "email": f"p{i}@here.example", "public_email": f"p{i}@here.example"} for i in (1, 2, 3, 6)] +
         [{"id": 104, "username": "dst.p4", "email": "p4@here.example", "public_email": "p4@here.example", "state": "blocked"},
          # a search for the address of p5 hits this name, which is not his
          {"id": 120, "username": "trap", "name": "p5@here.example", "email": "trap@there.example", "public_email": "trap@there.example"}],
         "tokens": {"admin": "root", "owner": "loader"}}


bundle = gstest.bundle


def Target(d, name, *args, users=USERS):  # noqa: N802
    return gstest.Target(d, name, *args, users=users)


with gstest.scratch() as d:
    key = gstest.keygen(d)
    pack = bundle(d, key, TREE, "pack")

    def replay(verb, sim, *args, file=pack, token=None, **kw):
        return gstest.replay(verb, file, "--trust", "key.pub", "--url", sim.url, *args, token=token or sim.tokens["owner"], cwd=d, **kw)

    def losses(r):
        return {x["code"]: x for x in r.json()["losses"]}

    # ---- everything at once, on Premium, below a group that has labels and a board page of its own ----
    with Target(d, "premium", "--version", "17.8.1-ee", "--config", '{"sanitize_milestone_titles": true}') as sim:
        own = sim.tokens["owner"]
        base = sim.call("/api/v4/groups", {"name": "Base", "path": "base"}, own)
        sim.call(f"/api/v4/groups/{base['id']}/labels", {"name": "bug", "color": "#000000"}, own)
        sim.call(f"/api/v4/groups/{base['id']}/members", {"user_id": 101, "access_level": 50}, own)

        r = replay("plan", sim, "--into", "base", "--json", "--state", "a.state")
        t.is_eq(r.code, 0, "plan", str(r))
        plan = r.json()
        t.is_eq(plan["schema"], "groupsnap.plan/1", "plan --json says what it is")
        t.is_eq(plan["people"]["by_email"], 4, "people found by email")
        t.is_eq(sorted(x["why"] for x in plan["people"]["missing"]), ["blocked", "not-found"], "who is nobody, and why")
        t.ok({"label-times", "member-expired", "member-no-user", "group-times"} <= set(losses(r)), "losses are said before", repr(losses(r)))
        before = len(sim.dump()["groups"])
        r = replay("plan", sim, "--into", "base", "--state", "a.state")
        t.is_eq(r.code, 0, "a plan that was not begun may be made again", str(r))
        t.has(r.out, "base/team/child", "the plan names the target paths")
        r = replay("plan", sim, "--into", "base", "--csv", "--state", "a2.state")
        t.has(r.out, "loss,team,base/team,members,src.p3,member-expired,1,2001-01-01", "plan --csv names a loss")
        t.is_eq(len(sim.dump()["groups"]), before, "planning writes nothing")

        r = gstest.replay("apply", "--state", "a.state", "--trust", "key.pub", token=own, cwd=d)
        t.is_eq(r.code, 2, "without a terminal and --yes nothing is loaded")
        t.has(r.err, "not-confirmed", "and it says so")
        sim.call("/_sim/reset_log", {})
        r = gstest.replay("apply", "--state", "a.state", "--trust", "key.pub", "--yes", "--json", token=own, cwd=d)
        t.is_eq(r.code, 0, "apply with the state file alone", str(r))
        lost = losses(r)
        log = [x for x in sim.requests()]

        t.is_eq([x["title"] for x in sim.rows("labels", "base/team", title="bug")], ["bug"], "a label that a group above has")
        t.is_eq(sim.rows("labels", "base/team", title="42")[0]["color"].lower()[:2], "#a", "a label called like an id")
        t.is_eq(sim.rows("labels", "base/team/child", title="bug")[0]["color"], "#00ff00", "the child's label of the same title")
        t.is_eq(len(sim.rows("labels", "base/team/child", title="only on a board")), 1, "a label that only a board names")

        rows = sorted((x["iid"], x["title"], x["state"]) for x in sim.rows("milestones", "base/team"))
        t.is_eq(rows, [(2, "v1", "active"), (4, "v2 bold", "closed"), (5, "v3", "active")], "milestones keep their numbers, fillers are gone")
        t.is_eq([x["title"] for x in sim.rows("milestones", "base/team/child")], ["v1 (child)"], "a milestone title that the group above has")
        t.ok({"milestone-renamed", "milestone-title-sanitised"} <= set(lost), "both are named", repr(lost))
        t.is_eq([x["name"] for x in sorted(sim.rows("badges", "base/team"), key=lambda x: x["id"])], ["one", "two", "two"], "equal badges, in order")

        boards = {x["name"]: x for x in sim.rows("boards", "base/team")}
        t.is_eq(sorted(boards), ["First", "Second"], "boards")
        t.ok(boards["Second"]["hide_backlog_list"], "a board's hidden list")
        lists = sorted((x for x in sim.dump()["lists"] if x["board_id"] == boards["First"]["id"] and x.get("label_id")), key=lambda x: x["position"])
        names = {x["id"]: x["title"] for x in sim.dump()["labels"]}
        t.is_eq([names[x["label_id"]] for x in lists], ["bug", "42"], "lists in order")
        t.is_eq([x["max_issue_count"] for x in lists], [0, 7], "limits of work in progress")
        third = sim.rows("boards", "base/team/child", name="Third")[0]
        t.is_eq((third["weight"], third["milestone_id"]), (3, sim.rows("milestones", "base/team/child")[0]["id"]), "a board's scope")
        scope = [x["label_id"] for x in sim.dump()["board_labels"] if x["board_id"] == third["id"]]
        t.is_eq(scope, [sim.rows("labels", "base/team", title="bug")[0]["id"]], "a board's label is the one of the group it came from")

        who = {x["user_id"]: (x["access_level"], x["expires_at"]) for x in sim.rows("members", "base/team")}
        t.is_eq(who, {101: (50, None), 102: (40, None), 106: (20, "2999-01-01")}, "members; the loading user has left")
        who = {x["user_id"]: x["access_level"] for x in sim.rows("members", "base/team/child")}
        t.is_eq(who, {106: 40}, "a role below the inherited one is a loss")
        t.ok({"member-inherits-more"} <= set(lost), "which is named")

        g = sim.group("base/team")
        t.is_eq((g["project_creation_level"], g["request_access_enabled"], g["share_with_group_lock"]), ("maintainer", False, True), "settings and locks")
        t.is_eq(sim.group("base/team/child")["shared_runners_setting"], "disabled_and_unoverridable", "two columns make one setting")
        locks = [i for i, x in enumerate(log) if x["method"] == "PUT" and "share_with_group_lock" in json.dumps(x.get("body"))]
        t.ok(locks and all(x["method"] != "POST" for x in log[locks[-1]:]), "locks come when everything is made")
        last = [x for x in log if x["method"] == "DELETE" and "/members/" in x["path"]]
        t.is_eq(log[-1]["method"], "DELETE", "leaving the root is the very last request", log[-1])
        t.is_eq(len(last), 2, "the loading user leaves both groups")

        # ---- once more into what is there now: nothing new ----
        rows = {k: len(v) for k, v in sim.dump().items() if isinstance(v, list)}
        sim.call(f"/api/v4/groups/{g['id']}/labels/{sim.rows('labels', 'base/team', title='42')[0]['id']}", {"color": "#010203"}, own, "PUT")
        r = replay("plan", sim, "--into", "base", "--state", "b.state")
        t.is_eq(r.code, 30, "a group that is there stops the plan")
        t.ok(not os.path.exists(os.path.join(d, "b.state")), "and leaves no state file")
        sim.call(f"/api/v4/groups/{g['id']}", {"request_access_enabled": True, "lock_math_rendering_limits_enabled": True}, own, "PUT")
        for nth in ("first", "second"):
            sim.call("/_sim/reset_log", {})
            r = replay("apply", sim, "--into", "base", "--on-existing", "merge", "--yes", "--json", "--state", f"merge-{nth}.state")
            t.is_eq(r.code, 0, f"{nth} merge", str(r))
            t.is_eq({k: len(v) for k, v in sim.dump().items() if isinstance(v, list)}, rows, f"{nth} merge makes nothing new")
            t.ok("exists-differs" in losses(r), f"{nth} merge names the label that differs", repr(losses(r)))
        t.is_eq((sim.rows("labels", "base/team", title="42")[0]["color"], sim.group("base/team")["request_access_enabled"]), ("#010203", True),
                "merging overwrites nothing")

    # ---- Free ----
    with Target(d, "free", "--tier", "free") as sim:
        r = replay("apply", sim, "--yes", "--json", "--state", "free.state")
        t.is_eq(r.code, 0, "Free: loaded", str(r))
        t.is_eq(len(sim.rows("boards", "team")), 1, "Free: one board")
        t.is_eq(sim.rows("boards", "team")[0]["name"], "First", "Free: the oldest one")
        t.ok("boards-not-available" in losses(r), "Free: the other is a named loss")
        t.ok("board-scope-not-applied" in losses(r), "Free: a board's scope is a named loss", repr(losses(r)))
    with Target(d, "ce", "--version", "16.11.1") as sim:
        r = replay("apply", sim, "--yes", "--json", "--state", "ce.state")
        t.is_eq(r.code, 0, "Community Edition: loaded", str(r))
        t.is_eq(len(sim.rows("boards", "team")), 1, "Community Edition: one board")
        t.ok({"boards-not-available", "board-list-limits"} <= set(losses(r)), "Community Edition: named losses", repr(losses(r)))

    # ---- the default board, made by a visitor between two runs ----
    with Target(d, "visited") as sim:
        sim.faults({"match": {"method": "POST", "path": "/boards$"}, "do": {"status": 401, "body": {"message": "401 Unauthorized"}}, "times": 2})
        r = replay("apply", sim, "--yes", "--state", "visited.state")
        t.is_eq(r.code, 12, "a token that is refused stops the load", str(r))
        sim.reset_faults()
        sim.call("/_sim/open_boards_page", {"group": "team"})
        r = replay("apply", sim, "--yes", "--state", "visited.state")
        t.is_eq(r.code, 0, "it goes on", str(r))
        t.is_eq(sorted(x["name"] for x in sim.rows("boards", "team")), ["First", "Second"], "the default board becomes the first one")

    # ---- failures ----
    tree = copy.deepcopy(TREE)
    tree[10]["milestones"] = [milestone(31, 1, "backwards", 10, start_date="2030-02-01", due_date="2030-01-01"), milestone(32, 2, "fine", 10)]
    tree[10]["badges"] = [badge(5, "bad", link="ftp://x.example/y")]
    bad = bundle(d, key, tree, "bad")
    with Target(d, "failures") as sim:
        r = replay("apply", sim, "--yes", "--state", "bad.state", file=bad)
        t.is_eq(r.code, 3, "records that are refused: exit 3", str(r))
        t.is_eq([(x["iid"], x["title"]) for x in sim.rows("milestones", "team")], [(2, "fine")], "the number of a refused one is filled")
        r = gstest.replay("failures", "--state", "bad.state", "--json", cwd=d)
        rows = {x["key"]: x for x in r.lines()}
        t.is_eq(sorted(rows), ["backwards", "bad"], "failures names both", str(r))
        t.has(rows["backwards"]["text"], "must be greater than start date", "with the server's words")
        t.ok(rows["bad"]["http"] == 400 and rows["bad"]["request_id"] and rows["bad"]["hint"] and rows["bad"]["code"] == "refused",
             "status, request id, code and hint", repr(rows["bad"]))
        t.is_eq([x["access_level"] for x in sim.rows("members", "team", user_id=2)], [50], "the loading user stays, to be able to mend it")
        r = gstest.replay("status", "--state", "bad.state", "--json", cwd=d)
        t.is_eq(r.json()["ops"]["failed"], 2, "status counts them")
        r = replay("apply", sim, "--yes", "--state", "bad.state", file=bad)
        t.is_eq(r.code, 3, "again: nothing to do, still incomplete")
        r = replay("apply", sim, "--yes", "--state", "bad.state")
        t.is_eq(r.code, 30, "another bundle with this state file", str(r))

    # ---- lost answers, one per kind, and an answer that is lost again ----
    for what, path in (("group", "/groups$"), ("label", "/labels$"), ("milestone", "/milestones$"), ("badge", "/badges$"),
                       ("board", "/boards$"), ("list", "/lists$"), ("member", "/members$")):
        with Target(d, "lost-" + what) as sim:
            sim.faults({"match": {"method": "POST", "path": path, "every": 2}, "do": {"lose_answer": True}, "times": 0})
            r = replay("apply", sim, "--yes", "--json", "--state", f"lost-{what}.state")
            t.is_eq(r.code, 0, f"every second answer to a new {what} lost", str(r))
            n = {rel: len(sim.rows(rel, "team")) for rel in ("labels", "milestones", "badges", "boards", "members")}
            t.is_eq(n, {"labels": 2, "milestones": 3, "badges": 3, "boards": 2, "members": 3}, f"{what}: each there once")
            t.ok(r.json()["ops"]["found"] > 0, f"{what}: found again")
    # a write that fails on its way leaves nothing behind, and equal objects are not taken for it
    for path, nth in (("/groups$", 2), ("/labels$", 2), ("/milestones$", 3), ("/badges$", 3), ("/boards$", 2), ("/lists$", 2), ("/members$", 2)):
        with Target(d, "gone" + path.strip("/$")) as sim:
            sim.faults({"match": {"method": "POST", "path": path, "nth": nth}, "do": {"status": 502, "body": "bad gateway"}})
            r = replay("apply", sim, "--yes", "--json", "--state", f"gone{path.strip('/$')}.state")
            t.is_eq(r.code, 0, f"a write that came to nothing: {path}", str(r))
            n = {rel: len(sim.rows(rel, "team")) for rel in ("labels", "milestones", "badges", "boards", "members")}
            t.is_eq(n, {"labels": 2, "milestones": 3, "badges": 3, "boards": 2, "members": 3}, f"{path}: each there once")

    # the answer is lost, and the first look afterwards goes to a replica that does not know of it yet
    for path in ("/labels$", "/milestones$", "/badges$", "/1/boards$", "/lists$", "/members/[0-9]+$"):
        with Target(d, "stale" + path.split("/")[1]) as sim:
            post = path.replace("/[0-9]+", "")
            member_gone = "members" in path
            sim.faults({"match": {"method": "POST", "path": post, "nth": 2}, "do": {"lose_answer": True}})
            sim.faults({"match": {"method": "GET", "path": path, "nth": 1}, "do": {"status": 404, "body": {"message": "404 Not found"}}}
                       if member_gone else
                       {"match": {"method": "GET", "path": path, "nth": 2 if "boards" in path else 1}, "do": {"status": 200, "body": []}})
            r = replay("apply", sim, "--yes", "--json", "--state", f"stale{path.split('/')[1]}.state")
            t.is_eq(r.code, 0, f"a stale look after a lost answer: {path}", str(r))
            n = {rel: len(sim.rows(rel, "team")) for rel in ("labels", "milestones", "badges", "boards", "members")}
            t.is_eq(n, {"labels": 2, "milestones": 3, "badges": 3, "boards": 2, "members": 3}, f"{path}: each there once")
            n = {rel: len(sim.rows(rel, "team/child")) for rel in ("labels", "milestones", "badges", "boards", "members")}
            t.is_eq(n, {"labels": 2, "milestones": 1, "badges": 0, "boards": 1, "members": 1}, f"{path}: in the child too")
            used = [x for x in sim.call("/_sim/faults") if x["used"]]
            t.is_eq(len(used), 2, f"{path}: both faults happened", repr(sim.call("/_sim/faults")))
    # the numbers of the milestones are counted anew after an interruption, from a replica that shows nothing yet
    with Target(d, "recount") as sim:
        sim.faults({"match": {"method": "POST", "path": "/milestones$", "body": '"v2', "nth": 1}, "do": {"status": 401, "body": {"message": "401 Unauthorized"}}})
        r = replay("apply", sim, "--yes", "--state", "recount.state")
        t.is_eq(r.code, 12, "stopped between two milestones", str(r))
        sim.faults({"match": {"method": "GET", "path": "/milestones$", "nth": 1}, "do": {"status": 200, "body": []}})
        r = replay("apply", sim, "--yes", "--state", "recount.state")
        t.is_eq(r.code, 0, "goes on", str(r))
        t.is_eq(sorted(x["iid"] for x in sim.rows("milestones", "team")), [2, 4, 5], "with the right numbers")
    with Target(d, "lost-put") as sim:
        sim.faults({"match": {"method": "PUT", "path": "/(milestones|boards|groups)/"}, "do": {"lose_answer": True}, "times": 9})
        r = replay("apply", sim, "--yes", "--state", "lost-put.state")
        t.is_eq(r.code, 0, "answers to changes lost", str(r))
        t.is_eq(sorted(x["state"] for x in sim.rows("milestones", "team")), ["active", "active", "closed"], "changes are there")
    with Target(d, "dead") as sim:
        sim.faults({"match": {"method": "POST", "path": "/badges$"}, "do": {"status": 502, "body": "bad gateway"}, "times": 0})
        r = replay("apply", sim, "--yes", "--state", "dead.state")
        t.is_eq(r.code, 3, "no answer ever: given up", str(r))
        n = len([x for x in sim.requests() if x["method"] == "POST" and x["path"].endswith("/badges")])
        t.is_eq(n, 15, "after five writes each")

    # ---- people ----
    with Target(d, "people") as sim:
        def plan(text, *args):
            with open(os.path.join(d, "map.csv"), "wb") as f:
                f.write(text)
            return replay("plan", sim, "--user-map", "map.csv", "--state", "people.state", *args)
        head = b"\xef\xbb\xbfsource_username,target_username\r\n"
        r = plan(head + b'src.p5,"dst.p3"\r\nsrc.p1,\r\n', "--json")
        t.is_eq(r.code, 0, "a map with BOM, CRLF and quotes", str(r))
        t.is_eq(r.json()["people"]["by_map"], 1, "one by the map")
        t.ok({"source_id": 1, "username": "src.p1", "why": "csv"} in r.json()["people"]["missing"], "one left out on purpose")
        for text, part in ((head + b"src.p5,nobody\r\n", "line 2"), (head + b"src.p1,dst.p1\r\nsrc.p1,dst.p2\r\n", "line 3"),
                           (head + b'src.p1,"dst\r\n', "line 2"), (b"a,b\n", "line 1"), (head + b"src.p5,dst.p4\r\n", "blocked"),
                           (head + b"src.p5,dst.p1,x\r\n", "line 2")):
            r = plan(text)
            t.ok(r.code == 2 and part in r.err and "user-map" in r.err, f"map error: {part}", str(r))
        r = plan(head + b"src.p99,dst.p1\r\n")
        t.ok(r.code == 0 and "mean nobody" in r.err, "a line about nobody of the bundle is said", str(r))
        r = replay("apply", sim, "--dry-run", "--state", "dry.state")
        t.ok(r.code == 0 and "team" in r.out and not [x for x in os.listdir(d) if x.startswith("dry.state")], "--dry-run leaves nothing", str(r))
        t.is_eq(sim.dump()["groups"], [], "and writes nothing")
        # an admin finds people by addresses that others do not see
        r = replay("plan", sim, "--state", "admin.state", "--json", token=sim.tokens["admin"])
        t.is_eq(r.json()["people"]["by_email"], 4, "as admin")

    # ---- the loading user's own membership, and what else the server may do with members ----
    tree = copy.deepcopy(TREE)
    tree[10]["members"].append(member(99, 7, 40))
    users = copy.deepcopy(USERS)
    users["users"][1].update(public_email="p7@here.example")
    mine = bundle(d, key, tree, "mine")
    with Target(d, "mine", users=users) as sim:
        r = replay("apply", sim, "--yes", "--json", "--state", "mine.state", file=mine)
        t.is_eq(r.code, 0, "the loading user is in the bundle", str(r))
        t.is_eq([x["access_level"] for x in sim.rows("members", "team", user_id=2)], [40], "he gets the role he had")
        t.is_eq(sim.rows("members", "team/child", user_id=2), [], "and leaves where he had none")
    with Target(d, "keep", users=users) as sim:
        r = replay("apply", sim, "--yes", "--json", "--keep-owner", "--state", "keep.state", file=mine)
        t.is_eq([x["access_level"] for x in sim.rows("members", "team", user_id=2)], [50], "--keep-owner")
        t.is_eq(losses(r)["creator-kept-as-owner"]["count"], 2, "is a named loss")
    with Target(d, "locked") as sim:
        sim.faults({"match": {"method": "POST", "path": "/members$"}, "do": {"status": 405, "body": {"message": "405 Method Not Allowed"}}, "times": 1})
        r = replay("apply", sim, "--yes", "--json", "--state", "locked.state")
        t.ok(r.code == 0 and losses(r)["member-locked"]["count"] == 1, "members that follow LDAP are a named loss", str(r))
    tree = copy.deepcopy(TREE)
    tree[11]["self"]["path"] = "a--b.git"
    with Target(d, "path") as sim:
        r = replay("apply", sim, "--yes", "--state", "path.state", file=bundle(d, key, tree, "path"))
        t.is_eq(r.code, 3, "a path that the target does not take", str(r))
        r = gstest.replay("failures", "--state", "path.state", "--skipped", "--json", cwd=d)
        rows = r.lines()
        t.ok(rows[0]["kind"] == "groups" and "--rename 'team/a--b.git=" in rows[0]["text"], "says what to do", repr(rows[:1]))
        t.ok(len(rows) > 5 and {x["code"] for x in rows[1:]} == {"dependency-failed"}, "what stands on it is skipped", repr(rows[1:3]))
        r = replay("apply", sim, "--yes", "--state", "path2.state", "--rename", "team/a--b.git=child:Kid", "--rename", "team=crew", file="path.gsnap")
        t.is_eq(r.code, 0, "with --rename it goes", str(r))
        t.is_eq((sim.group("crew/child")["name"], sim.group("crew")["name"]), ("Kid", "Team"), "under the names that were asked for")
    with Target(d, "queue", "--config", '{"member_promotion_management": true}') as sim:
        r = replay("apply", sim, "--yes", "--json", "--state", "queue.state")
        t.ok(r.code == 0 and "member-awaits-approval" in losses(r), "members that wait for approval", str(r))
        t.is_eq(losses(r)["creator-kept-as-owner"]["count"] >= 1, True, "nobody else owns the group: he stays")
    with Target(d, "restricted", "--config", '{"restricted_visibility": ["public"]}') as sim:
        tree = copy.deepcopy(TREE)
        tree[10]["self"]["visibility_level"] = 20
        tree[10]["self"]["description"] = "x" * 1500
        r = replay("apply", sim, "--yes", "--json", "--state", "restricted.state", file=bundle(d, key, tree, "public"))
        t.ok(r.code == 0 and {"visibility-lowered", "group-description-cut"} <= set(losses(r)), "visibility and description that the target refuses", str(r))
t.done()
