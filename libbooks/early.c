#include "libbooks/early.h"

#include "libcommon/work.h"

#include <stdlib.h>

struct early {
    struct state *state;
    struct bundle *bundle;
    bool loaded;
    struct known *known, *there; /* `there`: of the target's records, which need no state file */
    struct digests *a, *b;
    struct diff_hooks hooks_a, hooks_b;
    struct gs_work *work;
    volatile int stop;
    int r;
    struct gs_err err;
};

static void sum_up(void *arg)
{
    struct early *e = arg;
    e->r = known_open(e->state, e->bundle, NULL, e->loaded, &e->known, &e->err);
    e->hooks_a = (struct diff_hooks){.cookie = e->known, .reshape = known_reshape};
    if (!e->r)
        e->r = digests_add_bundle(e->a, e->bundle, &e->stop, &e->err);
}

int early_start(struct state *s, struct bundle *bundle, bool loaded, struct early **out, struct gs_err *err)
{
    GS_AUTO(early) e = calloc(1, sizeof *e);
    if (!e)
        return gs_fail(err, GS_E_NOMEM, "no memory for a comparison");
    e->state = s;
    e->bundle = bundle;
    e->loaded = loaded;
    if (known_nothing(&e->there, err))
        return -1;
    e->hooks_b = (struct diff_hooks){.cookie = e->there, .reshape = known_reshape};
    if (digests_new(&e->hooks_a, false, &e->a, err) || digests_new(&e->hooks_b, true, &e->b, err) || gs_work_new(1, 1, &e->work, err))
        return -1;
    gs_work_submit(e->work, sum_up, e);
    *out = gs_steal(&e);
    return 0;
}

void early_wait(struct early *e)
{
    gs_work_free(e->work);
    e->work = NULL;
}

void early_close(struct early *e)
{
    if (!e)
        return;
    e->stop = 1;
    early_wait(e);
    digests_free(e->a);
    digests_free(e->b);
    known_close(e->known);
    known_close(e->there);
    free(e);
}

int early_record(void *cookie, int64_t group, const char *relation, const char *json, size_t len, struct gs_err *err)
{
    return digests_add(((struct early *)cookie)->b, group, relation, json, len, err);
}

int early_end(struct early *e, struct known **out_known, struct gs_err *err)
{
    early_wait(e);
    if (e->r) {
        *err = e->err;
        return -1;
    }
    *out_known = e->known;
    e->known = NULL;
    return 0;
}

const struct digests *early_sums(const struct early *e, bool second)
{
    return second ? e->b : e->a;
}
