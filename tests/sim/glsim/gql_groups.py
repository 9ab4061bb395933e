"""GraphQL: groups, users, members, labels, milestones, metadata."""
from . import colors, groups, instance, labels, milestones
from .auth import LEVEL_ENUM, OWNER, ancestor_ids, can, can_read, level
from .errors import ApiError
from .gql import (GqlError, NOT_FOUND, Refused, connection_type, extend, gid, mutation, resolver, sdl, ungid)
from .paging import connection, plain_connection

PAGE = "after: String before: String first: Int last: Int"

sdl("""
type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
type Kas { enabled: Boolean! externalUrl: String version: String }
type AccessLevel { integerValue: Int stringValue: AccessLevelEnum }
type QueryComplexity { limit: Int score: Int }
type GroupPermissions { readGroup: Boolean! createProjects: Boolean! }
type MilestoneStats { totalIssuesCount: Int closedIssuesCount: Int }
enum AccessLevelEnum { NO_ACCESS MINIMAL_ACCESS GUEST <17.7: PLANNER> REPORTER DEVELOPER MAINTAINER OWNER }
enum GroupMemberRelation { DIRECT INHERITED DESCENDANTS <14.7: SHARED_FROM_GROUPS> }
enum MilestoneStateEnum { active closed }
enum MilestoneSort { updated_desc updated_asc created_desc created_asc UPDATED_DESC UPDATED_ASC CREATED_DESC CREATED_ASC
  DUE_DATE_ASC DUE_DATE_DESC EXPIRED_LAST_DUE_DATE_ASC EXPIRED_LAST_DUE_DATE_DESC }
enum GroupPermission { CREATE_PROJECTS <15.2: TRANSFER_PROJECTS> <15.9: IMPORT_PROJECTS> }
enum SharedRunnersSetting { DISABLED_AND_UNOVERRIDABLE DISABLED_WITH_OVERRIDE <15.8: DISABLED_AND_OVERRIDABLE>
  ENABLED }
enum UserState { active blocked deactivated <16.0: banned ldap_blocked blocked_pending_approval> }
""")
for name in ("Group", "Label", "Milestone", "GroupMember", "UserCore"):
    connection_type(name, count=name == "Label")

extend("Query", """echo(text: String!): String! currentUser: UserCore metadata: Metadata queryComplexity: QueryComplexity
  group(fullPath: ID!): Group namespace(fullPath: ID!): Namespace user(id: UserID username: String): UserCore
  users(%s ids: [ID!] usernames: [String!] search: String admins: Boolean = false): UserCoreConnection
  milestone(id: MilestoneID!): Milestone""" % PAGE)
extend("Query", "groups(%s search: String topLevelOnly: Boolean ids: [ID!]): GroupConnection" % PAGE, since=(16, 10))
extend("Metadata", "version: String! revision: String! kas: Kas!")
extend("Metadata", "enterprise: Boolean!", since=(15, 6))
extend("Namespace", """id: ID! name: String! path: String! fullName: String! fullPath: ID! description: String
  descriptionHtml: String visibility: String lfsEnabled: Boolean requestAccessEnabled: Boolean
  sharedRunnersSetting: SharedRunnersSetting""")
extend("UserCore", """id: ID! username: String! name: String! state: UserState! publicEmail: String email: String
  avatarUrl: String webUrl: String! webPath: String! bot: Boolean! location: String
  groups(%s search: String permissionScope: GroupPermission): GroupConnection
  groupMemberships(%s): GroupMemberConnection""" % (PAGE, PAGE))
extend("Label", """id: ID! title: String! description: String descriptionHtml: String color: String! textColor: String!
  createdAt: Time! updatedAt: Time!""")
extend("Label", "lockOnMerge: Boolean!", since=(16, 3))
extend("Label", "archived: Boolean!", since=(18, 10))
extend("Milestone", """id: ID! iid: ID! title: String! description: String state: MilestoneStateEnum! startDate: Time
  dueDate: Time createdAt: Time! updatedAt: Time! expired: Boolean! webPath: String! groupMilestone: Boolean!
  projectMilestone: Boolean! subgroupMilestone: Boolean! stats: MilestoneStats""")
extend("Milestone", "upcoming: Boolean!", since=(15, 3))
extend("Milestone", "group: Group", since=(16, 5))
extend("GroupMember", """id: ID! accessLevel: AccessLevel createdAt: Time updatedAt: Time expiresAt: Time user: UserCore
  createdBy: UserCore group: Group notificationEmail: String userPermissions: GroupPermissions!""")
extend("Group", """id: ID! name: String! path: String! fullName: String! fullPath: ID! description: String
  descriptionHtml: String visibility: String webUrl: String! avatarUrl: String parent: Group autoDevopsEnabled: Boolean
  emailsDisabled: Boolean lfsEnabled: Boolean mentionsDisabled: Boolean projectCreationLevel: String
  requestAccessEnabled: Boolean requireTwoFactorAuthentication: Boolean shareWithGroupLock: Boolean
  sharedRunnersSetting: SharedRunnersSetting subgroupCreationLevel: String twoFactorGracePeriod: Int
  userPermissions: GroupPermissions!
  descendantGroups(%(p)s includeParentDescendants: Boolean = true owned: Boolean search: String): GroupConnection
  groupMembers(%(p)s relations: [GroupMemberRelation!] = [DIRECT, INHERITED] search: String
    <15.2: accessLevels: [AccessLevelEnum!]>): GroupMemberConnection
  label(title: String!): Label
  labels(%(p)s includeAncestorGroups: Boolean = false includeDescendantGroups: Boolean = false
    onlyGroupLabels: Boolean = false searchTerm: String): LabelConnection
  milestones(%(p)s ids: [ID!] includeAncestors: Boolean includeDescendants: Boolean searchTitle: String
    sort: MilestoneSort = DUE_DATE_ASC state: MilestoneStateEnum title: String containingDate: Time): MilestoneConnection
  """ % {"p": PAGE})
extend("Group", "epicsEnabled: Boolean", ee=True)
extend("Group", "emailsEnabled: Boolean", since=(16, 5))
extend("Group", "createdAt: Time updatedAt: Time organizationId: ID", since=(16, 6))
extend("Group", "mathRenderingLimitsEnabled: Boolean lockMathRenderingLimitsEnabled: Boolean", since=(16, 11))
extend("Group", "archived: Boolean markedForDeletion: Boolean", since=(18, 0))


# ---- nodes -----------------------------------------------------------------------------------

def runners_setting(ctx, st):
    v = st["shared_runners_setting"].upper()
    return "DISABLED_WITH_OVERRIDE" if v == "DISABLED_AND_OVERRIDABLE" and ctx.version < (15, 8) else v


def user_state(ctx, u):
    known = ("active", "blocked", "deactivated")
    return u["state"] if ctx.version >= (16, 0) or u["state"] in known else "blocked"


def group_node(ctx, g):
    st = groups.settings_of(g)
    node = {
        "row": g, "id": gid("Group", g["id"]), "name": g["name"], "path": g["path"], "fullPath": g["full_path"],
        "description": g["description"] or "", "descriptionHtml": labels.html(g["description"]),
        "visibility": g["visibility"], "webUrl": "%s/groups/%s" % (ctx.app.base_url, g["full_path"]),
        "autoDevopsEnabled": st["auto_devops_enabled"], "emailsDisabled": not st["emails_enabled"],
        "emailsEnabled": st["emails_enabled"], "lfsEnabled": st["lfs_enabled"], "mentionsDisabled": st["mentions_disabled"],
        "projectCreationLevel": st["project_creation_level"], "requestAccessEnabled": st["request_access_enabled"],
        "requireTwoFactorAuthentication": st["require_two_factor_authentication"],
        "shareWithGroupLock": st["share_with_group_lock"], "sharedRunnersSetting": runners_setting(ctx, st),
        "subgroupCreationLevel": st["subgroup_creation_level"], "twoFactorGracePeriod": st["two_factor_grace_period"],
        "createdAt": g["created_at"], "updatedAt": g["updated_at"], "organizationId": str(g["organization_id"]),
        "mathRenderingLimitsEnabled": st["math_rendering_limits_enabled"],
        "lockMathRenderingLimitsEnabled": st["lock_math_rendering_limits_enabled"],
        "markedForDeletion": g["marked_on"] is not None, "epicsEnabled": ctx.premium(),
        "avatarUrl": "%s/uploads/-/system/group/avatar/%d/%s" % (ctx.app.base_url, g["id"], g["avatar_name"])
                     if g["avatar_name"] else None,
    }
    return node


def user_node(ctx, u):
    if u is None:
        return None
    own = ctx.user is not None and (ctx.admin or ctx.user["id"] == u["id"])
    return {"row": u, "id": gid("User", u["id"]), "username": u["username"], "name": u["name"], "state": user_state(ctx, u),
            "publicEmail": u["public_email"] or "", "email": u["email"] if own else (u["public_email"] or ""),
            "avatarUrl": None, "webUrl": "%s/%s" % (ctx.app.base_url, u["username"]), "webPath": "/" + u["username"],
            "bot": bool(u["bot"]), "location": ""}


def user_by_id(ctx, uid):
    return user_node(ctx, ctx.db.one("SELECT * FROM users WHERE id=?", uid)) if uid else None


def label_node(r):
    return {"row": r, "id": gid("GroupLabel", r["id"]), "title": r["title"], "description": r["description"],
            "descriptionHtml": labels.html(r["description"]), "color": r["color"],
            "textColor": colors.text_color(r["color"]), "createdAt": r["created_at"], "updatedAt": r["updated_at"],
            "lockOnMerge": bool(r["lock_on_merge"]), "archived": bool(r["archived"])}


def milestone_node(ctx, r):
    path = ctx.db.one("SELECT full_path, parent_id FROM groups WHERE id=?", r["group_id"])
    rest = milestones.present(ctx, r)
    return {"row": r, "id": gid("Milestone", r["id"]), "iid": str(r["iid"]), "title": r["title"],
            "description": r["description"], "state": r["state"], "startDate": r["start_date"], "dueDate": r["due_date"],
            "createdAt": r["created_at"], "updatedAt": r["updated_at"], "expired": rest["expired"],
            "upcoming": bool(r["start_date"] and r["start_date"] > r["created_at"][:10]),
            "webPath": "/groups/%s/-/milestones/%d" % (path["full_path"], r["iid"]), "groupMilestone": True,
            "projectMilestone": False, "subgroupMilestone": path["parent_id"] is not None,
            "stats": {"totalIssuesCount": 0, "closedIssuesCount": 0},
            "group": lambda: group_node(ctx, ctx.db.one("SELECT * FROM groups WHERE id=?", r["group_id"]))}


def member_node(ctx, r):
    return {"row": r, "id": gid("GroupMember", r["id"]), "createdAt": r["created_at"], "updatedAt": r["updated_at"],
            "expiresAt": r["expires_at"] and r["expires_at"] + "T00:00:00Z",
            "accessLevel": {"integerValue": r["access_level"], "stringValue": LEVEL_ENUM[r["access_level"]]},
            "user": lambda: user_by_id(ctx, r["user_id"]), "createdBy": lambda: user_by_id(ctx, r["created_by_id"]),
            "group": lambda: group_node(ctx, ctx.db.one("SELECT * FROM groups WHERE id=?", r["group_id"])),
            "notificationEmail": None, "userPermissions": {"readGroup": True, "createProjects": False}}


# ---- Query -----------------------------------------------------------------------------------

def visible_group(ctx, full_path):
    g = ctx.db.one("SELECT * FROM groups WHERE full_path=?", full_path)
    return g if g is not None and can_read(ctx, g) else None


@resolver("Query", "group")
def q_group(obj, ctx, a):
    g = visible_group(ctx, a["fullPath"])
    return group_node(ctx, g) if g else None


@resolver("Query", "namespace")
def q_namespace(obj, ctx, a):
    g = visible_group(ctx, a["fullPath"])
    return dict(group_node(ctx, g), fullName=full_name(ctx, g)) if g else None


@resolver("Query", "groups")
def q_groups(obj, ctx, a):
    cond, args = groups.visible_condition(ctx, True if ctx.user is not None and not ctx.admin else None)
    if a.get("topLevelOnly"):
        cond += " AND parent_id IS NULL"
    if a.get("search"):
        cond += " AND (instr(lower(name), lower(?)) OR instr(lower(path), lower(?)))"
        args = [*args, a["search"], a["search"]]
    if a.get("ids") is not None:
        cond += " AND id IN (%s)" % ",".join(str(ungid(i, "Group")) for i in a["ids"])
    return connection(ctx.db, "SELECT * FROM groups", cond, args, ["name", "id"], lambda g: group_node(ctx, g), a)


@resolver("Query", "currentUser")
def q_me(obj, ctx, a):
    return user_node(ctx, ctx.user)


@resolver("Query", "echo")
def q_echo(obj, ctx, a):
    return "%s says: %s" % (ctx.user["username"] if ctx.user else "nil", a["text"])


@resolver("Query", "metadata")
def q_metadata(obj, ctx, a):
    return {**instance.metadata_body(ctx), "enterprise": ctx.app.enterprise} if ctx.user is not None else None


@resolver("Query", "queryComplexity")
def q_cost(obj, ctx, a):
    return {"score": ctx.query_cost[0], "limit": ctx.query_cost[1]}


@resolver("Query", "user")
def q_user(obj, ctx, a):
    if a.get("id") is not None:
        return user_by_id(ctx, ungid(a["id"], "User"))
    return user_node(ctx, ctx.db.one("SELECT * FROM users WHERE username=?", a.get("username")))


@resolver("Query", "users")
def q_users(obj, ctx, a):
    from .users import search_condition
    if ctx.user is None:
        raise GqlError(NOT_FOUND)
    where, args = "1", []
    if a.get("ids") is not None:
        where += " AND id IN (%s)" % ",".join(str(ungid(i, "User")) for i in a["ids"])
    if a.get("usernames") is not None:
        where += " AND username IN (%s)" % ",".join("?" * len(a["usernames"]))
        args += a["usernames"]
    if a.get("search"):
        cond, more = search_condition(ctx, a["search"])
        where += " AND " + cond
        args += more
    if a.get("admins"):
        where += " AND admin=1" if ctx.admin else ""
    return connection(ctx.db, "SELECT * FROM users", where, args, ["id"], lambda u: user_node(ctx, u), a, desc=True)


@resolver("Query", "milestone")
def q_milestone(obj, ctx, a):
    r = ctx.db.one("SELECT * FROM milestones WHERE id=?", ungid(a["id"], "Milestone"))
    g = r and ctx.db.one("SELECT * FROM groups WHERE id=?", r["group_id"])
    return milestone_node(ctx, r) if g is not None and can_read(ctx, g) else None


# ---- fields of a group -----------------------------------------------------------------------

def full_name(ctx, g):
    return " / ".join(r["name"] for r in ctx.db.all("SELECT name FROM groups WHERE id IN (%s) ORDER BY length(tids)"
                                                    % ",".join(map(str, ancestor_ids(g["tids"])))))


@resolver("Group", "fullName")
def g_full_name(obj, ctx, a):
    return full_name(ctx, obj["row"])


@resolver("Group", "archived")
def g_archived(obj, ctx, a):
    from .auth import archived
    return archived(ctx, obj["row"])


@resolver("Group", "parent")
def g_parent(obj, ctx, a):
    pid = obj["row"]["parent_id"]
    g = ctx.db.one("SELECT * FROM groups WHERE id=?", pid) if pid else None
    return group_node(ctx, g) if g is not None and can_read(ctx, g) else None


@resolver("Group", "userPermissions")
def g_permissions(obj, ctx, a):
    return {"readGroup": True, "createProjects": can(ctx, obj["row"], 30)}


@resolver("Group", "descendantGroups")
def g_descendants(obj, ctx, a):
    g = obj["row"]
    cond, args = groups.visible_condition(ctx, None, owned=bool(a.get("owned")))
    if a.get("includeParentDescendants", True):
        cond, args = cond + " AND tids GLOB ? AND id<>?", [*args, g["tids"] + "*", g["id"]]
    else:
        cond, args = cond + " AND parent_id=?", [*args, g["id"]]
    if a.get("search"):
        cond += " AND (instr(lower(name), lower(?)) OR instr(lower(path), lower(?)))"
        args += [a["search"]] * 2
    return connection(ctx.db, "SELECT * FROM groups", cond, args, ["name", "id"], lambda r: group_node(ctx, r), a)


@resolver("Group", "label")
def g_label(obj, ctx, a):
    r = ctx.db.one("SELECT * FROM labels WHERE group_id=? AND title=?", obj["row"]["id"], a["title"])
    return label_node(r) if r else None


@resolver("Group", "labels")
def g_labels(obj, ctx, a):
    where = labels.scope_groups(ctx, obj["row"], a.get("includeAncestorGroups"), a.get("includeDescendantGroups"))
    args = []
    if a.get("searchTerm"):
        where += " AND instr(lower(title), lower(?))"
        args.append(a["searchTerm"])
    return connection(ctx.db, "SELECT * FROM labels", where, args, ["title", "id"], label_node, a)


MILESTONE_ORDER = {"due_date_asc": (["coalesce(due_date,'9999-99')", "id"], False),
                   "due_date_desc": (["coalesce(due_date,'')", "id"], True),
                   "expired_last_due_date_asc": (["(coalesce(due_date,'9999')<date('now'))", "coalesce(due_date,'9999-99')",
                                                  "id"], False),
                   "expired_last_due_date_desc": (["(coalesce(due_date,'9999')>=date('now'))", "coalesce(due_date,'')",
                                                   "id"], True),
                   "created_asc": (["id"], False), "created_desc": (["id"], True),
                   "updated_asc": (["updated_at", "id"], False), "updated_desc": (["updated_at", "id"], True)}


@resolver("Group", "milestones")
def g_milestones(obj, ctx, a):
    g = obj["row"]
    where, args = "group_id=%d" % g["id"], []
    if a.get("includeAncestors"):
        where = "group_id IN (%s)" % ",".join(map(str, ancestor_ids(g["tids"])))
    if a.get("includeDescendants"):
        where = "(%s OR group_id IN (SELECT id FROM groups WHERE tids GLOB '%s*'))" % (where, g["tids"])
    for key, sql in (("state", "state=?"), ("title", "title=?"), ("searchTitle", "instr(lower(title), lower(?))")):
        if a.get(key):
            where += " AND " + sql
            args.append(a[key])
    if a.get("ids") is not None:
        where += " AND id IN (%s)" % ",".join(str(ungid(i, "Milestone") if ":" in i else int(i)) for i in a["ids"])
    if a.get("containingDate"):
        where += " AND (start_date IS NULL OR start_date<=?) AND (due_date IS NULL OR due_date>=?)"
        args += [a["containingDate"][:10]] * 2
    keys, desc = MILESTONE_ORDER[(a.get("sort") or "DUE_DATE_ASC").lower()]
    return connection(ctx.db, "SELECT * FROM milestones", where, args, keys, lambda r: milestone_node(ctx, r), a, desc)


@resolver("Group", "groupMembers")
def g_members(obj, ctx, a):
    g = obj["row"]
    if g["visibility"] != "public" and not ctx.admin and level(ctx, g) < 5 and g["visibility"] == "private":
        return plain_connection([])
    rel = a.get("relations") or ["DIRECT", "INHERITED"]
    ids = []
    if "DIRECT" in rel:
        ids.append("m.group_id=%d" % g["id"])
    if "INHERITED" in rel and len(ancestor_ids(g["tids"])) > 1:
        ids.append("m.group_id IN (%s)" % ",".join(map(str, ancestor_ids(g["tids"])[:-1])))
    if "DESCENDANTS" in rel:
        ids.append("m.group_id IN (SELECT id FROM groups WHERE tids GLOB '%s*' AND id<>%d)" % (g["tids"], g["id"]))
    if "SHARED_FROM_GROUPS" in rel:
        ids.append("m.group_id IN (SELECT shared_with_id FROM group_links WHERE group_id IN (%s))"
                   % ",".join(map(str, ancestor_ids(g["tids"]))))
    where, args = "(%s)" % (" OR ".join(ids) or "0"), []
    if a.get("search"):
        where += " AND m.user_id IN (SELECT id FROM users WHERE instr(lower(name), lower(?)) OR instr(lower(username), lower(?)))"
        args += [a["search"]] * 2
    if a.get("accessLevels"):
        numbers = {v: k for k, v in LEVEL_ENUM.items()}
        where += " AND m.access_level IN (%s)" % ",".join(str(numbers[x]) for x in a["accessLevels"])
    return connection(ctx.db, "SELECT m.* FROM members m", where, args, ["m.id"], lambda r: member_node(ctx, r), a, desc=True)


# ---- fields of a user ------------------------------------------------------------------------

@resolver("UserCore", "groupMemberships")
def u_memberships(obj, ctx, a):
    return connection(ctx.db, "SELECT * FROM members", "user_id=?", [obj["row"]["id"]], ["id"],
                      lambda r: member_node(ctx, r), a)


@resolver("UserCore", "groups")
def u_groups(obj, ctx, a):
    if ctx.user is None or ctx.user["id"] != obj["row"]["id"]:
        return None
    least = 40 if a.get("permissionScope") == "CREATE_PROJECTS" else OWNER if a.get("permissionScope") else 5
    cond, args = groups.visible_condition(ctx, None, min_access=least)
    if a.get("search"):
        cond += " AND (instr(lower(name), lower(?)) OR instr(lower(path), lower(?)))"
        args += [a["search"]] * 2
    return connection(ctx.db, "SELECT * FROM groups", cond, args, ["full_path", "id"], lambda g: group_node(ctx, g), a)


# ---- mutations -------------------------------------------------------------------------------

def group_for(ctx, full_path, minimum):
    g = visible_group(ctx, full_path)
    if g is None or not can(ctx, g, minimum):
        raise GqlError(NOT_FOUND)
    return g


def messages(fields):
    """{field: [messages]} -> full sentences, as a payload's errors show them."""
    return ["%s %s" % (k.replace("_", " ").capitalize(), m) for k, ms in fields.items() for m in ms]


@mutation("labelCreate", 'title: String! description: String color: String = "#6699cc" groupPath: ID projectPath: ID',
          "label: Label")
def label_create(ctx, i):
    if (i.get("groupPath") is None) == (i.get("projectPath") is None):
        raise GqlError("Exactly one of group_path or project_path arguments is required")
    if i.get("projectPath") is not None:
        raise GqlError(NOT_FOUND)
    g = group_for(ctx, i["groupPath"], 15)
    title = i["title"].strip()
    color = i.get("color") or labels.DEFAULT_COLOR
    e = labels.errors_of(ctx, g["id"], title, color, i.get("description"))
    if e:
        raise Refused(*messages(e), payload={"label": None})
    return {"label": label_node(labels.insert(ctx, g, title, color, i.get("description")))}


@mutation("labelUpdate", "id: LabelID! archived: Boolean!", "label: Label", since=(18, 10))
def label_update(ctx, i):
    r = ctx.db.one("SELECT * FROM labels WHERE id=?", ungid(i["id"], "Label", "GroupLabel"))
    g = r and ctx.db.one("SELECT * FROM groups WHERE id=?", r["group_id"])
    if g is None or not can(ctx, g, 15):
        raise GqlError(NOT_FOUND)
    from .db import now
    ctx.db.update("labels", r["id"], archived=int(i["archived"]), updated_at=now())
    return {"label": label_node(ctx.db.one("SELECT * FROM labels WHERE id=?", r["id"]))}


@mutation("groupUpdate", "fullPath: ID! sharedRunnersSetting: SharedRunnersSetting!", "group: Group")
def group_update(ctx, i):
    g = group_for(ctx, i["fullPath"], OWNER)
    ctx.path_params = {"id": str(g["id"])}
    p = {}
    if i.get("sharedRunnersSetting"):
        p["shared_runners_setting"] = i["sharedRunnersSetting"].lower()
    try:
        groups.change(ctx, p)
    except ApiError as e:
        raise Refused(*messages(e.body["message"]), payload={"group": None}) from None
    return {"group": group_node(ctx, ctx.db.one("SELECT * FROM groups WHERE id=?", g["id"]))}
