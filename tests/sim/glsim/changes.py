"""POST /_sim/at: the instance changes by itself when a certain request arrives, as if somebody worked there meanwhile."""
import json

from . import auth, boards, epic_boards, epics, faults, group_settings as gs, groups, labels, milestones, notes, seed
from .db import now

TABLES = ("groups", "labels", "milestones", "badges", "boards", "lists", "members", "uploads", "users", "epics", "notes", "award_emoji",
          "epic_boards", "epic_lists", "iterations_cadences", "iterations")
KINDS = ("request", "create", "update", "delete")


class Event:
    """What is to happen, and at which request: {"request": n} or {"match": as in a fault rule}."""

    def __init__(self, obj):
        if not isinstance(obj, dict):
            raise ValueError("an event is an object")
        unknown = set(obj) - {"request", "match", "after", "times", "do", "name"}
        if unknown:
            raise ValueError("event: unknown key %s" % ", ".join(sorted(unknown)))
        if ("request" in obj) == ("match" in obj):
            raise ValueError("event: either 'request' or 'match' is needed")
        match = {"n": obj["request"]} if "request" in obj else obj["match"]
        self.rule = faults.Rule({"match": match, "times": obj.get("times", 1), "do": {"status": 200}})
        self.after, self.name = bool(obj.get("after")), obj.get("name", "")
        self.steps = obj.get("do")
        if not isinstance(self.steps, list) or not self.steps:
            raise ValueError("event: 'do' is a list of changes")
        for s in self.steps:
            if not isinstance(s, dict) or len([k for k in KINDS if k in s]) != 1:
                raise ValueError("event: a change has exactly one of %s: %s" % (", ".join(KINDS), json.dumps(s)))
        self.results = []

    def show(self):
        return {"name": self.name, "seen": self.rule.seen, "used": self.rule.used, "results": self.results}

    def happen(self, app):
        app.purge()
        for s in self.steps:
            kind = next(k for k in KINDS if k in s)
            try:
                if kind == "request":
                    self.results.append(request(app, s["request"]))
                    continue
                app.db.begin()
                self.results.append(DO[kind](app.db, s))
                app.db.commit()
            except (ValueError, KeyError, TypeError, seed.SeedError) as e:
                app.db.rollback()
                self.results.append({"error": str(e) or type(e).__name__})


def parse(obj):
    return [Event(o) for o in (obj if isinstance(obj, list) else [obj])]


def request(app, r):
    """One API request of somebody else; neither logged nor counted."""
    from .app import Context, nest, parse_qsl
    path, _, qs = r["path"].partition("?")
    if not path.startswith("/api/"):
        path = "/api/v4" + path
    token = r.get("token", "admin")
    head = {"PRIVATE-TOKEN": seed.tokens(app.db).get(token, token), "Content-Type": "application/json"}
    body = json.dumps(r["body"]).encode() if "body" in r else b""
    ctx = Context(app, r.get("method", "GET"), path, nest(parse_qsl(qs, keep_blank_values=True)), head, body)
    ctx.req_id = "event"
    auth.identify(ctx)
    status, _, data = app.perform(ctx, again=True)
    out = {"status": status}
    if status >= 400:
        out["error"] = data.decode("utf-8", "replace")
    return out


def group(db, path):
    g = db.one("SELECT * FROM groups WHERE full_path=?", path)
    if g is None:
        raise ValueError("no group %s" % path)
    return g


def create(db, s):
    """Records below an existing group, in the seed's format."""
    o = dict(s["create"])
    g = group(db, o.pop("group"))
    refs, t = seed.Refs(db), now()
    seed.known(o, ("labels", "milestones", "badges", "members", "boards", "subgroups", "uploads", "planning"), "create")
    seed.load_labels(db, g, o.get("labels", ()), t)
    for m in o.get("milestones", ()):
        iid = m.get("iid") or db.next_counter(g["id"], "milestones")
        seed.load_milestones(db, g, [dict(m, iid=iid)], t)
        db.run("UPDATE counters SET value=max(value,?) WHERE group_id=? AND kind='milestones'", iid, g["id"])
    seed.load_badges(db, g, o.get("badges", ()), t)
    seed.load_members(db, g, o.get("members", ()), refs, t)
    for b in o.get("boards", ()):
        seed.load_board(db, g, b, refs, t)
    for sub in o.get("subgroups", ()):
        seed.load_group(db, sub, g, refs, t)
    if "uploads" in o:
        seed.HANDLERS["uploads"](db, g, o["uploads"], refs)
    if "planning" in o:
        seed.HANDLERS["planning"](db, g, o["planning"], refs)
    seed.finish(refs)
    return {"created": sum(len(v) for v in o.values())}


def chosen(db, s, kind):
    """-> (table, rows) that `where` names: columns of the table, and `group` for the full path."""
    table = s[kind]
    if table not in TABLES:
        raise ValueError("no table %s" % table)
    columns = {r["name"] for r in db.all("PRAGMA table_info(%s)" % table)}
    cond, args = ["1"], []
    for k, v in s.get("where", {}).items():
        if k == "group":
            cond.append("%s=?" % ("id" if table == "groups" else "group_id"))
            args.append(group(db, v)["id"])
        elif k in columns:
            cond.append("%s IS ?" % k)
            args.append(v)
        else:
            raise ValueError("no column %s in %s" % (k, table))
    rows = db.all("SELECT * FROM %s WHERE %s" % (table, " AND ".join(cond)), *args)
    if not rows:
        raise ValueError("nothing in %s is %s" % (table, json.dumps(s.get("where", {}))))
    return table, rows


def update(db, s):
    """Sets columns; updated_at moves along unless `silent` is true. Of groups, settings can be given by name."""
    table, rows = chosen(db, s, "update")
    columns = {r["name"] for r in db.all("PRAGMA table_info(%s)" % table)}
    for r in rows:
        cols = dict(s["set"])
        if table == "groups":
            named = {k: cols.pop(k) for k in list(cols) if k in gs.BY_NAME}
            if named:
                cols["settings"] = json.dumps({**json.loads(r["settings"]), **named}, separators=(",", ":"))
        unknown = set(cols) - columns
        if unknown:
            raise ValueError("no column %s in %s" % (", ".join(sorted(unknown)), table))
        if "updated_at" in columns and not s.get("silent"):
            cols.setdefault("updated_at", now())
        db.update(table, r["id"], **cols)
    return {"updated": len(rows)}


def delete(db, s):
    table, rows = chosen(db, s, "delete")
    for r in rows:
        if table == "groups":
            groups.destroy(db, r["id"])
        elif table == "boards":
            boards.destroy(db, r["id"])
        elif table == "lists":
            boards.remove_list(db, r)
        elif table == "epics":
            epics.delete(db, [r["id"]])
        elif table == "notes":
            notes.remove(db, r)
        elif table == "epic_boards":
            epic_boards.destroy(db, r["id"])
        elif table == "epic_lists":
            epic_boards.remove_list(db, r)
        elif table == "iterations_cadences":
            db.run("DELETE FROM iterations WHERE cadence_id=?", r["id"])
            db.run("DELETE FROM iterations_cadences WHERE id=?", r["id"])
        else:
            if table == "labels":
                statements = ["DELETE FROM lists WHERE label_id=?", "DELETE FROM board_labels WHERE label_id=?",
                              "DELETE FROM label_subscriptions WHERE label_id=?", *labels.ON_LABEL_DELETE]
            else:
                statements = milestones.ON_MILESTONE_DELETE if table == "milestones" else []
            for sql in statements:
                db.run(sql, r["id"])
            db.run("DELETE FROM %s WHERE id=?" % table, r["id"])
    return {"deleted": len(rows)}


DO = {"create": create, "update": update, "delete": delete}
