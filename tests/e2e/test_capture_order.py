#!/usr/bin/python3
"""The order in which answers come leaves no trace: every bundle of a source is the same, byte for byte, whichever answers were late. GS_ORDERS=N takes N
more orders of each."""
import os

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
for tree, seeds in ONCE.items():
    for version in ("17.8.1-ee", "18.6.0-ee"):
        with gstest.scratch() as d:
            gstest.keygen(d)
            with gstest.Sim(d, "source", "--tier", "ultimate", "--version", version, "--seed", tree) as s:
                root = next(g["full_path"] for g in s.dump()["groups"] if not g["parent_id"])
                for via in "api", "auto":
                    r, first = capture(d, s, root, via, 0, 0, 1)
                    name = f"{root} of {version}, --via {via}"
                    t.ok(first and r.code == 0, name, str(r))
                    for seed in (seeds if version == "17.8.1-ee" else seeds[:1]) + more:
                        jobs = 32 if seed < 1000 else (2, 4, 8, 32)[seed % 4]
                        r, data = capture(d, s, root, via, 400, seed, jobs)
                        t.ok(data is not None and data == first, f"{name}: answers in order {seed}, {jobs} jobs: the same bytes", str(r))
t.done()
