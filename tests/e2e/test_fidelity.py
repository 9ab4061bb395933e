#!/usr/bin/python3
"""What of each attribute arrives: the planning tree, with badges, an avatar and more boards, is captured from one simulator and loaded into two others, as
an Owner and as an administrator in the names of the authors. This program compares the instances' dumps, attribute by attribute, and makes a table of it: an
attribute arrives everywhere, or the load names a loss, with the code that the facts about GitLab's API predict, for at least as many records as differ.
The table is the one in docs/fidelity.md; `test_fidelity.py --write` puts it there."""
import collections
import concurrent.futures
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
DOC = os.path.join(gstest.TOP, "docs/fidelity.md")
ROOT = "halden-planning"
WAYS = ("owner", "admin")
BOARDS = """query($p: ID!) { group(fullPath: $p) { epicBoards { nodes { name lists { nodes { title listType epics(first: 100) { nodes { iid group { fullPath } } } } } } } } }"""

SETTINGS = ("visibility share_with_group_lock require_two_factor_authentication two_factor_grace_period project_creation_level auto_devops_enabled subgroup_creation_level "
            "emails_enabled mentions_disabled lfs_enabled request_access_enabled default_branch default_branch_protection_defaults shared_runners_setting membership_lock "
            "prevent_sharing_groups_outside_hierarchy wiki_access_level").split()
# Of these the target has some of its own, since GitLab writes down what a load does: only what the source has is looked for.
OWN_TOO = {("notes", "system notes"), ("epics", "events")}
# Predicted (facts about the API, section 11): the code of the loss as Owner and as administrator; None: it arrives. Further codes, behind a blank, are of the
# same record for another reason. In the order of the list of what a transfer has to carry.
PREDICTED = {
    ("groups", "name, path, parent"): (None, None),
    ("groups", "description"): (None, None),
    ("groups", "attributes (visibility, locks, levels)"): (None, None),
    ("groups", "subgroups"): (None, None),
    ("groups", "avatar"): (None, None),
    ("groups", "created_at, updated_at"): ("group-times", "group-times"),
    ("labels", "title"): (None, None),
    ("labels", "description"): (None, None),
    ("labels", "color"): (None, None),
    ("labels", "created_at"): ("label-times", "label-times"),
    ("labels", "updated_at"): ("label-times", "label-times"),
    ("members", "person (by e-mail address), access level"): (None, None),
    ("members", "expiry date"): (None, None),
    ("members", "created_at, created_by"): ("member-times", "member-times"),
    ("epics", "iid"): (None, None),
    ("epics", "title"): (None, None),
    ("epics", "description"): ("text-action-kept", "text-action-kept"),
    ("epics", "state"): (None, None),
    ("epics", "closed_at, closed_by"): ("epic-closing", "epic-closing"),
    ("epics", "start date, fixed and inherited"): (None, None),
    ("epics", "due date, fixed and inherited"): (None, None),
    ("epics", "order on boards"): (None, None),
    ("epics", "order among siblings"): (None, None),
    ("epics", "confidentiality"): (None, None),
    ("epics", "labels"): (None, None),
    ("epics", "author"): ("epic-author", None),
    ("epics", "parent"): (None, None),
    ("epics", "colour"): (None, None),
    ("epics", "award emoji"): ("award-of-others", None),
    ("epics", "award emoji: when"): ("award-times award-of-others", "award-times"),
    ("epics", "events"): ("epic-events", "epic-events"),
    ("epics", "created_at"): (None, "epic-created-at"),
    ("epics", "updated_at"): (None, None),
    ("notes", "text, thread, internal"): ("text-action-kept", "text-action-kept"),
    ("notes", "author"): ("note-author", None),
    ("notes", "created_at"): (None, "note-times"),
    ("notes", "when it was edited"): ("note-edited", "note-edited"),
    ("notes", "award emoji"): ("award-of-others", None),
    ("notes", "system notes"): ("note-system", "note-system"),
    ("milestones", "iid"): (None, None),
    ("milestones", "title"): (None, None),
    ("milestones", "description"): (None, None),
    ("milestones", "state"): (None, None),
    ("milestones", "start and due date"): (None, None),
    ("milestones", "created_at"): ("milestone-times", "milestone-times"),
    ("milestones", "updated_at"): ("milestone-times", "milestone-times"),
    ("iterations", "iid"): (None, None),
    ("iterations", "title"): (None, None),
    ("iterations", "description"): (None, None),
    ("iterations", "state"): (None, None),
    ("iterations", "start and due date"): (None, None),
    ("iterations", "created_at"): ("iteration-times", "iteration-times"),
    ("iterations", "updated_at"): ("iteration-times", "iteration-times"),
    ("iterations_cadences", "title, description, settings"): (None, None),
    ("iterations_cadences", "start of the automation"): ("cadence-start-date", "cadence-start-date"),
    ("badges", "name"): (None, None),
    ("badges", "link URL"): (None, None),
    ("badges", "image URL"): (None, None),
    ("boards", "name, hidden lists"): (None, None),
    ("boards", "scope (milestone, assignee, labels, weight)"): (None, None),
    ("boards", "created_at, updated_at"): ("board-times", "board-times"),
    ("lists", "what it stands for, and order"): (None, None),
    ("lists", "limits"): (None, None),
    ("epic_boards", "name, hidden lists, colours, labels"): (None, None),
    ("epic_boards", "lists and their order"): (None, None),
    ("epic_boards", "created_at, updated_at"): ("epic-board-times", "epic-board-times"),
}


def tree():
    """The planning tree, with some of what it does not have."""
    with open(os.path.join(gstest.TOP, "tests/sim/planning_tree.json"), encoding="utf-8") as f:
        doc = json.load(f)
    root = doc["groups"][0]
    product = next(g for g in root["subgroups"] if g["path"] == "product")
    root["description"], root["avatar"] = "All plans", {"color": "#336699", "size": 64, "filename": "plan.png"}
    root.update(request_access_enabled=False, subgroup_creation_level="owner", two_factor_grace_period=9, mentions_disabled=True, project_creation_level="maintainer")
    product["avatar"] = {"color": "#993366", "size": 32, "filename": "product.png"}
    root["badges"] = [{"name": n, "link_url": f"https://ci.example/{n}/%{{group_name}}", "image_url": f"https://ci.example/{n}.svg"} for n in ("build", "cover")]
    product["badges"] = [{"name": "build", "link_url": "https://ci.example/x", "image_url": "https://ci.example/x.svg"}]
    root["boards"].append({"name": "Winter", "milestone": "Winter 2026", "labels": ["urgent"], "weight": 2, "hide_backlog_list": True, "lists": [
        {"label": "stage::doing", "max_issue_count": 5}, {"milestone": "Winter 2025"}, {"assignee": "aiko.tanaka"}]})
    root["members"][2]["expires_at"] = "2090-01-31"
    return doc


def digest(dump, sim):
    """{(relation, attribute): {object: value}} with names in place of ids."""
    out = collections.defaultdict(dict)
    full = {g["id"]: g["full_path"] for g in dump["groups"]}
    users = {u["id"]: u["username"] for u in dump["users"]}
    users[None] = None
    title = {x["id"]: x["title"] for x in dump["labels"]}
    milestone = {x["id"]: x["title"] for x in dump["milestones"]}
    epic = {e["id"]: f"{full[e['group_id']]}&{e['iid']}" for e in dump["epics"]}

    def times(x):
        return x["created_at"], x["updated_at"]
    for g in dump["groups"]:
        k = g["full_path"]
        out["groups", "name, path, parent"][k] = (g["name"], g["path"], full.get(g["parent_id"]))
        out["groups", "description"][k] = g["description"] or ""
        shown = sim.call(f"/api/v4/groups/{g['id']}?with_projects=false", token=sim.tokens["admin"])
        out["groups", "attributes (visibility, locks, levels)"][k] = {x: shown[x] for x in SETTINGS if x in shown}
        out["groups", "subgroups"][k] = sorted(x["path"] for x in dump["groups"] if x["parent_id"] == g["id"])
        out["groups", "avatar"][k] = g["avatar_sha256"]
        out["groups", "created_at, updated_at"][k] = times(g)
    for x in dump["labels"]:
        k = full[x["group_id"]], x["title"]
        for attribute in ("title", "description", "color", "created_at", "updated_at"):
            out["labels", attribute][k] = x[attribute]
    for x in dump["members"]:
        k = full[x["group_id"]], users[x["user_id"]]
        out["members", "person (by e-mail address), access level"][k] = x["access_level"]
        out["members", "expiry date"][k] = x["expires_at"]
        out["members", "created_at, created_by"][k] = (x["created_at"], users[x["created_by_id"]])
    awards = collections.defaultdict(list)
    for a in dump["award_emoji"]:
        awards[a["awardable_type"], a["awardable_id"]].append((a["name"], users[a["user_id"]], a["created_at"]))
    for e in dump["epics"]:
        k = epic[e["id"]]
        given = sorted(awards["Epic", e["id"]])
        for name, value in (("iid", e["iid"]), ("title", e["title"]), ("description", e["description"]), ("state", e["state"]),
                            ("closed_at, closed_by", (e["closed_at"], users[e["closed_by_id"]])),
                            ("start date, fixed and inherited", (e["start_date"], e["start_date_fixed"], e["start_date_is_fixed"])),
                            ("due date, fixed and inherited", (e["end_date"], e["due_date_fixed"], e["due_date_is_fixed"])),
                            ("order among siblings", [epic[c["id"]] for c in sorted((c for c in dump["epics"] if c["parent_id"] == e["id"]), key=lambda c: c["relative_position"])]),
                            ("confidentiality", bool(e["confidential"])), ("labels", sorted(title[x["label_id"]] for x in dump["epic_labels"] if x["epic_id"] == e["id"])),
                            ("author", users[e["author_id"]]), ("parent", epic.get(e["parent_id"])), ("colour", e["color"]),
                            ("award emoji", [a[:2] for a in given]), ("award emoji: when", given),
                            ("created_at", e["created_at"]), ("updated_at", e["updated_at"])):
            out["epics", name][k] = value
        all_notes = [n for n in dump["notes"] if n["noteable_id"] == e["id"]]
        notes = sorted((n for n in all_notes if not n["system"]), key=lambda n: n["id"])
        first = {}
        for n in notes:
            first.setdefault(n["discussion_id"], n["note"])
        for i, n in enumerate(notes):
            at = k, i
            out["notes", "text, thread, internal"][at] = (n["note"], first[n["discussion_id"]], bool(n["internal"]))
            out["notes", "author"][at] = users[n["author_id"]]
            out["notes", "created_at"][at] = n["created_at"]
            out["notes", "when it was edited"][at] = n["last_edited_at"]
            out["notes", "award emoji"][at] = sorted(a[:2] for a in awards["Note", n["id"]])
        for n in all_notes:
            if n["system"]:
                out["notes", "system notes"][k, n["note"], n["created_at"]] = True
        for kind in ("events", "resource_label_events", "resource_state_events"):
            for x in dump[kind]:
                if x.get("epic_id") == e["id"] or x.get("target_type") == "Epic" and x["target_id"] == e["id"]:
                    out["epics", "events"][k] = out["epics", "events"].get(k, ()) + ((kind, x.get("action") or x.get("state"), x["created_at"]),)
    for x in dump["milestones"]:
        k = full[x["group_id"]], x["iid"]
        for name, value in (("iid", x["iid"]), ("title", x["title"]), ("description", x["description"]), ("state", x["state"]), ("start and due date", (x["start_date"], x["due_date"])),
                            ("created_at", x["created_at"]), ("updated_at", x["updated_at"])):
            out["milestones", name][k] = value
    cadence = {c["id"]: c for c in dump["iterations_cadences"]}
    states = {x["id"]: x["state"] for g in dump["groups"] for x in sim.call(f"/api/v4/groups/{g['id']}/iterations?include_ancestors=false&per_page=100", token=sim.tokens["admin"])}
    for x in dump["iterations"]:
        k = full[x["group_id"]], x["iid"]
        for name, value in (("iid", (x["iid"], cadence[x["cadence_id"]]["title"])), ("title", x["title"]), ("description", x["description"]), ("state", states[x["id"]]),
                            ("start and due date", (x["start_date"], x["due_date"])), ("created_at", x["created_at"]), ("updated_at", x["updated_at"])):
            out["iterations", name][k] = value
    for c in cadence.values():
        k = full[c["group_id"]], c["title"]
        out["iterations_cadences", "title, description, settings"][k] = [c[x] for x in ("title", "description", "automatic", "active", "roll_over", "duration_in_weeks", "iterations_in_advance")]
        out["iterations_cadences", "start of the automation"][k] = c["start_date"]
    for g in dump["groups"]:
        for i, b in enumerate(sorted((b for b in dump["badges"] if b["group_id"] == g["id"]), key=lambda b: b["id"])):
            for name, column in (("name", "name"), ("link URL", "link_url"), ("image URL", "image_url")):
                out["badges", name][g["full_path"], i] = b[column]
    for b in dump["boards"]:
        k = full[b["group_id"]], b["name"]
        out["boards", "name, hidden lists"][k] = (b["name"], b["hide_backlog_list"], b["hide_closed_list"])
        out["boards", "scope (milestone, assignee, labels, weight)"][k] = (milestone.get(b["milestone_id"], b["milestone_id"]), users[b["assignee_id"]], b["weight"],
                                                                           sorted(title[x["label_id"]] for x in dump["board_labels"] if x["board_id"] == b["id"]))
        out["boards", "created_at, updated_at"][k] = times(b)
        lists = sorted((x for x in dump["lists"] if x["board_id"] == b["id"] and x["list_type"] not in ("backlog", "closed")), key=lambda x: x["position"])
        out["lists", "what it stands for, and order"][k] = [(x["list_type"], title.get(x["label_id"]), milestone.get(x["milestone_id"]), users[x["user_id"]]) for x in lists]
        out["lists", "limits"][k] = [(x["max_issue_count"], x["max_issue_weight"]) for x in lists]
    for b in dump["epic_boards"]:
        k = full[b["group_id"]], b["name"]
        out["epic_boards", "name, hidden lists, colours, labels"][k] = (b["name"], b["hide_backlog_list"], b["hide_closed_list"], b["display_colors"], sorted(
            title[x["label_id"]] for x in dump["epic_board_labels"] if x["board_id"] == b["id"]))
        out["epic_boards", "lists and their order"][k] = [title[x["label_id"]] for x in sorted((x for x in dump["epic_lists"] if x["board_id"] == b["id"] and x["label_id"]),
                                                                                             key=lambda x: x["position"])]
        out["epic_boards", "created_at, updated_at"][k] = times(b)
    for g in dump["groups"]:
        d = sim.call("/api/graphql", {"query": BOARDS, "variables": {"p": g["full_path"]}}, token=sim.tokens["admin"])["data"]["group"]["epicBoards"]["nodes"]
        for b in d:
            for x in b["lists"]["nodes"]:
                out["epics", "order on boards"][g["full_path"], b["name"], x["title"]] = ["%s&%s" % (e["group"]["fullPath"], e["iid"]) for e in x["epics"]["nodes"]]
    return out


def cell(code):
    return f"`{code}`" if code else "yes"


def table(found):
    rows = ["| kind | attribute | as Owner | as administrator, `--as-authors` |", "|---|---|---|---|"]
    rows += [f"| {relation} | {attribute} | {cell(found['owner'][relation, attribute])} | {cell(found['admin'][relation, attribute])} |" for relation, attribute in PREDICTED]
    return "\n".join(rows) + "\n"


def in_doc():
    if not os.path.exists(DOC):
        return None
    m = re.search(r"(?m)^\| kind \| attribute .*\n(?:\|.*\n)+", open(DOC, encoding="utf-8").read())
    return m[0] if m else None


with gstest.scratch() as d:
    key = gstest.keygen(d)
    seed = tree()
    with open(os.path.join(d, "tree.json"), "w", encoding="utf-8") as f:
        json.dump(seed, f)
    with gstest.Sim(d, "source", "--seed", os.path.join(d, "tree.json"), "--tier", "ultimate", "--version", "18.8.0-ee") as s:
        r = gstest.snap("create", "--url", s.url, ROOT, "-o", "all.gsnap", "--key", key, token=s.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "the tree is captured", str(r))
        source = digest(s.dump(), s)
    gone = [k for k in PREDICTED if not source.get(k)]
    t.is_eq((gone, [k for k in source if k not in PREDICTED]), ([], []), "the source has something of every attribute, and every attribute is compared")

    def load(way):
        with gstest.Target(d, way, "--tier", "ultimate", "--version", "18.8.0-ee", users={"users": seed["users"], "tokens": seed["tokens"]}) as sim:
            more = ("--as-authors",) if way == "admin" else ("--no-attribution",)
            r = gstest.replay("apply", "all.gsnap", "--trust", key + ".pub", "--url", sim.url, "--state", way + ".state", "--match-username", "--json", "--yes", *more,
                              token=sim.tokens[way], cwd=d)
            return r, sim.dump(), digest(sim.dump(), sim)

    found = {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = dict(zip(WAYS, pool.map(load, WAYS)))
    for i, way in enumerate(WAYS):
        r, dump, target = results[way]
        t.is_eq(r.code, 0, f"{way}: loaded", str(r))
        lost = collections.Counter()
        for x in r.json()["losses"] if r.code == 0 else ():
            lost[x["code"]] += x["count"]
        found[way], wrong = {}, []
        for k, codes in PREDICTED.items():
            here = target.get(k, {})
            off = [o for o in set(source[k]) | (set() if k in OWN_TOO else set(here)) if source[k].get(o, "not there") != here.get(o, "not there")]
            code = found[way][k] = codes[i].split()[0] if off and codes[i] else None
            if off and not codes[i]:
                found[way][k] = "differs"
                wrong += [f"{k}: {len(off)} differ and no loss is predicted: {o}: {source[k].get(o)!r} {here.get(o)!r}" for o in sorted(off, key=repr)[:2]]
            elif codes[i] and not off:
                wrong.append(f"{k}: nothing differs, and {codes[i]} is predicted")
            elif off and not (0 < lost[code] and len(off) <= sum(lost[x] for x in codes[i].split())):
                wrong.append(f"{k}: {len(off)} differ, and {codes[i]} is told of {[lost[x] for x in codes[i].split()]}")
        t.is_eq(wrong, [], f"{way}: every attribute is as at the source, or a loss with the code that was predicted", *wrong[:20])
        for relation in ("epics", "milestones", "iterations"):
            numbers = [sorted((k[0] if isinstance(k, tuple) else k.rsplit("&")[0], v if isinstance(v, int) else v[0]) for k, v in x[relation, "iid"].items()) for x in (source, target)]
            of_first = [n for path, n in numbers[0] if path == numbers[0][0][0]]
            t.ok(numbers[0] == numbers[1] and len(numbers[0]) > 3, f"{way}: the numbers of {len(numbers[0])} {relation} are the source's", repr(numbers)[:1500])
            groups = {p for p, _ in numbers[0]}
            t.ok(any(max(n for p, n in numbers[0] if p == g) > sum(p == g for p, _ in numbers[0]) for g in groups), f"{way}: among them gaps ({relation})", repr(of_first))
        left = [x.get("title") or x.get("name") for rel in ("epics", "milestones", "iterations", "iterations_cadences", "labels") for x in dump[rel] if "filler" in (x.get("title") or "")]
        t.is_eq(left, [], f"{way}: no filler remains")
    text = table(found)
    print("".join(f"# {line}\n" for line in text.splitlines()), end="")
    if "--write" in sys.argv:
        whole = open(DOC, encoding="utf-8").read().replace(in_doc(), text)
        with open(DOC, "w", encoding="utf-8") as f:
            f.write(whole)
    t.is_eq(in_doc(), text, "the table is the one in docs/fidelity.md")
t.done()
