#include "libreplay/decisions.h"

#include "libcommon/csv_reader.h"
#include "libcommon/io.h"
#include "libreplay/decide.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_FILE ((size_t)1 << 30)

enum column { GROUP, RELATION, KEY, WHAT, DECISION, REASON, N_COLUMNS };
static const char *const column_names[N_COLUMNS] = {"group", "relation", "key", "what", "decision", "reason"};

void decisions_release(struct decisions *d)
{
    for (size_t i = 0; i < d->n_rename; i++)
        free(d->rename[i]);
    for (size_t i = 0; i < d->n_skip; i++) {
        free(d->skip[i].group);
        free(d->skip[i].relation);
        free(d->skip[i].key);
        free(d->skip[i].reason);
    }
    free(d->rename);
    free(d->skip);
    free(d->name);
    *d = (struct decisions){0};
}

static int fail(const struct decisions *d, unsigned line, struct gs_err *err, const char *what, const char *about)
{
    return gs_fail(err, GS_E_DECISIONS, "%s line %u: %s%s%s", d->name, line, what, about ? " " : "", about ? about : "");
}

static int read_header(struct csv_reader *r, const struct decisions *d, int place[N_COLUMNS], struct gs_err *err)
{
    for (int c = 0; c < N_COLUMNS; c++)
        place[c] = -1;
    if (csv_reader_next(r, err))
        return -1;
    for (unsigned i = 0; i < r->n; i++)
        for (int c = 0; c < N_COLUMNS; c++)
            if (strcasecmp(gs_buf_str(&r->field[i]), column_names[c]) == 0)
                place[c] = (int)i;
    for (int c = 0; c < N_COLUMNS; c++)
        if (place[c] < 0 && c != REASON)
            return fail(d, 1, err, "there is no column", column_names[c]);
    return 0;
}

/* A field as it was meant: 'plan --csv' puts an apostrophe in front of what a spreadsheet would take for a formula. */
static const char *field(const struct csv_reader *r, int at)
{
    const char *s = at >= 0 && (unsigned)at < r->n ? gs_buf_str(&r->field[at]) : "";
    return s[0] == '\'' && s[1] && strchr("=+-@\t\r", s[1]) ? s + 1 : s;
}

static int add_skip(struct decisions *d, const struct csv_reader *r, const int place[N_COLUMNS], struct gs_err *err)
{
    struct decision_skip *v = realloc(d->skip, (d->n_skip + 1) * sizeof *v);
    const char *reason = field(r, place[REASON]);
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    d->skip = v;
    v = &v[d->n_skip++];
    *v = (struct decision_skip){r->line, strdup(field(r, place[GROUP])), strdup(field(r, place[RELATION])), strdup(field(r, place[KEY])),
                                strdup(*reason ? reason : "decided in the plan")};
    return v->group && v->relation && v->key && v->reason ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
}

static int add_rename(struct decisions *d, const char *group, const char *to, struct gs_err *err)
{
    char **v = realloc(d->rename, (d->n_rename + 1) * sizeof *v);
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    d->rename = v;
    v[d->n_rename] = gs_asprintf("%s=%s", group, to);
    if (!v[d->n_rename])
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    d->n_rename++;
    return 0;
}

static int one_row(struct decisions *d, const struct csv_reader *r, const int place[N_COLUMNS], struct gs_err *err)
{
    const char *decision = field(r, place[DECISION]);
    while (*decision == ' ')
        decision++;
    if (!*decision)
        return 0;
    if (strcasecmp(decision, "skip") == 0)
        return add_skip(d, r, place, err);
    if (strncasecmp(decision, "rename ", 7) != 0)
        return fail(d, r->line, err, "a decision is 'skip' or 'rename NEW', and not", decision);
    if (strcmp(field(r, place[WHAT]), "groups") != 0)
        return fail(d, r->line, err, "only a group can be renamed", NULL);
    return add_rename(d, field(r, place[GROUP]), decision + 7, err);
}

static int parse(struct decisions *d, const struct gs_buf *text, struct gs_err *err)
{
    struct csv_reader r;
    int place[N_COLUMNS];
    csv_reader_init(&r, d->name, gs_buf_str(text), text->len, GS_E_DECISIONS);
    int rc = read_header(&r, d, place, err);
    while (!rc) {
        rc = csv_reader_next(&r, err);
        if (rc || r.n == 0)
            break;
        rc = one_row(d, &r, place, err);
    }
    csv_reader_release(&r);
    return rc;
}

int decisions_load(const char *path, struct decisions *out, struct gs_err *err)
{
    gs_autobuf text;
    *out = (struct decisions){0};
    gs_buf_init(&text, MAX_FILE);
    out->name = strdup(path);
    if (!out->name)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (gs_read_file(path, MAX_FILE, &text, err))
        return gs_wrap(err, "decisions");
    uint8_t h[32];
    crypto_generichash(h, sizeof h, (const unsigned char *)gs_buf_str(&text), text.len, NULL, 0);
    sodium_bin2hex(out->digest, sizeof out->digest, h, sizeof h);
    return parse(out, &text, err);
}

int decisions_check(struct state *s, const struct decisions *d, struct gs_err *err)
{
    gs_autofree char *have = NULL;
    if (!d->name)
        return 0;
    if (state_meta_get(s, "decisions", &have, err))
        return -1;
    if (have && strcmp(have, d->digest) == 0)
        return 0;
    return gs_fail(err, GS_E_STATE_OPTIONS, "state file '%s' was planned with other decisions than those of '%s'", state_path(s), d->name);
}

static int skip_all(struct state *s, const struct decisions *d, const char *user, struct gs_err *err)
{
    for (size_t i = 0; i < d->n_skip; i++) {
        const struct decision_skip *k = &d->skip[i];
        bool group = strcmp(k->relation, "self") == 0 || strcmp(k->relation, "groups") == 0;
        /* what stands on the making of a group follows it; its other steps are no records of their own */
        struct report_filter f = {.relation = k->relation, .group = k->group, .key = group ? NULL : k->key, .only = true};
        struct decide_result r;
        if (decide_skip(s, &f, k->reason, user, &r, err))
            return -1;
        if (r.chosen == 0 && r.follow == 0)
            return fail(d, k->line, err, "the plan has nothing of this kind to leave out in", k->group);
    }
    return 0;
}

int decisions_apply(struct state *s, const struct decisions *d, const char *user, struct gs_err *err)
{
    if (!d->name)
        return 0;
    if (state_begin(s, err))
        return -1;
    if (skip_all(s, d, user, err) || state_meta_set(s, "decisions", d->digest, err)) {
        state_rollback(s);
        return -1;
    }
    return state_commit(s, err);
}
