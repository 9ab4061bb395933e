#!/usr/bin/python3
"""snap create, groups and preflight against the simulator: what is in the bundle is what the source holds."""
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
ROOT = "halden-instruments"
WHEN = "2025-01-01T00:00:00Z"


def create(d, s, out, *more, token="owner", group=ROOT, **kw):
    return gstest.snap("create", "--via", "api", "--url", s.url, "-o", out, "--key", "key", *more, group, token=s.tokens[token], cwd=d, **kw)


def records(d, bundle, what=None):
    r = gstest.snap("cat", bundle, *([what] if what else []), cwd=d)
    if r.code:
        raise RuntimeError(str(r))
    return r.lines()


def leftovers(d, out):
    return sorted(n for n in os.listdir(d) if n.startswith(out))


VISIBILITY = {"private": 0, "internal": 10, "public": 20}
PROJECTS = {"noone": 0, "maintainer": 1, "developer": 2, "administrator": 3, "owner": 4}
SUBGROUPS = {"owner": 0, "maintainer": 1}


def expected_self(g):
    e = dict(g["settings"])
    for key, words in (("project_creation_level", PROJECTS), ("subgroup_creation_level", SUBGROUPS)):
        if key in e:
            e[key] = words[e[key]]
    e.update(id=g["id"], name=g["name"], path=g["path"], description=g["description"] or "", parent_id=g["parent_id"],
             visibility_level=VISIBILITY[g["visibility"]], full_path=g["full_path"], created_at=g["created_at"])
    return e


def differences(want, got):
    return [f"{k}: want {v!r}, got {got.get(k)!r}" for k, v in want.items() if got.get(k) != v]


def check_content(d, dump, bundle):
    bad = []
    users = {u["id"]: u for u in dump["users"]}
    titles = {x["id"]: x["title"] for x in dump["labels"]}
    for g in dump["groups"]:
        here = {}
        for rel in ("self", "labels", "milestones", "badges", "boards", "members"):
            r = gstest.snap("cat", bundle, f"{g['full_path']}/{rel}", cwd=d)
            here[rel] = r.lines() if r.code == 0 else []
        bad += [f"{g['path']} self " + x for x in differences(expected_self(g), here["self"][0])]
        for rel, keys in (("labels", ("id", "title", "color", "description", "created_at", "updated_at")),
                          ("milestones", ("id", "iid", "title", "description", "state", "start_date", "due_date", "created_at",
                                          "updated_at")),
                          ("badges", ("id", "name", "link_url", "image_url"))):
            want = {x["id"]: {k: x[k] for k in keys} for x in dump[rel] if x["group_id"] == g["id"]}
            got = {x["id"]: x for x in here[rel]}
            if sorted(want) != sorted(got) or len(got) != len(here[rel]):
                bad.append(f"{g['path']} {rel}: want {sorted(want)}, got {[x['id'] for x in here[rel]]}")
                continue
            for i in want:
                bad += [f"{g['path']} {rel} {i} " + x for x in differences(want[i], got[i])]
        want = {x["user_id"]: x for x in dump["members"] if x["group_id"] == g["id"]}
        got = {x["user_id"]: x for x in here["members"]}
        if sorted(want) != sorted(got):
            bad.append(f"{g['path']} members: want {sorted(want)}, got {sorted(got)}")
            continue
        for i, w in want.items():
            u = users[i]
            bad += [f"{g['path']} member {i} " + x for x in differences(
                {k: w[k] for k in ("access_level", "expires_at", "created_at", "created_by_id")}, got[i])]
            bad += [f"{g['path']} member {i} user " + x for x in differences(
                {k: u[k] for k in ("id", "username", "name", "public_email")}, got[i]["user"])]
        want = {x["id"]: x for x in dump["boards"] if x["group_id"] == g["id"]}
        got = {x["id"]: x for x in here["boards"]}
        if sorted(want) != sorted(got):
            bad.append(f"{g['path']} boards: want {sorted(want)}, got {sorted(got)}")
            continue
        for i, w in want.items():
            b = got[i]
            bad += [f"{g['path']} board {i} " + x for x in differences(
                {k: w[k] for k in ("name", "milestone_id", "weight", "hide_backlog_list", "hide_closed_list", "created_at",
                                   "updated_at")}, b)]
            if (b.get("board_assignee") or {}).get("assignee_id") != w["assignee_id"]:
                bad.append(f"{g['path']} board {i} assignee {b.get('board_assignee')}")
            scope = sorted(titles[x["label_id"]] for x in dump["board_labels"] if x["board_id"] == i)
            if scope != sorted(x["title"] for x in b["labels"]):
                bad.append(f"{g['path']} board {i} labels {b['labels']}")
            # a board does not show the Open and Closed lists that it is told to hide
            hidden = [n for n in ("backlog", "closed") if w[f"hide_{n}_list"]]
            lists = {x["id"]: x for x in dump["lists"] if x["board_id"] == i and x["list_type"] not in hidden}
            if sorted(lists) != sorted(x["id"] for x in b["lists"]):
                bad.append(f"{g['path']} board {i} lists: want {sorted(lists)}, got {[x['id'] for x in b['lists']]}")
                continue
            for x in b["lists"]:
                w = lists[x["id"]]
                keys = ["label_id", "list_type", "user_id", "milestone_id"]
                if w["list_type"] not in ("backlog", "closed"):
                    keys += ["position", "max_issue_count", "max_issue_weight", "limit_metric"]
                bad += [f"{g['path']} board {i} list {x['id']} " + y for y in differences({k: w[k] for k in keys}, x)]
                if w["label_id"] and x["label"]["title"] != titles[w["label_id"]]:
                    bad.append(f"{g['path']} board {i} list {x['id']} label {x['label']}")
            order = [x["position"] for x in b["lists"] if x["list_type"] not in ("backlog", "closed")]
            if order != sorted(order):
                bad.append(f"{g['path']} board {i} lists are not in order: {order}")
    return bad


def raw_contents(d, bundle):
    """Every byte that the bundle holds, unpacked with stock tools."""
    out = os.path.join(d, "unpacked")
    subprocess.run(["rm", "-rf", out], check=True)
    os.mkdir(out)
    subprocess.run(["tar", "xf", os.path.join(d, bundle), "-C", out], check=True)
    data = b""
    for folder, _, files in os.walk(out):
        for f in files:
            p = os.path.join(folder, f)
            data += subprocess.run(["zstd", "-dcq", p], check=True, capture_output=True).stdout if p.endswith(".zst") \
                else open(p, "rb").read()
    return data, out


def test_content(d, s):
    r = create(d, s, "a.gsnap", "--time", WHEN)
    t.is_eq(r.code, 0, "a tree is captured", str(r))
    t.is_eq(leftovers(d, "a.gsnap"), ["a.gsnap"], "nothing but the bundle is left")
    dump = s.dump()
    bad = check_content(d, dump, "a.gsnap")
    t.ok(not bad, "every attribute of every record is as at the source", *bad[:20])
    t.is_eq(gstest.snap("verify", "a.gsnap", "--trust", "key.pub", "--deep", cwd=d).code, 0, "the bundle verifies, books included")
    people = {u["id"]: u for u in records(d, "a.gsnap", "users")}
    t.ok({m["user_id"] for m in dump["members"]} <= set(people), "every member is in the list of users")
    data, unpacked = raw_contents(d, "a.gsnap")
    avatars = {g["id"]: g["avatar_sha256"] for g in dump["groups"] if g["avatar_sha256"]}
    got = {}
    for i in avatars:
        folder = os.path.join(unpacked, f"groups/{i}/avatar")
        for f in os.listdir(folder) if os.path.isdir(folder) else []:
            got[i] = hashlib.sha256(open(os.path.join(folder, f), "rb").read()).hexdigest()
    t.is_eq(got, avatars, "avatars are carried byte for byte")
    t.ok(b"runners_token" not in data.replace(b'"what":"runners_token"', b""), "no runners token is in the bundle")
    t.ok(not any(x.encode() in data for x in s.tokens.values()), "no access token is in the bundle")
    ledger = records(d, "a.gsnap", "ledger")
    withheld = sum(x["count"] for x in ledger if x.get("rule") == "secret-field")
    t.is_eq(withheld, len(dump["groups"]), "the ledger counts the secrets that were taken out")
    asked = {x["endpoint"] for x in ledger if x["entry"] == "fetch"}
    t.ok("rest:/groups/:id/milestones" in asked and "graphql:group.labels" in asked, "the ledger says what was asked", asked)
    created = create(d, s, "a.gsnap")
    t.is_eq((created.code, "file-exists" in created.err), (2, True), "an existing file is not touched")


def test_same_bytes(d, s):
    for name, more in (("b.gsnap", ["--jobs", "1"]), ("c.gsnap", ["--jobs", "32"])):
        create(d, s, name, "--time", WHEN, *more)
        t.is_eq(open(os.path.join(d, name), "rb").read() == open(os.path.join(d, "a.gsnap"), "rb").read(), True,
                f"the same source gives the same bytes ({' '.join(more)})")
    r = create(d, s, "m.gsnap", "--encoding", "msgpack", "--time", WHEN)
    t.is_eq(r.code, 0, "msgpack works", str(r))
    t.is_eq(records(d, "m.gsnap"), records(d, "a.gsnap"), "msgpack holds the same records")
    t.is_eq(gstest.snap("diff", "a.gsnap", "m.gsnap", cwd=d).code, 0, "diff finds both the same")


def test_faults(d, s):
    for name, rule in (
            ("500", {"match": {"path": "/milestones$", "nth": 2}, "do": {"status": 500}}),
            ("429", {"match": {"n": 12}, "do": {"status": 429, "headers": {"Retry-After": "1"}, "body": "Retry later"}}),
            ("cut body", {"match": {"path": "/badges$", "nth": 1}, "do": {"cut_after": 40}}),
            ("reset", {"match": {"path": "/api/graphql$", "nth": 3}, "do": {"reset": True}}),
            ("lost answer", {"match": {"path": "/boards$", "nth": 2}, "do": {"lose_answer": True}}),
            ("HTML page", {"match": {"path": "/groups/41$", "nth": 1}, "do": {"status": 502, "body": "<html>bad gateway</html>"}})):
        s.call("/_sim/reset_log", [])
        s.faults(rule)
        r = create(d, s, "f.gsnap", "--time", WHEN, timeout=120)
        t.is_eq(r.code, 0, f"{name}: the capture gets through", str(r))
        t.ok(gstest.snap("diff", "a.gsnap", "f.gsnap", cwd=d).code == 0, f"{name}: nothing is missing or twice")
        t.ok(any(x["fault"] for x in s.requests()), f"{name}: the fault happened")
        s.reset_faults()
        if os.path.exists(os.path.join(d, "f.gsnap")):
            os.unlink(os.path.join(d, "f.gsnap"))


def test_refusals(d, s):
    s.faults({"match": {"path": "/api/graphql$"}, "times": 0, "do": {"status": 404, "body": {"error": "404 Not Found"}}})
    r = create(d, s, "g.gsnap")
    s.reset_faults()
    t.is_eq(r.code, 0, "without GraphQL the REST API is used", str(r))
    ledger = records(d, "g.gsnap", "ledger")
    t.is_eq({x["relation"] for x in ledger if x["entry"] == "fallback"}, {"labels", "boards", "members"}, "each fallback is in the ledger")
    lost = sum(x["count"] for x in ledger if x.get("rule") == "label-times-not-readable")
    t.is_eq(lost, len(s.dump()["labels"]), "every label without times is counted")
    emails = {x["user"]["username"]: x["user"]["public_email"] for x in records(d, "g.gsnap") if "user" in x}
    want = {u["username"]: u["public_email"] for u in s.dump()["users"]}
    t.ok(all(want[k] == v for k, v in emails.items()), "public e-mail addresses are looked up one by one")

    s.faults({"match": {"path": "/groups/45($|/)"}, "times": 0, "do": {"status": 404, "body": {"message": "404 Group Not Found"}}})
    r = create(d, s, "h.gsnap", "--json")
    s.reset_faults()
    t.is_eq(r.code, 3, "a group that cannot be read makes the capture incomplete", str(r))
    t.ok(any(x.get("rule") == "group-not-visible" and x["group"] == 45 for x in records(d, "h.gsnap", "ledger")),
         "the ledger names the group that is lost")
    t.is_eq(r.json()["groups"], 7, "the others are there")

    s.faults({"match": {"path": "/groups/41/badges$"}, "times": 0, "do": {"status": 403, "body": {"message": "403 Forbidden"}}})
    r = create(d, s, "i.gsnap")
    s.reset_faults()
    t.is_eq(r.code, 3, "a relation that is forbidden makes the capture incomplete")
    t.ok(any(x.get("rule") == "forbidden" and x["relation"] == "badges" for x in records(d, "i.gsnap", "ledger")),
         "the ledger names the relation that is forbidden")

    s.faults({"match": {"path": "/descendant_groups$"}, "times": 0, "do": {"status": 403, "body": {"message": "403 Forbidden"}}})
    r = create(d, s, "j.gsnap", "--time", WHEN)
    s.reset_faults()
    t.is_eq((r.code, gstest.snap("diff", "a.gsnap", "j.gsnap", cwd=d).code), (0, 0), "the tree is found level by level too", str(r))

    for name, args, code, what in (
            ("revoked token", dict(token="revoked"), 12, "token-refused"),
            ("token without a fitting scope", dict(token="noscope"), 12, "scope-missing"),
            ("unknown group", dict(group="nobody/here"), 10, "group-not-found")):
        r = create(d, s, "x.gsnap", **args)
        t.is_eq((r.code, what in r.err, leftovers(d, "x.gsnap")), (code, True, []), f"{name}: exit {code}", str(r))
    r = create(d, s, "x.gsnap", "--via", "relations")
    t.is_eq(r.code, 2, "--via relations is refused as wrong use")
    r = gstest.snap("create", "--url", "http://gitlab.example", "-o", "x.gsnap", "--key", "key", "g", token="t", cwd=d)
    t.is_eq(r.code, 2, "plain http to another host is refused")
    r = create(d, s, "r.gsnap", token="reader")
    t.is_eq(r.code, 0, "who is no Owner may capture", str(r))
    t.has(r.err, "not an Owner", "and is warned")


def test_changed(d, s):
    # one milestone less than X-Total says: the list is answered from before a deletion
    body = s.call(f"/api/v4/groups/47/milestones?state=all&per_page=100", token=s.tokens["owner"])
    s.faults({"match": {"path": "/groups/47/milestones$"}, "do": {
        "status": 200, "headers": {"X-Total": str(len(body) + 1), "Content-Type": "application/json"}, "body": body}})
    r = create(d, s, "k.gsnap")
    s.reset_faults()
    t.is_eq(r.code, 4, "fewer records than announced: exit 4", str(r))
    t.ok(any(x["entry"] == "changed" and x["group"] == 47 for x in records(d, "k.gsnap", "ledger")), "the ledger says where")
    t.is_eq(gstest.snap("verify", "k.gsnap", "--trust", "key.pub", "--deep", cwd=d).code, 0, "such a bundle verifies")
    s.faults({"match": {"path": "/groups/47/milestones$"}, "do": {
        "status": 200, "headers": {"X-Total": str(len(body) + 1), "Content-Type": "application/json"}, "body": body + body[:1]}})
    r = create(d, s, "l.gsnap")
    s.reset_faults()
    t.is_eq(r.code, 4, "the same record twice: exit 4", str(r))
    t.is_eq(len(records(d, "l.gsnap", f"{ROOT}/cloud-platform/dashboard/milestones")), len(body), "it is carried once")
    t.is_eq(gstest.snap("verify", "l.gsnap", "--trust", "key.pub", "--deep", cwd=d).code, 0, "and its books balance")


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise RuntimeError("what was waited for did not happen")


def test_interruption(d, s):
    before = len(s.requests())
    s.call("/_sim/config", {"latency_ms": 200})
    p = gstest.start(gstest.SNAP, "create", "--via", "api", "--url", s.url, "-o", "n.gsnap", "--key", "key", "--jobs", "1", ROOT,
                     token=s.tokens["owner"], cwd=d)
    until(lambda: len(s.requests()) >= before + 8)
    second = create(d, s, "n.gsnap")
    t.is_eq((second.code, "locked" in second.err), (11, True), "two runs at one file: the second is refused", str(second))
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=30)
    s.call("/_sim/config", {"latency_ms": 0})
    t.is_eq(p.returncode, 130, "Ctrl-C: exit 130", err.decode())
    t.is_eq(leftovers(d, "n.gsnap"), ["n.gsnap.work"], "Ctrl-C: nothing is left behind but what was received")
    r = create(d, s, "n.gsnap", "--time", WHEN)
    t.is_eq((r.code, gstest.snap("diff", "a.gsnap", "n.gsnap", cwd=d).code), (0, 0), "the same command gets through afterwards")


def test_disk_full(d, s):
    script = f"ulimit -f 16; trap '' XFSZ; exec {gstest.SNAP} create --url {s.url} -o o.gsnap --key key {ROOT}"
    p = subprocess.run(["bash", "-c", script], cwd=d, env=gstest.environment(s.tokens["owner"]), capture_output=True)
    t.ok(p.returncode in (1, 75) and b"o.gsnap" in p.stderr, "a file that may not grow is an error", p.returncode, p.stderr.decode())
    t.ok(set(leftovers(d, "o.gsnap")) <= {"o.gsnap.work"}, "and leaves no half-written bundle behind")
    small = os.path.join(d, "small")
    os.mkdir(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], capture_output=True).returncode:
        t.skip("disk full", "a small disk cannot be mounted here")
        return
    try:
        r = create(d, s, "small/o.gsnap")
        t.is_eq((r.code, "disk-full" in r.err), (75, True), "a full disk: exit 75", str(r))
        t.ok(set(os.listdir(small)) <= {"o.gsnap.work"}, "a full disk: no half-written bundle is left behind")
    finally:
        subprocess.run(["umount", small], check=True)


def test_other_verbs(d, s):
    r = gstest.snap("groups", "--url", s.url, "--json", token=s.tokens["owner"], cwd=d)
    t.is_eq({x["full_path"] for x in r.lines()}, {g["full_path"] for g in s.dump()["groups"]}, "groups: all that the user owns")
    r = gstest.snap("groups", "--url", s.url, "--json", token=s.tokens["reader"], cwd=d)
    t.is_eq((r.code, r.out), (0, ""), "groups: none where the user is no Owner")
    r = gstest.snap("groups", "--url", s.url, "--all", token=s.tokens["reader"], cwd=d)
    t.has(r.out, ROOT, "groups --all: those he may see")
    r = gstest.snap("preflight", "--url", s.url, "--json", ROOT, token=s.tokens["owner"], cwd=d)
    dump, p = s.dump(), r.json()
    t.is_eq({k: p["counts"][k] for k in ("labels", "milestones", "badges", "boards", "members")},
            {k: len(dump[k]) for k in ("labels", "milestones", "badges", "boards", "members")}, "preflight counts the tree")
    t.is_eq((p["owner"], p["groups"], p["scopes"]["read_repository"]), (True, 8, True), "preflight knows role, groups and scopes")
    real = create(d, s, "p.gsnap", "--json").json()["requests"]
    t.ok(abs(real - p["requests"]) <= max(8, real // 4), "preflight's number of requests is about right", real, p["requests"])
    r = gstest.snap("preflight", "--url", s.url, ROOT, token=s.tokens["noscope"], cwd=d)
    t.is_eq(r.code, 12, "preflight: a token that cannot do the job is exit 12", str(r))


def test_paging(d):
    """A group with more labels than a page, and more groups than a page."""
    tree = os.path.join(d, "big.json")
    with open(tree, "w") as f:
        json.dump({"users": [], "groups": [{
            "path": "big", "name": "Big",
            "labels": [{"title": f"label {i:04}", "color": "#112233"} for i in range(345)],
            "milestones": [{"title": f"m {i:04}", "iid": i + 1} for i in range(201)],
            "subgroups": [{"path": f"sub-{i:03}", "name": f"Sub {i}", "labels": [{"title": "one", "color": "#112233"}]}
                          for i in range(230)]}]}, f)
    with gstest.Sim(d, "big", "--seed", tree) as s:
        r = create(d, s, "q.gsnap", group="big")
        t.is_eq(r.code, 0, "lists of several pages are captured", str(r))
        t.is_eq(sorted(x["title"] for x in records(d, "q.gsnap", "big/labels")), [f"label {i:04}" for i in range(345)], "labels: all pages")
        t.is_eq(sorted(x["iid"] for x in records(d, "q.gsnap", "big/milestones")), list(range(1, 202)), "milestones: all pages")
        t.is_eq(sum(1 for x in records(d, "q.gsnap") if x.get("title") == "one"), 230, "groups: all pages")
        r = create(d, s, "u.gsnap", "--no-subgroups", "--json", group="big")
        t.is_eq(r.json()["groups"], 1, "--no-subgroups captures one group")
        t.is_eq(gstest.snap("diff", "q.gsnap", "u.gsnap", "--summary", cwd=d).code, 3, "diff sees what is missing")


def test_asked_ahead(d):
    """The root, and the first hundred groups below it, are asked for by the root's path before anything is known, and never again by
    its id until the look at the end; the list goes on by the id. With one job, and when a capture goes on, the list waits."""
    tree = os.path.join(d, "wide.json")
    with open(tree, "w") as f:
        json.dump({"groups": [{"path": "top", "name": "Top", "subgroups": [{"path": "mid", "name": "Mid", "id": 500, "subgroups": [
            {"path": f"g{i}", "name": f"G {i}"} for i in range(120)]}]}]}, f)
    with gstest.Sim(d, "wide", "--seed", tree) as s:
        for jobs, first in (("8", "top/mid"), ("1", "500")):
            s.call("/_sim/reset_log", [])
            r = create(d, s, f"ahead{jobs}.gsnap", "--time", WHEN, "--jobs", jobs, group="top/mid")
            mine = [x for x in s.requests() if x["path"].replace("%2F", "/").endswith(("/groups/top/mid", "/groups/500", "/descendant_groups"))]
            got = [(x["path"].replace("%2F", "/").replace("/api/v4/groups/", ""), (x.get("query") or {}).get("page")) for x in sorted(mine, key=lambda x: x["n"])]
            t.is_eq((r.code, sorted(got, key=str)),
                    (0, sorted([("top/mid", None), (first + "/descendant_groups", None), ("500/descendant_groups", "2"), ("500", None),
                                ("500/descendant_groups", None), ("500/descendant_groups", "2")], key=str)), f"{jobs} jobs: asked for once before the look", got, r.err)
        with open(os.path.join(d, "ahead8.gsnap"), "rb") as a, open(os.path.join(d, "ahead1.gsnap"), "rb") as b:
            t.ok(a.read() == b.read(), "the bundle is the same")


def test_editions(d):
    for version in ("14.0.0", "15.2.1", "16.0.0-ee", "18.3.0-ee"):
        with gstest.Sim(d, "v" + version, "--seed", gstest.DEMO_TREE, "--version", version) as s:
            r = create(d, s, f"v{version}.gsnap")
            t.is_eq(r.code, 0, f"GitLab {version} can be captured", str(r))
            got = [x for x in records(d, f"v{version}.gsnap") if x.get("type") == "GroupLabel"]
            t.is_eq(len(got), len(s.dump()["labels"]), f"GitLab {version}: its labels are there")
            ledger = records(d, f"v{version}.gsnap", "ledger")
            t.is_eq([(x["group"], x["relation"]) for x in ledger if x["entry"] == "relation" and x["announced"] is None], [],
                    f"GitLab {version}: the server announced the number of every list")
            t.is_eq([x for x in ledger if x.get("rule") == "attribute-not-readable"], [], f"GitLab {version}: every attribute was asked for")


def test_newer_labels(d):
    """Attributes of labels that came later: asked for where the server has them, and named where an older document must do."""
    tree = os.path.join(d, "labels.json")
    with open(tree, "w") as f:
        json.dump({"users": [], "groups": [{"path": "g", "name": "G", "labels": [
            {"title": "locked", "color": "#112233", "lock_on_merge": True}, {"title": "old", "color": "#112233", "archived": True}]}]}, f)
    for version, has in (("16.0.0-ee", ()), ("17.8.0-ee", ("lock_on_merge",)), ("18.10.0-ee", ("lock_on_merge", "archived"))):
        with gstest.Sim(d, "l" + version, "--seed", tree, "--version", version) as s:
            r = create(d, s, f"l{version}.gsnap", group="g")
            rows = {x["title"]: x for x in records(d, f"l{version}.gsnap", "g/labels")}
            t.is_eq((r.code, rows["locked"].get("lock_on_merge"), rows["old"].get("archived")),
                    (0, True if "lock_on_merge" in has else None, True if "archived" in has else None), f"GitLab {version}: labels show {has}", str(r))
            if version == "18.10.0-ee":
                s.faults({"match": {"path": "/graphql$", "body": "lockOnMerge"}, "times": 0, "do": {
                    "status": 200, "body": {"errors": [{"message": "Field 'lockOnMerge' doesn't exist on type 'Label'"}]}}})
                r = create(d, s, "lf.gsnap", group="g")
                ledger = records(d, "lf.gsnap", "ledger")
                t.is_eq((r.code, {(x["from"], x["to"]) for x in ledger if x["entry"] == "fallback"}),
                        (0, {("graphql:group_labels_18", "graphql:group_labels_16"), ("graphql:group_labels_16", "graphql")}),
                        "a server that lacks the newest attributes is asked for fewer", str(r))
                t.is_eq({(x["what"], x["count"]) for x in ledger if x.get("rule") == "attribute-not-readable"},
                        {("lock_on_merge", 2), ("archived", 2)}, "the ledger names the attributes that were not shown")
                t.ok(all("created_at" in x for x in records(d, "lf.gsnap", "g/labels")), "their times are still there")


def test_member_numbers(d, s):
    """Members come over GraphQL, their number over REST: one that GraphQL hides is noticed."""
    uid = [x["user_id"] for x in s.dump()["members"] if x["group_id"] == 40][0]
    s.faults({"match": {"path": "/groups/40/members$"}, "times": 0, "do": {
        "status": 200, "headers": {"X-Total": "99", "Content-Type": "application/json"}, "body": [{"id": uid, "member_role": {"id": 5, "name": "auditor"}}]}})
    r = create(d, s, "mn.gsnap")
    s.reset_faults()
    ledger = records(d, "mn.gsnap", "ledger")
    line = [x for x in ledger if x["entry"] == "relation" and x["relation"] == "members" and x["group"] == 40][0]
    t.ok(r.code in (3, 4) and line["announced"] == 99, "fewer members than REST announces: not exit 0", r.code, line)
    t.is_eq(gstest.snap("verify", "mn.gsnap", "--trust", "key.pub", "--deep", cwd=d).code, 0, "the ledger accounts for it")
    roles = {x["user_id"]: x.get("member_role") for x in records(d, "mn.gsnap", f"{ROOT}/members")}
    t.is_eq({k: v for k, v in roles.items() if v}, {uid: {"id": 5, "name": "auditor"}}, "a custom role goes to its member")


with gstest.scratch() as d:
    gstest.keygen(d)
    with gstest.Sim(d, "source", "--seed", gstest.DEMO_TREE) as s:
        test_content(d, s)
        test_same_bytes(d, s)
        test_faults(d, s)
        test_refusals(d, s)
        test_changed(d, s)
        test_member_numbers(d, s)
        test_interruption(d, s)
        test_disk_full(d, s)
        test_other_verbs(d, s)
    test_paging(d)
    test_asked_ahead(d)
    test_editions(d)
    test_newer_labels(d)
t.done()
