"""GraphQL: epic boards, their lists, and moving epics on them."""
from . import boards, epic_boards, epics, features, labels
from .auth import PLANNER, can, can_read
from .db import LIST_TYPES, now
from .gql import GqlError, NOT_FOUND, Refused, connection_type, extend, gid, mutation, resolver, sdl, ungid
from .gql_epics import WHO, epic_node, filters, need_write, save, writable
from .gql_groups import PAGE, label_node, messages
from .paging import connection

for _name in ("EpicBoard", "EpicList"):
    connection_type(_name, **WHO)
sdl("""type EpicListMetadata { epicsCount: Int }
input NegatedEpicBoardIssueInput { labelName: [String] authorUsername: String myReactionEmoji: String }
input EpicFilters { labelName: [String] authorUsername: String myReactionEmoji: String search: String confidential: Boolean
  not: NegatedEpicBoardIssueInput }""", **WHO)
extend("Group", "epicBoard(id: BoardsEpicBoardID!): EpicBoard epicBoards(%s): EpicBoardConnection" % PAGE, **WHO)
extend("Query", "epicBoardList(id: BoardsEpicListID! epicFilters: EpicFilters): EpicList", since=(15, 1), **WHO)
extend("EpicBoard", """id: BoardsEpicBoardID! name: String hideBacklogList: Boolean hideClosedList: Boolean webPath: String! webUrl: String!
  <15.1: displayColors: Boolean> labels(%s): LabelConnection lists(%s id: BoardsEpicListID epicFilters: EpicFilters): EpicListConnection
  """ % (PAGE, PAGE), **WHO)
extend("EpicList", """id: BoardsEpicListID! title: String! listType: String! position: Int collapsed: Boolean label: Label epicsCount: Int
  metadata: EpicListMetadata epics(%s filters: EpicFilters): EpicConnection""" % PAGE, **WHO)
BOARD, LIST = "Boards::EpicBoard", "Boards::EpicList"


def board_node(ctx, b):
    g = ctx.db.one("SELECT * FROM groups WHERE id=?", b["group_id"])
    web = "/groups/%s/-/epic_boards/%d" % (g["full_path"], b["id"])
    return {"row": b, "id": gid(BOARD, b["id"]), "name": b["name"], "hideBacklogList": bool(b["hide_backlog_list"]),
            "hideClosedList": bool(b["hide_closed_list"]), "displayColors": bool(b["display_colors"]), "webPath": web,
            "webUrl": ctx.app.base_url + web}


def list_node(ctx, r):
    kind = LIST_TYPES[r["list_type"]]
    label = ctx.db.one("SELECT * FROM labels WHERE id=?", r["label_id"]) if r["label_id"] else None
    board = ctx.db.one("SELECT * FROM epic_boards WHERE id=?", r["board_id"])

    def count():
        return ctx.db.val("SELECT count(*) FROM epics WHERE " + epic_boards.members(ctx, board, r))
    return {"row": r, "board": board, "id": gid(LIST, r["id"]), "listType": kind, "position": r["position"],
            "title": label["title"] if label else {"backlog": "Open", "closed": "Closed"}[kind],
            "label": label_node(label) if label else None, "collapsed": lambda: epic_boards.collapsed(ctx, r), "epicsCount": count,
            "metadata": lambda: {"epicsCount": count}}


def board_row(ctx, text):
    return ctx.db.one("SELECT * FROM epic_boards WHERE id=?", ungid(text, BOARD))


@resolver("Group", "epicBoards")
def g_boards(obj, ctx, a):
    if not features.licensed(ctx):
        return None
    return connection(ctx.db, "SELECT * FROM epic_boards", "group_id=?", [obj["row"]["id"]], ["lower(name)", "id"],
                      lambda b: board_node(ctx, b), a)


@resolver("Group", "epicBoard")
def g_board(obj, ctx, a):
    b = board_row(ctx, a["id"])
    return board_node(ctx, b) if b is not None and b["group_id"] == obj["row"]["id"] and features.licensed(ctx) else None


@resolver("EpicBoard", "labels")
def b_labels(obj, ctx, a):
    return connection(ctx.db, "SELECT * FROM labels", "id IN (SELECT label_id FROM epic_board_labels WHERE board_id=?)",
                      [obj["row"]["id"]], ["title", "id"], label_node, a)


@resolver("EpicBoard", "lists")
def b_lists(obj, ctx, a):
    b = obj["row"]
    hidden = [k for k, col in ((0, "hide_backlog_list"), (2, "hide_closed_list")) if b[col]]
    where, args = "board_id=? AND list_type NOT IN (%s)" % ",".join(map(str, hidden)), [b["id"]]
    if a.get("id"):
        where += " AND id=?"
        args.append(ungid(a["id"], LIST))
    return connection(ctx.db, "SELECT * FROM epic_lists", where, args, ["list_type", "coalesce(position,0)", "id"],
                      lambda r: list_node(ctx, r), a)


@resolver("EpicList", "epics")
def l_epics(obj, ctx, a):
    where, args = filters(ctx, a.get("filters") or {})
    return connection(ctx.db, "SELECT epics.* FROM epics", "%s AND (%s)" % (epic_boards.members(ctx, obj["board"], obj["row"]), where), args,
                      epic_boards.order(obj["board"]), lambda r: epic_node(ctx, r), a)


@resolver("Query", "epicBoardList")
def q_list(obj, ctx, a):
    r = ctx.db.one("SELECT * FROM epic_lists WHERE id=?", ungid(a["id"], LIST))
    g = r and ctx.db.one("SELECT * FROM groups WHERE id=?", r["group_id"])
    return list_node(ctx, r) if g is not None and features.licensed(ctx) and can_read(ctx, g) else None


# ---- mutations -------------------------------------------------------------------------------

FIELDS = "name: String hideBacklogList: Boolean hideClosedList: Boolean <15.1: displayColors: Boolean> labelIds: [LabelID!] labels: [String!]"


def board_for(ctx, text):
    b = board_row(ctx, text)
    g = b and ctx.db.one("SELECT * FROM groups WHERE id=?", b["group_id"])
    if g is None or not can(ctx, g, PLANNER):
        raise GqlError(NOT_FOUND)
    need_write(ctx, g)
    return b, g


def list_for(ctx, text):
    r = ctx.db.one("SELECT * FROM epic_lists WHERE id=?", ungid(text, LIST))
    if r is None:
        raise GqlError(NOT_FOUND)
    b, g = board_for(ctx, gid(BOARD, r["board_id"]))
    return r, b, g


def apply(ctx, g, b, i, payload):
    cols = {}
    if i.get("name") is not None:
        e = boards.name_errors(i["name"])
        if e:
            raise Refused(*messages({"name": e}), payload=payload)
        cols["name"] = i["name"]
    for src, dst in (("hideBacklogList", "hide_backlog_list"), ("hideClosedList", "hide_closed_list"), ("displayColors", "display_colors")):
        if i.get(src) is not None:
            cols[dst] = int(i[src])
    if i.get("labels") is not None and i.get("labelIds") is not None:
        raise GqlError("Only one of [labels, labelIds] arguments is allowed at the same time.")
    ids = None
    if i.get("labelIds") is not None:
        ids = epics.known_labels(ctx, g, [ungid(x, "Label", "GroupLabel") for x in i["labelIds"]])
    elif i.get("labels") is not None:
        ids = labels.find_or_create(ctx, g, i["labels"])
    if ids is not None:
        epic_boards.set_labels(ctx.db, b, ids)
    if cols or ids is not None:
        ctx.db.update("epic_boards", b["id"], **cols, updated_at=now())
    return board_node(ctx, ctx.db.one("SELECT * FROM epic_boards WHERE id=?", b["id"]))


@mutation("epicBoardCreate", FIELDS + " groupPath: ID", "epicBoard: EpicBoard", **WHO)
def board_create(ctx, i):
    if i.get("groupPath") is None:
        raise GqlError("Exactly one of group_path or project_path arguments is required")
    g = writable(ctx, i["groupPath"])
    bid = epic_boards.insert(ctx.db, g["id"], "Development")
    b = ctx.db.one("SELECT * FROM epic_boards WHERE id=?", bid)
    return {"epicBoard": apply(ctx, g, b, i, {"epicBoard": None})}


@mutation("epicBoardUpdate", FIELDS + " id: BoardsEpicBoardID!", "epicBoard: EpicBoard", **WHO)
def board_update(ctx, i):
    b, g = board_for(ctx, i["id"])
    return {"epicBoard": apply(ctx, g, b, i, {"epicBoard": board_node(ctx, b)})}


@mutation("destroyEpicBoard", "id: BoardsEpicBoardID!", "epicBoard: EpicBoard", **WHO)
def board_destroy(ctx, i):
    b, g = board_for(ctx, i["id"])
    if ctx.db.val("SELECT count(*) FROM epic_boards WHERE group_id=?", g["id"]) < 2:
        raise Refused("The board could not be deleted, because the parent doesn't have any other boards.",
                      payload={"epicBoard": board_node(ctx, b)})
    epic_boards.destroy(ctx.db, b["id"])
    return {"epicBoard": None}


@mutation("epicBoardListCreate", "boardId: BoardsEpicBoardID! labelId: LabelID backlog: Boolean", "list: EpicList", **WHO)
def list_create(ctx, i):
    b, g = board_for(ctx, i["boardId"])
    if (i.get("labelId") is None) == (not i.get("backlog")):
        raise GqlError("one and only one of backlog or labelId is required")
    if i.get("backlog"):
        return {"list": list_node(ctx, ctx.db.one("SELECT * FROM epic_lists WHERE board_id=? AND list_type=0", b["id"]))}
    lid = ungid(i["labelId"], "Label", "GroupLabel")
    if not epics.known_labels(ctx, g, [lid]):
        raise Refused("Label not found", payload={"list": None})
    if ctx.db.val("SELECT 1 FROM epic_lists WHERE board_id=? AND label_id=?", b["id"], lid):
        raise Refused("Label has already been taken", payload={"list": None})
    return {"list": list_node(ctx, ctx.db.one("SELECT * FROM epic_lists WHERE id=?", epic_boards.add_list(ctx.db, b, lid)))}


@mutation("epicBoardListDestroy", "listId: BoardsEpicListID!", "list: EpicList", **WHO)
def list_destroy(ctx, i):
    r, b, g = list_for(ctx, i["listId"])
    if r["list_type"] != epic_boards.LABEL:
        raise Refused("Open and closed lists on a board cannot be destroyed.", payload={"list": list_node(ctx, r)})
    epic_boards.remove_list(ctx.db, r)
    return {"list": None}


@mutation("updateEpicBoardList", "listId: BoardsEpicListID! position: Int collapsed: Boolean", "list: EpicList", **WHO)
def list_update(ctx, i):
    r, b, g = list_for(ctx, i["listId"])
    if i.get("position") is not None:
        top = ctx.db.val("SELECT max(position) FROM epic_lists WHERE board_id=?", b["id"])
        if r["list_type"] != epic_boards.LABEL or not 0 <= i["position"] <= (top or 0):
            raise Refused("Failed to move list!", payload={"list": list_node(ctx, r)})
        epic_boards.move_list(ctx.db, r, i["position"])
    if i.get("collapsed") is not None:
        ctx.db.run("DELETE FROM epic_list_collapsed WHERE list_id=? AND user_id=?", r["id"], ctx.user["id"])
        if i["collapsed"]:
            ctx.db.insert("epic_list_collapsed", group_id=r["group_id"], list_id=r["id"], user_id=ctx.user["id"])
    return {"list": list_node(ctx, ctx.db.one("SELECT * FROM epic_lists WHERE id=?", r["id"]))}


@mutation("epicMoveList", """boardId: BoardsEpicBoardID! epicId: EpicID! fromListId: BoardsEpicListID toListId: BoardsEpicListID!
  moveBeforeId: EpicID moveAfterId: EpicID <15.3: positionInList: Int>""", "epic: Epic", **WHO)
def move_list(ctx, i):
    """moveBeforeId is the epic that shall stand before this one, moveAfterId the one behind it; positionInList -1 is the end."""
    neighbours = [k for k in ("moveBeforeId", "moveAfterId") if i.get(k) is not None]
    at = i.get("positionInList")
    if i.get("fromListId") is None and not neighbours and at is None:
        raise GqlError("At least one of the arguments fromListId, moveAfterId or moveBeforeId is required" if ctx.version < (15, 3) else
                       "At least one of the arguments fromListId, positionInList, moveAfterId, or moveBeforeId is required")
    if at is not None and neighbours:
        raise GqlError("positionInList is mutually exclusive with any of moveBeforeId or moveAfterId")
    if at is not None and at < -1:
        raise GqlError("positionInList must be >= 0 or -1")
    b, g = board_for(ctx, i["boardId"])
    e = epics.by_id(ctx.db, ungid(i["epicId"], "Epic"))
    own = e and epics.group_of(ctx.db, e)
    if own is None or not own["tids"].startswith(g["tids"]) or not epics.can_read_epic(ctx, e, own) or not can(ctx, own, PLANNER):
        raise GqlError(NOT_FOUND)
    rows = {}
    for k in ("fromListId", "toListId"):
        if i.get(k) is not None:
            rows[k] = ctx.db.one("SELECT * FROM epic_lists WHERE id=? AND board_id=?", ungid(i[k], LIST), b["id"])
            if rows[k] is None:
                raise GqlError(NOT_FOUND)
    to, source = rows["toListId"], rows.get("fromListId")
    if source is not None and source["id"] != to["id"]:
        p = {}
        if source["list_type"] == epic_boards.LABEL and to["list_type"] != epic_boards.CLOSED:
            p["remove_label_ids"] = [source["label_id"]]
        if to["list_type"] == epic_boards.BACKLOG:
            p["remove_label_ids"] = [x["label_id"] for x in epic_boards.lists_of(ctx.db, b, every=False)]
        if to["list_type"] == epic_boards.LABEL:
            p["add_label_ids"] = [to["label_id"]]
        if to["list_type"] == epic_boards.CLOSED:
            p["state_event"] = "close"
        elif source["list_type"] == epic_boards.CLOSED:
            p["state_event"] = "reopen"
        e = save(ctx, own, e, p, {"epic": epic_node(ctx, e)})
    if neighbours or at is not None:
        ids = {k: ungid(i[k], "Epic") if i.get(k) else None for k in ("moveBeforeId", "moveAfterId")}
        if not epic_boards.move_epic(ctx, b, to, e, ids["moveBeforeId"], ids["moveAfterId"], at):
            raise Refused("Epic not found in the list", payload={"epic": epic_node(ctx, e)})
    return {"epic": epic_node(ctx, epics.by_id(ctx.db, e["id"]))}
