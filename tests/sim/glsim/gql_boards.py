"""GraphQL: issue boards, their lists (hidden ones included), and the mutations around them."""
from . import boards, labels
from .auth import can, can_read
from .db import LIST_TYPES, now
from .gql import GqlError, NOT_FOUND, Refused, connection_type, extend, gid, mutation, opt_gid, resolver, sdl, ungid
from .gql_groups import PAGE, group_for, label_node, messages, milestone_node, user_by_id
from .paging import connection

sdl("enum ListLimitMetric { all_metrics issue_count issue_weights }", ee=True)
for name in ("Board", "BoardList"):
    connection_type(name)
extend("Group", "board(id: BoardID!): Board boards(%s id: BoardID): BoardConnection" % PAGE)
extend("Query", "boardList(id: ListID!): BoardList")
extend("Board", """id: ID! name: String hideBacklogList: Boolean hideClosedList: Boolean createdAt: Time! updatedAt: Time!
  webPath: String! webUrl: String! lists(%s id: ListID): BoardListConnection""" % PAGE)
extend("Board", "assignee: UserCore labels(%s): LabelConnection milestone: Milestone weight: Int" % PAGE, ee=True)
extend("Board", "iteration: Iteration iterationCadence: IterationCadence", ee=True)
extend("BoardList", "iteration: Iteration", ee=True)
extend("BoardList", """id: ID! title: String! listType: String! position: Int collapsed: Boolean label: Label
  issuesCount: Int""")
extend("BoardList", """assignee: UserCore milestone: Milestone limitMetric: ListLimitMetric maxIssueCount: Int
  maxIssueWeight: Int totalWeight: Int""", ee=True)


def special_milestone(mid):
    """The filters 'none', 'any', 'upcoming', 'started' pose as milestones."""
    return {"row": None, "id": gid("Milestone", mid), "iid": "0", "title": boards.SPECIAL[mid], "state": "active",
            "createdAt": "1970-01-01T00:00:00.000Z", "updatedAt": "1970-01-01T00:00:00.000Z", "expired": False,
            "upcoming": False, "webPath": "", "groupMilestone": False, "projectMilestone": False,
            "subgroupMilestone": False}


def any_milestone(ctx, mid):
    if mid is None:
        return None
    if mid in boards.SPECIAL:
        return special_milestone(mid)
    r = ctx.db.one("SELECT * FROM milestones WHERE id=?", mid)
    return milestone_node(ctx, r) if r else None


def board_node(ctx, r):
    path = ctx.db.val("SELECT full_path FROM groups WHERE id=?", r["group_id"])
    web = "/groups/%s/-/boards/%d" % (path, r["id"])
    ee = ctx.premium()
    return {"row": r, "id": gid("Board", r["id"]), "name": r["name"], "hideBacklogList": bool(r["hide_backlog_list"]),
            "hideClosedList": bool(r["hide_closed_list"]), "createdAt": r["created_at"], "updatedAt": r["updated_at"],
            "webPath": web, "webUrl": ctx.app.base_url + web, "weight": r["weight"] if ee else None,
            "assignee": lambda: user_by_id(ctx, r["assignee_id"]) if ee else None,
            "milestone": lambda: any_milestone(ctx, r["milestone_id"]) if ee else None}


def list_node(ctx, r):
    kind = LIST_TYPES[r["list_type"]]
    label = ctx.db.one("SELECT * FROM labels WHERE id=?", r["label_id"]) if r["label_id"] else None
    mile = any_milestone(ctx, r["milestone_id"]) if r["milestone_id"] else None
    user = user_by_id(ctx, r["user_id"])
    title = {"backlog": "Open", "closed": "Closed"}.get(kind) or (
        label["title"] if label else mile["title"] if mile else "@" + user["username"] if user else "Iteration")
    return {"row": r, "id": gid("List", r["id"]), "title": title, "listType": kind,
            "position": r["position"], "label": label_node(label) if label else None, "milestone": mile, "assignee": user,
            "limitMetric": r["limit_metric"], "maxIssueCount": r["max_issue_count"],
            "maxIssueWeight": r["max_issue_weight"], "issuesCount": 0, "totalWeight": 0,
            "collapsed": bool(ctx.user is not None and ctx.db.val(
                "SELECT 1 FROM list_collapsed WHERE list_id=? AND user_id=?", r["id"], ctx.user["id"]))}


@resolver("Group", "boards")
def g_boards(obj, ctx, a):
    where, args = boards.condition(ctx, obj["row"])
    if a.get("id"):
        where, args = "%s AND id=?" % where, (*args, ungid(a["id"], "Board"))
    return connection(ctx.db, "SELECT * FROM boards", where, args, ["lower(name)", "id"], lambda r: board_node(ctx, r), a)


@resolver("Group", "board")
def g_board(obj, ctx, a):
    where, args = boards.condition(ctx, obj["row"])
    r = ctx.db.one("SELECT * FROM boards WHERE %s AND id=?" % where, *args, ungid(a["id"], "Board"))
    return board_node(ctx, r) if r else None


@resolver("Board", "labels")
def b_labels(obj, ctx, a):
    return connection(ctx.db, "SELECT * FROM labels", "id IN (SELECT label_id FROM board_labels WHERE board_id=?)",
                      [obj["row"]["id"] if ctx.premium() else 0], ["title", "id"], label_node, a)


@resolver("Board", "lists")
def b_lists(obj, ctx, a):
    r = obj["row"]
    hidden = [k for k, col in ((boards.BACKLOG, "hide_backlog_list"), (boards.CLOSED, "hide_closed_list")) if r[col]]
    if not ctx.premium():
        hidden += [boards.ASSIGNEE, boards.MILESTONE, boards.ITERATION]
    where, args = "board_id=? AND list_type NOT IN (%s)" % ",".join(map(str, hidden)), [r["id"]]
    if a.get("id"):
        where += " AND id=?"
        args.append(ungid(a["id"], "List"))
    return connection(ctx.db, "SELECT * FROM lists", where, args, ["list_type", "coalesce(position,0)", "id"],
                      lambda x: list_node(ctx, x), a)


@resolver("Query", "boardList")
def q_list(obj, ctx, a):
    r = ctx.db.one("SELECT * FROM lists WHERE id=?", ungid(a["id"], "List"))
    g = r and board_group(ctx, r["board_id"])[1]
    return list_node(ctx, r) if g is not None and can_read(ctx, g) else None


def board_group(ctx, board_id):
    b = ctx.db.one("SELECT * FROM boards WHERE id=?", board_id)
    return b, b and ctx.db.one("SELECT * FROM groups WHERE id=?", b["group_id"])


def board_for(ctx, text):
    b, g = board_group(ctx, ungid(text, "Board"))
    if g is None or not can(ctx, g, 15):
        raise GqlError(NOT_FOUND)
    return b, g


def list_for(ctx, text):
    r = ctx.db.one("SELECT * FROM lists WHERE id=?", ungid(text, "List"))
    if r is None:
        raise GqlError(NOT_FOUND)
    b, g = board_group(ctx, r["board_id"])
    if g is None or not can(ctx, g, 15):
        raise GqlError(NOT_FOUND)
    return r, b, g


# ---- mutations -------------------------------------------------------------------------------

SCOPE = """name: String hideBacklogList: Boolean hideClosedList: Boolean <ee: assigneeId: UserID milestoneId: MilestoneID
  iterationId: IterationID iterationCadenceId: IterationsCadenceID weight: Int labelIds: [LabelID!] labels: [String!]>"""


def scope_args(ctx, g, i):
    p = {}
    for src, dst in (("name", "name"), ("hideBacklogList", "hide_backlog_list"), ("hideClosedList", "hide_closed_list"),
                     ("weight", "weight")):
        if src in i:
            p[dst] = i[src]
    for src, dst, kinds in (("assigneeId", "assignee_id", ("User",)), ("milestoneId", "milestone_id", ("Milestone",)),
                            ("iterationId", "iteration_id", ("Iteration",)),
                            ("iterationCadenceId", "iteration_cadence_id", ("Iterations::Cadence",))):
        if src in i:
            p[dst] = opt_gid(i[src], *kinds)
    if i.get("labels") is not None and i.get("labelIds") is not None:
        raise GqlError("Only one of [labels, labelIds] arguments is allowed at the same time.")
    if i.get("labelIds") is not None:
        p["label_ids"] = [ungid(x, "Label", "GroupLabel") for x in i["labelIds"]]
    elif i.get("labels") is not None and ctx.premium():
        p["label_ids"] = labels.find_or_create(ctx, g, i["labels"])
    return p


@mutation("createBoard", SCOPE + " groupPath: ID projectPath: ID", "board: Board")
def create_board(ctx, i):
    if (i.get("groupPath") is None) == (i.get("projectPath") is None):
        raise GqlError("Exactly one of group_path or project_path arguments is required")
    if i.get("projectPath") is not None:
        raise GqlError(NOT_FOUND)
    g = group_for(ctx, i["groupPath"], 15)
    multiple = ctx.premium() and ctx.app.enterprise
    if not multiple and ctx.db.val("SELECT 1 FROM boards WHERE group_id=?", g["id"]):
        raise Refused("You don't have the permission to create a board for this resource.", payload={"board": None})
    p = scope_args(ctx, g, i)
    name = p.pop("name", None)
    e = boards.name_errors(name) if name is not None else []
    if e:
        raise Refused(*messages({"name": e}), payload={"board": None})
    bid = boards.insert(ctx.db, g["id"], name if name is not None else "Development")
    e = boards.change_board(ctx, g, ctx.db.one("SELECT * FROM boards WHERE id=?", bid), p)
    if e:
        raise Refused(*messages(e), payload={"board": None})
    return {"board": board_node(ctx, ctx.db.one("SELECT * FROM boards WHERE id=?", bid))}


@mutation("updateBoard", SCOPE + " id: BoardID!", "board: Board")
def update_board(ctx, i):
    b, g = board_for(ctx, i["id"])
    e = boards.change_board(ctx, g, b, scope_args(ctx, g, i))
    if e:
        raise Refused(*messages(e), payload={"board": board_node(ctx, b)})
    return {"board": board_node(ctx, ctx.db.one("SELECT * FROM boards WHERE id=?", b["id"]))}


@mutation("destroyBoard", "id: BoardID!", "board: Board")
def destroy_board(ctx, i):
    b, g = board_for(ctx, i["id"])
    if ctx.db.val("SELECT count(*) FROM boards WHERE group_id=?", g["id"]) < 2:
        raise Refused("The board could not be deleted, because the parent doesn't have any other boards.",
                      payload={"board": board_node(ctx, b)})
    boards.destroy(ctx.db, b["id"])
    return {"board": None}


@mutation("boardListCreate", """boardId: BoardID! labelId: LabelID backlog: Boolean <ee: assigneeId: UserID
  milestoneId: MilestoneID iterationId: IterationID>""", "list: BoardList")
def list_create(ctx, i):
    b, g = board_for(ctx, i["boardId"])
    given = [k for k in ("labelId", "backlog", "milestoneId", "assigneeId", "iterationId") if i.get(k) is not None]
    if len(given) != 1:
        raise GqlError("one and only one of %s is required" % (
            "backlog, labelId, milestoneId, iterationId or assigneeId" if ctx.app.enterprise else "backlog or labelId"))
    if i.get("backlog"):
        r = ctx.db.one("SELECT * FROM lists WHERE board_id=? AND list_type=0", b["id"])
        if r is None:
            t = now()
            lid = ctx.db.insert("lists", board_id=b["id"], list_type=boards.BACKLOG, created_at=t, updated_at=t)
            r = ctx.db.one("SELECT * FROM lists WHERE id=?", lid)
        return {"list": list_node(ctx, r)}
    p = {"label_id": opt_gid(i.get("labelId"), "Label", "GroupLabel"), "assignee_id": opt_gid(i.get("assigneeId"), "User"),
         "milestone_id": opt_gid(i.get("milestoneId"), "Milestone"), "iteration_id": opt_gid(i.get("iterationId"), "Iteration")}
    r, complaint = boards.create_list(ctx, g, b, p)
    if complaint:
        raise Refused(complaint, payload={"list": None})
    return {"list": list_node(ctx, r)}


@mutation("updateBoardList", "listId: ListID! position: Int collapsed: Boolean", "list: BoardList")
def list_update(ctx, i):
    r, b, g = list_for(ctx, i["listId"])
    if i.get("position") is not None:
        if r["list_type"] not in boards.MOVABLE or not boards.can_move(ctx, r, i["position"]):
            raise Refused("Failed to move list!", payload={"list": list_node(ctx, r)})
        boards.move(ctx, r, i["position"])
    if i.get("collapsed") is not None:
        ctx.db.run("DELETE FROM list_collapsed WHERE list_id=? AND user_id=?", r["id"], ctx.user["id"])
        if i["collapsed"]:
            ctx.db.insert("list_collapsed", list_id=r["id"], user_id=ctx.user["id"])
    return {"list": list_node(ctx, ctx.db.one("SELECT * FROM lists WHERE id=?", r["id"]))}


@mutation("destroyBoardList", "listId: ListID!", "list: BoardList")
def list_destroy(ctx, i):
    r, b, g = list_for(ctx, i["listId"])
    if r["list_type"] not in boards.MOVABLE:
        raise Refused("Only label lists can be removed", payload={"list": list_node(ctx, r)})
    boards.remove_list(ctx.db, r)
    return {"list": None}


@mutation("boardListUpdateLimitMetrics", """listId: ListID! limitMetric: ListLimitMetric maxIssueCount: Int
  maxIssueWeight: Int""", "list: BoardList", ee=True)
def list_limits(ctx, i):
    r, b, g = list_for(ctx, i["listId"])
    if not ctx.premium():
        raise GqlError(NOT_FOUND)
    cols = {}
    for src, dst in (("limitMetric", "limit_metric"), ("maxIssueCount", "max_issue_count"),
                     ("maxIssueWeight", "max_issue_weight")):
        if i.get(src) is not None:
            cols[dst] = i[src]
    if any(v < 0 for v in cols.values() if isinstance(v, int)):
        raise Refused("Max issue count must be greater than or equal to 0", payload={"list": list_node(ctx, r)})
    if cols:
        ctx.db.update("lists", r["id"], **cols, updated_at=now())
    return {"list": list_node(ctx, ctx.db.one("SELECT * FROM lists WHERE id=?", r["id"]))}
