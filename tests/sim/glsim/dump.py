"""The whole state as canonical JSON, for tests to compare."""
import json

from .db import EXTRA_TABLES, LIST_TYPES

# Tables of other families that are not shown as they are: name -> function(db) -> rows, or None for not at all.
SPECIAL = {}


def state(db):
    def rows(table, drop=()):
        return [{k: r[k] for k in r.keys() if k not in drop} for r in db.all("SELECT * FROM %s ORDER BY 1, 2" % table)]

    out = {}
    out["users"] = rows("users", ("sim",))
    for u in out["users"]:
        for k in ("admin", "bot", "can_create_group"):
            u[k] = bool(u[k])
    out["emails"] = rows("emails")
    out["groups"] = rows("groups", ("avatar", "runners_token", "purge_at", "tids"))
    import hashlib
    for g in out["groups"]:
        g["settings"] = json.loads(g["settings"])
        g["archived"] = bool(g["archived"])
        a = db.val("SELECT avatar FROM groups WHERE id=?", g["id"])
        g["avatar_sha256"] = hashlib.sha256(a).hexdigest() if a is not None else None
        g["deleting"] = db.val("SELECT purge_at IS NOT NULL FROM groups WHERE id=?", g["id"]) == 1
    for t in ("group_links", "custom_attributes", "labels", "label_subscriptions", "members", "milestones", "counters",
              "badges", "boards", "board_labels", "lists", "list_collapsed"):
        out[t] = rows(t)
    for r in out["lists"]:
        r["list_type"] = LIST_TYPES[r["list_type"]]
    for r in out["labels"]:
        r["archived"], r["lock_on_merge"] = bool(r["archived"]), bool(r["lock_on_merge"])
    for r in out["boards"]:
        r["hide_backlog_list"], r["hide_closed_list"] = bool(r["hide_backlog_list"]), bool(r["hide_closed_list"])
    out["seed_extra"] = [{"group_id": r["group_id"], "key": r["key"], "value": json.loads(r["value"])}
                         for r in db.all("SELECT * FROM seed_extra ORDER BY 1, 2")]
    for name, _ in EXTRA_TABLES:
        if name not in SPECIAL:
            out[name] = rows(name)
        elif SPECIAL[name] is not None:
            out[name] = SPECIAL[name](db)
    return out


def text(db):
    return json.dumps(state(db), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
