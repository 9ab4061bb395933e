"""What a crash campaign ends in the middle of: a load, a capture, an undo. Each world holds one simulator that stays up and is set
back between runs, a folder, the command, and how to tell that what came out is what an unbroken run gives."""
import collections
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import gstest  # noqa: E402

BUILD = os.environ.get("GS_FAULT_BUILD") or re.sub(r"(-faults)?/?$", "-faults", gstest.BUILD)
SNAP, REPLAY = os.path.join(BUILD, "snap"), os.path.join(BUILD, "replay")
DISK = os.path.join(BUILD, "tests/crash/disk.so")
TIME = "2025-01-02T03:04:05Z"
LIMIT_S = 300  # of one run; one that takes longer hangs


class Verdict:
    """`same` with what an unbroken run gives; how many objects are too many and too few; words for people."""

    def __init__(self, duplicates=0, lost=0, words=()):
        self.duplicates, self.lost, self.words = duplicates, lost, list(words)

    @property
    def same(self):
        return not self.words


def count_differences(want, got):
    """Two pictures {place: {relation: rows or a value}} -> Verdict."""
    v = Verdict()
    for place in sorted(set(want) | set(got)):
        a, b = want.get(place), got.get(place)
        if a is None or b is None:
            v.duplicates, v.lost = v.duplicates + (a is None), v.lost + (b is None)
            v.words.append(f"group '{place}' is only in the {'resumed' if a is None else 'unbroken'} run")
            continue
        for rel in sorted(set(a) | set(b)):
            x, y = a.get(rel), b.get(rel)
            if x == y:
                continue
            if isinstance(x, list) and isinstance(y, list):
                cx, cy = (collections.Counter(json.dumps(r, sort_keys=True) for r in z) for z in (x, y))
                more, less = list((cy - cx).elements()), list((cx - cy).elements())
                v.duplicates, v.lost = v.duplicates + max(0, len(y) - len(x)), v.lost + max(0, len(x) - len(y))
                v.words.append(f"{place or '.'}/{rel}: {len(x)} unbroken, {len(y)} resumed; too many {more[:2]}, missing {less[:2]}"
                               + ("" if more or less else ", in another order"))
            else:
                keys = [k for k in sorted(set(x or {}) | set(y or {})) if (x or {}).get(k) != (y or {}).get(k)]
                v.words.append(f"{place or '.'}/{rel}: " + "; ".join(f"{k}: {(x or {}).get(k)} unbroken, {(y or {}).get(k)} resumed" for k in keys))
    return v


def is_create(line):
    """Did this request make something? (The log tells the true status also when the answer was lost.)"""
    if line["method"] != "POST":
        return False
    if "/impersonation_tokens" in line["path"]:  # made and taken away again by every run that acts as others
        return False
    done = line.get("fault") not in ("status", "html", "reset") and (200 <= line["status"] < 300 or line.get("fault") in ("after_status", "twice", "twice_lost"))
    if line["path"].endswith("/graphql"):
        name = re.match(r"\s*mutation\s+(\w+)", (line.get("body") or {}).get("query", ""))
        return done and name is not None and "reate" in name[1]
    return done


def named(dump):
    """Ids differ from run to run where the order differs: a function that puts names in their place, in paths and bodies."""
    names = {"groups": {g["id"]: g["full_path"] for g in dump["groups"]}}
    of_group = names["groups"].get
    for table, column in (("labels", "title"), ("milestones", "title"), ("boards", "name"), ("iterations_cadences", "title"), ("epics", "iid"), ("epic_boards", "name")):
        names[table] = {x["id"]: f"{of_group(x['group_id'])}:{x[column]}" for x in dump[table]}
    keys = {"parent_id": "groups", "group_id": "groups", "label_id": "labels", "label_ids": "labels", "labels": "labels", "milestone_id": "milestones"}
    names["items"] = {x["id"]: names["epics"].get(x["epic_id"], "?") for x in dump["work_items"]}
    types = {"WorkItem": "items", "Group": "groups", "GroupLabel": "labels", "Label": "labels", "Milestone": "milestones", "Board": "boards", "Cadence": "iterations_cadences", "Epic": "epics", "EpicBoard": "epic_boards"}

    notes = {n["id"]: n["noteable_id"] for n in dump["notes"]}

    def value(key, v):
        if isinstance(v, dict):
            return {k: value(k, x) for k, x in v.items()}
        if isinstance(v, list):
            return [value(key, x) for x in v]
        if key in keys and str(v).isdigit():
            return names[keys[key]].get(int(v), "?")
        m = re.fullmatch(r"gid://gitlab/(?:\w+::)?(\w+)/(\d+)", v) if isinstance(v, str) else None
        if key == "discussionId":
            return "<>"
        if m and m[1] in ("Note", "DiscussionNote"):
            return "note of " + names["epics"].get(notes.get(int(m[2])), "?")
        return names[types[m[1]]].get(int(m[2]), "?") if m and m[1] in types else v

    def path(text):
        # comments are written below the id of an epic, everything else below its number
        text = re.sub(r"/epics/(\d+)/(notes|discussions)\b(?!.*award)", lambda m: f"/epics/<{names['epics'].get(int(m[1]), '?')}>/{m[2]}", text)
        text = re.sub(r"/(discussions/[0-9a-f]{40}|notes/\d+)", lambda m: "/" + m[1].split("/")[0] + "/<>", text)
        return re.sub(r"/(groups|boards|milestones|labels)/(\d+)", lambda m: f"/{m[1]}/<{names[m[1]].get(int(m[2]), '?')}>", text)
    return path, value


def creates(log, dump):
    """What was made, as often as it was made."""
    out = collections.Counter()
    path, value = named(dump)
    for line in log:
        if is_create(line):
            body = line.get("body")
            if line["path"].endswith("/graphql") and body:
                body = {"variables": body.get("variables")}
            out[path(line["path"]) + " " + json.dumps(value("", body), sort_keys=True)] += 1
    return out


class World:
    """The common part. `d` is a folder of its own, `shared` what all worlds of a campaign have in common (see prepare())."""
    sim_arguments = ()
    good = (0,)  # exit codes of an unbroken run
    token = "owner"
    again = True  # the same command may be given once more when all is done

    def __init__(self, d, shared, jobs):
        self.d, self.shared, self.jobs = d, shared, jobs
        self.cwd, self.attic = os.path.join(d, "run"), os.path.join(d, "attic")  # the tool's folder is the disk that may fail
        self.home = os.path.join(d, "home")  # and this one does not fail
        for folder in self.cwd, self.attic, self.home:
            os.makedirs(folder)
        self.sim = gstest.Sim(d, "sim", *self.sim_arguments)
        self.sim.start()

    def close(self):
        self.sim.stop()

    def fresh(self, snapshot):
        self.sim.call("/_sim/reset_faults", {})
        self.sim.call("/_sim/restore", {"name": snapshot})
        self.sim.call("/_sim/reset_log", {})

    def keep(self, snapshot):
        self.sim.call("/_sim/snapshot", {"name": snapshot})

    def run(self, binary, *args, disk=None, **env):
        """One run of the tool; a negative code is the signal that ended it, None that it hung."""
        e = gstest.environment(self.sim.tokens[self.token], XDG_STATE_HOME=self.home, **env)
        if disk:
            e.update(LD_PRELOAD=DISK, GROUPSNAP_FAULT_DISK=disk, GROUPSNAP_FAULT_DISK_ROOT=self.cwd,
                     GROUPSNAP_FAULT_DISK_ATTIC=self.attic)
        p = subprocess.Popen([binary, *map(str, args)], cwd=self.cwd, env=e, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        try:
            out, err = p.communicate(timeout=LIMIT_S)
            code = p.returncode
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
            code = None
        return gstest.Result(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), 0)

    @property
    def exact(self):
        """Has every run the same points?"""
        return self.jobs == 1

    def explain(self, r):
        """Words for people about a run that ended badly."""
        return ["stderr: " + r.err[-1500:]]

    def clear(self):
        for folder in self.cwd, self.attic, self.home:
            shutil.rmtree(folder)
            os.makedirs(folder)


def plan_iterations(top):
    """Cadences for the top group and one below it that an undo does not remove as a whole: numbers with gaps, equal titles, one automatic."""
    def of(iid, start, due, **more):
        return {"iid": iid, "start_date": start, "due_date": due, **more}
    sprints = [of(3, "2024-01-01", "2024-01-14", title="one"), of(5, "2031-01-06", "2031-01-12")]
    weeks = {"title": "Sprints", "automatic": True, "duration_in_weeks": 1, "iterations_in_advance": 1, "start_date": "2023-12-25", "iterations": [of(4, "2031-02-03", "2031-02-09")]}
    below = next(g for g in top["subgroups"] if g["path"] == "firmware")
    below = next(g for g in below["subgroups"] if g["path"] == "bootloader")
    top["planning"] = {"cadences": [{"title": "Sprints", "iterations": sprints}, weeks]}
    below["planning"] = {"cadences": [{"title": "Own", "iterations": [of(2, "2024-01-01", "2024-01-14", description="text")]}]}


class Apply(World):
    """replay apply: a bundle into an empty target."""
    sim_arguments = ("--empty", "--users", gstest.DEMO_USERS, "--tier", "premium")
    more = ()

    @staticmethod
    def prepare(d, options):
        """A bundle of the sample tree, made once."""
        tree = json.load(open(gstest.DEMO_TREE, encoding="utf-8"))
        root = tree["groups"][0]["path"]
        key = gstest.keygen(d)
        plan_iterations(tree["groups"][0])
        with open(os.path.join(d, "tree.json"), "w", encoding="utf-8") as f:
            json.dump(tree, f)
        with gstest.Sim(d, "source", "--seed", os.path.join(d, "tree.json"), "--tier", "premium") as s:
            r = gstest.run(SNAP, "create", "--via", "api", "--url", s.url, root, "-o", "demo.gsnap", "--key", key, "--time", TIME,
                           token=s.tokens["owner"], cwd=d)
            if r.code:
                raise RuntimeError(str(r))
        return {"root": root, "key": key, "bundle": os.path.join(d, "demo.gsnap")}

    def __init__(self, *a):
        super().__init__(*a)
        self.keep("empty")

    def reset(self):
        self.clear()
        self.fresh("empty")

    def step(self, **env):
        return self.run(REPLAY, "apply", self.shared["bundle"], "--trust", self.shared["key"] + ".pub", "--url", self.sim.url,
                        "--state", "s.state", "--jobs", self.jobs, "--yes", *self.more, **env)

    def explain(self, r):
        if r.code != 3:
            return super().explain(r)
        return [self.run(REPLAY, "failures", "--state", "s.state").out[-2000:], *super().explain(r)]

    def picture(self):
        dump = self.sim.dump()
        out = gstest.normalised(dump, self.shared["root"])
        for place, here in out.items():
            # off in a group above it is off here, whether this group says so itself or not
            above = [place[:i] for i, c in enumerate(place) if c == "/"] + ([""] if place else [])
            if any(out.get(x, {}).get("self", {}).get("settings", {}).get("emails_enabled") is False for x in above):
                here["self"]["settings"].pop("emails_enabled", None)
        full = {g["id"]: g["full_path"] for g in dump["groups"]}
        root = self.shared["root"]
        cadences = {c["id"]: {k: v for k, v in c.items() if k not in ("id", "created_at", "updated_at")} for c in dump["iterations_cadences"]}
        for c in cadences.values():
            out.setdefault(full.get(c.pop("group_id"), root)[len(root):].lstrip("/"), {}).setdefault("cadences", []).append(c)
        for x in dump["iterations"]:
            row = {**{k: x[k] for k in ("iid", "title", "description", "start_date", "due_date")}, "cadence": cadences[x["cadence_id"]]["title"]}
            out.setdefault(full.get(x["group_id"], root)[len(root):].lstrip("/"), {}).setdefault("iterations", []).append(row)
        for c in dump["counters"]:
            place = full.get(c["group_id"], root + "/gone")[len(root):].lstrip("/")
            out.setdefault(place, {}).setdefault("counters", {})[c["kind"]] = c["value"]
        return {"dump": out, "creates": creates(self.sim.requests(), dump), "groups": len(dump["groups"]), "books": self.books()}

    def books(self):
        """What the tool itself says of the load: per relation, and what was lost by which rule."""
        r = self.run(REPLAY, "status", "--state", "s.state", "--json")
        if r.code:
            return {"status": str(r)}
        j = r.json()
        # `found`: how often something was looked up and found again; made-twice: that a second one was removed. Only a disturbed
        # load has these to tell.
        self.told = {x["code"]: x["count"] for x in j["losses"]}
        return {"relations": [{k: v for k, v in x.items() if k != "found"} for x in j["relations"]],
                "losses": [{k: x[k] for k in ("code", "count")} for x in j["losses"] if x["code"] != "made-twice"]}

    def judge(self, want, got, kills):
        v = count_differences(want["dump"], got["dump"])
        if got["groups"] != want["groups"]:
            v.words.append(f"{want['groups']} groups unbroken, {got['groups']} resumed")
        for part in sorted(set(want["books"]) | set(got["books"])):
            a, b = want["books"].get(part), got["books"].get(part)
            if a != b:
                v.words.append(f"the books differ in {part}: " + (
                    "; ".join(f"{x} unbroken, {y} resumed" for x, y in zip(a, b) if x != y) if isinstance(a, list) and isinstance(b, list) else repr(b)))
        more, less = got["creates"] - want["creates"], want["creates"] - got["creates"]
        if more:
            v.duplicates = max(v.duplicates, sum(more.values()))
            v.words.append(f"made more often than in the unbroken run: {list(more.items())[:3]}")
        if less:
            v.words.append(f"made less often than in the unbroken run: {list(less.items())[:3]}")
        return v


def planning(dump, root, items=False):
    """Of each group below the root its epics with all that they hold, and its epic boards with the order of epics on them, by names. `items`: without the times that
    work items are not told."""
    full = {g["id"]: g["full_path"] for g in dump["groups"]}
    users = {u["id"]: u["username"] for u in dump["users"]}
    labels = {x["id"]: x["title"] for x in dump["labels"]}
    names = {e["id"]: f"{full[e['group_id']]}&{e['iid']}" for e in dump["epics"]}
    awards = {}
    for a in dump["award_emoji"]:
        awards.setdefault((a["awardable_type"], a["awardable_id"]), []).append(f"{a['name']} {users[a['user_id']]}")
    out = {}
    for e in sorted(dump["epics"], key=lambda e: e["iid"]):
        notes = [n for n in dump["notes"] if n["noteable_id"] == e["id"] and not n["system"]]
        threads = {n["discussion_id"]: min(m["created_at"] for m in notes if m["discussion_id"] == n["discussion_id"]) for n in notes}
        row = {k: e[k] for k in ("iid", "title", "description", "state", "confidential", "color", "start_date", "end_date", "created_at", "updated_at")}
        row["parent"], row["author"] = names.get(e["parent_id"]), users[e["author_id"]]
        row["labels"] = sorted(labels[x["label_id"]] for x in dump["epic_labels"] if x["epic_id"] == e["id"])
        row["awards"] = sorted(awards.get(("Epic", e["id"]), []))
        if items:
            del row["updated_at"]
            row["description"] = row["description"] or None
            first = {d: min((m for m in notes if m["discussion_id"] == d), key=lambda m: m["id"])["note"] for d in threads}
            notes, threads = [{**n, "created_at": ""} for n in notes], first
        row["notes"] = sorted([n["created_at"], n["note"], n["internal"], users[n["author_id"]], threads[n["discussion_id"]], sorted(awards.get(("Note", n["id"]), []))] for n in notes)
        row["children"] = [names[c["id"]] for c in sorted((c for c in dump["epics"] if c["parent_id"] == e["id"]), key=lambda c: c["relative_position"])]
        out.setdefault(full[e["group_id"]][len(root):].lstrip("/"), {}).setdefault("epics", []).append(row)
    for b in dump["epic_boards"]:
        lists = sorted((x for x in dump["epic_lists"] if x["board_id"] == b["id"]), key=lambda x: (x["list_type"], x["position"] or 0))
        place = {x["epic_id"]: x["relative_position"] for x in dump["epic_board_positions"] if x["board_id"] == b["id"]}
        shown = []
        for x in lists[:-1] if b["hide_closed_list"] else lists:  # a hidden list has no order that could be carried; what stands nowhere yet is shown last, the newest first
            here = [e for e in dump["epics"] if full[e["group_id"]].startswith(full[b["group_id"]]) and (e["state"] == "closed") == (x["list_type"] == 2)]
            of = {e["id"]: {y["label_id"] for y in dump["epic_labels"] if y["epic_id"] == e["id"]} for e in here}
            here = [e for e in here if x["label_id"] in of[e["id"]] or x["list_type"] == 2 or
                    (x["list_type"] == 0 and not of[e["id"]] & {y["label_id"] for y in lists})]
            shown.append([labels.get(x["label_id"], x["list_type"]), [names[e["id"]] for e in sorted(here, key=lambda e: (place.get(e["id"], 1 << 60), -e["id"]))]])
        out.setdefault(full[b["group_id"]][len(root):].lstrip("/"), {}).setdefault("epic_boards", []).append([b["name"], b["hide_closed_list"], shown])
    return out


def planning_tree(authors=("who",)):
    """Three groups, epics with gaps in their numbers, with parents that are made later or in another group, threads, emoji, an epic board, two cadences. Everybody
    who wrote something is an Owner, whom GitLab lets say when that was."""
    def epic(iid, title, **more):
        return {"iid": iid, "title": title, "created_at": f"2024-02-{iid:02d}T08:00:00.{iid:03d}Z", "updated_at": "2024-06-01T00:00:00.000Z",
                "author": authors[iid % len(authors)], **more}

    def note(text, day, **more):
        return {"author": authors[day % len(authors)], "body": text, "created_at": f"2024-03-{day:02d}T00:00:00.000Z", "updated_at": f"2024-03-{day:02d}T00:00:00.000Z", **more}
    top = [epic(2, "one", parent="&7", position=1000, labels=["now"], awards=[{"name": "thumbsup", "user": "who"}], notes=[
        note("first", 1), note("first", 2), note("asked", 3, thread="a"), note("answered", 4, thread="a", awards=[{"name": "tada", "user": authors[-1]}])]),
        epic(4, "same", parent="&7", position=500, start_date="2024-01-01", labels=["later"]), epic(5, "same", state="closed", confidential=True),
        epic(7, "above", description="text", color="#112233", labels=["now"], notes=[note("inside", 5, internal=True)])]
    sub = [epic(1, "below", parent="plan&7", position=750, labels=["now"]), epic(3, "deep", parent="&1", state="closed", labels=["later", "now"])]
    board = {"name": "Plan", "hide_closed_list": True, "lists": [{"label": "now"}, {"label": "later"}], "order": ["plan/sub&1", "&7", "&4", "&2", "plan/sub&3", "&5"]}
    users = [{"username": "root", "email": "r@x.example", "admin": True}] + [{"username": x, "email": f"{x}@x.example", "public_email": f"{x}@x.example"} for x in authors]
    cadences = [{"title": "Sprints", "iterations": [{"iid": 2, "start_date": "2024-01-01", "due_date": "2024-01-14"}]}, {"title": "Sprints", "description": "others", "iterations": []}]
    return {"users": users, "tokens": {"admin": "root", "owner": "who"}, "groups": [
        {"path": "plan", "name": "Plan", "labels": [{"title": "now", "color": "#ff0000"}, {"title": "later", "color": "#00ff00"}],
         "members": [{"user": x, "access_level": 50} for x in authors], "planning": {"epics": top, "epic_boards": [board], "cadences": cadences},
         "subgroups": [{"path": "sub", "name": "Sub", "planning": {"epics": sub}}]}]}


class Epics(Apply):
    """replay apply of a tree that is mostly plans: as an Owner, or with --as-authors as an administrator in the names of three people; with --items into a target
    that knows epics as work items only."""

    @staticmethod
    def prepare(d, options):
        tree = planning_tree(("who", "ann", "bob") if options.as_authors else ("who",))
        users = os.path.join(d, "planning-users.json")
        seed = os.path.join(d, "planning.json")
        json.dump(tree, open(seed, "w", encoding="utf-8"))
        json.dump({"users": tree["users"], "tokens": tree["tokens"]}, open(users, "w", encoding="utf-8"))
        key = gstest.keygen(d, "planning-key")
        with gstest.Sim(d, "planning", "--seed", seed, "--tier", "ultimate") as s:
            r = gstest.run(SNAP, "create", "--via", "api", "--url", s.url, "plan", "-o", "planning.gsnap", "--key", key, "--time", TIME,
                           token=s.tokens["owner"], cwd=d)
            if r.code:
                raise RuntimeError(str(r))
        return {"root": "plan", "key": key, "bundle": os.path.join(d, "planning.gsnap"), "users": users, "as_authors": options.as_authors, "items": options.items}

    def __init__(self, d, shared, jobs):
        self.sim_arguments = ("--empty", "--users", shared["users"], "--tier", "ultimate")
        if shared["items"]:
            self.sim_arguments += ("--version", "18.8.0-ee", "--config", '{"epic_rest": false, "epic_graphql": false}')
        if shared["as_authors"]:
            self.token, self.more = "admin", ("--as-authors",)
        super().__init__(d, shared, jobs)

    def picture(self):
        out = super().picture()
        for place, here in planning(self.sim.dump(), self.shared["root"], self.shared["items"]).items():
            out["dump"].setdefault(place, {}).update(here)
        self.sim.call("/_sim/reset_faults", {})  # they were not meant for this question
        tokens = [x for u in self.sim.dump()["users"] for x in self.sim.call(f"/api/v4/users/{u['id']}/impersonation_tokens?state=active", token=self.sim.tokens["admin"])]
        out["told"], out["tokens"] = self.told, len(tokens)
        return out

    def judge(self, want, got, kills):
        v = super().judge(*self.allow_twice(want, got), kills)
        if got["tokens"]:
            v.words.append(f"{got['tokens']} impersonation tokens are left")
        return v

    @staticmethod
    def allow_twice(want, got):
        """The second one of an epic that was made twice uses up a number. It saves a filler, or becomes the next record, without its creation time and perhaps
        its author; one behind the last record is removed. As often as the load says so, and never more. -> both pictures, alike in that."""
        twice = got["told"].get("made-twice", 0)
        if not twice:
            return want, got
        want, got = ({**x, "dump": json.loads(json.dumps(x["dump"])), "creates": collections.Counter(x["creates"]), "books": json.loads(json.dumps(x["books"]))} for x in (want, got))
        spare, others = (got["told"].get(code, 0) - want["told"].get(code, 0) for code in ("epic-created-at", "epic-author"))
        for made, n in want["creates"].items():
            path, body = made.split(" ", 1)
            body = json.loads(body)
            body = ((body.get("variables") or {}).get("input") or {}) if path.endswith("/graphql") else body
            body.setdefault("created_at", body.get("createdAt"))
            if not (path.endswith("/epics") or "workItemTypeId" in body) or got["creates"][made] >= n:
                continue
            if "filler" in body.get("title", "") and twice > 0:
                got["creates"][made] = n
            elif spare > 0:
                mine = next((e for here in got["dump"].values() for e in here.get("epics", ()) if e["title"] == body.get("title") and e["created_at"] != body["created_at"] and
                             not any(x == e for there in want["dump"].values() for x in there.get("epics", ()))), None)
                theirs = next((e for here in want["dump"].values() for e in here.get("epics", ()) if mine and (e["title"], e["iid"]) == (mine["title"], mine["iid"])), None)
                if theirs:
                    spare -= 1
                    mine["created_at"] = theirs["created_at"]
                    if mine["author"] != theirs["author"] and others > 0:
                        others -= 1
                        mine["author"] = theirs["author"]
                    got["creates"][made] = n
        for place, here in got["dump"].items():
            a, b = want["dump"].get(place, {}).get("counters", {}), here.get("counters", {})
            if 0 < b.get("epics", 0) - a.get("epics", 0) <= twice:
                b["epics"] = a["epics"]
        for x in want, got:
            x["books"]["losses"] = [y for y in x["books"]["losses"] if y["code"] not in ("epic-created-at", "epic-author")]
        return want, got


class Undo(Apply):
    """replay undo: takes a load back, into which somebody has put something here and there, so that some groups are removed as a
    whole and others object by object."""
    good = (3,)  # something stays
    FOREIGN = ("firmware/bootloader", "quality-assurance")

    def __init__(self, *a):
        super().__init__(*a)
        r = self.step()
        if r.code:
            raise RuntimeError(str(r))
        for place in self.FOREIGN:
            path = f"{self.shared['root']}/{place}".replace("/", "%2F")
            self.sim.call(f"/api/v4/groups/{path}/labels", {"name": "of somebody else", "color": "#123456"}, token=self.sim.tokens["admin"])
        os.rename(os.path.join(self.cwd, "s.state"), os.path.join(self.d, "loaded"))
        self.keep("loaded")

    def reset(self):
        self.clear()
        shutil.copy(os.path.join(self.d, "loaded"), os.path.join(self.cwd, "s.state"))
        self.fresh("loaded")

    def step(self, **env):
        if not os.path.exists(os.path.join(self.d, "loaded")):
            return super().step(**env)
        return self.run(REPLAY, "undo", "--url", self.sim.url, "--trust", self.shared["key"] + ".pub", "--state", "s.state", "--jobs", self.jobs, "--yes",
                        **env)


class Create(World):
    """snap create: the sample tree, or a tree of that many records, into a bundle."""
    again = False  # the bundle is there then
    # asked by every run: who are we, where are we, is it the same group, may we still do there what we might, how far is an export
    FIRST = re.compile(r"/api/v4/(metadata|version|user|personal_access_tokens/self|groups/[^/]+|groups/[^/]+/members/all/\d+|groups/[^/]+/export_relations/status)")

    @staticmethod
    def prepare(d, options):
        tree = gstest.DEMO_TREE
        if options.records:
            tree = os.path.join(d, "tree.json")
            with open(tree, "w", encoding="utf-8") as f:
                subprocess.run([os.path.join(gstest.TOP, "tests/sim/make-tree"), "--records", str(options.records), "--uploads",
                                str(max(20, options.records // 500))], stdout=f, check=True)
        root = json.load(open(tree, encoding="utf-8"))["groups"][0]["path"]
        return {"tree": tree, "root": root, "key": gstest.keygen(d), "via": options.via}

    def __init__(self, d, shared, jobs):
        self.sim_arguments = ("--seed", shared["tree"], "--tier", "premium")
        super().__init__(d, shared, jobs)

    @property
    def exact(self):
        return False  # answers are stored by a thread of their own

    def reset(self):
        self.clear()
        self.sim.call("/_sim/reset_faults", {})
        self.sim.call("/_sim/reset_log", {})

    def step(self, **env):
        return self.run(SNAP, "create", "--url", self.sim.url, self.shared["root"], "-o", "out.gsnap", "--key", self.shared["key"],
                        "--jobs", self.jobs, "--time", TIME, "--via", self.shared["via"], **env)

    def picture(self):
        path = os.path.join(self.cwd, "out.gsnap")
        digest = hashlib.sha256(open(path, "rb").read()).hexdigest() if os.path.exists(path) else None
        left = sorted(x for x in os.listdir(self.cwd) if x != "out.gsnap")
        if digest and not hasattr(self, "want"):  # the unbroken run: a campaign about files needs some
            shutil.copy(path, os.path.join(self.d, "unbroken.gsnap"))
            files = [x["path"].split("/")[2] for x in gstest.run(SNAP, "inspect", "out.gsnap", "--json", cwd=self.cwd).json()["members"] if x["file"]]
            kinds = {"avatar"} if self.shared["via"] == "api" else {"avatar", "uploads"}
            if self.shared["tree"] == gstest.DEMO_TREE and not kinds <= set(files):
                raise RuntimeError(f"of {kinds} the bundle has no more than {files}")
        asked = [f"{x['method']} {x['path']} {json.dumps(x['query'], sort_keys=True)} {json.dumps(x['body'], sort_keys=True)}"
                 for x in self.sim.requests() if x["status"] and x["status"] < 300]
        # the last look at the source begins with the root by its id; it is about now, so a later run looks anew
        root = next((x.split(" ")[1].rsplit("/", 1)[0] for x in asked if re.search(r"/groups/\d+/descendant_groups ", x)), None)
        begin = next((i for i, x in enumerate(asked) if x.split(" ")[1] == root), len(asked))
        # so does a run that goes on, of groups without planning records
        kept = [x for x in asked if not self.FIRST.fullmatch(x.split(" ")[1]) and "epicBoards(first: 1) { nodes { name }" not in x]
        return {"bundle": digest, "left": left, "asked": collections.Counter(kept),
                "look": {x for x in asked[begin:] if "/invitations" not in x and "epicBoards(first: 1) { nodes { id }" not in x}}

    def other_members(self):
        """Names of what differs from the unbroken bundle."""
        def members(file):
            return {x["path"]: x for x in gstest.run(SNAP, "inspect", file, "--json", cwd=self.cwd).json()["members"]}
        a, b = members("../unbroken.gsnap"), members("out.gsnap")
        return sorted(x for x in set(a) | set(b) if a.get(x) != b.get(x)) or ["nothing but the manifest"]

    def judge(self, want, got, kills):
        """What was on the way when the run was killed may be asked for again, and of several jobs as many answers as are not stored
        yet; nothing else."""
        v = Verdict()
        if got["bundle"] != want["bundle"]:
            v.lost = got["bundle"] is None
            v.words.append("there is no bundle" if v.lost else "the bundle has other bytes: " + ", ".join(self.other_members()))
        if got["left"]:
            v.words.append(f"left beside the bundle: {got['left']}")
        # a probe of which kinds a server tells may meet another group than in the unbroken run; that is nothing again
        more = {k: n for k, n in (got["asked"] - want["asked"]).items() if k not in want["look"] and got["asked"][k] > 1}
        if kills is not None and sum(more.values()) > kills * (2 * self.jobs if self.jobs > 1 else 1):
            v.duplicates = sum(more.values())
            v.words.append(f"{kills} kills, and these were asked for again: {more}")
        return v


WORLDS = {"apply": Apply, "epics": Epics, "undo": Undo, "create": Create}
