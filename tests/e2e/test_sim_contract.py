#!/usr/bin/python3
"""Replies of the simulator against GitLab's published JSON schemas and GraphQL schema, where those are at hand."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim.contract import CONTRACT, check, published, schema, strangers, there, types, values  # noqa: E402
from glsim.testing import SIM_DIR, Sim, Tap, eq, skip_all  # noqa: E402

if not there():
    skip_all("GitLab's contract data is not at %s; set GITLAB_CONTRACT_DIR to check against it" % CONTRACT)

test = Tap()
sim = Sim("--seed", os.path.join(SIM_DIR, "demo_tree.json"))


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


@test
def graphql_names():
    """the GraphQL schema of the versions whose own is stored holds nothing that theirs does not"""
    from graphql import build_ast_schema, parse
    import glsim.main  # noqa: F401 (registers every family)
    from glsim import gql
    for version, enterprise, name in (((15, 0), True, "gitlab-15.0-ee.graphql"), ((15, 2), False, "gitlab-15.2-ce.graphql")):
        ours, theirs = types(gql.schema(version, enterprise)), types(build_ast_schema(parse(published(name))))
        assert len(ours) > 30 and len(theirs) > 800, (len(ours), len(theirs))
        eq(strangers(ours, theirs), [], name)
    assert strangers(types(gql.schema((18, 10), True)), theirs), "the comparison finds nothing"


@test
def graphql_by_version():
    """fields, arguments and enum values come with their version and edition"""
    from glsim import gql

    def has(version, ee, type_name, field, arg=None):
        t = types(gql.schema(version, ee)).get(type_name)
        if t is None:
            return False
        if type(t).__name__ == "GraphQLEnumType":
            return field in values(t)
        return field in t.fields and (arg is None or arg in t.fields[field].args)
    for name, field, arg, since in (("GroupMemberRelation", "SHARED_FROM_GROUPS", None, (14, 7)),
                                    ("AccessLevelEnum", "PLANNER", None, (17, 7)),
                                    ("Group", "groupMembers", "accessLevels", (15, 2)),
                                    ("Label", "lockOnMerge", None, (16, 3)), ("Mutation", "labelUpdate", None, (18, 10))):
        before = (since[0], since[1] - 1) if since[1] else (since[0] - 1, 11)
        eq((has(before, True, name, field, arg), has(since, True, name, field, arg)), (False, True), "%s.%s" % (name, field))
    for name, field in (("Board", "weight"), ("CreateBoardInput", "labels"), ("BoardListCreateInput", "assigneeId"),
                        ("Mutation", "boardListUpdateLimitMetrics"), ("BoardList", "limitMetric")):
        eq((has((17, 8), False, name, field), has((17, 8), True, name, field)), (False, True), "%s.%s" % (name, field))


code = test.run()
code = 1 if sim.stop() else code
sys.exit(code)
