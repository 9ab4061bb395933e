"""GraphQL: notes, threads and award emoji of epics and work items."""
import re

from . import awards, epics, features, notes
from .auth import GUEST, MAINTAINER, can, need_unarchived
from .errors import ApiError
from .gql import GqlError, NOT_FOUND, Refused, connection_type, extend, gid, mutation, resolver, sdl, ungid
from .gql_groups import PAGE, messages, user_by_id
from .labels import html
from .paging import connection

for _name in ("Note", "Discussion", "AwardEmoji"):
    connection_type(_name, count="<17.2: count: Int!>" if _name == "Note" else False, ee=True)
sdl("""
type AwardEmoji { name: String! description: String! unicode: String! emoji: String! unicodeVersion: String! user: UserCore! }
type NotePermissions { adminNote: Boolean! awardEmoji: Boolean! createNote: Boolean! readNote: Boolean! resolveNote: Boolean!
  repositionNote: Boolean! }
""", ee=True)
sdl("type SystemNoteMetadata { id: SystemNoteMetadataID! action: String }", ee=True, since=(16, 0))
sdl("""type QuickActionsStatus { commandNames: [String!] commandsOnly: Boolean errorMessages: [String!] messages: [String!] }""", ee=True,
    since=(17, 2))
extend("Note", """id: NoteID! body: String! bodyHtml: String createdAt: Time! updatedAt: Time! system: Boolean! systemNoteIconName: String
  author: UserCore<until 17.0:!> resolvable: Boolean! resolved: Boolean! resolvedAt: Time url: String discussion: Discussion
  userPermissions: NotePermissions! <until 17.0: confidential: Boolean>""", ee=True)
extend("Note", "internal: Boolean", since=(15, 3), ee=True)
extend("Note", """awardEmoji(%s): AwardEmojiConnection lastEditedAt: Time lastEditedBy: UserCore imported: Boolean
  systemNoteMetadata: SystemNoteMetadata""" % PAGE, since=(16, 0), ee=True)
extend("Discussion", """id: DiscussionID! replyId: DiscussionID! createdAt: Time! resolvable: Boolean! resolved: Boolean! resolvedAt: Time
  notes(%s): NoteConnection!""" % PAGE, ee=True)
extend("Query", "note(id: NoteID!): Note", since=(15, 9), ee=True)


# ---- what a global id names ------------------------------------------------------------------

def epic_by_gid(ctx, text):
    """The epic that an Epic's or a WorkItem's global id stands for, or None."""
    m = re.match(r"^gid://gitlab/(Epic|WorkItem|Issue)/(\d+)$", text or "")
    if not m:
        return None
    return epic_row(ctx, m[1], int(m[2]))


def epic_row(ctx, kind, n):
    families = features.families(ctx.version, ctx.app.config)
    if kind == "Epic":
        r = epics.by_id(ctx.db, n) if "epics" in families else None
    else:
        r = epics.by_id(ctx.db, ctx.db.val("SELECT epic_id FROM work_items WHERE id=?", n)) if "work_items" in families else None
    return r if r is not None and features.licensed(ctx) and epics.can_read_epic(ctx, r) else None


def target(ctx, text):
    """-> (group, 'Epic' or 'Note', id) of an awardable thing."""
    if re.match(r"^gid://gitlab/(\w*Note)/\d+$", text or ""):
        n = notes.by_id(ctx.db, ungid(text))
        r = n and epics.by_id(ctx.db, n["noteable_id"])
        g = r and epics.group_of(ctx.db, r)
        if g is None or not features.licensed(ctx) or not epics.can_read_epic(ctx, r, g) or not notes.readable(ctx, n, g):
            raise GqlError(NOT_FOUND)
        return g, "Note", n["id"]
    ungid(text)
    r = epic_by_gid(ctx, text)
    if r is None:
        raise GqlError(NOT_FOUND)
    return epics.group_of(ctx.db, r), "Epic", r["id"]


# ---- nodes -----------------------------------------------------------------------------------

def note_gid(n):
    return gid("DiscussionNote" if n["type"] else "Note", n["id"])


def discussion_gid(n):
    return "gid://gitlab/%s/%s" % ("Discussion" if n["type"] else "IndividualNoteDiscussion", n["discussion_id"])


def note_node(ctx, n):
    r = epics.by_id(ctx.db, n["noteable_id"])
    g = epics.group_of(ctx.db, r)
    member = can(ctx, g, GUEST)
    return {"row": n, "id": note_gid(n), "body": n["note"], "bodyHtml": html(n["note"]), "createdAt": n["created_at"],
            "updatedAt": n["updated_at"], "system": bool(n["system"]), "systemNoteIconName": n["action"],
            "author": lambda: user_by_id(ctx, n["author_id"]), "resolvable": False, "resolved": False, "resolvedAt": None,
            "url": "%s/groups/%s/-/epics/%d#note_%d" % (ctx.app.base_url, g["full_path"], r["iid"], n["id"]),
            "discussion": lambda: discussion_node(ctx, [n]), "confidential": bool(n["internal"]), "internal": bool(n["internal"]),
            "lastEditedAt": n["last_edited_at"], "lastEditedBy": lambda: user_by_id(ctx, n["updated_by_id"]), "imported": False,
            "systemNoteMetadata": {"id": gid("SystemNoteMetadata", n["id"]), "action": n["action"]} if n["system"] else None,
            "userPermissions": lambda: {"adminNote": ctx.user is not None and notes.may_change(ctx, n, g), "awardEmoji": member,
                                        "createNote": member, "readNote": True, "resolveNote": can(ctx, g, MAINTAINER),
                                        "repositionNote": False}}


def discussion_node(ctx, rows):
    n = rows[0]
    return {"row": n, "id": discussion_gid(n), "replyId": discussion_gid(n), "createdAt": n["created_at"], "resolvable": False,
            "resolved": False, "resolvedAt": None}


@resolver("Discussion", "notes")
def d_notes(obj, ctx, a):
    n = obj["row"]
    r = epics.by_id(ctx.db, n["noteable_id"])
    where = "discussion_id=? AND " + notes.condition(ctx, r, epics.group_of(ctx.db, r))
    return connection(ctx.db, "SELECT * FROM notes", where, [n["discussion_id"]], ["created_at", "id"], lambda x: note_node(ctx, x), a)


ONLY = {"ONLY_COMMENTS": "only_comments", "ONLY_ACTIVITY": "only_activity"}


def notes_connection(ctx, r, a):
    where = notes.condition(ctx, r, epics.group_of(ctx.db, r), ONLY.get(a.get("filter")))
    return connection(ctx.db, "SELECT * FROM notes", where, [], ["created_at", "id"], lambda n: note_node(ctx, n), a)


def discussions_connection(ctx, r, a):
    g = epics.group_of(ctx.db, r)
    where = notes.condition(ctx, r, g, ONLY.get(a.get("filter")))
    where += " AND id=(SELECT n.id FROM notes n WHERE n.discussion_id=notes.discussion_id ORDER BY n.created_at, n.id LIMIT 1)"
    return connection(ctx.db, "SELECT * FROM notes", where, [], ["created_at", "id"],
                      lambda n: discussion_node(ctx, notes.thread_rows(ctx, r, g, n["discussion_id"])), a)


def award_node(ctx, r):
    return {"row": r, "name": r["name"], "description": r["name"].replace("_", " "), "unicode": "", "emoji": ":%s:" % r["name"],
            "unicodeVersion": "6.0", "user": lambda: user_by_id(ctx, r["user_id"])}


def awards_connection(ctx, kind, tid, a):
    return connection(ctx.db, "SELECT * FROM award_emoji", "awardable_type=? AND awardable_id=?", [kind, tid], ["id"],
                      lambda r: award_node(ctx, r), a)


@resolver("Note", "awardEmoji")
def n_awards(obj, ctx, a):
    return awards_connection(ctx, "Note", obj["row"]["id"], a)


@resolver("Query", "note")
def q_note(obj, ctx, a):
    n = notes.by_id(ctx.db, ungid(a["id"]))
    r = n and epics.by_id(ctx.db, n["noteable_id"])
    g = r and epics.group_of(ctx.db, r)
    if g is None or not features.licensed(ctx) or not epics.can_read_epic(ctx, r, g) or not notes.readable(ctx, n, g):
        return None
    return note_node(ctx, n)


# ---- mutations -------------------------------------------------------------------------------

def may_award(ctx, text):
    g, kind, tid = target(ctx, text)
    if not awards.may_award(ctx, g):
        raise GqlError(NOT_FOUND)
    return kind, tid


@mutation("awardEmojiAdd", "awardableId: AwardableID! name: String!", "awardEmoji: AwardEmoji", ee=True)
def award_add(ctx, i):
    r, complaint = awards.add(ctx, *may_award(ctx, i["awardableId"]), i["name"])
    if complaint:
        raise Refused(complaint, payload={"awardEmoji": None})
    return {"awardEmoji": award_node(ctx, r)}


@mutation("awardEmojiRemove", "awardableId: AwardableID! name: String!", "awardEmoji: AwardEmoji", ee=True)
def award_remove(ctx, i):
    r = awards.mine(ctx, *may_award(ctx, i["awardableId"]), i["name"])
    if r is None:
        raise Refused("User has not awarded emoji of type %s on the awardable" % i["name"], payload={"awardEmoji": None})
    awards.take_away(ctx, r)
    return {"awardEmoji": None}


@mutation("awardEmojiToggle", "awardableId: AwardableID! name: String!", "awardEmoji: AwardEmoji toggledOn: Boolean!", ee=True)
def award_toggle(ctx, i):
    r, complaint = awards.toggle(ctx, *may_award(ctx, i["awardableId"]), i["name"])
    if complaint:
        raise Refused(complaint, payload={"awardEmoji": None, "toggledOn": False})
    return {"awardEmoji": r and award_node(ctx, r), "toggledOn": r is not None}


@mutation("createNote", """noteableId: NoteableID! body: String! confidential: Boolean <15.3: internal: Boolean> discussionId: DiscussionID
  mergeRequestDiffHeadSha: String""", "note: Note <17.2: quickActionsStatus: QuickActionsStatus>", ee=True)
def create_note(ctx, i):
    ungid(i["noteableId"])
    r = epic_by_gid(ctx, i["noteableId"])
    if r is None:
        raise GqlError(NOT_FOUND)
    g = epics.group_of(ctx.db, r)
    thread = None
    if i.get("discussionId"):
        did = i["discussionId"].rsplit("/", 1)[-1]
        thread = notes.thread_rows(ctx, r, g, did)
        if not thread:
            raise GqlError(NOT_FOUND)
    internal = i.get("internal") if i.get("internal") is not None else i.get("confidential")
    if not awards.may_award(ctx, g) or internal and not can(ctx, g, 15):
        raise GqlError(NOT_FOUND)
    try:
        need_unarchived(ctx, g)
    except ApiError:
        raise GqlError(NOT_FOUND) from None
    e = notes.errors_of(i["body"])
    if e:
        raise Refused(*messages(e), payload={"note": None, "quickActionsStatus": None})
    try:
        n, said = notes.create(ctx, r, g, i["body"], thread, internal)
    except epics.Invalid as bad:
        raise Refused(*messages(bad.fields), payload={"note": None, "quickActionsStatus": None}) from None
    status = {"commandNames": [], "commandsOnly": n is None, "messages": said, "errorMessages": None} if said or n is None else None
    out = {"note": n and note_node(ctx, n), "quickActionsStatus": status}
    if n is None and ctx.version < (17, 2):      # older servers tell of executed commands as if it were an error
        out["errors"] = ["Commands only %s" % " ".join(said)]
    return out


def note_for(ctx, text):
    n = notes.by_id(ctx.db, ungid(text))
    r = n and epics.by_id(ctx.db, n["noteable_id"])
    g = r and epics.group_of(ctx.db, r)
    if g is None or not features.licensed(ctx) or not epics.can_read_epic(ctx, r, g) or not notes.may_change(ctx, n, g):
        raise GqlError(NOT_FOUND)
    return n


@mutation("updateNote", "id: NoteID! body: String confidential: Boolean", "note: Note", ee=True)
def update_note(ctx, i):
    n = note_for(ctx, i["id"])
    if i.get("body") is not None:
        e = notes.errors_of(i["body"])
        if e:
            raise Refused(*messages(e), payload={"note": note_node(ctx, n)})
        n = notes.change(ctx, n, i["body"])
    return {"note": note_node(ctx, n)}


@mutation("destroyNote", "id: NoteID!", "note: Note", ee=True)
def destroy_note(ctx, i):
    notes.remove(ctx.db, note_for(ctx, i["id"]))
    return {"note": None}

