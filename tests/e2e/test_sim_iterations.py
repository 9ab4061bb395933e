#!/usr/bin/python3
"""Iterations and cadences of the simulator: made over GraphQL, manual and automatic, states from the dates, read over REST as well."""
import datetime
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "sim"))
from glsim import contract  # noqa: E402
from glsim.testing import SIM_DIR, Sim, Tap, eq  # noqa: E402

test = Tap()
sim = Sim("--seed", os.path.join(SIM_DIR, "planning_tree.json"), "--version", "15.0.5-ee", "--tier", "premium")
ROOT, PRODUCT = "halden-planning", "halden-planning/product"
G, P = (sim.get("/groups/" + x.replace("/", "%2F"))[1]["id"] for x in (ROOT, PRODUCT))
sim.control("POST", "snapshot", {"name": "seeded"})
SDL = contract.sdl("gitlab-15.0-ee.graphql") if contract.there() else None
NOT_FOUND = "The resource that you are attempting to access does not exist or you don't have permission to perform this action"
OVERLAP = "Dates cannot overlap with other existing Iterations within this iterations cadence"
CADENCE = "id title description durationInWeeks iterationsInAdvance startDate automatic active rollOver"
ITERATION = "id iid sequence title description state startDate dueDate createdAt updatedAt webUrl scopedPath iterationCadence { id title }"
DAY = datetime.timedelta(days=1)


def today():
    return datetime.datetime.utcnow().date()


def config(**kw):
    sim.control("POST", "config", kw)


def fresh(**kw):
    sim.control("POST", "restore", {"name": "seeded"})
    sim.control("POST", "reset_faults")
    if kw:
        config(**kw)


def ask(query, token="owner", **variables):
    s, b = sim.gql(query, variables, token=token)
    eq(s, 200)
    if "errors" in b:
        raise AssertionError(b["errors"])
    if SDL:
        eq(contract.conforms(SDL, query, b["data"]), [])
    return b["data"]


def top_errors(query, token="owner", **variables):
    s, b = sim.gql(query, variables, token=token)
    eq(s, 200)
    return [e["message"] for e in b["errors"]]


def mutate(field, fields, token="owner", head=None, **given):
    head = head or field[0].upper() + field[1:]
    return ask("mutation($input: %sInput!) { %s(input: $input) { errors %s } }" % (head, field, fields), token=token, input=given)[field]


def cadence(title="A cadence", path=ROOT, automatic=False, active=True, ok=True, **p):
    r = mutate("iterationCadenceCreate", "iterationCadence { %s }" % CADENCE, groupPath=path, title=title, automatic=automatic, active=active, **p)
    if ok:
        eq(r["errors"], [])
        return r["iterationCadence"]
    eq(r["iterationCadence"], None)
    return r["errors"]


def change(c, ok=True, **p):
    r = mutate("iterationCadenceUpdate", "iterationCadence { %s }" % CADENCE, id=c["id"], **p)
    if ok:
        eq(r["errors"], [])
        return r["iterationCadence"]
    return r["errors"]


def iteration(c, start, due, path=ROOT, ok=True, **p):
    r = mutate("iterationCreate", "iteration { %s }" % ITERATION, head="iterationCreate", groupPath=path, iterationsCadenceId=c["id"],
               startDate=start and str(start), dueDate=due and str(due), **p)
    if ok:
        eq(r["errors"], [])
        return r["iteration"]
    eq(r["iteration"], None)
    return r["errors"]


def of(c, path=ROOT, **a):
    q = "query($p: ID!, $c: [IterationsCadenceID!]) { group(fullPath: $p) { iterations(iterationCadenceIds: $c, first: 100) { nodes { %s } } } }" % ITERATION
    return ask(q, p=path, c=[c["id"]])["group"]["iterations"]["nodes"]


@test
def seeded():
    """what the seed holds, over GraphQL and REST: iids, titles, states by the dates, sequence by the start, ancestors by default"""
    d = sim.dump()
    q = """query($p: ID!) { group(fullPath: $p) { iterationCadences { nodes { %s } } own: iterations(includeAncestors: false, state: all, first: 100)
      { nodes { %s } } all: iterations(first: 100) { nodes { iid } } } }""" % (CADENCE, ITERATION)
    g = ask(q, p=ROOT)["group"]
    eq([(c["title"], c["automatic"], c["active"], c["rollOver"]) for c in g["iterationCadences"]["nodes"]],
       [("Audit windows", False, False, True), ("Fortnights", False, True, False)])
    rows = {r["id"]: r for r in d["iterations"]}
    eq(len(g["own"]["nodes"]), 20)
    eq(sorted(int(n["iid"]) for n in g["own"]["nodes"]), sorted(r["iid"] for r in d["iterations"] if r["group_id"] == G))
    t = str(today())
    for n in g["own"]["nodes"]:
        r = rows[int(n["id"].rsplit("/", 1)[1])]
        eq((n["title"], n["description"], n["startDate"], n["dueDate"], n["createdAt"]),
           (r["title"], r["description"], r["start_date"], r["due_date"], r["created_at"]))
        eq(n["state"], "closed" if r["due_date"] < t else "upcoming" if r["start_date"] > t else "current")
        eq(n["sequence"], 1 + sum(x["cadence_id"] == r["cadence_id"] and x["start_date"] < r["start_date"] for x in d["iterations"]))
    g = ask(q, p=PRODUCT)["group"]
    eq([(c["title"], c["automatic"], c["durationInWeeks"], c["iterationsInAdvance"], c["startDate"]) for c in g["iterationCadences"]["nodes"]],
       [("Sprints", True, 2, 4, "2025-03-03")])
    eq((len(g["own"]["nodes"]), len(g["all"]["nodes"])), (10, 30))
    eq([n["title"] for n in g["own"]["nodes"]], [None] * 10)
    s, rest = sim.get("/groups/%d/iterations?per_page=100&include_ancestors=false" % P)
    eq((s, len(rest)), (200, 10))
    eq(sorted(rest[0]), ["created_at", "description", "due_date", "group_id", "id", "iid", "sequence", "start_date", "state", "title", "updated_at", "web_url"])
    eq([r["state"] for r in rest], [3] * 6 + [1] * 4)
    eq([r["due_date"] for r in rest], sorted(r["due_date"] for r in rest))
    eq(len(sim.get("/groups/%d/iterations?per_page=100" % P)[1]), 30)
    eq(len(sim.get("/groups/%d/iterations?per_page=100&state=upcoming&include_ancestors=false" % P)[1]), 4)
    eq(len(sim.get("/groups/%d/iterations?per_page=100&include_descendants=true" % G)[1]), 30)
    eq(sim.get("/groups/%d/iterations?state=open" % G), (400, {"error": "state does not have a valid value"}))
    eq(sim.post("/groups/%d/iterations" % G, {"title": "x"}), (405, {"error": "405 Not Allowed"}))


@test
def where_they_are():
    """versions, tiers and editions: 403 and null without a licence, no route and no field on a Community Edition"""
    q = "{group(fullPath:\"%s\"){iterations(first:1){nodes{id}} iterationCadences{nodes{id}}}}" % ROOT
    for version in ("14.10.0", "15.11.0", "16.11.0", "17.11.0", "18.8.0"):
        config(version=version + "-ee", tier="premium")
        eq(sim.get("/groups/%d/iterations" % G)[0], 200)
        eq(len(sim.gql(q)[1]["data"]["group"]["iterationCadences"]["nodes"]), 2)
        config(tier="free")
        eq(sim.get("/groups/%d/iterations" % G), (403, {"message": "403 Forbidden"}))
        eq(sim.gql(q)[1]["data"]["group"], {"iterations": None, "iterationCadences": None})
        m = "mutation{iterationCadenceCreate(input:{groupPath:\"%s\",title:\"x\",automatic:false,active:true}){errors}}" % ROOT
        eq(top_errors(m), [NOT_FOUND])
        config(version=version)
        eq(sim.get("/groups/%d/iterations" % G), (404, {"error": "404 Not Found"}))
        assert "Field 'iterations' doesn't exist on type 'Group'" in top_errors(q)


@test
def manual():
    """a manual cadence: iids of the group's counter over all cadences, dates in the past, titles and dates that are refused"""
    top = max(c["value"] for c in sim.dump()["counters"] if c["group_id"] == G and c["kind"] == "iterations")
    a, b = cadence("One"), cadence("One")
    assert a["id"] != b["id"], "titles of cadences may repeat"
    eq((a["automatic"], a["active"], a["rollOver"], a["durationInWeeks"], a["startDate"]), (False, True, False, None, None))
    x = iteration(a, "2020-01-06", "2020-01-19", title="first", description="text")
    y = iteration(b, "2020-01-06", "2020-01-19")
    eq((int(x["iid"]), int(y["iid"]), x["state"], x["title"], y["title"]), (top + 1, top + 2, "closed", "first", None))
    now = iteration(a, today() - DAY, today() + DAY)
    later = iteration(a, today() + 10 * DAY, today() + 20 * DAY)
    old = iteration(a, "2019-01-01", "2019-01-02")
    eq((now["state"], later["state"], old["sequence"]), ("current", "upcoming", 1))
    eq([n["sequence"] for n in of(a)], [1, 2, 3, 4])
    for start, due, want in (("2020-01-19", "2020-01-30", OVERLAP), ("2020-01-01", "2020-01-06", OVERLAP), ("2020-01-08", "2020-01-09", OVERLAP),
                             ("2019-12-01", "2020-12-01", OVERLAP), ("2021-01-02", "2021-01-01", "Due date must be greater than start date"),
                             ("2021-01-02", "2021-01-02", "Due date must be greater than start date"),
                             ("2021-01-02", None, "Due date can't be blank"), ("3021-01-02", "3021-01-05", "Start date cannot be more than 500 years in the future")):
        assert want in iteration(a, start, due, ok=False), (start, due)
    eq(iteration(a, "2020-01-20", "2020-01-21", ok=False, title="first"), ["Title already being used for another iteration within this cadence."])
    eq(iteration(b, "2020-01-20", "2020-01-21", title="first")["title"], "first", "of another cadence")
    eq(iteration(a, "2020-01-20", "2020-01-21", path=PRODUCT, ok=False),
       ["Group is not valid. The iteration group has to match the iteration cadence group."])
    top += 6        # what was refused used no number
    eq(int(iteration(a, "2022-01-01", "2022-01-10")["iid"]), top + 1)
    u = mutate("updateIteration", "iteration { title startDate dueDate state }", groupPath=ROOT, id=x["id"], title="renamed", dueDate="2020-01-25")
    eq(u, {"errors": [], "iteration": {"title": "renamed", "startDate": "2020-01-06", "dueDate": "2020-01-25", "state": "closed"}})
    eq(mutate("updateIteration", "iteration { title }", groupPath=ROOT, id=x["id"], startDate=str(today()))["errors"][0], "Due date must be greater than start date")
    # a second try of the same is refused: the dates are the key
    eq(iteration(a, "2022-01-01", "2022-01-10", ok=False), [OVERLAP])
    eq(top_errors("mutation{iterationCreate(input:{groupPath:\"%s\",iterationsCadenceId:\"%s\"}){errors}}" % (ROOT, a["id"])),
       ["The list of iteration attributes is empty"])
    eq(top_errors("mutation{iterationCreate(input:{groupPath:\"%s\",iterationsCadenceId:\"gid://gitlab/Iterations::Cadence/999\",title:\"x\"}){errors}}" % ROOT), [NOT_FOUND])
    eq(top_errors("mutation{iterationDelete(input:{id:\"%s\"}){errors}}" % x["id"], token="reader"), [NOT_FOUND])
    # deletion: closed ones and the last; the number does not come back
    eq(mutate("iterationDelete", "group { fullPath }", id=now["id"])["errors"], ["upcoming/current iterations can't be deleted unless they are the last one in the cadence"])
    eq(mutate("iterationDelete", "group { fullPath }", id=later["id"]), {"errors": [], "group": {"fullPath": ROOT}})
    eq(mutate("iterationDelete", "group { fullPath }", id=old["id"])["errors"], [])
    eq(int(iteration(a, "2023-01-01", "2023-01-10")["iid"]), top + 2)
    eq(mutate("iterationCadenceDestroy", "group { fullPath }", id=a["id"])["errors"], [])
    eq([r for r in sim.dump()["iterations"] if r["cadence_id"] == int(a["id"].rsplit("/", 1)[1])], [])
    eq(ask("query($i: IterationID!) { iteration(id: $i) { iid } }", i=y["id"])["iteration"], {"iid": y["iid"]})
    eq(ask("query($i: IterationID!) { iteration(id: $i) { iid } }", i=x["id"])["iteration"], None)


@test
def cadence_rules():
    """what a cadence must have"""
    eq(cadence("", ok=False), ["Title can't be blank"])
    eq(cadence("x", ok=False, durationInWeeks=5), ["Duration in weeks must be less than or equal to 4"])
    eq(cadence("x", ok=False, iterationsInAdvance=11), ["Iterations in advance must be less than or equal to 10"])
    eq(cadence("x", ok=False, description="d" * 5001), ["Description is too long (maximum is 5000 characters)"])
    eq(cadence("x", automatic=True, ok=False), ["Start date can't be blank", "Duration in weeks can't be blank", "Iterations in advance can't be blank"])
    eq(cadence("x", automatic=True, ok=False, startDate="2020-01-06", durationInWeeks=1, iterationsInAdvance=2)[0][:58],
       "Start date would retroactively create past iterations. " + str(today())[:3])
    assert "groupPath" in top_errors("mutation{iterationCadenceCreate(input:{title:\"x\",automatic:false,active:true}){errors}}")[0]
    eq(top_errors("mutation{iterationCadenceCreate(input:{groupPath:\"nowhere\",automatic:false,active:true}){errors}}"), [NOT_FOUND])
    eq(top_errors("mutation{iterationCadenceUpdate(input:{id:\"gid://gitlab/Iterations::Cadence/999\",title:\"x\"}){errors}}"), [NOT_FOUND])


@test
def automatic():
    """an automatic cadence makes its iterations itself, refuses others, and goes on as the days go by"""
    start = today() - 3 * DAY
    c = cadence("Auto", automatic=True, startDate=str(start), durationInWeeks=1, iterationsInAdvance=3, rollOver=True)
    rows = of(c)
    eq([(n["startDate"], n["dueDate"], n["title"], n["state"]) for n in rows],
       [(str(start + 7 * i * DAY), str(start + (7 * i + 6) * DAY), None, "upcoming" if i else "current") for i in range(4)])
    eq(iteration(c, "2020-01-06", "2020-01-19", ok=False), ["Iterations cannot be manually added to cadences that use automatic scheduling"])
    u = mutate("updateIteration", "iteration { title startDate }", groupPath=ROOT, id=rows[0]["id"], title="named", startDate="2020-01-01")
    eq(u, {"errors": [], "iteration": {"title": "named", "startDate": str(start)}}, "the dates are the server's")
    config(clock_offset_s=7 * 86400)
    rows = of(c)
    eq([(n["startDate"], n["state"]) for n in rows], [(str(start + 7 * i * DAY), ("closed", "current")[i] if i < 2 else "upcoming") for i in range(5)])
    config(clock_offset_s=0)
    off = change(c, automatic=False)
    eq((off["automatic"], off["durationInWeeks"], off["iterationsInAdvance"], off["rollOver"]), (False, None, None, False), "forgotten")
    config(clock_offset_s=60 * 86400)
    eq(len(of(c)), 5, "no more are made")


@test
def automation_later():
    """manual first, automatic then: the start must lie behind the last one that has begun; those ahead move into place"""
    c = cadence("Both")
    for i in range(3):
        iteration(c, today() - (60 - 14 * i) * DAY, today() - (47 - 14 * i) * DAY)
    held = today() - 3 * DAY
    iteration(c, held, held + 13 * DAY)
    iteration(c, held + 14 * DAY, held + 27 * DAY, title="kept")
    iteration(c, held + 28 * DAY, held + 41 * DAY)
    auto = {"automatic": True, "durationInWeeks": 2, "iterationsInAdvance": 2}
    eq(change(c, ok=False, startDate=str(held + 13 * DAY), **auto),
       ["Start date must come after the active iteration %s - %s." % (held, held + 13 * DAY)])
    eq(change(c, ok=False, **auto), ["Start date can't be blank"])
    before = of(c)
    done = change(c, startDate=str(held + 14 * DAY), **auto)
    eq((done["automatic"], done["durationInWeeks"], done["iterationsInAdvance"], done["startDate"]), (True, 2, 2, str(held + 14 * DAY)))
    eq([(n["iid"], n["startDate"], n["title"]) for n in of(c)], [(n["iid"], n["startDate"], n["title"]) for n in before], "as they were")
    change(c, automatic=False)
    change(c, startDate=str(held + 21 * DAY), **auto)
    eq([n["startDate"] for n in of(c)][-2:], [str(held + 21 * DAY), str(held + 35 * DAY)], "those ahead have moved")
    change(c, automatic=False)
    change(c, startDate=str(held + 21 * DAY), automatic=True, durationInWeeks=2, iterationsInAdvance=4)
    eq(len(of(c)), len(before) + 2, "and two more were made")
    past = cadence("Over")
    iteration(past, "2020-01-01", "2020-01-14")
    eq(change(past, ok=False, startDate="2020-01-14", **auto), ["Start date must come after the past iteration 2020-01-01 - 2020-01-14."])
    eq(change(past, ok=False, startDate="2020-01-15", **auto),
       ["Start date would retroactively create past iterations. %s is the earliest possible start date." % (today() - 13 * DAY)])
    change(past, startDate=str(today()), **auto)
    eq([n["state"] for n in of(past)], ["closed", "current", "upcoming", "upcoming"])
    # the seeded automatic cadence can be made again like this, to the day
    d = sim.dump()
    sprints = [r for r in d["iterations"] if r["group_id"] == P]
    again = cadence("Sprints", path=PRODUCT)
    for r in sorted(sprints, key=lambda r: r["iid"]):
        iteration(again, r["start_date"], r["due_date"], path=PRODUCT, description=r["description"])
    first = min(r["start_date"] for r in sprints if r["start_date"] > str(today()))
    change(again, automatic=True, durationInWeeks=2, iterationsInAdvance=4, startDate=first)
    eq([(n["startDate"], n["dueDate"], n["description"]) for n in of(again, PRODUCT)],
       sorted((r["start_date"], r["due_date"], r["description"]) for r in sprints))


@test
def on_boards():
    """issue boards know iterations: lists and scope"""
    d = sim.dump()
    it = next(r for r in d["iterations"] if r["group_id"] == G)
    board = next(b for b in d["boards"] if b["group_id"] == G)
    s, ls = sim.post("/groups/%d/boards/%d/lists" % (G, board["id"]), {"iteration_id": it["id"]})
    eq((s, ls["iteration"]["iid"]), (201, it["iid"]))
    eq(sim.post("/groups/%d/boards/%d/lists" % (G, board["id"]), {"iteration_id": 4711}), (400, {"message": {"error": "Iteration not found"}}))
    q = "query($p: ID!) { group(fullPath: $p) { boards { nodes { iteration { iid } iterationCadence { title } lists { nodes { listType iteration { iid } } } } } } }"
    mutate("updateBoard", "board { iteration { iid } }", id="gid://gitlab/Board/%d" % board["id"], iterationId="gid://gitlab/Iteration/%d" % it["id"])
    b = ask(q, p=ROOT)["group"]["boards"]["nodes"][0]
    eq((b["iteration"], [x["iteration"] for x in b["lists"]["nodes"] if x["listType"] == "iteration"]), ({"iid": str(it["iid"])},) + ([{"iid": str(it["iid"])}],))
    mutate("iterationCadenceDestroy", "group { id }", id="gid://gitlab/Iterations::Cadence/%d" % it["cadence_id"])
    b = ask(q, p=ROOT)["group"]["boards"]["nodes"][0]
    eq((b["iteration"], [x["listType"] for x in b["lists"]["nodes"]]), (None, ["backlog", "label", "closed"]))


@test
def faults():
    """a lost answer leaves the iteration, the second try tells; twice makes two cadences; backups hold them"""
    c = cadence("F")
    sim.control("POST", "faults", [{"match": {"path": "/graphql$", "body": "iterationCreate"}, "do": {"lose_answer": True}},
                                   {"match": {"path": "/graphql$", "body": "\"twin\""}, "do": {"twice": True}}])
    try:
        iteration(c, "2021-01-01", "2021-01-10")
    except AssertionError:
        raise
    except Exception as e:
        assert type(e).__name__ in ("RemoteDisconnected", "ConnectionResetError", "URLError"), e
    else:
        raise AssertionError("an answer came")
    eq(iteration(c, "2021-01-01", "2021-01-10", ok=False), [OVERLAP])
    eq(len(of(c)), 1)
    cadence("twin")
    eq(sum(x["title"] == "twin" for x in sim.dump()["iterations_cadences"]), 2)
    before = sim.control("GET", "dump")
    sim.control("POST", "snapshot", {"name": "now"})
    cadence("gone")
    sim.control("POST", "restore", {"name": "now"})
    eq(sim.control("GET", "dump") == before, True)


@test
def stock_client():
    """python-gitlab lists the iterations of a group"""
    try:
        import gitlab
    except ImportError:
        return "python3-gitlab is not installed"
    gl = gitlab.Gitlab(sim.url, private_token=sim.tokens["reader"])
    rows = gl.groups.get(PRODUCT).iterations.list(iterator=True, include_ancestors=False)
    eq([r.state for r in rows], [3] * 6 + [1] * 4)


test.before = fresh
code = test.run()
code = 1 if sim.stop() else code
sys.exit(code)
