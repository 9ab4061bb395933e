/* The books of a bundle in writing: index, ledger, users, SUMS and manifest. */
#include "bundle_writer.h"

#include "libcommon/clock.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define BOOK_LINE_MAX ((size_t)1 << 30)

/* ---- order ---- */

static int member_cmp(const void *a, const void *b)
{
    return bundle_name_cmp(((const struct staged *)a)->path, ((const struct staged *)b)->path);
}

/* By path, a group before what is below it: the order of a tree walk. */
static int group_cmp(const void *a, const void *b)
{
    const unsigned char *x = (const unsigned char *)((const struct writer_group *)a)->full_path;
    const unsigned char *y = (const unsigned char *)((const struct writer_group *)b)->full_path;
    while (*x && *x == *y)
        x++, y++;
    int cx = *x == '/' ? 1 : *x, cy = *y == '/' ? 1 : *y;
    return cx - cy;
}

static int group_id_cmp(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int user_cmp(const void *a, const void *b)
{
    const struct writer_user *const *x = a, *const *y = b;
    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

static int sort_groups(struct bundle_writer *w, struct gs_err *err)
{
    if (w->n_groups == 0)
        return gs_fail(err, GS_E_INTERNAL, "a bundle without any group");
    qsort(w->groups, w->n_groups, sizeof *w->groups, group_cmp);
    gs_autofree int64_t *ids = malloc(w->n_groups * sizeof *ids);
    if (!ids)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", w->n_groups);
    for (size_t i = 0; i < w->n_groups; i++)
        ids[i] = w->groups[i].id;
    qsort(ids, w->n_groups, sizeof *ids, group_id_cmp);
    for (size_t i = 0; i < w->n_groups; i++) {
        const struct writer_group *g = &w->groups[i];
        if (i && ids[i] == ids[i - 1])
            return gs_fail(err, GS_E_INTERNAL, "group %lld was named twice", (long long)ids[i]);
        if ((i == 0) != (g->parent_id == 0))
            return gs_fail(err, GS_E_INTERNAL, "group '%s' is %s", g->full_path, i ? "a second root" : "no root");
        if (g->parent_id && !bsearch(&g->parent_id, ids, w->n_groups, sizeof *ids, group_id_cmp))
            return gs_fail(err, GS_E_INTERNAL, "the parent of group '%s' is not in the bundle", g->full_path);
    }
    for (size_t i = 0; i < w->n_members; i++)
        if (!bsearch(&w->members[i].group_id, ids, w->n_groups, sizeof *ids, group_id_cmp))
            return gs_fail(err, GS_E_INTERNAL, "member '%s' belongs to no group of the bundle", w->members[i].path);
    return 0;
}

/* ---- books ---- */

static int sort_members(struct bundle_writer *w, struct gs_err *err)
{
    if (w->n_members)
        qsort(w->members, w->n_members, sizeof *w->members, member_cmp);
    for (size_t i = 1; i < w->n_members; i++)
        if (strcmp(w->members[i].path, w->members[i - 1].path) == 0)
            return gs_fail(err, GS_E_INTERNAL, "member '%s' was written twice", w->members[i].path);
    return 0;
}

static int write_ledger_line(void *part, const char *data, size_t len, struct gs_err *err)
{
    const char *p = data + 8;
    p += strlen(p) + 1; /* relation */
    p += strlen(p) + 1; /* entry */
    return bundle_part_add(part, p, len - (size_t)(p - data), err);
}

static int write_ledger(struct bundle_writer *w, struct bundle_part *p, struct gs_err *err)
{
    return sorter_each(&w->ledger, write_ledger_line, p, err);
}

static int write_users(struct bundle_writer *w, struct bundle_part *p, struct gs_err *err)
{
    gs_autofree const struct writer_user **list = malloc((w->n_users + 1) * sizeof *list);
    size_t n = 0;
    if (!list)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu users", w->n_users);
    for (size_t i = 0; i < w->cap_users; i++)
        if (w->users[i].json)
            list[n++] = &w->users[i];
    if (n)
        qsort(list, n, sizeof *list, user_cmp);
    for (size_t i = 0; i < n; i++)
        if (bundle_part_add(p, list[i]->json, strlen(list[i]->json), err))
            return -1;
    return 0;
}

/* 0 is not known, or none. */
static void kint(struct gs_jw *w, const char *key, int64_t v)
{
    gs_jw_key(w, key);
    if (v)
        gs_jw_i64(w, v);
    else
        gs_jw_null(w);
}

/* Keys in the order of their bytes, as canonical JSON has them. */
static int member_line(const struct staged *m, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    uint64_t off = 0;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "entry", m->is_file ? "file" : "member");
    if (!m->is_file) {
        gs_jw_key(&w, "frames");
        gs_jw_arr(&w);
        for (size_t i = 0; i < m->n_frames; i++) {
            const struct staged_frame *f = &m->frames[i];
            gs_jw_arr(&w);
            gs_jw_u64(&w, off);
            gs_jw_u64(&w, f->raw);
            gs_jw_u64(&w, f->stored);
            bundle_hex(f->digest, hex);
            gs_jw_str(&w, hex);
            gs_jw_end(&w);
            off += f->stored;
        }
        gs_jw_end(&w);
    }
    gs_jw_ki64(&w, "group", m->group_id);
    if (!m->is_file)
        gs_jw_ki64(&w, "part", m->part);
    gs_jw_kstr(&w, "path", m->path);
    if (!m->is_file) {
        gs_jw_ki64(&w, "raw", (int64_t)m->raw);
        gs_jw_ki64(&w, "records", (int64_t)m->records);
    }
    gs_jw_kstr(&w, "relation", m->relation);
    gs_jw_ki64(&w, "stored", (int64_t)m->stored);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int group_line(const struct writer_group *g, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "entry", "group");
    gs_jw_ki64(&w, "id", g->id);
    kint(&w, "parent", g->parent_id);
    gs_jw_kstr(&w, "path", g->full_path);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int write_index(struct bundle_writer *w, struct bundle_part *p, struct gs_err *err)
{
    gs_autobuf line;
    gs_buf_init(&line, BOOK_LINE_MAX);
    for (size_t i = 0; i < w->n_groups; i++) {
        gs_buf_reset(&line);
        if (group_line(&w->groups[i], &line, err) || bundle_part_add(p, gs_buf_str(&line), line.len, err))
            return -1;
    }
    for (size_t i = 0; i < w->n_members; i++) {
        gs_buf_reset(&line);
        if (member_line(&w->members[i], &line, err) || bundle_part_add(p, gs_buf_str(&line), line.len, err))
            return -1;
    }
    return 0;
}

static int write_book(struct bundle_writer *w, const char *path, const char *relation,
                      int (*fill)(struct bundle_writer *, struct bundle_part *, struct gs_err *), struct gs_err *err)
{
    struct bundle_part *p;
    if (part_open_book(w, path, relation, &p, err))
        return -1;
    if (fill(w, p, err)) {
        bundle_part_abandon(p);
        return -1;
    }
    return bundle_part_close(p, err);
}

/* SUMS, which covers everything that follows it. */
int books_sums(const struct bundle_writer *w, struct gs_buf *out, struct gs_err *err)
{
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    for (size_t i = 0; i < w->n_members; i++) {
        bundle_hex(w->members[i].digest, hex);
        if (gs_buf_addf(out, err, "%s  %s\n", hex, w->members[i].path))
            return -1;
    }
    return 0;
}

int books_write(struct bundle_writer *w, uint64_t *out_index_raw, struct gs_err *err)
{
    if (sort_groups(w, err) || write_book(w, BUNDLE_LEDGER, "ledger", write_ledger, err) ||
        write_book(w, BUNDLE_USERS, "users", write_users, err))
        return -1;
    if (sort_members(w, err) || write_book(w, BUNDLE_INDEX, "index", write_index, err) || sort_members(w, err))
        return -1;
    *out_index_raw = w->members[0].raw;
    return 0;
}

/* ---- manifest ---- */

static void ktime(struct gs_jw *w, const char *key, int64_t ms)
{
    char t[GS_TIME_LEN];
    gs_time_format(ms, t);
    gs_jw_kstr(w, key, ms ? t : NULL);
}

struct count {
    const char *relation;
    uint64_t records;
};

/* Records per relation over all groups. There are few relations, so that a list serves. */
static int put_counts(const struct bundle_writer *w, struct gs_jw *j, struct gs_err *err)
{
    gs_autofree struct count *list = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < w->n_members; i++) {
        const struct staged *m = &w->members[i];
        size_t k = 0;
        if (m->group_id == 0 || m->is_file)
            continue;
        while (k < n && strcmp(list[k].relation, m->relation) != 0)
            k++;
        if (k == n) {
            if (gs_array_grow((void **)&list, &cap, n, sizeof *list, err))
                return -1;
            list[n++] = (struct count){.relation = m->relation};
        }
        list[k].records += m->records;
    }
    gs_jw_key(j, "counts");
    gs_jw_obj(j);
    for (size_t k = 0; k < n; k++)
        gs_jw_ki64(j, list[k].relation, (int64_t)list[k].records);
    gs_jw_end(j);
    return 0;
}

static int put_watermarks(const struct bundle_meta *m, struct gs_jw *j, struct gs_err *err)
{
    if (!m->watermarks_json)
        return 0;
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gs_json_parse(m->watermarks_json, strlen(m->watermarks_json), NULL, &doc, err))
        return gs_wrap(err, "watermarks");
    gs_jw_key(j, "watermarks");
    gs_jw_val(j, yyjson_doc_get_root(doc));
    return 0;
}

int books_manifest(const struct bundle_writer *w, const struct bundle_meta *m, const struct gs_buf *sums,
                   uint64_t index_raw, struct gs_buf *out, struct gs_err *err)
{
    char id[33], hex[2 * BUNDLE_DIGEST_LEN + 1];
    uint8_t digest[BUNDLE_DIGEST_LEN], rnd[16];
    struct gs_jw j;
    randombytes_buf(rnd, sizeof rnd);
    sodium_bin2hex(id, sizeof id, rnd, sizeof rnd);
    if (m->set_id && (strlen(m->set_id) != 32 || !bundle_unhex(m->set_id, 32, rnd, sizeof rnd)))
        return gs_fail(err, GS_E_USAGE, "a set id is 32 hex digits");
    bundle_hash(sums->data, sums->len, digest);
    bundle_hex(digest, hex);
    gs_autobuf text;
    gs_buf_init(&text, (size_t)16 << 20);
    gs_jw_init(&j, &text, 0, err);
    gs_jw_obj(&j);
    gs_jw_kstr(&j, "schema", BUNDLE_SCHEMA);
    gs_jw_key(&j, "requires");
    gs_jw_arr(&j);
    gs_jw_end(&j);
    gs_jw_key(&j, "optional");
    gs_jw_arr(&j);
    gs_jw_end(&j);
    gs_jw_kstr(&j, "set_id", m->set_id ? m->set_id : id);
    gs_jw_ki64(&j, "serial", m->serial ? (int64_t)m->serial : m->created_at_ms / 1000);
    ktime(&j, "created_at", m->created_at_ms);
    gs_jw_key(&j, "tool");
    gs_jw_obj(&j);
    gs_jw_kstr(&j, "name", "groupsnap");
    gs_jw_kstr(&j, "version", GS_VERSION);
    gs_jw_end(&j);
    gs_jw_key(&j, "source");
    gs_jw_obj(&j);
    gs_jw_kstr(&j, "url", m->source_url);
    gs_jw_kstr(&j, "host", m->source_host);
    gs_jw_kstr(&j, "tls_sha256", m->tls_sha256);
    gs_jw_kstr(&j, "version", m->gitlab_version);
    gs_jw_kstr(&j, "revision", m->gitlab_revision);
    gs_jw_key(&j, "enterprise");
    if (m->enterprise < 0)
        gs_jw_null(&j);
    else
        gs_jw_bool(&j, m->enterprise != 0);
    gs_jw_kstr(&j, "user", m->token_user);
    gs_jw_kstr(&j, "role", m->token_role);
    if (m->clock_known) { /* known to a second: so does the source tell it */
        int64_t ms = m->clock_offset_ms;
        gs_jw_ki64(&j, "clock_offset_s", (ms < 0 ? ms - 500 : ms + 500) / 1000);
    }
    gs_jw_end(&j);
    gs_jw_key(&j, "capture");
    gs_jw_obj(&j);
    gs_jw_kstr(&j, "via", m->via);
    ktime(&j, "started_at", m->started_at_ms);
    ktime(&j, "finished_at", m->finished_at_ms);
    if (put_watermarks(m, &j, err))
        return -1;
    gs_jw_end(&j);
    gs_jw_key(&j, "root");
    gs_jw_obj(&j);
    gs_jw_kstr(&j, "path", m->root_path ? m->root_path : w->groups[0].full_path);
    kint(&j, "id", m->root_id ? m->root_id : w->groups[0].id);
    gs_jw_end(&j);
    if (m->redaction_json) {
        gs_jw_key(&j, "redaction");
        gs_jw_raw(&j, m->redaction_json, strlen(m->redaction_json));
    }
    gs_jw_kstr(&j, "encoding", record_encoding_name(w->o.encoding));
    if (put_counts(w, &j, err))
        return -1;
    gs_jw_ki64(&j, "groups", (int64_t)w->n_groups);
    gs_jw_key(&j, "index");
    gs_jw_obj(&j);
    gs_jw_ki64(&j, "raw", (int64_t)index_raw);
    gs_jw_end(&j);
    gs_jw_key(&j, "sums");
    gs_jw_obj(&j);
    gs_jw_kstr(&j, "blake2b256", hex);
    gs_jw_ki64(&j, "size", (int64_t)sums->len);
    gs_jw_end(&j);
    gs_jw_end(&j);
    GS_AUTO(yyjson_doc) doc = NULL;
    return gs_jw_finish(&j) || gs_json_parse(gs_buf_str(&text), text.len, NULL, &doc, err) ||
                   gs_json_canonical(yyjson_doc_get_root(doc), out, err) || gs_buf_addc(out, '\n', err)
               ? -1
               : 0;
}
