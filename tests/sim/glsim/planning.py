"""Seeds of epics, epic boards and cadences: the key `planning` of a group (../README.md), and these kinds in the form of GitLab's
relation export as live records."""
import re

from . import epic_boards, epics, notes, seed
from .router import to_date

EPIC_KEYS = ("id", "iid", "title", "description", "author", "state", "closed_at", "closed_by", "confidential", "color", "start_date",
             "due_date", "start_date_is_fixed", "due_date_is_fixed", "labels", "parent", "position", "awards", "notes", "updated_by",
             "last_edited_at", "last_edited_by", "health_status", "created_at", "updated_at")
NOTE_KEYS = ("id", "author", "body", "system", "internal", "thread", "awards", "created_at", "updated_at", "last_edited_at")
BOARD_KEYS = ("id", "name", "hide_backlog_list", "hide_closed_list", "display_colors", "labels", "lists", "order", "created_at", "updated_at")
CADENCE_KEYS = ("id", "title", "description", "start_date", "duration_in_weeks", "iterations_in_advance", "automatic", "active", "roll_over",
                "iterations", "created_at", "updated_at")
ITERATION_KEYS = ("id", "iid", "title", "description", "start_date", "due_date", "created_at", "updated_at")
REFERENCE = re.compile(r"^(.*)&(\d+)$")


def load(db, g, obj, refs):
    """Everything of one group but what names epics of others: that waits until all groups are there."""
    seed.known(obj, ("epics", "epic_boards", "cadences"), "planning of %s" % g["full_path"])
    t = g["created_at"]
    for x in obj.get("cadences", ()):
        load_cadence(db, g, x, t)
    for x in obj.get("epics", ()):
        load_epic(db, g, x, refs, t)
    for x in obj.get("epic_boards", ()):
        load_board(db, g, x, refs, t)


seed.HANDLERS["planning"] = load


def raise_counter(db, g, kind, iid):
    db.run("INSERT INTO counters(group_id,kind,value) VALUES(?,?,?) ON CONFLICT(group_id,kind) DO UPDATE SET "
           "value=max(value,excluded.value)", g["id"], kind, iid)


def number(db, g, kind, x):
    """The given iid, or the next one; the counter never falls behind."""
    if x.get("iid") is None:
        return db.next_counter(g["id"], kind)
    raise_counter(db, g, kind, x["iid"])
    return x["iid"]


def with_id(x, cols):
    if "id" in x:
        cols["id"] = x["id"]
    return cols


def load_cadence(db, g, x, t):
    seed.known(x, CADENCE_KEYS, "cadence of %s" % g["full_path"])
    created, updated = seed.times(x, t)
    cid = db.insert("iterations_cadences", **with_id(x, dict(
        group_id=g["id"], title=x["title"], description=x.get("description"), start_date=x.get("start_date") and to_date(x["start_date"]),
        duration_in_weeks=x.get("duration_in_weeks"), iterations_in_advance=x.get("iterations_in_advance"),
        automatic=int(x.get("automatic", False)), active=int(x.get("active", True)), roll_over=int(x.get("roll_over", False)),
        created_at=created, updated_at=updated)))
    for i in x.get("iterations", ()):
        seed.known(i, ITERATION_KEYS, "iteration of %s" % x["title"])
        c, u = seed.times(i, created)
        db.insert("iterations", **with_id(i, dict(
            group_id=g["id"], cadence_id=cid, iid=number(db, g, "iterations", i), title=i.get("title"), description=i.get("description"),
            start_date=to_date(i["start_date"]), due_date=to_date(i["due_date"]), created_at=c, updated_at=u)))


def load_epic(db, g, x, refs, t):
    seed.known(x, EPIC_KEYS, "epic of %s" % g["full_path"])
    created, updated = seed.times(x, t)
    author = refs.user(x.get("author")) or db.val("SELECT min(id) FROM users")
    closed = x.get("state", "opened") == "closed"
    start, due = (x.get(k) and to_date(x[k]) for k in ("start_date", "due_date"))
    eid = epics.insert(db, g["id"], author, created, iid=number(db, g, "epics", x), updated_at=updated, **with_id(x, dict(
        title=x["title"], description=x.get("description"), state="closed" if closed else "opened",
        confidential=int(x.get("confidential", False)), color=x.get("color", epics.DEFAULT_COLOR),
        start_date_fixed=start, start_date_is_fixed=int(x.get("start_date_is_fixed", start is not None)),
        due_date_fixed=due, due_date_is_fixed=int(x.get("due_date_is_fixed", due is not None)),
        relative_position=x.get("position"), closed_at=seed.stamp(x, "closed_at", updated) if closed else None,
        closed_by_id=refs.user(x.get("closed_by")) if closed else None, updated_by_id=refs.user(x.get("updated_by")),
        last_edited_at=seed.stamp(x, "last_edited_at", None), last_edited_by_id=refs.user(x.get("last_edited_by")),
        health_status=x.get("health_status"))))
    r = epics.by_id(db, eid)
    if closed:
        by = refs.user(x.get("closed_by")) or author
        epics.event(db, r, by, "closed", r["closed_at"])
        db.insert("resource_state_events", group_id=g["id"], epic_id=eid, user_id=by, state="closed", created_at=r["closed_at"])
    for title in x.get("labels", ()):
        lid = refs.in_tree("labels", g, title)
        db.insert("epic_labels", group_id=g["id"], epic_id=eid, label_id=lid, created_at=created, updated_at=created)
        db.insert("resource_label_events", group_id=g["id"], epic_id=eid, user_id=author, label_id=lid, action="add", created_at=created)
    load_awards(db, g, "Epic", eid, x.get("awards", ()), refs, created)
    threads = {}
    for n in x.get("notes", ()):
        load_note(db, r, n, refs, created, threads)
    if x.get("parent"):
        refs.later.append(lambda: set_parent(db, g, r, x["parent"], x.get("position")))


def load_awards(db, g, kind, target, items, refs, t):
    for a in items:
        seed.known(a, ("id", "name", "user", "created_at"), "award")
        created = seed.stamp(a, "created_at", t)
        db.insert("award_emoji", **with_id(a, dict(group_id=g["id"], awardable_type=kind, awardable_id=target, name=a["name"],
                                                   user_id=refs.user(a["user"]), created_at=created, updated_at=created)))


def load_note(db, r, n, refs, t, threads):
    """thread: notes with the same text are one discussion. system: the action of a note that the server wrote itself."""
    seed.known(n, NOTE_KEYS, "note of epic &%d" % r["iid"])
    created, updated = seed.times(n, t)
    who = refs.user(n["author"])
    nid = notes.insert(db, r, who, n["body"], created, threads.get(n.get("thread")), **with_id(n, dict(
        updated_at=updated, internal=int(n.get("internal", False)), system=int(bool(n.get("system"))), action=n.get("system") or None,
        type="DiscussionNote" if n.get("thread") else None, last_edited_at=seed.stamp(n, "last_edited_at", None))))
    if n.get("thread"):
        threads.setdefault(n["thread"], notes.by_id(db, nid)["discussion_id"])
    if not n.get("system"):
        epics.event(db, r, who, "commented", created, "Note", nid)
    load_awards(db, {"id": r["group_id"]}, "Note", nid, n.get("awards", ()), refs, created)


def epic_named(db, g, text):
    """&7 in this group, or full/path&7."""
    m = REFERENCE.match(text)
    gid = g["id"] if m and not m[1] else m and db.val("SELECT id FROM groups WHERE full_path=?", m[1])
    r = gid and db.one("SELECT * FROM epics WHERE group_id=? AND iid=?", gid, int(m[2]))
    if not r:
        raise seed.SeedError("%s: no epic %s" % (g["full_path"], text))
    return r


def set_parent(db, g, r, text, position):
    parent = epic_named(db, g, text)
    e = epics.parent_errors(db, epics.by_id(db, r["id"]), parent)
    if e:
        raise seed.SeedError("epic %s&%d: %s" % (g["full_path"], r["iid"], ", ".join(e.values())))
    db.update("epics", r["id"], parent_id=parent["id"], relative_position=epics.end_position(db, parent["id"], False) if position is None
              else position)
    epics.refresh_dates(db, parent["id"])


def load_board(db, g, x, refs, t):
    seed.known(x, BOARD_KEYS, "epic board of %s" % g["full_path"])
    created, updated = seed.times(x, t)
    bid = epic_boards.insert(db, g["id"], x["name"], created, **with_id(x, dict(
        hide_backlog_list=int(x.get("hide_backlog_list", False)), hide_closed_list=int(x.get("hide_closed_list", False)),
        display_colors=int(x.get("display_colors", True)), updated_at=updated)))
    b = db.one("SELECT * FROM epic_boards WHERE id=?", bid)
    epic_boards.set_labels(db, b, [refs.in_tree("labels", g, title) for title in x.get("labels", ())])
    for i, ls in enumerate(x.get("lists", ())):
        seed.known(ls, ("label", "position", "created_at", "updated_at"), "list of epic board %s" % x["name"])
        c, u = seed.times(ls, created)
        epic_boards.add_list(db, b, refs.in_tree("labels", g, ls["label"]), c, ls.get("position", i), u)
    if x.get("order"):
        refs.later.append(lambda: [epic_boards.set_place(db, b, epic_named(db, g, text)["id"], (i + 1) * epic_boards.DISTANCE)
                                   for i, text in enumerate(x["order"])])


# ---- from GitLab's relation export ------------------------------------------------------------

def from_export(records, names, group_paths):
    """Epics in export form -> the epics of the key `planning`. names: {user id: user name}; group_paths: {group id: full path}. Records
    are dictionaries as direct transfer writes them, system notes included. The ids of epics and notes are kept."""
    def user(uid):
        return names.get(uid)

    def emoji(items):
        return [{"name": a["name"], "user": user(a["user_id"]), "created_at": a["created_at"]} for a in items or () if user(a["user_id"])]

    def note(n, author):
        m = n.get("system_note_metadata") or {}
        return {"id": n["id"], "author": user(n["author_id"]) or author, "body": n["note"], "created_at": n["created_at"],
                "updated_at": n["updated_at"], "internal": bool(n.get("confidential") or n.get("internal")),
                "system": (m.get("action") or "unknown") if n.get("system") else None, "last_edited_at": n.get("last_edited_at"),
                "thread": n["discussion_id"] if n.get("type") == "DiscussionNote" else None, "awards": emoji(n.get("award_emoji"))}
    out = []
    for e in records:
        state = e.get("state") or e.get("state_id") or "opened"
        x = {"id": e["id"], "iid": e["iid"], "title": e["title"], "description": e.get("description"), "author": user(e["author_id"]),
             "state": state, "confidential": bool(e.get("confidential")), "color": e.get("color") or epics.DEFAULT_COLOR,
             "start_date": e.get("start_date_fixed"), "due_date": e.get("due_date_fixed"),
             "start_date_is_fixed": bool(e.get("start_date_is_fixed")), "due_date_is_fixed": bool(e.get("due_date_is_fixed")),
             "position": e.get("relative_position"), "created_at": e["created_at"], "updated_at": e["updated_at"],
             "labels": [k["label"]["title"] for k in e.get("label_links") or () if k.get("label")],
             "awards": emoji(e.get("award_emoji")), "notes": [note(n, user(e["author_id"])) for n in e.get("notes") or ()]}
        if state == "closed":
            x.update(closed_at=e.get("closed_at"), closed_by=user(e.get("closed_by_id")))
        if e.get("parent"):
            x["parent"] = "%s&%d" % (group_paths.get(e["parent"]["group_id"], ""), e["parent"]["iid"])
        out.append(x)
    return out


def boards_from_export(records):
    return [{"name": b["name"], "hide_backlog_list": b["hide_backlog_list"], "hide_closed_list": b["hide_closed_list"],
             "display_colors": b["display_colors"], "created_at": b["created_at"], "updated_at": b["updated_at"],
             "lists": [{"label": x["label"]["title"], "position": x["position"], "created_at": x["created_at"], "updated_at": x["updated_at"]}
                       for x in b["epic_lists"] if x.get("label")]} for b in records]


def cadences_from_export(records):
    return [{k: c.get(k) for k in ("title", "description", "start_date", "active", "roll_over", "created_at", "updated_at")} | {
        "iterations": [{k: i.get(k) for k in ("iid", "description", "start_date", "due_date", "created_at", "updated_at")}
                       for i in c["iterations"]]} for c in records]
