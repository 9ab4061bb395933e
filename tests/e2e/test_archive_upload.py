#!/usr/bin/python3
"""`replay archive --upload`: the export file goes to the target's file import, which is followed and reconciled. What is refused, lost on the way or
stopped leaves nothing behind, is never sent twice for nothing, and takes no memory."""
import base64
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TREE = json.load(open(os.path.join(gstest.TOP, "tests/sim/planning_tree.json")))
ROOT = TREE["groups"][0]["path"]
SUB = TREE["groups"][0]["subgroups"][0]["path"]
ASAN = "asan" in gstest.BUILD


class Slow:
    """A server with no groups, which reads what is posted at its own pace and then answers so."""

    def __init__(self, pause_s=0.0, status=413, body=b"<html><head><title>413 Request Entity Too Large</title></head></html>"):
        slow = self
        self.posts, self.got, self.whole, self.first = 0, 0, 0, b""

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def say(self, status, body, kind):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.say(404, b'{"message":"404 Group Not Found"}', "application/json")

            def do_POST(self):
                slow.posts += 1
                left = int(self.headers["Content-Length"])
                while left > 0:
                    data = self.rfile.read(min(left, 1 << 18))
                    if not data:
                        return
                    slow.first = slow.first or data[:2000]
                    slow.got += len(data)
                    left -= len(data)
                    if pause_s:
                        time.sleep(pause_s)
                slow.whole += 1
                time.sleep(0.3)
                self.say(status, body, "text/html")

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def posts(sim):
    return [x for x in sim.requests() if x["path"] == "/api/v4/groups/import"]


def events(r, name=None):
    return [x for x in r.lines() if x.get("schema") == "groupsnap.archive/1" and (name is None or x.get("event") == name)]


def summary(r):
    return next((x for x in r.lines() if x.get("schema") == "groupsnap.reconcile/1"), {})


def findings(r, as_):
    return [x for x in r.lines() if x.get("schema") == "groupsnap.reconcile-finding/1" and x["counts_as"] == as_]


def error(r):
    return r.lines()[-1]["error"]["code"] if r.out.strip() and "error" in r.lines()[-1] else None


with gstest.scratch() as d:
    key = gstest.keygen(d)
    tmp = os.path.join(d, "tmp")
    os.mkdir(tmp)
    with open(os.path.join(d, "users.json"), "w") as f:
        json.dump({"users": TREE["users"]}, f)
    with gstest.Sim(d, "source", "--seed", os.path.join(gstest.TOP, "tests/sim/planning_tree.json"), "--tier", "ultimate", "--version", "18.5.0-ee") as source:
        r = gstest.snap("create", "--url", source.url, ROOT, "-o", "b.gsnap", "--key", key, token=source.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "the tree is captured", str(r))

    def upload(url, token, *args, bundle="b.gsnap", settle=1):
        env = gstest.environment(token, TMPDIR=tmp)
        return gstest.run(gstest.REPLAY, "archive", bundle, "--trust", key + ".pub", "--upload", "--url", url, "--settle", settle, *args, cwd=d, env=env, timeout=120)

    def target(name, **config):
        return gstest.Sim(d, name, "--empty", "--users", os.path.join(d, "users.json"), "--tier", "ultimate", "--version", "18.5.0-ee", "--config", json.dumps(config))

    # ---- the whole way ----
    with target("whole", import_queue_ms=300, import_group_ms=100) as sim:
        token = sim.tokens["owner"]
        r = upload(sim.url, token, "--json")
        names = [x["event"] for x in events(r)]
        t.is_eq(r.code, 0, "uploaded, imported and balanced", str(r), *findings(r, "fault"))
        t.ok(names[:2] == ["file", "upload"] and names.count("import") > 3 and names[-1] == "complete", "what happens is told as it happens", names)
        last = events(r, "complete")[0]
        t.is_eq((last["groups_arrived"], last["url"]), (last["groups_expected"], f"{sim.url}/groups/{ROOT}"), "all groups, and where they are")
        t.is_eq(events(r, "file")[0]["file"], None, "no file is kept")
        t.is_eq((summary(r).get("balance"), summary(r).get("importer"), summary(r).get("state_used")), (0, "file", False), "the books balance, without a state file")
        rules = {x["rule"] for x in findings(r, "lost")}
        t.ok(rules <= {"importer-person", "importer-parent", "importer-member-no-user", "importer-order", "importer-board-labels", "importer-cadence",
                       "importer-files"} and "importer-person" in rules, "what is not there is named by rules of the file import, and by no other", rules)
        t.is_eq([x["key"] for x in findings(r, "beside")], ["sim-owner"] * last["groups_arrived"], "who imports is Owner everywhere, which is no fault")
        t.lacks(r.out + r.err, token, "the token is not shown")
        p = posts(sim)
        t.ok(len(p) == 1 and p[0]["body"]["path"] == ROOT and p[0]["body"]["name"] == TREE["groups"][0]["name"] and "parent_id" not in p[0]["body"] and
             p[0]["body"]["file"]["size"] > 10000, "one request, with name, path and file", p)
        t.is_eq(os.listdir(tmp), [], "nothing is left in TMPDIR")

        # ---- taken ----
        r = upload(sim.url, token, "--json")
        t.is_eq((r.code, error(r), len(posts(sim))), (30, "target-taken", 1), "a path that is taken is refused before anything is sent", str(r)[-600:])

        # ---- elsewhere, and a file that is kept ----
        sim.call("/api/v4/groups", {"name": "Kept", "path": "kept"}, token)
        sim.call("/api/v4/groups", {"name": "Deep", "path": "deep", "parent_id": sim.call("/api/v4/groups/kept", token=token)["id"]}, token)
        sim.call("/_sim/config", {"import_queue_ms": 0, "import_group_ms": 0})
        r = upload(sim.url, token, "--into", "kept/deep", "--rename", f"{ROOT}=other:Other name", "-o", "kept.tar.gz")
        g = sim.call("/api/v4/groups/kept%2Fdeep%2Fother", token=token)
        t.ok(r.code == 0 and g["name"] == "Other name", "below another group, under another path and name", str(r)[-2500:])
        t.has(r.out, f"group       {sim.url}/groups/kept/deep/other\n", "the link is shown")
        t.has(r.out, "balance 0: every record", "and the books")
        t.ok(os.path.getsize(os.path.join(d, "kept.tar.gz")) == posts(sim)[-1]["body"]["file"]["size"], "the file is there as well, and is what was sent")
        r = upload(sim.url, token, "--into", "kept", "-o", "kept.tar.gz", "--json")
        t.is_eq((r.code, len(posts(sim))), (2, 2), "a file that exists is not overwritten, and nothing is sent", str(r)[-400:])

        # ---- wrong use, and missing rights ----
        for args, what in ((("--rename", f"{ROOT}/{SUB}=x1"), "another group than the topmost"), (("--rename", "x"), "no OLD=NEW"),
                           (("--rename", f"{ROOT}=a1", "--rename", f"{ROOT}=a2"), "two renames")):
            t.is_eq(upload(sim.url, token, *args).code, 2, "--rename: " + what)
        for args in (("-o", "x.tar.gz", "--into", "kept"), ("-o", "x.tar.gz", "--no-reconcile"), ("-o", "x.tar.gz", "--url", sim.url), (), ("--upload",)):
            r = gstest.replay("archive", "b.gsnap", "--trust", key + ".pub", *args, cwd=d, token=token)
            t.is_eq(r.code, 2, f"wrong use: {' '.join(args[-2:]) or 'nothing'}", str(r)[-300:])
        r = upload("http://10.255.255.1", token, "--json")
        t.is_eq((r.code, error(r)), (2, "http-plain"), "plain HTTP to another machine", str(r)[-300:])
        r = upload(sim.url, token, "--into", "nowhere", "--json")
        t.is_eq((r.code, error(r)), (10, "group-not-found"), "a parent that is not there", str(r)[-400:])
        r = upload(sim.url, sim.tokens["reader"], "--into", "kept", "--rename", f"{ROOT}=mine", "--json")
        t.is_eq((r.code, error(r)), (10, "group-not-found"), "a parent that the token does not see", str(r)[-400:])
        sim.call(f"/api/v4/groups/kept/members", {"user_id": next(u["id"] for u in sim.dump()["users"] if u["username"] == "sim-maintainer"), "access_level": 30}, token)
        r = upload(sim.url, sim.tokens["maintainer"], "--into", "kept", "--rename", f"{ROOT}=mine", "--json")
        t.ok((r.code, error(r)) == (12, "forbidden") and "403 Forbidden" in r.out, "a parent where the token may not make groups, with the server's words", str(r)[-400:])
        r = gstest.run(gstest.REPLAY, "archive", "b.gsnap", "--trust", key + ".pub", "--upload", "--url", sim.url, "--rename", f"{ROOT}=mine", cwd=d,
                       env=gstest.environment(token, TMPDIR=os.path.join(d, "not-there")))
        t.ok(r.code == 1 and f"making a temporary file in '{d}/not-there'" in r.err and "[io]" in r.err, "a TMPDIR that is not there", str(r)[-400:])
        r = upload(sim.url, "glpat-wrong-0000000000000", "--json")
        t.is_eq((r.code, error(r)), (12, "token-refused"), "a token that the target refuses", str(r)[-400:])
        t.is_eq(upload(sim.url, None).code, 12, "no token")
        r = upload(sim.url, token, "--rename", f"{ROOT}=admin", "--json")
        t.ok((r.code, error(r)) == (1, "import-refused") and "is a reserved name" in r.out, "a path that GitLab does not take, with its words", str(r)[-400:])
        sim.call("/_sim/config", {"import_max_bytes": 1000})
        n = len(posts(sim))
        r = upload(sim.url, token, "--rename", f"{ROOT}=large", "--json")
        t.is_eq((r.code, error(r), len(posts(sim)) - n), (1, "import-too-large", 1), "a file that is too large for the target: sent once", str(r)[-600:])
        t.has(r.out, "413 Request Entity Too Large", "with the server's words")
        sim.call("/_sim/config", {"import_max_bytes": None})
        sim.faults({"match": {"method": "POST", "path": "/groups/import$"}, "do": {"status": 429, "headers": {"Retry-After": "1"}, "body": "Retry later\n"}})
        r = upload(sim.url, token, "--rename", f"{ROOT}=later", "--no-reconcile", "--json")
        t.ok(r.code == 0 and [x["event"] for x in events(r)][-1] == "complete" and not summary(r), "429: waited for; --no-reconcile ends without the books", str(r)[-600:])
        t.is_eq(os.listdir(tmp), [], "of all that nothing is left in TMPDIR")
        t.is_eq([x for x in os.listdir(d) if "reconcile" in x], [], "nor beside the bundle")

    # ---- answers that do not come ----
    for fault, sends in (({"lose_answer": True}, 1), ({"reset_after": True}, 1), ({"after_status": 502, "body": "bad gateway"}, 1), ({"reset": True}, 2)):
        with target("lost" + "".join(fault) + str(fault.get("status", ""))) as sim:
            what = "/".join(f"{k}" for k in fault)
            sim.faults({"match": {"method": "POST", "path": "/groups/import$"}, "do": fault})
            r = upload(sim.url, sim.tokens["owner"], "--no-reconcile")
            t.is_eq((r.code, len(posts(sim))), (0, sends), f"{what}: the group is looked for, and the file sent {'once' if sends == 1 else 'again'}", str(r)[-700:])
            t.has(r.err, "it was taken" if sends == 1 else "sending it again", f"{what}: and that is said")
            t.is_eq(len([g for g in sim.dump()["groups"] if g["path"] == ROOT]), 1, f"{what}: one group")
    with target("never") as sim:
        sim.faults({"match": {"method": "POST", "path": "/groups/import$"}, "times": 0, "do": {"reset": True}})
        r = upload(sim.url, sim.tokens["owner"], "--json")
        t.is_eq((r.code, error(r), len(posts(sim))), (75, "import-unknown", 3), "an answer that never comes: three times, and then it is not known", str(r)[-600:])
        # taken by what was sent before, which showed late
        sim.reset_faults()
        sim.faults({"match": {"method": "POST", "path": "/groups/import$"}, "do": {"lose_answer": True, "stale_ms": 0}},
                   {"match": {"method": "GET", "path": f"/groups/{ROOT}$", "nth": 2}, "times": 1, "do": {"status": 404, "body": {"message": "404 Group Not Found"}}},
                   *[{"match": {"method": "GET", "path": f"/groups/{ROOT}$", "nth": n}, "do": {"status": 404, "body": {"message": "404 Group Not Found"}}} for n in (3, 4, 5)])
        n = len(posts(sim))
        r = upload(sim.url, sim.tokens["owner"], "--no-reconcile")
        t.ok(r.code == 0 and [x["status"] for x in posts(sim)[n:]] == [202, 400], "sent again since nothing showed, and the path is taken by the first: it is ours", str(r)[-700:],
             [x["status"] for x in posts(sim)[n:]])

    # ---- an import that fails, or takes its time ----
    with target("faulty", import_faults=["epics"]) as sim:
        r = upload(sim.url, sim.tokens["owner"], "--json")
        missing = {x["relation"] for x in findings(r, "fault") + findings(r, "unread")}  # of no epic at all nobody can say whether they are shown
        t.ok(r.code == 3 and missing == {"epics"}, "records that GitLab dropped in silence are named", str(r)[-300:], missing)
        row = next(x for x in summary(r)["relations"] if x["relation"] == "epics")
        t.ok(summary(r)["exit"] == 3 and row["missing"] + row["unread"] == row["captured"] > 100 and summary(r)["balance"] == row["captured"], "and counted", row)
        t.is_eq([x["event"] for x in events(r)][-1], "quiet", "after nothing more came")
    with target("slow", import_queue_ms=600000) as sim:
        r = upload(sim.url, sim.tokens["owner"], "--wait", "2", "--json")
        t.ok(r.code == 3 and events(r)[-1]["event"] == "not-yet" and not summary(r) and "reconcile --importer file" in r.err, "--wait ends it, and says how to look later", str(r)[-600:])
    with target("gone", import_queue_ms=600000) as sim:
        killer = threading.Timer(3, lambda: sim.stop(signal.SIGKILL))
        killer.start()
        r = upload(sim.url, sim.tokens["owner"], "--max-wait", "1", "--json")
        killer.join()
        t.ok(r.code in (10, 75) and "the import goes on there" in r.out, "a target that is gone in the middle", str(r)[-600:])

    # ---- a large file ----
    rnd = base64.b64encode(os.urandom(150 << 20)).decode()
    n, size = 2000, len(rnd) // 2000
    gstest.bundle(d, key, {1: {"self": {"id": 1, "parent_id": None, "name": "Big", "path": "big", "visibility_level": 0},
                               "labels": [{"id": i + 1, "title": f"l{i}", "color": "#112233", "group_id": 1, "description": rnd[i * size:(i + 1) * size]} for i in range(n)]}}, "big")
    del rnd

    def big(url, **kw):
        env = gstest.environment("glpat-secret-of-the-target", TMPDIR=tmp)
        return subprocess.Popen([gstest.REPLAY, "archive", "big.gsnap", "--trust", key + ".pub", "--upload", "--url", url, "--level", "1", "--json"], cwd=d, env=env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    s = Slow()
    p = big(s.url)
    mib = 0.0
    while p.poll() is None:  # what wait4() tells holds this program's own memory from before exec
        with open(f"/proc/{p.pid}/status") as f:
            mib = max([mib] + [int(x.split()[1]) / 1024 for x in f if x.startswith("VmHWM")])
        time.sleep(0.02)
    out = p.stdout.read() + p.stderr.read()
    t.ok(p.returncode == 1 and s.whole == 1 and s.got > 110 << 20 and '"import-too-large"' in out, f"{s.got >> 20} MiB are sent, once", out[-500:], s.got, s.posts)
    if ASAN:
        t.skip("memory", "under AddressSanitizer")
    else:
        t.ok(0 < mib < 40, f"with {mib:.0f} MiB of memory at most", mib)
    t.ok(b"secret-of-the-target" not in s.first and "secret-of-the-target" not in out, "the token is in no part of the form, and in no word")
    s.close()
    for sig, code, pause in ((signal.SIGINT, 130, 0.05), (signal.SIGINT, 130, 1000), (signal.SIGKILL, -9, 0.05)):
        s = Slow(pause_s=pause)
        p = big(s.url)
        began = time.monotonic()
        while s.got < (4 << 20 if pause < 1 else 1 << 18) and time.monotonic() - began < 60 and p.poll() is None:
            time.sleep(0.05)
        time.sleep(1 if pause > 1 else 0)  # until nothing is taken any more
        args = open(f"/proc/{p.pid}/cmdline").read() + open(f"/proc/{p.pid}/environ").read() if p.poll() is None else ""
        on_disk = os.listdir(tmp)
        began = time.monotonic()
        p.send_signal(sig)
        p.wait(30)
        out = p.stdout.read() + p.stderr.read()
        took = time.monotonic() - began
        t.is_eq((p.returncode, s.whole), (code, 0), f"{sig.name} in the middle of the upload ends it, and no whole form was sent{' (the server took nothing any more)' if pause > 1 else ''}", out[-400:])
        if sig == signal.SIGINT:
            t.ok(took < 5, f"within {took:.1f} s", took)
            t.has(out, '"stopped"', "and says so")
            t.lacks(args.split("GITLAB_TOKEN")[0], "secret-of-the-target", "the token is not among the arguments")
        t.is_eq((on_disk, os.listdir(tmp)), ([], []), "nothing has a name in TMPDIR, before or after")
        s.close()
t.done()
