#!/usr/bin/python3
"""A bundle with any byte changed or cut off anywhere: `replay verify` must end with 20, 21 or 22, never with 0 and never by a signal.

Every byte of the manifest, the signature and SUMS is changed one at a time, then 1,000 seeded bytes elsewhere; the file is cut at every
512 bytes. GS_SEED changes the seed."""
import concurrent.futures
import os
import random
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

SEED = int(os.environ.get("GS_SEED", "20260102"))
t = gstest.Tap()
print(f"# seed {SEED}")


def spans(path):
    """Where the data of each member lies: {name: (offset, size)}."""
    with tarfile.open(path, "r:") as tar:
        return {m.name: (m.offset_data, m.size) for m in tar.getmembers()}


def verdict(args):
    """Verifies one damaged copy, deeply; returns its exit code."""
    data, name, key = args
    with open(name, "wb") as f:
        f.write(data)
    p = subprocess.run([gstest.REPLAY, "verify", name, "--trust", key, "--threads", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return p.returncode


def campaign(what, cases, d, key):
    """`cases` yields (description, bytes)."""
    codes, bad, n = {}, [], 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        names = [os.path.join(d, f"damaged{i}.gsnap") for i in range(64)]
        batch = []

        def flush():
            nonlocal n
            for (text, _), code in zip(batch, pool.map(verdict, [(data, names[i], key) for i, (_, data) in enumerate(batch)])):
                n += 1
                codes[code] = codes.get(code, 0) + 1
                if code not in (20, 21, 22):
                    bad.append(f"{text}: exit {code}")
            batch.clear()

        for case in cases:
            batch.append(case)
            if len(batch) == len(names):
                flush()
        flush()
    t.ok(n > 0 and not bad, f"{what}: {n} cases, exit codes {dict(sorted(codes.items()))}", *bad[:20])


with gstest.scratch() as d:
    gstest.keygen(d)
    pub = os.path.join(d, "key.pub")
    tree = os.path.join(d, "export/tree/groups")
    os.makedirs(os.path.join(tree, "7"))
    with open(os.path.join(tree, "_all.ndjson"), "w") as f:
        f.write("7\n")
    with open(os.path.join(tree, "7.json"), "w") as f:
        f.write('{"id":7,"name":"Seven","path":"seven","parent_id":null,"visibility_level":0,"description":"d"}')
    with open(os.path.join(tree, "7/labels.ndjson"), "w", encoding="utf-8") as f:
        for i in range(300):
            f.write('{"id":%d,"title":"label %d","color":"#%06x","description":"\\u2603 %d","group_id":7}\n' % (i, i, i * 7919 % 0xffffff, i ** 5))
    with open(os.path.join(tree, "7/badges.ndjson"), "w") as f:
        f.write('{"id":1,"name":"b","link_url":"https://a","image_url":"https://b","group_id":7}\n')
    r = gstest.snap("import-archive", os.path.join(d, "export"), "-o", "b.gsnap", "--key", "key", cwd=d)
    t.is_eq(r.code, 0, "a bundle to damage", str(r))
    path = os.path.join(d, "b.gsnap")
    whole = open(path, "rb").read()
    t.is_eq(verdict((whole, os.path.join(d, "same.gsnap"), pub)), 0, "the whole one verifies")
    where = spans(path)
    head = [n for n in where if n in ("manifest.json", "SUMS") or n.endswith(".minisig")]
    t.ok(len(head) == 3, "manifest, signature and SUMS are there", repr(list(where)))
    rnd = random.Random(SEED)

    def changed(at, to=None):
        b = bytearray(whole)
        b[at] = b[at] ^ (rnd.randrange(255) + 1) if to is None else to
        return bytes(b)

    for name in head:
        off, size = where[name]
        campaign(f"every byte of {name}", ((f"{name} byte {i}", changed(off + i)) for i in range(size)), d, pub)
    taken = {i for n in head for i in range(where[n][0], where[n][0] + where[n][1])}
    rest = [i for i in range(len(whole)) if i not in taken]
    campaign("seeded bytes elsewhere", ((f"byte {i}", changed(i)) for i in (rnd.choice(rest) for _ in range(1000))), d, pub)
    campaign("cut at every 512 bytes", ((f"cut at {i}", whole[:i]) for i in range(0, len(whole), 512)), d, pub)
    campaign("cut in a block", ((f"cut at {i}", whole[:i]) for i in (rnd.randrange(len(whole)) for _ in range(100))), d, pub)
    campaign("something behind the end", ((f"{n} bytes more", whole + bytes([v]) * n) for n in (1, 511, 512, 10240) for v in (0, 255)), d, pub)
t.done()
