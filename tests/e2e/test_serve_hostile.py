#!/usr/bin/python3
"""`replay serve` among clients that mean harm: seeded requests that are none, damaged GraphQL, tricks with paths, wrong tokens, bodies without
end, TLS that is none, connections that break off, and slow ones beside honest clients.

    tests/e2e/test_serve_hostile.py [--requests N] [--seed S] [--only KIND]     make check-hostile: with sanitizers and without, many

Whatever is sent, the process lives, no answer holds a byte of a file outside of the bundle, every status is an honest one, memory stays below
64 MiB, and the token is nowhere in what it says. A seed repeats a run; what was wrong is shown with the bytes that were sent."""
import argparse
import collections
import json
import os
import random
import re
import socket
import ssl
import struct
import sys
import threading
import time
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

sys.path.insert(0, os.path.join(gstest.TOP, "tests/sim"))
from glimport import direct  # noqa: E402
from gsserve import TREE, Serve, certificate  # noqa: E402

SANITIZED = "asan" in gstest.BUILD
HONEST = {200, 202, 400, 401, 404, 405, 411, 413, 414, 429, 431, 505}
NO = {400, 404, 405, 411, 413, 414, 431, 505}
ROUTES = ["/api/v4/version", "/api/v4/metadata", "/api/v4/personal_access_tokens/self", "/api/v4/groups", "/api/v4/groups/10/badges", "/api/v4/groups/team/subgroups",
          "/api/v4/groups/team%2Fsub11/wikis", "/api/v4/groups/10/export_relations/status", "/api/v4/groups/10/export_relations/download?relation=badges"]
CONTROL = bytes(c for c in range(32) if c not in b"\0\t\n\r") + b"\x7f"
SLOW_S = 2             # that serve gives a request to arrive


class Case:
    """What is sent on a connection of its own, and what may come back."""

    def __init__(self, kind, data, want, silent=True, good=0, chunks=1, reset=False, plain=False, half=True):
        self.kind, self.data, self.want, self.silent = kind, data, want, silent
        self.good = good        # so many whole requests in front
        self.chunks = chunks    # in which it is sent
        self.reset = reset      # the connection is reset instead of ended
        self.plain = plain      # to the TLS port, without TLS
        self.half = half        # closed towards the server when all was sent


class Maker:
    """Cases out of a seed. `roots`: files that must not be seen."""

    def __init__(self, rng, token, files):
        self.rng, self.token, self.files = rng, token.encode(), files
        self.kinds = [(getattr(self, n), w) for n, w in (("line", 12), ("headers", 12), ("lengths", 9), ("chunked", 9), ("pipeline", 6), ("paths", 14), ("params", 10),
                                                        ("tokens", 9), ("methods", 4), ("bodies", 2), ("addresses", 3), ("no_tls", 4), ("broken_off", 4), ("noise", 4))]

    def case(self):
        kind = self.rng.choices([k for k, _ in self.kinds], [w for _, w in self.kinds])[0]
        c = kind()
        c.kind = kind.__name__
        c.chunks = self.rng.choice((1, 1, 1, 2, 5))
        return c

    # ---- parts

    def auth(self):
        return self.rng.choice((b"PRIVATE-TOKEN: %s\r\n", b"Authorization: Bearer %s\r\n", b"private-token:%s\r\n")) % self.token

    def head(self, close=True):
        return b"Host: x\r\n" + self.auth() + (b"Connection: close\r\n" if close else b"")

    def bytes(self, n, alphabet=None):
        return bytes(self.rng.choice(alphabet) for _ in range(n)) if alphabet else self.rng.randbytes(n)

    def request(self, target=None, method=b"GET", close=True, more=b"", body=b""):
        target = self.rng.choice(ROUTES).encode() if target is None else target
        return b"%s %s HTTP/1.1\r\n%s%s\r\n%s" % (method, target, self.head(close), more, body)

    def put(self, text, what, start=0, end=None):
        at = self.rng.randrange(start, (len(text) if end is None else end) + 1)
        return text[:at] + what + text[at:]

    # ---- kinds

    def line(self):
        r = self.rng
        target = r.choice(ROUTES).encode()
        good = b"GET %s HTTP/1.1" % target
        bad = r.choice((
            lambda: b"GET " + target,
            lambda: b"GET",
            lambda: target,
            lambda: b"",
            lambda: b"GET %s HTTP/%s" % (target, r.choice((b"", b"1", b"1.", b".1", b"7.1", b"2.0", b"0.9", b"1.1.1", b"x.y", b"-1.1", b"1,1", b"11", b"1.1x", b"9" * 50))),
            lambda: b"GET %s %s" % (target, r.choice((b"HTTP", b"http/1.1", b"HTTPS/1.1", b"HTTP\\1.1", b"FTP/1.1", b"\xff\xfe"))),
            lambda: self.put(good, b"\0" * r.randrange(1, 4), 0, len(good)),
            lambda: self.put(good, self.bytes(1, CONTROL), 4, 4 + len(target) - 1),
            lambda: self.put(good, b" x", 5, 3 + len(target)),
            lambda: good.replace(b" ", b"\t"),
            lambda: b" " + good,
            lambda: self.bytes(r.randrange(1, 300), bytes(x for x in range(256) if x not in b"\r\n")),
            lambda: self.bytes(r.choice((100, 5000, 60000)), b"abcXYZ") + b" " + target + b" HTTP/1.1",
            lambda: good + b" " + self.bytes(r.randrange(1, 20), b"abc ") + b".",
        ))()
        return Case("", bad + b"\r\n" + self.head() + b"\r\n", NO)

    def headers(self):
        r = self.rng
        odd = r.choice((
            lambda: b"no colon here\r\n",
            lambda: b": empty\r\n",
            lambda: b"Name : blank\r\n",
            lambda: b"Na me: blank\r\n",
            lambda: b"Na\0me: nul\r\n",
            lambda: b"N%sme: control\r\n" % self.bytes(1, CONTROL),
            lambda: b"N\xe9me: no token\r\n",
            lambda: b"Name: %s%s\r\n" % (b"a" * r.randrange(20), b"\0" + self.bytes(r.randrange(20), b"abc: ")),
            lambda: b"Name: a%sb\r\n" % self.bytes(1, CONTROL),
            lambda: b"Host: y\r\n",
            lambda: b"PRIVATE-TOKEN: a\r\nPRIVATE-TOKEN: %s\r\n" % self.token,
            lambda: b"Authorization: Bearer %s\r\nAuthorization: Basic x\r\n" % self.token,
            lambda: b"A: b\r\n" * r.choice((3000, 20000)),
            lambda: b"A%d: " % r.randrange(9) + b"b" * r.choice((33000, 200000)) + b"\r\n",
            lambda: self.bytes(r.randrange(1, 40), bytes(x for x in range(128, 256))) + b"\r\n",
        ))()
        lines = [b"Host: x\r\n", self.auth(), b"Accept: */*\r\n", b"User-Agent: x\r\n"]
        lines.insert(r.randrange(len(lines) + 1), odd)
        if r.random() < 0.1:  # no host
            lines = [self.auth(), b"Accept: */*\r\n"]
        return Case("", b"GET %s HTTP/1.1\r\n%s\r\n" % (r.choice(ROUTES).encode(), b"".join(lines)), NO)

    def lengths(self):
        r = self.rng
        body = b'{"query":"{ __typename }"}'
        n = b"%d" % len(body)
        more = r.choice((
            *(b"Content-Length: %s\r\n" % x for x in (b"x", b"-1", b"+" + n, n + b"x", b"", b"0x1a", b"1e3", b"99999999999999999999999999", b"18446744073709551617", n + b", " + n,
                                                       n + b"\0", b"\0" + n, b"\xff")),
            b"Content-Length: %s\r\nContent-Length: %d\r\n" % (n, r.randrange(100)),
            b"Content-Length: %s\r\nContent-Length: %s\r\n" % (n, n),
            b"Content-Length: %s\r\nTransfer-Encoding: chunked\r\n" % n,
            b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n" % r.randrange(100),
            *(b"Transfer-Encoding: %s\r\n" % x for x in (b"gzip", b"chunked, chunked", b"identity", b"xchunked", b"chunked;q=1", b"", b"chun\0ked")),
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            b"Content-Length: %d\r\n" % r.choice((len(body) + 1, 100000)),  # more than comes
            b"Content-Length: %d\r\n" % r.choice((131073 << 6, 1 << 33, 1 << 62)),
        ))
        return Case("", self.request(b"/api/graphql", b"POST", more=b"Content-Type: application/json\r\n" + more, body=body), NO)

    def chunked(self):
        r = self.rng
        body = b'{"query":"{ __typename }"}'
        size = b"%x" % len(body)
        data = r.choice((
            *(x + b"\r\n" + body + b"\r\n0\r\n\r\n" for x in (b"zz", b"-1", b"-" + size, b"0x" + size, b"+" + size, b" ", b"", size + b"\0", b"\0", size + b" x", size + b"\xff",
                                                           b"f" * 17, b"8000000000000000", b"ffffffffffffffff")),
            size + b"\r\n" + body + b"0\r\n\r\n",
            b"%x\r\n" % (len(body) + 5) + body + b"\r\n0\r\n\r\n",
            b"%x\r\n" % (len(body) - 5) + body + b"\r\n0\r\n\r\n",
            size + b"\r\n" + body + b"\r\n0\r\nno colon\r\n\r\n",
            size + b"\r\n" + body + b"\r\n",                       # no end
            size + b"\r\n" + body[:7],
            size + b";" + b"a" * r.choice((40000, 100000)) + b"\r\n" + body + b"\r\n0\r\n\r\n",
            b"1\r\n\xff\r\n" * 300 + b"zz\r\n",
            b"5000\r\n" + b"x" * 0x5000 + b"\r\n" + b"q",
            self.bytes(r.randrange(1, 200)),
        ))
        return Case("", self.request(b"/api/graphql", b"POST", more=b"Transfer-Encoding: chunked\r\n", body=data), NO)

    def pipeline(self):
        r = self.rng
        good = r.randrange(1, 5)
        bad = r.choice((b"GARBAGE\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET /api/v4/version\0 HTTP/1.1\r\nHost: x\r\n" + self.auth() + b"\r\n",
                        b"HTTP/1.1 200 OK\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /%s HTTP/1.1\r\n" % self.bytes(40000, b"ab"), self.bytes(100) + b"\r\n\r\n",
                        b"POST /api/graphql HTTP/1.1\r\nHost: x\r\n%sContent-Length: 3\r\nContent-Length: 4\r\n\r\n{}  GET /api/v4/version HTTP/1.1\r\nHost: x\r\n\r\n" % self.auth()))
        return Case("", b"".join(self.request(b"/api/v4/version", close=False) for _ in range(good)) + bad, NO, good=good)

    def paths(self):
        r = self.rng
        name = r.choice(self.files).encode()
        dots = r.choice((b"..", b"%2e%2e", b"%2E.", b".%2e", b"....//", b"..%2f", b"..%5c", b"..\\", b"%252e%252e", b"%c0%ae%c0%ae", b"..;", b"..%00", b"%2e%2e%2f"))
        slash = r.choice((b"/", b"//", b"%2f", b"%2F", b"\\", b"%5c", b"/./"))
        up = (dots + slash) * r.randrange(1, 12)
        trick = r.choice((up + name, up + name.lstrip(b"/"), name, name.replace(b"/", b"%2F"), name + b"%00.json", b"file:%2F%2F" + name, up + b"proc/self/environ",
                          up + b"proc%2Fself%2Fmaps", up + b"etc/passwd"))
        target = r.choice((b"/", b"/api/", b"/api/v4/", b"/api/v4/groups/", b"/api/v4/groups/10/", b"/api/v4/groups/10/uploads/", b"/api/v4/groups/10/export_relations/download/",
                           b"/api/v4/groups/team/../", b"//", b"http://x/", b"http://127.0.0.1/api/v4/groups/", b"file://", b"x")) + trick
        return Case("", self.request(target + r.choice((b"", b"", b"/badges", b"/export_relations/status", b"?relation=" + trick, b"#x", b";x"))), {400, 404}, silent=False)

    def params(self):
        """Requests that are well formed; whatever their parameters are."""
        r = self.rng
        name = r.choice(self.files).encode()
        value = lambda: r.choice((b"", b"1", b"0", b"-1", b"99999999999999999999", b"2", b"true", b"TRUE", b"false", b"labels", b"self", b"badges", b"uploads", b"%2e%2e%2f" + name,  # noqa: E731
                                  name, b"..%2F..%2F" + name, b"members", b"%ff%fe", b"1%20", b"+1", b"a" * 2000, b"%41", b"1e2", self.bytes(8, b"abc123%25_-.~")))
        names = (b"relation", b"batched", b"batch_number", b"page", b"per_page", b"search", b"private_token", b"x", b"", b"relation[]")
        query = b"&".join(r.choice(names) + r.choice((b"=", b"=", b"==", b"")) + value() for _ in range(r.randrange(1, 6)))
        target = r.choice(("/api/v4/groups", "/api/v4/groups/10/badges", "/api/v4/groups/team/subgroups", "/api/v4/groups/10/export_relations/status",
                           "/api/v4/groups/10/export_relations/download", "/api/v4/groups/team%2Fsub12/export_relations/download")).encode()
        return Case("", self.request(target + b"?" + query), {200, 400, 404}, silent=False)

    def tokens(self):
        r, token = self.rng, self.token
        other = r.choice((token[:-1], token + b"x", token[1:], token.swapcase(), token[::-1], b"", b"x", token[:r.randrange(len(token))], token + b"," + token, b"glpat-" + token[6:],
                          b"A" * r.choice((100, 10000)), b"%00", b"' OR 1=1 --", b"\xff" * 40, b"null", b"*", b"Bearer " + token))
        quoted = b"".join(b"%%%02x" % c for c in other)
        auth, target = r.choice(((b"PRIVATE-TOKEN: %s\r\n" % other, b""), (b"Authorization: Bearer %s\r\n" % other, b""), (b"Authorization: Basic %s\r\n" % other, b""),
                                 (b"Authorization: %s\r\n" % token, b""), (b"Cookie: private_token=%s\r\n" % token, b""), (b"X-Private-Token: %s\r\n" % token, b""),
                                 (b"", b"private_token=" + quoted), (b"", b"token=" + token), (b"", b"private_token=x&private_token=" + token)))
        route = r.choice(ROUTES).encode()
        target = route + (b"&" if b"?" in route else b"?") + target if target else route
        return Case("", b"GET %s HTTP/1.1\r\nHost: x\r\n%sConnection: close\r\n\r\n" % (target, auth), {400, 401} if b"\x00" in other or b"%00" in target else {401}, silent=False)

    def methods(self):
        r = self.rng
        method = r.choice((b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"PROPFIND", b"get", b"GETX", b"X" * 200, b"POST", b"M-SEARCH"))
        body = r.choice((b"", b"{}", b"x" * 3000))
        return Case("", self.request(b"/api/v4/version", method, more=b"Content-Length: %d\r\n" % len(body), body=body), {405}, silent=False)

    def bodies(self):
        r = self.rng
        n = r.choice((131073, 200000, 1 << 20))
        if r.random() < 0.5:
            return Case("", self.request(b"/api/graphql", b"POST", more=b"Content-Length: %d\r\n" % n, body=b"x" * n), {413}, silent=False)
        return Case("", self.request(b"/api/graphql", b"POST", more=b"Transfer-Encoding: chunked\r\n", body=b"8000\r\n%s\r\n" % (b"x" * 0x8000) * (n // 0x8000 + 1) + b"0\r\n\r\n"),
                    {411}, silent=False)

    def addresses(self):
        r = self.rng
        n = r.choice((3000, 20000, 40000, 100000))
        text = r.choice((b"a" * n, b"%2f" * (n // 3), b"/" * n, b"a=1&" * (n // 4)))
        return Case("", self.request(r.choice((b"/", b"/api/v4/groups/", b"/api/v4/groups/10/badges?", b"http://")) + text), {200, 400, 404, 414, 431})

    def no_tls(self):
        """To the port that speaks TLS; to the other it is noise."""
        r = self.rng
        hello = b"\x16\x03\x01%s\x01\x00" % struct.pack(">H", r.choice((0, 4, 512, 65535)))
        data = r.choice((lambda: self.request(), lambda: hello + self.bytes(r.randrange(600)), lambda: b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", lambda: b"\x80\x2e\x01\x00\x02" + self.bytes(44),
                         lambda: b"\x15\x03\x01\x00\x02\x02\x28", lambda: b"\x17\x03\x03\xff\xff" + self.bytes(2000), lambda: b"", lambda: self.bytes(r.randrange(1, 3000)),
                         lambda: hello[:r.randrange(7)]))()
        return Case("", data, NO, plain=True)

    def broken_off(self):
        r = self.rng
        data = r.choice((self.request(), self.request(b"/api/v4/groups/10/export_relations/download?relation=labels"),
                         self.request(b"/api/graphql", b"POST", more=b"Content-Length: 5000\r\n", body=b"x" * 4000)))
        return Case("", data[:r.randrange(len(data) + 1)], HONEST, reset=r.random() < 0.7)

    def noise(self):
        r = self.rng
        data = bytearray(self.request(method=b"G" + self.bytes(2, b"ET\0\xff")))
        for _ in range(r.randrange(1, 8)):
            at = r.randrange(len(data))
            data[at:at + r.randrange(3)] = self.bytes(r.randrange(1, 5))
        return Case("", bytes(data), HONEST)


class NoHttp(Exception):
    pass


def answers(raw, good):
    """The statuses and bodies in what came back; the last may be cut off. Refusals of microhttpd before 1.0 have their head twice."""
    out = []
    while raw:
        head, found, rest = raw.partition(b"\r\n\r\n")
        m = re.match(rb"HTTP/1\.[01] (\d\d\d) [^\r\n]*(\r\n|$)", head)
        if not m:
            if "HTTP/1.1".startswith(raw[:8].decode("latin-1")):
                return out
            raise NoHttp(raw[:80])
        status = int(m[1])
        length = re.search(rb"(?mi)^content-length: (\d+)\r?$", head)
        if status == 100:
            raw = rest
            continue
        if length:
            body, raw = rest[:int(length[1])], rest[int(length[1]):]
        elif re.search(rb"(?mi)^transfer-encoding: chunked\r?$", head):
            body = b""
            while True:
                line, _, rest = rest.partition(b"\r\n")
                n = int(line or b"0", 16)
                body, rest = body + rest[:n], rest[n + 2:]
                if n == 0:
                    break
            raw = rest
        else:
            body, raw = rest, b""
        out.append((status, head, body))
        if re.search(rb"(?mi)^connection: close\r?$", head):
            return out
    return out


class Campaign:
    def __init__(self, t, d, key, n, seed, only=None):
        self.t, self.d, self.n, self.seed, self.only = t, d, n, seed, only
        self.secret = "canary-%032x" % random.getrandbits(128)
        files = []
        for name in ("canary", "bundles/canary", "bundles/canary.json"):
            with open(os.path.join(d, name), "w") as f:
                f.write(self.secret + "\n")
            files.append(os.path.join(d, name))
        self.files = files + ["canary", "bundles/canary", os.path.join(d, "token"), os.path.join(d, "key.pem"), key, "token", "key.pem", "key", "/etc/passwd"]
        self.foreign = [self.secret.encode(), b"root:x:0", b"PRIVATE KEY", open(key, "rb").read().split(b"\n")[1]]
        args = ("--rate", "1000000", "--request-seconds", str(SLOW_S), "--verbose")
        self.serves = [Serve(d, key, *args, bundle="bundles/b.gsnap", tls=tls, name=name) for tls, name in ((False, "plain"), (True, "tls"))]
        self.foreign.append(self.serves[0].token.encode())
        self.lock = threading.Lock()
        self.wrong, self.seen, self.sent = [], collections.Counter(), collections.Counter()

    def bad(self, what, data):
        with self.lock:
            self.wrong.append(f"{what}: {bytes(data[:300])!r}{' ...' if len(data) > 300 else ''} of {len(data)}")

    # ---- one connection

    def exchange(self, serve, c):
        """What came back."""
        out = b""
        s = None
        try:
            s = serve.socket(10 if not SANITIZED else 30, tls=not c.plain)
            step = max(1, -(-len(c.data) // c.chunks))
            for at in range(0, len(c.data), step):
                s.sendall(c.data[at:at + step])
            if c.reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return None
            if c.half:
                socket.socket.shutdown(s, socket.SHUT_WR)
        except OSError:  # refused in the middle; it may have said why
            pass
        try:
            while s:
                more = s.recv(65536)
                if not more:
                    break
                out += more
        except ssl.SSLError:
            pass
        except TimeoutError:
            self.bad(f"{c.kind}: no end within the time", c.data)
        except OSError:
            pass
        finally:
            if s:
                s.close()
        return out

    def judge(self, c, raw, tls):
        for f in self.foreign:
            if f in raw:
                self.bad(f"{c.kind}: THE ANSWER HOLDS {f[:12]!r}", c.data)
        if c.plain and tls:
            if b"HTTP/1." in raw and b"200 OK" in raw:
                self.bad(f"{c.kind}: answered without TLS", c.data)
            return
        try:
            got = answers(raw, c.good)
        except (NoHttp, ValueError) as e:
            return self.bad(f"{c.kind}: what came back is no HTTP: {e!r}", c.data)
        for status, head, body in got:
            if re.search(rb"(?mi)^content-type: application/gzip\r?$", head) and body:
                plain = zlib.decompressobj(31).decompress(body, 1 << 22)
                if any(f in plain for f in self.foreign):
                    self.bad(f"{c.kind}: A FILE HOLDS WHAT IT SHOULD NOT", c.data)
        statuses = [status for status, _, _ in got]
        with self.lock:
            self.seen.update(statuses[c.good:] or ["closed"])
        if any(x not in HONEST for x in statuses):
            return self.bad(f"{c.kind}: statuses {statuses}", c.data)
        if statuses[:c.good] != [200] * len(statuses[:c.good]):
            return self.bad(f"{c.kind}: the requests in front got {statuses}", c.data)
        rest = statuses[c.good:]
        if (not rest and not c.silent) or any(x not in c.want for x in rest[:1]) or any(x in (200, 202) for x in rest[1:] if c.want is not HONEST):
            self.bad(f"{c.kind}: {rest or 'closed'}, not one of {sorted(c.want)}", c.data)

    def wire(self, number, count):
        rng = random.Random(f"{self.seed} wire {number}")
        makers = [Maker(rng, s.token, self.files) for s in self.serves]
        for _ in range(count):
            tls = rng.random() < 0.25
            c = makers[tls].case()
            if self.only and c.kind != self.only:
                continue
            if c.kind == "no_tls":
                tls = tls or rng.random() < 0.7 or c.data.startswith(b"GET")
            if tls and c.kind in ("bodies", "headers", "chunked"):
                c.half = False
            raw = self.exchange(self.serves[tls], c)
            with self.lock:
                self.sent[c.kind] += 1
            if raw is not None:
                self.judge(c, raw, tls)

    # ---- GraphQL

    VALUES = (None, True, -1, 0, 3, 10 ** 30, 1.5, "", "team", "TEAM", "team/sub11", "../../canary", "gid://gitlab/User/7", "gid://gitlab/User/99999999999999999999", "\u0000", "\ud800",
              [], [None], ["gid://gitlab/User/7"] * 150, [[[[]]]], {}, {"a": {}}, "x" * 5000)
    PIECES = ("{", "}", "(", ")", "$", "\"", "...", "\\", "\u0000", "é", "[", "]", "1e", "-", " on ", "fragment", "@skip(if:true)", "@include(if: $full_path)", "id ", ":", "!", "#",
              "\"\"\"", "mutation", "subscription", "__schema{types{name}}", "__typename ", "\ufeff", "9" * 40, "&", "|", "\r", "$full_path", "first: -1 ", "\\u0041", "query")

    def document(self, rng, docs):
        text = rng.choice(docs)
        how = rng.randrange(8)
        if how == 0:
            depth = rng.choice((10, 30, 1000, 20000))
            return rng.choice(("{a" * depth, "{group(fullPath:\"team\")" * depth + "{id}" + "}" * depth, "{users(ids:" + "[" * depth, "query($a:" + "[" * depth + "Int" + "]" * depth + "){id}"))
        if how == 1:
            n = rng.choice((10, 500, 3000))
            return rng.choice(("{" + "a:__typename " * n + "}", "{" + "".join(f"a{i}:group(fullPath:\"team\"){{id name}} " for i in range(n)) + "}",
                               "{...f0}" + "".join(f"fragment f{i} on Query{{...f{i + 1} ...f{i + 1}}}" for i in range(n)) + f"fragment f{n} on Query{{__typename}}",
                               "{...a}fragment a on Query{...b}fragment b on Query{...a}", "query(" + "$a:Int " * n + "){__typename}", "{__type(name:\"" + "Q" * n + "\"){name}}"))
        text = list(text[:rng.choice((10 ** 6, 10 ** 6, 200))])
        for _ in range(rng.randrange(0, 7)):
            at = rng.randrange(len(text) + 1)
            text[at:at + rng.randrange(4)] = rng.choice(self.PIECES)
        if rng.random() < 0.1:
            a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
            text[a:b] = text[a:b] * rng.randrange(2, 5)
        return "".join(text)

    def graphql(self, number, count):
        rng = random.Random(f"{self.seed} graphql {number}")
        docs = [direct.GROUP, direct.MEMBERS, direct.USERS, direct.GHOST, direct.PROJECTS,
                open(os.path.join(gstest.TOP, "tests/fuzz/corpus/gql/introspection")).read()[1:]]
        serve = self.serves[number % 2]
        c = serve.client(60)
        names = ("full_path", "ids", "cursor", "after", "per_page", "x", "")
        for _ in range(count):
            variables = rng.choice(({}, None, {"full_path": "team"}, [], "x", {rng.choice(names): rng.choice(self.VALUES) for _ in range(rng.randrange(5))}))
            body = json.dumps({"query": rng.choice((self.document(rng, docs),) * 15 + (None, 3, ["x"])), "variables": variables,
                               **({"operationName": rng.choice(("IntrospectionQuery", "x", "", None, 3))} if rng.random() < 0.3 else {})}).encode()
            whole = rng.random() < 0.85
            if not whole:
                body = body[:rng.randrange(len(body))] + rng.randbytes(4)
            want = {200} if whole and b"\\ud800" not in body else {200, 400}  # half a character is no text; four bytes of noise may be JSON
            if len(body) > 128 << 10:
                want = {413}
            try:
                c.request("POST", "/api/graphql", body, {"PRIVATE-TOKEN": serve.token, "Content-Type": rng.choice(("application/json", "text/plain", ""))})
                r = c.getresponse()
                data = r.read()
            except (OSError, Exception) as e:  # noqa: B014
                self.bad(f"graphql: {e!r}", body)
                c.close()
                continue
            with self.lock:
                self.sent["graphql"] += 1
                self.seen[r.status] += 1
            try:
                answer = json.loads(data)
                json.loads(body)
            except ValueError:
                answer, want = None, want - {200} if whole is False else want
            if any(f in data for f in self.foreign):
                self.bad("graphql: THE ANSWER HOLDS WHAT IT SHOULD NOT", body)
            if r.status not in want:
                self.bad(f"graphql: status {r.status}, not one of {sorted(want)}", body)
            elif r.status == 200 and set(answer or ()) not in ({"data"}, {"errors"}, {"data", "errors"}):
                self.bad(f"graphql: {data[:80]!r}", body)
        c.close()

    # ---- beside them

    def honest(self, stop, out):
        """Those who ask for what there is, in pieces of any size; how long the slowest waited."""
        rng = random.Random(f"{self.seed} honest")
        while not stop.is_set():
            for s in self.serves:
                began = time.monotonic()
                try:
                    if rng.random() < 0.5:
                        good = s.get("/api/v4/groups/10/badges?per_page=2", timeout=60)[0] == 200
                    else:
                        data = Maker(rng, s.token, self.files).request(b"/api/v4/version", more=b"".join(b"X-%d: %s\r\n" % (i, b"v" * rng.randrange(200)) for i in range(rng.randrange(40))))
                        good, step = False, rng.choice((1, 3, 50, 1000))
                        with s.socket(60) as c:
                            for at in range(0, len(data), step):
                                c.sendall(data[at:at + step])
                            reply = b""
                            while more := c.recv(65536):
                                reply += more
                            good = reply.startswith(b"HTTP/1.1 200")
                except OSError as e:
                    good = False
                    self.bad(f"an honest client: {e!r}", b"")
                out.append((time.monotonic() - began, good))
            stop.wait(0.1)

    def loris(self, stop, out):
        """Requests that come a byte at a time, without an end. They are closed when their time is over, and come again."""
        rng = random.Random(f"{self.seed} loris")
        conns = []
        while not stop.is_set():
            while len(conns) < 40:
                try:
                    s = self.serves[len(conns) % 2].socket(5, tls=rng.random() < 0.5)
                    s.sendall(rng.choice((b"GET /api/v4/version HTTP/1.1\r\nHost: x\r\nX-A: ", b"", b"\x16\x03\x01\x02\x00", b"POST /api/graphql HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n",
                                          b"POST /api/graphql HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n")))
                    s.setblocking(False)
                    conns.append((s, time.monotonic()))
                except OSError:
                    break
            for s, since in conns[:]:
                over = False
                try:
                    s.send(b"a")
                    over = s.recv(1000) == b""
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
                except OSError:
                    over = True
                if over:
                    out.append(time.monotonic() - since)
                    conns.remove((s, since))
                    s.close()
            stop.wait(0.2)
        for s, _ in conns:
            s.close()

    def crowd(self):
        """More slow ones than there is room for: they do not keep an honest client out."""
        for s in self.serves:
            slow = []
            for _ in range(120):
                c = s.socket(5, tls=False)
                slow.append(c)
                try:
                    c.sendall(b"GET /api/v4/version HTTP/1.1\r\nX: " if s.name == "plain" else b"\x16\x03\x01")
                except OSError:
                    pass
                time.sleep(0.002)
            began = time.monotonic()
            try:
                status = s.get("/api/v4/version", timeout=30)[0]
            except OSError as e:
                status = repr(e)
            took = time.monotonic() - began
            self.t.ok(status == 200 and took < SLOW_S / 2 * (3 if SANITIZED else 1),
                      f"{s.name}: 120 slow connections where there is room for 64, and an honest client is answered at once ({took:.2f} s)", status)
            for c in slow:
                c.close()

    # ---- all of it

    def run(self):
        t, began = self.t, time.monotonic()
        stop, waits, closed = threading.Event(), [], []
        threads = [threading.Thread(target=self.honest, args=(stop, waits)), threading.Thread(target=self.loris, args=(stop, closed))]
        share = self.n // 4
        work = [threading.Thread(target=self.wire, args=(i, (self.n - share) // 4 + 1)) for i in range(4)]
        if not self.only:
            work += [threading.Thread(target=self.graphql, args=(i, share // 2 + 1)) for i in range(2)]
        for x in threads + work:
            x.start()
        for x in work:
            x.join()
        while time.monotonic() - began < 2 * SLOW_S + 2:  # so that slow ones are closed
            time.sleep(0.1)
        stop.set()
        for x in threads:
            x.join()
        n = sum(self.sent.values())
        print("# sent:", ", ".join(f"{v} {k}" for k, v in sorted(self.sent.items())))
        print("# came back:", ", ".join(f"{v} x {k}" for k, v in sorted(self.seen.items(), key=str)))
        t.is_eq(self.wrong[:10], [], f"{n} hostile requests in {time.monotonic() - began:.0f} s: honest statuses, and nothing of other files", f"{len(self.wrong)} in all")
        if not self.only:
            t.ok(n >= self.n and len(self.sent) == 15 and all(v >= self.n // 200 for v in self.sent.values()), "of every kind", self.sent)
            t.ok({400, 401, 404, 405, 413, 200} <= set(self.seen) and self.seen.keys() & {414, 431}, "with every refusal that there is", self.seen)
        t.ok([s.p.poll() for s in self.serves] == [None, None], "both servers live", *(s.said()[-2000:] for s in self.serves))
        t.ok(len(waits) > 10 and all(good for _, good in waits), f"{len(waits)} honest requests meanwhile were answered, the slowest after {max(w for w, _ in waits):.1f} s")
        slowest = max(closed, default=99)
        t.ok(len(closed) >= 40 and slowest < (SLOW_S + 4) * (3 if SANITIZED else 1), f"{len(closed)} connections that bring a byte at a time were closed, the slowest after {slowest:.1f} s")
        self.crowd()
        for s in self.serves:
            c = s.client(30)
            c.request("GET", "/api/v4/groups/10/export_relations/download?relation=labels", headers={"PRIVATE-TOKEN": s.token})
            r = c.getresponse()
            data = r.read()
            t.ok(r.status == 200 and zlib.decompress(data, 31).count(b"\n") == 3000, f"{s.name}: it gives what it gave before")
            c.close()
            hidden = "".join(f"%{ord(x):02x}" for x in s.token)
            t.is_eq([s.get(x)[0] for x in ("/" + s.token, "/api/v4/version;private_token=" + s.token, "/" + hidden)], [404] * 3, f"{s.name}: the token in a path: 404")
            mib = s.rss_mib()
            if SANITIZED:
                t.skip(f"{s.name}: memory", "under AddressSanitizer")
            else:
                t.ok(mib < 64, f"{s.name}: it took {mib:.1f} MiB at most")
            t.is_eq(s.stop(), 3, f"{s.name}: SIGTERM ends it as always", s.said()[-2000:])
            said = s.said()
            t.ok(not re.search(r"Sanitizer|runtime error", said), f"{s.name}: no finding of a sanitizer", said[-3000:])
            end = s.events("end")
            t.ok(end and end[0]["failed"] == 0 and end[0]["unknown"] > 0 and end[0]["refused"] > 0, f"{s.name}: it counted them, and none as a failure", end)
            t.ok(not any(x in said for x in (s.token, s.token[:20], hidden[:60], self.secret)), f"{s.name}: the token is nowhere in what it said")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--requests", type=int, default=1500)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", help="one kind of requests")
    a = p.parse_args()
    t = gstest.Tap()
    print(f"# seed {a.seed}: tests/e2e/test_serve_hostile.py --requests {a.requests} --seed {a.seed}")
    with gstest.scratch() as d:
        key = gstest.keygen(d)
        os.makedirs(os.path.join(d, "bundles"))
        gstest.bundle(d, key, TREE, "b")
        os.rename(os.path.join(d, "b.gsnap"), os.path.join(d, "bundles/b.gsnap"))
        certificate(d)
        Campaign(t, d, key, a.requests, a.seed, a.only).run()
    t.done()


if __name__ == "__main__":
    main()
