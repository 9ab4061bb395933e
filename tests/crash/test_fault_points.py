#!/usr/bin/python3
"""The means of the crash campaign themselves: fault points (libcommon/fault.h) are where they are said to be, do what they are told,
and are in no normal build; and the disk that fails (disk.c) loses what was not synced, and nothing else."""
import glob
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import worlds  # noqa: E402
from worlds import gstest  # noqa: E402

if not os.access(worlds.SNAP, os.X_OK):
    print("1..0 # SKIP no build with fault points (make FAULTS=1)")
    sys.exit(0)
t = gstest.Tap()

names = set()
for path in glob.glob(os.path.join(gstest.TOP, "lib*/**/*.[ch]"), recursive=True):
    if not os.path.basename(path).startswith("fault."):
        names |= set(re.findall(r'gs_fault\("([^"]+)"\)', open(path, encoding="utf-8").read()))
t.ok(len(names) >= 12, "there are fault points", repr(names))


def holds(binary):
    data = open(binary, "rb").read()
    return sorted(n for n in names | {"GROUPSNAP_FAULT_KILL", "gs_fault_point"} if n.encode() + b"\0" in data)


for normal in gstest.SNAP, gstest.REPLAY:
    t.is_eq(holds(normal), [], f"{os.path.basename(normal)}: a normal build holds no name of a fault point")
t.is_eq(set(holds(worlds.SNAP) + holds(worlds.REPLAY)) & names, names, "a build for tests holds them all")

with gstest.scratch() as d:
    def keygen(binary=worlds.SNAP, **env):
        gstest.run("/bin/sh", "-c", "rm -f key key.pub points", cwd=d)
        return gstest.run(binary, "keygen", "-o", "key", "--no-passphrase", cwd=d, env=gstest.environment(**env))

    def points():
        return [line.split() for line in open(os.path.join(d, "points")).read().splitlines()]

    r = keygen(GROUPSNAP_FAULT_LOG="points")
    whole = points()
    t.is_eq((r.code, [int(n) for n, _ in whole]), (0, list(range(1, len(whole) + 1))), "points are counted from 1")
    t.ok([n for _, n in whole][:4] == ["file.sync.before", "file.rename.before", "file.rename.after", "file.folder.synced"],
         "a file that appears whole passes four of them", repr(whole))
    r = keygen(GROUPSNAP_FAULT_LOG="points", GROUPSNAP_FAULT_KILL="9999,2")
    t.is_eq((r.code, points()), (-signal.SIGKILL, whole[:2]), "killed at the second point")
    r = keygen(GROUPSNAP_FAULT_LOG="points", GROUPSNAP_FAULT_NAME="file.rename.before:2")
    t.is_eq((r.code, points()[-1]), (-signal.SIGKILL, ["6", "file.rename.before"]), "killed at the second point of a name")
    for bad in {"GROUPSNAP_FAULT_KILL": "0"}, {"GROUPSNAP_FAULT_KILL": "1,x"}, {"GROUPSNAP_FAULT_NAME": "file"}, {"GROUPSNAP_FAULT_LOG": "/no/folder"}:
        t.is_eq(keygen(**bad).code, -signal.SIGABRT, f"{bad} is not taken for a campaign")
    t.is_eq(keygen(gstest.SNAP, GROUPSNAP_FAULT_KILL="1", GROUPSNAP_FAULT_LOG="points").code, 0, "a normal build does not look")
    t.ok(not os.path.exists(os.path.join(d, "points")), "and writes nothing")

    # ---- the disk ----
    disk, attic = os.path.join(d, "disk"), os.path.join(d, "attic")

    def on_disk(words, *lines):
        """Runs lines of Python in the folder `disk`, which holds the durable file `a` with 1000 bytes "o", and ends by SIGKILL."""
        gstest.run("/bin/sh", "-c", "rm -rf disk attic; mkdir disk attic; printf '%01000d' 0 | tr 0 o >disk/a", cwd=d)
        before = ["import os, signal", "def folder(): f = os.open('.', os.O_RDONLY); os.fsync(f); os.close(f)",
                  "def put(name, text, sync=False, mode='w'):", " with open(name, mode) as f:", "  f.write(text); f.flush()",
                  "  if sync: os.fsync(f.fileno())"]
        env = gstest.environment(LD_PRELOAD=worlds.DISK, GROUPSNAP_FAULT_DISK=words, GROUPSNAP_FAULT_DISK_ROOT=disk, GROUPSNAP_FAULT_DISK_ATTIC=attic)
        p = subprocess.run(["/usr/bin/python3", "-c", "\n".join([*before, *lines, "signal.raise_signal(signal.SIGKILL)"])], cwd=disk, env=env,
                           capture_output=True, text=True)
        held = {}
        for name in sorted(os.listdir(disk)):
            path = os.path.join(disk, name)
            held[name] = open(path).read() if os.path.isfile(path) else None
        return p.returncode, held, p.stderr

    def is_disk(words, lines, want, name):
        code, held, err = on_disk(words, *lines)
        t.ok((code, held) == (-signal.SIGKILL, want), name, f"ended with {code}", f"got  {held}", f"want {want}", err)

    old = "o" * 1000
    if "asan" not in worlds.BUILD:
        is_disk("lose", ["put('a', 'n' * 300, mode='r+')"], {"a": old}, "an overwritten part that was not synced is as before")
        is_disk("lose", ["put('a', 'n' * 300, True, 'r+')"], {"a": "n" * 300 + "o" * 700}, "one that was synced stays")
        is_disk("lose", ["put('a', 'n' * 300, True, 'r+')", "put('a', 'm' * 2000, mode='a')"], {"a": "n" * 300 + "o" * 700}, "growth is lost")
        is_disk("lose", ["put('a', 'short')"], {"a": old}, "a shortened file has its length again")
        is_disk("lose", ["put('b', 'new', True)"], {"a": old}, "a new file is gone unless its folder was synced")
        is_disk("lose", ["put('b', 'new', True)", "folder()"], {"a": old, "b": "new"}, "with its folder synced it stays")
        is_disk("lose", ["put('b', 'new')", "folder()"], {"a": old, "b": ""}, "a name that is durable before the contents are")
        is_disk("lose", ["put('b', 'new', True)", "folder()", "os.rename('b', 'a')"], {"a": old, "b": "new"}, "a rename is taken back")
        is_disk("lose", ["put('b', 'new', True)", "os.rename('b', 'a')", "folder()"], {"a": "new"}, "a durable one is not")
        is_disk("lose", ["os.unlink('a')"], {"a": old}, "what was removed is there again")
        is_disk("lose", ["os.unlink('a')", "folder()"], {}, "unless the removal was durable")
        is_disk("lose", ["os.mkdir('d')", "put('d/x', 'new', True)"], {"a": old}, "a new folder goes with what is in it")
        is_disk("lose", ["os.link('a', 'b')", "os.unlink('a')"], {"a": old}, "a link and a removal are taken back in order")
        is_disk("kill=2", ["put('a', 'n' * 300, mode='r+')", "put('b', 'x')"], {"a": "n" * 300 + "o" * 700}, "a kill alone loses nothing")
        is_disk("cut=2", ["put('a', 'n' * 300, mode='r+')", "put('b', 'x')"], {"a": old}, "power fails at an operation")
        seen = {on_disk(f"lose,seed={s}", "put('a', 'n' * 1000, mode='r+')")[1]["a"] for s in range(1, 13)}
        t.is_eq(seen, {a + b for a in ("n" * 512, "o" * 512) for b in ("n" * 488, "o" * 488)}, "with seeds every sector may or may not be there")
        code, held, err = on_disk("full=1", "put('a', 'x', mode='a')")
        t.ok(code == 1 and held == {"a": old} and "No space left" in err, "a full disk", err)
        code, held, err = on_disk("eio=1", "put('a', 'x', True, 'a')")
        t.ok(code == 1 and "Input/output error" in err, "a sync that fails", err)
        code, held, err = on_disk("readonly", "put('a', 'x', mode='a')")
        t.ok(code == 1 and held == {"a": old} and "Read-only file system" in err, "a disk that cannot be written", err)

        # a key file is whole or absent whenever power fails
        states = set()
        for n in range(1, 40):
            for s in 0, n:
                gstest.run("/bin/sh", "-c", "rm -rf disk attic; mkdir disk attic", cwd=d)
                env = gstest.environment(LD_PRELOAD=worlds.DISK, GROUPSNAP_FAULT_DISK=f"cut={n},seed={s}", GROUPSNAP_FAULT_DISK_ROOT=disk,
                                         GROUPSNAP_FAULT_DISK_ATTIC=attic)
                r = gstest.run(worlds.SNAP, "keygen", "-o", "key", "--no-passphrase", cwd=disk, env=env)
                sizes = {os.path.getsize(os.path.join(disk, x)) for x in os.listdir(disk) if x == "key"}
                states.add((r.code, *sizes))
        whole_size = max((x[1] for x in states if len(x) > 1), default=0)
        t.ok({len(x) for x in states} == {1, 2} and whole_size > 100 and all(x[1] == whole_size for x in states if len(x) > 1),
             "a key file is whole or absent whenever power fails", repr(states))
    else:
        t.skip("the disk that fails", "cannot be loaded in front of a sanitizer")
t.done()
