#!/usr/bin/python3
"""Exactly once where the target misleads: replicas that lag behind, writes that act twice or never answer, a backup put back,
objects that others make, rename and remove meanwhile, clocks that differ, copies of the state file."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TIME = "2024-01-02T03:04:05.678Z"
NO_TOKEN = {"status": 401, "body": {"message": "401 Unauthorized"}}


def label(lid, title, gid=10, color="#ff0000"):
    return {"id": lid, "title": title, "color": color, "group_id": gid, "description": None, "type": "GroupLabel", "created_at": TIME, "updated_at": TIME}


def milestone(mid, iid, title, gid=10):
    return {"id": mid, "iid": iid, "title": title, "group_id": gid, "description": None, "state": "active", "start_date": None,
            "due_date": None, "created_at": TIME, "updated_at": TIME}


def badge(bid, name):
    return {"id": bid, "name": name, "link_url": "https://ci.example/a", "image_url": "https://ci.example/b.svg", "created_at": TIME,
            "updated_at": TIME, "type": "GroupBadge"}


def lst(lid, position, lab):
    return {"id": lid, "list_type": "label", "position": position, "label_id": lab["id"], "label": lab, "max_issue_count": 0, "max_issue_weight": 0}


def board(bid, name, lists=(), gid=10):
    return {"id": bid, "name": name, "group_id": gid, "milestone_id": None, "weight": None, "hide_backlog_list": False, "hide_closed_list": False,
            "created_at": TIME, "updated_at": TIME, "labels": [], "lists": list(lists)}


def member(mid, uid, level):
    return {"id": mid, "access_level": level, "user_id": uid, "source_type": "Namespace", "created_at": TIME, "updated_at": TIME,
            "expires_at": None, "user": {"id": uid, "public_email": f"p{uid}@here.example", "username": f"src.p{uid}"}}


def group(gid, parent, path, **more):
    return {"id": gid, "parent_id": parent, "name": path.title(), "path": path, "description": f"about {path}", "visibility_level": 0,
            "request_access_enabled": True, **more}


USERS = {"users": [{"id": 1, "username": "root", "email": "root@there.example", "admin": True},
                   {"id": 2, "username": "loader", "email": "loader@there.example"}] +
         [{"id": 100 + i, "username": f"dst.p{i}", "email": f"p{i}@here.example", "public_email": f"p{i}@here.example"} for i in (1, 2, 3)],
         "tokens": {"admin": "root", "owner": "loader"}}
L1, L2, L3, L4 = label(1, "one"), label(2, "two"), label(3, "three"), label(4, "four")
FULL = {10: {"self": group(10, None, "team", request_access_enabled=False), "labels": [L1, L2, L3, L4],
             "milestones": [milestone(31, 1, "m1"), milestone(32, 4, "m4"), milestone(33, 5, "m5")],
             "badges": [badge(5, "same"), badge(6, "same"), badge(7, "other")],
             "boards": [board(50, "First", [lst(501, 0, L1), lst(502, 1, L2), lst(503, 2, L3)]), board(51, "First", [lst(511, 0, L4)])],
             "members": [member(91, 1, 50), member(92, 2, 30)]},
        11: {"self": group(11, 10, "child"), "labels": [label(11, "one", 11)], "milestones": [milestone(41, 1, "c1", 11)],
             "badges": [badge(8, "child")]}}


def content(sim, root="team"):
    """What is there, without ids: enough to see a thing that is missing, there twice, or in another order."""
    out = {}
    for path, g in gstest.normalised(sim.dump(), root).items():
        out[path] = {"labels": sorted(x["title"] for x in g["labels"]), "milestones": sorted((x["iid"], x["title"]) for x in g["milestones"]),
                     "badges": [x["name"] for x in g["badges"]], "members": sorted((x["user"], x["access_level"]) for x in g["members"]),
                     "boards": sorted((x["name"], [y["label_id"] for y in x["lists"] if y["label_id"]]) for x in g["boards"])}
    return out


with gstest.scratch() as d:
    key = gstest.keygen(d)
    full = gstest.bundle(d, key, FULL, "full")
    last = ["--trust", "key.pub"]

    def apply(sim, state, *args, file=full, token=None, json_=False):
        return gstest.replay("apply", file, *last, "--url", sim.url, "--yes", "--state", state + ".state", *(["--json"] if json_ else []), *args,
                             token=token or sim.tokens["owner"], cwd=d)

    def failures(state):
        return gstest.replay("failures", "--state", state + ".state", "--json", cwd=d).lines()

    def writes(sim):
        return [x for x in sim.requests() if x["method"] not in ("GET", "HEAD")]

    with gstest.Target(d, "t", "--tier", "premium", users=USERS) as sim:
        def fresh(name):
            sim.reset_faults()
            sim.call("/_sim/restore", {"name": "empty"})
            sim.call("/_sim/reset_log", {})
            return name

        sim.call("/_sim/snapshot", {"name": "empty"})
        r = apply(sim, fresh("plain"))
        t.is_eq(r.code, 0, "a plain load", str(r))
        want = content(sim)
        n_plain = len(sim.requests())
        t.is_eq(want[""]["boards"], [("First", ["four"]), ("First", ["one", "two", "three"])], "is whole", repr(want))

        # ---- every read shows what was two seconds ago, and answers get lost ----
        kinds = ("groups", "labels", "milestones", "badges", "boards", "lists", "members")
        name = fresh("lag")
        sim.faults(*[{"match": {"method": "POST", "path": f"/{k}$", **({"body": "m4"} if k == "milestones" else {"nth": 2})},
                      "do": {"lose_answer": True, "stale_ms": 2000}, "name": k} for k in kinds])
        r = apply(sim, name, json_=True)
        t.ok(r.code == 0 and content(sim) == want, "an answer for each kind is lost, and replicas hide it for 2 s", str(r), repr(content(sim)))
        t.is_eq([x["used"] for x in sim.call("/_sim/faults")], [1] * len(kinds), "and did so")
        t.is_eq(r.json()["ops"]["found"], len(kinds), "all are found")
        name = fresh("lag-always")
        sim.faults({"match": {"method": ["POST", "PUT"]}, "times": 0, "do": {"stale_ms": 2000}})
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim) == want, "every read is two seconds behind", str(r), repr(content(sim)))
        name = fresh("no-lag")
        apply(sim, name)
        t.is_eq(len(sim.requests()), n_plain, "without lost answers nothing is asked twice")

        # ---- lost answers in a row; a proxy that sends twice; errors after the work ----
        name = fresh("five")
        sim.faults({"match": {"method": "POST", "path": "/badges$", "body": "other"}, "times": 5, "do": {"reset": True}})
        r = apply(sim, name)
        t.is_eq(r.code, 3, "five writes lost before they acted", str(r))
        t.is_eq([(x["kind"] if "kind" in x else x["relation"], "5 times" in x["text"]) for x in failures(name)], [("badges", True)], "the record has failed", repr(failures(name)))
        asked = [x for x in sim.requests() if x["path"].endswith("/badges")]
        t.is_eq(asked[-1]["method"] if asked[-1]["path"] == asked[0]["path"] else [x for x in asked if x["path"] == asked[0]["path"]][-1]["method"],
                "GET", "after a last look")
        name = fresh("fifth-acts")
        sim.faults({"match": {"method": "POST", "path": "/badges$", "body": "other"}, "times": 4, "do": {"reset": True}},
                   {"match": {"method": "POST", "path": "/badges$", "body": "other"}, "do": {"lose_answer": True}})
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim) == want, "the fifth acted", str(r))
        name = fresh("twice")
        twice = [{"match": {"method": "POST", "path": f"/{k}$"}, "times": 0, "do": {"twice": True}} for k in kinds]
        sim.faults(*twice)
        r = apply(sim, name, json_=True)
        t.ok(r.code == 0 and content(sim) == want, "every write is done twice on the way", str(r), repr(content(sim)))
        t.is_eq(sum(x["count"] for x in r.json()["losses"] if x["code"] == "made-twice"),
                sum(len(g["badges"]) + len(g["boards"]) for g in want.values()), "what that made is removed, and told")
        name = fresh("twice-killed")
        sim.faults(*twice, {"match": {"method": "DELETE", "path": "/badges/"}, "do": {"lose_answer": True}})
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim) == want, "also when the answer to that is lost", str(r), repr(content(sim)))
        name = fresh("twice-merged")
        sim.call("/api/v4/groups", {"name": "Team", "path": "team"}, sim.tokens["owner"])
        sim.faults(*twice)
        r = apply(sim, name, "--on-existing", "merge")
        got = content(sim)[""]["badges"]
        t.ok(r.code == 0 and {x: got.count(x) for x in got} == dict.fromkeys(want[""]["badges"], 2), "in a group that was there before both are kept, "
             "since one may be somebody else's", str(r), repr(got))
        name = fresh("after")
        sim.faults({"match": {"method": "POST"}, "times": 0, "do": {"after_status": 502, "body": "bad gateway"}})
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim) == want, "502 after every write that was done", str(r), repr(content(sim)))
        name = fresh("busy")
        sim.faults({"match": {"method": "POST", "every": 4}, "times": 3, "do": {"status": 409, "body": {"message": "409 Conflict: Resource lock"}}},
                   {"match": {"method": "POST", "every": 7}, "times": 2, "do": {"status": 429, "headers": {"Retry-After": 1}, "body": "Retry later\n"}})
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim) == want, "locks and limits", str(r))

        # ---- a backup is put back between two runs ----
        name = fresh("backup")
        r = apply(sim, name, "--stop-after", "6")
        t.is_eq(r.code, 130, "stopped after six steps", str(r))
        sim.call("/_sim/snapshot", {"name": "backup"})
        r = apply(sim, name, "--stop-after", "14")
        t.is_eq(r.code, 130, "stopped after twenty", str(r))
        sim.call("/_sim/restore", {"name": "backup"})
        sim.call("/_sim/reset_log", {})
        r = apply(sim, name)
        t.ok(r.code == 30 and "[target-moved]" in r.err, "a restored target is noticed", str(r))
        t.is_eq(writes(sim), [], "before anything is written")
        before = content(sim)
        r = apply(sim, name)
        t.ok(r.code == 30 and content(sim) == before, "also when asked again", str(r))
        r = apply(sim, name, "--rebase")
        t.ok(r.code == 0 and content(sim) == want, "--rebase makes what is missing, and nothing twice", str(r), repr(content(sim)))
        name = fresh("nothing")
        r = apply(sim, name, "--stop-after", "20")
        sim.call("/_sim/restore", {"name": "empty"})
        r = apply(sim, name, "--rebase")
        t.ok(r.code == 0 and content(sim) == want, "--rebase onto an empty target", str(r), repr(content(sim)))
        sim.call("/_sim/reset_log", {})
        r = apply(sim, name, "--rebase")
        t.ok(r.code == 12 and "may not see it" in r.err, "--rebase of a load whose owner has left the group", str(r))
        t.ok(content(sim) == want and not failures(name), "gives nothing up")
        sim.call("/_sim/reset_log", {})
        root = sim.group("team")["id"]
        sim.call(f"/api/v4/groups/{root}/members", {"user_id": 2, "access_level": 50}, sim.tokens["admin"])
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim) == want, "with a role in it, it goes on", str(r), repr(content(sim)))
        t.is_eq([x["path"] for x in writes(sim) if x["user"] == "loader" and x["status"] < 300], [f"/api/v4/groups/{root}/members/2"],
                "and writes nothing but to leave again")
        name = fresh("midway")
        sim.faults({"match": {"method": "POST", "path": "/milestones$", "nth": 2}, "times": 0, "do": {"status": 404, "body": {"message": "404 Group Not Found"}}},
                   {"match": {"method": "GET", "path": "/groups/[0-9]+$"}, "times": 0, "do": {"status": 404, "body": {"message": "404 Group Not Found"}}})
        r = apply(sim, name)
        t.ok(r.code == 30 and "[target-moved]" in r.err, "a group that is gone in the middle ends the run", str(r))
        sim.reset_faults()
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim) == want, "and it goes on when it is there", str(r))

        # ---- what others do meanwhile ----
        name = fresh("moved")
        r = apply(sim, name, "--stop-after", "8")
        root = sim.group("team")["id"]
        sim.call(f"/api/v4/groups/{root}", {"path": "crew"}, sim.tokens["admin"], "PUT")
        r = apply(sim, name, json_=True)
        t.ok(r.code == 0 and content(sim, "crew") == want, "a group with another path is followed", str(r), repr(content(sim, "crew")))
        t.ok("warning: group 'team'" in r.err and "'crew'" in r.err and "team/child" not in r.err, "and named once", r.err)
        t.is_eq(content(sim), {}, "and no second one is made")
        t.ok("/crew/child" in r.out and "there/team" not in r.out.replace(sim.url, "there"), "links lead to where it stands", r.out)
        name = fresh("moved-rebase")
        r = apply(sim, name, "--stop-after", "8")
        root = sim.group("team")["id"]
        sim.call(f"/api/v4/groups/{root}", {"path": "crew"}, sim.tokens["admin"], "PUT")
        r = apply(sim, name, "--rebase")
        t.ok(r.code == 0 and content(sim, "crew") == want, "--rebase follows it as well", str(r), repr(content(sim, "crew")))
        t.is_eq(content(sim), {}, "and makes no second one")

        # every group is asked for, in a load that goes on and in one that is finished
        def hurt(sim, what):
            child = sim.group("team/child")["id"]
            if what == "marked":
                sim.call(f"/api/v4/groups/{child}", None, sim.tokens["admin"], "DELETE")
            else:
                sim.call("/api/v4/groups", {"name": "Else", "path": "else"}, sim.tokens["admin"])
                sim.call(f"/api/v4/groups/{child}/transfer", {"group_id": sim.group("else")["id"]}, sim.tokens["admin"], "POST")
        for what, words in (("marked", "is marked for deletion"), ("elsewhere", "below another parent")):
            for stop in (["--stop-after", "20", "-j", "1"], []):
                name = fresh(f"{what}{len(stop)}")
                r = apply(sim, name, "--keep-owner", *stop)
                t.is_eq(r.code, 130 if stop else 0, "a load, cut off" if stop else "a whole load", str(r))
                kept = content(sim)
                hurt(sim, what)
                sim.call("/_sim/reset_log", {})
                r = apply(sim, name)
                t.ok(r.code == 30 and "[target-moved]" in r.err and words in r.err and "team/child" in r.err, f"a subgroup that is {what}: it is noticed", str(r))
                t.is_eq(writes(sim), [], "and nothing is written")
            r = apply(sim, name, "--rebase")
            if what == "marked":
                t.ok(r.code == 3 and "marked for deletion" in r.err and "restore it in GitLab" in r.err, "--rebase says what to do about a marked group", str(r))
                child = [g for g in sim.dump()["groups"] if g["path"].startswith("child")][0]["id"]
                sim.call(f"/api/v4/groups/{child}/restore", None, sim.tokens["admin"], "POST")
                r = gstest.replay("retry", *last, "--yes", "--state", name + ".state", token=sim.tokens["owner"], cwd=d)
                t.ok(r.code == 0 and content(sim) == kept, "done, retry loads it", str(r), repr(content(sim)))
            else:
                t.ok(r.code == 0 and [g["path"] for g in sim.dump()["groups"]].count("child") == 1, "--rebase makes no second one", str(r))
        name = fresh("finished")
        r = apply(sim, name, "--keep-owner")
        t.is_eq(r.code, 0, "a whole load", str(r))
        sim.call("/_sim/snapshot", {"name": "whole"})
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim)[""]["boards"] == want[""]["boards"], "again: it is all there", str(r))
        sim.call("/_sim/restore", {"name": "empty"})
        r = apply(sim, name)
        t.ok(r.code == 30 and "is not there any more" in r.err and content(sim) == {}, "a finished load whose target was restored is noticed", str(r))
        r = apply(sim, name, "--rebase")
        t.ok(r.code == 0 and content(sim)[""]["boards"] == want[""]["boards"], "--rebase repairs it", str(r), repr(content(sim)))
        name = fresh("left")
        r = apply(sim, name)
        t.is_eq(r.code, 0, "a whole load whose owner leaves", str(r))
        r = apply(sim, name)
        t.ok(r.code == 0 and "whether they are still there is not known" in r.err, "what is not shown any more is no proof, and it is said", str(r))
        name = fresh("label-gone")
        sim.faults({"match": {"method": "POST", "path": "/boards$"}, "do": NO_TOKEN})
        r = apply(sim, name, "-j", "1", "--keep-owner")
        t.is_eq(r.code, 12, "stopped before the boards", str(r))
        root = sim.group("team")["id"]
        two = [x for x in sim.rows("labels", "team") if x["title"] == "two"][0]["id"]
        sim.call(f"/api/v4/groups/{root}/labels/{two}", None, sim.tokens["admin"], "DELETE")
        r = apply(sim, name)
        t.ok(r.code == 3 and [(x["key"], x["code"]) for x in failures(name)] == [("First / label two", "reference-gone")],
             "a list whose label somebody removed has failed, it is no loss", str(r), repr(failures(name)))
        r = apply(sim, name, "--rebase")
        t.ok(r.code == 0 and content(sim)[""]["labels"] == want[""]["labels"] and content(sim)[""]["boards"] == want[""]["boards"] and not failures(name),
             "--rebase makes the label again, and the list in its place", str(r), repr(content(sim)))
        name = fresh("label-of-others")
        sim.faults({"match": {"method": "POST", "path": "/labels$", "body": "two"}, "do": NO_TOKEN})
        r = apply(sim, name, "-j", "1")
        t.is_eq(r.code, 12, "the token is refused in the middle", str(r))
        root = sim.group("team")["id"]
        sim.call(f"/api/v4/groups/{root}/labels", {"name": "two", "color": "#0000ff"}, sim.tokens["admin"])
        r = apply(sim, name)
        t.is_eq([(x["key"], x["code"]) for x in failures(name) if x["code"] == "record-taken"], [("two", "record-taken")], "a label that somebody else made", str(r))
        t.is_eq(content(sim)[""]["labels"], want[""]["labels"], "is not doubled")
        t.is_eq(r.code, 3, "the rest goes on")

        # ---- lists keep their order when one fails and is loaded later ----
        name = fresh("lists")
        sim.faults({"match": {"method": "POST", "path": "/lists$", "nth": 2}, "do": {"status": 400, "body": {"message": "no"}}})
        r = apply(sim, name, "-j", "1", "--keep-owner")
        t.ok(r.code == 3 and [x["key"] for x in failures(name)] == ["First / label two"], "the list in the middle fails", str(r))
        r = gstest.replay("retry", *last, "--url", sim.url, "--yes", "--state", name + ".state", token=sim.tokens["owner"], cwd=d)
        t.ok(r.code == 0 and content(sim)[""]["boards"] == want[""]["boards"], "loaded again, it stands in the middle", str(r), repr(content(sim)))

        # ---- an older copy of the state file ----
        for n in ("1", "10", "13", "16"):
            name = fresh("copy" + n)
            apply(sim, name, "--stop-after", n, "-j", "1")
            shutil.copy(os.path.join(d, name + ".state"), os.path.join(d, "older" + n + ".state"))
            apply(sim, name, "--stop-after", "8", "-j", "1")
            r = apply(sim, "older" + n)
            t.ok(r.code == 0 and content(sim) == want, f"a copy of the state file that is older by eight steps ({n})", str(r), repr(content(sim)))

        # ---- clocks ----
        for skew in (3600, -3600):
            name = fresh(f"clock{skew}")
            sim.call("/_sim/config", {"clock_offset_s": skew})
            sim.faults(*[{"match": {"method": "POST", "path": p}, "do": {"lose_answer": True}} for p in ("/groups$", "/milestones$", "/badges$")])
            r = apply(sim, name, json_=True)
            t.ok(r.code == 0 and content(sim) == want and r.json()["ops"]["found"] == 3, f"the clocks differ by {skew} s", str(r))
            sim.call("/_sim/config", {"clock_offset_s": 0})

        # ---- hours, signals, a server that goes away ----
        hour = time.localtime().tm_hour
        def window(a, b):  # noqa: E306
            return f"{(hour + a) % 24:02}:00-{(hour + b) % 24:02}:00"
        for bad in ("22-6", "25:00-06:00", "22:00-22:00", "22:00-06:00x", "22:61-06:00"):
            r = apply(sim, name, "--window", bad)
            t.ok(r.code == 2 and "[usage]" in r.err, f"--window {bad}", str(r))
        name = fresh("window")
        p = gstest.start(gstest.REPLAY, "apply", full, *last, "--url", sim.url, "--yes", "--state", name + ".state", "--window", window(3, 5),
                         token=sim.tokens["owner"], cwd=d)
        time.sleep(3)
        t.ok(p.poll() is None and not writes(sim), "outside of its hours a load waits and writes nothing")
        x = gstest.replay("status", "--state", name + ".state", "--json", cwd=d).json()["run"]
        t.ok(x["state"] == "running" and x["waits_for"] == "window" and x["waits_until"], "status: it waits for its hours", repr(x))
        p.send_signal(signal.SIGTERM)
        p.communicate()
        t.is_eq(p.returncode, 143, "and can be stopped")
        r = apply(sim, name, "--window", window(-2, 2))
        t.ok(r.code == 0 and content(sim) == want, "within them it goes on", str(r))
        name = fresh("signal")
        sim.call("/_sim/config", {"latency_ms": 400})
        p = gstest.start(gstest.REPLAY, "apply", full, *last, "--url", sim.url, "--yes", "--state", name + ".state", token=sim.tokens["owner"], cwd=d)
        while not [x for x in writes(sim) if x["path"].endswith("/labels")] and p.poll() is None:
            time.sleep(0.05)
        p.send_signal(signal.SIGTERM)
        said = p.communicate()[1].decode()
        sim.call("/_sim/config", {"latency_ms": 0})
        db = sqlite3.connect(os.path.join(d, name + ".state"))
        left = {x[0] for x in db.execute("SELECT DISTINCT kind FROM op WHERE state = 1")}
        db.close()
        # steps of more than one request may stop between two of them
        t.ok(p.returncode == 143 and left <= {"milestones", "badges", "boards", "groups.settings"}, "a signal lets what is on the way come to its end",
             f"exit {p.returncode}, still sent: {left}")
        t.ok("steps have ended [stopped]" in said and "before an answer" not in said, "and is what the run ends with", said)
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim) == want, "and the load goes on", str(r), repr(content(sim)))
        name = fresh("away")
        sim.faults({"match": {"path": "/badges"}, "times": 0, "do": {"status": 503, "body": "down"}})
        r = apply(sim, name, "--max-wait", "2")
        t.ok(r.code == 75 and "[server-error]" in r.err, "a server that fails longer than --max-wait", str(r))
        sim.reset_faults()
        r = apply(sim, name)
        t.ok(r.code == 0 and content(sim) == want, "nothing is lost by it", str(r))

        # ---- what stands ready does not leave after the first that was waited for in vain ----
        many = gstest.bundle(d, key, {10: {"self": group(10, None, "many"), "labels": [label(i, f"l{i}") for i in range(1, 31)]}}, "many")
        sim.reset_faults()
        sim.faults({"match": {"path": "/labels"}, "times": 0, "do": {"status": 429, "body": "Retry later\n"}})
        seen = len(writes(sim))
        r = apply(sim, "many", "--max-wait", "1", "--jobs", "4", file=many)
        asked = {json.dumps(x["body"]) for x in writes(sim)[seen:] if x["path"].endswith("/labels")}
        t.ok(r.code == 75 and 0 < len(asked) <= 4, "only what was on the wire is tried", f"{len(asked)} labels asked for", str(r))
        sim.reset_faults()
        r = apply(sim, "many", "--jobs", "4", file=many)
        t.ok(r.code == 0 and len(content(sim, "many")[""]["labels"]) == 30, "and it goes on", str(r))

        # ---- a proxy that shows its own pages; a lock that stays ----
        name = fresh("pages")
        page = {"status": 200, "headers": {"Content-Type": "text/html"}, "body": "<html><body>please log in</body></html>"}
        sim.faults({"match": {"method": "POST", "path": "/labels"}, "times": 0, "do": page})
        r = apply(sim, name, "--jobs", "2", file=many)
        t.ok(r.code == 1 and "[remote-answer]" in r.err, "somebody answers every write in GitLab's place: the run ends", str(r))
        t.ok(len(sim.requests()) < 120, "soon", f"{len(sim.requests())} requests")
        sim.reset_faults()
        r = apply(sim, name, file=many)
        t.ok(r.code == 0 and len(content(sim, "many")[""]["labels"]) == 30, "and goes on when GitLab answers", str(r))
        name = fresh("lock")
        lock = {"status": 409, "body": {"message": "Conflict: Resource lock"}}
        sim.faults({"match": {"method": "POST", "path": "/labels$", "body": "\"l7\""}, "times": 0, "do": lock})
        r = apply(sim, name, "--max-wait", "2", file=many)
        t.ok(r.code == 3 and [(x["key"], x["code"]) for x in failures(name)] == [("l7", "resource-locked")], "a lock that stays", str(r), repr(failures(name)))
        sim.reset_faults()
        r = gstest.replay("retry", "--state", name + ".state", *last, "--yes", token=sim.tokens["owner"], cwd=d)
        t.ok(r.code == 0 and len(content(sim, "many")[""]["labels"]) == 30, "is tried again by retry", str(r))

        # ---- how a run ends before it did anything is said, too ----
        name = fresh("moved-at-rest")
        r = apply(sim, name, file=many)
        sim.call(f"/api/v4/groups/{sim.group('many')['id']}", None, sim.tokens["admin"], "DELETE")
        r = apply(sim, name, file=many)
        st = gstest.replay("status", "--state", name + ".state", "--json", cwd=d).json()
        t.ok(r.code == 30 and "target-moved" in json.dumps(st), "a finished load whose target moved: status says so", str(r), repr(st)[:1500])

        # ---- the state file ----
        name = fresh("full")
        small = os.path.join(d, "small")
        os.mkdir(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=220k", "tmpfs", small], capture_output=True).returncode == 0:
            try:
                r = gstest.replay("apply", full, *last, "--url", sim.url, "--yes", "--state", "small/x.state", token=sim.tokens["owner"], cwd=d)
                t.ok(r.code == 75 and "[disk-full]" in r.err, "the disk is full", str(r))
                subprocess.run(["mount", "-o", "remount,size=20m", small], check=True)
                r = gstest.replay("apply", full, *last, "--url", sim.url, "--yes", "--state", "small/x.state", token=sim.tokens["owner"], cwd=d)
                t.ok(r.code == 0 and content(sim) == want, "with room it goes on", str(r), repr(content(sim)))
            finally:
                subprocess.run(["umount", small])
        else:
            t.skip("the disk is full", "no right to mount a small file system here")
t.done()
