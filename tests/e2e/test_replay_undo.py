#!/usr/bin/python3
"""Taking a load back: what this load made goes, what was there, what others changed or put in stays; exact also when it is killed."""
import json
import os
import pty
import random
import select
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TIME = "2024-01-02T03:04:05.678Z"
POINTS = int(os.environ.get("GS_UNDO_POINTS", "50"))
SEED = int(os.environ.get("GS_SEED", "20261122"))


def group(gid, parent, path, **more):
    return {"id": gid, "parent_id": parent, "name": path.title(), "path": path, "description": f"about {path}", "visibility_level": 0,
            "request_access_enabled": False, **more}


def label(lid, gid, title):
    return {"id": lid, "title": title, "color": "#ff0000", "group_id": gid, "description": None, "type": "GroupLabel", "created_at": TIME, "updated_at": TIME}


def milestone(mid, gid, iid, title, state="active"):
    return {"id": mid, "iid": iid, "title": title, "group_id": gid, "description": "d", "state": state, "start_date": None, "due_date": "2030-01-02",
            "created_at": TIME, "updated_at": TIME}


def badge(bid, gid, name):
    return {"id": bid, "group_id": gid, "name": name, "link_url": f"https://x.example/{name}", "image_url": f"https://x.example/{name}.svg",
            "created_at": TIME, "updated_at": TIME, "type": "GroupBadge"}


def member(mid, uid, level):
    return {"id": mid, "access_level": level, "user_id": uid, "source_type": "Namespace", "created_at": TIME, "updated_at": TIME,
            "expires_at": None, "user": {"id": uid, "public_email": f"p{uid}@here.example", "username": f"src.p{uid}"}}


def board(bid, gid, name, labels, scope=()):
    return {"id": bid, "name": name, "group_id": gid, "milestone_id": None, "weight": None, "hide_backlog_list": False, "hide_closed_list": False,
            "created_at": TIME, "updated_at": TIME, "labels": list(scope),
            "lists": [{"id": bid * 10 + i, "list_type": "label", "position": i, "label_id": x["id"], "label": x, "max_issue_count": 0, "max_issue_weight": 0}
                      for i, x in enumerate(labels)]}


USERS = {"users": [{"id": 1, "username": "root", "email": "root@there.example", "admin": True},
                   {"id": 2, "username": "loader", "email": "loader@there.example"}] +
         [{"id": 100 + i, "username": f"dst.p{i}", "email": f"p{i}@here.example", "public_email": f"p{i}@here.example"} for i in (1, 2, 3)],
         "tokens": {"admin": "root", "owner": "loader"}}
BUG, FEATURE, DOCS = label(1, 10, "bug"), label(2, 10, "feature"), label(3, 10, "docs")
TREE = {10: {"self": group(10, None, "team"), "labels": [BUG, FEATURE, DOCS], "badges": [badge(71, 10, "one"), badge(72, 10, "two")],
             "milestones": [milestone(31, 10, 1, "first"), milestone(32, 10, 2, "second", "closed"), milestone(33, 10, 5, "fifth")],
             "boards": [board(50, 10, "Plan", [BUG, FEATURE, DOCS], [FEATURE]), board(51, 10, "Other", [BUG])],
             "members": [member(91, 1, 50), member(92, 2, 30)]},
        11: {"self": group(11, 10, "child"), "labels": [label(4, 11, "bug"), label(5, 11, "inner")], "boards": [board(52, 11, "Below", [FEATURE])]},
        12: {"self": group(12, 11, "deep"), "labels": [label(6, 12, "far")], "badges": [badge(73, 12, "three")]},
        13: {"self": group(13, 10, "empty")}}


def Target(d, name, *args, users=USERS):  # noqa: N802
    return gstest.Target(d, name, "--tier", "premium", "--version", "17.8.1-ee", *args, users=users)


def bare(dump):
    """What an instance holds, without what no deletion gives back: counters of numbers, times."""
    dump = json.loads(json.dumps(dump))
    dump.pop("counters", None)
    for rows in dump.values():
        for x in rows if isinstance(rows, list) else []:
            if isinstance(x, dict):
                x.pop("updated_at", None)
    return dump


with gstest.scratch() as d:
    key = gstest.keygen(d)
    team = gstest.bundle(d, key, TREE, "team")

    def apply(sim, state, *args, token=None):
        return gstest.replay("apply", team, "--trust", "key.pub", "--url", sim.url, "--state", state, "--yes", *args,
                             token=token or sim.tokens["owner"], cwd=d)

    def undo(sim, state, *args, token=None):
        return gstest.replay("undo", "--trust", "key.pub", "--state", state, *args, token=token or sim.tokens["admin"], cwd=d)

    def left(r):
        return {(x["target_group"], x["relation"], x["key"]): x["code"] for x in r.json()["left"]}

    def prepare(sim, parent="base"):
        """A group to load into, with a bit of everything in it."""
        sim.call("/api/v4/groups", {"name": parent.title(), "path": parent, "visibility": "private"}, sim.tokens["owner"])
        base = sim.group(parent)["id"]
        sim.call(f"/api/v4/groups/{base}/labels", {"name": "before", "color": "#00ff00"}, sim.tokens["owner"])
        return base

    # ---- a whole load into a group, all of it taken back ----
    with Target(d, "whole") as sim:
        prepare(sim)
        before = bare(sim.dump())
        r = apply(sim, "whole.state", "--into", "base")
        t.is_eq(r.code, 0, "a whole load", str(r))
        loaded = sim.dump()
        r = undo(sim, "whole.state")
        t.ok(r.code == 2 and "[not-confirmed]" in r.err and "  4 groups" in r.err and "  6 labels" in r.err, "undo without a terminal and --yes shows the list only", str(r))
        t.is_eq(sim.dump(), loaded, "and removes nothing")
        r = undo(sim, "whole.state", "--dry-run", "--json")
        t.is_eq((r.code, r.json()["left"], {x["relation"]: x["removed"] for x in r.json()["relations"]}["groups"]), (0, [], 4), "--dry-run: everything would go", str(r))
        t.is_eq(sim.dump(), loaded, "and nothing goes")
        t.has(undo(sim, "whole.state", "--dry-run").out, "would go", "--dry-run: the heading says that it is not done")
        t.is_eq(gstest.replay("status", "--state", "whole.state", "--json", cwd=d).json()["undo"], None, "status: not taken back")
        r = apply(sim, "whole.state", "--into", "base")
        t.is_eq(r.code, 0, "a look does not spoil the state", str(r))
        r = undo(sim, "whole.state", "--yes", "--json")
        t.is_eq((r.code, r.json()["left"]), (0, []), "undo", str(r))
        t.is_eq(bare(sim.dump()), before, "the target holds what it held before the load")
        r = gstest.replay("status", "--state", "whole.state", "--json", cwd=d)
        x = r.json()
        t.ok(x["undo"]["state"] == "complete" and x["undo"]["made"] == x["undo"]["removed"] > 0 and x["run"]["command"] == "undo" and x["run"]["state"] == "ended",
             "status: the load was taken back", str(r)[:600])
        t.has(gstest.replay("status", "--state", "whole.state", cwd=d).out, "load        was taken back: of ", "also in words")
        deletes = [x["path"] for x in sim.requests() if x["method"] == "DELETE" and x["status"] < 300]
        t.is_eq(len([p for p in deletes if p.count("/") == 4]), 8, "a group that nobody touched is deleted as a whole, in two steps", repr(deletes))
        n = len(sim.requests())
        r = undo(sim, "whole.state", "--yes")
        t.ok(r.code == 0 and not [x for x in sim.requests()[n:] if x["method"] != "GET"], "once more: nothing is left to do", str(r))
        for verb in ("apply", "retry"):
            r = gstest.replay(verb, "--trust", "key.pub", "--state", "whole.state", "--yes", token=sim.tokens["owner"], cwd=d)
            t.ok(r.code == 30 and "[load-undone]" in r.err, f"{verb} with the state file of a load that was taken back", str(r))
        r = gstest.replay("skip", "--state", "whole.state", "bug", "--reason", "x", cwd=d)
        t.ok(r.code == 30 and "[load-undone]" in r.err, "skip likewise", str(r))
        r = apply(sim, "again.state", "--into", "base")
        t.is_eq(r.code, 0, "a new load into the same place", str(r))

    # ---- a signal while it asks, and one that only asks how far it is ----
    def at_prompt(*args, token, then):
        """The exit code of a tool that was sent these signals at its question, and what it had said."""
        master, slave = pty.openpty()
        p = subprocess.Popen([gstest.REPLAY, *args], cwd=d, env=gstest.environment(token), stdin=slave, stdout=subprocess.DEVNULL,
                             stderr=slave, start_new_session=True)
        os.close(slave)
        said = b""
        while b"[y/N]" not in said and select.select([master], [], [], 60)[0]:
            try:
                said += os.read(master, 4096)
            except OSError:
                break
        for s in then:
            p.send_signal(s)
            time.sleep(0.5)
        try:
            code = p.wait(20)
        except subprocess.TimeoutExpired:
            p.kill()
            code = f"goes on, {p.wait()}"
        os.close(master)
        return code, said.decode("utf-8", "replace")

    with Target(d, "prompt") as sim:
        r = at_prompt("apply", team, "--trust", "key.pub", "--url", sim.url, "--state", "prompt.state", token=sim.tokens["owner"],
                      then=[signal.SIGUSR1, signal.SIGINT])
        t.ok(r[0] in (130, -2) and "[y/N]" in r[1], "Ctrl-C at the question of apply ends it at once", repr(r))
        t.is_eq([x["path"] for x in sim.requests() if x["method"] != "GET"], [], "and nothing was written")
        r = apply(sim, "prompt.state")
        t.is_eq(r.code, 0, "the same command loads", str(r))
        loaded = sim.dump()
        for then in ([signal.SIGUSR1, signal.SIGINT], [signal.SIGTERM]):
            r = at_prompt("undo", "--trust", "key.pub", "--state", "prompt.state", token=sim.tokens["admin"], then=then)
            t.ok(r[0] == 128 + then[-1] and "[y/N]" in r[1], f"{then[-1].name} at the question of undo ends it at once, SIGUSR1 does not", repr(r))
        t.is_eq(sim.dump(), loaded, "and nothing was removed")
        r = apply(sim, "prompt.state")
        t.is_eq(r.code, 0, "the state is that of a load which nobody takes back", str(r))
        # it is asked for all that is there, and then the target goes away before the first deletion
        sim.faults({"match": {"method": "GET", "path": "/groups/[0-9]+"}, "times": 0, "do": {"status": 503, "body": "down"}})
        r = undo(sim, "prompt.state", "--yes", "--max-wait", "2")
        t.is_eq(r.code, 75, "an undo that cannot read", str(r))
        sim.reset_faults()
        r = apply(sim, "prompt.state")
        t.is_eq(r.code, 0, "has not made the load one that is taken back", str(r))
        sim.faults({"match": {"method": "DELETE"}, "times": 0, "do": {"status": 503, "body": "down"}})
        r = undo(sim, "prompt.state", "--yes", "--max-wait", "2")
        t.is_eq(r.code, 75, "an undo whose deletions do not get through", str(r))
        sim.reset_faults()
        r = apply(sim, "prompt.state")
        t.ok(r.code == 30 and "[load-undone]" in r.err, "has: they may have acted", str(r))
        sim.faults({"match": {"method": "GET", "path": "/groups/[0-9]+"}, "times": 0, "do": {"delay_ms": 200}})
        p = gstest.start(gstest.REPLAY, "undo", "--trust", "key.pub", "--state", "prompt.state", "--yes", token=sim.tokens["admin"], cwd=d)
        n = len(sim.requests())
        while p.poll() is None and len(sim.requests()) < n + 4:
            time.sleep(0.02)
        p.send_signal(signal.SIGUSR1)
        err = p.communicate()[1].decode()
        t.ok(p.returncode == 0 and "groups gone through" in err, "SIGUSR1 tells how far an undo is", err)

    # ---- wrong inputs ----
    with Target(d, "wrong") as sim:
        r = undo(sim, "nosuch.state", "--yes")
        t.is_eq(r.code, 10, "undo: no such state file", str(r))
        apply(sim, "wrong.state")
        with Target(d, "wrong2") as other:
            r = gstest.replay("undo", "--trust", "key.pub", "--state", "wrong.state", "--url", other.url, "--yes", token=other.tokens["admin"], cwd=d)
            t.ok(r.code == 30 and "[state-other-bundle]" in r.err, "undo: another target", str(r))
        r = gstest.replay("undo", "--state", "wrong.state", "--yes", token=sim.tokens["admin"], cwd=d)
        t.is_eq(r.code, 21, "undo: no --trust", str(r))
        before = bare(sim.dump())
        r = undo(sim, "wrong.state", "--yes", "--json", token=sim.tokens["owner"])
        t.ok(r.code == 3 and set(left(r).values()) <= {"forbidden", "group-not-found", "foreign-content"}, "undo: a user who may not", str(r))
        r = undo(sim, "wrong.state", "--yes", "--json")
        t.is_eq(r.code, 0, "then one who may", str(r))

    # ---- what others changed, each kind ----
    with Target(d, "foreign") as sim:
        r = apply(sim, "foreign.state")
        t.is_eq(r.code, 0, "a whole load", str(r))
        admin = sim.tokens["admin"]
        top, child, deep = (sim.group(p)["id"] for p in ("team", "team/child", "team/child/deep"))

        def find(table, **match):
            return [x for x in sim.dump()[table] if all(x.get(k) == v for k, v in match.items())][0]
        sim.call(f"/api/v4/groups/{top}/labels/{find('labels', title='docs')['id']}", {"color": "#123456"}, admin, "PUT")
        sim.call(f"/api/v4/groups/{top}/milestones/{find('milestones', title='first')['id']}", {"title": "renamed"}, admin, "PUT")
        sim.call(f"/api/v4/groups/{top}/badges/{find('badges', name='two')['id']}", {"link_url": "https://y.example/"}, admin, "PUT")
        sim.call(f"/api/v4/groups/{top}/members/102", {"access_level": 40}, admin, "PUT")
        other = find("boards", name="Other")
        sim.call(f"/api/v4/groups/{top}/boards/{other['id']}/lists", {"label_id": find("labels", title="feature")["id"]}, admin)
        sim.call(f"/api/v4/groups/{top}/labels", {"name": "theirs", "color": "#00ff00"}, admin)
        sim.call("/api/v4/groups", {"name": "Theirs", "path": "theirs", "parent_id": top}, admin)
        gone = find("labels", title="inner")
        sim.call(f"/api/v4/groups/{child}/labels/{gone['id']}", None, admin, "DELETE")
        before = sim.dump()
        r = undo(sim, "foreign.state", "--yes", "--json")
        t.is_eq(r.code, 3, "undo after others were at it", str(r))
        codes = left(r)
        x = gstest.replay("status", "--state", "foreign.state", "--json", cwd=d).json()["undo"]
        t.ok(x["state"] == "partial" and x["kept"] == len(codes) and x["open"] == 0, "status: taken back in part", repr(x))
        for what, code in ((("labels", "docs"), "changed"), (("milestones", "first"), "changed"), (("badges", "two"), "changed"), (("members", "src.p2"), "changed"),
                           (("boards", "Other"), "foreign-content"), (("labels", "feature"), "in-use"), (("groups", "team"), "foreign-content")):
            t.is_eq(codes.pop(("team", *what), None), code, f"{what[0]} '{what[1]}' stays: {code}")
        t.is_eq(codes.pop(("team", "members", "src.p1"), None), "last-owner", "nor does GitLab let the last Owner go")
        t.is_eq(codes, {}, "and nothing else")
        words = {x["key"]: x["text"] for x in r.json()["left"] if x["relation"] == "groups"}
        t.ok("label 'theirs'" in words["team"] and "subgroup 'team/theirs'" in words["team"], "the group says what it holds", repr(words))
        after = sim.dump()
        t.is_eq(sorted(g["path"] for g in after["groups"]), ["team", "theirs"], "groups without anything foreign are gone, the others are not")
        t.is_eq(sorted(x["title"] for x in after["labels"]), ["docs", "feature", "theirs"], "labels")
        t.is_eq(sorted(x["title"] for x in after["milestones"]), ["renamed"], "milestones")
        t.is_eq(sorted(x["name"] for x in after["badges"]), ["two"], "badges")
        t.is_eq(sorted(x["name"] for x in after["boards"]), ["Other"], "boards")
        t.is_eq([x["label_id"] for x in after["lists"] if x["board_id"] == other["id"] and x["label_id"]], [find("labels", title="feature")["id"]],
                "their list is there, ours is gone")
        t.ok(102 in {x["user_id"] for x in after["members"] if x["group_id"] == top}, "the member whose role was changed is there")
        # the reason goes away: the rest follows
        sim.call(f"/api/v4/groups/{top}/labels/{find('labels', title='theirs')['id']}", None, admin, "DELETE")
        r = undo(sim, "foreign.state", "--yes", "--json")
        t.ok(r.code == 3 and "subgroup" in {x["key"]: x["text"] for x in r.json()["left"]}["team"], "once more: only what is still foreign keeps it", str(r))

    # ---- into groups that were there, merged ----
    with Target(d, "merge") as sim:
        sim.call("/api/v4/groups", {"name": "Team", "path": "team", "visibility": "private", "description": "old"}, sim.tokens["owner"])
        top = sim.group("team")["id"]
        tok = sim.tokens["owner"]
        sim.call(f"/api/v4/groups/{top}/labels", {"name": "bug", "color": "#00ff00"}, tok)
        sim.call(f"/api/v4/groups/{top}/milestones", {"title": "second"}, tok)
        sim.call(f"/api/v4/groups/{top}/badges", {"name": "one", "link_url": "https://x.example/one", "image_url": "https://x.example/one.svg"}, tok)
        sim.call(f"/api/v4/groups/{top}/members", {"user_id": 102, "access_level": 10}, tok)
        sim.call("/api/v4/groups", {"name": "Child", "path": "child", "parent_id": top}, tok)
        before = bare(sim.dump())
        r = apply(sim, "merge.state", "--on-existing", "merge")
        t.is_eq(r.code, 0, "merged into groups that were there", str(r))
        r = undo(sim, "merge.state", "--yes", "--json")
        t.is_eq((r.code, left(r)), (0, {}), "undo of a merge", str(r))
        t.is_eq(bare(sim.dump()), before, "what was there is as it was, and nothing else is there")

    # ---- a replica that lags behind: what one list does not show is not gone ----
    with Target(d, "stale") as sim:
        prepare(sim)
        before = bare(sim.dump())
        r = apply(sim, "stale.state", "--into", "base")
        top = sim.group("base/team")["id"]
        sim.call(f"/api/v4/groups/{top}/labels", {"name": "theirs", "color": "#00ff00"}, sim.tokens["admin"])
        gone = [x for x in sim.dump()["labels"] if x["title"] == "docs"][0]
        sim.call(f"/api/v4/groups/{top}/labels/{gone['id']}", None, sim.tokens["admin"], "DELETE")
        empty = {"status": 200, "body": []}
        sim.faults(*({"match": {"method": "GET", "path": f"/groups/{top}/{what}$"}, "do": empty} for what in ("labels", "badges", "boards", "milestones", "members")),
                   {"match": {"method": "GET", "path": f"/groups/{top}$"}, "do": {"status": 404, "body": {"message": "404 Group Not Found"}}})
        shutil.copy(os.path.join(d, "stale.state"), os.path.join(d, "stale2.state"))
        r = undo(sim, "stale.state", "--dry-run", "--json")
        t.is_eq({x["relation"]: x["was_gone"] for x in r.json()["relations"] if x["was_gone"]}, {"labels": 1, "lists": 1}, "--dry-run: lists and a group that were stale once", str(r))
        for f in sim.call("/_sim/faults"):
            t.is_eq(f["used"], 1, "which they were")
        sim.reset_faults()
        sim.faults(*({"match": {"method": "GET", "path": f"/groups/{top}/{what}$"}, "do": empty} for what in ("labels", "badges", "boards", "milestones", "members")))
        r = undo(sim, "stale2.state", "--yes", "--json")
        t.ok(r.code == 3 and set(left(r).values()) == {"foreign-content"}, "stale once: only the group stays", str(r))
        got = sim.dump()
        t.is_eq([(x["title"]) for x in got["labels"] if x["group_id"] == top] + [x["name"] for x in got["boards"] + got["badges"]] + [x["title"] for x in got["milestones"]],
                ["theirs"], "everything that is ours in it is gone")
        t.is_eq({x["relation"]: x["was_gone"] for x in r.json()["relations"] if x["was_gone"]}, {"labels": 1, "lists": 1}, "what somebody removed was gone, and what went with it", str(r))

    # a group that is marked for deletion although that does not show at once
    with Target(d, "latemark") as sim:
        prepare(sim)
        before = bare(sim.dump())
        apply(sim, "latemark.state", "--into", "base")
        sim.faults({"match": {"method": "DELETE", "path": "/groups/[0-9]+$"}, "times": 0, "do": {"stale_ms": 700}})
        r = undo(sim, "latemark.state", "--yes", "--json")
        t.is_eq((r.code, r.json()["left"]), (0, []), "reads lag behind each deletion", str(r))
        sim.reset_faults()
        t.is_eq(bare(sim.dump()), before, "and nothing is left")

    # ---- lists that are refused: what they would have shown is left, the rest goes ----
    # all:  every row of these kinds fails; part: and these keep the group
    for what, status, fails in (("labels", 403, {"labels"}), ("badges", 500, {"badges"}), ("members", 404, {"members"}), ("milestones", 502, {"milestones"}),
                                ("boards", 403, {"boards", "lists", "labels", "milestones"}), ("projects", 403, set()), ("epics", 500, set())):
        with Target(d, "refused-" + what) as sim:
            prepare(sim)
            before = bare(sim.dump())
            apply(sim, f"refused-{what}.state", "--into", "base")
            top = sim.group("base/team")["id"]
            sim.faults({"match": {"method": "GET", "path": f"/groups/{top}/{what}$"}, "times": 0, "do": {"status": status, "body": {"message": f"{status} as scripted"}}})
            r = undo(sim, f"refused-{what}.state", "--yes", "--json", "--max-wait", "1")
            rows = [x for x in r.json()["left"]] if r.code == 3 else []
            t.is_eq({x["relation"] for x in rows if x["target_group"] == "base/team"}, fails | {"groups"}, f"{what} answered {status}: what hangs on it stays", str(r))
            t.ok(all(x["state"] == "failed" and x["http"] == status and x["request_id"] and f"/{what}" in x["request"] and "as scripted" in x["text"] and x["hint"] for x in rows),
                 "as failed, with what was asked and answered", repr(rows)[:900])
            t.ok([x for x in rows if x["relation"] == "groups" and "what it holds is not known" in x["text"]], "and so does the group, whose content is not known", repr(rows)[:900])
            got = sim.dump()
            t.is_eq(len([g for g in got["groups"] if g["path"] != "base"]), 1, "every other group is gone")
            has = {"labels": "labels", "badges": "badges", "milestones": "milestones", "boards": "boards"}
            t.is_eq({k for k in has if [x for x in got[k] if x["group_id"] == top]}, fails & set(has), "and every other object")
            sim.reset_faults()
            r = undo(sim, f"refused-{what}.state", "--yes", "--json")
            t.is_eq((r.code, r.json()["left"]), (0, []), "once more, when it may be read: it goes", str(r))
            t.is_eq(bare(sim.dump()), before, "and nothing is left")
    with Target(d, "refused-one") as sim:
        prepare(sim)
        apply(sim, "refused-one.state", "--into", "base")
        top = sim.group("base/team")["id"]
        sim.call(f"/api/v4/groups/{top}/labels", {"name": "theirs", "color": "#00ff00"}, sim.tokens["admin"])
        ids = {x["title"]: x["id"] for k in ("labels", "milestones") for x in sim.dump()[k]}
        sim.faults({"match": {"method": "DELETE", "path": "/members/102$"}, "times": 0, "do": {"status": 403, "body": {"message": "403 Forbidden"}}},
                   {"match": {"method": "DELETE", "path": f"/labels/{ids['docs']}$"}, "times": 0, "do": {"status": 500, "body": {"message": "500 Internal Server Error"}}},
                   {"match": {"method": "GET", "path": f"/milestones/{ids['first']}/issues$"}, "times": 0, "do": {"status": 500, "body": {"message": "500 Internal Server Error"}}})
        r = undo(sim, "refused-one.state", "--yes", "--json", "--max-wait", "1")
        t.is_eq({k[1:]: code for k, code in left(r).items()}, {("labels", "docs"): "server-error", ("milestones", "first"): "server-error", ("members", "src.p2"): "forbidden", ("groups", "team"): "foreign-content"},
                "a single object at which the server fails stays, the others go", str(r))
        sim.reset_faults()
        r = undo(sim, "refused-one.state", "--yes", "--json")
        t.is_eq({k[1:]: code for k, code in left(r).items()}, {("groups", "team"): "foreign-content"}, "once more: they go", str(r))

    # ---- marked for deletion, restored, and removed after all ----
    with Target(d, "marked", "--version", "18.2.0-ee", "--config", '{"allow_immediate_deletion": false}') as sim:
        apply(sim, "marked.state")
        r = undo(sim, "marked.state", "--yes", "--json")
        rows = {x["key"]: x["text"] for x in r.json()["left"]}
        counts = {x["relation"]: (x["made"], x["removed"], x["marked"]) for x in r.json()["relations"]}
        t.ok(r.code == 0 and len(rows) == 4 and counts["groups"] == (4, 0, 4) and counts["labels"] == (6, 0, 6), "what is in a group that is only marked is marked, too", str(r))
        t.ok("marked for deletion on 20" in rows["team"] and "can be restored" in rows["team"] and "team-deletion_scheduled-" in rows["team"] and "not removed at once: " in rows["team"],
             "since when, until when, what that means, why not at once", repr(rows))
        top = [g["id"] for g in sim.dump()["groups"] if g["parent_id"] is None][0]
        sim.call(f"/api/v4/groups/{top}/restore", {}, sim.tokens["admin"])
        for more in (("--dry-run",), ("--yes",), ("--yes",)):
            r = undo(sim, "marked.state", "--json", *more)
            t.is_eq((r.code, {k[1:]: code for k, code in left(r).items() if k[0] == "team" and k[1] == "groups"}), (3, {("groups", "team"): "restored"}),
                    f"undo {more[0]}: a group that somebody has restored stays, with what is in it", str(r))
        t.is_eq(len([x for x in sim.dump()["labels"] if x["group_id"] == top]), 3, "which it does")
        sim.call("/_sim/config", {"allow_immediate_deletion": True})
        r = undo(sim, "marked.state", "--yes", "--leave-marked", "--json")
        t.is_eq({x["relation"]: x["marked"] for x in r.json()["relations"]}["groups"], 3, "--leave-marked: it stays at that", str(r))
        r = undo(sim, "marked.state", "--yes", "--json")
        t.is_eq(sorted(x["path"] for x in sim.dump()["groups"]), ["team"], "without: marked groups are removed once the instance allows it", str(r))

    # ---- how the target deletes groups ----
    for version, tier, more, want in (("17.8.1", "free", [], "removed"), ("17.8.1-ee", "premium", [], "marked"), ("18.5.0-ee", "premium", [], "removed"),
                                      ("18.2.0-ee", "premium", ["--config", '{"allow_immediate_deletion": false}'], "marked")):
        with gstest.Target(d, "del" + version + tier, "--version", version, "--tier", tier, *more, users=USERS) as sim:
            state = f"del-{version}-{tier}.state"
            r = apply(sim, state)
            t.is_eq(r.code, 0, f"{version} {tier}: loaded", str(r))
            r = undo(sim, state, "--yes", "--json")
            t.is_eq(r.code, 0, f"{version} {tier}: undone", str(r))
            groups = sim.dump()["groups"]
            if want == "removed":
                t.is_eq(groups, [], f"{version} {tier}: no group is left")
            else:
                t.ok(groups and all(g["marked_on"] for g in groups), f"{version} {tier}: groups are marked for deletion", repr(groups))
                t.ok(set(left(r).values()) == {"marked"}, "which is said", repr(left(r)))
                t.has(undo(sim, state, "--yes").out, "[marked]", "in words, too")
                t.has(undo(sim, state, "--yes").out, "  what to do: wait, or let", "with what to do")

    with Target(d, "leave") as sim:
        prepare(sim)
        apply(sim, "leave.state", "--into", "base")
        r = undo(sim, "leave.state", "--yes", "--leave-marked", "--json")
        t.is_eq((r.code, set(left(r).values())), (0, {"marked"}), "--leave-marked: groups can be restored", str(r))

    # ---- a load that was cut off, with answers that were lost ----
    with Target(d, "cut") as sim:
        base = prepare(sim)
        before = bare(sim.dump())
        sim.faults({"match": {"method": "POST", "path": "/badges$"}, "times": 1, "do": {"after_status": 502, "body": "gone"}},
                   {"match": {"method": "GET", "path": "/badges$"}, "times": 1, "do": {"status": 401, "body": {"message": "401 Unauthorized"}}})
        r = apply(sim, "cut.state", "--into", "base")
        t.is_eq(r.code, 12, "cut off after a badge whose answer was lost", str(r))
        sim.reset_faults()
        n = len(sim.requests())
        r = undo(sim, "cut.state", "--yes", "--json")
        t.ok(r.code == 0 and "on their way" in r.err, "undo looks for it first", str(r))
        t.is_eq([x["path"] for x in sim.requests()[n:] if x["method"] not in ("GET", "DELETE")], [], "and makes nothing")
        t.is_eq(bare(sim.dump()), before, "nothing of it is left")

    # ---- an undo that goes on after a load that was cut off: what it removed is not looked for ----
    no_token = {"status": 401, "body": {"message": "401 Unauthorized"}}
    with Target(d, "onward") as sim:
        prepare(sim)
        before = bare(sim.dump())
        sim.faults({"match": {"method": "PUT", "path": "/milestones/"}, "do": no_token})
        r = apply(sim, "onward.state", "--into", "base")
        t.is_eq(r.code, 12, "cut off with a milestone made and not yet closed", str(r))
        sim.reset_faults()
        sim.faults({"match": {"method": "DELETE", "path": "/groups/[0-9]+$", "nth": 5}, "do": no_token})
        r = undo(sim, "onward.state", "--yes")
        t.is_eq(r.code, 12, "and its undo too, after some groups", str(r))
        sim.reset_faults()
        deep = [g["id"] for g in sim.dump()["groups"] if g["path"] == "deep"]
        while deep and any(g["id"] == deep[0] for g in sim.dump()["groups"]):
            time.sleep(0.2)
        r = undo(sim, "onward.state", "--yes", "--json")
        t.is_eq((r.code, r.json()["left"] if r.code == 0 else None), (0, []), "the undo goes on", str(r))
        t.is_eq(bare(sim.dump()), before, "and nothing is left")

    # ---- several steps of one lane were on their way ----
    closed = gstest.bundle(d, key, {10: {"self": group(10, None, "shut"), "milestones": [milestone(30 + i, 10, i, f"m{i}", "closed") for i in (1, 2, 3)]}}, "shut")
    with Target(d, "lane") as sim:
        prepare(sim)
        before = bare(sim.dump())
        sim.faults({"match": {"method": "PUT", "path": "/milestones/"}, "times": 9, "do": {"status": 400, "body": {"message": "400 Bad request"}}})
        where = ("--trust", "key.pub", "--url", sim.url, "--state", "lane.state", "--yes")
        r = gstest.replay("apply", closed, *where, "--into", "base", token=sim.tokens["owner"], cwd=d)
        t.is_eq(r.code, 3, "milestones that cannot be closed", str(r))
        sim.reset_faults()
        sim.faults({"match": {"method": "GET", "path": "/milestones$"}, "do": no_token})
        r = gstest.replay("retry", *where, token=sim.tokens["owner"], cwd=d)
        t.is_eq(r.code, 12, "tried again, and cut off at the first", str(r))
        sim.reset_faults()
        r = undo(sim, "lane.state", "--yes", "--json")
        t.is_eq((r.code, {x["relation"]: x["made"] for x in r.json()["relations"]}), (0, {"milestones": 3, "groups": 1}), "undo looks for all of them", str(r))
        t.is_eq(bare(sim.dump()), before, "and leaves none")

    # ---- milestones that issues of others have come to use ----
    with Target(d, "used") as sim:
        apply(sim, "used.state")
        top = sim.group("team")["id"]
        sim.call(f"/api/v4/groups/{top}/labels", {"name": "theirs", "color": "#00ff00"}, sim.tokens["admin"])
        ids = {x["title"]: x["id"] for x in sim.dump()["milestones"]}
        sim.faults({"match": {"method": "GET", "path": f"/milestones/{ids['second']}/issues$"}, "times": 0, "do": {"status": 200, "body": [{"id": 1}]}},
                   {"match": {"method": "GET", "path": f"/milestones/{ids['fifth']}/merge_requests$"}, "times": 0, "do": {"status": 200, "body": [{"id": 1}]}})
        for more in (("--dry-run",), ("--yes",)):
            r = undo(sim, "used.state", "--json", *more)
            t.is_eq({k[2]: code for k, code in left(r).items() if k[1] == "milestones"}, {"second": "in-use", "fifth": "in-use"}, f"undo {more[0]}: they are kept", str(r))
        t.is_eq(sorted(x["title"] for x in sim.dump()["milestones"]), ["fifth", "second"], "they are there, and only they")

    # ---- a group that stays keeps those above it, which say so ----
    with Target(d, "nested") as sim:
        apply(sim, "nested.state")
        sim.call(f"/api/v4/groups/{sim.group('team/child/deep')['id']}", {"description": "theirs"}, sim.tokens["admin"], "PUT")
        r = undo(sim, "nested.state", "--yes", "--json")
        t.is_eq({x["key"]: (x["code"], x["text"]) for x in r.json()["left"] if x["relation"] == "groups"},
                {"team": ("foreign-content", "it holds what stays: subgroup 'team/child'"), "team/child": ("foreign-content", "it holds what stays: subgroup 'team/child/deep'"),
                 "team/child/deep": ("changed", "it is no longer as this load made it")}, "each with its reason", str(r))

    # ---- something is put in while it is being looked at ----
    with Target(d, "race") as sim:
        apply(sim, "race.state")
        sim.faults({"match": {"method": "DELETE", "path": "/groups/[0-9]+$", "nth": 1}, "do": {"status": 412, "body": {"message": "412 Precondition Failed"}}})
        r = undo(sim, "race.state", "--yes", "--leave-marked", "--json")
        t.is_eq(r.code, 0, "a group that was changed meanwhile is looked at again", str(r))
        t.is_eq([x["used"] for x in sim.call("/_sim/faults")], [1], "and was refused once")

    # ---- killed at any moment ----
    with Target(d, "kill", "--latency-ms", "4") as sim:
        prepare(sim)
        r = apply(sim, "kill.state", "--into", "base")
        top = sim.group("base/team")["id"]
        sim.call(f"/api/v4/groups/{top}/labels", {"name": "theirs", "color": "#00ff00"}, sim.tokens["admin"])
        docs = [x for x in sim.dump()["labels"] if x["title"] == "docs"][0]
        sim.call(f"/api/v4/groups/{top}/labels/{docs['id']}", {"color": "#123456"}, sim.tokens["admin"], "PUT")
        sim.call("/_sim/snapshot", {"name": "loaded"})
        shutil.copy(os.path.join(d, "kill.state"), os.path.join(d, "kill.loaded"))
        began = time.monotonic()
        want_r = undo(sim, "kill.state", "--yes", "--json")
        took = time.monotonic() - began
        want = bare(sim.dump())
        t.is_eq(want_r.code, 3, "an undo that keeps what is others'", str(want_r))
        print(f"# undo takes {took:.2f} s")
        rng, bad, killed = random.Random(SEED), [], 0
        for i in range(POINTS):
            sim.call("/_sim/restore", {"name": "loaded"})
            state = f"kill{i}.state"
            shutil.copy(os.path.join(d, "kill.loaded"), os.path.join(d, state))
            for _ in range(rng.choice((1, 1, 2, 3))):
                p = gstest.start(gstest.REPLAY, "undo", "--trust", "key.pub", "--state", state, "--yes", token=sim.tokens["admin"], cwd=d)
                time.sleep(rng.uniform(0, took))
                p.send_signal(signal.SIGKILL)
                p.communicate()
                killed += p.returncode == -9
            r = undo(sim, state, "--yes", "--json")
            got = bare(sim.dump())
            if r.code != 3 or got != want or left(r) != left(want_r):
                bad.append((i, r.code, left(r) if r.code == 3 else str(r), [(k, got[k], want[k]) for k in want if got.get(k) != want[k]]))
        t.ok(killed > POINTS / 2, f"{killed} kills hit", str(killed))
        t.is_eq(bad, [], f"{POINTS} undos killed once to three times (seed {SEED}): the same is left as without a kill")
t.done()
