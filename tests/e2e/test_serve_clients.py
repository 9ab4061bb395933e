#!/usr/bin/python3
"""`replay serve` beside stock clients: curl, python3-gitlab, ruby-graphlient; what it refuses; many at once; --drive."""
import concurrent.futures
import gzip
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

sys.path.insert(0, os.path.join(gstest.TOP, "tests/sim"))
from glimport import direct  # noqa: E402
from gsserve import LABELS, TREE, Serve, certificate, group  # noqa: E402

t = gstest.Tap()


def refusals(d, key):
    def serve(*args, bundle="b.gsnap"):
        try:
            return gstest.replay("serve", bundle, "--trust", key + ".pub", *args, cwd=d, timeout=20)
        except subprocess.TimeoutExpired:
            return gstest.Result(-1, "", "it serves", 20)
    version = ("--source-version", "17.8.1-ee")
    for args, code, name in (
            (("--listen", "0.0.0.0:0", *version), 2, "http-plain"), (("--listen", "8080", *version), 2, "usage"), (("--listen", "::1:0", *version), 2, "usage"),
            (("--listen", "127.0.0.1:0"), 2, "usage"), (("--listen", "127.0.0.1:0", "--source-version", "13.12.0"), 2, "usage"),
            (("--listen", "127.0.0.1:0", "--tls-cert", "cert.pem", *version), 2, "usage"),
            (("--listen", "127.0.0.1:0", "--tls-cert", "cert.pem", "--tls-key", "other.pem", *version), 10, "tls"),
            (("--listen", "127.0.0.1:0", "--tls-cert", "gone.pem", "--tls-key", "key.pem", *version), 10, "file-not-found"),
            (("--listen", "127.0.0.1:0", "--token-file", "short", *version), 2, "usage"),
            (("--listen", "192.0.2.1:0", "--allow-http", *version), 1, "io")):
        r = serve(*args)
        t.ok(r.code == code and f"[{name}]" in r.err, f"refused: {' '.join(args[:4])}", str(r))
    data = bytearray(open(os.path.join(d, "b.gsnap"), "rb").read())
    data[data.rindex(b"\x28\xb5\x2f\xfd") + 30] ^= 1
    with open(os.path.join(d, "bad.gsnap"), "wb") as f:
        f.write(data)
    r = serve("--listen", "127.0.0.1:0", *version, bundle="bad.gsnap")
    t.ok(r.code == 20 and not os.path.exists(os.path.join(d, "bad.gsnap.token")), "refused: a damaged bundle, before anything is opened or made", str(r))


def stock(d, s):
    url = f"http://127.0.0.1:{s.port}/api/v4"

    def curl(*args):
        return subprocess.run(["curl", "-s", "-o", "curl.out", "-w", "%{http_code} %{content_type}", *args], cwd=d, capture_output=True, text=True).stdout
    for how in (("-H", f"PRIVATE-TOKEN: {s.token}"), ("-H", f"Authorization: Bearer {s.token}"), ("-G", "-d", f"private_token={s.token}")):
        t.is_eq(curl(*how, url + "/version"), "200 application/json", f"curl with a token: {how[0]} {how[1].split(' ')[0]}")
    for how in ((), ("-H", f"PRIVATE-TOKEN: {s.token[:-1]}"), ("-H", f"PRIVATE-TOKEN: {s.token}x"), ("-H", "PRIVATE-TOKEN;"), ("-H", f"Authorization: Basic {s.token}"),
                ("-H", f"Authorization: Bearer {s.token.upper()}"), ("-G", "-d", "private_token=")):
        t.is_eq(curl(*how, url + "/version")[:3], "401", "refused: " + " ".join(how).replace(s.token, "TOKEN")[:40])
    got = curl("-H", f"PRIVATE-TOKEN: {s.token}", url + "/groups/team/export_relations/download?relation=labels")
    t.is_eq(got, "200 application/gzip", "curl downloads a relation, of the exact type")
    lines = [json.loads(x) for x in gzip.decompress(open(os.path.join(d, "curl.out"), "rb").read()).splitlines()]
    t.ok(lines == LABELS, "line by line what is in the bundle")
    for relation in ("milestones", "boards", "epics", "iterations_cadences", "namespace_settings", "uploads"):
        status, head, data = s.get(f"/api/v4/groups/10/export_relations/download?relation={relation}")
        plain = gzip.decompress(data)
        t.ok(status == 200 and data and (plain == b"" or (relation == "uploads" and set(plain[512:]) == {0})), f"{relation}, of which there are none: an empty file that is gzip")
    got = [json.loads(x) for n in range(1, 4) for x in
           gzip.decompress(s.get(f"/api/v4/groups/10/export_relations/download?relation=labels&batched=true&batch_number={n}")[2]).splitlines()]
    t.ok(got == LABELS, "in three batches as well")
    for query, want in (("relation=labels&batched=true", 400), ("relation=labels&batch_number=1", 400), ("relation=labels&batched=true&batch_number=4", 404),
                        ("relation=labels&batched=true&batch_number=x", 400), ("relation=nonsense", 404), ("", 400), ("relation=self&batched=true&batch_number=1", 400)):
        t.is_eq(s.get("/api/v4/groups/10/export_relations/download?" + query)[0], want, f"download?{query}: {want}")
    t.is_eq([s.get(f"/api/v4/groups/{x}/export_relations/status")[0] for x in ("10", "team", "team%2Fsub11", "TEAM", "11", "99", "team%2Fgone", "team/sub11")],
            [200, 200, 200, 200, 200, 404, 404, 404], "groups by id and by encoded path")
    try:
        import gitlab
    except ImportError:
        t.skip("python3-gitlab", "not installed")
    else:
        gl = gitlab.Gitlab(f"http://127.0.0.1:{s.port}", private_token=s.token)
        t.is_eq([g.full_path for g in gl.groups.list(top_level_only=True, min_access_level=50)], ["team"], "python3-gitlab lists the group")
        g = gl.groups.get(10, lazy=True)
        t.is_eq([b.name for b in g.badges.list(all=True)], [f"b{n}" for n in range(1, 26)], "and its badges, over two pages")
        t.is_eq(sorted(x.full_path for x in g.subgroups.list(per_page=3, all=True)), sorted(f"team/sub{n}" for n in range(11, 18)), "its subgroups, over three")
        t.is_eq([[(m.username, m.access_level) for m in getattr(gl.groups.get(i, lazy=True), what).list(all=True)] for i, what in ((10, "members"), (11, "members"), (11, "members_all"))],
                [[("jane", 50)], [], [("jane", 50)]], "members, direct and inherited")
        t.is_eq(gl.version(), ("17.8.1-ee", "0000000"), "the version")
        data = gl.http_request("get", "/groups/10/export_relations/download", query_data={"relation": "labels"}).content
        t.ok(gzip.decompress(data).count(b"\n") == 3000, "and downloads a relation")


RUBY = """
require 'graphlient'
c = Graphlient::Client.new(ARGV[0] + '/api/graphql', headers: {'Authorization' => 'Bearer ' + File.read(ARGV[1]).strip})
ARGV[2..].each do |f|
  q = c.parse(File.read(f))
  puts c.execute(q, full_path: 'team', per_page: 2, cursor: nil, ids: ['gid://gitlab/User/7'], after: nil).original_hash.to_json
end
"""


def graphlient(d, s):
    """The library with which older importers ask: it reads the schema, checks its documents against it, and prints them anew."""
    if not shutil.which("ruby"):
        t.skip("ruby-graphlient introspects and asks", "ruby-graphlient is not installed")
        return
    names = ("GROUP", "MEMBERS", "PROJECTS", "USERS", "GHOST")
    for n in names:
        with open(os.path.join(d, n), "w") as f:
            f.write(getattr(direct, n))
    with open(os.path.join(d, "ask.rb"), "w") as f:
        f.write(RUBY)
    r = subprocess.run(["ruby", "ask.rb", f"http://127.0.0.1:{s.port}", "token", *names], cwd=d, capture_output=True, text=True, timeout=60)
    if "cannot load such file -- graphlient" in r.stderr:
        t.skip("ruby-graphlient introspects and asks", "ruby-graphlient is not installed")
        return
    rows = [json.loads(x).get("data") for x in r.stdout.splitlines()] if r.returncode == 0 else []
    t.ok(len(rows) == 5 and rows[0]["group"]["id"] == "gid://gitlab/Group/10" and rows[1]["portable"]["members"]["nodes"][0]["user"]["username"] == "jane" and
         rows[2]["group"]["projects"]["nodes"] == [] and rows[3]["users"]["nodes"][0]["username"] == "jane" and rows[4]["users"]["nodes"] == [],
         "ruby-graphlient introspects, and its five queries are answered", r.stdout, r.stderr)


def refused(d, s):
    """What no importer asks. Clients that mean harm: test_serve_hostile.py."""
    t.is_eq([s.get("/api/v4/version", m)[0] for m in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")] + [s.get("/api/graphql")[0]], [405] * 6, "other methods: 405")
    others = ["/", "/team", "/api/v4/projects", "/api/v4/users", "/api/v4/groups/10", "/api/v4/groups/10/badges/", "/api/v4/version/", "/API/v4/version",
              "/team.wiki.git/info/refs", "/api/v4/groups/18446744073709551626/badges", "/api/v4/groups/-10/badges"]
    t.is_eq([(p, s.get(p)[0]) for p in others if s.get(p)[0] != 404], [], f"{len(others)} other addresses: 404")
    t.is_eq(s.get("/api/graphql", "POST", b"{}}")[0], 400, "GraphQL in a body that is no JSON: 400")


def many(s):
    def load(_):
        return gzip.decompress(s.get("/api/v4/groups/10/export_relations/download?relation=labels")[2])
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        got = set(pool.map(load, range(16)))
    t.ok(len(got) == 1 and next(iter(got)).count(b"\n") == 3000, "16 clients at once get the same file")


def driven(d, key):
    """--drive starts the import on a target and follows it."""
    def drive(url, token, *args):
        return gstest.replay("serve", "b.gsnap", "--trust", key + ".pub", "--listen", "127.0.0.1:0", "--host-name", "127.0.0.1", "--source-version",
                             "17.8.1-ee", "--token-file", "token", "--drive", *(("--url", url) if url else ()), *args, token=token, cwd=d, timeout=60)
    t.is_eq(drive(None, "x").code, 2, "--drive without --url")
    with gstest.Sim(d, "target", "--empty", "--users", os.path.join(gstest.TOP, "tests/sim/demo_users.json")) as target:
        token = target.tokens["owner"]
        r = drive(target.url, token, "--json")
        rows = {x["event"]: x for x in r.lines() if "event" in x} if r.code == 0 else {}
        t.ok(r.code == 0 and rows["import"]["status"] == "finished" and rows["end"]["never_fetched"] == [], "--drive: the target imports everything, and it ends", str(r))
        t.is_eq([x["path"] for x in target.requests() if x["path"].startswith("/api/v4/bulk_imports")][:2], ["/api/v4/bulk_imports", "/api/v4/bulk_imports/1"],
                "by the target's API")
        t.lacks(r.out + r.err, open(os.path.join(d, "token")).read().strip(), "neither token is shown")
        r = drive(target.url, "glpat-wrong-0000000000000")
        t.is_eq(r.code, 12, "--drive: a token that the target refuses", str(r))
        t.is_eq(drive(target.url, None).code, 12, "--drive: no token")
        r = gstest.bundle(d, key, {5: {"self": group(5, None, "odd"), "boards": [{"id": 1, "name": "b", "group_id": 5, "lists": "no list"}],
                                       "epics": [{"id": 2, "iid": 1, "title": "e", "group_id": 5, "notes": [{"id": 3, "note": "of nobody"}]}]}}, "odd")
        r = gstest.replay("serve", "odd.gsnap", "--trust", key + ".pub", "--listen", "127.0.0.1:0", "--host-name", "127.0.0.1", "--source-version", "17.8.1-ee",
                          "--token-file", "token", "--drive", "--url", target.url, token=token, cwd=d, timeout=60)
        t.ok(r.code == 3 and "failed      odd: epics: " in r.out, "--drive: what the target says failed is listed", str(r))


with gstest.scratch() as d:
    key = gstest.keygen(d)
    gstest.bundle(d, key, TREE, "b")
    certificate(d)
    certificate(d, "x.pem", "other.pem")
    with open(os.path.join(d, "short"), "w") as f:
        f.write("too-short\n")
    refusals(d, key)
    driven(d, key)
    s = Serve(d, key, "--rate", "100000", "--request-seconds", "2")
    stock(d, s)
    graphlient(d, s)
    refused(d, s)
    many(s)
    t.is_eq(s.stop(), 3, "SIGTERM ends it, and it says that not everything was fetched")
    end = s.events("end")[0]
    t.ok(end["refused"] >= 7 and end["unknown"] >= 16 and end["requests"] > 60 and end["failed"] == 0, "it counted what it saw", end)
    t.ok({"group": "team/sub11", "relation": "self", "records": 1} in end["never_fetched"], "and names what was never fetched")
    everything = open(os.path.join(d, "serve.out")).read() + open(os.path.join(d, "serve.err")).read()
    t.ok(s.token not in everything and not re.search("private_token", everything), "the token is nowhere in what it said", everything[-300:])
    s = Serve(d, key, "--rate", "1")
    got = [s.get("/api/v4/version") for _ in range(4)]
    t.ok(429 in [g[0] for g in got] and got[-1][1].get("Retry-After") == "1", "too many requests: 429, with the time to wait", [g[0] for g in got])
    s.stop()
t.done()
