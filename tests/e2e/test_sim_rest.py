#!/usr/bin/python3
"""The REST side of the simulator: rules, oddities, error bodies, headers, tokens."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim import png  # noqa: E402
from glsim.testing import SIM_DIR, Sim, Tap, eq  # noqa: E402

DEMO = os.path.join(SIM_DIR, "demo_tree.json")
test = Tap()
sim = Sim("--seed", DEMO)
FW = "/groups/halden-instruments%2Ffirmware"


def expect(answer, status, body=None):
    eq(answer[0], status, "status of %r" % (answer[1],))
    if body is not None:
        eq(answer[1], body, "body")
    return answer[1]


@test
def auth():
    """tokens: missing, bad, expired, revoked, too narrow, Bearer form"""
    expect(sim.get("/user", token=None), 401, {"message": "401 Unauthorized"})
    expect(sim.get("/user", token="glpat-nonsense"), 401, {"message": "401 Unauthorized"})
    eq(expect(sim.get("/user", token="expired"), 401)["error"], "invalid_token")
    eq(expect(sim.get("/user", token="revoked"), 401)["error"], "invalid_token")
    e = expect(sim.get("/groups", token="noscope"), 403)
    eq((e["error"], e["scope"]), ("insufficient_scope", "api read_api"))
    eq(expect(sim.get("/user", token="noscope"), 200)["username"], "ingrid.halden")
    eq(expect(sim.post("/groups", {}, token="reader"), 403)["scope"], "api")
    eq(expect(sim.get("/user", token=None, headers={"Authorization": "Bearer " + sim.tokens["admin"]}), 200)["is_admin"], True)
    t = expect(sim.get("/personal_access_tokens/self", token="noscope"), 200)
    eq((t["scopes"], t["active"]), (["read_user"], True))
    if "is_admin" in expect(sim.get("/user"), 200):
        raise AssertionError("is_admin is shown to a plain user")


@test
def sudo():
    """sudo: as another user, refused without admin or without the scope, unknown user"""
    eq(expect(sim.get("/user", token="admin", headers={"Sudo": "freja.lund"}), 200)["username"], "freja.lund")
    eq(expect(sim.get("/user?sudo=12", token="admin"), 404)["message"], "404 User with ID or username '12' Not Found")
    expect(sim.get("/user", headers={"Sudo": "root"}), 403, {"message": "403 Forbidden - Must be admin to use sudo"})
    eq(expect(sim.get("/user", token="nosudo", headers={"Sudo": "freja.lund"}), 403)["scope"], "sudo")
    expect(sim.post("/groups/40/badges", {"link_url": "http://a/b", "image_url": "http://a/b"}, token="admin",
                    headers={"Sudo": "nils.berg"}), 403, {"message": "403 Forbidden"})
    eq(sim.log()[-1]["sudo"], "nils.berg")
    eq(sim.log()[-1]["user"], "root")


@test
def routes():
    """unknown route, wrong method, broken body, missing and wrong parameters"""
    expect(sim.get("/nothing/here"), 404, {"error": "404 Not Found"})
    expect(sim.call("PATCH", "/groups/40"), 405, {"error": "405 Not Allowed"})
    expect(sim.post("/groups", {}), 400, {"error": "name is missing, path is missing"})
    expect(sim.call("POST", "/groups", b"{", headers={"Content-Type": "application/json"}), 400)
    for text in (b'{"name":"a\\u0000b","color":"red"}', b'{"name":"a\\ud800b","color":"red"}'):
        expect(sim.call("POST", "/groups/40/labels", text, headers={"Content-Type": "application/json"}), 400,
               {"error": "400 Bad Request"})
    big = 10 ** 30
    expect(sim.get("/groups?page=%d" % big), 400, {"error": "page is invalid"})
    expect(sim.get("/groups/%d" % big), 404)
    expect(sim.get("/groups/40/milestones/%d" % big), 404)
    expect(sim.post("/groups/40/members", {"user_id": big, "access_level": 10}), 404)
    expect(sim.post("/groups/40/boards/1/lists", {"label_id": big}), 400)
    expect(sim.get("/groups?page=x"), 400, {"error": "page is invalid"})
    expect(sim.get("/groups?per_page=0"), 400, {"error": "per_page has a value not allowed"})
    expect(sim.post("/groups", {"name": "a", "path": "aa", "visibility": "secret"}), 400,
           {"error": "visibility does not have a valid value"})
    expect(sim.get("/groups/nobody"), 404, {"message": "404 Group Not Found"})
    s, h, _ = sim.raw("GET", "/api/v4/version")
    assert h["X-Request-Id"], "no X-Request-Id"


@test
def paging():
    """paging headers, Link, more than 100 per page, empty last page"""
    s, h, _ = sim.raw("GET", "/api/v4/groups/40/labels?per_page=10&page=2")
    eq((h["X-Page"], h["X-Prev-Page"], h["X-Next-Page"], h["X-Total"], h["X-Total-Pages"], h["X-Per-Page"]),
       ("2", "1", "3", "24", "3", "10"))
    links = dict(reversed(x.split("; ")) for x in h["Link"].split(", "))
    eq(sorted(links), ['rel="first"', 'rel="last"', 'rel="next"', 'rel="prev"'])
    assert "page=3" in links['rel="next"'] and "private_token" not in h["Link"]
    s, h, _ = sim.raw("GET", "/api/v4/groups/40/labels?per_page=500")
    eq((h["X-Per-Page"], h["X-Next-Page"]), ("100", ""))
    assert 'rel="next"' not in h["Link"]
    s, h, b = sim.raw("GET", "/api/v4/groups/40/labels?per_page=24&page=2")
    eq((b, h["X-Next-Page"], h["X-Total"]), (b"[]", "", "24"))


@test
def offset_limit():
    """offset limit: 405 for anonymous GET /groups only, keyset instead"""
    expect(sim.get("/groups?page=600&per_page=100", token=None), 405)
    expect(sim.get("/groups?page=600&per_page=100"), 200)
    sim.put("/groups/40", {"visibility": "public"})
    s, h, b = sim.raw("GET", "/api/v4/groups?pagination=keyset&order_by=name&sort=asc", token=None)
    eq((s, h["Link"], h["X-Total"]), (200, None, None))
    sim.put("/groups/40", {"visibility": "internal"})


@test
def group_visibility():
    """subgroups and descendants of a group one is no member of need all_available"""
    eq(len(expect(sim.get("/groups/40/subgroups"), 200)), 3)
    eq(len(expect(sim.get("/groups/40/descendant_groups?per_page=100"), 200)), 7)
    outsider = {"token": "admin", "headers": {"Sudo": "joana.silva"}}
    sim.delete("/groups/42/members/%d" % uid("joana.silva"), token="admin")
    eq(expect(sim.get("/groups/40/subgroups", **outsider), 200), [])
    eq([g["path"] for g in expect(sim.get("/groups/40/subgroups?all_available=true", **outsider), 200)], ["cloud-platform"])
    expect(sim.get("/groups/41", **outsider), 404, {"message": "404 Group Not Found"})
    expect(sim.get("/groups/40", token=None), 404)


def uid(name):
    return sim.get("/users?username=" + name, token="admin")[1][0]["id"]


@test
def group_create():
    """groups: creator is Owner, duplicate path is a string message, names, paths, reserved words, visibility"""
    g = expect(sim.post("/groups", {"name": "New", "path": "new-one", "visibility": "internal", "description": "d",
                                    "created_at": "2001-01-01T00:00:00Z", "id": 9}), 201)
    assert g["created_at"] > "2025" and g["id"] != 9, "created_at and id must not be settable"
    assert g["runners_token"], "an Owner sees runners_token"
    m = expect(sim.get("/groups/%d/members" % g["id"]), 200)
    eq([(x["username"], x["access_level"]) for x in m], [("ingrid.halden", 50)])
    expect(sim.post("/groups", {"name": "New", "path": "NEW-one"}), 400,
           {"message": 'Failed to save group {:path=>["has already been taken"]}'})
    sim.control("POST", "config", {"version": "18.4.0-ee"})
    expect(sim.post("/groups", {"name": "New", "path": "new-one"}), 400,
           {"message": 'Failed to save group {path: ["has already been taken"]}'})
    sim.control("POST", "config", {"version": "17.8.1-ee"})
    for path in ("-x", "a.git", "a.", "a--", "b", "sp ace", "dashboard", "a__.b"):
        s, b = sim.post("/groups", {"name": "X", "path": path})
        eq(s, 400, "path %r" % path)
        assert ":path=>" in b["message"], b
    assert ":name=>" in expect(sim.post("/groups", {"name": "(x", "path": "okay"}), 400)["message"]
    assert ":name=>" in expect(sim.post("/groups", {"name": "a/b", "path": "okay"}), 400)["message"]
    e = expect(sim.post("/groups", {"name": "S", "path": "sub", "parent_id": g["id"], "visibility": "public"}), 400)
    assert "public is not allowed since the parent group has a internal visibility." in e["message"], e
    sub = expect(sim.post("/groups", {"name": "S", "path": "sub", "parent_id": g["id"], "visibility": "internal"}), 201)
    eq((sub["full_path"], sub["parent_id"]), ("new-one/sub", g["id"]))
    e = expect(sim.put("/groups/%d" % g["id"], {"visibility": "private"}), 400)
    eq(list(e["message"]), ["visibility_level"])
    expect(sim.put("/groups/%d" % sub["id"], {"path": "sub2", "name": "Sub 2"}), 200)
    expect(sim.get("/groups/new-one%2Fsub"), 404)
    eq(expect(sim.get("/groups/new-one%2Fsub2?with_projects=false"), 200)["full_name"], "New / Sub 2")
    other = expect(sim.post("/groups", {"name": "Odd parent", "path": "odd-parent", "parent_id": "xyz"}), 201)
    eq(other["parent_id"], None)
    expect(sim.post("/groups", {"name": "T", "path": "tt", "parent_id": 40}, token="maintainer"), 403,
           {"message": "403 Forbidden"})
    expect(sim.put("/groups/40", {"description": "x"}, token="maintainer"), 403)
    if "runners_token" in expect(sim.get("/groups/40", token="reader"), 200):
        raise AssertionError("runners_token is shown to a reader")


@test
def group_depth():
    """a group may have at most 20 ancestors"""
    parent = None
    for i in range(21):
        body = {"name": "d%d" % i, "path": "depth-%d" % i}
        if parent:
            body["parent_id"] = parent
        parent = expect(sim.post("/groups", body), 201)["id"]
    e = expect(sim.post("/groups", {"name": "deep", "path": "deep", "parent_id": parent}), 400)
    assert "has too deep level of nesting" in e["message"], e


@test
def settings():
    """group settings: POST and PUT only ones, unknown ignored, cascades"""
    g = expect(sim.post("/groups", {"name": "Set", "path": "settings", "math_rendering_limits_enabled": False,
                                    "lfs_enabled": False, "no_such_thing": 1}), 201)
    eq((g["math_rendering_limits_enabled"], g["lfs_enabled"]), (True, False))
    gid = "/groups/%d" % g["id"]
    eq(expect(sim.put(gid, {"math_rendering_limits_enabled": False}), 200)["math_rendering_limits_enabled"], False)
    sub = expect(sim.post("/groups", {"name": "c", "path": "child", "parent_id": g["id"]}), 201)
    expect(sim.put(gid, {"shared_runners_setting": "disabled_and_unoverridable", "share_with_group_lock": True}), 200)
    c = expect(sim.get("/groups/%d" % sub["id"]), 200)
    eq((c["shared_runners_setting"], c["share_with_group_lock"]), ("disabled_and_unoverridable", True))
    e = expect(sim.put("/groups/%d" % sub["id"], {"shared_runners_setting": "enabled"}), 400)
    eq(list(e["message"]), ["shared_runners_enabled"])
    expect(sim.put(gid, {"project_creation_level": None}), 400, {"error": "project_creation_level does not have a valid value"})
    e = expect(sim.put(gid, {"description": "x" * 3000}), 400)
    eq(list(e["message"]), ["description"])


def multipart(name, filename, ctype, data):
    b = b"----sim"
    return (b"--" + b + b'\r\nContent-Disposition: form-data; name="' + name.encode() + b'"; filename="' + filename.encode()
            + b'"\r\nContent-Type: ' + ctype.encode() + b"\r\n\r\n" + data + b"\r\n--" + b + b"--\r\n",
            {"Content-Type": "multipart/form-data; boundary=" + b.decode()})


@test
def avatars():
    """avatars: upload, read back, remove, wrong type, too big"""
    data = png.make("teal", 20)
    body, head = multipart("avatar", "team.png", "image/png", data)
    s, b = sim.call("PUT", "/groups/43", body, headers=head)
    expect((s, b), 200)
    assert b["avatar_url"].endswith("/43/team.png"), b["avatar_url"]
    s, h, got = sim.raw("GET", "/api/v4/groups/43/avatar", token="reader")
    eq((s, got, h["Content-Type"]), (200, data, "image/png"))
    for name, blob in (("x.txt", data), ("x.png", b"no picture"), ("x.png", data + b"\0" * 205000)):
        body, head = multipart("avatar", name, "image/png", blob)
        eq(list(expect(sim.call("PUT", "/groups/43", body, headers=head), 400)["message"]), ["avatar"])
    expect(sim.call("PUT", "/groups/43", b"avatar=", headers={"Content-Type": "application/x-www-form-urlencoded"}), 200)
    expect(sim.get("/groups/43/avatar"), 404, {"message": "404 Avatar Not Found"})
    eq(sim.log()[-3]["body"]["avatar"], {"file": "x.png", "size": len(data) + 205000})


@test
def deletion():
    """deleting: 202, gone a moment later; from 18.0 on renamed and restorable"""
    sim.control("POST", "config", {"tier": "free", "delete_delay_ms": 150})
    g = expect(sim.post("/groups", {"name": "Del", "path": "del"}), 201)
    expect(sim.delete("/groups/del"), 202, {"message": "202 Accepted"})
    expect(sim.get("/groups/del"), 200)
    time.sleep(0.25)
    expect(sim.get("/groups/del"), 404)
    sim.control("POST", "config", {"version": "18.2.0-ee"})
    g = expect(sim.post("/groups", {"name": "Del", "path": "del"}), 201)
    expect(sim.delete("/groups/%d" % g["id"]), 202)
    g2 = expect(sim.get("/groups/%d" % g["id"]), 200)
    eq(g2["full_path"], "del-deletion_scheduled-%d" % g["id"])
    assert g2["marked_for_deletion_on"]
    eq(expect(sim.post("/groups/%d/restore" % g["id"]), 201)["full_path"], "del")
    sub = expect(sim.post("/groups", {"name": "Sub", "path": "sub", "parent_id": g["id"]}), 201)
    expect(sim.delete("/groups/%d?permanently_remove=true&full_path=del/sub" % sub["id"]), 400)
    expect(sim.delete("/groups/%d" % sub["id"]), 202)
    full = expect(sim.get("/groups/%d" % sub["id"]), 200)["full_path"]
    expect(sim.delete("/groups/%d?permanently_remove=true&full_path=del/sub" % sub["id"]), 400)
    expect(sim.delete("/groups/%d?permanently_remove=true&full_path=%s" % (sub["id"], full)), 202)
    time.sleep(0.25)
    expect(sim.get("/groups/%d" % sub["id"]), 404)
    expect(sim.post("/groups/%d/archive" % g["id"]), 201)
    expect(sim.post("/groups/%d/labels" % g["id"], {"name": "x", "color": "red"}), 403)
    expect(sim.post("/groups/%d/unarchive" % g["id"]), 201)
    sim.control("POST", "config", {"tier": "premium", "version": "17.8.1-ee"})


@test
def labels():
    """labels: ancestor 409, defaults of the list, colours, titles, numeric titles, old forms"""
    own = expect(sim.get("/groups/43/labels?include_ancestor_groups=false&per_page=100"), 200)
    every = expect(sim.get("/groups/43/labels?per_page=100"), 200)
    eq((len(own), len(every)), (10, 34))
    assert "created_at" not in own[0], "REST labels have no timestamps"
    expect(sim.post(FW + "/labels", {"name": "audit", "color": "#fff"}), 409, {"message": "Label already exists"})
    x = expect(sim.post(FW + "/labels", {"name": "  fresh ", "color": "#ABC", "description": None}), 201)
    eq((x["name"], x["color"]), ("fresh", "#aabbcc"))
    eq(expect(sim.post(FW + "/labels", {"name": "named", "color": "RebeccaPurple"}), 201)["color"], "#663399")
    expect(sim.post(FW + "/labels", {"name": "a,b", "color": "red"}), 400, {"message": {"title": ["is invalid"]}})
    expect(sim.post(FW + "/labels", {"name": "ab", "color": "rad"}), 400, {"message": {"color": ["must be a valid color code"]}})
    expect(sim.post(FW + "/labels", {"name": "ab"}), 400, {"error": "color is missing"})
    # the label titled 42 has another id; id 42 belongs to somebody else
    first = expect(sim.get("/groups/40/labels/14"), 200)
    eq(first["name"], "42")
    eq(expect(sim.get("/groups/40/labels/42"), 200)["name"], "42")
    other = expect(sim.post("/groups/40/labels", {"name": "1", "color": "red"}), 201)
    eq(expect(sim.get("/groups/40/labels/1"), 200)["id"], 1)
    assert other["id"] != 1
    expect(sim.put(FW + "/labels/audit", {"color": "red"}), 404, {"message": "404 Label Not Found"})
    expect(sim.put(FW + "/labels/fresh", {}), 400)
    eq(expect(sim.put(FW + "/labels/fresh", {"new_name": "fresher"}), 200)["name"], "fresher")
    expect(sim.put(FW + "/labels/fresher", {"new_name": "rtos"}), 400, {"message": {"title": ["has already been taken"]}})
    expect(sim.delete(FW + "/labels/fresher"), 204)
    expect(sim.post(FW + "/labels", {"name": "q", "color": "red"}, token="reader"), 403)


@test
def members():
    """members: 409, inherited level, dates, last Owner, all, removal below"""
    eq(expect(sim.get("/groups/44/members/%d" % uid("tomasz.wolny")), 404), {"message": "404 Not found"})
    eq(expect(sim.get("/groups/44/members/all/%d" % uid("tomasz.wolny")), 200)["access_level"], 40)
    assert "public_email" not in expect(sim.get("/groups/40/members"), 200)[0]
    m = "/groups/43/members"
    expect(sim.post(m, {"user_id": uid("hana.novakova"), "access_level": 40}), 409, {"message": "Member already exists"})
    expect(sim.post(m, {"user_id": 999999, "access_level": 40}), 404, {"message": "404 User Not Found"})
    expect(sim.post(m, {"access_level": 40}), 400,
           {"error": "user_id, username are missing, exactly one parameter must be provided"})
    expect(sim.post(m, {"username": "chiara.rossi", "access_level": 33}), 400, {"error": "access_level does not have a valid value"})
    expect(sim.post(m, {"username": "tomasz.wolny", "access_level": 30}), 400, {"message": {"access_level": [
        "should be greater than or equal to Maintainer inherited membership from group Halden Instruments"]}})
    expect(sim.post(m, {"username": "chiara.rossi", "access_level": 30, "expires_at": "2020-01-01"}), 400,
           {"message": {"expires_at": ["cannot be a date in the past"]}})
    x = expect(sim.post(m, {"username": "chiara.rossi", "access_level": 30, "expires_at": "2099-01-01",
                            "created_at": "2001-01-01"}), 201)
    eq((x["expires_at"], x["created_by"]["username"]), ("2099-01-01", "ingrid.halden"))
    assert x["created_at"] > "2025"
    eq(expect(sim.put(m + "/%d" % x["id"], {"access_level": 40, "expires_at": ""}), 200)["expires_at"], None)
    expect(sim.put("/groups/40/members/%d" % uid("ingrid.halden"), {"access_level": 10}), 403)
    expect(sim.delete("/groups/40/members/%d" % uid("ingrid.halden")), 403)
    expect(sim.delete(m + "/%d" % x["id"]), 204)
    aiko = uid("aiko.tanaka")
    expect(sim.delete("/groups/41/members/%d?skip_subresources=true" % aiko), 204)
    expect(sim.get("/groups/44/members/%d" % aiko), 200)
    expect(sim.delete("/groups/40/members/%d" % aiko), 204)
    expect(sim.get("/groups/44/members/%d" % aiko), 404)
    levels = [u["access_level"] for u in expect(sim.get("/groups/42/members/all?per_page=100"), 200)
              if u["username"] == "tomasz.wolny"]
    eq(levels, [50], "members/all shows a user once, with the highest role")
    expect(sim.post(m, {"username": "chiara.rossi", "access_level": 30}, token="maintainer"), 403)


@test
def users():
    """users: public address for everybody, private ones for admins, search by full address"""
    u = expect(sim.get("/users/%d" % uid("chiara.rossi"), token="reader"), 200)
    eq(u["public_email"], "chiara.rossi@halden.example")
    assert "confirmed_at" not in u and "email" not in u
    eq(len(expect(sim.get("/users?search=dalia.cohen@halden.example"), 200)), 0)
    full = expect(sim.get("/users?search=dalia.cohen@halden.example", token="admin"), 200)
    eq((full[0]["username"], bool(full[0]["confirmed_at"])), ("dalia.cohen", True))
    eq(len(expect(sim.get("/users?search=chiara.rossi@halden.example"), 200)), 1)
    eq(expect(sim.get("/users?username=GORAN.petrovic"), 200)[0]["state"], "blocked")
    expect(sim.get("/users/%d/emails" % u["id"]), 403)
    t = expect(sim.post("/users/%d/impersonation_tokens" % u["id"], {"name": "x", "scopes": ["api"]}, token="admin"), 201)
    eq(expect(sim.get("/user", token=t["token"]), 200)["username"], "chiara.rossi")
    expect(sim.delete("/users/%d/impersonation_tokens/%d" % (u["id"], t["id"]), token="admin"), 204)
    expect(sim.get("/user", token=t["token"]), 401)


@test
def milestones():
    """milestones: counters never reuse, hierarchy-wide titles, dates, state events, error strings"""
    g = "/groups/45/milestones"
    a = expect(sim.post(g, {"title": "one", "iid": 77, "state": "closed"}), 201)
    eq((a["iid"], a["state"]), (10, "active"))
    expect(sim.delete(g + "/%d" % a["id"]), 204)
    a = expect(sim.post(g, {"title": "one", "due_date": "2030-01-02", "start_date": "2030-01-01"}), 201)
    eq(a["iid"], 11)
    text = 'Failed to create milestone {:title=>["already being used for another group or project milestone."]}'
    expect(sim.post(g, {"title": "one"}), 400, {"message": text})
    expect(sim.post("/groups/40/milestones", {"title": "one"}), 400, {"message": text})
    expect(sim.post("/groups/42/milestones", {"title": "one"}), 201)
    sim.control("POST", "config", {"milestone_hierarchy_unique": False})
    expect(sim.post("/groups/40/milestones", {"title": "one"}), 201)
    sim.control("POST", "config", {"milestone_hierarchy_unique": None})
    e = expect(sim.post(g, {"title": "x", "due_date": "2030-01-02", "start_date": "2030-01-02"}), 400)
    assert "must be greater than start date" in e["message"], e
    expect(sim.put(g + "/%d" % a["id"], {}), 400)
    eq(expect(sim.put(g + "/%d" % a["id"], {"state_event": "close"}), 200)["state"], "closed")
    eq([x["title"] for x in expect(sim.get(g + "?title=one"), 200)], ["one"])
    eq(expect(sim.get(g + "?iids[]=11"), 200)[0]["id"], a["id"])
    expect(sim.get(g + "/999999"), 404, {"message": "404 Not found"})
    eq(len(expect(sim.get(g), 200)), 7)
    eq(len(expect(sim.get(g + "?include_ancestors=true&per_page=100"), 200)), 7 + 10 + 8)
    last = max(x["updated_at"] for x in expect(sim.get(g), 200))
    eq(len(expect(sim.get(g + "?updated_after=" + last), 200)), 1)
    sim.control("POST", "config", {"version": "15.9.0-ee"})
    eq(len(expect(sim.get(g + "?updated_after=" + last), 200)), 7, "the parameter is not known before 15.10")
    sim.control("POST", "config", {"version": "17.8.1-ee"})
    sim.control("POST", "config", {"sanitize_milestone_titles": True})
    eq(expect(sim.post(g, {"title": " <b>bold</b> &amp; "}), 201)["title"], "bold &")
    sim.control("POST", "config", {"sanitize_milestone_titles": False})


@test
def badges():
    """badges: equal ones allowed, order of creation, placeholders, blocked schemes, Owner only"""
    g = "/groups/44/badges"
    x = {"link_url": "https://a.example/%{project_path}", "image_url": "https://a.example/%{group_name}.svg", "name": "n"}
    one, two = expect(sim.post(g, x), 201), expect(sim.post(g, x), 201)
    eq((two["link_url"], two["rendered_image_url"], two["kind"]), (x["link_url"], "https://a.example/Bootloader.svg", "group"))
    eq([b["id"] for b in expect(sim.get(g), 200)][-2:], [one["id"], two["id"]])
    eq(len(expect(sim.get(g + "?name=n"), 200)), 2)
    expect(sim.post(g, {"link_url": "ftp://x", "image_url": "https://x"}), 400,
           {"message": {"link_url": ["is blocked: Only allowed schemes are http, https"]}})
    expect(sim.post(g, {"link_url": "http://x"}), 400, {"error": "image_url is missing"})
    expect(sim.post(g, x, token="maintainer"), 403)
    expect(sim.delete(g + "/%d" % one["id"]), 204)
    expect(sim.get(g + "/%d" % one["id"]), 404)


@test
def boards():
    """boards: lists are appended, duplicates refused, hidden lists hidden, scope by PUT"""
    g = "/groups/44/boards"
    b = expect(sim.post(g, {"name": "Fresh"}), 201)
    eq(b["lists"], [])
    one = expect(sim.post(g + "/%d/lists" % b["id"], {"label_id": 1}), 201)
    two = expect(sim.post(g + "/%d/lists" % b["id"], {"label_id": 2}), 201)
    eq((one["position"], two["position"]), (0, 1))
    expect(sim.post(g + "/%d/lists" % b["id"], {"label_id": 2}), 400, {"message": {"error": "Label has already been taken"}})
    expect(sim.post(g + "/%d/lists" % b["id"], {"label_id": 999999}), 400, {"message": {"error": "Label not found"}})
    expect(sim.post(g + "/%d/lists" % b["id"], {"label_id": 1, "assignee_id": 1}), 400)
    expect(sim.put(g + "/%d/lists/%d" % (b["id"], two["id"]), {"position": 0}), 200)
    eq([x["id"] for x in expect(sim.get(g + "/%d/lists" % b["id"]), 200)], [two["id"], one["id"]])
    x = expect(sim.put(g + "/%d" % b["id"], {"name": "F2", "labels": "audit,brand new", "weight": 4, "hide_backlog_list": True,
                                             "milestone_id": -2}), 200)
    eq((x["name"], x["weight"], x["milestone"]["title"], [y["name"] for y in x["labels"]]), ("F2", 4, "Upcoming", ["audit", "brand new"]))
    expect(sim.put(g + "/%d" % b["id"], {}), 400)
    expect(sim.put(g + "/%d" % b["id"], {"weight": 10}), 400)
    expect(sim.delete(g + "/%d/lists/%d" % (b["id"], two["id"])), 204)
    eq(expect(sim.get(g + "/%d/lists" % b["id"]), 200)[0]["position"], 0)
    expect(sim.delete(g + "/%d" % b["id"]), 204)


@test
def boards_free():
    """boards without a licence: no POST, one board, made when the page is opened"""
    sim.control("POST", "config", {"tier": "free"})
    expect(sim.post("/groups/47/boards", {"name": "x"}), 403, {"message": "403 Forbidden"})
    eq(len(expect(sim.get("/groups/41/boards"), 200)), 1)
    g = expect(sim.post("/groups", {"name": "Bare", "path": "bare"}), 201)
    eq(expect(sim.get("/groups/bare/boards"), 200), [])
    sim.control("POST", "open_boards_page", {"group": "bare"})
    eq([b["name"] for b in expect(sim.get("/groups/bare/boards"), 200)], ["Development"])
    b = expect(sim.get("/groups/bare/boards"), 200)[0]
    e = expect(sim.post("/groups/bare/boards/%d/lists" % b["id"], {"assignee_id": 1}), 400)
    assert "not available" in e["message"]["error"], e
    assert "weight" not in b
    sim.control("POST", "config", {"version": "17.8.1"})
    expect(sim.post("/groups/%d/boards" % g["id"], {"name": "x"}), 404, {"error": "404 Not Found"})
    sim.control("POST", "config", {"version": "17.8.1-ee", "tier": "premium"})


@test
def rate_limit():
    """rate limit: headers, then 429 in plain text with Retry-After"""
    sim.control("POST", "config", {"rate_limit": 3})
    for left in ("2", "1", "0"):
        s, h, _ = sim.raw("GET", "/api/v4/version")
        eq((s, h["RateLimit-Limit"], h["RateLimit-Remaining"]), (200, "3", left))
    s, h, b = sim.raw("GET", "/api/v4/version")
    eq((s, b, h["Content-Type"]), (429, b"Retry later\n", "text/plain"))
    assert 0 < int(h["Retry-After"]) <= 61
    sim.control("POST", "config", {"rate_limit": 0, "app_rate_limits": {"GET /version": 1}})
    expect(sim.get("/version"), 200)
    assert "error" in expect(sim.get("/version"), 429)["message"]
    sim.control("POST", "config", {"app_rate_limits": {}})


@test
def misc():
    """version, metadata, namespaces, custom attributes, sharing"""
    eq(expect(sim.get("/version"), 200)["version"], "17.8.1-ee")
    eq(expect(sim.get("/metadata"), 200)["enterprise"], True)
    eq(expect(sim.get("/namespaces/firmware/exists?parent_id=40"), 200), {"exists": True, "suggests": ["firmware1"]})
    eq(expect(sim.get("/namespaces/unheard-of/exists"), 200), {"exists": False, "suggests": []})
    expect(sim.put("/groups/40/custom_attributes/replay_id", {"value": "abc"}), 403)
    expect(sim.put("/groups/40/custom_attributes/replay_id", {"value": "abc"}, token="admin"), 200)
    eq([g["id"] for g in expect(sim.get("/groups?custom_attributes[replay_id]=abc", token="admin"), 200)], [40])
    expect(sim.post("/groups/42/share", {"group_id": 43, "group_access": 20}), 201)
    expect(sim.post("/groups/42/share", {"group_id": 43, "group_access": 20}), 409)
    eq(expect(sim.get("/groups/42"), 200)["shared_with_groups"][0]["group_full_path"], "halden-instruments/quality-assurance")


@test
def the_log():
    """the log holds every request, and never a token"""
    lines = sim.log()
    eq([x["n"] for x in lines], list(range(1, len(lines) + 1)))
    eq(set(lines[0]), {"n", "t", "unix", "method", "path", "query", "user", "status", "sudo", "bytes_in", "bytes_out", "ms",
                       "fault", "body", "req_id"})
    sim.get("/version?private_token=" + sim.tokens["admin"], token=None)
    text = sim.control("GET", "log")
    eq(b"glpat" in text.split(b"impersonation_tokens")[0], False, "token in the log")
    eq(sim.log()[-1]["query"], {})
    assert any(x["body"] == {"name": "Fresh"} for x in lines), "the body is in the log"


code = test.run()
if sim.stop() != 0:
    print("# the simulator did not exit cleanly")
    code = 1
sys.exit(code)
