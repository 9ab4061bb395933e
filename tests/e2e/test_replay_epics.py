#!/usr/bin/python3
"""Epics with all that they hold: the planning tree is captured, carried and loaded as Owner, and everything that GitLab lets an Owner set is
compared by this program, from the two instances' dumps alone. Gaps in numbers, parents in other groups and with higher numbers, order among
siblings, lost answers, tiers, a target that has epics already, and taking it all back."""
import collections
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TREE = os.path.join(gstest.TOP, "tests/sim/planning_tree.json")
with open(TREE, encoding="utf-8") as f:
    DOC = json.load(f)
USERS = {"users": DOC["users"], "tokens": DOC["tokens"]}
ROOT = "halden-planning"
SAME = ("title", "description", "state", "confidential", "color", "start_date", "end_date", "start_date_fixed", "due_date_fixed", "start_date_is_fixed",
        "due_date_is_fixed", "created_at", "updated_at")


def disarmed(text):
    """A line that GitLab would take for a quick action arrives as text: with a backslash in front, which Markdown does not show."""
    out, code = [], False
    for line in (text or "").split("\n"):
        code ^= line.startswith("```")
        out.append("\\" + line if line.startswith("/") and not code else line)
    return "\n".join(out) if text is not None else None


def picture(d):
    """{"full/path&7": attributes} with names in place of ids"""
    paths = {g["id"]: g["full_path"] for g in d["groups"]}
    users = {u["id"]: u["username"] for u in d["users"]}
    labels = {x["id"]: (paths[x["group_id"]], x["title"]) for x in d["labels"]}
    rows = {e["id"]: e for e in d["epics"]}
    names = {e["id"]: "%s&%d" % (paths[e["group_id"]], e["iid"]) for e in rows.values()}
    awards = collections.defaultdict(list)
    for a in d["award_emoji"]:
        awards[a["awardable_type"], a["awardable_id"]].append((a["name"], users[a["user_id"]]))
    out = {}
    for e in rows.values():
        x = {k: e[k] for k in SAME}
        x["author"] = users[e["author_id"]]
        x["parent"] = names.get(e["parent_id"])
        x["labels"] = sorted(labels[k["label_id"]] for k in d["epic_labels"] if k["epic_id"] == e["id"])
        x["awards"] = sorted(awards["Epic", e["id"]])
        notes = [n for n in d["notes"] if n["noteable_id"] == e["id"] and not n["system"]]
        x["notes"] = sorted((n["created_at"], n["note"], bool(n["internal"]), n["type"], users[n["author_id"]], tuple(sorted(awards["Note", n["id"]])))
                            for n in notes)
        x["threads"] = sorted(sorted((m["created_at"], m["note"]) for m in notes if m["discussion_id"] == i) for i in {n["discussion_id"] for n in notes})
        x["children"] = [names[c["id"]] for c in sorted((c for c in rows.values() if c["parent_id"] == e["id"]), key=lambda c: c["relative_position"])]
        out[names[e["id"]]] = x
    return out


def wanted(source, me):
    """What of the source an Owner called `me` can bring over (gitlab-api facts, section 11): everything but who wrote it, and the emoji of
    others."""
    out = picture(source)
    for x in out.values():
        x["description"] = disarmed(x["description"])
        x["notes"] = [(n[0], disarmed(n[1]), *n[2:]) for n in x["notes"]]
        x["threads"] = sorted(sorted((at, disarmed(text)) for at, text in th) for th in x["threads"])
        x["author"] = me
        x["awards"] = [a for a in x["awards"] if a[1] == me]
        x["notes"] = [n[:4] + (me, tuple(a for a in n[5] if a[1] == me)) for n in x["notes"]]
    return out


def differences(want, got, without=()):
    """[(epic, attribute, source, target)]"""
    out = [(n, "there", n in want, n in got) for n in set(want) ^ set(got)]
    out += [(n, k, v, got[n][k]) for n in set(want) & set(got) for k, v in want[n].items() if k not in without and v != got[n][k]]
    return sorted(out, key=repr)


BOARDS = """query($p: ID!) { group(fullPath: $p) { epicBoards { nodes { name hideBacklogList hideClosedList displayColors labels { nodes { title } }
lists { nodes { title listType epics(first: 100) { nodes { iid group { fullPath } } } } } } } } }"""


def boards(sim):
    """{(group, name): settings, lists and the epics in them, in the order in which they are shown}"""
    out = {}
    for g in sim.dump()["groups"]:
        body = {"query": BOARDS, "variables": {"p": g["full_path"]}}
        for b in sim.call("/api/graphql", body, token=sim.tokens["admin"])["data"]["group"]["epicBoards"]["nodes"]:
            out[g["full_path"], b["name"]] = (
                b["hideBacklogList"], b["hideClosedList"], b["displayColors"], sorted(x["title"] for x in b["labels"]["nodes"]),
                [(x["title"], x["listType"], ["%s&%s" % (e["group"]["fullPath"], e["iid"]) for e in x["epics"]["nodes"]]) for x in b["lists"]["nodes"]])
    return out


def losses(r):
    return {(x["relation"], x["code"]): x["count"] for x in r.json()["losses"]}


def system_notes(d):
    return collections.Counter(n["noteable_id"] for n in d["notes"] if n["system"])


with gstest.scratch() as d:
    key = gstest.keygen(d)

    def replay(verb, sim, file, *args, token="owner", **kw):
        return gstest.replay(verb, file, "--trust", "key.pub", "--url", sim.url, "--no-attribution", *args, token=sim.tokens[token], cwd=d, **kw)

    def balanced(sim, file, state, what, token):
        r = gstest.replay("reconcile", file, "--trust", "key.pub", "--url", sim.url, "--state", state, "--json", token=sim.tokens[token], cwd=d)
        t.is_eq(r.code, 0, f"{what}: read back, the books balance", *[json.dumps(x) for x in r.lines() if x.get("counts_as") in ("fault", "unread")], r.err)

    with gstest.Sim(d, "source", "--seed", TREE, "--tier", "ultimate", "--version", "18.8.0-ee") as s:
        source, source_boards = s.dump(), boards(s)
        me = next(u["username"] for u in source["users"] if u["username"] == DOC["tokens"]["owner"])
        for via in ("relations", "api"):
            r = gstest.snap("create", "--url", s.url, ROOT, "-o", via + ".gsnap", "--key", key, "--via", via, token=s.tokens["owner"], cwd=d)
            t.is_eq(r.code, 0, f"captured by {via}", str(r))
        # the same source, when epics are gone from REST and GraphQL: as work items
        s.call("/_sim/config", {"epic_rest": False, "epic_graphql": False})
        r = gstest.snap("create", "--url", s.url, ROOT, "-o", "items.gsnap", "--key", key, "--via", "api", "--json", token=s.tokens["owner"], cwd=d)
        t.is_eq((r.code, {x["relation"] for x in r.json()["not_read"]} if r.code == 0 else None), (0, {"epic_boards", "uploads"}), "captured as work items; boards of epics are named as not read", str(r))
        lost = {(x["relation"], x["rule"], x.get("what")) for x in gstest.snap("cat", "items.gsnap", "ledger", cwd=d).lines() if x["entry"] == "lost" and x["relation"] == "epics"}
        t.is_eq(lost, {("epics", "events-not-readable", x) for x in ("events", "resource_state_events", "resource_label_events")} | {
            ("epics", "attribute-not-readable", x) for x in ("closed_by_id", "start_date_is_fixed", "due_date_is_fixed", "start_date_fixed", "due_date_fixed")},
                "the ledger names what work items do not show")
        pre = gstest.snap("preflight", "--url", s.url, ROOT, "--json", token=s.tokens["owner"], cwd=d).json()
        t.is_eq((pre["tier"], pre["counts"]["epics"], pre["counts"]["iterations"]), ("premium or ultimate", len(source["epics"]), len(source["iterations"])), "preflight counts work items")
    diff = gstest.snap("diff", "api.gsnap", "items.gsnap", "--json", cwd=d).lines()
    off = {(x["relation"], x["kind"], x.get("attribute", "").split("[")[0].split(".")[0]) for x in diff if x.get("class") in ("value", "computed") and x.get("relation") != "epic_boards"}
    t.is_eq(off, {("epics", "differs", x) for x in ("relative_position", "start_date_is_fixed", "due_date_is_fixed")},
            "read as work items, epics differ in nothing but what has no such form there", *[repr(x)[:300] for x in diff[:12]])
    want = wanted(source, me)

    def Target(name, *args):  # noqa: N802
        return gstest.Target(d, name, *args, users=USERS)

    for via in ("relations", "api"):
        with Target("by-" + via, "--tier", "ultimate", "--version", "17.11.0-ee") as sim:
            r = replay("plan", sim, via + ".gsnap", "--json", "--state", via + ".state")
            t.is_eq(r.code, 0, f"{via}: planned", str(r))
            said = losses(r)
            events = [e for e in source["events"] if e["target_type"] == "Epic"]
            notes = [n for n in source["notes"] if not n["system"]]
            users = {u["id"]: u["username"] for u in source["users"]}
            t.is_eq(said.get(("epics", "epic-author")), sum(users[e["author_id"]] != me for e in source["epics"]), f"{via}: foreign authors are counted before")
            t.is_eq(said.get(("epics", "epic-closing")), sum(e["state"] == "closed" for e in source["epics"]), f"{via}: closing times are counted")
            t.is_eq(said.get(("notes", "note-author")), sum(users[n["author_id"]] != me for n in notes), f"{via}: foreign comments are counted")
            t.is_eq(said.get(("notes", "note-system")), len(source["notes"]) - len(notes), f"{via}: system notes are counted")
            t.is_eq(said.get(("award_emoji", "award-of-others")), sum(users[a["user_id"]] != me for a in source["award_emoji"]), f"{via}: emoji of others are counted")
            off = [sum(disarmed(x) != x for x in texts) for texts in ([e["description"] for e in source["epics"]], [n["note"] for n in notes])]
            t.is_eq([said.get((x, "text-action-kept")) for x in ("epics", "notes")], off, f"{via}: texts with quick actions are counted")
            r = replay("apply", sim, via + ".gsnap", "--yes", "--json", "--state", via + ".state")
            t.is_eq(r.code, 0, f"{via}: loaded", str(r))
            t.is_eq([losses(r).get((x, "text-action-kept")) for x in ("epics", "notes")], off, f"{via}: and as many were kept from being carried out, counted once")
            there = sim.dump()
            got = picture(there)
            bad = differences(want, got)
            t.is_eq(bad, [], f"{via}: every attribute of {len(want)} epics is as at the source")
            shown = boards(sim)
            t.is_eq(shown, source_boards, f"{via}: {len(shown)} epic boards with the order of epics on them")
            t.is_eq([e["title"] for e in there["epics"] if "groupsnap filler" in e["title"]], [], f"{via}: no filler remains")
            log = [x for x in sim.requests() if x["method"] == "POST" and x["path"].endswith("/epics")]
            t.ok(len(log) > len(want), f"{via}: gaps were filled ({len(log)} created for {len(want)})")
            r = replay("apply", sim, via + ".gsnap", "--yes", "--json", "--state", via + ".state")
            t.is_eq((r.code, len(sim.dump()["epics"])), (0, len(want)), f"{via}: the same command again does nothing")
            balanced(sim, via + ".gsnap", via + ".state", via, "owner")
            for name in ("11", "&11"):
                r = gstest.replay("why", f"{ROOT}/epics/{name}", "--state", via + ".state", "--url", sim.url, "--json", token=sim.tokens["owner"], cwd=d)
                story = r.json() if r.code == 0 else {}
                t.is_eq(([x.get("iid") for x in story.get("source", [])], [x["step"] for x in story.get("steps", [])][:1], [x["code"] for x in story.get("losses", [])][:1],
                         [(x.get("now") or {}).get("iid") for x in story.get("steps", [])][:1]), ([11], ["epics"], ["epic-author"], [11]), f"{via}: the story of epic {name}", str(r)[:3000])
    # ---- answers in any order, and moves that the target only says it made ----
    for name, times, losing in (("now and then", 5, False), ("always", 0, True)):
        with Target("moves", "--tier", "ultimate", "--version", "17.11.0-ee", "--config", json.dumps({"jitter_ms": 200, "jitter_seed": 3})) as sim:
            sim.faults({"match": {"method": "POST", "path": "graphql$", "body": "epicMoveList", "every": 1 if losing else 9}, "times": times,
                        "do": {"status": 200, "body": {"data": {"epicMoveList": {"epic": {"id": "gid://gitlab/Epic/1"}, "errors": []}}}}})
            state = f"moves{times}.state"
            r = replay("apply", sim, "api.gsnap", "--yes", "--json", "--jobs", "32", "--state", state)
            t.is_eq((r.code, losses(r).get(("epic_boards", "epic-board-order"), 0) > 0), (0, losing), f"moves that were not made, {name}: put in order, or said", str(r)[-3000:])
            t.is_eq((picture(sim.dump()) == want, boards(sim) == source_boards), (True, not losing), f"moves that were not made, {name}: the epics are as at the source; the boards {'are not' if losing else 'too'}")
            balanced(sim, "api.gsnap", state, f"moves that were not made, {name}", "owner")
        os.unlink(os.path.join(d, "moves.db"))
    # ---- as an administrator, in the names of the authors: times of epics and comments are theirs to lose ----
    with Target("authors", "--tier", "ultimate", "--version", "17.11.0-ee") as sim:
        r = replay("apply", sim, "items.gsnap", "--as-authors", "--yes", "--json", "--state", "authors.state", token="admin")
        t.is_eq(r.code, 0, "as authors: what was captured as work items is loaded", str(r))
        got, theirs = picture(sim.dump()), picture(source)
        off = differences(want, got, ("author", "created_at", "updated_at", "awards", "notes", "threads", "start_date_is_fixed", "due_date_is_fixed", "start_date_fixed", "due_date_fixed"))
        t.is_eq(off, [], "as authors: texts, states, dates, colours, labels, parents and the order of children are as at the source")
        nobody = {"dalia.cohen"}  # has no public e-mail address at the source
        off = [(n, x["author"], got[n]["author"]) for n, x in theirs.items() if x["author"] not in nobody and x["author"] != got[n]["author"]]
        t.is_eq(off, [], "as authors: epics are of their authors")
        t.is_eq([(n, [a for a in x["awards"] if a[1] not in nobody], got[n]["awards"]) for n, x in theirs.items()
                 if [a for a in x["awards"] if a[1] not in nobody] != got[n]["awards"]], [], "as authors: emoji are of those who gave them")
        t.is_eq([n for n, x in theirs.items() if sorted((disarmed(m[1]), m[4]) for m in x["notes"] if m[4] not in nobody) !=
                 sorted((m[1], m[4]) for m in got[n]["notes"] if (m[1], m[4]) in {(disarmed(k[1]), k[4]) for k in x["notes"]})], [], "as authors: so are comments")
        t.ok(losses(r).get(("epics", "epic-created-at"), 0) > 0, "as authors: a time that was lost for that is said", repr(losses(r)))
        balanced(sim, "items.gsnap", "authors.state", "as authors", "admin")

    # ---- epics are gone from REST and GraphQL: work items ----
    with Target("items", "--tier", "ultimate", "--version", "18.8.0-ee", "--config", '{"epic_rest": false, "epic_graphql": false}') as sim:
        r = replay("plan", sim, "api.gsnap", "--json", "--state", "items.state")
        said = losses(r)
        t.is_eq((said.get(("epics", "epic-updated-at")), said.get(("epic_boards", "epic-boards-not-available"))), (len(want), len(source_boards)),
                "work items: what they cannot be told is counted before")
        together = said.get(("epics", "epic-dates-together"), 0)
        r = replay("apply", sim, "api.gsnap", "--yes", "--json", "--state", "items.state")
        t.is_eq(r.code, 0, "work items: loaded", str(r))
        there = sim.dump()
        got = picture(there)
        for x in [*want.values(), *got.values()]: # no time of a comment can be told
            x["bare"] = sorted((n[1:] for n in x["notes"]), key=repr), sorted(sorted(m[1] for m in th) for th in x["threads"])
        off = [x for x in differences(want, got, ("updated_at", "notes", "threads"))]
        dates = {x[0] for x in off if "date" in x[1]}
        t.is_eq([x for x in off if "date" not in x[1]], [], "work items: everything else is as at the source")
        t.ok(together > 0 and len({n for n in dates if want[n]["start_date_is_fixed"] != got[n]["start_date_is_fixed"] or
                                   want[n]["due_date_is_fixed"] != got[n]["due_date_is_fixed"]}) <= together, "work items: dates differ where it was said", repr(dates))
        t.is_eq([e["title"] for e in there["epics"] if "groupsnap filler" in e["title"]], [], "work items: no filler remains")
        t.is_eq({x["path"] for x in sim.requests() if "/epics" in x["path"] and x["status"] != 404}, set(), "work items: REST is not asked in vain")
        schema = gstest.contract_schema("gitlab-18.3-workitems-over-15.0.graphql")
        if schema is None:
            t.skip("work items: what was sent fits GitLab's schema", "needs GITLAB_CONTRACT_DIR and python3-graphql-core")
        else:  # no document or variable of the tools is one of those that GitLab hides from introspection (docs/epics.md): they would be refused here
            sent = [x for x in sim.requests() if x["path"].endswith("/graphql")]
            t.is_eq((len(sent) > 500, gstest.unfit_variables(schema, sent)), (True, []), f"work items: the variables of {len(sent)} requests fit GitLab's schema")
        r = gstest.replay("reconcile", "api.gsnap", "--trust", "key.pub", "--url", sim.url, "--state", "items.state", "--json", token=sim.tokens["owner"], cwd=d)
        total = r.lines()[-1].get("total", {}) if r.out else {}
        t.is_eq((r.code, [total.get(x) for x in ("missing", "extra", "unread", "differs")]), (0, [0, 0, 0, 0]), "work items: read back as such, nothing is missing, too much, or differs without a reason", str(r))
t.done()
