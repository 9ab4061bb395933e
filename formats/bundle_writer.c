/* The writer's life, and what the caller tells it besides records. */
#include "bundle_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define SPOOL "spool"
#define BOOK_LINE_MAX ((size_t)1 << 30)
#define FILE_BLOCK ((size_t)1 << 20)
#define LEDGER_MEMORY ((size_t)1 << 20)

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
    w->block = ZSTD_compressBound(BUNDLE_FRAME_RAW_MAX) + 1;
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->ledger_lock, NULL);
    sorter_init(&w->ledger, w, LEDGER_MEMORY);
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
    while (w->raw_blocks.n > 0)
        free(w->raw_blocks.block[--w->raw_blocks.n]);
    while (w->out_blocks.n > 0)
        free(w->out_blocks.block[--w->out_blocks.n]);
    for (size_t i = 0; i < w->n_members; i++)
        staged_release(&w->members[i]);
    for (size_t i = 0; i < w->n_groups; i++)
        free(w->groups[i].full_path);
    for (size_t i = 0; i < w->cap_users; i++)
        free(w->users[i].json);
    free(w->cctx);
    free(w->members);
    free(w->groups);
    free(w->users);
    sorter_release(&w->ledger);
    free(w->dir);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->ledger_lock);
    pthread_cond_destroy(&w->freed);
    free(w);
}

/* ---- what the caller tells ---- */

static int file_begin(const char *kind, const char *name, int64_t group_id, struct staged *s, struct gs_err *err)
{
    struct bundle_name n;
    *s = (struct staged){.group_id = group_id, .is_file = true};
    s->path = gs_asprintf("groups/%lld/%s/%s", (long long)group_id, kind, name);
    if (!s->path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (!bundle_name_parse(s->path, strlen(s->path), &n) || !n.is_file)
        return gs_fail(err, GS_E_MEMBER_NAME, "a bundle cannot hold a file named '%.200s'", name);
    s->relation = strdup(n.relation);
    return s->relation ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a file");
}

static int file_piece(struct bundle_writer *w, struct staged *s, const void *data, size_t len, struct gs_err *err)
{
    uint64_t off;
    if (gs_array_grow((void **)&s->frames, &s->cap_frames, s->n_frames, sizeof *s->frames, err) || spool_write(w, data, len, &off, err))
        return -1;
    s->frames[s->n_frames++] = (struct staged_frame){.spool_off = off, .stored = (uint32_t)len};
    s->raw += len;
    s->stored += len;
    return 0;
}

int bundle_writer_file(struct bundle_writer *w, int64_t group_id, const char *kind, const char *name, const void *data,
                       size_t len, struct gs_err *err)
{
    struct staged s;
    int r = file_begin(kind, name, group_id, &s, err);
    if (r == 0 && len > BUNDLE_FILE_MAX)
        r = gs_fail(err, GS_E_LIMIT, "file '%.200s' of %zu bytes, limit 1 GiB", name, len);
    if (r == 0)
        r = file_piece(w, &s, data, len, err);
    if (r == 0) {
        bundle_hash(data, len, s.digest);
        r = writer_take_member(w, &s, err);
    }
    staged_release(&s);
    return r;
}

static int file_stream(struct bundle_writer *w, struct staged *s, const struct bundle_stream *in, struct gs_err *err)
{
    gs_autofree char *block = malloc(FILE_BLOCK);
    crypto_generichash_state hash;
    int r = block ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a file");
    crypto_generichash_init(&hash, NULL, 0, BUNDLE_DIGEST_LEN);
    for (size_t n = 1; r == 0 && n > 0;) {
        r = in->read(in->cookie, block, FILE_BLOCK, &n, err);
        if (r == 0 && s->raw + n > BUNDLE_FILE_MAX)
            r = gs_fail(err, GS_E_LIMIT, "file '%.200s' is larger than 1 GiB", s->path);
        if (r == 0 && n > 0) {
            crypto_generichash_update(&hash, (const unsigned char *)block, n);
            r = file_piece(w, s, block, n, err);
        }
    }
    if (r == 0)
        crypto_generichash_final(&hash, s->digest, BUNDLE_DIGEST_LEN);
    return r;
}

int bundle_writer_stream(struct bundle_writer *w, int64_t group_id, const char *kind, const char *name,
                         const struct bundle_stream *in, struct gs_err *err)
{
    struct staged s;
    int r = file_begin(kind, name, group_id, &s, err);
    if (r == 0)
        r = file_stream(w, &s, in, err);
    if (r == 0)
        r = writer_take_member(w, &s, err);
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
    int r = gs_array_grow((void **)&w->groups, &w->cap_groups, w->n_groups, sizeof *w->groups, err);
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

/* How much a value tells: nothing, that nobody knows, that there is none, what it is. */
static int told(yyjson_val *v)
{
    return !v ? 0 : yyjson_is_null(v) ? 1 : yyjson_equals_str(v, "") ? 2 : 3;
}

/* Which of two values of one field is kept: the one that tells more; of two equals always the same, whatever came first. */
static int better(yyjson_val *a, yyjson_val *b, yyjson_val **out, struct gs_err *err)
{
    if (told(a) != told(b) || told(a) < 3) {
        *out = told(b) > told(a) ? b : a;
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

/*
 * A line under the key by which lines are sorted, as bytes that compare like it: group (8 bytes, highest first, the
 * sign turned), relation, NUL, entry, NUL, the line.
 */
static int put_ledger_key(yyjson_val *root, int64_t group, struct gs_buf *out, struct gs_err *err)
{
    yyjson_val *texts[] = {yyjson_obj_get(root, "relation"), yyjson_obj_get(root, "entry")};
    char be[8];
    uint64_t g = (uint64_t)group ^ (uint64_t)1 << 63;
    for (int i = 7; i >= 0; i--, g >>= 8)
        be[i] = (char)(g & 255);
    if (gs_buf_add(out, be, sizeof be, err))
        return -1;
    for (int i = 0; i < 2; i++) {
        const char *s = yyjson_get_str(texts[i]);
        if (gs_buf_add(out, s ? s : "", s ? strlen(s) + 1 : 1, err))
            return -1;
    }
    return 0;
}

int bundle_writer_ledger(struct bundle_writer *w, const char *json, size_t len, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf text, line;
    int64_t group = 0;
    gs_buf_init(&text, BOOK_LINE_MAX);
    gs_buf_init(&line, BOOK_LINE_MAX);
    if (canonical_object(json, len, "a ledger line", &doc, &text, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!gs_json_str(root, "entry"))
        return gs_fail(err, GS_E_RECORD, "a ledger line has no 'entry'");
    GS_IGNORE(gs_json_i64(root, "group", &group), "0: of the whole bundle");
    if (put_ledger_key(root, group, &line, err) || gs_buf_add(&line, text.data, text.len, err))
        return -1;
    pthread_mutex_lock(&w->ledger_lock);
    int r = sorter_add(&w->ledger, line.data, line.len, err);
    pthread_mutex_unlock(&w->ledger_lock);
    return r;
}
