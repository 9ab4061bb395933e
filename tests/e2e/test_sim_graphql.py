#!/usr/bin/python3
"""GraphQL of the simulator: paging, hidden lists, mutations, error shapes, versions."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim.testing import SIM_DIR, Sim, Tap, eq  # noqa: E402

test = Tap()
sim = Sim("--seed", os.path.join(SIM_DIR, "demo_tree.json"))
FW = "halden-instruments/firmware"


def ask(query, token="owner", **variables):
    s, b = sim.gql(query, variables, token=token)
    eq(s, 200)
    if "errors" in b:
        raise AssertionError(b["errors"])
    return b["data"]


def errors(query, token="owner", **variables):
    s, b = sim.gql(query, variables, token=token)
    eq(s, 200)
    return [e["message"] for e in b["errors"]]


@test
def labels():
    """labels: cursors walk over everything once, timestamps of the seed, own group only by default"""
    q = """query($p: ID!, $a: String) { group(fullPath: $p) { labels(first: 5, after: $a) { count
           nodes { id title color textColor createdAt updatedAt description } pageInfo { hasNextPage endCursor } } } }"""
    got, after, count = [], None, None
    while True:
        c = ask(q, p="halden-instruments", a=after)["group"]["labels"]
        got += c["nodes"]
        count = c["count"]
        after = c["pageInfo"]["endCursor"]
        if not c["pageInfo"]["hasNextPage"]:
            break
    eq((len(got), count, len({x["id"] for x in got})), (24, 24, 24))
    db = {x["title"]: x for x in sim.dump()["labels"] if x["group_id"] == 40}
    for x in got:
        eq((x["createdAt"], x["updatedAt"], x["description"]),
           tuple(db[x["title"]][k] for k in ("created_at", "updated_at", "description")))
    n = ask("query($p: ID!) { group(fullPath: $p) { labels(includeAncestorGroups: true) { count } } }", p=FW)
    eq(n["group"]["labels"]["count"], 36)


@test
def group():
    """a group: settings, times, parent; null for what one may not see"""
    q = "query($p: ID!) { group(fullPath: $p) { id name fullName createdAt updatedAt visibility lfsEnabled parent { path } } }"
    g = ask(q, p=FW)["group"]
    eq((g["id"], g["fullName"], g["lfsEnabled"], g["parent"]), ("gid://gitlab/Group/41", "Halden Instruments / Firmware", False,
                                                              {"path": "halden-instruments"}))
    eq(ask(q, token=None, p=FW)["group"], None)
    sim.control("POST", "config", {"version": "15.0.5-ee"})
    eq(errors(q, p=FW), ["Field 'createdAt' doesn't exist on type 'Group'", "Field 'updatedAt' doesn't exist on type 'Group'"])
    sim.control("POST", "config", {"version": "17.8.1-ee"})


@test
def members():
    """members: relations, roles, dates, who added them"""
    q = """query($p: ID!, $r: [GroupMemberRelation!]) { group(fullPath: $p) { groupMembers(relations: $r, first: 50) { nodes {
           id createdAt expiresAt accessLevel { integerValue stringValue } user { id username publicEmail state }
           createdBy { username } } pageInfo { hasNextPage endCursor } } } }"""
    m = {x["user"]["username"]: x for x in ask(q, p="halden-instruments", r=["DIRECT"])["group"]["groupMembers"]["nodes"]}
    eq(len(m), 8)
    eq(m["tomasz.wolny"]["accessLevel"], {"integerValue": 40, "stringValue": "MAINTAINER"})
    eq((m["lena.schmidt"]["expiresAt"], m["goran.petrovic"]["user"]["state"]), ("2099-12-31T00:00:00Z", "blocked"))
    eq((m["aiko.tanaka"]["user"]["publicEmail"], m["aiko.tanaka"]["createdBy"]["username"]), ("aiko@halden.example", "ingrid.halden"))
    eq(len(ask(q, p=FW)["group"]["groupMembers"]["nodes"]), 13)


@test
def boards():
    """boards: Open and Closed lists unless hidden, limits, scope"""
    q = """query($p: ID!) { group(fullPath: $p) { boards(first: 20) { nodes { id name hideClosedList weight milestone { title }
           labels(first: 20) { nodes { title } } lists(first: 20) { nodes { id listType title position limitMetric maxIssueCount
           maxIssueWeight label { title } milestone { title } assignee { username } } } } } } }"""
    b = ask(q, p=FW)["group"]["boards"]["nodes"]
    eq([x["name"] for x in b], ["Delivery", "Delivery", "Unassigned 📋 triage"])
    eq([x["listType"] for x in b[0]["lists"]["nodes"]], ["backlog", "label", "label", "label", "assignee", "milestone"])
    eq([x["listType"] for x in b[2]["lists"]["nodes"]], ["backlog", "label", "closed"])
    eq((b[0]["milestone"]["title"], b[1]["milestone"]["title"], b[2]["weight"]), ("Firmware 3.0", "Upcoming", 0))
    lim = [x for x in b[0]["lists"]["nodes"] if x["title"] == "priority::1"][0]
    eq((lim["limitMetric"], lim["maxIssueCount"], lim["maxIssueWeight"]), ("all_metrics", 3, 8))


@test
def milestones():
    """milestones: sorting and states"""
    q = """query($p: ID!, $s: MilestoneSort) { group(fullPath: $p) { milestones(sort: $s, state: closed) { nodes {
           iid state dueDate startDate } } } }"""
    n = ask(q, p=FW, s="DUE_DATE_ASC")["group"]["milestones"]["nodes"]
    eq([x["state"] for x in n], ["closed"] * 5)
    dates = [x["dueDate"] or "9999" for x in n]
    eq(dates, sorted(dates))


@test
def mutations():
    """labelCreate has no ancestor check; errors come in the payload with status 200"""
    q = """mutation($i: LabelCreateInput!) { labelCreate(input: $i) { label { id title color } errors clientMutationId } }"""
    i = {"groupPath": "halden-instruments/quality-assurance", "title": " audit ", "color": "#ABCDEF", "clientMutationId": "7"}
    p = ask(q, i=i)["labelCreate"]
    eq((p["label"]["title"], p["label"]["color"], p["errors"], p["clientMutationId"]), ("audit", "#abcdef", [], "7"))
    p = ask(q, i=i)["labelCreate"]
    eq((p["label"], p["errors"]), (None, ["Title has already been taken"]))
    gone = "The resource that you are attempting to access does not exist or you don't have permission to perform this action"
    eq(errors(q, i=dict(i, groupPath="no/such")), [gone])
    eq(errors(q, token="reader", i=i), [gone])
    eq(len(errors(q, i={"groupPath": "x"})), 1)
    p = ask("""mutation { createBoard(input: {groupPath: "%s", name: "G", labels: ["rtos"], weight: 2}) {
               board { id weight lists { nodes { listType } } } errors } }""" % FW)["createBoard"]
    eq([x["listType"] for x in p["board"]["lists"]["nodes"]], ["backlog", "closed"])
    lid = [x["id"] for x in sim.dump()["labels"] if x["title"] == "power"][0]
    q = 'mutation { boardListCreate(input: {boardId: "%s", labelId: "gid://gitlab/GroupLabel/%d"}) { list { id position } errors } }' % (
        p["board"]["id"], lid)
    ls = ask(q)["boardListCreate"]["list"]
    eq(ask(q)["boardListCreate"], {"list": None, "errors": ["Label has already been taken"]})
    x = ask('mutation { boardListUpdateLimitMetrics(input: {listId: "%s", limitMetric: issue_count, maxIssueCount: 9}) { list {'
            ' maxIssueCount limitMetric } errors } }' % ls["id"])["boardListUpdateLimitMetrics"]["list"]
    eq(x, {"maxIssueCount": 9, "limitMetric": "issue_count"})
    eq(ask('mutation { destroyBoard(input: {id: "%s"}) { board { id } errors } }' % p["board"]["id"])["destroyBoard"]["errors"], [])
    eq([b["id"] for b in sim.dump()["boards"] if b["name"] == "G"], [])


@test
def free():
    """createBoard makes the first board of a group without a licence, and no second one"""
    sim.control("POST", "config", {"tier": "free"})
    sim.post("/groups", {"name": "Bare", "path": "bare"})
    q = 'mutation { createBoard(input: {groupPath: "bare"}) { board { name } errors } }'
    eq(ask(q)["createBoard"], {"board": {"name": "Development"}, "errors": []})
    eq(len(ask(q)["createBoard"]["errors"]), 1)
    sim.control("POST", "config", {"tier": "premium"})


@test
def protocol():
    """bad token 401, broken variables 422, cost, size, syntax, cursors"""
    eq(sim.gql("{currentUser{id}}", token="glpat-bad")[0], 401)
    eq(sim.gql("{currentUser{id}}", token="expired")[0], 401)
    eq(sim.raw("POST", "/api/graphql", {"query": "{currentUser{id}}", "variables": "{"})[0], 422)
    assert "max complexity" in errors("""{ group(fullPath: "x") { descendantGroups { nodes { descendantGroups { nodes { descendantGroups
        { nodes { labels { nodes { id title color createdAt updatedAt description textColor } } boards { nodes { id name } }
        milestones { nodes { id iid title } } } } } } } } } }""")[0]
    eq(errors("{" + " " * 10001 + "currentUser{id}}"), ["Query too large"])
    assert "Syntax Error" in errors("{")[0]
    eq(errors('{group(fullPath:"halden-instruments"){labels(after:"!!"){nodes{id}}}}'), ["Please provide a valid cursor"])
    eq(sim.log()[-1]["status"], 200)


@test
def newest():
    """what tells cheaply whether a source moved: counts where the schema has them, milestones by their last change"""
    q = "query($p: ID!) { group(fullPath: $p) { labels { count } milestones(sort: UPDATED_DESC, first: 1) { nodes { id title updatedAt } } } }"
    before = ask(q, p=FW)["group"]
    s, m = sim.get("/groups/41/milestones?per_page=100")
    eq(before["milestones"]["nodes"][0]["updatedAt"], max(x["updated_at"] for x in m))
    oldest = min(m, key=lambda x: x["updated_at"])
    eq(sim.put("/groups/41/milestones/%d" % oldest["id"], {"description": "touched"})[0], 200)
    eq(sim.post("/groups/41/labels", {"name": "one more", "color": "#123456"})[0], 201)
    after = ask(q, p=FW)["group"]
    eq(after["milestones"]["nodes"][0]["title"], oldest["title"])
    eq(after["labels"]["count"], before["labels"]["count"] + 1)
    for field in ("milestones", "boards", "groupMembers", "descendantGroups"):
        eq(errors('{ group(fullPath: "%s") { %s { count } } }' % (FW, field))[0][:28], "Field 'count' doesn't exist ", field)


code = test.run()
code = 1 if sim.stop() else code
sys.exit(code)
