"""Mischief with epics and what hangs on them, epic boards, cadences and iterations: joins the catalogue of mischief.py."""
from . import epic_boards, epics
from .mischief import KINDS, Kind, column, copy_cadence, finding, free_iid, unique_title

END = "\n\n---\n\n*Written"  # who wrote it, which a load puts at the end of a text


# ---- texts -----------------------------------------------------------------------------------

def spoilt(w, text):
    """Words more at the end of some line, in front of what names the author."""
    body, mark, end = (text or "").partition(END)
    lines = body.split("\n")
    i = w.random.randrange(len(lines))
    lines[i] += " (changed)"
    return "\n".join(lines) + mark + end


def text(name):
    def change(w, r):
        w.db.update(r.table, r.row["id"], **{name: spoilt(w, r.row[name])})
        return True
    return change


def author_line(w, r):
    """The words that name the author."""
    if END not in (r.row["description"] or ""):
        return False
    w.db.update("epics", r.row["id"], description=r.row["description"].replace("*Written by ", "*Written by not ", 1))
    return True


# ---- epics -----------------------------------------------------------------------------------

def lone(w, r):
    return not w.db.val("SELECT 1 FROM epics WHERE parent_id=?", r.row["id"])


def epic_iid(w, r):
    return lone(w, r) and free_iid("epics")(w, r)


def epic_label(w, r):
    mine = w.db.all("SELECT * FROM epic_labels WHERE epic_id=? ORDER BY id", r.row["id"])
    if mine:
        w.db.run("DELETE FROM epic_labels WHERE id=?", w.random.choice(mine)["id"])
        return True
    label = w.db.val("SELECT id FROM labels WHERE group_id=? ORDER BY id", r.row["group_id"])
    if label:
        w.db.insert("epic_labels", group_id=r.row["group_id"], epic_id=r.row["id"], label_id=label, created_at=r.row["created_at"],
                    updated_at=r.row["created_at"])
    return bool(label)


def ids_below(w, eid):
    out = [eid]
    for x in out:
        out += [c["id"] for c in w.db.all("SELECT id FROM epics WHERE parent_id=?", x)]
    return out


def epic_parent(w, r):
    """Another parent, none, or one at all."""
    inside = ",".join(str(g["id"]) for g in w.groups)
    below = ",".join(map(str, ids_below(w, r.row["id"])))
    other = [x["id"] for x in w.db.all("SELECT id FROM epics WHERE group_id IN (%s) AND id NOT IN (%s) AND id IS NOT ? ORDER BY id" % (inside, below),
                                       r.row["parent_id"])]
    choice = w.random.choice(other + [None]) if r.row["parent_id"] else w.random.choice(other or [None])
    if choice == r.row["parent_id"]:
        return False
    top = w.db.val("SELECT max(relative_position) FROM epics WHERE parent_id=?", choice) or 0
    w.db.update("epics", r.row["id"], parent_id=choice, relative_position=top + 500)
    return True


def siblings_order(w, r):
    ids = [x["id"] for x in w.db.all("SELECT id FROM epics WHERE parent_id=? ORDER BY relative_position, id", r.row["id"])]
    old = [i for i in range(len(ids) - 1) if not {("epics", ids[i]), ("epics", ids[i + 1])} & w.used]
    if not old:  # of one that came a moment ago nobody knows where it belongs
        return False
    i = w.random.choice(old)
    ids[i], ids[i + 1] = ids[i + 1], ids[i]
    for k, x in enumerate(ids):
        w.db.update("epics", x, relative_position=500 * (k + 1))
    return True


def epic_gone(w, r):
    return lone(w, r) and (epics.delete(w.db, [r.row["id"]]), True)[1]


def copy_epic(w, r):
    iid = w.db.val("SELECT max(iid) FROM epics") + 100
    new = w.db.insert("epics", **dict({k: r.row[k] for k in r.row if k != "id"}, iid=iid, parent_id=None, relative_position=None))
    for x in w.db.all("SELECT * FROM epic_labels WHERE epic_id=?", r.row["id"]):
        w.db.insert("epic_labels", **dict({k: x[k] for k in x.keys() if k != "id"}, epic_id=new))
    return str(iid)


def comments(w, r):
    return w.db.all("SELECT * FROM notes WHERE noteable_id=? AND system=0 ORDER BY created_at, id", r.row["id"])


def comment(change):
    """One comment of the epic."""
    def do(w, r):
        rows = comments(w, r)
        return bool(rows) and change(w, r, w.random.choice(rows)) is not False
    return do


def note_text(w, r, n):
    w.db.update("notes", n["id"], note=spoilt(w, n["note"]))


def note_internal(w, r, n):
    w.db.update("notes", n["id"], internal=1 - n["internal"])


def note_type(w, r, n):
    w.db.update("notes", n["id"], type=None if n["type"] else "DiscussionNote")


def note_gone(w, r, n):
    w.db.run("DELETE FROM award_emoji WHERE awardable_type='Note' AND awardable_id=?", n["id"])
    w.db.run("DELETE FROM notes WHERE id=?", n["id"])


def note_twice(w, r, n):
    w.db.insert("notes", **dict({k: n[k] for k in n.keys() if k != "id"}, discussion_id="%040x" % w.random.getrandbits(160)))


def note_order(w, r):
    """Two that say different things change their times."""
    rows = [(a, b) for a, b in zip(comments(w, r), comments(w, r)[1:]) if a["note"] != b["note"] and a["created_at"] != b["created_at"]]
    if not rows:
        return False
    a, b = w.random.choice(rows)
    w.db.update("notes", a["id"], created_at=b["created_at"])
    w.db.update("notes", b["id"], created_at=a["created_at"])
    return True


def note_elsewhere(w, r):
    """Two findings: both epics."""
    rows = comments(w, r)
    for e in w.records(EPICS) if rows else ():
        if e.row["id"] != r.row["id"]:
            w.db.update("notes", w.random.choice(rows)["id"], noteable_id=e.row["id"])
            w.touch(e)
            return [finding("differs", e.path, "epics", e.key, "notes")]
    return False


def awards(w, r, kind):
    where = "awardable_id=?" if kind == "Epic" else "awardable_id IN (SELECT id FROM notes WHERE noteable_id=? AND system=0)"
    return w.db.all("SELECT * FROM award_emoji WHERE awardable_type='%s' AND %s ORDER BY id" % (kind, where), r.row["id"])


def award(kind, change):
    def do(w, r):
        rows = awards(w, r, kind)
        return bool(rows) and change(w, w.random.choice(rows)) is not False
    return do


def award_name(w, a):
    w.db.update("award_emoji", a["id"], name="tractor")


def stranger(w, a):
    return w.db.val("SELECT id FROM users WHERE bot=0 AND id NOT IN (SELECT user_id FROM award_emoji WHERE awardable_type=? AND awardable_id=?) ORDER BY id DESC",
                    a["awardable_type"], a["awardable_id"])


def award_user(w, a):
    other = stranger(w, a)
    if not other:
        return False
    w.db.update("award_emoji", a["id"], user_id=other)


def award_gone(w, a):
    w.db.run("DELETE FROM award_emoji WHERE id=?", a["id"])


def award_twice(w, a):
    other = stranger(w, a)
    if not other:
        return False
    w.db.insert("award_emoji", **dict({k: a[k] for k in a.keys() if k != "id"}, user_id=other))


AWARDS = {"name": award_name, "user": award_user, "missing": award_gone, "extra": award_twice}
PARTS = {"children.order": siblings_order, "notes.note": comment(note_text), "notes.internal": comment(note_internal), "notes.type": comment(note_type),
         "notes.missing": comment(note_gone), "notes.extra": comment(note_twice), "notes.order": note_order, "notes.elsewhere": note_elsewhere}
PARTS.update({"award_emoji." + k: award("Epic", f) for k, f in AWARDS.items()})
PARTS.update({"notes.award_emoji." + k: award("Note", f) for k, f in AWARDS.items()})
PARTS["description.author"] = author_line

EPICS = Kind("epics", "epics", lambda row: str(row["iid"]), (),
             {"title": column("title", unique_title), "description": text("description"), "state": column("state", "closed", "opened"),
              "confidential": column("confidential", 1, 0), "color": column("color", "#010203"), "iid": epic_iid,
              "start_date_fixed": column("start_date_fixed", "2031-02-03"), "start_date_is_fixed": column("start_date_is_fixed", 1, 0),
              "due_date_fixed": column("due_date_fixed", "2044-05-06"), "due_date_is_fixed": column("due_date_is_fixed", 1, 0),
              "label_links": epic_label, "parent": epic_parent}, copy_epic, parts=PARTS, drop=epic_gone, movable=lone)


# ---- epic boards -----------------------------------------------------------------------------

def board_label(w, r):
    here = w.db.val("SELECT label_id FROM epic_board_labels WHERE board_id=? ORDER BY id", r.row["id"])
    if here:
        w.db.run("DELETE FROM epic_board_labels WHERE board_id=? AND label_id=?", r.row["id"], here)
        return True
    label = w.db.val("SELECT id FROM labels WHERE group_id=? ORDER BY id", r.row["group_id"])
    if label:
        w.db.insert("epic_board_labels", group_id=r.row["group_id"], board_id=r.row["id"], label_id=label)
    return bool(label)


def lists(w, r):
    return w.db.all("SELECT * FROM epic_lists WHERE board_id=? AND list_type=1 ORDER BY position, id", r.row["id"])


def a_list(change):
    def do(w, r):
        rows = lists(w, r)
        return bool(rows) and change(w, r, w.random.choice(rows)) is not False
    return do


def list_label(w, r, x):
    other = w.db.val("SELECT id FROM labels WHERE group_id=? AND id NOT IN (SELECT label_id FROM epic_lists WHERE board_id=? AND label_id IS NOT NULL) "
                     "ORDER BY id", r.row["group_id"], r.row["id"])
    if not other:
        return False
    w.db.update("epic_lists", x["id"], label_id=other)


def list_gone(w, r, x):
    epic_boards.remove_list(w.db, x)


def list_twice(w, r, x):
    w.db.insert("epic_lists", **dict({k: x[k] for k in x.keys() if k != "id"}, position=max(y["position"] for y in lists(w, r)) + 1))


def list_order(w, r):
    rows = lists(w, r)
    if len(rows) < 2:
        return False
    i = w.random.randrange(len(rows) - 1)
    ids = [x["id"] for x in rows]
    ids[i], ids[i + 1] = ids[i + 1], ids[i]
    for k, x in enumerate(ids):
        w.db.update("epic_lists", x, position=k)
    return True


def shown(w, b):
    """[(list, [epic id in the order of the board])] of the lists that the board shows."""
    g = w.db.one("SELECT * FROM groups WHERE id=?", b["group_id"])
    has = "EXISTS(SELECT 1 FROM epic_labels x WHERE x.epic_id=epics.id AND x.label_id=%d)"
    out = []
    for x in epic_boards.lists_of(w.db, b):
        if x["list_type"] == epic_boards.BACKLOG and b["hide_backlog_list"] or x["list_type"] == epic_boards.CLOSED and b["hide_closed_list"]:
            continue
        where = ["group_id IN (SELECT id FROM groups WHERE tids GLOB '%s*')" % g["tids"],
                 "state='%s'" % ("closed" if x["list_type"] == epic_boards.CLOSED else "opened")]
        where += [has % y["id"] for y in epic_boards.labels_of(w.db, b)]
        if x["list_type"] == epic_boards.LABEL:
            where.append(has % x["label_id"])
        elif x["list_type"] == epic_boards.BACKLOG:
            where.append("NOT EXISTS(SELECT 1 FROM epic_labels x JOIN epic_lists l ON l.label_id=x.label_id WHERE x.epic_id=epics.id AND l.board_id=%d)" % b["id"])
        out.append((x["label_id"] or -x["list_type"], [e["id"] for e in w.db.all("SELECT id FROM epics WHERE %s ORDER BY %s" % (
            " AND ".join(where), ", ".join(epic_boards.order(b))))]))
    return out


def epics_order(w, r):
    """Two that stand behind one another in a list of the board change their places."""
    spots = [(a, b) for _, ids in shown(w, r.row) for a, b in zip(ids, ids[1:])]
    if not spots:
        return False
    a, b = w.random.choice(spots)
    every = [e for _, ids in shown(w, r.row) for e in ids]
    places = {x["epic_id"]: x["relative_position"] for x in w.db.all("SELECT * FROM epic_board_positions WHERE board_id=?", r.row["id"])}
    if any(places.get(e) is None for e in (a, b)):
        for k, e in enumerate(dict.fromkeys(every)):
            epic_boards.set_place(w.db, r.row, e, 1000 * (k + 1))
        places = {x["epic_id"]: x["relative_position"] for x in w.db.all("SELECT * FROM epic_board_positions WHERE board_id=?", r.row["id"])}
    epic_boards.set_place(w.db, r.row, a, places[b])
    epic_boards.set_place(w.db, r.row, b, places[a])
    return True


def board_gone(w, r):
    epic_boards.destroy(w.db, r.row["id"])
    return True


def copy_board(w, r):
    new = w.db.insert("epic_boards", **{k: r.row[k] for k in r.row if k != "id"})
    for table in ("epic_lists", "epic_board_labels", "epic_board_positions"):
        for x in w.db.all("SELECT * FROM %s WHERE board_id=?" % table, r.row["id"]):
            w.db.insert(table, **dict({k: x[k] for k in x.keys() if k != "id"}, board_id=new))
    return r.key


BOARDS = Kind("epic_boards", "epic_boards", "name", (),
              {"name": column("name", lambda r: r["name"] + " X"), "hide_backlog_list": column("hide_backlog_list", 1, 0),
               "hide_closed_list": column("hide_closed_list", 1, 0), "display_colors": column("display_colors", 1, 0), "labels": board_label},
              copy_board, move=False, drop=board_gone,
              parts={"epic_lists.label": a_list(list_label), "epic_lists.missing": a_list(list_gone), "epic_lists.extra": a_list(list_twice),
                     "epic_lists.order": list_order, "epic_lists.epics.order": epics_order})


# ---- cadences and iterations -----------------------------------------------------------------

def iterations(w, r):
    return w.db.all("SELECT * FROM iterations WHERE cadence_id=? ORDER BY start_date, id", r.row["id"])


def iteration(change):
    def do(w, r):
        rows = iterations(w, r)
        return bool(rows) and change(w, r, w.random.choice(rows)) is not False
    return do


def iteration_set(**cols):
    def change(w, r, x):
        for k, v in cols.items():
            w.db.update("iterations", x["id"], **{k: v(w, x)})
    return iteration(change)


def iteration_twice(w, r, x):
    iid = w.db.val("SELECT max(iid) FROM iterations") + 100
    w.db.insert("iterations", **dict({k: x[k] for k in x.keys() if k != "id"}, iid=iid))


def iteration_gone(w, r, x):
    if w.db.val("SELECT 1 FROM lists WHERE iteration_id=?", x["id"]) or w.db.val("SELECT 1 FROM boards WHERE iteration_id=?", x["id"]):
        return False
    w.db.run("DELETE FROM iterations WHERE id=?", x["id"])


def iteration_elsewhere(w, r):
    """To another cadence of the group: two findings."""
    rows = iterations(w, r)
    for c in w.records(CADENCES) if rows else ():
        if c.row["id"] != r.row["id"] and c.row["group_id"] == r.row["group_id"]:
            w.db.update("iterations", w.random.choice(rows)["id"], cadence_id=c.row["id"])
            w.touch(c)
            return [finding("differs", c.path, "iterations_cadences", c.key, "iterations")]
    return False


def cadence_gone(w, r):
    w.db.run("DELETE FROM iterations WHERE cadence_id=?", r.row["id"])
    w.db.run("DELETE FROM iterations_cadences WHERE id=?", r.row["id"])
    return True


CADENCES = Kind("iterations_cadences", "iterations_cadences", lambda row: row["title"],
                ("SELECT 1 FROM boards WHERE iteration_cadence_id=?", "SELECT 1 FROM lists WHERE iteration_id IN (SELECT id FROM iterations WHERE cadence_id=?)",
                 "SELECT 1 FROM boards WHERE iteration_id IN (SELECT id FROM iterations WHERE cadence_id=?)"),
                {"title": column("title", unique_title), "description": column("description", lambda r: (r["description"] or "") + " changed"),
                 "active": column("active", 0, 1), "roll_over": column("roll_over", 1, 0), "automatic": column("automatic", 0, 1),
                 "duration_in_weeks": column("duration_in_weeks", 3, 4), "iterations_in_advance": column("iterations_in_advance", 3, 4),
                 "start_date": column("start_date", "2031-02-03")}, copy_cadence, move=False, drop=cadence_gone,
                parts={"iterations.title": iteration_set(title=lambda w, x: (x["title"] or "") + " changed"),
                       "iterations.description": iteration_set(description=lambda w, x: spoilt(w, x["description"])),
                       "iterations.start_date": iteration_set(start_date=lambda w, x: "2001-02-03"),
                       "iterations.due_date": iteration_set(due_date=lambda w, x: "2044-05-06"),
                       "iterations.iid": iteration_set(iid=lambda w, x: w.db.val("SELECT max(iid) FROM iterations") + 100),
                       "iterations.missing": iteration(iteration_gone), "iterations.extra": iteration(iteration_twice),
                       "iterations.elsewhere": iteration_elsewhere})

KINDS += [EPICS, BOARDS, CADENCES]


# ---- what else is to be seen -----------------------------------------------------------------

def boards_picture(w):
    """{board: what its lists show}: whatever is done to epics, boards above them may show others, or in another order."""
    inside = ",".join(str(g["id"]) for g in w.groups)
    return {b["id"]: (b, [(name, [tuple(w.db.one("SELECT group_id, iid FROM epics WHERE id=?", e)) for e in ids]) for name, ids in shown(w, b)])
            for b in w.db.all("SELECT * FROM epic_boards WHERE group_id IN (%s)" % inside)}
