"""What an importer of glimport made becomes part of this instance: group by group, as GitLab's importers work.

People: direct transfer makes a placeholder of everybody that a record mentions, who is no member of anything until the person has confirmed;
the file import takes whoever has the same public address here, and else the user who imports. That user is Owner of every group made."""
import json
import re
import zlib

from . import groups, seed
from .db import now

VISIBILITY = {0: "private", 10: "internal", 20: "public"}
PROJECT_LEVEL = {0: "noone", 1: "maintainer", 2: "developer", 3: "administrator", 4: "owner"}
SUBGROUP_LEVEL = {0: "owner", 1: "maintainer"}
PLAIN = ("share_with_group_lock", "require_two_factor_authentication", "two_factor_grace_period", "mentions_disabled", "lfs_enabled",
         "request_access_enabled", "membership_lock", "prevent_sharing_groups_outside_hierarchy")


def base36(n):
    out = ""
    while n:
        n, r = divmod(n, 36)
        out = "0123456789abcdefghijklmnopqrstuvwxyz"[r] + out
    return out or "0"


class Landing:
    """`parent`: row of the group to import below, or None. `slug`, `name` (None: as at the source): of the root. `row`: the root, when it
    is there already. `placeholders`: direct transfer."""

    def __init__(self, app, made, user_id, parent, slug, name=None, row=None, placeholders=True):
        self.app, self.made, self.user_id, self.parent, self.slug, self.name, self.row = app, made, user_id, parent, slug, name, row
        self.placeholders = placeholders
        self.todo = [r[0] for r in made.rows("SELECT id FROM groups ORDER BY id")]
        self.rows = {}          # id there -> row here
        self.people = {}        # id at the source -> username here
        self.refs = None

    def __len__(self):
        return len(self.todo)

    # ---- people

    def user(self, uid):
        """The username here of a user of the source."""
        if uid is None:
            return None
        if uid not in self.people:
            self.people[uid] = self.placeholder(uid) if self.placeholders else self.by_address(uid)
        return self.people[uid]

    def placeholder(self, uid):
        db = self.app.db
        known = self.made.rows("SELECT name, username FROM users WHERE source_user_id=?", uid) or [(None, None)]
        name, username = known[0]
        segment = re.sub(r"[^A-Za-z0-9]", "", username or "") or "gitlab_migration"
        full = "%s_placeholder_%s" % (segment, base36(zlib.crc32(("%s%d" % (self.slug, uid)).encode())))
        if not db.val("SELECT 1 FROM users WHERE username=?", full):
            t = now()
            db.insert("users", username=full, name="Placeholder " + (name or "gitlab_migration Source User"), email=full + "@noreply.sim.invalid",
                      created_at=t, confirmed_at=t, can_create_group=0)
        return full

    def by_address(self, uid):
        found = self.member_here(uid)
        return found or self.app.db.val("SELECT username FROM users WHERE id=?", self.user_id)

    def member_here(self, uid):
        for (text,) in self.made.rows("SELECT attributes FROM members WHERE source_user_id=?", uid):
            mail = json.loads(text).get("public_email")
            if mail:
                return self.app.db.val("SELECT username FROM users WHERE email=? OR public_email=?", mail, mail)
        return None

    # ---- groups

    def step(self):
        """Lands the next group, with everything in it."""
        db, gid = self.app.db, self.todo.pop(0)
        parent_id, source_name, path, text = self.made.rows("SELECT parent_id, name, path, attributes FROM groups WHERE id=?", gid)[0]
        parent = self.rows[parent_id] if parent_id else self.parent
        has = json.loads(text)
        obj = {"path": path if parent_id else self.slug, "name": source_name if parent_id or self.name is None else self.name,
               "description": has.get("description") or "", "visibility": self.visibility(has.get("visibility_level"), parent, not parent_id)}
        obj.update({k: has[k] for k in PLAIN if has.get(k) is not None})
        if has.get("emails_disabled") is not None:
            obj["emails_enabled"] = not has["emails_disabled"]
        for key, words in (("project_creation_level", PROJECT_LEVEL), ("subgroup_creation_level", SUBGROUP_LEVEL)):
            if has.get(key) in words:
                obj[key] = words[has[key]]
        records = {}
        for rid, model, attributes in self.made.rows("SELECT id, model, attributes FROM records WHERE group_id=? ORDER BY id", gid):
            records.setdefault(model, []).append((rid, json.loads(attributes)))
        db.begin()
        # people first: a seed names them
        planning = {"epics": [self.epic(rid, e) for rid, e in records.get("epics", ())],
                    "epic_boards": [self.epic_board(b) for _, b in records.get("epic_boards", ())],
                    "cadences": [self.cadence(c) for _, c in records.get("iterations_cadences", ())]}
        obj["labels"] = [{k: x.get(k) for k in ("title", "description", "color", "created_at", "updated_at")} for _, x in records.get("labels", ())]
        obj["milestones"] = [{k: x[k] for k in ("iid", "title", "description", "state", "start_date", "due_date", "created_at", "updated_at") if k in x}
                             for _, x in records.get("milestones", ())]
        obj["badges"] = [{k: x.get(k) for k in ("name", "link_url", "image_url")} for _, x in records.get("badges", ())]
        boards = [self.board(b) for _, b in records.get("boards", ())]
        me = db.val("SELECT username FROM users WHERE id=?", self.user_id)
        obj["members"] = [{"user": me, "access_level": 50}] + self.members(gid, me)
        files = self.made.rows("SELECT secret, name, content FROM uploads WHERE group_id=?", gid)
        obj["uploads"] = [{"secret": s, "name": n, "text": c.decode("latin-1")} for s, n, c in files if s != "avatar"]
        self.refs = refs = seed.Refs(db)
        if parent_id or self.row is None:
            obj["boards"], obj["planning"] = boards, planning
            t = now()
            new = seed.load_group(db, {k: v for k, v in obj.items() if v is not None}, parent, refs, t)
        else:
            new = self.fill(obj, boards, planning, refs)
        seed.finish(refs)
        for s, n, c in files:
            if s == "avatar":
                db.run("UPDATE groups SET avatar=?, avatar_name=? WHERE id=?", c, n, new)
            else:
                db.run("UPDATE uploads SET content=? WHERE group_id=? AND secret=? AND name=?", c, new, s, n)
        db.commit()
        self.rows[gid] = db.one("SELECT * FROM groups WHERE id=?", new)

    def fill(self, obj, boards, planning, refs):
        """The root of a file import is there already, with the name and path that were asked for."""
        db, g, t = self.app.db, self.row, now()
        settings = json.loads(g["settings"])
        settings.update({k: v for k, v in obj.items() if k in seed.gs.BY_NAME})
        db.run("UPDATE groups SET description=?, settings=? WHERE id=?", obj["description"], json.dumps(settings), g["id"])
        g = db.one("SELECT * FROM groups WHERE id=?", g["id"])
        seed.load_labels(db, g, obj["labels"], t)
        top = seed.load_milestones(db, g, obj["milestones"], t)
        db.run("INSERT OR REPLACE INTO counters(group_id,kind,value) VALUES(?,?,?)", g["id"], "milestones", top)
        seed.load_badges(db, g, obj["badges"], t)
        seed.load_members(db, g, [m for m in obj["members"][1:]], refs, t)
        for b in boards:
            seed.load_board(db, g, b, refs, t)
        seed.HANDLERS["planning"](db, g, planning, refs)
        return g["id"]

    def visibility(self, level, parent, root):
        """The file import takes of the root what the group was made with; a child has at most its parent's."""
        if root and not self.placeholders:
            return parent["visibility"] if parent else "private"
        level = level if level in VISIBILITY else 0
        if parent:
            level = min(level, {v: k for k, v in VISIBILITY.items()}[parent["visibility"]])
        return VISIBILITY[level]

    def members(self, gid, me):
        """Placeholders are no members. Of those who are, nobody who has the same role or a higher one from above is one again."""
        out = []
        if self.placeholders:
            return out
        for uid, text in self.made.rows("SELECT source_user_id, attributes FROM members WHERE group_id=?", gid):
            who, m = self.member_here(uid), json.loads(text)
            if who and who != me and who not in [x["user"] for x in out]:
                out.append({"user": who, "access_level": m["access_level"], "expires_at": m.get("expires_at")})
        return out

    # ---- records

    def title(self, rid):
        got = rid and self.made.rows("SELECT title FROM records WHERE id=?", rid)
        return got[0][0] if got else None

    def board(self, b):
        out = {k: b[k] for k in ("name", "weight", "created_at", "updated_at") if b.get(k) is not None}
        out.update({k: bool(b.get(k)) for k in ("hide_backlog_list", "hide_closed_list")}, labels=[self.title(x) for x in b.get("labels", ()) if x])
        if b.get("milestone"):
            out["milestone"] = self.title(b["milestone"])
        if b.get("board_assignee"):
            out["assignee"] = self.user(b["board_assignee"].get("assignee_id"))
        out["lists"] = []
        for ls in b.get("lists", ()):
            row = {k: ls[k] for k in ("position", "max_issue_count", "max_issue_weight", "limit_metric", "created_at", "updated_at") if ls.get(k) is not None}
            if ls.get("list_type") == "label" and ls.get("label"):
                out["lists"].append({**row, "label": self.title(ls["label"])})
            elif ls.get("list_type") == "milestone" and ls.get("milestone"):
                out["lists"].append({**row, "milestone": self.title(ls["milestone"])})
            elif ls.get("list_type") == "assignee" and ls.get("user_id"):
                out["lists"].append({**row, "assignee": self.user(ls["user_id"])})
        return out

    def emoji(self, items):
        return [{"name": a["name"], "user": self.user(a["user_id"]), "created_at": a.get("created_at")} for a in items or () if a.get("user_id")]

    def note(self, n):
        action = (n.get("system_note_metadata") or {}).get("action")
        return {"author": self.user(n["author_id"]), "body": n["note"], "created_at": n.get("created_at"), "updated_at": n.get("updated_at"),
                "internal": bool(n.get("confidential") or n.get("internal")), "system": (action or "unknown") if n.get("system") else None,
                "last_edited_at": n.get("last_edited_at"), "thread": n.get("discussion_id") if n.get("type") == "DiscussionNote" else None,
                "awards": self.emoji(n.get("award_emoji"))}

    def epic(self, rid, e):
        out = {"iid": e["iid"], "title": e["title"], "description": e.get("description"), "author": self.user(e["author_id"]),
               "state": e.get("state") or "opened", "confidential": bool(e.get("confidential")), "color": e.get("color") or "#1068bf",
               "start_date": e.get("start_date_fixed"), "due_date": e.get("due_date_fixed"),
               "start_date_is_fixed": bool(e.get("start_date_is_fixed")), "due_date_is_fixed": bool(e.get("due_date_is_fixed")),
               "health_status": e.get("health_status"), "position": e.get("relative_position"), "created_at": e.get("created_at"),
               "updated_at": e.get("updated_at"), "last_edited_at": e.get("last_edited_at"), "last_edited_by": self.user(e.get("last_edited_by_id")),
               "labels": [self.title(x) for x in e.get("labels", ()) if x], "awards": self.emoji(e.get("award_emoji")),
               "notes": [self.note(n) for n in e.get("notes", ())]}
        if out["state"] == "closed":
            out.update(closed_at=e.get("closed_at"), closed_by=self.user(e.get("closed_by_id")))
        if e.get("parent") and self.app.config["tier"] == "ultimate":
            gid, text = self.made.rows("SELECT group_id, attributes FROM records WHERE id=?", e["parent"])[0]
            out["parent"] = "%s&%d" % (self.rows[gid]["full_path"] if gid in self.rows else "", json.loads(text)["iid"])
        return out

    def epic_board(self, b):
        return {**{k: b[k] for k in ("name", "created_at", "updated_at") if k in b},
                **{k: bool(b.get(k)) for k in ("hide_backlog_list", "hide_closed_list", "display_colors")},
                "lists": [{"label": self.title(x["label"]), "position": x.get("position") or 0} for x in b.get("epic_lists", ()) if x.get("label")]}

    def cadence(self, c):
        return {**{k: c[k] for k in ("title", "description", "start_date", "created_at", "updated_at") if k in c},
                "active": bool(c.get("active", True)), "roll_over": bool(c.get("roll_over")), "automatic": False,
                "iterations": [{k: i[k] for k in ("iid", "title", "description", "start_date", "due_date", "created_at", "updated_at") if k in i}
                               for i in c.get("iterations", ())]}


def destination(ctx, parent_path, slug):
    """(row of the parent or None, full path of what is to be made)."""
    parent = ctx.db.one("SELECT * FROM groups WHERE full_path=?", parent_path) if parent_path else None
    return parent, groups.join_path(parent, slug)
