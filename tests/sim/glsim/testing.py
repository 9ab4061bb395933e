"""For test programs: start a simulator, talk to it, print TAP."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
import urllib.error
import urllib.request

SIM_DIR = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
ROOT = os.path.dirname(os.path.dirname(SIM_DIR))


class Sim:
    """A running simulator in a folder of its own."""

    def __init__(self, *args, folder=None, db="sim.db", log=True):
        self.own = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="glsim.")
        self.db = os.path.join(self.folder, db)
        self.args = [os.path.join(SIM_DIR, "gitlab-sim"), "--db", self.db, *args]
        if log:
            self.args += ["--log", self.db + ".log"]
        self.port = 0
        self.start()

    def start(self, port=0):
        self.proc = subprocess.Popen(self.args + ["--port", str(port)], stdout=subprocess.PIPE)
        line = self.proc.stdout.readline()
        if not line:
            raise RuntimeError("the simulator did not start (exit %s)" % self.proc.wait())
        hello = json.loads(line)
        self.url, self.tokens = hello["url"], hello["tokens"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def kill(self):
        """As if the power had failed: SIGKILL."""
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()

    def stop(self):
        self.proc.terminate()
        code = self.proc.wait(10)
        self.proc.stdout.close()
        if self.own:
            shutil.rmtree(self.folder, ignore_errors=True)
        return code

    def raw(self, method, path, body=None, token="owner", headers=None, timeout=10):
        """-> (status, headers, bytes)"""
        h = dict(headers or {})
        if token:
            h["PRIVATE-TOKEN"] = self.tokens.get(token, token)
        data = None
        if isinstance(body, (dict, list)):
            data = json.dumps(body).encode()
            h.setdefault("Content-Type", "application/json")
        elif body is not None:
            data = body
        r = urllib.request.Request(self.url + path, data=data, method=method, headers=h)
        try:
            with urllib.request.urlopen(r, timeout=timeout) as a:
                return a.status, a.headers, a.read()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.headers, e.read()

    def call(self, method, path, body=None, **kw):
        """-> (status, parsed JSON or text) of /api/v4/path"""
        status, _, data = self.raw(method, "/api/v4" + path, body, **kw)
        try:
            return status, json.loads(data) if data else None
        except ValueError:
            return status, data.decode("utf-8", "replace")

    def get(self, path, **kw):
        return self.call("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.call("POST", path, body or {}, **kw)

    def put(self, path, body=None, **kw):
        return self.call("PUT", path, body or {}, **kw)

    def delete(self, path, **kw):
        return self.call("DELETE", path, **kw)

    def gql(self, query, variables=None, token="owner"):
        status, _, data = self.raw("POST", "/api/graphql", {"query": query, "variables": variables or {}}, token=token)
        return status, json.loads(data)

    def control(self, method, name, body=None):
        status, _, data = self.raw(method, "/_sim/" + name, body, token=None)
        if status != 200:
            raise RuntimeError("_sim/%s: %d %s" % (name, status, data))
        return data if name in ("dump", "log") else json.loads(data)

    def dump(self):
        return json.loads(self.control("GET", "dump"))

    def log(self):
        return [json.loads(x) for x in self.control("GET", "log").splitlines()]


class Tap:
    """Collects test functions and runs them in order; `before`, when set, is called before each."""

    def __init__(self):
        self.tests, self.before = [], None

    def __call__(self, fn):
        self.tests.append((fn.__doc__.strip().splitlines()[0] if fn.__doc__ else fn.__name__, fn))
        return fn

    def run(self):
        failed = 0
        for i, (name, fn) in enumerate(self.tests, 1):
            try:
                if self.before:
                    self.before()
                r = fn()
                skip = " # SKIP " + r if isinstance(r, str) else ""
                print("ok %d - %s%s" % (i, name, skip), flush=True)
            except Exception:
                failed += 1
                print("not ok %d - %s" % (i, name))
                for line in traceback.format_exc().splitlines():
                    print("# " + line)
                sys.stdout.flush()
        print("1..%d" % len(self.tests))
        return 1 if failed else 0


def eq(got, want, what=""):
    if got != want:
        raise AssertionError("%s: got %r, want %r" % (what or "value", got, want))


def skip_all(reason):
    print("1..0 # SKIP %s" % reason)
    sys.exit(0)
