/*
 * text: what a description or comment must become to mean on the target what it meant at the source.
 *
 *  - References outside code (`&12`, `%"x"`, `~label`, `@user`, with or without a group's path in front, `*iteration:7`) and links to the source are asked for
 *    one by one. What is found somewhere else on the target, or under another name or number, is rewritten; what is known and is not
 *    on the target is left as it is, and listed.
 *  - Quick actions (`/close` and the like at the beginning of a line) are taken as text by a backslash in front, which Markdown does
 *    not show; outside fenced code only, and where the server would carry them out.
 *
 * Everything else stays byte for byte. A fence that is not closed is no code here: GitLab's versions differ in that, and an action
 * that is carried out is worse than a backslash that shows. Facts: GitLab's docs "Markdown: references" and "quick actions", API facts 5 (e).
 */
#ifndef RP_TEXT_H
#define RP_TEXT_H

#include "libcommon/buf.h"
#include "libcommon/cleanup.h"
#include "libcommon/err.h"

#include <stdbool.h>
#include <stdint.h>

enum text_ref_kind {
    TEXT_GROUP,     /* group: its full path */
    TEXT_USER,      /* name */
    TEXT_EPIC,      /* group, number: iid */
    TEXT_MILESTONE, /* group, and name or number: iid */
    TEXT_LABEL,     /* group, and name or number: id */
    TEXT_BOARD,     /* group, number: id */
    TEXT_EPIC_BOARD,
    TEXT_CADENCE,
    TEXT_ITERATION, /* number: iid of the group, or id where `group` is NULL */
};

struct text_ref {
    enum text_ref_kind kind;
    const char *group; /* full path at the source; NULL: the one that the text is in, or one above it */
    const char *name;  /* NULL: by number */
    int64_t number;
};

enum text_found {
    TEXT_UNKNOWN, /* nothing that the bundle knows of: no reference, or to something outside of it */
    TEXT_LOST,    /* known, and not on the target */
    TEXT_CARRIED,
};

struct text_target {
    enum text_found found;
    char *name;     /* path, username or title on the target, to be freed; NULL: as at the source (by number: only that is known) */
    int64_t number; /* iid or id on the target */
};

/* A reference or link that was rewritten: where it stands in the text, and in what was made of it. */
struct text_span {
    size_t at, len;
    size_t out_at, out_len;
};

struct text_env {
    void *cookie;
    const char *source_url, *target_url; /* without a slash at the end; NULL: links are left alone */
    bool actions;                        /* the server carries quick actions out */
    bool spans;                          /* the notes are to say where something was rewritten */
    /* *out is {0} before. */
    int (*find)(void *cookie, const struct text_ref *ref, struct text_target *out, struct gs_err *err);
};

struct text_notes {
    unsigned actions;   /* lines that were kept from being carried out */
    unsigned rewritten; /* references and links */
    unsigned left;      /* that mean nothing on the target, or something else */
    struct gs_buf names; /* of those: "&12, @somebody", at most some hundred bytes */
    struct gs_buf spans; /* struct text_span, in the order of the text; where they are asked for */
};
void text_notes_release(struct text_notes *n);

/* Appends the text for the target to `out`. `notes` is added to; start from {0}. */
int text_convert(const struct text_env *env, const char *text, size_t len, struct gs_buf *out, struct text_notes *notes,
                 struct gs_err *err) GS_MUST_USE;

#endif
