"""Who is asking, with which token, as whom, and what may he do."""
from urllib.parse import unquote

from .db import today
from .errors import ApiError, forbidden, message, not_found, unauthorized

GUEST, PLANNER, REPORTER, DEVELOPER, MAINTAINER, OWNER = 10, 15, 20, 30, 40, 50
LEVEL_NAMES = {0: "No access", 5: "Minimal Access", 10: "Guest", 15: "Planner", 20: "Reporter",
               30: "Developer", 40: "Maintainer", 50: "Owner"}
LEVEL_ENUM = {0: "NO_ACCESS", 5: "MINIMAL_ACCESS", 10: "GUEST", 15: "PLANNER", 20: "REPORTER",
              30: "DEVELOPER", 40: "MAINTAINER", 50: "OWNER"}


def token_text(ctx):
    t = ctx.headers.get("PRIVATE-TOKEN")
    if t:
        return t
    a = ctx.headers.get("Authorization", "")
    if a[:7].lower() == "bearer ":
        return a[7:].strip()
    return ctx.query.get("private_token") or ctx.query.get("access_token")


def identify(ctx):
    """Find token and user without judging them yet (the rate limiter asks first)."""
    text = token_text(ctx)
    ctx.token_sent = bool(text)
    if not text:
        return
    row = ctx.db.one("SELECT * FROM tokens WHERE token=?", text)
    if row is None:
        return
    ctx.token = row
    ctx.scopes = frozenset(row["scopes"].split())
    ctx.user = ctx.db.one("SELECT * FROM users WHERE id=?", row["user_id"])


def token_error(description):
    return ApiError(401, {"error": "invalid_token", "error_description": description},
                    {"WWW-Authenticate": 'Bearer realm="Protected by OAuth 2.0", error="invalid_token", '
                                         'error_description="%s"' % description})


def scope_error(wanted):
    return ApiError(403, {"error": "insufficient_scope",
                          "error_description": "The request requires higher privileges than provided by the access token.",
                          "scope": " ".join(wanted)})


def is_admin(ctx, user):
    if user is None or not user["admin"]:
        return False
    return not ctx.app.config["admin_mode"] or "admin_mode" in ctx.scopes


def authenticate(ctx, wanted):
    """wanted: scopes of which one is enough, or None for any."""
    if not ctx.token_sent:
        return
    t = ctx.token
    if t is None:
        raise unauthorized()
    if t["revoked"]:
        raise token_error("Token was revoked. You have to re-authorize from the user.")
    if t["expires_at"] and t["expires_at"] <= today():
        raise token_error("Token is expired. You can either do re-authorization or token refresh.")
    if t["impersonation"] and not ctx.app.config["impersonation_enabled"]:
        raise token_error("Token is an impersonation token but impersonation was disabled.")
    if wanted is not None and not ctx.scopes & set(wanted):
        raise scope_error(wanted)
    if ctx.user["state"] != "active":
        raise forbidden("Your account has been blocked.")
    ctx.admin = is_admin(ctx, ctx.user)


def apply_sudo(ctx):
    who = ctx.headers.get("Sudo") or ctx.raw.get("sudo")
    if who in (None, ""):
        return
    if ctx.user is None:
        raise unauthorized()
    if not ctx.admin:
        raise forbidden("Must be admin to use sudo")
    if "sudo" not in ctx.scopes:
        raise scope_error(["sudo"])
    who = str(who)
    row = ctx.db.one("SELECT * FROM users WHERE id=?", int(who)) if who.isdigit() and len(who) < 19 else None
    row = row or ctx.db.one("SELECT * FROM users WHERE username=?", who)
    if row is None:
        raise not_found("User with ID or username '%s'" % who)
    ctx.sudo = row["username"]
    ctx.user = row
    ctx.admin = is_admin(ctx, row)


def need_user(ctx):
    if ctx.user is None:
        raise unauthorized()
    return ctx.user


def need_admin(ctx):
    need_user(ctx)
    if not ctx.admin:
        raise forbidden()


# ---- groups ----------------------------------------------------------------------------------

def ancestor_ids(tids):
    """'/1/5/9/' -> [1, 5, 9] (the group itself included)."""
    return [int(x) for x in tids.strip("/").split("/")]


def _own_level(db, user_id, ids):
    return db.val("SELECT max(access_level) FROM members WHERE user_id=? AND group_id IN (%s) "
                  "AND (expires_at IS NULL OR expires_at > date('now'))" % ",".join(map(str, ids)), user_id) or 0


def level(ctx, g, user=None):
    """Highest role of the user in the group: direct, inherited, or through a group share."""
    user = user or ctx.user
    if user is None:
        return 0
    ids = ancestor_ids(g["tids"])
    lv = _own_level(ctx.db, user["id"], ids)
    if ctx.app.has_links:
        for ln in ctx.db.all("SELECT l.access, s.tids FROM group_links l JOIN groups s ON s.id=l.shared_with_id "
                             "WHERE l.group_id IN (%s) AND (l.expires_at IS NULL OR l.expires_at > date('now'))"
                             % ",".join(map(str, ids))):
            lv = max(lv, min(ln["access"], _own_level(ctx.db, user["id"], ancestor_ids(ln["tids"]))))
    return lv


def can_read(ctx, g):
    if g["visibility"] == "public" or ctx.admin:
        return True
    if ctx.user is None:
        return False
    return g["visibility"] == "internal" or level(ctx, g) >= 5


def can(ctx, g, minimum):
    return ctx.admin or (ctx.user is not None and level(ctx, g) >= minimum)


def need(ctx, g, minimum):
    need_user(ctx)
    if not can(ctx, g, minimum):
        raise forbidden()


def group_by_ref(ctx, ref):
    """ref: as in the URL: a number or an encoded full path. Old paths are not followed."""
    if ref.isdigit():
        return ctx.db.one("SELECT * FROM groups WHERE id=?", int(ref)) if len(ref) < 19 else None
    return ctx.db.one("SELECT * FROM groups WHERE full_path=?", unquote(ref))


def find_group(ctx, ref=None):
    g = group_by_ref(ctx, ref if ref is not None else ctx.path_params["id"])
    if g is None or not can_read(ctx, g):
        raise not_found("Group")
    return g


def record_id(ref, what=None):
    """A numeric id in the URL; Grape refuses anything else before the look-up."""
    if not ref.lstrip("-").isdigit():
        raise ApiError(400, {"error": "%s is invalid" % (what or "id")})
    n = int(ref)
    return n if abs(n) < 2 ** 63 else -1


def archived(ctx, g):
    return bool(ctx.db.val("SELECT 1 FROM groups WHERE archived=1 AND id IN (%s)"
                           % ",".join(map(str, ancestor_ids(g["tids"])))))


def need_unarchived(ctx, g):
    if archived(ctx, g):
        raise message(403, "403 Forbidden")
