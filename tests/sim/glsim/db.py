"""State: one SQLite file. It is fast because nothing is synced to disk, and it
outlives a killed process because every write request is one transaction."""
import datetime
import json
import sqlite3

SCHEMA = """
CREATE TABLE meta(k TEXT PRIMARY KEY, v TEXT);
CREATE TABLE users(
  id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT NOT NULL COLLATE NOCASE UNIQUE, name TEXT NOT NULL,
  email TEXT COLLATE NOCASE, public_email TEXT NOT NULL DEFAULT '' COLLATE NOCASE, confirmed_at TEXT,
  state TEXT NOT NULL DEFAULT 'active', admin INTEGER NOT NULL DEFAULT 0, bot INTEGER NOT NULL DEFAULT 0,
  can_create_group INTEGER NOT NULL DEFAULT 1, created_at TEXT NOT NULL, sim INTEGER NOT NULL DEFAULT 0);
CREATE INDEX users_email ON users(email);
CREATE INDEX users_public ON users(public_email);
CREATE TABLE emails(id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL,
  email TEXT NOT NULL COLLATE NOCASE UNIQUE, confirmed_at TEXT);
CREATE TABLE tokens(
  id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL UNIQUE, label TEXT, user_id INTEGER NOT NULL,
  name TEXT NOT NULL, scopes TEXT NOT NULL, created_at TEXT NOT NULL, expires_at TEXT,
  revoked INTEGER NOT NULL DEFAULT 0, impersonation INTEGER NOT NULL DEFAULT 0, last_used_at TEXT);
CREATE TABLE groups(
  id INTEGER PRIMARY KEY AUTOINCREMENT, parent_id INTEGER, tids TEXT NOT NULL DEFAULT '', path TEXT NOT NULL,
  name TEXT NOT NULL, full_path TEXT NOT NULL COLLATE NOCASE UNIQUE, description TEXT,
  visibility TEXT NOT NULL, settings TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  creator_id INTEGER, runners_token TEXT, avatar BLOB, avatar_name TEXT, archived INTEGER NOT NULL DEFAULT 0,
  marked_on TEXT, purge_at REAL, organization_id INTEGER NOT NULL DEFAULT 1);
CREATE INDEX groups_parent ON groups(parent_id);
CREATE INDEX groups_tids ON groups(tids);
CREATE TABLE group_links(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL,
  shared_with_id INTEGER NOT NULL, access INTEGER NOT NULL, expires_at TEXT, UNIQUE(group_id, shared_with_id));
CREATE TABLE custom_attributes(group_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(group_id, key));
CREATE TABLE labels(
  id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, title TEXT NOT NULL, description TEXT,
  color TEXT NOT NULL, archived INTEGER NOT NULL DEFAULT 0, lock_on_merge INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, UNIQUE(group_id, title));
CREATE INDEX labels_title ON labels(title);
CREATE TABLE label_subscriptions(label_id INTEGER NOT NULL, user_id INTEGER NOT NULL, PRIMARY KEY(label_id, user_id));
CREATE TABLE members(
  id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
  access_level INTEGER NOT NULL, expires_at TEXT, created_by_id INTEGER,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, UNIQUE(group_id, user_id));
CREATE INDEX members_user ON members(user_id);
CREATE INDEX members_group ON members(group_id, id);
CREATE TABLE milestones(
  id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, iid INTEGER NOT NULL, title TEXT NOT NULL,
  description TEXT, state TEXT NOT NULL DEFAULT 'active', start_date TEXT, due_date TEXT,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, UNIQUE(group_id, iid));
CREATE INDEX milestones_title ON milestones(title);
CREATE INDEX milestones_group ON milestones(group_id, id);
CREATE INDEX milestones_due ON milestones(group_id, coalesce(due_date,'9999-99'), id);
CREATE TABLE counters(group_id INTEGER NOT NULL, kind TEXT NOT NULL, value INTEGER NOT NULL,
  PRIMARY KEY(group_id, kind));
CREATE TABLE badges(
  id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, name TEXT, link_url TEXT NOT NULL,
  image_url TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE INDEX badges_group ON badges(group_id, created_at, id);
CREATE TABLE boards(
  id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, name TEXT NOT NULL,
  hide_backlog_list INTEGER NOT NULL DEFAULT 0, hide_closed_list INTEGER NOT NULL DEFAULT 0,
  milestone_id INTEGER, assignee_id INTEGER, weight INTEGER, iteration_id INTEGER, iteration_cadence_id INTEGER,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE INDEX boards_group ON boards(group_id);
CREATE TABLE board_labels(board_id INTEGER NOT NULL, label_id INTEGER NOT NULL, PRIMARY KEY(board_id, label_id));
CREATE INDEX board_labels_label ON board_labels(label_id);
CREATE TABLE lists(
  id INTEGER PRIMARY KEY AUTOINCREMENT, board_id INTEGER NOT NULL, list_type INTEGER NOT NULL, position INTEGER,
  label_id INTEGER, milestone_id INTEGER, user_id INTEGER, iteration_id INTEGER,
  max_issue_count INTEGER NOT NULL DEFAULT 0, max_issue_weight INTEGER NOT NULL DEFAULT 0, limit_metric TEXT,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE INDEX lists_board ON lists(board_id, list_type, position);
CREATE INDEX lists_label ON lists(label_id);
CREATE INDEX lists_milestone ON lists(milestone_id);
CREATE TABLE list_collapsed(list_id INTEGER NOT NULL, user_id INTEGER NOT NULL, PRIMARY KEY(list_id, user_id));
CREATE TABLE seed_extra(group_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(group_id, key));
"""

# Other resource families add their tables here: (name, DDL), made when missing.
EXTRA_TABLES = []

LIST_TYPES = {0: "backlog", 1: "label", 2: "closed", 3: "assignee", 4: "milestone", 5: "iteration"}


# Seconds that this server's clock is ahead of the real one.
CLOCK = {"offset": 0}


def now(ago=0):
    t = datetime.datetime.utcnow() + datetime.timedelta(seconds=CLOCK["offset"] - ago)
    return t.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (t.microsecond // 1000)


def today():
    return datetime.datetime.utcnow().strftime("%Y-%m-%d")


def dumps(obj):
    return json.dumps(obj, ensure_ascii=False, separators=(",", ":"))


class Database:
    """One connection; thin helpers around it. Rows are sqlite3.Row."""

    def __init__(self, path, snapshot=False):
        self.path = path
        self.con = sqlite3.connect(path, isolation_level=None, cached_statements=512)
        self.con.row_factory = sqlite3.Row
        c = self.con
        c.execute("PRAGMA journal_mode=WAL")
        c.execute("PRAGMA synchronous=OFF")
        c.execute("PRAGMA temp_store=MEMORY")
        c.execute("PRAGMA cache_size=-65536")
        c.execute("PRAGMA busy_timeout=10000")
        self.in_tx = False
        self.counts, self.counts_at = {}, -1
        if snapshot:
            # Reading once pins the state of this moment for as long as the transaction lives.
            c.execute("BEGIN")
            c.execute("SELECT count(*) FROM meta").fetchone()
            return
        if not self.one("SELECT 1 FROM sqlite_master WHERE name='meta'"):
            c.executescript("BEGIN;" + SCHEMA + "COMMIT;")
        for name, ddl in EXTRA_TABLES:
            if not self.one("SELECT 1 FROM sqlite_master WHERE name=?", name):
                c.executescript("BEGIN;" + ddl + "COMMIT;")

    def one(self, sql, *args):
        return self.con.execute(sql, args).fetchone()

    def all(self, sql, *args):
        return self.con.execute(sql, args).fetchall()

    def val(self, sql, *args):
        row = self.con.execute(sql, args).fetchone()
        return row[0] if row else None

    def run(self, sql, *args):
        return self.con.execute(sql, args)

    def insert(self, table, **cols):
        names = ",".join(cols)
        marks = ",".join("?" * len(cols))
        return self.con.execute("INSERT INTO %s(%s) VALUES(%s)" % (table, names, marks),
                                tuple(cols.values())).lastrowid

    def update(self, table, row_id, **cols):
        sets = ",".join("%s=?" % c for c in cols)
        self.con.execute("UPDATE %s SET %s WHERE id=?" % (table, sets), (*cols.values(), row_id))

    def begin(self):
        self.con.execute("BEGIN IMMEDIATE")
        self.in_tx = True

    def commit(self):
        if self.in_tx:
            self.con.execute("COMMIT")
            self.in_tx = False

    def rollback(self):
        if self.in_tx:
            self.con.execute("ROLLBACK")
            self.in_tx = False

    def meta(self, key, default=None):
        v = self.val("SELECT v FROM meta WHERE k=?", key)
        return default if v is None else json.loads(v)

    def set_meta(self, key, value):
        self.run("INSERT INTO meta(k,v) VALUES(?,?) ON CONFLICT(k) DO UPDATE SET v=excluded.v", key, dumps(value))

    def next_counter(self, group_id, kind):
        """The next iid. Numbers of deleted or rolled forward records are never handed out again."""
        return self.val("INSERT INTO counters(group_id,kind,value) VALUES(?,?,1) "
                        "ON CONFLICT(group_id,kind) DO UPDATE SET value=value+1 RETURNING value", group_id, kind)

    def close(self):
        self.con.close()
