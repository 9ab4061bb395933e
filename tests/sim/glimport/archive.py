"""File import: GitLab's group export file into a group that was made for it."""
import json
import tarfile

USED = ("labels", "milestones", "iterations_cadences", "badges", "boards", "epics", "epic_boards")
ATTRIBUTES = ("description", "visibility_level", "project_creation_level", "subgroup_creation_level", "membership_lock", "share_with_group_lock",
              "request_access_enabled", "lfs_enabled", "require_two_factor_authentication", "two_factor_grace_period", "mentions_disabled")


def read(path):
    files = {}
    with tarfile.open(path, "r:gz") as t:
        for m in t:
            if m.islnk():
                raise ValueError("a hard link")
            if m.isreg():
                files[m.name.removeprefix("./")] = t.extractfile(m).read()
    if "tree/groups/_all.ndjson" not in files:
        raise ValueError("invalid file: no tree/groups/_all.ndjson")
    return files


def load(path, db, name, slug, broken=()):
    """`broken`: relations whose records cannot be saved, which only the server's log tells."""
    files = read(path)
    made = {}
    for n, line in enumerate(files["tree/groups/_all.ndjson"].split()):
        gid = int(line)
        g = json.loads(files[f"tree/groups/{gid}.json"])
        if g["id"] != gid:
            raise ValueError(f"{gid}.json is about group {g['id']}")
        if n and g.get("parent_id") not in made:
            db.failure(gid, "group", "its parent is not there")
            continue
        parent = made[g["parent_id"]] if n else None
        attributes = {k: g[k] for k in ATTRIBUTES if k in g}
        attributes["name"] = g["name"] if n else name
        emails = g.get("emails_enabled")
        attributes["emails_disabled"] = g.get("emails_disabled") if emails is None else not emails
        made[gid] = db.group(gid, parent, g["name"] if n else name, g["path"] if n else slug, attributes)
        for relation in [r for r in USED if r not in broken]:
            for text in files.get(f"tree/groups/{gid}/{relation}.ndjson", b"").splitlines():
                db.load(made[gid], relation, json.loads(text))
        for text in files.get(f"tree/groups/{gid}/members.ndjson", b"").splitlines():
            m = json.loads(text)
            db.member(made[gid], m["user"]["id"], {k: m.get(k) for k in ("access_level", "expires_at", "created_at", "updated_at")} | {
                "public_email": m["user"]["public_email"], "username": m["user"]["username"]})
    return made
