"""GraphQL: epics as work items. From 17.2 on this is how they are meant to be made; what they hold is the same record.

Of the widgets those are here that an epic has and that hold something."""
from . import awards, colors, epics, features
from .auth import GUEST, OWNER, PLANNER, can, can_read
from .db import now
from .gql import GqlError, NOT_FOUND, Refused, connection_type, extend, gid, mutation, resolver, sdl, ungid
from .gql_epics import label_ids, may_set_times, need_write, save
from .gql_groups import PAGE, group_for, group_node, label_node, messages, user_by_id
from .gql_notes import awards_connection, discussions_connection, notes_connection
from .labels import html
from .paging import connection, plain_connection

WHO = {"ee": True, "family": "work_items"}
TYPES = {1: "Issue", 2: "Incident", 3: "Test Case", 4: "Requirement", 5: "Task", 6: "Objective", 7: "Key Result", 8: "Epic", 9: "Ticket"}
EPIC = 8
WIDGETS = """ASSIGNEES AWARD_EMOJI COLOR CURRENT_USER_TODOS DESCRIPTION HEALTH_STATUS HIERARCHY LABELS LINKED_ITEMS MILESTONE NOTES
NOTIFICATIONS PARTICIPANTS START_AND_DUE_DATE STATUS TIME_TRACKING WEIGHT""".split()
SHOWN = ("DESCRIPTION", "HIERARCHY", "LABELS", "START_AND_DUE_DATE", "COLOR", "AWARD_EMOJI", "NOTES", "HEALTH_STATUS", "PARTICIPANTS",
         "NOTIFICATIONS")

connection_type("WorkItem", count=True, **WHO)
connection_type("WorkItemType", **WHO)
sdl("""
enum WorkItemState { OPEN CLOSED }
enum WorkItemStateEvent { REOPEN CLOSE }
enum RelativePositionType { BEFORE AFTER }
enum WorkItemAwardEmojiUpdateAction { ADD REMOVE TOGGLE }
enum NotesFilterType { ALL_NOTES ONLY_COMMENTS ONLY_ACTIVITY }
enum HealthStatus { onTrack needsAttention atRisk }
enum IssueType { ISSUE INCIDENT TEST_CASE REQUIREMENT TASK TICKET OBJECTIVE KEY_RESULT EPIC }
enum IssuableState { opened closed locked all }
enum WorkItemWidgetType { %s }
enum WorkItemSort { updated_desc updated_asc created_desc created_asc UPDATED_DESC UPDATED_ASC CREATED_DESC CREATED_ASC TITLE_ASC TITLE_DESC
  START_DATE_ASC START_DATE_DESC DUE_DATE_ASC DUE_DATE_DESC CLOSED_AT_ASC CLOSED_AT_DESC RELATIVE_POSITION_ASC }
type TaskCompletionStatus { count: Int! completedCount: Int! }
interface WorkItemWidgetDefinition { type: WorkItemWidgetType! }
type WorkItemWidgetDefinitionGeneric implements WorkItemWidgetDefinition { type: WorkItemWidgetType! }
type WorkItemType { id: WorkItemsTypeID! name: String! iconName: String widgetDefinitions: [WorkItemWidgetDefinition!] }
interface WorkItemWidget { type: WorkItemWidgetType }
input WorkItemWidgetDescriptionInput { description: String! }
input WorkItemWidgetLabelsCreateInput { labelIds: [LabelID!]! }
input WorkItemWidgetLabelsUpdateInput { addLabelIds: [LabelID!] removeLabelIds: [LabelID!] }
input WorkItemWidgetHierarchyCreateInput { parentId: WorkItemID }
input WorkItemWidgetHierarchyUpdateInput { parentId: WorkItemID childrenIds: [WorkItemID!] adjacentWorkItemId: WorkItemID
  relativePosition: RelativePositionType }
input WorkItemWidgetStartAndDueDateUpdateInput { startDate: Date dueDate: Date isFixed: Boolean }
input WorkItemWidgetColorInput { color: Color! }
input WorkItemWidgetHealthStatusInput { healthStatus: HealthStatus }
input WorkItemWidgetAwardEmojiUpdateInput { action: WorkItemAwardEmojiUpdateAction! name: String! }
input WorkItemWidgetNotesInput { discussionLocked: Boolean! }
input WorkItemWidgetNotificationsUpdateInput { subscribed: Boolean! }
type WorkItemPermissions { readWorkItem: Boolean! updateWorkItem: Boolean! deleteWorkItem: Boolean! adminWorkItem: Boolean!
  createNote: Boolean! setWorkItemMetadata: Boolean! adminParentLink: Boolean! }
type NamespaceAvailableFeatures { hasEpicsFeature: Boolean! hasSubepicsFeature: Boolean! hasIterationsFeature: Boolean!
  hasIssuableHealthStatusFeature: Boolean! }
""" % " ".join(WIDGETS), **WHO)

FIELDS = {
    "Description": """description: String descriptionHtml: String edited: Boolean! lastEditedAt: Time lastEditedBy: UserCore
      taskCompletionStatus: TaskCompletionStatus!""",
    "Hierarchy": """parent: WorkItem hasParent: Boolean! hasChildren: Boolean! ancestors(%(p)s): WorkItemConnection
      children(state: WorkItemState %(p)s): WorkItemConnection""",
    "Labels": "allowsScopedLabels: Boolean labels(%(p)s): LabelConnection",
    "StartAndDueDate": """startDate: Date dueDate: Date isFixed: Boolean! rollUp: Boolean! startDateSourcingMilestone: Milestone
      dueDateSourcingMilestone: Milestone startDateSourcingWorkItem: WorkItem dueDateSourcingWorkItem: WorkItem""",
    "Color": "color: String textColor: String",
    "AwardEmoji": "awardEmoji(%(p)s): AwardEmojiConnection upvotes: Int! downvotes: Int! newCustomEmojiPath: String",
    "Notes": """discussionLocked: Boolean discussions(filter: NotesFilterType = ALL_NOTES after: String first: Int): DiscussionConnection
      notes(filter: NotesFilterType = ALL_NOTES %(p)s): NoteConnection!""",
    "HealthStatus": "healthStatus: HealthStatus",
    "Participants": "participants(%(p)s): UserCoreConnection",
    "Notifications": "subscribed: Boolean!",
}
for _name, _fields in FIELDS.items():
    sdl("type WorkItemWidget%s implements WorkItemWidget { type: WorkItemWidgetType %s }" % (_name, _fields % {"p": PAGE}), **WHO)
NAME_OF = {"".join("_" + c if c.isupper() and i else c for i, c in enumerate(n)).upper(): "WorkItemWidget" + n for n in FIELDS}
extend("WorkItem", """id: WorkItemID! iid: String! title: String! titleHtml: String description: String descriptionHtml: String name: String
  state: WorkItemState! confidential: Boolean! createdAt: Time! updatedAt: Time! closedAt: Time author: UserCore namespace: Namespace
  reference(full: Boolean = false): String! webUrl: String imported: Boolean! archived: Boolean! hidden: Boolean lockVersion: Int!
  workItemType: WorkItemType! userDiscussionsCount: Int! userPermissions: WorkItemPermissions!
  widgets(onlyTypes: [WorkItemWidgetType!] exceptTypes: [WorkItemWidgetType!]): [WorkItemWidget!]""", **WHO)
LIST = """search: String in: [IssuableSearchableField!] authorUsername: String confidential: Boolean labelName: [String!]
  myReactionEmoji: String iids: [String!] iid: String state: IssuableState types: [IssueType!] createdBefore: Time createdAfter: Time
  updatedBefore: Time updatedAfter: Time dueBefore: Time dueAfter: Time closedBefore: Time closedAfter: Time parentIds: [WorkItemID!]
  sort: WorkItemSort = CREATED_DESC includeAncestors: Boolean = false includeDescendants: Boolean = false timeframe: Timeframe"""
for _name in ("Group", "Namespace"):
    extend(_name, """workItem(iid: String!): WorkItem workItems(%s %s): WorkItemConnection
      workItemTypes(name: IssueType %s): WorkItemTypeConnection""" % (LIST, PAGE, PAGE), **WHO)
extend("Namespace", "availableFeatures: NamespaceAvailableFeatures!", since=(18, 3), **WHO)
extend("Query", """workItem(id: WorkItemID!): WorkItem
  workItemsByReference(contextNamespacePath: ID refs: [String!]! %s): WorkItemConnection""" % PAGE, **WHO)


# ---- nodes -----------------------------------------------------------------------------------

def item_gid(ctx, r):
    return gid("WorkItem", epics.work_item_id(ctx.db, r))


def type_node(n=EPIC):
    return {"id": gid("WorkItems::Type", n), "name": TYPES[n], "iconName": "issue-type-" + TYPES[n].lower().replace(" ", "-"),
            "widgetDefinitions": [{"__typename": "WorkItemWidgetDefinitionGeneric", "type": w} for w in WIDGETS]}


def item_node(ctx, r):
    if r is None:
        return None
    g = epics.group_of(ctx.db, r)

    def permissions():
        w, d = can(ctx, g, PLANNER), can(ctx, g, OWNER)
        return {"readWorkItem": True, "updateWorkItem": w, "deleteWorkItem": d, "adminWorkItem": w,
                "createNote": ctx.user is not None and awards.may_award(ctx, g), "setWorkItemMetadata": w, "adminParentLink": w}
    return {"row": r, "id": item_gid(ctx, r), "iid": str(r["iid"]), "title": r["title"], "titleHtml": html(r["title"]), "name": r["title"],
            "description": r["description"], "descriptionHtml": html(r["description"]),
            "state": "CLOSED" if r["state"] == "closed" else "OPEN", "confidential": bool(r["confidential"]), "createdAt": r["created_at"],
            "updatedAt": r["updated_at"], "closedAt": r["closed_at"], "author": lambda: user_by_id(ctx, r["author_id"]),
            "namespace": lambda: group_node(ctx, g), "webUrl": "%s/groups/%s/-/epics/%d" % (ctx.app.base_url, g["full_path"], r["iid"]),
            "imported": False, "archived": lambda: epics.archived(ctx, g), "hidden": False, "lockVersion": r["lock_version"],
            "workItemType": type_node,
            "userDiscussionsCount": lambda: ctx.db.val("SELECT count(DISTINCT discussion_id) FROM notes WHERE noteable_id=? AND system=0", r["id"]),
            "userPermissions": permissions}


@resolver("WorkItem", "reference")
def w_reference(obj, ctx, a):
    return epics.reference(ctx.db, obj["row"], {"id": 0} if a.get("full") else None)


def widget(ctx, r, kind):
    out = {"__typename": NAME_OF[kind], "type": kind, "row": r}
    db = ctx.db
    if kind == "DESCRIPTION":
        out.update(description=r["description"], descriptionHtml=html(r["description"]), edited=r["last_edited_at"] is not None,
                   lastEditedAt=r["last_edited_at"], lastEditedBy=lambda: user_by_id(ctx, r["last_edited_by_id"]),
                   taskCompletionStatus={"count": 0, "completedCount": 0})
    elif kind == "HIERARCHY":
        out.update(parent=lambda: parent_node(ctx, r), hasParent=r["parent_id"] is not None,
                   hasChildren=lambda: bool(db.val("SELECT 1 FROM epics WHERE parent_id=?", r["id"])))
    elif kind == "LABELS":
        out.update(allowsScopedLabels=True)
    elif kind == "START_AND_DUE_DATE":
        fixed = bool(r["start_date_is_fixed"] or r["due_date_is_fixed"])

        def source(column):
            return lambda: item_node(ctx, epics.by_id(db, r[column]))
        out.update(startDate=r["start_date"], dueDate=r["end_date"], isFixed=fixed, rollUp=True,
                   startDateSourcingWorkItem=source("start_date_sourcing_epic_id"), dueDateSourcingWorkItem=source("due_date_sourcing_epic_id"))
    elif kind == "COLOR":
        out.update(color=r["color"], textColor=colors.text_color(r["color"]))
    elif kind == "AWARD_EMOJI":
        out.update(upvotes=lambda: epics.votes(db, r, "thumbsup"), downvotes=lambda: epics.votes(db, r, "thumbsdown"))
    elif kind == "NOTES":
        out.update(discussionLocked=bool(r["discussion_locked"]))
    elif kind == "HEALTH_STATUS":
        out.update(healthStatus=r["health_status"])
    elif kind == "NOTIFICATIONS":
        out.update(subscribed=lambda: epics.subscribed(ctx, r))
    return out


def parent_node(ctx, r):
    p = epics.by_id(ctx.db, r["parent_id"])
    return item_node(ctx, p) if p is not None and epics.can_read_epic(ctx, p) else None


@resolver("WorkItem", "widgets")
def w_widgets(obj, ctx, a):
    only, but = a.get("onlyTypes"), a.get("exceptTypes") or ()
    return [widget(ctx, obj["row"], k) for k in SHOWN if (only is None or k in only) and k not in but]


@resolver("WorkItemWidgetHierarchy", "children")
def h_children(obj, ctx, a):
    rows = [x for x in epics.children(ctx.db, obj["row"]["id"]) if epics.can_read_epic(ctx, x)]
    if a.get("state"):
        rows = [x for x in rows if (x["state"] == "closed") == (a["state"] == "CLOSED")]
    from .gql_epics import TREE_ORDER
    return connection(ctx.db, "SELECT * FROM epics", "id IN (%s)" % (",".join(str(x["id"]) for x in rows) or "0"), [], TREE_ORDER[0],
                      lambda x: item_node(ctx, x), a)


@resolver("WorkItemWidgetHierarchy", "ancestors")
def h_ancestors(obj, ctx, a):
    rows = [x for x in reversed(epics.ancestors(ctx.db, obj["row"])) if epics.can_read_epic(ctx, x)]
    return plain_connection([item_node(ctx, x) for x in rows])


@resolver("WorkItemWidgetLabels", "labels")
def l_labels(obj, ctx, a):
    return connection(ctx.db, "SELECT * FROM labels", "id IN (SELECT label_id FROM epic_labels WHERE epic_id=?)", [obj["row"]["id"]],
                      ["title", "id"], label_node, a)


@resolver("WorkItemWidgetAwardEmoji", "awardEmoji")
def a_awards(obj, ctx, a):
    return awards_connection(ctx, "Epic", obj["row"]["id"], a)


@resolver("WorkItemWidgetNotes", "notes")
def n_notes(obj, ctx, a):
    return notes_connection(ctx, obj["row"], a)


@resolver("WorkItemWidgetNotes", "discussions")
def n_discussions(obj, ctx, a):
    return discussions_connection(ctx, obj["row"], a)


@resolver("WorkItemWidgetParticipants", "participants")
def p_participants(obj, ctx, a):
    from .gql_epics import e_participants
    return e_participants(obj, ctx, a)


# ---- queries ---------------------------------------------------------------------------------

def row_of(ctx, text):
    """The epic behind a work item's global id, where the caller may read it; or None."""
    r = epics.by_id(ctx.db, ctx.db.val("SELECT epic_id FROM work_items WHERE id=?", ungid(text, "WorkItem")))
    return r if r is not None and features.licensed(ctx) and epics.can_read_epic(ctx, r) else None


@resolver("Query", "workItem")
def q_item(obj, ctx, a):
    r = row_of(ctx, a["id"])
    if r is None:
        raise GqlError(NOT_FOUND)
    return item_node(ctx, r)


@resolver("Query", "workItemsByReference")
def q_by_reference(obj, ctx, a):
    from .quick_actions import epic_of
    g = ctx.db.one("SELECT * FROM groups WHERE full_path=?", a.get("contextNamespacePath") or "")
    rows = [epic_of(ctx, g, ref) for ref in a["refs"]] if features.licensed(ctx) else []
    return plain_connection([item_node(ctx, r) for r in rows if r is not None])


SORTS = {"created": "created_at", "updated": "updated_at", "title": "lower(title)", "start_date": "coalesce(start_date,'')",
         "due_date": "coalesce(end_date,'')", "closed_at": "coalesce(closed_at,'')",
         "relative_position": "coalesce(relative_position, 9223372036854775807)"}


def items(obj, ctx, a):
    from .gql_epics import filters
    if not features.licensed(ctx):
        return None
    g = obj["row"]
    where, args = filters(ctx, dict(a, sort=None))
    where = "%s AND %s" % (epics.visible_condition(ctx, g, a.get("includeAncestors"), a.get("includeDescendants")), where)
    if a.get("types") is not None and "EPIC" not in a["types"]:
        where += " AND 0"
    if a.get("parentIds") is not None:
        if len(a["parentIds"]) > 100:
            raise GqlError("You can only provide up to 100 parent IDs at once.")
        parents = [row_of(ctx, x) for x in a["parentIds"]]
        where += " AND parent_id IN (%s)" % (",".join(str(x["id"]) for x in parents if x is not None) or "0")
    for arg, op in (("dueBefore", "<="), ("dueAfter", ">=")):
        if a.get(arg):
            where += " AND end_date %s ?" % op
            args.append(a[arg][:10])
    name, way = (a.get("sort") or "CREATED_DESC").lower().rsplit("_", 1)
    desc = way == "desc"
    return connection(ctx.db, "SELECT * FROM epics", where, args, [SORTS[name], "id"], lambda r: item_node(ctx, r), a, desc)


def item(obj, ctx, a):
    if not features.licensed(ctx) or not a["iid"].isdigit():
        return None
    r = ctx.db.one("SELECT * FROM epics WHERE group_id=? AND iid=?", obj["row"]["id"], int(a["iid"]))
    return item_node(ctx, r) if r is not None and epics.can_read_epic(ctx, r) else None


def types(obj, ctx, a):
    """A group has epics and nothing else, and those only with a licence."""
    have = [EPIC] if features.licensed(ctx) and a.get("name") in (None, "EPIC") else []
    return plain_connection([type_node(n) for n in have])


for _name in ("Group", "Namespace"):
    resolver(_name, "workItems")(items)
    resolver(_name, "workItem")(item)
    resolver(_name, "workItemTypes")(types)


@resolver("Namespace", "availableFeatures")
def n_features(obj, ctx, a):
    return {"hasEpicsFeature": features.licensed(ctx), "hasSubepicsFeature": features.subepics(ctx),
            "hasIterationsFeature": features.licensed(ctx), "hasIssuableHealthStatusFeature": features.licensed(ctx) and ctx.ultimate()}


# ---- mutations -------------------------------------------------------------------------------

COMMON = """confidential: Boolean descriptionWidget: WorkItemWidgetDescriptionInput
  startAndDueDateWidget: WorkItemWidgetStartAndDueDateUpdateInput colorWidget: WorkItemWidgetColorInput
  healthStatusWidget: WorkItemWidgetHealthStatusInput"""
NO_ITEM = {"workItem": None}


def common(ctx, i):
    """The widgets that creation and change have in common."""
    p = {}
    for k in ("title", "confidential"):
        if i.get(k) is not None:
            p[k] = i[k]
    if i.get("description") is not None:
        p["description"] = i["description"]
    if i.get("descriptionWidget"):
        p["description"] = i["descriptionWidget"]["description"]
    if i.get("colorWidget"):
        p["color"] = i["colorWidget"]["color"]
    if i.get("healthStatusWidget") and ctx.ultimate():
        p["health_status"] = i["healthStatusWidget"].get("healthStatus")
    d = i.get("startAndDueDateWidget")
    if d is not None:
        # One switch for both dates; dates without it are fixed ones.
        fixed = d.get("isFixed")
        fixed = fixed if fixed is not None else "startDate" in d or "dueDate" in d
        p["start_date_is_fixed"] = p["due_date_is_fixed"] = fixed
        for src, dst in (("startDate", "start_date_fixed"), ("dueDate", "due_date_fixed")):
            if src in d:
                p[dst] = d[src] and d[src][:10]
    return p


def parent_for(ctx, text, payload):
    """A parent that must be there and may be used."""
    parent = row_of(ctx, text)
    if parent is None:
        raise Refused("No matching work item found. Make sure you are adding a valid ID.", payload=payload)
    if not features.subepics(ctx) or not can(ctx, epics.group_of(ctx.db, parent), GUEST):
        raise Refused("No matching work item found. Make sure that you are adding a valid work item ID.", payload=payload)
    return parent


def at_start(ctx):
    """New children of the hierarchy widget stand at the end."""
    return ctx.app.config["child_position"] == "start"


@mutation("workItemCreate", COMMON + """ title: String! workItemTypeId: WorkItemsTypeID! namespacePath: ID projectPath: ID createdAt: Time
  description: String labelsWidget: WorkItemWidgetLabelsCreateInput hierarchyWidget: WorkItemWidgetHierarchyCreateInput""",
          "workItem: WorkItem", **WHO)
def item_create(ctx, i):
    if (i.get("namespacePath") is None) == (i.get("projectPath") is None):
        raise GqlError("One and only one of namespacePath or projectPath is required.")
    if i.get("projectPath") is not None:
        raise GqlError(NOT_FOUND)
    g = group_for(ctx, i["namespacePath"], PLANNER)
    kind = ungid(i["workItemTypeId"], "WorkItems::Type")
    if kind not in TYPES:
        raise GqlError(NOT_FOUND)
    if kind != EPIC or not features.licensed(ctx):
        raise Refused("%s type is not available for the given group" % TYPES[kind], payload=NO_ITEM)
    need_write(ctx, g)
    p = common(ctx, i)
    if i.get("labelsWidget"):
        p["label_ids"] = label_ids(i["labelsWidget"]["labelIds"])
    if i.get("hierarchyWidget") and i["hierarchyWidget"].get("parentId"):
        p["parent"] = parent_for(ctx, i["hierarchyWidget"]["parentId"], NO_ITEM)
    if i.get("createdAt") and may_set_times(ctx, g):
        p["created_at"] = i["createdAt"]
    return {"workItem": item_node(ctx, save(ctx, g, None, p, NO_ITEM, at_start=at_start(ctx)))}


def item_for(ctx, text, minimum=PLANNER):
    r = row_of(ctx, text)
    g = r and epics.group_of(ctx.db, r)
    if g is None or not can(ctx, g, minimum):
        raise GqlError(NOT_FOUND)
    need_write(ctx, g)
    return r, g


@mutation("workItemUpdate", COMMON + """ id: WorkItemID! title: String stateEvent: WorkItemStateEvent
  labelsWidget: WorkItemWidgetLabelsUpdateInput hierarchyWidget: WorkItemWidgetHierarchyUpdateInput
  awardEmojiWidget: WorkItemWidgetAwardEmojiUpdateInput notesWidget: WorkItemWidgetNotesInput
  notificationsWidget: WorkItemWidgetNotificationsUpdateInput""", "workItem: WorkItem", **WHO)
def item_update(ctx, i):
    only_award = set(i) <= {"id", "awardEmojiWidget", "notificationsWidget", "clientMutationId"}
    r, g = item_for(ctx, i["id"], GUEST if only_award else PLANNER)
    payload = {"workItem": item_node(ctx, r)}
    p = common(ctx, i)
    w = i.get("labelsWidget") or {}
    for word in ("add", "remove"):
        if w.get(word + "LabelIds") is not None:
            p[word + "_label_ids"] = label_ids(w[word + "LabelIds"])
    if i.get("stateEvent"):
        p["state_event"] = i["stateEvent"].lower()
    h = i.get("hierarchyWidget") or {}
    if h.get("childrenIds") is not None and "parentId" in h:
        raise Refused("One and only one of children, parent or remove_child is required.", payload=payload)
    place = placement(ctx, r, h, payload)
    if "parentId" in h:
        p["parent"] = parent_for(ctx, h["parentId"], payload) if h["parentId"] else None
    r = save(ctx, g, r, p, payload, at_start=at_start(ctx))
    if place:
        epics.put_beside(ctx.db, r, epics.by_id(ctx.db, place[0]["id"]), after=place[1])
    if h.get("childrenIds") is not None:
        add_children(ctx, r, h["childrenIds"], payload)
    if i.get("awardEmojiWidget"):
        award(ctx, r, i["awardEmojiWidget"], payload)
    if i.get("notesWidget"):
        ctx.db.update("epics", r["id"], discussion_locked=int(i["notesWidget"]["discussionLocked"]))
    if i.get("notificationsWidget"):
        epics.subscribe(ctx, r, i["notificationsWidget"]["subscribed"])
    return {"workItem": item_node(ctx, epics.by_id(ctx.db, r["id"]))}


def placement(ctx, r, h, payload):
    """-> (sibling, behind it?) or None; the sibling must have the parent that the item is going to have."""
    if (h.get("adjacentWorkItemId") is None) != (h.get("relativePosition") is None):
        raise Refused("Both adjacentWorkItemId and relativePosition are required.", payload=payload)
    if h.get("adjacentWorkItemId") is None:
        return None
    other = row_of(ctx, h["adjacentWorkItemId"])
    if other is None:
        raise Refused("No matching work item found. Make sure you are adding a valid ID.", payload=payload)
    parent = row_of(ctx, h["parentId"]) if h.get("parentId") else None
    if other["parent_id"] is None or other["parent_id"] != (parent["id"] if parent is not None else r["parent_id"]):
        raise Refused("The adjacent work item's parent must match the %s parent work item." % ("new" if parent is not None else "current"),
                      payload=payload)
    return other, h["relativePosition"] == "AFTER"


def add_children(ctx, r, ids, payload):
    out = []
    for text in ids:
        child = row_of(ctx, text)
        if child is None or not features.subepics(ctx) or not can(ctx, epics.group_of(ctx.db, child), GUEST):
            raise Refused("No matching work item found. Make sure you are adding a valid ID.", payload=payload)
        try:
            epics.set_parent(ctx, child, r, at_start(ctx), now())
        except epics.Invalid as e:
            raise Refused(*messages(e.fields), payload=payload) from None
        out.append(epics.by_id(ctx.db, child["id"]))
    return out


def award(ctx, r, w, payload):
    have, complaint = awards.mine(ctx, "Epic", r["id"], w["name"]), None
    if w["action"] == "TOGGLE":
        _, complaint = awards.toggle(ctx, "Epic", r["id"], w["name"])
    elif w["action"] == "ADD":
        _, complaint = awards.add(ctx, "Epic", r["id"], w["name"])
    elif have is None:
        complaint = "User has not awarded emoji of type %s on the awardable" % w["name"]
    else:
        awards.take_away(ctx, have)
    if complaint:
        raise Refused(complaint, payload=payload)


@mutation("workItemDelete", "id: WorkItemID!", "namespace: Namespace", **WHO)
def item_delete(ctx, i):
    r, g = item_for(ctx, i["id"], OWNER)
    epics.delete(ctx.db, [r["id"]])
    return {"namespace": group_node(ctx, g)}


@mutation("workItemsHierarchyReorder", """id: WorkItemID! parentId: WorkItemID adjacentWorkItemId: WorkItemID
  relativePosition: RelativePositionType""", "workItem: WorkItem parentWorkItem: WorkItem adjacentWorkItem: WorkItem", since=(17, 7),
          head="workItemsHierarchyReorder", **WHO)
def hierarchy_reorder(ctx, i):
    r, g = item_for(ctx, i["id"])
    payload = {"workItem": item_node(ctx, r), "parentWorkItem": parent_node(ctx, r), "adjacentWorkItem": None}
    place = placement(ctx, r, i, payload)
    if i.get("parentId") is None and place is None:
        raise GqlError("At least one of parentId or adjacentWorkItemId is required.")
    if i.get("parentId"):
        r = save(ctx, g, r, {"parent": parent_for(ctx, i["parentId"], payload)}, payload, at_start=at_start(ctx))
    if place:
        epics.put_beside(ctx.db, r, epics.by_id(ctx.db, place[0]["id"]), after=place[1])
    r = epics.by_id(ctx.db, r["id"])
    return {"workItem": item_node(ctx, r), "parentWorkItem": parent_node(ctx, r), "adjacentWorkItem": item_node(ctx, place and place[0])}


@mutation("workItemHierarchyAddChildrenItems", "id: WorkItemID! childrenIds: [WorkItemID!]!", "addedChildren: [WorkItem!]!", since=(18, 2), **WHO)
def hierarchy_add(ctx, i):
    r, g = item_for(ctx, i["id"])
    return {"addedChildren": [item_node(ctx, x) for x in add_children(ctx, r, i["childrenIds"], {"addedChildren": []})]}


@mutation("workItemSubscribe", "id: WorkItemID! subscribed: Boolean!", "workItem: WorkItem", since=(17, 3), **WHO)
def item_subscribe(ctx, i):
    r = row_of(ctx, i["id"])
    if r is None or ctx.user is None or not can_read(ctx, epics.group_of(ctx.db, r)):
        raise GqlError(NOT_FOUND)
    epics.subscribe(ctx, r, i["subscribed"])
    return {"workItem": item_node(ctx, r)}
