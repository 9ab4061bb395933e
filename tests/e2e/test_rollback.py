#!/usr/bin/python3
"""An older bundle of a source of which a newer one was loaded is refused."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
gstest.REMEMBER = True
SEEN = os.path.join(gstest.HOME, "state/groupsnap/seen.json")

with gstest.scratch() as d:
    key = gstest.keygen(d)
    gstest.bundle(d, key, {7: {"self": {"id": 7, "name": "top", "path": "top", "parent_id": None}, "labels": [{"title": "a", "color": "#112233"}]},
                           }, "first")
    for name, day in ("old", 2), ("new", 3):
        r = gstest.snap("import-archive", "first", "-o", name + ".gsnap", "--key", key, "--time", f"2025-01-0{day}T00:00:00Z", cwd=d)
        t.is_eq(r.code, 0, f"the {name} bundle", str(r))
    with gstest.Target(d, "target", users={"users": []}) as sim:
        def replay(verb, name, *args):
            to = ("--url", sim.url, "--rename", "top=" + name, "--state", name + ".state") if verb != "verify" else ()
            return gstest.replay(verb, name + ".gsnap", "--trust", "key.pub", *to, *args, token=sim.tokens["admin"], cwd=d)

        t.is_eq(replay("plan", "old").code, 0, "nothing was loaded yet: the old one is planned")
        t.ok(not os.path.exists(SEEN), "a plan is no load")
        r = replay("apply", "new", "--yes")
        t.is_eq(r.code, 0, "the new one is loaded", str(r))
        seen = json.load(open(SEEN))["sources"]
        t.is_eq([(s["root_path"], s["root_id"], s["serial"]) for s in seen], [("top", 7, 1735862400)], "and remembered")
        for args in (("verify",), ("apply", "--yes", "--dry-run")):
            r = replay(args[0], "old", *args[1:])
            if args[0] == "verify":
                t.is_eq(r.code, 21, "the old one is refused by verify", str(r))
                t.has(r.err, "a newer bundle of group 'top' was loaded before: serial 1735862400 of 2025-01-03T00:00:00", "which says why")
                t.has(r.err, "[rollback]", "with its code")
            else:
                t.is_eq(r.code, 21, "and by a new plan", str(r))
        os.rename(os.path.join(d, "old.state"), os.path.join(d, "begun.state"))
        r = replay("plan", "old")
        t.is_eq((r.code, os.path.exists(os.path.join(d, "old.state"))), (21, False), "plan leaves no state file behind", str(r))
        r = replay("verify", "old", "--json", "--allow-rollback")
        t.is_eq((r.code, r.json()["ok"], "warning: a newer bundle" in r.err), (0, True, True), "--allow-rollback takes it, with a warning", str(r))
        os.rename(os.path.join(d, "begun.state"), os.path.join(d, "old.state"))
        r = replay("apply", "old", "--yes")
        t.is_eq(r.code, 0, "a load that was planned before goes on", str(r))
        t.is_eq([s["serial"] for s in json.load(open(SEEN))["sources"]], [1735862400], "and the memory is not turned back")
        t.is_eq(replay("verify", "new").code, 0, "the new one may be taken again")
        with open(SEEN, "w") as f:
            f.write("{}")
        r = replay("verify", "new")
        t.is_eq((r.code, "[trust-store-invalid]" in r.err), (20, True), "a memory that cannot be read is not taken for an empty one", str(r))
        r = replay("apply", "new", "--yes")
        t.is_eq((r.code, "cannot be remembered" in r.err), (0, True), "a load that was begun goes on with a warning", str(r))
t.done()
