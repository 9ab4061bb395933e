"""Issue boards of groups and their lists."""
from . import labels, milestones, users
from .auth import PLANNER, ancestor_ids, find_group, need, need_unarchived, record_id
from .db import now
from .errors import ApiError, forbidden, message, not_found, param_error
from .paging import PAGE_PARAMS, paginate
from .router import opt, req, route

SPECIAL = {0: "No Milestone", -1: "Any Milestone", -2: "Upcoming", -3: "Started"}
BACKLOG, LABEL, CLOSED, ASSIGNEE, MILESTONE, ITERATION = range(6)
MOVABLE = (LABEL, ASSIGNEE, MILESTONE, ITERATION)


def insert(db, group_id, name, t=None, **cols):
    """A board is born with its Open and Closed lists, which the REST API never shows."""
    t = t or now()
    bid = db.insert("boards", group_id=group_id, name=name, created_at=t, updated_at=t, **cols)
    for kind in (BACKLOG, CLOSED):
        db.insert("lists", board_id=bid, list_type=kind, created_at=t, updated_at=t)
    return bid


def default_board(db, group_id):
    """What happens when somebody opens the boards page for the first time."""
    bid = db.val("SELECT id FROM boards WHERE group_id=? ORDER BY id", group_id)
    return bid or insert(db, group_id, "Development")


def scope_labels(ctx, board_id):
    return ctx.db.all("SELECT l.* FROM board_labels b JOIN labels l ON l.id=b.label_id WHERE b.board_id=? "
                      "ORDER BY l.title, l.id", board_id)


def label_entity(r):
    return {"id": r["id"], "name": r["title"], "description": r["description"],
            "description_html": labels.html(r["description"]), "text_color": labels.colors.text_color(r["color"]),
            "color": r["color"]}


def milestone_entity(ctx, mid):
    if mid in SPECIAL:
        return {"id": mid, "title": SPECIAL[mid]}
    r = ctx.db.one("SELECT * FROM milestones WHERE id=?", mid)
    return milestones.present(ctx, r) if r else None


def user_entity(ctx, uid):
    return users.basic(ctx, ctx.db.one("SELECT * FROM users WHERE id=?", uid)) if uid else None


def present(ctx, r):
    g = ctx.db.one("SELECT * FROM groups WHERE id=?", r["group_id"])
    out = {"id": r["id"], "name": r["name"], "hide_backlog_list": bool(r["hide_backlog_list"]),
           "hide_closed_list": bool(r["hide_closed_list"]), "project": None,
           "lists": [present_list(ctx, x) for x in visible_lists(ctx, r["id"])]}
    if ctx.app.enterprise:
        out["group"] = {"id": g["id"], "web_url": "%s/groups/%s" % (ctx.app.base_url, g["full_path"]), "name": g["name"]}
        if ctx.premium():
            out["milestone"] = milestone_entity(ctx, r["milestone_id"]) if r["milestone_id"] is not None else None
            out["assignee"] = user_entity(ctx, r["assignee_id"])
            out["labels"] = [label_entity(x) for x in scope_labels(ctx, r["id"])]
            out["weight"] = r["weight"]
    return out


def visible_lists(ctx, board_id):
    kinds = MOVABLE if ctx.premium() else (LABEL,)
    return ctx.db.all("SELECT * FROM lists WHERE board_id=? AND list_type IN (%s) ORDER BY list_type, position"
                      % ",".join(map(str, kinds)), board_id)


def present_list(ctx, r):
    out = {"id": r["id"], "label": None, "position": r["position"]}
    if r["label_id"]:
        out["label"] = label_entity(ctx.db.one("SELECT * FROM labels WHERE id=?", r["label_id"]))
    if ctx.app.enterprise and ctx.premium():
        out["max_issue_count"], out["max_issue_weight"] = r["max_issue_count"], r["max_issue_weight"]
        out["limit_metric"] = r["limit_metric"]
        if r["milestone_id"]:
            out["milestone"] = milestone_entity(ctx, r["milestone_id"])
        if r["user_id"]:
            out["assignee"] = user_entity(ctx, r["user_id"])
        if r["iteration_id"]:
            from . import iterations
            it = ctx.db.one("SELECT * FROM iterations WHERE id=?", r["iteration_id"])
            out["iteration"] = iterations.present(ctx, it) if it else {"id": r["iteration_id"]}
    return out


def condition(ctx, g):
    """Without multiple boards a group shows one only, however many it once had."""
    if ctx.premium() and ctx.app.enterprise:
        return "group_id=?", (g["id"],)
    return "id = (SELECT id FROM boards WHERE group_id=? ORDER BY lower(name), id LIMIT 1)", (g["id"],)


@route("GET", "/groups/:id/boards", PAGE_PARAMS, anonymous=True)
def index(ctx, p):
    g = find_group(ctx)
    where, args = condition(ctx, g)
    return 200, [present(ctx, r) for r in paginate(ctx, p, "SELECT * FROM boards", where, args, "lower(name), id")]


def find(ctx, g):
    where, args = condition(ctx, g)
    r = ctx.db.one("SELECT * FROM boards WHERE id=? AND %s" % where, record_id(ctx.path_params["board_id"], "board_id"), *args)
    if r is None:
        raise not_found()
    return r


@route("GET", "/groups/:id/boards/:board_id", anonymous=True)
def show(ctx, p):
    return 200, present(ctx, find(ctx, find_group(ctx)))


def need_multiple(ctx):
    if not ctx.app.enterprise:
        raise ApiError(404, {"error": "404 Not Found"})


@route("POST", "/groups/:id/boards", (req("name"),))
def create(ctx, p):
    need_multiple(ctx)
    g = find_group(ctx)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    if not ctx.premium():
        raise forbidden()
    e = name_errors(p["name"])
    if e:
        raise message(400, {"name": e})
    bid = insert(ctx.db, g["id"], p["name"])
    return 201, present(ctx, ctx.db.one("SELECT * FROM boards WHERE id=?", bid))


def name_errors(name):
    if not (name or "").strip():
        return ["can't be blank"]
    return ["is too long (maximum is 255 characters)"] if len(name) > 255 else []


def change_board(ctx, g, r, p):
    """p: name, hide_*, and the scope: assignee_id, milestone_id, weight, label_ids. -> {field: messages}"""
    cols = {}
    if p.get("name") is not None:
        e = name_errors(p["name"])
        if e:
            return {"name": e}
        cols["name"] = p["name"]
    for k in ("hide_backlog_list", "hide_closed_list"):
        if p.get(k) is not None:
            cols[k] = int(p[k])
    if ctx.premium() and ctx.app.enterprise:
        if "assignee_id" in p:
            uid = p["assignee_id"]
            if uid in (None, 0) or ctx.db.val("SELECT 1 FROM users WHERE id=?", uid):
                cols["assignee_id"] = uid or None
        if "milestone_id" in p:
            mid = p["milestone_id"]
            if mid is None or mid in SPECIAL or ctx.db.val(
                    "SELECT 1 FROM milestones WHERE id=? AND group_id IN (%s)"
                    % ",".join(map(str, ancestor_ids(g["tids"]))), mid):
                cols["milestone_id"] = mid
        if "weight" in p:
            w = p["weight"]
            if w is not None and not -2 <= w <= 9:
                return {"weight": ["is not included in the list"]}
            cols["weight"] = w
        for k in ("iteration_id", "iteration_cadence_id"):
            if k in p:
                cols[k] = p[k]
        if "label_ids" in p:
            ctx.db.run("DELETE FROM board_labels WHERE board_id=?", r["id"])
            for lid in dict.fromkeys(p["label_ids"] or []):
                if ctx.db.val("SELECT 1 FROM labels WHERE id=? AND %s" % labels.scope_groups(ctx, g, True), lid):
                    ctx.db.insert("board_labels", board_id=r["id"], label_id=lid)
    if cols or "label_ids" in p:
        ctx.db.update("boards", r["id"], **cols, updated_at=now())
    return {}


BOARD_CHANGES = ("name", "hide_backlog_list", "hide_closed_list", "assignee_id", "milestone_id", "labels", "weight")


@route("PUT", "/groups/:id/boards/:board_id", (
    opt("name"), opt("hide_backlog_list", bool), opt("hide_closed_list", bool), opt("assignee_id", int),
    opt("milestone_id", int), opt("labels", "list"), opt("weight", int)))
def change(ctx, p):
    g = find_group(ctx)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    r = find(ctx, g)
    allowed = BOARD_CHANGES if ctx.app.enterprise else BOARD_CHANGES[:3]
    if not any(k in p for k in allowed):
        raise param_error("%s are missing, at least one parameter must be provided" % ", ".join(allowed))
    if p.get("weight") is not None and ctx.premium() and not 0 <= p["weight"] <= 9:
        raise param_error("weight does not have a valid value")
    if "labels" in p and ctx.premium() and ctx.app.enterprise:
        p["label_ids"] = labels.find_or_create(ctx, g, p["labels"] or [])
    e = change_board(ctx, g, r, p)
    if e:
        raise message(400, e)
    return 200, present(ctx, ctx.db.one("SELECT * FROM boards WHERE id=?", r["id"]))


@route("DELETE", "/groups/:id/boards/:board_id")
def delete(ctx, p):
    need_multiple(ctx)
    g = find_group(ctx)
    need(ctx, g, PLANNER)
    if not ctx.premium():
        raise forbidden()
    destroy(ctx.db, find(ctx, g)["id"])
    return 204, None


def destroy(db, board_id):
    db.run("DELETE FROM list_collapsed WHERE list_id IN (SELECT id FROM lists WHERE board_id=?)", board_id)
    db.run("DELETE FROM lists WHERE board_id=?", board_id)
    db.run("DELETE FROM board_labels WHERE board_id=?", board_id)
    db.run("DELETE FROM boards WHERE id=?", board_id)


# ---- lists -----------------------------------------------------------------------------------

@route("GET", "/groups/:id/boards/:board_id/lists", PAGE_PARAMS, anonymous=True)
def lists(ctx, p):
    b = find(ctx, find_group(ctx))
    kinds = MOVABLE if ctx.premium() else (LABEL,)
    rows = paginate(ctx, p, "SELECT * FROM lists", "board_id=? AND list_type IN (%s)" % ",".join(map(str, kinds)),
                    (b["id"],), "list_type, position")
    return 200, [present_list(ctx, r) for r in rows]


def find_list(ctx, b):
    r = ctx.db.one("SELECT * FROM lists WHERE id=? AND board_id=? AND list_type NOT IN (0,2)",
                   record_id(ctx.path_params["list_id"], "list_id"), b["id"])
    if r is None:
        raise not_found()
    return r


@route("GET", "/groups/:id/boards/:board_id/lists/:list_id", anonymous=True)
def show_list(ctx, p):
    return 200, present_list(ctx, find_list(ctx, find(ctx, find_group(ctx))))


def create_list(ctx, g, b, p):
    """-> (row, None) or (None, complaint)."""
    if p.get("label_id") is not None:
        kind, col, val = LABEL, "label_id", p["label_id"]
        ok = ctx.db.val("SELECT 1 FROM labels WHERE id=? AND %s" % labels.scope_groups(ctx, g, True), val)
        name = "Label"
    elif p.get("assignee_id") is not None:
        kind, col, val, name = ASSIGNEE, "user_id", p["assignee_id"], "User"
        ok = ctx.db.val("SELECT 1 FROM users u WHERE id=? AND EXISTS(SELECT 1 FROM members m JOIN groups x ON "
                        "x.id=m.group_id WHERE m.user_id=u.id AND (x.id IN (%s) OR x.tids GLOB '%s*'))"
                        % (",".join(map(str, ancestor_ids(g["tids"]))), g["tids"]), val)
    elif p.get("milestone_id") is not None:
        kind, col, val, name = MILESTONE, "milestone_id", p["milestone_id"], "Milestone"
        ok = ctx.db.val("SELECT 1 FROM milestones WHERE id=? AND group_id IN (%s)"
                        % ",".join(map(str, ancestor_ids(g["tids"]))), val)
    else:
        kind, col, val, name = ITERATION, "iteration_id", p["iteration_id"], "Iteration"
        ok = iteration_exists(ctx, g, val)
    if kind != LABEL and not ctx.premium():
        return None, "%s lists not available with your current license" % {
            ASSIGNEE: "Assignee", MILESTONE: "Milestone", ITERATION: "Iteration"}[kind]
    if not ok:
        return None, "%s not found" % name
    if ctx.db.val("SELECT 1 FROM lists WHERE board_id=? AND %s=?" % col, b["id"], val):
        return None, "%s has already been taken" % name
    top = ctx.db.val("SELECT max(position) FROM lists WHERE board_id=?", b["id"])
    t = now()
    lid = ctx.db.insert("lists", board_id=b["id"], list_type=kind, position=0 if top is None else top + 1, created_at=t,
                        updated_at=t, **{col: val})
    return ctx.db.one("SELECT * FROM lists WHERE id=?", lid), None


def iteration_exists(ctx, g, iteration_id):
    """Iterations register themselves here once their family is loaded."""
    return any(f(ctx, g, iteration_id) for f in ITERATION_FINDERS)


ITERATION_FINDERS = []


@route("POST", "/groups/:id/boards/:board_id/lists", (opt("label_id", int), opt("assignee_id", int),
                                                      opt("milestone_id", int), opt("iteration_id", int)))
def add_list(ctx, p):
    g = find_group(ctx)
    b = find(ctx, g)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    if not ctx.app.enterprise:
        if p.get("label_id") is None:
            raise param_error("label_id is missing")
    else:
        names = ("label_id", "milestone_id", "iteration_id", "assignee_id")
        given = [n for n in names if p.get(n) is not None]
        if not given:
            raise param_error("%s are missing, exactly one parameter must be provided" % ", ".join(names))
        if len(given) > 1:
            raise param_error("%s are mutually exclusive" % ", ".join(given))
    r, complaint = create_list(ctx, g, b, p)
    if complaint:
        raise message(400, {"error": complaint})
    return 201, present_list(ctx, r)


def move(ctx, r, position):
    """Take the list out of its row and put it back at `position`; the others close up and make room."""
    others = [x["id"] for x in ctx.db.all(
        "SELECT id FROM lists WHERE board_id=? AND list_type NOT IN (0,2) AND id<>? ORDER BY position, id",
        r["board_id"], r["id"])]
    others.insert(position, r["id"])
    for i, lid in enumerate(others):
        ctx.db.run("UPDATE lists SET position=? WHERE id=? AND position IS NOT ?", i, lid, i)
    ctx.db.update("lists", r["id"], updated_at=now())


def can_move(ctx, r, position):
    n = ctx.db.val("SELECT max(position) FROM lists WHERE board_id=?", r["board_id"])
    return position is not None and 0 <= position <= (n or 0)


@route("PUT", "/groups/:id/boards/:board_id/lists/:list_id", (req("position", int),))
def move_list(ctx, p):
    g = find_group(ctx)
    b = find(ctx, g)
    r = find_list(ctx, b)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    if not can_move(ctx, r, p["position"]):
        raise message(400, {"error": "Failed to move list!"})
    move(ctx, r, p["position"])
    return 200, present_list(ctx, ctx.db.one("SELECT * FROM lists WHERE id=?", r["id"]))


def remove_list(db, r):
    db.run("DELETE FROM list_collapsed WHERE list_id=?", r["id"])
    db.run("DELETE FROM lists WHERE id=?", r["id"])
    db.run("UPDATE lists SET position=position-1 WHERE board_id=? AND position>?", r["board_id"], r["position"])


@route("DELETE", "/groups/:id/boards/:board_id/lists/:list_id")
def delete_list(ctx, p):
    g = find_group(ctx)
    b = find(ctx, g)
    need(ctx, g, PLANNER)
    remove_list(ctx.db, find_list(ctx, b))
    return 204, None
