"""Records of a group as GitLab's relation export writes them: one line of JSON each, all columns of the table.

Epics, epic boards and cadences may also come from the seed in export form; those stand before the live ones."""
import json

from . import colors
from .db import LIST_TYPES, dumps
from .groups import settings_of

VISIBILITY = {"private": 0, "internal": 10, "public": 20}
PROJECT_CREATION = {"noone": 0, "maintainer": 1, "developer": 2, "administrator": 3, "owner": 4}
SUBGROUP_CREATION = {"owner": 0, "maintainer": 1}
# Before this version a label's line also had its priorities and its text colour.
PLAIN_LABELS = (16, 0)


def own(g, name):
    """A setting as its column holds it: NULL until somebody decided."""
    return json.loads(g["settings"]).get(name)


def self_record(app, db, g):
    st = settings_of(g)
    avatar = "/uploads/-/system/group/avatar/%d/%s" % (g["id"], g["avatar_name"]) if g["avatar_name"] else None
    out = {"id": g["id"], "name": g["name"], "path": g["path"], "description": g["description"] or "",
           "avatar": {"url": avatar}, "membership_lock": bool(st["membership_lock"]),
           "share_with_group_lock": st["share_with_group_lock"], "visibility_level": VISIBILITY[g["visibility"]],
           "request_access_enabled": st["request_access_enabled"], "ldap_sync_status": "ready", "ldap_sync_error": None,
           "ldap_sync_last_update_at": None, "ldap_sync_last_successful_update_at": None, "ldap_sync_last_sync_at": None,
           "lfs_enabled": own(g, "lfs_enabled"), "parent_id": g["parent_id"],
           "shared_runners_minutes_limit": own(g, "shared_runners_minutes_limit"),
           "require_two_factor_authentication": st["require_two_factor_authentication"],
           "two_factor_grace_period": st["two_factor_grace_period"],
           "project_creation_level": PROJECT_CREATION[st["project_creation_level"]],
           "file_template_project_id": own(g, "file_template_project_id"),
           "custom_project_templates_group_id": None, "auto_devops_enabled": st["auto_devops_enabled"],
           "last_ci_minutes_notification_at": None, "last_ci_minutes_usage_notification_level": None,
           "subgroup_creation_level": SUBGROUP_CREATION[st["subgroup_creation_level"]]}
    if app.version >= (16, 5):
        out["emails_enabled"] = st["emails_enabled"]
    else:
        out["emails_disabled"] = None if st["emails_enabled"] else True
    out.update(max_artifacts_size=own(g, "max_artifacts_size"), mentions_disabled=st["mentions_disabled"],
               default_branch_protection=st["default_branch_protection"],
               shared_runners_enabled=st["shared_runners_setting"] == "enabled",
               allow_descendants_override_disabled_shared_runners=st["shared_runners_setting"] in (
                   "disabled_and_overridable", "disabled_with_override"))
    if app.version >= (17, 0):
        out["organization_id"] = g["organization_id"]
    if app.version >= (19, 0):
        out["created_at"] = g["created_at"]
    return out


def settings_record(app, db, g):
    return {"prevent_sharing_groups_outside_hierarchy": bool(settings_of(g)["prevent_sharing_groups_outside_hierarchy"])}


def label_record(app, r, top=False):
    out = {"id": r["id"], "title": r["title"], "color": r["color"], "project_id": None, "created_at": r["created_at"],
           "updated_at": r["updated_at"], "template": False, "description": r["description"], "group_id": r["group_id"]}
    if app.version >= (16, 3):
        out["lock_on_merge"] = bool(r["lock_on_merge"])
    if app.version >= (18, 10):
        out["archived"] = bool(r["archived"])
    out["type"] = "GroupLabel"
    if app.version < PLAIN_LABELS:
        out["priorities"] = []
        if top:
            out["textColor"] = colors.text_color(r["color"], app.version)
    return out


def label_by_id(app, db, lid):
    r = db.one("SELECT * FROM labels WHERE id=?", lid) if lid else None
    return label_record(app, r) if r else None


def milestone_record(app, r):
    return {"id": r["id"], "title": r["title"], "project_id": None, "description": r["description"],
            "due_date": r["due_date"], "created_at": r["created_at"], "updated_at": r["updated_at"], "state": r["state"],
            "iid": r["iid"], "start_date": r["start_date"], "group_id": r["group_id"]}


def milestone_by_id(app, db, mid):
    """None for the pseudo milestones that a board's scope may hold: they are numbers without a row."""
    r = db.one("SELECT * FROM milestones WHERE id=?", mid) if mid and mid > 0 else None
    return milestone_record(app, r) if r else None


def bare_board(app, r):
    return {"id": r["id"], "project_id": None, "created_at": r["created_at"], "updated_at": r["updated_at"],
            "name": r["name"], "milestone_id": r["milestone_id"], "group_id": r["group_id"], "weight": r["weight"],
            "hide_backlog_list": bool(r["hide_backlog_list"]), "hide_closed_list": bool(r["hide_closed_list"]),
            "iteration_id": r["iteration_id"], "iteration_cadence_id": r["iteration_cadence_id"]}


def present(out, key, value):
    """A reference to nothing is left out, not written as null."""
    if value is not None:
        out[key] = value


def iteration_of(app, db, g, iid):
    """A live iteration, or one of the seed's export records by the id it was given there."""
    r = db.one("SELECT * FROM iterations WHERE id=?", iid)
    if r is not None:
        return iteration_record(r)
    for cadence in stored(db, g, "iterations_cadences") or ():
        for it in (json.loads(cadence) if isinstance(cadence, str) else cadence).get("iterations", ()):
            if it.get("id") == iid:
                return {k: v for k, v in it.items() if k != "id"}
    return None


def list_record(app, db, g, board, r):
    out = {"id": r["id"], "board_id": r["board_id"], "label_id": r["label_id"], "list_type": LIST_TYPES[r["list_type"]],
           "position": r["position"], "created_at": r["created_at"], "updated_at": r["updated_at"], "user_id": r["user_id"],
           "milestone_id": r["milestone_id"], "max_issue_count": r["max_issue_count"],
           "max_issue_weight": r["max_issue_weight"], "limit_metric": r["limit_metric"], "iteration_id": r["iteration_id"]}
    present(out, "label", label_by_id(app, db, r["label_id"]))
    out["board"] = bare_board(app, board)
    if app.enterprise:
        if r["iteration_id"]:
            present(out, "iteration", iteration_of(app, db, g, r["iteration_id"]))
        m = milestone_by_id(app, db, r["milestone_id"])
        present(out, "milestone", m and dict(m, events=[]))
    return out


def board_record(app, db, g, r):
    out = bare_board(app, r)
    out["lists"] = [list_record(app, db, g, r, x) for x in
                    db.all("SELECT * FROM lists WHERE board_id=? ORDER BY list_type, position, id", r["id"])]
    if app.enterprise:
        if r["assignee_id"]:
            out["board_assignee"] = {"id": r["id"], "board_id": r["id"], "assignee_id": r["assignee_id"]}
        present(out, "milestone", milestone_by_id(app, db, r["milestone_id"]))
        out["labels"] = [label_record(app, x) for x in db.all(
            "SELECT l.* FROM board_labels b JOIN labels l ON l.id=b.label_id WHERE b.board_id=? ORDER BY l.id", r["id"])]
    return out


def badge_record(r):
    return {"id": r["id"], "name": r["name"], "link_url": r["link_url"], "image_url": r["image_url"], "project_id": None,
            "group_id": r["group_id"], "created_at": r["created_at"], "updated_at": r["updated_at"], "type": "GroupBadge"}


def member_record(db, r):
    u = db.one("SELECT id, public_email, username FROM users WHERE id=?", r["user_id"])
    return {"id": r["id"], "access_level": r["access_level"], "source_id": r["group_id"], "source_type": "Namespace",
            "user_id": r["user_id"], "notification_level": 3, "created_at": r["created_at"], "updated_at": r["updated_at"],
            "created_by_id": r["created_by_id"], "invite_email": None, "invite_token": None, "invite_accepted_at": None,
            "requested_at": None, "expires_at": r["expires_at"], "ldap": False, "override": False,
            "user": {"id": u["id"], "public_email": u["public_email"], "username": u["username"]}}


def bare_epic(app, r):
    """All columns of an epic, without what hangs on it."""
    out = {"id": r["id"], "group_id": r["group_id"], "author_id": r["author_id"], "iid": r["iid"], "updated_by_id": r["updated_by_id"],
           "last_edited_by_id": r["last_edited_by_id"], "lock_version": r["lock_version"], "start_date": r["start_date"],
           "end_date": r["end_date"], "last_edited_at": r["last_edited_at"], "created_at": r["created_at"], "updated_at": r["updated_at"],
           "title": r["title"], "description": r["description"], "start_date_sourcing_milestone_id": None,
           "due_date_sourcing_milestone_id": None, "start_date_fixed": r["start_date_fixed"], "due_date_fixed": r["due_date_fixed"],
           "start_date_is_fixed": bool(r["start_date_is_fixed"]), "due_date_is_fixed": bool(r["due_date_is_fixed"]),
           "closed_by_id": r["closed_by_id"], "closed_at": r["closed_at"], "parent_id": r["parent_id"],
           "relative_position": r["relative_position"], "start_date_sourcing_epic_id": r["start_date_sourcing_epic_id"],
           "due_date_sourcing_epic_id": r["due_date_sourcing_epic_id"]}
    if r["health_status"] is not None:
        out["health_status"] = r["health_status"]
    out.update(confidential=bool(r["confidential"]), color=r["color"], total_opened_issue_weight=0, total_closed_issue_weight=0,
               total_opened_issue_count=0, total_closed_issue_count=0)
    if app.version >= (16, 11):
        out["imported_from"] = "none"
    out["state"] = r["state"]
    return out


def award_records(db, kind, target):
    return [{"id": a["id"], "name": a["name"], "user_id": a["user_id"], "awardable_type": kind, "awardable_id": target,
             "created_at": a["created_at"], "updated_at": a["updated_at"]} for a in
            db.all("SELECT * FROM award_emoji WHERE awardable_type=? AND awardable_id=? ORDER BY id", kind, target)]


def event_records(db, kind, target):
    return [{"project_id": None, "author_id": e["author_id"], "created_at": e["created_at"], "updated_at": e["created_at"],
             "action": e["action"], "target_id": target, "target_type": kind, "group_id": e["group_id"], "fingerprint": None,
             "id": e["id"]} for e in db.all("SELECT * FROM events WHERE target_type=? AND target_id=? ORDER BY id", kind, target)]


def note_record(app, db, n):
    out = {"id": n["id"], "note": n["note"], "noteable_type": "Epic", "author_id": n["author_id"], "created_at": n["created_at"],
           "updated_at": n["updated_at"], "project_id": None, "attachment": {"url": None}, "line_code": None, "commit_id": None,
           "noteable_id": n["noteable_id"], "system": bool(n["system"]), "st_diff": None, "updated_by_id": n["updated_by_id"],
           "position": None, "original_position": None, "resolved_at": None, "resolved_by_id": None, "discussion_id": n["discussion_id"],
           "change_position": None, "resolved_by_push": None, "review_id": None, "confidential": bool(n["internal"]) or None,
           "last_edited_at": n["last_edited_at"]}
    if app.version >= (15, 2):
        out["internal"] = bool(n["internal"])
    out.update(type=n["type"], author={"name": db.val("SELECT name FROM users WHERE id=?", n["author_id"])},
               award_emoji=award_records(db, "Note", n["id"]), events=event_records(db, "Note", n["id"]))
    if n["system"]:
        out["system_note_metadata"] = {"id": n["id"], "commit_count": None, "action": n["action"], "created_at": n["created_at"],
                                       "updated_at": n["created_at"], "description_version_id": None}
    return out


def epic_record(app, db, g, r):
    out = bare_epic(app, r)
    parent = db.one("SELECT * FROM epics WHERE id=?", r["parent_id"]) if r["parent_id"] else None
    present(out, "parent", parent and bare_epic(app, parent))
    out.update(award_emoji=award_records(db, "Epic", r["id"]), events=event_records(db, "Epic", r["id"]), label_links=[
        {"id": x["id"], "label_id": x["label_id"], "target_id": r["id"], "target_type": "Epic", "created_at": x["created_at"],
         "updated_at": x["updated_at"], "label": label_by_id(app, db, x["label_id"])} for x in
        db.all("SELECT * FROM epic_labels WHERE epic_id=? ORDER BY id", r["id"])],
        notes=[note_record(app, db, n) for n in db.all("SELECT * FROM notes WHERE noteable_id=? ORDER BY id", r["id"])],
        resource_state_events=[{"id": e["id"], "user_id": e["user_id"], "issue_id": None, "merge_request_id": None,
                                "created_at": e["created_at"], "state": e["state"], "epic_id": r["id"]} for e in
                               db.all("SELECT * FROM resource_state_events WHERE epic_id=? ORDER BY id", r["id"])])
    return out


def epic_board_record(app, db, g, r):
    lists = []
    for x in db.all("SELECT * FROM epic_lists WHERE board_id=? ORDER BY list_type, position, id", r["id"]):
        row = {"created_at": x["created_at"], "updated_at": x["updated_at"], "position": x["position"],
               "list_type": LIST_TYPES[x["list_type"]], "group_id": x["group_id"]}
        present(row, "label", label_by_id(app, db, x["label_id"]))
        lists.append(row)
    return {"hide_backlog_list": bool(r["hide_backlog_list"]), "hide_closed_list": bool(r["hide_closed_list"]), "group_id": r["group_id"],
            "created_at": r["created_at"], "updated_at": r["updated_at"], "name": r["name"], "display_colors": bool(r["display_colors"]),
            "epic_lists": lists}


def iteration_record(r):
    return {"created_at": r["created_at"], "updated_at": r["updated_at"], "start_date": r["start_date"], "due_date": r["due_date"],
            "group_id": r["group_id"], "iid": r["iid"], "description": r["description"]}


def cadence_record(app, db, g, r):
    """Without what makes it automatic, and its iterations without their titles."""
    return {"group_id": r["group_id"], "created_at": r["created_at"], "updated_at": r["updated_at"], "start_date": r["start_date"],
            "active": bool(r["active"]), "roll_over": bool(r["roll_over"]), "title": r["title"], "description": r["description"],
            "iterations": [iteration_record(x) for x in db.all("SELECT * FROM iterations WHERE cadence_id=? ORDER BY id", r["id"])]}


def exported(db, g, relation):
    """What the seed's key `export` says of the relation: that and nothing else is exported."""
    v = db.val("SELECT value FROM seed_extra WHERE group_id=? AND key='export'", g["id"])
    return json.loads(v).get(relation) if v is not None else None


def stored(db, g, relation):
    """Records of the seed in export form: a list of objects or of lines, or None. The key `export` wins."""
    v = exported(db, g, relation)
    if v is None and relation in STORED:
        v = db.val("SELECT value FROM seed_extra WHERE group_id=? AND key=?", g["id"], relation)
        v = json.loads(v) if v is not None else []
        v.sort(key=lambda r: r.get("id", 0) if isinstance(r, dict) else 0)
    return v


def line(record):
    return record if isinstance(record, str) else dumps(record)


TABLES = {
    "labels": lambda app, db, g, r: label_record(app, r, top=True),
    "milestones": lambda app, db, g, r: milestone_record(app, r),
    "boards": board_record,
    "badges": lambda app, db, g, r: badge_record(r),
    "members": lambda app, db, g, r: member_record(db, r),
    "epics": epic_record,
    "epic_boards": epic_board_record,
    "iterations_cadences": cadence_record,
}
STORED = ("epics", "epic_boards", "iterations_cadences")
SINGLE = {"self": self_record, "namespace_settings": settings_record}
# In the order of GitLab's own list: (name, since, Enterprise Edition only)
RELATIONS = (("milestones", (0, 0), False), ("badges", (0, 0), False), ("labels", (0, 0), False), ("boards", (0, 0), False),
             ("members", (0, 0), False), ("namespace_settings", (15, 0), False), ("epics", (0, 0), True),
             ("epic_boards", (18, 4), True), ("iterations_cadences", (15, 4), True), ("uploads", (0, 0), False),
             ("self", (0, 0), False))


def relations(app, db, g):
    """What this version and edition exports; behind it what only the seed knows of."""
    known = {name for name, _, _ in RELATIONS}
    v = db.val("SELECT value FROM seed_extra WHERE group_id=? AND key='export'", g["id"])
    return [name for name, since, ee in RELATIONS if app.version >= since and (app.enterprise or not ee)] + [
        k for k in (json.loads(v) if v is not None else ()) if k not in known]


def keys(app, db, g, relation):
    """What names the records of a collection, in the order of the export: row ids, or numbers of stored records, behind which live
    ones have negative numbers. The avatar counts as an upload; its key is 0."""
    v = stored(db, g, relation)
    if v is not None:
        live = () if relation not in STORED or exported(db, g, relation) is not None else db.all(
            "SELECT id FROM %s WHERE group_id=? ORDER BY id" % relation, g["id"])
        return list(range(len(v))) + [-r["id"] for r in live]
    if relation == "uploads":
        return ([0] if g["avatar"] is not None else []) + [
            r["id"] for r in db.all("SELECT id FROM uploads WHERE group_id=? ORDER BY id", g["id"])]
    return [r["id"] for r in db.all("SELECT id FROM %s WHERE group_id=? ORDER BY id" % relation, g["id"])]


def lines(app, db, g, relation, wanted):
    """Lines of the records with these keys. What was deleted meanwhile is not among them."""
    v = stored(db, g, relation)
    out, fn = [], TABLES.get(relation)
    for k in wanted:
        if v is not None and k >= 0:
            if k < len(v):
                out.append(line(v[k]))
            continue
        r = db.one("SELECT * FROM %s WHERE id=? AND group_id=?" % relation, abs(k), g["id"])
        if r is not None:
            out.append(dumps(fn(app, db, g, r)))
    return out


def single(app, db, g, relation):
    v = stored(db, g, relation)
    if v is not None:
        return line(v if not isinstance(v, list) else v[0]) if v else "null"
    return dumps(SINGLE[relation](app, db, g))
