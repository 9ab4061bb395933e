#!/usr/bin/python3
"""The HTTP engine against a scripted server: what it sends, what it repeats, and what it says about each end."""
import gzip
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

DRIVER = os.path.join(gstest.BUILD, "tests/e2e/http_driver")
SECRET = "glpat-0123456789-secret"
t = gstest.Tap()


class Request:
    def __init__(self, method, path, headers, body, conn, index):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.conn, self.index, self.at = conn, index, time.monotonic()

    def token(self):
        return self.headers.get("private-token")


class Server:
    """`script(request)` yields what happens: bytes to send, a number of seconds to wait, "close" or "reset"."""

    def __init__(self, script, tls=None, addr="127.0.0.1"):
        self.script, self.tls = script, tls
        self.log, self.conns, self.lock = [], 0, threading.Lock()
        self.sock = socket.create_server((addr, 0), family=socket.AF_INET6 if ":" in addr else socket.AF_INET, backlog=128)
        self.port = self.sock.getsockname()[1]
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://{'[' + addr + ']' if ':' in addr else addr}:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def accept(self):
        while True:
            try:
                s, _ = self.sock.accept()
            except OSError:
                return
            with self.lock:
                self.conns += 1
                n = self.conns
            threading.Thread(target=self.serve, args=(s, n), daemon=True).start()

    def serve(self, s, conn):
        try:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                s = self.tls.wrap_socket(s, server_side=True)
            f = s.makefile("rb")
            while self.one(s, f, conn):
                pass
        except OSError:
            pass
        finally:
            s.close()

    def one(self, s, f, conn):
        line = f.readline()
        if not line:
            return False
        method, path, _ = line.decode().split(" ", 2)
        headers = {}
        for line in iter(f.readline, b"\r\n"):
            if not line:
                return False
            k, v = line.decode("latin-1").split(":", 1)
            headers[k.lower()] = v.strip()
        body = f.read(int(headers.get("content-length", 0)))
        with self.lock:
            r = Request(method, path, headers, body, conn, len(self.log))
            self.log.append(r)
        for step in self.script(r):
            if isinstance(step, bytes):
                s.sendall(step)
            elif step == "reset":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.close()
                return False
            elif step == "close":
                f.close()
                s.close()
                return False
            else:
                time.sleep(step)
        return True


def answer(status=200, body=b"{}", ctype="application/json", length=None, **headers):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    h = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}"]
    if ctype:
        h.append(f"Content-Type: {ctype}")
    h += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
    return ("\r\n".join(h) + "\r\n\r\n").encode() + body


def fixed(*steps):
    def script(_):
        yield from steps
    return script


def sequence(*scripts):
    """The n-th request gets the n-th script, the last one from then on."""
    def script(r):
        yield from scripts[min(r.index, len(scripts) - 1)]
    return script


class Out:
    def __init__(self, p, seconds):
        self.code, self.err, self.seconds = p.returncode, p.stderr, seconds
        self.rows = [json.loads(line) for line in p.stdout.splitlines() if line.strip()]
        self.answers = [r for r in self.rows if "outcome" in r]
        self.stats = next((r for r in self.rows if r.get("stats")), None)
        self.failed = next((r for r in self.rows if r.get("failed")), None)
        self.faults = [r for r in self.rows if "fault" in r]
        self.text = p.stdout + p.stderr

    @property
    def one(self):
        return self.answers[0]

    def row(self, key):
        return next(r for r in self.rows if key in r)


def drive(url, *args, env=None):
    began = time.monotonic()
    p = subprocess.run([DRIVER, url, "token=" + SECRET, "seed=7", *args], capture_output=True, text=True, timeout=120,
                       env={**os.environ, **(env or {})})
    out = Out(p, time.monotonic() - began)
    if out.faults or SECRET in out.text or "Sanitizer" in p.stderr or out.code not in (0, 1):
        t.ok(False, "the engine keeps its own rules", repr(args), p.stdout, p.stderr)
    return out


def check(o, name, outcome, code="ok", status=None, tries=None, scope=None):
    a = o.answers[0] if o.answers else {}
    good = (a.get("outcome") == outcome and a.get("code") == code and (status is None or a["status"] == status) and
            (tries is None or a["tries"] == tries) and (scope is None or a["scope"] == scope))
    return t.ok(good, name, f"want {outcome} {code} {status} {tries} {scope}", a, o.err)


# ---- what is sent ----

with Server(fixed(answer(201, {"id": 3}, X_Request_Id="01ABC"))) as s:
    o = drive(s.url, "sudo=jane", 'post:/groups/7/labels {"name":"x"}')
    check(o, "a write is answered", "answered", status=201, tries=1)
    r = s.log[0]
    t.is_eq((r.method, r.path, r.body), ("POST", "/api/v4/groups/7/labels", b'{"name":"x"}'), "method, path and body")
    t.is_eq((r.token(), r.headers.get("sudo"), r.headers.get("content-type")), (SECRET, "jane", "application/json"),
            "token, sudo and content type")
    t.ok(r.headers["user-agent"].startswith("groupsnap/") and "expect" not in r.headers, "user agent, no Expect")
    t.is_eq(o.one["request_id"], "01ABC", "the request id is kept")
    o = drive(s.url + "/gitlab/", "jobs=1", "get:/version", "delete:/x/1", "put:/y", "form:/groups/7")
    t.is_eq([(r.method, r.path) for r in s.log[1:4]],
            [("GET", "/gitlab/api/v4/version"), ("DELETE", "/gitlab/api/v4/x/1"), ("PUT", "/gitlab/api/v4/y")],
            "a relative root; the other methods")
    form = s.log[4]
    t.ok(form.headers["content-type"].startswith("multipart/form-data") and b'filename="a.png"' in form.body and
         b"image/png" in form.body and b"PNG!" in form.body, "a form with a file", form.headers, form.body)
with Server(fixed(answer(200, b"", ctype=None)), addr="::1") as s:
    check(drive(s.url, "head:/x"), "an IPv6 address and HEAD", "answered")

# ---- ends of a try: write and read beside each other ----

ends = {
    "reset before the answer": [["reset"]],
    "closed before the answer": [["close"]],
    "cut in the head": [[b"HTTP/1.1 201 Created\r\nContent-Le", "close"]],
    "cut in the body": [[answer(201, {"id": 1}, length=500), "close"]],
    "stall in the body": [[answer(201, {"id": 1}, length=500), 5.0]],
    "no answer within the deadline": [[5.0]],
    "500": [[answer(500, {"message": "500 Internal Server Error"})]],
    "502 as HTML": [[answer(502, b"<html><title>502 Bad Gateway</title></html>", "text/html")]],
    "504": [[answer(504, b"", "text/html")]],
    "503 with Retry-After": [[answer(503, b"GitLab is not responding", "text/plain", Retry_After=1)]],
}
codes = {"stall in the body": "timeout", "no answer within the deadline": "timeout"}
fast = ("deadline=2000", "stall=800")
for name, steps in ends.items():
    code = codes.get(name, "server-error")
    with Server(sequence(*steps, [answer(200, {"id": 1})])) as s:
        check(drive(s.url, *fast, "post:/x {}"), f"write, {name}: unknown, once", "unknown", code, tries=1, scope="retry")
        t.is_eq(len(s.log), 1, f"write, {name}: the server saw one request")
    with Server(sequence(*steps, [answer(200, {"id": 1})])) as s:
        check(drive(s.url, *fast, "get:/x"), f"read, {name}: tried again", "answered", tries=2)
    with Server(sequence(*steps, [answer(200, {"id": 1})])) as s:
        check(drive(s.url, *fast, "idempotent=1", "put:/x {}"), f"idempotent write, {name}: tried again", "answered", tries=2)

# libcurl by itself repeats a request when a reused connection dies without an answer
for verb in ("post:/x {}", "post:/x", "delete:/x", "put:/x {\"a\":1}"):
    for end in ("close", "reset"):
        with Server(sequence([answer()], [end], [answer()])) as s:
            o = drive(s.url, "get:/first", "wait", verb)
            t.ok(o.answers[1]["outcome"] == "unknown" and len(s.log) == 2 and s.log[1].conn == 1,
                 f"{verb.split(':')[0]} on a reused connection, {end}: unknown, never sent twice", o.rows,
                 [(r.method, r.conn) for r in s.log])
with Server(sequence([answer()], ["close"], [answer()])) as s:
    o = drive(s.url, "get:/first", "wait", "get:/second")
    t.ok(o.answers[1]["outcome"] == "answered" and len(s.log) == 3, "a read there is repeated", o.rows)
with Server(sequence([answer(), "close"], [answer()])) as s:
    o = drive(s.url, "think=500", "get:/first", "wait", "post:/x {}")
    t.ok(o.answers[1]["outcome"] == "answered" and o.answers[1]["tries"] == 1, "a connection closed while idle is noticed")

# ---- refusals before acting ----

for verb in ("post:/x {}", "get:/x"):
    with Server(sequence([answer(429, b"Retry later\n", "text/plain", Retry_After=1)], [answer(201)])) as s:
        o = drive(s.url, verb)
        check(o, f"{verb[:4]} 429 with Retry-After: again", "answered", tries=2)
        t.ok(s.log[1].at - s.log[0].at >= 1.0, "the second comes after Retry-After", s.log[1].at - s.log[0].at)
with Server(sequence([answer(429, b"Retry later\n", "text/plain")], [answer(201)])) as s:
    check(drive(s.url, "post:/x {}"), "429 without Retry-After: again", "answered", tries=2)
now = time.time()
http_date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now + 3602))
server_date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now + 3600))
with Server(sequence([answer(429, b"", "text/plain", Retry_After=http_date, Date=server_date)], [answer(201)])) as s:
    o = drive(s.url, "post:/x {}")
    check(o, "429 with a date, measured by the server's clock", "answered", tries=2)
    t.ok(2000 <= o.one["waited_ms"] <= 3000, "two seconds by that clock", o.one)
with Server(sequence([answer(429, b"", "text/plain", RateLimit_Reset=int(now + 3602), Date=server_date)], [answer(201)])) as s:
    o = drive(s.url, "post:/x {}")
    t.ok(o.one["status"] == 201 and 2000 <= o.one["waited_ms"] <= 3000, "429 with RateLimit-Reset", o.one)
with Server(fixed(answer(429, b"Retry later", "text/plain", Retry_After=600))) as s:
    o = drive(s.url, "retry=3000", "post:/x {}")
    check(o, "429 that asks for more than we wait: not sent", "not-sent", "rate-limited", 429, 1, "retry")
    t.ok("Retry later" in o.one["text"], "in the server's words", o.one)


def pause_script(r):
    if r.index == 0:
        yield answer(429, b"", "text/plain", Retry_After=1)
    else:
        yield answer(200, {})


with Server(pause_script) as s:
    o = drive(s.url, "jobs=1", "get:/a", "get:/b", "get:/c")
    t.ok(len(o.answers) == 3 and s.log[1].at - s.log[0].at >= 1.0, "a 429 pauses the whole client", o.rows)
    t.is_eq([r.path[-1] for r in s.log], ["a", "a", "b", "c"], "and the refused one goes first afterwards")
with Server(sequence([answer(409, {"message": "409 Conflict: Resource lock"})], [answer(201)])) as s:
    check(drive(s.url, "post:/x {}"), "409 resource lock: again", "answered", status=201, tries=2)
with Server(fixed(answer(409, {"message": "Label already exists"}))) as s:
    check(drive(s.url, "post:/x {}"), "409 duplicate: an answer", "answered", "refused", 409, 1, "item")

# ---- no connection ----

free = socket.create_server(("127.0.0.1", 0))
port = free.getsockname()[1]
free.close()
o = drive(f"http://127.0.0.1:{port}", "tries=3", "post:/x {}")
check(o, "connection refused: not sent", "not-sent", "unreachable", 0, 3, "retry")
o = drive(f"http://127.0.0.1:{port}", "post:/x {}")
t.ok(o.one["tries"] == 5 and 7 < o.seconds < 25, "a server that never answered is not waited for long", o.one, o.seconds)
o = drive("https://no-such-host.invalid", "get:/x")
check(o, "unknown host: three tries", "not-sent", "unreachable", 0, 3, "retry")
t.ok(o.seconds < 15, "quickly", o.seconds)

# ---- refused answers ----

table = [
    (401, {"error": "invalid_token", "error_description": "Token is expired."}, "token-refused", "fatal", "Token is expired."),
    (403, {"error": "insufficient_scope", "error_description": "Higher privileges"}, "scope-missing", "fatal", "Higher"),
    (403, {"message": "403 Forbidden"}, "forbidden", "item", "403 Forbidden"),
    (404, {"message": "404 Group Not Found"}, "refused", "item", "404 Group Not Found"),
    (400, {"message": {"title": ["is invalid"]}}, "refused", "item", "title is invalid"),
    (422, {"error": "x"}, "refused", "item", "x"),
    (412, {"message": "412 Precondition Failed"}, "refused", "item", "412"),
]
for status, body, code, scope, words in table:
    with Server(fixed(answer(status, body))) as s:
        o = drive(s.url, "post:/groups/7/labels?x=1 {}")
        check(o, f"{status} {code}", "answered", code, status, 1, scope)
        t.has(o.one["text"], words, "in the server's words")
        t.has(o.one["text"], "POST /groups/7/labels: the server", "and what was asked")
with Server(fixed(answer(401, {"message": "401 Unauthorized"}))) as s:
    p = subprocess.run([DRIVER, s.url, "get:/x"], capture_output=True, text=True, timeout=60)
    t.has(p.stdout, "token-missing", "401 without a token")
    t.is_eq(s.log[0].token(), None, "no token header without a token")
for verb, outcome in (("get:/x", "answered"), ("post:/x {}", "unknown")):
    with Server(fixed(answer(200, b"<!doctype html><title>Sign in</title>", "text/html"))) as s:
        o = drive(s.url, verb)
        check(o, f"200 with HTML, {verb[:4]}", outcome, "remote-answer", 200, 1)
        t.has(o.one["text"], "Sign in", "the page's title is told")
with Server(fixed(answer(201, b'{"id":', "application/json"))) as s:
    check(drive(s.url, "post:/x {}"), "201 with broken JSON: a write of unknown outcome", "unknown", "remote-answer", 201, 1)
with Server(fixed(answer(200, b"<p>", "text/html"))) as s:
    check(drive(s.url, "any=1", "get:/x"), "anything is taken when asked for", "answered")
with Server(fixed(b"SSH-2.0-OpenSSH\r\n", "close")) as s:
    check(drive(s.url, "get:/x"), "a server that is none", "unknown", "remote-answer", tries=1)

# ---- sizes ----

bomb = gzip.compress(b"[" + b" " * 80_000_000 + b"]")
with Server(fixed(answer(200, bomb, Content_Encoding="gzip"))) as s:
    o = drive(s.url, "get:/x")
    check(o, "a gzip bomb stops at the bound", "unknown", "limit", tries=1)
with Server(fixed(answer(200, gzip.compress(b'{"a":1}'), Content_Encoding="gzip"))) as s:
    t.is_eq(drive(s.url, "get:/x").one["body"], '{"a":1}', "gzip is taken")
with Server(fixed(answer(200, b'"' + b"x" * 5000 + b'"'))) as s:
    check(drive(s.url, "max=1000", "get:/x"), "a body over its bound", "unknown", "limit", tries=1, scope="fatal")
    check(drive(s.url, "max=5002", "get:/x"), "a body of just the bound", "answered")
with Server(fixed(answer(400, b"e" * 3_000_000, "text/plain"))) as s:
    o = drive(s.url, "get:/x")
    check(o, "of a long error body the beginning is kept", "answered", "refused", 400)
    t.ok(o.one["len"] <= 1 << 20, "bounded", o.one["len"])
with Server(sequence([answer(200, b"z" * 100_000, "application/gzip", length=200_000), "close"],
                     [answer(200, b"z" * 200_000, "application/gzip")])) as s:
    o = drive(s.url, "sink=1", "get:/x")
    t.ok(o.one["outcome"] == "answered" and o.one["sunk"] == 200_000 and o.one["restarts"] == 1 and o.one["len"] == 0,
         "a cut download begins anew in its sink", o.one)
with Server(fixed(answer(404, {"message": "404 Not found"}))) as s:
    o = drive(s.url, "sink=1", "get:/x")
    t.ok(o.one["code"] == "refused" and o.one["sunk"] == 0 and o.one["len"] > 0, "an error's body does not reach the sink")

# ---- redirects ----

with Server(fixed(answer(200, {"id": 9}))) as other:
    with Server(fixed(answer(302, b"", Location=other.url + "/store/avatar.png?sig=1"))) as s:
        o = drive(s.url, "sudo=jane", "get:/groups/7/avatar")
        check(o, "a redirect to another host is followed", "answered", status=200)
        r = other.log[0]
        t.ok(r.token() is None and "sudo" not in r.headers and "authorization" not in r.headers and
             SECRET not in r.path + str(r.headers), "without the token", r.headers)
        t.is_eq(r.path, "/store/avatar.png?sig=1", "to the very place")
        o = drive(s.url, "post:/x {}")
        check(o, "a redirected write is not followed", "answered", "remote-answer", 302, 1)
        t.is_eq(len(other.log), 1, "and not sent elsewhere")
    with Server(fixed(answer(302, b"", Location=other.url))) as s:
        with Server(fixed(answer(401, {"message": "no"}))) as deny:
            with Server(fixed(answer(302, b"", Location=deny.url))) as s2:
                check(drive(s2.url, "get:/x"), "a 401 of another host says nothing about the token", "answered", "refused", 401)


def moved(r):
    yield answer(301, b"", Location="/api/v4/new?page=2") if r.path.endswith("/old") else answer(200, {"id": 1})


with Server(moved) as s:
    check(drive(s.url, "get:/old"), "a redirect on the same host", "answered", status=200)
    t.is_eq((s.log[1].path, s.log[1].token()), ("/api/v4/new?page=2", SECRET), "keeps the token")
with Server(fixed(answer(302, b"", Location="/api/v4/again"))) as s:
    check(drive(s.url, "get:/x"), "a loop of redirects ends", "answered", "remote-answer", 302, 1)
    t.is_eq(len(s.log), 6, "after five")
with Server(fixed(answer(302, b"", Location="http://192.0.2.1/x"))) as s:
    check(drive(s.url, "get:/x"), "a redirect to http elsewhere is refused", "answered", "http-plain", 302)
with Server(fixed(answer(302, b"", Location="file:///etc/passwd"))) as s:
    check(drive(s.url, "get:/x"), "a redirect to a file is refused", "answered", "remote-answer", 302)

# ---- URLs ----

for url, code in (("http://192.0.2.1", "http-plain"), ("http://localhost.example.com", "http-plain"), ("ftp://127.0.0.1", "url"),
                  ("https://u:p@h", "url"), ("https://h/?a=1", "url"), ("gitlab.example.com", "url"), ("", "url"),
                  ("http://127.0.0.1.nip.io", "http-plain")):
    o = drive(url, "get:/x")
    t.ok(o.failed and o.failed["code"] == code, f"'{url}' is {code}", o.rows)
t.lacks(json.dumps(drive("https://user:passw0rd@h", "get:/x").rows), "passw0rd", "a password in the URL is not told")

# ---- the loop ----

with Server(fixed(0.05, answer(200, {}))) as s:
    o = drive(s.url, "jobs=4", "n=40", "get:/x")
    t.ok(len(o.answers) == 40 and s.conns <= 4, "connections are reused, at most as many as jobs", s.conns)
    t.ok(o.seconds < 2.0, "in parallel", o.seconds)
with Server(fixed(answer(200, {}))) as s:
    o = drive(s.url, "jobs=1", "chain=5", "get:/a", "get:/b")
    t.ok(len(o.answers) == 12 and not o.faults, "callbacks submit", o.rows)
    t.is_eq([r.path[-1] for r in s.log[:3]], ["a", "b", "a"], "the queue keeps its order")
with Server(fixed(2.5, answer(201, {}))) as s:
    o = drive(s.url, "jobs=2", "stop=1000", "n=6", "post:/x {}")
    ends = sorted((a["outcome"], a["code"]) for a in o.answers)
    t.is_eq(ends, [("answered", "ok")] * 2 + [("not-sent", "stopped")] * 4, "stop: what is on the wire ends, nothing new leaves")
    t.is_eq(len(s.log), 2, "the server saw two")
with Server(fixed(answer(429, b"", "text/plain", Retry_After=30))) as s:
    o = drive(s.url, "stop=1000", "post:/x {}")
    check(o, "stop ends a wait at once", "not-sent", "stopped")
    t.ok(o.seconds < 10, "at once", o.seconds)
with Server(fixed(2.0)) as s:
    o = drive(s.url, "post:/x {}", "get:/y", "list:/z", "leave")
    t.ok(o.code == 0 and not o.answers, "a client may go away with requests on their way")

# ---- lists ----


def pages(n, per=3, total=True, link=True, grow=0, latency=0.0, offset_limit=0, keyset=False):
    def script(r):
        q = dict(p.split("=", 1) for p in r.path.split("?", 1)[1].split("&"))
        no = int(q.get("page", 1)) if not keyset else int(q.get("cursor", 1))
        last = n + (grow if no >= n else 0)
        rows = [{"id": (no - 1) * per + i + 1} for i in range(per)] if no <= last else []
        h = {}
        if total and not keyset:
            h.update(X_Total=n * per, X_Total_Pages=n, X_Per_Page=per, X_Page=no)
        if not keyset:
            h["X_Next_Page"] = no + 1 if no < last else ""
        if link:
            base = "http://gitlab.example.com" + r.path.split("?")[0]
            more = f"pagination=keyset&cursor={no + 1}" if keyset else f"page={no + 1}&per_page=100"
            h["Link"] = (f'<{base}?{more}>; rel="next", ' if no < last else "") + f'<{base}?page=1>; rel="first"'
        if latency:
            yield latency * (1 + r.index * 7 % 3)
        if offset_limit and no > offset_limit:
            yield answer(405, {"error": "Offset pagination has a maximum allowed offset of 50000 for requests"})
        else:
            yield answer(200, rows, **h)
    return script


def listed(name, script, want_pages, want_records, *args, cmd="list", code="ok"):
    with Server(script) as srv:
        o = drive(srv.url, *args, cmd + ":/groups/a%2Fb/labels?state=all")
        r = o.row("list")
        t.ok(r["list"] == want_pages and r["records"] == want_records and r["in_order"] and r["code"] == code, name, r)
        return srv, o


s, o = listed("25 pages with totals, in order", pages(25, latency=0.05), 25, 75)
t.is_eq(len(s.log), 25, "none asked for twice")
t.ok(s.log[0].path.startswith("/api/v4/groups/a%2Fb/labels?state=all&per_page=100"), "100 to a page", s.log[0].path)
t.is_eq(o.row("list")["announced"], 75, "the announced total")
t.ok(o.seconds < 1.8, "several at a time", o.seconds)
s, o = listed("one after the other when asked so", pages(8, latency=0.01), 8, 24, cmd="seqlist")
t.is_eq([int(r.path.split("?page=")[-1].split("&")[0]) for r in s.log[1:]], list(range(2, 9)), "in the order of the links")
listed("no totals", pages(25, total=False, latency=0.01), 25, 75)
listed("X-Next-Page alone", pages(9, link=False), 9, 27)
listed("keyset", pages(9, keyset=True), 9, 27)
listed("a list that grows meanwhile", pages(10, grow=3), 13, 39)
listed("one page", pages(1), 1, 3)


def shrinking(r):
    no = int(r.path.split("&page=")[1].split("&")[0]) if "&page=" in r.path else 1
    h = dict(X_Total=30, X_Total_Pages=10)
    if no < 4:
        h["Link"] = f'<http://h/api/v4/groups/a%2Fb/labels?state=all&page={no + 1}&per_page=100>; rel="next"'
    yield answer(200, [{"id": (no - 1) * 3 + i + 1} for i in range(3)] if no <= 4 else [], **h)


listed("a list that shrinks meanwhile", shrinking, 4, 12)
s, o = listed("the offset limit of the server", pages(40, offset_limit=20), 20, 60, code="refused")
t.has(o.row("list")["text"], "maximum allowed offset of 50000", "in its words")
listed("a caller that has enough", pages(40), 3, 9, "max=7", code="record-invalid")
listed("an odd X-Total", fixed(answer(200, [{"id": 1}], X_Total="many", X_Total_Pages="-3", X_Next_Page="x")), 1, 1)
for name, body, head in (("an object", {"id": 1}, {}), ("broken JSON", b"[1,", {}), ("HTML", b"<html>", {}),
                         ("one key twice", b'[{"a":1,"a":2}]', {}),
                         ("a malformed link", [], {"Link": "<http://h/x; rel=next"}),
                         ("a link to elsewhere", [], {"Link": '<http://h/api/v4/users?page=2>; rel="next"'})):
    listed(f"a page that is {name}", fixed(answer(200, body, **head)), 0, 0, code="remote-answer")
loop = answer(200, [{"id": 1}], Link='<http://h/api/v4/groups/a%2Fb/labels?state=all&cursor=5>; rel="next"')
with Server(fixed(loop)) as s:
    r = drive(s.url, "list:/groups/a%2Fb/labels?state=all").row("list")
    t.ok(r["code"] == "remote-answer" and "circle" in r["text"] and len(s.log) <= 3, "pages that go round", r, len(s.log))
with Server(sequence([answer(200, [{"id": 1}], Link='<http://h/api/v4/l?cursor=2>; rel="next"')],
                     [answer(200, [], length=100), "close"], [answer(502, b"", "text/html")], [answer(200, [{"id": 2}])])) as s:
    r = drive(s.url, "list:/l").row("list")
    t.ok(r["records"] == 2 and r["retries"] == 2 and r["in_order"], "a page that fails is asked for again", r)

# ---- GraphQL ----


def graph(*bodies):
    return sequence(*[[answer(200, b)] for b in bodies])


with Server(graph({"data": {"currentUser": {"id": 1}}})) as s:
    o = drive(s.url, "gql:{ currentUser { id } }")
    t.is_eq((o.row("gql")["gql"], s.log[0].path, json.loads(s.log[0].body)["query"]),
            (0, "/api/graphql", "{ currentUser { id } }"), "a query")
with Server(graph({"errors": [{"message": "Field 'x' doesn't exist on type 'Group'",
                               "extensions": {"code": "undefinedField"}}]})) as s:
    r = drive(s.url, "gql:{ x }").row("gql")
    t.ok(r["code"] == "graphql" and r["unknown_field"] and r["scope"] == "item", "an unknown field is told apart", r)
with Server(graph({"data": {"labelCreate": {"label": None, "errors": ["Title has already been taken"]}}})) as s:
    r = drive(s.url, "gql:mutation { labelCreate }").row("gql")
    t.ok(r["code"] == "graphql" and "already been taken" in r["text"] and not r["unknown_field"], "errors of a payload", r)
with Server(sequence([answer(502, b"")], [answer(200, {"data": {}})])) as s:
    t.is_eq(drive(s.url, "gql:query { x }").row("gql")["gql"], 0, "a query is repeated after a 502")
with Server(sequence([answer(502, b"")], [answer(200, {"data": {}})])) as s:
    t.ok(drive(s.url, "gql:mutation { x }").row("gql")["gql"] == -1 and len(s.log) == 1, "a mutation is not")
with Server(fixed(answer(401, {"errors": [{"message": "Invalid token"}]}))) as s:
    t.is_eq(drive(s.url, "gql:{ x }").row("gql")["code"], "token-refused", "a bad token")
o = drive("http://127.0.0.1:1", "gql:" + "{" + " " * 10001 + "}")
t.has(o.row("gql")["text"], "10000", "a document that is too long is not sent")


def connection(r):
    after = json.loads(r.body)["variables"]["after"]
    n = int(after or 0)
    yield answer(200, {"data": {"group": {"labels": {"nodes": [{"id": n * 2 + 1}, {"id": n * 2 + 2}], "pageInfo": {
        "hasNextPage": n < 6, "endCursor": str(n + 1)}}}}})


with Server(connection) as s:
    r = drive(s.url, "nodes:top/group").row("list")
    t.ok(r["list"] == 7 and r["records"] == 14 and r["in_order"] and r["code"] == "ok", "the pages of a connection", r)
with Server(graph({"data": {"group": None}})) as s:
    t.is_eq(drive(s.url, "nodes:top/group").row("list")["code"], "group-not-found", "a group that is not there")
with Server(graph({"data": {"group": {"labels": {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": "A"}}}}})) as s:
    r = drive(s.url, "nodes:top/group").row("list")
    t.ok(r["code"] == "remote-answer" and len(s.log) < 6, "a connection that does not go on", r)

# ---- TLS ----


def openssl(d, *args):
    subprocess.run(["openssl", *args], cwd=d, check=True, capture_output=True)


def certificates(d):
    for ca in ("ca", "wrong"):
        openssl(d, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                f"/CN=test {ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
    for name, san in (("good", "IP:127.0.0.1,DNS:localhost"), ("other", "DNS:elsewhere.example.com")):
        with open(os.path.join(d, name + ".ext"), "w") as f:
            f.write(f"subjectAltName={san}\n")
        openssl(d, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout",
                name + ".key", "-out", name + ".csr")
        openssl(d, "x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", name + ".ext", "-out", name + ".pem")


def context(d, name):
    import ssl
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(os.path.join(d, name + ".pem"), os.path.join(d, name + ".key"))
    return c


def fingerprint(d, name):
    p = subprocess.run(["openssl", "x509", "-in", name + ".pem", "-noout", "-fingerprint", "-sha256"], cwd=d, check=True,
                       capture_output=True, text=True)
    return p.stdout.split("=")[1].strip().replace(":", "").lower()


def tls_tests(d):
    certificates(d)
    os.mkdir(os.path.join(d, "folder"))
    shutil.copy(os.path.join(d, "ca.pem"), os.path.join(d, "folder", "private-ca.crt"))
    with open(os.path.join(d, "folder", "README"), "w") as f:
        f.write("no certificate\n")
    ca = "cacert=" + os.path.join(d, "ca.pem")
    with Server(fixed(answer(200, {})), tls=context(d, "good")) as s:
        o = drive(s.url, ca, "n=3", "get:/x")
        check(o, "TLS with a private CA", "answered", status=200)
        t.is_eq(o.stats["tls"], fingerprint(d, "good"), "the certificate's SHA-256")
        check(drive(s.url, "cacert=" + os.path.join(d, "folder"), "get:/x"), "a folder of CAs", "answered")
        check(drive(s.url, "cacert=" + os.path.join(d, "wrong.pem"), "post:/x {}"), "a wrong CA", "not-sent", "tls", 0, 1, "fatal")
        check(drive(s.url, "get:/x"), "no CA", "not-sent", "tls", 0, 1, "fatal")
        t.is_eq([r.token() for r in s.log], [SECRET] * 4, "nothing was sent to a server that is not trusted")
        with Server(fixed(answer(302, b"", Location=s.url + "/y"))) as plain:
            check(drive(plain.url, ca, "get:/x"), "a redirect from http to https", "answered", status=200)
            t.is_eq(s.log[-1].token(), None, "is another place: no token")
    with Server(fixed(answer(200, {}))) as plain:
        with Server(fixed(answer(302, b"", Location=plain.url + "/y")), tls=context(d, "good")) as s:
            check(drive(s.url, ca, "get:/x"), "a redirect from https to http is refused", "answered", "remote-answer", 302)
            t.is_eq(len(plain.log), 0, "and not followed")
        check(drive(plain.url.replace("http:", "https:"), "get:/x"), "https to a port without TLS", "not-sent", "tls", 0, 3)
    with Server(fixed(answer(200, {})), tls=context(d, "other")) as s:
        check(drive(s.url, ca, "get:/x"), "a certificate of another host", "not-sent", "tls", 0, 1, "fatal")
    o = drive("https://127.0.0.1:1", "cacert=" + os.path.join(d, "folder", "README"), "get:/x")
    t.is_eq(o.failed and o.failed["code"], "tls", "a CA file without a certificate")
    o = drive("https://127.0.0.1:1", "cacert=" + os.path.join(d, "absent"), "get:/x")
    t.is_eq(o.failed and o.failed["code"], "file-not-found", "no CA file")
    http2_tests(d, ca)


def http2_tests(d, ca):
    nghttpx = shutil.which("nghttpx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not nghttpx:
        t.skip("HTTP/2", "nghttpx is not installed")
        return
    with Server(fixed(0.02, answer(200, {"id": 1}))) as s:
        probe = socket.create_server(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        log = os.path.join(d, "access.log")
        p = subprocess.Popen([nghttpx, f"--frontend=127.0.0.1,{port}", f"--backend=127.0.0.1,{s.port}", "--workers=1",
                              "--conf=/dev/null", f"--accesslog-file={log}", "--accesslog-format=$alpn $remote_port $method",
                              os.path.join(d, "good.key"), os.path.join(d, "good.pem")], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            o = drive(f"https://127.0.0.1:{port}", ca, "jobs=8", "n=60", "get:/x", "wait", "n=20", 'post:/y {"a":1}')
            t.ok(len(o.answers) == 80 and all(a["code"] == "ok" for a in o.answers), "HTTP/2 over TLS", o.rows[-1], o.err[-500:])
            time.sleep(0.2)
            with open(log) as f:
                rows = [line.split() for line in f]
            reads, writes = [[r for r in rows if len(r) == 3 and r[2] == m] for m in ("GET", "POST")]
            t.is_eq((len(reads), {r[0] for r in reads}), (60, {"h2"}), "is taken where it is offered")
            t.is_eq(len({r[1] for r in reads}), 1, "over one connection")
            t.ok({r[0] for r in writes} == {"http/1.1"} and 1 < len({r[1] for r in writes}) <= 8,
                 "writes do not share a connection", writes)
            t.is_eq(len([r for r in s.log if r.method == "POST"]), 20, "every write arrived once")
        finally:
            p.terminate()
            p.wait()
        o = drive(f"https://127.0.0.1:{port}", ca, "tries=1", "get:/x")
        check(o, "the proxy is gone", "not-sent", "unreachable")


with gstest.scratch() as folder:
    tls_tests(folder)

# ---- proxies ----

with Server(fixed(answer(200, {}))) as s, Server(fixed(answer(403, b"no", "text/plain"))) as proxy:
    env = {"http_proxy": proxy.url, "https_proxy": proxy.url, "HTTPS_PROXY": proxy.url, "no_proxy": "", "NO_PROXY": ""}
    check(drive(s.url, "get:/x", env=env), "loopback does not go through a proxy", "answered", status=200)
    o = drive("https://gitlab.example.com", "tries=2", "post:/x {}", env=env)
    check(o, "a proxy that refuses: nothing was sent", "not-sent", "unreachable", tries=2)
    t.ok(all(r.method == "CONNECT" and r.token() is None for r in proxy.log) and proxy.log, "a proxy is used, and gets no token")

t.done()
