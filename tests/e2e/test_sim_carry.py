#!/usr/bin/python3
"""A careful client carries the planning tree from one simulated GitLab into an empty one, once with epics over REST and once with work
items, and everything that GitLab lets it set arrives. It shows that what the simulator refuses leaves a way; no code of the tools is used."""
import json
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim.testing import SIM_DIR, Sim, Tap, eq  # noqa: E402

test = Tap()
TREE = os.path.join(SIM_DIR, "planning_tree.json")
source = Sim("--seed", TREE, "--tier", "ultimate", "--version", "18.8.0-ee", log=False)
SRC = source.dump()
USERS = {u["id"]: u["username"] for u in SRC["users"]}
PATHS = {g["id"]: g["full_path"] for g in SRC["groups"]}
LABELS = {x["id"]: x["title"] for x in SRC["labels"]}
ROWS = {e["id"]: e for e in SRC["epics"]}


def name_of(rows, paths):
    return {e["id"]: "%s&%d" % (paths[e["group_id"]], e["iid"]) for e in rows.values()}


def picture(d):
    """The planning part of a dump with names in place of ids, as far as an admin can bring it over."""
    paths = {g["id"]: g["full_path"] for g in d["groups"]}
    users = {u["id"]: u["username"] for u in d["users"]}
    labels = {x["id"]: x["title"] for x in d["labels"]}
    rows = {e["id"]: e for e in d["epics"]}
    names = name_of(rows, paths)
    out = {}
    for e in rows.values():
        x = {k: e[k] for k in ("title", "description", "state", "confidential", "color", "start_date", "end_date", "start_date_is_fixed",
                               "due_date_is_fixed")}
        x["parent"] = names.get(e["parent_id"])
        x["labels"] = sorted(labels[k["label_id"]] for k in d["epic_labels"] if k["epic_id"] == e["id"])
        x["awards"] = sorted((a["name"], users[a["user_id"]]) for a in d["award_emoji"] if a["awardable_type"] == "Epic" and a["awardable_id"] == e["id"])
        notes = [n for n in d["notes"] if n["noteable_id"] == e["id"] and not n["system"]]
        x["notes"] = sorted((n["note"], users[n["author_id"]], n["internal"]) for n in notes)
        x["threads"] = sorted(sorted(m["note"] for m in notes if m["discussion_id"] == t) for t in {n["discussion_id"] for n in notes})
        x["children"] = [names[c["id"]] for c in sorted((c for c in rows.values() if c["parent_id"] == e["id"]), key=lambda c: c["relative_position"])]
        out[names[e["id"]]] = x
    its = {c["id"]: (paths[c["group_id"]], c["title"], c["automatic"], c["duration_in_weeks"], c["iterations_in_advance"], c["active"], c["roll_over"],
                     c["description"]) for c in d["iterations_cadences"]}
    return out, sorted((its[i["cadence_id"]], i["iid"], i["title"] or "", i["description"] or "", i["start_date"], i["due_date"]) for i in d["iterations"])


class Client:
    """Writes into one target; `as_` makes requests of somebody else."""

    def __init__(self, sim):
        self.sim, self.tokens, self.labels, self.groups, self.epics, self.items = sim, {}, {}, {}, {}, {}

    def call(self, method, path, body=None, as_=None, status=None):
        s, b = self.sim.call(method, path, body, token="admin", headers={"Sudo": as_} if as_ else None)
        if s != (status or {"POST": 201, "PUT": 200, "GET": 200, "DELETE": 204}[method]):
            raise AssertionError((method, path, body, s, b))
        return b

    def gql(self, field, fields, as_=None, head=None, **given):
        q = "mutation($input: %sInput!) { r: %s(input: $input) { errors %s } }" % (head or field[0].upper() + field[1:], field, fields)
        s, b = self.sim.gql(q, {"input": given}, token=self.token(as_) if as_ else "admin")
        if s != 200 or "errors" in b or b["data"]["r"]["errors"]:
            raise AssertionError((field, given, s, b))
        return b["data"]["r"]

    def token(self, user):
        if user not in self.tokens:
            uid = next(u for u, n in self.users.items() if n == user)
            self.tokens[user] = self.call("POST", "/users/%d/impersonation_tokens" % uid, {"name": "carry", "scopes": ["api"]})
        return self.tokens[user]["token"]

    def done(self):
        for t in self.tokens.values():
            self.call("DELETE", "/users/%d/impersonation_tokens/%d" % (t["user_id"], t["id"]))

    def gid(self, kind, n):
        return "gid://gitlab/%s/%d" % (kind, n)

    def skeleton(self):
        """Groups, labels, and everybody a member, so that all may act."""
        self.users = {u["id"]: u["username"] for u in self.sim.dump()["users"]}
        by_name = {n: i for i, n in self.users.items()}
        for g in sorted(SRC["groups"], key=lambda g: len(g["full_path"])):
            body = {"name": g["name"], "path": g["path"]}
            if g["parent_id"]:
                body["parent_id"] = self.groups[g["parent_id"]]
            self.groups[g["id"]] = self.call("POST", "/groups", body)["id"]
        top = self.groups[min(PATHS, key=lambda i: len(PATHS[i]))]
        for name in sorted({USERS[e["author_id"]] for e in SRC["epics"]} | {USERS[n["author_id"]] for n in SRC["notes"]}
                           | {USERS[a["user_id"]] for a in SRC["award_emoji"]}):
            self.call("POST", "/groups/%d/members" % top, {"user_id": by_name[name], "access_level": 20})
        for x in SRC["labels"]:
            made = self.call("POST", "/groups/%d/labels" % self.groups[x["group_id"]], {"name": x["title"], "color": x["color"]})
            self.labels[x["id"]] = made["id"]

    def in_iid_order(self, make, remove):
        """Epics group by group in the order of their iids, with fillers for the gaps that go at the end."""
        for gid in sorted(PATHS):
            fillers, want = [], 0
            for e in sorted((e for e in SRC["epics"] if e["group_id"] == gid), key=lambda e: e["iid"]):
                want += 1
                while want < e["iid"]:
                    fillers.append(make(gid, None))
                    want += 1
                got = make(gid, e)
                eq(int(got["iid"]), e["iid"])
            for f in fillers:
                remove(gid, f)

    def children(self):
        """-> [(parent id, children in order)] of the source, from above"""
        out = {}
        for e in SRC["epics"]:
            if e["parent_id"]:
                out.setdefault(e["parent_id"], []).append(e)
        return [(p, sorted(kids, key=lambda e: e["relative_position"])) for p, kids in sorted(out.items())]

    def notes(self):
        """Comments in their threads over REST, by their authors; text is kept from being carried out."""
        first = {}
        for n in sorted((n for n in SRC["notes"] if not n["system"]), key=lambda n: (n["noteable_id"], n["created_at"], n["id"])):
            e = ROWS[n["noteable_id"]]
            path = "/groups/%d/epics/%d" % (self.groups[e["group_id"]], self.epics[e["id"]])
            body, who = {"body": safe(n["note"]), "internal": bool(n["internal"])}, USERS[n["author_id"]]
            if n["type"] is None:
                self.call("POST", path + "/notes", body, as_=who)
            elif n["discussion_id"] not in first:
                first[n["discussion_id"]] = self.call("POST", path + "/discussions", body, as_=who)["id"]
            else:
                self.call("POST", path + "/discussions/%s/notes" % first[n["discussion_id"]], body, as_=who)

    def cadences(self):
        made = {c["id"]: self.gql("iterationCadenceCreate", "iterationCadence { id }", groupPath=PATHS[c["group_id"]], title=c["title"],
                                  description=c["description"], automatic=False, active=bool(c["active"]), rollOver=bool(c["roll_over"]))
                ["iterationCadence"]["id"] for c in SRC["iterations_cadences"]}
        for gid in sorted({c["group_id"] for c in SRC["iterations_cadences"]}):
            want, fillers = 0, []
            rows = sorted((i for i in SRC["iterations"] if i["group_id"] == gid), key=lambda i: i["iid"])
            for i in rows:
                want += 1
                while want < i["iid"]:      # far away from the others, deleted from behind
                    day = 1 + len(fillers) * 3
                    fillers.append(self.gql("iterationCreate", "iteration { id }", head="iterationCreate", groupPath=PATHS[gid],
                                            iterationsCadenceId=made[i["cadence_id"]], startDate="2001-01-%02d" % day, dueDate="2001-01-%02d" % (day + 1)))
                    want += 1
                got = self.gql("iterationCreate", "iteration { iid }", head="iterationCreate", groupPath=PATHS[gid], iterationsCadenceId=made[i["cadence_id"]],
                               title=i["title"], description=i["description"], startDate=i["start_date"], dueDate=i["due_date"])
                eq(int(got["iteration"]["iid"]), i["iid"])
            for f in fillers:
                self.gql("iterationDelete", "group { id }", id=f["iteration"]["id"])
        for c in SRC["iterations_cadences"]:
            if c["automatic"]:
                ahead = min(i["start_date"] for i in SRC["iterations"] if i["cadence_id"] == c["id"] and i["start_date"] > "2030")
                self.gql("iterationCadenceUpdate", "iterationCadence { id }", id=made[c["id"]], automatic=True, startDate=ahead,
                         durationInWeeks=c["duration_in_weeks"], iterationsInAdvance=c["iterations_in_advance"])

    def boards(self):
        for b in SRC["epic_boards"]:
            new = self.gql("epicBoardCreate", "epicBoard { id lists { nodes { id listType } } }", groupPath=PATHS[b["group_id"]], name=b["name"],
                           labelIds=[self.gid("GroupLabel", self.labels[x["label_id"]]) for x in SRC["epic_board_labels"] if x["board_id"] == b["id"]])["epicBoard"]
            lists = {"Open": next(x["id"] for x in new["lists"]["nodes"] if x["listType"] == "backlog"),
                     "Closed": next(x["id"] for x in new["lists"]["nodes"] if x["listType"] == "closed")}
            for x in sorted((x for x in SRC["epic_lists"] if x["board_id"] == b["id"] and x["list_type"] == 1), key=lambda x: x["position"]):
                lists[x["label_id"]] = self.gql("epicBoardListCreate", "list { id }", boardId=new["id"],
                                                labelId=self.gid("GroupLabel", self.labels[x["label_id"]]))["list"]["id"]
            here = {t: lists.get(t) or next(v for k, v in lists.items() if LABELS.get(k) == t)
                    for t in shown(source, PATHS[b["group_id"]], b["name"])}
            want = shown(source, PATHS[b["group_id"]], b["name"])

            def move(eid, title, before):
                self.gql("epicMoveList", "epic { id }", boardId=new["id"], epicId=self.gid("Epic", self.epics[eid]), toListId=here[title],
                         moveBeforeId=self.gid("Epic", self.epics[before]))

            def behind(eid, title, other):
                row = shown(self.sim, PATHS[b["group_id"]], b["name"])[title]
                return row.index(self.epics[eid]) > row.index(self.epics[other])
            put_in_order(want, move, behind)
            self.gql("epicBoardUpdate", "epicBoard { id }", id=new["id"], hideClosedList=bool(b["hide_closed_list"]), displayColors=bool(b["display_colors"]))


BOARDS = """query($p: ID!) { group(fullPath: $p) { epicBoards { nodes { name lists { nodes { title epics(first: 100) { nodes { id } } } } } } } }"""


def shown(sim, path, name):
    """{title of a list: [epic id]} of a board, in the order in which it is shown"""
    b = sim.gql(BOARDS, {"p": path}, token="admin")[1]["data"]["group"]["epicBoards"]["nodes"]
    return {x["title"]: [int(e["id"].rsplit("/", 1)[1]) for e in x["epics"]["nodes"]] for y in b if y["name"] == name for x in y["lists"]["nodes"]}


def put_in_order(lists, move, behind):
    """lists: {title: [epic]} as they shall be. An epic has one place on a board, however many lists show it, so that going through list
    after list would undo what was done for the ones before. Instead each epic goes directly behind the last of those that stand before it
    in any list, in an order in which these have had their turn. Those that begin all their lists stay where they are; which of two such
    comes first on the board is asked the first time that it matters."""
    before, waits, root, model, later = {}, {}, {}, {}, {}
    for title, row in lists.items():
        for i, e in enumerate(row):
            waits.setdefault(e, set())
            if i:
                before.setdefault(e, []).append((row[i - 1], title))
                waits[e].add(row[i - 1])
    while waits:
        free = sorted(e for e, w in waits.items() if not w - set(root))
        assert free, "the lists contradict each other"
        for e in free:
            del waits[e]
            if e not in before:
                root[e], model[e] = e, [e]
                continue
            best = {}       # of each root that one which stands last
            for p, title in before[e]:
                r = root[p]
                if r not in best or model[r].index(p) > model[r].index(best[r][0]):
                    best[r] = (p, title)
            (r, (p, title)), *others = sorted(best.items())
            move(e, title, p)
            for r2, (p2, title2) in others:
                if (r, r2) not in later:
                    later[r, r2] = not behind(e, title2, p2)
                    later[r2, r] = not later[r, r2]
                if later[r, r2]:
                    r, p = r2, p2
                    move(e, title2, p2)
            root[e] = r
            model[r].insert(model[r].index(p) + 1, e)


def safe(text):
    """A line that begins with a slash outside code is not to be carried out: a zero-width blank goes in front, as the picture knows."""
    out, code = [], False
    for line in (text or "").split("\n"):
        code ^= line.startswith("```")
        out.append("\u200b" + line if line.startswith("/") and not code else line)
    return "\n".join(out) if text is not None else None


def expected():
    """The source's picture, with what cannot be brought over taken out on both sides, and texts as `safe` leaves them."""
    pic, its = picture(SRC)
    for x in pic.values():
        x["description"] = safe(x["description"])
        x["notes"] = sorted((safe(n), u, i) for n, u, i in x["notes"])
        x["threads"] = sorted(sorted(safe(n) for n in t) for t in x["threads"])
    return pic, its


def compare(sim, stamps, one_switch=False):
    want, got = expected(), picture(sim.dump())
    eq(sorted(got[0]), sorted(want[0]))
    for name, x in want[0].items():
        y = got[0][name]
        if one_switch:      # a work item's dates are fixed or inherited together
            for p in (x, y):
                p.pop("start_date_is_fixed"), p.pop("due_date_is_fixed"), p.pop("start_date"), p.pop("end_date")
        for k in x:
            eq(y[k], x[k], "%s of %s" % (k, name))
    eq(got[1], want[1])
    d = sim.dump()
    paths, rows = {g["id"]: g["full_path"] for g in d["groups"]}, {e["id"]: e for e in d["epics"]}
    names, mine = name_of(ROWS, PATHS), {v: k for k, v in name_of(rows, paths).items()}
    for eid, e in ROWS.items():
        for k in stamps:
            eq(rows[mine[names[eid]]][k], e[k], "%s of %s" % (k, names[eid]))
    theirs = name_of(rows, paths)
    for b in SRC["epic_boards"]:
        a, z = shown(source, PATHS[b["group_id"]], b["name"]), shown(sim, PATHS[b["group_id"]], b["name"])
        eq({t: [theirs[i] for i in r] for t, r in z.items()}, {t: [names[i] for i in r] for t, r in a.items()}, "order on " + b["name"])


def target(version):
    return Sim("--empty", "--users", TREE_USERS, "--tier", "ultimate", "--version", version, "--config", '{"graphql_max_complexity": 0}', log=False)


@test
def over_rest():
    """epics over REST: created_at first, the rest later, updated_at last; boards and iterations over GraphQL"""
    sim = target("17.1.0-ee")
    try:
        c = Client(sim)
        c.skeleton()

        def make(gid, e):
            path = "/groups/%d/epics" % c.groups[gid]
            if e is None:
                return c.call("POST", path, {"title": "filler"})
            body = {"title": e["title"], "description": safe(e["description"]), "confidential": bool(e["confidential"]), "color": e["color"],
                    "created_at": e["created_at"], "labels": ",".join(LABELS[k["label_id"]] for k in SRC["epic_labels"] if k["epic_id"] == e["id"])}
            for kind, col in (("start", "start_date_fixed"), ("due", "due_date_fixed")):
                if e[kind + "_date_is_fixed"]:
                    body.update({col: e[col], kind + "_date_is_fixed": True})
            got = c.call("POST", path, body)
            c.epics[e["id"]] = got["id"]
            return got
        c.in_iid_order(make, lambda gid, f: c.call("DELETE", "/groups/%d/epics/%d" % (c.groups[gid], f["iid"])))
        for parent, kids in c.children():
            for e in reversed(kids):        # each new child stands in front of the others
                c.call("PUT", "/groups/%d/epics/%d" % (c.groups[e["group_id"]], e["iid"]), {"parent_id": c.epics[parent]})
        c.notes()
        for a in SRC["award_emoji"]:
            if a["awardable_type"] == "Epic":
                e = ROWS[a["awardable_id"]]
                c.call("POST", "/groups/%d/epics/%d/award_emoji" % (c.groups[e["group_id"]], e["iid"]), {"name": a["name"]}, as_=USERS[a["user_id"]])
        for e in SRC["epics"]:
            if e["state"] == "closed":
                c.call("PUT", "/groups/%d/epics/%d" % (c.groups[e["group_id"]], e["iid"]), {"state_event": "close"})
        c.boards()
        c.cadences()
        for e in SRC["epics"]:
            c.call("PUT", "/groups/%d/epics/%d" % (c.groups[e["group_id"]], e["iid"]), {"title": e["title"], "updated_at": e["updated_at"]})
        compare(sim, ("created_at", "updated_at"))
    finally:
        sim.stop()


@test
def as_work_items():
    """epics as work items: createdAt, widgets, hierarchy in order, emoji and closing by impersonation; tokens are gone afterwards"""
    sim = target("18.8.0-ee")
    try:
        c = Client(sim)
        c.skeleton()
        kind = sim.gql("{group(fullPath:\"%s\"){workItemTypes(name:EPIC){nodes{id}}}}" % min(PATHS.values(), key=len), token="admin")[1]
        kind = kind["data"]["group"]["workItemTypes"]["nodes"][0]["id"]

        def make(gid, e):
            if e is None:
                return c.gql("workItemCreate", "workItem { id iid }", namespacePath=PATHS[gid], workItemTypeId=kind, title="filler")["workItem"]
            p = {"title": e["title"], "confidential": bool(e["confidential"]), "createdAt": e["created_at"], "colorWidget": {"color": e["color"]},
                 "labelsWidget": {"labelIds": [c.gid("GroupLabel", c.labels[k["label_id"]]) for k in SRC["epic_labels"] if k["epic_id"] == e["id"]]}}
            if e["description"] is not None:
                p["descriptionWidget"] = {"description": safe(e["description"])}
            if e["start_date_is_fixed"] or e["due_date_is_fixed"]:
                p["startAndDueDateWidget"] = {"isFixed": True, "startDate": e["start_date_fixed"], "dueDate": e["due_date_fixed"]}
            got = c.gql("workItemCreate", "workItem { id iid createdAt }", namespacePath=PATHS[gid], workItemTypeId=kind, **p)["workItem"]
            eq(got["createdAt"], e["created_at"])
            c.items[e["id"]] = got["id"]
            return got
        c.in_iid_order(make, lambda gid, f: c.gql("workItemDelete", "namespace { id }", id=f["id"]))
        ids = {x["id"]: x["epic_id"] for x in sim.dump()["work_items"]}
        c.epics = {k: ids[int(v.rsplit("/", 1)[1])] for k, v in c.items.items()}
        for parent, kids in c.children():
            for e in kids:
                c.gql("workItemUpdate", "workItem { id }", id=c.items[e["id"]], hierarchyWidget={"parentId": c.items[parent]})
        c.notes()
        for a in SRC["award_emoji"]:
            if a["awardable_type"] == "Epic":
                c.gql("workItemUpdate", "workItem { id }", as_=USERS[a["user_id"]], id=c.items[a["awardable_id"]],
                      awardEmojiWidget={"action": "ADD", "name": a["name"]})
        for e in SRC["epics"]:
            if e["state"] == "closed":
                c.gql("workItemUpdate", "workItem { id }", as_=USERS[e["closed_by_id"]], id=c.items[e["id"]], stateEvent="CLOSE")
        c.boards()
        c.cadences()
        c.done()
        compare(sim, ("created_at",), one_switch=True)
        users = {u["username"]: u["id"] for u in sim.dump()["users"]}
        closers = {e["iid"]: e["closed_by_id"] for e in sim.dump()["epics"] if e["state"] == "closed" and e["group_id"] == c.groups[min(PATHS)]}
        eq(closers, {e["iid"]: users[USERS[e["closed_by_id"]]] for e in SRC["epics"] if e["state"] == "closed" and e["group_id"] == min(PATHS)})
        eq([t for n in c.tokens for t in sim.get("/users/%d/impersonation_tokens?state=active" % users[n], token="admin")[1]], [])
    finally:
        sim.stop()


with tempfile.NamedTemporaryFile("w", suffix=".json") as f, open(TREE, encoding="utf-8") as tree:
    json.dump({"users": json.load(tree)["users"]}, f)
    f.flush()
    TREE_USERS = f.name
    code = test.run()
code = 1 if source.stop() else code
sys.exit(code)
