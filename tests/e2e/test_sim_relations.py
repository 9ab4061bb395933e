#!/usr/bin/python3
"""The simulator's relation exports, from outside: every answer, header and error, by version and edition; what the lines hold;
batches, the three-minute rule, users; uploads; everything that can be made to go wrong; changes in the middle."""
import gzip
import hashlib
import http.client
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import zlib

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim.testing import SIM_DIR, Sim, Tap, eq  # noqa: E402

test = Tap()
DEMO = os.path.join(SIM_DIR, "demo_tree.json")
SECRET = "0123456789abcdef0123456789abcdef"
SEED = {
    "users": [{"id": 1, "username": "root", "name": "Administrator", "admin": True},
              {"id": 2, "username": "own", "name": "Owner One", "public_email": "own@example.org"},
              {"id": 3, "username": "maint", "name": "Maintainer"}, {"id": 4, "username": "report", "name": "Reporter"},
              {"id": 5, "username": "sub", "name": "Sub Member", "public_email": "sub@example.org"}],
    "tokens": {"admin": "root", "owner": "own", "maintainer": "maint", "reader": "report"},
    "groups": [{
        "id": 10, "path": "top", "name": "Top", "visibility": "internal", "description": "d",
        "created_at": "2025-01-01T00:00:00.123Z", "lfs_enabled": False, "avatar": {"color": "#123456", "filename": "a.png"},
        "labels": [{"id": 7, "title": "zebra", "color": "#ff0000"}, {"id": 3, "title": "ant", "description": "x <&> \u2028 ü"},
                   {"id": 5, "title": "mid"}],
        "milestones": [{"id": 21, "iid": 4, "title": "v1", "state": "closed", "due_date": "2025-03-01"}],
        "badges": [{"id": 31, "name": "ci", "link_url": "https://h/%{default_branch}", "image_url": "https://h/b.png"}],
        "members": [{"id": 41, "user": "own", "access_level": 50}, {"id": 42, "user": "maint", "access_level": 40},
                    {"id": 43, "user": "report", "access_level": 20, "expires_at": "2099-01-02", "created_by": "own"}],
        "boards": [{"id": 51, "name": "B", "milestone": "v1", "assignee": "maint", "labels": ["mid", "ant"], "weight": 3,
                    "hide_backlog_list": True, "lists": [
                        {"label": "zebra", "position": 0, "max_issue_count": 4, "limit_metric": "issue_count"},
                        {"milestone": "v1", "position": 1}, {"assignee": "maint", "position": 2}]},
                   {"id": 52, "name": "Upcoming", "milestone": -2}],
        "epics": [{"id": 9, "title": "second <b>", "notes": []}, {"id": 2, "title": "first \u2029 é", "parent_id": None}],
        "epic_boards": [{"name": "Epics", "group_id": 10, "epic_lists": []}],
        "iterations_cadences": [{"title": "Weekly", "group_id": 10, "iterations": [{"iid": 1}]}],
        "uploads": [{"secret": SECRET, "name": "ü b.txt", "text": "hello", "uploaded_by": "own"},
                    {"secret": "0123456789", "name": "short.bin", "size": 100},
                    {"name": "lost.txt", "text": "x", "lost": True}, {"name": "n" * 256, "text": "too long a name"}],
        "subgroups": [{"id": 11, "path": "sub", "name": "Sub", "visibility": "private",
                       "members": [{"user": "sub", "access_level": 30}],
                       "export": {"labels": ['{"id":1,  "title":"raw \\u0041", "color":"#abc"}', '{"id":2}'], "self": '{"id": 11 }', "gadgets": ['{"id":5}'],
                                  "namespace_settings": {"prevent_sharing_groups_outside_hierarchy": True}}}]}]}
folder = tempfile.mkdtemp(prefix="glsim.")
seed_file = os.path.join(folder, "seed.json")
with open(seed_file, "w", encoding="utf-8") as f:
    json.dump(SEED, f)
CONFIG = {"export_delay_ms": 0}


def fresh(version="18.8.0-ee", seed=seed_file, **config):
    return Sim("--seed", seed, "--version", version, "--config", json.dumps({**CONFIG, **config}))


sim = fresh()
E_RELATIONS = "/groups/%s/export_relations"


def start(s=None, group=10, batched=False, token="owner"):
    s = s or sim
    r = s.call("POST", E_RELATIONS % group + ("?batched=true" if batched else ""), token=token)
    eq(r, (202, {"message": "202 Accepted"}))


def status(s=None, group=10, relation=None, token="owner"):
    code, body = (s or sim).get(E_RELATIONS % group + "/status" + ("?relation=" + relation if relation else ""), token=token)
    eq(code, 200)
    return body if relation else {x["relation"]: x for x in body}


def fetch(relation, s=None, group=10, batch=None, token="owner", method="GET"):
    q = "?relation=" + relation + ("&batched=true&batch_number=%d" % batch if batch is not None else "")
    return (s or sim).raw(method, "/api/v4" + E_RELATIONS % group + "/download" + q, token=token)


def data(relation, **kw):
    code, head, body = fetch(relation, **kw)
    eq(code, 200, "%s: %r" % (relation, body[:200]))
    return gzip.decompress(body)


def rows(relation, **kw):
    text = data(relation, **kw)
    assert not text or text.endswith(b"\n"), "no newline at the end of " + relation
    return [json.loads(x) for x in text.decode().split("\n")[:-1]]


def refused(relation, want, message, **kw):
    code, _, body = fetch(relation, **kw)
    eq((code, json.loads(body)), (want, {"message": message}))


def config(s=None, **changes):
    (s or sim).control("POST", "config", changes)


def finish(s=None):
    (s or sim).control("POST", "finish_exports")


# ---- who may, and where ----------------------------------------------------------------------

@test
def gates():
    """Owners only; 404 where the instance does not allow it; unknown and invisible groups"""
    paths = [("POST", E_RELATIONS % 10), ("GET", E_RELATIONS % 10 + "/status"), ("GET", E_RELATIONS % 10 + "/download?relation=labels")]
    for method, path in paths:
        eq(sim.call(method, path, token="maintainer"), (403, {"message": "403 Forbidden"}))
        eq(sim.call(method, path, token="nonsense"), (401, {"message": "401 Unauthorized"}))
        eq(sim.call(method, path.replace("10", "999"))[0], 404)
        eq(sim.call(method, path.replace("10", "999"))[1], {"message": "404 Group Not Found"})
    eq(sim.call("POST", paths[0][1], token="reader")[0], 403)
    eq(sim.call("GET", paths[1][1], token=None)[0] in (401, 404), True)
    config(bulk_import_enabled=False)
    for method, path in paths:
        eq(sim.call(method, path), (404, {"message": "404 Not Found"}))
        eq(sim.call(method, path, token="maintainer")[0], 403, "the role is looked at first")
    config(bulk_import_enabled=True)
    eq(sim.get(E_RELATIONS % "top%2Fsub" + "/status"), (200, []), "by full path, nothing started yet")
    eq(sim.get(E_RELATIONS % 10 + "/download?relation=labels"), (404, {"message": "Export not found"}))


@test
def parameters():
    """parameters are checked before any work"""
    eq(sim.get(E_RELATIONS % 10 + "/download"), (400, {"error": "relation is missing"}))
    for q in ("batched=true", "batch_number=1"):
        eq(sim.get(E_RELATIONS % 10 + "/download?relation=labels&" + q),
           (400, {"error": "batched, batch_number provide all or none of parameters"}))
    eq(sim.get(E_RELATIONS % 10 + "/download?relation=labels&batched=true&batch_number=x"), (400, {"error": "batch_number is invalid"}))
    eq(sim.call("POST", E_RELATIONS % 10 + "?batched=maybe"), (400, {"error": "batched is invalid"}))
    eq(sim.get(E_RELATIONS % 10 + "/status?relation=nothing"), (404, {"message": "Export not found"}))


# ---- jobs ------------------------------------------------------------------------------------

@test
def progress():
    """jobs wait, run and end; each relation in its own time; data of the moment of the job"""
    s = fresh(export_queue_ms=600000, export_delay_ms={"labels": 600000, "*": 0})
    try:
        start(s)
        eq(status(s), {}, "queued: nothing shows yet")
        config(s, export_queue_ms=0)
        start(s, group=11)
        st = status(s, 11)
        eq((st["labels"]["status"], st["milestones"]["status"]), (0, 1))
        eq(set(st["labels"]), {"relation", "status", "error", "updated_at", "batched", "batches_count", "total_objects_count"})
        refused("labels", 404, "Export file not found", s=s, group=11)
        eq(s.post("/groups/10/milestones", {"title": "late"})[0], 201)
        finish(s)
        eq({x["status"] for x in status(s).values()} | {x["status"] for x in status(s, 11).values()}, {1})
        eq([r["title"] for r in rows("milestones", s=s)], ["v1", "late"], "made when the job ran, not when it was asked for")
        eq(s.delete("/groups/11")[0], 202)
    finally:
        eq(s.stop(), 0)


@test
def three_minutes():
    """an export younger than three minutes is not made again, an older one is; one with batches always is"""
    s = fresh("17.8.0-ee")
    try:
        start(s)
        before = status(s)
        eq(s.post("/groups/10/labels", {"name": "young", "color": "#123"})[0], 201)
        start(s)
        eq(status(s), before, "nothing was made again")
        eq(len(rows("labels", s=s)), 3)
        config(s, clock_offset_s=179)
        start(s)
        eq(status(s), before)
        config(s, clock_offset_s=181)
        start(s)
        after = status(s)
        assert all(after[k]["updated_at"] > before[k]["updated_at"] for k in after), after
        eq(len(rows("labels", s=s)), 4)
        _, head, _ = s.raw("GET", "/api/v4/version")
        assert abs(ahead(head["Date"]) - 181) < 30, "the Date header tells the server's time"
        start(s, batched=True)
        one = status(s)
        eq((one["labels"]["batched"], one["self"]["batched"]), (True, False), "other mode: made again")
        eq(one["self"], after["self"], "single records are never batched, so this one is still fresh")
        config(s, clock_offset_s=182)
        start(s, batched=True)
        two = status(s)
        assert two["labels"]["updated_at"] > one["labels"]["updated_at"]
        config(s, clock_offset_s=183, export_ttl_batched=True)
        start(s, batched=True)
        eq(status(s), two)
    finally:
        eq(s.stop(), 0)


def ahead(date):
    from email.utils import parsedate_to_datetime
    import datetime
    return (parsedate_to_datetime(date) - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


@test
def whose():
    """from 17.9 on each user sees his own exports; before, all Owners share them"""
    for version, private in (("17.8.0-ee", False), ("17.9.0-ee", True)):
        s = fresh(version)
        try:
            start(s)
            eq(bool(status(s, token="admin")), not private, version)
            eq(fetch("labels", s=s, token="admin")[0], 404 if private else 200, version)
            start(s, token="admin")
            eq(len(status(s, token="admin")), len(status(s)))
        finally:
            s.stop()


@test
def survives():
    """exports and waiting jobs outlive a killed instance"""
    s = fresh(export_delay_ms={"labels": 600000, "*": 0})
    try:
        start(s)
        before = status(s)
        text = data("milestones", s=s)
        s.kill()
        s.start()
        eq(status(s), before)
        eq(data("milestones", s=s), text)
        finish(s)
        eq(status(s)["labels"]["status"], 1)
    finally:
        s.stop()


# ---- what comes out --------------------------------------------------------------------------

@test
def files():
    """names, types and form of the files"""
    start()
    st = status()
    eq(list(st), ["milestones", "badges", "labels", "boards", "members", "namespace_settings", "epics", "epic_boards",
                  "iterations_cadences", "uploads", "self"])
    eq({k: v["total_objects_count"] for k, v in st.items()},
       {"milestones": 1, "badges": 1, "labels": 3, "boards": 2, "members": 3, "namespace_settings": 1, "epics": 2,
        "epic_boards": 1, "iterations_cadences": 1, "uploads": 3, "self": 1})
    for relation in st:
        inner = {"self": "self.json", "uploads": "uploads.tar"}.get(relation, relation + ".ndjson")
        code, head, body = fetch(relation)
        eq((code, head["Content-Type"]), (200, "application/gzip"), relation)
        assert 'filename="%s.gz"' % inner in head["Content-Disposition"], head["Content-Disposition"]
        eq(body[:4], b"\x1f\x8b\x08\x08", "a gzip file that holds a name")
        eq(body[10:body.index(b"\0", 10)].decode(), inner)
        code, head, nothing = fetch(relation, method="HEAD")
        eq((code, head["Content-Type"], nothing), (200, "application/gzip", b""))
        eq(int(head["Content-Length"]), len(body))
        object_ = status(relation=relation)
        eq(object_, status()[relation], "one object when a relation is named")
    eq(data("self")[-1:], b"}", "no newline after a single record")
    eq(data("namespace_settings"), b'{"prevent_sharing_groups_outside_hierarchy":false}')


@test
def empty():
    """an empty collection is a compressed file of no bytes"""
    start(group=11)
    for relation in ("milestones", "badges", "boards", "epics", "epic_boards", "iterations_cadences"):
        eq(data(relation, group=11), b"", relation)
    eq(tarfile.open(fileobj=io.BytesIO(data("uploads", group=11))).getnames(), ["."])


@test
def records():
    """each kind's record, whole"""
    start()
    t = "2025-01-01T00:00:00.123Z"
    ant = {"id": 3, "title": "ant", "color": "#6699cc", "project_id": None, "created_at": t, "updated_at": t, "template": False,
           "description": "x <&> \u2028 ü", "group_id": 10, "lock_on_merge": False, "type": "GroupLabel"}
    mid = dict(ant, id=5, title="mid", description=None)
    zebra = dict(mid, id=7, title="zebra", color="#ff0000")
    eq(rows("labels"), [ant, mid, zebra], "by id, whatever the order of the seed")
    mile = {"id": 21, "title": "v1", "project_id": None, "description": None, "due_date": "2025-03-01", "created_at": t,
            "updated_at": t, "state": "closed", "iid": 4, "start_date": None, "group_id": 10}
    eq(rows("milestones"), [mile])
    eq(rows("badges"), [{"id": 31, "name": "ci", "link_url": "https://h/%{default_branch}", "image_url": "https://h/b.png",
                         "project_id": None, "group_id": 10, "created_at": t, "updated_at": t, "type": "GroupBadge"}])
    member = {"id": 43, "access_level": 20, "source_id": 10, "source_type": "Namespace", "user_id": 4, "notification_level": 3,
              "created_at": t, "updated_at": t, "created_by_id": 2, "invite_email": None, "invite_token": None,
              "invite_accepted_at": None, "requested_at": None, "expires_at": "2099-01-02", "ldap": False, "override": False,
              "user": {"id": 4, "public_email": "", "username": "report"}}
    eq(rows("members")[2], member)
    eq([m["user"]["username"] for m in rows("members")], ["own", "maint", "report"], "direct members only")
    bare = {"id": 51, "project_id": None, "created_at": t, "updated_at": t, "name": "B", "milestone_id": 21, "group_id": 10,
            "weight": 3, "hide_backlog_list": True, "hide_closed_list": False, "iteration_id": None, "iteration_cadence_id": None}
    board = rows("boards")[0]
    lists = board.pop("lists")
    eq(board, dict(bare, board_assignee={"id": 51, "board_id": 51, "assignee_id": 3}, milestone=mile, labels=[ant, mid]))
    eq([(x["list_type"], x["position"]) for x in lists],
       [("backlog", None), ("label", 0), ("closed", None), ("assignee", 2), ("milestone", 1)], "hidden lists are in it")
    eq({k: v for k, v in lists[1].items() if k != "id"},
       {"board_id": 51, "label_id": 7, "list_type": "label", "position": 0, "created_at": t, "updated_at": t, "user_id": None,
        "milestone_id": None, "max_issue_count": 4, "max_issue_weight": 0, "limit_metric": "issue_count", "iteration_id": None,
        "label": zebra, "board": bare})
    assert "label" not in lists[0], "what a list does not refer to is left out"
    eq((lists[3]["user_id"], lists[4]["milestone"]), (3, dict(mile, events=[])))
    second = rows("boards")[1]
    eq((second["milestone_id"], "milestone" in second, second["labels"]), (-2, False, []))
    me = json.loads(data("self"))
    for k, v in (("id", 10), ("parent_id", None), ("path", "top"), ("description", "d"), ("visibility_level", 10),
                 ("lfs_enabled", False), ("project_creation_level", 2), ("subgroup_creation_level", 1), ("emails_enabled", True),
                 ("two_factor_grace_period", 48), ("avatar", {"url": "/uploads/-/system/group/avatar/10/a.png"})):
        eq(me[k], v, "self." + k)
    eq({k for k in me if "token" in k or k in ("owner_id", "created_at", "updated_at", "type")}, set())


@test
def kept():
    """epics, epic boards and cadences come as the seed gave them, in the order of their ids; lines of text byte for byte"""
    start()
    eq(data("epics").decode(), "".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) + "\n"
                                       for x in (SEED["groups"][0]["epics"][1], SEED["groups"][0]["epics"][0])))
    eq(rows("epic_boards"), SEED["groups"][0]["epic_boards"])
    eq(rows("iterations_cadences"), SEED["groups"][0]["iterations_cadences"])
    start(group=11)
    lines = SEED["groups"][0]["subgroups"][0]["export"]
    eq(data("labels", group=11).decode(), "".join(x + "\n" for x in lines["labels"]))
    eq(data("self", group=11).decode(), lines["self"])
    eq(json.loads(data("namespace_settings", group=11)), lines["namespace_settings"])
    eq((data("gadgets", group=11), "gadgets" in status()), (b'{"id":5}\n', False), "a kind that nobody knows yet")


@test
def demo():
    """the demo tree: labels that epics and lists name are the labels of the group they name; links lead to uploads"""
    s = fresh(seed=DEMO)
    try:
        groups = {g["id"]: g for g in s.dump()["groups"]}
        labels, epics, boards, files_, text = {}, [], [], set(), ""
        for gid in groups:
            start(s, group=gid)
            labels.update({r["id"]: r for r in rows("labels", s=s, group=gid)})
            epics += rows("epics", s=s, group=gid)
            boards += rows("boards", s=s, group=gid)
            files_ |= {"/".join(n.split("/")[1:]) for n in tarfile.open(fileobj=io.BytesIO(data("uploads", s=s, group=gid))).getnames()}
        eq(len(epics), 5)
        seen = [x["label"] for e in epics for x in e["label_links"]] + [x["label"] for b in boards for x in b["lists"] if "label" in x]
        assert len(seen) > 20
        for x in seen:
            eq(x, labels[x["id"]])
        ids = {e["id"]: e for e in epics}
        eq([e["parent"]["title"] for e in epics if e["parent_id"]], [ids[e["parent_id"]]["title"] for e in epics if e["parent_id"]])
        users = {u["id"]: u["name"] for u in s.dump()["users"]}
        for e in epics:
            assert e["author_id"] in users
            for n in e["notes"]:
                eq(n["author"]["name"], users[n["author_id"]])
            text += json.dumps(e)
        import re
        links = re.findall(r"/uploads/([0-9a-f]{32}/[\w.%]+)", text)
        eq(len(set(links)), 2)
        assert {x.replace("%20", " ") for x in links} <= files_, (links, files_)
    finally:
        s.stop()


@test
def editions():
    """a Community Edition knows no epics, and writes boards without assignee, milestone and labels"""
    s = fresh("18.8.0")
    try:
        start(s)
        eq(list(status(s)), ["milestones", "badges", "labels", "boards", "members", "namespace_settings", "uploads", "self"])
        board = rows("boards", s=s)[0]
        eq({"board_assignee", "milestone", "labels"} & set(board), set())
        eq((board["milestone_id"], board["weight"]), (21, 3), "the columns stay")
        eq("milestone" in board["lists"][4], False)
        refused("epics", 404, "Export not found", s=s)
    finally:
        s.stop()


BASE = {"milestones", "badges", "labels", "boards", "members", "uploads", "self", "epics"}
BEFORE_BATCHES = {"relation", "status", "error", "updated_at"}
VERSIONS = (  # version, relations besides the base, keys of a status besides the oldest ones
    ("14.0.0-ee", set(), set()), ("14.10.0-ee", set(), set()), ("15.0.0-ee", {"namespace_settings"}, set()),
    ("15.3.0-ee", {"namespace_settings"}, set()), ("15.11.0-ee", {"namespace_settings", "iterations_cadences"}, set()),
    ("16.1.0-ee", {"namespace_settings", "iterations_cadences"}, set()),
    ("16.2.0-ee", {"namespace_settings", "iterations_cadences"}, {"batched", "batches_count"}),
    ("16.11.0-ee", {"namespace_settings", "iterations_cadences"}, {"batched", "batches_count", "total_objects_count"}),
    ("17.11.0-ee", {"namespace_settings", "iterations_cadences"}, {"batched", "batches_count", "total_objects_count"}),
    ("18.3.0-ee", {"namespace_settings", "iterations_cadences"}, {"batched", "batches_count", "total_objects_count"}),
    ("18.8.0-ee", {"namespace_settings", "iterations_cadences", "epic_boards"}, {"batched", "batches_count", "total_objects_count"}),
    ("19.1.0-ee", {"namespace_settings", "iterations_cadences", "epic_boards"}, {"batched", "batches_count", "total_objects_count"}))


@test
def versions():
    """relations, status keys, parameters and error bodies by version"""
    s = fresh("14.0.0-ee")
    try:
        for version, more, keys in VERSIONS:
            config(s, version=version)
            s.control("POST", "expire_exports")
            eq(fetch("labels", s=s)[0], 404)
            eq(json.loads(fetch("labels", s=s)[2])["message"], "Export not found" if keys else "404 Not found", version)
            start(s, batched=True)
            st = status(s)
            eq(set(st), BASE | more, version)
            eq(set(st["self"]), BEFORE_BATCHES | keys, version)
            eq("batches" in st["labels"], bool(keys), version)
            code, one = s.get(E_RELATIONS % 10 + "/status?relation=labels")
            eq(isinstance(one, list), not keys, version + ": before 16.2 the parameter is not known")
            label = rows("labels", s=s, batch=1)[0] if keys else rows("labels", s=s)[0]
            v = tuple(int(x) for x in version.split("-")[0].split("."))
            eq(("priorities" in label, "textColor" in label), (v < (16,), v < (16,)), version)
            eq(("lock_on_merge" in label, "archived" in label), (v >= (16, 3), v >= (18, 10)), version)
            me = json.loads(data("self", s=s))
            eq(("emails_disabled" in me, "emails_enabled" in me), (v < (16, 5), v >= (16, 5)), version)
            eq("created_at" in me, v >= (19,), version)
    finally:
        eq(s.stop(), 0)


# ---- batches ---------------------------------------------------------------------------------

@test
def batches():
    """collections come in batches, in order, nothing twice; an empty one has none; all errors"""
    s = fresh(export_batch_size=2)
    try:
        start(s)
        whole = {r: data(r, s=s) for r in ("labels", "members", "epics", "boards")}
        refused("labels", 400, "Export is not batched", s=s, batch=1)
        start(s, batched=True)
        st = status(s)
        for relation, text in whole.items():
            x = st[relation]
            n = x["total_objects_count"]
            eq((x["status"], x["batched"], x["batches_count"]), (1, True, (n + 1) // 2), relation)
            eq([b["batch_number"] for b in x["batches"]], list(range(1, x["batches_count"] + 1)))
            eq([b["objects_count"] for b in x["batches"]], [min(2, n - 2 * i) for i in range(x["batches_count"])])
            eq({b["status"] for b in x["batches"]} | {b["error"] for b in x["batches"]}, {1, None})
            eq(set(x["batches"][0]), {"status", "batch_number", "objects_count", "error", "updated_at"})
            eq(b"".join(data(relation, s=s, batch=i + 1) for i in range(x["batches_count"])), text, relation)
        eq({r: st[r]["batched"] for r in ("self", "namespace_settings")}, {"self": False, "namespace_settings": False})
        eq("batches" in st["self"], False)
        eq(json.loads(data("self", s=s))["id"], 10)
        names = [set(tarfile.open(fileobj=io.BytesIO(data("uploads", s=s, batch=i))).getnames()) for i in (1, 2, 3)]
        eq([len({n for n in x if n.count("/") == 2}) for x in names], [2, 1, 0], "uploads in batches: avatar and one, one, none left")
        refused("labels", 400, "Export is batched", s=s)
        for n in (3, 0, -1):
            refused("labels", 404, "Batch not found", s=s, batch=n)
        refused("nothing", 404, "Export not found", s=s, batch=1)
        start(s, group=11, batched=True)
        x = status(s, 11)["milestones"]
        eq((x["status"], x["batched"], x["batches_count"], x["batches"], x["total_objects_count"]), (1, True, 0, [], 0))
        eq(status(s, 11)["labels"]["batches_count"], 1)
        eq(data("labels", s=s, group=11, batch=1).decode().count("\n"), 2)
        config(s, export_delay_ms=600000)
        start(s, batched=True)
        x = status(s)["labels"]
        eq((x["status"], x["batches_count"], [b["status"] for b in x["batches"]]), (0, 2, [0, 0]))
        refused("labels", 404, "Batch file not found", s=s, batch=1)
    finally:
        eq(s.stop(), 0)


@test
def batch_size():
    """a thousand records per batch before 18.2, fifty since"""
    s = fresh("18.1.0-ee", seed=seed_file)
    try:
        s.control("POST", "seed", {"groups": [{"id": 20, "path": "many", "labels": [{"title": "l%d" % i} for i in range(1001)]}]})
        for version, count, last in (("18.1.0-ee", 2, 1), ("18.2.0-ee", 21, 1)):
            config(s, version=version)
            start(s, group=20, batched=True, token="admin")
            x = status(s, 20, "labels", token="admin")
            eq((x["batches_count"], x["batches"][-1]["objects_count"]), (count, last), version)
    finally:
        s.stop()


# ---- uploads ---------------------------------------------------------------------------------

@test
def uploads():
    """the archive of uploads, and the same files over REST"""
    start()
    t = tarfile.open(fileobj=io.BytesIO(data("uploads")))
    eq(t.getnames(), [".", "./avatar", "./avatar/a.png", "./" + SECRET, "./%s/ü b.txt" % SECRET, "./0123456789",
                      "./0123456789/short.bin"])
    eq([m.isdir() for m in t.getmembers()], [True, True, False, True, False, True, False])
    eq(t.extractfile("./%s/ü b.txt" % SECRET).read(), b"hello")
    eq(t.extractfile("./avatar/a.png").read(), sim.raw("GET", "/api/v4/groups/10/avatar")[2])
    code, page = sim.get("/groups/10/uploads")
    eq((code, [x["filename"] for x in page]), (200, ["n" * 256, "lost.txt", "short.bin", "ü b.txt"]))
    eq(set(page[3]), {"id", "size", "filename", "created_at", "uploaded_by"})
    eq((page[3]["size"], page[3]["uploaded_by"], page[2]["uploaded_by"]),
       (5, {"id": 2, "name": "Owner One", "username": "own"}, None))
    eq(sim.raw("GET", "/api/v4/groups/10/uploads/%d" % page[3]["id"])[2], b"hello")
    eq(sim.raw("GET", "/api/v4/groups/10/uploads/%s/%%C3%%BC%%20b.txt" % SECRET, token="reader")[2], b"hello")
    eq(sim.get("/groups/10/uploads", token="reader")[0], 403)
    eq(sim.get("/groups/10/uploads/%d" % page[1]["id"])[0], 404, "its file is gone")
    eq(sim.raw("GET", "/api/v4/groups/10/uploads?per_page=2")[1]["X-Total"], "4")
    config(version="17.1.0-ee")
    eq(sim.get("/groups/10/uploads")[0], 404)
    config(version="18.8.0-ee")
    u = sim.dump()["uploads"]
    eq([x["sha256"] for x in u[:3]], [hashlib.sha256(b"hello").hexdigest(), u[1]["sha256"], None])


# ---- what goes wrong -------------------------------------------------------------------------

def again(s, rules, batched=False):
    s.control("POST", "expire_exports")
    config(s, export_faults=rules)
    start(s, batched=batched)
    return status(s)


@test
def failures():
    """every entry of export_faults does what it says, to the relation it names"""
    s = fresh(export_batch_size=2)
    try:
        st = again(s, [{"relation": "labels", "fail": "PG::QueryCanceled", "times": 1}])
        eq({k: (x["status"], x["error"]) for k, x in st.items() if x["status"] != 1}, {"labels": (-1, "PG::QueryCanceled")})
        refused("labels", 404, "Export file not found", s=s)
        start(s)
        eq(status(s)["labels"]["status"], 1, "the second time it works")
        eq(status(s)["labels"]["error"], None)
        st = again(s, [{"relation": "labels", "never": True}, {"relation": "boards", "hide": True},
                       {"relation": "badges", "lose_file": True}])
        finish(s)
        eq((status(s)["labels"]["status"], "boards" in status(s), status(s)["badges"]["status"]), (0, False, 1))
        refused("badges", 404, "Export file not found", s=s)
        refused("boards", 404, "Export not found", s=s)
        eq(again(s, [{"relation": "labels", "status": -2}])["labels"]["status"], -2)
        again(s, [{"relation": "labels", "corrupt_gzip": True}, {"relation": "boards", "truncate_gzip": True},
                  {"relation": "members", "no_gzip": True}, {"relation": "badges", "content_type": "text/html"}])
        for relation, kinds in (("labels", (zlib.error, gzip.BadGzipFile, EOFError)), ("boards", (EOFError,)), ("members", (gzip.BadGzipFile,))):
            code, head, body = fetch(relation, s=s)
            eq(code, 200)
            try:
                gzip.decompress(body)
            except kinds:
                continue
            raise AssertionError(relation + " can be decompressed")
        eq(fetch("badges", s=s)[1]["Content-Type"], "text/html")
        again(s, [{"relation": "labels", "invalid_json": 2}, {"relation": "members", "oversized_line": 300000},
                  {"relation": "badges", "bomb": 70 << 20}, {"relation": "self", "invalid_json": 1}])
        lines = data("labels", s=s).decode().split("\n")[:-1]
        eq([valid(x) for x in lines], [True, False, True])
        eq(valid(data("self", s=s)), False)
        lines = data("members", s=s).split(b"\n")[:-1]
        eq(([len(x) for x in lines][3], json.loads(lines[3])["id"]), (300000, 999999999))
        small = fetch("badges", s=s)[2]
        eq(len(small) < 200000, True, "a small file")
        eq(len(gzip.decompress(small)) > 70 << 20, True, "that becomes large")
        again(s, [{"relation": "uploads", "tar_members": [{"name": "./x/link", "type": "symlink", "target": "/etc/passwd"},
                                                         {"name": "../out", "text": "evil"}, {"name": "./pipe", "type": "fifo"},
                                                         {"name": "./hard", "type": "hardlink", "target": "./avatar/a.png"}]}])
        m = {x.name: x for x in tarfile.open(fileobj=io.BytesIO(data("uploads", s=s))).getmembers()}
        eq((m["./x/link"].issym(), m["./x/link"].linkname, m["./pipe"].isfifo(), m["./hard"].islnk(), m["../out"].size),
           (True, "/etc/passwd", True, True, 4))
        st = again(s, [{"relation": "labels", "batch": 2, "fail": "disk full"}], batched=True)
        eq([b["status"] for b in st["labels"]["batches"]], [1, -1])
        eq((st["labels"]["status"], st["labels"]["batches"][1]["error"]), (1, "disk full"))
        refused("labels", 404, "Batch file not found", s=s, batch=2)
        st = again(s, [{"group": "top", "fail": "all"}], batched=True)
        eq({(x["status"], x["error"]) for x in st.values()}, {(-1, "all")})
        start(s, group=11)
        eq({x["status"] for x in status(s, 11).values()}, {1}, "another group is not hit")
        for bad in ([{"relation": "labels"}], [{"explode": True}], {"fail": "x"}, [{"fail": 1}]):
            code, _, body = s.raw("POST", "/_sim/config", {"export_faults": bad}, token=None)
            eq(code, 400, repr(bad))
    finally:
        eq(s.stop(), 0)


def valid(text):
    try:
        json.loads(text)
        return True
    except ValueError:
        return False


@test
def expiry():
    """files or whole exports vanish"""
    s = fresh()
    try:
        start(s)
        start(s, group=11)
        eq(s.control("POST", "expire_exports", {"group": "top", "relation": "labels", "files_only": True}), {"exports": 1})
        refused("labels", 404, "Export file not found", s=s)
        eq((status(s)["labels"]["status"], fetch("labels", s=s, group=11)[0]), (1, 200))
        s.control("POST", "expire_exports", {"group": 10})
        eq((status(s), len(status(s, 11))), ({}, 12))
        start(s)
        eq(status(s)["labels"]["status"], 1, "and it can be started again")
    finally:
        s.stop()


@test
def network():
    """the general faults and the latency hold here too"""
    start()
    good = fetch("milestones")[2]

    def fault(do, **match):
        sim.control("POST", "reset_faults")
        sim.control("POST", "faults", {"match": {"path": "/export_relations", **match}, "do": do})
    fault({"status": 503, "headers": {"Retry-After": "1"}}, query="relation=milestones")
    eq(fetch("badges")[0], 200, "only the relation that was named")
    eq(fetch("milestones")[0], 503)
    eq(fetch("milestones")[2], good)
    fault({"cut_after": 40}, path="/download$")
    try:
        got = fetch("milestones")[2]
        raise AssertionError("%d bytes came" % len(got))
    except http.client.IncompleteRead as e:
        eq(e.partial, good[:40])
    for do in ({"reset": True}, {"lose_answer": True}):
        fault(do, method="POST")
        try:
            start()
            raise AssertionError("an answer came")
        except (urllib.error.URLError, ConnectionError):
            pass
    fault({"drip_ms": 1, "chunk": 100}, path="/download$")
    code, head, body = fetch("milestones")
    eq((code, int(head["Content-Length"]), body), (200, len(good), good))
    fault({"delay_ms": 1}, path="/status$")
    eq(status()["labels"]["status"], 1)
    sim.control("POST", "reset_faults")
    sim.control("POST", "reset_log")
    config(latency_ms=100)
    status()
    config(latency_ms=0)
    line = sim.log()[-1]
    eq((line["path"], line["ms"] >= 100), ("/api/v4/groups/10/export_relations/status", True))


@test
def storage():
    """files in object storage: 302 to an address that wants no token"""
    start()
    want = data("labels")
    config(object_storage=True)
    host, port = sim.url.split("//")[1].split(":")

    def get(path, name="127.0.0.1", **head):
        c = http.client.HTTPConnection(name, int(port))
        c.request("GET", path, headers=head)
        r = c.getresponse()
        out = r.status, r.headers, r.read()
        c.close()
        return out
    token = {"PRIVATE-TOKEN": sim.tokens["owner"]}
    for path, text in (("/export_relations/download?relation=labels", want), ("/avatar", None),
                       ("/uploads/%s/%%C3%%BC%%20b.txt" % SECRET, b"hello")):
        code, head, _ = get("/api/v4/groups/10" + path, **token)
        eq(code, 302, path)
        there = head["Location"]
        assert there.startswith("http://localhost:"), there
        there = there[there.index("/_store/"):]
        eq(get(there, **token)[0], 400, "a token must not go there")
        code, head, body = get(there)
        eq(code, 200)
        if text is not None:
            eq(gzip.decompress(body) if path.startswith("/export") else body, text)
    eq(get("/_store/0000")[0], 403)
    config(object_storage=False)


# ---- a source that moves ---------------------------------------------------------------------

@test
def changes():
    """/_sim/at: the instance changes when a certain request arrives, before or after its work"""
    s = fresh()
    try:
        s.control("POST", "at", [
            {"name": "grow", "match": {"path": "/groups/10/labels$", "query": "page=2"}, "do": [
                {"create": {"group": "top", "labels": [{"title": "new"}], "milestones": [{"title": "v2"}],
                            "members": [{"user": "sub", "access_level": 10}], "badges": [{"link_url": "https://x", "image_url": "https://y"}],
                            "boards": [{"name": "N", "lists": [{"label": "new"}]}], "subgroups": [{"path": "late", "name": "Late"}]}},
                {"update": "labels", "where": {"group": "top", "title": "ant"}, "set": {"description": "moved"}},
                {"update": "labels", "where": {"title": "mid"}, "set": {"color": "#000000"}, "silent": True},
                {"delete": "milestones", "where": {"title": "v1"}},
                {"request": {"method": "PUT", "path": "/groups/10", "body": {"name": "Renamed"}, "token": "owner"}}]},
            {"name": "after", "match": {"path": "/groups/10$", "nth": 2}, "after": True, "do": [
                {"update": "groups", "where": {"group": "top"}, "set": {"name": "Later", "lfs_enabled": True}},
                {"delete": "groups", "where": {"group": "top/sub"}}]},
            {"name": "fails", "match": {"path": "/groups/10/badges$"}, "do": [{"delete": "labels", "where": {"title": "no such"}}]}])
        q = "/groups/10/labels?include_ancestor_groups=false&per_page=2"
        eq([x["name"] for x in s.get(q)[1]], ["ant", "mid"])
        eq([x["name"] for x in s.get(q + "&page=2")[1]], ["new", "zebra"])
        eq([x["name"] for x in s.get(q + "&page=2")[1]], ["new", "zebra"], "once only")
        d = s.dump()
        rows_ = {x["title"]: x for x in d["labels"]}
        assert rows_["ant"]["updated_at"] > rows_["ant"]["created_at"]
        eq((rows_["mid"]["updated_at"], rows_["mid"]["color"]), (rows_["mid"]["created_at"], "#000000"))
        eq([(m["title"], m["iid"]) for m in d["milestones"]], [("v2", 5)], "the next number, not one that was used")
        eq((len(d["members"]), len(d["badges"]), len(d["boards"])), (5, 2, 3))
        eq([b["milestone_id"] for b in d["boards"]], [None, -2, None], "nobody refers to what is gone")
        eq((s.get("/groups/10")[1]["name"], s.get("/groups/10")[1]["name"], s.get("/groups/10")[1]["name"]),
           ("Renamed", "Renamed", "Later"))
        eq((s.get("/groups/11")[0], s.get("/groups/top%2Flate")[0]), (404, 200))
        eq(s.get("/groups/10/badges")[0], 200)
        seen = {e["name"]: e for e in s.control("GET", "at")}
        eq((seen["grow"]["used"], seen["grow"]["results"]),
           (1, [{"created": 6}, {"updated": 1}, {"updated": 1}, {"deleted": 1}, {"status": 200}]))
        assert "nothing in labels" in seen["fails"]["results"][0]["error"], seen["fails"]
        eq([x["path"] for x in s.log() if x["method"] == "PUT"], [], "the other's request is not in the log")
        s.control("POST", "reset_at")
        eq(s.control("GET", "at"), [])
        for bad in ({"do": []}, {"request": 1, "do": []}, {"request": 1, "do": [{"explode": 1}]}, {"request": 1, "match": {}, "do": []}):
            eq(s.raw("POST", "/_sim/at", bad, token=None)[0], 400, repr(bad))
        s.control("POST", "at", {"request": 2, "do": [{"delete": "badges", "where": {}}]})
        s.control("POST", "reset_log")
        eq((len(s.get("/groups/10/badges")[1]), len(s.get("/groups/10/badges")[1])), (2, 0))
    finally:
        eq(s.stop(), 0)


# ---- other clients and tools -----------------------------------------------------------------

@test
def stock_client():
    """python-gitlab reads a whole export with its raw calls"""
    try:
        import gitlab
    except ImportError:
        return "python3-gitlab is not installed"
    gl = gitlab.Gitlab(sim.url, private_token=sim.tokens["owner"])
    sim.control("POST", "expire_exports")
    eq(gl.http_post("/groups/10/export_relations"), {"message": "202 Accepted"})
    st = gl.http_get("/groups/10/export_relations/status")
    eq({x["status"] for x in st}, {1})
    r = gl.http_get("/groups/10/export_relations/download", query_data={"relation": "labels"}, raw=True, streamed=True)
    eq(gzip.decompress(r.content), data("labels"))
    try:
        gl.http_get("/groups/10/export_relations/download", query_data={"relation": "labels", "batched": "true", "batch_number": 1})
        raise AssertionError("was not refused")
    except gitlab.exceptions.GitlabHttpError as e:
        eq((e.response_code, e.error_message), (400, "Export is not batched"))
    eq(gl.http_get("/groups/10/export_relations/status", query_data={"relation": "self"})["relation"], "self")


@test
def large_trees():
    """make-tree: uploads, epics, iterations and epic boards on demand, the same for the same numbers"""
    args = [os.path.join(SIM_DIR, "make-tree"), "--records", "400", "--groups", "4"]
    plain = subprocess.check_output(args)
    more = args + ["--uploads", "9", "--epics", "50", "--iterations", "60", "--epic-boards", "6", "--upload-bytes", "500"]
    text = subprocess.check_output(more)
    eq(subprocess.check_output(more), text)
    assert len(text) > len(plain)
    path = os.path.join(folder, "tree.json")
    with open(path, "wb") as f_:
        f_.write(text)
    s = fresh(seed=path)
    try:
        got = {}
        for g in s.dump()["groups"]:
            start(s, group=g["id"])
            for relation, x in status(s, g["id"]).items():
                got[relation] = got.get(relation, 0) + x["total_objects_count"]
            for e in rows("epics", s=s, group=g["id"]):
                eq(e["group_id"], g["id"])
        eq((got["uploads"], got["epics"], got["iterations_cadences"], got["epic_boards"]), (9, 50, 4, 6))
    finally:
        s.stop()


code = test.run()
code = 1 if sim.stop() else code
import shutil  # noqa: E402
shutil.rmtree(folder, ignore_errors=True)
sys.exit(code)
