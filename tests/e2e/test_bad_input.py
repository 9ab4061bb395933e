#!/usr/bin/python3
"""Bad input and faults of both tools: for each the exit code, a message that names what is wrong with its stable code and a
line that says what to do, nothing half-written, and no token in any output."""
import concurrent.futures
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
ROOT = "halden-instruments"
SECRET = "glpat-sim-"
WRONG = "glpat-sim-nobody-1234567890"


def quiet(r, name):
    t.ok(SECRET not in r.out and SECRET not in r.err, name + ": no token in the output", str(r))


def refused(r, exit_code, code, name, *parts):
    """The one check of every error: exit code, stable code, hint, what the message must name, no token."""
    why = []
    if r.code != exit_code:
        why.append(f"exit {r.code}, want {exit_code}")
    if code and f"[{code}]" not in r.err:
        why.append(f"no [{code}]")
    if "what to do: " not in r.err:
        why.append("no line that says what to do")
    why += [f"does not name {p!r}" for p in parts if p not in r.err]
    if SECRET in r.out + r.err:
        why.append("a token is in the output")
    t.ok(not why, f"{name}: exit {exit_code} [{code}]", *why, str(r))


def state_here(path):
    return [f for f in os.listdir(os.path.dirname(path)) if f.startswith(os.path.basename(path))]


class Clean:
    """Nothing new may lie in the folder afterwards."""

    def __init__(self, folder, name, *but):
        self.folder, self.name, self.but = folder, name, but

    def __enter__(self):
        self.before = set(os.listdir(self.folder))

    def __exit__(self, kind, *_):
        if kind:
            return
        new = {f for f in set(os.listdir(self.folder)) - self.before if not any(f.startswith(b) for b in self.but)}
        t.ok(not new, self.name + ": nothing half-written is left", sorted(new))


def members(path):
    """(name, first byte, one past the last byte with padding) of each member of a tar file."""
    with tarfile.open(path) as tar:
        for m in tar:
            yield m.name, m.offset, m.offset_data + (m.size + 511) // 512 * 512


def cut_member(src, dst, part):
    data = open(src, "rb").read()
    for name, a, b in reversed(list(members(src))):
        if part in name:
            data = data[:a] + data[b:]
    open(dst, "wb").write(data)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True)


def certificates(d):
    """ca.pem; good (localhost, 127.0.0.1), other (another host name) by it; other-ca.pem; self (by itself)."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for ca in ("ca", "other-ca"):
        openssl("req", "-x509", *key, "-keyout", ca + ".key", "-out", ca + ".pem", "-days", "2", "-subj", "/CN=" + ca, cwd=d)
    for name, san in (("good", "DNS:localhost,IP:127.0.0.1"), ("other", "DNS:gitlab.example")):
        openssl("req", *key, "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name, cwd=d)
        with open(os.path.join(d, name + ".ext"), "w") as f:
            f.write("subjectAltName=" + san + "\n")
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", name + ".ext", "-out", name + ".pem", cwd=d)
    openssl("req", "-x509", *key, "-keyout", "self.key", "-out", "self.pem", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", cwd=d)


def export(d):
    """A small export as GitLab makes it."""
    base = os.path.join(d, "export/tree/groups")
    os.makedirs(os.path.join(base, "7"))
    for name, text in (("_all.ndjson", "7\n"), ("7.json", json.dumps({"id": 7, "name": "Seven", "path": "seven", "visibility_level": 0})),
                       ("7/labels.ndjson", "".join(json.dumps({"id": n, "title": f"l{n}" + os.urandom(60).hex(), "color": "#112233",
                                                                 "group_id": 7, "type": "GroupLabel"}) + "\n" for n in range(1, 900)))):
        with open(os.path.join(base, name), "w") as f:
            f.write(text)
    subprocess.check_call(["tar", "-czf", os.path.join(d, "export.tar.gz"), "-C", os.path.join(d, "export"), "tree"])


def wait_for(what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.01)
    return False


def finish(p):
    out, err = p.communicate(timeout=60)
    return gstest.Result(p.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), 0)


def writes(sim):
    return sum(1 for x in sim.requests() if x["method"] == "POST" and x["path"].startswith("/api/v4/groups"))


class Tmpfs:
    def __init__(self, d, name, size):
        self.path, self.size = os.path.join(d, name), size

    def __enter__(self):
        os.mkdir(self.path)
        r = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + self.size, "tmpfs", self.path], capture_output=True)
        self.good = r.returncode == 0
        return self

    def resize(self, size):
        subprocess.check_call(["mount", "-o", "remount,size=" + size, self.path])

    def fill(self):
        with open(os.path.join(self.path, "filler"), "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass

    def __exit__(self, *_):
        if self.good:
            subprocess.call(["umount", "-l", self.path])


# ---- tokens, addresses, rights ----

def tokens(d, src, dst):
    cases = (("wrong", WRONG, "token-refused", "401"), ("expired", src.tokens["expired"], "token-refused", "expired"),
             ("revoked", src.tokens["revoked"], "token-refused", "revoked"),
             ("missing scope", src.tokens["noscope"], "scope-missing", "scope 'api'"), ("none", None, "token-missing", "no access token"))
    with Clean(d, "bad tokens"):
        for name, token, code, part in cases:
            for verb in (["groups"], ["preflight", ROOT], ["create", ROOT, "-o", "x.gsnap", "--key", "key"]):
                refused(gstest.snap(*verb, "--url", src.url, token=token, cwd=d), 12, code, f"snap {verb[0]}, token {name}", part)
            for verb in (["plan"], ["apply", "--yes"]):
                refused(gstest.replay(*verb, "h.gsnap", "--trust", "key.pub", "--url", dst.url, "--state", "x.state", token=token, cwd=d),
                        12, code, f"replay {verb[0]}, token {name}", part)
        refused(gstest.replay("apply", "h.gsnap", "--trust", "key.pub", "--url", dst.url, "--state", "x.state", "--yes",
                              token=dst.tokens["reader"], cwd=d), 12, "scope-missing", "replay with a token that may only read", "'api'")
        with open(os.path.join(d, "token.txt"), "w") as f:
            f.write(WRONG + "\n")
        refused(gstest.snap("groups", "--url", src.url, "--token-file", "token.txt", cwd=d), 12, "token-refused", "a wrong token in a file")
        refused(gstest.snap("groups", "--url", src.url, "--token-command", f"echo {WRONG}", cwd=d), 12, "token-refused", "a wrong token from a command")
        refused(gstest.snap("groups", "--url", src.url, "--token-file", "none.txt", cwd=d), 10, "file-not-found", "no token file", "none.txt")
        refused(gstest.snap("groups", "--url", src.url, "--token-command", "false", cwd=d), 12, "token-missing", "a token command that fails", "status 1")
        open(os.path.join(d, "token.txt"), "w").close()
        refused(gstest.snap("groups", "--url", src.url, "--token-file", "token.txt", cwd=d), 2, "usage", "an empty token file", "token.txt")
        os.unlink(os.path.join(d, "token.txt"))


def addresses(d, src, token):
    """Runs beside the others, in a folder of its own; gives what is to be printed then."""
    gone = free_port()
    cases = ((["--url", "http://gitlab.invalid"], 2, "http-plain", "plain http", "gitlab.invalid"),
             (["--url", "https://gitlab.invalid"], 10, "unreachable", "an unknown host", "gitlab.invalid"),
             (["--url", f"http://127.0.0.1:{gone}"], 10, "unreachable", "nothing listens", "127.0.0.1"),
             (["--url", "gitlab"], 2, "url", "no URL", "gitlab"), (["--url", "ftp://127.0.0.1/"], 2, "url", "a URL of another kind", "ftp"))
    net = os.path.join(d, "net")
    os.mkdir(net)
    for f in ("key", "key.pub", "h.gsnap"):
        shutil.copy(os.path.join(d, f), net)
    before, runs, pool = set(os.listdir(net)), [], concurrent.futures.ThreadPoolExecutor(16)
    for n, (args, exit_code, code, name, part) in enumerate(cases):
        runs += [(pool.submit(gstest.snap, "groups", *args, token=token, cwd=net), exit_code, code, "snap groups, " + name, part),
                 (pool.submit(gstest.snap, "create", ROOT, "-o", f"x{n}.gsnap", "--key", "key", *args, token=token, cwd=net),
                  exit_code, code, "snap create, " + name, part),
                 (pool.submit(gstest.replay, "apply", "h.gsnap", "--trust", "key.pub", "--state", f"x{n}.state", "--yes", *args, token=token, cwd=net),
                  exit_code, code, "replay apply, " + name, part)]

    def results():
        for r, *want in runs:
            refused(r.result(), *want)
        t.is_eq(set(os.listdir(net)) - before, set(), "bad addresses: nothing half-written is left")
        pool.shutdown()
    return results


def no_group(d, src, token):
    with Clean(d, "no such group"):
        r = gstest.snap("groups", "--url", "http://user:pa55word@127.0.0.1:1", token=token, cwd=d)
        t.lacks(r.out + r.err, "pa55word", "a password in the URL is not repeated")
        for group in ("no-such-group", ROOT + "/none", "999999"):
            refused(gstest.snap("create", group, "-o", "x.gsnap", "--key", "key", "--url", src.url, token=token, cwd=d), 10,
                    "group-not-found", "snap create of " + group, f"'{group}'")
        refused(gstest.snap("preflight", "no-such-group", "--url", src.url, token=token, cwd=d), 10, "group-not-found",
                "snap preflight of no group", "'no-such-group'")


def tls(d, token):
    with gstest.Sim(d, "tls", "--seed", gstest.DEMO_TREE, "--tls-cert", os.path.join(d, "good.pem"), "--tls-key", os.path.join(d, "good.key")) as s, \
            gstest.Sim(d, "tls-self", "--empty", "--tls-cert", os.path.join(d, "self.pem"), "--tls-key", os.path.join(d, "self.key")) as own, \
            gstest.Sim(d, "tls-other", "--empty", "--tls-cert", os.path.join(d, "other.pem"), "--tls-key", os.path.join(d, "other.key")) as other, \
            Clean(d, "bad certificates", "tls"):
        for name, sim, args in (("an unknown CA", s, []), ("the wrong CA", s, ["--cacert", "other-ca.pem"]),
                                ("a self-signed certificate", own, []), ("a self-signed certificate and another CA", own, ["--cacert", "ca.pem"]),
                                ("another host name", other, ["--cacert", "ca.pem"])):
            refused(gstest.snap("groups", "--url", sim.url, *args, token=token, cwd=d), 10, "tls", "snap groups, " + name, "127.0.0.1")
        refused(gstest.snap("create", ROOT, "-o", "x.gsnap", "--key", "key", "--url", s.url, token=token, cwd=d), 10, "tls", "snap create, an unknown CA")
        refused(gstest.replay("apply", "h.gsnap", "--trust", "key.pub", "--state", "x.state", "--yes", "--url", s.url, token=token, cwd=d),
                10, "tls", "replay apply, an unknown CA")
        refused(gstest.snap("groups", "--url", s.url, "--cacert", "none.pem", token=token, cwd=d), 10, "file-not-found", "no such CA file", "none.pem")
        t.ok(not any(x["path"].startswith("/api") for x in s.requests() + own.requests() + other.requests()), "no request left without a good certificate")
        for ca in ("ca.pem",):
            r = gstest.snap("create", ROOT, "-o", "tls.gsnap", "--key", "key", "--url", s.url, "--cacert", ca, token=token, cwd=d)
            t.is_eq(r.code, 0, "with --cacert the capture works over TLS", str(r))
            quiet(r, "capture over TLS")


def rights(d, src, dst):
    for who in ("reader", "maintainer"):
        r = gstest.snap("create", ROOT, "-o", who + ".gsnap", "--key", "key", "--url", src.url, token=src.tokens[who], cwd=d)
        t.ok(r.code == 0 and "warning" in r.err and "not an Owner" in r.err, f"a capture as {who} warns", str(r))
        quiet(r, "capture as " + who)
    dst.call("/_sim/seed", {"users": [], "tokens": {}, "groups": [{"path": "closed", "name": "Closed", "creator": "root"}]})
    r = gstest.replay("apply", "h.gsnap", "--trust", "key.pub", "--url", dst.url, "--into", "closed", "--state", "c.state", "--yes",
                      token=dst.tokens["maintainer"], cwd=d)
    t.ok(r.code in (10, 12) and "closed" in r.err and "what to do" in r.err, "a place that the user may not see is refused", str(r))
    t.is_eq(state_here(os.path.join(d, "c.state")), [], "and no state file is left")
    dst.call("/_sim/config", {"can_create_top_level": False})
    before = dst.dump()["groups"]
    r = gstest.replay("apply", "h.gsnap", "--trust", "key.pub", "--url", dst.url, "--state", "c.state", "--yes",
                      token=dst.tokens["maintainer"], cwd=d)
    dst.call("/_sim/config", {"can_create_top_level": True})
    t.ok(r.code in (3, 12) and "403" in r.err, "no right to make a top-level group", str(r))
    t.is_eq(dst.dump()["groups"], before, "and nothing is made")
    quiet(r, "load without rights")
    for f in state_here(os.path.join(d, "c.state")):
        os.unlink(os.path.join(d, f))


# ---- keys and bundles ----

def keys(d, src, token):
    with Clean(d, "bad keys"):
        create = ["create", ROOT, "-o", "x.gsnap", "--url", src.url]
        refused(gstest.snap(*create, "--key", "key.pub", token=token, cwd=d), 2, "key-format", "a public key to sign with", "key.pub")
        refused(gstest.snap(*create, "--key", "none", token=token, cwd=d), 10, "file-not-found", "no key", "none")
        refused(gstest.snap(*create, "--key", "locked", "--passphrase-file", "bad.txt", token=token, cwd=d), 12, "key-passphrase", "the wrong passphrase", "locked")
        refused(gstest.snap(*create, "--key", "locked", token=token, cwd=d), 12, "key-passphrase", "no passphrase and no terminal")
        refused(gstest.snap("keygen", "-o", "key", "--no-passphrase", cwd=d), 2, "file-exists", "a key that exists", "key")
        refused(gstest.snap("create", ROOT, "-o", "h.gsnap", "--url", src.url, "--key", "key", token=token, cwd=d), 2, "file-exists", "a bundle that exists", "h.gsnap")


def bundles(d, dst, token):
    good = os.path.join(d, "h.gsnap")
    data = open(good, "rb").read()
    cut_member(good, os.path.join(d, "unsigned.gsnap"), "minisig")
    cut_member(good, os.path.join(d, "less.gsnap"), "labels.ndjson")
    for name, text in (("half.gsnap", data[:len(data) // 2]), ("short.gsnap", data[:-1024]), ("tiny.gsnap", data[:100]), ("empty.gsnap", b""),
                       ("text.gsnap", b"hello\n" * 200)):
        open(os.path.join(d, name), "wb").write(text)
    last = list(members(good))[-1]
    changed = bytearray(data)
    changed[last[1] + 512 + 20] ^= 1
    open(os.path.join(d, "changed.gsnap"), "wb").write(changed)
    first = next(members(good))
    changed = bytearray(data)
    changed[first[1] + 512 + 40] ^= 1
    open(os.path.join(d, "manifest.gsnap"), "wb").write(changed)
    cases = (("unsigned.gsnap", "key.pub", (21,), "sig-missing", "an unsigned bundle"), ("h.gsnap", "other.pub", (21,), "sig-unknown-key", "signed by somebody else"),
             ("changed.gsnap", "key.pub", (20,), "digest-mismatch", "a changed bundle"), ("manifest.gsnap", "key.pub", (21,), "sig-invalid", "a changed manifest"),
             ("half.gsnap", "key.pub", (20, 22), None, "half a bundle"), ("short.gsnap", "key.pub", (20,), "bundle-truncated", "a bundle without its end"),
             ("tiny.gsnap", "key.pub", (20,), None, "100 bytes"), ("empty.gsnap", "key.pub", (20,), None, "an empty file"),
             ("text.gsnap", "key.pub", (20,), "not-a-bundle", "a text file"), ("less.gsnap", "key.pub", (22, 20), None, "a bundle without labels"),
             ("none.gsnap", "key.pub", (10,), "file-not-found", "no bundle"), ("h.gsnap", "none.pub", (10,), "file-not-found", "no trusted key"),
             ("h.gsnap", "key", (2,), "key-format", "a secret key to trust"), ("h.gsnap", None, (21,), "no-trust", "no key to trust"))
    before = len(dst.requests())
    with Clean(d, "bad bundles"):
        for name, key, codes, code, what in cases:
            trust = ["--trust", key] if key else []
            for verb in (["verify"], ["apply", "--url", dst.url, "--state", "x.state", "--yes"]):
                r = gstest.replay(*verb, name, *trust, token=token, cwd=d)
                refused(r, r.code if r.code in codes else codes[0], code, f"replay {verb[0]}, {what}",
                        *([] if not key or (verb[0], code) == ("apply", "digest-mismatch") else [name if key in ("key.pub", "other.pub") else key]))
            r = gstest.replay("apply", "--url", dst.url, "--state", "x.state", "--yes", "--json", name, *trust, token=token, cwd=d)
            try:
                e = json.loads(r.out.splitlines()[-1])["error"]
                t.ok(e["exit"] == r.code and e["hint"] and (code is None or e["code"] == code) and e["text"], f"--json, {what}", str(r))
            except (ValueError, KeyError, IndexError) as x:
                t.ok(False, f"--json, {what}", repr(x), str(r))
    t.is_eq([x["path"] for x in dst.requests()[before:] if x["method"] != "GET"], [], "nothing is written to the target for a bad bundle")


# ---- files ----

def files(d, src, dst, token):
    os.mkdir(os.path.join(d, "ro"))
    os.mkdir(os.path.join(d, "folder"))
    os.mkfifo(os.path.join(d, "fifo"))
    url, trust = ["--url", src.url], ["--trust", "key.pub"]
    apply = ["apply", "h.gsnap", *trust, "--url", dst.url, "--yes"]
    with Clean(d, "folders and FIFOs"):
        for what in ("folder", "fifo"):
            for name, binary, *args in (
                    ("a bundle to verify", gstest.REPLAY, "verify", what, *trust),
                    ("a bundle to load", gstest.REPLAY, "apply", what, *trust, "--url", dst.url, "--state", "x.state", "--yes"),
                    ("an output", gstest.SNAP, "create", ROOT, "-o", what, "--key", "key", *url),
                    ("a key to write", gstest.SNAP, "keygen", "-o", what, "--no-passphrase"),
                    ("a secret key", gstest.SNAP, "create", ROOT, "-o", "x.gsnap", "--key", what, *url),
                    ("a state file", gstest.REPLAY, *apply, "--state", what),
                    ("a state file to look at", gstest.REPLAY, "status", "--state", what),
                    ("a user map", gstest.REPLAY, *apply, "--state", "x.state", "--user-map", what),
                    ("a token file", gstest.SNAP, "groups", *url, "--token-file", what),
                    ("a trusted key", gstest.REPLAY, "verify", "h.gsnap", "--trust", what),
                    ("an export", gstest.SNAP, "import-archive", what, "-o", "x.gsnap", "--key", "key")):
                # a pipe may be given where a small text is read, as a shell's <(command): then a signal must end the wait
                p = gstest.start(binary, *args, token=token, cwd=d)
                try:
                    p.wait(timeout=0.5)
                except subprocess.TimeoutExpired:
                    p.send_signal(signal.SIGTERM)
                    try:
                        p.wait(timeout=1)
                    except subprocess.TimeoutExpired:
                        p.kill()
                r = finish(p)
                t.ok(r.code in (1, 2, 10, 12, 20, 21, 143) and (r.code == 143 or "what to do: " in r.err and "]\n" in r.err and what in r.err),
                     f"{what} as {name}: refused, or its wait ends at SIGTERM", str(r))
                for f in os.listdir(d):
                    if r.code == -9 and f.startswith("x."):
                        path = os.path.join(d, f)
                        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    # root writes everywhere: a read-only mount stands for a folder that may not be written
    m = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", os.path.join(d, "ro")], capture_output=True)
    if m.returncode and os.geteuid() == 0:
        t.skip("a read-only folder", "no mount in this place: " + m.stderr.decode().strip())
        return
    if m.returncode:
        os.chmod(os.path.join(d, "ro"), 0o555)
    try:
        n = len(src.requests()), len(dst.requests())
        for name, r in (("a bundle", gstest.snap("create", ROOT, "-o", "ro/x.gsnap", "--key", "key", *url, token=token, cwd=d)),
                        ("an imported bundle", gstest.snap("import-archive", "export.tar.gz", "-o", "ro/x.gsnap", "--key", "key", cwd=d)),
                        ("a key", gstest.snap("keygen", "-o", "ro/key", "--no-passphrase", cwd=d)),
                        ("a state file", gstest.replay(*apply, "--state", "ro/x.state", token=token, cwd=d))):
            refused(r, 1, "io", name + " in a read-only folder", "ro/")
        t.is_eq([x["path"] for x in dst.requests()[n[1]:] if x["method"] != "GET"], [], "nothing is written to the target without a state file")
        t.is_eq(os.listdir(os.path.join(d, "ro")), [], "the read-only folder is empty")
    finally:
        subprocess.call(["umount", os.path.join(d, "ro")], stderr=subprocess.DEVNULL)
        os.chmod(os.path.join(d, "ro"), 0o755)


def disk_full(d, src, users, token):
    with Tmpfs(d, "small", "200k") as m:
        if not m.good:
            t.skip("a full disk", "no tmpfs can be mounted here: root is needed")
            return
        m.fill()
        os.truncate(os.path.join(m.path, "filler"), 160 << 10)
        before = os.listdir(m.path)
        r = gstest.snap("create", ROOT, "-o", "small/x.gsnap", "--key", "key", "--url", src.url, token=token, cwd=d)
        refused(r, 75, "disk-full", "a capture onto a full disk", "small/")
        t.is_eq([f for f in os.listdir(m.path) if f != "x.gsnap.work"], before, "a capture onto a full disk: no half-written bundle is left")
        shutil.rmtree(os.path.join(m.path, "x.gsnap.work"), ignore_errors=True)  # what it received, to go on with
        r = gstest.snap("import-archive", "export.tar.gz", "-o", "small/x.gsnap", "--key", "key", cwd=d)
        refused(r, 75, "disk-full", "an import onto a full disk", "small/")
        t.is_eq(os.listdir(m.path), before, "an import onto a full disk: nothing half-written is left")
        m.fill()
        r = gstest.snap("keygen", "-o", "small/key", "--no-passphrase", cwd=d)
        refused(r, 75, "disk-full", "a key onto a full disk", "small/")
        t.is_eq(os.listdir(m.path), before, "a key onto a full disk: nothing half-written is left")
        os.unlink(os.path.join(m.path, "filler"))
        want = None
        for full_from in ("plan", "load"):
            with gstest.Sim(d, "full-" + full_from, "--empty", "--users", users, "--tier", "premium") as s:
                args = ["h.gsnap", "--trust", "key.pub", "--url", s.url, "--state", "small/x.state"]
                if full_from == "load":
                    r = gstest.replay("plan", *args, token=token, cwd=d)
                    t.is_eq(r.code, 0, "planned while there is room", str(r))
                used = sum(os.path.getsize(os.path.join(m.path, f)) for f in os.listdir(m.path))
                m.resize("64k" if full_from == "plan" else f"{used // 1024 + 48}k")
                r = gstest.replay("apply", *args, "--yes", token=token, cwd=d)
                refused(r, 75, "disk-full", f"the state file fills the disk in the {full_from}", "x.state")
                m.resize("16m")
                r = gstest.replay("apply", *args, "--yes", token=token, cwd=d)
                t.is_eq(r.code, 0, f"the same command finishes (full in the {full_from})", str(r))
                got = gstest.normalised(s.dump(), ROOT)
                want = want or REFERENCE[0]
                t.ok(got == want, f"and the target is as after a whole load (full in the {full_from})")
                for f in os.listdir(m.path):
                    os.unlink(os.path.join(m.path, f))
                m.resize("1m")


# ---- the state file and the target ----

REFERENCE = []


def states(d, dst, dst2, token):
    def apply(*more, bundle="h.gsnap", sim=dst, state="h.state"):
        return gstest.replay("apply", bundle, "--trust", "key.pub", "--url", sim.url, "--state", state, "--yes", *more, token=token, cwd=d)
    r = apply()
    t.is_eq(r.code, 0, "a whole load", str(r))
    quiet(r, "a whole load")
    raw = open(os.path.join(d, "h.state"), "rb").read()
    t.ok(token.encode() not in raw, "no token in the state file")
    REFERENCE.append(gstest.normalised(dst.dump(), ROOT))
    before = dst.dump(), dst2.dump()
    refused(apply(bundle="tls.gsnap"), 30, "state-other-bundle", "the state file of another bundle", "h.state")
    refused(apply(sim=dst2), 30, "state-other-bundle", "the state file of another target", "h.state")
    for name, more in (("--into", ["--into", "place"]), ("--rename", ["--rename", ROOT + "=elsewhere"]), ("--on-existing", ["--on-existing", "merge"]),
                       ("--keep-owner", ["--keep-owner"]), ("--user-map", ["--user-map", "good.csv"])):
        r = apply(*more)
        refused(r, 30, None, f"the state file of a load without {name}", "h.state")
    t.ok(before == (dst.dump(), dst2.dump()), "no wrong state file changes a target")
    t.is_eq(len(open(os.path.join(d, "h.state"), "rb").read()), len(raw), "the state file is kept as it was")
    for name, text in (("garbage", os.urandom(40000)), ("text", b"hello\n"), ("half", raw[:len(raw) // 2]),
                       ("hole", raw[:4096] + b"\xff" * 8192 + raw[12288:])):
        open(os.path.join(d, name + ".state"), "wb").write(text)
        refused(apply(state=name + ".state"), 20, "state-damaged", f"a damaged state file ({name})", name + ".state")
        refused(gstest.replay("status", "--state", name + ".state", cwd=d), 20, "state-damaged", f"status of a damaged state file ({name})", name + ".state")
        t.ok(open(os.path.join(d, name + ".state"), "rb").read() == text, f"the damaged state file ({name}) is left as it is")
    shutil.copy(os.path.join(d, "h.state"), os.path.join(d, "newer.state"))
    con = sqlite3.connect(os.path.join(d, "newer.state"))
    con.execute("pragma user_version=99")
    con.commit()
    con.close()
    for name, r in (("apply", apply(state="newer.state")), ("status", gstest.replay("status", "--state", "newer.state", cwd=d)),
                    ("failures", gstest.replay("failures", "--state", "newer.state", cwd=d))):
        refused(r, 23, "state-newer", f"{name} with a state file of a newer version", "newer.state")
    for verb in ("status", "failures"):
        refused(gstest.replay(verb, "--state", "none.state", cwd=d), 10, "file-not-found", verb + " without a state file", "none.state")
    t.ok(not os.path.exists(os.path.join(d, "none.state")), "looking makes no state file")
    t.ok(before == (dst.dump(), dst2.dump()), "no damaged state file changes a target")
    for f in os.listdir(d):
        if ".state" in f and not f.startswith("h.state"):
            os.unlink(os.path.join(d, f))
    with Clean(d, "a place that does not do"):
        for verb in (["plan"], ["apply", "--yes"]):
            def place(*more):
                return gstest.replay(*verb, "h.gsnap", "--trust", "key.pub", "--url", dst.url, "--state", "x.state", *more, token=token, cwd=d)
            refused(place(), 30, "target-taken", f"{verb[0]}: the path is taken", f"'{ROOT}'")
            refused(place("--into", "no/such"), 10, "group-not-found", f"{verb[0]}: --into a missing group", "'no/such'")
            for rename in ("old", "=new", "nobody=new", ROOT + "=", ROOT + "=a/b"):
                refused(place("--rename", rename, "--into", ROOT), 2, "usage", f"{verb[0]}: --rename {rename}", rename)
            refused(place("--rename", ROOT + "=one", "--rename", ROOT + "=two"), 2, "usage", f"{verb[0]}: the same group renamed twice", ROOT)
            refused(place("--on-existing", "maybe"), 2, "usage", f"{verb[0]}: --on-existing maybe", "maybe")
    t.ok(before == (dst.dump(), dst2.dump()), "no bad place changes a target")


def user_maps(d, dst2, token):
    head = "source_username,target_username\n"
    cases = (("an empty file", "", "empty"), ("an unknown column", "who,target_username\n", "line 1"), ("no source column", "target_username\nroot\n", "line 1"),
             ("no target column", "source_username\nroot\n", "line 1"), ("a column twice", "source_username,source_username,target_username\n", "line 1"),
             ("too few columns", head + "root\n", "line 2"), ("too many columns", head + "root,a,b\n", "line 2"), ("an open quote", head + '"root,root\n', "line 2"),
             ("no source user", head + "root,\n,root\n", "line 3"), ("a source user twice", head + "root,\nroot,\n", "line 3"),
             ("a bad source id", "source_id,target_id\nx,1\n", "line 2"), ("a bad target id", "source_id,target_id\n1,x\n", "line 2"),
             ("a negative target id", "source_id,target_id\n1,-5\n", "line 2"), ("an unknown target user", head + "dalia.cohen,\nroot,nobody-here\n", "line 3"),
             ("an unknown target id", "source_username,target_id\nroot,99999\n", "line 2"), ("semicolons", "source_username;target_username\nroot;x\n", "line 1"))
    with Clean(d, "bad user maps"):
        for name, text, part in cases:
            with open(os.path.join(d, "bad.csv"), "w") as f:
                f.write(text)
            r = gstest.replay("plan", "h.gsnap", "--trust", "key.pub", "--url", dst2.url, "--state", "x.state", "--user-map", "bad.csv", token=token, cwd=d)
            refused(r, 2, "user-map", "user map: " + name, "bad.csv", part)
            os.unlink(os.path.join(d, "bad.csv"))
        refused(gstest.replay("plan", "h.gsnap", "--trust", "key.pub", "--url", dst2.url, "--state", "x.state", "--user-map", "none.csv", token=token, cwd=d),
                10, "file-not-found", "no user map", "none.csv")


# ---- interruptions ----

def same(sim, name):
    got = gstest.normalised(sim.dump(), ROOT)
    bad = [p for p in set(got) | set(REFERENCE[0]) if got.get(p) != REFERENCE[0].get(p)]
    t.ok(not bad, name + ": the target is as after a whole load", *sorted(bad))


def interrupted(d, users, token):
    def slow(name):
        return gstest.Sim(d, name, "--empty", "--users", users, "--tier", "premium", "--latency-ms", "15")

    def args(sim, name):
        return ["apply", "h.gsnap", "--trust", "key.pub", "--url", sim.url, "--state", name + ".state", "--yes"]

    def again(sim, name, what):
        sim.call("/_sim/config", {"latency_ms": 0})
        r = gstest.replay(*args(sim, name), token=token, cwd=d)
        t.is_eq(r.code, 0, what + ": the same command finishes", str(r))
        quiet(r, what)
        same(sim, what)

    for sig, name in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")):
        with slow(name) as s:
            p = gstest.start(gstest.REPLAY, *args(s, name), token=token, cwd=d)
            wait_for(lambda: writes(s) > 60)
            if sig == signal.SIGINT:
                r = gstest.replay(*args(s, name), token=token, cwd=d)
                refused(r, 11, "locked", "a second run at the same time", name + ".state")
                r = gstest.replay("status", "--state", name + ".state", "--json", cwd=d)
                t.ok(r.code == 0 and r.json(), "status while a load is running", str(r))
            p.send_signal(sig)
            r = finish(p)
            refused(r, 128 + sig, "stopped", name + " in the middle of a load")
            t.ok(state_here(os.path.join(d, name + ".state")), name + ": the state file is kept")
            again(s, name, name)

    with slow("killed") as s:
        p = gstest.start(gstest.REPLAY, *args(s, "killed"), token=token, cwd=d)
        wait_for(lambda: writes(s) > 60)
        s.stop(signal.SIGKILL)
        # it goes on asking for some minutes; the end of the wait is a matter of patience, so it is stopped if it does not give up
        try:
            p.wait(timeout=2)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGINT)
        r = finish(p)
        refused(r, r.code if r.code in (10, 75) else 130, None, "the target dies half way", *(["127.0.0.1"] if r.code != 130 else []))
        s.start()
        again(s, "killed", "the target dies half way")
    with slow("back") as s:
        p = gstest.start(gstest.REPLAY, *args(s, "back"), token=token, cwd=d)
        wait_for(lambda: writes(s) > 60)
        s.stop(signal.SIGKILL)
        time.sleep(0.5)
        s.start()
        r = finish(p)
        t.ok(r.code in (0, 10, 75), "a load meets the target again after it died", str(r))
        again(s, "back", "the target dies and comes back")

    with slow("expiring") as s:
        p = gstest.start(gstest.REPLAY, *args(s, "expiring"), token=token, cwd=d)
        wait_for(lambda: writes(s) > 60)
        s.faults({"match": {"path": "^/api/"}, "times": 0, "do": {"status": 401, "body": {"error": "invalid_token", "error_description": "Token is expired."}}})
        r = finish(p)
        refused(r, 12, "token-refused", "the token expires half way", "401")
        failed = gstest.replay("failures", "--state", "expiring.state", "--json", cwd=d)
        t.is_eq(failed.out.strip(), "", "no record failed because the token expired")
        s.reset_faults()
        again(s, "expiring", "the token expires half way")

    with gstest.Sim(d, "storm", "--empty", "--users", users, "--tier", "premium") as s:
        s.faults({"match": {"path": "^/api/", "every": 40}, "times": 4, "do": {"status": 429, "headers": {"Retry-After": "1"}, "body": "Retry later\n"}})
        r = gstest.replay(*args(s, "storm"), token=token, cwd=d)
        t.is_eq(r.code, 0, "a load goes through 429 with Retry-After", str(r))
        waits = [x for x in s.requests() if x["status"] == 429]
        t.ok(waits and len(waits) <= 12, "and asks again only after the wait", f"{len(waits)} answers 429")
        same(s, "429 with Retry-After")

    with gstest.Sim(d, "partly", "--empty", "--users", users, "--tier", "premium") as s:
        s.faults({"match": {"method": "POST", "path": "/labels$", "every": 20}, "times": 3, "do": {"status": 400, "body": {"message": {"title": ["is cursed"]}}}})
        r = gstest.replay(*args(s, "partly"), token=token, cwd=d)
        t.ok(r.code == 3, "records that the target refuses: exit 3", str(r))
        f = gstest.replay("failures", "--state", "partly.state", "--json", cwd=d).lines()
        labels = [x for x in f if "is cursed" in json.dumps(x)]
        t.ok(len(labels) == 3, "failures names each with the server's words", repr(f)[:2000])
        n = sum(len(g["labels"]) for g in gstest.normalised(s.dump(), ROOT).values())
        t.is_eq(n, sum(len(g["labels"]) for g in REFERENCE[0].values()) - 3, "every other label is loaded")


def captures(d, token):
    with gstest.Sim(d, "slow", "--seed", gstest.DEMO_TREE, "--latency-ms", "60") as s:
        for sig, name in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")):
            with Clean(d, name + " in a capture", "cut.gsnap.work"):
                n = len(s.requests())
                p = gstest.start(gstest.SNAP, "create", "--via", "api", ROOT, "-o", "cut.gsnap", "--key", "key", "--url", s.url, token=token, cwd=d)
                wait_for(lambda: len(s.requests()) > n + 25)
                p.send_signal(sig)
                refused(finish(p), 128 + sig, "stopped", name + " in a capture")
        s.call("/_sim/config", {"latency_ms": 0})
        r = gstest.snap("create", "--via", "api", ROOT, "-o", "cut.gsnap", "--key", "key", "--url", s.url, token=token, cwd=d)
        t.is_eq(r.code, 0, "the same capture finishes", str(r))
        r = gstest.snap("diff", "h.gsnap", "cut.gsnap", "--trust", "key.pub", cwd=d)
        t.is_eq(r.code, 0, "and holds the same", str(r))
        with Clean(d, "a token that expires in a capture", "x.gsnap.work"):
            s.faults({"match": {"path": "/labels|/milestones|/badges"}, "times": 0, "do": {"status": 401, "body": {"message": "401 Unauthorized"}}})
            r = gstest.snap("create", "--via", "api", ROOT, "-o", "x.gsnap", "--key", "key", "--url", s.url, token=token, cwd=d)
            refused(r, 12, "token-refused", "a token that expires in a capture", "401")
            s.reset_faults()
        s.faults({"match": {"path": "^/api/", "every": 15}, "times": 3, "do": {"status": 429, "headers": {"Retry-After": "1"}, "body": "Retry later\n"}})
        r = gstest.snap("create", "--via", "api", ROOT, "-o", "storm.gsnap", "--key", "key", "--url", s.url, token=token, cwd=d)
        t.is_eq(r.code, 0, "a capture goes through 429 with Retry-After", str(r))
        r = gstest.snap("diff", "h.gsnap", "storm.gsnap", "--trust", "key.pub", cwd=d)
        t.is_eq(r.code, 0, "and holds the same", str(r))


def json_errors(d, src, dst, token):
    cases = (("wrong token", gstest.snap("groups", "--url", src.url, "--json", token=WRONG, cwd=d), 12, "token-refused"),
             ("no token", gstest.snap("preflight", ROOT, "--url", src.url, "--json", cwd=d), 12, "token-missing"),
             ("no group", gstest.snap("create", "none", "-o", "x.gsnap", "--key", "key", "--url", src.url, "--json", token=token, cwd=d), 10, "group-not-found"),
             ("file exists", gstest.snap("create", ROOT, "-o", "h.gsnap", "--key", "key", "--url", src.url, "--json", token=token, cwd=d), 2, "file-exists"),
             ("no --key", gstest.snap("create", ROOT, "-o", "x.gsnap", "--url", src.url, "--json", token=token, cwd=d), 2, "usage"),
             ("an unknown option", gstest.snap("groups", "--json", "--nonsense", cwd=d), 2, "usage"),
             ("plain http", gstest.snap("groups", "--url", "http://gitlab.invalid", "--json", token=token, cwd=d), 2, "http-plain"),
             ("path taken", gstest.replay("plan", "h.gsnap", "--trust", "key.pub", "--url", dst.url, "--state", "x.state", "--json", token=token, cwd=d), 30, "target-taken"),
             ("not confirmed", gstest.replay("apply", "h.gsnap", "--trust", "key.pub", "--url", dst.url, "--into", ROOT, "--state", "x.state", "--json",
                                             token=token, cwd=d, input=b""), 2, "not-confirmed"),
             ("no state file", gstest.replay("status", "--state", "none.state", "--json", cwd=d), 10, "file-not-found"),
             ("no bundle", gstest.replay("verify", "none.gsnap", "--trust", "key.pub", "--json", cwd=d), 10, "file-not-found"))
    for name, r, exit_code, code in cases:
        try:
            rows = r.lines()
            e = rows[-1]["error"]
            t.ok(list(rows[-1]) == ["error"] and e["code"] == code and e["exit"] == exit_code == r.code and e["text"] and e["hint"], f"--json: {name}", str(r))
        except (ValueError, KeyError, IndexError) as x:
            t.ok(False, f"--json: {name}", repr(x), str(r))
        quiet(r, f"--json: {name}")
    for f in state_here(os.path.join(d, "x.state")):
        os.unlink(os.path.join(d, f))


with gstest.scratch() as d:
    users = gstest.DEMO_USERS
    gstest.keygen(d)
    gstest.keygen(d, "other")
    for name, text in (("good.txt", "opensesame\n"), ("bad.txt", "guess\n"), ("good.csv", "source_username,target_username\n")):
        with open(os.path.join(d, name), "w") as f:
            f.write(text)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        locked = pool.submit(gstest.snap, "keygen", "-o", "locked", "--passphrase-file", "good.txt", cwd=d)
        pool.submit(certificates, d).result()
        pool.submit(export, d).result()
        t.is_eq(locked.result().code, 0, "a key with a passphrase", str(locked.result()))
    with gstest.Sim(d, "source", "--seed", gstest.DEMO_TREE) as src, gstest.Sim(d, "target", "--empty", "--users", users, "--tier", "premium") as dst, \
            gstest.Sim(d, "target2", "--empty", "--users", users, "--tier", "premium") as dst2:
        token = src.tokens["owner"]
        r = gstest.snap("create", ROOT, "-o", "h.gsnap", "--key", "key", "--url", src.url, token=token, cwd=d)
        t.is_eq(r.code, 0, "the tree is captured", str(r))
        began = time.monotonic()
        background = addresses(d, src, token)
        for f, *args in ((tokens, d, src, dst), (no_group, d, src, token), (tls, d, token), (keys, d, src, token), (bundles, d, dst, token),
                         (states, d, dst, dst2, token), (user_maps, d, dst2, token), (files, d, src, dst2, token), (disk_full, d, src, users, token),
                         (json_errors, d, src, dst, token), (interrupted, d, users, token), (captures, d, token), (rights, d, src, dst2), (background,)):
            f(*args)
            print(f"# {f.__name__}: {time.monotonic() - began:.1f} s in all")
t.done()
