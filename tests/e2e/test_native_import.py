#!/usr/bin/python3
"""Bundles for GitLab's own importers: `replay archive` makes the group export file of a captured tree and of a real export, `replay serve`
poses as their source. What importers of two generations (tests/sim/glimport) and the file import make of it is compared with the bundle."""
import atexit
import gzip
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

sys.path.insert(0, os.path.join(gstest.TOP, "tests/sim"))
from glimport import archive as file_import  # noqa: E402
from glimport import client, database, direct  # noqa: E402

t = gstest.Tap()
TREE = os.path.join(gstest.TOP, "tests/sim/planning_tree.json")
COMPLEX = os.path.join(gstest.CONTRACT, "group_exports/complex")
SECRETS = ("runners_token", "runners_token_encrypted", "saml_discovery_token", "invite_token")


def members(path):
    """Regular files of a .tar.gz by name, without the leading './'."""
    with tarfile.open(path, "r:gz") as f:
        return {m.name.removeprefix("./"): f.extractfile(m).read() for m in f if m.isreg()}


def lines(data):
    if data.startswith(b"{\n"):
        return [json.loads(data)]
    return [json.loads(x) for x in data.split(b"\n") if x]


def archive(d, bundle, key, name, *args):
    r = gstest.replay("archive", bundle, "--trust", key + ".pub", "-o", name, *args, cwd=d)
    t.is_eq(r.code, 0, f"archive of {bundle}", str(r))
    return members(os.path.join(d, name)) if r.code == 0 else {}


def round_trip(d, key, name, made):
    """archive -> import-archive -> archive: the same files, byte for byte."""
    r = gstest.snap("import-archive", name, "-o", name + ".gsnap", "--key", key, cwd=d)
    t.is_eq(r.code, 0, f"import-archive of {name}", str(r))
    again = archive(d, name + ".gsnap", key, "again." + name)
    t.is_eq(sorted(again), sorted(made), f"{name}: the way round gives the same files")
    t.is_eq([n for n in made if again.get(n) != made[n]], [], f"{name}: and the same lines in each")


def without(record, keys):
    return {k: v for k, v in record.items() if k not in keys}


def real_export(d, key):
    """The lines of GitLab's own file come out of a bundle as they went in."""
    if not os.path.isdir(COMPLEX):
        t.skip("a real export", f"no folder {COMPLEX}; set GITLAB_CONTRACT_DIR")
        return None
    src = os.path.join(d, "complex.src")
    os.makedirs(src)
    for name, text in (("VERSION", "0.2.3"), ("GITLAB_VERSION", "12.8.0-ee"), ("GITLAB_REVISION", "abcdef0")):
        with open(os.path.join(src, name), "w") as f:
            f.write(text)
    subprocess.check_call(["tar", "-czf", os.path.join(d, "complex.in.tar.gz"), "-C", src, ".", "-C", COMPLEX, "./tree"])
    want = members(os.path.join(d, "complex.in.tar.gz"))
    for encoding in ("ndjson", "msgpack"):
        r = gstest.snap("import-archive", "complex.in.tar.gz", "-o", f"complex.{encoding}.gsnap", "--key", key, "--encoding", encoding, cwd=d)
        t.is_eq(r.code, 0, f"import-archive of the real export ({encoding})", str(r))
        made = archive(d, f"complex.{encoding}.gsnap", key, f"complex.{encoding}.tar.gz")
        t.is_eq(sorted(made), sorted(want), f"real export, {encoding}: the same files")
        differs = []
        for name in want:
            if name.endswith("json") and "_all" not in name:
                a = [without(x, SECRETS) for x in lines(want[name])]
                b = [without(x, SECRETS) for x in lines(made.get(name, b""))]
                if a != b:
                    differs.append(name)
            elif want[name].strip() != made.get(name, b"").strip():
                differs.append(name)
        t.is_eq(differs, [], f"real export, {encoding}: every record as it was")
    exact = [n for n in want if n.endswith("ndjson") and "members" not in n and want[n].strip() != members(os.path.join(d, "complex.ndjson.tar.gz"))[n].strip()]
    t.is_eq(exact, [], "real export: byte for byte where nothing secret was in it")
    round_trip(d, key, "complex.msgpack.tar.gz", made)
    return "complex.ndjson.gsnap"


def exported(sim, token, gid, relation):
    """The lines of the simulator's own relation export."""
    def get(what):
        req = urllib.request.Request(f"{sim.url}/api/v4/groups/{gid}/export_relations/{what}", headers={"PRIVATE-TOKEN": token})
        with urllib.request.urlopen(req) as r:
            return r.read()
    status = json.loads(get(f"status?relation={relation}"))
    more = [f"&batched=true&batch_number={n + 1}" for n in range(status["batches_count"])] if status["batched"] else [""]
    return [x for m in more for x in lines(gzip.decompress(get(f"download?relation={relation}{m}")))]


# what a line of the export has, and no other: by relation, from the simulator
def keys_of(value, path=""):
    if isinstance(value, dict):
        return {p for k, v in value.items() for p in {path + k} | keys_of(v, path + k + ".")}
    if isinstance(value, list):
        return {p for v in value for p in keys_of(v, path)}
    return set()


def agree(a, b, path=""):
    """Paths at which two records that may each lack keys say different things."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [p for k in a if k in b for p in agree(a[k], b[k], f"{path}.{k}")]
    if isinstance(a, list) and isinstance(b, list):
        key = lambda x: (x.get("label_id") or x.get("id") or x.get("iid") or x.get("label_id") or x.get("position") or 0) if isinstance(x, dict) else 0  # noqa: E731
        if len(a) != len(b):
            return [f"{path}: {len(a)} and {len(b)}"]
        return [p for x, y in zip(sorted(a, key=key), sorted(b, key=key)) for p in agree(x, y, path + "[]")]
    return [] if a == b or (a in (None, "") and b in (None, "")) else [f"{path}: {a!r} and {b!r}"]


# what a line may have beyond GitLab's own: columns all the same
ADDED = {"iterations_cadences": {"iterations.title"}, "self": {"created_at"}}
INHERITED = {"lfs_enabled", "auto_devops_enabled", "mentions_disabled", "emails_enabled", "max_artifacts_size", "avatar"}  # REST tells what is in force, and the whole address


def captured(d, key, sim):
    """Both ways of capture give the lines of the export; the API those attributes that it tells."""
    token = sim.tokens["owner"]
    out = {}
    for via in ("relations", "api"):
        r = gstest.snap("create", "--url", sim.url, ROOT, "-o", f"{via}.gsnap", "--key", key, "--via", via, token=token, cwd=d)
        t.is_eq(r.code, 0, f"capture via {via}", str(r))
        made = archive(d, f"{via}.gsnap", key, f"{via}.tar.gz")
        t.is_eq(made.get("VERSION"), b"0.2.4", f"{via}: VERSION")
        t.has(made.get("GITLAB_VERSION", b"").decode(), "18.", f"{via}: GITLAB_VERSION")
        ids = [int(x) for x in made["tree/groups/_all.ndjson"].split()]
        by_id = {gid: json.loads(made[f"tree/groups/{gid}.json"]) for gid in ids}
        t.ok(all(by_id[gid]["id"] == gid for gid in ids) and all(by_id[g]["parent_id"] in ids[:i] for i, g in enumerate(ids) if i),
             f"{via}: the groups, parents before their children")
        out[via] = made
    own, wrong, foreign = {}, [], {}
    for name, data in out["relations"].items():
        if not name.startswith("tree/groups/") or "_all" in name:
            continue
        gid = name.split("/")[2].removesuffix(".json")
        relation = "self" if name.endswith(".json") else name.split("/")[3].removesuffix(".ndjson")
        theirs = exported(sim, token, gid, relation)
        ours = lines(data)
        for x in theirs:
            own.setdefault(relation, set()).update(keys_of(x))
        if relation in ADDED:
            for x in ours:
                for it in x.get("iterations", ()):
                    it.pop("title", None)
        if relation == "self":
            ours[0].pop("created_at", None)
        if ours != theirs:
            wrong.append((name, [agree(a, b) + sorted(keys_of(a) ^ keys_of(b)) for a, b in zip(ours, theirs) if a != b][:1], len(ours), len(theirs)))
    t.is_eq(wrong, [], f"via relations: the lines of {len(out['relations'])} files are those of the server's own export")
    t.ok({"labels", "milestones", "boards", "epics", "epic_boards", "iterations_cadences", "members", "self"} <= set(own), "of every kind",
         sorted(own))
    wrong = []
    for name, data in out["api"].items():
        if not name.startswith("tree/groups/") or "_all" in name:
            continue
        relation = "self" if name.endswith(".json") else name.split("/")[3].removesuffix(".ndjson")
        ours, theirs = lines(data), lines(out["relations"].get(name, b""))
        for x in ours:
            more = keys_of(x) - own.get(relation, set()) - ADDED.get(relation, set())
            if more:
                foreign.setdefault(relation, set()).update(more)
        if len(ours) != len(theirs):
            wrong.append((name, len(ours), len(theirs)))
            continue
        by = {"epic_boards": "name", "iterations_cadences": "title", "members": "user_id"}.get(relation, "id")
        if relation == "self":
            ours, theirs = [without(x, INHERITED) for x in ours], [without(x, INHERITED) for x in theirs]
        for x in ours + theirs:  # those lists come and go with the board, and the API hides them
            for lists in ("lists", "epic_lists"):
                if lists in x:
                    x[lists] = [y for y in x[lists] if y["list_type"] not in ("backlog", "closed")]
        if relation != "namespace_settings":
            ours, theirs = sorted(ours, key=lambda x: x[by]), sorted(theirs, key=lambda x: x[by])
        wrong += [(name, agree(a, b)[:2]) for a, b in zip(ours, theirs) if agree(a, b)]
    t.is_eq(foreign, {}, "via the API: no line has an attribute that the export has not")
    t.is_eq(wrong[:5], [], "via the API: every line says what the export says, as far as it goes")
    parents = [x["parent"] for n, data in out["api"].items() if n.endswith("epics.ndjson") for x in lines(data) if x.get("parent")]
    t.ok(parents and all(p.get("title") and p.get("created_at") and "description" in p for p in parents),
         f"via the API: {len(parents)} parents are whole epics, which is how GitLab finds them")
    for via in out:
        round_trip(d, key, f"{via}.tar.gz", out[via])
    first = open(os.path.join(d, "api.tar.gz"), "rb").read()
    archive(d, "api.gsnap", key, "api.2.tar.gz")
    t.ok(first == open(os.path.join(d, "api.2.tar.gz"), "rb").read(), "the same bundle gives the same bytes")


# ---- what an importer made, against the bundle ----


def records(d, key, bundle):
    """{group: {relation: [record, ...]}} as `cat` shows them."""
    out = {}
    for row in gstest.replay("cat", bundle, "--with-key", "--trust", key + ".pub", cwd=d).lines():
        out.setdefault(row["group"], {}).setdefault(row["relation"], []).append(row["record"])
    return out


def files(d, bundle):
    """{group id: {(folder, name): bytes}}"""
    out = {}
    with tarfile.open(os.path.join(d, bundle)) as f:
        for m in f:
            parts = m.name.split("/")
            if parts[0] == "groups" and parts[2] in ("avatar", "uploads"):
                out.setdefault(int(parts[1]), {})["avatar" if parts[2] == "avatar" else parts[3], parts[-1]] = f.extractfile(m).read()
    return out


def wanted(model, record):
    """What GitLab imports of a record."""
    out = {k: record[k] for k in database.COLUMNS[model] if k in record}
    for key, inner in database.NESTED.get(model, {}).items():
        v = record.get(key)
        if isinstance(v, list):
            out[key] = [wanted(inner, x) for x in v]
        elif isinstance(v, dict):
            out[key] = wanted(inner, v)
    for key in ("label", "milestone"):
        if isinstance(record.get(key), dict):
            out[key] = record[key]["title"]
    if model == "epics":
        out["labels"] = sorted(x["label"]["title"] for x in record.get("label_links", ()))
    if model == "boards":
        out["labels"] = sorted(x["title"] for x in record.get("labels", ()))
    return out


def lacks(got, want, path=""):
    if isinstance(want, dict) and isinstance(got, dict):
        return [x for k in want for x in (lacks(got[k], want[k], f"{path}.{k}") if k in got else [f"{path}.{k} is not there"])]
    if isinstance(want, list) and isinstance(got, list):
        return [f"{path}: {len(got)}, not {len(want)}"] if len(got) != len(want) else [
            x for i, (g, w) in enumerate(zip(got, want)) for x in lacks(g, w, f"{path}[{i}]")]
    return [] if got == want else [f"{path}: {got!r}, not {want!r}"]


KEYS = {"labels": "title", "milestones": "iid", "boards": "name", "epics": "iid", "epic_boards": "name", "iterations_cadences": "title"}


def compare(name, dump, bundle, uploads=None, inherited=True, many=(150, 10)):
    wrong, n, parents = [], 0, 0
    t.is_eq(sorted(dump), sorted(bundle), f"{name}: the groups are there")
    for path, relations in bundle.items():
        got = dump.get(path, {})
        for relation, key in KEYS.items():
            have, in_all = {}, relations.get(relation, ())
            for x in got.get(relation, ()):  # two boards may have one name; they come in the order of the file
                have.setdefault(x[key], []).append(x)
            if sum(map(len, have.values())) != len(in_all):
                wrong.append(f"{path}: {sum(map(len, have.values()))} {relation}, not {len(in_all)}")
            for r in in_all:
                n += 1
                mine = have[r[key]].pop(0) if have.get(r[key]) else {}
                wrong += [f"{path}/{relation}/{r[key]}{x}" for x in lacks(mine, wanted(relation, r))]
                if relation == "epics" and (r.get("parent") or {}).get("group_id") == r["group_id"] and r["parent"]["id"] < r["id"]:
                    parents += 1
                    if mine.get("parent") != r["parent"]["title"]:
                        wrong.append(f"{path}/epics/{r[key]}: its parent is {mine.get('parent')}")
        badges = [[x.get(k) for k in ("name", "link_url", "image_url")] for x in got.get("badges", ())]
        n += len(badges)
        if badges != [[x.get(k) for k in ("name", "link_url", "image_url")] for x in relations.get("badges", ())]:
            wrong.append(f"{path}: badges {badges}")
        people = {}
        for above in [p for p in bundle if p == path or (inherited and path.startswith(p + "/"))]:
            for m in bundle[above].get("members", ()):
                level, direct_one = people.get(m["user_id"], (0, None))
                if m["access_level"] > level or (m["access_level"] == level and above == path):
                    people[m["user_id"]] = (m["access_level"], m)
        n += len(people)
        for u, (level, m) in people.items():
            has = got.get("members", {}).get(u, {})
            want = {"access_level": level, "created_at": m.get("created_at"), "expires_at": m.get("expires_at"), "username": m["user"]["username"],
                    "public_email": m["user"]["public_email"]}
            wrong += [f"{path}/members/{u}{x}" for x in lacks(has, want)]
        if set(got.get("members", {})) != set(people):
            wrong.append(f"{path}: other members")
        if uploads is not None and got.get("uploads") != uploads.get(got.get("source_id"), {}):
            wrong.append(f"{path}: other uploads")
        self, has = relations["self"][0], got.get("self", {})
        want = {k: self[k] for k in ("name", "description", "visibility_level", "project_creation_level", "subgroup_creation_level", "share_with_group_lock",
                                     "request_access_enabled", "require_two_factor_authentication", "two_factor_grace_period", "membership_lock",
                                     "mentions_disabled", "lfs_enabled") if k in self}
        want["emails_disabled"] = not self["emails_enabled"] if self.get("emails_enabled") is not None else False
        for settings in relations.get("namespace_settings", ()) if inherited else ():
            want["prevent_sharing_groups_outside_hierarchy"] = settings["prevent_sharing_groups_outside_hierarchy"]
        wrong += [f"{path}/self{x}" for x in lacks(has, want)]
    t.is_eq(wrong[:8], [], f"{name}: {n} records as the bundle has them, with times, authors, events and numbers")
    t.ok(n > many[0] and parents >= many[1], f"{name}: that were many", n, parents)


# ---- the server ----


class Serve:
    def __init__(self, d, key, bundle, *args, port=0, tls=True):
        self.d, self.lines = d, []
        more = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"] if tls else []
        self.err = open(os.path.join(d, "serve.err"), "w")
        self.p = subprocess.Popen([gstest.REPLAY, "serve", bundle, "--trust", key + ".pub", "--listen", f"127.0.0.1:{port}", "--host-name",
                                   "localhost", "--token-file", "token", "--json", *more, *args], cwd=d, env=gstest.environment(),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.err, text=True)
        atexit.register(self.p.kill)  # a test that breaks off leaves none behind
        while not self.lines or self.lines[-1].get("event") != "listening":
            line = self.p.stdout.readline()
            if not line:
                raise RuntimeError("serve did not start: " + open(self.err.name).read())
            self.lines.append(json.loads(line))
        self.port = self.lines[-1]["port"]
        self.url = ("https" if tls else "http") + f"://localhost:{self.port}"
        self.reader = threading.Thread(target=lambda: [self.lines.append(json.loads(x)) for x in self.p.stdout], daemon=True)
        self.reader.start()
        self.token = open(os.path.join(d, "token")).read().strip()

    def source(self, generation):
        return client.Source(self.url, self.token, os.path.join(self.d, "cert.pem") if self.url.startswith("https") else None, generation)

    def rss_mib(self):
        return int(next(x for x in open(f"/proc/{self.p.pid}/status") if x.startswith("VmHWM")).split()[1]) / 1024

    def stop(self, sig=signal.SIGTERM):
        self.p.send_signal(sig)
        code = self.p.wait(30)
        self.reader.join()
        self.p.stdout.close()
        self.err.close()
        return code


def certificate(d):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out",
                    "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], cwd=d, check=True, capture_output=True)


def pulled(d, key):
    """Importers of both generations pull from serve over TLS: from a capture by relations, and from one by the API, with serve killed between."""
    want = {via: records(d, key, f"{via}.gsnap") for via in ("relations", "api")}
    uploads = {via: files(d, f"{via}.gsnap") for via in want}
    t.ok(sum(map(len, uploads["relations"].values())) >= 3 and uploads["api"], "the bundles hold an avatar and uploads")
    s = Serve(d, key, "relations.gsnap")
    plan = s.lines[0]
    t.ok(plan["event"] == "plan" and plan["settings"]["bulk_import_enabled"] is True and plan["body"]["configuration"]["url"] == s.url and
         plan["body"]["entities"][0]["source_full_path"] == ROOT, "what is to be set and called is told first", plan)
    t.ok(s.token not in json.dumps(s.lines) and os.stat(os.path.join(d, "token")).st_mode & 0o777 == 0o600, "the token is in a file of its own, and not shown")
    db = database.Database()
    source = s.source("new")
    direct.Migration(source, db).run(ROOT)
    t.is_eq(db.failures(), [], "new importer, capture by relations: no pipeline fails")
    compare("new importer, capture by relations", db.dump(), want["relations"], uploads["relations"])
    known = {u["id"]: u["username"] for u in gstest.replay("cat", "relations.gsnap", "/users", "--trust", key + ".pub", cwd=d).lines() if u["username"]}
    have = {u: name for u, _, name in db.rows("SELECT * FROM users")}
    t.ok(len(have) > 5 and all(known.get(u) in (None, name) for u, name in have.items()), f"{len(have)} people behind the placeholders are told")
    code = s.stop()
    end = s.lines[-1]
    t.is_eq((code, end["event"], end["never_fetched"], end["unknown"], end["refused"], end["failed"]), (0, "end", [], 0, 0, 0),
            "serve: everything that an importer takes was fetched, and nothing was asked that is not answered")
    cell = {(x["group"], x["relation"]): x for x in end["relations"]}
    t.ok(cell[ROOT, "epics"]["fetched"] >= 1 and cell[ROOT, "epics"]["exported"] and cell[ROOT, "labels"]["bytes"] > 0, "by group and relation")
    t.ok({"export", "status", "download", "answer"} <= {x["event"] for x in s.lines[2:]}, "an event for each request")

    s = Serve(d, key, "api.gsnap")
    box = [s]
    calls = []

    def before(what, gid):
        calls.append(what)
        if len(calls) == 40:
            box[0].stop(signal.SIGKILL)
            again = threading.Timer(0.5, lambda: box.append(Serve(d, key, "api.gsnap", port=box[0].port)))
            again.start()
    db = database.Database()
    source = s.source("old")
    direct.Migration(source, db, before=before).run(ROOT)
    t.is_eq(db.failures(), [], "old importer, capture by the API, serve killed meanwhile: no pipeline fails")
    t.ok(source.retried > 0 and len(box) == 2 and source.introspections == 1, f"{source.retried} requests were sent again")
    compare("old importer, capture by the API", db.dump(), want["api"], uploads["api"])
    t.is_eq(box[-1].stop(signal.SIGINT), 3, "the second serve says that it did not give everything", open(box[-1].err.name).read())
    t.ok(box[-1].lines[-1]["never_fetched"], "and names what")
    for via in want:
        db = database.Database()
        file_import.load(os.path.join(d, f"{via}.tar.gz"), db, json.load(open(os.path.join(d, "tree.json")))["groups"][0]["name"], ROOT)
        t.is_eq(db.failures(), [], f"file import, {via}: nothing fails")
        compare(f"file import, {via}", db.dump(), want[via], inherited=False)


def real_pulled(d, key, bundle):
    """The real export, older than anything that an importer takes, served as a newer version."""
    s = Serve(d, key, bundle, "--source-version", "17.8.1-ee", "--batch-size", "3")
    want = records(d, key, bundle)
    for generation in ("new", "old"):
        db = database.Database()
        direct.Migration(s.source(generation), db).run(next(iter(want)))
        t.is_eq(db.failures(), [], f"real export, {generation} importer: no pipeline fails")
        compare(f"real export, {generation} importer", db.dump(), want, many=(70, 0))
    t.is_eq((s.stop(), s.lines[-1]["never_fetched"]), (0, []), "real export: everything was fetched")


def tree_pulled(d, key, tree, seed, want_groups, people, many):
    """One tree, captured in both ways, pulled by importers of both generations."""
    root = json.load(open(seed, encoding="utf-8"))["groups"][0]["path"]
    with gstest.Sim(d, tree, "--seed", seed, "--tier", "ultimate", "--version", "18.5.0-ee") as sim:
        for via in ("relations", "api"):
            r = gstest.snap("create", "--url", sim.url, root, "-o", f"{tree}.{via}.gsnap", "--key", key, "--via", via, token=sim.tokens[people], cwd=d)
            t.is_eq(r.code, 0, f"{tree}: capture via {via}", str(r))
    for via in ("relations", "api"):
        name = f"{tree}.{via}.gsnap"
        want, uploads = records(d, key, name), files(d, name)
        t.is_eq(len(want), want_groups, f"{tree} via {via}: the groups")
        for generation in ("new", "old"):
            what = f"{tree} via {via}, {generation} importer"
            s = Serve(d, key, name)
            db = database.Database()
            direct.Migration(s.source(generation), db).run(root)
            t.is_eq(db.failures(), [], f"{what}: no pipeline fails")
            compare(what, db.dump(), want, uploads, many=many)
            t.is_eq(s.stop(), 0, f"{what}: serve says that it gave everything")
            end = s.lines[-1]
            t.is_eq((end["never_fetched"], end["unknown"], end["refused"], end["failed"]), ([], 0, 0, 0), f"{what}: and was asked for nothing else")
            fetched = {(x["group"], x["relation"]): x["fetched"] or x["asked"] for x in end["relations"]}
            left = {relation for path in want for relation in want[path] if not fetched.get((path, relation))}
            t.is_eq(left, {"members", "badges"}, f"{what}: of the files only those are left that GitLab reads from elsewhere")
            t.ok(all(fetched.get((path, part)) for path in want for part in ("member-list", "badge-list")), f"{what}: and it read them there")


def trees_pulled(d, key):
    tree_pulled(d, key, "demo", gstest.DEMO_TREE, 8, "owner", (220, 0))
    t.ok(any(folder == "avatar" for x in files(d, "demo.api.gsnap").values() for folder, _ in x), "demo: with avatars")
    if os.path.isdir(COMPLEX):
        live = os.path.join(d, "complex.json")
        with open(live, "w") as f:
            subprocess.run([os.path.join(gstest.TOP, "tests/sim/export-to-seed"), "--live", COMPLEX], stdout=f, check=True)
        tree_pulled(d, key, "complex", live, 3, "owner", (70, 0))


def of(r, what):
    return [x for x in r.lines() if x.get("schema") == f"groupsnap.{what}/1"]


def driven(d, key):
    """--drive ends with the books: what direct transfer does not carry is named by its rules, and damage is not."""
    def drive(sim, *args, bundle="relations.gsnap", token=None):
        return gstest.replay("serve", bundle, "--trust", key + ".pub", "--listen", "127.0.0.1:0", "--host-name", "127.0.0.1", "--token-file", "drive.token",
                             "--drive", "--url", sim.url, *args, token=token or sim.tokens["owner"], cwd=d, timeout=120)

    def target(name, **config):
        return gstest.Sim(d, name, "--empty", "--users", os.path.join(d, "users.json"), "--tier", "ultimate", "--version", "18.5.0-ee", "--config", json.dumps(config))
    users = json.load(open(TREE))["users"]
    with open(os.path.join(d, "users.json"), "w") as f:
        json.dump({"users": users}, f)
    for bundle in ("relations.gsnap", "api.gsnap"):
        with target("drive-" + bundle) as sim:
            r = drive(sim, "--json", bundle=bundle)
            bad = [x for x in of(r, "reconcile-finding") if x["counts_as"] in ("fault", "unread")]
            end = of(r, "reconcile")
            t.ok(r.code == 0 and len(end) == 1 and end[0]["balance"] == 0 and not bad, f"--drive, {bundle}: imported, and the books balance", str(r)[-1000:], *bad[:5])
            t.ok(end and end[0]["importer"] == "transfer" and not end[0]["state_used"] and end[0]["placeholders"] >= 8, "without a state file; people are placeholders", end)
            rules = {x["rule"] for x in of(r, "reconcile-finding") if x["counts_as"] == "lost"}
            t.ok(rules <= {"importer-member-waits", "importer-parent", "importer-order", "importer-board-labels", "importer-cadence", "importer-uploads-unseen"} and
                 {"importer-member-waits", "importer-parent"} <= rules, "what direct transfer does not carry has its own rules, and no other", rules)
            total = end[0]["total"] if end else {}
            t.ok(total.get("equal", 0) > 110 and total.get("beside") == 14, "most is equal; who imported is Owner of every group", total)
            t.ok(not os.path.exists(os.path.join(d, bundle[:-6] + ".state.reconcile")), "nothing is left of the work folder")
            if bundle == "api.gsnap":
                continue
            # the same by hand, by somebody else: whose Ownership that is he cannot know
            r = gstest.replay("reconcile", bundle, "--trust", key + ".pub", "--url", sim.url, "--importer", "transfer", "--json", token=sim.tokens["owner"], cwd=d)
            t.is_eq((r.code, of(r, "reconcile")[-1]["total"]), (0, total), "reconcile --importer transfer says the same", str(r)[-500:])
            r = gstest.replay("reconcile", bundle, "--trust", key + ".pub", "--url", sim.url, "--no-state", "--json", token=sim.tokens["owner"], cwd=d)
            t.ok(r.code == 3 and of(r, "reconcile")[-1]["balance"] > 100, "without --importer the rules are those of an unknown load", str(r)[-300:])
            r = gstest.replay("reconcile", bundle, "--trust", key + ".pub", "--url", sim.url, "--importer", "file", "--state", "x", token=sim.tokens["owner"], cwd=d)
            t.is_eq(r.code, 2, "--importer and --state exclude each other", str(r)[-300:])
            # an emoji of somebody else, under a placeholder's name: a wrong person is a fault
            people = {u["username"]: u["id"] for u in sim.dump()["users"]}
            there = sorted(i for name, i in people.items() if "_placeholder_" in name)
            award = next(a for a in sim.dump()["award_emoji"] if a["awardable_type"] == "Epic" and a["user_id"] in there)
            sim.call("/_sim/at", [{"match": {"method": "GET"}, "do": [{"update": "award_emoji", "where": {"id": award["id"]}, "set": {
                "user_id": next(i for i in there if i != award["user_id"])}, "silent": True}]}])
            r = gstest.replay("reconcile", bundle, "--trust", key + ".pub", "--url", sim.url, "--importer", "transfer", "--json", token=sim.tokens["owner"], cwd=d)
            bad = [(x["relation"], x["attribute"]) for x in of(r, "reconcile-finding") if x["counts_as"] == "fault"]
            t.ok(r.code == 3 and bad == [("epics", "award_emoji")], "an emoji that has got to another person's placeholder is named", str(r)[-300:], bad)
            # a parent that the importer had found, and that is gone
            child = next(e for e in sim.dump()["epics"] if e["parent_id"])
            sim.call("/_sim/at", [{"match": {"method": "GET"}, "do": [{"update": "epics", "where": {"id": child["id"]}, "set": {"parent_id": None}, "silent": True}]}])
            r = gstest.replay("reconcile", bundle, "--trust", key + ".pub", "--url", sim.url, "--importer", "transfer", "--json", token=sim.tokens["owner"], cwd=d)
            bad = [(x["relation"], x["attribute"]) for x in of(r, "reconcile-finding") if x["counts_as"] == "fault"]
            t.ok(("epics", "parent") in bad and len(bad) <= 3, "a parent that an importer finds, and that is gone, is named", str(r)[-300:], bad)
            r = drive(sim, "--json")
            t.is_eq((r.code, r.lines()[-1]["error"]["code"]), (3, "refused"), "a path that is taken", str(r)[-300:])
            t.ok("already exists" in r.out and not of(r, "reconcile"), "is refused in the target's words, and nothing is reconciled", str(r)[-600:])
    with target("drive-faulty", import_faults=["milestones"]) as sim:
        r = drive(sim, "--json")
        failed = {x["relation"] for x in r.lines() if x.get("event") == "import-failure"}
        faults = {x["relation"] for x in of(r, "reconcile-finding") if x["counts_as"] == "fault"}
        t.ok(r.code == 3 and failed == {"milestones"} and faults == {"milestones"}, "a relation whose pipeline failed is listed, and missing in the books", failed, faults, str(r)[-300:])
        r = drive(sim, "--into", "nowhere")
        t.ok(r.code != 0 and "is invalid, or you don't have permission" in r.err, "a parent that is not there, in the target's words", str(r)[-500:])
    with target("drive-damage") as sim:
        sim.call("/api/v4/groups", {"name": "Deep", "path": "deep"}, sim.tokens["owner"])
        label = json.load(open(TREE))["groups"][0]["labels"][0]["title"]
        sim.call("/_sim/at", [{"match": {"path": "/bulk_imports/1/entities$"}, "do": [
            {"update": "labels", "where": {"group": "deep/" + ROOT, "title": label}, "set": {"color": "#010203"}, "silent": True}]}])
        r = drive(sim, "--into", "deep")
        t.ok(r.code == 3 and f"differs  . labels '{label}' color: here " in r.out and '"#010203"' in r.out and "balance 1: 1 differ" in r.out,
             "what somebody changed meanwhile is named, below another group", str(r)[-2500:])
        t.ok("lost: importer-member-waits" in r.out and "people stand there as placeholder users" in r.out, "beside what nobody is to blame for", r.out[-1500:])
    with target("drive-stopped") as sim:
        env = gstest.environment(sim.tokens["owner"])
        p = subprocess.Popen([gstest.REPLAY, "serve", "api.gsnap", "--trust", key + ".pub", "--listen", "127.0.0.1:0", "--host-name", "127.0.0.1", "--token-file",
                              "drive.token", "--drive", "--url", sim.url, "--json"], cwd=d, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while json.loads(p.stdout.readline()).get("event") != "import":
            pass
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        t.ok(p.returncode == 3 and "reconcile --importer transfer" in err and "groupsnap.reconcile/1" not in out,
             "Ctrl-C before the import has ended: exit code 3, and how to learn what came of it", p.returncode, err, out[-500:])
    with target("drive-plain") as sim:
        r = drive(sim, "--no-reconcile", "--json")
        t.ok(r.code == 0 and not of(r, "reconcile") and r.lines()[-1]["event"] == "end", "--no-reconcile", str(r)[-300:])


def seed(d):
    """The planning tree with what it lacks: badges, uploads and an avatar."""
    tree = json.load(open(TREE))
    for i, g in enumerate(tree["groups"][:1] + tree["groups"][0]["subgroups"][:1]):
        g["badges"] = [{"name": f"b{n}", "link_url": f"https://h/{i}/{n}/%{{default_branch}}", "image_url": "https://h/i.png"} for n in range(3)]
        g["avatar"] = {"color": "#3060c0", "size": 24, "filename": "logo.png"}
        g["uploads"] = [{"name": f"notes {i}.txt", "secret": f"{i}" * 32, "text": "kept\n" * 50}, {"name": "x" * 180 + ".bin", "size": 90000}]
    path = os.path.join(d, "tree.json")
    with open(path, "w") as f:
        json.dump(tree, f)
    return path


ROOT = json.load(open(TREE))["groups"][0]["path"]
with gstest.scratch() as d:
    key = gstest.keygen(d)
    certificate(d)
    real = real_export(d, key)
    if real:
        real_pulled(d, key, real)
    with gstest.Sim(d, "source", "--seed", seed(d), "--tier", "ultimate", "--version", "18.5.0-ee") as sim:
        captured(d, key, sim)
    pulled(d, key)
    trees_pulled(d, key)
    driven(d, key)
    # refusals
    r = gstest.replay("archive", "api.gsnap", "--trust", key + ".pub", "-o", "api.tar.gz", cwd=d)
    t.is_eq(r.code, 2, "an existing file is not overwritten", str(r))
    other = gstest.keygen(d, "other")
    r = gstest.replay("archive", "api.gsnap", "--trust", other + ".pub", "-o", "x.tar.gz", cwd=d)
    t.ok(r.code == 21 and not os.path.exists(os.path.join(d, "x.tar.gz")), "a bundle of another signer is refused, and nothing is written", str(r))
    data = bytearray(open(os.path.join(d, "api.gsnap"), "rb").read())
    at = data.rindex(b"\x28\xb5\x2f\xfd")
    data[at + 20] ^= 1
    with open(os.path.join(d, "bad.gsnap"), "wb") as f:
        f.write(data)
    r = gstest.replay("archive", "bad.gsnap", "--trust", key + ".pub", "-o", "x.tar.gz", cwd=d)
    t.ok(r.code == 20 and [n for n in os.listdir(d) if n.startswith("x.tar")] == [], "a damaged one as well, and nothing is left", str(r))
    r = gstest.replay("archive", "api.gsnap", "-o", "x.tar.gz", cwd=d)
    t.is_eq(r.code, 21, "without a trusted key nothing is read", str(r))
    r = gstest.replay("archive", "api.gsnap", "--trust", key + ".pub", "-o", "j.tar.gz", "--json", cwd=d)
    t.ok(r.code == 0 and r.json()["schema"] == "groupsnap.archive/1" and r.json()["records"] > 100, "--json", str(r))
t.done()
