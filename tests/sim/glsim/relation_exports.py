"""The relation export API (what direct transfer reads): asynchronous jobs, batches, downloads, and what can go wrong.

Jobs are carried out by whoever comes next once their time has come; all of it lies in the database."""
import gzip
import io
import json
import tarfile
import time

from . import app as sim
from . import db as state
from . import dump, groups
from . import relation_records as rec
from .app_types import Binary
from .auth import OWNER, find_group, need
from .db import now
from .errors import message
from .router import opt, req, route

state.EXTRA_TABLES += [
    ("relation_exports", """
CREATE TABLE relation_exports(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
  relation TEXT NOT NULL, status INTEGER NOT NULL DEFAULT 0, error TEXT, updated_at TEXT NOT NULL,
  batched INTEGER NOT NULL DEFAULT 0, batches_count INTEGER NOT NULL DEFAULT 0,
  total_objects_count INTEGER NOT NULL DEFAULT 0, UNIQUE(group_id, user_id, relation));"""),
    # batch_number 0: the one file of an export without batches. data NULL: no file is there.
    ("relation_files", """
CREATE TABLE relation_files(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, export_id INTEGER NOT NULL,
  batch_number INTEGER NOT NULL, status INTEGER NOT NULL DEFAULT 0, objects_count INTEGER NOT NULL DEFAULT 0, error TEXT,
  updated_at TEXT NOT NULL, data BLOB, UNIQUE(export_id, batch_number));"""),
    ("relation_jobs", """
CREATE TABLE relation_jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, group_id INTEGER NOT NULL,
  kind TEXT NOT NULL, args TEXT NOT NULL);
CREATE INDEX relation_jobs_at ON relation_jobs(at);"""),
]
for _name, _ in state.EXTRA_TABLES[-3:]:
    groups.GROUP_TABLES.append(_name)
    dump.SPECIAL[_name] = None          # they are no part of what the instance holds

STARTED, FINISHED, FAILED = 0, 1, -1
BATCHES_SINCE, TOTAL_SINCE, PER_USER_SINCE, SMALL_BATCHES_SINCE = (16, 2), (16, 8), (17, 9), (18, 2)

# ---- what can go wrong: the setting `export_faults` -----------------------------------------

EFFECTS = {"fail": str, "never": bool, "status": int, "hide": bool, "lose_file": bool, "corrupt_gzip": bool, "truncate_gzip": bool,
           "no_gzip": bool, "invalid_json": int, "oversized_line": int, "bomb": int, "tar_members": list,
           "content_type": str}
SELECTORS = {"relation": str, "group": (str, int), "batch": int, "times": int}


def check_faults(rules):
    if not isinstance(rules, list):
        raise ValueError("export_faults: a list was expected")
    for r in rules:
        if not isinstance(r, dict):
            raise ValueError("export_faults: an object was expected")
        for k, v in r.items():
            kind = EFFECTS.get(k) or SELECTORS.get(k)
            if kind is None:
                raise ValueError("export_faults: unknown key %s" % k)
            if not isinstance(v, kind):
                raise ValueError("export_faults: %s: %r" % (k, v))
        if not set(r) & set(EFFECTS):
            raise ValueError("export_faults: %s says nothing to do" % json.dumps(r))


sim.CHECKS["export_faults"] = check_faults


def fault_for(app, g, relation):
    """The first rule that fits this export; each use counts against its `times`."""
    used = app.export_faults_used
    for r in app.config["export_faults"]:
        if r.get("relation", "*") not in ("*", relation) or r.get("group", g["id"]) not in (g["id"], g["full_path"]):
            continue
        key = json.dumps(r, sort_keys=True)
        if r.get("times") and used.get(key, 0) >= r["times"]:
            continue
        used[key] = used.get(key, 0) + 1
        return r
    return {}


# ---- files -----------------------------------------------------------------------------------

def pack(name, data):
    """As the gzip program does it: with the name of the file inside."""
    out = io.BytesIO()
    with gzip.GzipFile(name, "wb", 6, out, mtime=int(time.time())) as z:
        z.write(data)
    return out.getvalue()


def bomb(size):
    """Many equal members behind each other: any size out of little work."""
    part = min(size, 32 << 20)
    return gzip.compress(b" " * part, 9) * (size // part) + gzip.compress(b" " * (size % part), 9)


def text_file(lines, fault):
    if "invalid_json" in fault:
        at = max(0, min(fault["invalid_json"], len(lines) + 1) - 1)
        if at == len(lines):
            lines.append('{"id":1,"title":"half a record"}')
        lines[at] = lines[at][:len(lines[at]) // 2]
    if "oversized_line" in fault:
        frame = '{"id":999999999,"title":""}'
        lines.append(frame[:-2] + "x" * max(0, fault["oversized_line"] - len(frame)) + '"}')
    return "".join(x + "\n" for x in lines).encode("utf-8", "surrogatepass")


def tar_file(db, g, wanted, fault):
    """-> (bytes, number of files). Folders come before what lies in them, as `tar -C folder .` packs them."""
    out, count, folders = io.BytesIO(), 0, set()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as t:
        def folder(name):
            if name not in folders:
                folders.add(name)
                i = tarfile.TarInfo(name)
                i.type, i.mode, i.mtime = tarfile.DIRTYPE, 0o755, int(time.time())
                t.addfile(i)

        def add(where, name, data):
            folder("./" + where)
            i = tarfile.TarInfo("./%s/%s" % (where, name))
            i.size, i.mtime = len(data), int(time.time())
            t.addfile(i, io.BytesIO(data))

        folder(".")
        for k in wanted:
            if k == 0:
                where, name, data = "avatar", g["avatar_name"], g["avatar"]
            else:
                r = db.one("SELECT * FROM uploads WHERE id=? AND group_id=?", k, g["id"])
                if r is None:
                    continue
                where, name, data = r["secret"], r["name"], r["content"]
            if data is None or len(name.encode()) > 255:
                continue                # no such file, or one that no file system takes: passed over in silence
            add(where, name, data)
            count += 1
        for m in fault.get("tar_members", ()):
            i = tarfile.TarInfo(m["name"])
            kind = m.get("type", "file")
            i.type = {"file": tarfile.REGTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE,
                      "fifo": tarfile.FIFOTYPE, "folder": tarfile.DIRTYPE}[kind]
            i.linkname = m.get("target", "")
            data = m.get("text", "").encode() if kind == "file" else b""
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    return out.getvalue(), count


INNER = {"self": "self.json", "uploads": "uploads.tar"}


def inner_name(relation):
    return INNER.get(relation, relation + ".ndjson")


def build(app, g, relation, wanted, fault):
    """-> (gzip bytes or None, number of objects)"""
    db = app.db
    if relation in rec.SINGLE:
        data, n = rec.single(app, db, g, relation).encode("utf-8", "surrogatepass"), 1
        if "invalid_json" in fault:
            data = data[:len(data) // 2]
    elif relation == "uploads":
        data, n = tar_file(db, g, wanted, fault)
    else:
        lines = rec.lines(app, db, g, relation, wanted)
        n = len(lines)
        data = text_file(lines, fault)
    if fault.get("lose_file"):
        return None, n
    if fault.get("no_gzip"):
        return data or b"\n", n
    z = pack(inner_name(relation), data)
    if "bomb" in fault:
        z += bomb(fault["bomb"])
    if fault.get("corrupt_gzip"):
        z = z[:10] + bytes(b ^ 0x55 for b in z[10:])
    if fault.get("truncate_gzip"):
        z = z[:len(z) * 2 // 3]
    return z, n


# ---- jobs ------------------------------------------------------------------------------------

def delay(app, relation):
    """Seconds that the export of this relation takes."""
    d = app.config["export_delay_ms"]
    if isinstance(d, dict):
        d = d.get(relation, d.get("*", 0))
    return d / 1000


def enqueue(db, at, g, kind, **args):
    db.insert("relation_jobs", at=at, group_id=g["id"], kind=kind, args=json.dumps(args))


def work(app):
    """Carry out every job whose time has come, the oldest first; a job's followers count from its own time."""
    db = app.db
    if db.val("SELECT 1 FROM relation_jobs WHERE at<=? LIMIT 1", time.time()) is None:
        return
    db.begin()
    while True:
        job = db.one("SELECT * FROM relation_jobs WHERE at<=? ORDER BY at, id LIMIT 1", time.time())
        if job is None:
            break
        db.run("DELETE FROM relation_jobs WHERE id=?", job["id"])
        g = db.one("SELECT * FROM groups WHERE id=?", job["group_id"])
        if g is not None:
            JOBS[job["kind"]](app, g, job["at"], **json.loads(job["args"]))
    db.commit()


sim.WORKERS.append(work)


def finish(app):
    """All that waits is due now. -> how many jobs waited"""
    n = app.db.val("SELECT count(*) FROM relation_jobs")
    app.db.run("UPDATE relation_jobs SET at=0")
    work(app)
    return n


def batch_size(app):
    return app.config["export_batch_size"] or (50 if app.version >= SMALL_BATCHES_SINCE else 1000)


def start(app, g, at, user_id, relation, batched):
    db = app.db
    batched = batched and app.version >= BATCHES_SINCE and relation not in rec.SINGLE
    e = db.one("SELECT * FROM relation_exports WHERE group_id=? AND user_id=? AND relation=?", g["id"], user_id, relation)
    fresh = e is not None and e["status"] == FINISHED and e["updated_at"] > now(ago=app.config["export_ttl_s"])
    if fresh and bool(e["batched"]) == batched and (not batched or app.config["export_ttl_batched"]):
        return
    fault = fault_for(app, g, relation)
    if fault.get("hide"):
        return
    if e is None:
        eid = db.insert("relation_exports", group_id=g["id"], user_id=user_id, relation=relation, updated_at=now())
    else:
        eid = e["id"]
        db.run("DELETE FROM relation_files WHERE export_id=?", eid)
    db.update("relation_exports", eid, status=STARTED, error=None, batched=int(batched), batches_count=0,
              total_objects_count=0, updated_at=now())
    if batched:
        start_batches(app, g, at, eid, relation, fault)
    elif "status" in fault:
        db.update("relation_exports", eid, status=fault["status"])
    elif not fault.get("never"):
        enqueue(db, at + delay(app, relation), g, "export", export_id=eid, fault=fault)


def start_batches(app, g, at, eid, relation, fault):
    db, size = app.db, batch_size(app)
    wanted = rec.keys(app, db, g, relation)
    count = (len(wanted) + size - 1) // size
    db.update("relation_exports", eid, total_objects_count=len(wanted), batches_count=count)
    if count == 0:
        db.update("relation_exports", eid, status=FINISHED, updated_at=now())
        return
    step = delay(app, relation) / count
    for n in range(count):
        fid = db.insert("relation_files", group_id=g["id"], export_id=eid, batch_number=n + 1, updated_at=now())
        mine = fault if fault.get("batch") in (None, n + 1) else {}
        if mine.get("never"):
            continue
        if "status" in mine:
            db.update("relation_files", fid, status=mine["status"])
            continue
        enqueue(db, at + step * (n + 1), g, "batch", export_id=eid, file_id=fid, wanted=wanted[n * size:(n + 1) * size],
                fault=mine)


def export(app, g, at, export_id, fault):
    db = app.db
    e = db.one("SELECT * FROM relation_exports WHERE id=? AND status=0", export_id)
    if e is None:
        return
    if "fail" in fault:
        db.update("relation_exports", e["id"], status=FAILED, error=fault["fail"], updated_at=now())
        return
    relation = e["relation"]
    wanted = () if relation in rec.SINGLE else rec.keys(app, db, g, relation)
    data, n = build(app, g, relation, wanted, fault)
    db.insert("relation_files", group_id=g["id"], export_id=e["id"], batch_number=0, status=FINISHED, objects_count=n,
              updated_at=now(), data=data)
    db.update("relation_exports", e["id"], status=FINISHED, total_objects_count=n, updated_at=now())


def batch(app, g, at, export_id, file_id, wanted, fault):
    db = app.db
    e = db.one("SELECT * FROM relation_exports WHERE id=?", export_id)
    if e is None or not db.val("SELECT 1 FROM relation_files WHERE id=?", file_id):
        return
    if "fail" in fault:
        db.update("relation_files", file_id, status=FAILED, error=fault["fail"], updated_at=now())
    else:
        data, n = build(app, g, e["relation"], wanted, fault)
        db.update("relation_files", file_id, status=FINISHED, objects_count=n, data=data, updated_at=now())
    if not db.val("SELECT 1 FROM relation_files WHERE export_id=? AND status=0", export_id):
        failed = db.val("SELECT count(*) FROM relation_files WHERE export_id=? AND status=-1", export_id)
        if failed == e["batches_count"]:
            db.update("relation_exports", export_id, status=FAILED, error=fault["fail"], updated_at=now())
        else:
            db.update("relation_exports", export_id, status=FINISHED, updated_at=now())


JOBS = {"start": start, "export": export, "batch": batch}


def expire(db, group_id=None, relation=None, files_only=False):
    """What housekeeping may do at any time: the files go, or the whole exports. -> how many"""
    rows = db.all("SELECT id FROM relation_exports WHERE (?1 IS NULL OR group_id=?1) AND (?2 IS NULL OR relation=?2)",
                  group_id, relation)
    for r in rows:
        if files_only:
            db.run("UPDATE relation_files SET data=NULL WHERE export_id=?", r["id"])
        else:
            db.run("DELETE FROM relation_files WHERE export_id=?", r["id"])
            db.run("DELETE FROM relation_exports WHERE id=?", r["id"])
    return len(rows)


# ---- endpoints -------------------------------------------------------------------------------

def portable(ctx):
    """The group, for those who may export it: Owners, and only where the instance allows it."""
    g = find_group(ctx)
    need(ctx, g, OWNER)
    if not ctx.app.config["bulk_import_enabled"]:
        raise message(404, "404 Not Found")
    return g


def whose(ctx):
    """Newer versions keep the exports of each user apart."""
    per_user = ctx.app.config["export_per_user"]
    if per_user is None:
        per_user = ctx.version >= PER_USER_SINCE
    return ctx.user["id"] if per_user else 0


def find(ctx, g, relation):
    return ctx.db.one("SELECT * FROM relation_exports WHERE group_id=? AND user_id=? AND relation=?", g["id"], whose(ctx),
                      relation)


def has_batches(ctx):
    return ctx.version >= BATCHES_SINCE


@route("POST", "/groups/:id/export_relations", (opt("batched", bool),))
def begin(ctx, p):
    g = portable(ctx)
    at = time.time() + ctx.app.config["export_queue_ms"] / 1000
    for relation in rec.relations(ctx.app, ctx.db, g):
        enqueue(ctx.db, at, g, "start", user_id=whose(ctx), relation=relation, batched=bool(p.get("batched")))
    return 202, {"message": "202 Accepted"}


def present(ctx, e):
    out = {"relation": e["relation"], "status": e["status"], "error": e["error"], "updated_at": e["updated_at"]}
    if not has_batches(ctx):
        return out
    out["batched"], out["batches_count"] = bool(e["batched"]), e["batches_count"]
    if ctx.version >= TOTAL_SINCE:
        out["total_objects_count"] = e["total_objects_count"]
    if e["batched"]:
        out["batches"] = [{"status": b["status"], "batch_number": b["batch_number"], "objects_count": b["objects_count"],
                           "error": b["error"], "updated_at": b["updated_at"]} for b in ctx.db.all(
                               "SELECT * FROM relation_files WHERE export_id=? ORDER BY batch_number", e["id"])]
    return out


@route("GET", "/groups/:id/export_relations/status", (opt("relation"),))
def status(ctx, p):
    g = portable(ctx)
    if p.get("relation") and has_batches(ctx):
        e = find(ctx, g, p["relation"])
        if e is None:
            raise message(404, "Export not found")
        return 200, present(ctx, e)
    return 200, [present(ctx, e) for e in ctx.db.all(
        "SELECT * FROM relation_exports WHERE group_id=? AND user_id=? ORDER BY id", g["id"], whose(ctx))]


def file_of(ctx, e, number):
    return e and ctx.db.one("SELECT * FROM relation_files WHERE export_id=? AND batch_number=?", e["id"], number)


def send(ctx, relation, data):
    name = inner_name(relation) + ".gz"
    kind = ctx.app.config["export_content_type"]
    for r in ctx.app.config["export_faults"]:
        if "content_type" in r and r.get("relation", "*") in ("*", relation):
            kind = r["content_type"]
    return 200, Binary(data, kind, {"Content-Disposition": 'attachment; filename="%s"; filename*=UTF-8\'\'%s' % (name, name),
                                    "Content-Transfer-Encoding": "binary"})


def download_old(ctx, g, relation):
    f = file_of(ctx, find(ctx, g, relation), 0)
    if f is None or f["data"] is None:
        raise message(404, "404 Not found")
    return send(ctx, relation, f["data"])


@route("GET", "/groups/:id/export_relations/download", (req("relation"), opt("batched", bool), opt("batch_number", int)),
       rules=(("all_or_none", ("batched", "batch_number")),))
def download(ctx, p):
    g = portable(ctx)
    relation = p["relation"]
    if not has_batches(ctx):
        return download_old(ctx, g, relation)
    e = find(ctx, g, relation)
    if e is None:
        raise message(404, "Export not found")
    if p.get("batched"):
        if not e["batched"]:
            raise message(400, "Export is not batched")
        f = file_of(ctx, e, p["batch_number"]) if p["batch_number"] > 0 else None
        if f is None:
            raise message(404, "Batch not found")
        if f["data"] is None:
            raise message(404, "Batch file not found")
        return send(ctx, relation, f["data"])
    if e["batched"]:
        raise message(400, "Export is batched")
    f = file_of(ctx, e, 0)
    if f is None or f["data"] is None:
        raise message(404, "Export file not found")
    return send(ctx, relation, f["data"])
