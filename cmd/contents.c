#include "cmd/contents.h"

#include "cmd/cli.h"
#include "libcommon/cleanup.h"

#include <stdlib.h>
#include <string.h>

static int by_place(const void *a, const void *b)
{
    const struct contents_row *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return strcmp(x->relation, y->relation);
}

struct id_entry {
    int64_t id;
    const struct bundle_group *group;
};

static int by_id(const void *a, const void *b)
{
    const struct id_entry *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static struct id_entry *id_table(const struct bundle_group *groups, size_t n)
{
    struct id_entry *t = calloc(n + 1, sizeof *t);
    for (size_t i = 0; t && i < n; i++)
        t[i] = (struct id_entry){groups[i].id, &groups[i]};
    if (t)
        qsort(t, n, sizeof *t, by_id);
    return t;
}

int contents_load(const struct bundle *b, struct contents *out, struct gs_err *err)
{
    const struct bundle_member *m;
    const struct bundle_group *groups;
    size_t n = bundle_members(b, &m), n_groups = bundle_groups(b, &groups), used = 0;
    gs_autofree struct id_entry *ids = id_table(groups, n_groups);
    *out = (struct contents){.rows = calloc(n + 1, sizeof *out->rows)};
    if (!ids || !out->rows)
        return gs_fail(err, GS_E_NOMEM, "no memory for a list of %zu members", n);
    for (size_t i = 0; i < n; i++) {
        if (m[i].is_file) {
            out->files++;
            out->file_bytes += m[i].stored;
            continue;
        }
        const struct id_entry key = {.id = m[i].group_id};
        const struct id_entry *g = bsearch(&key, ids, n_groups, sizeof *ids, by_id);
        if (!g || !m[i].relation)
            continue; /* index, users and ledger belong to no group */
        out->rows[used++] = (struct contents_row){g->group, m[i].relation, 1, m[i].records, m[i].raw, m[i].stored};
        out->records += m[i].records;
        out->raw += m[i].raw;
        out->stored += m[i].stored;
    }
    qsort(out->rows, used, sizeof *out->rows, by_place);
    /* parts of one relation become one row */
    for (size_t i = 0; i < used; i++) {
        struct contents_row *last = out->n_rows ? &out->rows[out->n_rows - 1] : NULL;
        if (last && by_place(last, &out->rows[i]) == 0) {
            last->parts++;
            last->records += out->rows[i].records;
            last->raw += out->rows[i].raw;
            last->stored += out->rows[i].stored;
        } else {
            out->rows[out->n_rows++] = out->rows[i];
        }
    }
    return 0;
}

void contents_release(struct contents *c)
{
    free(c->rows);
    *c = (struct contents){0};
}

const struct contents_row *contents_of(const struct contents *c, const struct bundle_group *g, size_t *out_n)
{
    size_t lo = 0, hi = c->n_rows;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->rows[mid].group < g)
            lo = mid + 1;
        else
            hi = mid;
    }
    size_t n = 0;
    while (lo + n < c->n_rows && c->rows[lo + n].group == g)
        n++;
    *out_n = n;
    return c->rows + lo;
}

const struct bundle_group *contents_group(const struct bundle *b, const char *path_or_id, size_t len)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(b, &g);
    for (size_t i = 0; i < n; i++)
        if (strlen(g[i].full_path) == len && memcmp(g[i].full_path, path_or_id, len) == 0)
            return &g[i];
    char id[24];
    for (size_t i = 0; i < n; i++) {
        int k = snprintf(id, sizeof id, "%lld", (long long)g[i].id);
        if ((size_t)k == len && memcmp(id, path_or_id, len) == 0)
            return &g[i];
    }
    return NULL;
}

void contents_hex(const uint8_t *data, size_t len, char *out)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digit[data[i] >> 4];
        out[2 * i + 1] = digit[data[i] & 15];
    }
    out[2 * len] = 0;
}

void contents_json_signature(struct gs_jw *w, const struct bundle_signature *s)
{
    char id[SIGN_KEYID_HEX];
    bool ok = s->result == GS_OK;
    sign_keyid_hex(s->info.id, id);
    gs_jw_obj(w);
    gs_jw_kstr(w, "member", cli_valid(s->member));
    gs_jw_kstr(w, "key_id", id);
    gs_jw_kbool(w, "verified", ok);
    gs_jw_kstr(w, "result", ok ? "ok" : gs_code_name(s->result));
    gs_jw_kstr(w, "key", ok && s->info.key ? cli_valid(s->info.key->name) : NULL);
    /* of a signature that does not hold, the comment is anybody's words */
    gs_jw_kstr(w, ok ? "trusted_comment" : "unproven_comment", cli_valid(s->info.trusted_comment));
    gs_jw_end(w);
}

/* minisign parts the fields of its comments by tabs. */
static void comment_text(const char *comment, char *out, size_t cap)
{
    size_t n = 0;
    for (; *comment && n + 3 < cap; comment++) {
        if (*comment == '\t') {
            out[n++] = ',';
            out[n++] = ' ';
        } else {
            out[n++] = *comment;
        }
    }
    out[n] = 0;
}

void contents_print_signer(struct cli *cli, const struct bundle_signature *s)
{
    char id[SIGN_KEYID_HEX], comment[2 * sizeof s->info.trusted_comment];
    sign_keyid_hex(s->info.id, id);
    comment_text(s->info.trusted_comment, comment, sizeof comment);
    cli_out(cli, "signed by   key %s%s%s\n            \"%s\"\n", id, s->info.key ? ", " : "",
            s->info.key ? cli_safe(s->info.key->name) : "", cli_safe(comment));
}
