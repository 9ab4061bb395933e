#!/usr/bin/python3
"""A capture that is cut off and goes on: the bundle is byte for byte that of an unbroken capture, and nothing that had been received
is asked for again, by the simulator's own request log.

Killed with SIGKILL when request k arrives, for every k of a small tree, then at seeded k of a larger one.
GS_KILLS (24), GS_RECORDS (1500) and GS_SEED change that campaign; every number comes from the seed."""
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

SEED = int(os.environ.get("GS_SEED", "20260101"))
KILLS = int(os.environ.get("GS_KILLS", "24"))
RECORDS = int(os.environ.get("GS_RECORDS", "1500"))
WHEN = "2025-01-01T00:00:00Z"
t = gstest.Tap()
rnd = random.Random(SEED)
print(f"# seed {SEED}")


def tree(d, name, *args):
    path = os.path.join(d, name)
    with open(path, "w", encoding="utf-8") as f:
        subprocess.run([os.path.join(gstest.TOP, "tests/sim/make-tree"), "--seed", "7", *map(str, args)], stdout=f, check=True)
    return path


class Case:
    """One source, and captures of its tree to one file at a time."""

    def __init__(self, d, s, root="bench"):
        self.d, self.s, self.root = d, s, root
        self.reading = None  # requests of an unbroken run until it begins to look at the source once more
        self.group = None    # path of the request for the root by its id, with which that look begins

    def args(self, out, *more):
        return ["create", "--url", self.s.url, "-o", out, "--key", "key", "--via", "api", *more, self.root]

    def create(self, out, *more, token="owner", when=WHEN, **kw):
        return gstest.snap(*self.args(out, *(["--time", when] if when else []), *more), token=self.s.tokens[token], cwd=self.d, **kw)

    def start(self, out, *more):
        return gstest.start(gstest.SNAP, *self.args(out, "--time", WHEN, *more), token=self.s.tokens["owner"], cwd=self.d)

    def restart_log(self):
        self.s.reset_faults()
        self.s.call("/_sim/reset_log", [])

    def killed_at(self, k, out, *more):
        """Kills a capture when its request number k has arrived; False when it ended before. That request is never answered."""
        self.restart_log()
        self.s.faults({"match": {"n": k}, "do": {"stall_ms": 20000}})
        p = self.start(out, *more)
        arrived = False
        while not arrived and p.poll() is None:
            arrived = self.s.call("/_sim/faults")[0]["used"] > 0
            time.sleep(0 if arrived else 0.002)
        p.kill()
        _, err = p.communicate()
        self.s.reset_faults()
        if not arrived and p.returncode:
            raise RuntimeError(err.decode())
        return arrived

    def log(self):
        """The requests in order of arrival, without those that every run makes first: the instance, the user, his role, and which group it is."""
        live = re.compile(f"/(personal_access_tokens/self|metadata|version|user|groups/{self.root}|members/all/[0-9]+)$")
        return [x for x in sorted(self.s.requests(), key=lambda x: x["n"]) if not live.search(x["path"])]

    def look(self, log):
        """Where the second look at the source begins, which is never answered out of what is kept."""
        return next((i for i, x in enumerate(log) if x["path"] == self.group), len(log))

    def asked(self, left=None):
        """What a run asked for of that which is kept, or the first `left` of it. What is only counted is also asked for during the
        second look."""
        log = self.log()
        at = self.look(log)
        counts = [x for x in log[at:] if x["path"].endswith("/invitations") or "epicBoards(first: 1) { nodes { id }" in json.dumps(x.get("body"))]
        return {self.key(x) for x in (log[:at] + counts)[:left]}

    def answered(self, left):
        return {self.key(x) for x in self.log()[:left] if not x.get("fault")}

    @staticmethod
    def key(x):
        return x["method"], x["path"], json.dumps(x.get("query"), sort_keys=True), json.dumps(x.get("body"), sort_keys=True)

    def bytes(self, out):
        with open(os.path.join(self.d, out), "rb") as f:
            return f.read()

    def drop(self, out):
        shutil.rmtree(os.path.join(self.d, out + ".work"), ignore_errors=True)
        for name in (out, out + ".lock"):
            if os.path.exists(os.path.join(self.d, name)):
                os.unlink(os.path.join(self.d, name))

    def left(self, out):
        return sorted(n for n in os.listdir(self.d) if n.startswith(out))

    def status(self, out):
        return gstest.snap("status", out, "--json", cwd=self.d)


def unbroken(c):
    c.restart_log()
    r = c.create("whole.gsnap", "--jobs", "1")
    t.is_eq(r.code, 0, "an unbroken capture", str(r))
    t.is_eq(c.left("whole.gsnap"), ["whole.gsnap"], "leaves nothing beside the bundle")
    log = c.log()
    c.group = next(x["path"] for x in log if x["path"].endswith("/descendant_groups")).rsplit("/", 1)[0]
    c.reading = c.look(log)
    return len(c.s.requests()), c.bytes("whole.gsnap")


def every_request(c):
    n, want = unbroken(c)
    print(f"# {n} requests")
    identical = strict = cut = 0
    for k in range(1, n + 1):
        if not c.killed_at(k, "k.gsnap", "--jobs", "1"):
            t.ok(False, f"request {k} did not come")
            continue
        cut += 1
        received = c.answered(c.reading)
        c.restart_log()
        r = c.create("k.gsnap", "--jobs", "1")
        same = r.code == 0 and c.bytes("k.gsnap") == want
        twice = received & set(c.asked())
        identical += same
        strict += not twice
        if not same or twice:
            t.ok(False, f"killed at request {k} of {n}", f"identical {same}", f"asked twice: {sorted(twice)[:5]}", str(r))
        c.drop("k.gsnap")
    t.is_eq((cut, identical, strict), (n, n, n), f"killed at each of {n} requests: identical bundles, nothing received is asked for again")


def seeded(d):
    with gstest.Sim(d, "large", "--seed", tree(d, "large.json", "--records", RECORDS, "--groups", max(8, RECORDS // 500)), "--tier", "premium") as s:
        c = Case(d, s)
        n, want = unbroken(c)
        kills = captures = 0
        while kills < KILLS:
            captures += 1
            jobs = (1, 8)[captures % 2]
            answered, repeated = set(), 0
            for _ in range(4):
                # what is left gets less with each run, so aim at the first half of it
                left = c.reading - len(answered)
                if not c.killed_at(rnd.randrange(5, max(6, left // 2) + 5), "l.gsnap", "--jobs", jobs):
                    break
                kills += 1
                repeated += len(answered & c.asked(left))
                answered |= c.answered(left)
            c.restart_log()
            r = c.create("l.gsnap", "--jobs", jobs) if not os.path.exists(os.path.join(d, "l.gsnap")) else None
            repeated += len(answered & c.asked()) if r else 0
            # with several on the wire, answers that left the server need not have reached us, and as many may wait to be stored
            t.ok(c.bytes("l.gsnap") == want and repeated <= (0 if jobs == 1 else 8 * jobs),
                 f"capture {captures}: 4 kills with {jobs} jobs, {repeated} answers asked for again", str(r))
            c.drop("l.gsnap")
        print(f"# {kills} kills in {captures} captures of {n} requests")
        t.is_eq(gstest.snap("verify", "whole.gsnap", "--trust", "key.pub", "--deep", cwd=d).code, 0, "the bundle verifies")
        c.drop("whole.gsnap")


def stops(c, want, n):
    """Every way in which a capture ends early, its exit code and message; then the same command goes on."""
    mid = n // 2
    after = "the same command continues"
    cases = [
        ("a token that expires", {"status": 401, "body": {"message": "401 Unauthorized"}}, 12, "token-refused"),
        ("429 for longer than is worth waiting", {"status": 429, "headers": {"Retry-After": "4000"}, "body": "Retry later\n"}, 75, "rate-limited"),
        ("a login page instead of JSON", {"html": True}, 1, "remote-answer"),
        ("a body that is no JSON", {"status": 200, "headers": {"Content-Type": "application/json"}, "body": "{\"broken\": "}, 1, "remote-answer"),
    ]
    for name, do, code, word in cases:
        c.restart_log()
        c.s.faults({"match": {"n": mid}, "times": 1, "do": do})
        r = c.create("s.gsnap", "--jobs", "1")
        t.is_eq((r.code, f"[{word}]" in r.err, after in r.err), (code, True, True), f"{name}: exit {code}, and how to go on", str(r))
        t.is_eq(c.left("s.gsnap"), ["s.gsnap.work"], f"{name}: what was received is kept, and no half bundle")
        st = c.status("s.gsnap")
        t.is_eq((st.code, st.json().get("state"), st.json().get("code")), (0, "stopped", word), f"{name}: status says why", str(st))
        got = c.answered(c.reading)
        c.restart_log()
        r = c.create("s.gsnap", "--jobs", "1")
        again = got & c.asked()
        # an answer that cannot be used takes those about the same group with it
        t.is_eq((r.code, len(again) < (len(got) if code == 1 else 1)), (0, True), f"{name}: the same command finishes and asks only for the rest", sorted(again), str(r))
        t.has(r.err, "continuing: ", f"{name}: says that it goes on")
        t.ok(c.bytes("s.gsnap") == want, f"{name}: the bundle is that of an unbroken capture")
        t.is_eq(c.left("s.gsnap"), ["s.gsnap"], f"{name}: the work folder is gone")
        c.drop("s.gsnap")

    for sig in (signal.SIGINT, signal.SIGTERM):
        c.restart_log()
        c.s.faults({"match": {"n": mid}, "do": {"stall_ms": 20000}})
        p = c.start("s.gsnap", "--jobs", "1")
        while c.s.call("/_sim/faults")[0]["used"] == 0:
            time.sleep(0.01)
        st = c.status("s.gsnap")
        t.is_eq((st.code, st.json().get("state")), (0, "running"), "status of a running capture", str(st))
        p.send_signal(signal.SIGUSR1)
        time.sleep(0.5)
        second = c.create("s.gsnap")
        t.is_eq((second.code, "[locked]" in second.err), (11, True), "a second run to the same file is refused", str(second))
        p.send_signal(sig)
        _, err = p.communicate(timeout=30)
        t.is_eq(p.returncode, 128 + sig, f"{sig.name}: exit {128 + sig}", err.decode())
        t.has(err.decode(), "state       running", "SIGUSR1: the status is on stderr")
        t.has(err.decode(), after, f"{sig.name}: how to go on")
        c.restart_log()
        r = c.create("s.gsnap", "--jobs", "4", "--quiet")
        t.ok(r.code == 0 and c.bytes("s.gsnap") == want, f"{sig.name}: goes on, with other options for the work, to the same bundle", str(r))
        c.drop("s.gsnap")


def unreachable(c, want, n):
    c.killed_at(n // 2, "u.gsnap", "--jobs", "1")
    st = c.status("u.gsnap")
    t.is_eq((st.code, st.json()["state"], st.json()["runs"], st.json()["answers"] > 0), (0, "killed", 1, True), "status of a killed capture", str(st))
    text = gstest.snap("status", "u.gsnap", cwd=c.d)
    t.ok(text.code == 0 and "ended without a word" in text.out and "milestones" in text.out, "the same as text", str(text))
    c.s.stop()
    r = c.create("u.gsnap", timeout=120)
    t.is_eq((r.code, "[unreachable]" in r.err, c.left("u.gsnap")), (10, True, ["u.gsnap.work"]), "the server is away: exit 10, nothing is lost", str(r))
    c.s.start()
    r = c.create("u.gsnap")
    t.ok(r.code == 0 and c.bytes("u.gsnap") == want, "it is back: goes on to the same bundle", str(r))
    st = gstest.snap("status", "u.gsnap", cwd=c.d)
    t.is_eq((st.code, "complete" in st.out), (0, True), "status of a capture that is complete", str(st))
    t.is_eq(c.status("u.gsnap").json()["state"], "complete", "and in JSON")
    c.drop("u.gsnap")
    st = gstest.snap("status", "u.gsnap", cwd=c.d)
    t.is_eq((st.code, "[file-not-found]" in st.err), (10, True), "no status where there is nothing", str(st))


def foreign_folders(c, want, n):
    """A work folder that is not ours alone is not used: it holds what a bundle withholds."""
    work = os.path.join(c.d, "w.gsnap.work")
    other = os.path.join(c.d, "elsewhere")
    os.mkdir(other)
    os.symlink(other, work)
    r = c.create("w.gsnap")
    t.is_eq((r.code, "[file-exists]" in r.err, os.listdir(other)), (2, True, []), "a link instead of the work folder is refused", str(r))
    os.unlink(work)
    open(work, "w").close()
    r = c.create("w.gsnap")
    t.is_eq((r.code, "is no folder of a capture" in r.err), (2, True), "a file instead of the work folder is refused", str(r))
    os.unlink(work)
    os.mkdir(work, 0o755)
    if os.geteuid() == 0:
        os.chown(work, 65534, 0)
        r = c.create("w.gsnap")
        t.is_eq((r.code, "belongs to another user" in r.err), (2, True), "the work folder of another user is refused", str(r))
        os.chown(work, 0, 0)
    c.killed_at(n // 2, "w.gsnap", "--jobs", "1")
    t.is_eq(os.stat(work).st_mode & 0o777, 0o700, "a folder that others could look into is closed to them")
    r = c.create("w.gsnap")
    t.ok(r.code == 0 and c.bytes("w.gsnap") == want, "and used", str(r))
    c.drop("w.gsnap")
    os.rmdir(other)


def refused(c, want, n):
    c.killed_at(n // 2, "r.gsnap", "--jobs", "1")
    r = c.create("r.gsnap", token="maintainer")
    t.is_eq((r.code, "[staging-other-options]" in r.err, after_all(r)), (30, True, True), "the token of another user is refused", str(r))
    other = Case(c.d, c.s, "bench/group-0001")
    r = other.create("r.gsnap")
    t.is_eq((r.code, "[staging-other-options]" in r.err), (30, True), "another group is refused", str(r))
    r = gstest.snap("create", "--url", c.s.url.replace("127.0.0.1", "localhost"), "-o", "r.gsnap", "--key", "key", "bench", token=c.s.tokens["owner"], cwd=c.d)
    t.is_eq((r.code, "[staging-other-options]" in r.err), (30, True), "another address is refused", str(r))
    r = gstest.snap("import-archive", "no-such-export", "-o", "r.gsnap", "--key", "key", cwd=c.d)
    t.is_eq((r.code, "r.gsnap.work" in r.err), (2, True), "an import does not throw a capture away", str(r))
    c.restart_log()
    r = c.create("r.gsnap", "--jobs", "1")
    t.ok(r.code == 0 and c.bytes("r.gsnap") == want and len(c.s.requests()) < n, "after all that the capture goes on", str(r))
    c.drop("r.gsnap")
    c.killed_at(n // 2, "r.gsnap", "--jobs", "1")
    c.restart_log()
    r = c.create("r.gsnap", "--fresh", "--jobs", "1")
    t.is_eq((r.code, len(c.s.requests()), c.bytes("r.gsnap") == want), (0, n, True), "--fresh asks for everything again", str(r))
    c.drop("r.gsnap")


def after_all(r):
    return "--fresh" in r.err and "the same command continues" not in r.err


def upgraded(c, n):
    c.killed_at(n // 2, "v.gsnap", "--jobs", "1")
    c.restart_log()
    before = c.s.call("/_sim/config")["version"]
    c.s.call("/_sim/config", {"version": "17.9.2-ee"})
    r = c.create("v.gsnap", "--jobs", "1")
    c.s.call("/_sim/config", {"version": before})
    t.is_eq((r.code, "upgraded from" in r.err), (4, True), "the source was upgraded meanwhile: exit 4", str(r))
    ledger = gstest.snap("cat", "v.gsnap", "ledger", cwd=c.d).lines()
    t.ok([(x["before"], x["after"]) for x in ledger if x["entry"] == "changed"] == [(before, "17.9.2-ee")], "the ledger says so")
    t.is_eq(gstest.snap("verify", "v.gsnap", "--trust", "key.pub", "--deep", cwd=c.d).code, 0, "and the bundle verifies")
    c.drop("v.gsnap")


def retried(c, n):
    """What the first run went through stands in the ledger of the bundle that the second one makes."""
    c.restart_log()
    c.s.faults({"match": {"path": "/milestones$", "nth": 1}, "do": {"status": 500}}, {"match": {"n": n - 2}, "do": {"status": 401, "body": {"message": "401 Unauthorized"}}})
    r = c.create("w.gsnap", "--jobs", "1")
    t.is_eq(r.code, 12, "a 500, later a 401", str(r))
    c.restart_log()
    r = c.create("w.gsnap", "--jobs", "1", "--json")
    t.is_eq((r.code, r.json()["kept"] > 5, r.json()["retries"]), (0, True, 0), "the second run has no fault, and says how much was kept", str(r))
    ledger = gstest.snap("cat", "w.gsnap", "ledger", cwd=c.d).lines()
    t.is_eq([x["retries"] for x in ledger if x["entry"] == "fetch" and x["relation"] == "milestones" and x["retries"]], [1], "the ledger knows of the further try")
    c.drop("w.gsnap")


def damaged(c, want, n):
    c.killed_at(n - 3, "d.gsnap", "--jobs", "1")
    work = os.path.join(c.d, "d.gsnap.work")
    con = sqlite3.connect(os.path.join(work, "staging.db"))  # what is in the log goes into the file
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()
    kept = os.path.join(c.d, "kept")
    shutil.copytree(work, kept)
    size = os.path.getsize(os.path.join(kept, "staging.db"))

    def again():
        shutil.rmtree(work, ignore_errors=True)
        if os.path.exists(os.path.join(c.d, "d.gsnap")):
            os.unlink(os.path.join(c.d, "d.gsnap"))
        shutil.copytree(kept, work)

    for name, change in (("another file", lambda f: f.write(b"no database at all\n" * 40)),
                         ("an empty file", lambda f: f.truncate(0)),
                         ("half of it", lambda f: f.truncate(size // 2))):
        again()
        with open(os.path.join(work, "staging.db"), "r+b") as f:
            change(f)
        r = c.create("d.gsnap", "--jobs", "1")
        t.is_eq((r.code, "[staging-damaged]" in r.err, "--fresh" in r.err), (20, True, True), f"staging.db is {name}: refused", str(r))
        r = c.create("d.gsnap", "--jobs", "1", "--fresh")
        t.ok(r.code == 0 and c.bytes("d.gsnap") == want, f"staging.db is {name}: --fresh gets through", str(r))
    for column, value in (("status", 201), ("total", 3), ("body", b"[]"), ("link", "<x>; rel=next"), ("sum", b"x"), ("bytes", 7), ("packed", 0)):
        again()
        con = sqlite3.connect(os.path.join(work, "staging.db"))
        con.execute(f"UPDATE answer SET {column} = ? WHERE relation = 'milestones' OR relation = 'self'", (value,))
        con.commit()
        con.close()
        r = c.create("d.gsnap", "--jobs", "1")
        t.is_eq((r.code, "[staging-damaged]" in r.err), (20, True), f"an answer with another {column} is noticed", str(r))
    outcomes = {"refused": 0, "identical": 0}
    for _ in range(25):
        again()
        at = rnd.randrange(size)
        with open(os.path.join(work, "staging.db"), "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ (1 << rnd.randrange(8))]))
        r = c.create("d.gsnap", "--jobs", "1")
        good = r.code == 0 and c.bytes("d.gsnap") == want
        bad = r.code == 20 and "[staging-damaged]" in r.err
        outcomes["identical" if good else "refused"] += 1
        if not good and not bad:
            # the notes about the capture itself: source, user, group, schema
            t.ok(r.code in (20, 23, 30) or r.code == 4 and b"upgraded" in r.err.encode(), f"a flipped bit at {at}", str(r))
    print("# flipped bits:", outcomes)
    t.ok(outcomes["identical"] > 0 and sum(outcomes.values()) == 25, "a flipped bit changes nothing in a bundle", repr(outcomes))
    again()
    con = sqlite3.connect(os.path.join(work, "staging.db"))
    con.execute("PRAGMA user_version = 99")
    con.close()
    r = c.create("d.gsnap", "--jobs", "1")
    t.is_eq((r.code, "[staging-newer]" in r.err), (23, True), "a database of a newer version is refused", str(r))
    c.drop("d.gsnap")
    shutil.rmtree(kept)


def untidied(c, want, n):
    """A run that was ended between the rename of the bundle and the removal of its work folder."""
    c.killed_at(n // 2, "e.gsnap", "--jobs", "1")
    work = os.path.join(c.d, "e.gsnap.work")
    shutil.copytree(work, os.path.join(c.d, "early"))
    r = c.create("e.gsnap", "--jobs", "1")
    t.is_eq(r.code, 0, "a bundle that is complete", str(r))
    set_id = gstest.snap("inspect", "e.gsnap", "--json", cwd=c.d).lines()[0]["set_id"]
    for name, noted, code in (("of this bundle", set_id, 0), ("of another one", "0" * 32, 2), ("without a bundle", None, 2)):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(os.path.join(c.d, "early"), work)
        con = sqlite3.connect(os.path.join(work, "staging.db"))
        if noted:
            con.execute("INSERT INTO meta(key, value) VALUES('bundle_set_id', ?), ('bundle_exit', '0')", (noted,))
        con.commit()
        con.close()
        c.restart_log()
        other = Case(c.d, c.s, "bench/group-0001").create("e.gsnap")
        t.is_eq((other.code, "[file-exists]" in other.err), (2, True), f"a work folder {name}: a capture of another group is refused", str(other))
        r = c.create("e.gsnap", "--json")
        t.is_eq((r.code, len(c.s.requests())), (code, 0), f"a work folder {name} beside a bundle: exit {code}", str(r))
        t.is_eq(c.left("e.gsnap"), ["e.gsnap"] if code == 0 else ["e.gsnap", "e.gsnap.work"], "and nothing else is thrown away")
        t.ok(c.bytes("e.gsnap") == want, "the bundle is as it was")
    t.is_eq(r.lines()[-1]["error"]["code"], "file-exists", "--json says so too")
    shutil.rmtree(os.path.join(c.d, "early"))
    c.drop("e.gsnap")


def private(c, n):
    c.killed_at(n // 2, "p.gsnap", "--jobs", "1")
    work = os.path.join(c.d, "p.gsnap.work")
    modes = {f: os.stat(os.path.join(work, f)).st_mode & 0o077 for f in os.listdir(work) if f != "pack"}
    t.is_eq((os.stat(work).st_mode & 0o077, set(modes.values())), (0, {0}), "the work folder is for its owner only", repr(modes))
    data = b"".join(open(os.path.join(work, f), "rb").read() for f in os.listdir(work) if os.path.isfile(os.path.join(work, f)))
    t.ok(not any(x.encode() in data for x in c.s.tokens.values()), "no access token is in it")
    c.drop("p.gsnap")


def disk_full(c, want):
    small = os.path.join(c.d, "small")
    os.mkdir(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=220k", "none", small], capture_output=True).returncode:
        t.skip("a full disk", "a small disk cannot be mounted here")
    else:
        try:
            r = c.create("small/f.gsnap", "--jobs", "1")
            t.is_eq((r.code, "[disk-full]" in r.err, os.listdir(small)), (75, True, ["f.gsnap.work"]), "a full disk: exit 75, what was received stays", str(r))
            subprocess.run(["mount", "-o", "remount,size=8m", small], check=True)
            c.restart_log()
            r = c.create("small/f.gsnap", "--jobs", "1")
            t.ok(r.code == 0 and c.bytes("small/f.gsnap") == want and "answers kept from before" in r.out, "with room again it goes on to the same bundle", str(r))
        finally:
            subprocess.run(["umount", small], check=True)
    script = " ".join(["ulimit -f 120; exec", gstest.SNAP, *c.args("f.gsnap", "--time", WHEN, "--jobs", "1")])
    p = subprocess.run(["bash", "-c", script], cwd=c.d, env=gstest.environment(c.s.tokens["owner"]), capture_output=True)
    t.ok(p.returncode == 75 and b"[disk-full]" in p.stderr, "files that may not grow: exit 75", p.returncode, p.stderr.decode())
    r = c.create("f.gsnap", "--jobs", "1")
    t.ok(r.code == 0 and c.bytes("f.gsnap") == want, "it goes on afterwards", str(r))
    c.drop("f.gsnap")


def rights(c, want):
    """A refusal is of the moment: when the same command is given again, what was refused is asked again, and nothing else."""
    no = {"match": {"path": "/milestones$"}, "times": 0, "do": {"status": 403, "body": {"message": "403 Forbidden"}}}
    expired = {"match": {"path": "/badges$"}, "times": 0, "do": {"status": 401, "body": {"message": "401 Unauthorized"}}}

    def cut_off(token, *rules):
        c.restart_log()
        c.s.faults(*rules, expired)
        r = c.create("r.gsnap", "--jobs", "2", token=token)
        t.is_eq(r.code, 12, "cut off in the middle", str(r))
        log = c.log()
        c.restart_log()
        return {c.key(x) for x in log if x["status"] == 200}

    def go_on(name, token, had, code, again=r"(?!)"):
        r = c.create("r.gsnap", "--jobs", "2", token=token)
        t.is_eq(r.code, code, name, str(r))
        log = c.log()
        twice = [x["path"] for i, x in enumerate(log) if c.key(x) in had and c.key(x) not in map(c.key, log[:i]) and not re.search(again, str(c.key(x)))]
        # what the last look repeats was answered before, too: the root, the list of groups, and the documents of the look
        t.is_eq([x for x in twice if not x.endswith(("/graphql", "/descendant_groups", "/groups/1"))], [], f"{name}: no complete answer is asked for again")
        return r

    had = cut_off("owner", no)
    go_on("the right was given meanwhile", "owner", had, 0)
    t.ok(c.bytes("r.gsnap") == want, "the right was given meanwhile: the bundle is that of a capture that had it from the beginning")
    c.drop("r.gsnap")
    c.restart_log()
    c.s.faults(no)
    t.is_eq(c.create("refused.gsnap", "--jobs", "2").code, 3, "unbroken, and refused")
    had = cut_off("owner", no)
    c.s.faults(no)
    r = go_on("refused as before", "owner", had, 3)
    t.ok(c.bytes("r.gsnap") == c.bytes("refused.gsnap"), "refused as before: the same bytes")
    c.drop("r.gsnap")
    c.drop("refused.gsnap")
    # the user becomes an Owner
    user = next(u["id"] for u in c.s.dump()["users"] if u["username"] == c.s.call("/api/v4/user", token=c.s.tokens["maintainer"])["username"])
    group = c.s.call("/api/v4/groups/" + c.root, token=c.s.tokens["admin"])["id"]
    had = cut_off("maintainer")
    c.s.call(f"/api/v4/groups/{group}/members/{user}", {"access_level": 50}, token=c.s.tokens["admin"], method="PUT")
    r = go_on("an Owner now", "maintainer", had, 0, again=r"/groups/[0-9]+['?]|/members|/invitations|graphql")
    t.has(r.err, "is 'owner' now", "an Owner now: that more is read again is said")
    t.is_eq(c.create("owner.gsnap", "--jobs", "2", token="maintainer").code, 0, "unbroken, as an Owner")
    t.ok(c.bytes("r.gsnap") == c.bytes("owner.gsnap"), "an Owner now: the bundle is that of an Owner")
    c.s.call(f"/api/v4/groups/{group}/members/{user}", {"access_level": 40}, token=c.s.tokens["admin"], method="PUT")
    c.drop("r.gsnap")
    c.drop("owner.gsnap")


def transient(c, want):
    """What passes by itself: the bundle is the same up to the waits that its ledger tells of."""
    for name, do in (("500", {"status": 500}), ("502", {"status": 502, "body": "<html>bad gateway</html>"}), ("503 with Retry-After", {"status": 503, "headers": {"Retry-After": "1"}}),
                     ("429 with Retry-After", {"status": 429, "headers": {"Retry-After": "1"}, "body": "Retry later\n"}),
                     ("429 without Retry-After", {"status": 429, "body": "Retry later\n"}), ("a cut body", {"cut_after": 30}), ("a stall, then the end", {"stall_ms": 300}),
                     ("a reset", {"reset": True}), ("a reset after the work", {"reset_after": True}), ("a wrong length", {"wrong_length": True}), ("a lost answer", {"lose_answer": True}),
                     ("a slow answer", {"delay_ms": 300}), ("an answer that drips", {"drip_ms": 20, "chunk": 200})):
        c.restart_log()
        c.s.faults({"match": {"path": "/milestones$|/badges$", "nth": 1}, "do": do}, {"match": {"path": "/api/graphql$", "nth": 3}, "do": do})
        r = c.create("t.gsnap", "--jobs", "2")
        used = sum(x["used"] for x in c.s.call("/_sim/faults"))
        c.s.reset_faults()
        d = gstest.snap("diff", "whole.gsnap", "t.gsnap", cwd=c.d)
        t.is_eq((r.code, used, d.code), (0, 2, 0), f"{name}: the capture gets through, and holds the same", str(r), str(d))
        c.drop("t.gsnap")


with gstest.scratch() as d:
    gstest.keygen(d)
    with gstest.Sim(d, "source", "--seed", tree(d, "small.json", "--records", 420, "--groups", 3), "--tier", "premium") as s:
        c = Case(d, s)
        every_request(c)
        n, want = len(s.requests()), None
        c.drop("whole.gsnap")
        n, want = unbroken(c)
        stops(c, want, n)
        refused(c, want, n)
        upgraded(c, n)
        retried(c, n)
        damaged(c, want, n)
        untidied(c, want, n)
        private(c, n)
        disk_full(c, want)
        transient(c, want)
        unreachable(c, want, n)
        foreign_folders(c, want, n)
        rights(c, want)
        c.drop("whole.gsnap")
    seeded(d)
t.done()
