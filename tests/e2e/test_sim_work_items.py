#!/usr/bin/python3
"""Epics of the simulator as work items: made, changed, ordered and read over GraphQL, in the words of the schema of 18.3."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim import contract  # noqa: E402
from glsim.testing import SIM_DIR, Sim, Tap, eq  # noqa: E402

test = Tap()
V = "18.3.0-ee"
sim = Sim("--seed", os.path.join(SIM_DIR, "planning_tree.json"), "--version", V, "--tier", "ultimate")
ROOT, PRODUCT = "halden-planning", "halden-planning/product"
G = sim.get("/groups/" + ROOT)[1]["id"]
LABELS = {x["title"]: "gid://gitlab/GroupLabel/%d" % x["id"] for x in sim.dump()["labels"]}
USERS = {u["username"]: u["id"] for u in sim.dump()["users"]}
sim.control("POST", "snapshot", {"name": "seeded"})
SDL = contract.sdl("gitlab-18.3-workitems-over-15.0.graphql") if contract.there() else None
NOT_FOUND = "The resource that you are attempting to access does not exist or you don't have permission to perform this action"
# What GitLab hides from introspection although it takes it: the stored schema does not have it either.
HIDDEN = {"WorkItemCreateInput.description", "WorkItemCreateInput.projectPath", "CreateNoteInput.confidential"}


def config(**kw):
    sim.control("POST", "config", kw)


def fresh(**kw):
    sim.control("POST", "restore", {"name": "seeded"})
    if kw:
        config(**kw)


def ask(query, token="owner", typed=True, **variables):
    """Data of a query whose document and reply the published schema of 18.3 agrees with."""
    s, b = sim.gql(query, variables, token=token)
    eq(s, 200)
    if "errors" in b:
        raise AssertionError(b["errors"])
    if SDL and typed:
        eq(contract.conforms(SDL, query, b["data"]), [])
    return b["data"]


def top_errors(query, token="owner", **variables):
    s, b = sim.gql(query, variables, token=token)
    eq(s, 200)
    return [e["message"] for e in b["errors"]]


ITEM = """id iid title state confidential createdAt updatedAt closedAt author { username } namespace { fullPath } webUrl reference(full: true)
  workItemType { name } imported lockVersion widgets { __typename type
  ... on WorkItemWidgetDescription { description edited lastEditedBy { username } }
  ... on WorkItemWidgetHierarchy { hasParent hasChildren parent { id } children { nodes { id title } } ancestors { nodes { id } } }
  ... on WorkItemWidgetLabels { labels { nodes { id title } } }
  ... on WorkItemWidgetStartAndDueDate { startDate dueDate isFixed rollUp startDateSourcingWorkItem { id } }
  ... on WorkItemWidgetColor { color textColor }
  ... on WorkItemWidgetHealthStatus { healthStatus }
  ... on WorkItemWidgetAwardEmoji { upvotes downvotes awardEmoji { nodes { name user { username } } } }
  ... on WorkItemWidgetNotes { discussionLocked notes { count nodes { id body system internal author { username } } } discussions { nodes { id
      notes { nodes { id body awardEmoji { nodes { name } } systemNoteMetadata { action } } } } } } }"""
READ = "query($id: WorkItemID!) { workItem(id: $id) { %s } }" % ITEM


def widgets(item):
    return {w["type"]: w for w in item["widgets"]}


def read(gid, token="owner"):
    item = ask(READ, token=token, id=gid)["workItem"]
    return item, widgets(item)


def mutate(field, fields, token="owner", head=None, typed=True, **given):
    head = head or field[0].upper() + field[1:]
    return ask("mutation($input: %sInput!) { %s(input: $input) { errors %s } }" % (head, field, fields), token=token, typed=typed, input=given)[field]


def epic_type(path=ROOT):
    nodes = ask("query($p: ID!) { group(fullPath: $p) { workItemTypes(name: EPIC) { nodes { id name } } } }", p=path)["group"]["workItemTypes"]["nodes"]
    return nodes[0]["id"] if nodes else None


EPIC = epic_type()


def create(title="an item", token="owner", path=ROOT, ok=True, **p):
    r = mutate("workItemCreate", "workItem { id iid author { username } createdAt updatedAt }", token=token, namespacePath=path, workItemTypeId=EPIC, title=title, **p)
    if ok:
        eq(r["errors"], [])
        return r["workItem"]
    return r["errors"]


def update(gid, token="owner", ok=True, **p):
    r = mutate("workItemUpdate", "workItem { id }", token=token, id=gid, **p)
    if ok:
        eq(r["errors"], [])
    return r["errors"]


@test
def published():
    """of the work items and notes of 18.3 nothing is here that the published schema does not have, but what GitLab hides"""
    if SDL is None:
        return "GitLab's contract data is not at hand; set GITLAB_CONTRACT_DIR"
    import glsim.main  # noqa: F401 (registers every family)
    from glsim import gql
    with_, theirs = contract.types(gql.schema((18, 3), True)), contract.types(SDL)
    without = set(contract.strangers(contract.types(gql.schema((18, 3), True, frozenset(["epics"]))), theirs))
    eq(set(contract.strangers(with_, theirs)) - without, HIDDEN - {"CreateNoteInput.confidential"})
    eq({x for x in without if x.startswith(("Note", "Disc", "Award", "CreateNote"))}, {"CreateNoteInput.confidential"})
    assert sum(n.startswith("WorkItem") for n in with_) > 30
    eq(contract.conforms(SDL, "{ currentUser { id nonsense } }", {"currentUser": {"id": 7}})[1:], ["query.currentUser.id: 7 is no ID"])


@test
def where_they_are():
    """work items of groups: from 17.2 on, by type with a licence only, not on a Community Edition, and as the settings say"""
    q = "{group(fullPath:\"%s\"){workItemTypes(name: EPIC){nodes{name}} workItems(first:1){count nodes{iid}}}}" % ROOT
    for version in ("14.10.0-ee", "15.11.0-ee", "16.11.0-ee", "17.1.0-ee", "17.8.0", "18.8.0"):
        config(version=version)
        assert "Field 'workItems' doesn't exist on type 'Group'" in top_errors(q), version
        assert top_errors("mutation{workItemCreate(input:{title:\"x\"}){errors}}")
    for version in ("17.2.0-ee", "17.11.0-ee", "18.8.0-ee", "19.1.0-ee"):
        config(version=version, tier="ultimate")
        g = ask(q, typed=False)["group"]
        eq((g["workItemTypes"]["nodes"], g["workItems"]["count"]), ([{"name": "Epic"}], sum(e["group_id"] == G for e in sim.dump()["epics"])))
        config(tier="free")
        eq(ask(q, typed=False)["group"], {"workItemTypes": {"nodes": []}, "workItems": None})
        r = mutate("workItemCreate", "workItem { id }", typed=False, namespacePath=ROOT, workItemTypeId=EPIC, title="x")
        eq(r, {"errors": ["Epic type is not available for the given group"], "workItem": None})
    fresh(version="18.8.0-ee", work_items=False)
    assert "Field 'workItems' doesn't exist on type 'Group'" in top_errors(q)
    fresh(version="16.11.0-ee", work_items=True)
    eq(ask(q, typed=False)["group"]["workItemTypes"]["nodes"], [{"name": "Epic"}])
    fresh()
    q = "query($p: ID!) { namespace(fullPath: $p) { availableFeatures { hasEpicsFeature hasSubepicsFeature } workItem(iid: \"1\") { title } } }"
    eq(ask(q, p=ROOT)["namespace"]["availableFeatures"], {"hasEpicsFeature": True, "hasSubepicsFeature": True})
    config(tier="premium")
    eq(ask(q, p=ROOT)["namespace"]["availableFeatures"], {"hasEpicsFeature": True, "hasSubepicsFeature": False})


@test
def same_record():
    """the same record as the epic: another id, the same iid, the same attributes"""
    fresh(graphql_max_complexity=0)
    q = """query($p: ID!, $a: String) { group(fullPath: $p) { workItems(first: 10, after: $a, types: [EPIC], sort: CREATED_ASC) { count
      nodes { %s } pageInfo { hasNextPage endCursor } } } }""" % ITEM
    items, after = [], None
    while True:
        c = ask(q, p=ROOT, a=after)["group"]["workItems"]
        items += c["nodes"]
        after = c["pageInfo"]["endCursor"]
        if not c["pageInfo"]["hasNextPage"]:
            break
    d = sim.dump()
    rest = {e["iid"]: e for e in sim.get("/groups/%d/epics?include_descendant_groups=false&per_page=100" % G)[1]}
    ids = {w["id"]: w["epic_id"] for w in d["work_items"]}
    eq((len(items), [i["createdAt"] for i in items]), (len(rest), sorted(e["created_at"] for e in rest.values())))
    for i in items:
        e, w, n = rest[int(i["iid"])], widgets(i), int(i["id"].rsplit("/", 1)[1])
        eq((ids[n], e["work_item_id"]), (e["id"], n))
        assert n != e["id"]
        eq((i["title"], i["state"], i["confidential"], i["createdAt"], i["updatedAt"], i["closedAt"], i["author"]["username"]),
           (e["title"], {"opened": "OPEN", "closed": "CLOSED"}[e["state"]], e["confidential"], e["created_at"], e["updated_at"], e["closed_at"],
            e["author"]["username"]))
        eq(w["DESCRIPTION"]["description"], e["description"])
        eq([x["title"] for x in w["LABELS"]["labels"]["nodes"]], e["labels"])
        dates = w["START_AND_DUE_DATE"]
        eq((dates["startDate"], dates["dueDate"], dates["isFixed"]),
           (e["start_date"], e["due_date"], e["start_date_is_fixed"] or e["due_date_is_fixed"]))
        eq((w["COLOR"]["color"], w["AWARD_EMOJI"]["upvotes"]), (e["color"], e["upvotes"]))
        parent = w["HIERARCHY"]["parent"]
        eq(parent and ids[int(parent["id"].rsplit("/", 1)[1])], e["parent_id"])
        kids = sorted((x["relative_position"], x["id"]) for x in d["epics"] if x["parent_id"] == e["id"])
        eq([ids[int(x["id"].rsplit("/", 1)[1])] for x in w["HIERARCHY"]["children"]["nodes"]], [x for _, x in kids])
        mine = [x for x in d["notes"] if x["noteable_id"] == e["id"]]
        eq(w["NOTES"]["notes"]["count"], len(mine))
        eq(sorted(x["body"] for x in w["NOTES"]["notes"]["nodes"]), sorted(x["note"] for x in mine))
        eq(len(w["NOTES"]["discussions"]["nodes"]), len({x["discussion_id"] for x in mine}))
        eq({(x["name"], x["user"]["username"]) for x in w["AWARD_EMOJI"]["awardEmoji"]["nodes"]},
           {(x["name"], next(u["username"] for u in d["users"] if u["id"] == x["user_id"])) for x in d["award_emoji"]
            if x["awardable_type"] == "Epic" and x["awardable_id"] == e["id"]})


@test
def filters():
    """lists: the group's own by default, the state in lower case, iids, labels, parents, times, types"""
    d = sim.dump()

    def count(**a):
        kinds = {"state": "IssuableState", "types": "[IssueType!]", "iids": "[String!]", "labelName": "[String!]", "parentIds": "[WorkItemID!]",
                 "includeDescendants": "Boolean", "createdAfter": "Time", "createdBefore": "Time", "search": "String", "confidential": "Boolean",
                 "authorUsername": "String"}
        q = "query($p: ID!, %s) { group(fullPath: $p) { workItems(%s) { count } } }" % (
            ", ".join("$%s: %s" % (k, kinds[k]) for k in a), ", ".join("%s: $%s" % (k, k) for k in a))
        return ask(q, p=ROOT, **a)["group"]["workItems"]["count"]
    own = [e for e in d["epics"] if e["group_id"] == G]
    eq((count(state="all"), count(includeDescendants=True)), (len(own), len(d["epics"])))
    eq((count(state="opened"), count(state="closed")), tuple(sum(e["state"] == s for e in own) for s in ("opened", "closed")))
    eq((count(types=["EPIC"]), count(types=["ISSUE"])), (len(own), 0))
    eq(count(iids=[str(own[0]["iid"]), str(own[1]["iid"]), "4711"]), 2)
    eq(count(createdAfter=own[3]["created_at"], createdBefore=own[3]["created_at"]), 1)
    eq(count(confidential=True), sum(e["confidential"] for e in own))
    eq(count(authorUsername="freja.lund"), sum(e["author_id"] == USERS["freja.lund"] for e in own))
    parent = next(e for e in own if any(x["parent_id"] == e["id"] for x in d["epics"]))
    wid = next(w["id"] for w in d["work_items"] if w["epic_id"] == parent["id"])
    eq(count(parentIds=["gid://gitlab/WorkItem/%d" % wid], includeDescendants=True), sum(e["parent_id"] == parent["id"] for e in d["epics"]))
    q = "query($p: ID!, $r: [String!]!) { workItemsByReference(contextNamespacePath: $p, refs: $r) { nodes { iid } } }"
    eq(ask(q, p=ROOT, r=["&%d" % own[0]["iid"], PRODUCT + "&1", "&4711"])["workItemsByReference"]["nodes"], [{"iid": str(own[0]["iid"])}, {"iid": "1"}])
    eq(top_errors(READ, id="gid://gitlab/WorkItem/1"), [NOT_FOUND])
    eq(top_errors(READ, id="gid://gitlab/Epic/1"), ['"gid://gitlab/Epic/1" does not represent an instance of WorkItem'])


@test
def creation():
    """workItemCreate: every widget; createdAt for Owners and admins; the author is the caller"""
    top = create("top")
    t = "2019-05-06T07:08:09.123Z"
    made = create("all of it", createdAt=t, confidential=True, descriptionWidget={"description": "words\n/label ~\"stage::doing\""},
                  labelsWidget={"labelIds": [LABELS["urgent"], LABELS["audit now"]]}, startAndDueDateWidget={"startDate": "2025-01-02", "dueDate": "2025-03-04", "isFixed": True},
                  colorWidget={"color": "#123456"}, hierarchyWidget={"parentId": top["id"]}, healthStatusWidget={"healthStatus": "atRisk"})
    item, w = read(made["id"])
    eq((item["createdAt"], item["confidential"], item["author"]["username"], item["state"], item["workItemType"]["name"]),
       (t, True, "ingrid.halden", "OPEN", "Epic"))
    eq((w["DESCRIPTION"]["description"], [x["title"] for x in w["LABELS"]["labels"]["nodes"]]), ("words", ["stage::doing", "urgent"]))
    eq([w["START_AND_DUE_DATE"][k] for k in ("startDate", "dueDate", "isFixed")], ["2025-01-02", "2025-03-04", True])
    eq((w["COLOR"]["color"], w["HIERARCHY"]["parent"]["id"], w["HEALTH_STATUS"]["healthStatus"]), ("#123456", top["id"], "atRisk"))
    eq([x["body"] for x in read(top["id"])[1]["NOTES"]["notes"]["nodes"]], ["added epic &%s as child epic" % made["iid"]])
    eq([x["iid"] for x in sim.get("/groups/%d/epics?search=all%%20of%%20it" % G)[1]], [int(made["iid"])])
    for token, kept in (("admin", True), ("maintainer", False)):
        x = create("x", token=token, createdAt=t)
        eq(x["createdAt"] == t, kept, token)
        assert x["updatedAt"] > "2021"
    eq(create("y", token="maintainer")["author"]["username"], "tomasz.wolny")
    s, imp = sim.post("/users/%d/impersonation_tokens" % USERS["freja.lund"], {"name": "x", "scopes": ["api"]}, token="admin")
    eq((s, create("z", token=imp["token"])["author"]["username"]), (201, "freja.lund"))
    eq(create("", ok=False), ["Title can't be blank"])
    eq(create("d", ok=False, startAndDueDateWidget={"startDate": "2025-02-01", "dueDate": "2025-01-01", "isFixed": True}),
       ["Due date must be greater than or equal to start date"])
    eq(create("c", ok=False, colorWidget={"color": "purplish"}), ["Color must be a valid color code"])
    eq(create("p", ok=False, hierarchyWidget={"parentId": made["id"]}),
       ["Confidential A non-confidential epic cannot be assigned to a confidential parent epic"])
    eq(create("p", ok=False, hierarchyWidget={"parentId": "gid://gitlab/WorkItem/5"}),
       ["No matching work item found. Make sure you are adding a valid ID."])
    q = "mutation($input: WorkItemCreateInput!) { workItemCreate(input: $input) { errors } }"
    eq(top_errors(q, input={"title": "x", "workItemTypeId": EPIC}), ["One and only one of namespacePath or projectPath is required."])
    eq(top_errors(q, input={"title": "x", "workItemTypeId": EPIC, "namespacePath": "nowhere"}), [NOT_FOUND])
    eq(top_errors(q, token="reader", input={"title": "x", "workItemTypeId": EPIC, "namespacePath": ROOT}), [NOT_FOUND])
    eq(mutate("workItemCreate", "workItem { id }", namespacePath=ROOT, workItemTypeId="gid://gitlab/WorkItems::Type/1", title="x")["errors"],
       ["Issue type is not available for the given group"])
    # a value that GitLab hides from introspection passes in a variable
    eq(mutate("workItemCreate", "workItem { id }", namespacePath=ROOT, workItemTypeId=EPIC, title="h", description="hidden")["errors"], [])


@test
def changes():
    """workItemUpdate: state, labels to add and to remove, dates, the parent away again, emoji one at a time, no updatedAt"""
    a = create("a")["id"]
    b = create("b", hierarchyWidget={"parentId": a}, startAndDueDateWidget={"startDate": "2025-04-01", "dueDate": "2025-05-01"})["id"]
    w = read(a)[1]
    eq([w["START_AND_DUE_DATE"][k] for k in ("startDate", "dueDate", "isFixed")], ["2025-04-01", "2025-05-01", False])
    eq(w["START_AND_DUE_DATE"]["startDateSourcingWorkItem"]["id"], b)
    update(a, startAndDueDateWidget={"isFixed": True, "startDate": "2025-01-01"})
    eq([read(a)[1]["START_AND_DUE_DATE"][k] for k in ("startDate", "dueDate", "isFixed")], ["2025-01-01", None, True])
    update(a, startAndDueDateWidget={"isFixed": False})
    eq(read(a)[1]["START_AND_DUE_DATE"]["startDate"], "2025-04-01")
    update(a, labelsWidget={"addLabelIds": [LABELS["urgent"], LABELS["long shot"]]})
    update(a, labelsWidget={"removeLabelIds": [LABELS["urgent"]]}, title="a2", stateEvent="CLOSE")
    item, w = read(a)
    eq((item["title"], item["state"], [x["title"] for x in w["LABELS"]["labels"]["nodes"]]), ("a2", "CLOSED", ["long shot"]))
    assert item["closedAt"]
    update(a, stateEvent="REOPEN", confidential=True, ok=False)
    eq(read(a)[0]["state"], "CLOSED", "one refusal undoes the whole call")
    update(b, hierarchyWidget={"parentId": None})
    eq((read(b)[1]["HIERARCHY"]["parent"], read(a)[1]["HIERARCHY"]["hasChildren"]), (None, False))
    update(b, hierarchyWidget={"parentId": a})
    eq(update(a, ok=False, hierarchyWidget={"parentId": b}), ["Parent This epic cannot be added. It is already an ancestor of the parent epic."])
    for action, want in (("ADD", 1), ("TOGGLE", 0), ("TOGGLE", 1), ("REMOVE", 0)):
        update(a, awardEmojiWidget={"action": action, "name": "thumbsup"})
        eq(read(a)[1]["AWARD_EMOJI"]["upvotes"], want, action)
    update(a, awardEmojiWidget={"action": "ADD", "name": "thumbsup"})
    eq(update(a, ok=False, awardEmojiWidget={"action": "ADD", "name": "thumbsup"}), ["Name has already been taken"])
    update(a, token="maintainer", awardEmojiWidget={"action": "ADD", "name": "thumbsup"})
    eq([x["user"]["username"] for x in read(a)[1]["AWARD_EMOJI"]["awardEmoji"]["nodes"]], ["ingrid.halden", "tomasz.wolny"])
    update(a, notesWidget={"discussionLocked": True}, notificationsWidget={"subscribed": False})
    eq(read(a)[1]["NOTES"]["discussionLocked"], True)
    q = "mutation($input: WorkItemUpdateInput!) { workItemUpdate(input: $input) { errors } }"
    assert "updatedAt" in top_errors(q, input={"id": a, "updatedAt": "2020-01-01"})[0]
    eq(top_errors(q, token="reader", input={"id": a, "title": "x"}), [NOT_FOUND])
    config(tier="premium")
    eq(update(b, ok=False, hierarchyWidget={"parentId": a}), ["No matching work item found. Make sure that you are adding a valid work item ID."])


@test
def order():
    """children: new ones stand at the end; BEFORE and AFTER say where the moved one goes; the sibling must have the same parent"""
    top = create("top")["id"]
    kids = [create("k%d" % i, hierarchyWidget={"parentId": top})["id"] for i in range(4)]

    def names():
        return [x["title"] for x in read(top)[1]["HIERARCHY"]["children"]["nodes"]]
    eq(names(), ["k0", "k1", "k2", "k3"])
    update(kids[3], hierarchyWidget={"adjacentWorkItemId": kids[0], "relativePosition": "BEFORE"})
    eq(names(), ["k3", "k0", "k1", "k2"])
    update(kids[3], hierarchyWidget={"adjacentWorkItemId": kids[1], "relativePosition": "AFTER"})
    eq(names(), ["k0", "k1", "k3", "k2"])
    eq(update(kids[3], ok=False, hierarchyWidget={"adjacentWorkItemId": kids[1]}), ["Both adjacentWorkItemId and relativePosition are required."])
    lone = create("lone")["id"]
    eq(update(kids[0], ok=False, hierarchyWidget={"adjacentWorkItemId": lone, "relativePosition": "AFTER"}),
       ["The adjacent work item's parent must match the current parent work item."])
    update(lone, hierarchyWidget={"parentId": top, "adjacentWorkItemId": kids[0], "relativePosition": "BEFORE"})
    eq(names(), ["lone", "k0", "k1", "k3", "k2"])
    r = mutate("workItemsHierarchyReorder", "workItem { title } parentWorkItem { title } adjacentWorkItem { title }",
               head="workItemsHierarchyReorder", id=lone, adjacentWorkItemId=kids[2], relativePosition="AFTER")
    eq(r, {"errors": [], "workItem": {"title": "lone"}, "parentWorkItem": {"title": "top"}, "adjacentWorkItem": {"title": "k2"}})
    eq(names(), ["k0", "k1", "k3", "k2", "lone"])
    late = create("late")["id"]
    eq(mutate("workItemHierarchyAddChildrenItems", "addedChildren { title }", id=top, childrenIds=[late])["addedChildren"], [{"title": "late"}])
    eq(names()[-1], "late")
    config(child_position="start")
    create("first", hierarchyWidget={"parentId": top})
    eq(names()[0], "first")


@test
def notes():
    """createNote on a work item: threads, internal ones, emoji on notes, commands"""
    a = create("a")["id"]
    fields = "note { id body internal author { username } discussion { id } } quickActionsStatus { commandsOnly messages }"
    n = mutate("createNote", fields, noteableId=a, body="hello")
    eq((n["note"]["body"], n["note"]["internal"], n["quickActionsStatus"]), ("hello", False, None))
    r = mutate("createNote", fields, noteableId=a, body="answer", discussionId=n["note"]["discussion"]["id"], token="maintainer")
    eq(r["errors"], [])
    mutate("createNote", fields, noteableId=a, body="secret", internal=True)
    w = read(a)[1]["NOTES"]
    eq([[x["body"] for x in d["notes"]["nodes"]] for d in w["discussions"]["nodes"]], [["hello", "answer"], ["secret"]])
    eq([x["internal"] for x in w["notes"]["nodes"]], [False, False, True])
    eq(mutate("awardEmojiAdd", "awardEmoji { name emoji user { username } }", awardableId=n["note"]["id"], name="heart")["errors"], [])
    eq(read(a)[1]["NOTES"]["discussions"]["nodes"][0]["notes"]["nodes"][0]["awardEmoji"]["nodes"], [{"name": "heart"}])
    r = mutate("createNote", fields, noteableId=a, body="/close")
    eq((r["errors"], r["note"], r["quickActionsStatus"]), ([], None, {"commandsOnly": True, "messages": ["Closed this epic."]}))
    eq(read(a)[0]["state"], "CLOSED")
    eq(mutate("createNote", fields, noteableId=a, body=" ")["errors"], ["Note can't be blank"])
    eq(mutate("awardEmojiAdd", "awardEmoji { name }", awardableId=a, name="heart")["errors"], [])
    eq(mutate("awardEmojiToggle", "toggledOn", awardableId=a, name="heart")["toggledOn"], False)
    q = "query($id: NoteID!) { note(id: $id) { body system systemNoteMetadata { action } } }"
    eq(ask(q, id=n["note"]["id"])["note"]["body"], "hello")


@test
def deletion():
    """workItemDelete: for Owners, with all children, and the iid is not given out again; older ids are not found any more"""
    a = create("a")
    b = create("b", hierarchyWidget={"parentId": a["id"]})
    q = "mutation($input: WorkItemDeleteInput!) { workItemDelete(input: $input) { errors } }"
    eq(top_errors(q, token="maintainer", input={"id": a["id"]}), [NOT_FOUND])
    eq(mutate("workItemDelete", "namespace { fullPath }", id=a["id"]), {"errors": [], "namespace": {"fullPath": ROOT}})
    eq(top_errors(READ, id=b["id"]), [NOT_FOUND])
    eq(int(create("c")["iid"]), int(b["iid"]) + 1)


@test
def faults():
    """a lost answer leaves the item, twice makes two, stale reads do not see it yet"""
    def count(title):
        return sum(e["title"] == title for e in sim.dump()["epics"])
    sim.control("POST", "faults", [{"match": {"path": "/graphql$", "body": "\"lost\""}, "do": {"lose_answer": True}},
                                   {"match": {"path": "/graphql$", "body": "\"two\""}, "do": {"twice": True}},
                                   {"match": {"path": "/graphql$", "body": "\"late\""}, "do": {"stale_ms": 600000}}])
    try:
        create("lost")
    except AssertionError:
        raise
    except Exception as e:
        assert type(e).__name__ in ("RemoteDisconnected", "ConnectionResetError", "URLError"), e
    else:
        raise AssertionError("an answer came")
    create("two")
    late = create("late")["id"]
    eq((count("lost"), count("two"), count("late")), (1, 2, 1))
    eq(top_errors(READ, id=late), [NOT_FOUND])
    sim.control("POST", "reset_faults")
    eq(read(late)[0]["title"], "late")


test.before = fresh
code = test.run()
code = 1 if sim.stop() else code
sys.exit(code)
