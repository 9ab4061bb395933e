"""Iteration cadences and iterations: written over GraphQL only, iterations are read over REST as well. What state an iteration is in
follows from its dates; an automatic cadence makes its iterations itself."""
import datetime

from . import app as sim
from . import boards, features, groups, labels
from . import db as state
from .auth import PLANNER, ancestor_ids, can, can_read, find_group
from .db import now
from .errors import forbidden
from .gql import GqlError, NOT_FOUND, Refused, connection_type, extend, gid, mutation, resolver, sdl, ungid
from .gql_epics import writable
from .gql_groups import PAGE, group_node
from .milestones import lenient_date
from .paging import PAGE_PARAMS, connection, paginate
from .router import opt, route

state.EXTRA_TABLES += [
    # next_run_date: when the server looks after an automatic cadence again. A seeded cadence has none and stays as it is.
    ("iterations_cadences", """
CREATE TABLE iterations_cadences(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, title TEXT NOT NULL, description TEXT,
  start_date TEXT, duration_in_weeks INTEGER, iterations_in_advance INTEGER, automatic INTEGER NOT NULL DEFAULT 0,
  active INTEGER NOT NULL DEFAULT 1, roll_over INTEGER NOT NULL DEFAULT 0, next_run_date TEXT, created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL);
CREATE INDEX iterations_cadences_group ON iterations_cadences(group_id);
CREATE INDEX iterations_cadences_run ON iterations_cadences(next_run_date);
"""),
    ("iterations", """
CREATE TABLE iterations(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, cadence_id INTEGER NOT NULL, iid INTEGER NOT NULL,
  title TEXT, description TEXT, start_date TEXT NOT NULL, due_date TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  UNIQUE(group_id, iid));
CREATE INDEX iterations_cadence ON iterations(cadence_id, start_date);
"""),
]
groups.GROUP_TABLES += ["iterations_cadences", "iterations"]
boards.ITERATION_FINDERS.append(lambda ctx, g, iid: bool(ctx.db.val(
    "SELECT 1 FROM iterations WHERE id=? AND group_id IN (%s)" % ",".join(map(str, ancestor_ids(g["tids"]))), iid)))
NUMBERS = {"upcoming": 1, "current": 2, "closed": 3}
OVERLAP = "Dates cannot overlap with other existing Iterations within this iterations cadence"
AUTOMATIC = "Iterations cannot be manually added to cadences that use automatic scheduling"


def day_of(text, days=0):
    return (datetime.date.fromisoformat(text) + datetime.timedelta(days=days)).isoformat()


def today():
    return now()[:10]


def state_of(r):
    t = today()
    return "closed" if r["due_date"] < t else "upcoming" if r["start_date"] > t else "current"


def cadence(db, cid):
    return db.one("SELECT * FROM iterations_cadences WHERE id=?", cid)


def of_cadence(db, cid):
    return db.all("SELECT * FROM iterations WHERE cadence_id=? ORDER BY start_date, id", cid)


def sequence(db, r):
    """The row number by start date in its cadence."""
    return db.val("SELECT count(*) FROM iterations WHERE cadence_id=? AND (start_date, id) <= (?, ?)", r["cadence_id"], r["start_date"], r["id"])


def insert(db, c, start, due, title=None, description=None):
    t = now()
    iid = db.next_counter(c["group_id"], "iterations")
    return db.insert("iterations", group_id=c["group_id"], cadence_id=c["id"], iid=iid, title=title, description=description,
                     start_date=start, due_date=due, created_at=t, updated_at=t)


def errors_of(db, c, new, but=0):
    """-> full sentences that the model refuses an iteration with."""
    e = []
    for k, name in (("start_date", "Start date"), ("due_date", "Due date")):
        if not new[k]:
            e.append(name + " can't be blank")
    if e:
        return e
    if new["due_date"] <= new["start_date"]:
        e.append("Due date must be greater than start date")
    limit = "%d%s" % (int(today()[:4]) + 500, today()[4:])
    for k, name in (("start_date", "Start date"), ("due_date", "Due date")):
        if len(new[k]) > 10 or new[k] > limit:
            e.append(name + " cannot be more than 500 years in the future")
    if db.val("SELECT 1 FROM iterations WHERE cadence_id=? AND id<>? AND start_date<=? AND due_date>=?", c["id"], but, new["due_date"],
              new["start_date"]):
        e.append(OVERLAP)
    if new["title"] and db.val("SELECT 1 FROM iterations WHERE cadence_id=? AND id<>? AND title=?", c["id"], but, new["title"]):
        e.append("Title already being used for another iteration within this cadence.")
    if new["title"] and len(new["title"]) > 255:
        e.append("Title is too long (maximum is 255 characters)")
    return e


# ---- automatic cadences ----------------------------------------------------------------------

def schedule(db, c):
    """What the server's worker does: upcoming iterations take their places one behind the other, new ones are made until as many as
    wanted lie ahead, and the next visit is noted."""
    t, length = today(), c["duration_in_weeks"] * 7
    rows = of_cadence(db, c["id"])
    held = [r for r in rows if r["start_date"] <= t]
    ahead = [r for r in rows if r["start_date"] > t]
    start = c["start_date"]
    if held and day_of(held[-1]["due_date"], 1) > start:
        start = day_of(held[-1]["due_date"], 1)
    for r in ahead:
        if (r["start_date"], r["due_date"]) != (start, day_of(start, length - 1)):
            db.update("iterations", r["id"], start_date=start, due_date=day_of(start, length - 1), updated_at=now())
        start = day_of(start, length)
    upcoming = len(ahead)
    while upcoming < c["iterations_in_advance"] or start <= t:
        insert(db, c, start, day_of(start, length - 1))
        upcoming += start > t
        start = day_of(start, length)
    first = db.val("SELECT min(start_date) FROM iterations WHERE cadence_id=? AND start_date>?", c["id"], t)
    db.update("iterations_cadences", c["id"], next_run_date=first or start)


def work(app):
    """Automatic cadences whose day has come."""
    db = app.db
    if db.val("SELECT 1 FROM iterations_cadences WHERE next_run_date<=? LIMIT 1", today()) is None:
        return
    db.begin()
    for c in db.all("SELECT * FROM iterations_cadences WHERE next_run_date<=? ORDER BY id", today()):
        if c["automatic"] and c["active"]:
            schedule(db, c)
        else:
            db.update("iterations_cadences", c["id"], next_run_date=None)
    db.commit()


sim.WORKERS.append(work)


def cadence_errors(db, new, old=None):
    """-> full sentences. new: all columns as they are to be; old: the row before, or None."""
    e = []
    if not (new["title"] or "").strip():
        e.append("Title can't be blank")
    elif len(new["title"]) > 255:
        e.append("Title is too long (maximum is 255 characters)")
    if new["description"] and len(new["description"]) > 5000:
        e.append("Description is too long (maximum is 5000 characters)")
    for k, name, top in (("duration_in_weeks", "Duration in weeks", 4), ("iterations_in_advance", "Iterations in advance", 10)):
        if new[k] is not None and not 0 <= new[k] <= top:
            e.append("%s must be %s than or equal to %d" % (name, "less" if new[k] > top else "greater", top if new[k] > top else 0))
    if not new["automatic"]:
        return e
    for k, name in (("start_date", "Start date"), ("duration_in_weeks", "Duration in weeks"), ("iterations_in_advance", "Iterations in advance")):
        if not new[k]:
            e.append(name + " can't be blank")
    if e or old is not None and old["automatic"] and old["start_date"] == new["start_date"]:
        return e
    t = today()
    held = [r for r in of_cadence(db, old["id"]) if r["start_date"] <= t] if old is not None else []
    if held and new["start_date"] <= held[-1]["due_date"]:
        e.append("Start date must come after the %s iteration %s - %s." % (
            "active" if state_of(held[-1]) == "current" else "past", held[-1]["start_date"], held[-1]["due_date"]))
    elif day_of(new["start_date"], new["duration_in_weeks"] * 7 - 1) < t:
        e.append("Start date would retroactively create past iterations. %s is the earliest possible start date." %
                 day_of(t, 1 - new["duration_in_weeks"] * 7))
    return e


# ---- REST ------------------------------------------------------------------------------------

def present(ctx, r):
    path = ctx.db.val("SELECT full_path FROM groups WHERE id=?", r["group_id"])
    return {"id": r["id"], "iid": r["iid"], "sequence": sequence(ctx.db, r), "group_id": r["group_id"], "title": r["title"],
            "description": r["description"], "state": NUMBERS[state_of(r)], "created_at": r["created_at"], "updated_at": r["updated_at"],
            "start_date": r["start_date"], "due_date": r["due_date"],
            "web_url": "%s/groups/%s/-/iterations/%d" % (ctx.app.base_url, path, r["iid"])}


def state_condition(name):
    t = today()
    return {"upcoming": "start_date>'%s'" % t, "current": "(start_date<='%s' AND due_date>='%s')" % (t, t),
            "started": "(start_date<='%s' AND due_date>='%s')" % (t, t), "closed": "due_date<'%s'" % t,
            "opened": "due_date>='%s'" % t}.get(name, "1")


def scope(ctx, g, ancestors, descendants=False):
    ids = [g["id"]]
    rows = []
    if ancestors:
        rows += ctx.db.all("SELECT * FROM groups WHERE id IN (%s)" % ",".join(map(str, ancestor_ids(g["tids"]))))
    if descendants:
        rows += ctx.db.all("SELECT * FROM groups WHERE tids GLOB ?", g["tids"] + "*")
    ids += [x["id"] for x in rows if x["id"] != g["id"] and can_read(ctx, x)]
    return "group_id IN (%s)" % ",".join(map(str, ids))


@route("GET", "/groups/:id/iterations", PAGE_PARAMS + (
    opt("state", str, values=("opened", "upcoming", "current", "started", "closed", "all"), default="all"), opt("search"), opt("in", "list"),
    opt("include_ancestors", bool, default=True), opt("include_descendants", bool, default=False),
    opt("updated_before", "time"), opt("updated_after", "time")))
def index(ctx, p):
    features.need_route(ctx)
    g = find_group(ctx)
    if not features.licensed(ctx):
        raise forbidden()
    where, args = [scope(ctx, g, p["include_ancestors"], p["include_descendants"]), state_condition(p["state"])], []
    if p.get("search"):
        where.append("instr(lower(coalesce(title,'')), lower(?))")
        args.append(p["search"])
    for name, op in (("updated_before", "<="), ("updated_after", ">=")):
        if p.get(name):
            where.append("updated_at %s ?" % op)
            args.append(p[name])
    rows = paginate(ctx, p, "SELECT * FROM iterations", " AND ".join(where), args, "due_date, coalesce(title,''), id")
    return 200, [present(ctx, r) for r in rows]


# ---- GraphQL ---------------------------------------------------------------------------------

sdl("""
enum IterationState { upcoming current opened closed all started }
enum IterationSort { CADENCE_AND_DUE_DATE_ASC <15.8: CADENCE_AND_DUE_DATE_DESC> }
enum IterationSearchableField { TITLE CADENCE_TITLE }
""", ee=True)
for _name in ("Iteration", "IterationCadence"):
    connection_type(_name, ee=True)
extend("IterationCadence", """id: IterationsCadenceID! title: String! description: String durationInWeeks: Int iterationsInAdvance: Int
  startDate: Time automatic: Boolean active: Boolean rollOver: Boolean!""", ee=True)
extend("Iteration", """id: ID! iid: ID! sequence: Int! title: String description: String descriptionHtml: String state: IterationState!
  startDate: Time dueDate: Time createdAt: Time! updatedAt: Time! webPath: String! webUrl: String! scopedPath: String scopedUrl: String
  iterationCadence: IterationCadence!""", ee=True)
extend("Query", "iteration(id: IterationID!): Iteration", ee=True)
extend("Group", """iterations(%s state: IterationState search: String in: [IterationSearchableField!] id: ID iid: ID
  includeAncestors: Boolean iterationCadenceIds: [IterationsCadenceID!] timeframe: Timeframe sort: IterationSort): IterationConnection
  iterationCadences(%s id: IterationsCadenceID title: String durationInWeeks: Int automatic: Boolean active: Boolean
  includeAncestorGroups: Boolean): IterationCadenceConnection""" % (PAGE, PAGE), ee=True)
CADENCE = "Iterations::Cadence"


def cadence_node(ctx, c):
    if c is None:
        return None
    return {"row": c, "id": gid(CADENCE, c["id"]), "title": c["title"], "description": c["description"], "startDate": c["start_date"],
            "durationInWeeks": c["duration_in_weeks"], "iterationsInAdvance": c["iterations_in_advance"], "automatic": bool(c["automatic"]),
            "active": bool(c["active"]), "rollOver": bool(c["roll_over"])}


def node(ctx, r):
    if r is None:
        return None
    path = ctx.db.val("SELECT full_path FROM groups WHERE id=?", r["group_id"])
    web = "/groups/%s/-/iterations/%d" % (path, r["iid"])
    scoped = "/groups/%s/-/cadences/%d/iterations/%d" % (path, r["cadence_id"], r["id"])
    return {"row": r, "id": gid("Iteration", r["id"]), "iid": str(r["iid"]), "sequence": lambda: sequence(ctx.db, r), "title": r["title"],
            "description": r["description"], "descriptionHtml": labels.html(r["description"]), "state": state_of(r),
            "startDate": r["start_date"], "dueDate": r["due_date"], "createdAt": r["created_at"], "updatedAt": r["updated_at"],
            "webPath": web, "webUrl": ctx.app.base_url + web, "scopedPath": scoped, "scopedUrl": ctx.app.base_url + scoped,
            "iterationCadence": lambda: cadence_node(ctx, cadence(ctx.db, r["cadence_id"]))}


@resolver("Group", "iterations")
def g_iterations(obj, ctx, a):
    if not features.licensed(ctx):
        return None
    ancestors = a.get("includeAncestors")
    where, args = [scope(ctx, obj["row"], ancestors is None or ancestors), state_condition(a.get("state") or "all")], []
    if a.get("id") is not None:
        where.append("id=%d" % (ungid(a["id"], "Iteration") if ":" in a["id"] else int(a["id"])))
    if a.get("iid") is not None:
        where.append("iid=%d" % int(a["iid"]))
    if a.get("iterationCadenceIds") is not None:
        where.append("cadence_id IN (%s)" % (",".join(str(ungid(x, CADENCE)) for x in a["iterationCadenceIds"]) or "0"))
    if a.get("search"):
        inside = {"TITLE": "coalesce(title,'')", "CADENCE_TITLE": "(SELECT c.title FROM iterations_cadences c WHERE c.id=cadence_id)"}
        which = a.get("in") or ["TITLE"]
        where.append("(%s)" % " OR ".join("instr(lower(%s), lower(?))" % inside[x] for x in which))
        args += [a["search"]] * len(which)
    if a.get("timeframe"):
        where.append("start_date<=? AND due_date>=?")
        args += [a["timeframe"]["end"][:10], a["timeframe"]["start"][:10]]
    keys = ["due_date", "id"]
    if a.get("sort"):
        keys = ["(SELECT c.title FROM iterations_cadences c WHERE c.id=cadence_id)", "cadence_id"] + keys
    return connection(ctx.db, "SELECT * FROM iterations", " AND ".join(where), args, keys, lambda r: node(ctx, r), a)


@resolver("Group", "iterationCadences")
def g_cadences(obj, ctx, a):
    if not features.licensed(ctx):
        return None
    where, args = [scope(ctx, obj["row"], a.get("includeAncestorGroups"))], []
    if a.get("id") is not None:
        where.append("id=%d" % ungid(a["id"], CADENCE))
    if a.get("title"):
        where.append("instr(lower(title), lower(?))")
        args.append(a["title"])
    for src, col in (("durationInWeeks", "duration_in_weeks"), ("automatic", "automatic"), ("active", "active")):
        if a.get(src) is not None:
            where.append("%s=%d" % (col, a[src]))
    return connection(ctx.db, "SELECT * FROM iterations_cadences", " AND ".join(where), args, ["title", "id"],
                      lambda c: cadence_node(ctx, c), a)


def iteration_row(ctx, iid):
    r = ctx.db.one("SELECT * FROM iterations WHERE id=?", iid)
    g = r and ctx.db.one("SELECT * FROM groups WHERE id=?", r["group_id"])
    return (r, g) if g is not None and can_read(ctx, g) and features.licensed(ctx) else (None, None)


@resolver("Query", "iteration")
def q_iteration(obj, ctx, a):
    return node(ctx, iteration_row(ctx, ungid(a["id"], "Iteration"))[0])


@resolver("Board", "iteration")
@resolver("BoardList", "iteration")
def b_iteration(obj, ctx, a):
    iid = obj["row"]["iteration_id"]
    return node(ctx, iteration_row(ctx, iid)[0]) if iid else None


@resolver("Board", "iterationCadence")
def b_cadence(obj, ctx, a):
    cid = obj["row"]["iteration_cadence_id"]
    return cadence_node(ctx, cadence(ctx.db, cid)) if cid and features.licensed(ctx) else None


# ---- mutations -------------------------------------------------------------------------------

def cadence_for(ctx, text):
    c = cadence(ctx.db, ungid(text, CADENCE))
    path = c and ctx.db.val("SELECT full_path FROM groups WHERE id=?", c["group_id"])
    if not path:
        raise GqlError(NOT_FOUND)
    return c, writable(ctx, path)


SETTINGS = """description: String durationInWeeks: Int iterationsInAdvance: Int startDate: Time rollOver: Boolean title: String"""
NAMES = (("title", "title"), ("description", "description"), ("durationInWeeks", "duration_in_weeks"),
         ("iterationsInAdvance", "iterations_in_advance"), ("automatic", "automatic"), ("active", "active"), ("rollOver", "roll_over"))


def cadence_columns(i, new):
    for src, dst in NAMES:
        if i.get(src) is not None or src == "description" and src in i:
            new[dst] = int(i[src]) if isinstance(i[src], bool) else i[src]
    if i.get("startDate"):
        new["start_date"] = i["startDate"][:10]
    return new


@mutation("iterationCadenceCreate", SETTINGS + " groupPath: ID! automatic: Boolean! active: Boolean!", "iterationCadence: IterationCadence",
          ee=True)
def cadence_create(ctx, i):
    g = writable(ctx, i["groupPath"])
    new = cadence_columns(i, {"title": None, "description": None, "start_date": None, "duration_in_weeks": None,
                              "iterations_in_advance": None, "automatic": 0, "active": 1, "roll_over": 0})
    e = cadence_errors(ctx.db, new)
    if e:
        raise Refused(*e, payload={"iterationCadence": None})
    t = now()
    cid = ctx.db.insert("iterations_cadences", group_id=g["id"], created_at=t, updated_at=t, **new)
    if new["automatic"] and new["active"]:
        schedule(ctx.db, cadence(ctx.db, cid))
    return {"iterationCadence": cadence_node(ctx, cadence(ctx.db, cid))}


@mutation("iterationCadenceUpdate", SETTINGS + " id: IterationsCadenceID! automatic: Boolean active: Boolean",
          "iterationCadence: IterationCadence", ee=True)
def cadence_update(ctx, i):
    """Turning the automatic off forgets its settings."""
    c, g = cadence_for(ctx, i["id"])
    keys = [dst for _, dst in NAMES] + ["start_date"]
    new = cadence_columns(i, {k: c[k] for k in keys})
    if c["automatic"] and not new["automatic"]:
        new.update(duration_in_weeks=None, iterations_in_advance=None, roll_over=0)
        ctx.db.update("iterations_cadences", c["id"], next_run_date=None)
    e = cadence_errors(ctx.db, new, c)
    if e:
        raise Refused(*e, payload={"iterationCadence": cadence_node(ctx, c)})
    changed = {k for k, v in new.items() if c[k] != v}
    if changed:
        ctx.db.update("iterations_cadences", c["id"], **new, updated_at=now())
        if new["automatic"] and new["active"] and changed - {"title", "description", "roll_over"}:
            schedule(ctx.db, cadence(ctx.db, c["id"]))
    return {"iterationCadence": cadence_node(ctx, cadence(ctx.db, c["id"]))}


def forget(db, ids):
    """References to iterations that go."""
    part = ",".join(map(str, ids)) or "0"
    db.run("DELETE FROM lists WHERE iteration_id IN (%s)" % part)
    db.run("UPDATE boards SET iteration_id=NULL WHERE iteration_id IN (%s)" % part)


@mutation("iterationCadenceDestroy", "id: IterationsCadenceID!", "group: Group!", ee=True)
def cadence_destroy(ctx, i):
    c, g = cadence_for(ctx, i["id"])
    forget(ctx.db, [r["id"] for r in of_cadence(ctx.db, c["id"])])
    ctx.db.run("UPDATE boards SET iteration_cadence_id=NULL WHERE iteration_cadence_id=?", c["id"])
    ctx.db.run("DELETE FROM iterations WHERE cadence_id=?", c["id"])
    ctx.db.run("DELETE FROM iterations_cadences WHERE id=?", c["id"])
    return {"group": group_node(ctx, g)}


def iteration_create(ctx, i):
    if (i.get("groupPath") is None) == (i.get("projectPath") is None):
        raise GqlError("Exactly one of group_path or project_path arguments is required")
    if i.get("projectPath") is not None:
        raise GqlError(NOT_FOUND)
    if all(i.get(k) is None for k in ("title", "description", "startDate", "dueDate")):
        raise GqlError("The list of iteration attributes is empty")
    g = writable(ctx, i["groupPath"])
    if i.get("iterationsCadenceId"):
        c = cadence(ctx.db, ungid(i["iterationsCadenceId"], CADENCE))
        if c is None or not can(ctx, ctx.db.one("SELECT * FROM groups WHERE id=?", c["group_id"]), PLANNER):
            raise GqlError(NOT_FOUND)
    else:
        c = ctx.db.one("SELECT * FROM iterations_cadences WHERE group_id=? AND automatic=0 ORDER BY id", g["id"])
        if c is None:
            raise Refused("Iterations cadence can't be blank", payload={"iteration": None})
    if c["group_id"] != g["id"]:
        raise Refused("Group is not valid. The iteration group has to match the iteration cadence group.", payload={"iteration": None})
    if c["automatic"]:
        raise Refused(AUTOMATIC, payload={"iteration": None})
    new = {"title": (i.get("title") or "").strip() or None, "description": i.get("description"), "start_date": lenient_date(i.get("startDate")),
           "due_date": lenient_date(i.get("dueDate"))}
    e = errors_of(ctx.db, c, new)
    if e:
        raise Refused(*e, payload={"iteration": None})
    rid = insert(ctx.db, c, new["start_date"], new["due_date"], new["title"], new["description"])
    return {"iteration": node(ctx, ctx.db.one("SELECT * FROM iterations WHERE id=?", rid))}


ITERATION = """groupPath: ID projectPath: ID iterationsCadenceId: IterationsCadenceID title: String description: String startDate: String
  dueDate: String"""
mutation("iterationCreate", ITERATION, "iteration: Iteration", ee=True, head="iterationCreate")(iteration_create)
mutation("createIteration", ITERATION, "iteration: Iteration", ee=True)(iteration_create)


@mutation("updateIteration", "groupPath: ID! id: ID! title: String description: String startDate: String dueDate: String",
          "iteration: Iteration", ee=True)
def iteration_update(ctx, i):
    """The dates of an automatic cadence's iterations are the server's."""
    g = writable(ctx, i["groupPath"])
    r = ctx.db.one("SELECT * FROM iterations WHERE id=? AND group_id=?", ungid(i["id"], "Iteration") if ":" in i["id"] else int(i["id"]), g["id"])
    if r is None:
        raise GqlError(NOT_FOUND)
    c = cadence(ctx.db, r["cadence_id"])
    new = {k: r[k] for k in ("title", "description", "start_date", "due_date")}
    if "title" in i:
        new["title"] = (i["title"] or "").strip() or None
    if "description" in i:
        new["description"] = i["description"]
    if not c["automatic"]:
        for src, dst in (("startDate", "start_date"), ("dueDate", "due_date")):
            if src in i:
                new[dst] = lenient_date(i[src])
    e = errors_of(ctx.db, c, new, r["id"])
    if e:
        raise Refused(*e, payload={"iteration": node(ctx, r)})
    if any(r[k] != v for k, v in new.items()):
        ctx.db.update("iterations", r["id"], **new, updated_at=now())
    return {"iteration": node(ctx, ctx.db.one("SELECT * FROM iterations WHERE id=?", r["id"]))}


@mutation("iterationDelete", "id: IterationID!", "group: Group!", ee=True)
def iteration_delete(ctx, i):
    r, g = iteration_row(ctx, ungid(i["id"], "Iteration"))
    if r is None:
        raise GqlError(NOT_FOUND)
    writable(ctx, g["full_path"])
    if state_of(r) != "closed" and of_cadence(ctx.db, r["cadence_id"])[-1]["id"] != r["id"]:
        raise Refused("upcoming/current iterations can't be deleted unless they are the last one in the cadence",
                      payload={"group": group_node(ctx, g)})
    forget(ctx.db, [r["id"]])
    ctx.db.run("DELETE FROM iterations WHERE id=?", r["id"])
    return {"group": group_node(ctx, g)}
