#!/usr/bin/python3
"""The GitLab client against the simulator: instance and token, lists, GraphQL, scripted faults."""
import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

DRIVER = os.path.join(gstest.BUILD, "tests/e2e/http_driver")
t = gstest.Tap()


def drive(url, token, *args):
    p = subprocess.run([DRIVER, url, *(["token=" + token] if token else []), *args], capture_output=True, text=True, timeout=120)
    rows = [json.loads(line) for line in p.stdout.splitlines() if line.strip()]
    if "Sanitizer" in p.stderr or (token and token in p.stdout + p.stderr):
        t.ok(False, "no finding, no token in the output", repr(args), p.stderr)
    return rows


def row(rows, key):
    return next((r for r in rows if key in r), rows[-1])


with gstest.scratch() as d, gstest.Sim(d, "gitlab", "--seed", gstest.DEMO_TREE) as s:
    r = row(drive(s.url, s.tokens["owner"], "probe"), "probe")
    t.ok(r["probe"] == 0 and r["major"] == 17 and r["version"].endswith("-ee") and r["enterprise"] == 1 and r["user_id"] > 0 and
         r["username"] and r["api"] and not r["sudo"] and r["is_admin"] < 1, "an owner's token is probed", r)
    t.ok(abs(r["offset"]) < 2000, "the clocks agree", r["offset"])
    r = row(drive(s.url, s.tokens["admin"], "probe"), "probe")
    t.ok(r["is_admin"] == 1 and r["sudo"] == 1, "an admin's token", r)
    r = row(drive(s.url, s.tokens["reader"], "probe"), "probe")
    t.is_eq(r["code"], "scope-missing", "read_api does not do for writing")
    r = row(drive(s.url, s.tokens["reader"], "probe-read"), "probe")
    t.ok(r["probe"] == 0 and r["read_api"], "it does for reading", r)
    t.is_eq(row(drive(s.url, s.tokens["noscope"], "probe-read"), "probe")["code"], "scope-missing", "a token with neither")
    for name, word in (("expired", "xpired"), ("revoked", "evoked")):
        r = row(drive(s.url, s.tokens[name], "probe"), "probe")
        t.ok(r["code"] == "token-refused" and word in r["text"], f"a token that is {name}, in the server's words", r)
    t.is_eq(row(drive(s.url, "glpat-wrong", "probe"), "probe")["code"], "token-refused", "a wrong token")
    t.is_eq(row(drive(s.url, None, "probe"), "probe")["code"], "token-missing", "no token")

    top = next(g for g in json.loads(json.dumps(s.dump()))["groups"] if not g.get("parent_id"))
    path = f"/groups/{top['id']}/labels"
    for i in range(40):
        s.call("/api/v4" + path, {"name": f"more {i:03}", "color": "#112233"}, token=s.tokens["owner"])
    want = row(drive(s.url, s.tokens["owner"], f"seqlist:{path}?per_page=7&include_ancestor_groups=false"), "list")
    got = row(drive(s.url, s.tokens["owner"], "jobs=6", f"list:{path}?per_page=7&include_ancestor_groups=false"), "list")
    t.ok(got["code"] == "ok" and got["records"] == want["records"] == want["announced"] >= 40 and got["list"] == want["list"] > 5,
         "a list, in parallel as one after the other", got, want)
    s.faults({"match": {"path": "labels$", "nth": 3}, "times": 1, "do": {"status": 502}},
             {"match": {"path": "labels$", "nth": 5}, "times": 1, "do": {"cut_after": 60}},
             {"match": {"path": "labels$", "nth": 7}, "times": 1, "do": {"status": 429, "headers": {"Retry-After": "1"}}})
    got = row(drive(s.url, s.tokens["owner"], "jobs=6", f"list:{path}?per_page=7&include_ancestor_groups=false"), "list")
    t.ok(got["code"] == "ok" and got["records"] == want["records"] and got["retries"] >= 3, "the same through faults", got)
    s.reset_faults()

    before = len(s.dump()["labels"])
    s.faults({"match": {"method": "POST", "path": "labels$"}, "times": 1, "do": {"lose_answer": True}})
    r = drive(s.url, s.tokens["owner"], f"get:{path}", "wait", f"post:{path} " + json.dumps({"name": "once", "color": "red"}))[1]
    t.ok(r["outcome"] == "unknown" and r["tries"] == 1, "a write whose answer is lost is unknown", r)
    t.is_eq(len(s.dump()["labels"]), before + 1, "and was made once")
    r = drive(s.url, s.tokens["owner"], f"post:{path} " + json.dumps({"name": "once", "color": "red"}))[0]
    t.ok(r["outcome"] == "answered" and r["status"] == 409 and r["code"] == "refused", "a second one is a duplicate", r)

    r = row(drive(s.url, s.tokens["owner"], "gql:{ currentUser { username } }"), "gql")
    t.is_eq(r["gql"], 0, "GraphQL")
    r = row(drive(s.url, s.tokens["owner"], "gql:{ currentUser { noSuchField } }"), "gql")
    t.ok(r["code"] == "graphql" and r["unknown_field"], "an unknown field", r)
    t.is_eq(row(drive(s.url, "glpat-wrong", "gql:{ currentUser { username } }"), "gql")["code"], "token-refused",
            "GraphQL with a bad token")
    r = row(drive(s.url, s.tokens["owner"], "nodes:" + top["full_path"]), "list")
    t.ok(r["code"] == "ok" and r["records"] >= 40 and r["list"] > 20, "a connection in pages of two", r)
    r = row(drive(s.url, s.tokens["owner"], "nodes:no/such/group"), "list")
    t.is_eq((r["code"], r["scope"]), ("group-not-found", "item"), "a group that is not there")
    t.is_eq({r.get("ua", "groupsnap")[:9] for r in s.requests() if "ua" in r} - {"groupsnap"}, set(), "its user agent")

for version, code in (("13.12.15-ee", "server-too-old"), ("14.0.0", "ok"), ("15.4.2-ee", "ok")):
    with gstest.scratch() as d, gstest.Sim(d, "old", "--seed", gstest.DEMO_TREE, "--version", version) as s:
        r = row(drive(s.url, s.tokens["owner"], "probe"), "probe")
        t.is_eq(r["code"], code, f"GitLab {version}")
        if code == "ok":
            t.is_eq((r["version"], r["enterprise"], r["api"]), (version, 1 if "ee" in version else 0, 0),
                    "older versions do not tell the scopes")

# ---- limits: what the headers announce is kept to before the server has to refuse ----


def windows(log, size):
    """Requests per window of the server, which begins at whole multiples of its size in Unix time."""
    count = {}
    for r in log:
        count[int(r["unix"] // size)] = count.get(int(r["unix"] // size), 0) + 1
    return count


for limit, size, jobs, n, latency in ((60, 3, 8, 260, 0), (40, 2, 32, 170, 60)):
    with gstest.scratch() as d, gstest.Sim(d, "limited", "--seed", gstest.DEMO_TREE, "--latency-ms", str(latency), "--config",
                                           json.dumps({"rate_limit": limit, "rate_window_s": size})) as s:
        time.sleep(size - time.time() % size)  # from the beginning of a window
        rows = drive(s.url, s.tokens["owner"], f"jobs={jobs}", "get:/user", "wait", f"n={n}", "get:/user")
        log = s.requests()
        t.is_eq(len([r for r in rows if r.get("status") == 200]), n + 1, f"{n} requests through a limit of {limit} in {size} s")
        t.is_eq([r["n"] for r in log if r["status"] == 429], [], "the server refused none of them")
        used = windows(log, size)
        whole = [used.get(w, 0) for w in range(min(used), max(used))]
        # how many windows it took, and not how long: a slow machine makes requests late, and the pace makes up for it
        # tests/unit/test_pace.c has the exact share, on a clock of its own
        t.ok(len(whole) >= 3 and sum(whole) >= 0.85 * limit * len(whole), "and most of what it allows in a window was used", used)
        stats = next(r for r in rows if r.get("stats"))
        t.is_eq(stats["rate_per_min"], limit * 60 // size, "the limit is told per minute")

with gstest.scratch() as d, gstest.Sim(d, "apart", "--seed", gstest.DEMO_TREE, "--config",
                                       '{"rate_limit": 1000, "rate_window_s": 3, "deprecated_api_rate_limit": 6}') as s:
    time.sleep(3 - time.time() % 3)
    path = "/groups/" + s.call("/api/v4/groups?top_level_only=true", token=s.tokens["owner"])[0]["full_path"]
    rows = drive(s.url, s.tokens["owner"], "jobs=4", "get:/user", "wait", "get:" + path, "wait", "n=8", "get:" + path, "n=1",
                 *["get:/user" for _ in range(60)])
    log = s.requests()
    slow = [r for r in log if r["path"].endswith(path)]
    t.is_eq((len(slow), [r["n"] for r in log if r["status"] == 429]), (9, []), "two limits: none is exceeded")
    users = [r["t"] for r in log if r["path"].endswith("/user")]
    t.ok(len(users) == 61 and max(users) < max(r["t"] for r in slow), "who waits for one limit does not hold up the other", log[-3:])

with gstest.scratch() as d, gstest.Sim(d, "own", "--seed", gstest.DEMO_TREE) as s:
    rows = drive(s.url, s.tokens["owner"], "jobs=16", "rate=1200", "n=30", "get:/user")
    at = sorted(r["t"] for r in s.requests())
    t.ok(len(at) == 30 and at[-1] - at[0] >= 700, "an own limit of 1200 in a minute spreads 30 requests over more than a second", at)

t.done()
