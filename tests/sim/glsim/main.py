"""Command line of the simulator."""
import argparse
import asyncio
import json
import signal
import ssl
import sys

from . import faults, seed
from .app import Simulator
from . import (awards, badges, boards, bulk_imports, epic_boards, epics, file_imports, gql_boards, gql_epic_boards, gql_epics, gql_groups,  # noqa: F401
               gql_notes, groups, impersonation, instance, iterations, labels, members, milestones, notes, planning,
               relation_exports, uploads, users, work_items)  # imported because they register their routes and fields


def parse_args(argv):
    a = argparse.ArgumentParser(prog="gitlab-sim", description="A stand-in for GitLab's API, for tests.")
    a.add_argument("--port", type=int, default=0)
    a.add_argument("--db", required=True)
    a.add_argument("--seed", action="append", default=[], metavar="TREE.json")
    a.add_argument("--users", metavar="FILE.json", help="users for an instance without groups")
    a.add_argument("--empty", action="store_true")
    a.add_argument("--version")
    a.add_argument("--tier", choices=("free", "premium", "ultimate"))
    a.add_argument("--latency-ms", type=float)
    a.add_argument("--config", metavar="JSON", help="further settings, as for POST /_sim/config")
    a.add_argument("--faults", metavar="FILE")
    a.add_argument("--log", metavar="FILE")
    a.add_argument("--tls-cert")
    a.add_argument("--tls-key")
    o = a.parse_args(argv)
    if o.empty and o.seed:
        a.error("--empty and --seed exclude each other")
    return o


def load_json(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def prepare(o):
    app = Simulator(o.db, o.log)
    changes = json.loads(o.config) if o.config else {}
    for key, value in (("version", o.version), ("tier", o.tier), ("latency_ms", o.latency_ms)):
        if value is not None:
            changes[key] = value
    app.configure(changes)
    if not app.db.meta("seeded"):
        app.db.begin()
        for tree in ([load_json(o.users)] if o.users else []) + [load_json(p) for p in o.seed] or [{}]:
            seed.load(app.db, tree)
        app.db.set_meta("seeded", True)
        app.db.commit()
        app.db.run("ANALYZE")
    app.has_links = bool(app.db.val("SELECT 1 FROM group_links"))
    if o.faults:
        with open(o.faults, encoding="utf-8") as f:
            app.rules = faults.parse(f.read())
    return app


async def run(app, o, tls):
    srv, server = await app.serve(o.port, tls)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    print(json.dumps({"url": app.base_url, "tokens": seed.tokens(app.db), "version": app.config["version"],
                      "tier": app.config["tier"]}), flush=True)
    await stop.wait()
    srv.close()
    await server.shutdown(0.2)
    app.db.close()


def main(argv=None):
    o = parse_args(argv)
    tls = None
    if o.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(o.tls_cert, o.tls_key)
    try:
        app = prepare(o)
    except (OSError, ValueError, KeyError, faults.FaultError) as e:
        print("gitlab-sim: %s: %s" % (type(e).__name__, e), file=sys.stderr)
        return 2
    asyncio.run(run(app, o, tls))
    return 0
