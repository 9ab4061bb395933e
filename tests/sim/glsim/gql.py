"""POST /api/graphql: schema assembly, execution through graphql-core (2.x of Debian 12 or 3.x), error shapes.

Resource families contribute with `sdl` and `resolver`; objects are plain dictionaries, and a field without
a resolver is looked up in them by name (a callable is called)."""
import json
import logging
import re

import graphql
from graphql import build_ast_schema, execute, parse, validate

from . import auth, features
from .errors import ApiError
from .paging import CursorError
from .router import Invalid, to_time

TYPES, EXTENSIONS, RESOLVERS = [], {}, {}
_schemas, _by_version = {}, {}
logging.getLogger("graphql").setLevel(logging.CRITICAL + 1)     # resolver errors are answers here
V3 = not graphql.__version__.startswith("2.")
NOT_FOUND = "The resource that you are attempting to access does not exist or you don't have permission to perform this action"
MAX_CHARS = 10000


class GqlError(Exception):
    """Becomes an entry of the top-level errors."""


def sdl(text, since=(0, 0), ee=False, family=None):
    """Definitions for servers of at least that version, of that edition, and with that family (features.py)."""
    TYPES.append((text, since, ee, family))


PART = re.compile(r"<(until )?(?:(\d+)\.(\d+))?(ee)?:([^<>]*)>")


def parts_for(text, version, enterprise):
    """Resolve the parts of a definition that not every server has: <16.5: field: Int>, <ee: arg: ID>, <until 17.0: field: Int>."""
    return PART.sub(lambda m: m[5] if (not m[2] or (version >= (int(m[2]), int(m[3]))) != bool(m[1]))
                    and (enterprise or not m[4]) else "", text)


def extend(type_name, fields, since=(0, 0), ee=False, family=None):
    """Fields of a type; who knows them is said as for sdl()."""
    EXTENSIONS.setdefault(type_name, []).append((fields, since, ee, family))


def resolver(type_name, field):
    def add(fn):
        RESOLVERS[type_name, field] = fn
        return fn
    return add


def connection_type(name, count=False, **who):
    sdl("type %sConnection { %s nodes: [%s] edges: [%sEdge] pageInfo: PageInfo! }\n"
        "type %sEdge { cursor: String! node: %s }" % (name, count if isinstance(count, str) else "count: Int!" if count else "", name, name, name, name), **who)


def mutation(field, input_fields, payload_fields, since=(0, 0), ee=False, family=None, head=None):
    """A Relay mutation. The decorated function gets (ctx, input) and returns the payload without errors,
    or raises Refused with what goes into the payload's errors. head: what its types are called, where not as the field."""
    head = head or field[0].upper() + field[1:]
    sdl("input %sInput { clientMutationId: String %s }" % (head, input_fields), since, ee, family)
    sdl("type %sPayload { clientMutationId: String errors: [String!]! %s }" % (head, payload_fields), since, ee, family)
    extend("Mutation", "%s(input: %sInput!): %sPayload" % (field, head, head), since, ee, family)

    def add(fn):
        def run(obj, ctx, a):
            i = a["input"]
            ctx.app.db.run("SAVEPOINT mutation")
            try:
                out = fn(ctx, i)
                errors = []
                ctx.app.db.run("RELEASE mutation")
            except Refused as e:
                ctx.app.db.run("ROLLBACK TO mutation")
                ctx.app.db.run("RELEASE mutation")
                out, errors = dict(e.payload), e.errors
            except BaseException:
                ctx.app.db.run("ROLLBACK TO mutation")
                ctx.app.db.run("RELEASE mutation")
                raise
            out.update(errors=errors + out.get("errors", []), clientMutationId=i.get("clientMutationId"))
            return out
        RESOLVERS["Mutation", field] = run
        return fn
    return add


class Refused(Exception):
    def __init__(self, *errors, payload=None):
        super().__init__(errors)
        self.errors, self.payload = list(errors), payload or {}


# ---- ids -------------------------------------------------------------------------------------

def gid(kind, n):
    return "gid://gitlab/%s/%d" % (kind, n)


def ungid(text, *kinds):
    """The number inside a global id of one of the kinds."""
    m = re.match(r"^gid://gitlab/([\w:]+)/(-?\d+)$", text or "")
    if not m:
        raise GqlError('"%s" is not a valid Global ID' % text)
    if kinds and m[1] not in kinds:
        raise GqlError('"%s" does not represent an instance of %s' % (text, kinds[0]))
    return int(m[2])


def opt_gid(text, *kinds):
    return None if text is None else ungid(text, *kinds)


# ---- schema ----------------------------------------------------------------------------------

ALWAYS = "Time Date JSON ISO8601Date GroupID LabelID MilestoneID BoardID ListID UserID".split()
# Those of a family are there when something names them.
SCALARS = ALWAYS + """IterationID IterationsCadenceID EpicID EpicTreeSortingID BoardsEpicBoardID BoardsEpicListID NoteID NoteableID
DiscussionID AwardableID WorkItemID WorkItemsTypeID SystemNoteMetadataID Color""".split()


def schema(version, enterprise, families=None):
    """A field that the server does not know yet must be refused, so each version has its own schema.
    families: as features.families() tells them; those of an untouched server of that version when absent."""
    if families is None:
        families = features.families(version)
    if (version, enterprise, families) in _by_version:
        return _by_version[version, enterprise, families]

    def there(since, ee, family):
        return version >= since and (enterprise or not ee) and (family is None or family in families)
    chosen = {name: [f for f, *who in parts if there(*who)] for name, parts in EXTENSIONS.items()}
    body = [t for t, *who in TYPES if there(*who)]
    for name, fields in chosen.items():
        if fields:
            body.append("type %s%s { %s }" % (name, IMPLEMENTS.get(name, ""), "\n".join(fields)))
    body = parts_for("\n".join(body), version, enterprise)
    words = set(re.findall(r"\w+", body))
    key = "\n".join(["schema { query: Query mutation: Mutation }"] + ["scalar " + s for s in SCALARS if s in words
                                                                     or s in ALWAYS] + [body])
    if key not in _schemas:
        _schemas[key] = build_ast_schema(parse(key))
        wire(_schemas[key])
    _by_version[version, enterprise, families] = _schemas[key]
    return _schemas[key]


# Types made of extensions only, which implement an interface.
IMPLEMENTS = {}


def wire(s):
    type_map = s.type_map if V3 else s.get_type_map()
    for name, t in type_map.items():
        kind = type(t).__name__
        if kind == "GraphQLScalarType" and name in SCALARS:
            t.serialize = lambda v: v
            t.parse_value = scalar_in(name)
            t.parse_literal = literal_in(name)
        elif kind in ("GraphQLInterfaceType", "GraphQLUnionType"):
            t.resolve_type = lambda obj, info, *a: obj["__typename"] if V3 else s.get_type(obj["__typename"])
        elif kind == "GraphQLObjectType" and not name.startswith("__"):
            for fname, f in t.fields.items():
                setattr(f, "resolve" if V3 else "resolver", field_function(name, fname))


def scalar_in(name):
    def convert(v):
        if name == "Time":
            try:
                return to_time(v)
            except Invalid:
                raise ValueError('"%s" is not a valid Time' % v) from None
        if name.endswith("ID") and not isinstance(v, str):
            raise ValueError('"%s" is not a valid Global ID' % v)
        return v
    return convert


def literal_in(name):
    convert = scalar_in(name)

    def literal(node, *_):
        return convert(getattr(node, "value", None))
    return literal


def field_function(type_name, field):
    fn = RESOLVERS.get((type_name, field))

    def resolve(obj, info, **args):
        ctx = info.context
        if fn is not None:
            return fn(obj, ctx, args)
        v = obj.get(field) if isinstance(obj, dict) else None
        return v() if callable(v) else v
    return resolve


# ---- cost ------------------------------------------------------------------------------------

def name_of(node):
    return node.name.value


def selections(node):
    ss = node.selection_set
    return ss.selections if ss else ()


def cost_of(node, fragments, variables, depth=0):
    """Every field costs 1; a connection costs its content once more for each hundred wanted rows."""
    total = 0
    if depth > 60:
        return total
    for sel in selections(node):
        kind = type(sel).__name__.replace("Node", "")
        if kind == "FragmentSpread":
            f = fragments.get(name_of(sel))
            total += cost_of(f, fragments, variables, depth + 1) if f is not None else 0
            continue
        inner = cost_of(sel, fragments, variables, depth + 1)
        if kind == "InlineFragment":
            total += inner
            continue
        cost = 1 + inner
        names = {name_of(x) for x in selections(sel) if type(x).__name__.startswith("Field")}
        if names & {"nodes", "edges"}:
            size = 100
            for a in sel.arguments or ():
                if name_of(a) in ("first", "last"):
                    v = a.value
                    v = variables.get(name_of(v)) if type(v).__name__.startswith("Variable") else getattr(v, "value", None)
                    if v is not None and str(v).isdigit():
                        size = min(int(v), 100)
            cost += inner * size // 100
        total += cost
    return total


# ---- HTTP ------------------------------------------------------------------------------------

def errors_body(*messages):
    return {"errors": [{"message": m} for m in messages]}


def http(ctx):
    if ctx.method != "POST":
        raise ApiError(404, {"errors": [{"message": "Not found"}]})
    if ctx.token_sent:
        try:
            auth.authenticate(ctx, ("api", "read_api"))
        except ApiError as e:
            if e.status == 401:
                raise ApiError(401, errors_body("Invalid token")) from None
            raise ApiError(403, e.body) from None
    try:
        req = json.loads(ctx.body)
    except ValueError:
        req = None
    if not isinstance(req, dict):
        raise ApiError(400, errors_body("Unexpected end of document" if not ctx.body else "Invalid JSON"))
    ctx.log_body = req
    variables = req.get("variables")
    if isinstance(variables, str):
        try:
            variables = json.loads(variables) if variables.strip() else {}
        except ValueError:
            raise ApiError(422, errors_body("Invalid variables: unexpected token")) from None
    if variables is None:
        variables = {}
    if not isinstance(variables, dict):
        raise ApiError(422, errors_body("Unexpected parameter: %s" % json.dumps(variables)))
    return 200, run(ctx, req.get("query"), variables, req.get("operationName"))


def run(ctx, query, variables, operation):
    if not isinstance(query, str) or not query.strip():
        return errors_body("An error has occurred" if query is None else "Unexpected end of document")
    if len(query) > MAX_CHARS:
        return errors_body("Query too large")
    s = schema(ctx.version, ctx.app.enterprise, features.families(ctx.version, ctx.app.config))
    try:
        doc = parse(query)
    except Exception as e:
        return {"errors": [error_entry(e)]}
    problems = validate(s, doc)
    if problems:
        return {"errors": [error_entry(e, validation=True) for e in problems]}
    ops = [d for d in doc.definitions if type(d).__name__.startswith("OperationDefinition")]
    if operation:
        ops = [d for d in ops if d.name and d.name.value == operation]
    if len(ops) != 1:
        return errors_body("No operation named %r" % operation if operation else "An operation name is required")
    op = ops[0]
    kind = op.operation if isinstance(op.operation, str) else op.operation.value
    fragments = {name_of(d): d for d in doc.definitions if type(d).__name__.startswith("Fragment")}
    limit = ctx.app.config["graphql_max_complexity"]
    score = cost_of(op, fragments, variables)
    if limit:
        limit = limit if ctx.user is not None else limit - 50
        if score > limit:
            return errors_body("Query has complexity of %d, which exceeds max complexity of %d" % (score, limit))
    ctx.query_cost = (score, limit)
    if kind == "mutation":
        if ctx.user is None or "api" not in ctx.scopes:
            names = [name_of(x) for x in selections(op)]
            return {"errors": [{"message": NOT_FOUND, "locations": [], "path": [n]} for n in names],
                    "data": {n: None for n in names}}
        ctx.app.db.begin()
    try:
        r = execute(s, doc, None, ctx, variables, operation)
    except graphql.GraphQLError as e:       # 2.x raises for variables that do not fit, 3.x puts them into the result
        return {"errors": [error_entry(e)]}
    out = {"data": r.data}
    if r.errors:
        out["errors"] = [error_entry(e) for e in r.errors]
        if r.data is None and any(not getattr(e, "path", None) for e in r.errors):
            del out["data"]         # a variable of the wrong type: nothing was executed
    return out


def error_entry(e, validation=False):
    cause = getattr(e, "original_error", None)
    if cause is not None and not isinstance(
            cause, (GqlError, CursorError, ApiError, ValueError, graphql.GraphQLError)):
        import traceback
        traceback.print_exception(type(cause), cause, cause.__traceback__)
        text = "Internal server error"
    elif isinstance(cause, ApiError):
        text = NOT_FOUND
    else:
        text = str(cause) if isinstance(cause, (GqlError, CursorError)) else getattr(e, "message", str(e))
    m = re.match(r'^Cannot query field "?\'?(\w+)"?\'? on type "?\'?(\w+)"?\'?', text)
    if m:
        text = "Field '%s' doesn't exist on type '%s'" % (m[1], m[2])
    out = {"message": text}
    if getattr(e, "locations", None):
        out["locations"] = [{"line": x.line, "column": x.column} for x in e.locations]
    if getattr(e, "path", None):
        out["path"] = list(e.path)
    if validation:
        out.setdefault("path", [])
        out["extensions"] = {"code": "undefinedField" if m else "argumentLiteralsIncompatible"}
    return out
