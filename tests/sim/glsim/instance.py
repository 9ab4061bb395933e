"""Facts about the instance, and its namespaces."""
from .auth import can_read, group_by_ref, need_admin, need_user
from .errors import not_found
from .paging import PAGE_PARAMS, paginate
from .router import opt, route


def metadata_body(ctx):
    out = {"version": ctx.app.config["version"], "revision": ctx.app.config["revision"],
           "kas": {"enabled": False, "externalUrl": None, "version": None}}
    if ctx.version >= (16, 10):
        out["kas"]["externalK8sProxyUrl"] = None
    if ctx.version >= (15, 6):
        out["enterprise"] = ctx.app.enterprise
    return out


@route("GET", "/metadata", scope="read_user")
def metadata(ctx, p):
    need_user(ctx)
    if ctx.version < (15, 2):
        raise not_found()
    return 200, metadata_body(ctx)


@route("GET", "/version", scope="read_user")
def version(ctx, p):
    need_user(ctx)
    if ctx.version >= (15, 5):
        return 200, metadata_body(ctx)
    return 200, {"version": ctx.app.config["version"], "revision": ctx.app.config["revision"]}


@route("GET", "/license")
def license_(ctx, p):
    need_admin(ctx)
    tier = ctx.app.config["tier"]
    if tier == "free" or not ctx.app.enterprise:
        return 200, None
    return 200, {"id": 1, "plan": tier, "created_at": "2025-01-01T00:00:00.000Z", "starts_at": "2025-01-01",
                 "expires_at": None, "historical_max": 10, "maximum_user_count": 10, "expired": False, "overage": 0,
                 "user_limit": 0, "active_users": 10, "licensee": {"Name": "Simulator"}, "add_ons": {}}


@route("GET", "/namespaces/:id/exists", (opt("parent_id", int),))
def exists(ctx, p):
    """One path segment below parent_id. Says yes for namespaces that the caller may not see, too."""
    need_user(ctx)
    seg = ctx.path_params["id"]
    cond, args = ("parent_id=?", (p["parent_id"],)) if p.get("parent_id") else ("parent_id IS NULL", ())

    def used(s):
        return bool(ctx.db.val("SELECT 1 FROM groups WHERE path=? COLLATE NOCASE AND " + cond, s, *args)
                    or not p.get("parent_id") and ctx.db.val("SELECT 1 FROM users WHERE username=?", s))
    suggests = []
    if used(seg):
        i = 1
        while used("%s%d" % (seg, i)):
            i += 1
        suggests = ["%s%d" % (seg, i)]
    return 200, {"exists": bool(suggests), "suggests": suggests}


def present(ctx, g):
    return {"id": g["id"], "name": g["name"], "path": g["path"], "kind": "group", "full_path": g["full_path"],
            "parent_id": g["parent_id"], "avatar_url": None,
            "web_url": "%s/groups/%s" % (ctx.app.base_url, g["full_path"])}


@route("GET", "/namespaces", PAGE_PARAMS + (opt("search"), opt("owned_only", bool), opt("top_level_only", bool),
                                            opt("full_path_search", bool)))
def namespaces(ctx, p):
    from .groups import visible_condition
    need_user(ctx)
    cond, args = visible_condition(ctx, None, owned=p.get("owned_only"))
    if p.get("top_level_only"):
        cond += " AND parent_id IS NULL"
    if p.get("search"):
        cond += " AND (instr(lower(name), lower(?)) OR instr(lower(%s), lower(?)))" % (
            "full_path" if p.get("full_path_search") else "path")
        args = [*args, p["search"], p["search"]]
    return 200, [present(ctx, g) for g in paginate(ctx, p, "SELECT * FROM groups", cond, args, "full_path")]


@route("GET", "/namespaces/:id")
def namespace(ctx, p):
    need_user(ctx)
    g = group_by_ref(ctx, ctx.path_params["id"])
    if g is None or not can_read(ctx, g):
        raise not_found("Namespace")
    return 200, present(ctx, g)
