#!/usr/bin/python3
"""What a person does with a load: status (also while it runs), failures, retry, skip."""
import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TIME = "2024-01-02T03:04:05.678Z"
BAD = {"status": 400, "body": {"message": {"title": ["is invalid"]}}}


def group(gid, parent, path, **more):
    return {"id": gid, "parent_id": parent, "name": path.title(), "path": path, "description": f"about {path}", "visibility_level": 0,
            "request_access_enabled": True, **more}


def label(lid, gid, title):
    return {"id": lid, "title": title, "color": "#ff0000", "group_id": gid, "description": None, "type": "GroupLabel", "created_at": TIME, "updated_at": TIME}


def milestone(mid, gid, iid, title, state="active"):
    return {"id": mid, "iid": iid, "title": title, "group_id": gid, "description": None, "state": state, "start_date": None, "due_date": None,
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
TREE = {10: {"self": group(10, None, "team"), "labels": [BUG, FEATURE, DOCS], "badges": [badge(71, 10, "one"), badge(72, 10, "two"), badge(73, 10, "three")],
             "milestones": [milestone(31, 10, 1, "first"), milestone(32, 10, 2, "second", "closed"), milestone(33, 10, 5, "fifth")],
             "boards": [board(50, 10, "Plan", [BUG, FEATURE, DOCS], [FEATURE])], "members": [member(91, 1, 50), member(92, 2, 30)]},
        11: {"self": group(11, 10, "child"), "labels": [label(4, 11, "inner")], "boards": [board(51, 11, "Below", [FEATURE])]},
        12: {"self": group(12, 10, "other"), "labels": [label(5, 12, "far")]}}
ROOT = "team"


def Target(d, name, *args, users=USERS):  # noqa: N802
    return gstest.Target(d, name, "--tier", "premium", *args, users=users)


with gstest.scratch() as d:
    key = gstest.keygen(d)
    team = gstest.bundle(d, key, TREE, "team")

    def replay(verb, sim, state, *args, token=None):
        return gstest.replay(verb, "--trust", "key.pub", "--url", sim.url, "--state", state, *args, token=token or sim.tokens["owner"], cwd=d)

    def apply(sim, state, *args):
        return gstest.replay("apply", team, "--trust", "key.pub", "--url", sim.url, "--state", state, "--yes", *args, token=sim.tokens["owner"], cwd=d)

    def ask(verb, state, *args):
        return gstest.replay(verb, "--state", state, *args, cwd=d)

    def balanced(r, what):
        rows = r.json()["relations"]
        bad = [x for x in rows if x["in_bundle"] != sum(x[k] for k in ("loaded", "there", "lost", "failed", "skipped", "open"))]
        t.ok(rows and not bad, f"{what}: every relation adds up", repr(bad))
        return {x["relation"]: x for x in rows}

    def writes(sim):
        return [x for x in sim.requests() if x["method"] != "GET" and 200 <= x["status"] < 300]

    with Target(d, "whole") as sim:
        r = apply(sim, "whole.state")
        t.is_eq(r.code, 0, "an unbroken load", str(r))
        whole = gstest.normalised(sim.dump(), ROOT)
        r = ask("status", "whole.state", "--json")
        run = r.json()["run"]
        t.is_eq((run["state"], run["command"], run["end_code"]), ("ended", "apply", None), "status: the load came to its end")
        t.is_eq([g["state"] for g in r.json()["groups"]], ["loaded"] * 3, "status: every group is loaded")
        t.ok(all(g["web_url"].startswith(sim.url) for g in r.json()["groups"]), "status: with a link to each")
        rel = {x["relation"]: (x["in_bundle"], x["loaded"]) for x in r.json()["groups"][0]["relations"]}
        t.is_eq(rel["labels"], (3, 3), "status: records per group and relation", repr(rel))
        r = ask("status", "whole.state", "--watch")
        t.ok(r.code == 0 and "came to its end" not in r.out and "ended" in r.out and len(r.out.splitlines()) == 1,
             "status --watch of a load that has ended says so once and ends", str(r))
        r = replay("retry", sim, "whole.state")
        t.ok(r.code == 0 and "nothing that failed fits" in r.err, "retry: nothing to do is said", str(r))

    # ---- the least time ----
    with Target(d, "time", "--config", '{"rate_limit": 15, "rate_window_s": 60}') as sim:
        def plan(state, *args):
            return gstest.replay("plan", team, "--trust", "key.pub", "--url", sim.url, "--state", state, *args, token=sim.tokens["owner"], cwd=d)
        r = plan("time.state", "--json")
        x = r.json()
        t.is_eq((x["rate_per_min"], x["least_by"], x["least_ms"]), (15, "rate-limit", (-(-x["requests"] // 15) - 2) * 60000),
                "plan: the least time that the rate limit allows: what a window allows may go at its end, and at the beginning of the last one", str(r)[:400])
        t.ok(x["requests"] > 30, "which is more than two windows", str(x["requests"]))
        x = plan("time1.state", "--json", "--rate", "10").json()
        t.is_eq((x["rate_per_min"], x["least_by"], x["least_ms"]), (10, "rate-limit", x["requests"] * 6000), "plan: an own limit is spread evenly", repr(x)[:400])
        y = gstest.replay("apply", team, "--dry-run", "--trust", "key.pub", "--url", sim.url, "--state", "time4.state", "--json", "--rate", "10", token=sim.tokens["owner"], cwd=d).json()
        t.is_eq([y.get(k) for k in ("least_ms", "least_by", "rate_per_min")], [x[k] for k in ("least_ms", "least_by", "rate_per_min")], "apply --dry-run: the same", repr(y)[:400])
        t.has(plan("time2.state").out, "no more than 15 a minute", "also in words")
    with Target(d, "time3", "--latency-ms", "200") as sim:
        x = gstest.replay("plan", team, "--trust", "key.pub", "--url", sim.url, "--state", "time3.state", "--json", "--jobs", "2", token=sim.tokens["owner"], cwd=d).json()
        t.ok(x["least_by"] == "latency" and x["jobs"] == 2 and x["request_ms"] >= 200 and x["least_ms"] == x["requests"] * x["request_ms"] // 2,
             "plan: the least time by latency and --jobs", repr({k: x.get(k) for k in ("least_by", "least_ms", "request_ms", "jobs", "requests")}))

    # ---- while it runs ----
    with Target(d, "live", "--latency-ms", "300") as sim:
        plain = ask("status", "live.state")
        t.is_eq(plain.code, 10, "status: no such state file", str(plain))
        p = gstest.start(gstest.REPLAY, "apply", team, "--trust", "key.pub", "--url", sim.url, "--state", "live.state", "--yes", "--jobs", "1",
                         token=sim.tokens["owner"], cwd=d)
        state = os.path.join(d, "live.state")
        seen = []
        while p.poll() is None:
            r = ask("status", "live.state", "--json") if os.path.exists(state) else None
            if r and r.code == 0:
                seen.append(r.json())
                if seen[-1]["run"]["state"] == "running":
                    break
            time.sleep(0.1)
        t.ok(seen and seen[-1]["run"]["state"] == "running" and seen[-1]["run"]["pid"] == p.pid, "status: the load is running", repr(seen[-1:])[:300])
        p.send_signal(signal.SIGUSR1)
        r = ask("status", "live.state", "--watch", "--json")
        lines = r.lines()
        t.ok(r.code == 0 and len(lines) > 2, "status --watch --json: an object per change", str(r)[:500])
        t.is_eq([lines[0]["run"]["state"], lines[-1]["run"]["state"]], ["running", "ended"], "it ends when the load does")
        ended = [x["ops"]["all"] - x["ops"]["open"] for x in lines]
        t.ok(ended == sorted(ended) and ended[-1] == lines[-1]["ops"]["all"], "and the numbers only grow", repr(ended))
        out, err = p.communicate(timeout=60)
        t.is_eq(p.returncode, 0, "a load that is watched ends as it should", err.decode())
        t.ok(b"running since" in err and b"steps/s" in err and b"team/child" in err, "SIGUSR1: it tells its status on stderr", err.decode())
        t.is_eq(gstest.normalised(sim.dump(), ROOT), whole, "and loads the same")
        t.ok(not os.path.exists(state + "-wal"), "nothing is left beside the state file")

    # ---- why it stopped ----
    with Target(d, "stop", "--latency-ms", "100") as sim:
        sim.faults({"match": {"method": "POST", "path": "/labels$"}, "do": {"status": 401, "body": {"message": "401 Unauthorized"}}})
        t.is_eq(apply(sim, "stop.state").code, 12, "the token is refused")
        r = ask("status", "stop.state", "--json")
        t.is_eq((r.json()["run"]["state"], r.json()["run"]["end_code"]), ("stopped", "token-refused"), "status says why the load stopped", str(r)[:300])
        r = ask("status", "stop.state")
        t.ok("stopped at" in r.out and "what to do: the token is wrong" in r.out, "also in words, with what to do", str(r))
        p = gstest.start(gstest.REPLAY, "apply", "--trust", "key.pub", "--state", "stop.state", "--yes", token=sim.tokens["owner"], cwd=d)
        while ask("status", "stop.state", "--json").json()["run"]["state"] != "running":
            time.sleep(0.05)
        p.send_signal(signal.SIGKILL)
        p.communicate()
        run = ask("status", "stop.state", "--json").json()["run"]
        t.is_eq((run["state"], run["ended_at"]), ("lost", None), "a load that was killed ended without a word")
        t.has(ask("status", "stop.state").out, "cut off without a word", "which is said")
        t.has(ask("status", "stop.state", "--watch").out, "; cut off without a word", "also by --watch")
        r = replay("apply", sim, "stop.state", "--yes", token=sim.tokens["admin"])
        t.ok(r.code == 30 and "[state-other-user]" in r.err and "use a token of the user who began the load" in r.err, "another user's token does not go on with it", str(r))
        sim.call("/_sim/config", {"latency_ms": 300})
        p = gstest.start(gstest.REPLAY, "apply", "--trust", "key.pub", "--state", "stop.state", "--yes", "--jobs", "1", token=sim.tokens["owner"], cwd=d)
        while not ask("status", "stop.state", "--json").json()["run"]["eta_ms"] and p.poll() is None:
            time.sleep(0.05)
        sim.faults({"match": {"method": ["GET", "POST", "PUT"]}, "times": 0, "do": {"status": 503, "body": "down"}})
        while ask("status", "stop.state", "--json").json()["run"]["waits_for"] is None and p.poll() is None:
            time.sleep(0.05)
        run = ask("status", "stop.state", "--json").json()["run"]
        t.is_eq((run["waits_for"], run["eta_ms"]), ("server-error", None), "how long it takes is not known while the target answers with errors", repr(run))
        sim.reset_faults()
        p.communicate(timeout=120)
        t.is_eq(p.returncode, 0, "it goes on when the target does")

    # ---- failures ----
    with Target(d, "fail") as sim:
        sim.faults({"name": "label", "match": {"method": "POST", "path": "/labels$", "body": "\"feature\""}, "times": 0,
                    "do": {"status": 400, "body": {"message": {"title": [f"is invalid, private_token={sim.tokens['owner']}&x"]}}}},
                   {"name": "milestone", "match": {"method": "POST", "path": "/milestones$", "body": "\"first\""}, "times": 0, "do": BAD},
                   {"name": "close", "match": {"method": "PUT", "path": "/milestones/"}, "times": 0, "do": {"status": 403, "body": {"message": "403 Forbidden"}}},
                   {"name": "badge", "match": {"method": "POST", "path": "/badges$", "body": "\"two\""}, "times": 0, "do": BAD},
                   {"name": "group", "match": {"method": "POST", "path": "/groups$", "body": "\"other\""}, "times": 0,
                    "do": {"status": 403, "body": {"message": "403 Forbidden, \"you\", may not"}}})
        r = apply(sim, "fail.state", "--json")
        t.is_eq(r.code, 3, "some records are refused", str(r))
        held = r.out + r.err + str(ask("failures", "fail.state", "--json")) + "".join(
            open(os.path.join(d, n), errors="replace").read() for n in os.listdir(d) if n.startswith("fail.state"))
        t.ok("private_token=***" in held and sim.tokens["owner"] not in held, "a token that the server repeats is neither told nor stored")
        balanced(r, "with failures")
        rows = ask("failures", "fail.state", "--json").lines()
        by = {(x["relation"], x["key"]): x for x in rows}
        t.is_eq(sorted(by), [("badges", "two"), ("labels", "feature"), ("milestones", "first"), ("milestones", "second"), ("self", "team/other")],
                "failures: one object per failed record")
        x = by["labels", "feature"]
        t.ok(x["group"] == "team" and x["source_id"] == 2 and x["http"] == 400 and x["code"] == "refused" and x["request"].startswith("POST /groups/")
             and x["request"].endswith("/labels") and "is invalid" in x["text"] and x["request_id"] and x["hint"], "with all that is known of it", repr(x))
        t.ok("'replay retry'" in x["hint"] and "'replay retry'" in by["self", "team/other"]["hint"] and "whose token" in by["self", "team/other"]["hint"],
             "the hint can be followed", repr(x["hint"]))
        t.is_eq({x["key"] for x in ask("failures", "fail.state", "--json", "--skipped").lines()} - {k for _, k in by}, {"team/other", "far", "ownership of the token's user"} - {"team/other"},
                "--skipped: and what was skipped because of them")
        t.is_eq([x["key"] for x in ask("failures", "fail.state", "--json", "--relation", "milestones").lines()], ["first", "second"], "--relation")
        t.is_eq([x["key"] for x in ask("failures", "fail.state", "--json", "--code", "forbidden").lines()], ["second", "team/other"], "--code")
        t.is_eq([x["key"] for x in ask("failures", "fail.state", "--json", "--group", "team/other").lines()], ["team/other"], "--group")
        t.is_eq([x["key"] for x in ask("failures", "fail.state", "--json", "--group", "team", "--code", "refused", "--relation", "badges").lines()], ["two"], "all of them")
        r = ask("failures", "fail.state", "--csv", "--skipped")
        table = list(csv.DictReader(io.StringIO(r.out, newline="")))
        t.ok(r.out.count("group,target_group,relation,") == 1 and r.out.endswith("\r\n"), "--csv: one header, lines end with CR LF")
        t.is_eq({x["key"]: x["source_id"] for x in table if x["state"] == "failed"}["feature"], "2", "and it reads back")
        t.ok(any('"you"' in x["text"] for x in table), "quotes and commas too", r.out)
        for name, value in (("--code", "nonsense"), ("--relation", "nonsense"), ("--group", "team/nonsense")):
            r = ask("failures", "fail.state", name, value)
            t.ok(r.code == 2 and "[usage]" in r.err and value in r.err, f"failures {name}: one that does not exist", str(r))
        r = ask("failures", "fail.state", "--csv", "--json")
        t.is_eq(r.code, 2, "failures: --csv and --json exclude each other")

        # ---- retry: chosen ones only ----
        before = sim.dump()
        r = replay("retry", sim, "fail.state", "--relation", "labels", "--dry-run")
        t.ok(r.code == 3 and "1 that failed" in r.err, "retry --dry-run says what it would do", str(r))
        r = replay("retry", sim, "fail.state", "--relation", "labels")
        t.ok(r.code == 2 and "[not-confirmed]" in r.err, "without a terminal and --yes it does nothing", str(r))
        t.is_eq(sim.dump(), before, "and nothing has changed there")
        t.is_eq(len(ask("failures", "fail.state", "--json").lines()), 5, "nor in the state file")
        n = len(sim.requests())
        r = replay("retry", sim, "fail.state", "--relation", "labels", "--yes")
        t.is_eq(r.code, 3, "retry of what is still refused", str(r))
        again = [x for x in sim.requests()[n:] if x["method"] == "POST"]
        t.ok(again and all(x["path"].endswith("/labels") or x["path"].endswith("/lists") for x in again), "only the chosen ones are tried", repr([x["path"] for x in again]))
        t.is_eq(len(ask("failures", "fail.state", "--json").lines()), 5, "and fail again")

        # ---- retry: all, in an order that is no longer theirs ----
        sim.reset_faults()
        r = replay("retry", sim, "fail.state", "--yes", "--json")
        t.is_eq(r.code, 0, "retry when the target takes them", str(r))
        balanced(r, "after a retry")
        lost = {x["code"]: x for x in r.json()["losses"]}
        t.is_eq(ask("failures", "fail.state", "--json", "--skipped").lines(), [], "nothing is failed any more")
        after = gstest.normalised(sim.dump(), ROOT)
        t.is_eq([x["count"] for c, x in lost.items() if c == "milestone-iid-changed"], [1], "a number that went by is a named loss", repr(list(lost)))
        t.is_eq([x["count"] for c, x in lost.items() if c == "badge-order"], [1], "and so is the order of badges")
        for g in (whole, after):
            g[""]["badges"].sort(key=lambda b: b["name"])
            for m in g[""]["milestones"]:
                m["iid"] = 0
            g[""]["milestones"].sort(key=lambda m: m["title"])
        differ = [(p, k, after[p][k], whole[p][k]) for p in whole for k in whole[p] if after.get(p, {}).get(k) != whole[p][k]]
        t.is_eq(differ, [], "everything else is as after an unbroken load: lists in their order, scopes, closed milestones, owners")
        t.ok(not [x for x in sim.dump()["milestones"] if "filler" in x["title"]], "no filler is left")
        made = [x["body"]["title"] for x in sim.requests() if x["method"] == "POST" and x["path"].endswith("/milestones") and x["status"] == 201]
        t.is_eq(made.count("second"), 1, "a milestone that was made and not closed is not made again")

    # ---- retry looks first at what may be there ----
    with Target(d, "unsure") as sim:
        sim.faults({"match": {"method": "POST", "path": "/badges$"}, "times": 0, "do": {"after_status": 502, "body": "gone"}},
                   {"match": {"method": "GET", "path": "/badges$"}, "times": 0, "do": {"status": 403, "body": {"message": "403 Forbidden"}}})
        r = apply(sim, "unsure.state")
        t.is_eq(r.code, 3, "answers are lost, and looking is forbidden", str(r))
        t.ok(len(sim.dump()["badges"]) == 3, "though the badges are there")
        sim.reset_faults()
        r = replay("retry", sim, "unsure.state", "--yes", "--json")
        t.is_eq((r.code, len(sim.dump()["badges"])), (0, 3), "retry finds them and makes none twice", str(r))

    # ---- a state file of an older version does not know when something was sent, but that it was ----
    with Target(d, "old") as sim:
        sim.faults({"match": {"method": "POST", "path": "/labels$", "body": "feature"}, "do": {"status": 400, "body": {"message": {"title": ["is invalid"]}}}})
        r = apply(sim, "old.state")
        t.is_eq(r.code, 3, "a label is refused", str(r))
        sim.reset_faults()
        con = sqlite3.connect(os.path.join(d, "old.state"))
        con.execute("UPDATE op SET sent_at = NULL")
        con.commit()
        con.close()
        n = len(sim.requests())
        r = replay("retry", sim, "old.state", "--yes")
        asked = [(x["method"], x["path"].rsplit("/", 1)[-1]) for x in sim.requests()[n:] if x["path"].endswith("/labels")]
        t.is_eq((r.code, asked[0], asked[-1]), (0, ("GET", "labels"), ("POST", "labels")), "retry looks first there too", repr(asked))

    # ---- who reads slowly keeps no load from beginning ----
    many = {10: {"self": group(10, None, "team"), "labels": [label(100 + i, 10, f"label {i:04} " + "x" * 200) for i in range(1200)]}}
    with Target(d, "slow") as sim:
        file = gstest.bundle(d, key, many, "many")
        sim.faults({"match": {"method": "POST", "path": "/groups$"}, "do": {"status": 403, "body": {"message": "403 Forbidden"}}})
        r = gstest.replay("apply", file, "--trust", "key.pub", "--url", sim.url, "--state", "slow.state", "--yes", token=sim.tokens["owner"], cwd=d)
        t.is_eq(r.code, 3, "a group is refused, and with it much more", str(r)[-600:])
        for verb, more in (("failures", ("--skipped", "--json")), ("failures", ("--skipped",))):
            p = gstest.start(gstest.REPLAY, verb, "--state", "slow.state", *more, cwd=d)
            p.stdout.read(1)  # it tells, and nobody listens any further
            r = ask("skip", "slow.state", "--code", "forbidden", "--reason", "nobody waits", "--dry-run")
            t.is_eq(r.code, 0, f"{verb} {' '.join(more)}: whoever writes to the state file is not kept waiting", str(r))
            out, _ = p.communicate()
            t.ok(p.returncode == 0 and len(out) > 200000, "and all is told", f"{p.returncode}, {len(out)} bytes")

    # ---- skip ----
    with Target(d, "skip") as sim:
        sim.faults({"match": {"method": "POST", "path": "/labels$", "body": "\"feature\""}, "times": 0, "do": BAD},
                   {"match": {"method": "POST", "path": "/groups$", "body": "\"other\""}, "times": 0, "do": {"status": 403, "body": {"message": "403 Forbidden"}}})
        t.is_eq(apply(sim, "skip.state").code, 3, "two records are refused")
        for words, what in (([], "nothing"), (["--reason", "x"], "no record"), (["--reason", " ", "--code", "refused"], "an empty reason"),
                            (["--code", "refused"], "no reason"), (["--reason", "x", "nosuchkey"], "a record that does not exist"),
                            (["--reason", "x", "--group", "nosuch"], "a group that does not exist")):
            r = ask("skip", "skip.state", *words)
            t.is_eq(r.code, 2, f"skip: {what}", str(r))
        r = ask("skip", "skip.state", "--reason", "x", "bug")
        t.is_eq(r.code, 2, "skip: what is loaded cannot be left out", str(r))
        r = ask("skip", "skip.state", "feature", "--reason", "not wanted, \"really\"", "--dry-run", "--json")
        t.is_eq((r.code, r.json()["chosen"], r.json()["dry_run"]), (0, 1, True), "skip --dry-run", str(r))
        r = ask("skip", "skip.state", "feature", "--reason", "not wanted, \"really\"")
        t.is_eq(r.code, 0, "skip by key", str(r))
        r = ask("skip", "skip.state", "--code", "forbidden", "--reason", "no such department")
        t.is_eq(r.code, 0, "skip by code", str(r))
        r = ask("status", "skip.state", "--json")
        rel = balanced(r, "with decisions")
        t.is_eq((r.json()["ops"]["failed"], r.json()["ops"]["skipped"], rel["labels"]["decided"], rel["self"]["decided"]), (0, 0, 2, 1),
                "what stands on a group follows it", repr(r.json()["ops"]))
        t.is_eq({g["source_path"]: g["state"] for g in r.json()["groups"]}["team/other"], "left-out", "status: the group is left out")
        t.has(ask("status", "skip.state").out, "left out on purpose", "status says it")
        rows = {x["key"]: x for x in ask("failures", "skip.state", "--json").lines()}
        x = rows["feature"]
        t.ok(x["code"] == "skipped-by-decision" and x["reason"] == "not wanted, \"really\"" and x["decided_by"] and x["decided_at"].startswith("20"),
             "failures: reason, user and time", repr(x))
        t.has(ask("failures", "skip.state").out, "left out on purpose: ", "also in words")
        r = replay("retry", sim, "skip.state", "--yes")
        t.ok(r.code == 0 and "nothing that failed fits" in r.err, "retry does not touch what was decided", str(r))
        t.is_eq(apply(sim, "skip.state").code, 0, "apply: nothing is missing that was not decided")
        sim.reset_faults()
        r = replay("retry", sim, "skip.state", "--code", "skipped-by-decision", "--yes", "--json")
        t.is_eq(r.code, 0, "a decision is taken back by name", str(r))
        t.is_eq(sorted(x["title"] for x in sim.dump()["labels"]), ["bug", "docs", "far", "feature", "inner"], "and everything is loaded", )

        # before anything was loaded
        r = gstest.replay("plan", team, "--trust", "key.pub", "--url", sim.url, "--state", "early.state", "--rename", "team=early", token=sim.tokens["owner"], cwd=d)
        r = ask("skip", "early.state", "--relation", "badges", "--reason", "old")
        t.is_eq(r.code, 0, "skip of what is only planned", str(r))
        r = ask("skip", "early.state", "--group", "team/child", "--reason", "old")
        r = replay("apply", sim, "early.state", "--yes", "--json")
        t.is_eq(r.code, 0, "then the rest is loaded", str(r))
        t.is_eq(sim.rows("badges", "early"), [], "without them")
        t.ok(not [g for g in sim.dump()["groups"] if g["path"] == "child" and g["parent_id"] == sim.group("early")["id"]], "nor the group")
        con = sqlite3.connect(os.path.join(d, "early.state"))
        t.is_eq(con.execute("SELECT count(*) FROM op WHERE state < 2").fetchone(), (0,), "every step has ended")
        con.close()
t.done()
