"""Members of groups: direct ones, and the view with inherited ones."""
from .auth import (LEVEL_NAMES, OWNER, ancestor_ids, find_group, need, need_unarchived, record_id)
from .db import now, today
from .errors import ApiError, forbidden, message, not_found
from .paging import PAGE_PARAMS, paginate
from .router import opt, req, route
from . import users

COLS = "m.*, u.id AS uid, u.username, u.name, u.state, u.email, u.bot"
JOIN = "SELECT %s FROM members m JOIN users u ON u.id=m.user_id" % COLS


def allowed_levels(ctx, g):
    out = [10, 20, 30, 40, 50]
    if ctx.version >= (17, 7):
        out.insert(1, 15)
    if ctx.premium() and ctx.app.enterprise and g["parent_id"] is None:
        out.insert(0, 5)
    return out


def present(ctx, r, seats=False):
    u = {"id": r["uid"], "username": r["username"], "name": r["name"], "state": r["state"], "email": r["email"]}
    out = users.basic(ctx, u)
    out["access_level"] = r["access_level"]
    out["created_at"] = r["created_at"]
    if r["created_by_id"]:
        by = ctx.db.one("SELECT * FROM users WHERE id=?", r["created_by_id"])
        if by is not None:
            out["created_by"] = users.basic(ctx, by)
    out["expires_at"] = r["expires_at"]
    if ctx.app.enterprise:
        out["membership_state"] = "active"
        if ctx.admin:
            out["email"] = r["email"]
        if seats:
            out["is_using_seat"] = r["access_level"] > 10
        if ctx.ultimate():
            out["member_role"] = None
    return out


FILTERS = (opt("query"), opt("user_ids", "ints"), opt("skip_users", "ints"), opt("show_seat_info", bool))


def filter_condition(p):
    where, args = "1", []
    if p.get("query"):
        where += " AND (instr(lower(u.name), lower(?)) OR instr(lower(u.username), lower(?)))"
        args += [p["query"]] * 2
    if p.get("user_ids"):
        where += " AND u.id IN (%s)" % ",".join(map(str, p["user_ids"]))
    if p.get("skip_users"):
        where += " AND u.id NOT IN (%s)" % ",".join(map(str, p["skip_users"]))
    return where, args


@route("GET", "/groups/:id/members", PAGE_PARAMS + FILTERS, anonymous=True)
def index(ctx, p):
    g = find_group(ctx)
    where, args = filter_condition(p)
    rows = paginate(ctx, p, JOIN, "m.group_id=? AND " + where, (g["id"], *args), "m.id")
    return 200, [present(ctx, r, p.get("show_seat_info")) for r in rows]


# One row per user: the highest role wins, the nearest group among equals.
ALL = ("SELECT * FROM (SELECT %s, row_number() OVER (PARTITION BY m.user_id ORDER BY m.access_level DESC, "
       "length(g.tids) DESC) AS rn FROM members m JOIN users u ON u.id=m.user_id JOIN groups g ON g.id=m.group_id "
       "WHERE m.group_id IN (%%s) AND (m.expires_at IS NULL OR m.expires_at > date('now')) AND %%s)" % COLS)


@route("GET", "/groups/:id/members/all", PAGE_PARAMS + FILTERS + (opt("state"),), anonymous=True)
def index_all(ctx, p):
    g = find_group(ctx)
    where, args = filter_condition(p)
    ids = ",".join(map(str, ancestor_ids(g["tids"])))
    rows = paginate(ctx, p, ALL % (ids, where), "rn=1", args, "id")
    return 200, [present(ctx, r, p.get("show_seat_info")) for r in rows]


@route("GET", "/groups/:id/members/:user_id", anonymous=True)
def show(ctx, p):
    return 200, present(ctx, direct(ctx, find_group(ctx)))


@route("GET", "/groups/:id/members/all/:user_id", anonymous=True)
def show_all(ctx, p):
    g = find_group(ctx)
    ids = ",".join(map(str, ancestor_ids(g["tids"])))
    r = ctx.db.one(ALL % (ids, "u.id=?") + " WHERE rn=1", record_id(ctx.path_params["user_id"], "user_id"))
    if r is None:
        raise not_found()
    return 200, present(ctx, r)


def direct(ctx, g):
    r = ctx.db.one(JOIN + " WHERE m.group_id=? AND m.user_id=?", g["id"], record_id(ctx.path_params["user_id"], "user_id"))
    if r is None:
        raise not_found()
    return r


def check(ctx, g, user_id, level, expires_at, expires_given):
    """-> {field: [messages]} of the model."""
    errors = {}
    if level not in allowed_levels(ctx, g):
        errors["access_level"] = ["is not included in the list"]
    ids = ancestor_ids(g["tids"])[:-1]
    if ids:
        top = ctx.db.one("SELECT m.access_level, g.name FROM members m JOIN groups g ON g.id=m.group_id WHERE "
                         "m.user_id=? AND m.group_id IN (%s) AND (m.expires_at IS NULL OR m.expires_at > date('now')) "
                         "ORDER BY m.access_level DESC, length(g.tids) DESC" % ",".join(map(str, ids)), user_id)
        if top and top["access_level"] > level:
            errors["access_level"] = ["should be greater than or equal to %s inherited membership from group %s"
                                      % (LEVEL_NAMES[top["access_level"]], top["name"])]
    if expires_given and expires_at and expires_at < today():
        errors["expires_at"] = ["cannot be a date in the past"]
    return errors


LEVELS = (5, 10, 15, 20, 30, 40, 50)


@route("POST", "/groups/:id/members", (
    req("access_level", int, values=LEVELS), opt("user_id", str), opt("username", str), opt("expires_at", "date"),
    opt("member_role_id", int), opt("invite_source", str)), rules=(("exactly_one", ("user_id", "username")),))
def create(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    need_unarchived(ctx, g)
    who = p["user_id"] if p.get("user_id") is not None else p["username"]
    if "," in who:
        return bulk(ctx, g, p, who.split(","))
    if p.get("user_id") is not None:
        u = ctx.db.one("SELECT * FROM users WHERE id=?", int(who)) if who.isdigit() and len(who) < 19 else None
    else:
        u = ctx.db.one("SELECT * FROM users WHERE username=?", who)
    if u is None:
        raise not_found("User")
    if ctx.db.val("SELECT 1 FROM members WHERE group_id=? AND user_id=?", g["id"], u["id"]):
        raise message(409, "Member already exists")
    if u["bot"]:
        raise message(400, {"user": ["is not in the group enforcing Group Managed Account"]})
    if ctx.app.config["member_promotion_management"] and not ctx.admin and p["access_level"] > 10:
        return 201, {"message": {u["username"]: "Request queued for administrator approval."}, "status": "success"}
    errors = check(ctx, g, u["id"], p["access_level"], p.get("expires_at"), True)
    if errors:
        raise message(400, errors)
    insert(ctx, g, u["id"], p)
    return 201, present(ctx, ctx.db.one(JOIN + " WHERE m.group_id=? AND m.user_id=?", g["id"], u["id"]))


def insert(ctx, g, user_id, p):
    t = now()
    ctx.db.insert("members", group_id=g["id"], user_id=user_id, access_level=p["access_level"],
                  expires_at=p.get("expires_at"), created_by_id=ctx.user["id"], created_at=t, updated_at=t)


def bulk(ctx, g, p, names):
    """The form with several users: no 409, a map of complaints instead."""
    column = "id" if p.get("user_id") is not None else "username"
    complaints = {}
    for name in names:
        name = name.strip()
        u = ctx.db.one("SELECT * FROM users WHERE %s=?" % column, name)
        if u is None:
            complaints[name] = "not found"
            continue
        old = ctx.db.one("SELECT * FROM members WHERE group_id=? AND user_id=?", g["id"], u["id"])
        errors = check(ctx, g, u["id"], p["access_level"], p.get("expires_at"), True)
        if errors:
            complaints[u["username"]] = " and ".join("%s %s" % (k.replace("_", " ").capitalize(), m)
                                                     for k, ms in errors.items() for m in ms)
        elif old:
            ctx.db.update("members", old["id"], access_level=p["access_level"], expires_at=p.get("expires_at"),
                          updated_at=now())
        else:
            insert(ctx, g, u["id"], p)
    if complaints:
        return 201, {"status": "error", "message": complaints}
    return 201, {"status": "success"}


def last_owner(ctx, g, r):
    """Is this the only Owner, counting those of the groups above?"""
    if r["access_level"] < OWNER:
        return False
    return not ctx.db.val("SELECT 1 FROM members m JOIN users u ON u.id=m.user_id WHERE m.group_id IN (%s) AND "
                          "m.access_level=50 AND m.id<>? AND u.bot=0 AND (m.expires_at IS NULL OR "
                          "m.expires_at > date('now'))" % ",".join(map(str, ancestor_ids(g["tids"]))), r["id"])


@route("PUT", "/groups/:id/members/:user_id", (req("access_level", int, values=LEVELS), opt("expires_at", "date"),
                                               opt("member_role_id", int)))
def change(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    need_unarchived(ctx, g)
    r = direct(ctx, g)
    if last_owner(ctx, g, r) and p["access_level"] < OWNER:
        raise forbidden()
    errors = check(ctx, g, r["user_id"], p["access_level"], p.get("expires_at"), "expires_at" in p)
    if errors:
        raise message(400, errors)
    cols = {"access_level": p["access_level"]}
    if "expires_at" in p:
        cols["expires_at"] = p["expires_at"]
    if any(r[k] != v for k, v in cols.items()):
        ctx.db.update("members", r["id"], **cols, updated_at=now())
    return 200, present(ctx, ctx.db.one(JOIN + " WHERE m.id=?", r["id"]))


@route("DELETE", "/groups/:id/members/:user_id", (opt("skip_subresources", bool, default=False),
                                                  opt("unassign_issuables", bool, default=False)))
def delete(ctx, p):
    g = find_group(ctx)
    if ctx.user is None:
        raise ApiError(401, {"message": "401 Unauthorized"})
    r = direct(ctx, g)
    if ctx.user["id"] != r["user_id"]:
        need(ctx, g, OWNER)
    if last_owner(ctx, g, r):
        raise forbidden()
    if p["skip_subresources"]:
        ctx.db.run("DELETE FROM members WHERE id=?", r["id"])
    else:
        ctx.db.run("DELETE FROM members WHERE user_id=? AND group_id IN (SELECT id FROM groups WHERE tids GLOB ?)",
                   r["user_id"], g["tids"] + "*")
    return 204, None
