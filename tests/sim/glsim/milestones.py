"""Group milestones."""
import html as htmllib
import re

from .auth import PLANNER, ancestor_ids, find_group, need, need_unarchived, record_id
from .db import now, today
from .errors import message, not_found, ruby_hash
from .paging import PAGE_PARAMS, paginate
from .router import opt, req, route

TAG = re.compile(r"<[^>]*>")


def present(ctx, r):
    path = ctx.db.val("SELECT full_path FROM groups WHERE id=?", r["group_id"])
    return {"id": r["id"], "iid": r["iid"], "group_id": r["group_id"], "title": r["title"],
            "description": r["description"], "state": r["state"], "created_at": r["created_at"],
            "updated_at": r["updated_at"], "due_date": r["due_date"], "start_date": r["start_date"],
            "expired": bool(r["due_date"] and r["due_date"] < today()),
            "web_url": "%s/groups/%s/-/milestones/%d" % (ctx.app.base_url, path, r["iid"])}


@route("GET", "/groups/:id/milestones", PAGE_PARAMS + (
    opt("state", str, values=("active", "closed", "all"), default="all"), opt("iids", "ints"), opt("title"),
    opt("search"), opt("include_parent_milestones", bool), opt("include_ancestors", bool),
    opt("include_descendants", bool), opt("updated_before", "time"), opt("updated_after", "time"),
    opt("containing_date", "date"), opt("start_date", "date"), opt("end_date", "date")), anonymous=True)
def index(ctx, p):
    g = find_group(ctx)
    ids = ["%d" % g["id"]]
    if p.get("include_ancestors") or p.get("include_parent_milestones"):
        ids = [str(i) for i in ancestor_ids(g["tids"])]
    cond = "group_id IN (%s)" % ",".join(ids)
    if p.get("include_descendants"):
        cond = "(%s OR group_id IN (SELECT id FROM groups WHERE tids GLOB '%s*'))" % (cond, g["tids"])
    where, args = [cond], []
    if p["state"] != "all":
        where.append("state=?")
        args.append(p["state"])
    if p.get("iids"):
        where.append("iid IN (%s)" % ",".join(map(str, p["iids"])))
    if p.get("title") is not None:
        where.append("title=?")
        args.append(p["title"])
    if p.get("search"):
        where.append("(instr(lower(title), lower(?)) OR instr(lower(coalesce(description,'')), lower(?)))")
        args += [p["search"]] * 2
    for name, op in (("updated_before", "<="), ("updated_after", ">=")):
        if p.get(name) and ctx.version >= (15, 10):
            where.append("updated_at %s ?" % op)
            args.append(p[name])
    if p.get("containing_date"):
        where.append("(start_date IS NULL OR start_date<=?) AND (due_date IS NULL OR due_date>=?)")
        args += [p["containing_date"]] * 2
    rows = paginate(ctx, p, "SELECT * FROM milestones", " AND ".join(where), args, "id DESC")
    return 200, [present(ctx, r) for r in rows]


def find(ctx, g):
    r = ctx.db.one("SELECT * FROM milestones WHERE id=? AND group_id=?",
                   record_id(ctx.path_params["milestone_id"], "milestone_id"), g["id"])
    if r is None:
        raise not_found()
    return r


@route("GET", "/groups/:id/milestones/:milestone_id", anonymous=True)
def show(ctx, p):
    return 200, present(ctx, find(ctx, find_group(ctx)))


@route("GET", "/groups/:id/milestones/:milestone_id/issues", PAGE_PARAMS, anonymous=True)
@route("GET", "/groups/:id/milestones/:milestone_id/merge_requests", PAGE_PARAMS, anonymous=True)
def issues(ctx, p):
    find(ctx, find_group(ctx))
    return 200, paginate(ctx, p, "SELECT 1 FROM meta", "0", (), "1")


def normalise_title(ctx, title):
    title = title.strip()
    if ctx.app.config["sanitize_milestone_titles"]:
        title = htmllib.unescape(TAG.sub("", title))
    return title


def title_taken(ctx, g, title, but=0):
    """In this group; from 17.0 on also anywhere above or below it."""
    wide = ctx.app.config["milestone_hierarchy_unique"]
    if wide is None:
        wide = ctx.version >= (17, 0)
    if wide:
        cond = "(group_id IN (%s) OR group_id IN (SELECT id FROM groups WHERE tids GLOB '%s*'))" % (
            ",".join(map(str, ancestor_ids(g["tids"]))), g["tids"])
    else:
        cond = "group_id=%d" % g["id"]
    return ctx.db.val("SELECT 1 FROM milestones WHERE title=? AND id<>? AND %s" % cond, title, but)


def check(ctx, g, new, old=None):
    """-> {field: [messages]} of the model. new: all columns as they are to be."""
    e = {}
    if not new["title"]:
        e["title"] = ["can't be blank"]
    elif len(new["title"]) > 255:
        e["title"] = ["is too long (maximum is 255 characters)"]
    elif (old is None or old["title"] != new["title"]) and title_taken(ctx, g, new["title"], old["id"] if old else 0):
        e["title"] = ["already being used for another group or project milestone."]
    if new["start_date"] and new["due_date"] and new["due_date"] <= new["start_date"]:
        e["due_date"] = ["must be greater than start date"]
    for k in ("start_date", "due_date"):
        if new[k] and len(new[k].split("-")[0]) > 4:
            e.setdefault(k, []).append("date must not be after 9999-12-31")
    return e


@route("POST", "/groups/:id/milestones", (req("title"), opt("description"), opt("due_date"), opt("start_date")))
def create(ctx, p):
    g = find_group(ctx)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    new = {"title": normalise_title(ctx, p["title"]), "description": p.get("description"),
           "start_date": lenient_date(p.get("start_date")), "due_date": lenient_date(p.get("due_date"))}
    e = check(ctx, g, new)
    if e:
        raise message(400, "Failed to create milestone " + ruby_hash(e, ctx.version))
    t = now()
    rid = ctx.db.insert("milestones", group_id=g["id"], iid=ctx.db.next_counter(g["id"], "milestones"), created_at=t,
                        updated_at=t, **new)
    return 201, present(ctx, ctx.db.one("SELECT * FROM milestones WHERE id=?", rid))


def lenient_date(text):
    """Declared as text in the API: what is no date is dropped by the database column."""
    m = re.match(r"^\s*(\d{4,5})-(\d{1,2})-(\d{1,2})", text or "")
    if not m or not (1 <= int(m[2]) <= 12 and 1 <= int(m[3]) <= 31):
        return None
    return "%s-%02d-%02d" % (m[1], int(m[2]), int(m[3]))


@route("PUT", "/groups/:id/milestones/:milestone_id", (
    opt("title"), opt("description"), opt("due_date"), opt("start_date"),
    opt("state_event", str, values=("close", "activate"))),
    rules=(("at_least_one", ("title", "description", "start_date", "due_date", "state_event")),))
def change(ctx, p):
    g = find_group(ctx)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    r = find(ctx, g)
    new = {k: r[k] for k in ("title", "description", "start_date", "due_date", "state")}
    if p.get("title") is not None:
        new["title"] = normalise_title(ctx, p["title"])
    if "description" in p:
        new["description"] = p["description"]
    for k in ("start_date", "due_date"):
        if k in p:
            new[k] = lenient_date(p[k])
    if p.get("state_event"):
        new["state"] = "closed" if p["state_event"] == "close" else "active"
    e = check(ctx, g, new, r)
    if e:
        raise message(400, "Failed to update milestone " + ruby_hash(e, ctx.version))
    changed = {k: v for k, v in new.items() if r[k] != v}
    if changed:
        ctx.db.update("milestones", r["id"], **changed, updated_at=now())
    return 200, present(ctx, ctx.db.one("SELECT * FROM milestones WHERE id=?", r["id"]))


# Statements of other families (one ? = milestone id) that drop references to a milestone.
ON_MILESTONE_DELETE = ["UPDATE boards SET milestone_id=NULL WHERE milestone_id=?", "DELETE FROM lists WHERE milestone_id=?"]


@route("DELETE", "/groups/:id/milestones/:milestone_id")
def delete(ctx, p):
    g = find_group(ctx)
    need(ctx, g, PLANNER)
    r = find(ctx, g)
    for sql in ON_MILESTONE_DELETE:
        ctx.db.run(sql, r["id"])
    ctx.db.run("DELETE FROM milestones WHERE id=?", r["id"])
    return 204, None
