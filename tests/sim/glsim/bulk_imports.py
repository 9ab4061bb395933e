"""Migration by direct transfer, as its API shows it: the importer of glimport works in a thread, into a database of its own.

When it has everything, that becomes part of this instance (landing.py), and the import is finished."""
import threading

from glimport import client, database, direct

from . import app as sim
from .auth import MAINTAINER, OWNER, archived, can, need_user
from .errors import ApiError, message, not_found
from .groups import join_path, settings_of, taken
from .landing import Landing
from .router import route

IMPORTS = []


class Faulty(direct.Migration):
    """One whose pipelines for the relations of the setting import_faults fail."""

    def __init__(self, source, db, broken):
        super().__init__(source, db)
        self.broken = broken

    def guarded(self, what, gid, fn, *args):
        if what in self.broken:
            self.db.failure(gid, what, "PG::QueryCanceled: canceling statement due to statement timeout")
        else:
            super().guarded(what, gid, fn, *args)


class Import(threading.Thread):
    def __init__(self, number, entity, source, broken, parent, user_id):
        super().__init__(daemon=True)
        self.number, self.entity, self.source, self.broken, self.parent, self.user_id = number, entity, source, broken, parent, user_id
        self.status, self.failures = "created", []
        self.made = self.landing = None

    def run(self):
        self.status = "started"
        db = database.Database(shared=True)
        status = "finished"
        try:
            Faulty(self.source, db, self.broken).run(self.entity["source_full_path"])
        except Exception as e:  # whatever it is, GitLab marks the migration and goes on
            self.failures.append(("group", repr(e)))
            status = "failed"
        self.failures += [(pipeline, text) for _, pipeline, text in db.failures()]
        self.made = (db, status)

    def land(self, app):
        """In the simulator's own thread."""
        db, status = self.made
        self.made = None
        try:
            landing = Landing(app, db, self.user_id, self.parent, self.entity["destination_slug"])
            while len(landing):
                landing.step()
        except Exception as e:
            app.db.rollback()
            self.failures.append(("group", repr(e)))
            status = "failed"
        self.status = status

    def body(self):
        return {"id": self.number, "status": self.status, "source_type": "gitlab", "source_url": self.source.url.geturl(),
                "created_at": "2025-01-01T00:00:00.000Z", "updated_at": "2025-01-01T00:00:00.000Z", "has_failures": bool(self.failures)}


def work(app):
    for i in IMPORTS:
        if i.made:
            i.land(app)


sim.WORKERS.append(work)


def find(ctx):
    need_user(ctx)
    text = ctx.path_params["id"]
    if not text.isdigit() or not 0 < int(text) <= len(IMPORTS):
        raise not_found("BulkImport")
    return IMPORTS[int(text) - 1]


@route("POST", "/bulk_imports")
def start(ctx, p):
    user = need_user(ctx)
    conf, entities = ctx.raw.get("configuration"), ctx.raw.get("entities")
    if not isinstance(conf, dict) or not conf.get("url") or not conf.get("access_token") or not entities:
        raise ApiError(400, {"error": "configuration[url] is missing, configuration[access_token] is missing"})
    e = entities[0]
    for key in ("source_type", "source_full_path", "destination_slug", "destination_namespace"):
        if key not in e:
            raise ApiError(400, {"error": f"entities[0][{key}] is missing"})
    parent = None
    if e["destination_namespace"]:
        parent = ctx.db.one("SELECT * FROM groups WHERE full_path=?", e["destination_namespace"])
        if parent is None or archived(ctx, parent) or not can(ctx, parent, OWNER if settings_of(parent)["subgroup_creation_level"] == "owner" else MAINTAINER):
            raise message(422, "Import failed. Destination '%s' is invalid, or you don't have permission." % e["destination_namespace"])
    elif not (ctx.admin or user["can_create_group"] and ctx.app.config["can_create_top_level"]):
        raise message(422, "Import failed. Destination '' is invalid, or you don't have permission.")
    full = join_path(parent, e["destination_slug"])
    if taken(ctx, full):
        raise message(422, "Import aborted as '%s' already exists. Change the destination and try again." % full)
    i = Import(len(IMPORTS) + 1, e, client.Source(conf["url"], conf["access_token"]), ctx.app.config["import_faults"], parent, user["id"])
    try:  # what the creation looks at before it accepts
        client.Source(conf["url"], conf["access_token"], retries=0).json("GET", "/version", paged=False)
    except client.Failed as x:
        raise ApiError(422, {"message": f"Unable to connect to the source: {x}"}) from None
    IMPORTS.append(i)
    i.start()
    return 201, i.body()


@route("GET", "/bulk_imports/:id")
def show(ctx, p):
    return 200, find(ctx).body()


@route("GET", "/bulk_imports/:id/entities")
def entities_(ctx, p):
    i = find(ctx)
    return 200, [{"id": i.number, "bulk_import_id": i.number, "status": i.status, "entity_type": "group",
                  "source_full_path": i.entity["source_full_path"],
                  "destination_full_path": join_path(i.parent, i.entity["destination_slug"]),
                  "has_failures": bool(i.failures),
                  "failures": [{"relation": pipeline, "exception_message": text, "exception_class": "BulkImports::Error",
                                "pipeline_class": pipeline.title() + "Pipeline"} for pipeline, text in i.failures]}]
