#!/usr/bin/python3
"""`replay reconcile` against a target that was damaged behind its back (tests/sim/glsim/mischief.py): it must name everything that was
done, by the right attribute, and nothing else.

    test_reconcile_mischief.py [--seeds N [--first S]] [--seed S]

Everything in the catalogue is done once, some things at a time. With --seeds, seed S does up to six things, the first of them entry S of the
catalogue, the others by chance. Epics and what belongs to them are damaged in the planning tree, loaded as its authors, and in the demo
tree, loaded as Owner; everything else in the latter. One line of the form `planted N, found N, false 0` ends it.
"""
import argparse
import collections
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

a = argparse.ArgumentParser()
a.add_argument("--seeds", type=int, help="that many, each with one entry of the catalogue and up to five other things; else everything once")
a.add_argument("--first", type=int, default=0, help="the number of the first of them")
a.add_argument("--seed", type=int, help="this one of them alone")
a = a.parse_args()
t = gstest.Tap()
AT_ONCE = 12
PLANNING = ("epics", "epic_boards", "iterations_cadences")
PLANNING_TREE = os.path.join(gstest.TOP, "tests/sim/planning_tree.json")
# what the demo tree's bundle does not say: how cadences automate, and which epics the lists of its boards show
UNKNOWN = {"lists": False, "without": [("iterations_cadences", x) for x in ("automatic", "duration_in_weeks", "iterations_in_advance")] +
           [("epic_boards", "epic_lists.epics.order")]}
done, planted, found, false = collections.Counter(), 0, 0, 0


def what(f):
    """A finding, as the simulator names what it did."""
    key = None if f["relation"] == "badges" else f.get("target_key", f["key"])
    if key and f["finding"] == "differs" and f.get("attribute") in ("title", "name", "iid") and f["relation"] != "self":
        key = f["key"]  # what it was called before
    return (f["finding"], f["group"], f["relation"], key, f.get("attribute"))


class World:
    """A loaded target, to be damaged again and again."""

    def __init__(self, name, root, target, *args, token, **how):
        self.bundle, self.root, self.target, self.how = name + ".gsnap", root, target, how
        r = gstest.replay("apply", self.bundle, "--trust", "key.pub", "--url", target.url, "--yes", *args, token=target.tokens[token], cwd=d)
        t.is_eq(r.code, 0, f"{name}: loaded", str(r))
        r = self.reconcile()
        t.is_eq(r.code, 0, f"{name}: the books of the untouched target balance", *[json.dumps(x) for x in r.lines() if x.get("counts_as") == "fault"], r.err)
        target.call("/_sim/snapshot", {"name": "loaded"})
        self.catalogue = self.do(seed=0, count=0)["catalogue"]

    def reconcile(self):
        return gstest.replay("reconcile", self.bundle, "--trust", "key.pub", "--url", self.target.url, "--json", token=self.target.tokens["admin"], cwd=d)

    def do(self, **how):
        return self.target.call("/_sim/mischief", {"root": self.root, **self.how, **how})

    def damage(self, seed, count, first):
        """What was done; compared with what is named."""
        global planted, found, false
        self.target.call("/_sim/restore", {"name": "loaded"})
        did = self.do(seed=seed, count=count, first=first)["planted"]
        r = self.reconcile()
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
            t.ok(False, f"seed {seed}: what was done is what is named", *wrong, f"{self.root}, first {first}", r.err)


with gstest.scratch() as d:
    key = gstest.keygen(d)

    def capture(name, root, tree, *args):
        with gstest.Sim(d, "source-" + name, *args, "--seed", tree) as source:
            r = gstest.snap("create", "--url", source.url, root, "-o", name + ".gsnap", "--key", key, token=source.tokens["owner"], cwd=d)
            t.is_eq(r.code, 0, f"{name}: captured", str(r))

    tree = json.load(open(PLANNING_TREE, encoding="utf-8"))
    ultimate = ("--tier", "ultimate", "--version", "18.10.0-ee")
    capture("demo", "halden-instruments", gstest.DEMO_TREE, *ultimate)
    capture("planning", "halden-planning", PLANNING_TREE, *ultimate)
    with gstest.Sim(d, "target", *ultimate, "--empty", "--users", gstest.DEMO_USERS) as sim, \
            gstest.Target(d, "plans", *ultimate, users={"users": tree["users"], "tokens": tree["tokens"]}) as plans:
        worlds = (World("demo", "halden-instruments", sim, token="owner", **UNKNOWN), World("planning", "halden-planning", plans, "--as-authors", "--match-username", token="admin"))
        catalogue = [tuple(x) for x in worlds[0].catalogue]

        def world(i, turn=0):
            """Texts of the first one name their authors."""
            _, kind, attribute = catalogue[i % len(catalogue)]
            return worlds[kind in PLANNING and attribute != "description.author" and turn % 2 == 0]

        if a.seeds or a.seed is not None:
            for seed in [a.seed] if a.seed is not None else range(a.first, a.first + a.seeds):
                world(seed, seed // len(catalogue)).damage(seed, 1 + seed % 6, [seed])
        else:
            left, seed = list(range(len(catalogue))), 0
            while left:
                before = len(left)
                mine = [(w, i) for w in worlds for i in left if world(i) is w or (w is worlds[0] and before == len(catalogue))]
                for w in worlds:
                    some = [i for of, i in mine if of is w]
                    for k in range(0, len(some), AT_ONCE):
                        w.damage(seed, len(some[k:k + AT_ONCE]), some[k:k + AT_ONCE])
                        seed += 1
                left = [i for i in left if catalogue[i] not in done]
                if len(left) == before:
                    break
        if a.seed is None and (a.seeds or len(catalogue)) >= len(catalogue):
            t.is_eq([x for x in catalogue if x not in done], [], f"all {len(catalogue)} things of the catalogue were done")
        t.ok(planted and planted == found and not false, f"planted {planted}, found {found}, false {false}")
t.done()
