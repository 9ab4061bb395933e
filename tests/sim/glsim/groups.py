"""Groups and subgroups: reading, creating, changing, deleting, avatars, sharing, transfer."""
import hashlib
import json
import re
import time
import unicodedata

from . import group_settings as gs
from .app_types import Binary, File
from .auth import (MAINTAINER, OWNER, ancestor_ids, archived, can, find_group, need, need_admin, need_user)
from .db import now, today
from .errors import ApiError, bad_request, forbidden, invalid, message, not_found, param_error, ruby_hash
from .paging import PAGE_PARAMS, keyset_by_name, paginate
from .router import opt, req, route

VISIBILITIES = ("private", "internal", "public")
RANK = {v: i for i, v in enumerate(VISIBILITIES)}
PATH_RE = re.compile(r"^[A-Za-z0-9_.][A-Za-z0-9_.\-]*$")
OCI_RE = re.compile(r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+|__[A-Za-z0-9]+|-+[A-Za-z0-9]+)*$")
RESERVED_TOP = set("""- .well-known 404.html 422.html 500.html 502.html 503.html admin api apple-touch-icon.png assets
dashboard deploy.html explore favicon.ico favicon.png files groups health_check help import jwt login oauth profile
projects public robots.txt s search sitemap sitemap.xml sitemap.xml.gz slash-command-logo.png snippets unsubscribes
uploads users v2 -""".split())
RESERVED_DEEPER = set("-".split())
AVATAR_EXT = ("png", "jpg", "jpeg", "gif", "bmp", "tiff", "ico", "webp")
AVATAR_LIMIT = 200 * 1024


# ---- what a group looks like -----------------------------------------------------------------

def settings_of(g):
    v = gs.defaults()
    v.update(json.loads(g["settings"]))
    return v


def present(ctx, g, detail=False, with_projects=False, custom=False, statistics=False):
    st = settings_of(g)
    base = ctx.app.base_url
    admin_here = detail and can(ctx, g, OWNER)
    emails = st["emails_enabled"]
    ids = ancestor_ids(g["tids"])
    is_archived = bool(g["archived"])
    names = [g["name"]]
    if len(ids) > 1:
        names = []
        for row in ctx.db.all("SELECT name, settings, archived FROM groups WHERE id IN (%s) ORDER BY length(tids)"
                              % ",".join(map(str, ids))):
            names.append(row["name"])
            is_archived = is_archived or bool(row["archived"])
            if '"emails_enabled":false' in row["settings"]:
                emails = False
    out = {
        "id": g["id"], "web_url": "%s/groups/%s" % (base, g["full_path"]), "name": g["name"], "path": g["path"],
        "description": g["description"] if g["description"] is not None else "", "visibility": g["visibility"],
    }
    for s in gs.SETTINGS:
        if s.hidden or s.detail or not gs.available(ctx, s):
            continue
        out[s.name] = st[s.name]
    out["emails_disabled"] = not emails
    if "emails_enabled" in out:
        out["emails_enabled"] = emails
    if ctx.version >= (18, 0):
        out["archived"] = is_archived
    out.update({
        "avatar_url": "%s/uploads/-/system/group/avatar/%d/%s" % (base, g["id"], g["avatar_name"])
                      if g["avatar_name"] else None,
        "full_name": " / ".join(names), "full_path": g["full_path"], "created_at": g["created_at"],
        "parent_id": g["parent_id"],
    })
    if ctx.version >= (17, 0):
        out["organization_id"] = g["organization_id"]
    if ctx.version >= (18, 0) or ctx.app.enterprise and ctx.premium():
        out["marked_for_deletion_on"] = g["marked_on"]
    if ctx.app.enterprise and ctx.premium():
        out["ldap_group_links"] = None
        out["saml_group_links"] = []
    if custom and ctx.admin:
        out["custom_attributes"] = custom_attributes(ctx, g)
    if statistics and ctx.admin:
        out["statistics"] = {k: 0 for k in ("storage_size", "repository_size", "wiki_size", "lfs_objects_size",
                                            "job_artifacts_size", "pipeline_artifacts_size", "packages_size",
                                            "snippets_size", "uploads_size")}
    if not detail:
        return out
    out["shared_with_groups"] = [
        {"group_id": r["shared_with_id"], "group_name": r["name"], "group_full_path": r["full_path"],
         "group_access_level": r["access"], "expires_at": r["expires_at"]}
        for r in ctx.db.all("SELECT l.*, s.name, s.full_path FROM group_links l JOIN groups s ON s.id=l.shared_with_id "
                            "WHERE l.group_id=? ORDER BY l.id", g["id"])]
    if admin_here:
        out["runners_token"] = g["runners_token"]
    for s in gs.SETTINGS:
        if s.detail and not s.hidden and gs.available(ctx, s) and not (s.top and g["parent_id"]):
            if s.admin and not ctx.admin:
                continue
            if s.tier == "free" or admin_here:
                out[s.name] = st[s.name]
    if with_projects:
        out["projects"] = []
        out["shared_projects"] = []
    return out


def custom_attributes(ctx, g):
    return [{"key": r["key"], "value": r["value"]} for r in
            ctx.db.all("SELECT key, value FROM custom_attributes WHERE group_id=? ORDER BY key", g["id"])]


# ---- lists -----------------------------------------------------------------------------------

def visible_condition(ctx, all_available, owned=False, min_access=None):
    """SQL condition on groups for what a list may show this user."""
    if owned or min_access:
        user = need_user(ctx)
        lv = OWNER if owned else min_access
        rows = ctx.db.all("SELECT g.tids FROM members m JOIN groups g ON g.id=m.group_id WHERE m.user_id=? "
                          "AND m.access_level>=? AND (m.expires_at IS NULL OR m.expires_at>date('now'))",
                          user["id"], lv)
        if owned:
            ids = [str(ancestor_ids(r["tids"])[-1]) for r in rows]
            return "id IN (%s)" % ",".join(ids), []
        return _below(rows)
    if ctx.user is None:
        return "visibility='public'", []
    if ctx.admin and all_available is not False:
        return "1", []
    rows = ctx.db.all("SELECT g.tids FROM members m JOIN groups g ON g.id=m.group_id WHERE m.user_id=? "
                      "AND (m.expires_at IS NULL OR m.expires_at>date('now'))", ctx.user["id"])
    if ctx.app.has_links:
        mine = [ancestor_ids(r["tids"])[-1] for r in rows]
        rows += ctx.db.all("SELECT g.tids FROM group_links l JOIN groups g ON g.id=l.group_id WHERE "
                           "l.shared_with_id IN (%s)" % ",".join(map(str, mine)))
    cond, args = _below(rows)
    up = {str(i) for r in rows for i in ancestor_ids(r["tids"])}
    if up:
        cond = "(%s OR id IN (%s))" % (cond, ",".join(sorted(up)))
    if all_available:
        cond = "(%s OR visibility IN ('public','internal'))" % cond
    return cond, args


def _below(rows):
    tops = []
    for t in sorted(r["tids"] for r in rows):
        if not tops or not t.startswith(tops[-1]):
            tops.append(t)
    if not tops:
        return "0", []
    return "(%s)" % " OR ".join("tids GLOB ?" for _ in tops), [t + "*" for t in tops]


LIST_PARAMS = PAGE_PARAMS + (
    opt("statistics", bool, default=False), opt("skip_groups", "ints"), opt("all_available", bool),
    opt("visibility", str, values=VISIBILITIES), opt("search", str), opt("owned", bool, default=False),
    opt("order_by", str, values=("name", "path", "id", "similarity"), default="name"),
    opt("sort", str, values=("asc", "desc"), default="asc"), opt("min_access_level", int, values=(5, 10, 15, 20, 30, 40, 50)),
    opt("top_level_only", bool), opt("with_custom_attributes", bool, default=False), opt("active", bool),
    opt("archived", bool), opt("marked_for_deletion_on", "date"), opt("repository_storage", str),
    opt("custom_attributes", dict), opt("pagination", str))


def list_groups(ctx, p, extra, extra_args, limited=False):
    cond, args = visible_condition(ctx, p.get("all_available"), p.get("owned"), p.get("min_access_level"))
    where, args = [cond, *extra], [*args, *extra_args]
    if p.get("skip_groups"):
        where.append("id NOT IN (%s)" % ",".join(map(str, p["skip_groups"])))
    if p.get("visibility"):
        where.append("visibility=?")
        args.append(p["visibility"])
    if p.get("search"):
        s = "%" + p["search"].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        where.append("(name LIKE ? ESCAPE '\\' OR path LIKE ? ESCAPE '\\')")
        args += [s, s]
    if p.get("top_level_only"):
        where.append("parent_id IS NULL")
    if p.get("archived") is not None and ctx.version >= (18, 0):
        where.append("archived=%d" % p["archived"])
    if p.get("active") is not None and ctx.version >= (18, 0):
        where.append("(archived=0 AND marked_on IS NULL)" if p["active"] else "(archived=1 OR marked_on IS NOT NULL)")
    if p.get("marked_for_deletion_on") and ctx.version >= (17, 1):
        where.append("marked_on=?")
        args.append(p["marked_for_deletion_on"])
    if p.get("custom_attributes") and ctx.admin:
        for k, v in p["custom_attributes"].items():
            where.append("id IN (SELECT group_id FROM custom_attributes WHERE key=? AND value=?)")
            args += [k, v]
    where = " AND ".join(where)
    col = {"name": "name", "path": "path", "id": "id", "similarity": "name"}[p["order_by"]]
    if ctx.user is None and p.get("pagination") == "keyset":
        if p["order_by"] != "name" or p["sort"] != "asc":
            raise ApiError(405, {"error": "Keyset pagination is not yet available for this type of request"})
        rows = keyset_by_name(ctx, p, "SELECT * FROM groups", where, args)
    else:
        order = "%s %s" % (col, p["sort"]) + ("" if col == "id" else ", id " + p["sort"])
        rows = paginate(ctx, p, "SELECT * FROM groups", where, args, order,
                        limited="Group" if limited and ctx.user is None else False)
    return 200, [present(ctx, g, custom=p.get("with_custom_attributes"), statistics=p.get("statistics")) for g in rows]


@route("GET", "/groups", LIST_PARAMS, anonymous=True)
def index(ctx, p):
    return list_groups(ctx, p, [], [], limited=True)


@route("GET", "/groups/:id/subgroups", LIST_PARAMS, anonymous=True)
def subgroups(ctx, p):
    g = find_group(ctx)
    return list_groups(ctx, p, ["parent_id=?"], [g["id"]])


@route("GET", "/groups/:id/descendant_groups", LIST_PARAMS, anonymous=True)
def descendant_groups(ctx, p):
    g = find_group(ctx)
    return list_groups(ctx, p, ["tids GLOB ?", "id<>?"], [g["tids"] + "*", g["id"]])


@route("GET", "/groups/:id", (opt("with_custom_attributes", bool, default=False), opt("with_projects", bool, default=True)),
       anonymous=True)
def show(ctx, p):
    g = find_group(ctx)
    return 200, present(ctx, g, detail=True, with_projects=p["with_projects"], custom=p["with_custom_attributes"])


@route("GET", "/groups/:id/projects", PAGE_PARAMS, anonymous=True)
@route("GET", "/groups/:id/projects/shared", PAGE_PARAMS, anonymous=True)
def projects(ctx, p):
    find_group(ctx)
    return 200, paginate(ctx, p, "SELECT 1 FROM meta", "0", (), "1")


@route("GET", "/groups/:id/invitations", PAGE_PARAMS)
def invitations(ctx, p):
    need(ctx, find_group(ctx), OWNER)
    return 200, paginate(ctx, p, "SELECT 1 FROM meta", "0", (), "1")


# ---- names and paths -------------------------------------------------------------------------

def name_errors(name):
    if not name or not name.strip():
        return ["can't be blank"]
    errs = []
    if len(name) > 255:
        errs.append("is too long (maximum is 255 characters)")
    bad = [c for c in name if not (c.isalnum() or c in "_.+-() \u200d\ufe0f" or unicodedata.category(c) in
                                   ("So", "Sk", "Mn", "Mc", "Me") or 0x1F000 <= ord(c) <= 0x1FAFF)]
    first = name[0]
    start = first.isalnum() or first == "_" or unicodedata.category(first) in ("So",) or 0x1F000 <= ord(first) <= 0x1FAFF
    if bad:
        errs.append("can contain only letters, digits, emoji, '_', '.', '+', dashes, spaces, and parentheses. It must "
                    "start with a letter, digit, emoji, or '_'.")
    elif not start:
        errs.append("must start with a letter, digit, emoji, or '_'")
    return errs


def path_errors(ctx, path, parent, changed=True):
    if not path:
        return ["can't be blank"]
    errs = []
    if len(path) < 2:
        errs.append("is too short (minimum is 2 characters)")
    if len(path) > 255:
        errs.append("is too long (maximum is 255 characters)")
    low = path.lower()
    if not PATH_RE.match(path) or low.endswith((".", ".git", ".atom")):
        errs.append("can only include non-accented letters, digits, '_', '-' and '.'. It must not start with '-', "
                    "'_', or '.', nor end with '-', '_', '.', '.git', or '.atom'." if ctx.version >= (16, 0) else
                    "can contain only letters, digits, '_', '-' and '.'. Cannot start with '-' or end in '.', '.git' "
                    "or '.atom'.")
    elif changed and ctx.version >= (16, 0) and not OCI_RE.match(path):
        errs.append("must not start or end with a special character and must not contain consecutive special "
                    "characters.")
    reserved = RESERVED_TOP if parent is None else RESERVED_DEEPER | RESERVED_WILD
    if low in reserved:
        errs.append("%s is a reserved name" % path if ctx.version < (14, 0) else "is a reserved name")
    return errs


RESERVED_WILD = set("""badges blame blob builds commits create create_dir edit files find_file new preview raw refs
tree update wikis environments gitlab-lfs info""".split())


def description_limit(ctx):
    return ctx.app.config["description_limit"] or (2000 if ctx.version >= (18, 5) else 500 if ctx.version >= (17, 0) else 255)


def taken(ctx, full_path, but=0):
    return ctx.db.val("SELECT 1 FROM groups WHERE full_path=? AND id<>?", full_path, but) or (
        "/" not in full_path and ctx.db.val("SELECT 1 FROM users WHERE username=?", full_path))


def join_path(parent, path):
    return path if parent is None else parent["full_path"] + "/" + path


def check_visibility(ctx, errors, visibility, parent, g=None):
    if parent is not None and RANK[visibility] > RANK[parent["visibility"]]:
        errors.setdefault("visibility_level", []).append(
            "%s is not allowed since the parent group has a %s visibility." % (visibility, parent["visibility"]))
    if visibility in ctx.app.config["restricted_visibility"] and not ctx.admin:
        errors.setdefault("visibility_level", []).append(
            "%s has been restricted by your GitLab administrator." % visibility)
    if g is not None and ctx.db.val(
            "SELECT max(CASE visibility WHEN 'public' THEN 2 WHEN 'internal' THEN 1 ELSE 0 END) FROM groups "
            "WHERE parent_id=?", g["id"]) not in (None, *range(RANK[visibility] + 1)):
        errors.setdefault("visibility_level", []).append(
            "%s is not allowed since there are sub-groups with higher visibility." % visibility)


# ---- avatars ---------------------------------------------------------------------------------

def sniff(data):
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if data[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if data[:2] == b"BM":
        return "image/bmp"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "image/tiff"
    if data[:4] == b"\0\0\1\0":
        return "image/vnd.microsoft.icon"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def avatar_errors(f):
    """What the model says about an uploaded avatar; empty when it is fine."""
    ext = f.filename.rsplit(".", 1)[-1].lower() if "." in f.filename else ""
    if ext not in AVATAR_EXT or sniff(f.data) is None:
        return ["file format is not supported. Please try one of the following supported formats: "
                "image/png, image/jpeg, image/gif, image/bmp, image/tiff, image/vnd.microsoft.icon"]
    if len(f.data) > AVATAR_LIMIT:
        return ["is too big (should be at most 200 KiB)"]
    return []


def clean_name(filename):
    return re.sub(r"[^A-Za-z0-9_.\-+]", "_", filename.replace("\\", "/").rsplit("/", 1)[-1])


@route("GET", "/groups/:id/avatar", anonymous=True)
def avatar(ctx, p):
    g = find_group(ctx)
    if g["avatar"] is None or ctx.version < (14, 0):
        raise not_found("Avatar")
    return 200, Binary(g["avatar"], sniff(g["avatar"]) or "application/octet-stream",
                       {"Content-Disposition": 'attachment; filename="%s"' % g["avatar_name"]})


def avatar_change(ctx, p, errors):
    """-> None (untouched), or (bytes|None, file name|None)."""
    v = p.get("avatar", False)
    if v is False:
        return None
    if isinstance(v, File):
        errs = avatar_errors(v)
        if errs:
            errors["avatar"] = errs
        return v.data, clean_name(v.filename)
    if v in ("", None):
        return None, None
    raise param_error("avatar is invalid")


# ---- create, change --------------------------------------------------------------------------

WRITE = tuple(gs.COMMON) + (opt("description", str), opt("visibility", str, values=VISIBILITIES, nullable=False),
                            opt("avatar", "file"))


def insert_group(db, parent, **cols):
    """The row with its place in the tree; used by the API and by the seed alike."""
    gid = db.insert("groups", parent_id=parent and parent["id"], **cols)
    db.run("UPDATE groups SET tids=? WHERE id=?", "%s%d/" % (parent["tids"] if parent else "/", gid), gid)
    return gid


@route("POST", "/groups", (req("name"), req("path"), opt("parent_id", str), opt("organization_id", int)) + WRITE)
def create(ctx, p):
    user = need_user(ctx)
    parent = None
    pid = p.get("parent_id")
    if pid is not None and re.match(r"^\s*\d+", pid):
        parent = ctx.db.one("SELECT * FROM groups WHERE id=?", int(re.match(r"^\s*(\d+)", pid)[1]))
        if parent is None or not can(ctx, parent, 5) and parent["visibility"] == "private":
            raise not_found("Group")
        least = OWNER if settings_of(parent)["subgroup_creation_level"] == "owner" else MAINTAINER
        if not can(ctx, parent, least) or archived(ctx, parent):
            raise forbidden()
    elif not (ctx.admin or user["can_create_group"] and ctx.app.config["can_create_top_level"]):
        raise forbidden()
    errors = {}
    full = join_path(parent, p["path"])
    if (e := name_errors(p["name"])):
        errors["name"] = e
    if (e := path_errors(ctx, p["path"], parent)):
        errors["path"] = e
    elif taken(ctx, full):
        errors["path"] = ["has already been taken"]
    if parent is not None and "name" not in errors and ctx.db.val(
            "SELECT 1 FROM groups WHERE parent_id=? AND name=? COLLATE NOCASE", parent["id"], p["name"]):
        errors["name"] = ["has already been taken"]
    if parent is not None and len(ancestor_ids(parent["tids"])) > 20:
        errors["parent_id"] = ["has too deep level of nesting"]
    if len(p.get("description") or "") > description_limit(ctx):
        errors["description"] = ["is too long (maximum is %d characters)" % description_limit(ctx)]
    visibility = p.get("visibility") or ctx.app.config["default_group_visibility"]
    check_visibility(ctx, errors, visibility, parent)
    avatar_new = avatar_change(ctx, p, errors)
    st = {}
    if parent is not None:
        gs.inherit(st, settings_of(parent))
    changes = gs.accept(ctx, p, True, parent is None)
    if parent is not None:
        chain = chain_settings(ctx, parent["tids"])
        try:
            gs.check_against_ancestors(ctx, parent["tids"], changes, st, chain)
        except ApiError as e:
            errors.update(e.body["message"])
    if errors:
        raise message(400, "Failed to save group " + ruby_hash(errors, ctx.version))
    st.update(changes)
    t = now()
    gid = insert_group(ctx.db, parent, path=p["path"], name=p["name"], full_path=full,
                       description=p.get("description") or "", visibility=visibility,
                       settings=json.dumps(st, separators=(",", ":")), created_at=t, updated_at=t,
                       creator_id=user["id"], runners_token="GR1348941sim" + hashlib.sha256((full + t).encode()).hexdigest()[:16],
                       avatar=avatar_new[0] if avatar_new else None, avatar_name=avatar_new[1] if avatar_new else None,
                       organization_id=p.get("organization_id") or 1)
    ctx.db.insert("members", group_id=gid, user_id=user["id"], access_level=OWNER, created_by_id=user["id"],
                  created_at=t, updated_at=t)
    g = ctx.db.one("SELECT * FROM groups WHERE id=?", gid)
    return 201, present(ctx, g, detail=True, with_projects=True)


def chain_settings(ctx, tids):
    """Settings of the groups along tids, top group first."""
    return [settings_of(r) for r in ctx.db.all(
        "SELECT settings FROM groups WHERE id IN (%s) ORDER BY length(tids)" % ",".join(map(str, ancestor_ids(tids))))]


@route("PUT", "/groups/:id", (opt("name"), opt("path")) + WRITE + tuple(gs.PUT_ONLY))
def change(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    parent = ctx.db.one("SELECT * FROM groups WHERE id=?", g["parent_id"]) if g["parent_id"] else None
    errors, cols = {}, {}
    if p.get("name") is not None and p["name"] != g["name"]:
        e = name_errors(p["name"])
        if not e and parent is not None and ctx.db.val(
                "SELECT 1 FROM groups WHERE parent_id=? AND name=? COLLATE NOCASE AND id<>?", parent["id"], p["name"], g["id"]):
            e = ["has already been taken"]
        if e:
            errors["name"] = e
        cols["name"] = p["name"]
    if p.get("path") is not None and p["path"] != g["path"]:
        e = path_errors(ctx, p["path"], parent)
        if not e and taken(ctx, join_path(parent, p["path"]), g["id"]):
            e = ["has already been taken"]
        if e:
            errors["path"] = e
        cols["path"] = p["path"]
    if "description" in p:
        if len(p["description"] or "") > description_limit(ctx):
            errors["description"] = ["is too long (maximum is %d characters)" % description_limit(ctx)]
        cols["description"] = p["description"] or ""
    if p.get("visibility") and p["visibility"] != g["visibility"]:
        check_visibility(ctx, errors, p["visibility"], parent, g)
        cols["visibility"] = p["visibility"]
    av = avatar_change(ctx, p, errors)
    if av:
        cols["avatar"], cols["avatar_name"] = av
    if errors:
        raise message(400, errors)
    changes = gs.accept(ctx, p, False, parent is None)
    if changes:
        old = settings_of(g)
        if parent is not None:
            gs.check_against_ancestors(ctx, parent["tids"], changes, old, chain_settings(ctx, parent["tids"]))
        st = json.loads(g["settings"])
        st.update(changes)
        cols["settings"] = json.dumps(st, separators=(",", ":"))
        force = gs.cascade({k: v for k, v in changes.items() if old.get(k) != v})
        if force:
            for d in ctx.db.all("SELECT id, settings FROM groups WHERE tids GLOB ? AND id<>?", g["tids"] + "*", g["id"]):
                sub = json.loads(d["settings"])
                sub.update(force)
                ctx.db.update("groups", d["id"], settings=json.dumps(sub, separators=(",", ":")), updated_at=now())
    if cols:
        ctx.db.update("groups", g["id"], **cols, updated_at=now())
    if "path" in cols:
        rename_tree(ctx.db, g, join_path(parent, cols["path"]))
    return 200, present(ctx, ctx.db.one("SELECT * FROM groups WHERE id=?", g["id"]), detail=True, with_projects=True)


def rename_tree(db, g, new_full):
    """Give the group and everything below it the full path that follows from new_full."""
    cut = len(g["full_path"]) + 1
    # The longest paths first would do as well; a unique index only minds the final state of each row.
    db.run("UPDATE groups SET full_path = ? || substr(full_path, ?) WHERE tids GLOB ?", new_full, cut, g["tids"] + "*")


# ---- delete, restore, archive, transfer ------------------------------------------------------

def destroy(db, gid):
    """Remove the group with all below it. The ids of everything in it are never given out again."""
    row = db.one("SELECT tids FROM groups WHERE id=?", gid)
    if row is None:
        return
    ids = [r["id"] for r in db.all("SELECT id FROM groups WHERE tids GLOB ?", row["tids"] + "*")]
    for i in range(0, len(ids), 500):
        part = ",".join(map(str, ids[i:i + 500]))
        for fn in ON_DESTROY:
            fn(db, part)
        db.run("DELETE FROM list_collapsed WHERE list_id IN (SELECT l.id FROM lists l JOIN boards b ON b.id=l.board_id "
               "WHERE b.group_id IN (%s))" % part)
        db.run("DELETE FROM lists WHERE board_id IN (SELECT id FROM boards WHERE group_id IN (%s))" % part)
        db.run("DELETE FROM board_labels WHERE board_id IN (SELECT id FROM boards WHERE group_id IN (%s))" % part)
        db.run("DELETE FROM label_subscriptions WHERE label_id IN (SELECT id FROM labels WHERE group_id IN (%s))" % part)
        for table in ("boards", "labels", "milestones", "badges", "members", "counters", "custom_attributes",
                      "group_links", "seed_extra", *GROUP_TABLES):
            db.run("DELETE FROM %s WHERE group_id IN (%s)" % (table, part))
        db.run("DELETE FROM group_links WHERE shared_with_id IN (%s)" % part)
        db.run("DELETE FROM groups WHERE id IN (%s)" % part)


# Tables of other resource families whose rows go with their group (column group_id), and functions(db, "1,2,3") for what
# hangs on those rows elsewhere; they run first.
GROUP_TABLES, ON_DESTROY = [], []


@route("DELETE", "/groups/:id", (opt("permanently_remove", bool), opt("full_path", str)))
def delete(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    since = ctx.headers.get("If-Unmodified-Since")
    if since:
        import email.utils
        import datetime
        limit = email.utils.parsedate_to_datetime(since)
        changed = datetime.datetime.fromisoformat(g["updated_at"].replace("Z", "+00:00"))
        if changed.replace(microsecond=0) > limit:
            raise message(412, "412 Precondition Failed")
    marks = ctx.version >= (18, 0) or ctx.app.enterprise and ctx.premium()
    if p.get("permanently_remove"):
        if ctx.version >= (18, 0) and not ctx.app.config["allow_immediate_deletion"]:
            raise bad_request("Immediate deletion of groups is not allowed")
        if g["parent_id"] is None and ctx.version < (18, 5):
            raise bad_request("`permanently_remove` option is only available for subgroups.")
        if g["marked_on"] is None:
            raise bad_request("Group must be marked for deletion first.")
        if p.get("full_path") != g["full_path"]:
            raise bad_request("`full_path` is incorrect. You must enter the complete path for the subgroup.")
        marks = False
    elif marks:
        if g["marked_on"] is not None:
            raise bad_request("Group has been already marked for deletion")
        cols = {"marked_on": today(), "updated_at": now()}
        if ctx.version >= (18, 0):
            cols["path"] = "%s-deletion_scheduled-%d" % (g["path"], g["id"])
            parent = ctx.db.one("SELECT * FROM groups WHERE id=?", g["parent_id"]) if g["parent_id"] else None
            rename_tree(ctx.db, g, join_path(parent, cols["path"]))
        ctx.db.update("groups", g["id"], **cols)
    if not marks:
        at = time.time() + ctx.app.config["delete_delay_ms"] / 1000
        ctx.db.update("groups", g["id"], purge_at=at)
        ctx.app.next_purge = min(at, ctx.app.next_purge or at)
    return 202, {"message": "202 Accepted"}


@route("POST", "/groups/:id/restore")
def restore(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    if g["marked_on"] is None:
        raise bad_request("Group has not been marked for deletion")
    suffix = "-deletion_scheduled-%d" % g["id"]
    if g["path"].endswith(suffix):
        path = g["path"][:-len(suffix)]
        parent = ctx.db.one("SELECT * FROM groups WHERE id=?", g["parent_id"]) if g["parent_id"] else None
        full = join_path(parent, path)
        if not taken(ctx, full, g["id"]):
            rename_tree(ctx.db, g, full)
            ctx.db.update("groups", g["id"], path=path)
    ctx.db.update("groups", g["id"], marked_on=None, purge_at=None, updated_at=now())
    return 201, present(ctx, ctx.db.one("SELECT * FROM groups WHERE id=?", g["id"]), detail=True)


def set_archived(ctx, value):
    if ctx.version < (18, 0):
        raise ApiError(404, {"error": "404 Not Found"})
    g = find_group(ctx)
    need(ctx, g, OWNER)
    if bool(g["archived"]) == value:
        raise message(422, "Group is already archived!" if value else "Group is already unarchived!")
    ctx.db.update("groups", g["id"], archived=int(value), updated_at=now())
    return 201, present(ctx, ctx.db.one("SELECT * FROM groups WHERE id=?", g["id"]), detail=True)


@route("POST", "/groups/:id/archive")
def archive(ctx, p):
    return set_archived(ctx, True)


@route("POST", "/groups/:id/unarchive")
def unarchive(ctx, p):
    return set_archived(ctx, False)


@route("POST", "/groups/:id/transfer", (opt("group_id", int),))
def transfer(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    dest = None
    if p.get("group_id") is not None:
        dest = find_group(ctx, str(p["group_id"]))
        need(ctx, dest, OWNER)
        if dest["tids"].startswith(g["tids"]):
            raise message(400, "Transfer failed: The parent group is the group itself or one of its subgroups.")
    elif g["parent_id"] is None:
        raise message(400, "Transfer failed: Group is already a root group.")
    if dest is not None and dest["id"] == g["parent_id"]:
        raise message(400, "Transfer failed: Group is already associated to the parent group.")
    full = join_path(dest, g["path"])
    if taken(ctx, full, g["id"]):
        raise message(400, "Transfer failed: The parent group already has a subgroup or a project with the same path.")
    if dest is not None and RANK[g["visibility"]] > RANK[dest["visibility"]]:
        raise message(400, "Transfer failed: Validation failed: Visibility level %s is not allowed since the parent "
                           "group has a %s visibility." % (g["visibility"], dest["visibility"]))
    rename_tree(ctx.db, g, full)
    new = "%s%d/" % (dest["tids"] if dest else "/", g["id"])
    ctx.db.run("UPDATE groups SET tids = ? || substr(tids, ?) WHERE tids GLOB ?", new, len(g["tids"]) + 1, g["tids"] + "*")
    ctx.db.update("groups", g["id"], parent_id=dest and dest["id"], updated_at=now())
    return 201, present(ctx, ctx.db.one("SELECT * FROM groups WHERE id=?", g["id"]), detail=True)


@route("GET", "/groups/:id/transfer_locations", PAGE_PARAMS + (opt("search"),))
def transfer_locations(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    cond, args = visible_condition(ctx, None, min_access=OWNER)
    rows = paginate(ctx, p, "SELECT * FROM groups", "%s AND tids NOT GLOB ? AND id<>?" % cond,
                    (*args, g["tids"] + "*", g["parent_id"] or 0), "name, id")
    return 200, [{"id": r["id"], "web_url": "%s/groups/%s" % (ctx.app.base_url, r["full_path"]), "name": r["name"],
                  "avatar_url": None, "full_name": r["name"], "full_path": r["full_path"]} for r in rows]


# ---- sharing, custom attributes --------------------------------------------------------------

@route("POST", "/groups/:id/share", (req("group_id", int), req("group_access", int, values=(10, 15, 20, 30, 40, 50)),
                                     opt("expires_at", "date"), opt("member_role_id", int)))
def share(ctx, p):
    g = find_group(ctx)
    other = find_group(ctx, str(p["group_id"]))
    need(ctx, g, OWNER)
    if settings_of(g)["share_with_group_lock"]:
        raise forbidden()
    if other["id"] == g["id"]:
        raise not_found()
    if ctx.db.val("SELECT 1 FROM group_links WHERE group_id=? AND shared_with_id=?", g["id"], other["id"]):
        raise message(409, "The group has already been shared with this group")
    if p.get("expires_at") and p["expires_at"] < today():
        raise message(422, "Expires at cannot be a date in the past")
    ctx.db.insert("group_links", group_id=g["id"], shared_with_id=other["id"], access=p["group_access"],
                  expires_at=p.get("expires_at"))
    ctx.app.has_links = True
    return 201, present(ctx, g, detail=True, with_projects=True)


@route("DELETE", "/groups/:id/share/:group_id")
def unshare(ctx, p):
    g = find_group(ctx)
    need(ctx, g, OWNER)
    n = ctx.db.run("DELETE FROM group_links WHERE group_id=? AND shared_with_id=?", g["id"],
                   ctx.path_params["group_id"]).rowcount
    if not n:
        raise not_found()
    return 204, None


def attr_group(ctx):
    need_admin(ctx)
    return find_group(ctx)


@route("GET", "/groups/:id/custom_attributes")
def attrs(ctx, p):
    return 200, custom_attributes(ctx, attr_group(ctx))


@route("GET", "/groups/:id/custom_attributes/:key")
def attr(ctx, p):
    g = attr_group(ctx)
    r = ctx.db.one("SELECT * FROM custom_attributes WHERE group_id=? AND key=?", g["id"], ctx.path_params["key"])
    if r is None:
        raise not_found()
    return 200, {"key": r["key"], "value": r["value"]}


@route("PUT", "/groups/:id/custom_attributes/:key", (req("value"),))
def attr_set(ctx, p):
    g = attr_group(ctx)
    ctx.db.run("INSERT INTO custom_attributes(group_id,key,value) VALUES(?,?,?) ON CONFLICT(group_id,key) DO UPDATE "
               "SET value=excluded.value", g["id"], ctx.path_params["key"], p["value"])
    return 200, {"key": ctx.path_params["key"], "value": p["value"]}


@route("DELETE", "/groups/:id/custom_attributes/:key")
def attr_delete(ctx, p):
    g = attr_group(ctx)
    if not ctx.db.run("DELETE FROM custom_attributes WHERE group_id=? AND key=?", g["id"], ctx.path_params["key"]).rowcount:
        raise not_found()
    return 204, None
