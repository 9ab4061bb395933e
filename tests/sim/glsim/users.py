"""Users, tokens, and what a caller may learn about himself and others."""
import hashlib

from .auth import need_admin, need_user, record_id
from .db import now, today
from .errors import forbidden, message, not_found
from .paging import PAGE_PARAMS, paginate
from .router import opt, req, route


def basic(ctx, u):
    if u is None:
        return None
    return {"id": u["id"], "username": u["username"], "name": u["name"], "state": u["state"], "locked": False,
            "avatar_url": "https://www.gravatar.com/avatar/%s?s=80&d=identicon"
                          % hashlib.sha256((u["email"] or u["username"]).encode()).hexdigest(),
            "web_url": "%s/%s" % (ctx.app.base_url, u["username"])}


def full(ctx, u):
    """As anybody who is logged in sees him."""
    out = basic(ctx, u)
    out.update({"created_at": u["created_at"], "bio": "", "location": "", "public_email": u["public_email"] or "",
                "linkedin": "", "twitter": "", "discord": "", "website_url": "", "github": "", "organization": "",
                "job_title": "", "pronouns": None, "bot": bool(u["bot"]), "work_information": None,
                "local_time": None, "followers": 0, "following": 0, "is_followed": False})
    return out


def private(ctx, u, for_admin):
    """As the user himself or an admin sees him."""
    out = full(ctx, u)
    out.update({"last_sign_in_at": None, "confirmed_at": u["confirmed_at"], "last_activity_on": None,
                "email": u["email"], "theme_id": 3, "color_scheme_id": 1, "projects_limit": 100000,
                "current_sign_in_at": None, "identities": [], "can_create_group": bool(u["can_create_group"]),
                "can_create_project": True, "two_factor_enabled": False, "external": False, "private_profile": False,
                "commit_email": u["email"]})
    if for_admin:
        out.update({"is_admin": bool(u["admin"]), "note": None, "namespace_id": None, "created_by": None,
                    "email_reset_offered_at": None, "using_license_seat": True, "is_auditor": False})
    return out


@route("GET", "/user", scope="read_user")
def me(ctx, p):
    u = need_user(ctx)
    return 200, private(ctx, u, bool(u["admin"]))


@route("GET", "/users", PAGE_PARAMS + (
    opt("username"), opt("search"), opt("active", bool, default=False), opt("blocked", bool, default=False),
    opt("humans", bool), opt("admins", bool, default=False), opt("without_project_bots", bool),
    opt("order_by", str, values=("id", "name", "username", "created_at", "updated_at"), default="id"),
    opt("sort", str, values=("asc", "desc"), default="desc")), scope="read_user", anonymous=True)
def index(ctx, p):
    if ctx.user is None and not p.get("username"):
        raise forbidden("Not authorized to access /api/v4/users")
    where, args = ["1"], []
    if p.get("username"):
        where.append("username=?")
        args.append(p["username"])
    if p.get("search"):
        cond, a = search_condition(ctx, p["search"])
        where.append(cond)
        args += a
    if p["active"]:
        where.append("state='active'")
    if p["blocked"]:
        where.append("state LIKE '%blocked'")
    if p.get("humans") or p.get("without_project_bots"):
        where.append("bot=0")
    if p["admins"] and ctx.admin:
        where.append("admin=1")
    order = p["order_by"] if p["order_by"] != "updated_at" else "created_at"
    rows = paginate(ctx, p, "SELECT * FROM users", " AND ".join(where), args, "%s %s, id %s" % (order, p["sort"], p["sort"]))
    if ctx.admin:
        return 200, [private(ctx, u, True) for u in rows]
    return 200, [basic(ctx, u) for u in rows]


def search_condition(ctx, text):
    """Name and username match in part (from three characters on), addresses only as a whole:
    the public one for everybody, private and secondary ones only for admins."""
    text = text.strip()
    like = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    like = "%" + like + "%" if len(text) >= 3 else like
    cond = "(name LIKE ? ESCAPE '\\' OR username LIKE ? ESCAPE '\\' OR (public_email<>'' AND public_email=?)"
    args = [like, like, text]
    if ctx.admin:
        cond += " OR email=? OR id IN (SELECT user_id FROM emails WHERE email=?)"
        args += [text, text]
    return cond + ")", args


def find(ctx, ref):
    u = ctx.db.one("SELECT * FROM users WHERE id=?", record_id(ref))
    if u is None:
        raise not_found("User")
    return u


@route("GET", "/users/:id", scope="read_user", anonymous=True)
def show(ctx, p):
    if ctx.user is None:
        raise not_found("User")
    u = find(ctx, ctx.path_params["id"])
    return 200, private(ctx, u, True) if ctx.admin else full(ctx, u)


@route("GET", "/users/:id/emails", PAGE_PARAMS)
def emails(ctx, p):
    need_admin(ctx)
    u = find(ctx, ctx.path_params["id"])
    rows = paginate(ctx, p, "SELECT * FROM emails", "user_id=?", (u["id"],), "id")
    return 200, [{"id": r["id"], "email": r["email"], "confirmed_at": r["confirmed_at"]} for r in rows]


@route("GET", "/user/emails", PAGE_PARAMS, scope="read_user")
def my_emails(ctx, p):
    u = need_user(ctx)
    rows = paginate(ctx, p, "SELECT * FROM emails", "user_id=?", (u["id"],), "id")
    return 200, [{"id": r["id"], "email": r["email"], "confirmed_at": r["confirmed_at"]} for r in rows]


@route("POST", "/users", (req("email"), req("name"), req("username"), opt("password"), opt("reset_password", bool),
                          opt("force_random_password", bool), opt("skip_confirmation", bool), opt("admin", bool),
                          opt("can_create_group", bool), opt("public_email")))
def create(ctx, p):
    need_admin(ctx)
    if ctx.db.val("SELECT 1 FROM users WHERE email=?", p["email"]):
        raise message(409, "Email has already been taken")
    if ctx.db.val("SELECT 1 FROM users WHERE username=?", p["username"]):
        raise message(409, "Username has already been taken")
    t = now()
    uid = ctx.db.insert("users", username=p["username"], name=p["name"], email=p["email"], created_at=t,
                        confirmed_at=t if p.get("skip_confirmation") else None, admin=int(bool(p.get("admin"))),
                        public_email=p.get("public_email") or "",
                        can_create_group=int(p.get("can_create_group") is not False))
    return 201, private(ctx, ctx.db.one("SELECT * FROM users WHERE id=?", uid), True)


# ---- tokens ----------------------------------------------------------------------------------

def present_token(t):
    out = {"id": t["id"], "name": t["name"], "revoked": bool(t["revoked"]), "created_at": t["created_at"],
           "description": None, "scopes": t["scopes"].split(), "user_id": t["user_id"], "last_used_at": t["last_used_at"],
           "active": not t["revoked"] and not (t["expires_at"] and t["expires_at"] <= today()),
           "expires_at": t["expires_at"]}
    if t["impersonation"]:
        out["impersonation"] = True
    return out


@route("GET", "/personal_access_tokens/self", scope="any")
def token_self(ctx, p):
    need_user(ctx)
    if ctx.version < (15, 5):
        raise not_found()
    return 200, present_token(ctx.token)


@route("GET", "/personal_access_tokens/self/associations", PAGE_PARAMS + (opt("min_access_level", int, default=10),),
       scope="any")
def token_associations(ctx, p):
    user = need_user(ctx)
    if ctx.version < (17, 4):
        raise not_found()
    rows = paginate(ctx, p, "SELECT g.*, m.access_level AS al FROM members m JOIN groups g ON g.id=m.group_id",
                    "m.user_id=? AND m.access_level>=?", (user["id"], p["min_access_level"] or 10), "g.id")
    return 200, {"groups": [{"id": g["id"], "web_url": "%s/groups/%s" % (ctx.app.base_url, g["full_path"]),
                             "name": g["name"], "parent_id": g["parent_id"], "organization_id": g["organization_id"],
                             "access_levels": g["al"], "visibility": g["visibility"]} for g in rows], "projects": []}
