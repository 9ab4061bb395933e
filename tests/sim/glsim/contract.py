"""For test programs: GitLab's published schemas, and comparing the simulator with them."""
import json
import os
import re

from .testing import ROOT

CONTRACT = os.environ.get("GITLAB_CONTRACT_DIR") or os.path.join(os.path.dirname(ROOT), "shared", "contract")


def there():
    return os.path.isdir(os.path.join(CONTRACT, "api-schemas"))


def schema(name):
    with open(os.path.join(CONTRACT, "api-schemas", name), encoding="utf-8") as f:
        return json.load(f)


KINDS = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None), "number": (int, float)}


def check(value, sch, where, folder=""):
    """Required keys and plain types; formats and additionalProperties are of mixed age and left alone."""
    if "$ref" in sch:
        name = os.path.normpath(os.path.join(folder, sch["$ref"]))
        return check(value, schema(name), where, os.path.dirname(name))
    for part in sch.get("allOf", ()):
        check(value, part, where, folder)
    types = sch.get("type")
    if types:
        types = [t.strip() for t in ([types] if isinstance(types, str) else types)]
        if not any(t == "date" or t in KINDS and isinstance(value, KINDS[t]) for t in types) and value is not None:
            raise AssertionError("%s: %r is not %s" % (where, value, types))
    if isinstance(value, dict):
        missing = set(sch.get("required", ())) - set(value)
        if missing:
            raise AssertionError("%s: missing %s" % (where, ", ".join(sorted(missing))))
        for k, sub in sch.get("properties", {}).items():
            if k in value and isinstance(sub, dict):
                check(value[k], sub, where + "." + k, folder)
    if isinstance(value, list) and isinstance(sch.get("items"), dict):
        for i, v in enumerate(value):
            check(v, sch["items"], "%s[%d]" % (where, i), folder)


def published(name):
    """A stored schema, without descriptions and with the older form of `implements`, which every version of the library reads."""
    with open(os.path.join(CONTRACT, "graphql", name), encoding="utf-8") as f:
        text = f.read()
    text = re.sub(r'"""(?:[^"\\]|\\.|"(?!""))*"""', "", text)
    text = re.sub(r" = null\b", "", text)
    text = re.sub(r'(?m)^\s*"(?:[^"\\]|\\.)*"\s*$', "", text)
    if not re.search(r"(?m)^schema\b", text):
        text = "schema { query: Query mutation: Mutation }\n" + text
    text = re.sub(r"(?m)^(interface \w+) implements [^{]*", r"\1 ", text)
    return re.sub(r"(?m)^((?:type|interface) .*implements )(.*)\{", lambda m: m[1] + m[2].replace("&", ",") + "{", text)


def types(schema):
    return {k: v for k, v in (schema.type_map if hasattr(schema, "type_map") else schema.get_type_map()).items()
            if not k.startswith("__")}


def values(enum):
    return {v if isinstance(v, str) else v.name for v in enum.values}


def strangers(ours, theirs):
    """Names in `ours` that `theirs` does not have, or has with another type."""
    out = []
    for name, t in sorted(ours.items()):
        if name not in theirs:
            out.append(name)
            continue
        if type(t).__name__ == "GraphQLEnumType":
            out += ["%s.%s" % (name, v) for v in values(t) - values(theirs[name])]
        for f, d in getattr(t, "fields", {}).items():
            other = theirs[name].fields.get(f)
            where = "%s.%s" % (name, f)
            if other is None:
                out.append(where)
                continue
            if str(d.type) != str(other.type):
                out.append("%s: %s, theirs %s" % (where, d.type, other.type))
            for a, arg in getattr(d, "args", {}).items():
                if a not in other.args or str(arg.type) != str(other.args[a].type):
                    out.append("%s(%s)" % (where, a))
    return out


# ---- replies of GraphQL ----------------------------------------------------------------------

TIME = re.compile(r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?Z)?$")
PLAIN = {"Int": int, "Float": (int, float), "Boolean": bool}


def sdl(name):
    """A stored schema, built."""
    from graphql import build_ast_schema, parse
    return build_ast_schema(parse(published(name)))


def conforms(schema_, query, data):
    """What is wrong with a document, or with the data that answered it, in the eyes of a schema."""
    from graphql import parse, validate
    doc = parse(query)
    out = [getattr(e, "message", str(e)) for e in validate(schema_, doc)]
    known = types(schema_)
    op = next(d for d in doc.definitions if type(d).__name__.startswith("OperationDefinition"))
    kind = op.operation if isinstance(op.operation, str) else op.operation.value
    fragments = {d.name.value: d for d in doc.definitions if type(d).__name__.startswith("FragmentDefinition")}

    def fields(selection_set, t, value, path):
        for s in selection_set.selections:
            what = type(s).__name__.replace("Node", "")
            if what != "Field":
                f = fragments[s.name.value] if what == "FragmentSpread" else s
                name = f.type_condition.name.value if f.type_condition else t.name
                if name == t.name or value.get("__typename") == name:
                    fields(f.selection_set, known[name], value, path)
                continue
            key = (s.alias or s.name).value
            if s.name.value == "__typename":
                continue
            if s.name.value not in t.fields:
                continue        # validate() has told
            if key not in value:
                out.append("%s.%s is missing" % (path, key))
            else:
                one(t.fields[s.name.value].type, s, value[key], "%s.%s" % (path, key))

    def one(t, node, v, path):
        name = type(t).__name__
        if name == "GraphQLNonNull":
            if v is None:
                out.append(path + " is null")
            return one(t.of_type, node, v, path)
        if v is None:
            return None
        if name == "GraphQLList":
            for i, x in enumerate(v if isinstance(v, list) else [v]):
                one(t.of_type, node, x, "%s[%d]" % (path, i))
        elif name in ("GraphQLObjectType", "GraphQLInterfaceType", "GraphQLUnionType"):
            fields(node.selection_set, t, v, path)
        elif name == "GraphQLEnumType":
            if v not in values(t):
                out.append("%s: %r is no %s" % (path, v, t.name))
        elif t.name in ("Time", "Date"):
            if not isinstance(v, str) or not TIME.match(v):
                out.append("%s: %r is no %s" % (path, v, t.name))
        elif not isinstance(v, PLAIN.get(t.name, str)) or t.name == "Int" and isinstance(v, bool):
            out.append("%s: %r is no %s" % (path, v, t.name))
        return None

    fields(op.selection_set, known["Mutation" if kind == "mutation" else "Query"], data, kind)
    return out
