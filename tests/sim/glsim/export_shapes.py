"""Records of kinds that only the relation export of GitLab shows so far, in its form, for seeds: epics with notes, awards and
labels, epic boards, iteration cadences."""
import hashlib


def stamps(created, updated=None):
    return {"created_at": created, "updated_at": updated or created}


def label(lid, group_id, title, color, created, updated, description=None):
    return {"id": lid, "title": title, "color": color, "project_id": None, **stamps(created, updated), "template": False,
            "description": description, "group_id": group_id, "lock_on_merge": False, "type": "GroupLabel"}


def award(aid, name, user_id, kind, target, created):
    return {"id": aid, "name": name, "user_id": user_id, "awardable_type": kind, "awardable_id": target, **stamps(created)}


def note(nid, epic_id, author_id, author_name, text, created, updated=None, thread=None, system=None, awards=()):
    """system: the action of a note that GitLab wrote itself. thread: notes with the same text are one discussion."""
    out = {"id": nid, "note": text, "noteable_type": "Epic", "author_id": author_id, **stamps(created, updated),
           "project_id": None, "attachment": {"url": None}, "line_code": None, "commit_id": None, "noteable_id": epic_id,
           "system": system is not None, "st_diff": None, "updated_by_id": None, "position": None,
           "original_position": None, "resolved_at": None, "resolved_by_id": None,
           "discussion_id": hashlib.sha1((thread or "note %d" % nid).encode()).hexdigest(), "change_position": None,
           "resolved_by_push": None, "review_id": None, "confidential": None, "last_edited_at": None,
           "type": "DiscussionNote" if thread else None, "author": {"name": author_name}, "award_emoji": list(awards),
           "events": []}
    if system is not None:
        out["system_note_metadata"] = {"id": nid, "commit_count": None, "action": system, **stamps(created),
                                       "description_version_id": None}
    return out


def epic(eid, group_id, iid, author_id, title, description, created, updated=None, parent=None, closed_by=None, start=None,
         due=None, labels=(), notes=(), awards=(), confidential=False, color="#1068bf", position=None):
    """parent: another record of this function, written here without what hangs below it."""
    updated = updated or created
    out = {"id": eid, "group_id": group_id, "author_id": author_id, "iid": iid, "updated_by_id": None,
           "last_edited_by_id": None, "lock_version": 0, "start_date": start, "end_date": due, "last_edited_at": None,
           **stamps(created, updated), "title": title, "description": description,
           "start_date_sourcing_milestone_id": None, "due_date_sourcing_milestone_id": None, "start_date_fixed": start,
           "due_date_fixed": due, "start_date_is_fixed": start is not None, "due_date_is_fixed": due is not None,
           "closed_by_id": closed_by, "closed_at": updated if closed_by else None, "parent_id": parent and parent["id"],
           "relative_position": 500 * iid if position is None else position, "start_date_sourcing_epic_id": None,
           "due_date_sourcing_epic_id": None, "confidential": confidential, "color": color, "total_opened_issue_weight": 0,
           "total_closed_issue_weight": 0, "total_opened_issue_count": 0, "total_closed_issue_count": 0,
           "imported_from": "none", "state": "closed" if closed_by else "opened"}
    if parent:
        out["parent"] = {k: v for k, v in parent.items() if k not in NESTED}
    event = {"project_id": None, "author_id": author_id, "created_at": created, "updated_at": created, "action": "created",
             "target_id": eid, "target_type": "Epic", "group_id": group_id, "fingerprint": None, "id": 100000 + eid}
    out.update(award_emoji=list(awards), events=[event],
               label_links=[{"id": 10 * eid + i, "label_id": x["id"], "target_id": eid, "target_type": "Epic",
                             **stamps(created), "label": x} for i, x in enumerate(labels)],
               notes=list(notes),
               resource_state_events=[{"id": eid, "user_id": closed_by, "issue_id": None, "merge_request_id": None,
                                       "created_at": updated, "state": "closed", "epic_id": eid}] if closed_by else [])
    return out


NESTED = ("parent", "award_emoji", "events", "label_links", "notes", "resource_state_events")


def cadence(group_id, title, start, created, iterations, description=None, active=True, roll_over=False):
    """iterations: (iid, first day, last day, description or None)"""
    return {"group_id": group_id, **stamps(created), "start_date": start, "active": active, "roll_over": roll_over,
            "title": title, "description": description, "iterations": [
                {"created_at": created, "updated_at": created, "start_date": a, "due_date": b, "group_id": group_id,
                 "iid": iid, "description": text} for iid, a, b, text in iterations]}


def epic_board(group_id, name, labels, created, hide_backlog=False, hide_closed=False):
    kinds = [("backlog", None, None)] + [("label", i, x) for i, x in enumerate(labels)] + [("closed", None, None)]
    lists = []
    for kind, position, x in kinds:
        row = {**stamps(created), "position": position, "list_type": kind, "group_id": group_id}
        if x is not None:
            row["label"] = {k: v for k, v in x.items() if k != "lock_on_merge"}
        lists.append(row)
    return {"hide_backlog_list": hide_backlog, "hide_closed_list": hide_closed, "group_id": group_id, **stamps(created),
            "name": name, "display_colors": True, "epic_lists": lists}
