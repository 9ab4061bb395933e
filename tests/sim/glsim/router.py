"""Routes and the declared parameters of each, checked the way Grape does it."""
import datetime
import re

from .errors import ApiError, no_route, param_error

MISSING = object()


class Node:
    __slots__ = ("static", "param", "names", "methods")

    def __init__(self):
        self.static = {}
        self.param = None
        self.methods = {}


class Route:
    __slots__ = ("fn", "params", "scope", "rules", "names", "pattern", "anonymous")


ROOT = Node()


def route(method, pattern, params=(), scope=None, rules=(), anonymous=False):
    """Register a handler. `scope` names a weaker token scope that is enough, `rules` are
    (kind, names) pairs: exactly_one, at_least_one, mutually_exclusive, all_or_none."""

    def add(fn):
        node = ROOT
        names = []
        for seg in pattern.strip("/").split("/"):
            if seg.startswith(":"):
                names.append(seg[1:])
                if node.param is None:
                    node.param = Node()
                node = node.param
            else:
                node = node.static.setdefault(seg, Node())
        r = Route()
        r.fn, r.params, r.scope, r.rules, r.names = fn, tuple(params), scope, tuple(rules), names
        r.pattern, r.anonymous = pattern, anonymous
        if method in node.methods:
            raise RuntimeError("route %s %s registered twice" % (method, pattern))
        node.methods[method] = r
        return fn

    return add


def _find(node, segs, i, got):
    if i == len(segs):
        return (node, got) if node.methods else None
    nxt = node.static.get(segs[i])
    if nxt is not None:
        hit = _find(nxt, segs, i + 1, got)
        if hit:
            return hit
    if node.param is not None and segs[i]:
        return _find(node.param, segs, i + 1, got + [segs[i]])
    return None


def lookup(method, path):
    """path: below /api/v4, still percent-encoded, so that %2F stays inside its segment."""
    hit = _find(ROOT, path.strip("/").split("/"), 0, [])
    if hit is None:
        raise no_route()
    node, got = hit
    r = node.methods.get("GET" if method == "HEAD" else method)
    if r is None:
        raise ApiError(405, {"error": "405 Not Allowed"}, {"Allow": ", ".join(sorted(node.methods))})
    return r, dict(zip(r.names, got))


# ---- parameters ------------------------------------------------------------------------------

class Param:
    def __init__(self, name, type_, required, values, default, nullable, not_values, max_len):
        self.name, self.type, self.required = name, type_, required
        self.values, self.default, self.nullable, self.not_values = values, default, nullable, not_values
        self.max_len = max_len


def req(name, type_=str, values=None):
    return Param(name, type_, True, values, MISSING, True, None, None)


def opt(name, type_=str, values=None, default=MISSING, nullable=True, not_values=None):
    return Param(name, type_, False, values, default, nullable, not_values, None)


class Invalid(Exception):
    pass


DATE = re.compile(r"^(\d{4})[-/](\d{1,2})[-/](\d{1,2})")


def to_int(v):
    if isinstance(v, bool) or isinstance(v, (list, dict)):
        raise Invalid
    try:
        n = int(v) if isinstance(v, (int, float)) else int(v.strip(), 10)
    except (ValueError, AttributeError, OverflowError):
        raise Invalid from None
    if abs(n) >= 2 ** 63:
        raise Invalid
    return n


TRUE = frozenset("1 on On ON t true True TRUE T y yes Yes YES Y".split())
FALSE = frozenset("0 off Off OFF f false False FALSE F n no No NO N".split())


def to_bool(v):
    if isinstance(v, bool):
        return v
    if isinstance(v, (list, dict)):
        raise Invalid
    if v == 1 or v in TRUE:
        return True
    if v == 0 or v in FALSE:
        return False
    raise Invalid


def to_date(v):
    m = DATE.match(v) if isinstance(v, str) else None
    if not m:
        raise Invalid
    try:
        return datetime.date(int(m[1]), int(m[2]), int(m[3])).isoformat()
    except ValueError:
        raise Invalid from None


def to_time(v):
    try:
        t = datetime.datetime.fromisoformat(v.strip().replace("Z", "+00:00"))
    except (ValueError, AttributeError):
        raise Invalid from None
    if t.tzinfo is not None:
        t = t.astimezone(datetime.timezone.utc)
    return t.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (t.microsecond // 1000)


def to_str(v):
    if isinstance(v, (dict, list)):
        raise Invalid
    if isinstance(v, bool):
        return "true" if v else "false"
    return v if isinstance(v, str) else str(v)


def to_list(v):
    """Lists come as JSON arrays, as a[]=1&a[]=2, or as one comma separated string."""
    if isinstance(v, list):
        return [to_str(x) for x in v]
    if isinstance(v, dict):
        raise Invalid
    return [x for x in to_str(v).split(",") if x != ""]


def to_ints(v):
    return [to_int(x) for x in to_list(v)]


def to_hash(v):
    if not isinstance(v, dict):
        raise Invalid
    return v


def to_file(v):
    return v


CONVERT = {str: to_str, int: to_int, bool: to_bool, "date": to_date, "time": to_time, "list": to_list,
           "ints": to_ints, dict: to_hash, "file": to_file}


def check(route_, raw):
    """Return the declared parameters that were sent (undeclared ones are dropped in silence)."""
    out, errors = {}, []
    for p in route_.params:
        v = raw.get(p.name, MISSING)
        if v is MISSING:
            if p.required:
                errors.append("%s is missing" % p.name)
            elif p.default is not MISSING:
                out[p.name] = p.default
            continue
        if v is None:
            if not p.nullable:
                errors.append("%s does not have a valid value" % p.name)
            elif p.required:
                errors.append("%s is empty" % p.name if p.type is not str else "%s is missing" % p.name)
            out[p.name] = None
            continue
        if v == "" and p.type not in (str, "file", "list", "ints", dict):
            out[p.name] = None          # Grape reads an empty form value of a typed parameter as nil
            continue
        try:
            v = CONVERT[p.type](v)
        except Invalid:
            errors.append("%s is invalid" % p.name)
            continue
        if p.values is not None and v not in p.values:
            errors.append("%s does not have a valid value" % p.name)
            continue
        if p.not_values is not None and v in p.not_values:
            errors.append("%s has a value not allowed" % p.name)
            continue
        out[p.name] = v
    for kind, names in route_.rules:
        given = [n for n in names if raw.get(n) not in (None, MISSING) and n in raw]
        if kind == "exactly_one" and not given:
            errors.append("%s are missing, exactly one parameter must be provided" % ", ".join(names))
        elif kind in ("exactly_one", "mutually_exclusive") and len(given) > 1:
            errors.append("%s are mutually exclusive" % ", ".join(given))
        elif kind == "at_least_one" and not any(n in raw for n in names):
            errors.append("%s are missing, at least one parameter must be provided" % ", ".join(names))
        elif kind == "all_or_none" and given and len(given) != len(names):
            errors.append("%s provide all or none of parameters" % ", ".join(names))
    if errors:
        raise param_error(", ".join(errors))
    return out
