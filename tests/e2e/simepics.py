"""A simulated GitLab with the planning tree, and short words for what is asked of its epics: for the programs that test the simulator's epics."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim import contract  # noqa: E402
from glsim.testing import SIM_DIR, Sim, Tap, eq  # noqa: E402

test = Tap()
TREE = os.path.join(SIM_DIR, "planning_tree.json")
V = "18.8.0-ee"
sim = Sim("--seed", TREE, "--version", V, "--tier", "ultimate", "--config", '{"delete_delay_ms": 0}')
ROOT, PRODUCT = "halden-planning", "halden-planning/product"
G = sim.get("/groups/" + ROOT)[1]["id"]
P = sim.get("/groups/halden-planning%2Fproduct")[1]["id"]
USERS = {u["username"]: u["id"] for u in sim.dump()["users"]}
sim.control("POST", "snapshot", {"name": "seeded"})
SDL = contract.sdl("gitlab-15.0-ee.graphql") if contract.there() else None


def config(**kw):
    sim.control("POST", "config", kw)


def fresh(**kw):
    """Back to the seed; with other settings."""
    sim.control("POST", "restore", {"name": "seeded"})
    sim.control("POST", "reset_faults")
    if kw:
        config(**kw)


def good(answer, status=200):
    if answer[0] != status:
        raise AssertionError("status %d: %s" % answer)
    return answer[1]


def bad(answer, status, body):
    eq(answer, (status, body))


def ask(query, token="owner", **variables):
    """Data of a query; on a 15.0 server its document and the reply must be what the published schema says."""
    s, b = sim.gql(query, variables, token=token)
    eq(s, 200)
    if "errors" in b:
        raise AssertionError(b["errors"])
    if SDL and sim.control("GET", "config")["version"].startswith("15.0"):
        eq(contract.conforms(SDL, query, b["data"]), [])
    return b["data"]


def top_errors(query, token="owner", **variables):
    s, b = sim.gql(query, variables, token=token)
    eq(s, 200)
    return [e["message"] for e in b["errors"]]


def mutate(field, fields, token="owner", head=None, **given):
    """-> the payload"""
    q = "mutation($input: %sInput!) { %s(input: $input) { errors %s } }" % (head or field[0].upper() + field[1:], field, fields)
    return ask(q, token=token, input=given)[field]


def epic(title="an epic", g=None, token="owner", **p):
    return good(sim.post("/groups/%s/epics" % (g or G), {"title": title, **p}, token=token), 201)


def get(e, **kw):
    return good(sim.get("/groups/%d/epics/%d" % (e["group_id"], e["iid"]), **kw))


def put(e, token="owner", status=200, **p):
    return good(sim.put("/groups/%d/epics/%d" % (e["group_id"], e["iid"]), p, token=token), status)


def row(e):
    return next(x for x in sim.dump()["epics"] if x["id"] == e["id"])


NOT_FOUND = "The resource that you are attempting to access does not exist or you don't have permission to perform this action"


test.before = fresh


def finish():
    code = test.run()
    sys.exit(1 if sim.stop() else code)
