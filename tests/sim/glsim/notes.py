"""Notes and threads of epics, and the events of labels and states. These endpoints name the epic by its global id, not by its iid."""
import hashlib

from . import awards, epics, features, groups, quick_actions, users
from . import db as state
from .auth import GUEST, MAINTAINER, OWNER, PLANNER, archived, can, find_group, need_unarchived, need_user, record_id
from .db import now
from .errors import bad_request, forbidden, not_found, ruby_hash
from .paging import PAGE_PARAMS, paginate
from .router import Invalid, opt, req, route, to_time

state.EXTRA_TABLES.append(("notes", """
CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, noteable_id INTEGER NOT NULL,
  author_id INTEGER NOT NULL, note TEXT NOT NULL, system INTEGER NOT NULL DEFAULT 0, action TEXT, internal INTEGER NOT NULL DEFAULT 0,
  type TEXT, discussion_id TEXT NOT NULL, updated_by_id INTEGER, last_edited_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE INDEX notes_noteable ON notes(noteable_id, created_at, id);
CREATE INDEX notes_discussion ON notes(discussion_id);
"""))
groups.GROUP_TABLES.append("notes")
LIMIT = 1000000


def on_delete(db, part):
    inside = "SELECT id FROM notes WHERE noteable_id IN (%s)" % part
    db.run("DELETE FROM award_emoji WHERE awardable_type='Note' AND awardable_id IN (%s)" % inside)
    db.run("DELETE FROM events WHERE target_type='Note' AND target_id IN (%s)" % inside)
    db.run("DELETE FROM notes WHERE noteable_id IN (%s)" % part)


epics.ON_DELETE.append(on_delete)


# ---- records ---------------------------------------------------------------------------------

def by_id(db, nid):
    return db.one("SELECT * FROM notes WHERE id=?", nid)


def insert(db, r, author_id, text, t, discussion=None, **cols):
    nid = db.insert("notes", group_id=r["group_id"], noteable_id=r["id"], author_id=author_id, note=text, created_at=t,
                    discussion_id=discussion or "", **{"updated_at": t, **cols})
    if discussion is None:
        db.update("notes", nid, discussion_id=hashlib.sha1(b"discussion %d %d" % (r["id"], nid)).hexdigest())
    return nid


def system(ctx, r, text, action, t):
    """A note that the server writes in the caller's name."""
    insert(ctx.db, r, ctx.user["id"], text, t, system=1, action=action)
    epics.touch(ctx.db, r["id"], t)


def readable(ctx, n, g):
    return not n["internal"] or can(ctx, g, PLANNER) or ctx.user is not None and n["author_id"] == ctx.user["id"]


def create(ctx, r, g, text, discussion=None, internal=False, created_at=None, thread=False):
    """A note of the caller, with its quick actions. -> (row or None, messages of the commands). discussion: rows to answer to."""
    deeds, said = [], []
    text, deeds = quick_actions.extract(text)
    if deeds:
        p = {}
        said = quick_actions.apply_to_params(ctx, g, r, deeds, p)
        if can(ctx, g, PLANNER):
            epics.save(ctx, g, r, p)
        quick_actions.apply_after(ctx, g, r, [d for d in deeds if d[0] in ("award", "subscribe", "unsubscribe") or can(ctx, g, PLANNER)])
        if not text.strip():
            return None, said
    t = created_at or now()
    kind = "DiscussionNote" if thread or discussion else None
    if discussion:
        for n in discussion:
            if n["type"] is None:
                ctx.db.update("notes", n["id"], type="DiscussionNote")
    nid = insert(ctx.db, r, ctx.user["id"], text, t, discussion[0]["discussion_id"] if discussion else None, type=kind,
                 internal=int(bool(internal or discussion and discussion[0]["internal"])))
    epics.event(ctx.db, r, ctx.user["id"], "commented", t, "Note", nid)
    epics.touch(ctx.db, r["id"])
    return by_id(ctx.db, nid), said


def change(ctx, n, text):
    if text != n["note"]:
        t = now()
        ctx.db.update("notes", n["id"], note=text, updated_at=t, last_edited_at=t, updated_by_id=ctx.user["id"])
        epics.touch(ctx.db, n["noteable_id"], t)
    return by_id(ctx.db, n["id"])


def remove(db, n):
    db.run("DELETE FROM award_emoji WHERE awardable_type='Note' AND awardable_id=?", n["id"])
    db.run("DELETE FROM events WHERE target_type='Note' AND target_id=?", n["id"])
    db.run("DELETE FROM notes WHERE id=?", n["id"])
    epics.touch(db, n["noteable_id"])


def may_change(ctx, n, g):
    return not n["system"] and (n["author_id"] == ctx.user["id"] or can(ctx, g, MAINTAINER))


def errors_of(text):
    if not (text or "").strip():
        return {"note": ["can't be blank"]}
    return {"note": ["is too long (maximum is %d characters)" % LIMIT]} if len(text) > LIMIT else {}


# ---- REST ------------------------------------------------------------------------------------

def present(ctx, n, r):
    out = {"id": n["id"], "type": n["type"], "body": n["note"], "attachment": None,
           "author": users.basic(ctx, ctx.db.one("SELECT * FROM users WHERE id=?", n["author_id"])), "created_at": n["created_at"],
           "updated_at": n["updated_at"], "system": bool(n["system"]), "noteable_id": n["noteable_id"], "noteable_type": "Epic",
           "project_id": None, "resolvable": False, "confidential": bool(n["internal"])}
    if ctx.version >= (15, 0):
        out["internal"] = bool(n["internal"])
    if ctx.version >= (17, 2):
        out.update(imported=False, imported_from="none")
    out.update(noteable_iid=r["iid"], commands_changes={})
    return out


def noteable(ctx):
    """-> (group of the path, the epic with that id in it or below it, the epic's own group)"""
    features.need_epic_rest(ctx)
    need_user(ctx)
    g = find_group(ctx)
    r = features.licensed(ctx) and epics.by_id(ctx.db, record_id(ctx.path_params["epic_id"], "noteable_id"))
    own = r and epics.group_of(ctx.db, r)
    if not r or not own["tids"].startswith(g["tids"]) or not epics.can_read_epic(ctx, r, own):
        raise not_found("Epic")
    return g, r, own


def condition(ctx, r, g, only=None):
    where = "noteable_id=%d" % r["id"]
    if not can(ctx, g, PLANNER):
        where += " AND (internal=0 OR author_id=%d)" % (ctx.user["id"] if ctx.user is not None else 0)
    if only in ("only_comments", "only_activity"):
        where += " AND system=%d" % (only == "only_activity")
    return where


@route("GET", "/groups/:id/epics/:epic_id/notes", PAGE_PARAMS + (
    opt("order_by", str, values=("created_at", "updated_at"), default="created_at"), opt("sort", str, values=("asc", "desc"), default="desc"),
    opt("activity_filter", str, values=("all_notes", "only_comments", "only_activity"), default="all_notes")))
def index(ctx, p):
    _, r, g = noteable(ctx)
    rows = paginate(ctx, p, "SELECT * FROM notes", condition(ctx, r, g, p["activity_filter"]), (),
                    "%s %s, id %s" % (p["order_by"], p["sort"], p["sort"]))
    return 200, [present(ctx, n, r) for n in rows]


def find(ctx, r, g, what="Note"):
    n = ctx.db.one("SELECT * FROM notes WHERE id=? AND noteable_id=?", record_id(ctx.path_params["note_id"], "note_id"), r["id"])
    if n is None:
        raise not_found()
    if not readable(ctx, n, g):
        raise not_found(what)
    return n


@route("GET", "/groups/:id/epics/:epic_id/notes/:note_id")
def show(ctx, p):
    _, r, g = noteable(ctx)
    return 200, present(ctx, find(ctx, r, g), r)


BODY = (req("body"), opt("confidential", bool), opt("internal", bool), opt("created_at"))


def written(ctx, r, g, p, discussion=None, thread=False):
    """The answer to a new note; its row stands in the second place."""
    if not awards.may_award(ctx, g) or r["discussion_locked"] and not can(ctx, g, GUEST):
        raise forbidden()
    need_unarchived(ctx, g)
    internal = p.get("confidential") if ctx.version < (15, 0) or p.get("internal") is None else p["internal"]
    if internal and not can(ctx, g, PLANNER):
        raise forbidden()
    e = errors_of(p["body"])
    if e:
        raise bad_request("Note " + ruby_hash(e, ctx.version))
    created = None
    if p.get("created_at") and can(ctx, g, OWNER) and not archived(ctx, g):
        try:
            created = to_time(p["created_at"])
        except Invalid:
            pass
    try:
        n, said = create(ctx, r, g, p["body"], discussion, internal, created, thread)
    except epics.Invalid as e:
        raise bad_request(", ".join("%s %s" % (k.capitalize(), m) for k, ms in e.fields.items() for m in ms)) from None
    if n is None:
        if not said:
            raise bad_request("Could not apply the commands.")
        return (202, {"commands_changes": {}, "summary": said}), None
    return None, n


@route("POST", "/groups/:id/epics/:epic_id/notes", BODY)
def add(ctx, p):
    _, r, g = noteable(ctx)
    answer, n = written(ctx, r, g, p)
    return answer or (201, present(ctx, n, r))


def edit(ctx, p):
    _, r, g = noteable(ctx)
    n = find(ctx, r, g)
    if not may_change(ctx, n, g):
        raise forbidden()
    if "body" in p:
        e = errors_of(p["body"])
        if e:
            raise bad_request("Note " + ruby_hash(e, ctx.version))
        n = change(ctx, n, p["body"])
    return 200, present(ctx, n, r)


def drop(ctx, p):
    _, r, g = noteable(ctx)
    n = find(ctx, r, g)
    if not may_change(ctx, n, g):
        raise forbidden()
    remove(ctx.db, n)
    return 204, None


for _path in ("/groups/:id/epics/:epic_id/notes/:note_id", "/groups/:id/epics/:epic_id/discussions/:discussion_id/notes/:note_id"):
    route("PUT", _path, (opt("body"), opt("confidential", bool)))(edit)
    route("DELETE", _path)(drop)


# ---- threads ---------------------------------------------------------------------------------

def present_discussion(ctx, rows, r):
    return {"id": rows[0]["discussion_id"], "individual_note": rows[0]["type"] is None, "notes": [present(ctx, n, r) for n in rows]}


def thread_rows(ctx, r, g, did):
    return ctx.db.all("SELECT * FROM notes WHERE discussion_id=? AND %s ORDER BY created_at, id" % condition(ctx, r, g), did)


@route("GET", "/groups/:id/epics/:epic_id/discussions", PAGE_PARAMS)
def discussions(ctx, p):
    _, r, g = noteable(ctx)
    rows = paginate(ctx, p, "SELECT * FROM (SELECT discussion_id, min(created_at) AS first, min(id) AS id FROM notes WHERE %s "
                    "GROUP BY discussion_id) AS d" % condition(ctx, r, g), "1", (), "first, id")
    return 200, [present_discussion(ctx, thread_rows(ctx, r, g, x["discussion_id"]), r) for x in rows]


def find_thread(ctx, r, g):
    rows = thread_rows(ctx, r, g, ctx.path_params["discussion_id"])
    if not rows:
        raise not_found("Discussion")
    return rows


@route("GET", "/groups/:id/epics/:epic_id/discussions/:discussion_id")
def discussion(ctx, p):
    _, r, g = noteable(ctx)
    return 200, present_discussion(ctx, find_thread(ctx, r, g), r)


@route("POST", "/groups/:id/epics/:epic_id/discussions", BODY)
def discuss(ctx, p):
    _, r, g = noteable(ctx)
    answer, n = written(ctx, r, g, p, thread=True)
    return answer or (201, present_discussion(ctx, [n], r))


@route("POST", "/groups/:id/epics/:epic_id/discussions/:discussion_id/notes", BODY)
def reply(ctx, p):
    _, r, g = noteable(ctx)
    rows = find_thread(ctx, r, g)
    if rows[0]["type"] is None:
        raise bad_request("Discussion is an individual note.")
    answer, n = written(ctx, r, g, p, rows)
    return answer or (201, present(ctx, n, r))


# ---- events ----------------------------------------------------------------------------------

def present_event(ctx, e):
    return {"id": e["id"], "user": users.basic(ctx, ctx.db.one("SELECT * FROM users WHERE id=?", e["user_id"])),
            "created_at": e["created_at"], "resource_type": "Epic", "resource_id": e["epic_id"]}


def present_label_event(ctx, e):
    label = ctx.db.one("SELECT * FROM labels WHERE id=?", e["label_id"]) if e["label_id"] else None
    return {**present_event(ctx, e), "label": label and epics.label_detail(label), "action": e["action"]}


def present_state_event(ctx, e):
    return {**present_event(ctx, e), "source_commit": None, "source_merge_request_id": None, "state": e["state"]}


def event_index(table, show_one, since):
    def fn(ctx, p):
        features.need_route(ctx, ctx.version >= since)
        _, r, _ = noteable(ctx)
        return 200, [show_one(ctx, e) for e in paginate(ctx, p, "SELECT * FROM " + table, "epic_id=?", (r["id"],), "id")]
    return fn


def event_show(table, show_one, since):
    def fn(ctx, p):
        features.need_route(ctx, ctx.version >= since)
        _, r, _ = noteable(ctx)
        e = ctx.db.one("SELECT * FROM %s WHERE id=? AND epic_id=?" % table, record_id(ctx.path_params["event_id"], "event_id"), r["id"])
        if e is None:
            raise not_found()
        return 200, show_one(ctx, e)
    return fn


for _table, _show, _since in (("resource_label_events", present_label_event, (0, 0)), ("resource_state_events", present_state_event, (15, 4))):
    route("GET", "/groups/:id/epics/:epic_id/" + _table, PAGE_PARAMS)(event_index(_table, _show, _since))
    route("GET", "/groups/:id/epics/:epic_id/%s/:event_id" % _table)(event_show(_table, _show, _since))
