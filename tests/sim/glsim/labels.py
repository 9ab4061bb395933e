"""Group labels."""
from . import colors
from .auth import PLANNER, ancestor_ids, find_group, need, need_unarchived, need_user
from .db import now
from .errors import message, not_found
from .paging import PAGE_PARAMS, paginate
from .router import opt, req, route

DEFAULT_COLOR = "#6699cc"
DESCRIPTION_LIMIT = 512 * 1024


def html(text):
    """Enough of a rendering for a single line of plain text."""
    return (text or "").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def present(ctx, r, counts=False):
    out = {"id": r["id"], "name": r["title"], "description": r["description"], "description_html": html(r["description"]),
           "text_color": colors.text_color(r["color"]), "color": r["color"]}
    if ctx.version >= (18, 10):
        out["archived"] = bool(r["archived"])
    if counts:
        out.update(open_issues_count=0, closed_issues_count=0, open_merge_requests_count=0)
    out["subscribed"] = bool(ctx.user is not None and ctx.db.val(
        "SELECT 1 FROM label_subscriptions WHERE label_id=? AND user_id=?", r["id"], ctx.user["id"]))
    return out


def scope_groups(ctx, g, ancestors, descendants=False):
    """SQL condition for labels of the group, with or without those of its relatives."""
    if descendants:
        cond = "group_id IN (SELECT id FROM groups WHERE tids GLOB '%s*')" % g["tids"]
        if ancestors:
            cond = "(%s OR group_id IN (%s))" % (cond, ",".join(map(str, ancestor_ids(g["tids"]))))
        return cond
    if ancestors:
        return "group_id IN (%s)" % ",".join(map(str, ancestor_ids(g["tids"])))
    return "group_id=%d" % g["id"]


@route("GET", "/groups/:id/labels", PAGE_PARAMS + (
    opt("with_counts", bool, default=False), opt("include_ancestor_groups", bool, default=True),
    opt("include_descendant_groups", bool, default=False), opt("only_group_labels", bool, default=True),
    opt("search", str), opt("archived", bool)), anonymous=True)
def index(ctx, p):
    g = find_group(ctx)
    where = [scope_groups(ctx, g, p["include_ancestor_groups"], p["include_descendant_groups"])]
    args = []
    if p.get("search"):
        where.append("(instr(lower(title), lower(?)) OR instr(lower(coalesce(description,'')), lower(?)))")
        args += [p["search"]] * 2
    if p.get("archived") is not None and ctx.version >= (18, 10):
        where.append("archived=%d" % p["archived"])
    rows = paginate(ctx, p, "SELECT * FROM labels", " AND ".join(where), args, "title, id")
    return 200, [present(ctx, r, p["with_counts"]) for r in rows]


def find(ctx, g, ref, ancestors=True):
    """By id first, then by title: a label called "42" loses against the label with that id."""
    where = scope_groups(ctx, g, ancestors)
    if ref.isdigit() and len(ref) < 19:
        r = ctx.db.one("SELECT * FROM labels WHERE id=? AND %s" % where, int(ref))
        if r:
            return r
    r = ctx.db.one("SELECT * FROM labels WHERE title=? AND %s ORDER BY group_id=%d DESC" % (where, g["id"]), ref)
    if r is None:
        raise not_found("Label")
    return r


@route("GET", "/groups/:id/labels/:name", (opt("include_ancestor_groups", bool, default=True),
                                           opt("include_descendant_groups", bool), opt("only_group_labels", bool)),
       anonymous=True)
def show(ctx, p):
    g = find_group(ctx)
    return 200, present(ctx, find(ctx, g, ctx.path_params["name"], p["include_ancestor_groups"]))


def errors_of(ctx, group_id, title, color, description, but=0):
    """-> {field: [messages]} of the model."""
    e = {}
    if title is not None:
        if not title:
            e["title"] = ["can't be blank", "is invalid"]
        elif "," in title:
            e["title"] = ["is invalid"]
        elif len(title) > 255:
            e["title"] = ["is too long (maximum is 255 characters)"]
        elif ctx.db.val("SELECT 1 FROM labels WHERE group_id=? AND title=? AND id<>?", group_id, title, but):
            e["title"] = ["has already been taken"]
    if color is not None and colors.normalise(color) is None:
        e["color"] = ["must be a valid color code"]
    if description is not None and len(description) > DESCRIPTION_LIMIT:
        e["description"] = ["is too long (maximum is %d characters)" % DESCRIPTION_LIMIT]
    return e


def insert(ctx, g, title, color, description):
    t = now()
    rid = ctx.db.insert("labels", group_id=g["id"], title=title, color=colors.normalise(color),
                        description=description, created_at=t, updated_at=t)
    return ctx.db.one("SELECT * FROM labels WHERE id=?", rid)


@route("POST", "/groups/:id/labels", (req("name"), req("color"), opt("description"), opt("priority", int)))
def create(ctx, p):
    g = find_group(ctx)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    title = p["name"].strip()
    if ctx.db.val("SELECT 1 FROM labels WHERE title=? AND %s" % scope_groups(ctx, g, True), p["name"]):
        raise message(409, "Label already exists")
    e = errors_of(ctx, g["id"], title, p["color"] or DEFAULT_COLOR, p.get("description"))
    if e:
        raise message(400, e)
    return 201, present(ctx, insert(ctx, g, title, p["color"] or DEFAULT_COLOR, p.get("description")))


def update(ctx, p, ref):
    g = find_group(ctx)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    r = find(ctx, g, ref, ancestors=False)
    cols = {}
    if p.get("new_name") is not None:
        cols["title"] = p["new_name"].strip()
    if p.get("color") is not None:
        cols["color"] = p["color"]
    if "description" in p:
        cols["description"] = p["description"]
    e = errors_of(ctx, g["id"], cols.get("title"), cols.get("color"), cols.get("description"), r["id"])
    if e:
        raise message(400, e)
    if "color" in cols:
        cols["color"] = colors.normalise(cols["color"])
    if p.get("archived") is not None and ctx.version >= (18, 10):
        cols["archived"] = int(p["archived"])
    changed = {k: v for k, v in cols.items() if r[k] != v}
    if changed:
        ctx.db.update("labels", r["id"], **changed, updated_at=now())
    return 200, present(ctx, ctx.db.one("SELECT * FROM labels WHERE id=?", r["id"]))


CHANGES = (opt("new_name"), opt("color"), opt("description"), opt("archived", bool), opt("priority", int))
ONE_CHANGE = (("at_least_one", ("new_name", "color", "description", "archived")),)


@route("PUT", "/groups/:id/labels/:name", CHANGES, rules=ONE_CHANGE)
def change(ctx, p):
    return update(ctx, p, ctx.path_params["name"])


@route("PUT", "/groups/:id/labels", (opt("name"), opt("label_id")) + CHANGES,
       rules=(("exactly_one", ("label_id", "name")),) + ONE_CHANGE)
def change_old_form(ctx, p):
    return update(ctx, p, p.get("label_id") or p["name"])


def remove(ctx, ref):
    g = find_group(ctx)
    need(ctx, g, PLANNER)
    r = find(ctx, g, ref, ancestors=False)
    ctx.db.run("DELETE FROM lists WHERE label_id=?", r["id"])
    ctx.db.run("DELETE FROM board_labels WHERE label_id=?", r["id"])
    ctx.db.run("DELETE FROM label_subscriptions WHERE label_id=?", r["id"])
    for sql in ON_LABEL_DELETE:
        ctx.db.run(sql, r["id"])
    ctx.db.run("DELETE FROM labels WHERE id=?", r["id"])
    return 204, None


# Statements of other families (one ? = label id) that drop references to a label.
ON_LABEL_DELETE = []


@route("DELETE", "/groups/:id/labels/:name")
def delete(ctx, p):
    return remove(ctx, ctx.path_params["name"])


@route("DELETE", "/groups/:id/labels", (req("name"),))
def delete_old_form(ctx, p):
    return remove(ctx, p["name"])


def subscription(ctx, wanted):
    user = need_user(ctx)
    g = find_group(ctx)
    r = find(ctx, g, ctx.path_params["name"])
    have = ctx.db.val("SELECT 1 FROM label_subscriptions WHERE label_id=? AND user_id=?", r["id"], user["id"])
    if bool(have) == wanted:
        return 304, None
    if wanted:
        ctx.db.insert("label_subscriptions", label_id=r["id"], user_id=user["id"])
    else:
        ctx.db.run("DELETE FROM label_subscriptions WHERE label_id=? AND user_id=?", r["id"], user["id"])
    return 201, present(ctx, r)


@route("POST", "/groups/:id/labels/:name/subscribe")
def subscribe(ctx, p):
    return subscription(ctx, True)


@route("POST", "/groups/:id/labels/:name/unsubscribe")
def unsubscribe(ctx, p):
    return subscription(ctx, False)


def find_or_create(ctx, g, titles):
    """What the label finder does with names in other records' parameters: unknown ones come into being."""
    ids = []
    for title in titles:
        title = title.strip()
        if not title:
            continue
        r = ctx.db.one("SELECT id FROM labels WHERE title=? AND %s" % scope_groups(ctx, g, True), title)
        if r is None:
            r = insert(ctx, g, title, DEFAULT_COLOR, None)
        ids.append(r["id"])
    return ids
