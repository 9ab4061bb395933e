#!/usr/bin/python3
"""A load that is killed or loses answers, and goes on: the target must end up as after an unbroken load, by the simulator's own
dump, with no object twice and none missing.

50 kills with SIGKILL at seeded moments (five to a load) and 20 lost answers (five to a load); every number comes from SEED.
GS_KILLS and GS_SEED change the campaign."""
import json
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

SEED = int(os.environ.get("GS_SEED", "20260101"))
KILLS = int(os.environ.get("GS_KILLS", "50"))
PER_LOAD = 5
t = gstest.Tap()
rnd = random.Random(SEED)
print(f"# seed {SEED}")


def target(d, name):
    return gstest.Sim(d, name, "--empty", "--users", gstest.DEMO_USERS, "--tier", "premium", "--latency-ms", "3")


def arguments(sim, d, state):
    return ["apply", os.path.join(d, "demo.gsnap"), "--trust", os.path.join(d, "key.pub"), "--url", sim.url, "--state",
            os.path.join(d, state), "--yes"]


def picture(sim, root):
    return gstest.normalised(sim.dump(), root)


def differences(a, b):
    out = []
    for path in sorted(set(a) | set(b)):
        if a.get(path) == b.get(path):
            continue
        if path not in a or path not in b:
            out.append(f"group '{path}' is only {'here' if path in b else 'in the unbroken load'}")
            continue
        for rel in sorted(set(a.get(path, {})) | set(b.get(path, {}))):
            x, y = a.get(path, {}).get(rel), b.get(path, {}).get(rel)
            if x != y and isinstance(x, list) and isinstance(y, list):
                out.append(f"{path}/{rel}: only unbroken {[r for r in x if r not in y][:3]}, only here {[r for r in y if r not in x][:3]}, {len(x)} and {len(y)}")
            elif x != y:
                keys = [k for k in sorted(set(x or {}) | set(y or {})) if (x or {}).get(k) != (y or {}).get(k)]
                out.append(f"{path}/{rel}: " + "; ".join(f"{k}: {(x or {}).get(k)} unbroken, {(y or {}).get(k)} here" for k in keys))
    return out


with gstest.scratch() as d:
    tree = json.load(open(gstest.DEMO_TREE, encoding="utf-8"))
    root = tree["groups"][0]["path"]
    key = gstest.keygen(d)
    with gstest.Sim(d, "source", "--seed", gstest.DEMO_TREE, "--tier", "premium") as s:
        r = gstest.snap("create", "--url", s.url, root, "-o", "demo.gsnap", "--key", key, token=s.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "the sample tree is captured", str(r))
    with target(d, "unbroken") as sim:
        began = time.monotonic()
        r = gstest.replay(*arguments(sim, d, "unbroken.state"), token=sim.tokens["owner"], cwd=d)
        whole = time.monotonic() - began
        t.is_eq(r.code, 0, "an unbroken load", str(r))
        want = picture(sim, root)
        writes = [x for x in sim.requests() if x["method"] not in ("GET", "HEAD")]
        posts = [x for x in writes if x["method"] == "POST"]
    counts = {rel: sum(len(g[rel]) for g in want.values()) for rel in ("labels", "milestones", "badges", "boards", "members")}
    print(f"# unbroken: {whole:.1f} s, {len(writes)} writes, {counts}")
    t.ok(sum(counts.values()) > 200, "the load is worth interrupting", repr(counts))

    kills = identical = loads = 0
    while kills < KILLS:
        loads += 1
        name = f"kill{loads}"
        with target(d, name) as sim:
            token = sim.tokens["owner"]
            for _ in range(PER_LOAD):
                p = gstest.start(gstest.REPLAY, *arguments(sim, d, name + ".state"), token=token, cwd=d)
                try:
                    # later kills of one load find less to do, so all of them aim at the first part of what is left
                    p.wait(timeout=0.05 + rnd.random() * whole / 3)
                except Exception:
                    p.send_signal(signal.SIGKILL)
                    p.wait()
                    kills += 1
                p.stdout.close()
                p.stderr.close()
            r = gstest.replay(*arguments(sim, d, name + ".state"), token=token, cwd=d)
            got = picture(sim, root)
            diff = differences(want, got)
            same = r.code == 0 and not diff
            identical += same
            if not same:
                t.ok(False, f"load {loads}, killed up to {kills}", str(r), *diff)
        if loads > KILLS:
            break
    t.ok(kills >= KILLS and identical == loads, f"kills {kills} in {loads} loads, identical {identical}")

    lost = 0
    loads = identical = 0
    while lost < 20:
        loads += 1
        name = f"lost{loads}"
        with target(d, name) as sim:
            picks = sorted(rnd.sample(range(1, len(posts) + 1), 5))
            sim.faults(*[{"match": {"method": "POST", "path": "^/api/", "nth": n}, "do": {"lose_answer": True}} for n in picks])
            r = gstest.replay(*arguments(sim, d, name + ".state"), token=sim.tokens["owner"], cwd=d)
            used = [x for x in sim.requests() if x.get("fault")]
            lost += len(used)
            diff = differences(want, picture(sim, root))
            same = r.code == 0 and not diff
            identical += same
            if not same:
                t.ok(False, f"load {loads} with lost answers at POST {picks}", str(r), *diff)
        if loads > 10:
            break
    t.ok(lost >= 20 and identical == loads, f"lost answers {lost} in {loads} loads, identical {identical}")
t.done()
