"""What an import leaves: groups, and records under them, cleaned as GitLab cleans them.

A record keeps the columns of its model and nothing else: ids of the source are gone, users stay as the source's ids (a placeholder each),
the group is the new one. Labels, milestones, epics and iterations are found in the group and those above before they are made."""
import json
import sqlite3

USERS = {"author_id", "assignee_id", "updated_by_id", "merged_by_id", "latest_closed_by_id", "user_id", "created_by_id", "last_edited_by_id",
         "merge_user_id", "resolved_by_id", "closed_by_id", "owner_id"}
TIMES = ["created_at", "updated_at"]
COLUMNS = {
    "labels": ["title", "color", "description", "template", "type", "lock_on_merge", "archived"] + TIMES,
    "milestones": ["title", "description", "due_date", "start_date", "state", "iid"] + TIMES,
    "boards": ["name", "weight", "hide_backlog_list", "hide_closed_list"] + TIMES,
    "lists": ["list_type", "position", "max_issue_count", "max_issue_weight", "limit_metric", "user_id"] + TIMES,
    "badges": ["name", "link_url", "image_url", "type"] + TIMES,
    "board_assignee": ["assignee_id"] + TIMES,
    "epics": ["author_id", "assignee_id", "iid", "updated_by_id", "last_edited_by_id", "lock_version", "start_date", "end_date", "last_edited_at",
              "title", "description", "start_date_fixed", "due_date_fixed", "start_date_is_fixed", "due_date_is_fixed", "closed_by_id", "closed_at",
              "relative_position", "health_status", "confidential", "color", "state", "imported_from"] + TIMES,
    "award_emoji": ["name", "user_id", "awardable_type"] + TIMES,
    "events": ["action", "author_id", "target_type", "fingerprint"] + TIMES,
    "notes": ["note", "noteable_type", "author_id", "system", "discussion_id", "type", "confidential", "internal", "last_edited_at", "updated_by_id",
              "resolved_at", "resolved_by_id"] + TIMES,
    "system_note_metadata": ["action", "commit_count"] + TIMES,
    "resource_state_events": ["user_id", "state", "created_at"],
    "epic_boards": ["name", "hide_backlog_list", "hide_closed_list", "display_colors"] + TIMES,
    "epic_lists": ["position", "list_type"] + TIMES,
    "iterations_cadences": ["start_date", "active", "roll_over", "title", "description", "sequence"] + TIMES,
    "iterations": ["iid", "title", "start_date", "due_date", "description"] + TIMES,
}
# what hangs on a record, and what it refers to
NESTED = {
    "boards": {"lists": "lists", "board_assignee": "board_assignee"},
    "epics": {"award_emoji": "award_emoji", "events": "events", "notes": "notes", "resource_state_events": "resource_state_events"},
    "notes": {"award_emoji": "award_emoji", "events": "events", "system_note_metadata": "system_note_metadata"},
    "epic_boards": {"epic_lists": "epic_lists"},
    "iterations_cadences": {"iterations": "iterations"},
}
FOUND = {"label": "labels", "milestone": "milestones", "iteration": "iterations", "parent": "epics"}
FOUND_BY = ("title", "description", "created_at")

SCHEMA = """
CREATE TABLE groups(id INTEGER PRIMARY KEY, source_id INTEGER, parent_id INTEGER, name TEXT, path TEXT, attributes TEXT);
CREATE TABLE records(id INTEGER PRIMARY KEY, group_id INTEGER, model TEXT, title TEXT, attributes TEXT);
CREATE INDEX records_title ON records(model, title);
CREATE TABLE members(group_id INTEGER, source_user_id INTEGER, attributes TEXT, PRIMARY KEY(group_id, source_user_id));
CREATE TABLE users(source_user_id INTEGER PRIMARY KEY, name TEXT, username TEXT);
CREATE TABLE uploads(group_id INTEGER, secret TEXT, name TEXT, content BLOB);
CREATE TABLE failures(group_id INTEGER, pipeline TEXT, text TEXT);
"""


class Database:
    def __init__(self, path=":memory:", shared=False):
        """`shared`: made in one thread and read in another, afterwards."""
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=not shared)
        self.db.executescript(SCHEMA)

    def rows(self, sql, *args):
        return self.db.execute(sql, args).fetchall()

    # ---- groups

    def group(self, source_id, parent_id, name, path, attributes):
        if self.rows("SELECT 1 FROM groups WHERE path=? AND parent_id IS ?", path, parent_id):
            raise ValueError(f"the path {path} is taken")
        return self.db.execute("INSERT INTO groups(source_id, parent_id, name, path, attributes) VALUES(?,?,?,?,?)",
                               (source_id, parent_id, name, path, json.dumps(attributes))).lastrowid

    def set_group(self, gid, **attributes):
        now = json.loads(self.rows("SELECT attributes FROM groups WHERE id=?", gid)[0][0])
        self.db.execute("UPDATE groups SET attributes=? WHERE id=?", (json.dumps({**now, **attributes}), gid))

    def path(self, gid):
        parent, path = self.rows("SELECT parent_id, path FROM groups WHERE id=?", gid)[0]
        return (self.path(parent) + "/" if parent else "") + path

    def above(self, gid):
        while gid:
            yield gid
            gid = self.rows("SELECT parent_id FROM groups WHERE id=?", gid)[0][0]

    # ---- records

    def clean(self, model, record):
        return {k: record[k] for k in COLUMNS[model] if k in record and not k.endswith("_html")}

    def find(self, gid, model, wanted):
        """In the group and those above, by what is there of title, description and time; iterations, which need no title, by their dates."""
        keys = FOUND_BY if model != "iterations" else ("start_date", "due_date")
        for g in self.above(gid):
            for rid, text in self.rows("SELECT id, attributes FROM records WHERE group_id=? AND model=? AND (title IS ? OR model='iterations')",
                                       g, model, wanted.get("title")):
                has = json.loads(text)
                if all(has.get(k) == wanted[k] for k in keys if k in wanted and k in has):
                    return rid
        return None

    def make(self, gid, model, attributes):
        return self.db.execute("INSERT INTO records(group_id, model, title, attributes) VALUES(?,?,?,?)",
                               (gid, model, attributes.get("title"), json.dumps(attributes))).lastrowid

    def reference(self, gid, key, value):
        model = FOUND[key]
        found = self.find(gid, model, value)
        if found is None and key == "label":
            found = self.make(gid, "labels", self.clean("labels", value))
        return found

    def nested(self, gid, model, record):
        out = self.clean(model, record)
        if model == "notes" and not (isinstance(record.get("author"), dict) and record["author"].get("name")):
            raise ValueError("a comment without the name of its author")
        if model == "events" and out.get("author_id") is None:
            return None
        for key, inner in NESTED.get(model, {}).items():
            v = record.get(key)
            if isinstance(v, list):
                out[key] = [x for x in (self.nested(gid, inner, y) for y in v) if x is not None]
            elif isinstance(v, dict):
                out[key] = self.nested(gid, inner, v)
        for key in ("label", "milestone", "iteration", "parent"):
            if isinstance(record.get(key), dict):
                out[key] = self.reference(gid, key, record[key])
        if model == "epics":
            out["labels"] = [self.reference(gid, "label", x["label"]) for x in record.get("label_links", ()) if x.get("label")]
        if model == "boards":
            out["labels"] = [self.reference(gid, "label", x) for x in record.get("labels", ())]
        return out

    def load(self, gid, relation, record):
        if not isinstance(record, dict):
            raise ValueError("a line that is no object")
        if relation in ("labels", "milestones", "epics") and self.find(gid, relation, record) is not None and not (
                relation == "epics" and record.get("iid") is None):
            return
        made = self.nested(gid, relation, record)
        rid = self.make(gid, relation, made)
        if relation == "iterations_cadences":
            for it in made.get("iterations", ()):
                self.make(gid, "iterations", {**it, "cadence": rid})

    def member(self, gid, user, attributes):
        self.db.execute("INSERT OR REPLACE INTO members VALUES(?,?,?)", (gid, user, json.dumps(attributes)))

    def user(self, uid, name, username):
        self.db.execute("INSERT OR REPLACE INTO users VALUES(?,?,?)", (uid, name, username))

    def failure(self, gid, pipeline, text):
        self.db.execute("INSERT INTO failures VALUES(?,?,?)", (gid, pipeline, text))

    def failures(self):
        return self.rows("SELECT group_id, pipeline, text FROM failures")

    # ---- everything, by path and title, for comparisons

    def dump(self):
        titles = {rid: title for rid, title in self.rows("SELECT id, title FROM records")}

        def named(v):
            if isinstance(v, dict):
                out = {k: named(x) for k, x in v.items()}
                for k in ("label", "milestone", "iteration", "parent"):
                    if k in v:
                        out[k] = titles.get(v[k])
                if "labels" in v:
                    out["labels"] = sorted(titles.get(x) or "?" for x in v["labels"])
                return out
            return [named(x) for x in v] if isinstance(v, list) else v
        out = {}
        for gid, source_id, attributes in self.rows("SELECT id, source_id, attributes FROM groups"):
            here = {"self": json.loads(attributes), "source_id": source_id}
            for model, text in self.rows("SELECT model, attributes FROM records WHERE group_id=? ORDER BY id", gid):
                here.setdefault(model, []).append(named(json.loads(text)))
            here["members"] = {u: json.loads(x) for u, x in self.rows("SELECT source_user_id, attributes FROM members WHERE group_id=?", gid)}
            here["uploads"] = {(s, n): c for s, n, c in self.rows("SELECT secret, name, content FROM uploads WHERE group_id=?", gid)}
            out[self.path(gid)] = here
        return out
