"""Quick actions: lines that begin with a slash and a known word, in descriptions and notes. They are taken out of the text and done.

extract() finds them, apply_to_params() turns those that change the epic into parameters of epics.save(), apply_after() does the rest."""
import re

# word -> what it is; aliases stand beside it.
KNOWN = {"close": "close", "reopen": "reopen", "open": "reopen", "title": "title", "label": "label", "labels": "label",
         "unlabel": "unlabel", "remove_label": "unlabel", "relabel": "relabel", "award": "award", "react": "award",
         "confidential": "confidential", "make_confidential": "confidential", "parent_epic": "parent", "set_parent": "parent",
         "epic": "parent", "remove_parent_epic": "remove_parent", "remove_parent": "remove_parent", "child_epic": "child",
         "add_child": "child", "remove_child_epic": "remove_child", "remove_child": "remove_child", "subscribe": "subscribe",
         "unsubscribe": "unsubscribe", "todo": "nothing", "done": "nothing", "lock": "lock", "unlock": "unlock",
         "color": "color", "cc": "nothing", "shrug": "shrug", "tableflip": "tableflip"}
SHRUG, FLIP = "¯\\＿(ツ)＿/¯", "(╯°□°)╯︵ ┻━┻"
LINE = re.compile(r"^/([A-Za-z_]+)(?:[ \t]+(.*?))?[ \t]*$")
LABEL = re.compile(r'~"([^"]+)"|~([^\s~,]+)|"([^"]+)"|([^\s~,]+)')
EPIC = re.compile(r"(?:https?://[^/\s]+/groups/)?([\w.\-/]*?)(?:&|/-/epics/)(\d+)")
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


def extract(text):
    """-> (text without the commands, [(what, argument)]). Fenced code, quotes (>>>) and comments are left alone."""
    out, deeds, fence, quote, comment = [], [], None, False, False
    for line in text.split("\n"):
        bare = line.rstrip("\r")
        m = FENCE.match(bare)
        if fence:
            if m and m[1][0] == fence[0] and len(m[1]) >= len(fence) and bare.strip() == m[1]:
                fence = None
        elif comment:
            comment = "-->" not in bare
        elif bare == ">>>":
            quote = not quote
        elif quote:
            pass
        elif m:
            fence = m[1]
        elif bare.startswith("<!--"):
            comment = "-->" not in bare
        else:
            c = LINE.match(bare)
            what = c and KNOWN.get(c[1].lower())
            if what in ("shrug", "tableflip"):
                out.append(((c[2] + " ") if c[2] else "") + (SHRUG if what == "shrug" else FLIP))
                continue
            if what:
                deeds.append((what, (c[2] or "").strip()))
                continue
        out.append(line)
    if deeds:
        text = "\n".join(out).strip("\n")
        return text.rstrip() if text.strip() else "", deeds
    return "\n".join(out), deeds


def label_ids(ctx, g, argument):
    """Labels that are there; others are passed over."""
    from . import labels
    scope, out = labels.scope_groups(ctx, g, True), []
    for m in LABEL.finditer(argument):
        title = next(x for x in m.groups() if x)
        r = ctx.db.one("SELECT id FROM labels WHERE title=? AND %s ORDER BY group_id=%d DESC" % (scope, g["id"]), title)
        if r:
            out.append(r["id"])
    return out


def epic_of(ctx, g, argument):
    """The epic that &7, group/path&7 or an address names, where the caller may read it."""
    from . import epics
    m = EPIC.search(argument)
    if not m:
        return None
    where = ctx.db.one("SELECT * FROM groups WHERE full_path=?", m[1]) if m[1] else g
    r = where and ctx.db.one("SELECT * FROM epics WHERE group_id=? AND iid=?", where["id"], int(m[2]))
    return r if r is not None and epics.can_read_epic(ctx, r) else None


def apply_to_params(ctx, g, r, deeds, p):
    """r: the epic, or None for one that comes into being. -> messages for people, one for each command that did something."""
    from . import colors, features
    said = []
    for what, arg in deeds:
        if what in ("close", "reopen"):
            p["state_event"] = what
            said.append("Closed this epic." if what == "close" else "Opened this epic.")
        elif what == "title" and arg:
            p["title"] = arg
            said.append('Changed the title to "%s".' % arg)
        elif what in ("label", "unlabel", "relabel"):
            ids = label_ids(ctx, g, arg)
            if what == "relabel":
                p["label_ids"] = ids
            elif what == "label":
                p["add_label_ids"] = list(p.get("add_label_ids") or ()) + ids
            elif arg:
                p["remove_label_ids"] = list(p.get("remove_label_ids") or ()) + ids
            else:
                p["label_ids"] = []
            if ids or not arg:
                said.append({"label": "Added label(s).", "unlabel": "Removed label(s).", "relabel": "Replaced all labels."}[what])
        elif what == "confidential":
            p["confidential"] = True
            said.append("Made this epic confidential.")
        elif what == "color" and colors.normalise(arg):
            p["color"] = arg
            said.append("Set the epic color to %s." % arg)
        elif what == "parent" and features.subepics(ctx):
            parent = epic_of(ctx, g, arg)
            if parent is not None:
                p["parent"] = parent
                said.append("Set parent epic.")
        elif what == "remove_parent" and features.subepics(ctx):
            p["parent"] = None
            said.append("Removed parent epic.")
        elif what == "award" and arg:
            said.append("Toggled %s emoji award." % arg)
        elif what in ("subscribe", "unsubscribe", "nothing", "lock", "unlock", "child", "remove_child"):
            said.append("Done.")
    return said


def apply_after(ctx, g, r, deeds):
    """What needs the epic to be there."""
    from . import awards, epics, features
    from .db import now
    for what, arg in deeds:
        if what == "award":
            awards.toggle(ctx, "Epic", r["id"], arg.strip().strip(":"))
        elif what in ("subscribe", "unsubscribe"):
            epics.subscribe(ctx, r, what == "subscribe")
        elif what in ("lock", "unlock"):
            ctx.db.update("epics", r["id"], discussion_locked=int(what == "lock"))
        elif what in ("child", "remove_child") and features.subepics(ctx):
            child = epic_of(ctx, g, arg)
            if child is not None and (what == "child" or child["parent_id"] == r["id"]):
                try:
                    epics.set_parent(ctx, child, r if what == "child" else None, True, now())
                except epics.Invalid:
                    pass
