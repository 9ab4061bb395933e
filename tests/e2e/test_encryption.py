#!/usr/bin/python3
"""Encrypted bundles on the command line: made, read by every verb with an identity or a passphrase, refused without, damaged; and nothing
decrypted on a disk."""
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TIME = "2024-01-02T03:04:05.678Z"
MARK = "a text that nobody else may read"
USERS = {"users": [{"id": 1, "username": "root", "email": "root@there.example", "admin": True},
                   {"id": 2, "username": "loader", "email": "loader@there.example"}], "tokens": {"admin": "root", "owner": "loader"}}


def group(gid, parent, path):
    return {"id": gid, "parent_id": parent, "name": path.title(), "path": path, "description": f"{MARK} {path}", "visibility_level": 0,
            "request_access_enabled": True}


def label(lid, gid, title, noise=20):
    return {"id": lid, "title": title, "color": "#ff0000", "group_id": gid, "description": f"{MARK} {title} {os.urandom(noise).hex()}",
            "type": "GroupLabel", "created_at": TIME, "updated_at": TIME}


TREE = {10: {"self": group(10, None, "team"), "labels": [label(i, 10, f"label {i}") for i in range(1, 31)]},
        11: {"self": group(11, 10, "child"), "labels": [label(i, 11, f"inner {i}") for i in range(31, 41)]},
        # enough bytes that do not shrink for several chunks
        12: {"self": group(12, 10, "bulk"), "labels": [label(100 + i, 12, f"bulk {i}", 10000) for i in range(40)]}}


def code_of(r):
    found = re.search(r"\[([a-z0-9-]+)\]", r.err)
    return r.code, found[1] if found else ""


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def write(data, *path):
    with open(os.path.join(*path), "wb") as f:
        f.write(data)


def keys(d):
    r = gstest.snap("keygen", "--age", "-o", "me", cwd=d)
    t.is_eq(r.code, 0, "keygen --age", str(r))
    text, pub = read(d, "me").decode(), read(d, "me.recipient").decode()
    t.ok(re.fullmatch(r"# created: [0-9T:.-]+Z\n# public key: (age1[0-9a-z]{58})\nAGE-SECRET-KEY-1[0-9A-Z]{58}\n", text),
         "the identity file has the form of age-keygen's")
    t.is_eq(re.search("age1[0-9a-z]+", text)[0] + "\n", pub, "the public key stands in it and beside it")
    t.ok(pub.strip() in r.out and "AGE-SECRET-KEY" not in r.out + r.err, "it is shown, the secret is not")
    t.is_eq(os.stat(os.path.join(d, "me")).st_mode & 0o777, 0o600, "only its owner may read it")
    if shutil.which("age-keygen"):
        t.is_eq(subprocess.run(["age-keygen", "-y", os.path.join(d, "me")], capture_output=True, text=True).stdout, pub, "age-keygen agrees")
    else:
        t.skip("AGE-KEYGEN WAS NOT ASKED", "age is not installed")
    t.is_eq(code_of(gstest.snap("keygen", "--age", "-o", "me", cwd=d)), (2, "file-exists"), "an identity is never replaced")
    t.is_eq(gstest.snap("keygen", "--age", "-o", "other", "--json", cwd=d).json()["recipient_file"], "other.recipient", "--json")
    write(b"correct horse\n", d, "words")
    write(b"wrong horse\n", d, "wrong-words")
    r = gstest.snap("keygen", "--age", "-o", "locked", "--passphrase-file", "words", cwd=d)
    t.ok(r.code == 0 and read(d, "locked").startswith(b"age-encryption.org/v1\n-> scrypt "), "an identity under a passphrase", str(r))


def seal(d):
    for out, args in (("me.age", ["--encrypt-to", "me.recipient", "--encrypt-to", read(d, "locked.recipient").decode().strip()]),
                      ("words.age", ["--age-passphrase-file", "words"])):
        r = gstest.snap("seal", "team.gsnap", "-o", out, *args, cwd=d)
        t.is_eq(r.code, 0, f"seal to {out}", str(r))
    t.is_eq(sorted(x for x in os.listdir(d) if ".tmp." in x), [], "nothing else is left")
    bad = [(["--encrypt-to", "me"], "age-key-format", "a secret key is no recipient"), (["--encrypt-to", "age1qqqq"], "age-key-format", "a broken one"),
           (["--encrypt-to", "absent"], "file-not-found", "a file that is not there"),
           (["--encrypt-to", "me.recipient", "--age-passphrase-file", "words"], "usage", "both kinds")]
    for args, code, what in bad:
        r = gstest.snap("seal", "team.gsnap", "-o", "x.age", *args, cwd=d)
        t.ok(code_of(r)[1] == code and r.code in (2, 10) and "AGE-SECRET" not in r.out + r.err, f"{what}: {code}", str(r))
    t.is_eq(gstest.snap("seal", "team.gsnap", "-o", "x.age", cwd=d).code, 2, "to nobody")
    t.is_eq(code_of(gstest.snap("seal", "me.age", "-o", "x.age", "--encrypt-to", "me.recipient", cwd=d)), (2, "usage"), "encrypted already")
    t.is_eq(code_of(gstest.snap("seal", "team.gsnap", "-o", "me.age", "--encrypt-to", "me.recipient", cwd=d)), (2, "file-exists"), "over a file")
    t.is_eq(code_of(gstest.snap("seal", "team.gsnap", "-o", "x.age", "--encrypt-passphrase", cwd=d)), (12, "age-passphrase"), "no terminal to ask on")
    t.ok(not os.path.exists(os.path.join(d, "x.age")), "no file after any of these")


WAYS = {"an identity": ("me.age", ["--identity", "me"]), "the second of two identities": ("me.age", ["--identity", "other", "-i", "me"]),
        "an identity under a passphrase": ("me.age", ["--identity", "locked", "--age-passphrase-file", "words"]),
        "a passphrase": ("words.age", ["--age-passphrase-file", "words"])}


def readers(d):
    plain = {v: gstest.snap(*v, "team.gsnap", "--trust", "key.pub", cwd=d) for v in (("cat",), ("inspect", "--tree"), ("inspect", "--json"))}
    for what, (file, how) in WAYS.items():
        for tool in gstest.snap, gstest.replay:
            r = tool("verify", "--deep", file, "--trust", "key.pub", "--json", *how, cwd=d)
            t.ok(r.code == 0 and r.json()["ok"], f"verify --deep with {what}", str(r))
    for verb, want in plain.items():
        r = gstest.replay(*verb, "me.age", "--trust", "key.pub", "--identity", "me", cwd=d)
        t.ok(r.code == 0 and want.code == 0 and r.out.replace("me.age", "team.gsnap") == want.out, f"{' '.join(verb)} gives the same", str(r)[:2000])
    r = gstest.snap("cat", "me.age", "team/child/labels", "-i", "me", cwd=d)
    t.is_eq(len(r.lines()), 10, "one relation of one group")
    r = gstest.snap("diff", "team.gsnap", "me.age", "--trust", "key.pub", "-i", "me", cwd=d)
    t.is_eq(r.code, 0, "diff with the plain one", str(r))
    r = gstest.snap("verify", "team.gsnap", "--trust", "key.pub", "--identity", "me", cwd=d)
    t.is_eq(r.code, 0, "an identity does no harm where nothing is encrypted", str(r))


def refused(d, url):
    verbs = {"inspect": [], "verify": ["--trust", "key.pub"], "cat": [], "diff": ["me.age"],
             "plan": ["--trust", "key.pub", "--url", url]}
    for verb, more in verbs.items():
        tool = gstest.replay if verb == "plan" else gstest.snap
        for how, want, name in (([], "age-identity-missing", "no identity"), (["--identity", "other"], "age-identity-wrong", "another identity")):
            r = tool(verb, "me.age", *more, *how, cwd=d, token="none")
            t.ok(code_of(r) == (12, want) and "--identity" in r.err and MARK not in r.out, f"{verb} with {name}: {want}", str(r))
    for how, what in ((["--age-passphrase-file", "wrong-words"], "a wrong passphrase"), ([], "no passphrase and no terminal"), (["-i", "me"], "an identity")):
        r = gstest.replay("verify", "words.age", "--trust", "key.pub", *how, cwd=d)
        t.ok(code_of(r) == (12, "age-passphrase") and "horse" not in r.out + r.err, f"{what} where there is a passphrase", str(r))
    for how, want in (("absent", (10, "file-not-found")), ("key", (2, "age-key-format")), ("me.recipient", (2, "age-key-format"))):
        t.is_eq(code_of(gstest.replay("verify", "me.age", "--trust", "key.pub", "-i", how, cwd=d)), want, f"--identity {how}")
    r = gstest.snap("verify", "me.age", "--trust", "key.pub", "--json", cwd=d)
    t.is_eq(json.loads(r.out.splitlines()[-1])["error"]["code"], "age-identity-missing", "the code is in --json")
    r = gstest.snap("sign", "me.age", "--key", "key", cwd=d)
    t.is_eq(code_of(r), (12, "age-identity-missing"), "sign does not sign what it cannot look into", str(r))


def damaged(d):
    data = read(d, "me.age")
    head = data.index(b"\n--- ") + 49 + 16
    t.ok(len(data) > head + 5 * 65552, f"{len(data)} bytes in several chunks")
    bad = []
    cuts = [0, 1, 21, 22, 100, head - 17, head - 1, head, head + 15, head + 16, head + 65551, head + 65552, head + 2 * 65552, len(data) - 1]
    flips = [30, 60, head - 20, head - 10, head, head + 65551, head + 65552, head + 3 * 65552 + 7, len(data) - 17, len(data) - 1]
    cases = [(f"cut to {n}", data[:n]) for n in cuts] + [(f"changed at {n}", data[:n] + bytes([data[n] ^ 4]) + data[n + 1:]) for n in flips]
    cases += [("chunks exchanged", data[:head] + data[head + 65552:head + 131104] + data[head:head + 65552] + data[head + 131104:]),
              ("a chunk left out", data[:head] + data[head + 65552:]), ("one byte more", data + b"x")]
    for what, file in cases:
        write(file, d, "bad.age")
        r = gstest.replay("verify", "bad.age", "--trust", "key.pub", "-i", "me", cwd=d)
        # a stanza that was changed is another's; all of it gone is no age file
        fine = (20, 12) if what.startswith("changed at") and int(what.split()[-1]) < head - 66 else (20,)
        if r.code not in fine:
            bad.append(f"{what}: {r}")
    t.ok(not bad, f"{len(cases)} damaged files: exit 20", *bad)


def written_by(d, tool, *args, token=None):
    """The regular files that a command opens for writing, by strace; and how it ended."""
    trace = os.path.join(d, "trace")
    env = gstest.environment(token, ASAN_OPTIONS="detect_leaks=0")  # which cannot be found by a process that is traced
    r = gstest.run("strace", "-f", "-qq", "-o", trace, "-e", "trace=open,openat,creat,memfd_create", tool, *args, cwd=d, env=env)
    names = set()
    for line in open(trace, errors="replace"):
        found = re.search(r'open(?:at)?\((?:AT_FDCWD, |\d+, )?"([^"]*)", ([A-Z_|]+)', line)
        if found and re.search("O_WRONLY|O_RDWR|O_CREAT", found[2]) and not found[1].startswith("/dev/"):
            names.add(found[1])
    return r, names


def holds_plain(file, plain):
    """Does one of the windows of `plain` stand in `file`? Every byte of it is in one, but for the last."""
    return any(plain[i:i + 24] in file for i in range(0, len(plain) - 24, 24) if len(set(plain[i:i + 24])) > 8)


def no_plaintext(d):
    if not shutil.which("strace"):
        t.skip("WRITES WERE NOT LOOKED AT", "strace is not installed")
        return
    how = ["--trust", "key.pub", "--identity", "me"]
    for verb in (["verify", "--deep"], ["cat"], ["inspect", "--tree"], ["diff", "team.gsnap"]):
        r, names = written_by(d, gstest.SNAP, *verb, "me.age", *how)
        t.ok(r.code == 0 and not names, f"{verb[0]} opens no file for writing", str(r)[:500], repr(names))
    plain = read(d, "team.gsnap")
    t.ok(holds_plain(plain[:3000] + b"x", plain), "what is looked for would be found")
    r, names = written_by(d, gstest.SNAP, "seal", "team.gsnap", "-o", "again.age", "--encrypt-to", "me.recipient")
    t.ok(r.code == 0 and len(names) == 1 and next(iter(names)).startswith("again.age.tmp."), "seal writes its own file only", str(r), repr(names))
    for name in "again.age", "me.age", "words.age":
        t.ok(not holds_plain(read(d, name), plain), f"{name} holds nothing of the bundle")


def load(d):
    """The same load from the plain and from the encrypted bundle."""
    results = {}
    for name, file, how in (("plain", "team.gsnap", []), ("sealed", "team.gsnap.age", ["--identity", "me"])):
        shutil.copy(os.path.join(d, "me.age"), os.path.join(d, "team.gsnap.age"))
        with gstest.Target(d, name, "--tier", "premium", users=USERS) as sim:
            common = ["--trust", "key.pub", "--url", sim.url, *how]
            token = sim.tokens["owner"]
            r = gstest.replay("plan", file, *common, token=token, cwd=d)
            t.is_eq(r.code, 0, f"plan of the {name} one", str(r))
            sim.faults({"match": {"method": "POST", "path": "/labels$"}, "do": {"status": 400, "body": {"message": {"title": ["is invalid"]}}}})
            if how and shutil.which("strace"):
                r, names = written_by(d, gstest.REPLAY, "apply", file, *common, "--yes", token=token)
                here = {os.path.basename(x) for x in names}
                t.ok(here and all(x.startswith(("team.state", "seen.json")) for x in here), "apply writes its state only, and that this bundle was loaded", repr(names))
            else:
                r = gstest.replay("apply", file, *common, "--yes", token=token, cwd=d)
            t.is_eq(r.code, 3, f"apply of the {name} one, with one failure", str(r))
            r = gstest.replay("retry", "--state", "team.state", *common, "--yes", token=token, cwd=d)
            t.is_eq(r.code, 0, "retry", str(r))
            results[name] = gstest.normalised(sim.dump(), "team")
            if how:
                state = b"".join(read(d, x) for x in os.listdir(d) if x.startswith("team.state"))
                bundle = read(d, "team.gsnap")
                t.ok(not holds_plain(state, bundle[bundle.index(b"groups/10/"):]) and MARK.encode() not in state,
                     "the state file holds no record of the bundle")
                r = gstest.replay("apply", "--state", "team.state", "--trust", "key.pub", "--yes", token=token, cwd=d)
                t.is_eq(code_of(r), (12, "age-identity-missing"), "the state knows the file, not the identity")
            r = gstest.replay("undo", "--state", "team.state", *common, "--yes", token=sim.tokens["admin"], cwd=d)
            t.is_eq(r.code, 0, "undo", str(r))
        os.remove(os.path.join(d, "team.state"))
    t.ok(len(results["plain"]) == 3 and results["plain"] == results["sealed"], "both loads made the same")


def create(d):
    with gstest.Sim(d, "source", "--seed", gstest.DEMO_TREE, "--tier", "premium") as sim:
        root = json.load(open(gstest.DEMO_TREE, encoding="utf-8"))["groups"][0]["path"]
        common = ["create", "--url", sim.url, root, "--key", "key", "--via", "api"]
        token = sim.tokens["owner"]
        t.is_eq(gstest.snap(*common, "-o", "demo.gsnap", token=token, cwd=d).code, 0, "a plain capture")
        r = gstest.snap(*common, "-o", "demo.age", "--encrypt-to", "me.recipient", token=token, cwd=d)
        t.ok(r.code == 0 and "demo.age.work' holds what is received without encryption" in r.err, "create --encrypt-to says what is not encrypted", str(r))
        t.ok(read(d, "demo.age").startswith(b"age-encryption.org/v1\n-> X25519 "), "the file is encrypted")
        t.is_eq([x for x in os.listdir(d) if x.startswith("demo.age.")], [], "nothing else is left")
        r = gstest.snap("verify", "--deep", "demo.age", "--trust", "key.pub", "-i", "me", cwd=d)
        t.is_eq(r.code, 0, "verify --deep", str(r))
        r = gstest.snap("diff", "demo.gsnap", "demo.age", "--trust", "key.pub", "-i", "me", cwd=d)
        t.is_eq(r.code, 0, "it holds what the plain one holds", str(r))
        r = gstest.snap(*common, "-o", "demo.age", "--encrypt-to", "me.recipient", token=token, cwd=d)
        t.is_eq(code_of(r), (2, "file-exists"), "not over an existing one")
        killed(d, common, token)
    if shutil.which("age"):
        r = subprocess.run(["age", "-d", "-i", "me", "-o", "back.gsnap", "demo.age"], cwd=d)
        t.is_eq((r.returncode, gstest.snap("verify", "back.gsnap", "--trust", "key.pub", cwd=d).code), (0, 0), "the stock tool decrypts it")
    for name, how, key in (("im.age", ["--encrypt-to", "me.recipient"], ["-i", "me"]),
                           ("ip.age", ["--age-passphrase-file", "words"], ["--age-passphrase-file", "words"])):
        r = gstest.snap("import-archive", "team", "-o", name, "--key", "key", "--json", *how, cwd=d)
        size = os.path.getsize(os.path.join(d, name))
        t.ok(r.code == 0 and r.json()["encrypted"] and r.json()["size"] == size, f"import-archive to {name}", str(r))
        v = gstest.snap("verify", "--deep", name, "--trust", "key.pub", "--json", *key, cwd=d)
        t.ok(v.code == 0 and v.json()["digest"] == r.json()["digest"], "it verifies", str(v))


def killed(d, common, token):
    """Ended between the moment in which the file got its name and the tidying up: the same command says that it is done."""
    faulty = os.path.join(os.path.dirname(gstest.BUILD), "gcc-faults/snap")
    if not os.path.exists(faulty):
        t.skip("A KILL BEHIND THE RENAME WAS NOT TRIED", "build with FAULTS=1 first")
        return
    args = [*common, "-o", "late.age", "--encrypt-to", "me.recipient"]
    env = gstest.environment(token, GROUPSNAP_FAULT_NAME="file.folder.synced:1")
    r = gstest.run(faulty, *args, cwd=d, env=env)
    t.ok(r.code == -9 and {"late.age", "late.age.work"} <= set(os.listdir(d)), "killed behind the rename", str(r))
    r = gstest.snap(*args, token=token, cwd=d)
    t.ok(r.code == 0 and "complete already" in r.err and "late.age.work" not in os.listdir(d), "the same command tidies up", str(r))


with gstest.scratch() as scratch:
    gstest.keygen(scratch)
    gstest.bundle(scratch, "key", TREE, "team")
    keys(scratch)
    seal(scratch)
    readers(scratch)
    with gstest.Target(scratch, "any", users=USERS) as any_sim:
        refused(scratch, any_sim.url)
    damaged(scratch)
    no_plaintext(scratch)
    load(scratch)
    create(scratch)
t.done()
