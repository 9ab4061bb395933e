"""Files that belong to a group's texts (epics, wiki): seeded, listed and read over REST since 17.2, never written there."""
import base64
import hashlib
import re

from . import db as state
from . import dump, groups, seed
from .app_types import Binary
from .auth import GUEST, MAINTAINER, find_group, need, record_id
from .errors import message, not_found
from .paging import PAGE_PARAMS, paginate
from .router import route

state.EXTRA_TABLES.append(("uploads", """
CREATE TABLE uploads(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, secret TEXT NOT NULL,
  name TEXT NOT NULL, content BLOB, uploader_id INTEGER, created_at TEXT NOT NULL);
CREATE INDEX uploads_group ON uploads(group_id, id);
"""))
groups.GROUP_TABLES.append("uploads")
SECRET = re.compile(r"^[0-9a-f]{10}([0-9a-f]{22})?$")


def dump_rows(db):
    return [{"id": r["id"], "group_id": r["group_id"], "secret": r["secret"], "name": r["name"],
             "uploader_id": r["uploader_id"], "created_at": r["created_at"],
             "sha256": None if r["content"] is None else hashlib.sha256(r["content"]).hexdigest()}
            for r in db.all("SELECT * FROM uploads ORDER BY id")]


dump.SPECIAL["uploads"] = dump_rows


def load(db, g, items, refs):
    for x in items:
        seed.known(x, ("id", "secret", "name", "base64", "text", "size", "lost", "uploaded_by", "created_at"), "upload")
        secret = x.get("secret") or hashlib.md5(("%s/%s" % (g["full_path"], x["name"])).encode()).hexdigest()
        if not SECRET.match(secret):
            raise seed.SeedError("upload %s: the secret is 32 (or 10) hexadecimal digits, got %r" % (x["name"], secret))
        data = None
        if not x.get("lost"):       # lost: the row is there, the file on disk is not
            data = base64.b64decode(x["base64"]) if "base64" in x else content(x.get("text"), x.get("size", 0), x["name"])
        cols = dict(group_id=g["id"], secret=secret, name=x["name"], content=data,
                    uploader_id=refs.user(x.get("uploaded_by")), created_at=seed.stamp(x, "created_at", g["created_at"]))
        if "id" in x:
            cols["id"] = x["id"]
        db.insert("uploads", **cols)


def content(text, size, name):
    """The text, or `size` bytes that do not compress and are the same in every run."""
    if text is not None:
        return text.encode()
    out = b"".join(hashlib.sha512(("%s %d" % (name, i)).encode()).digest() for i in range((size + 63) // 64))
    return out[:size]


seed.HANDLERS["uploads"] = load


def since(ctx, version=(17, 2)):
    if ctx.version < version:
        raise message(404, "404 Not Found")


def present(ctx, r):
    by = ctx.db.one("SELECT id, name, username FROM users WHERE id=?", r["uploader_id"]) if r["uploader_id"] else None
    return {"id": r["id"], "size": len(r["content"] or b""), "filename": r["name"], "created_at": r["created_at"],
            "uploaded_by": dict(by) if by else None}


@route("GET", "/groups/:id/uploads", PAGE_PARAMS)
def index(ctx, p):
    since(ctx)
    g = find_group(ctx)
    need(ctx, g, MAINTAINER)
    return 200, [present(ctx, r) for r in
                 paginate(ctx, p, "SELECT * FROM uploads", "group_id=?", (g["id"],), "created_at DESC, id DESC")]


def send(r):
    if r is None or r["content"] is None:
        raise not_found()
    return 200, Binary(r["content"], "application/octet-stream",
                       {"Content-Disposition": 'attachment; filename="%s"' % r["name"].encode("ascii", "replace").decode()
                        .replace('"', "_")})


@route("GET", "/groups/:id/uploads/:upload_id")
def show(ctx, p):
    since(ctx)
    g = find_group(ctx)
    need(ctx, g, MAINTAINER)
    return send(ctx.db.one("SELECT * FROM uploads WHERE id=? AND group_id=?",
                           record_id(ctx.path_params["upload_id"], "upload_id"), g["id"]))


@route("GET", "/groups/:id/uploads/:secret/:filename")
def by_secret(ctx, p):
    since(ctx, (17, 4))
    g = find_group(ctx)
    need(ctx, g, GUEST)
    return send(ctx.db.one("SELECT * FROM uploads WHERE group_id=? AND secret=? AND name=?", g["id"],
                           ctx.path_params["secret"], ctx.path_params["filename"]))
