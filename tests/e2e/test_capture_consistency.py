#!/usr/bin/python3
"""A source that moves while it is captured: what appeared, vanished or changed is found and named; a quiet source raises no alarm;
books that were tampered with do not verify."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
ROOT = "halden-instruments"
FIRMWARE, QA, INGEST = ROOT + "/firmware", ROOT + "/quality-assurance", ROOT + "/cloud-platform/ingest"
WHEN = "2025-01-01T00:00:00Z"
number = 0


def create(d, s, *more, group=ROOT, jobs=1, token="owner", via="api"):
    global number
    number += 1
    out = f"c{number}.gsnap"
    r = gstest.snap("create", "--via", via, "--url", s.url, "-o", out, "--key", "key", "--json", "--jobs", str(jobs), *more, group, token=s.tokens[token], cwd=d)
    r.file = out
    return r


def records(d, bundle, what):
    r = gstest.snap("cat", bundle, what, cwd=d)
    if r.code:
        raise RuntimeError(str(r))
    return r.lines()


def changed(d, bundle):
    return {(x["group"], x["relation"]): x["before"] + " -> " + x["after"] for x in records(d, bundle, "ledger") if x["entry"] == "changed"}


def verified(d, bundle):
    return gstest.snap("verify", bundle, "--trust", "key.pub", "--deep", cwd=d).code


def fresh(s):
    s.call("/_sim/restore", {"name": "start"})
    s.call("/_sim/reset_at", [])
    s.reset_faults()
    s.call("/_sim/reset_log", [])


def at_the_look(*steps):
    """When everything was read: the request for the root by its id begins the look at the end; before, it is asked for by its path."""
    return {"match": {"method": "GET", "path": "/groups/40$", "nth": 1}, "do": list(steps)}


def rename(group, **columns):
    return {"update": "groups", "where": {"full_path": group}, "set": columns}


def api(method, path, body=None):
    return {"request": {"method": method, "path": path, "token": "admin", **({"body": body} if body else {})}}


def test_moves(d, s):
    ids = {g["full_path"]: g["id"] for g in s.dump()["groups"]}
    dump = s.dump()
    firmware, qa, ingest = ids[FIRMWARE], ids[QA], ids[INGEST]

    def first(table, group, **more):
        return [x for x in dump[table] if x["group_id"] == group and all(x.get(k) == v for k, v in more.items())][0]

    board = first("boards", qa)
    label = first("labels", qa)
    free = [x for x in dump["labels"] if x["group_id"] == qa and x["id"] not in
            [y["label_id"] for y in dump["lists"] if y["board_id"] == board["id"]]][0]
    member = [x for x in dump["members"] if x["group_id"] == qa][0]
    cases = (
        ("a label is added", [{"create": {"group": FIRMWARE, "labels": [{"title": "new", "color": "#112233"}]}}], {(firmware, "labels"): "some are new"}),
        ("a label is edited", [{"update": "labels", "where": {"group": QA, "title": label["title"]}, "set": {"description": "other"}}], {(qa, "labels"): "some were edited"}),
        ("a label is deleted", [{"delete": "labels", "where": {"group": QA, "title": free["title"]}}], {(qa, "labels"): "some are gone"}),
        ("a label is deleted and another one made", [{"delete": "labels", "where": {"group": QA, "title": free["title"]}},
                                                     {"create": {"group": QA, "labels": [{"title": "new", "color": "#112233"}]}}],
         {(qa, "labels"): "some are gone, and as many new"}),
        ("a milestone is added", [{"create": {"group": INGEST, "milestones": [{"title": "new", "iid": 77}]}}], {(ingest, "milestones"): "some are new"}),
        ("a milestone is edited", [{"update": "milestones", "where": {"group": INGEST, "title": "Ingest 1.0"}, "set": {"description": "x"}}],
         {(ingest, "milestones"): "some were edited"}),
        ("a milestone is deleted", [{"delete": "milestones", "where": {"group": INGEST, "title": "Ingest 1.0"}}], {(ingest, "milestones"): "some are gone"}),
        ("a badge is added", [api("POST", f"/groups/{qa}/badges", {"name": "n", "link_url": "https://a.example", "image_url": "https://a.example/i.png"})], {}),
        ("a badge is edited", [{"update": "badges", "where": {"group": QA, "name": "pipeline"}, "set": {"link_url": "https://b.example"}}], {}),
        ("a badge is deleted", [{"delete": "badges", "where": {"group": QA, "name": "pipeline"}}], {}), # read at the end: in the bundle as they are then
        ("a board is renamed", [{"update": "boards", "where": {"group": QA, "name": "Lab"}, "set": {"name": "Laboratory"}}], {(qa, "boards"): "some were edited"}),
        ("a board gets a list", [api("POST", f"/groups/{qa}/boards/{board['id']}/lists", {"label_id": free["id"]})], {(qa, "boards"): "some were edited"}),
        ("a member leaves", [api("DELETE", f"/groups/{qa}/members/{member['user_id']}?skip_subresources=true")], {(qa, "members"): "some are gone"}),
        ("a member gets another role", [{"update": "members", "where": {"group": QA, "user_id": member["user_id"]},
                                         "set": {"access_level": 10 if member["access_level"] != 10 else 20}}], {(qa, "members"): "some were edited"}),
        ("a member is added", [{"create": {"group": QA, "members": [{"user": "freja.lund", "access_level": 20}]}}], {(qa, "members"): "some are new"}),
        ("a subgroup is made", [{"create": {"group": QA, "subgroups": [{"path": "lab", "name": "Lab"}]}}], {(40, "subgroups"): "1 new (" + QA + "/lab), 0 gone"}),
        ("a subgroup is deleted", [api("DELETE", f"/groups/{ingest}"), api("DELETE", f"/groups/{ingest}?permanently_remove=true&full_path=" + INGEST.replace("/", "%2F"))],
         {(40, "subgroups"): "0 new, 1 gone (" + INGEST + ")", (ingest, "self"): "does not exist any more"}),
        ("a subgroup is renamed", [api("PUT", f"/groups/{qa}", {"name": "Quality", "path": "quality"})], {(qa, "self"): "is now " + ROOT + "/quality"}),
        ("settings of a subgroup are edited", [api("PUT", f"/groups/{qa}", {"lfs_enabled": not s.call(f"/api/v4/groups/{qa}", token=s.tokens["admin"])["lfs_enabled"]})],
         {(qa, "self"): "its name or settings were edited"}),
        ("the root is edited", [api("PUT", "/groups/40", {"description": "other"})], {(40, "self"): "its name or settings were edited"}),
    )
    s.call("/_sim/config", {"delete_delay_ms": 0})
    s.call("/_sim/snapshot", {"name": "start"})
    for name, steps, want in cases:
        fresh(s)
        s.call("/_sim/at", at_the_look(*steps))
        r = create(d, s)
        done = s.call("/_sim/at")
        wrong = [x for e in done for x in e["results"] if isinstance(x, dict) and x.get("error")]
        if done[0]["used"] != 1 or wrong:
            t.ok(False, f"{name}: the simulator did it", done)
            continue
        got = changed(d, r.file)
        t.ok(r.code == (4 if want else 0) and set(got) >= set(want) and all(want[k] in got[k] for k in want), f"{name}: exit 4, named", r.code, got, want, r.err)
        extra = {k for k in got if k not in want and k[0] not in {g for g, rel in want if rel == "self" and "exist" in want[g, rel]}}
        t.is_eq(extra, set(), f"{name}: nothing else is said to have changed", got)
        t.is_eq(verified(d, r.file), 0, f"{name}: the books of such a bundle add up")
        rows = {(x["group"], x["relation"]): x["before"] + " -> " + x["after"] for x in r.json()["changes"]}
        t.is_eq(rows, got, f"{name}: the report names the same")
        if not want:
            now = [(x["name"], x["link_url"]) for x in s.dump()["badges"] if x["group_id"] == qa]
            t.is_eq([(x["name"], x["link_url"]) for x in records(d, r.file, QA + "/badges")], now, f"{name}: the bundle holds the badges as they are now")


def test_before_its_page(d, s):
    fresh(s)
    s.call("/_sim/at", {"match": {"path": "/groups/41$", "nth": 1}, "do": [{"create": {"group": FIRMWARE, "labels": [{"title": "early", "color": "#112233"}]}}]})
    r = create(d, s)
    t.is_eq((r.code, changed(d, r.file)), (0, {}), "a record that is made before its page is read is no change", r.err)
    t.ok("early" in [x["title"] for x in records(d, r.file, FIRMWARE + "/labels")], "and is in the bundle")


def test_group_gone_before_it_is_read(d, s):
    ids = {g["full_path"]: g["id"] for g in s.dump()["groups"]}
    fresh(s)
    gone = ids[INGEST]
    s.call("/_sim/at", {"match": {"path": f"/groups/{gone}$", "nth": 1}, "do": [
        api("DELETE", f"/groups/{gone}"), api("DELETE", f"/groups/{gone}?permanently_remove=true&full_path=" + INGEST.replace("/", "%2F"))]})
    r = create(d, s)
    ledger = records(d, r.file, "ledger")
    t.is_eq((r.code, (40, "subgroups") in changed(d, r.file)), (4, True), "a group that is deleted between the list and its turn is a change, not a loss", r.err, changed(d, r.file))
    t.ok(any(x.get("rule") == "source-changed" and x["group"] == gone for x in ledger), "the ledger says why it is not there", [x for x in ledger if x["group"] == gone])
    t.is_eq(verified(d, r.file), 0, "the books add up")


def test_quiet(d, s):
    codes, said = [], []
    for i in range(20):
        fresh(s)
        r = create(d, s, "--time", WHEN, jobs=8)
        codes.append(r.code)
        said += changed(d, r.file).items()
        if i in (0, 19):
            t.is_eq(verified(d, r.file), 0, "a quiet source: the books add up")
    t.is_eq((codes, said), ([0] * 20, []), "20 captures of a quiet source with 8 jobs: no false alarm")
    lines = [x for x in records(d, r.file, "ledger") if x["entry"] == "watermark"]
    t.is_eq(({x["seen"] for x in lines}, len(lines)), ({"all"}, 8 * 5 + 3), "every list of every group was looked at again, whole, and whether the root has planning records")
    stored = {(x["group"], x["relation"]): x["stored"] for x in records(d, r.file, "ledger") if x["entry"] == "relation"}
    t.is_eq([x for x in lines if x["records"] != stored.get((x["group"], x["relation"]), 0)], [], "and held what is stored")
    manifest = gstest.snap("inspect", r.file, "--json", cwd=d).json()
    dump = s.dump()
    marks = manifest["manifest"]["capture"]["watermarks"] if "manifest" in manifest else manifest["capture"]["watermarks"]
    t.is_eq({k: (v["records"], v["highest_id"]) for k, v in marks.items() if k != "members"},
            {**{k: (len(dump[k]), max(x["id"] for x in dump[k])) for k in ("labels", "milestones", "boards", "badges")},
             **{k: (0, None) for k in ("epics", "epic_boards", "iterations_cadences")}}, "the manifest holds the watermarks of the tree")


def test_without_graphql(d, s):
    """Over REST labels show no time of change: numbers and ids are seen, and the ledger says that this is all."""
    fresh(s)
    graphql = {"match": {"path": "/graphql$"}, "times": 0, "do": {"status": 404, "body": {"error": "404 Not Found"}}}
    s.faults(graphql)
    r = create(d, s)
    t.is_eq((r.code, changed(d, r.file)), (0, {}), "without GraphQL a quiet source raises no alarm", r.err)
    for name, step, want in (
            ("a label is edited", {"update": "labels", "where": {"group": QA, "title": "flaky"}, "set": {"description": "other"}}, "labels"),
            ("a milestone is edited", {"update": "milestones", "where": {"group": QA, "title": "Certification 1.0"}, "set": {"description": "other"}}, "milestones"),
            ("a member is added", {"create": {"group": QA, "members": [{"user": "freja.lund", "access_level": 20}]}}, "members"),
            ("a board is renamed", {"update": "boards", "where": {"group": QA, "name": "Lab"}, "set": {"name": "Laboratory"}}, "boards")):
        fresh(s)
        s.faults(graphql)
        s.call("/_sim/at", at_the_look(step))
        r = create(d, s)
        t.is_eq((r.code, [k[1] for k in changed(d, r.file)]), (4, [want]), f"without GraphQL: {name}", r.err, s.call("/_sim/at"))


def test_long_lists(d):
    """Beyond 500 records of a relation its number and newest time are compared; short of that every record."""
    tree = os.path.join(d, "long.json")
    with open(tree, "w") as f:
        json.dump({"users": [], "groups": [{
            "path": "long", "name": "Long", "id": 40,
            "labels": [{"title": f"label {i:04}", "color": "#112233", "updated_at": "2024-01-01T00:00:00.000Z"} for i in range(730)],
            "milestones": [{"title": f"m {i:04}", "iid": i + 1, "updated_at": "2024-01-01T00:00:00.000Z"} for i in range(640)]}]}, f)
    with gstest.Sim(d, "long", "--seed", tree) as s:
        s.call("/_sim/snapshot", {"name": "start"})
        r = create(d, s, group="long", jobs=4)
        marks = {x["relation"]: (x["records"], x["seen"]) for x in records(d, r.file, "ledger") if x["entry"] == "watermark"}
        t.is_eq((r.code, marks["labels"], marks["milestones"]), (0, (730, "number"), (640, "number")), "long lists: their number is seen", r.err, marks)
        for name, step, want in (
                ("a label is deleted", {"delete": "labels", "where": {"group": "long", "title": "label 0700"}}, "labels"),
                ("a milestone is edited", {"update": "milestones", "where": {"group": "long", "title": "m 0600"}, "set": {"description": "x"}}, "milestones"),
                ("a label near the front is edited", {"update": "labels", "where": {"group": "long", "title": "label 0001"}, "set": {"description": "x"}}, "labels")):
            fresh(s)
            s.call("/_sim/at", at_the_look(step))
            r = create(d, s, group="long", jobs=4)
            t.is_eq((r.code, [k[1] for k in changed(d, r.file)]), (4, [want]), f"long lists: {name}", r.err, s.call("/_sim/at"))
        # a page of milestones shifts under the reader
        fresh(s)
        s.call("/_sim/at", {"match": {"path": "/groups/40/milestones$", "nth": 3}, "do": [{"delete": "milestones", "where": {"group": "long", "title": "m 0000"}},
                                                                                       {"delete": "milestones", "where": {"group": "long", "title": "m 0639"}}]})
        r = create(d, s, group="long")
        t.ok(r.code == 4 and "milestones" in [k[1] for k in changed(d, r.file)], "records deleted between two pages: exit 4", r.code, changed(d, r.file))
        t.is_eq(verified(d, r.file), 0, "the books of it add up")


def test_hidden_from_graphql(d):
    """GraphQL says null for what its user may not see; REST is asked for that, and nothing fails."""
    tree = os.path.join(d, "hidden.json")
    with open(tree, "w") as f:
        json.dump({"users": [{"username": "ada", "name": "Ada", "email": "ada@a.example"}, {"username": "ben", "name": "Ben", "email": "ben@a.example"}],
                   "groups": [{"path": "hidden", "name": "Hidden", "id": 40,
                               "members": [{"user": "ada", "access_level": 30}, {"user": "ben", "access_level": 30}]}]}, f)
    nothing = {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
    answer = {"id": "gid://gitlab/Group/40", "labels": dict(nothing, count=0), "milestones": nothing, "boards": nothing, "groupMembers": None}
    with gstest.Sim(d, "hidden", "--seed", tree) as s:
        s.call("/_sim/snapshot", {"name": "start"})
        ben = [x["id"] for x in s.dump()["users"] if x["username"] == "ben"][0]
        for name, steps, want in (("a quiet source raises no alarm", [], {}),
                                  ("a change is seen over REST", [{"delete": "members", "where": {"group": "hidden", "user_id": ben}}], {(40, "members"): "some are gone"})):
            fresh(s)
            s.faults({"match": {"path": "/graphql$", "body": "labels: String"}, "times": 0, "do": {
                "status": 200, "headers": {"Content-Type": "application/json"}, "body": {"data": {"group": answer}}}})
            if steps:
                s.call("/_sim/at", at_the_look(*steps))
            r = create(d, s, group="hidden")
            got = {k: v.rsplit(": ", 1)[-1] for k, v in changed(d, r.file).items()} if r.code in (0, 4) else None
            t.is_eq((r.code, got), (4 if want else 0, want), f"members that GraphQL hides: {name}", r.err, s.call("/_sim/at"))


def test_confirmed_gap(d, s):
    """The server announces more than it gives, and goes on to do so: no change of the source, but a loss."""
    fresh(s)
    body = s.call("/api/v4/groups/47/milestones?state=all&per_page=100", token=s.tokens["owner"])
    s.faults({"match": {"path": "/groups/47/milestones$"}, "times": 0, "do": {
        "status": 200, "headers": {"X-Total": str(len(body) + 2), "Content-Type": "application/json"}, "body": body}})
    r = create(d, s)
    ledger = records(d, r.file, "ledger")
    rule = [x for x in ledger if x.get("rule") == "truncated-by-server"]
    t.is_eq((r.code, [(x["group"], x["relation"], x["count"]) for x in rule]), (3, [(47, "milestones", 2)]), "announced and never given: exit 3, counted", r.err)
    t.is_eq((changed(d, r.file), verified(d, r.file)), ({}, 0), "and the books add up with it")


def test_faults_are_counted(d, s):
    """Retries and waits are in the ledger, and add up with the whole."""
    fresh(s)
    s.faults({"match": {"path": "/groups/42/badges$"}, "times": 2, "do": {"status": 503, "body": "later"}},
             {"match": {"path": "/graphql$", "body": "lockOnMerge", "nth": 2}, "times": 1, "do": {"status": 429, "headers": {"Retry-After": "1"}, "body": "Retry later"}})
    r = create(d, s)
    ledger = records(d, r.file, "ledger")
    badges = [x for x in ledger if x["entry"] == "fetch" and x["relation"] == "badges" and x["group"] == 42]
    labels = [x for x in ledger if x["entry"] == "fetch" and x["relation"] == "labels" and x["retries"]]
    cost = [x for x in ledger if x["entry"] == "capture"][0]
    t.is_eq((r.code, [x["retries"] for x in badges], [x["retries"] for x in labels]), (0, [2], [1]), "retries are counted where they happened", r.err)
    t.ok(badges[0]["waits_ms"] > 0 and labels[0]["waits_ms"] >= 1000 and cost["longest_pause_ms"] >= 1000, "waits too", badges, labels, cost)
    sent = len(s.requests())
    t.is_eq((cost["requests"], cost["repeated"], cost["kept"]), (sent, 3, 0), "the requests in all are those that the server saw")
    t.is_eq(verified(d, r.file), 0, "the books add up")
    shown = gstest.snap("inspect", r.file, "--json", cwd=d).json()["ledger"]["capture"]
    t.is_eq((shown["requests"], shown["repeated"]), (sent, 3), "inspect shows them")


def reads(s):
    """Requests of the capture itself, by group and relation; those of the look at the end apart."""
    out = []
    for x in s.requests():
        body = json.dumps(x.get("body") or "")
        if x["path"].endswith("/graphql"):
            if "$labels: String" in body or "epicBoards(first: 1) { nodes { name }" in body:
                continue
            out.append([k for k in ("groupMembers(", "boards(first: 20", "epics(", "labels(") if k in body][0] + x["body"]["variables"]["fullPath"])
        else:
            out.append(x["path"].split("/api/v4")[1])
    return out


def test_until_stable(d, s):
    ids = {g["full_path"]: g["id"] for g in s.dump()["groups"]}
    qa, ingest = ids[QA], ids[INGEST]
    # one pass more is enough: only what moved is read again
    fresh(s)
    s.call("/_sim/at", at_the_look({"create": {"group": QA, "members": [{"user": "freja.lund", "access_level": 20}]}},
                                   {"create": {"group": INGEST, "members": [{"user": "freja.lund", "access_level": 20}]}}))
    r = create(d, s, "--until-stable", "3")
    again = reads(s)
    t.is_eq((r.code, r.json()["passes"], r.json()["changes"]), (0, 2, []), "--until-stable: exit 0 when the second pass sees nothing move", r.err)
    t.is_eq({(x["group"], x["relation"], x["pass"]) for x in r.json()["settled"]}, {(qa, "members", 1), (ingest, "members", 1)}, "the report says what moved")
    ledger = records(d, r.file, "ledger")
    t.is_eq({(x["group"], x["relation"]) for x in ledger if x["entry"] == "settled"}, {(qa, "members"), (ingest, "members")}, "so does the ledger")
    cost = [x for x in ledger if x["entry"] == "capture"][0]
    t.ok(cost["passes"] == 2 and cost["kept"] > 30 and cost["requests"] == len(s.requests()), "the ledger tells passes, requests and kept answers", cost, len(s.requests()))
    counts = {p: again.count(p) for p in again}
    live = {f"/groups/{ROOT}", "/groups/40", "/groups/40/descendant_groups"}    # what the capture is of, and the look
    twice = {p for p, n in counts.items() if n > 1 and "/badges" not in p and p not in live and "/members/all/" not in p}  # nor the role, which may be another
    t.is_eq(twice, {f"/groups/{g}/members" for g in (qa, ingest)} | {"groupMembers(" + QA, "groupMembers(" + INGEST}, "only what moved was asked for again", counts)
    # badges are read at the end of each pass
    t.is_eq({p: n for p, n in counts.items() if p.endswith("/badges")},
            {f"/groups/{g}/badges": 2 for g in ids.values()}, "badges: once per pass")
    t.is_eq(verified(d, r.file), 0, "its books add up")
    t.ok("freja.lund" in [x["user"]["username"] for x in records(d, r.file, QA + "/members")], "the bundle holds what was there at the end")
    t.has(gstest.snap("inspect", r.file, cwd=d).out, "2 relations had moved, and were read again", "inspect tells it")
    # a subgroup that comes, and labels whose boards hold copies
    fresh(s)
    lists = {x["label_id"] for x in s.dump()["lists"]}
    title = [x["title"] for x in s.dump()["labels"] if x["group_id"] == qa and x["id"] in lists][0]
    s.call("/_sim/at", at_the_look({"create": {"group": QA, "subgroups": [{"path": "lab", "name": "Lab", "labels": [{"title": "x", "color": "#112233"}]}]}},
                                   {"update": "labels", "where": {"group": QA, "title": title}, "set": {"description": "other"}}))
    r = create(d, s, "--until-stable", "2", jobs=8)
    t.is_eq((r.code, [x["title"] for x in records(d, r.file, QA + "/lab/labels")]), (0, ["x"]), "a group that came meanwhile is in the bundle", r.err)
    copies = [y["label"]["description"] for x in records(d, r.file, QA + "/boards") for y in x["lists"] if y.get("label") and y["label"]["title"] == title]
    t.is_eq(set(copies), {"other"}, "copies of an edited label in boards are read again too")
    # a group that goes
    fresh(s)
    s.call("/_sim/at", at_the_look(api("DELETE", f"/groups/{ingest}"), api("DELETE", f"/groups/{ingest}?permanently_remove=true&full_path=" + INGEST.replace("/", "%2F"))))
    r = create(d, s, "--until-stable", "2", jobs=8)
    t.is_eq((r.code, r.json()["groups"], verified(d, r.file)), (0, 7, 0), "a group that went is not in the bundle", r.err)
    # no rest
    fresh(s)
    for i in range(1, 9):
        s.call("/_sim/at", {"match": {"method": "GET", "path": "/groups/40/descendant_groups$", "nth": i}, "do": [
            {"create": {"group": QA, "labels": [{"title": f"n{i}", "color": "#112233"}]}}]})
    r = create(d, s, "--until-stable", "2")
    t.is_eq((r.code, r.json()["passes"]), (4, 3), "a source that does not come to rest: exit 4 after N passes more", r.err)
    t.ok({x["relation"] for x in r.json()["changes"]} == {"labels"} and len(r.json()["settled"]) == 2, "with what moved in each pass", r.json()["changes"], r.json()["settled"])
    t.is_eq(verified(d, r.file), 0, "its books add up")
    plain = gstest.snap("create", "--url", s.url, "-o", "plain.gsnap", "--key", "key", ROOT, token=s.tokens["owner"], cwd=d)
    t.ok(plain.code == 4 and "--until-stable" in plain.err and f"labels of group {qa}" in plain.err, "the message of exit 4 says what moved and what to do", plain.err)


def test_relations(d, s):
    """The same look at the end when the records come from GitLab's relation exports."""
    def via_relations(out, *more):
        return gstest.snap("create", "--via", "relations", "--url", s.url, "-o", out, "--key", "key", "--json", *more, ROOT, token=s.tokens["owner"], cwd=d)
    edit = {"match": {"method": "POST", "path": "/graphql$", "body": "labels: String"},
            "do": [{"update": "labels", "where": {"group": QA, "title": "flaky"}, "set": {"description": "other"}}]}
    qa = [g["id"] for g in s.dump()["groups"] if g["full_path"] == QA][0]
    fresh(s)
    r = via_relations("r1.gsnap")
    marks = [x for x in records(d, "r1.gsnap", "ledger") if x["entry"] == "watermark"]
    t.is_eq((r.code, changed(d, "r1.gsnap"), len([x for x in marks if x["relation"] not in PLANS])), (0, {}, 8 * 5), "--via relations: a quiet source raises no alarm; epics that no list shows raise none", r.err)
    fresh(s)
    s.call("/_sim/at", edit)
    r = via_relations("r2.gsnap")
    t.is_eq((r.code, set(changed(d, "r2.gsnap"))), (4, {(qa, "labels")}), "--via relations: an edited label is found", r.err)
    fresh(s)
    s.call("/_sim/at", edit)
    r = via_relations("r3.gsnap", "--until-stable", "2")
    rows = {x["title"]: x["description"] for x in records(d, "r3.gsnap", QA + "/labels")}
    t.is_eq((r.code, r.json()["passes"], rows["flaky"], verified(d, "r3.gsnap")), (0, 2, "other", 0), "--via relations --until-stable: read again", r.err)


PLANNING = os.path.join(gstest.TOP, "tests/sim/planning_tree.json")
PLANS = ("epics", "epic_boards", "iterations_cadences")
PRODUCT = "halden-planning/product"


def when_plans_are_looked_at(nth, *steps):
    """The first list of the look at epics is the root's; all was read before."""
    return {"match": {"method": "POST", "path": "/graphql$", "body": "nodes { iid updatedAt }|search: String", "nth": nth}, "do": list(steps)}


def test_plans(d):
    """Epics, their boards and iterations: looked at where there are some, with and without an export, as epics and as work items."""
    with gstest.Sim(d, "plans", "--seed", PLANNING, "--tier", "ultimate", "--version", "18.10.0-ee") as s:
        def capture(*more, jobs=1, via="api"):
            return create(d, s, *more, group="halden-planning", jobs=jobs, token="owner", via=via)

        dump = s.dump()
        root, product = [g["id"] for p in ("halden-planning", PRODUCT) for g in dump["groups"] if g["full_path"] == p]
        epic = [x for x in dump["epics"] if x["group_id"] == product][-1]
        cadence = [x for x in dump["iterations_cadences"] if x["group_id"] == product][0]
        iteration = [x for x in dump["iterations"] if x["group_id"] == product][-1]
        board = [x for x in dump["epic_boards"] if x["group_id"] == product][0]
        a_list = [x for x in dump["epic_lists"] if x["board_id"] == board["id"] and x["label_id"]][0]
        in_product = {"group": PRODUCT}
        edit = {"update": "epics", "where": {"id": epic["id"]}, "set": {"title": "another title"}}
        cases = (
            ("an epic is edited", edit, (product, "epics"), "some were edited"),
            ("an epic is added", {"create": {"group": PRODUCT, "planning": {"epics": [{"iid": 900, "title": "new", "author": "ingrid.halden"}]}}}, (product, "epics"), "some are new"),
            ("an epic is deleted", {"delete": "epics", "where": {"id": epic["id"]}}, (product, "epics"), "some are gone"),
            ("an epic board is renamed", {"update": "epic_boards", "where": in_product, "set": {"name": "Other"}}, (product, "epic_boards"), "some are gone, and as many new"),
            ("a list of an epic board goes", {"delete": "epic_lists", "where": {"id": a_list["id"]}}, (product, "epic_boards"), "some were edited"),
            ("a cadence is renamed", {"update": "iterations_cadences", "where": {"id": cadence["id"]}, "set": {"title": "Other"}}, (product, "iterations_cadences"), "some are gone, and as many new"),
            ("an iteration is edited", {"update": "iterations", "where": {"id": iteration["id"]}, "set": {"description": "other"}}, (product, "iterations_cadences"), "some were edited"),
        )
        s.call("/_sim/snapshot", {"name": "start"})
        for via, jobs in (("api", 1), ("api", 8), ("relations", 8)):
            fresh(s)
            r = capture(jobs=jobs, via=via)
            lines = [x for x in records(d, r.file, "ledger") if x["entry"] == "watermark" and x["relation"] in PLANS]
            of = {(x["group"], x["relation"]): (x["records"], x["seen"]) for x in lines}
            want = {(g, "epics"): (sum(x["group_id"] == g for x in dump["epics"]), "all") for g in {x["group_id"] for x in dump["epics"]}}
            t.is_eq((r.code, changed(d, r.file)), (0, {}), f"--via {via}, {jobs} jobs: quiet plans raise no alarm", r.err)
            t.is_eq({k: v for k, v in of.items() if k[1] == "epics"}, want, f"--via {via}, {jobs} jobs: the epics of every group were looked at, all of them")
            t.is_eq({k: v for k, v in of.items() if k[1] != "epics" and v[0]},
                    {(root, "epic_boards"): (1, "all"), (root, "iterations_cadences"): (2, "all"), (product, "epic_boards"): (1, "all"), (product, "iterations_cadences"): (1, "all")},
                    f"--via {via}, {jobs} jobs: and their boards and cadences")
            t.is_eq(verified(d, r.file), 0, f"--via {via}, {jobs} jobs: the books add up")
        for name, step, key, words in cases:
            fresh(s)
            s.call("/_sim/at", when_plans_are_looked_at(1, step))
            r = capture()
            got = changed(d, r.file)
            t.ok(r.code == 4 and set(got) == {key} and words in got[key], f"plans: {name}: exit 4, named, nothing else", r.code, got, r.err, s.call("/_sim/at"))
        fresh(s)
        s.call("/_sim/at", when_plans_are_looked_at(1, edit))
        r = capture(jobs=8, via="relations")
        t.is_eq((r.code, set(changed(d, r.file))), (4, {(product, "epics")}), "plans: an epic that was edited after its export", r.err)
        fresh(s)
        s.call("/_sim/at", when_plans_are_looked_at(1, edit))
        r = capture("--until-stable", "2")
        titles = [x["title"] for x in records(d, r.file, PRODUCT + "/epics") if x["iid"] == epic["iid"]]
        t.is_eq((r.code, r.json()["passes"], titles, verified(d, r.file)), (0, 2, ["another title"], 0), "plans: --until-stable reads the epics of that group again", r.err)
        fresh(s)
        s.faults({"match": {"path": "/graphql$", "body": "hideBacklogList hideClosedList lists"}, "times": 0, "do": {
            "status": 200, "headers": {"Content-Type": "application/json"}, "body": {"errors": [{"message": "not for you"}]}}})
        r = capture()
        lost = {(x["group"], x["relation"]) for x in records(d, r.file, "ledger") if x.get("rule") == "watermark-not-readable"}
        t.is_eq((r.code, lost, changed(d, r.file)), (0, {(root, "epic_boards"), (product, "epic_boards")}, {}), "plans: a list that is refused at the end is said", r.err)
        # where epics are work items and nothing else
        s.call("/_sim/config", {"epic_graphql": False, "epic_rest": False})
        s.call("/_sim/snapshot", {"name": "start"})
        fresh(s)
        r = capture()
        seen = {x["group"]: (x["records"], x["seen"]) for x in records(d, r.file, "ledger") if x["entry"] == "watermark" and x["relation"] == "epics"}
        t.is_eq((r.code in (0, 3), changed(d, r.file), seen), (True, {}, {k[0]: v for k, v in want.items()}), "work items: quiet plans raise no alarm, all are looked at", r.code, r.err)
        fresh(s)
        s.call("/_sim/at", when_plans_are_looked_at(1, edit))
        r = capture()
        t.is_eq((r.code, set(changed(d, r.file))), (4, {(product, "epics")}), "work items: an edited epic is found", r.err, s.call("/_sim/at"))


def test_first_plans(d, s):
    """A group that had no epics when it was asked, and has one at the end: the root, and every group when an earlier run asked."""
    def plans(group):
        return {"create": {"group": group, "planning": {"epics": [{"iid": 1, "title": "first", "author": "ingrid.halden"}]}}}
    ids = {g["full_path"]: g["id"] for g in s.dump()["groups"]}
    fresh(s)
    s.call("/_sim/at", at_the_look(plans(ROOT)))
    r = create(d, s)
    t.is_eq((r.code, changed(d, r.file)), (4, {(40, "epics"): "0 records -> 1 records: some are new"}), "the root's first epic, after it was asked for some", r.err, s.call("/_sim/at"))
    fresh(s)
    s.call("/_sim/at", at_the_look(plans(ROOT)))
    r = create(d, s, "--until-stable", "2")
    t.is_eq((r.code, [x["title"] for x in records(d, r.file, ROOT + "/epics")]), (0, ["first"]), "--until-stable reads it", r.err)
    # an earlier run asked, and could not end
    fresh(s)
    s.faults({"match": {"method": "GET", "path": "/groups/[0-9]+/badges"}, "times": 0, "do": {"status": 401, "body": {"message": "401 Unauthorized"}}})
    r = gstest.snap("create", "--via", "api", "--url", s.url, "-o", "late.gsnap", "--key", "key", "--jobs", "1", ROOT, token=s.tokens["owner"], cwd=d)
    t.is_eq(r.code, 12, "a run that ends before its end", r.err)
    asked = [json.dumps(x["body"]) for x in s.requests() if "epicBoards(first: 1) { nodes { id }" in json.dumps(x.get("body") or "")]
    s.reset_faults()
    s.call("/_sim/at", {"match": {"method": "GET", "path": "/metadata$", "nth": 1}, "do": [plans(QA)]})
    r = gstest.snap("create", "--via", "api", "--url", s.url, "-o", "late.gsnap", "--key", "key", "--jobs", "1", ROOT, token=s.tokens["owner"], cwd=d)
    t.ok(any(QA in x for x in asked), "which had asked whether that group has some", len(asked))
    t.is_eq((r.code, set(changed(d, "late.gsnap"))), (4, {(ids[QA], "epics")}), "the run that goes on finds the first epic of a group that the other one asked", r.err, s.call("/_sim/at"))


with gstest.scratch() as d:
    gstest.keygen(d)
    with gstest.Sim(d, "source", "--seed", gstest.DEMO_TREE) as s:
        s.call("/_sim/snapshot", {"name": "start"})
        test_moves(d, s)
        test_before_its_page(d, s)
        test_group_gone_before_it_is_read(d, s)
        test_quiet(d, s)
        test_without_graphql(d, s)
        test_confirmed_gap(d, s)
        test_faults_are_counted(d, s)
        test_until_stable(d, s)
        test_first_plans(d, s)
        test_relations(d, s)
    test_long_lists(d)
    test_hidden_from_graphql(d)
    test_plans(d)
t.done()
