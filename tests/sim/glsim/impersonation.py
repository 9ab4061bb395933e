"""Impersonation tokens: made by an admin for another user, and from then on this user in REST and in GraphQL."""
import datetime
import hashlib

from .auth import need_admin, record_id
from .db import now, today
from .errors import forbidden, message, not_found
from .paging import PAGE_PARAMS, paginate
from .router import opt, req, route
from .users import find, present_token

SCOPES = frozenset("""api read_user read_api read_repository write_repository read_registry write_registry sudo admin_mode create_runner
manage_runner ai_features k8s_proxy read_service_ping self_rotate""".split())
# From here on every token ends: after a year when nothing else was said.
LIFETIME_SINCE, LIFETIME_DAYS = (16, 0), 365


def user_of(ctx):
    need_admin(ctx)
    if not ctx.app.config["impersonation_enabled"]:
        raise forbidden()
    return find(ctx, ctx.path_params["id"])


def last_day():
    return (datetime.date.fromisoformat(today()) + datetime.timedelta(days=LIFETIME_DAYS)).isoformat()


@route("POST", "/users/:id/impersonation_tokens", (req("name"), req("scopes", "list"), opt("expires_at", "date"), opt("description")))
def create(ctx, p):
    u = user_of(ctx)
    errors = {}
    if not (p["name"] or "").strip():
        errors["name"] = ["can't be blank"]
    if not p["scopes"]:
        errors["scopes"] = ["can't be blank"]
    elif set(p["scopes"]) - SCOPES:
        errors["scopes"] = ["can only contain available scopes"]
    ends = p.get("expires_at")
    if ctx.version >= LIFETIME_SINCE:
        ends = ends or last_day()
        if ends > last_day():
            errors["expires_at"] = ["must be before %s" % last_day()]
    if errors:
        raise message(400, errors)
    nr = ctx.db.val("SELECT coalesce(max(id),0)+1 FROM tokens")
    text = "glpat-sim-imp-" + hashlib.sha256(("%s%d%s" % (u["username"], nr, p["name"])).encode()).hexdigest()[:20]
    tid = ctx.db.insert("tokens", token=text, user_id=u["id"], name=p["name"], scopes=" ".join(p["scopes"]), created_at=now(),
                        expires_at=ends, impersonation=1)
    out = present_token(ctx.db.one("SELECT * FROM tokens WHERE id=?", tid))
    out["token"] = text
    return 201, out


@route("GET", "/users/:id/impersonation_tokens", PAGE_PARAMS + (opt("state", str, values=("all", "active", "inactive"), default="all"),))
def index(ctx, p):
    u = user_of(ctx)
    alive = "revoked=0 AND (expires_at IS NULL OR expires_at>'%s')" % today()
    where = {"all": "1", "active": alive, "inactive": "NOT (%s)" % alive}[p["state"]]
    return 200, [present_token(t) for t in paginate(ctx, p, "SELECT * FROM tokens", "user_id=? AND impersonation=1 AND " + where,
                                                    (u["id"],), "id")]


def token_of(ctx, u):
    t = ctx.db.one("SELECT * FROM tokens WHERE id=? AND user_id=? AND impersonation=1",
                   record_id(ctx.path_params["token_id"], "impersonation_token_id"), u["id"])
    if t is None:
        raise not_found("Impersonation Token")
    return t


@route("GET", "/users/:id/impersonation_tokens/:token_id")
def show(ctx, p):
    return 200, present_token(token_of(ctx, user_of(ctx)))


@route("DELETE", "/users/:id/impersonation_tokens/:token_id")
def revoke(ctx, p):
    t = token_of(ctx, user_of(ctx))
    ctx.db.run("UPDATE tokens SET revoked=1 WHERE id=?", t["id"])
    return 204, None
