#include "libserve/tally.h"

#include "libcommon/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RING 4096

static const char *const others[] = {"attributes", "member-list", "badge-list", "subgroups", "projects", "wiki"};

struct tally {
    const struct content *c;
    pthread_mutex_t lock;
    const char *parts[TALLY_MAX_PARTS];
    size_t n_parts, n_relations;
    struct tally_cell *cells; /* groups x parts */
    bool *started;
    struct tally_event *ring;
    size_t head, count;
    uint64_t dropped;
    struct tally_total total;
};

int tally_new(const struct content *c, const char *const *relations_of, size_t n, struct tally **out, struct gs_err *err)
{
    GS_AUTO(tally) t = calloc(1, sizeof *t);
    if (!t)
        return gs_fail(err, GS_E_NOMEM, "no memory for a tally");
    pthread_mutex_init(&t->lock, NULL);
    t->c = c;
    for (size_t i = 0; i < n && t->n_parts + GS_COUNT(others) < TALLY_MAX_PARTS; i++)
        t->parts[t->n_parts++] = relations_of[i];
    t->n_relations = t->n_parts;
    for (size_t i = 0; i < GS_COUNT(others); i++)
        t->parts[t->n_parts++] = others[i];
    t->cells = calloc(c->n_groups * t->n_parts + 1, sizeof *t->cells);
    t->started = calloc(c->n_groups + 1, sizeof *t->started);
    t->ring = calloc(RING, sizeof *t->ring);
    if (!t->cells || !t->started || !t->ring)
        return gs_fail(err, GS_E_NOMEM, "no memory for a tally of %zu groups", c->n_groups);
    *out = gs_steal(&t);
    return 0;
}

void tally_free(struct tally *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t->cells);
    free(t->started);
    free(t->ring);
    free(t);
}

size_t tally_parts(const struct tally *t)
{
    return t->n_parts;
}

const char *tally_part(const struct tally *t, size_t i)
{
    return t->parts[i];
}

static size_t part_at(const struct tally *t, const char *name)
{
    for (size_t i = 0; name && i < t->n_parts; i++)
        if (strcmp(t->parts[i], name) == 0)
            return i;
    return SIZE_MAX;
}

/* What stands behind something that is no relation: the relation of the bundle. */
static const char *behind(const char *part)
{
    return strcmp(part, "attributes") == 0    ? "self"
           : strcmp(part, "member-list") == 0 ? "members"
           : strcmp(part, "badge-list") == 0  ? "badges"
                                              : part;
}

uint64_t tally_records(const struct tally *t, size_t group, size_t part)
{
    const struct content_row *r = content_row(t->c, group, behind(t->parts[part]));
    if (strcmp(t->parts[part], "subgroups") == 0) {
        uint64_t n = 0;
        for (size_t i = 0; i < t->c->n_groups; i++)
            n += t->c->groups[i].parent_id == t->c->groups[group].id;
        return n;
    }
    return r ? r->records : 0;
}

bool tally_matters(const struct tally *t, size_t group, size_t part)
{
    static const char *const ignored[] = {"members", "badges", "user_contributions", "projects", "wiki"};
    for (size_t i = 0; i < GS_COUNT(ignored); i++)
        if (strcmp(t->parts[part], ignored[i]) == 0)
            return false;
    return tally_records(t, group, part) > 0 && (part >= t->n_relations || relation_find(t->parts[part]) || strcmp(t->parts[part], "uploads") == 0);
}

static struct tally_cell *cell(struct tally *t, size_t group, const char *part)
{
    size_t p = part_at(t, part);
    return group < t->c->n_groups && p != SIZE_MAX ? &t->cells[group * t->n_parts + p] : NULL;
}

void tally_add(struct tally *t, const struct tally_event *e)
{
    pthread_mutex_lock(&t->lock);
    struct tally_cell *c = cell(t, e->group, e->part);
    t->total.requests++;
    t->total.bytes += e->bytes;
    t->total.refused += e->what == TALLY_REFUSED;
    t->total.unknown += e->what == TALLY_UNKNOWN;
    t->total.slowed += e->what == TALLY_SLOWED;
    t->total.failed += e->what == TALLY_FAILED;
    if (e->what == TALLY_STARTED && e->group < t->c->n_groups)
        t->started[e->group] = true;
    if (c) {
        c->asked += e->what == TALLY_ASKED || e->what == TALLY_ANSWERED;
        c->downloads += e->what == TALLY_DOWNLOAD;
        c->cut += e->what == TALLY_CUT || e->what == TALLY_FAILED;
        c->bytes += e->bytes;
    }
    if (t->count == RING) {
        t->dropped++;
    } else {
        struct tally_event *to = &t->ring[(t->head + t->count++) % RING];
        *to = *e;
        to->unix_ms = gs_unix_ms();
    }
    pthread_mutex_unlock(&t->lock);
}

void tally_active(struct tally *t, size_t group, const char *part, int by)
{
    pthread_mutex_lock(&t->lock);
    struct tally_cell *c = cell(t, group, part);
    t->total.active += (unsigned)by;
    if (c)
        c->active += (unsigned)by;
    pthread_mutex_unlock(&t->lock);
}

void tally_cell(struct tally *t, size_t group, size_t part, struct tally_cell *out)
{
    pthread_mutex_lock(&t->lock);
    *out = t->cells[group * t->n_parts + part];
    pthread_mutex_unlock(&t->lock);
}

bool tally_group_started(struct tally *t, size_t group)
{
    pthread_mutex_lock(&t->lock);
    bool r = t->started[group];
    pthread_mutex_unlock(&t->lock);
    return r;
}

bool tally_next(struct tally *t, struct tally_event *out)
{
    pthread_mutex_lock(&t->lock);
    bool any = t->count > 0;
    if (any) {
        *out = t->ring[t->head];
        t->head = (t->head + 1) % RING;
        t->count--;
    }
    pthread_mutex_unlock(&t->lock);
    return any;
}

uint64_t tally_dropped(struct tally *t)
{
    pthread_mutex_lock(&t->lock);
    uint64_t n = t->dropped;
    pthread_mutex_unlock(&t->lock);
    return n;
}

void tally_total(struct tally *t, struct tally_total *out)
{
    pthread_mutex_lock(&t->lock);
    *out = t->total;
    pthread_mutex_unlock(&t->lock);
}
