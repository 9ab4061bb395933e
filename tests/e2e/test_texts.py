#!/usr/bin/python3
"""Texts of records on their way to a target where groups have other paths, people other names and milestones other titles."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
TIME = "2024-01-02T03:04:05.678Z"


def group(gid, parent, path, **more):
    return {"id": gid, "parent_id": parent, "name": path.title(), "path": path, "visibility_level": 0, "project_creation_level": 2,
            "subgroup_creation_level": 1, **more}


def label(lid, title, gid, description=None):
    return {"id": lid, "title": title, "color": "#ff0000", "group_id": gid, "description": description, "type": "GroupLabel", "created_at": TIME, "updated_at": TIME}


def milestone(mid, iid, title, gid, description=None):
    return {"id": mid, "iid": iid, "title": title, "group_id": gid, "description": description, "state": "active", "start_date": None, "due_date": None,
            "created_at": TIME, "updated_at": TIME}


def member(mid, uid, level):
    return {"id": mid, "access_level": level, "user_id": uid, "source_type": "Namespace", "created_at": TIME, "updated_at": TIME, "expires_at": None,
            "user": {"id": uid, "public_email": f"p{uid}@here.example", "username": f"src.p{uid}"}}


TREE = {
    10: {"self": group(10, None, "team", description="see team/child&1, @src.p2 and @team/child"),
         "labels": [label(1, "bug", 10, "as ~2 or ~\"to do\", %\"v1\", not `~2` nor ~\"gone\""), label(2, "to do", 10, "/close\nask @src.p9 or @SRC.p2")],
         "milestones": [milestone(31, 1, "v1", 10, "first"), milestone(32, 2, "v2", 10, "after %1, ~\"no such\"")],
         "iterations_cadences": [{"id": 5, "title": "C", "description": "for @src.p2", "active": True, "automatic": False, "iterations": [
             {"iid": 1, "id": 71, "title": None, "description": "behind %v2 of team%2", "start_date": "2024-01-01", "due_date": "2024-01-14"}]}],
         "boards": [{"id": 50, "name": "B", "group_id": 10, "labels": [], "lists": []}],
         "members": [member(91, 1, 50), member(92, 2, 40), member(93, 9, 30)]},
    11: {"self": group(11, 10, "child"),
         "labels": [label(3, "own", 11, "~bug and ~own")],
         # its title is that of the group above, so that it gets another; the last one names it
         "milestones": [milestone(41, 1, "v1", 11), milestone(42, 2, "v3", 11, "after %\"v1\" and %1")]},
}
USERS = {"users": [{"id": 1, "username": "root", "email": "root@there.example", "admin": True}, {"id": 2, "username": "loader", "email": "loader@there.example"},
                   {"id": 101, "username": "dst.p1", "email": "p1@here.example", "public_email": "p1@here.example"},
                   {"id": 102, "username": "dst.p2", "email": "p2@here.example", "public_email": "p2@here.example"}],
         "tokens": {"admin": "root", "owner": "loader"}}

with gstest.scratch() as d:
    key = gstest.keygen(d)
    pack = gstest.bundle(d, key, TREE, "pack")
    with gstest.Target(d, "target", "--version", "17.8.1-ee", "--tier", "premium", users=USERS) as sim:
        own = sim.tokens["owner"]
        sim.call("/api/v4/groups", {"name": "Base", "path": "base"}, own)
        args = (pack, "--trust", "key.pub", "--url", sim.url, "--into", "base", "--rename", "team=crew", "--state", "a.state", "--json")
        r = gstest.replay("plan", *args, token=own, cwd=d)
        known = {("text-rewritten", "self"): 1, ("text-rewritten", "labels"): 2, ("text-rewritten", "iterations"): 1, ("text-rewritten", "iterations_cadences"): 1,
                 ("text-reference-left", "self"): 1, ("text-reference-left", "labels"): 2, ("text-reference-left", "milestones"): 1}
        said = {(x["code"], x["relation"]): x["count"] for x in r.json()["losses"] if x["code"].startswith("text-")} if r.code == 0 else {}
        t.is_eq(said, known, "the plan counts the texts that will be changed, or name what is not there, but for a title that has to be changed", str(r))
        r = gstest.replay("apply", *args, "--yes", token=own, cwd=d)
        t.is_eq(r.code, 0, "loaded", str(r))
        dump = sim.dump()

        def text(table, **match):
            rows = [x for x in dump[table] if all(x[k] == v for k, v in match.items())]
            return rows[0]["description"] if len(rows) == 1 else rows

        gid = {g["full_path"]: g["id"] for g in dump["groups"]}
        crew, child = gid["base/crew"], gid["base/crew/child"]
        t.is_eq(text("groups", id=crew), "see team/child&1, @dst.p2 and @base/crew/child", "a group: people and groups under their new names; an epic that is not carried stays")
        t.is_eq(text("labels", title="bug", group_id=crew), "as ~\"to do\" or ~\"to do\", %\"v1\", not `~2` nor ~\"gone\"", "a label: a number becomes a title")
        t.is_eq(text("labels", title="to do", group_id=crew), "/close\nask @src.p9 or @dst.p2", "nobody carries out what stands in a label, so that it stays")
        t.is_eq(text("labels", title="own"), "~bug and ~own", "labels of the groups above mean what they meant")
        t.is_eq(text("milestones", title="v2", group_id=crew), "after %1, ~\"no such\"", "a milestone: numbers are kept")
        it = dump["iterations"][0]["description"]
        t.is_eq(it, "behind %v2 of base/crew%2", "an iteration: with a group's path in front")
        t.is_eq(dump["iterations_cadences"][0]["description"], "for @dst.p2", "a cadence")
        renamed = next(x["title"] for x in dump["milestones"] if x["group_id"] == child and x["iid"] == 1)
        t.ok(renamed != "v1", "the milestone of the child has another title")
        t.is_eq(text("milestones", title="v3"), f"after %\"{renamed}\" and %1", "a title that had to be changed is followed")
        lost = {(x["code"], x["relation"]): x["count"] for x in r.json()["losses"] if x["code"].startswith("text-")}
        t.is_eq(lost, {**known, ("text-rewritten", "milestones"): 1}, "each record that was changed, or names what is not there, has a loss", str(lost))
        r = gstest.replay("reconcile", pack, "--trust", "key.pub", "--url", sim.url, "--state", "a.state", token=own, cwd=d)
        t.ok(r.code == 0 and "balance 0" in r.out and "text-rewritten" in r.out, "reconcile knows which texts were rewritten", str(r))
    # lost answers: what is found is compared with what was sent, not with what was captured
    for do in ({"lose_answer": True},):
        with gstest.Target(d, "lost", "--version", "17.8.1-ee", "--tier", "premium", users=USERS) as sim:
            sim.call("/api/v4/groups", {"name": "Base", "path": "base"}, sim.tokens["owner"])
            sim.faults({"match": {"method": "POST", "first": True, "path": "labels$|milestones$"}, "times": 0, "do": do})
            args = (pack, "--trust", "key.pub", "--url", sim.url, "--into", "base", "--rename", "team=crew", "--state", "lost.state", "--json")
            r = gstest.replay("apply", *args, "--yes", token=sim.tokens["owner"], cwd=d)
            codes = {x["code"] for x in r.json()["losses"]}
            t.ok(r.code == 0 and "exists-differs" not in codes, "answers that got lost: ours are recognised by the text that was sent", str(r))
    # ---- links: a source that knows its own address ----
    with gstest.Target(d, "source", "--version", "17.8.1-ee", "--tier", "premium", users=USERS) as source:
        own = source.tokens["owner"]
        top = source.call("/api/v4/groups", {"name": "Team", "path": "team"}, own)["id"]
        board = source.call(f"/api/v4/groups/{top}/boards", {"name": "B"}, own)["id"]
        first = f"{source.url}/groups/team/-/milestones/2?sort=x, <{source.url}/team>, [b]({source.url}/groups/team/-/boards/{board}), {source.url}/team/app/-/issues/1"
        for i in (1, 2):
            source.call(f"/api/v4/groups/{top}/milestones", {"title": f"m{i}", "description": first if i == 1 else f"see {source.url}/groups/team/-/labels and https://elsewhere.example/team"}, own)
        r = gstest.snap("create", "--url", source.url, "team", "-o", "links.gsnap", "--key", "key", token=own, cwd=d)
        t.is_eq(r.code, 0, "captured", str(r))
    with gstest.Target(d, "links", "--version", "17.8.1-ee", "--tier", "premium", users=USERS) as sim:
        r = gstest.replay("apply", "links.gsnap", "--trust", "key.pub", "--url", sim.url, "--rename", "team=crew", "--state", "links.state", "--json", "--yes", token=sim.tokens["owner"], cwd=d)
        texts = {x["title"]: x["description"] for x in sim.dump()["milestones"]}
        t.is_eq(texts, {"m1": f"{sim.url}/groups/crew/-/milestones/2?sort=x, <{sim.url}/crew>, [b]({source.url}/groups/team/-/boards/{board}), {source.url}/team/app/-/issues/1",
                        "m2": f"see {sim.url}/groups/crew/-/labels and https://elsewhere.example/team"},
                "links lead to the target, but to a board that is not there yet and to a project", str(r))
        left = [x for x in r.json()["losses"] if x["code"] == "text-reference-left"]
        t.is_eq([(x["count"], x["example"] if "example" in x else x.get("detail")) for x in left], [(1, f"{source.url}/groups/team/-/boards/{board}, {source.url}/team/app/-/issues/1")], "those two are listed", str(left))
t.done()
