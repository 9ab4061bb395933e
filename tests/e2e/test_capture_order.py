#!/usr/bin/python3
"""The order in which answers come leaves no trace: every bundle of a source is the same, byte for byte, whichever answers were late. GS_ORDERS=N takes N
more orders of each."""
import json
import os
import re

import gstest

t = gstest.Tap()
PLANNING_TREE = os.path.join(gstest.TOP, "tests/sim/planning_tree.json")
# orders that told two bundles apart once: who spoke first of a user, what was known of an export when a late answer came
ONCE = {gstest.DEMO_TREE: [17, 27], PLANNING_TREE: [25, 41, 63]}


def capture(d, s, root, via, jitter, seed, jobs):
    s.call("/_sim/config", {"jitter_ms": jitter, "jitter_seed": seed})
    r = gstest.snap("create", "--url", s.url, root, "--via", via, "-o", "x.gsnap", "--key", "key", "--time", "2026-01-02T03:04:05Z", "--jobs", str(jobs),
                    token=s.tokens["owner"], cwd=d)
    path = os.path.join(d, "x.gsnap")
    if not os.path.exists(path):
        return r, None
    with open(path, "rb") as f:
        data = f.read()
    os.unlink(path)
    return r, data


more = list(range(1000, 1000 + int(os.environ.get("GS_ORDERS", "0"))))
DAMAGED = [{"relation": "milestones", "fail": "PG::Error"}, {"relation": "labels", "group": "halden-instruments/cloud-platform", "corrupt_gzip": True},
           {"relation": "self", "group": "halden-instruments/cloud-platform", "truncate_gzip": True}, {"relation": "uploads", "no_gzip": True},
           {"relation": "members", "fail": "no"}]
SOURCES = [(tree, seeds if version == "17.8.1-ee" else seeds[:1], version, ("api", "auto"), {}) for tree, seeds in ONCE.items() for version in ("17.8.1-ee", "18.6.0-ee")]
for tree, seeds, version, ways, config in [*SOURCES, (gstest.DEMO_TREE, [17, 27], "17.8.1-ee", ("auto",), {"export_faults": DAMAGED})]:
    with gstest.scratch() as d:
        gstest.keygen(d)
        with gstest.Sim(d, "source", "--tier", "ultimate", "--version", version, "--seed", tree, "--config", json.dumps(config)) as s:
            root = next(g["full_path"] for g in s.dump()["groups"] if not g["parent_id"])
            for via in ways:
                r, first = capture(d, s, root, via, 0, 0, 1)
                name = f"{root} of {version}, --via {via}" + (", damaged exports" if config else "")
                t.ok(first and r.code == (3 if config else 0), name, str(r))  # nothing but an export gives uploads
                if config:
                    with open(os.path.join(d, "first.gsnap"), "wb") as f:
                        f.write(first)
                    said = set(re.findall(r"'[^']*[.]gz'", gstest.snap("cat", "first.gsnap", "ledger", cwd=d).out))
                    t.is_eq(said, {"'labels.ndjson.gz'", "'self.json.gz'"}, f"{name}: the books call files as the source does, not by where they are kept here")
                for seed in seeds + more:
                    jobs = 32 if seed < 1000 else (2, 4, 8, 32)[seed % 4]
                    r, data = capture(d, s, root, via, 400, seed, jobs)
                    t.ok(data is not None and data == first, f"{name}: answers in order {seed}, {jobs} jobs: the same bytes", str(r))
t.done()
