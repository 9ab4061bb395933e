#!/usr/bin/python3
"""Scripted faults, latency, restart after SIGKILL, TLS."""
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim.testing import SIM_DIR, Sim, Tap, eq  # noqa: E402

DEMO = os.path.join(SIM_DIR, "demo_tree.json")
test = Tap()
sim = Sim("--seed", DEMO)
L = "/groups/43/labels"
count = [0]


def rule(do, times=1, **match):
    sim.control("POST", "reset_faults")
    match.setdefault("method", "POST")
    match.setdefault("path", "/labels$")
    sim.control("POST", "faults", [{"match": match, "times": times, "do": do}])


def fresh():
    count[0] += 1
    return {"name": "fault label %d" % count[0], "color": "red"}


def exists(label):
    return any(x["title"] == label["name"] for x in sim.dump()["labels"])


def last():
    return sim.log()[-1]


@test
def status():
    """status: the work is not done, headers and body as told"""
    rule({"status": 503, "headers": {"Retry-After": 7}, "body": {"message": "down"}})
    x = fresh()
    s, h, b = sim.raw("POST", "/api/v4" + L, x)
    eq((s, h["Retry-After"], json.loads(b)), (503, "7", {"message": "down"}))
    assert h["X-Request-Id"]
    eq(exists(x), False)
    eq((last()["fault"], last()["status"], last()["body"]), ("status", 503, x))
    eq(sim.post(L, x)[0], 201)


@test
def after_status():
    """after_status: the work is done and an error answered"""
    rule({"after_status": 502, "body": "<html>Bad Gateway</html>"})
    x = fresh()
    eq(sim.post(L, x), (502, "<html>Bad Gateway</html>"))
    eq((exists(x), last()["status"]), (True, 502))


def closes(x):
    try:
        sim.post(L, x)
    except (http.client.RemoteDisconnected, ConnectionResetError, urllib.error.URLError) as e:
        return getattr(e, "reason", e)
    raise AssertionError("an answer came")


@test
def lose_answer():
    """lose_answer: the work is done, the connection closes without a byte"""
    rule({"lose_answer": True})
    x = fresh()
    e = closes(x)
    assert isinstance(e, http.client.RemoteDisconnected), repr(e)
    eq((exists(x), last()["fault"], last()["status"]), (True, "lose_answer", 201))


@test
def reset():
    """reset: RST, the work is not done"""
    rule({"reset": True})
    x = fresh()
    s = socket.create_connection(("127.0.0.1", sim.port))
    body = json.dumps(x).encode()
    s.sendall(b"POST /api/v4" + L.encode() + b" HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: " + sim.tokens["owner"].encode()
              + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    try:
        got = s.recv(100)
        raise AssertionError("no reset but %r" % got)
    except ConnectionResetError:
        pass
    s.close()
    eq((exists(x), last()["fault"]), (False, "reset"))


@test
def reset_after():
    """reset_after: the work is done, RST"""
    rule({"reset_after": True})
    x = fresh()
    e = closes(x)
    assert isinstance(e, ConnectionResetError) and not isinstance(e, http.client.RemoteDisconnected), repr(e)
    eq((exists(x), last()["fault"], last()["status"], last()["bytes_out"]), (True, "reset_after", 201, 0))


@test
def drop_sudo():
    """drop_sudo: done in the name of the token's user"""
    def who():
        return sim.call("GET", "/user", token="admin", headers={"Sudo": "aiko.tanaka"})[1]["username"]
    rule({"drop_sudo": True}, method="GET", path="/user$")
    eq((who(), who()), ("root", "aiko.tanaka"))


@test
def backup():
    """snapshot and restore: records, numbers and settings are those of that moment"""
    sim.control("POST", "reset_faults")
    before = sim.control("GET", "dump")
    sim.control("POST", "snapshot", {"name": "one"})
    first = sim.post(L, fresh())[1]
    sim.control("POST", "config", {"tier": "free"})
    sim.control("POST", "restore", {"name": "one"})
    eq(sim.control("GET", "dump"), before)
    eq(sim.control("GET", "config")["tier"], "premium")
    eq(sim.post(L, fresh())[1]["id"], first["id"])
    sim.control("POST", "restore", {"name": "one"})
    try:
        sim.control("POST", "restore", {"name": "two"})
    except RuntimeError as e:
        assert "no such snapshot" in str(e), e
    else:
        raise AssertionError("a snapshot that was never made was restored")


@test
def cut_after():
    """cut_after: full length announced, N bytes sent"""
    rule({"cut_after": 25}, method="GET")
    try:
        sim.raw("GET", "/api/v4" + L)
        raise AssertionError("the whole answer came")
    except http.client.IncompleteRead as e:
        eq(len(e.partial), 25)
        assert e.expected > 100
    eq(last()["bytes_out"], 25)


@test
def wrong_length():
    """wrong_length: more bytes announced than sent"""
    rule({"wrong_length": True}, method="GET")
    try:
        sim.raw("GET", "/api/v4" + L)
        raise AssertionError("the whole answer came")
    except http.client.IncompleteRead as e:
        eq(e.expected, 17)
        json.loads(e.partial)


@test
def stall():
    """stall_ms: headers, silence, close"""
    rule({"stall_ms": 300}, method="GET")
    t = time.monotonic()
    try:
        sim.raw("GET", "/api/v4" + L)
        raise AssertionError("the whole answer came")
    except http.client.IncompleteRead as e:
        eq(len(e.partial), 0)
    assert 0.28 < time.monotonic() - t < 2


@test
def delay():
    """delay_ms: slow, but right"""
    rule({"delay_ms": 250}, method="GET")
    t = time.monotonic()
    eq(sim.get(L)[0], 200)
    assert 0.24 < time.monotonic() - t < 2
    t = time.monotonic()
    sim.get(L)
    assert time.monotonic() - t < 0.2, "times is 1 by default"


@test
def twice():
    """twice: done twice, the second answer given"""
    rule({"twice": True}, path="/badges$")
    before = len(sim.dump()["badges"])
    s, b = sim.post("/groups/43/badges", {"link_url": "http://a/b", "image_url": "http://a/b"})
    after = sim.dump()["badges"]
    eq((s, len(after) - before, b["id"]), (201, 2, after[-1]["id"]))
    rule({"twice": True})
    eq(sim.post(L, fresh())[0], 409)


@test
def stale():
    """stale_ms: reads of the collection lag behind a write, by path and by number, other reads do not"""
    rule({"stale_ms": 400})
    x = fresh()
    s, b = sim.post(L, x)
    eq(s, 201)
    path = "/groups/halden-instruments%2Fquality-assurance/labels"
    for where in (L, path):
        eq(x["name"] in [y["name"] for y in sim.get(where + "?per_page=100")[1]], False)
    eq(sim.get(L + "/%d" % b["id"])[0], 404)
    eq(sim.gql('{group(fullPath:"halden-instruments/quality-assurance"){label(title:"%s"){id}}}' % x["name"])[1]
       ["data"]["group"]["label"], None)
    eq(sim.get("/groups/43/milestones")[0], 200)
    y = fresh()
    eq(sim.post(L, y)[0], 201)
    time.sleep(0.5)
    names = [z["name"] for z in sim.get(L + "?per_page=100")[1]]
    eq((x["name"] in names, y["name"] in names), (True, True))


@test
def stale_beside():
    """stale_ms beside another action: the answer is lost, and the first look does not show the record; methods may be a list"""
    rule({"lose_answer": True, "stale_ms": 300}, method=["PUT", "POST"], times=0)
    x = fresh()
    closes(x)
    eq(x["name"] in [y["name"] for y in sim.get(L + "?per_page=100")[1]], False)
    eq(exists(x), True)
    sim.control("POST", "reset_faults")
    eq(x["name"] in [y["name"] for y in sim.get(L + "?per_page=100")[1]], True)


@test
def html():
    """html: 200 and a page instead of JSON"""
    rule({"html": True}, method="GET")
    s, h, b = sim.raw("GET", "/api/v4" + L)
    eq((s, h["Content-Type"].split(";")[0]), (200, "text/html"))
    assert b.startswith(b"<!DOCTYPE")


@test
def matching():
    """match: n, nth, every, probability, body, user, unlimited times, JSON lines, loud on mistakes"""
    n = len(sim.log())
    rule({"status": 500}, method="GET", path=".", n=n + 2)
    eq([sim.get("/version")[0] for _ in range(3)], [200, 500, 200])
    rule({"status": 500}, method="GET", path="/version$", nth=3)
    eq([sim.get(p)[0] for p in ("/version", "/user", "/version", "/version", "/version")], [200, 200, 200, 500, 200])
    rule({"status": 500}, times=0, method="GET", path="/version$", every=2)
    eq([sim.get("/version")[0] for _ in range(4)], [200, 500, 200, 500])
    seen = []
    for _ in range(2):
        rule({"status": 500}, times=0, method="GET", path="/version$", probability=0.5, seed=7)
        seen.append([sim.get("/version")[0] for _ in range(20)])
    eq(seen[0], seen[1])
    assert 3 < seen[0].count(500) < 17, seen[0]
    rule({"status": 500}, times=0, path="graphql", body="labelCreate")
    eq(sim.gql("{currentUser{id}}")[0], 200)
    eq(sim.raw("POST", "/api/graphql", {"query": "mutation{labelCreate(input:{title:\"z\"}){errors}}"})[0], 500)
    rule({"status": 500}, times=0, method="GET", path=".", user="root")
    eq((sim.get("/version")[0], sim.get("/version", token="admin")[0]), (200, 500))
    sim.control("POST", "reset_faults")
    sim.control("POST", "faults", b'{"match":{"path":"/version"},"do":{"status":500}}\n{"match":{"path":"/user"},"do":{"status":501}}\n')
    eq((sim.get("/version")[0], sim.get("/user")[0]), (500, 501))
    for bad in ({"do": {"sttaus": 1}}, {"match": {"pth": "x"}, "do": {"status": 1}}, {"do": {"status": 1, "reset": True}}):
        eq(sim.raw("POST", "/_sim/faults", [bad], token=None)[0], 400)
    sim.control("POST", "reset_faults")


@test
def overlap():
    """latency: 64 requests in flight at 50 ms each take little longer than one"""
    sim.control("POST", "config", {"latency_ms": 50})
    times = []

    def go():
        t0 = time.monotonic()
        assert sim.get("/version", timeout=30)[0] == 200
        times.append(time.monotonic() - t0)
    threads = [threading.Thread(target=go) for _ in range(64)]
    t = time.monotonic()
    [x.start() for x in threads]
    [x.join() for x in threads]
    took = time.monotonic() - t
    sim.control("POST", "config", {"latency_ms": 0})
    eq(len(times), 64)
    assert min(times) >= 0.05, min(times)
    assert took < 64 * 0.05 / 3, "took %.2f s" % took


@test
def restart():
    """SIGKILL in the middle of writes: everything that was answered is still there, same port, same tokens"""
    done, stop = [], threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            i += 1
            try:
                s, b = sim.post("/groups/43/milestones", {"title": "crash %d %d" % (threading.get_ident(), i)})
                if s == 201:
                    done.append(b)
            except (OSError, http.client.HTTPException):
                return
    threads = [threading.Thread(target=write) for _ in range(4)]
    [t.start() for t in threads]
    time.sleep(0.6)
    port, tokens = sim.port, dict(sim.tokens)
    sim.kill()
    stop.set()
    [t.join() for t in threads]
    sim.start(port)
    eq((sim.port, sim.tokens), (port, tokens))
    assert len(done) > 20, len(done)
    have = {m["id"]: m for m in sim.dump()["milestones"]}
    for m in done:
        eq((have[m["id"]]["title"], have[m["id"]]["iid"]), (m["title"], m["iid"]))
    iids = [m["iid"] for m in have.values() if m["group_id"] == 43]
    eq(len(iids), len(set(iids)))
    s, b = sim.post("/groups/43/milestones", {"title": "after the crash"})
    assert b["iid"] > max(iids), (b["iid"], max(iids))


@test
def canonical():
    """the same seed gives the same dump twice, and no token is in it"""
    a, b = Sim("--seed", DEMO), Sim("--seed", DEMO)
    x, y = a.control("GET", "dump"), b.control("GET", "dump")
    eq((a.stop(), b.stop()), (0, 0))
    strip = [json.loads(z) for z in (x, y)]
    eq(strip[0]["groups"], strip[1]["groups"])
    eq(strip[0]["labels"], strip[1]["labels"])
    eq(x, json.dumps(json.loads(x), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())
    assert b"glpat" not in x and b"GR1348941" not in x


@test
def seeds():
    """a seed with an unknown key, user or colour is refused; keys of later kinds are kept"""
    for tree in ({"grops": []}, {"groups": [{"path": "aa", "lables": []}]},
                 {"groups": [{"path": "aa", "members": [{"user": "nobody", "access_level": 50}]}]},
                 {"groups": [{"path": "aa", "labels": [{"title": "x", "color": "rad"}]}]}):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump(tree, f)
            f.flush()
            try:
                s = Sim("--seed", f.name)
            except RuntimeError:
                continue
            s.stop()
            raise AssertionError("accepted %r" % tree)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"groups": [{"path": "aa", "wiki_pages": [{"slug": "home"}]}]}, f)
        f.flush()
        s = Sim("--seed", f.name)
        kept = s.dump()["seed_extra"]
        s.stop()
        eq([(x["key"], x["value"]) for x in kept], [("wiki_pages", [{"slug": "home"}])])


@test
def tls():
    """TLS with a certificate of one's own"""
    folder = tempfile.mkdtemp(prefix="glsim.")
    cert, key = os.path.join(folder, "c.pem"), os.path.join(folder, "k.pem")
    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return "openssl is not installed"
    import ssl
    import urllib.request
    s = Sim("--empty", "--tls-cert", cert, "--tls-key", key)
    try:
        r = urllib.request.Request(s.url + "/api/v4/version", headers={"PRIVATE-TOKEN": s.tokens["owner"]})
        with urllib.request.urlopen(r, context=ssl.create_default_context(cafile=cert), timeout=10) as a:
            eq(a.status, 200)
        assert s.url.startswith("https://")
    finally:
        s.stop()


code = test.run()
if sim.stop() != 0:
    print("# the simulator did not exit cleanly")
    code = 1
sys.exit(code)
