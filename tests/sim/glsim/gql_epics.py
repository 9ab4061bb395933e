"""GraphQL: epics as such (Epic, Group.epics, createEpic, ...), deprecated since 17.5."""
from . import awards, colors, epics, features, labels
from .auth import GUEST, OWNER, PLANNER, ancestor_ids, archived, can, need_unarchived
from .errors import ApiError
from .gql import GqlError, NOT_FOUND, Refused, connection_type, extend, gid, mutation, resolver, sdl, ungid
from .gql_groups import PAGE, group_for, group_node, label_node, messages, user_by_id
from .gql_notes import awards_connection, discussions_connection, notes_connection
from .milestones import lenient_date
from .paging import connection

WHO = {"ee": True, "family": "epics"}
for _name in ("Epic", "Event"):
    connection_type(_name, **WHO)
sdl("""
enum EpicState { all opened closed }
enum EpicStateEvent { CLOSE REOPEN }
enum MoveType { before after }
enum EpicSort { start_date_desc start_date_asc end_date_desc end_date_asc START_DATE_DESC START_DATE_ASC END_DATE_DESC END_DATE_ASC
  TITLE_DESC TITLE_ASC CREATED_AT_DESC CREATED_AT_ASC UPDATED_AT_DESC UPDATED_AT_ASC }
enum EventAction { CREATED CLOSED REOPENED COMMENTED }
type Event { id: ID! action: EventAction! author: UserCore! createdAt: Time! updatedAt: Time! }
type EpicPermissions { readEpic: Boolean! readEpicIid: Boolean! createEpic: Boolean! updateEpic: Boolean! adminEpic: Boolean!
  destroyEpic: Boolean! awardEmoji: Boolean! createNote: Boolean! }
type EpicDescendantCount { openedEpics: Int closedEpics: Int openedIssues: Int closedIssues: Int }
input NegatedEpicFilterInput { labelName: [String] authorUsername: String myReactionEmoji: String }
input EpicTreeNodeFieldsInputType { id: EpicTreeSortingID! adjacentReferenceId: EpicTreeSortingID relativePosition: MoveType
  newParentId: EpicID }
""", **WHO)
sdl("enum IssuableSearchableField { TITLE DESCRIPTION }\ninput Timeframe { start: Date! end: Date! }", ee=True)
FILTERS = """iid: ID iids: [ID!] state: EpicState in: [IssuableSearchableField!] sort: EpicSort search: String authorUsername: String
  labelName: [String!] confidential: Boolean iidStartsWith: String createdAfter: Time createdBefore: Time updatedAfter: Time
  updatedBefore: Time myReactionEmoji: String timeframe: Timeframe not: NegatedEpicFilterInput
  includeAncestorGroups: Boolean = %s includeDescendantGroups: Boolean = true"""
extend("Group", "epic(%s): Epic epics(%s %s): EpicConnection" % (FILTERS % "false", PAGE, FILTERS % "false"), **WHO)
extend("Epic", """id: ID! iid: <until 17.0: ID!><17.0: String!> title: String titleHtml: String description: String descriptionHtml: String state: EpicState!
  confidential: Boolean group: Group! parent: Epic author: UserCore! startDate: Time startDateFixed: Time
  startDateFromInheritedSource: Time startDateFromMilestones: Time startDateIsFixed: Boolean dueDate: Time dueDateFixed: Time
  dueDateFromInheritedSource: Time dueDateFromMilestones: Time dueDateIsFixed: Boolean createdAt: Time updatedAt: Time closedAt: Time
  hasChildren: Boolean! hasIssues: Boolean! hasParent: Boolean! webPath: String! webUrl: String! relativePosition: Int
  relationPath: String reference(full: Boolean = false): String! subscribed: Boolean! upvotes: Int! downvotes: Int!
  userNotesCount: Int! userDiscussionsCount: Int! descendantCounts: EpicDescendantCount userPermissions: EpicPermissions!
  labels(%(p)s): LabelConnection awardEmoji(%(p)s): AwardEmojiConnection notes(%(p)s): NoteConnection!
  discussions(%(p)s): DiscussionConnection! events(%(p)s): EventConnection participants(%(p)s): UserCoreConnection
  children(%(p)s %(down)s): EpicConnection ancestors(%(p)s %(up)s): EpicConnection
  """ % {"p": PAGE, "down": FILTERS % "false", "up": FILTERS % "true"}, **WHO)
extend("Epic", "color: String textColor: String", since=(16, 0), **WHO)


# ---- nodes -----------------------------------------------------------------------------------

def epic_gid(eid):
    return gid("Epic", eid)


def epic_node(ctx, r):
    g = epics.group_of(ctx.db, r)
    web = "/groups/%s/-/epics/%d" % (g["full_path"], r["iid"])

    def permissions():
        w = can(ctx, g, PLANNER)
        return {"readEpic": True, "readEpicIid": True, "createEpic": w, "updateEpic": w, "adminEpic": w, "destroyEpic": can(ctx, g, OWNER),
                "awardEmoji": ctx.user is not None and awards.may_award(ctx, g), "createNote": ctx.user is not None and awards.may_award(ctx, g)}

    def parent():
        p = epics.by_id(ctx.db, r["parent_id"])
        return epic_node(ctx, p) if p is not None and epics.can_read_epic(ctx, p) else None

    def count(cond):
        return lambda: ctx.db.val("SELECT count(*) FROM notes WHERE noteable_id=? AND system=0 AND " + cond, r["id"])
    return {"row": r, "id": epic_gid(r["id"]), "iid": str(r["iid"]), "title": r["title"], "titleHtml": labels.html(r["title"]),
            "description": r["description"], "descriptionHtml": labels.html(r["description"]), "state": r["state"],
            "confidential": bool(r["confidential"]), "group": lambda: group_node(ctx, g), "parent": parent,
            "author": lambda: user_by_id(ctx, r["author_id"]), "startDate": r["start_date"], "startDateFixed": r["start_date_fixed"],
            "startDateFromInheritedSource": None if r["start_date_is_fixed"] else r["start_date"], "startDateFromMilestones": None,
            "startDateIsFixed": bool(r["start_date_is_fixed"]), "dueDate": r["end_date"], "dueDateFixed": r["due_date_fixed"],
            "dueDateFromInheritedSource": None if r["due_date_is_fixed"] else r["end_date"], "dueDateFromMilestones": None,
            "dueDateIsFixed": bool(r["due_date_is_fixed"]), "createdAt": r["created_at"], "updatedAt": r["updated_at"],
            "closedAt": r["closed_at"],
            "hasChildren": lambda: bool(ctx.db.val("SELECT 1 FROM epics WHERE parent_id=?", r["id"])), "hasIssues": False,
            "hasParent": r["parent_id"] is not None, "webPath": web, "webUrl": ctx.app.base_url + web,
            "relativePosition": r["relative_position"],
            "relationPath": web if r["parent_id"] else None, "subscribed": lambda: epics.subscribed(ctx, r),
            "upvotes": lambda: epics.votes(ctx.db, r, "thumbsup"), "downvotes": lambda: epics.votes(ctx.db, r, "thumbsdown"),
            "userNotesCount": count("1"), "userDiscussionsCount": count("id=(SELECT min(n.id) FROM notes n WHERE "
                                                                        "n.discussion_id=notes.discussion_id)"),
            "userPermissions": permissions, "color": r["color"], "textColor": colors.text_color(r["color"])}


@resolver("Epic", "reference")
def e_reference(obj, ctx, a):
    r = obj["row"]
    return epics.reference(ctx.db, r, {"id": 0} if a.get("full") else None)


@resolver("Epic", "labels")
def e_labels(obj, ctx, a):
    return connection(ctx.db, "SELECT * FROM labels", "id IN (SELECT label_id FROM epic_labels WHERE epic_id=?)", [obj["row"]["id"]],
                      ["title", "id"], label_node, a)


@resolver("Epic", "awardEmoji")
def e_awards(obj, ctx, a):
    return awards_connection(ctx, "Epic", obj["row"]["id"], a)


@resolver("Epic", "notes")
def e_notes(obj, ctx, a):
    return notes_connection(ctx, obj["row"], a)


@resolver("Epic", "discussions")
def e_discussions(obj, ctx, a):
    return discussions_connection(ctx, obj["row"], a)


@resolver("Epic", "participants")
def e_participants(obj, ctx, a):
    from .gql_groups import user_node
    r = obj["row"]
    return connection(ctx.db, "SELECT * FROM users", "id=? OR id IN (SELECT author_id FROM notes WHERE noteable_id=?)",
                      [r["author_id"], r["id"]], ["id"], lambda u: user_node(ctx, u), a)


@resolver("Epic", "events")
def e_events(obj, ctx, a):
    return connection(ctx.db, "SELECT * FROM events", "target_type='Epic' AND target_id=?", [obj["row"]["id"]], ["id"],
                      lambda e: {"id": gid("Event", e["id"]), "action": e["action"].upper(), "createdAt": e["created_at"],
                                 "updatedAt": e["created_at"], "author": lambda: user_by_id(ctx, e["author_id"])}, a)


@resolver("Epic", "descendantCounts")
def e_counts(obj, ctx, a):
    todo, n = [obj["row"]["id"]], {"opened": 0, "closed": 0}
    while todo:
        rows = ctx.db.all("SELECT id, state FROM epics WHERE parent_id IN (%s)" % ",".join(map(str, todo)))
        for x in rows:
            n[x["state"]] += 1
        todo = [x["id"] for x in rows]
    return {"openedEpics": n["opened"], "closedEpics": n["closed"], "openedIssues": 0, "closedIssues": 0}


# ---- lists -----------------------------------------------------------------------------------

SORTS = {"start_date_asc": (["coalesce(start_date,'9999-99')", "-id"], False), "start_date_desc": (["coalesce(start_date,'')", "id"], True),
         "end_date_asc": (["coalesce(end_date,'9999-99')", "-id"], False), "end_date_desc": (["coalesce(end_date,'')", "id"], True),
         "title_asc": (["lower(title)", "-id"], False), "title_desc": (["lower(title)", "id"], True),
         "created_at_asc": (["created_at", "id"], False), "created_at_desc": (["created_at", "id"], True),
         "updated_at_asc": (["updated_at", "id"], False), "updated_at_desc": (["updated_at", "id"], True)}
TREE_ORDER = (["coalesce(relative_position, 9223372036854775807)", "-id"], False)


def filters(ctx, a):
    """The arguments of an epics field -> (SQL, arguments)"""
    no = a.get("not") or {}
    where, args = epics.conditions(ctx, {
        "state": a.get("state") or "all", "search": None if a.get("in") else a.get("search"), "author_username": a.get("authorUsername"),
        "labels": a.get("labelName"), "confidential": a.get("confidential"), "my_reaction_emoji": a.get("myReactionEmoji"),
        "not": {"author_username": no.get("authorUsername"), "labels": no.get("labelName")},
        **{"%s_%s" % (col, word): a.get(col + word.capitalize()) for col in ("created", "updated", "closed") for word in ("after", "before")}})
    if a.get("in") and a.get("search"):
        where.append("(%s)" % " OR ".join("instr(lower(coalesce(%s,'')), lower(?))" % f.lower() for f in a["in"]))
        args += [a["search"]] * len(a["in"])
    iids = ([a["iid"]] if a.get("iid") is not None else []) + list(a.get("iids") or ())
    if a.get("iid") is not None or a.get("iids") is not None:
        where.append("iid IN (%s)" % (",".join(str(int(i)) for i in iids if str(i).isdigit()) or "0"))
    if a.get("iidStartsWith"):
        where.append("CAST(iid AS TEXT) LIKE ?")
        args.append(a["iidStartsWith"].replace("%", "") + "%")
    if a.get("timeframe"):
        where.append("(start_date IS NOT NULL OR end_date IS NOT NULL) AND coalesce(start_date,'')<=? AND coalesce(end_date,'9999-99')>=?")
        args += [a["timeframe"]["end"][:10], a["timeframe"]["start"][:10]]
    return " AND ".join(where) or "1", args


def group_epics(ctx, g, a):
    where, args = filters(ctx, a)
    where = "%s AND %s" % (epics.visible_condition(ctx, g, a.get("includeAncestorGroups"), a.get("includeDescendantGroups", True)), where)
    keys, desc = SORTS[a["sort"].lower()] if a.get("sort") else (["id"], True)
    return connection(ctx.db, "SELECT * FROM epics", where, args, keys, lambda r: epic_node(ctx, r), a, desc)


@resolver("Group", "epics")
def g_epics(obj, ctx, a):
    return group_epics(ctx, obj["row"], a) if features.licensed(ctx) else None


@resolver("Group", "epic")
def g_epic(obj, ctx, a):
    """The group's own one before those of other groups that have the same iid."""
    if not features.licensed(ctx):
        return None
    for own in (dict(a, includeAncestorGroups=False, includeDescendantGroups=False), a):
        nodes = group_epics(ctx, obj["row"], dict(own, first=1))["nodes"]
        if nodes:
            return nodes[0]
    return None


@resolver("Epic", "children")
def e_children(obj, ctx, a):
    """In the order of the tree, from groups wherever they are, as far as the caller may read."""
    where, args = filters(ctx, a)
    keys, desc = SORTS[a["sort"].lower()] if a.get("sort") else TREE_ORDER
    rows = epics.children(ctx.db, obj["row"]["id"])
    ids = [str(x["id"]) for x in rows if epics.can_read_epic(ctx, x)]
    return connection(ctx.db, "SELECT * FROM epics", "id IN (%s) AND %s" % (",".join(ids) or "0", where), args, keys,
                      lambda r: epic_node(ctx, r), a, desc)


@resolver("Epic", "ancestors")
def e_ancestors(obj, ctx, a):
    where, args = filters(ctx, a)
    above = epics.ancestors(ctx.db, obj["row"])
    ids = [x["id"] for x in above if epics.can_read_epic(ctx, x)]
    rank = "CASE id %s END" % " ".join("WHEN %d THEN %d" % (x, -i) for i, x in enumerate(ids)) if ids else "id"
    return connection(ctx.db, "SELECT * FROM epics", "id IN (%s) AND %s" % (",".join(map(str, ids)) or "0", where), args, [rank, "id"],
                      lambda r: epic_node(ctx, r), a)


# ---- mutations -------------------------------------------------------------------------------

FIELDS = """title: String description: String confidential: Boolean color: String startDateFixed: String startDateIsFixed: Boolean
  dueDateFixed: String dueDateIsFixed: Boolean addLabelIds: [ID!] removeLabelIds: [ID!] <16.1: addLabels: [String!] removeLabels: [String!]>
  groupPath: ID!"""


def writable(ctx, full_path, minimum=PLANNER):
    g = group_for(ctx, full_path, minimum)
    need_write(ctx, g)
    return g


def need_write(ctx, g):
    if not features.licensed(ctx):
        raise GqlError(NOT_FOUND)
    try:
        need_unarchived(ctx, g)
    except ApiError:
        raise GqlError(NOT_FOUND) from None


def label_ids(ids):
    return [ungid(x, "Label", "GroupLabel") if ":" in x else int(x) for x in ids or ()]


def params_of(ctx, g, i):
    p = {}
    for src, dst in (("title", "title"), ("description", "description"), ("confidential", "confidential"), ("color", "color"),
                     ("startDateIsFixed", "start_date_is_fixed"), ("dueDateIsFixed", "due_date_is_fixed")):
        if i.get(src) is not None or src == "description" and src in i:
            p[dst] = i[src]
    for src, dst in (("startDateFixed", "start_date_fixed"), ("dueDateFixed", "due_date_fixed")):
        if src in i:
            p[dst] = lenient_date(i[src])
    for word in ("add", "remove"):
        if i.get(word + "LabelIds") is not None or i.get(word + "Labels") is not None:
            ids = label_ids(i.get(word + "LabelIds"))
            if word == "add":
                ids += labels.find_or_create(ctx, g, i.get("addLabels") or [])
            else:
                ids += [x["id"] for t in i.get("removeLabels") or () for x in ctx.db.all(
                    "SELECT id FROM labels WHERE title=? AND group_id IN (%s)" % ",".join(map(str, ancestor_ids(g["tids"]))), t)]
            p[word + "_label_ids"] = ids
    if i.get("stateEvent"):
        p["state_event"] = i["stateEvent"].lower()
    return p


def save(ctx, g, r, p, payload, **kw):
    """epics.save() with the refusals of GraphQL."""
    try:
        return epics.save(ctx, g, r, p, **kw)
    except epics.Invalid as e:
        raise Refused(*messages(e.fields), payload=payload) from None


@mutation("createEpic", FIELDS, "epic: Epic", **WHO)
def create_epic(ctx, i):
    g = writable(ctx, i["groupPath"])
    if len(set(i) - {"groupPath", "clientMutationId"}) == 0:
        raise GqlError("The list of epic attributes is empty")
    return {"epic": epic_node(ctx, save(ctx, g, None, params_of(ctx, g, i), {"epic": None}))}


def epic_for(ctx, i):
    g = writable(ctx, i["groupPath"])
    r = ctx.db.one("SELECT * FROM epics WHERE group_id=? AND iid=?", g["id"], int(i["iid"]) if str(i["iid"]).isdigit() else 0)
    if r is None or not epics.can_read_epic(ctx, r, g):
        raise GqlError(NOT_FOUND)
    return g, r


@mutation("updateEpic", FIELDS + " iid: ID! stateEvent: EpicStateEvent", "epic: Epic", **WHO)
def update_epic(ctx, i):
    g, r = epic_for(ctx, i)
    if len(set(i) - {"groupPath", "iid", "clientMutationId"}) == 0:
        raise GqlError("The list of epic attributes is empty")
    return {"epic": epic_node(ctx, save(ctx, g, r, params_of(ctx, g, i), {"epic": epic_node(ctx, r)}))}


@mutation("epicSetSubscription", "groupPath: ID! iid: ID! subscribedState: Boolean!", "epic: Epic", **WHO)
def epic_subscribe(ctx, i):
    g = group_for(ctx, i["groupPath"], GUEST)
    r = ctx.db.one("SELECT * FROM epics WHERE group_id=? AND iid=?", g["id"], int(i["iid"]))
    if r is None or not features.licensed(ctx) or not epics.can_read_epic(ctx, r, g):
        raise GqlError(NOT_FOUND)
    epics.subscribe(ctx, r, i["subscribedState"])
    return {"epic": epic_node(ctx, r)}


@mutation("epicTreeReorder", "baseEpicId: EpicID! moved: EpicTreeNodeFieldsInputType!", "", **WHO)
def tree_reorder(ctx, i):
    """relativePosition tells where the neighbour stands, not the moved epic: `after` puts the moved one in front of it."""
    def row(text):
        r = epics.by_id(ctx.db, ungid(text, "Epic"))
        g = r and epics.group_of(ctx.db, r)
        if g is None or not epics.can_read_epic(ctx, r, g) or not can(ctx, g, PLANNER):
            raise GqlError(NOT_FOUND)
        need_write(ctx, g)
        return r
    m = i["moved"]
    base, r = row(i["baseEpicId"]), row(m["id"])
    if not features.subepics(ctx):
        raise GqlError(NOT_FOUND)
    if (m.get("adjacentReferenceId") is None) != (m.get("relativePosition") is None):
        raise Refused("Relative position is not valid." if m.get("relativePosition") is None else "Adjacent reference is missing")
    parent = row(m["newParentId"]) if m.get("newParentId") else None
    other = row(m["adjacentReferenceId"]) if m.get("adjacentReferenceId") else None
    if parent is None and other is None:
        raise Refused("The new parent or an adjacent epic is required")
    wanted = parent["id"] if parent is not None else r["parent_id"]
    if other is not None and other["parent_id"] != wanted:
        raise Refused("The sibling object's parent must match the %s parent epic." % ("new" if parent is not None else "current"))
    tree = [x["id"] for x in [r] + epics.ancestors(ctx.db, r)]
    if base["id"] not in tree and (parent is None or base["id"] not in [x["id"] for x in [parent] + epics.ancestors(ctx.db, parent)]):
        raise GqlError(NOT_FOUND)
    if parent is not None and parent["id"] != r["parent_id"]:
        from .db import now
        try:
            epics.set_parent(ctx, r, parent, True, now())
        except epics.Invalid as e:
            raise Refused(*[x for xs in e.fields.values() for x in xs]) from None
        r = epics.by_id(ctx.db, r["id"])
    if other is not None:
        epics.put_beside(ctx.db, r, epics.by_id(ctx.db, other["id"]), after=m["relativePosition"] == "before")
    return {}


def may_set_times(ctx, g):
    return can(ctx, g, OWNER) and not archived(ctx, g)
