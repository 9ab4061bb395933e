#!/usr/bin/python3
"""A small tree with every kind, loaded into targets of five versions and three tiers: what a tier lacks is a loss and nothing else is, what it has is
there as at the source, and the exit code is 3 only where something failed. Compared by this program, from the two instances' dumps."""
import concurrent.futures
import json
import os
import queue
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
VERSIONS = ("14.10.0-ee", "15.11.0-ee", "16.11.0-ee", "17.11.0-ee", "18.8.0-ee")
TIERS = ("free", "premium", "ultimate")
ROOT = "team"


def epic(iid, title, **more):
    return {"iid": iid, "title": title, "author": "loader", "created_at": f"2024-02-{iid:02d}T08:00:00.{iid:03d}Z", "updated_at": "2024-06-01T00:00:00.000Z", **more}


def note(text, day, **more):
    return {"author": "loader", "body": text, "created_at": f"2024-03-{day:02d}T00:00:00.000Z", "updated_at": f"2024-03-{day:02d}T00:00:00.000Z", **more}


THUMB = [{"name": "thumbsup", "user": "loader"}]
TREE = {"users": [{"username": "root", "email": "root@x.example", "admin": True}, {"username": "loader", "email": "l@x.example", "public_email": "l@x.example"},
                  {"username": "ann", "email": "a@x.example", "public_email": "a@x.example"}],
        "tokens": {"admin": "root", "owner": "loader", "maintainer": "ann", "reader": "ann"},
        "groups": [{
            "path": ROOT, "name": "Team", "members": [{"user": "loader", "access_level": 50}, {"user": "ann", "access_level": 30}],
            "labels": [{"title": "now", "color": "#ff0000"}, {"title": "later", "color": "#00ff00"}],
            "milestones": [{"iid": 1, "title": "one", "state": "closed"}, {"iid": 3, "title": "three", "start_date": "2030-01-01", "due_date": "2030-02-01"}],
            "badges": [{"name": "b", "link_url": "https://x.example/a", "image_url": "https://x.example/b.svg"}],
            "boards": [{"name": "Work", "lists": [{"label": "now"}, {"label": "later"}, {"milestone": "three"}, {"assignee": "ann"}]},
                       {"name": "Second", "milestone": "three", "labels": ["now"], "weight": 3, "lists": [{"label": "later", "max_issue_count": 4}]}],
            "planning": {
                "epics": [epic(2, "child", parent="&7", position=1000, labels=["now"], awards=THUMB, start_date="2024-01-01",
                               notes=[note("alone", 1), note("asked", 2, thread="a"), note("answered", 3, thread="a", awards=THUMB)]),
                          epic(4, "other child", parent="&7", position=500, labels=["later"], start_date="2024-01-01", due_date="2024-04-01"),
                          epic(5, "hidden", confidential=True, state="closed", notes=[note("inside", 5, internal=True)]),
                          epic(7, "above", description="text", color="#112233", labels=["now"])],
                "epic_boards": [{"name": "Plan", "lists": [{"label": "now"}, {"label": "later"}], "order": ["&7", "&2", "team/sub&1", "&4"]}],
                "cadences": [{"title": "Sprints", "description": "own", "iterations": [{"iid": 2, "start_date": "2024-01-01", "due_date": "2024-01-14", "title": "first"},
                                                                                      {"iid": 5, "start_date": "2031-01-06", "due_date": "2031-01-12"}]},
                             {"title": "Weeks", "automatic": True, "duration_in_weeks": 1, "iterations_in_advance": 1, "start_date": "2031-02-03",
                              "iterations": [{"iid": 3, "start_date": "2031-02-03", "due_date": "2031-02-09"}]}]},
            "subgroups": [{"path": "sub", "name": "Sub", "labels": [{"title": "inner", "color": "#0000ff"}],
                           "planning": {"epics": [epic(1, "below", parent="team&7", position=750, labels=["inner", "now"])]}}]}]}
BOARD_ORDER = "query($p: ID!) { group(fullPath: $p) { epicBoards { nodes { name lists { nodes { title epics { nodes { iid group { fullPath } } } } } } } } }"


def planning(dump):
    """{kind: {name: attributes}}, with names in place of ids."""
    full = {g["id"]: g["full_path"] for g in dump["groups"]}
    users = {u["id"]: u["username"] for u in dump["users"]}
    labels = {x["id"]: x["title"] for x in dump["labels"]}
    name = {e["id"]: f"{full[e['group_id']]}&{e['iid']}" for e in dump["epics"]}
    out = {"epics": {}, "epic_boards": {}, "cadences": {}, "iterations": {}}
    awards = sorted((a["awardable_type"], a["awardable_id"], a["name"], users[a["user_id"]]) for a in dump["award_emoji"])
    for e in dump["epics"]:
        row = {k: e[k] for k in ("title", "description", "state", "confidential", "color", "start_date", "end_date", "start_date_is_fixed", "due_date_is_fixed",
                                 "created_at", "updated_at")}
        notes = [n for n in dump["notes"] if n["noteable_id"] == e["id"] and not n["system"]]
        row.update(author=users[e["author_id"]], parent=name.get(e["parent_id"]), labels=sorted(labels[x["label_id"]] for x in dump["epic_labels"] if x["epic_id"] == e["id"]),
                   awards=[a[2:] for a in awards if a[:2] == ("Epic", e["id"])], children=[name[c["id"]] for c in sorted(
                       (c for c in dump["epics"] if c["parent_id"] == e["id"]), key=lambda c: c["relative_position"])],
                   notes=sorted((n["created_at"], n["note"], n["internal"], n["type"], users[n["author_id"]], str([a[2:] for a in awards if a[:2] == ("Note", n["id"])]),
                                 min(m["created_at"] for m in notes if m["discussion_id"] == n["discussion_id"])) for n in notes))
        out["epics"][name[e["id"]]] = row
    for b in dump["epic_boards"]:
        rows = sorted((x for x in dump["epic_lists"] if x["board_id"] == b["id"] and x["label_id"]), key=lambda x: x["position"])
        out["epic_boards"][full[b["group_id"]], b["name"]] = {"lists": [labels[x["label_id"]] for x in rows]}
    titles = {c["id"]: c["title"] for c in dump["iterations_cadences"]}
    for c in dump["iterations_cadences"]:
        out["cadences"][full[c["group_id"]], c["title"]] = {k: c[k] for k in ("description", "automatic", "active", "roll_over", "duration_in_weeks", "iterations_in_advance")}
    for i in dump["iterations"]:
        out["iterations"][full[i["group_id"]], i["iid"]] = {"cadence": titles[i["cadence_id"]], **{k: i[k] for k in ("title", "description", "start_date", "due_date")}}
    return out


def order(sim):
    d = sim.call("/api/graphql", {"query": BOARD_ORDER, "variables": {"p": ROOT}}, token=sim.tokens["admin"])["data"]["group"]["epicBoards"]
    return {b["name"]: {x["title"]: [f"{e['group']['fullPath']}&{e['iid']}" for e in x["epics"]["nodes"]] for x in b["lists"]["nodes"] if x["title"] in ("now", "later")}
            for b in d["nodes"]}


def different(want, got):
    """{(kind, attribute)} that are not as they should be; an object on one side only is the attribute "there"."""
    out = set()
    for kind in want:
        for name in set(want[kind]) | set(got[kind]):
            a, b = want[kind].get(name), got[kind].get(name)
            out |= {(kind, "there")} if a is None or b is None else {(kind, k) for k in a if a[k] != b[k]}
    return out


def basics(dump):
    """What every tier has."""
    return {place: {rel: here[rel] for rel in ("labels", "milestones", "badges", "members")} for place, here in gstest.normalised(dump, ROOT).items()}


# ---- what each tier is known to lack, as losses {(relation, code): records} ----
EPICS, PARENTS = 5, 3
LACKS = {"free": {("epics", "epics-not-available"): EPICS, ("epic_boards", "epic-boards-not-available"): 1, ("iterations_cadences", "iterations-not-available"): 2,
                  ("boards", "boards-not-available"): 1, ("lists", "list-not-available"): 2},
         "premium": {("epics", "epic-parent"): PARENTS}, "ultimate": {}}

with gstest.scratch() as d:
    key = gstest.keygen(d)
    with open(os.path.join(d, "tree.json"), "w", encoding="utf-8") as f:
        json.dump(TREE, f)
    with gstest.Sim(d, "source", "--seed", os.path.join(d, "tree.json"), "--tier", "ultimate", "--version", "18.8.0-ee") as s:
        r = gstest.snap("create", "--via", "api", "--url", s.url, ROOT, "-o", "team.gsnap", "--key", key, token=s.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "the tree is captured", str(r))
        source = s.dump()
        want, want_basics, want_order = planning(source), basics(source), order(s)
    t.ok(len(want["epics"]) == EPICS and len(want["iterations"]) == 3 and want_order["Plan"]["now"] == ["team&7", "team&2", "team/sub&1"], "the source holds what this test is about", repr(want_order))

    def load(sim, version, tier, *faults, **config):
        """One load into an instance that is set back. -> (result, dump, order of the epic board or None)"""
        sim.call("/_sim/restore", {"name": "fresh"})
        sim.call("/_sim/config", {"version": version, "tier": tier, **config})
        sim.reset_faults()
        if faults:
            sim.faults(*faults)
        name = f"{sim.name}-{version}-{tier}-{len(faults)}{len(config)}.state"
        r = gstest.replay("apply", "team.gsnap", "--trust", "key.pub", "--url", sim.url, "--state", name, "--no-attribution", "--yes", "--json", token=sim.tokens["owner"], cwd=d)
        return r, sim.dump(), order(sim) if tier != "free" and r.code == 0 and not config else None, name

    def losses(r):
        return {(x["relation"], x["code"]): x["count"] for x in r.json()["losses"]} if r.out.startswith("{") else {}

    def check(version, tier, result):
        r, dump, shown, _ = result
        what = f"{version} {tier}"
        rows = {x["relation"]: x for x in r.json()["relations"]} if r.code in (0, 3) else {}
        t.ok(r.code == 0 and rows and not [x for x in rows.values() if x["failed"]], f"{what}: loaded, and nothing failed", str(r))
        t.is_eq([x for x in rows.values() if x["in_bundle"] != sum(x[k] for k in ("loaded", "there", "lost", "failed", "skipped", "open"))], [], f"{what}: every relation adds up")
        t.is_eq(basics(dump), want_basics, f"{what}: labels, milestones, badges and members are as at the source")
        got, lost = planning(dump), losses(r)
        t.is_eq({k: v for k, v in lost.items() if k in LACKS["free"] or k in LACKS["premium"]}, LACKS[tier], f"{what}: what the tier lacks is lost, and nothing else for want of it", repr(lost))
        if tier == "free":
            t.is_eq([rows.get(x, {}).get("lost") for x in ("epics", "epic_boards", "iterations_cadences", "iterations")], [EPICS, 1, 2, 3], f"{what}: the books count them as lost")
            t.is_eq({k: len(v) for k, v in got.items()}, dict.fromkeys(got, 0), f"{what}: no epics, boards of them, or iterations")
            return
        off = different(want, got)
        # without children there is nothing to inherit dates from
        t.is_eq(off, {("epics", x) for x in ("parent", "children", "start_date", "end_date")} if tier == "premium" else set(), f"{what}: epics, comments, emoji, epic boards, iterations are as at the source", repr((want, got))[:3000])
        if version >= "15.3":
            t.is_eq(shown, want_order, f"{what}: so is the order on the epic board")
        else:
            t.ok(("epic_boards", "epic-board-order") in lost or shown == want_order, f"{what}: the order on the epic board is there, or said to be lost", repr((shown, lost)))

    users = {"users": TREE["users"], "tokens": TREE["tokens"]}
    # every POST is done twice by something in between: over REST, and where epics are work items only
    twice = [{"match": {"method": "POST", "path": p, "body": b, "first": True}, "times": 0, "do": {"twice": True}} for p, b in (("^/api/v4/", ""), ("graphql$", "mutation"))]
    items = {"epic_rest": False, "epic_graphql": False}
    bad = {"status": 400, "body": {"message": {"title": ["is invalid"]}}}
    refused = {tier: {"match": {"method": "POST", "path": path, "nth": 1}, "do": bad} for tier, path in (("ultimate", "/epics$"), ("free", "/badges$"))}
    todo = {("twice", "work items"): lambda sim: load(sim, "18.8.0-ee", "ultimate", *twice, **items), ("twice", "REST"): lambda sim: load(sim, "18.8.0-ee", "ultimate", *twice)}
    todo.update({(v, tier): lambda sim, v=v, tier=tier: load(sim, v, tier) for v in VERSIONS for tier in TIERS})
    todo.update({("refused", tier): lambda sim, tier=tier: load(sim, "17.11.0-ee", tier, refused[tier]) for tier in refused})
    with gstest.Target(d, "one", "--tier", "ultimate", users=users) as one, gstest.Target(d, "two", "--tier", "ultimate", users=users) as two:
        free = queue.SimpleQueue()
        for sim in one, two:
            sim.call("/_sim/snapshot", {"name": "fresh"})
            free.put(sim)

        def in_turn(x):
            sim = free.get()
            try:
                return todo[x](sim)
            finally:
                free.put(sim)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            results = dict(zip(todo, pool.map(in_turn, todo)))
    for v in VERSIONS:
        for tier in TIERS:
            check(v, tier, results[v, tier])
    # ---- something between the tool and the target does everything twice: over REST, and where epics are work items only ----
    for way, config in (("REST", {}), ("work items", items)):
        r, dump, shown, _ = results["twice", way]
        got, lost = planning(dump), losses(r)
        t.is_eq(r.code, 0, f"everything twice, {way}: loaded", str(r))
        # a work item is told neither its update time nor times of comments, and has one switch for its dates; its empty text is no text
        off = {("epic_boards", "there")} | {("epics", x) for x in ("updated_at", "notes", "due_date_is_fixed", "description")} if config else set()
        t.is_eq((different(want, got), basics(dump)), ({("epics", "created_at")} | off, want_basics), f"everything twice, {way}: nothing is there twice, and every number is right",
                repr((lost, want["epics"], got["epics"]))[:3000])
        t.is_eq([[(n[1:5]) for n in got["epics"][k]["notes"]] for k in sorted(want["epics"])] if not config else sorted(len(x["notes"]) for x in got["epics"].values()),
                [[(n[1:5]) for n in want["epics"][k]["notes"]] for k in sorted(want["epics"])] if not config else sorted(len(x["notes"]) for x in want["epics"].values()),
                f"everything twice, {way}: nor are comments")
        t.ok(config or shown == want_order, f"everything twice, {way}: the order on the epic board is as at the source", repr(shown))
        t.is_eq(lost.get(("epics", "epic-created-at")), sum(want["epics"][k]["created_at"] != got["epics"].get(k, {}).get("created_at") for k in want["epics"]),
                f"everything twice, {way}: an epic that was made for another one has lost its creation time, and the load says so")
        doubled = {relation for relation, code in lost if code == "made-twice"} | ({"epic_boards"} if config else set())
        t.ok({"epics", "notes", "epic_boards", "iterations_cadences", "boards", "badges"} <= doubled, f"everything twice, {way}: the load says of which kinds", repr(lost))
        t.is_eq([x["title"] for k in ("epics", "milestones", "iterations_cadences") for x in dump[k] if "filler" in x["title"]], [], f"everything twice, {way}: no filler remains")
    # ---- and where something is refused that the tier has ----
    for tier, relation in (("ultimate", "epics"), ("free", "badges")):
        r, dump, _, state = results["refused", tier]
        failed = [x["relation"] for x in gstest.replay("failures", "--state", state, "--json", cwd=d).lines() if x.get("state") == "failed"]
        t.is_eq((r.code, failed), (3, [relation]), f"{tier}: one that is refused fails, and the exit code says so", str(r))
t.done()
