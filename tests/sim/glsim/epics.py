"""Epics of groups: the records with all that they carry, and the REST endpoints. A work item is another view of the same record
(work_items.py), GraphQL's epics too (gql_epics.py)."""
from . import colors, features, groups, labels, quick_actions, users
from . import db as state
from .auth import GUEST, OWNER, PLANNER, ancestor_ids, archived, can, can_read, find_group, need, need_unarchived, need_user, record_id
from .db import now
from .errors import forbidden, message, not_found, param_error
from .milestones import lenient_date
from .paging import PAGE_PARAMS, paginate
from .router import opt, req, route

state.EXTRA_TABLES += [
    ("epics", """
CREATE TABLE epics(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, iid INTEGER NOT NULL, title TEXT NOT NULL,
  description TEXT, author_id INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'opened', confidential INTEGER NOT NULL DEFAULT 0,
  color TEXT NOT NULL DEFAULT '#1068bf', start_date_fixed TEXT, start_date_is_fixed INTEGER NOT NULL DEFAULT 0,
  due_date_fixed TEXT, due_date_is_fixed INTEGER NOT NULL DEFAULT 0, start_date TEXT, end_date TEXT,
  start_date_sourcing_epic_id INTEGER, due_date_sourcing_epic_id INTEGER, parent_id INTEGER, relative_position INTEGER,
  closed_at TEXT, closed_by_id INTEGER, updated_by_id INTEGER, last_edited_at TEXT, last_edited_by_id INTEGER,
  lock_version INTEGER NOT NULL DEFAULT 0, health_status TEXT, discussion_locked INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, UNIQUE(group_id, iid));
CREATE INDEX epics_parent ON epics(parent_id);
CREATE INDEX epics_created ON epics(created_at, id);
"""),
    # The same record's number as a work item; far from the epics' own, so that nobody takes one for the other.
    ("work_items", """
CREATE TABLE work_items(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, epic_id INTEGER NOT NULL UNIQUE);
INSERT INTO sqlite_sequence(name, seq) VALUES('work_items', 700000);
"""),
    ("epic_labels", """
CREATE TABLE epic_labels(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, epic_id INTEGER NOT NULL,
  label_id INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, UNIQUE(epic_id, label_id));
CREATE INDEX epic_labels_label ON epic_labels(label_id);
"""),
    ("epic_subscriptions", """
CREATE TABLE epic_subscriptions(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, epic_id INTEGER NOT NULL,
  user_id INTEGER NOT NULL, subscribed INTEGER NOT NULL, UNIQUE(epic_id, user_id));
"""),
    ("resource_label_events", """
CREATE TABLE resource_label_events(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, epic_id INTEGER NOT NULL,
  user_id INTEGER, label_id INTEGER, action TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE INDEX resource_label_events_epic ON resource_label_events(epic_id);
"""),
    ("resource_state_events", """
CREATE TABLE resource_state_events(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, epic_id INTEGER NOT NULL,
  user_id INTEGER, state TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE INDEX resource_state_events_epic ON resource_state_events(epic_id);
"""),
    ("events", """
CREATE TABLE events(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, target_type TEXT NOT NULL,
  target_id INTEGER NOT NULL, author_id INTEGER NOT NULL, action TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE INDEX events_target ON events(target_type, target_id);
"""),
]
groups.GROUP_TABLES += [name for name, _ in state.EXTRA_TABLES[-7:]]
labels.ON_LABEL_DELETE += ["DELETE FROM epic_labels WHERE label_id=?",
                           "UPDATE resource_label_events SET label_id=NULL WHERE label_id=?"]
# functions(db, "1,2,3") for what hangs on epics elsewhere: notes, awards, places on boards
ON_DELETE = []

DEFAULT_COLOR = "#1068bf"
MAX_DEPTH, MAX_CHILDREN, DISTANCE = 7, 5000, 500
DESCRIPTION_LIMIT = 1048576
CANNOT = "This epic cannot be added. "


class Invalid(Exception):
    """The model refuses: {field: [messages]}."""

    def __init__(self, **fields):
        super().__init__(fields)
        self.fields = {k: v if isinstance(v, list) else [v] for k, v in fields.items()}


# ---- records ---------------------------------------------------------------------------------

def by_id(db, eid):
    return db.one("SELECT * FROM epics WHERE id=?", eid) if eid else None


def group_of(db, r):
    return db.one("SELECT * FROM groups WHERE id=?", r["group_id"])


def labels_of(db, r):
    return db.all("SELECT l.* FROM epic_labels e JOIN labels l ON l.id=e.label_id WHERE e.epic_id=? ORDER BY l.title, l.id", r["id"])


def work_item_id(db, r):
    return db.val("SELECT id FROM work_items WHERE epic_id=?", r["id"])


def reference(db, r, g=None):
    """&7, or group/path&7 seen from another group."""
    return "&%d" % r["iid"] if g is None or g["id"] == r["group_id"] else "%s&%d" % (group_of(db, r)["full_path"], r["iid"])


def touch(db, eid, t=None):
    db.run("UPDATE epics SET updated_at=? WHERE id=?", t or now(), eid)


def event(db, r, author_id, action, t, kind="Epic", target=None):
    db.insert("events", group_id=r["group_id"], target_type=kind, target_id=target or r["id"], author_id=author_id,
              action=action, created_at=t)


def insert(db, group_id, author_id, t, iid=None, updated_at=None, **cols):
    """A new record with what comes along: its work item, an event, its author's subscription. -> id"""
    if iid is None:
        iid = db.next_counter(group_id, "epics")
    eid = db.insert("epics", group_id=group_id, iid=iid, author_id=author_id, created_at=t, updated_at=updated_at or t, **cols)
    db.insert("work_items", group_id=group_id, epic_id=eid)
    db.insert("epic_subscriptions", group_id=group_id, epic_id=eid, user_id=author_id, subscribed=1)
    event(db, by_id(db, eid), author_id, "created", t)
    refresh_dates(db, eid)
    return eid


def refresh_dates(db, eid):
    """Dates that are not fixed come from the children: the earliest start, the latest end; and so on upwards."""
    seen = set()
    while eid and eid not in seen:
        seen.add(eid)
        r = by_id(db, eid)
        new = {}
        for kind, col, way in (("start", "start_date", "ASC"), ("due", "end_date", "DESC")):
            source = kind + "_date_sourcing_epic_id"
            if r[kind + "_date_is_fixed"]:
                new[col], new[source] = r[kind + "_date_fixed"], None
                continue
            child = db.one("SELECT id, %s AS day FROM epics WHERE parent_id=? AND %s IS NOT NULL ORDER BY %s %s, id LIMIT 1"
                           % (col, col, col, way), eid)
            new[col], new[source] = (child["day"], child["id"]) if child else (None, None)
        if any(r[k] != v for k, v in new.items()):
            db.update("epics", eid, **new)
        eid = r["parent_id"]


def ancestors(db, r):
    """From the parent upwards."""
    out = []
    while r["parent_id"] and len(out) < 100:
        r = by_id(db, r["parent_id"])
        out.append(r)
    return out


def height(db, eid):
    """Levels of the tree that begins with this epic."""
    level, ids = 0, [eid]
    while ids and level < 100:
        level += 1
        ids = [x["id"] for x in db.all("SELECT id FROM epics WHERE parent_id IN (%s)" % ",".join(map(str, ids)))]
    return level


def children(db, eid):
    return db.all("SELECT * FROM epics WHERE parent_id=? ORDER BY relative_position IS NULL, relative_position, id DESC", eid)


def parent_errors(db, r, parent):
    """-> {field: message} when this epic may not hang below that one. r: a row, or a new record's columns."""
    eid = r["id"] if "id" in r.keys() else None
    above = [parent] + ancestors(db, parent)
    if eid == parent["id"]:
        return {"parent": CANNOT + "An epic cannot be added to itself."}
    if eid in [x["id"] for x in above]:
        return {"parent": CANNOT + "It is already an ancestor of the parent epic."}
    if len(above) + (height(db, eid) if eid else 1) > MAX_DEPTH:
        return {"parent": CANNOT + "One or more epics would exceed the maximum depth (%d) from its most distant ancestor." % MAX_DEPTH}
    if parent["confidential"] and not r["confidential"]:
        return {"confidential": "A non-confidential epic cannot be assigned to a confidential parent epic"}
    if db.val("SELECT count(*) FROM epics WHERE parent_id=?", parent["id"]) >= MAX_CHILDREN:
        return {"parent": CANNOT + "You cannot add any more epics. This epic already has maximum number of child epics."}
    return {}


def end_position(db, parent_id, at_start):
    """A relative position before or behind all children."""
    v = db.val("SELECT %s(relative_position) FROM epics WHERE parent_id=?" % ("min" if at_start else "max"), parent_id)
    return 0 if v is None else v - DISTANCE if at_start else v + DISTANCE


def put_beside(db, r, neighbour, after):
    """Give the epic a place directly before or after its sibling."""
    row = [x["id"] for x in children(db, neighbour["parent_id"]) if x["id"] != r["id"]]
    row.insert(row.index(neighbour["id"]) + (1 if after else 0), r["id"])
    for i, eid in enumerate(row):
        db.run("UPDATE epics SET relative_position=? WHERE id=? AND relative_position IS NOT ?", (i + 1) * DISTANCE, eid, (i + 1) * DISTANCE)


def set_parent(ctx, r, parent, at_start, t, quiet=False):
    """Hang the epic below another one, or below none. Both hear of it in their notes."""
    from . import notes
    db = ctx.db
    old = by_id(db, r["parent_id"])
    if (old and old["id"]) == (parent and parent["id"]):
        return
    if parent is not None:
        e = parent_errors(db, r, parent)
        if e:
            raise Invalid(**e)
    db.update("epics", r["id"], parent_id=parent and parent["id"],
              relative_position=None if parent is None else end_position(db, parent["id"], at_start))
    if old is not None:
        refresh_dates(db, old["id"])
    refresh_dates(db, r["id"])
    if parent is not None:
        refresh_dates(db, parent["id"])
    if quiet:
        return
    gr = group_of(db, r)
    if old is not None:
        notes.system(ctx, old, "removed child epic %s" % reference(db, r, group_of(db, old)), "unrelate_epic", t)
        notes.system(ctx, r, "removed parent epic %s" % reference(db, old, gr), "unrelate_epic", t)
    if parent is not None:
        notes.system(ctx, parent, "added epic %s as child epic" % reference(db, r, group_of(db, parent)), "relate_epic", t)
        notes.system(ctx, r, "added epic %s as parent epic" % reference(db, parent, gr), "relate_epic", t)


def set_labels(ctx, r, wanted, t):
    """-> whether something changed"""
    have = {x["label_id"] for x in ctx.db.all("SELECT label_id FROM epic_labels WHERE epic_id=?", r["id"])}
    for lid in sorted(have - set(wanted)):
        ctx.db.run("DELETE FROM epic_labels WHERE epic_id=? AND label_id=?", r["id"], lid)
    for lid in wanted:
        if lid not in have:
            ctx.db.insert("epic_labels", group_id=r["group_id"], epic_id=r["id"], label_id=lid, created_at=t, updated_at=t)
    for lid, action in [(x, "remove") for x in sorted(have - set(wanted))] + [(x, "add") for x in wanted if x not in have]:
        ctx.db.insert("resource_label_events", group_id=r["group_id"], epic_id=r["id"], user_id=ctx.user["id"], label_id=lid,
                      action=action, created_at=t)
    return have != set(wanted)


def known_labels(ctx, g, ids):
    """Those of the ids that are labels of the group or its ancestors, in order, each once."""
    scope = labels.scope_groups(ctx, g, True)
    return [i for i in dict.fromkeys(ids) if ctx.db.val("SELECT 1 FROM labels WHERE id=? AND %s" % scope, i)]


def validate(new):
    e = {}
    if not (new["title"] or "").strip():
        e["title"] = ["can't be blank"]
    elif len(new["title"]) > 255:
        e["title"] = ["is too long (maximum is 255 characters)"]
    if new["description"] and len(new["description"]) > DESCRIPTION_LIMIT:
        e["description"] = ["is too long (maximum is %d characters)" % DESCRIPTION_LIMIT]
    if colors.normalise(new["color"]) is None:
        e["color"] = ["must be a valid color code"]
    if new["start_date_is_fixed"] and new["due_date_is_fixed"] and new["start_date_fixed"] and new["due_date_fixed"] and \
            new["due_date_fixed"] < new["start_date_fixed"]:
        e["due_date"] = ["must be greater than or equal to start date"]
    for k in ("start_date_fixed", "due_date_fixed"):
        if new[k] and len(new[k]) > 10:
            e.setdefault(k, []).append("date must not be after 9999-12-31")
    return e


COLUMNS = ("title", "description", "confidential", "color", "start_date_fixed", "start_date_is_fixed", "due_date_fixed",
           "due_date_is_fixed", "health_status")
FRESH = {"title": None, "description": None, "confidential": 0, "color": DEFAULT_COLOR, "start_date_fixed": None,
         "start_date_is_fixed": 0, "due_date_fixed": None, "due_date_is_fixed": 0, "health_status": None}


def save(ctx, g, r, p, at_start=None):
    """Create (r None) or change an epic as the caller. p: any of COLUMNS, label_ids, add_label_ids, remove_label_ids, parent (a row,
    or None for none), state_event (close, reopen), created_at, updated_at. What the caller may not set must not be in it any more.
    Quick actions in the description are executed. -> the row; raises Invalid."""
    db, t = ctx.db, now()
    p = dict(p)
    if at_start is None:
        at_start = (ctx.app.config["child_position"] or "start") == "start"
    deeds = []
    if p.get("description") and (r is None or p["description"] != r["description"]):
        p["description"], deeds = quick_actions.extract(p["description"])
        quick_actions.apply_to_params(ctx, g, r, deeds, p)
    new = dict(FRESH) if r is None else {k: r[k] for k in COLUMNS}
    for k in COLUMNS:
        if k in p:
            new[k] = p[k]
    for k in ("confidential", "start_date_is_fixed", "due_date_is_fixed"):
        new[k] = int(bool(new[k]))
    new["title"] = new["title"].strip() if new["title"] else new["title"]
    e = validate(new)
    if e:
        raise Invalid(**e)
    new["color"] = colors.normalise(new["color"])
    if r is None:
        created = p.get("created_at") or t
        if p.get("parent") is not None:
            e = parent_errors(db, new, p["parent"])
            if e:
                raise Invalid(**e)
        r = by_id(db, insert(db, g["id"], ctx.user["id"], created, updated_at=t, **new))
        fresh, changed = True, {}
    else:
        fresh, changed = False, {k: v for k, v in new.items() if r[k] != v}
        if changed.get("confidential") and db.val("SELECT 1 FROM epics WHERE parent_id=? AND confidential=0", r["id"]):
            raise Invalid(confidential="Cannot make the epic confidential if it contains non-confidential child epics")
        if changed.get("confidential") == 0 and r["parent_id"] and by_id(db, r["parent_id"])["confidential"]:
            raise Invalid(confidential="A non-confidential epic cannot be assigned to a confidential parent epic")
    dirty = bool(changed)
    if changed:
        tell(ctx, r, changed, t)
        if {"title", "description"} & set(changed):
            changed.update(last_edited_at=t, last_edited_by_id=ctx.user["id"])
        db.update("epics", r["id"], **changed, lock_version=r["lock_version"] + 1, updated_by_id=ctx.user["id"])
        refresh_dates(db, r["id"])
    dirty |= change_labels(ctx, g, r, p, t)
    if "parent" in p:
        before = r["parent_id"]
        set_parent(ctx, by_id(db, r["id"]), p["parent"], at_start, t)
        dirty |= before != (p["parent"] and p["parent"]["id"])
    if p.get("state_event"):
        dirty |= set_state(ctx, r, "closed" if p["state_event"] == "close" else "opened", t)
    if deeds:
        quick_actions.apply_after(ctx, g, by_id(db, r["id"]), deeds)
    if p.get("updated_at"):
        touch(db, r["id"], p["updated_at"])
    elif dirty and not fresh:
        touch(db, r["id"], t)
    return by_id(db, r["id"])


def change_labels(ctx, g, r, p, t):
    if not {"label_ids", "add_label_ids", "remove_label_ids"} & set(p):
        return False
    have = [x["label_id"] for x in ctx.db.all("SELECT label_id FROM epic_labels WHERE epic_id=? ORDER BY id", r["id"])]
    wanted = list(p["label_ids"] or []) if "label_ids" in p else have
    gone = set(p.get("remove_label_ids") or ())
    wanted = [x for x in dict.fromkeys(wanted + list(p.get("add_label_ids") or ())) if x not in gone]
    return set_labels(ctx, r, known_labels(ctx, g, wanted), t)


def set_state(ctx, r, wanted, t):
    """-> whether something changed. Closing and reopening are of now and by the caller, whatever else is given."""
    if ctx.db.val("SELECT state FROM epics WHERE id=?", r["id"]) == wanted:
        return False
    closed = wanted == "closed"
    ctx.db.update("epics", r["id"], state=wanted, closed_at=t if closed else None, closed_by_id=ctx.user["id"] if closed else None)
    ctx.db.insert("resource_state_events", group_id=r["group_id"], epic_id=r["id"], user_id=ctx.user["id"],
                  state="closed" if closed else "reopened", created_at=t)
    event(ctx.db, r, ctx.user["id"], "closed" if closed else "reopened", t)
    return True


def tell(ctx, r, changed, t):
    """System notes about what changes."""
    from . import notes
    if "title" in changed:
        notes.system(ctx, r, "changed title from **%s** to **%s**" % (r["title"], changed["title"]), "title", t)
    if "description" in changed:
        notes.system(ctx, r, "changed the description", "description", t)
    if "confidential" in changed:
        notes.system(ctx, r, "made the epic confidential" if changed["confidential"] else "made the epic visible to everyone",
                     "confidential" if changed["confidential"] else "visible", t)
    for kind, word in (("start", "start date"), ("due", "due date")):
        k = kind + "_date_fixed"
        if k in changed:
            notes.system(ctx, r, "changed fixed %s to %s" % (word, changed[k]) if changed[k] else "removed the fixed " + word,
                         "epic_date_changed", t)


def delete(db, ids):
    """With all their descendants, whatever group those are in."""
    todo, every = [i for i in ids if by_id(db, i) is not None], []
    while todo:
        every += todo
        todo = [x["id"] for x in db.all("SELECT id FROM epics WHERE parent_id IN (%s)" % ",".join(map(str, todo)))]
    above = {by_id(db, i)["parent_id"] for i in every} - set(every) - {None}
    for i in range(0, len(every), 500):
        part = ",".join(map(str, every[i:i + 500]))
        for fn in ON_DELETE:
            fn(db, part)
        for table in ("work_items", "epic_labels", "epic_subscriptions", "resource_label_events", "resource_state_events"):
            db.run("DELETE FROM %s WHERE epic_id IN (%s)" % (table, part))
        db.run("DELETE FROM events WHERE target_type='Epic' AND target_id IN (%s)" % part)
        db.run("DELETE FROM epics WHERE id IN (%s)" % part)
    for eid in above:
        refresh_dates(db, eid)


groups.ON_DESTROY.append(lambda db, part: delete(
    db, [x["id"] for x in db.all("SELECT id FROM epics WHERE group_id IN (%s)" % part)]))


# ---- who may what ----------------------------------------------------------------------------

def can_read_epic(ctx, r, g=None):
    g = g or group_of(ctx.db, r)
    return can_read(ctx, g) and (not r["confidential"] or can(ctx, g, PLANNER))


def possible_parent(ctx, eid):
    """The row, or None where it must be passed over in silence: not there, not for the caller's eyes, or no licence for trees."""
    r = by_id(ctx.db, eid)
    g = r and group_of(ctx.db, r)
    return r if r is not None and features.subepics(ctx) and can_read_epic(ctx, r, g) and can(ctx, g, GUEST) else None


def visible_condition(ctx, g, ancestor_groups=False, descendant_groups=False):
    """SQL condition for the epics of the group and its relatives that the caller may read."""
    rows = [g]
    if ancestor_groups:
        rows += ctx.db.all("SELECT * FROM groups WHERE id IN (%s) AND id<>%d" % (",".join(map(str, ancestor_ids(g["tids"]))), g["id"]))
    if descendant_groups:
        rows += ctx.db.all("SELECT * FROM groups WHERE tids GLOB ? AND id<>?", g["tids"] + "*", g["id"])
    if len(rows) > 1:
        rows = [x for x in rows if can_read(ctx, x)]
    inside = [str(x["id"]) for x in rows if can(ctx, x, PLANNER)]
    return "group_id IN (%s) AND (confidential=0 OR group_id IN (%s))" % (",".join(str(x["id"]) for x in rows), ",".join(inside) or "0")


# ---- REST ------------------------------------------------------------------------------------

def votes(db, r, name):
    return db.val("SELECT count(*) FROM award_emoji WHERE awardable_type='Epic' AND awardable_id=? AND name=?", r["id"], name)


def subscribed(ctx, r):
    return bool(ctx.user is not None and ctx.db.val(
        "SELECT subscribed FROM epic_subscriptions WHERE epic_id=? AND user_id=?", r["id"], ctx.user["id"]))


def label_detail(r):
    return {"id": r["id"], "name": r["title"], "description": r["description"], "description_html": labels.html(r["description"]),
            "text_color": colors.text_color(r["color"]), "color": r["color"]}


def present(ctx, r, seen_from, details=False, single=False):
    g, parent = group_of(ctx.db, r), by_id(ctx.db, r["parent_id"])
    api = "%s/api/v4/groups/%d" % (ctx.app.base_url, g["id"])
    web = "/groups/%s/-/epics/%d" % (g["full_path"], r["iid"])
    out = {"id": r["id"]}
    if ctx.version >= features.WORK_ITEMS_SINCE:
        out["work_item_id"] = work_item_id(ctx.db, r)
    out.update(iid=r["iid"], color=r["color"], text_color=colors.text_color(r["color"]), group_id=r["group_id"],
               parent_id=r["parent_id"], parent_iid=parent and parent["iid"])
    if ctx.version >= (17, 2):
        out.update(imported=False, imported_from="none")
    inherited = {k: None if r[k + "_date_is_fixed"] else r["start_date" if k == "start" else "end_date"] for k in ("start", "due")}
    out.update(
        title=r["title"], description=r["description"], confidential=bool(r["confidential"]),
        author=users.basic(ctx, ctx.db.one("SELECT * FROM users WHERE id=?", r["author_id"])),
        start_date=r["start_date"], start_date_is_fixed=bool(r["start_date_is_fixed"]), start_date_fixed=r["start_date_fixed"],
        start_date_from_inherited_source=inherited["start"], start_date_from_milestones=None, end_date=r["end_date"],
        due_date=r["end_date"], due_date_is_fixed=bool(r["due_date_is_fixed"]), due_date_fixed=r["due_date_fixed"],
        due_date_from_inherited_source=inherited["due"], due_date_from_milestones=None, state=r["state"], web_edit_url=web,
        web_url=ctx.app.base_url + web,
        references={"short": "&%d" % r["iid"], "relative": reference(ctx.db, r, seen_from), "full": "%s&%d" % (g["full_path"], r["iid"])},
        created_at=r["created_at"], updated_at=r["updated_at"], closed_at=r["closed_at"],
        labels=[label_detail(x) if details else x["title"] for x in labels_of(ctx.db, r)],
        upvotes=votes(ctx.db, r, "thumbsup"), downvotes=votes(ctx.db, r, "thumbsdown"))
    if single:
        out["subscribed"] = subscribed(ctx, r)
    out["_links"] = {"self": "%s/epics/%d" % (api, r["iid"]), "epic_issues": "%s/epics/%d/issues" % (api, r["iid"]), "group": api,
                     "parent": parent and "%s/api/v4/groups/%d/epics/%d" % (ctx.app.base_url, parent["group_id"], parent["iid"])}
    return out


def epic_group(ctx):
    """The group of an epic endpoint."""
    features.need_epic_rest(ctx)
    g = find_group(ctx)
    features.need_licence(ctx)
    return g


def find(ctx, g, ref=None):
    r = ctx.db.one("SELECT * FROM epics WHERE group_id=? AND iid=?", g["id"], record_id(ref or ctx.path_params["epic_iid"], "epic_iid"))
    if r is None:
        raise not_found()
    if not can_read_epic(ctx, r, g):
        raise forbidden()
    return r


FILTERS = (opt("author_id", int), opt("author_username"), opt("labels", "list"), opt("not", dict), opt("my_reaction_emoji"),
           opt("search"), opt("created_after", "time"), opt("created_before", "time"), opt("updated_after", "time"),
           opt("updated_before", "time"), opt("confidential", bool), opt("state", str, values=("opened", "closed", "all"), default="all"))


def user_id(ctx, name):
    return ctx.db.val("SELECT id FROM users WHERE username=?", name) or 0


def label_condition(titles):
    """-> (SQL, arguments): all of the labels; the words Any and None stand for themselves."""
    if [t.lower() for t in titles] in (["any"], ["none"]):
        return "%s EXISTS(SELECT 1 FROM epic_labels e WHERE e.epic_id=epics.id)" % ("NOT" if titles[0].lower() == "none" else ""), []
    one = "EXISTS(SELECT 1 FROM epic_labels e JOIN labels l ON l.id=e.label_id WHERE e.epic_id=epics.id AND l.title=?)"
    return " AND ".join([one] * len(titles)) or "1", list(titles)


def conditions(ctx, p):
    """What the filters of lists mean, in REST as in GraphQL. -> (list of SQL, arguments)"""
    where, args = [], []

    def add(sql, *a):
        where.append(sql)
        args.extend(a)
    if p.get("author_id") is not None:
        add("author_id=?", p["author_id"])
    if p.get("author_username"):
        add("author_id=?", user_id(ctx, p["author_username"]))
    if p.get("labels"):
        sql, a = label_condition(p["labels"])
        add("(%s)" % sql, *a)
    no = p.get("not") or {}
    if no.get("author_id"):
        add("author_id<>?", int(no["author_id"]))
    if no.get("author_username"):
        add("author_id<>?", user_id(ctx, no["author_username"]))
    for title in [x.strip() for x in (no["labels"] if isinstance(no.get("labels"), list) else (no.get("labels") or "").split(",")) if x]:
        sql, a = label_condition([title])
        add("NOT (%s)" % sql, *a)
    if p.get("my_reaction_emoji"):
        mine = "SELECT 1 FROM award_emoji a WHERE a.awardable_type='Epic' AND a.awardable_id=epics.id AND a.user_id=%d" % (
            ctx.user["id"] if ctx.user is not None else 0)
        word = p["my_reaction_emoji"].lower()
        if word in ("any", "none"):
            add("%s EXISTS(%s)" % ("NOT" if word == "none" else "", mine))
        else:
            add("EXISTS(%s AND a.name=?)" % mine, p["my_reaction_emoji"])
    if p.get("search"):
        add("(instr(lower(title), lower(?)) OR instr(lower(coalesce(description,'')), lower(?)))", p["search"], p["search"])
    for col in ("created", "updated", "closed"):
        for word, op in (("after", ">="), ("before", "<=")):
            if p.get("%s_%s" % (col, word)):
                add("%s_at %s ?" % (col, op), p["%s_%s" % (col, word)])
    if p.get("confidential") is not None:
        add("confidential=%d" % bool(p["confidential"]))
    if p.get("state", "all") in ("opened", "closed"):
        add("state=?", p["state"])
    return where, args


LIST_PARAMS = PAGE_PARAMS + FILTERS + (
    opt("order_by", str, values=("created_at", "updated_at", "title"), default="created_at"),
    opt("sort", str, values=("asc", "desc"), default="desc"), opt("with_labels_details", bool, default=False),
    opt("include_ancestor_groups", bool, default=False), opt("include_descendant_groups", bool, default=True))


@route("GET", "/groups/:id/epics", LIST_PARAMS, rules=(("mutually_exclusive", ("author_id", "author_username")),), anonymous=True)
@route("GET", "/groups/:id/-/epics", LIST_PARAMS, rules=(("mutually_exclusive", ("author_id", "author_username")),), anonymous=True)
def index(ctx, p):
    g = epic_group(ctx)
    if (p.get("not") or {}).get("author_id") and p["not"].get("author_username"):
        raise param_error("not[author_id], not[author_username] are mutually exclusive")
    where, args = conditions(ctx, p)
    where.insert(0, visible_condition(ctx, g, p["include_ancestor_groups"], p["include_descendant_groups"]))
    rows = paginate(ctx, p, "SELECT * FROM epics", " AND ".join(where), args, "%s %s, id %s" % (p["order_by"], p["sort"], p["sort"]))
    return 200, [present(ctx, r, g, p["with_labels_details"]) for r in rows]


@route("GET", "/groups/:id/epics/:epic_iid", anonymous=True)
@route("GET", "/groups/:id/-/epics/:epic_iid", anonymous=True)
def show(ctx, p):
    g = epic_group(ctx)
    return 200, present(ctx, find(ctx, g), g, single=True)


def params_of(ctx, g, p, owner_only):
    """What save() takes, out of the request's parameters; what the caller may not set is dropped in silence."""
    out = {}
    for k in ("title", "description", "color"):
        if p.get(k) is not None or k == "description" and k in p:
            out[k] = p[k]
    for k in ("confidential", "start_date_is_fixed", "due_date_is_fixed"):
        if p.get(k) is not None:
            out[k] = p[k]
    for old, k in (("start_date", "start_date_fixed"), ("end_date", "due_date_fixed")):
        if k in p and p[k] is not None or old not in p and k in p:
            out[k] = lenient_date(p[k])
        elif old in p:
            out[k] = lenient_date(p[old])
    if "labels" in p:
        out["label_ids"] = labels.find_or_create(ctx, g, split(p["labels"]))
    if "add_labels" in p:
        out["add_label_ids"] = labels.find_or_create(ctx, g, split(p["add_labels"]))
    if "remove_labels" in p:
        scope = labels.scope_groups(ctx, g, True)
        out["remove_label_ids"] = [x["id"] for t in split(p["remove_labels"]) for x in
                                   ctx.db.all("SELECT id FROM labels WHERE title=? AND %s" % scope, t)]
    if "parent_id" in p:
        parent = possible_parent(ctx, p["parent_id"]) if p["parent_id"] else None
        if parent is not None or not p["parent_id"]:
            out["parent"] = parent
    if p.get("state_event"):
        out["state_event"] = p["state_event"]
    if p.get(owner_only) and can(ctx, g, OWNER) and not archived(ctx, g):
        out[owner_only] = p[owner_only]
    return out


def split(titles):
    return [x.strip() for t in titles or () for x in t.split(",") if x.strip()]


CREATE = (req("title"), opt("description"), opt("color"), opt("confidential", bool), opt("created_at", "time"), opt("start_date"),
          opt("start_date_fixed"), opt("start_date_is_fixed", bool), opt("end_date"), opt("due_date_fixed"),
          opt("due_date_is_fixed", bool), opt("labels", "list"), opt("parent_id", int))


@route("POST", "/groups/:id/epics", CREATE)
@route("POST", "/groups/:id/-/epics", CREATE)
def create(ctx, p):
    g = epic_group(ctx)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    try:
        r = save(ctx, g, None, params_of(ctx, g, p, "created_at"))
    except Invalid as e:
        raise message(400, e.fields) from None
    return 201, present(ctx, r, g)


ONE_OF = ("add_labels", "color", "confidential", "description", "due_date_fixed", "due_date_is_fixed", "labels", "parent_id",
          "remove_labels", "start_date_fixed", "start_date_is_fixed", "state_event", "title", "start_date", "end_date")
CHANGE = tuple(opt(x.name, x.type) for x in CREATE if x.name != "created_at") + (
    opt("updated_at", "time"), opt("add_labels", "list"), opt("remove_labels", "list"),
    opt("state_event", str, values=("reopen", "close")))


@route("PUT", "/groups/:id/epics/:epic_iid", CHANGE, rules=(("at_least_one", ONE_OF),))
@route("PUT", "/groups/:id/-/epics/:epic_iid", CHANGE, rules=(("at_least_one", ONE_OF),))
def change(ctx, p):
    g = epic_group(ctx)
    r = find(ctx, g)
    need(ctx, g, PLANNER)
    need_unarchived(ctx, g)
    try:
        r = save(ctx, g, r, params_of(ctx, g, p, "updated_at"))
    except Invalid as e:
        raise message(400, e.fields) from None
    return 200, present(ctx, r, g)


@route("DELETE", "/groups/:id/epics/:epic_iid")
@route("DELETE", "/groups/:id/-/epics/:epic_iid")
def remove(ctx, p):
    g = epic_group(ctx)
    r = find(ctx, g)
    need(ctx, g, OWNER)
    need_unarchived(ctx, g)
    delete(ctx.db, [r["id"]])
    return 204, None


# ---- children, and what no simulated group has -------------------------------------------------

@route("GET", "/groups/:id/epics/:epic_iid/epics", anonymous=True)
def child_index(ctx, p):
    g = epic_group(ctx)
    r = find(ctx, g)
    return 200, [present(ctx, x, g) for x in children(ctx.db, r["id"]) if can_read_epic(ctx, x)]


def need_trees(ctx):
    if not features.subepics(ctx):
        raise forbidden()


@route("POST", "/groups/:id/epics/:epic_iid/epics/:child_id")
def child_add(ctx, p):
    """Hangs an epic, named by its global id, below this one."""
    g = epic_group(ctx)
    r = find(ctx, g)
    need_trees(ctx)
    need(ctx, g, PLANNER)
    child = by_id(ctx.db, record_id(ctx.path_params["child_id"], "child_epic_id"))
    if child is None or not can_read_epic(ctx, child):
        raise not_found("Epic")
    try:
        set_parent(ctx, child, r, (ctx.app.config["child_position"] or "start") == "start", now())
    except Invalid as e:
        raise message(409, next(iter(e.fields.values()))[0]) from None
    return 201, present(ctx, by_id(ctx.db, child["id"]), g)


@route("DELETE", "/groups/:id/epics/:epic_iid/epics/:child_id")
def child_remove(ctx, p):
    g = epic_group(ctx)
    r = find(ctx, g)
    need_trees(ctx)
    need(ctx, g, PLANNER)
    child = ctx.db.one("SELECT * FROM epics WHERE id=? AND parent_id=?", record_id(ctx.path_params["child_id"], "child_epic_id"), r["id"])
    if child is None:
        raise not_found("Epic")
    set_parent(ctx, child, None, True, now())
    return 200, present(ctx, by_id(ctx.db, child["id"]), g)


@route("PUT", "/groups/:id/epics/:epic_iid/epics/:child_id", (opt("move_before_id", int), opt("move_after_id", int)))
def child_move(ctx, p):
    """move_before_id: the child that shall stand before this one; move_after_id: the one behind it."""
    g = epic_group(ctx)
    r = find(ctx, g)
    need_trees(ctx)
    need(ctx, g, PLANNER)
    child = ctx.db.one("SELECT * FROM epics WHERE id=? AND parent_id=?", record_id(ctx.path_params["child_id"], "child_epic_id"), r["id"])
    other = p.get("move_before_id") or p.get("move_after_id")
    other = other and ctx.db.one("SELECT * FROM epics WHERE id=? AND parent_id=?", other, r["id"])
    if child is None or other is None:
        raise not_found("Epic")
    put_beside(ctx.db, child, other, after=bool(p.get("move_before_id")))
    return 200, [present(ctx, x, g) for x in children(ctx.db, r["id"])]


@route("GET", "/groups/:id/epics/:epic_iid/issues", PAGE_PARAMS, anonymous=True)
@route("GET", "/groups/:id/epics/:epic_iid/related_epics", anonymous=True)
def nothing(ctx, p):
    find(ctx, epic_group(ctx))
    return 200, paginate(ctx, p, "SELECT 1 FROM meta", "0", (), "1")


def subscription(ctx, wanted):
    need_user(ctx)
    g = epic_group(ctx)
    r = find(ctx, g)
    if subscribed(ctx, r) == wanted:
        return 304, None
    subscribe(ctx, r, wanted)
    return 201, present(ctx, r, g, single=True)


def subscribe(ctx, r, wanted):
    ctx.db.run("INSERT INTO epic_subscriptions(group_id, epic_id, user_id, subscribed) VALUES(?,?,?,?) "
               "ON CONFLICT(epic_id, user_id) DO UPDATE SET subscribed=excluded.subscribed",
               r["group_id"], r["id"], ctx.user["id"], int(wanted))


@route("POST", "/groups/:id/epics/:epic_iid/subscribe")
def subscribe_route(ctx, p):
    return subscription(ctx, True)


@route("POST", "/groups/:id/epics/:epic_iid/unsubscribe")
def unsubscribe_route(ctx, p):
    return subscription(ctx, False)
