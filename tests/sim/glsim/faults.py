"""Scripted misbehaviour: which request is hit, and by what."""
import json
import random
import re

ACTIONS = ("status", "after_status", "lose_answer", "reset", "reset_after", "cut_after", "stall_ms", "delay_ms", "twice", "twice_lost",
           "stale_ms", "html", "wrong_length", "drop_sudo", "drip_ms")
MATCHES = ("method", "path", "query", "n", "nth", "every", "first", "probability", "seed", "body", "user")
DETAILS = ("headers", "body", "chunk")
BESIDE = ("stale_ms",)  # may stand beside another action


class FaultError(Exception):
    pass


class Rule:
    def __init__(self, obj):
        if not isinstance(obj, dict) or not isinstance(obj.get("do"), dict):
            raise FaultError("a fault rule is an object with 'match' and 'do'")
        unknown = set(obj) - {"match", "times", "do", "name"}
        m = obj.get("match") or {}
        unknown |= set(m) - set(MATCHES)
        do = obj["do"]
        unknown |= set(do) - set(ACTIONS) - set(DETAILS)
        kinds = [a for a in ACTIONS if a in do]
        if len(kinds) > 1:
            kinds = [a for a in kinds if a not in BESIDE]
        if unknown or len(kinds) != 1:
            raise FaultError("fault rule %s: %s" % (json.dumps(obj), "unknown key %s" % ", ".join(sorted(unknown))
                                                    if unknown else "exactly one action is needed"))
        self.kind, self.do, self.arg = kinds[0], do, do[kinds[0]]
        self.name = obj.get("name") or self.kind
        methods = m.get("method")
        self.methods = [methods] if isinstance(methods, str) else methods
        self.stale_ms = do.get("stale_ms")
        self.path = re.compile(m["path"]) if "path" in m else None
        self.query = re.compile(m["query"]) if "query" in m else None
        self.body = re.compile(m["body"]) if "body" in m else None
        self.user = m.get("user")
        self.n, self.nth, self.every, self.probability = m.get("n"), m.get("nth"), m.get("every"), m.get("probability")
        self.random = random.Random(m.get("seed", 0))
        self.times = obj.get("times", 1)
        self.known = set() if m.get("first") else None
        self.seen = self.used = 0

    def hits(self, n, method, path, body, user, query=""):
        if self.times and self.used >= self.times:
            return False
        if self.methods and method not in self.methods or self.path and not self.path.search(path):
            return False
        if self.query and not self.query.search(query):
            return False
        if self.body and not self.body.search(body.decode("utf-8", "replace")):
            return False
        if self.user and self.user != user:
            return False
        self.seen += 1
        if self.n is not None and n != self.n or self.nth is not None and self.seen != self.nth:
            return False
        if self.every and self.seen % self.every:
            return False
        if self.known is not None:
            # a form has another boundary each time
            edge = body.split(b"\r\n", 1)[0] if body.startswith(b"--") else b""
            what = (method, path, body.replace(edge, b"") if edge else body)
            if what in self.known:
                return False
            self.known.add(what)
        if self.probability is not None and self.random.random() >= self.probability:
            return False
        self.used += 1
        return True


def parse(text):
    """A JSON array, one object, or one object per line."""
    text = text.strip()
    if not text:
        return []
    try:
        v = json.loads(text)
        rules = v if isinstance(v, list) else [v]
    except ValueError:
        try:
            rules = [json.loads(line) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        except ValueError as e:
            raise FaultError("fault rules are not JSON: %s" % e) from None
    return [Rule(r) for r in rules]


def pick(rules, n, method, path, body, user, query=""):
    """Every rule counts the request; the first that fires wins."""
    hit = None
    for r in rules:
        if hit is None:
            if r.hits(n, method, path, body, user, query):
                hit = r
        elif not (r.methods and method not in r.methods or r.path and not r.path.search(path)
                  or r.query and not r.query.search(query)):
            r.seen += 1
    return hit
