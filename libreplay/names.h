/*
 * names: what references in texts mean (text.h), by what a state file knows of a load: while it is planned, while it runs, and afterwards
 * for who compares.
 */
#ifndef RP_NAMES_H
#define RP_NAMES_H

#include "libreplay/state.h"
#include "libreplay/text.h"

struct names {
    struct state *state;
    const struct grp *grp;    /* group that the text is in */
    const struct grp *groups; /* all of the load */
    size_t n_groups;
    const struct grp *(*by_id)(void *cookie, int64_t id); /* may be NULL: the groups are sorted by id, and searched */
    void *cookie;
    /* What failed since is taken for what it was when the text was sent: a thing that was to come. Who asks so has to take a reference
     * that was left alone for as good. */
    bool afterwards;
    const char *source_url, *target_url; /* see struct text_env */
};

/* For struct text_env; the cookie is a struct names. */
int names_find(void *cookie, const struct text_ref *ref, struct text_target *out, struct gs_err *err);
/* text_convert() with these names. */
int names_convert(const struct names *n, const char *text, size_t len, bool actions, struct gs_buf *out, struct text_notes *notes,
                  struct gs_err *err) GS_MUST_USE;

#endif
