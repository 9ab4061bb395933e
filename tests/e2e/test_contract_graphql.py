#!/usr/bin/python3
"""Every GraphQL document of the project validates against the schema that GitLab published (15.0, Enterprise Edition; documents whose
name ends in _ce against the 15.2 Community Edition too; those that deal with work items against the one of 18.3). Documents for newer servers end in the version that knows them (_16) and ask
for fields that the old schema must not have. Needs GITLAB_CONTRACT_DIR."""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
schemas = {"ee": "gitlab-15.0-ee.graphql", "ce": "gitlab-15.2-ce.graphql", "items": "gitlab-18.3-workitems-over-15.0.graphql"}
try:
    from graphql import build_ast_schema, parse, validate
except ImportError:
    t.skip("documents validate", "python3-graphql-core is not installed")
    t.done()


def plain(sdl):
    """The schema without descriptions and with the older form of `implements`, which every version of the library reads."""
    sdl = re.sub(r'"""(?:[^"\\]|\\.|"(?!""))*"""', "", sdl)
    sdl = re.sub(r" = null\b", "", sdl)
    sdl = re.sub(r'(?m)^\s*"(?:[^"\\]|\\.)*"\s*$', "", sdl)
    if not re.search(r"(?m)^schema\b", sdl):
        sdl = "schema { query: Query mutation: Mutation }\n" + sdl
    sdl = re.sub(r"(?m)^(interface \w+) implements [^{]*", r"\1 ", sdl)
    return re.sub(r"(?m)^((?:type|interface) .*implements )(.*)\{", lambda m: m[1] + m[2].replace("&", ",") + "{", sdl)


NOTE_16 = ["awardEmoji", "internal", "lastEditedAt", "systemNoteMetadata"]
NEWER = {"epic_list_epics": ["epicBoardList"], "epic_notes_16": NOTE_16, "group_epics_16": ["color"] + NOTE_16, "group_epic_boards_16": ["displayColors"],
         "group_labels_16": ["lockOnMerge"], "group_labels_18": ["lockOnMerge", "archived"]}
ITEMS = ("award_emoji_add", "note_create")
built = {}
for edition, name in schemas.items():
    path = os.path.join(gstest.CONTRACT, "graphql", name)
    if not os.path.exists(path):
        t.skip("documents validate", f"no {path}; set GITLAB_CONTRACT_DIR")
        t.done()
    built[edition] = build_ast_schema(parse(plain(open(path, encoding="utf-8").read())))
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
