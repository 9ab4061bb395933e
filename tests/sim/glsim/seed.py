"""Loading users and a group tree from JSON (the format is described in ../README.md)."""
import base64
import json

from . import boards, colors, group_settings as gs, groups, png
from .auth import LEVEL_NAMES, ancestor_ids
from .db import now
from .router import to_date, to_time

LEVELS = {v.lower(): k for k, v in LEVEL_NAMES.items()}
# Kinds that a later resource family may come to know: kept word for word until then.
LATER = {"epics", "epic_boards", "iterations", "iteration_cadences", "work_items", "custom_emoji", "variables", "hooks",
         "wiki_pages", "push_rule", "saved_replies", "iterations_cadences", "export"}
# key -> function(db, group row, value, Refs); a family that knows a key takes it over from LATER.
HANDLERS = {}


class SeedError(ValueError):
    pass


def known(obj, keys, what):
    if not isinstance(obj, dict):
        raise SeedError("%s: an object was expected" % what)
    extra = set(obj) - set(keys)
    if extra:
        raise SeedError("%s: unknown key %s" % (what, ", ".join(sorted(extra))))


def stamp(obj, key, default):
    return to_time(obj[key]) if obj.get(key) else default


def times(obj, t):
    c = stamp(obj, "created_at", t)
    return c, stamp(obj, "updated_at", c)


def access(v):
    if isinstance(v, str):
        if v.lower() not in LEVELS:
            raise SeedError("unknown access level %r" % v)
        return LEVELS[v.lower()]
    return v


class Refs:
    """Finds users, labels and milestones by the names that a seed uses."""

    def __init__(self, db):
        self.db = db
        self.later = []     # what can be done only when all groups are there: functions without arguments
        self.users = {r["username"].lower(): r["id"] for r in db.all("SELECT id, username FROM users")}

    def user(self, name):
        if name is None:
            return None
        if name.lower() not in self.users:
            raise SeedError("unknown user %r" % name)
        return self.users[name.lower()]

    def in_tree(self, table, g, title):
        r = self.db.one("SELECT t.id FROM %s t JOIN groups x ON x.id=t.group_id WHERE t.title=? AND t.group_id IN (%s) "
                        "ORDER BY length(x.tids) DESC" % (table, ",".join(map(str, ancestor_ids(g["tids"])))), title)
        if r is None:
            raise SeedError("%s %r is not known in %s" % (table[:-1], title, g["full_path"]))
        return r["id"]


USER_KEYS = ("id", "username", "name", "email", "public_email", "confirmed", "confirmed_at", "state", "admin", "bot",
             "can_create_group", "created_at", "emails")


def load_users(db, users):
    t = now()
    for u in users:
        known(u, USER_KEYS, "user")
        created = stamp(u, "created_at", t)
        confirmed = u.get("confirmed_at") or (created if u.get("confirmed", True) else None)
        cols = dict(username=u["username"], name=u.get("name") or u["username"],
                    email=u.get("email") or u.get("public_email") or "%s@sim.invalid" % u["username"],
                    public_email=u.get("public_email") or "", confirmed_at=confirmed, state=u.get("state", "active"),
                    admin=int(u.get("admin", False)), bot=int(u.get("bot", False)),
                    can_create_group=int(u.get("can_create_group", True)), created_at=created)
        if "id" in u:
            cols["id"] = u["id"]
        uid = db.insert("users", **cols)
        for e in u.get("emails", ()):
            known(e, ("email", "confirmed"), "email of %s" % u["username"])
            db.insert("emails", user_id=uid, email=e["email"], confirmed_at=created if e.get("confirmed", True) else None)


GROUP_KEYS = {"id", "path", "name", "description", "visibility", "created_at", "updated_at", "creator", "avatar", "archived",
              "custom_attributes", "shared_with", "counters", "labels", "milestones", "badges", "boards", "members",
              "subgroups", "organization_id", "marked_for_deletion_on", "runners_token"}


def load_group(db, obj, parent, refs, t):
    known(obj, GROUP_KEYS | set(gs.BY_NAME) | LATER | set(HANDLERS), "group %s" % obj.get("path"))
    created, updated = times(obj, t)
    st = {k: obj[k] for k in gs.BY_NAME if k in obj}
    cols = dict(path=obj["path"], name=obj.get("name") or obj["path"], full_path=groups.join_path(parent, obj["path"]),
                description=obj.get("description") or "", visibility=obj.get("visibility", "private"),
                settings=json.dumps(st, separators=(",", ":")), created_at=created, updated_at=updated,
                creator_id=refs.user(obj.get("creator")), archived=int(obj.get("archived", False)),
                marked_on=obj.get("marked_for_deletion_on"), organization_id=obj.get("organization_id", 1),
                runners_token=obj.get("runners_token") or "GR1348941sim-secret-" + obj["path"])
    if cols["visibility"] not in groups.VISIBILITIES:
        raise SeedError("group %s: visibility %r" % (obj["path"], cols["visibility"]))
    if "id" in obj:
        cols["id"] = obj["id"]
    if obj.get("avatar"):
        cols["avatar"], cols["avatar_name"] = avatar(obj["avatar"], obj["path"])
    gid = groups.insert_group(db, parent, **cols)
    g = db.one("SELECT * FROM groups WHERE id=?", gid)
    for k, v in (obj.get("custom_attributes") or {}).items():
        db.insert("custom_attributes", group_id=gid, key=k, value=str(v))
    load_labels(db, g, obj.get("labels", ()), created)
    top = load_milestones(db, g, obj.get("milestones", ()), created)
    counters = dict(obj.get("counters") or {})
    counters["milestones"] = max(top, counters.get("milestones", 0))
    for k, v in counters.items():
        db.insert("counters", group_id=gid, kind=k, value=v)
    load_badges(db, g, obj.get("badges", ()), created)
    load_members(db, g, obj.get("members", ()), refs, created)
    for b in obj.get("boards", ()):
        load_board(db, g, b, refs, created)
    for key in LATER | set(HANDLERS):
        if key in obj:
            if key in HANDLERS:
                HANDLERS[key](db, g, obj[key], refs)
            else:
                db.insert("seed_extra", group_id=gid, key=key, value=json.dumps(obj[key], ensure_ascii=False))
    for sub in obj.get("subgroups", ()):
        load_group(db, sub, g, refs, t)
    return gid


def avatar(spec, path):
    known(spec, ("color", "size", "base64", "filename"), "avatar")
    data = base64.b64decode(spec["base64"]) if "base64" in spec else png.make(spec.get("color", "#336699"), spec.get("size", 16))
    return data, spec.get("filename") or path + ".png"


def many(db, table, cols, rows):
    """Rows with and without an explicit id go in one after the other, in order."""
    if rows:
        names = ",".join(cols)
        db.con.executemany("INSERT INTO %s(%s) VALUES(%s)" % (table, names, ",".join("?" * len(cols))), rows)


def load_labels(db, g, items, t):
    rows = []
    for x in items:
        known(x, ("id", "title", "description", "color", "archived", "lock_on_merge", "created_at", "updated_at"), "label")
        color = colors.normalise(x.get("color", "#6699cc"))
        if color is None:
            raise SeedError("label %s: colour %r" % (x["title"], x["color"]))
        rows.append((x.get("id"), g["id"], x["title"], x.get("description"), color, int(x.get("archived", False)),
                     int(x.get("lock_on_merge", False)), *times(x, t)))
    many(db, "labels", ("id", "group_id", "title", "description", "color", "archived", "lock_on_merge", "created_at",
                        "updated_at"), rows)


def load_milestones(db, g, items, t):
    rows, top = [], 0
    for x in items:
        known(x, ("id", "iid", "title", "description", "state", "start_date", "due_date", "created_at", "updated_at"),
              "milestone")
        iid = x.get("iid") or top + 1
        top = max(top, iid)
        if x.get("state", "active") not in ("active", "closed"):
            raise SeedError("milestone %s: state %r" % (x["title"], x["state"]))
        rows.append((x.get("id"), g["id"], iid, x["title"], x.get("description"), x.get("state", "active"),
                     x["start_date"] and to_date(x["start_date"]) if x.get("start_date") else None,
                     to_date(x["due_date"]) if x.get("due_date") else None, *times(x, t)))
    many(db, "milestones", ("id", "group_id", "iid", "title", "description", "state", "start_date", "due_date",
                            "created_at", "updated_at"), rows)
    return top


def load_badges(db, g, items, t):
    rows = []
    for x in items:
        known(x, ("id", "name", "link_url", "image_url", "created_at", "updated_at"), "badge")
        rows.append((x.get("id"), g["id"], x.get("name"), x["link_url"], x["image_url"], *times(x, t)))
    many(db, "badges", ("id", "group_id", "name", "link_url", "image_url", "created_at", "updated_at"), rows)


def load_members(db, g, items, refs, t):
    rows = []
    for x in items:
        known(x, ("id", "user", "access_level", "expires_at", "created_by", "created_at", "updated_at"), "member")
        rows.append((x.get("id"), g["id"], refs.user(x["user"]), access(x["access_level"]), x.get("expires_at"),
                     refs.user(x.get("created_by")), *times(x, t)))
    many(db, "members", ("id", "group_id", "user_id", "access_level", "expires_at", "created_by_id", "created_at",
                         "updated_at"), rows)


def load_board(db, g, x, refs, t):
    known(x, ("id", "name", "hide_backlog_list", "hide_closed_list", "milestone", "assignee", "labels", "weight", "lists",
              "iteration_id", "iteration_cadence_id", "created_at", "updated_at"), "board")
    created, updated = times(x, t)
    cols = dict(hide_backlog_list=int(x.get("hide_backlog_list", False)), hide_closed_list=int(x.get("hide_closed_list", False)),
                assignee_id=refs.user(x.get("assignee")), weight=x.get("weight"), iteration_id=x.get("iteration_id"),
                iteration_cadence_id=x.get("iteration_cadence_id"))
    m = x.get("milestone")
    if m is not None:
        cols["milestone_id"] = m if isinstance(m, int) else refs.in_tree("milestones", g, m)
    if "id" in x:
        cols["id"] = x["id"]
    bid = boards.insert(db, g["id"], x["name"], created, **cols)
    db.update("boards", bid, updated_at=updated)
    for title in x.get("labels", ()):
        db.insert("board_labels", board_id=bid, label_id=refs.in_tree("labels", g, title))
    for i, ls in enumerate(x.get("lists", ())):
        known(ls, ("id", "label", "milestone", "assignee", "iteration_id", "position", "max_issue_count",
                   "max_issue_weight", "limit_metric", "created_at", "updated_at"), "list of board %s" % x["name"])
        cols = dict(board_id=bid, position=ls.get("position", i), max_issue_count=ls.get("max_issue_count", 0),
                    max_issue_weight=ls.get("max_issue_weight", 0), limit_metric=ls.get("limit_metric"))
        cols["created_at"], cols["updated_at"] = times(ls, created)
        if "label" in ls:
            cols.update(list_type=boards.LABEL, label_id=refs.in_tree("labels", g, ls["label"]))
        elif "milestone" in ls:
            cols.update(list_type=boards.MILESTONE, milestone_id=refs.in_tree("milestones", g, ls["milestone"]))
        elif "assignee" in ls:
            cols.update(list_type=boards.ASSIGNEE, user_id=refs.user(ls["assignee"]))
        elif "iteration_id" in ls:
            cols.update(list_type=boards.ITERATION, iteration_id=ls["iteration_id"])
        else:
            raise SeedError("list of board %s: label, milestone, assignee or iteration_id is needed" % x["name"])
        if "id" in ls:
            cols["id"] = ls["id"]
        db.insert("lists", **cols)


# ---- tokens ----------------------------------------------------------------------------------

ROLES = (  # name of the token, whose it is, scopes, and what is odd about it
    ("admin", "admin", "api read_repository sudo admin_mode", {}),
    ("nosudo", "admin", "api", {}),
    ("owner", "owner", "api read_repository", {}),
    ("maintainer", "maintainer", "api", {}),
    ("reader", "reader", "read_api", {}),
    ("expired", "owner", "api", {"expires_at": "2020-01-01"}),
    ("revoked", "owner", "api", {"revoked": 1}),
    ("noscope", "owner", "read_user", {}),
)
STAND_INS = {"admin": ("root", "Administrator"), "owner": ("sim-owner", "Olivia Owner"),
             "maintainer": ("sim-maintainer", "Max Maintainer"), "reader": ("sim-reader", "Rita Reader")}
STAND_IN_LEVEL = {"owner": 50, "maintainer": 40, "reader": 20}


def load(db, tree):
    """Load one seed document. May be called again with another."""
    known(tree, ("users", "tokens", "groups", "comment"), "seed")
    t = now()
    load_users(db, tree.get("users", ()))
    refs = Refs(db)
    tops = [load_group(db, g, None, refs, t) for g in tree.get("groups", ())]
    finish(refs)
    first = not db.val("SELECT 1 FROM tokens")
    who = tree.get("tokens") or {}
    known(who, STAND_INS, "tokens")
    ids = {}
    for role, (username, name) in STAND_INS.items():
        if role in who:
            ids[role] = refs.user(who[role])
            continue
        r = db.one("SELECT id FROM users WHERE username=?", username)
        ids[role] = r["id"] if r else db.insert(
            "users", username=username, name=name, email="%s@sim.invalid" % username, created_at=t, confirmed_at=t,
            admin=int(role == "admin"), sim=1)
        if role in STAND_IN_LEVEL:
            for gid in tops:
                if not db.val("SELECT 1 FROM members WHERE group_id=? AND user_id=?", gid, ids[role]):
                    db.insert("members", group_id=gid, user_id=ids[role], access_level=STAND_IN_LEVEL[role],
                              created_at=t, updated_at=t)
    for g in tree.get("groups", ()):
        link(db, g, None)
    if first:
        if not db.val("SELECT admin FROM users WHERE id=?", ids["admin"]):
            raise SeedError("the user of the admin token is no admin")
        for label, role, scopes, odd in ROLES:
            db.insert("tokens", token="glpat-sim-%s-%s" % (label, "0" * 10), label=label, user_id=ids[role],
                      name="simulator " + label, scopes=scopes, created_at=t, **odd)


def finish(refs):
    """What had to wait for other groups."""
    while refs.later:
        refs.later.pop(0)()


def link(db, obj, parent):
    """Shares come last: the other group may stand anywhere in the seed."""
    full = (parent + "/" if parent else "") + obj["path"]
    for s in obj.get("shared_with", ()):
        known(s, ("group", "access", "expires_at"), "shared_with of %s" % full)
        other = db.val("SELECT id FROM groups WHERE full_path=?", s["group"])
        if other is None:
            raise SeedError("shared_with of %s: no group %s" % (full, s["group"]))
        db.insert("group_links", group_id=db.val("SELECT id FROM groups WHERE full_path=?", full), shared_with_id=other,
                  access=access(s["access"]), expires_at=s.get("expires_at"))
    for sub in obj.get("subgroups", ()):
        link(db, sub, full)


def tokens(db):
    return {r["label"]: r["token"] for r in db.all("SELECT label, token FROM tokens WHERE label IS NOT NULL ORDER BY id")}
