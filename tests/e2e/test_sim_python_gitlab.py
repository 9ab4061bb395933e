#!/usr/bin/python3
"""Stock python-gitlab against the simulator: what a real GitLab lets it do must work here too."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim import png  # noqa: E402
from glsim.testing import SIM_DIR, Sim, Tap, eq, skip_all  # noqa: E402

try:
    import gitlab
    from gitlab import exceptions as ex
except ImportError:
    skip_all("python3-gitlab is not installed")

test = Tap()
sim = Sim("--empty", "--users", os.path.join(SIM_DIR, "demo_users.json"), "--config", '{"delete_delay_ms": 100}')


def client(role):
    return gitlab.Gitlab(sim.url, private_token=sim.tokens[role])


gl, admin, reader = client("owner"), client("admin"), client("reader")
have = {}


def refused(code, fn, *a, **kw):
    try:
        fn(*a, **kw)
    except ex.GitlabError as e:
        eq(e.response_code, code, str(e))
        return e
    raise AssertionError("was not refused")


def every(manager, **kw):
    return list(manager.list(as_list=False, **kw) if gitlab.__version__.startswith(("1.", "2.")) else
                manager.list(iterator=True, **kw))


@test
def who():
    """auth(), version(), current user"""
    gl.auth()
    eq(gl.user.username, "ingrid.halden")
    eq(gl.version(), ("17.8.1-ee", "0c5e1f7a2b9"))
    try:
        client("expired").auth()
        raise AssertionError("an expired token works")
    except ex.GitlabAuthenticationError:
        pass


@test
def groups():
    """groups and subgroups: create, get by path and id, list, change, duplicate"""
    top = gl.groups.create({"name": "Acme", "path": "acme", "visibility": "internal", "description": "Rock & roll"})
    have["top"] = top
    for i in range(3):
        gl.groups.create({"name": "Sub %d" % i, "path": "sub-%d" % i, "parent_id": top.id, "visibility": "private"})
    have["sub"] = gl.groups.get("acme/sub-0")
    eq(have["sub"].parent_id, top.id)
    eq([g.path for g in every(gl.groups.get("acme").subgroups)], ["sub-0", "sub-1", "sub-2"])
    eq(len(every(top.descendant_groups)), 3)
    e = refused(400, gl.groups.create, {"name": "Acme", "path": "acme"})
    eq(e.error_message, 'Failed to save group {:path=>["has already been taken"]}')
    top.description = "changed"
    top.save()
    eq(gl.groups.get(top.id).description, "changed")
    refused(403, reader.groups.create, {"name": "Nope", "path": "nope"})
    refused(404, reader.groups.get, have["sub"].id)
    refused(404, gl.groups.get, "no/such")


@test
def avatar():
    """avatar: uploaded as python-gitlab does it, read back byte by byte"""
    data = png.make("#ff8800", 24)
    gl.groups.update(have["top"].id, {"avatar": data})
    eq(gl.http_get("/groups/%d/avatar" % have["top"].id, raw=True).content, data)


@test
def labels():
    """labels: 250 of them over several pages, change, delete, 409 for an ancestor's title"""
    top, sub = have["top"], have["sub"]
    for i in range(250):
        top.labels.create({"name": "label %03d" % i, "color": "#%06x" % (i * 997), "description": "no. %d" % i})
    eq(len(every(top.labels, per_page=30)), 250)
    eq(len(every(sub.labels)), 250)
    eq(len(every(sub.labels, include_ancestor_groups=False)), 0)
    e = refused(409, sub.labels.create, {"name": "label 007", "color": "red"})
    eq(e.error_message, "Label already exists")
    x = [y for y in every(top.labels) if y.name == "label 007"][0]
    x.new_name, x.color = "renamed", "#00ff00"
    x.save()
    eq([y.color for y in every(top.labels) if y.name == "renamed"], ["#00ff00"])
    top.labels.delete("renamed")
    eq(len(every(top.labels)), 249)
    e = refused(400, top.labels.create, {"name": "a,b", "color": "red"})
    eq(e.error_message, {"title": ["is invalid"]})


@test
def milestones():
    """milestones: iid from the counter, close, dates, duplicate string"""
    sub = have["sub"]
    a = sub.milestones.create({"title": "v1", "description": "first", "due_date": "2031-02-01", "start_date": "2031-01-01"})
    b = sub.milestones.create({"title": "v2"})
    sub.milestones.delete(b.id)
    c = sub.milestones.create({"title": "v3"})
    eq((a.iid, b.iid, c.iid), (1, 2, 3))
    a.state_event = "close"
    a.save()
    eq(sub.milestones.get(a.id).state, "closed")
    e = refused(400, sub.milestones.create, {"title": "v1"})
    eq(e.error_message, 'Failed to create milestone {:title=>["already being used for another group or project milestone."]}')
    eq([m.title for m in every(sub.milestones, state="active")], ["v3"])


@test
def badges():
    """badges: equal ones twice, change, delete, blocked scheme"""
    top = have["top"]
    data = {"link_url": "https://x.example/%{project_path}", "image_url": "https://x.example/b.svg", "name": "b"}
    one, two = top.badges.create(data), top.badges.create(data)
    eq([b.id for b in every(top.badges)], [one.id, two.id])
    two.link_url = "https://y.example/"
    two.save()
    eq(top.badges.get(two.id).link_url, "https://y.example/")
    one.delete()
    eq(len(every(top.badges)), 1)
    refused(400, top.badges.create, {"link_url": "javascript:1", "image_url": "https://x.example/b.svg"})


@test
def boards():
    """boards and lists: create, move, duplicate, scope, delete"""
    top = have["top"]
    board = top.boards.create({"name": "Delivery"})
    ids = [y.id for y in every(top.labels)[:3]]
    lists = [board.lists.create({"label_id": i}) for i in ids]
    eq([x.position for x in lists], [0, 1, 2])
    e = refused(400, board.lists.create, {"label_id": ids[0]})
    eq(e.error_message, {"error": "Label has already been taken"})
    lists[2].position = 0
    lists[2].save()
    eq([x.label["id"] for x in every(board.lists)], [ids[2], ids[0], ids[1]])
    board.name, board.weight = "Delivery 2", 5
    board.save()
    got = top.boards.get(board.id)
    eq((got.name, got.weight, len(got.attributes["lists"])), ("Delivery 2", 5, 3))
    board.lists.delete(lists[0].id)
    top.boards.delete(board.id)
    eq(every(top.boards), [])


@test
def members():
    """members: add, change, inherited, 409, remove"""
    top, sub = have["top"], have["sub"]
    uid = gl.users.list(username="aiko.tanaka")[0].id
    m = top.members.create({"user_id": uid, "access_level": gitlab.const.DEVELOPER_ACCESS
                            if hasattr(gitlab.const, "DEVELOPER_ACCESS") else 30, "expires_at": "2090-05-06"})
    eq((m.access_level, m.expires_at), (30, "2090-05-06"))
    eq(refused(409, top.members.create, {"user_id": uid, "access_level": 30}).error_message, "Member already exists")
    e = refused(400, sub.members.create, {"user_id": uid, "access_level": 20})
    eq(list(e.error_message), ["access_level"])
    m.access_level = 40
    m.save()
    eq(top.members.get(uid).access_level, 40)
    refused(404, sub.members.get, uid)
    eq(sub.members_all.get(uid).access_level, 40)
    eq(sorted(x.username for x in every(sub.members_all)), ["aiko.tanaka", "ingrid.halden"])
    top.members.delete(uid)
    eq([x.username for x in every(top.members)], ["ingrid.halden"])
    refused(403, top.members.delete, gl.user.id)


@test
def users():
    """users: the mapping cases of the demo target"""
    eq([u.username for u in admin.users.list(search="emeka@halden.example")], ["emeka.obi"])
    eq(gl.users.list(search="emeka@halden.example"), [])
    eq([u.username for u in gl.users.list(search="freja@halden.example")], ["flund"])
    lena = admin.users.list(username="lena.schmidt")[0]
    eq(lena.confirmed_at, None)
    eq(admin.users.get(lena.id).email, "lena@halden.example")
    eq(gl.users.list(username="joana.silva"), [])


@test
def sudo():
    """sudo through python-gitlab"""
    eq(admin.http_get("/user", sudo="chiara.rossi")["username"], "chiara.rossi")
    refused(403, gl.http_get, "/user", sudo="chiara.rossi")


@test
def obey():
    """429 with Retry-After is waited out by the client"""
    sim.control("POST", "faults", [{"match": {"path": "/version$"},
                                    "do": {"status": 429, "headers": {"Retry-After": 1}, "body": "Retry later\n"}}])
    t = time.monotonic()
    eq(client("owner").http_get("/version")["version"], "17.8.1-ee")
    assert time.monotonic() - t >= 1


@test
def delete():
    """deleting a group is asynchronous"""
    sim.control("POST", "config", {"tier": "free"})
    gl.groups.delete(have["top"].id)
    time.sleep(0.3)
    refused(404, gl.groups.get, "acme")
    eq(sim.dump()["labels"], [])
    sim.control("POST", "config", {"tier": "premium"})


code = test.run()
code = 1 if sim.stop() else code
sys.exit(code)
