#!/usr/bin/python3
"""Epics of the simulator, REST and GraphQL: what they hold, who may set what, and each oddity that GitLab is known for."""
import gzip
import json
import os
import subprocess
import tempfile
import time

from simepics import (ask, bad, config, contract, epic, eq, finish, fresh, G, get, good, mutate, NOT_FOUND, P, PRODUCT, put,
                      ROOT, row, sim, Sim, SIM_DIR, test, top_errors, TREE, USERS, V)

KEYS = """id iid color text_color group_id parent_id parent_iid title description confidential author start_date start_date_is_fixed
start_date_fixed start_date_from_inherited_source start_date_from_milestones end_date due_date due_date_is_fixed due_date_fixed
due_date_from_inherited_source due_date_from_milestones state web_edit_url web_url references created_at updated_at closed_at labels upvotes
downvotes _links""".split()


@test
def where_they_are():
    """five versions, three tiers, both editions: 403 without a licence, no route on a Community Edition, keys by version"""
    path = "/groups/%d/epics" % G
    for version in ("14.10.0", "15.11.0", "16.11.0", "17.11.0", "18.8.0"):
        for tier in ("free", "premium", "ultimate"):
            config(version=version + "-ee", tier=tier)
            s, b = sim.get(path + "?per_page=1")
            if tier == "free":
                eq((s, b), (403, {"message": "403 Forbidden"}))
                bad(sim.post(path, {"title": "x"}), 403, {"message": "403 Forbidden"})
                q = "{group(fullPath:\"%s\"){epicsEnabled epics{nodes{id}} epic(iid:\"1\"){id} epicBoards{nodes{id}}}}" % ROOT
                eq(ask(q)["group"], {"epicsEnabled": False, "epics": None, "epic": None, "epicBoards": None})
                eq(top_errors("mutation{createEpic(input:{groupPath:\"%s\",title:\"x\"}){errors}}" % ROOT), [NOT_FOUND])
                continue
            eq(s, 200)
            extra = [] if version < "17" else ["work_item_id", "imported", "imported_from"]
            eq(sorted(b[0]), sorted(KEYS + extra), version)
        config(version=version, tier="ultimate")
        bad(sim.get(path), 404, {"error": "404 Not Found"})
        assert "Field 'epics' doesn't exist on type 'Group'" in top_errors("{group(fullPath:\"%s\"){epics{nodes{id}}}}" % ROOT)
    fresh(epic_rest=False, epic_graphql=False)
    bad(sim.get(path), 404, {"error": "404 Not Found"})
    assert "Field 'epic' doesn't exist on type 'Group'" in top_errors("{group(fullPath:\"%s\"){epic(iid:\"1\"){id}}}" % ROOT)
    fresh(version="19.1.0-ee")
    eq((sim.get(path)[0], top_errors("{group(fullPath:\"%s\"){epics{nodes{id}}}}" % ROOT)),
       (200, ["Field 'epics' doesn't exist on type 'Group'"]))


@test
def lists():
    """lists hold the descendants unless told otherwise, confidential ones for members only; filters"""
    every = sim.dump()["epics"]

    def ids(query, token="owner", g=G):
        out, page = [], 1
        while True:
            b = good(sim.get("/groups/%d/epics?per_page=100&page=%d&%s" % (g, page, query), token=token))
            out += b
            page += 1
            if len(b) < 100:
                return out
    eq(len(ids("")), len(every))
    own = [e for e in every if e["group_id"] == G]
    eq(len(ids("include_descendant_groups=false")), len(own))
    eq(len(ids("include_descendant_groups=false&include_ancestor_groups=true", g=P)), len([e for e in every if e["group_id"] in (G, P)]))
    got = ids("include_descendant_groups=false&order_by=created_at&sort=asc")
    eq([e["created_at"] for e in got], sorted(e["created_at"] for e in own))
    eq(ids("include_descendant_groups=false")[0]["id"], got[-1]["id"])
    eq({e["state"] for e in ids("state=closed")}, {"closed"})
    eq(len(ids("confidential=true")), sum(e["confidential"] for e in every))
    one = got[3]
    eq([e["id"] for e in ids("search=%s&created_after=%s&created_before=%s" % (
        one["title"].split()[0], one["created_at"], one["created_at"]))], [one["id"]])
    eq(len(ids("author_username=freja.lund")) + len(ids("not[author_username]=freja.lund")), len(every))
    bad(sim.get("/groups/%d/epics?author_id=1&author_username=root" % G), 400, {"error": "author_id, author_username are mutually exclusive"})
    both = ids("labels=urgent,stage::doing")
    assert both and all({"urgent", "stage::doing"} <= set(e["labels"]) for e in both)
    eq(len(ids("labels=None")) + len(ids("labels=Any")), len(every))
    named = ids("labels=urgent&with_labels_details=true")[0]["labels"]
    eq(sorted(named[0]), ["color", "description", "description_html", "id", "name", "text_color"])
    guest = ids("", token="reader")
    eq(len(guest), len(every))
    sim.control("POST", "at", {"match": {"path": "/version$"}, "do": [{"update": "members", "where": {"group": ROOT, "user_id": USERS["nils.berg"]},
                                                                      "set": {"access_level": 10}}]})
    good(sim.get("/version"))
    eq(len(ids("", token="reader")), len(every) - sum(e["confidential"] for e in every))
    secret = next(e for e in every if e["confidential"] and e["group_id"] == G or e["confidential"])
    bad(sim.get("/groups/%d/epics/%d" % (secret["group_id"], secret["iid"]), token="reader"), 403, {"message": "403 Forbidden"})
    bad(sim.get("/groups/%d/epics/99999" % G), 404, {"message": "404 Not found"})
    bad(sim.get("/groups/%d/epics" % G, token=None), 404, {"message": "404 Group Not Found"})
    e = got[0]
    eq(get(e)["subscribed"], e["author"]["username"] == "ingrid.halden")
    assert "subscribed" not in e
    deep = next(x for x in ids("") if x["group_id"] == P)
    eq(deep["references"], {"short": "&%d" % deep["iid"], "relative": "%s&%d" % (PRODUCT, deep["iid"]), "full": "%s&%d" % (PRODUCT, deep["iid"])})
    eq(get(deep)["references"]["relative"], "&%d" % deep["iid"])


@test
def created_at():
    """created_at is for Owners and admins, and dropped in silence for others; updated_at is of now; the author is who asks"""
    t = "2019-03-04T05:06:07.891Z"
    for token, kept in (("owner", True), ("admin", True), ("nosudo", True), ("maintainer", False)):
        e = epic(token=token, created_at=t)
        eq(e["created_at"] == t, kept, token)
        assert e["updated_at"] > "2020", e["updated_at"]
    eq(epic(token="maintainer")["author"]["username"], "tomasz.wolny")
    bad(sim.post("/groups/%d/epics" % G, {"title": "x"}, token="reader"), 403,
        {"error": "insufficient_scope", "error_description": "The request requires higher privileges than provided by the access token.",
         "scope": "api"})
    bad(sim.post("/groups/%d/epics" % G, {"title": "x", "created_at": "yesterday"}), 400, {"error": "created_at is invalid"})
    bad(sim.post("/groups/%d/epics" % G, {"description": "x"}), 400, {"error": "title is missing"})
    bad(sim.post("/groups/%d/epics" % G, {"title": "x" * 256}), 400, {"message": {"title": ["is too long (maximum is 255 characters)"]}})
    bad(sim.post("/groups/%d/epics" % G, {"title": "x", "color": "no"}), 400, {"message": {"color": ["must be a valid color code"]}})
    eq(epic(color="red")["color"], "#ff0000")
    bad(sim.post("/groups/%d/epics" % G, {"title": "x", "start_date_fixed": "2025-02-01", "start_date_is_fixed": True,
                                          "due_date_fixed": "2025-01-01", "due_date_is_fixed": True}), 400,
        {"message": {"due_date": ["must be greater than or equal to start date"]}})


@test
def iids():
    """iids come from a counter: deleted ones are not given out again, equal titles are no obstacle"""
    top = max(c["value"] for c in sim.dump()["counters"] if c["group_id"] == G and c["kind"] == "epics")
    a, b = epic("filler"), epic("filler")
    eq((a["iid"], b["iid"]), (top + 1, top + 2))
    eq(sim.delete("/groups/%d/epics/%d" % (G, a["iid"])), (204, None))
    eq(sim.delete("/groups/%d/epics/%d" % (G, b["iid"])), (204, None))
    eq(epic("the next")["iid"], top + 3)
    bad(sim.delete("/groups/%d/epics/%d" % (G, top + 3), token="maintainer"), 403, {"message": "403 Forbidden"})
    bad(sim.get("/groups/%d/epics/%d" % (G, a["iid"])), 404, {"message": "404 Not found"})


@test
def updated_at():
    """updated_at: only with another parameter, only for Owners; awards, notes and children move it; the last call counts"""
    e = epic()
    t = "2020-01-02T03:04:05.678Z"
    s, b = sim.put("/groups/%d/epics/%d" % (G, e["iid"]), {"updated_at": t})
    eq((s, list(b)), (400, ["error"]))
    assert b["error"].endswith("at least one parameter must be provided"), b
    eq(put(e, title=e["title"], updated_at=t)["updated_at"], t)
    assert put(e, token="maintainer", title="other", updated_at=t)["updated_at"] > t
    eq(put(e, title="other", updated_at=t)["updated_at"], t)
    moves = (lambda: sim.post("/groups/%d/epics/%d/award_emoji" % (G, e["iid"]), {"name": "rocket"}),
             lambda: sim.post("/groups/%d/epics/%d/notes" % (G, e["id"]), {"body": "hello"}),
             lambda: sim.post("/groups/%d/epics" % G, {"title": "child", "parent_id": e["id"]}),
             lambda: sim.put("/groups/%d/epics/%d" % (G, e["iid"]), {"state_event": "close"}),
             lambda: sim.put("/groups/%d/epics/%d" % (G, e["iid"]), {"add_labels": "urgent"}))
    for i, move in enumerate(moves):
        put(e, title="other", updated_at=t)
        eq(get(e)["updated_at"], t)
        assert move()[0] in (200, 201)
        assert get(e)["updated_at"] > t, i
    put(e, title="other", updated_at=t)
    put(e, title="other")
    eq(get(e)["updated_at"], t, "a call that changes nothing")
    bad(sim.put("/groups/%d/epics/%d" % (G, e["iid"]), {"title": ""}), 400, {"message": {"title": ["can't be blank"]}})


@test
def label_names():
    """labels: unknown names come into being in the group, ancestors' are found, names are split at commas"""
    have = {x["title"]: x["group_id"] for x in sim.dump()["labels"]}
    assert "brand new" not in have
    e = epic(g=P, labels="urgent,brand new, product now ")
    eq(e["labels"], ["brand new", "product now", "urgent"])
    now = {x["title"]: x for x in sim.dump()["labels"]}
    eq((now["brand new"]["group_id"], now["brand new"]["color"], now["urgent"]["group_id"]), (P, "#6699cc", G))
    eq(epic(g=P, labels=["a, b", "c"])["labels"], ["a", "b", "c"])
    eq(put(e, add_labels="later,urgent")["labels"], ["brand new", "later", "product now", "urgent"])
    eq(put(e, remove_labels="urgent, nobody knows")["labels"], ["brand new", "later", "product now"])
    assert "nobody knows" not in {x["title"] for x in sim.dump()["labels"]}
    eq(put(e, labels="urgent")["labels"], ["urgent"])
    eq(put(e, labels=None)["labels"], [])
    events = good(sim.get("/groups/%d/epics/%d/resource_label_events" % (P, e["id"])))
    eq([(x["action"], x["label"]["name"]) for x in events[:4]], [("add", "urgent"), ("add", "brand new"), ("add", "product now"), ("add", "later")])
    eq(sorted(events[0]), ["action", "created_at", "id", "label", "resource_id", "resource_type", "user"])
    good(sim.delete("/groups/%d/labels/%d" % (P, now["brand new"]["id"])), 204)
    eq([x["label"] for x in good(sim.get("/groups/%d/epics/%d/resource_label_events" % (P, e["id"])))][1], None)


@test
def parents():
    """parents: another group, a higher iid, seven levels and no more, no rings, confidentiality; silence where one may not"""
    top = epic("top")
    child = epic("child", g=P)
    eq(put(child, parent_id=top["id"])["parent_iid"], top["iid"])
    older = epic("older")
    younger = epic("younger")
    eq(put(older, parent_id=younger["id"])["parent_id"], younger["id"])
    notes = good(sim.get("/groups/%d/epics/%d/notes" % (G, top["id"])))
    eq([(n["body"], n["system"]) for n in notes], [("added epic %s&%d as child epic" % (PRODUCT, child["iid"]), True)])
    notes = good(sim.get("/groups/%d/epics/%d/notes" % (P, child["id"])))
    eq([(n["body"], n["system"]) for n in notes], [("added epic %s&%d as parent epic" % (ROOT, top["iid"]), True)])
    eq(get(child)["_links"]["parent"].rsplit("/api/v4", 1)[1], "/groups/%d/epics/%d" % (G, top["iid"]))
    ring = {"message": {"parent": ["This epic cannot be added. It is already an ancestor of the parent epic."]}}
    bad(sim.put("/groups/%d/epics/%d" % (G, top["iid"]), {"parent_id": child["id"]}), 400, ring)
    bad(sim.put("/groups/%d/epics/%d" % (G, top["iid"]), {"parent_id": top["id"]}), 400,
        {"message": {"parent": ["This epic cannot be added. An epic cannot be added to itself."]}})
    chain = [top]
    for i in range(6):
        chain.append(epic("level %d" % (i + 2), parent_id=chain[-1]["id"]))
    deep = {"message": {"parent": ["This epic cannot be added. One or more epics would exceed the maximum depth (7) from its most distant ancestor."]}}
    bad(sim.post("/groups/%d/epics" % G, {"title": "level 8", "parent_id": chain[-1]["id"]}), 400, deep)
    bad(sim.put("/groups/%d/epics/%d" % (G, younger["iid"]), {"parent_id": chain[-2]["id"]}), 400, deep)
    eq(put(younger, parent_id=chain[-3]["id"])["parent_id"], chain[-3]["id"])
    secret = epic("secret", confidential=True)
    no = {"message": {"confidential": ["A non-confidential epic cannot be assigned to a confidential parent epic"]}}
    bad(sim.post("/groups/%d/epics" % G, {"title": "x", "parent_id": secret["id"]}), 400, no)
    eq(epic("y", parent_id=secret["id"], confidential=True)["parent_id"], secret["id"])
    bad(sim.put("/groups/%d/epics/%d" % (G, top["iid"]), {"confidential": True}), 400,
        {"message": {"confidential": ["Cannot make the epic confidential if it contains non-confidential child epics"]}})
    # not for the caller's eyes, and without the licence for trees: made without a parent, nothing is said
    other = good(sim.post("/groups", {"name": "Elsewhere", "path": "elsewhere"}, token="admin"), 201)
    hidden = epic("hidden", g=other["id"], token="admin")
    eq(epic("z", parent_id=hidden["id"])["parent_id"], None)
    eq(epic("z", token="admin", parent_id=hidden["id"])["parent_id"], hidden["id"], "an unrelated tree is no obstacle")
    eq(epic("z", parent_id=987654)["parent_id"], None)
    config(tier="premium")
    eq(epic("z", parent_id=top["id"])["parent_id"], None)
    eq(put(older, parent_id=top["id"])["parent_id"], younger["id"])
    config(tier="ultimate")
    eq(put(older, parent_id=None)["parent_id"], None)
    # new children stand in front; deleting a parent takes all below it along
    eq([x["title"] for x in good(sim.get("/groups/%d/epics/%d/epics" % (G, top["iid"])))], ["level 2", "child"])
    good(sim.delete("/groups/%d/epics/%d" % (G, top["iid"])), 204)
    gone = {e["id"] for e in chain} | {child["id"], younger["id"]}
    left = sim.dump()
    eq([e for e in left["epics"] if e["id"] in gone], [])
    eq([n for n in left["notes"] if n["noteable_id"] in gone], [])


@test
def dates():
    """dates that are not fixed follow the children, upwards over all levels; fixed ones do not"""
    a = epic("a")
    b = epic("b", parent_id=a["id"])
    c = epic("c", g=P, parent_id=b["id"], start_date_fixed="2025-03-01", start_date_is_fixed=True, due_date_fixed="2025-04-01", due_date_is_fixed=True)
    d = epic("d", parent_id=b["id"], start_date_fixed="2025-02-01", start_date_is_fixed=True)
    x = get(a)
    eq((x["start_date"], x["end_date"], x["due_date"], x["start_date_is_fixed"], x["start_date_fixed"]),
       ("2025-02-01", "2025-04-01", "2025-04-01", False, None))
    eq((x["start_date_from_inherited_source"], x["start_date_from_milestones"]), ("2025-02-01", None))
    eq(row(a)["start_date_sourcing_epic_id"], b["id"])
    put(b, due_date_fixed="2026-01-01", due_date_is_fixed=True)
    eq(get(a)["due_date"], "2026-01-01")
    put(b, due_date_is_fixed=False)
    eq((get(a)["due_date"], get(b)["due_date_fixed"]), ("2025-04-01", "2026-01-01"))
    good(sim.delete("/groups/%d/epics/%d" % (G, d["iid"])), 204)
    eq(get(a)["start_date"], "2025-03-01")
    put(c, parent_id=0)
    eq((get(a)["start_date"], get(a)["due_date"]), (None, None))
    e = epic("old names", start_date="2025-05-05", end_date="2025-06-06")
    eq((e["start_date_fixed"], e["due_date_fixed"], e["start_date"]), ("2025-05-05", "2025-06-06", None))
    eq(epic("no date", start_date_fixed="soon", start_date_is_fixed=True)["start_date"], None)


@test
def states():
    """closing is of now and by the caller; reopening forgets it; both are events"""
    e = epic()
    t = put(e, token="maintainer", state_event="close")
    eq((t["state"], row(e)["closed_by_id"]), ("closed", USERS["tomasz.wolny"]))
    assert t["closed_at"] >= e["created_at"]
    put(e, state_event="close")
    eq(get(e)["closed_at"], t["closed_at"])
    t = put(e, state_event="reopen")
    eq((t["state"], t["closed_at"], row(e)["closed_by_id"]), ("opened", None, None))
    events = good(sim.get("/groups/%d/epics/%d/resource_state_events" % (G, e["id"])))
    eq([(x["state"], x["user"]["username"]) for x in events], [("closed", "tomasz.wolny"), ("reopened", "ingrid.halden")])
    bad(sim.put("/groups/%d/epics/%d" % (G, e["iid"]), {"state_event": "opened"}), 400, {"error": "state_event does not have a valid value"})
    eq(epic("x", state="closed")["state"], "opened", "not at creation")
    config(version="15.3.0-ee")
    bad(sim.get("/groups/%d/epics/%d/resource_state_events" % (G, e["id"])), 404, {"error": "404 Not Found"})


@test
def archived():
    """an archived group takes no epics and no times"""
    e = epic()
    good(sim.post("/groups/%d/archive" % G, token="owner"), 201)
    bad(sim.post("/groups/%d/epics" % G, {"title": "x"}), 403, {"message": "403 Forbidden"})
    bad(sim.put("/groups/%d/epics/%d" % (G, e["iid"]), {"title": "x"}), 403, {"message": "403 Forbidden"})
    bad(sim.post("/groups/%d/epics/%d/notes" % (G, e["id"]), {"body": "x"}), 403, {"message": "403 Forbidden"})


@test
def emoji():
    """award emoji: by iid, one per name and user, a duplicate is 404; of notes by the epic's iid and the note's id"""
    e = epic()
    path = "/groups/%d/epics/%d/award_emoji" % (G, e["iid"])
    a = good(sim.post(path, {"name": "thumbsup"}), 201)
    eq((a["name"], a["user"]["username"], a["awardable_id"], a["awardable_type"], a["url"]), ("thumbsup", "ingrid.halden", e["id"], "Epic", None))
    bad(sim.post(path, {"name": "thumbsup"}), 404, {"message": "404 Award Emoji Name has already been taken Not Found"})
    bad(sim.post(path, {"name": "+1"}), 404, {"message": "404 Award Emoji Name has already been taken Not Found"})
    bad(sim.post(path, {"name": "no_such_thing"}), 404, {"message": "404 Award Emoji Name is not a valid emoji name Not Found"})
    bad(sim.post(path), 400, {"error": "name is missing"})
    good(sim.post(path, {"name": "thumbsup"}, token="maintainer"), 201)
    good(sim.post(path, {"name": "thumbsdown"}, token="admin", headers={"Sudo": "freja.lund"}), 201)
    x = get(e)
    eq((x["upvotes"], x["downvotes"]), (2, 1))
    bad(sim.delete(path + "/%d" % a["id"], token="maintainer"), 401, {"message": "401 Unauthorized"})
    eq(sim.delete(path + "/%d" % a["id"]), (204, None))
    eq([y["user"]["username"] for y in good(sim.get(path))], ["tomasz.wolny", "freja.lund"])
    bad(sim.get("/groups/%d/epics/%d/award_emoji" % (G, 99999)), 404, {"message": "404 Not found"})
    bad(sim.get(path, token=None), 401, {"message": "401 Unauthorized"})
    n = good(sim.post("/groups/%d/epics/%d/notes" % (G, e["id"]), {"body": "hello"}), 201)
    on_note = "/groups/%d/epics/%d/notes/%d/award_emoji" % (G, e["iid"], n["id"])
    eq(good(sim.post(on_note, {"name": "tada"}), 201)["awardable_type"], "Note")
    bad(sim.post(on_note, {"name": "tada"}), 404, {"message": "404 Award Emoji Name has already been taken Not Found"})
    eq(len(good(sim.get(on_note))), 1)
    assert e["id"] != e["iid"]
    bad(sim.get("/groups/%d/epics/%d/notes/%d/award_emoji" % (G, e["id"], n["id"])), 404, {"message": "404 Not found"})


@test
def notes():
    """notes: by the epic's id, created_at for Owners and with it updated_at, a lone emoji stays a note, internal ones"""
    e = epic()
    assert e["id"] != e["iid"]
    path = "/groups/%d/epics/%d/notes" % (G, e["id"])
    n = good(sim.post(path, {"body": "hello", "created_at": "2020-02-03T04:05:06.007Z"}), 201)
    eq((n["created_at"], n["updated_at"], n["noteable_id"], n["noteable_iid"], n["noteable_type"], n["system"], n["internal"]),
       ("2020-02-03T04:05:06.007Z", "2020-02-03T04:05:06.007Z", e["id"], e["iid"], "Epic", False, False))
    if contract.there():
        contract.check(good(sim.get(path)), contract.schema("notes.json"), path)
    assert good(sim.post(path, {"body": "x", "created_at": "2020-02-03"}, token="maintainer"), 201)["created_at"] > "2021"
    eq(good(sim.post(path, {"body": ":+1:"}), 201)["body"], ":+1:")
    eq(good(sim.get("/groups/%d/epics/%d/award_emoji" % (G, e["iid"]))), [])
    bad(sim.get("/groups/%d/epics/%d/notes" % (G, 424242)), 404, {"message": "404 Epic Not Found"})
    bad(sim.post(path), 400, {"error": "body is missing"})
    bad(sim.post(path, {"body": "  "}), 400, {"message": "400 Bad request - Note {note: [\"can't be blank\"]}"})
    secret = good(sim.post(path, {"body": "among us", "internal": True}), 201)
    eq((secret["internal"], secret["confidential"]), (True, True))
    sim.control("POST", "at", {"match": {"path": "/version$"}, "do": [{"update": "members", "where": {"group": ROOT, "user_id": USERS["nils.berg"]},
                                                                      "set": {"access_level": 10}}]})
    good(sim.get("/version"))
    eq("among us" in [x["body"] for x in good(sim.get(path, token="reader"))], False)
    good(sim.put(path + "/%d" % n["id"], {"body": "changed"}))
    bad(sim.put(path + "/%d" % n["id"], {"body": "changed"}, token="admin", headers={"Sudo": "freja.lund"}), 403, {"message": "403 Forbidden"})
    eq([x["body"] for x in good(sim.get(path + "?sort=asc"))], ["changed", "x", ":+1:", "among us"])
    eq(sim.delete(path + "/%d" % n["id"], token="maintainer"), (204, None))
    put(e, title="other")
    eq([x["body"] for x in good(sim.get(path + "?activity_filter=only_activity"))], ["changed title from **an epic** to **other**"])
    eq(len(good(sim.get(path + "?activity_filter=only_comments"))), 3)
    # threads
    d = good(sim.post("/groups/%d/epics/%d/discussions" % (G, e["id"]), {"body": "shall we?"}), 201)
    eq((d["individual_note"], d["notes"][0]["type"], len(d["id"])), (False, "DiscussionNote", 40))
    good(sim.post("/groups/%d/epics/%d/discussions/%s/notes" % (G, e["id"], d["id"]), {"body": "yes"}, token="maintainer"), 201)
    rows = good(sim.get("/groups/%d/epics/%d/discussions" % (G, e["id"])))
    eq([x["body"] for x in next(y for y in rows if y["id"] == d["id"])["notes"]], ["shall we?", "yes"])
    alone = next(y for y in rows if y["individual_note"])
    bad(sim.post("/groups/%d/epics/%d/discussions/%s/notes" % (G, e["id"], alone["id"]), {"body": "x"}), 400,
        {"message": "400 Bad request - Discussion is an individual note."})
    config(version="14.10.0-ee")
    assert "internal" not in good(sim.get(path))[0]


@test
def quick_actions():
    """quick actions in descriptions and notes are done, outside code and quotes; a note of nothing else is 202 and no note"""
    text = "/close\nfirst line\n/label ~urgent ~nobody\n```\n/confidential\n```\n>>>\n/title no\n>>>\nnot /reopen\n/unknown word\n/award :tada:"
    e = epic(description=text)
    eq((e["state"], e["labels"], e["confidential"], e["title"]), ("closed", ["urgent"], False, "an epic"))
    eq(e["description"], "first line\n```\n/confidential\n```\n>>>\n/title no\n>>>\nnot /reopen\n/unknown word")
    eq([a["name"] for a in good(sim.get("/groups/%d/epics/%d/award_emoji" % (G, e["iid"])))], ["tada"])
    eq(put(e, description="/reopen\n/title Another\n/unlabel")["title"], "Another")
    eq((get(e)["state"], get(e)["labels"], get(e)["description"]), ("opened", [], ""))
    path = "/groups/%d/epics/%d/notes" % (G, e["id"])
    s, b = sim.post(path, {"body": "/close"})
    eq((s, b), (202, {"commands_changes": {}, "summary": ["Closed this epic."]}))
    eq((get(e)["state"], [n for n in good(sim.get(path)) if not n["system"]]), ("closed", []))
    eq(good(sim.post(path, {"body": "done\n/label ~\"stage::doing\" ~urgent"}), 201)["body"], "done")
    eq(get(e)["labels"], ["stage::doing", "urgent"])
    p = epic("parent")
    good(sim.post(path, {"body": "/parent_epic &%d\nthere" % p["iid"]}), 201)
    eq(get(e)["parent_id"], p["id"])
    eq(good(sim.post(path, {"body": "\\/close stays"}), 201)["body"], "\\/close stays")
    eq(good(sim.post(path, {"body": "\u200b/confidential"}), 201)["body"], "\u200b/confidential")
    eq(get(e)["confidential"], False)


@test
def sudo():
    """sudo: for admins with the scope, loses the Owner's rights, is nothing to GraphQL"""
    def make(token="admin", status=201, where=G, who="freja.lund", **p):
        return good(sim.post("/groups/%d/epics" % where, {"title": "x", "created_at": "2020-01-01T00:00:00Z", **p}, token=token,
                             headers={"Sudo": who} if who else None), status)
    e = make()
    eq(e["author"]["username"], "freja.lund")
    assert e["created_at"] > "2021", "a member who is no Owner"
    e = make(who="ingrid.halden")
    eq((e["author"]["username"], e["created_at"]), ("ingrid.halden", "2020-01-01T00:00:00.000Z"))
    eq(make(who=None, sudo="freja.lund")["author"]["username"], "freja.lund")
    eq(make(who=str(USERS["freja.lund"]))["author"]["username"], "freja.lund")
    eq(make(who="nobody", status=404), {"message": "404 User with ID or username 'nobody' Not Found"})
    eq(make(who="goran.petrovic", status=404), {"message": "404 Group Not Found"}, "who is no member")
    eq(make(token="nosudo", status=403)["scope"], "sudo")
    eq(make(token="owner", status=403), {"message": "403 Forbidden - Must be admin to use sudo"})
    s, _, data = sim.raw("POST", "/api/graphql", {"query": "{currentUser{username}}"}, token="admin", headers={"Sudo": "freja.lund"})
    eq((s, json.loads(data)["data"]["currentUser"]["username"]), (200, "root"))


@test
def impersonation():
    """impersonation tokens: made and revoked by an admin, and meanwhile that user in REST and GraphQL"""
    who = "/users/%d/impersonation_tokens" % USERS["freja.lund"]
    bad(sim.post(who, {"name": "x", "scopes": ["api"]}), 403, {"message": "403 Forbidden"})
    bad(sim.post(who, {"name": "x", "scopes": ["everything"]}, token="admin"), 400, {"message": {"scopes": ["can only contain available scopes"]}})
    bad(sim.post(who, {"scopes": ["api"]}, token="admin"), 400, {"error": "name is missing"})
    bad(sim.post("/users/99999/impersonation_tokens", {"name": "x", "scopes": ["api"]}, token="admin"), 404, {"message": "404 User Not Found"})
    t = good(sim.post(who, {"name": "x", "scopes": ["api"], "expires_at": "2027-03-01"}, token="admin"), 201)
    eq((t["active"], t["impersonation"], t["scopes"], t["user_id"]), (True, True, ["api"], USERS["freja.lund"]))
    assert "token" not in good(sim.get(who + "/%d" % t["id"], token="admin"))
    e = epic(token=t["token"], created_at="2020-01-01T00:00:00Z")
    eq(e["author"]["username"], "freja.lund")
    p = mutate("awardEmojiAdd", "awardEmoji{name user{username}}", token=t["token"], awardableId="gid://gitlab/Epic/%d" % e["id"], name="eyes")
    eq(p, {"errors": [], "awardEmoji": {"name": "eyes", "user": {"username": "freja.lund"}}})
    bad(sim.get("/users?search=x", token=t["token"], headers={"Sudo": "root"}), 403, {"message": "403 Forbidden - Must be admin to use sudo"})
    config(impersonation_enabled=False)
    eq(sim.get("/user", token=t["token"])[1]["error_description"], "Token is an impersonation token but impersonation was disabled.")
    bad(sim.post(who, {"name": "x", "scopes": ["api"]}, token="admin"), 403, {"message": "403 Forbidden"})
    config(impersonation_enabled=True)
    eq([x["id"] for x in good(sim.get(who + "?state=active", token="admin"))], [t["id"]])
    eq(sim.delete(who + "/%d" % t["id"], token="admin"), (204, None))
    eq(good(sim.get(who + "?state=active", token="admin")), [])
    eq([x["revoked"] for x in good(sim.get(who + "?state=inactive", token="admin"))], [True])
    eq(sim.get("/user", token=t["token"])[0], 401)
    eq(sim.gql("{currentUser{id}}", token=t["token"]), (401, {"errors": [{"message": "Invalid token"}]}))
    bad(sim.delete(who + "/99999", token="admin"), 404, {"message": "404 Impersonation Token Not Found"})


FIELDS = """id iid title description state confidential createdAt updatedAt closedAt startDate startDateFixed startDateIsFixed dueDate dueDateFixed
  dueDateIsFixed relativePosition hasChildren hasParent webUrl reference(full: true) upvotes downvotes userNotesCount author{username}
  parent{iid group{fullPath}} labels{nodes{title}} awardEmoji{nodes{name user{username}}} events{nodes{action author{username}}}
  notes{nodes{id body system author{username} createdAt}} discussions{nodes{id notes{nodes{body}}}}"""


@test
def graphql_reads():
    """GraphQL shows the same as REST, in the words of the 15.0 schema"""
    fresh(version="15.0.5-ee", graphql_max_complexity=0)
    rest = {e["id"]: e for e in good(sim.get("/groups/%d/epics?include_descendant_groups=false&per_page=100" % G))}
    q = "query($p: ID!) { group(fullPath: $p) { epics(first: 100, includeDescendantGroups: false) { nodes { %s } } } }" % FIELDS
    nodes = ask(q, p=ROOT)["group"]["epics"]["nodes"]
    eq(len(nodes), len(rest))
    dump = sim.dump()
    for n in nodes:
        e = rest[int(n["id"].rsplit("/", 1)[1])]
        eq((n["iid"], n["title"], n["description"], n["state"], n["confidential"], n["createdAt"], n["updatedAt"], n["closedAt"], n["startDate"],
            n["dueDate"], n["startDateIsFixed"], n["author"]["username"], [x["title"] for x in n["labels"]["nodes"]], n["upvotes"]),
           (str(e["iid"]), e["title"], e["description"], e["state"], e["confidential"], e["created_at"], e["updated_at"], e["closed_at"],
            e["start_date"], e["due_date"], e["start_date_is_fixed"], e["author"]["username"], e["labels"], e["upvotes"]))
        eq(n["parent"] and int(n["parent"]["iid"]), e["parent_iid"])
        eq(len(n["awardEmoji"]["nodes"]), sum(a["awardable_type"] == "Epic" and a["awardable_id"] == e["id"] for a in dump["award_emoji"]))
        eq([x["body"] for x in n["notes"]["nodes"]], [x["note"] for x in sorted(
            (x for x in dump["notes"] if x["noteable_id"] == e["id"]), key=lambda x: (x["created_at"], x["id"]))])
        eq(sum(len(d["notes"]["nodes"]) for d in n["discussions"]["nodes"]), len(n["notes"]["nodes"]))
    whole = ask("query($p: ID!) { group(fullPath: $p) { epics(first: 100) { nodes { iid } pageInfo { hasNextPage } } } }", p=ROOT)["group"]["epics"]
    eq((len(whole["nodes"]), whole["pageInfo"]["hasNextPage"]), (100, True))
    parent = next(x for x in dump["epics"] if sum(y["parent_id"] == x["id"] for y in dump["epics"]) > 2)
    path = next(g["full_path"] for g in dump["groups"] if g["id"] == parent["group_id"])
    q = """query($p: ID!, $i: ID!) { group(fullPath: $p) { epic(iid: $i) { children { nodes { id relativePosition } } descendantCounts { openedEpics
      closedEpics } ancestors { nodes { iid } } userPermissions { createEpic destroyEpic } } } }"""
    x = ask(q, p=path, i=str(parent["iid"]))["group"]["epic"]
    kids = sorted((y["relative_position"], y["id"]) for y in dump["epics"] if y["parent_id"] == parent["id"])
    eq([(y["relativePosition"], int(y["id"].rsplit("/", 1)[1])) for y in x["children"]["nodes"]], kids)
    eq(ask(q, token="reader", p=path, i="1")["group"]["epic"]["userPermissions"], {"createEpic": True, "destroyEpic": False})


@test
def graphql_writes():
    """createEpic, updateEpic and epicTreeReorder, whose relativePosition tells where the neighbour stands"""
    fresh(version="15.0.5-ee")
    lab = {x["title"]: x["id"] for x in sim.dump()["labels"]}
    p = mutate("createEpic", "epic{id iid title color:title state labels{nodes{title}} startDate author{username}}", groupPath=ROOT, title=" t ",
               description="/close\ntext", addLabelIds=["gid://gitlab/GroupLabel/%d" % lab["urgent"]], startDateFixed="2025-01-01",
               startDateIsFixed=True, token="maintainer")
    e = p["epic"]
    eq((p["errors"], e["title"], e["state"], e["labels"]["nodes"], e["startDate"], e["author"]["username"]),
       ([], "t", "closed", [{"title": "urgent"}], "2025-01-01", "tomasz.wolny"))
    eq(mutate("createEpic", "epic{id}", groupPath=ROOT, title=""), {"errors": ["Title can't be blank"], "epic": None})
    eq(mutate("updateEpic", "epic{state title}", groupPath=ROOT, iid=e["iid"], stateEvent="REOPEN", title="u"),
       {"errors": [], "epic": {"state": "opened", "title": "u"}})
    eq(top_errors("mutation{updateEpic(input:{groupPath:\"%s\",iid:\"%s\"}){errors}}" % (ROOT, e["iid"])), ["The list of epic attributes is empty"])
    eq(top_errors("mutation{createEpic(input:{groupPath:\"nowhere\",title:\"x\"}){errors}}"), [NOT_FOUND])
    eq(top_errors("mutation{createEpic(input:{groupPath:\"%s\",title:\"x\",createdAt:\"2020-01-01\"}){errors}}" % ROOT)[0].find("createdAt") > -1, True)
    top = epic("top")
    kids = [epic("k%d" % i, parent_id=top["id"]) for i in range(3)]
    gid = "gid://gitlab/Epic/%d"

    def order():
        return [x["title"] for x in good(sim.get("/groups/%d/epics/%d/epics" % (G, top["iid"])))]
    eq(order(), ["k2", "k1", "k0"], "new children stand in front")

    def reorder(moved, neighbour, where):
        return mutate("epicTreeReorder", "", baseEpicId=gid % top["id"], moved={"id": gid % moved["id"], "adjacentReferenceId": gid % neighbour["id"],
                                                                               "relativePosition": where})["errors"]
    eq((reorder(kids[0], kids[2], "after"), order()), ([], ["k0", "k2", "k1"]), "after: the neighbour comes after the moved one")
    eq((reorder(kids[0], kids[1], "before"), order()), ([], ["k2", "k1", "k0"]), "before: the neighbour comes before the moved one")
    lone = epic("lone")
    eq(reorder(kids[0], lone, "before"), ["The sibling object's parent must match the current parent epic."])
    eq(mutate("epicTreeReorder", "", baseEpicId=gid % top["id"], moved={"id": gid % lone["id"], "newParentId": gid % top["id"]})["errors"], [])
    eq(order()[0], "lone")
    n = mutate("createNote", "note{id body author{username} confidential system}", noteableId=gid % top["id"], body="hello")
    eq(n["note"]["body"], "hello")
    eq(mutate("createNote", "note{id}", noteableId=gid % top["id"], body="/close"), {"errors": ["Commands only Closed this epic."], "note": None})
    eq(get(top)["state"], "closed")
    eq(mutate("awardEmojiAdd", "awardEmoji{name}", awardableId=gid % top["id"], name="rocket")["errors"], [])
    eq(mutate("awardEmojiAdd", "awardEmoji{name}", awardableId=gid % top["id"], name="rocket"), {"errors": ["Name has already been taken"], "awardEmoji": None})
    eq(mutate("awardEmojiToggle", "toggledOn", awardableId=gid % top["id"], name="rocket")["toggledOn"], False)
    eq(mutate("awardEmojiAdd", "awardEmoji{name}", awardableId=n["note"]["id"], name="rocket")["errors"], [])
    eq(mutate("awardEmojiRemove", "", awardableId=n["note"]["id"], name="rocket")["errors"], [])
    eq(mutate("updateNote", "note{body}", id=n["note"]["id"], body="again")["note"]["body"], "again")
    eq(mutate("destroyNote", "note{id}", id=n["note"]["id"])["errors"], [])
    eq(top_errors("mutation{awardEmojiAdd(input:{awardableId:\"%s\",name:\"tada\"}){errors}}" % (gid % 424242)), [NOT_FOUND])


def export(g, *relations):
    """-> {relation: [record]}; a relation that is not there is missing"""
    good(sim.post("/groups/%d/export_relations" % g), 202)
    sim.control("POST", "finish_exports")
    sim.control("POST", "finish_exports")
    out = {}
    for r in relations:
        s, _, data = sim.raw("GET", "/api/v4/groups/%d/export_relations/download?relation=%s" % (g, r))
        if s == 200:
            out[r] = [json.loads(x) for x in gzip.decompress(data).decode().splitlines()]
    return out


@test
def exported():
    """relation exports serve epics, epic boards and cadences from the live records, in GitLab's shapes"""
    from glsim import export_shapes as shapes
    got = export(G, "epics", "epic_boards", "iterations_cadences")
    d = sim.dump()
    rows = {e["id"]: e for e in d["epics"]}
    eq([e["id"] for e in got["epics"]], [e["id"] for e in d["epics"] if e["group_id"] == G])
    model = shapes.epic(1, 1, 1, 1, "t", None, "2020-01-01T00:00:00.000Z")
    for e in got["epics"]:
        r = rows[e["id"]]
        eq(set(model) - set(e), set())
        eq(set(e) - set(model) - {"parent"}, set())
        for k in ("iid", "title", "description", "author_id", "state", "color", "start_date", "end_date", "start_date_fixed", "due_date_fixed",
                  "parent_id", "relative_position", "closed_at", "closed_by_id", "created_at", "updated_at", "start_date_sourcing_epic_id"):
            eq(e[k], r[k], k)
        eq("parent" in e, r["parent_id"] is not None)
        if "parent" in e:
            eq((e["parent"]["id"], "notes" in e["parent"]), (r["parent_id"], False))
        eq(sorted(a["user_id"] for a in e["award_emoji"]), sorted(a["user_id"] for a in d["award_emoji"] if a["awardable_type"] == "Epic" and a["awardable_id"] == e["id"]))
        eq([k["label"]["id"] for k in e["label_links"]], [k["label_id"] for k in d["epic_labels"] if k["epic_id"] == e["id"]])
        eq([(n["note"], n["system"], n["author"]["name"]) for n in e["notes"]],
           [(n["note"], bool(n["system"]), next(u["name"] for u in d["users"] if u["id"] == n["author_id"])) for n in d["notes"] if n["noteable_id"] == e["id"]])
        note = shapes.note(1, 1, 1, "n", "t", "2020-01-01T00:00:00.000Z")
        for n in e["notes"]:
            eq(set(n) - {"system_note_metadata", "internal"}, set(note))
        eq(bool(e["resource_state_events"]), r["state"] == "closed")
    b = got["epic_boards"][0]
    eq(set(b), set(shapes.epic_board(1, "n", [], "2020-01-01T00:00:00.000Z")))
    eq([(x["list_type"], x["position"], x.get("label", {}).get("title")) for x in b["epic_lists"]],
       [("backlog", None, None), ("label", 0, "stage::review"), ("label", 1, "stage::idea"), ("label", 2, "stage::doing"), ("closed", None, None)])
    eq([(c["title"], len(c["iterations"]), c["active"], c["roll_over"]) for c in got["iterations_cadences"]],
       [("Fortnights", 12, True, False), ("Audit windows", 8, False, True)])
    eq(set(got["iterations_cadences"][0]), set(shapes.cadence(1, "t", "2020-01-01", "2020-01-01T00:00:00.000Z", [])))
    eq(set(got["iterations_cadences"][0]["iterations"][0]), {"iid", "created_at", "updated_at", "start_date", "due_date", "group_id", "description"})
    config(version="14.10.0-ee")
    eq(sorted(export(G, "epics", "epic_boards", "iterations_cadences")), ["epics"])


@test
def from_export():
    """records of a real export become live epics with all that hangs on them"""
    base = os.path.join(contract.CONTRACT, "group_exports", "complex", "tree", "groups")
    if not os.path.isdir(base):
        return "no real export at hand"

    def lines(gid, name):
        with open(os.path.join(base, str(gid), name + ".ndjson"), encoding="utf-8") as f:
            return [json.loads(x) for x in f if x.strip()]
    ids = (4351, 4352, 4353)
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        subprocess.run([os.path.join(SIM_DIR, "export-to-seed"), "--live", os.path.join(contract.CONTRACT, "group_exports", "complex")],
                       stdout=f, check=True)
        s = Sim("--seed", f.name, "--tier", "ultimate", "--version", V)
    try:
        d = s.dump()
        eq(len(d["epics"]), sum(len(lines(g, "epics")) for g in ids))
        own = {(e["group_id"], e["iid"]): e for e in d["epics"]}
        for gid in ids:
            for e in lines(gid, "epics"):
                r = own[gid, e["iid"]]
                for k in ("id", "author_id", "title", "description", "relative_position", "created_at", "updated_at", "start_date_fixed", "due_date_fixed"):
                    eq(r[k], e[k], k)
                parent = e.get("parent") and own[e["parent"]["group_id"], e["parent"]["iid"]]["id"]
                eq(r["parent_id"], parent)
                mine = [n for n in d["notes"] if n["noteable_id"] == r["id"]]
                eq(sorted((n["note"], bool(n["system"]), n["created_at"]) for n in mine), sorted((n["note"], n["system"], n["created_at"]) for n in e["notes"]))
                eq(sum(a["awardable_type"] == "Epic" and a["awardable_id"] == r["id"] for a in d["award_emoji"]), len(e.get("award_emoji") or ()))
    finally:
        s.stop()


@test
def faults():
    """lost answers, work done twice, stale reads, changes by others and backups hold for epics too"""
    def add(*rules):
        sim.control("POST", "reset_faults")
        sim.control("POST", "faults", list(rules))

    def count(title):
        return sum(e["title"] == title for e in sim.dump()["epics"])
    add({"match": {"method": "POST", "path": "/epics$"}, "do": {"lose_answer": True}})
    try:
        epic("lost")
        raise AssertionError("an answer came")
    except OSError:
        pass
    except AssertionError:
        raise
    except Exception as e:
        assert "emote" in str(e) or "onnection" in str(e), e
    eq(count("lost"), 1)
    add({"match": {"method": "POST", "path": "/epics$"}, "do": {"twice": True}})
    epic("two")
    eq(count("two"), 2)
    add({"match": {"method": "POST", "path": "/award_emoji$"}, "do": {"twice": True}})
    e = epic("awarded")
    eq(sim.post("/groups/%d/epics/%d/award_emoji" % (G, e["iid"]), {"name": "heart"})[0], 404)
    eq(get(e)["id"], e["id"])
    add({"match": {"method": "POST", "path": "/epics$"}, "do": {"stale_ms": 400}})
    e = epic("stale")
    path = "/groups/%d/epics?search=stale&include_descendant_groups=false" % G
    eq(good(sim.get(path)), [])
    eq(ask("{group(fullPath:\"%s\"){epics(search:\"stale\"){nodes{id}}}}" % ROOT)["group"]["epics"]["nodes"], [])
    time.sleep(0.45)
    eq(len(good(sim.get(path))), 1)
    add({"match": {"path": "/graphql$", "body": "createEpic"}, "do": {"twice": True}})
    mutate("createEpic", "epic{id}", groupPath=ROOT, title="by graphql")
    eq(count("by graphql"), 2)
    sim.control("POST", "reset_at")
    sim.control("POST", "at", {"match": {"path": "/version$"}, "do": [
        {"create": {"group": ROOT, "planning": {"epics": [{"title": "by somebody", "author": "freja.lund"}]}}},
        {"update": "epics", "where": {"group": ROOT, "title": "stale"}, "set": {"description": "changed"}},
        {"delete": "epics", "where": {"group": ROOT, "title": "awarded"}}]})
    good(sim.get("/version"))
    eq([r.get("error") for r in sim.control("GET", "at")[0]["results"]], [None] * 3)
    eq((count("by somebody"), count("awarded"), get(e)["description"]), (1, 0, "changed"))
    before = sim.control("GET", "dump")
    sim.control("POST", "snapshot", {"name": "later"})
    epic("gone again")
    sim.control("POST", "restore", {"name": "later"})
    eq(sim.control("GET", "dump") == before, True)


@test
def group_deletion():
    """a group takes its epics along, and their children in other groups"""
    kept = len(sim.dump()["epics"])
    other = good(sim.post("/groups", {"name": "Other", "path": "other"}), 201)["id"]
    top = epic("other top", g=other)
    epic("child here", parent_id=top["id"])
    config(version="17.8.1-ee", tier="free")
    good(sim.delete("/groups/%d" % other), 202)
    config(version=V, tier="ultimate")
    d = sim.dump()
    eq((len(d["epics"]), [n for n in d["work_items"] if n["epic_id"] == top["id"]]), (kept, []))


@test
def stock_client():
    """python-gitlab works with epics, their notes, emoji and label events"""
    try:
        import gitlab
        import gitlab.v4.objects
    except ImportError:
        return "python3-gitlab is not installed"
    gl = gitlab.Gitlab(sim.url, private_token=sim.tokens["owner"])
    group = gl.groups.get(ROOT)
    e = group.epics.create({"title": "stock", "labels": "urgent"})
    eq(group.epics.get(e.iid).labels, ["urgent"])
    e.title = "stocked"
    e.save()
    eq(sum(x.title == "stocked" for x in group.epics.list(iterator=True)), 1)
    n = e.notes.create({"body": "from a stock client"})
    eq([x.body for x in e.notes.list() if not x.system], [n.body])
    awards = gitlab.v4.objects.GroupEpicAwardEmojiManager(gl, parent=e)     # has no attribute of the epic in every version
    awards.create({"name": "rocket"})
    try:
        awards.create({"name": "rocket"})
        raise AssertionError("given twice")
    except gitlab.exceptions.GitlabCreateError as x:
        eq(x.response_code, 404)
    eq([a.name for a in awards.list()], ["rocket"])
    eq([x.action for x in e.resourcelabelevents.list()], ["add"])
    admin = gitlab.Gitlab(sim.url, private_token=sim.tokens["admin"])
    t = admin.users.get(USERS["freja.lund"]).impersonationtokens.create({"name": "t", "scopes": ["api"]})
    eq(gitlab.Gitlab(sim.url, private_token=t.token).groups.get(ROOT).epics.create({"title": "hers"}).author["username"], "freja.lund")
    t.delete()
    e.delete()
    try:
        group.epics.get(e.iid)
        raise AssertionError("still there")
    except gitlab.exceptions.GitlabGetError as x:
        eq(x.response_code, 404)


@test
def same_seed():
    """two instances with the same seed hold the same, work items and places on boards included"""
    other = Sim("--seed", TREE, "--version", V, "--tier", "ultimate")
    try:
        a, b = sim.dump(), other.dump()
        for table in ("epics", "epic_labels", "award_emoji", "notes", "epic_boards", "epic_lists", "epic_board_positions", "iterations",
                      "iterations_cadences", "work_items", "counters", "events"):
            assert a[table]
            eq([x for x in a[table] if x not in b[table]], [], table)
            eq(len(a[table]), len(b[table]), table)
    finally:
        other.stop()


finish()
