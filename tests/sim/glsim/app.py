"""The HTTP side: reading requests, running them against the state, answering, faults, log."""
import asyncio
import hashlib
import io
import json
import math
import os
import re
import secrets
import socket
import sqlite3
import struct
import tempfile
import time
from email.parser import BytesHeaderParser
from email.policy import HTTP
from email.utils import formatdate
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from . import auth, db, faults, groups, paging, router
from .app_types import Binary, File
from .db import Database, dumps
from .errors import ApiError

API = "/api/v4"
DEFAULTS = {
    "version": "17.8.1-ee", "tier": "premium", "latency_ms": 0, "rate_limit": 0, "rate_window_s": 60,
    "deprecated_api_rate_limit": 0,
    "app_rate_limits": {}, "offset_limit": 50000, "offset_limit_everywhere": False, "admin_mode": False,
    "milestone_hierarchy_unique": None, "sanitize_milestone_titles": False, "delete_delay_ms": 300,
    "allow_immediate_deletion": True, "member_promotion_management": False, "restricted_visibility": [],
    "default_group_visibility": "private", "can_create_top_level": True, "impersonation_enabled": True,
    "graphql_max_complexity": 250, "description_limit": None, "revision": "0c5e1f7a2b9", "clock_offset_s": 0,
    "bulk_import_enabled": True, "export_queue_ms": 0, "export_delay_ms": 20, "export_batch_size": None,
    "export_per_user": None, "export_ttl_s": 180, "export_ttl_batched": False,
    "object_storage": False, "export_content_type": "application/gzip", "export_faults": [],
    "epic_rest": None, "epic_graphql": None, "work_items": None, "subepics": None, "child_position": None, "extra_emoji": [],
    "import_queue_ms": 0, "import_group_ms": 0, "import_max_bytes": None, "import_faults": [],
    "jitter_ms": 0, "jitter_seed": 0,
}
# Work that GitLab does in the background: functions of the simulator, called before each request is looked at.
WORKERS = []
# setting -> function(value) that raises ValueError when it is no good.
CHECKS = {}


def parse_version(text):
    parts = text.split("-")[0].split(".")
    return int(parts[0]), int(parts[1]) if len(parts) > 1 else 0


class Context:
    """One API request on its way."""
    __slots__ = ("app", "db", "method", "path", "query", "headers", "body", "raw", "files", "path_params", "route",
                 "user", "token", "scopes", "admin", "sudo", "token_sent", "headers_out", "log_body", "req_id", "status",
                 "query_cost", "events")

    def __init__(self, app, method, path, query, headers, body):
        self.app, self.db, self.method, self.path, self.query = app, app.db, method, path, query
        self.headers, self.body = headers, body
        self.raw, self.files, self.path_params, self.headers_out = {}, {}, {}, {}
        self.user = self.token = self.sudo = self.log_body = self.route = None
        self.scopes, self.admin, self.token_sent, self.req_id = frozenset(), False, False, None
        self.status = None
        self.events = ()

    @property
    def version(self):
        return self.app.version

    def premium(self):
        return self.app.config["tier"] != "free"

    def ultimate(self):
        return self.app.config["tier"] == "ultimate"


def nest(pairs):
    """Rails style names: a[]=1 makes a list, a[b]=1 a hash, at any depth."""
    out = {}
    for key, value in pairs:
        if "[" not in key or not key.endswith("]"):
            out[key] = value
            continue
        head, rest = key.split("[", 1)
        segs = [head] + rest[:-1].split("][")
        cur = out
        for i, s in enumerate(segs):
            last = i == len(segs) - 1
            if s == "":
                if last:
                    cur.append(value) if isinstance(cur, list) else None
                    break
                item = {}
                if cur and isinstance(cur[-1], dict) and segs[i + 1] not in cur[-1]:
                    item = cur[-1]
                else:
                    cur.append(item)
                cur = item
                continue
            if last:
                cur[s] = value
            else:
                kind = list if segs[i + 1] == "" else dict
                if not isinstance(cur.get(s), kind):
                    cur[s] = kind()
                cur = cur[s]
    return out


def parse_multipart(content_type, body):
    msg = BytesHeaderParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n")
    boundary = msg.get_boundary()
    if not boundary:
        raise ApiError(400, {"error": "400 Bad Request"})
    pairs, files = [], {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        if part[:2] == b"--":
            break
        head, _, data = part.lstrip(b"\r\n").partition(b"\r\n\r\n")
        h = BytesHeaderParser(policy=HTTP).parsebytes(head + b"\r\n\r\n")
        name = h.get_param("name", header="content-disposition")
        filename = h.get_param("filename", header="content-disposition")
        if name is None:
            continue
        if filename is not None:
            f = File(str(filename), h.get_content_type(), data)
            files[name] = f
            pairs.append((name, f))
        else:
            pairs.append((name, data.decode("utf-8", "replace")))
    return nest(pairs), files


DEPRECATED = re.compile(r"/api/v4/groups/[^/]+$")  # with all its projects: GitLab counts these apart
MALFORMED = re.compile(rb"\\u(0000|[dD][89a-fA-F])")


def malformed(v):
    """Text that no database column takes: a NUL or half a surrogate pair."""
    if isinstance(v, str):
        return "\0" in v or any("\ud800" <= c <= "\udfff" for c in v)
    if isinstance(v, dict):
        return any(malformed(k) or malformed(x) for k, x in v.items())
    return isinstance(v, list) and any(malformed(x) for x in v)


def read_params(ctx):
    """Merge query and body into ctx.raw; note for the log what the body held."""
    ctx.raw = dict(ctx.query)
    if not ctx.body:
        return
    ctype = ctx.headers.get("Content-Type", "")
    base = ctype.split(";")[0].strip().lower()
    if base == "application/json":
        try:
            v = json.loads(ctx.body)
        except ValueError:
            raise ApiError(400, {"error": "message body does not match declared format"}) from None
        if MALFORMED.search(ctx.body) and malformed(v):
            raise ApiError(400, {"error": "400 Bad Request"})
        if isinstance(v, dict):
            ctx.raw.update(v)
        ctx.log_body = v
    elif base == "multipart/form-data":
        params, ctx.files = parse_multipart(ctype, ctx.body)
        ctx.raw.update(params)
        ctx.log_body = {k: {"file": v.filename, "size": len(v.data)} if isinstance(v, File) else v
                        for k, v in params.items()}
    elif base in ("application/x-www-form-urlencoded", ""):
        v = nest(parse_qsl(ctx.body.decode("utf-8", "replace"), keep_blank_values=True))
        ctx.raw.update(v)
        ctx.log_body = v
    else:
        raise ApiError(406 if ctx.method == "GET" else 415,
                       {"error": "The provided content-type '%s' is not supported." % base})


def is_mutation(ctx):
    return b"mutation" in ctx.body[:400]


class Simulator:
    def __init__(self, db_path, log_path=None):
        self.db = Database(db_path)
        self.config = dict(DEFAULTS)
        self.config.update(self.db.meta("config", {}))
        db.CLOCK["offset"] = self.config["clock_offset_s"]
        self.version = parse_version(self.config["version"])
        self.base_url = ""
        self.rules = []
        self.events = []
        self.stored = {}
        self.export_faults_used = {}        # how often each rule of the setting export_faults was applied
        self.n = 0
        self.start = time.monotonic()
        self.windows = {}
        self.stale = []
        self.snapshots = {}
        self.look_around()
        self.log_path = log_path
        self.log = open(log_path, "ab+", buffering=0) if log_path else tempfile.TemporaryFile(buffering=0)

    def look_around(self):
        self.has_links = bool(self.db.val("SELECT 1 FROM group_links"))
        self.next_purge = self.db.val("SELECT min(purge_at) FROM groups WHERE purge_at IS NOT NULL")

    def configure(self, changes):
        unknown = set(changes) - set(DEFAULTS)
        if unknown:
            raise ValueError("unknown setting: %s" % ", ".join(sorted(unknown)))
        for key in set(changes) & set(CHECKS):
            CHECKS[key](changes[key])
        self.config.update(changes)
        if "export_faults" in changes:
            self.export_faults_used = {}
        self.version = parse_version(self.config["version"])
        db.CLOCK["offset"] = self.config["clock_offset_s"]
        self.db.set_meta("config", {k: v for k, v in self.config.items() if v != DEFAULTS[k]})

    @property
    def enterprise(self):
        return self.config["version"].endswith("-ee")

    # ---- one request, start to end -----------------------------------------------------------

    async def handle(self, request):
        raw_path = request.raw_path
        path, _, qs = raw_path.partition("?")
        if path.startswith("http://") or path.startswith("https://"):
            path = "/" + path.split("/", 3)[-1]
        if path.startswith("/_sim/"):
            from . import control
            return await control.handle(self, request, path)
        if path.startswith("/_store/"):
            return self.stored_file(request, path)
        if not path.startswith("/api/"):
            return web.Response(status=404, text="<html><body>404 Not Found</body></html>", content_type="text/html")
        self.n += 1
        n, t0 = self.n, time.monotonic()
        body = await request.read()
        query = nest(parse_qsl(qs, keep_blank_values=True)) if qs else {}
        ctx = Context(self, request.method, path, query, request.headers, body)
        ctx.req_id = "01SIM%013X%08X" % (int(time.time() * 1000), n)
        if self.events:
            self.look_at_events(ctx, n, qs)
        auth.identify(ctx)
        rule = None
        if self.rules:
            rule = faults.pick(self.rules, n, request.method, path, body, ctx.user["username"] if ctx.user else None,
                               qs)
        return await self.answer(request, ctx, rule, n, t0)

    def look_at_events(self, ctx, n, qs):
        """Scripted changes that this request sets off: before its work, or after it."""
        token = auth.token_text(ctx)
        user = token and self.db.val("SELECT u.username FROM tokens t JOIN users u ON u.id=t.user_id WHERE t.token=?", token)
        hit = [e for e in self.events if e.rule.hits(n, ctx.method, ctx.path, ctx.body, user, qs)]
        for e in hit:
            if not e.after:
                e.happen(self)
        ctx.events = [e for e in hit if e.after]

    async def answer(self, request, ctx, rule, n, t0):
        kind = rule.kind if rule else None
        if kind in ("status", "html"):
            self.peek_params(ctx)
            if kind == "html":
                status, head, data = 200, {"Content-Type": "text/html; charset=utf-8"}, \
                    b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please wait</body></html>"
            else:
                status, head, data = self.scripted(rule.arg, rule.do)
            await self.travel(t0, request, ctx)
            self.write_log(n, t0, ctx, status, len(data), rule)
            return web.Response(status=status, headers=self.common(ctx, head), body=data)
        if kind == "reset":
            self.peek_params(ctx)
            await self.travel(t0, request, ctx)
            self.write_log(n, t0, ctx, 0, 0, rule)
            self.drop(request, rst=True)
        if kind == "delay_ms":
            await asyncio.sleep(rule.arg / 1000)
        if rule and rule.stale_ms:
            self.remember_stale(ctx, rule.stale_ms / 1000)
        if kind == "drop_sudo":
            ctx.headers = ctx.headers.copy()
            ctx.headers.popall("Sudo", None)
        if kind in ("twice", "twice_lost"):
            first = Context(self, ctx.method, ctx.path, ctx.query, ctx.headers, ctx.body)
            auth.identify(first)
            self.perform(first, again=True)
        if self.stale and ctx.method in ("GET", "POST"):
            ctx.db = self.stale_db(ctx)
        status, head, data = self.perform(ctx)
        for e in ctx.events:
            e.happen(self)
        if kind == "after_status":
            status, head, data = self.scripted(rule.arg, rule.do)
        sent = len(data)
        if kind in ("lose_answer", "reset_after", "twice_lost"):
            sent = 0
        elif kind == "cut_after":
            sent = min(rule.arg, len(data))
        elif kind == "stall_ms":
            sent = 0
        await self.travel(t0, request, ctx)
        self.write_log(n, t0, ctx, status, sent, rule)
        if kind in ("lose_answer", "reset_after", "twice_lost"):
            self.drop(request, rst=kind == "reset_after")
        if kind in ("cut_after", "stall_ms", "wrong_length"):
            await self.raw_answer(request, ctx, rule, status, head, data)
        if kind == "drip_ms":
            return await self.slow_answer(request, status, self.common(ctx, head), data, rule)
        return web.Response(status=status, headers=self.common(ctx, head), body=data)

    async def travel(self, t0, request, ctx):
        """The latency: the answer leaves that long after the request came, whatever the work took. The work itself
        is done on arrival, so that requests which come together do not wait for each other afterwards. The jitter
        hangs on the seed and on what is asked, so that a seed stands for one order of the answers."""
        latency = self.config["latency_ms"]
        if self.config["jitter_ms"]:
            asked = b"%d %s %s " % (self.config["jitter_seed"], request.method.encode(), request.raw_path.encode())
            share = int.from_bytes(hashlib.blake2b(asked + ctx.body, digest_size=4).digest(), "big") / 2**32
            latency += share ** 4 * self.config["jitter_ms"]  # most are quick, a few are very late
        if latency:
            rest = t0 + latency / 1000 - time.monotonic()
            if rest > 0:
                await asyncio.sleep(rest)

    def common(self, ctx, head):
        h = {"Content-Type": "application/json", "X-Request-Id": ctx.req_id, "X-Runtime": "0.004211",
             "X-Gitlab-Meta": '{"correlation_id":"%s","version":"1"}' % ctx.req_id,
             "Cache-Control": "max-age=0, private, must-revalidate", "Vary": "Origin", "X-Frame-Options": "SAMEORIGIN",
             "X-Content-Type-Options": "nosniff", "Server": "nginx"}
        if db.CLOCK["offset"]:
            h["Date"] = formatdate(time.time() + db.CLOCK["offset"], usegmt=True)
        h.update(head)
        return h

    def scripted(self, status, do):
        body = do.get("body", "")
        head = {k: str(v) for k, v in (do.get("headers") or {}).items()}
        if isinstance(body, (dict, list)):
            data = dumps(body).encode()
        else:
            data = str(body).encode()
            head.setdefault("Content-Type", "text/plain")
        return status, head, data

    def peek_params(self, ctx):
        try:
            read_params(ctx)
        except ApiError:
            pass

    def drop(self, request, rst=False):
        """End the connection without an answer; never returns."""
        tr = request.transport
        if tr is not None:
            if rst:
                tr.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                tr.abort()
            else:
                tr.close()
        raise asyncio.CancelledError()

    async def raw_answer(self, request, ctx, rule, status, head, data):
        """An answer that breaks its own framing: aiohttp would not let us, so it is written by hand."""
        h = self.common(ctx, head)
        length = len(data)
        if rule.kind == "wrong_length":
            length += 17 if rule.arg is True else int(rule.arg)
        lines = ["HTTP/1.1 %d Sim" % status, "Content-Length: %d" % length] + ["%s: %s" % kv for kv in h.items()]
        tr = request.transport
        if tr is not None:
            tr.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            if rule.kind == "stall_ms":
                await asyncio.sleep(rule.arg / 1000)
            else:
                tr.write(data[:rule.arg] if rule.kind == "cut_after" else data)
                await asyncio.sleep(0.02)
        self.drop(request)

    async def slow_answer(self, request, status, head, data, rule):
        """The right answer, a little at a time."""
        r = web.StreamResponse(status=status, headers=head)
        r.content_length = len(data)
        await r.prepare(request)
        step = rule.do.get("chunk", 1024)
        for i in range(0, len(data), step):
            await r.write(data[i:i + step])
            await asyncio.sleep(rule.arg / 1000)
        await r.write_eof()
        return r

    # ---- the work ----------------------------------------------------------------------------

    def perform(self, ctx, again=False):
        """Run the request in one transaction. Returns status, headers, body bytes."""
        try:
            self.purge()
            self.rate_limit(ctx, again)
            status, obj = self.execute(ctx)
            self.db.commit()
        except ApiError as e:
            self.db.commit() if e.keep_work else self.db.rollback()
            status, obj = e.status, e.body
            ctx.headers_out.update(e.headers)
        except paging.CursorError as e:
            self.db.rollback()
            status, obj = 400, {"message": str(e)}
        except Exception:
            self.db.rollback()
            import traceback
            traceback.print_exc()
            status, obj = 500, {"message": "500 Internal Server Error"}
        head = ctx.headers_out
        if isinstance(obj, Binary) and self.config["object_storage"] and status == 200:
            head.update({"Location": self.store_file(obj), "Content-Type": "text/html"})
            return 302, head, b""
        if isinstance(obj, Binary):
            head["Content-Type"] = obj.content_type
            head.update(obj.headers)
            return status, head, obj.data
        if status == 204 or obj is None and status != 200:
            head.setdefault("Content-Type", "application/json")
            return status, head, b""
        if isinstance(obj, str):
            head.setdefault("Content-Type", "text/plain")
            return status, head, obj.encode()
        return status, head, dumps(obj).encode("utf-8", "surrogatepass")

    # ---- files in another place --------------------------------------------------------------

    def store_file(self, obj):
        """-> the address of the file, good for this process; another host name than the API's."""
        key = secrets.token_hex(16)
        self.stored[key] = obj
        while len(self.stored) > 1000:
            del self.stored[next(iter(self.stored))]
        return "%s/_store/%s?X-Amz-Signature=%s" % (self.base_url.replace("127.0.0.1", "localhost"), key, secrets.token_hex(32))

    def stored_file(self, request, path):
        """What a storage service does; a token that got here is a leak, so it is refused where a real one would be silent."""
        if any(h in request.headers for h in ("PRIVATE-TOKEN", "Authorization", "Cookie")):
            return web.Response(status=400, text="<Error><Code>InvalidRequest</Code><Message>a token came along</Message></Error>",
                                content_type="application/xml")
        obj = self.stored.get(path.split("/")[2])
        if obj is None:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")
        return web.Response(body=obj.data, headers={"Content-Type": obj.content_type, **obj.headers})

    def execute(self, ctx):
        if ctx.path == "/api/graphql":
            from . import gql
            return gql.http(ctx)
        if not ctx.path.startswith(API + "/"):
            raise ApiError(404, {"error": "404 Not Found"})
        read_params(ctx)
        r, params = router.lookup(ctx.method, ctx.path[len(API):])
        ctx.route, ctx.path_params = r, {k: unquote(v) for k, v in params.items()}
        if r.scope == "any":
            wanted = None
        else:
            wanted = ["api", "read_api"] if ctx.method in ("GET", "HEAD") else ["api"]
            if r.scope:
                wanted = wanted + [r.scope]
        auth.authenticate(ctx, wanted)
        auth.apply_sudo(ctx)
        if ctx.user is None and not r.anonymous:
            if ctx.method not in ("GET", "HEAD"):
                raise ApiError(401, {"message": "401 Unauthorized"})
        limit = self.config["app_rate_limits"].get("%s %s" % (ctx.method, r.pattern))
        if limit and not self.count_window((r.pattern, ctx.user and ctx.user["id"]), limit)[0]:
            raise ApiError(429, {"message": {"error": "This endpoint has been requested too many times. "
                                                      "Try again later."}}, {"Retry-After": "60"})
        checked = router.check(r, ctx.raw)
        if ctx.method not in ("GET", "HEAD"):
            self.db.begin()
        return r.fn(ctx, checked)

    def count_window(self, key, limit):
        """Fixed windows that begin at whole multiples of their size in Unix time, as Rack::Attack counts."""
        now = time.time()
        size = self.config["rate_window_s"]
        window, used = self.windows.get(key, (0, 0))
        if window != now // size:
            window, used = now // size, 0
        used += 1
        self.windows[key] = (window, used)
        return used <= limit, used, int((window + 1) * size), now

    def rate_limit(self, ctx, again):
        limit, name = self.config["rate_limit"], "throttle_authenticated_api" if ctx.user else "throttle_unauthenticated_api"
        if self.config["deprecated_api_rate_limit"] and ctx.method == "GET" and DEPRECATED.match(ctx.path) and \
                ctx.query.get("with_projects") not in ("0", "false"):
            limit, name = self.config["deprecated_api_rate_limit"], name.replace("_api", "_deprecated_api")
        if not limit or again:
            return
        who = ctx.user["id"] if ctx.user else "anonymous"
        ok, used, reset, now = self.count_window((name, who), limit)
        # the limit is told per minute, whatever the window
        h = {"RateLimit-Limit": str(math.ceil(limit * 60 / self.config["rate_window_s"])), "RateLimit-Name": name,
             "RateLimit-Observed": str(used),
             "RateLimit-Remaining": str(max(limit - used, 0)), "RateLimit-Reset": str(reset)}
        ctx.headers_out.update(h)
        if not ok:
            wait = max(1, reset - int(now))
            raise ApiError(429, "Retry later\n", {
                "Retry-After": str(wait), "Content-Type": "text/plain",
                "RateLimit-ResetTime": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(reset))})

    def purge(self):
        """Deletions and exports are carried out by a worker some time after the 202; here: by whoever comes next."""
        for work in WORKERS:
            work(self)
        if self.next_purge is None or time.time() < self.next_purge:
            return
        self.db.begin()
        for row in self.db.all("SELECT id FROM groups WHERE purge_at <= ?", time.time()):
            groups.destroy(self.db, row["id"])
        self.db.commit()
        self.next_purge = self.db.val("SELECT min(purge_at) FROM groups WHERE purge_at IS NOT NULL")

    # ---- stale reads -------------------------------------------------------------------------

    def collection(self, ctx):
        """The path below which a write is visible, with the group written as its number."""
        segs = ctx.path.split("/")
        if len(segs) > 4 and segs[3] == "groups":
            g = auth.group_by_ref(ctx, segs[4])
            if g is not None:
                segs[4] = str(g["id"])
        if ctx.method in ("PUT", "DELETE") and len(segs) > 5:
            segs = segs[:-1]
        elif ctx.method in ("PUT", "DELETE"):
            segs = segs[:4]
        return "/".join(segs)

    def remember_stale(self, ctx, seconds):
        """Called before the work is done. One that reads only leaves nothing to be stale."""
        if ctx.method in ("GET", "HEAD") or ctx.path == "/api/graphql" and not is_mutation(ctx):
            return
        where, until = self.collection(ctx), time.monotonic() + seconds
        # a write shortly after another one of the same collection shares its picture, or a load would open thousands
        if not any(s[0] == where and until - s[1] < seconds / 8 for s in self.stale):
            self.stale.append((where, until, Database(self.db.path, snapshot=True)))

    def forget_stale(self):
        for s in self.stale:
            s[2].close()
        self.stale = []

    def stale_db(self, ctx):
        now = time.monotonic()
        for s in [s for s in self.stale if s[1] <= now]:
            s[2].close()
            self.stale.remove(s)
        if ctx.path == "/api/graphql":
            if is_mutation(ctx):
                return self.db
            return self.stale[0][2] if self.stale else self.db
        if ctx.method != "GET":
            return self.db
        where = self.collection(ctx)
        for prefix, _, db in self.stale:
            if where == prefix or where.startswith(prefix + "/"):
                return db
        return self.db

    # ---- backup ------------------------------------------------------------------------------

    def snapshot(self, name):
        """Keeps the state of now in memory, as a backup does."""
        old = self.snapshots.pop(name, None)
        if old:
            old.close()
        self.snapshots[name] = sqlite3.connect(":memory:")
        self.db.con.backup(self.snapshots[name])

    def restore(self, name):
        """Back to that state, settings included. Rules and log stay."""
        self.forget_stale()
        self.snapshots[name].backup(self.db.con)
        self.config = dict(DEFAULTS)
        self.config.update(self.db.meta("config", {}))
        self.version = parse_version(self.config["version"])
        db.CLOCK["offset"] = self.config["clock_offset_s"]
        self.export_faults_used = {}
        self.windows, self.db.counts, self.db.counts_at = {}, {}, -1
        self.look_around()

    # ---- log ---------------------------------------------------------------------------------

    def write_log(self, n, t0, ctx, status, sent, rule):
        ctx.status = status
        now = time.monotonic()
        q = {k: v for k, v in ctx.query.items() if k not in ("private_token", "access_token", "job_token")}
        body = ctx.log_body
        if isinstance(body, dict) and ("private_token" in body or "access_token" in body):
            body = {k: v for k, v in body.items() if k not in ("private_token", "access_token")}
        line = {"n": n, "t": round((t0 - self.start) * 1000, 1), "unix": round(time.time() - (now - t0), 6), "method": ctx.method, "path": ctx.path, "query": q,
                "user": ctx.token and ctx.db.val("SELECT username FROM users WHERE id=?", ctx.token["user_id"]),
                "status": status, "sudo": ctx.sudo, "bytes_in": len(ctx.body), "bytes_out": sent,
                "ms": round((now - t0) * 1000, 2), "fault": rule.name if rule else None,
                "body": body, "req_id": ctx.req_id}
        self.log.write(json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass") + b"\n")

    def read_log(self):
        end = self.log.seek(0, io.SEEK_END)
        return os.pread(self.log.fileno(), end, 0)

    def reset_log(self):
        self.log.truncate(0)
        self.log.seek(0)
        self.n = 0

    # ---- serving -----------------------------------------------------------------------------

    async def serve(self, port, tls):
        def factory(message, payload, protocol, writer, task):
            return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop(),
                                   client_max_size=0)
        server = web.Server(self.handle, request_factory=factory, access_log=None)
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        srv = await loop.create_server(server, sock=sock, ssl=tls, backlog=1024)
        port = sock.getsockname()[1]
        self.base_url = "%s://127.0.0.1:%d" % ("https" if tls else "http", port)
        return srv, server
