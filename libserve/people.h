/*
 * people: who is named in a bundle, and who is a member of which group, directly or by a group above.
 */
#ifndef SERVE_PEOPLE_H
#define SERVE_PEOPLE_H

#include "libserve/content.h"

struct person {
    int64_t id;
    const char *username, *name, *public_email; /* NULL: not known */
    bool ghost;
};

struct membership {
    int64_t user;
    int64_t level;
    const char *created_at, *updated_at, *expires_at; /* NULL: not known, none */
    bool direct;
};

struct people;
/* All of it is kept in memory: about 150 bytes for each person and membership. */
int people_load(const struct content *c, struct people **out, struct gs_err *err) GS_MUST_USE;
void people_free(struct people *p);
GS_DEFINE_AUTO(people, people_free);

/* NULL: the bundle does not know them. */
const struct person *people_by_id(const struct people *p, int64_t id);
const struct person *people_by_name(const struct people *p, const char *username);
size_t people_count(const struct people *p);
const struct person *people_at(const struct people *p, size_t i);
/*
 * The members of a group by id of the user, each once, with the highest of their levels; `inherited`: also of the groups above, as far
 * as the bundle holds them. The caller frees *out.
 */
int people_members(const struct people *p, size_t group, bool direct, bool inherited, struct membership **out, size_t *out_n,
                   struct gs_err *err) GS_MUST_USE;

#endif
