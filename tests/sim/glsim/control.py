"""/_sim/...: what the tests use to look behind the curtain. No token, no faults, no log."""
import json

from aiohttp import web

from . import auth, boards, changes, dump, faults, mischief, mischief_planning, relation_exports
from .db import dumps


def answer(obj, status=200):
    return web.Response(status=status, body=dumps(obj).encode(), content_type="application/json")


async def handle(app, request, path):
    body = await request.read()
    name = path[len("/_sim/"):].strip("/")
    key = (request.method, name)
    app.purge()
    try:
        if key == ("GET", "dump"):
            return web.Response(body=dump.text(app.db).encode("utf-8", "surrogatepass"), content_type="application/json")
        if key == ("POST", "faults"):
            rules = faults.parse(body.decode())
            app.rules += rules
            return answer({"rules": len(app.rules)})
        if key == ("GET", "faults"):
            return answer([{"name": r.name, "seen": r.seen, "used": r.used} for r in app.rules])
        if key == ("POST", "reset_faults"):
            app.rules = []
            app.forget_stale()
            return answer({"rules": 0})
        if key in (("POST", "snapshot"), ("POST", "restore")):
            which = json.loads(body or b"{}").get("name", "")
            if name == "restore" and which not in app.snapshots:
                return answer({"error": "no such snapshot"}, 404)
            (app.snapshot if name == "snapshot" else app.restore)(which)
            return answer({"name": which, "snapshots": sorted(app.snapshots)})
        if key == ("POST", "at"):
            app.events += changes.parse(json.loads(body))
            return answer({"events": len(app.events)})
        if key == ("GET", "at"):
            return answer([e.show() for e in app.events])
        if key == ("POST", "reset_at"):
            app.events = []
            return answer({"events": 0})
        if key == ("GET", "log"):
            return web.Response(body=app.read_log(), content_type="application/x-ndjson")
        if key == ("POST", "reset_log"):
            app.reset_log()
            return answer({"n": 0})
        if key == ("GET", "config"):
            return answer(app.config)
        if key == ("POST", "config"):
            app.configure(json.loads(body or b"{}"))
            app.windows = {}
            return answer(app.config)
        if key == ("POST", "open_boards_page"):
            g = auth.group_by_ref(_Db(app.db), str(json.loads(body)["group"]))
            if g is None:
                return answer({"error": "no such group"}, 404)
            app.db.begin()
            bid = boards.default_board(app.db, g["id"])
            app.db.commit()
            return answer({"board_id": bid})
        if key == ("POST", "finish_exports"):
            return answer({"jobs": relation_exports.finish(app)})
        if key == ("POST", "expire_exports"):
            o = json.loads(body or b"{}")
            g = None
            if "group" in o:
                g = auth.group_by_ref(_Db(app.db), str(o["group"]))
                if g is None:
                    return answer({"error": "no such group"}, 404)
            app.db.begin()
            n = relation_exports.expire(app.db, g and g["id"], o.get("relation"), bool(o.get("files_only")))
            app.db.commit()
            return answer({"exports": n})
        if key == ("POST", "mischief"):
            app.db.begin()
            done = mischief.do(app.db, json.loads(body))
            app.db.commit()
            return answer(done)
        if key == ("POST", "seed"):
            from . import seed
            app.db.begin()
            seed.load(app.db, json.loads(body))
            app.db.commit()
            return answer(seed.tokens(app.db))
    except (ValueError, KeyError, TypeError, faults.FaultError) as e:
        app.db.rollback()
        return answer({"error": str(e)}, 400)
    return answer({"error": "unknown control request"}, 404)


class _Db:
    def __init__(self, db):
        self.db = db
