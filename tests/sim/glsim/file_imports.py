"""File import of a group: POST /groups/import makes the group at once and says 202; what is in the file comes afterwards, group by group,
and no endpoint tells how that goes. One that fails is told to nobody but the server's log: the group stays as far as it came."""
import json
import sys
import tempfile
import time

from glimport import archive, database

from . import app as sim
from .app_types import File
from .auth import MAINTAINER, OWNER, archived, can, find_group, need_user
from .db import now
from .errors import ApiError, forbidden, message, ruby_hash
from .groups import insert_group, join_path, name_errors, path_errors, settings_of, taken
from .landing import Landing
from .router import opt, req, route

QUEUE = []


class Job:
    def __init__(self, app, data, row, parent, user_id):
        self.data, self.row, self.parent, self.user_id = data, row, parent, user_id
        self.due = time.monotonic() + app.config["import_queue_ms"] / 1000
        self.landing = None

    def step(self, app):
        """False: it is over."""
        if self.landing is None:
            db = database.Database()
            with tempfile.NamedTemporaryFile(suffix=".tar.gz") as f:
                f.write(self.data)
                f.flush()
                self.data = None
                archive.load(f.name, db, self.row["name"], self.row["path"], app.config["import_faults"])
            self.landing = Landing(app, db, self.user_id, self.parent, self.row["path"], self.row["name"], self.row, placeholders=False)
            return True
        self.landing.step()
        self.due = time.monotonic() + app.config["import_group_ms"] / 1000
        return len(self.landing) > 0


def work(app):
    while QUEUE and time.monotonic() >= QUEUE[0].due:
        try:
            going_on = QUEUE[0].step(app)
        except Exception as e:  # whatever it is, it ends there and is logged
            app.db.rollback()
            print("import of %s failed: %r" % (QUEUE[0].row["full_path"], e), file=sys.stderr, flush=True)
            going_on = False
        if not going_on:
            QUEUE.pop(0)
        elif QUEUE[0].due > time.monotonic():
            break


sim.WORKERS.append(work)


@route("POST", "/groups/import", (req("path"), req("name"), req("file", "file"), opt("parent_id", int)))
def start(ctx, p):
    user = need_user(ctx)
    limit = ctx.app.config["import_max_bytes"]
    if limit is not None and len(ctx.body) > limit:  # the proxy in front sees it first
        raise ApiError(413, "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>\r\n", {"Content-Type": "text/html"})
    parent = None
    if p.get("parent_id") is not None:
        parent = find_group(ctx, str(p["parent_id"]))
        if not can(ctx, parent, OWNER if settings_of(parent)["subgroup_creation_level"] == "owner" else MAINTAINER) or archived(ctx, parent):
            raise forbidden()
    elif not (ctx.admin or user["can_create_group"] and ctx.app.config["can_create_top_level"]):
        raise forbidden()
    if not isinstance(p["file"], File):
        raise ApiError(400, {"error": "file is invalid"})
    errors = {}
    if (e := name_errors(p["name"])):
        errors["name"] = e
    if (e := path_errors(ctx, p["path"], parent)):
        errors["path"] = e
    elif taken(ctx, join_path(parent, p["path"])):
        errors["path"] = ["has already been taken"]
    if parent is not None and ctx.db.val("SELECT 1 FROM groups WHERE parent_id=? AND name=? COLLATE NOCASE", parent["id"], p["name"]):
        errors["name"] = ["has already been taken"]
    if errors:
        raise message(400, "Failed to save group " + ruby_hash(errors, ctx.version))
    t = now()
    gid = insert_group(ctx.db, parent, path=p["path"], name=p["name"], full_path=join_path(parent, p["path"]), description="",
                       visibility=parent["visibility"] if parent else "private", settings=json.dumps({}), created_at=t, updated_at=t,
                       creator_id=user["id"], runners_token="GR1348941sim-import", organization_id=1)
    ctx.db.insert("members", group_id=gid, user_id=user["id"], access_level=OWNER, created_by_id=user["id"], created_at=t, updated_at=t)
    QUEUE.append(Job(ctx.app, p["file"].data, ctx.db.one("SELECT * FROM groups WHERE id=?", gid), parent, user["id"]))
    return 202, {"message": "202 Accepted"}
