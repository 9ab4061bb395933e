#!/usr/bin/python3
"""Replies of the simulator against GitLab's published JSON schemas and GraphQL schema, where those are at hand."""
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim.testing import ROOT, SIM_DIR, Sim, Tap, eq, skip_all  # noqa: E402

CONTRACT = os.environ.get("GITLAB_CONTRACT_DIR") or os.path.join(os.path.dirname(ROOT), "shared", "contract")
if not os.path.isdir(os.path.join(CONTRACT, "api-schemas")):
    skip_all("GitLab's contract data is not at %s; set GITLAB_CONTRACT_DIR to check against it" % CONTRACT)

test = Tap()
sim = Sim("--seed", os.path.join(SIM_DIR, "demo_tree.json"))


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


def reply(path, name, drop=()):
    s, b = sim.get(path)
    eq(s, 200)
    assert b, "nothing to check in " + path
    sch = schema(name)
    if drop:
        sch["required"] = [k for k in sch["required"] if k not in drop]
    check(b, sch, path, os.path.dirname(name))


@test
def labels():
    """group labels"""
    reply("/groups/40/labels", "group_labels.json")
    reply("/groups/40/labels/1", "labels/label.json")
    reply("/groups/40/labels/1?with_counts=true", "labels/label_with_counts.json")


@test
def milestones():
    """milestones"""
    reply("/groups/40/milestones", "milestones.json")
    reply("/groups/40/milestones/1", "milestone.json")


@test
def boards():
    """boards and lists"""
    reply("/groups/41/boards", "boards.json")
    bid = sim.get("/groups/41/boards")[1][0]["id"]
    reply("/groups/41/boards/%d" % bid, "board.json")


@test
def members():
    """members and users"""
    reply("/groups/40/members", "members.json")
    reply("/groups/41/members/all", "members.json")
    reply("/users/11", "user/basic.json")


@test
def metadata():
    """metadata"""
    reply("/metadata", "metadata.json")


# Fields that came after the stored schema of about 15.0, with the version that has them.
NEWER = {("Group", "createdAt"), ("Group", "updatedAt"), ("Group", "emailsEnabled"), ("Group", "organizationId"),
         ("Group", "mathRenderingLimitsEnabled"), ("Group", "lockMathRenderingLimitsEnabled"), ("Group", "archived"),
         ("Group", "markedForDeletion"), ("Label", "lockOnMerge"), ("Label", "archived"), ("Milestone", "upcoming"),
         ("Milestone", "group"), ("Metadata", "enterprise"), ("Query", "groups"), ("Mutation", "labelUpdate"),
         ("Group", "groupMembers.accessLevels")}
NEWER_TYPES = {"Color", "JSON", "LabelUpdateInput", "LabelUpdatePayload"}


def parse_sdl(text):
    """-> {type: {field: ({argument names}, type)}} for types and inputs; argument lists are read by bracket."""
    text = re.sub(r'"""[\s\S]*?"""', "", text)
    text = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)
    text = re.sub(r"@\w+(\([^()]*\))?", "", text)
    out = {}
    for m in re.finditer(r"\b(type|input|interface)\s+(\w+)[^{]*\{", text):
        fields, i = {}, m.end()
        body = text[i:text.index("}", i)]
        if "{" in body:                         # default values may hold braces
            depth, j = 1, i
            while depth:
                depth += {"{": 1, "}": -1}.get(text[j], 0)
                j += 1
            body = text[i:j - 1].replace("{}", "")
        for f in re.finditer(r"(\w+)\s*(\(([^()]*)\))?\s*:\s*([\[\]!\w]+)", body):
            fields[f[1]] = (set(re.findall(r"(\w+)\s*:", f[3] or "")), f[4])
        out[m[2]] = fields
    return out


def own_sdl():
    import glsim.main  # noqa: F401 (registers every family)
    from glsim import gql
    text = "\n".join(gql.TYPES)
    for name, parts in gql.EXTENSIONS.items():
        text += "\ntype %s { %s }" % (name, "\n".join(p[0] for p in parts))
    return parse_sdl(text)


@test
def graphql_names():
    """every type, field, argument and field type of the simulator's GraphQL is one of GitLab's"""
    with open(os.path.join(CONTRACT, "graphql", "gitlab-15.0-ee.graphql"), encoding="utf-8") as f:
        theirs = parse_sdl(f.read())
    ours = own_sdl()
    assert len(ours) > 30 and len(theirs) > 1000
    wrong = []
    for t, fields in sorted(ours.items()):
        if t in NEWER_TYPES:
            continue
        if t not in theirs:
            wrong.append(t)
            continue
        for f, (args, kind) in fields.items():
            if (t, f) in NEWER:
                continue
            if f not in theirs[t]:
                wrong.append("%s.%s" % (t, f))
                continue
            wrong += ["%s.%s(%s)" % (t, f, a) for a in args - theirs[t][f][0] if (t, "%s.%s" % (f, a)) not in NEWER]
            if kind != theirs[t][f][1]:
                wrong.append("%s.%s: %s, theirs %s" % (t, f, kind, theirs[t][f][1]))
    eq(wrong, [])


code = test.run()
code = 1 if sim.stop() else code
sys.exit(code)
