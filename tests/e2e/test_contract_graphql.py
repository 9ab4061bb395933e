#!/usr/bin/python3
"""Every GraphQL document of the project validates against the schema that GitLab published (15.0, Enterprise Edition; documents whose
name ends in _ce against the 15.2 Community Edition too; those that deal with work items against the one of 18.3). Documents for newer servers end in the version that knows them (_16) and ask
for fields that the old schema must not have. Needs GITLAB_CONTRACT_DIR."""
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
schemas = {"ee": "gitlab-15.0-ee.graphql", "ce": "gitlab-15.2-ce.graphql", "items": "gitlab-18.3-workitems-over-15.0.graphql"}
try:
    from graphql import parse, validate
except ImportError:
    t.skip("documents validate", "python3-graphql-core is not installed")
    t.done()

NOTE_16 = ["awardEmoji", "internal", "lastEditedAt", "systemNoteMetadata"]
NEWER = {"epic_list_epics": ["epicBoardList"], "epic_notes_16": NOTE_16, "group_epics_16": ["color"] + NOTE_16, "group_epic_boards_16": ["displayColors"],
         "group_labels_16": ["lockOnMerge"], "group_labels_18": ["lockOnMerge", "archived"]}
ITEMS = ("award_emoji_add", "note_create")
built = {}
for edition, name in schemas.items():
    built[edition] = gstest.contract_schema(name)
    if built[edition] is None:
        t.skip("documents validate", f"no {name} in {gstest.CONTRACT}; set GITLAB_CONTRACT_DIR")
        t.done()
documents = sorted(glob.glob(os.path.join(gstest.TOP, "libgitlab/graphql/*.graphql")))
t.ok(len(documents) > 5, f"{len(documents)} documents")
for path in documents:
    name = os.path.basename(path)[:-len(".graphql")]
    text = open(path, encoding="utf-8").read()
    for edition in ("items",) if name in ITEMS or name.startswith("work_item") else ("ee", "ce") if name.endswith("_ce") else ("ee",):
        errors = [str(e)[:300] for e in validate(built[edition], parse(text))]
        newer = NEWER.get(name)
        if newer:
            named = {f for f in newer for e in errors if f in e}
            t.ok(named == set(newer) and len(errors) == len(newer), f"{name}: the 15.0 schema lacks {', '.join(newer)} and nothing else", errors)
            continue
        t.is_eq(errors, [], f"{name} is valid in the {edition.upper()} schema")
    t.ok(len(text) < 10000, f"{name} is short enough for the server")
t.done()
