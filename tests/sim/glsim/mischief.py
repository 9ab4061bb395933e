"""POST /_sim/mischief: damage done to an instance behind its back, and what somebody who compares it with what it was must find.

    {"seed": 7, "count": 4, "root": "full/path", "first": 12}       or "first": [12, 13, 14]

Records of the tree below `root` are dropped, altered in one attribute, duplicated, put into another order, or moved to another parent,
without a trace in their times. Which ones follows from the seed alone; `first` names entries of the catalogue by number that
come first where they are possible, `without` leaves [kind, attribute] out, and with `lists` false nobody can know what the lists of epic boards show. Every one is done to another record, and only to records on which nothing else stands, so that each
is one finding of its own (two when a record moves, and one more for each board that shows an epic elsewhere now). The answer names them:

    {"catalogue": [["alter", "labels", "title"], ...], "planted": [{"how": "alter", "kind": "labels", "attribute": "color", "group": "firmware", "key": "bug",
                                   "expect": [{"finding": "differs", "group": "firmware", "relation": "labels", "key": "bug", "attribute": "color"}]}]}

Paths are below the root, as it was before anything was done. `key` null: by the content. A kind joins by a row in KINDS
(mischief_planning.py: epics and what belongs to them).
"""
import collections
import json
import random

from . import boards, groups, group_settings as gs, png
from .auth import ancestor_ids
from .db import dumps


class Record:
    """One record that may be chosen: its row, its group's path below the root, and what it is called."""

    def __init__(self, table, row, path, key):
        self.table, self.row, self.path, self.key = table, dict(row), path, key


class Kind:
    """`refs`: SQL that tells whether something else stands on the record. `alter`: attribute of the records -> function(world, record) that
    changes it and returns True, or tells with False that it cannot. `parts`: the same for what is inside of an attribute, "lists.label"; it may
    return further findings. `drop`, where deleting the row is not enough; `movable`: may it go to another group?"""

    def __init__(self, relation, table, key, refs=(), alter=None, copy=None, move=True, parts=None, drop=None, movable=None):
        self.relation, self.table, self.key = relation, table, key
        self.refs, self.alter, self.copy, self.move = refs, alter or {}, copy, move
        self.parts, self.drop, self.movable = parts or {}, drop, movable


def column(name, *values):
    """Sets a column to the first of these values that it does not have. A function is given the row."""
    def change(w, r):
        for v in values:
            v = v(r.row) if callable(v) else v
            if v != r.row[name]:
                w.db.update(r.table, r.row["id"], **{name: v})
                return True
        return False
    return change


def unique_title(row):
    return row["title"] + " (changed)"


def free_iid(table):
    def change(w, r):
        iid = w.db.val("SELECT max(iid) FROM %s" % table) + 100
        w.db.update(table, r.row["id"], iid=iid)
        return True
    return change


def board_labels(w, r):
    here = [x["label_id"] for x in w.db.all("SELECT label_id FROM board_labels WHERE board_id=?", r.row["id"])]
    if here:
        w.db.run("DELETE FROM board_labels WHERE board_id=? AND label_id=?", r.row["id"], here[0])
        return True
    label = w.db.val("SELECT id FROM labels WHERE group_id=? ORDER BY id", r.row["group_id"])
    if label:
        w.db.insert("board_labels", board_id=r.row["id"], label_id=label)
    return bool(label)


def board_milestone(w, r):
    if (r.row["milestone_id"] or 1) < 1:
        return False  # a filter, which would go at the same time
    other = w.db.val("SELECT id FROM milestones WHERE group_id=? AND id IS NOT ? ORDER BY id", r.row["group_id"], r.row["milestone_id"])
    if other:
        w.db.update("boards", r.row["id"], milestone_id=other)
    return bool(other)


def board_assignee(w, r):
    w.db.update("boards", r.row["id"], assignee_id=w.db.val("SELECT id FROM users WHERE id IS NOT ? ORDER BY id", r.row["assignee_id"]))
    return True


def one_list(w, r):
    rows = w.db.all("SELECT * FROM lists WHERE board_id=? AND list_type=1 ORDER BY position", r.row["id"])
    return rows[w.random.randrange(len(rows))] if rows else None


def list_number(name):
    def change(w, r):
        x = one_list(w, r)
        if x is not None:
            w.db.update("lists", x["id"], **{name: x[name] + 7})
        return x is not None
    return change


def list_metric(w, r):
    x = one_list(w, r)
    if x is not None:
        w.db.update("lists", x["id"], limit_metric="issue_weights" if x["limit_metric"] != "issue_weights" else "issue_count")
    return x is not None


def list_label(w, r):
    x = one_list(w, r)
    other = x and w.db.val("SELECT id FROM labels WHERE group_id=? AND id NOT IN (SELECT label_id FROM lists WHERE board_id=? AND label_id "
                           "IS NOT NULL) ORDER BY id", r.row["group_id"], r.row["id"])
    if other:
        w.db.update("lists", x["id"], label_id=other)
    return bool(other)


def list_gone(w, r):
    x = one_list(w, r)
    if x is not None:
        boards.remove_list(w.db, x)
    return x is not None


def list_twice(w, r):
    x = one_list(w, r)
    if x is not None:
        cols = {k: x[k] for k in x.keys() if k != "id"}
        w.db.insert("lists", **dict(cols, position=w.db.val("SELECT max(position) FROM lists WHERE board_id=?", r.row["id"]) + 1))
    return x is not None


def list_order(w, r):
    rows = w.db.all("SELECT * FROM lists WHERE board_id=? AND list_type IN (1,3,4,5) ORDER BY position, id", r.row["id"])
    if len(rows) < 2:
        return False
    i = w.random.randrange(len(rows) - 1)
    a, b = rows[i], rows[i + 1]
    for k, x in enumerate(rows):  # positions may have gaps or be shared
        w.db.update("lists", x["id"], position=k)
    w.db.update("lists", a["id"], position=i + 1)
    w.db.update("lists", b["id"], position=i)
    return True


def board_gone(w, r):
    for table, key in (("lists", "board_id"), ("board_labels", "board_id"), ("boards", "id")):
        w.db.run("DELETE FROM %s WHERE %s=?" % (table, key), r.row["id"])
    return True


def copy_board(w, r):
    cols = {k: r.row[k] for k in r.row if k != "id"}
    new = w.db.insert("boards", **cols)
    for table, key in (("lists", "board_id"), ("board_labels", "board_id")):
        for x in w.db.all("SELECT * FROM %s WHERE %s=?" % (table, key), r.row["id"]):
            w.db.insert(table, **dict({k: x[k] for k in x.keys() if k != "id"}, board_id=new))
    return r.key


def copy_titled(table):
    def copy(w, r):
        cols = dict({k: r.row[k] for k in r.row if k != "id"}, title=r.row["title"] + " (2)")
        if "iid" in cols:
            cols["iid"] = w.db.val("SELECT max(iid) FROM %s" % table) + 100
        w.db.insert(table, **cols)
        return cols["title"]
    return copy


def looks(table, row):
    """What tells a record from another to somebody who does not see its id. One that comes into a group where another looked the same is
    as good as that other, whatever is done to the other: such a pair of deeds is one deed."""
    if table == "badges":
        return row["name"], row["link_url"], row["image_url"]
    return row["name"] if table.endswith("boards") else row["id"]


def copy_badge(w, r):
    """Not where two looked the same: with the copy they stay two, whatever is done to one of them."""
    if w.shown["badges", r.row["group_id"], looks("badges", r.row)] > 1:
        return False
    w.db.insert("badges", **{k: r.row[k] for k in r.row if k != "id"})
    return None


def copy_member(w, r):
    """There is no second membership of one person: somebody else gets one."""
    u = w.db.one("SELECT * FROM users WHERE bot=0 AND id NOT IN (SELECT user_id FROM members WHERE group_id=?) ORDER BY id DESC", r.row["group_id"])
    if u is None:
        return False
    w.db.insert("members", **dict({k: r.row[k] for k in r.row if k != "id"}, user_id=u["id"]))
    return u["username"]


def copy_cadence(w, r):
    cols = dict({k: r.row[k] for k in r.row if k != "id"}, title=r.row["title"] + " (2)")
    new = w.db.insert("iterations_cadences", **cols)
    for x in w.db.all("SELECT * FROM iterations WHERE cadence_id=?", r.row["id"]):
        iid = w.db.val("SELECT max(iid) FROM iterations") + 100
        w.db.insert("iterations", **dict({k: x[k] for k in x.keys() if k != "id"}, cadence_id=new, iid=iid))
    return cols["title"]


def setting(name, *values):
    """One that was not set could have come from the group above, so it takes a value that this one does not have either."""
    def change(w, r):
        above = w.db.one("SELECT * FROM groups WHERE id=?", r.row["parent_id"])
        st, up = json.loads(r.row["settings"]), groups.settings_of(above)
        if name == "emails_enabled" and silent(w, above):
            return False  # mails are off there whatever the group says
        for v in values:
            if v not in (st.get(name, gs.BY_NAME[name].default), up[name]):
                st[name] = v
                w.db.update("groups", r.row["id"], settings=json.dumps(st, separators=(",", ":")))
                return True
        return False
    return change


def group_path(w, r):
    parent = w.db.one("SELECT * FROM groups WHERE id=?", r.row["parent_id"])
    path = r.row["path"] + "-x"
    groups.rename_tree(w.db, r.row, groups.join_path(parent, path))
    w.db.update("groups", r.row["id"], path=path)
    return True


def group_avatar(w, r):
    if r.row["avatar"] is None:
        return False
    w.db.update("groups", r.row["id"], avatar=png.make("#123456", 24))
    return True


SELF = {
    "name": column("name", lambda r: r["name"] + " X"),
    "path": group_path,
    "description": column("description", lambda r: (r["description"] or "") + " changed"),
    "visibility_level": column("visibility", "private", "internal"),
    "share_with_group_lock": setting("share_with_group_lock", True, False),
    "require_two_factor_authentication": setting("require_two_factor_authentication", True, False),
    "two_factor_grace_period": setting("two_factor_grace_period", 12),
    "project_creation_level": setting("project_creation_level", "noone", "maintainer"),
    "subgroup_creation_level": setting("subgroup_creation_level", "owner", "maintainer"),
    "emails_enabled": setting("emails_enabled", False, True),
    "show_diff_preview_in_email": setting("show_diff_preview_in_email", False, True),
    "mentions_disabled": setting("mentions_disabled", True),  # null and false are the same
    "lfs_enabled": setting("lfs_enabled", False, True),
    "request_access_enabled": setting("request_access_enabled", False, True),
    "default_branch_protection_defaults": setting("default_branch_protection_defaults",
                                                  dict(gs.DEFAULT_PROTECTION, allow_force_push=True), gs.DEFAULT_PROTECTION),
    "math_rendering_limits_enabled": setting("math_rendering_limits_enabled", False, True),
    "lock_math_rendering_limits_enabled": setting("lock_math_rendering_limits_enabled", True, False),
    "membership_lock": setting("membership_lock", True, False),
    "prevent_forking_outside_group": setting("prevent_forking_outside_group", True, False),
    "only_allow_merge_if_pipeline_succeeds": setting("only_allow_merge_if_pipeline_succeeds", True, False),
    "allow_merge_on_skipped_pipeline": setting("allow_merge_on_skipped_pipeline", True, False),
    "only_allow_merge_if_all_discussions_are_resolved": setting("only_allow_merge_if_all_discussions_are_resolved", True, False),
    "shared_runners_setting": setting("shared_runners_setting", "disabled_and_unoverridable", "enabled"),
    "default_branch": setting("default_branch", "trunk"),
    "auto_devops_enabled": setting("auto_devops_enabled", True, False),
    "enabled_git_access_protocol": setting("enabled_git_access_protocol", "ssh", "all"),
    "wiki_access_level": setting("wiki_access_level", "private", "enabled"),
}
LISTS = {"order": list_order, "max_issue_count": list_number("max_issue_count"), "max_issue_weight": list_number("max_issue_weight"),
         "limit_metric": list_metric, "label": list_label, "missing": list_gone, "extra": list_twice}

KINDS = [
    Kind("labels", "labels", "title",
         ("SELECT 1 FROM lists WHERE label_id=?", "SELECT 1 FROM board_labels WHERE label_id=?", "SELECT 1 FROM epic_labels WHERE label_id=?",
          "SELECT 1 FROM epic_lists WHERE label_id=?", "SELECT 1 FROM epic_board_labels WHERE label_id=?"),
         {"title": column("title", unique_title), "color": column("color", "#010203"),
          "description": column("description", lambda r: (r["description"] or "") + " changed"),
          "lock_on_merge": column("lock_on_merge", 1, 0), "archived": column("archived", 1, 0)}, copy_titled("labels")),
    Kind("milestones", "milestones", "title",
         ("SELECT 1 FROM lists WHERE milestone_id=?", "SELECT 1 FROM boards WHERE milestone_id=?"),
         {"title": column("title", unique_title), "iid": free_iid("milestones"),
          "description": column("description", lambda r: (r["description"] or "") + " changed"),
          "state": column("state", "closed", "active"), "start_date": column("start_date", "2001-02-03"),
          "due_date": column("due_date", "2044-05-06")}, copy_titled("milestones")),
    Kind("badges", "badges", None, (),
         {"name": column("name", lambda r: (r["name"] or "") + " X"),
          "link_url": column("link_url", lambda r: r["link_url"] + "?x"),
          "image_url": column("image_url", lambda r: r["image_url"] + "?x")}, copy_badge),
    Kind("boards", "boards", "name", (),
         {"name": column("name", lambda r: r["name"] + " X"), "hide_backlog_list": column("hide_backlog_list", 1, 0),
          "hide_closed_list": column("hide_closed_list", 1, 0), "weight": column("weight", 5, 8),
          "milestone": board_milestone, "board_assignee": board_assignee, "labels": board_labels}, copy_board,
         parts={"lists." + k: f for k, f in LISTS.items()}, drop=board_gone),
    Kind("members", "members", "user_id", (),
         {"access_level": column("access_level", 20, 30), "expires_at": column("expires_at", "2099-01-02", "2099-01-03")}, copy_member,
         move=False),
]


def catalogue():
    """Everything that can be done: (how, kind, attribute)."""
    out = []
    for k in KINDS:
        out += [("alter", k, a) for a in k.alter] + [("drop", k, None), ("duplicate", k, None)]
        out += [("reparent", k, None)] if k.move else []
        out += [("part", k, a) for a in k.parts]
    out += [("alter-group", None, a) for a in SELF] + [("alter-avatar", None, None), ("drop-avatar", None, None)]
    out += [("drop-group", None, None), ("duplicate-group", None, None), ("reparent-group", None, None)]
    return out


class World:
    def __init__(self, db, seed, root):
        self.db, self.random = db, random.Random(seed)
        self.root = db.one("SELECT * FROM groups WHERE full_path=?", root)
        if self.root is None:
            raise ValueError("no group %s" % root)
        self.groups = db.all("SELECT * FROM groups WHERE tids GLOB ? ORDER BY id", self.root["tids"] + "*")
        self.path = {g["id"]: g["full_path"][len(root):].lstrip("/") for g in self.groups}
        self.users = {u["id"]: u["username"] for u in db.all("SELECT id, username FROM users")}
        self.last = {k.table: db.val("SELECT max(id) FROM %s" % k.table) or 0 for k in KINDS}  # what is made from here on is ours
        self.shown = collections.Counter()  # before anything was done
        for k in KINDS:
            self.shown.update((k.table, r["group_id"], looks(k.table, r)) for r in db.all("SELECT * FROM %s" % k.table))
        self.used, self.closed = set(), set()  # records, and groups that are touched as a whole

    def leaf(self, g):
        return g["parent_id"] and g["id"] != self.root["id"] and not any(x["parent_id"] == g["id"] for x in self.groups)

    def records(self, kind):
        out = []
        for r in self.db.all("SELECT * FROM %s ORDER BY id" % kind.table):
            if r["id"] <= self.last[kind.table] and r["group_id"] in self.path and r["group_id"] not in self.closed and (kind.table, r["id"]) not in self.used:
                if not any(self.db.val(q, r["id"]) for q in kind.refs):
                    key = (None if kind.key is None else kind.key(r) if callable(kind.key) else
                           self.users[r[kind.key]] if kind.key == "user_id" else r[kind.key])
                    out.append(Record(kind.table, r, self.path[r["group_id"]], key))
        self.random.shuffle(out)
        return out

    def free_groups(self):
        """Leaves of which nothing was touched yet."""
        out = [g for g in self.groups if self.leaf(g) and g["id"] not in self.closed and ("groups", g["id"]) not in self.used]
        self.random.shuffle(out)
        return out

    def touch(self, r):
        self.used.add((r.table, r.row["id"]))
        self.used.add(("groups", r.row["group_id"]))


def finding(what, group, relation, key, attribute=None):
    return {"finding": what, "group": group, "relation": relation, "key": key, "attribute": attribute}


def on_record(w, how, kind, attribute):
    for r in w.records(kind):
        name, expect = attribute, None
        if how == "alter" and kind.alter[attribute](w, r):
            expect = [finding("differs", r.path, kind.relation, r.key, attribute)]
        elif how == "part":
            more = kind.parts[attribute](w, r)
            name = attribute.split(".")[0]
            expect = more and [finding("differs", r.path, kind.relation, r.key, name)] + (more if isinstance(more, list) else [])
        elif how == "drop" and (kind.drop(w, r) if kind.drop else w.db.run("DELETE FROM %s WHERE id=?" % kind.table, r.row["id"]) or True):
            expect = [finding("missing", r.path, kind.relation, r.key)]
        elif how == "duplicate":
            key = kind.copy(w, r)
            expect = None if key is False else [finding("extra", r.path, kind.relation, key)]
        elif how == "reparent":
            expect = move_record(w, kind, r)
        if expect:
            w.touch(r)
            return {"how": how, "kind": kind.relation, "attribute": attribute, "group": r.path, "key": r.key, "expect": expect}
    return None


def move_record(w, kind, r):
    if kind.movable and not kind.movable(w, r):
        return None
    here = [g for g in w.groups if g["id"] != r.row["group_id"] and g["id"] not in w.closed]
    w.random.shuffle(here)
    for g in here:
        if (kind.table, g["id"], looks(kind.table, r.row)) in w.shown:
            continue
        if kind.key == "title" and w.db.val("SELECT 1 FROM %s WHERE group_id=? AND title=?" % kind.table, g["id"], r.key):
            continue
        cols = {"group_id": g["id"]}
        if "iid" in r.row:
            cols["iid"] = w.db.val("SELECT max(iid) FROM %s" % kind.table) + 100
        w.db.update(kind.table, r.row["id"], **cols)
        w.used.add(("groups", g["id"]))
        key = kind.key(dict(r.row, **cols)) if callable(kind.key) else r.key
        return [finding("missing", r.path, kind.relation, r.key), finding("extra", w.path[g["id"]], kind.relation, key)]
    return None


def on_group(w, how, attribute):
    for g in w.free_groups() if how != "alter-avatar" and how != "drop-avatar" else [x for x in w.groups if x["avatar"] is not None]:
        path, expect = w.path[g["id"]], None
        r = Record("groups", g, path, "self")
        if g["id"] in w.closed or (how.endswith("avatar") and ("avatar", g["id"]) in w.used):
            continue
        if how == "alter-group" and SELF[attribute](w, r):
            expect = [finding("differs", path, "self", "self", attribute)]
            w.used.add(("groups", g["id"]))
            if attribute == "path":
                w.closed.add(g["id"])
        elif how == "alter-avatar" and group_avatar(w, r):
            expect = [finding("differs", path, "avatar", "avatar", "content")]
        elif how == "drop-avatar":
            w.db.update("groups", g["id"], avatar=None, avatar_name=None)
            expect = [finding("missing", path, "avatar", "avatar")]
        elif how == "drop-group" and not w.db.val("SELECT 1 FROM epics c JOIN epics p ON c.parent_id=p.id WHERE p.group_id=? AND c.group_id<>?", g["id"], g["id"]):
            groups.destroy(w.db, g["id"])
            expect = [finding("missing", path, "groups", path)]
        elif how == "duplicate-group":
            parent = w.db.one("SELECT * FROM groups WHERE id=?", g["parent_id"])
            new = g["path"] + "-copy"
            cols = {k: g[k] for k in g.keys() if k not in ("id", "tids", "parent_id")}
            full = groups.join_path(parent, new)
            groups.insert_group(w.db, parent, **dict(cols, path=new, full_path=full))
            copy = full[len(w.root["full_path"]):].lstrip("/")
            expect = [finding("extra", copy, "groups", copy)]
        elif how == "reparent-group":
            expect = move_group(w, g, path)
        if expect:
            if how.endswith("avatar"):
                w.used.add(("avatar", g["id"]))
                w.used.add(("groups", g["id"]))
            elif how in ("drop-group", "reparent-group"):
                w.closed.add(g["id"])
            else:
                w.used.add(("groups", g["id"]))
            return {"how": how, "kind": "groups", "attribute": attribute, "group": path, "key": "self", "expect": expect}
    return None


def silent(w, g):
    ids = ",".join(map(str, ancestor_ids(g["tids"])))
    return any('"emails_enabled":false' in x["settings"] for x in w.db.all("SELECT settings FROM groups WHERE id IN (%s)" % ids))


def move_group(w, g, path):
    for p in w.groups:
        if p["id"] in (g["id"], g["parent_id"]) or p["id"] in w.closed or silent(w, p) != silent(w, g):
            continue
        full = groups.join_path(p, g["path"])
        if w.db.val("SELECT 1 FROM groups WHERE full_path=?", full):
            continue
        groups.rename_tree(w.db, g, full)
        w.db.run("UPDATE groups SET tids=?, parent_id=? WHERE id=?", "%s%d/" % (p["tids"], g["id"]), p["id"], g["id"])
        w.used.add(("groups", p["id"]))
        return [finding("differs", path, "groups", path, "parent")]
    return None


def attempt(w, how, kind, attribute):
    """Does it, unless a board that something was done to would show it as well: one finding for two things."""
    from .mischief_planning import boards_picture
    before, marks = boards_picture(w) if w.lists_are_seen else {}, (set(w.used), set(w.closed))
    w.db.run("SAVEPOINT mischief")
    p = on_group(w, how, attribute) if kind is None else on_record(w, how, kind, attribute)
    after = boards_picture(w) if p and w.lists_are_seen else {}
    for bid, (board, lists) in after.items():
        seen = finding("differs", w.path[board["group_id"]], "epic_boards", before[bid][0]["name"], "epic_lists") if bid in before else None
        if not seen or lists == before[bid][1] or seen in p["expect"]:
            continue
        if ("epic_boards", bid) in marks[0] or board["group_id"] in w.closed:
            p = None
            break
        p["expect"].append(seen)
        w.used.add(("epic_boards", bid))
    if p:
        w.db.run("RELEASE mischief")
        return p
    w.db.run("ROLLBACK TO mischief")
    w.db.run("RELEASE mischief")
    w.used, w.closed = marks
    return None


def do(db, o):
    """Does it; the caller has begun a transaction."""
    unknown = set(o) - {"seed", "count", "root", "first", "without", "lists"}
    if unknown:
        raise ValueError("mischief: unknown key %s" % ", ".join(sorted(unknown)))
    w = World(db, int(o["seed"]), o["root"])
    w.lists_are_seen = o.get("lists", True)
    without = {tuple(x) for x in o.get("without", ())}
    todo = catalogue()
    order = todo[:]
    w.random.shuffle(order)
    first = o.get("first")
    for i in reversed(first if isinstance(first, list) else [] if first is None else [first]):
        order.insert(0, todo[int(i) % len(todo)])
    planted = []
    for how, kind, attribute in order:
        if len(planted) >= int(o.get("count", 1)):
            break
        p = (kind.relation if kind else "groups", attribute) not in without and attempt(w, how, kind, attribute)
        if p:
            planted.append(p)
    return {"catalogue": [(how, kind.relation if kind else "groups", attribute) for how, kind, attribute in todo], "planted": planted}
