/*
 * relations: the one table of object kinds.
 *
 * Capture, load, comparison and reports all walk it. A row says what GitLab's own relation export calls the kind, what
 * identifies one record inside its group, which attributes it has and what is to be thought of each, what it refers to,
 * and in which phase it is loaded. records.md says the same in prose.
 */
#ifndef GS_RELATIONS_H
#define GS_RELATIONS_H

#include <stdbool.h>
#include <stddef.h>

enum rel_type { REL_STR, REL_TEXT, REL_INT, REL_BOOL, REL_TIME, REL_DATE, REL_COLOR, REL_USER, REL_ARRAY, REL_OBJECT, REL_ANY };

/* What a difference in this attribute means when two bundles, or a bundle and a target, are compared. */
enum rel_class {
    REL_VALUE = 0,  /* content: must be equal */
    REL_INSTANCE,   /* an id that means something on its own instance only: never compared */
    REL_SERVER,     /* set by the server, the API cannot set it (timestamps ...): a difference is named, and set aside */
    REL_COMPUTED,   /* follows from other attributes or from the instance: a difference is named, and set aside */
    REL_SETTING,    /* content that may be inherited: who leaves it out or null says nothing about it, which is named and set aside */
};

struct rel_attr {
    const char *name;
    enum rel_type type;
    enum rel_class cls;
    const char *since;   /* first GitLab version that has it, or NULL: always */
    const char *absent;  /* JSON text of what an absent or null attribute means ("false"), or NULL: null */
};

/* Phases of a load, in order (gitlab-api facts, section 13). Values are stored in state files: do not renumber. */
enum rel_phase {
    REL_PHASE_GROUP = 10,
    REL_PHASE_LABELS = 20,
    REL_PHASE_MILESTONES = 30,
    REL_PHASE_ITERATIONS = 40,
    REL_PHASE_BADGES = 50,
    REL_PHASE_BOARDS = 60,
    REL_PHASE_EPICS = 70,
    REL_PHASE_EPIC_PARTS = 72,  /* parents, comments, reactions: after the epics of all groups */
    REL_PHASE_EPIC_STATES = 74, /* order of children, closing: after all parts */
    REL_PHASE_EPIC_BOARDS = 80,
    REL_PHASE_EPIC_PLACES = 82, /* order on epic boards, which show open and closed epics apart */
    REL_PHASE_EPIC_TIMES = 84,  /* everything else changes when an epic was changed last */
    REL_PHASE_MEMBERS = 90,
    REL_PHASE_LOCKS = 100,
    REL_PHASE_NONE = 0, /* carried, not loaded by itself */
};

struct relation {
    const char *name;         /* "labels"; "self" is the group's own record */
    const char *title;        /* for people: "labels" */
    const char *key;          /* attributes that make the natural key, comma separated: "title"; "" : the whole content (a multiset) */
    bool single;              /* one record per group */
    enum rel_phase phase;
    const char *since;        /* first GitLab version that exports it */
    bool enterprise;          /* Enterprise Edition only */
    const struct rel_attr *attrs; /* ends with a NULL name; attributes not listed are REL_VALUE, REL_ANY */
    const struct rel_nested {
        const char *name;               /* key in the record: "lists" */
        const char *relation;           /* row of the table that describes the elements: "lists" */
        bool array;
    } *nested;                /* ends with a NULL name; may be NULL */
};

/* The table, ended by a NULL name; top-level relations first, in the order in which they are loaded, then nested ones. */
extern const struct relation relations[];
/* NULL when unknown. */
const struct relation *relation_find(const char *name);
const struct rel_attr *relation_attr(const struct relation *r, const char *name);
/* Is this a name that a relation may have in a bundle ([a-z][a-z0-9_]{0,62}), known or not? */
bool relation_name_ok(const char *name, size_t len);

#endif
