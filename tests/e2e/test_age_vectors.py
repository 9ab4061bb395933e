#!/usr/bin/python3
"""The age format against the public test kit (npm package cctv-age, installed with npm below the build folder) and the stock tool, in both
directions."""
import hashlib
import base64
import json
import os
import pty
import shutil
import subprocess
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
DRIVER = os.path.join(gstest.BUILD, "tests/e2e/age_driver")
KIT = "cctv-age@0.2.0"
NOTHING = hashlib.sha256(b"").hexdigest()
# what the kit calls the outcome, and the stable names that we give it
CODES = {"no match": {"age-identity-wrong", "age-identity-missing", "age-passphrase"}, "HMAC failure": {"age-header-changed"},
         "header failure": {"age-header", "schema-newer"}, "payload failure": {"age-damaged", "bundle-truncated"}}


def kit():
    """The vectors by name; None with the reason when they cannot be had."""
    if not shutil.which("npm") or not shutil.which("node"):
        return None, "npm or node is not installed"
    d = os.path.join(gstest.BUILD, "npm")
    module = os.path.join(d, "node_modules/cctv-age/index.js")
    if not os.path.exists(module):
        os.makedirs(d, exist_ok=True)
        try:
            r = subprocess.run(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1",
                                "--fetch-timeout=30000", "--prefix", d, KIT], capture_output=True, text=True, timeout=150)
        except subprocess.TimeoutExpired:
            return None, "npm does not come to an end"
        if r.returncode or not os.path.exists(module):
            return None, f"npm cannot install {KIT}: " + (r.stderr.strip().splitlines() or ["?"])[-1]
    script = ("import(process.argv[1]).then(m => { const o = {}; for (const [k, v] of Object.entries(m.default ?? m)) "
              "o[k] = Buffer.from(v).toString('base64'); process.stdout.write(JSON.stringify(o)); })")
    out = subprocess.run(["node", "-e", script, "file://" + module], capture_output=True, check=True).stdout
    return {k: base64.b64decode(v) for k, v in json.loads(out).items()}, None


def opened(d, file, identities=(), passphrases=()):
    """Code ("" when it could be read) and what was given out."""
    args = [DRIVER, "open", os.path.join(d, "file.age")]
    with open(args[2], "wb") as f:
        f.write(file)
    if identities:
        with open(os.path.join(d, "ids"), "w") as f:
            f.write("\n".join(identities) + "\n")
        args += ["-i", os.path.join(d, "ids")]
    for p in passphrases[:1]:
        with open(os.path.join(d, "pass"), "w") as f:
            f.write(p + "\n")
        args += ["-p", os.path.join(d, "pass")]
    r = subprocess.run(args, capture_output=True)
    return r.returncode, r.stderr.decode().split("\n")[0], r.stdout


def vector(d, name, data):
    """None: not ours to read (armor, hybrid keys)."""
    head, _, file = data.partition(b"\n\n")
    rows = [line.split(": ", 1) for line in head.decode().split("\n")]
    one = dict(rows)
    ids = [v for k, v in rows if k == "identity"]
    if "armored" in one or any(not i.startswith("AGE-SECRET-KEY-1") for i in ids):
        return None
    if one.get("compressed") == "zlib":
        file = zlib.decompress(file)
    code, error, out = opened(d, file, ids, [v for k, v in rows if k == "passphrase"])
    got = hashlib.sha256(out).hexdigest()
    if one["expect"] == "success":
        return t.ok(code == 0 and got == one["payload"], f"{name}: success", error, got)
    # the end is looked at before anything is given out, so it may be less than the kit allows, never something else
    return t.ok(code == 1 and error in CODES[one["expect"]] and got in (NOTHING, one.get("payload", NOTHING)), f"{name}: {one['expect']}",
                f"exit {code}, {error}, {len(out)} bytes", got)


def vectors(d):
    kit_, why = kit()
    if kit_ is None:
        t.skip("THE PUBLIC TEST VECTORS OF AGE WERE NOT TRIED", why)
        return
    left = []
    for name, data in sorted(kit_.items()):
        if vector(d, name, data) is None:
            left.append(name)
    print(f"# not applicable (armor, hybrid keys): {len(left)} of {len(kit_)}: {' '.join(left)}")
    t.ok(len(kit_) - len(left) >= 90, f"{len(kit_) - len(left)} vectors apply, {len(left)} do not")


def typed(answers, *command):
    """Runs a command on a terminal of its own, and types an answer whenever it asks. Its exit code."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    answers = list(answers)
    try:
        while True:
            if os.read(fd, 4096).rstrip().endswith(b":") and answers:
                os.write(fd, answers.pop(0).encode() + b"\n")
    except OSError:
        pass  # the terminal is closed when it ends
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def stock_passphrase(d):
    plain, enc, back, words = (os.path.join(d, x) for x in ("plain", "enc-p", "back-p", "words"))
    data = os.urandom(100000)
    for path, text in (plain, data), (words, b"correct horse\n"):
        with open(path, "wb") as f:
            f.write(text)
    code = typed(["correct horse"] * 2, "age", "-p", "-o", enc, plain)
    t.is_eq(code, 0, "the stock tool encrypts with a passphrase")
    with open(enc, "rb") as f:
        file = f.read()
    code, error, out = opened(d, file, passphrases=["correct horse"])
    t.ok(code == 0 and out == data, "with a passphrase from the stock tool", error)
    code, error, out = opened(d, file, passphrases=["incorrect horse"])
    t.is_eq((code, error, out), (1, "age-passphrase", b""), "with another passphrase")
    with open(enc, "wb") as f:
        subprocess.run([DRIVER, "seal", plain, "-p", words], check=True, stdout=f)
    code = typed(["correct horse"], "age", "-d", "-o", back, enc)
    t.ok(code == 0 and open(back, "rb").read() == data, "with a passphrase to the stock tool", code)


def stock(d):
    if not shutil.which("age"):
        t.skip("FILES WERE NOT EXCHANGED WITH THE STOCK age", "age is not installed")
        return
    key, other, plain, enc, back = (os.path.join(d, x) for x in ("key", "other", "plain", "enc", "back"))
    for k in key, other:
        subprocess.run(["age-keygen", "-o", k], check=True, capture_output=True)
    r, r2 = (subprocess.run(["age-keygen", "-y", k], check=True, capture_output=True, text=True).stdout.strip() for k in (key, other))
    for size in 0, 1, 65535, 65536, 65537, 131072, 7340032, 7340033:
        data = os.urandom(size)
        with open(plain, "wb") as f:
            f.write(data)
        subprocess.run(["age", "-r", r2, "-r", r, "-o", enc, plain], check=True)
        with open(enc, "rb") as f:
            code, error, out = opened(d, f.read(), [line.strip() for line in open(key)])
        t.ok(code == 0 and out == data, f"{size} bytes from the stock tool", error)
        with open(enc, "wb") as f:
            subprocess.run([DRIVER, "seal", plain, "-r", r, "-r", r2], check=True, stdout=f)
        for k in key, other:
            got = subprocess.run(["age", "-d", "-i", k, enc], capture_output=True)
            t.ok(got.returncode == 0 and got.stdout == data, f"{size} bytes to the stock tool", got.stderr.decode())
    # a file with many recipients
    many = os.path.join(d, "many")
    with open(many, "w") as f:
        for _ in range(20):
            f.write(subprocess.run(["age-keygen"], check=True, capture_output=True, text=True).stdout.split("public key: ")[1].split("\n")[0] + "\n")
        f.write(r + "\n")
    subprocess.run(["age", "-R", many, "-o", enc, plain], check=True)
    with open(enc, "rb") as f:
        code, error, out = opened(d, f.read(), [line.strip() for line in open(key)])
    t.ok(code == 0 and out == data, "one of 21 recipients of the stock tool", error)
    with open(enc, "wb") as f:
        subprocess.run([DRIVER, "seal", plain, "-r", many], check=True, stdout=f)
    t.ok(subprocess.run(["age", "-d", "-i", key, enc], capture_output=True).stdout == data, "one of 21 recipients from a file")
    stock_passphrase(d)


with gstest.scratch() as scratch:
    vectors(scratch)
    stock(scratch)
t.done()
