/* Frames to file: the books, SUMS, the manifest, the signatures, the tar. */
#include "bundle_writer.h"

#include "libcommon/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define SPOOL "spool"
#define BOOK_LINE_MAX ((size_t)1 << 30)
#define COPY_CHUNK ((size_t)1 << 20)

/* ---- life ---- */

static char *spool_path(const struct bundle_writer *w)
{
    return gs_asprintf("%s/" SPOOL, w->dir);
}

int bundle_writer_new(const char *dir, const struct bundle_writer_opts *o, struct bundle_writer **out,
                      struct gs_err *err)
{
    if (gs_secret_init(err) || gs_mkdir(dir, err))
        return -1;
    struct bundle_writer *w = calloc(1, sizeof *w);
    if (!w)
        return gs_fail(err, GS_E_NOMEM, "no memory for a bundle");
    w->spool = -1;
    if (o)
        w->o = *o;
    if (w->o.level <= 0)
        w->o.level = 3;
    if (w->o.level > 19)
        w->o.level = 19;
    if (w->o.part_raw_max == 0)
        w->o.part_raw_max = BUNDLE_PART_RAW_MAX;
    if (w->o.frame_raw_max == 0 || w->o.frame_raw_max > BUNDLE_FRAME_RAW_MAX)
        w->o.frame_raw_max = BUNDLE_FRAME_RAW_MAX;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->freed, NULL);
    w->dir = strdup(dir);
    gs_autofree char *path = w->dir ? spool_path(w) : NULL;
    int r = path ? gs_work_new(w->o.threads, 64, &w->work, err) : gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (r == 0) {
        w->tokens = gs_work_threads(w->work) + 1;
        w->spool = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (w->spool < 0)
            r = gs_fail_sys(err, GS_E_IO, errno, "creating '%s'", path);
    }
    if (r) {
        bundle_writer_free(w);
        return -1;
    }
    *out = w;
    return 0;
}

void bundle_writer_free(struct bundle_writer *w)
{
    if (!w)
        return;
    gs_work_free(w->work);
    if (w->spool >= 0)
        close(w->spool);
    if (w->dir) {
        struct gs_err ignored = {0};
        GS_IGNORE(gs_remove_tree(w->dir, &ignored), "what is left is only the staging folder");
    }
    for (size_t i = 0; i < w->n_cctx; i++)
        ZSTD_freeCCtx(w->cctx[i]);
    for (size_t i = 0; i < w->n_members; i++)
        staged_release(&w->members[i]);
    for (size_t i = 0; i < w->n_groups; i++)
        free(w->groups[i].full_path);
    for (size_t i = 0; i < w->cap_users; i++)
        free(w->users[i].json);
    for (size_t i = 0; i < w->n_ledger; i++) {
        free(w->ledger[i].relation);
        free(w->ledger[i].entry);
        free(w->ledger[i].text);
    }
    free(w->cctx);
    free(w->members);
    free(w->groups);
    free(w->users);
    free(w->ledger);
    free(w->dir);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->freed);
    free(w);
}

/* ---- what the caller tells ---- */

int bundle_writer_file(struct bundle_writer *w, int64_t group_id, const char *kind, const char *name, const void *data,
                       size_t len, struct gs_err *err)
{
    struct bundle_name n;
    struct staged s = {.group_id = group_id, .is_file = true, .raw = len, .stored = len};
    s.path = gs_asprintf("groups/%lld/%s/%s", (long long)group_id, kind, name);
    if (!s.path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    int r = 0;
    if (!bundle_name_parse(s.path, strlen(s.path), &n) || !n.is_file)
        r = gs_fail(err, GS_E_MEMBER_NAME, "a bundle cannot hold a file named '%.200s'", name);
    else if (len >= (uint64_t)1 << 30)
        r = gs_fail(err, GS_E_LIMIT, "file '%.200s' of %zu bytes, limit 1 GiB", name, len);
    if (r == 0) {
        bundle_hash(data, len, s.digest);
        s.relation = strdup(n.relation);
        s.frames = calloc(1, sizeof *s.frames);
        s.n_frames = s.cap_frames = 1;
        r = s.relation && s.frames ? spool_write(w, data, len, &s.frames[0].spool_off, err)
                                   : gs_fail(err, GS_E_NOMEM, "no memory for a file");
    }
    if (r == 0) {
        s.frames[0].stored = (uint32_t)len;
        r = writer_take_member(w, &s, err);
    }
    staged_release(&s);
    return r;
}

int bundle_writer_group(struct bundle_writer *w, int64_t id, int64_t parent_id, const char *full_path,
                        struct gs_err *err)
{
    if (id <= 0 || parent_id < 0 || !full_path[0])
        return gs_fail(err, GS_E_RECORD, "group %lld below %lld with path '%.200s'", (long long)id,
                       (long long)parent_id, full_path);
    char *path = strdup(full_path);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a group");
    pthread_mutex_lock(&w->lock);
    int r = grow_array((void **)&w->groups, &w->cap_groups, w->n_groups, sizeof *w->groups, err);
    if (r == 0)
        w->groups[w->n_groups++] = (struct writer_group){id, parent_id, path};
    else
        free(path);
    pthread_mutex_unlock(&w->lock);
    return r;
}

static struct writer_user *user_slot(struct writer_user *users, size_t cap, int64_t id)
{
    size_t i = ((uint64_t)id * 0x9e3779b97f4a7c15u) >> 20;
    for (i &= cap - 1; users[i].json && users[i].id != id; i = (i + 1) & (cap - 1))
        ;
    return &users[i];
}

static int users_grow(struct bundle_writer *w, struct gs_err *err)
{
    if (w->n_users * 2 < w->cap_users)
        return 0;
    size_t cap = w->cap_users ? w->cap_users * 2 : 64;
    struct writer_user *u = calloc(cap, sizeof *u);
    if (!u)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu users", cap);
    for (size_t i = 0; i < w->cap_users; i++)
        if (w->users[i].json)
            *user_slot(u, cap, w->users[i].id) = w->users[i];
    free(w->users);
    w->users = u;
    w->cap_users = cap;
    return 0;
}

/* Which of two values of one field is kept: the known one; of two known ones always the same, whatever came first. */
static int better(yyjson_val *a, yyjson_val *b, yyjson_val **out, struct gs_err *err)
{
    bool no_a = !a || yyjson_is_null(a) || yyjson_equals_str(a, ""),
         no_b = !b || yyjson_is_null(b) || yyjson_equals_str(b, "");
    if (no_a || no_b) {
        *out = no_a && (!no_b || !a) ? b : a;
        return 0;
    }
    gs_autobuf x, y;
    gs_buf_init(&x, BOOK_LINE_MAX);
    gs_buf_init(&y, BOOK_LINE_MAX);
    if (gs_json_canonical(a, &x, err) || gs_json_canonical(b, &y, err))
        return -1;
    *out = strcmp(gs_buf_str(&x), gs_buf_str(&y)) >= 0 ? a : b;
    return 0;
}

static int merge_users(const char *old, yyjson_val *add, struct gs_buf *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL, merged = NULL;
    gs_autobuf text;
    gs_buf_init(&text, BOOK_LINE_MAX);
    if (gs_json_parse(old, strlen(old), NULL, &doc, err))
        return -1;
    yyjson_val *have = yyjson_doc_get_root(doc), *k, *v, *best;
    size_t i, max;
    struct gs_jw w;
    gs_jw_init(&w, &text, 0, err);
    gs_jw_obj(&w);
    yyjson_obj_foreach(have, i, max, k, v)
    {
        if (better(v, yyjson_obj_getn(add, yyjson_get_str(k), yyjson_get_len(k)), &best, err))
            return -1;
        gs_jw_key(&w, yyjson_get_str(k));
        gs_jw_val(&w, best);
    }
    yyjson_obj_foreach(add, i, max, k, v) if (!yyjson_obj_getn(have, yyjson_get_str(k), yyjson_get_len(k)))
    {
        gs_jw_key(&w, yyjson_get_str(k));
        gs_jw_val(&w, v);
    }
    gs_jw_end(&w);
    if (gs_jw_finish(&w) || gs_json_parse(gs_buf_str(&text), text.len, NULL, &merged, err))
        return -1;
    return gs_json_canonical(yyjson_doc_get_root(merged), out, err);
}

static int put_user(struct bundle_writer *w, int64_t id, yyjson_val *user, struct gs_buf *text, struct gs_err *err)
{
    if (users_grow(w, err))
        return -1;
    struct writer_user *u = user_slot(w->users, w->cap_users, id);
    if (u->json && strcmp(u->json, gs_buf_str(text)) == 0)
        return 0;
    if (u->json) {
        gs_buf_reset(text);
        if (merge_users(u->json, user, text, err))
            return -1;
        free(u->json);
        w->n_users--;
    }
    *u = (struct writer_user){id, gs_buf_steal(text, NULL)};
    if (!u->json)
        return gs_fail(err, GS_E_NOMEM, "no memory for a user");
    w->n_users++;
    return 0;
}

/* One object as canonical text; the caller frees *out_doc. */
static int canonical_object(const char *json, size_t len, const char *what, yyjson_doc **out_doc, struct gs_buf *text,
                            struct gs_err *err)
{
    if (gs_json_parse(json, len, NULL, out_doc, err))
        return gs_wrap(err, "%s", what);
    yyjson_val *root = yyjson_doc_get_root(*out_doc);
    if (!yyjson_is_obj(root))
        return gs_fail(err, GS_E_RECORD, "%s is no JSON object", what);
    return gs_json_canonical(root, text, err);
}

int bundle_writer_user(struct bundle_writer *w, const char *json, size_t len, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf text;
    int64_t id;
    gs_buf_init(&text, BOOK_LINE_MAX);
    if (canonical_object(json, len, "a user", &doc, &text, err) ||
        gs_json_need_i64(yyjson_doc_get_root(doc), "id", &id, err))
        return -1;
    pthread_mutex_lock(&w->lock);
    int r = put_user(w, id, yyjson_doc_get_root(doc), &text, err);
    pthread_mutex_unlock(&w->lock);
    return r;
}

int bundle_writer_ledger(struct bundle_writer *w, const char *json, size_t len, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf text;
    gs_buf_init(&text, BOOK_LINE_MAX);
    if (canonical_object(json, len, "a ledger line", &doc, &text, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *relation = gs_json_str(root, "relation"), *entry = gs_json_str(root, "entry");
    struct ledger_line l = {0};
    if (!entry)
        return gs_fail(err, GS_E_RECORD, "a ledger line has no 'entry'");
    GS_IGNORE(gs_json_i64(root, "group", &l.group_id), "0: of the whole bundle");
    l.relation = strdup(relation ? relation : "");
    l.entry = strdup(entry);
    l.text = gs_buf_steal(&text, NULL);
    int r = l.relation && l.entry && l.text ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a ledger line");
    if (r == 0) {
        pthread_mutex_lock(&w->lock);
        r = grow_array((void **)&w->ledger, &w->cap_ledger, w->n_ledger, sizeof *w->ledger, err);
        if (r == 0)
            w->ledger[w->n_ledger++] = l;
        pthread_mutex_unlock(&w->lock);
    }
    if (r) {
        free(l.relation);
        free(l.entry);
        free(l.text);
    }
    return r;
}

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

static int ledger_cmp(const void *a, const void *b)
{
    const struct ledger_line *x = a, *y = b;
    if (x->group_id != y->group_id)
        return x->group_id < y->group_id ? -1 : 1;
    int r = strcmp(x->relation, y->relation);
    if (r == 0)
        r = strcmp(x->entry, y->entry);
    return r ? r : strcmp(x->text, y->text);
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

static int write_ledger(struct bundle_writer *w, struct bundle_part *p, struct gs_err *err)
{
    if (w->n_ledger)
        qsort(w->ledger, w->n_ledger, sizeof *w->ledger, ledger_cmp);
    for (size_t i = 0; i < w->n_ledger; i++)
        if (bundle_part_add(p, w->ledger[i].text, strlen(w->ledger[i].text), err))
            return -1;
    return 0;
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
static int make_sums(const struct bundle_writer *w, struct gs_buf *out, struct gs_err *err)
{
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    for (size_t i = 0; i < w->n_members; i++) {
        bundle_hex(w->members[i].digest, hex);
        if (gs_buf_addf(out, err, "%s  %s\n", hex, w->members[i].path))
            return -1;
    }
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
            if (grow_array((void **)&list, &cap, n, sizeof *list, err))
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

static int make_manifest(const struct bundle_writer *w, const struct bundle_meta *m, const struct gs_buf *sums,
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

/* ---- the tar ---- */

static int put_header(int fd, const char *name, uint64_t size, const char *path, struct gs_err *err)
{
    gs_autobuf head;
    gs_buf_init(&head, 16 * TAR_BLOCK);
    return tar_make_header(name, size, &head, err) || gs_write_all(fd, head.data, head.len, path, err) ? -1 : 0;
}

static int put_padding(int fd, uint64_t size, const char *path, struct gs_err *err)
{
    static const char zero[TAR_BLOCK];
    return gs_write_all(fd, zero, (size_t)(tar_padded(size) - size), path, err);
}

static int put_member(int fd, const char *name, const void *data, size_t len, const char *path, struct gs_err *err)
{
    return put_header(fd, name, len, path, err) || gs_write_all(fd, data, len, path, err) ||
                   put_padding(fd, len, path, err)
               ? -1
               : 0;
}

/* Copies `len` bytes at `off` of `src` to where `fd` stands. */
static int copy_range(const struct gs_source *src, uint64_t off, uint64_t len, int fd, char *chunk, const char *path,
                      struct gs_err *err)
{
    while (len > 0) {
        size_t n = len < COPY_CHUNK ? (size_t)len : COPY_CHUNK;
        if (gs_source_read(src, off, chunk, n, err) || gs_write_all(fd, chunk, n, path, err))
            return -1;
        off += n;
        len -= n;
    }
    return 0;
}

static int spool_read(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    const struct bundle_writer *w = cookie;
    for (;;) {
        ssize_t n = pread(w->spool, buf, len, (off_t)off);
        if (n >= 0) {
            *out_n = (size_t)n;
            return 0;
        }
        if (errno != EINTR)
            return gs_fail_sys(err, GS_E_IO, errno, "reading from '%s'", w->dir);
    }
}

static int put_staged(struct bundle_writer *w, const struct staged *m, int fd, char *chunk, const char *path,
                      struct gs_err *err)
{
    struct gs_source spool = {.cookie = w, .size = w->spool_len, .read_at = spool_read};
    if (put_header(fd, m->path, m->stored, path, err))
        return -1;
    for (size_t i = 0; i < m->n_frames;) {
        uint64_t off = m->frames[i].spool_off, len = 0;
        for (; i < m->n_frames && m->frames[i].spool_off == off + len; i++)
            len += m->frames[i].stored;
        if (copy_range(&spool, off, len, fd, chunk, path, err))
            return -1;
    }
    return put_padding(fd, m->stored, path, err);
}

struct named_sig {
    char name[96];
    struct gs_buf text;
};

static int sig_cmp(const void *a, const void *b)
{
    return bundle_name_cmp(((const struct named_sig *)a)->name, ((const struct named_sig *)b)->name);
}

static int sign_manifest(const struct sign_seckey *key, bool first, const struct gs_buf *manifest, int64_t time_ms,
                         struct named_sig *out, struct gs_err *err)
{
    char time[GS_TIME_LEN], comment[128], hex[SIGN_KEYID_HEX];
    struct sign_pubkey pk;
    sign_seckey_public(key, &pk);
    sign_keyid_hex(pk.id, hex);
    gs_time_format(time_ms, time);
    snprintf(comment, sizeof comment, "file:" BUNDLE_MANIFEST "\ttime:%s\tschema:" BUNDLE_SCHEMA, time);
    if (first)
        snprintf(out->name, sizeof out->name, BUNDLE_MANIFEST ".minisig");
    else
        snprintf(out->name, sizeof out->name, BUNDLE_MANIFEST ".%s.minisig", hex);
    return sign_create(key, manifest->data, manifest->len, comment, &out->text, err);
}

static int put_all(struct bundle_writer *w, const struct gs_buf *manifest, struct named_sig *sigs, size_t n_sigs,
                   const struct gs_buf *sums, int fd, const char *path, struct gs_err *err)
{
    static const char zero[TAR_END_LEN];
    gs_autofree char *chunk = malloc(COPY_CHUNK);
    if (!chunk)
        return gs_fail(err, GS_E_NOMEM, "no memory to copy with");
    if (put_member(fd, BUNDLE_MANIFEST, manifest->data, manifest->len, path, err))
        return -1;
    for (size_t i = 0; i < n_sigs; i++)
        if (put_member(fd, sigs[i].name, sigs[i].text.data, sigs[i].text.len, path, err))
            return -1;
    if (put_member(fd, BUNDLE_SUMS, sums->data, sums->len, path, err))
        return -1;
    for (size_t i = 0; i < w->n_members; i++)
        if (put_staged(w, &w->members[i], fd, chunk, path, err))
            return -1;
    return gs_write_all(fd, zero, sizeof zero, path, err);
}

static int finish_books(struct bundle_writer *w, uint64_t *out_index_raw, struct gs_err *err)
{
    if (sort_groups(w, err) || write_book(w, BUNDLE_LEDGER, "ledger", write_ledger, err) ||
        write_book(w, BUNDLE_USERS, "users", write_users, err))
        return -1;
    if (sort_members(w, err) || write_book(w, BUNDLE_INDEX, "index", write_index, err) || sort_members(w, err))
        return -1;
    *out_index_raw = w->members[0].raw;
    return 0;
}

int bundle_writer_finish(struct bundle_writer *w, const struct bundle_meta *meta, const struct sign_seckey *const *keys,
                         size_t n_keys, const char *path, bool replace, struct gs_err *err)
{
    struct bundle_meta m = *meta;
    struct named_sig sigs[BUNDLE_MAX_SIGNATURES];
    gs_autobuf sums, manifest;
    uint64_t index_raw = 0;
    size_t n_sigs = 0;
    gs_buf_init(&sums, (size_t)1 << 30);
    gs_buf_init(&manifest, (size_t)16 << 20);
    if (m.created_at_ms == 0)
        m.created_at_ms = gs_unix_ms();
    if (n_keys > BUNDLE_MAX_SIGNATURES)
        return gs_fail(err, GS_E_USAGE, "more than %d keys to sign with", BUNDLE_MAX_SIGNATURES);
    gs_work_wait(w->work);
    struct gs_stage st;
    if (gs_stage_open(&st, path, 0644, replace, err)) /* before the work, so that a wrong name costs nothing */
        return -1;
    int r = finish_books(w, &index_raw, err) || make_sums(w, &sums, err) ||
            make_manifest(w, &m, &sums, index_raw, &manifest, err);
    for (; n_sigs < n_keys && r == 0; n_sigs++) {
        gs_buf_init(&sigs[n_sigs].text, 4096);
        r = sign_manifest(keys[n_sigs], n_sigs == 0, &manifest, m.created_at_ms, &sigs[n_sigs], err);
    }
    if (r == 0 && n_sigs > 1)
        qsort(sigs, n_sigs, sizeof *sigs, sig_cmp);
    for (size_t i = 1; i < n_sigs && r == 0; i++)
        if (strcmp(sigs[i].name, sigs[i - 1].name) == 0)
            r = gs_fail(err, GS_E_USAGE, "one key was named twice");
    if (r == 0)
        r = put_all(w, &manifest, sigs, n_sigs, &sums, st.fd, path, err);
    if (r == 0)
        r = gs_stage_commit(&st, err);
    gs_stage_release(&st);
    for (size_t i = 0; i < n_sigs; i++)
        gs_buf_release(&sigs[i].text);
    return r ? -1 : 0;
}

/* ---- one more signature ---- */

/* Where the new signature goes, and whether its name is free. */
static int find_place(const struct bundle *b, const struct named_sig *sig, uint64_t *out_off, struct gs_err *err)
{
    uint64_t pad_from = 0, off = 0;
    struct tar_head h;
    for (;;) {
        if (tar_read_header(&b->src, pad_from, off, &h, err))
            return -1;
        if (h.end || bundle_name_cmp(h.name, sig->name) > 0)
            break;
        if (strcmp(h.name, sig->name) == 0)
            return gs_fail(err, GS_E_EXISTS, "the bundle holds '%s' already", sig->name);
        pad_from = h.data_off + h.size;
        off = h.data_off + tar_padded(h.size);
    }
    *out_off = off;
    return 0;
}

static int add_signature(struct bundle *b, const char *path, const struct sign_seckey *key, struct gs_err *err)
{
    struct named_sig sig = {0};
    struct sign_pubkey pk;
    struct gs_stage st;
    uint64_t off = 0;
    char hex[SIGN_KEYID_HEX];
    gs_autofree char *chunk = malloc(COPY_CHUNK);
    if (!chunk)
        return gs_fail(err, GS_E_NOMEM, "no memory to copy with");
    sign_seckey_public(key, &pk);
    for (size_t i = 0; i < b->n_sigs; i++)
        if (memcmp(b->sigs[i].info.id, pk.id, sizeof pk.id) == 0) {
            sign_keyid_hex(pk.id, hex);
            return gs_fail(err, GS_E_EXISTS, "the bundle is signed with key %s already", hex);
        }
    gs_buf_init(&sig.text, 4096);
    if (sign_manifest(key, b->n_sigs == 0, &b->manifest_text, gs_unix_ms(), &sig, err) ||
        find_place(b, &sig, &off, err) || gs_stage_open(&st, path, 0644, true, err)) {
        gs_buf_release(&sig.text);
        return -1;
    }
    int r = copy_range(&b->src, 0, off, st.fd, chunk, path, err) ||
            put_member(st.fd, sig.name, sig.text.data, sig.text.len, path, err) ||
            copy_range(&b->src, off, b->src.size - off, st.fd, chunk, path, err) || gs_stage_commit(&st, err);
    gs_stage_release(&st);
    gs_buf_release(&sig.text);
    return r ? -1 : 0;
}

int bundle_add_signature(const char *path, const struct sign_seckey *key, struct gs_err *err)
{
    struct bundle_opts o = {.no_verify = true};
    GS_AUTO(bundle) b = NULL;
    if (bundle_open(path, &o, &b, err) || bundle_verify(b, false, NULL, err))
        return -1;
    return add_signature(b, path, key, err);
}
