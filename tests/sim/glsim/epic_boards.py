"""Epic boards of groups, their lists, and the places of epics on them. REST only reads them; gql_epic_boards.py changes them."""
from . import colors, epics, features, groups, labels
from . import db as state
from .auth import find_group, record_id
from .db import LIST_TYPES, now
from .errors import not_found
from .paging import PAGE_PARAMS, paginate
from .router import route

state.EXTRA_TABLES += [
    ("epic_boards", """
CREATE TABLE epic_boards(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, name TEXT NOT NULL,
  hide_backlog_list INTEGER NOT NULL DEFAULT 0, hide_closed_list INTEGER NOT NULL DEFAULT 0,
  display_colors INTEGER NOT NULL DEFAULT 1, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE INDEX epic_boards_group ON epic_boards(group_id);
"""),
    ("epic_board_labels", """
CREATE TABLE epic_board_labels(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, board_id INTEGER NOT NULL,
  label_id INTEGER NOT NULL, UNIQUE(board_id, label_id));
"""),
    ("epic_lists", """
CREATE TABLE epic_lists(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, board_id INTEGER NOT NULL,
  list_type INTEGER NOT NULL, position INTEGER, label_id INTEGER, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE INDEX epic_lists_board ON epic_lists(board_id, list_type, position);
"""),
    ("epic_list_collapsed", """
CREATE TABLE epic_list_collapsed(group_id INTEGER NOT NULL, list_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
  PRIMARY KEY(list_id, user_id));
"""),
    ("epic_board_positions", """
CREATE TABLE epic_board_positions(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, board_id INTEGER NOT NULL,
  epic_id INTEGER NOT NULL, relative_position INTEGER, UNIQUE(board_id, epic_id));
"""),
]
groups.GROUP_TABLES += [name for name, _ in state.EXTRA_TABLES[-5:]]
labels.ON_LABEL_DELETE += ["DELETE FROM epic_board_labels WHERE label_id=?",
                           "DELETE FROM epic_list_collapsed WHERE list_id IN (SELECT id FROM epic_lists WHERE label_id=?)",
                           "DELETE FROM epic_lists WHERE label_id=?"]
epics.ON_DELETE.append(lambda db, part: db.run("DELETE FROM epic_board_positions WHERE epic_id IN (%s)" % part))
BACKLOG, LABEL, CLOSED = 0, 1, 2
DISTANCE = 500


# ---- records ---------------------------------------------------------------------------------

def insert(db, group_id, name, t=None, **cols):
    """A board is born with its Open and Closed lists."""
    t = t or now()
    bid = db.insert("epic_boards", group_id=group_id, name=name, created_at=t, **{"updated_at": t, **cols})
    for kind in (BACKLOG, CLOSED):
        db.insert("epic_lists", group_id=group_id, board_id=bid, list_type=kind, created_at=t, updated_at=t)
    return bid


def add_list(db, b, label_id, t=None, position=None, updated_at=None):
    t = t or now()
    if position is None:
        top = db.val("SELECT max(position) FROM epic_lists WHERE board_id=?", b["id"])
        position = 0 if top is None else top + 1
    return db.insert("epic_lists", group_id=b["group_id"], board_id=b["id"], list_type=LABEL, label_id=label_id, position=position,
                     created_at=t, updated_at=updated_at or t)


def set_labels(db, b, ids):
    db.run("DELETE FROM epic_board_labels WHERE board_id=?", b["id"])
    for lid in dict.fromkeys(ids):
        db.insert("epic_board_labels", group_id=b["group_id"], board_id=b["id"], label_id=lid)


def labels_of(db, b):
    return db.all("SELECT l.* FROM epic_board_labels x JOIN labels l ON l.id=x.label_id WHERE x.board_id=? ORDER BY l.title, l.id", b["id"])


def lists_of(db, b, every=True):
    return db.all("SELECT * FROM epic_lists WHERE board_id=? %s ORDER BY list_type, position, id" % ("" if every else "AND list_type=1"),
                  b["id"])


def remove_list(db, r):
    db.run("DELETE FROM epic_list_collapsed WHERE list_id=?", r["id"])
    db.run("DELETE FROM epic_lists WHERE id=?", r["id"])
    db.run("UPDATE epic_lists SET position=position-1 WHERE board_id=? AND position>?", r["board_id"], r["position"])


def move_list(db, r, position):
    others = [x["id"] for x in db.all("SELECT id FROM epic_lists WHERE board_id=? AND list_type=1 AND id<>? ORDER BY position, id",
                                      r["board_id"], r["id"])]
    others.insert(position, r["id"])
    for i, lid in enumerate(others):
        db.run("UPDATE epic_lists SET position=? WHERE id=?", i, lid)
    db.update("epic_lists", r["id"], updated_at=now())


def destroy(db, bid):
    db.run("DELETE FROM epic_list_collapsed WHERE list_id IN (SELECT id FROM epic_lists WHERE board_id=?)", bid)
    for table in ("epic_lists", "epic_board_labels", "epic_board_positions"):
        db.run("DELETE FROM %s WHERE board_id=?" % table, bid)
    db.run("DELETE FROM epic_boards WHERE id=?", bid)


# ---- which epics a list shows, and in which order --------------------------------------------

PLACE = "(SELECT p.relative_position FROM epic_board_positions p WHERE p.epic_id=epics.id AND p.board_id=%d)"


def members(ctx, b, r):
    """SQL condition for the epics in a list: of the group and below, with the board's labels; open ones without any of the board's
    list labels in the Open list, closed ones in the Closed list, open ones with the label in the others."""
    g = ctx.db.one("SELECT * FROM groups WHERE id=?", b["group_id"])
    where = [epics.visible_condition(ctx, g, descendant_groups=True)]
    has = "EXISTS(SELECT 1 FROM epic_labels x WHERE x.epic_id=epics.id AND x.label_id=%d)"
    where += [has % x["id"] for x in labels_of(ctx.db, b)]
    where.append("state='%s'" % ("closed" if r["list_type"] == CLOSED else "opened"))
    if r["list_type"] == LABEL:
        where.append(has % r["label_id"])
    elif r["list_type"] == BACKLOG:
        where.append("NOT EXISTS(SELECT 1 FROM epic_labels x JOIN epic_lists l ON l.label_id=x.label_id "
                     "WHERE x.epic_id=epics.id AND l.board_id=%d)" % b["id"])
    return " AND ".join("(%s)" % x for x in where)


def order(b):
    """Those without a place come last, the newest first."""
    return ["coalesce(%s, 9223372036854775807)" % (PLACE % b["id"]), "-epics.id"]


def epics_of(ctx, b, r):
    return ctx.db.all("SELECT epics.* FROM epics WHERE %s ORDER BY %s" % (members(ctx, b, r), ", ".join(order(b))))


def place(db, b, epic_id):
    return db.val("SELECT relative_position FROM epic_board_positions WHERE board_id=? AND epic_id=?", b["id"], epic_id)


def set_place(db, b, epic_id, position):
    db.run("INSERT INTO epic_board_positions(group_id, board_id, epic_id, relative_position) VALUES(?,?,?,?) "
           "ON CONFLICT(board_id, epic_id) DO UPDATE SET relative_position=excluded.relative_position",
           b["group_id"], b["id"], epic_id, position)


def settle(ctx, b, rows):
    """Give a place to all of a list that have none yet, in the order in which they are shown."""
    top = ctx.db.val("SELECT max(relative_position) FROM epic_board_positions WHERE board_id=?", b["id"]) or 0
    for e in rows:
        if place(ctx.db, b, e["id"]) is None:
            top += DISTANCE
            set_place(ctx.db, b, e["id"], top)


def spot_between(db, b, eid, left, right):
    """A free place directly behind `left` or, without it, before `right` (epic ids). Places are the board's, not the list's: with one of
    them given, the other side is whoever stands there on the whole board; with both, an epic of another list may stand in between, and nobody
    shares a place."""
    def beside(spot, way, op):
        return db.val("SELECT %s(relative_position) FROM epic_board_positions WHERE board_id=? AND epic_id<>? AND relative_position%s?"
                      % (way, op), b["id"], eid, spot)
    for _ in (1, 2):
        low, high = (x and place(db, b, x) for x in (left, right))
        if right is None:
            high = beside(low, "min", ">")
        elif left is None:
            low = beside(high, "max", "<")
        if low is None or high is None:
            return high - DISTANCE if low is None else low + DISTANCE
        while high - low > 1:
            middle = (low + high) // 2
            if not db.val("SELECT count(*) FROM epic_board_positions WHERE board_id=? AND epic_id<>? AND relative_position=?", b["id"], eid, middle):
                return middle
            high = middle
        # no room: everything on the board moves apart
        for n, row in enumerate(db.all("SELECT id FROM epic_board_positions WHERE board_id=? ORDER BY relative_position", b["id"]), 1):
            db.run("UPDATE epic_board_positions SET relative_position=? WHERE id=?", n * DISTANCE, row["id"])
    raise AssertionError("no room on board %d" % b["id"])


def move_epic(ctx, b, r, e, before=None, after=None, position=None):
    """Put the epic at a place of list r: behind `before`, in front of `after` (epic ids), or at `position` (-1: the end)."""
    rows = [x for x in epics_of(ctx, b, r) if x["id"] != e["id"]]
    settle(ctx, b, rows)
    ids = [x["id"] for x in rows]
    if position is not None:
        at = len(ids) if position == -1 or position > len(ids) else position
        before, after = ids[at - 1] if at > 0 else None, ids[at] if at < len(ids) else None
    elif before not in ids and after not in ids:
        return False
    if ids:
        spot = spot_between(ctx.db, b, e["id"], before if before in ids else None, after if after in ids else None)
    else:
        spot = (ctx.db.val("SELECT max(relative_position) FROM epic_board_positions WHERE board_id=?", b["id"]) or 0) + DISTANCE
    set_place(ctx.db, b, e["id"], spot)
    return True


# ---- REST ------------------------------------------------------------------------------------

SINCE = (15, 9)


def board_group(ctx):
    features.need_route(ctx, ctx.version >= SINCE)
    g = find_group(ctx)
    features.need_licence(ctx)
    return g


def present_list(ctx, r):
    label = ctx.db.one("SELECT * FROM labels WHERE id=?", r["label_id"]) if r["label_id"] else None
    return {"id": r["id"], "label": label and epics.label_detail(label), "position": r["position"], "list_type": LIST_TYPES[r["list_type"]],
            "collapsed": collapsed(ctx, r)}


def collapsed(ctx, r):
    return bool(ctx.user is not None and ctx.db.val("SELECT 1 FROM epic_list_collapsed WHERE list_id=? AND user_id=?", r["id"], ctx.user["id"]))


def present(ctx, b):
    g = ctx.db.one("SELECT * FROM groups WHERE id=?", b["group_id"])
    return {"id": b["id"], "name": b["name"], "hide_backlog_list": bool(b["hide_backlog_list"]),
            "hide_closed_list": bool(b["hide_closed_list"]),
            "group": {"id": g["id"], "web_url": "%s/groups/%s" % (ctx.app.base_url, g["full_path"]), "name": g["name"]},
            "labels": [{"id": x["id"], "title": x["title"], "color": x["color"], "description": x["description"],
                        "group_id": x["group_id"], "project_id": None, "template": False, "text_color": colors.text_color(x["color"]),
                        "created_at": x["created_at"], "updated_at": x["updated_at"]} for x in labels_of(ctx.db, b)],
            "lists": [present_list(ctx, x) for x in lists_of(ctx.db, b)]}


@route("GET", "/groups/:id/epic_boards", PAGE_PARAMS, anonymous=True)
def index(ctx, p):
    g = board_group(ctx)
    return 200, [present(ctx, b) for b in paginate(ctx, p, "SELECT * FROM epic_boards", "group_id=?", (g["id"],), "lower(name), id")]


def find(ctx, g):
    b = ctx.db.one("SELECT * FROM epic_boards WHERE id=? AND group_id=?", record_id(ctx.path_params["board_id"], "board_id"), g["id"])
    if b is None:
        raise not_found()
    return b


@route("GET", "/groups/:id/epic_boards/:board_id", anonymous=True)
def show(ctx, p):
    return 200, present(ctx, find(ctx, board_group(ctx)))


@route("GET", "/groups/:id/epic_boards/:board_id/lists", PAGE_PARAMS, anonymous=True)
def lists(ctx, p):
    """Unlike the lists inside a board, without Open and Closed."""
    b = find(ctx, board_group(ctx))
    return 200, [present_list(ctx, r) for r in paginate(ctx, p, "SELECT * FROM epic_lists", "board_id=? AND list_type=1", (b["id"],),
                                                        "position, id")]


@route("GET", "/groups/:id/epic_boards/:board_id/lists/:list_id", anonymous=True)
def show_list(ctx, p):
    b = find(ctx, board_group(ctx))
    r = ctx.db.one("SELECT * FROM epic_lists WHERE id=? AND board_id=? AND list_type=1", record_id(ctx.path_params["list_id"], "list_id"), b["id"])
    if r is None:
        raise not_found()
    return 200, present_list(ctx, r)
