"""Group badges: a multiset in order of creation."""
import re

from .auth import OWNER, find_group, need, need_unarchived, record_id
from .db import now
from .errors import message, not_found
from .paging import PAGE_PARAMS, paginate
from .router import opt, req, route

PLACEHOLDER = re.compile(r"%\{(\w+)\}")
BLOCKED = "is blocked: Only allowed schemes are http, https"


def render(ctx, g, url):
    """Placeholders are filled in from a project; in the view of a group only its own facts are known."""
    known = {"group_name": g["name"], "gitlab_server": "127.0.0.1", "gitlab_pages_domain": "pages.invalid"}
    return PLACEHOLDER.sub(lambda m: known.get(m[1], m[0]), url)


def present(ctx, g, r):
    return {"name": r["name"], "link_url": r["link_url"], "image_url": r["image_url"],
            "rendered_link_url": render(ctx, g, r["link_url"]), "rendered_image_url": render(ctx, g, r["image_url"]),
            "id": r["id"], "kind": "group"}


@route("GET", "/groups/:id/badges", PAGE_PARAMS + (opt("name"),), anonymous=True)
def index(ctx, p):
    g = find_group(ctx)
    where, args = "group_id=?", [g["id"]]
    if p.get("name") is not None:
        where += " AND name=?"
        args.append(p["name"])
    rows = paginate(ctx, p, "SELECT * FROM badges", where, args, "created_at, id")
    return 200, [present(ctx, g, r) for r in rows]


def check(cols):
    e = {}
    for k in ("link_url", "image_url"):
        if k not in cols:
            continue
        url = cols[k] or ""
        if not url:
            e[k] = ["can't be blank", BLOCKED]
        elif not re.match(r"^https?://", url, re.I):
            e[k] = [BLOCKED]
        elif not re.match(r"^https?://[^\s/?#]+", url, re.I):
            e[k] = ["is blocked: URI is invalid"]
        elif len(url) > 2048:
            e[k] = ["is too long (maximum is 2048 characters)"]
    if len(cols.get("name") or "") > 255:
        e["name"] = ["is too long (maximum is 255 characters)"]
    if e:
        raise message(400, e)


@route("GET", "/groups/:id/badges/render", (req("link_url"), req("image_url")))
def preview(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    check(p)
    return 200, {"link_url": p["link_url"], "image_url": p["image_url"], "rendered_link_url": render(ctx, g, p["link_url"]),
                 "rendered_image_url": render(ctx, g, p["image_url"])}


def find(ctx, g):
    r = ctx.db.one("SELECT * FROM badges WHERE id=? AND group_id=?", record_id(ctx.path_params["badge_id"], "badge_id"), g["id"])
    if r is None:
        raise not_found()
    return r


@route("GET", "/groups/:id/badges/:badge_id", anonymous=True)
def show(ctx, p):
    g = find_group(ctx)
    return 200, present(ctx, g, find(ctx, g))


@route("POST", "/groups/:id/badges", (req("link_url"), req("image_url"), opt("name")))
def create(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    need_unarchived(ctx, g)
    check(p)
    t = now()
    rid = ctx.db.insert("badges", group_id=g["id"], name=p.get("name"), link_url=p["link_url"], image_url=p["image_url"],
                        created_at=t, updated_at=t)
    return 201, present(ctx, g, ctx.db.one("SELECT * FROM badges WHERE id=?", rid))


@route("PUT", "/groups/:id/badges/:badge_id", (opt("link_url"), opt("image_url"), opt("name")))
def change(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    need_unarchived(ctx, g)
    r = find(ctx, g)
    cols = {k: p[k] for k in ("link_url", "image_url", "name") if k in p}
    check(cols)
    if cols:
        ctx.db.update("badges", r["id"], **cols, updated_at=now())
    return 200, present(ctx, g, ctx.db.one("SELECT * FROM badges WHERE id=?", r["id"]))


@route("DELETE", "/groups/:id/badges/:badge_id")
def delete(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    ctx.db.run("DELETE FROM badges WHERE id=?", find(ctx, g)["id"])
    return 204, None
