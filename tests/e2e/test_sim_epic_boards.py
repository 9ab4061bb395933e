#!/usr/bin/python3
"""Epic boards of the simulator: which epics a list shows and in which order, and how they are moved."""
import json

from simepics import (ask, bad, config, epic, eq, finish, fresh, G, get, good, mutate, NOT_FOUND, P, PRODUCT, put, ROOT, sim, test, top_errors, TREE, V)

BOARD = """query($p: ID!) { group(fullPath: $p) { epicBoards { nodes { id name hideBacklogList hideClosedList labels { nodes { title } }
  lists { nodes { id listType title position label { title } epics(first: 100) { nodes { id title } } } } } } } }"""


@test
def boards():
    """epic boards: hidden lists, the seeded order, REST shows Open and Closed inside a board but not among its lists"""
    fresh(version="15.0.5-ee", graphql_max_complexity=0)
    board = ask(BOARD, p=ROOT)["group"]["epicBoards"]["nodes"][0]
    eq([(x["listType"], x["position"], x["title"]) for x in board["lists"]["nodes"]],
       [("backlog", None, "Open"), ("label", 0, "stage::review"), ("label", 1, "stage::idea"), ("label", 2, "stage::doing"), ("closed", None, "Closed")])
    with open(TREE, encoding="utf-8") as f:
        seed = json.load(f)["groups"][0]["planning"]["epic_boards"][0]["order"]
    d = sim.dump()
    paths = {g["id"]: g["full_path"] for g in d["groups"]}
    names = {x["id"]: "%s&%d" % (paths[x["group_id"]], x["iid"]) for x in d["epics"]}
    for ls in board["lists"]["nodes"]:
        got = [names[int(x["id"].rsplit("/", 1)[1])] for x in ls["epics"]["nodes"]]
        eq(got, [n for n in seed if n in got], ls["title"])
        assert len(got) > 15
    delivery = ask(BOARD, p=PRODUCT)["group"]["epicBoards"]["nodes"][0]
    eq(([x["listType"] for x in delivery["lists"]["nodes"]], delivery["hideClosedList"], delivery["labels"]["nodes"]),
       (["backlog", "label", "label"], True, [{"title": "urgent"}]))
    bad(sim.get("/groups/%d/epic_boards" % G), 404, {"error": "404 Not Found"})
    config(version=V)
    b = good(sim.get("/groups/%d/epic_boards" % G))[0]
    eq(sorted(b), ["group", "hide_backlog_list", "hide_closed_list", "id", "labels", "lists", "name"])
    eq([x["list_type"] for x in b["lists"]], ["backlog", "label", "label", "label", "closed"])
    eq([x["list_type"] for x in good(sim.get("/groups/%d/epic_boards/%d/lists" % (G, b["id"])))], ["label"] * 3)
    config(tier="free")
    bad(sim.get("/groups/%d/epic_boards" % G), 403, {"message": "403 Forbidden"})


@test
def board_writes():
    """epic boards are made over GraphQL; epics are moved to the end, behind and before others, and between lists"""
    fresh(version="15.0.5-ee", graphql_max_complexity=0)
    lab = {x["title"]: x["id"] for x in sim.dump()["labels"]}
    b = mutate("epicBoardCreate", "epicBoard{id name hideClosedList labels{nodes{title}} lists{nodes{listType}}}", groupPath=PRODUCT, name="New",
               hideClosedList=False, labels=["mine"])["epicBoard"]
    eq((b["name"], b["labels"]["nodes"], [x["listType"] for x in b["lists"]["nodes"]]), ("New", [{"title": "mine"}], ["backlog", "closed"]))
    eq(mutate("epicBoardUpdate", "epicBoard{name labels{nodes{title}}}", id=b["id"], name="Newer", labelIds=[])["epicBoard"],
       {"name": "Newer", "labels": {"nodes": []}})
    eq(mutate("epicBoardCreate", "epicBoard{id}", groupPath=PRODUCT, name="")["errors"], ["Name can't be blank"])
    eq(mutate("epicBoardCreate", "epicBoard{name}", groupPath=PRODUCT, name="Newer")["epicBoard"]["name"], "Newer", "names may repeat")

    def add(title):
        return mutate("epicBoardListCreate", "list{id position title}", boardId=b["id"], labelId="gid://gitlab/GroupLabel/%d" % lab[title])
    later, now = add("product later")["list"], add("product now")["list"]
    eq((later["position"], now["position"]), (0, 1))
    eq(add("product now"), {"errors": ["Label has already been taken"], "list": None})
    eq(add("audit now"), {"errors": ["Label not found"], "list": None})
    eq(mutate("updateEpicBoardList", "list{position}", listId=now["id"], position=0)["list"]["position"], 0)
    eq(mutate("updateEpicBoardList", "list{position}", listId=now["id"], position=7)["errors"], ["Failed to move list!"])
    es = [epic("e%d" % i, g=P, labels="product now") for i in range(4)]
    gid = "gid://gitlab/Epic/%d"

    def order(name, which="Newer"):
        for x in ask(BOARD, p=PRODUCT)["group"]["epicBoards"]["nodes"]:
            if x["id"] == b["id"]:
                return [e["title"] for ls in x["lists"]["nodes"] if ls["title"] == name for e in ls["epics"]["nodes"] if e["title"][:1] == "e"
                        and e["title"][1:].isdigit()]

    def move(e, **kw):
        return mutate("epicMoveList", "epic{id}", boardId=b["id"], epicId=gid % e["id"], **kw)["errors"]
    eq(order("product now"), ["e3", "e2", "e1", "e0"], "without a place: the newest first")
    eq(move(es[0], toListId=now["id"], moveAfterId=gid % es[2]["id"]), [])
    eq(order("product now"), ["e3", "e0", "e2", "e1"], "moveAfterId is what shall stand after it")
    eq(move(es[3], toListId=now["id"], moveBeforeId=gid % es[1]["id"]), [])
    eq(order("product now"), ["e0", "e2", "e1", "e3"], "moveBeforeId is what shall stand before it")
    eq(top_errors("mutation{epicMoveList(input:{boardId:\"%s\",epicId:\"%s\",toListId:\"%s\"}){errors}}" % (b["id"], gid % es[0]["id"], now["id"])),
       ["At least one of the arguments fromListId, moveAfterId or moveBeforeId is required"])
    q = "mutation{epicMoveList(input:{boardId:\"%s\",epicId:\"%s\",toListId:\"%s\",positionInList:-1}){errors}}"
    assert "positionInList" in top_errors(q % (b["id"], gid % es[0]["id"], now["id"]))[0]
    eq(move(es[2], fromListId=now["id"], toListId=later["id"]), [])
    eq((get(es[2])["labels"], order("product later")), (["product later"], ["e2"]))
    closed = next(x["id"] for y in ask(BOARD, p=PRODUCT)["group"]["epicBoards"]["nodes"] if y["id"] == b["id"] for x in y["lists"]["nodes"]
                  if x["listType"] == "closed")
    eq(move(es[2], fromListId=later["id"], toListId=closed), [])
    eq((get(es[2])["state"], get(es[2])["labels"]), ("closed", ["product later"]))
    config(version=V)
    for i in (2, 0, 3, 1):
        put(es[i], state_event="reopen", labels="product now")
    for i in (2, 0, 3, 1):
        eq(move(es[i], toListId=now["id"], positionInList=-1), [])
    eq(order("product now"), ["e2", "e0", "e3", "e1"], "each moved to the end in turn")
    at = [e["id"] for x in ask(BOARD, p=PRODUCT)["group"]["epicBoards"]["nodes"] if x["id"] == b["id"] for ls in x["lists"]["nodes"]
          if ls["id"] == now["id"] for e in ls["epics"]["nodes"]].index(gid % es[2]["id"])
    eq(move(es[1], toListId=now["id"], positionInList=at + 1), [])
    eq(order("product now"), ["e2", "e1", "e0", "e3"])
    eq(top_errors(q.replace("positionInList:-1", "positionInList:0,moveAfterId:\"%s\"" % (gid % es[1]["id"])) % (b["id"], gid % es[0]["id"], now["id"])),
       ["positionInList is mutually exclusive with any of moveBeforeId or moveAfterId"])
    many = [epic("e%d" % i, g=P, labels="product now") for i in range(100, 180)]
    for e in many:  # the room behind it is used up again and again
        eq(move(e, toListId=now["id"], moveBeforeId=gid % es[1]["id"]), [])
    eq(order("product now"), ["e2", "e1"] + ["e%d" % i for i in range(179, 99, -1)] + ["e0", "e3"], "eighty behind the same one")
    places = [x["relative_position"] for x in sim.dump()["epic_board_positions"] if x["board_id"] == int(b["id"].split("/")[-1])]
    eq(len(places), len(set(places)), "none shares its place")
    eq(mutate("epicBoardListDestroy", "list{id}", listId=later["id"])["errors"], [])
    eq(mutate("epicBoardListDestroy", "list{id}", listId=closed)["errors"], ["Open and closed lists on a board cannot be destroyed."])
    eq(mutate("destroyEpicBoard", "epicBoard{id}", id=b["id"])["errors"], [])
    eq(mutate("destroyEpicBoard", "epicBoard{id}", id=ask(BOARD, p=ROOT)["group"]["epicBoards"]["nodes"][0]["id"])["errors"],
       ["The board could not be deleted, because the parent doesn't have any other boards."])
    eq(top_errors("mutation{epicBoardCreate(input:{groupPath:\"%s\",name:\"x\"}){errors}}" % PRODUCT, token="reader"), [NOT_FOUND])


finish()
