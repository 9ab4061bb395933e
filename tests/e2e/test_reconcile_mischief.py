#!/usr/bin/python3
"""`replay reconcile` against a target that was damaged behind its back (tests/sim/glsim/mischief.py): it must name everything that was
done, by the right attribute, and nothing else.

    test_reconcile_mischief.py [--seeds N] [--seed S] [--keep-going]

Seed S does up to six things; the first of them goes through the catalogue in turn, so that N >= the catalogue's length does each. One line
of the form `planted N, found N, false 0` ends it.
"""
import argparse
import collections
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

a = argparse.ArgumentParser()
a.add_argument("--seeds", type=int, default=int(os.environ.get("MISCHIEF_SEEDS", "86")))
a.add_argument("--seed", type=int, help="this one alone")
a = a.parse_args()
t = gstest.Tap()
VERSION = "18.10.0-ee"


def what(f):
    """A finding, as the simulator names what it did."""
    key = None if f["relation"] == "badges" else f.get("target_key", f["key"])
    if key and f["finding"] == "differs" and f.get("attribute") in ("title", "name") and f["relation"] != "self":
        key = f["key"]  # what it was called before
    return (f["finding"], f["group"], f["relation"], key, f.get("attribute"))


with gstest.scratch() as d:
    key = gstest.keygen(d)
    with gstest.Sim(d, "source", "--tier", "premium", "--version", VERSION, "--seed", gstest.DEMO_TREE) as source:
        r = gstest.snap("create", "--url", source.url, "halden-instruments", "-o", "demo.gsnap", "--key", key, token=source.tokens["owner"],
                        cwd=d)
        t.is_eq(r.code, 0, "the demo tree is captured", str(r))
    with gstest.Sim(d, "target", "--tier", "premium", "--version", VERSION, "--empty", "--users", gstest.DEMO_USERS) as target:
        admin = target.tokens["admin"]
        r = gstest.replay("apply", "demo.gsnap", "--trust", "key.pub", "--url", target.url, "--yes", token=target.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "and loaded", str(r))

        def reconcile(*args):
            return gstest.replay("reconcile", "demo.gsnap", "--trust", "key.pub", "--url", target.url, "--json", *args, token=admin, cwd=d)

        r = reconcile()
        t.is_eq(r.code, 0, "the books of the untouched target balance", *[json.dumps(x) for x in r.lines() if x.get("counts_as") == "fault"],
                r.err)
        target.call("/_sim/snapshot", {"name": "loaded"})
        planted = found = false = 0
        done = collections.Counter()
        for seed in [a.seed] if a.seed is not None else range(a.seeds):
            target.call("/_sim/restore", {"name": "loaded"})
            did = target.call("/_sim/mischief", {"seed": seed, "count": 1 + seed % 6, "root": "halden-instruments", "first": seed})["planted"]
            r = reconcile()
            got = collections.Counter(what(x) for x in r.lines() if x.get("counts_as") in ("fault", "unread"))
            wrong = []
            for p in did:
                done[(p["how"], p["kind"], p["attribute"])] += 1
                want = collections.Counter(what(x) for x in p["expect"])
                planted += 1
                if not want - got:
                    found += 1
                    got -= want
                else:
                    wrong.append(f"seed {seed}: not found: {json.dumps(p)}")
            false += sum(got.values())
            wrong += [f"seed {seed}: never planted: {x}" for x in got.elements()]
            wrong += [f"seed {seed}: exit code {r.code}"] if r.code != (3 if did else 0) else []
            if wrong:
                t.ok(False, f"seed {seed}: what was done is what is named", *wrong, r.err)
        size = target.call("/_sim/mischief", {"seed": 0, "count": 0, "root": "halden-instruments"})["catalogue"]
        if a.seed is None:
            t.ok(len(done) >= min(size, a.seeds), f"{len(done)} of the catalogue's {size} things were done")
        t.ok(planted and planted == found and not false, f"planted {planted}, found {found}, false {false}")
        print(f"planted {planted}, found {found}, false {false}")
t.done()
