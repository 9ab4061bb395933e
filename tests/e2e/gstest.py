"""What the end-to-end tests share: TAP output, the simulator, the two tools, a scratch folder.

    import gstest
    t = gstest.Tap()
    with gstest.scratch() as d, gstest.Sim(d, "source", "--seed", tree) as s:
        r = gstest.snap("groups", "--url", s.url, token=s.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "groups are listed")
    t.done()
"""
import atexit
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

TOP = os.environ.get("GS_TOP") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("GS_BUILD") or os.path.join(TOP, "build/gcc")
SNAP = os.environ.get("SNAP") or os.path.join(BUILD, "snap")
REPLAY = os.environ.get("REPLAY") or os.path.join(BUILD, "replay")
SIM = os.path.join(TOP, "tests/sim/gitlab-sim")
DEMO_TREE = os.path.join(TOP, "tests/sim/demo_tree.json")
DEMO_USERS = os.path.join(TOP, "tests/sim/demo_users.json")
CONTRACT = os.environ.get("GITLAB_CONTRACT_DIR") or os.path.join(TOP, "../shared/contract")


class Tap:
    def __init__(self):
        self.n = self.bad = 0

    def ok(self, good, name, *why):
        self.n += 1
        print(f"{'ok' if good else 'not ok'} {self.n} - {name}")
        if not good:
            self.bad += 1
            for w in why:
                for line in (w if isinstance(w, str) else repr(w)).splitlines()[:60]:
                    print("#  ", line[:400])
        sys.stdout.flush()
        return good

    def is_eq(self, got, want, name, *why):
        return self.ok(got == want, name, f"got  {got!r}", f"want {want!r}", *why)

    def has(self, text, part, name):
        return self.ok(part in text, name, f"'{part}' is not in:", text)

    def lacks(self, text, part, name):
        return self.ok(part not in text, name, f"'{part}' is in:", text)

    def skip(self, name, why):
        self.n += 1
        print(f"ok {self.n} - {name} # SKIP {why}")

    def done(self):
        print(f"1..{self.n}")
        sys.exit(1 if self.bad else 0)


@contextlib.contextmanager
def scratch():
    d = tempfile.mkdtemp(prefix="gstest.")
    try:
        yield d
    finally:
        if os.environ.get("GS_KEEP"):
            print("# kept:", d)
        else:
            shutil.rmtree(d, ignore_errors=True)


class Sim:
    """One simulated GitLab on loopback. `args` as on its command line; the database and the log lie in folder `d`."""

    def __init__(self, d, name, *args, port=0):
        self.d, self.name, self.args, self.port = d, name, list(args), port
        self.db, self.log = os.path.join(d, name + ".db"), os.path.join(d, name + ".log")
        self.p = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def config(self):
        """What is not about GitLab's keeping of exports for three minutes need not wait for it."""
        args = list(self.args)
        given = args.pop(args.index("--config") + 1) if "--config" in args else "{}"
        return [x for x in args if x != "--config"] + ["--config", json.dumps({"export_ttl_s": 0, **json.loads(given)})]

    def start(self):
        self.err = open(os.path.join(self.d, self.name + ".err"), "a")
        self.p = subprocess.Popen([SIM, "--port", str(self.port), "--db", self.db, "--log", self.log, *self.config()],
                                  stdout=subprocess.PIPE, stderr=self.err, text=True)
        line = self.p.stdout.readline()
        if not line:
            raise RuntimeError("the simulator did not start: " + open(self.err.name).read()[-2000:])
        hello = json.loads(line)
        self.url, self.tokens = hello["url"], hello["tokens"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self, sig=signal.SIGTERM):
        if self.p:
            self.p.send_signal(sig)
            self.p.wait()
            self.p.stdout.close()
            self.err.close()
            self.p = None

    def call(self, path, body=None, token=None, method=None):
        data = None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
        req = urllib.request.Request(self.url + path, data=data, method=method)
        req.add_header("Content-Type", "application/json")
        if token:
            req.add_header("PRIVATE-TOKEN", token)
        with urllib.request.urlopen(req, timeout=60) as r:
            text = r.read()
        return json.loads(text) if text else None

    def dump(self):
        return self.call("/_sim/dump")

    def faults(self, *rules):
        self.call("/_sim/faults", list(rules))

    def reset_faults(self):
        self.call("/_sim/reset_faults", [])

    def requests(self):
        """The requests so far. A line that the simulator is still writing is not one yet: some tests read while it runs."""
        with open(self.log, "rb") as f:
            whole = f.read().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.split(b"\n") if line.strip()]


class Result:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def json(self):
        return json.loads(self.out)

    def lines(self):
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]

    def __str__(self):
        return f"exit {self.code}\n--- stdout\n{self.out[-3000:]}\n--- stderr\n{self.err[-3000:]}"


HOME = tempfile.mkdtemp(prefix="gstest-home.")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


REMEMBER = False  # across runs of the tools: that a bundle was loaded
homes = itertools.count()


def environment(token=None, **more):
    """The trust store and the memory of what was loaded are not those of who runs the tests; the memory is new for every run unless REMEMBER."""
    env = {k: v for k, v in os.environ.items() if k != "GITLAB_TOKEN"}
    env.update(XDG_CONFIG_HOME=HOME + "/config", XDG_STATE_HOME=HOME + "/state" + ("" if REMEMBER else str(next(homes))))
    if token:
        env["GITLAB_TOKEN"] = token
    env.update(more)
    return env


def run(binary, *args, token=None, cwd=None, timeout=300, input=None, env=None):
    began = time.monotonic()
    p = subprocess.run([binary, *map(str, args)], cwd=cwd, env=env or environment(token), capture_output=True,
                       timeout=timeout, input=input)
    return Result(p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace"),
                  time.monotonic() - began)


def snap(*args, **kw):
    return run(SNAP, *args, **kw)


def replay(*args, **kw):
    return run(REPLAY, *args, **kw)


def start(binary, *args, token=None, cwd=None):
    """A tool in the background, to be killed."""
    return subprocess.Popen([binary, *map(str, args)], cwd=cwd, env=environment(token), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# ---- GitLab's published GraphQL schemas ----


def contract_schema(name):
    """A schema of GITLAB_CONTRACT_DIR; None where that, or the library, is not there. Without descriptions, and with that form of `implements` which the version of
    the library reads."""
    path = os.path.join(CONTRACT, "graphql", name)
    try:
        import graphql
        from graphql import build_ast_schema, parse
    except ImportError:
        return None
    between = "&" if hasattr(graphql, "version_info") else ","  # 3.x, 2.x
    if not os.path.exists(path):
        return None
    sdl = open(path, encoding="utf-8").read()
    sdl = re.sub(r'"""(?:[^"\\]|\\.|"(?!""))*"""', "", sdl)
    sdl = re.sub(r" = null\b", "", sdl)
    sdl = re.sub(r'(?m)^\s*"(?:[^"\\]|\\.)*"\s*$', "", sdl)
    if not re.search(r"(?m)^schema\b", sdl):
        sdl = "schema { query: Query mutation: Mutation }\n" + sdl
    sdl = re.sub(r"(?m)^(interface \w+) implements [^{]*", r"\1 ", sdl)
    return build_ast_schema(parse(re.sub(r"(?m)^((?:type|interface) .*implements )(.*)\{", lambda m: m[1] + m[2].replace("&", between) + "{", sdl)))


def unfit_variables(schema, requests):
    """What is wrong, by the schema, with the variables of GraphQL requests in a simulator's log, each complaint once."""
    from graphql import GraphQLError, parse
    from graphql.execution.values import get_variable_values
    out, parsed = set(), {}
    for body in {json.dumps(x["body"], sort_keys=True) for x in requests if x["path"].endswith("/graphql") and isinstance(x.get("body"), dict)}:
        body = json.loads(body)
        definition = parsed.get(body["query"]) or parsed.setdefault(body["query"], parse(body["query"]).definitions[0])
        try:
            got = get_variable_values(schema, definition.variable_definitions or [], body.get("variables") or {})
            out |= {str(e)[:400] for e in got} if isinstance(got, list) else set()
        except GraphQLError as e:
            out.add(str(e)[:400])
    return sorted(out)


def keygen(d, name="key"):
    r = snap("keygen", "-o", name, "--no-passphrase", cwd=d)
    if r.code:
        raise RuntimeError(str(r))
    return os.path.join(d, name)


# ---- bundles and targets for the tests of the loader ----


def bundle(d, key, tree, name):
    """A bundle out of records: {group id: {"self": {...}, relation: [record, ...]}}, by way of a group export. Returns its file name."""
    top = os.path.join(d, name)
    base = os.path.join(top, "tree/groups")
    os.makedirs(base)
    with open(os.path.join(base, "_all.ndjson"), "w") as f:
        f.writelines(f"{gid}\n" for gid in tree)
    for gid, relations in tree.items():
        with open(os.path.join(base, f"{gid}.json"), "w") as f:
            json.dump(relations["self"], f)
        os.makedirs(os.path.join(base, str(gid)))
        for relation, rows in relations.items():
            if relation != "self":
                with open(os.path.join(base, str(gid), relation + ".ndjson"), "w") as f:
                    f.writelines(json.dumps(r) + "\n" for r in rows)
    r = snap("import-archive", top, "-o", name + ".gsnap", "--key", key, cwd=d)
    if r.code:
        raise RuntimeError(str(r))
    return name + ".gsnap"


class Target(Sim):
    """An instance without groups, and with these users (a document as the simulator's --users takes it)."""

    def __init__(self, d, name, *args, users):
        path = os.path.join(d, name + ".users.json")
        with open(path, "w") as f:
            json.dump(users, f)
        super().__init__(d, name, "--empty", "--users", path, *args)

    def rows(self, table, path, **match):
        """Rows of one table in the group with this full path."""
        dump = self.dump()
        groups = {g["id"]: g for g in dump["groups"]}

        def full(g):
            return (full(groups[g["parent_id"]]) + "/" if g.get("parent_id") else "") + g["path"]
        gid = [g["id"] for g in groups.values() if full(g) == path]
        return [x for x in dump.get(table, []) if gid and x.get("group_id") == gid[0] and all(x.get(k) == v for k, v in match.items())]

    def group(self, path):
        return self.call("/api/v4/groups/" + path.replace("/", "%2F"), token=self.tokens["admin"])


# ---- comparing what two instances hold ----

UNSET = {"id", "created_at", "updated_at"}


def normalised(dump, root):
    """The tree below the group with full path `root`, without ids, times and everything else that differs by instance:
    {path below the root: {"labels": [...], ...}}. Built from the simulator's dump alone, not from any code under test."""
    groups = {g["id"]: g for g in dump["groups"]}
    users = {u["id"]: u["username"] for u in dump["users"]}

    def full(g):
        return (full(groups[g["parent_id"]]) + "/" if g.get("parent_id") else "") + g["path"]

    out = {}
    labels = {x["id"]: x["title"] for x in dump.get("labels", [])}
    milestones = {x["id"]: x["title"] for x in dump.get("milestones", [])}
    for g in groups.values():
        path = full(g)
        if path != root and not path.startswith(root + "/"):
            continue
        here = {}
        here["self"] = {k: v for k, v in g.items() if k not in UNSET and not k.endswith("_id") and k not in ("full_path", "runners_token", "owner", "path")}
        for rel in ("labels", "milestones", "badges", "boards", "members"):
            rows = []
            for x in dump.get(rel, []):
                if x.get("group_id") != g["id"]:
                    continue
                row = {k: v for k, v in x.items() if k not in UNSET | {"group_id", "created_by", "created_by_id"}}
                if rel == "members":
                    row = {"user": users.get(x["user_id"]), "access_level": x["access_level"], "expires_at": x.get("expires_at")}
                if rel == "boards":
                    row["milestone_id"] = milestones.get(x.get("milestone_id"), x.get("milestone_id"))
                    row["assignee_id"] = users.get(x.get("assignee_id"))
                    row["label_ids"] = sorted(labels.get(i, "?") for i in x.get("label_ids") or [])
                    row["lists"] = [
                        {k: v for k, v in {**y, "label_id": labels.get(y.get("label_id")), "milestone_id": milestones.get(y.get("milestone_id")),
                                           "assignee_id": users.get(y.get("assignee_id"))}.items() if k not in UNSET | {"board_id", "position"}}
                        for y in sorted((y for y in dump.get("lists", []) if y.get("board_id") == x["id"]),
                                        key=lambda y: (y.get("position") is None, y.get("position") or 0))]
                rows.append(row)
            here[rel] = rows if rel in ("badges",) else sorted(rows, key=lambda r: json.dumps(r, sort_keys=True))
        out[path[len(root):].lstrip("/")] = here
    return out
