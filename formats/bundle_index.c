/* The index: groups, and for every member what is in it and where its frames lie. Nothing in it is believed that can be
 * checked. */
#include "bundle_priv.h"

#include <string.h>

struct reader {
    struct bundle *b;
    struct bundle_frame *own; /* the frames of the index itself; they are put behind all others in the end */
    size_t n_own, cap_own;
    size_t line;
    size_t next; /* the member that the next line must describe: 0 ledger, 1 users, then b->members */
    struct gs_err *err;
};

static int bad(struct reader *r, const char *what)
{
    return gs_fail(r->err, GS_E_INDEX, "line %zu of the index: %s", r->line, what);
}

static bool get_u64(yyjson_val *o, const char *key, uint64_t *out)
{
    int64_t v;
    if (!gs_json_i64(o, key, &v) || v < 0)
        return false;
    *out = (uint64_t)v;
    return true;
}

/* Text without NUL, or NULL. */
static const char *get_text(yyjson_val *o, const char *key)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    const char *s = yyjson_get_str(v);
    return s && strlen(s) == yyjson_get_len(v) ? s : NULL;
}

static int add_frame(struct bundle *b, const struct bundle_frame *f, struct gs_err *err)
{
    if (b->n_frames == b->cap_frames) {
        size_t cap = b->cap_frames ? b->cap_frames * 2 : 64;
        struct bundle_frame *p = realloc(b->frames, cap * sizeof *p);
        if (!p)
            return gs_fail(err, GS_E_NOMEM, "no memory for %zu frames", cap);
        b->frames = p;
        b->cap_frames = cap;
    }
    if (b->n_frames >= UINT32_MAX - 8)
        return gs_fail(err, GS_E_LIMIT, "more than 2^32 frames");
    b->frames[b->n_frames++] = *f;
    return 0;
}

/* ---- lines ---- */

static int read_group(struct reader *r, yyjson_val *o)
{
    struct bundle *b = r->b;
    struct bundle_group g = {0};
    yyjson_val *parent = yyjson_obj_get(o, "parent");
    const char *path = get_text(o, "path");
    if (!gs_json_i64(o, "id", &g.id) || g.id <= 0 || !path || !path[0])
        return bad(r, "a group without id or path");
    if (!parent || (!yyjson_is_null(parent) && (!gs_json_val_i64(parent, &g.parent_id) || g.parent_id <= 0)))
        return bad(r, "a group without a parent's id");
    if ((b->n_groups == 0) != (g.parent_id == 0))
        return bad(r, "the first group, and no other, is the root");
    if (r->next > 0)
        return bad(r, "a group behind a member");
    if (b->n_groups == b->cap_groups) {
        size_t cap = b->cap_groups ? b->cap_groups * 2 : 16;
        struct bundle_group *p = realloc(b->groups, cap * sizeof *p);
        if (!p)
            return gs_fail(r->err, GS_E_NOMEM, "no memory for %zu groups", cap);
        b->groups = p;
        b->cap_groups = cap;
    }
    b->groups[b->n_groups++] = g;
    return gs_buf_add(&b->texts, path, strlen(path) + 1, r->err);
}

static int read_frames(struct reader *r, yyjson_val *o, struct bundle_member *m, bool book)
{
    yyjson_val *list = yyjson_obj_get(o, "frames"), *e;
    size_t i, max;
    uint64_t off = 0, raw_off = 0, limit = (uint64_t)1 << r->b->lim.max_window_log;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0)
        return bad(r, "a member without frames");
    m->first_frame = (uint32_t)r->b->n_frames;
    m->n_frames = (uint32_t)yyjson_arr_size(list);
    yyjson_arr_foreach(list, i, max, e)
    {
        struct bundle_frame f = {.raw_off = raw_off, .off = off};
        int64_t n[3];
        for (size_t k = 0; k < 3; k++)
            if (!gs_json_val_i64(yyjson_arr_get(e, k), &n[k]) || n[k] < 0)
                return bad(r, "a frame without offset and sizes");
        yyjson_val *hex = yyjson_arr_get(e, 3);
        if (yyjson_arr_size(e) != 4 || !yyjson_is_str(hex) ||
            !bundle_unhex(yyjson_get_str(hex), yyjson_get_len(hex), f.digest, sizeof f.digest))
            return bad(r, "a frame without a digest");
        if ((uint64_t)n[0] != off)
            return bad(r, "a frame that does not follow the one before");
        if ((uint64_t)n[1] > limit)
            return gs_fail(r->err, GS_E_LIMIT,
                           "line %zu of the index: a frame of %lld bytes, limit %llu (max_window_log)", r->line,
                           (long long)n[1], (unsigned long long)limit);
        if ((n[1] == 0 && !(book && max == 1)) || n[2] == 0 || (uint64_t)n[2] > m->stored - off)
            return bad(r, "a frame that cannot be");
        f.raw = (uint32_t)n[1];
        f.stored = (uint32_t)n[2];
        if (add_frame(r->b, &f, r->err))
            return -1;
        off += f.stored;
        raw_off += f.raw;
    }
    if (off != m->stored || raw_off != m->raw)
        return bad(r, "frames that do not add up to their member");
    return 0;
}

/* What the name in the tar says already must be said again. */
static int check_name(struct reader *r, yyjson_val *o, const struct bundle_name *n, struct bundle_member *m)
{
    static const char *const book_names[] = {"ledger", "users"};
    const char *relation = get_text(o, "relation");
    bool book = n->kind != NAME_DATA;
    const char *want = book ? book_names[n->kind == NAME_USERS] : n->relation;
    int64_t group;
    uint64_t stored;
    if (!gs_json_i64(o, "group", &group) || group != n->group_id || !relation || strcmp(relation, want) != 0)
        return bad(r, "group or relation is not that of the member's name");
    if (!get_u64(o, "stored", &stored) || stored != m->stored)
        return bad(r, "a stored size that is not that of the member");
    m->group_id = group;
    /* keeps the text: it stands in the member's own path, but without a NUL there */
    m->relation = (const char *)(uintptr_t)(r->b->texts.len + 1);
    return gs_buf_add(&r->b->texts, want, strlen(want) + 1, r->err);
}

static int read_records(struct reader *r, yyjson_val *o, const struct bundle_name *n, struct bundle_member *m)
{
    struct bundle *b = r->b;
    bool book = n->kind != NAME_DATA;
    uint64_t part, max_raw = book ? b->lim.max_ledger_raw : b->lim.max_member_raw;
    if (!get_u64(o, "part", &part) || part != n->part)
        return bad(r, "a part that is not that of the member's name");
    if (!book && n->encoding != b->encoding)
        return bad(r, "a member in another encoding than the manifest says");
    if (!get_u64(o, "records", &m->records) || !get_u64(o, "raw", &m->raw))
        return bad(r, "a member without counts");
    if (m->raw > max_raw)
        return gs_fail(r->err, GS_E_LIMIT, "'%s' has %llu bytes, limit %llu (%s)", m->path, (unsigned long long)m->raw,
                       (unsigned long long)max_raw, book ? "max_ledger_raw" : "max_member_raw");
    if ((m->records == 0 && !book) || m->records > m->raw || (m->raw > 0) != (m->records > 0))
        return bad(r, "counts that cannot be");
    m->part = n->part;
    if (!book)
        b->data_records += m->records;
    return read_frames(r, o, m, book);
}

static int read_member(struct reader *r, yyjson_val *o, bool file)
{
    struct bundle *b = r->b;
    struct bundle_name n;
    const char *path = get_text(o, "path");
    struct bundle_member *m = r->next == 0                 ? &b->books[BOOK_LEDGER]
                              : r->next == 1               ? &b->books[BOOK_USERS]
                              : r->next - 2 < b->n_members ? &b->members[r->next - 2]
                                                           : NULL;
    if (!m || !path || strcmp(m->path, path) != 0)
        return bad(r, "not the member that stands there");
    r->next++;
    if (!bundle_name_parse(m->path, strlen(m->path), &n) || n.is_file != file)
        return bad(r, file ? "not a plain file" : "a plain file");
    if (check_name(r, o, &n, m))
        return -1;
    m->is_file = file;
    if (!file)
        return read_records(r, o, &n, m);
    m->raw = m->stored;
    return 0;
}

static int read_line(struct reader *r, const char *line, size_t len)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.max_bytes = (size_t)1 << 30, .max_depth = 8};
    r->line++;
    if (gs_json_parse(line, len, &o, &doc, r->err)) {
        if (r->err->code != GS_E_NOMEM && r->err->code != GS_E_LIMIT)
            r->err->code = GS_E_INDEX;
        return gs_wrap(r->err, "line %zu of the index", r->line);
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *entry = gs_json_str(root, "entry");
    if (entry && strcmp(entry, "group") == 0)
        return read_group(r, root);
    if (entry && (strcmp(entry, "member") == 0 || strcmp(entry, "file") == 0))
        return read_member(r, root, entry[0] == 'f');
    return bad(r, "an unknown entry");
}

/* ---- frames of the index itself ---- */

/* Whole lines in `text` are read and taken out of it. */
static int read_lines(struct reader *r, struct gs_buf *text)
{
    size_t from = 0;
    const char *nl;
    while (from < text->len && (nl = memchr(text->data + from, '\n', text->len - from)) != NULL) {
        size_t n = (size_t)(nl - (text->data + from));
        if (read_line(r, text->data + from, n))
            return -1;
        from += n + 1;
    }
    if (from) {
        memmove(text->data, text->data + from, text->len - from);
        text->len -= from;
    }
    return 0;
}

static int keep_own(struct reader *r, const struct bundle_frame *f)
{
    if (r->n_own == r->cap_own) {
        size_t cap = r->cap_own ? r->cap_own * 2 : 4;
        struct bundle_frame *p = realloc(r->own, cap * sizeof *p);
        if (!p)
            return gs_fail(r->err, GS_E_NOMEM, "no memory for %zu frames", cap);
        r->own = p;
        r->cap_own = cap;
    }
    r->own[r->n_own++] = *f;
    return 0;
}

static int add_own(struct reader *r)
{
    struct bundle_member *m = &r->b->books[BOOK_INDEX];
    m->first_frame = (uint32_t)r->b->n_frames;
    m->n_frames = (uint32_t)r->n_own;
    m->records = r->line;
    for (size_t i = 0; i < r->n_own; i++)
        if (add_frame(r->b, &r->own[i], r->err))
            return -1;
    return 0;
}

static int read_stored(struct reader *r, ZSTD_DCtx *d, uint64_t raw, const char *stored, size_t len)
{
    struct bundle *b = r->b;
    struct bundle_frame f = {0};
    gs_autobuf text;
    gs_buf_init(&text, b->lim.max_index_raw);
    while (len > 0) {
        size_t n = ZSTD_findFrameCompressedSize(stored, len);
        unsigned long long content = ZSTD_getFrameContentSize(stored, len);
        if (ZSTD_isError(n) || n > UINT32_MAX || content == ZSTD_CONTENTSIZE_UNKNOWN ||
            content == ZSTD_CONTENTSIZE_ERROR)
            return gs_fail(r->err, GS_E_FRAME, "the index is no run of zstd frames");
        if (content > raw - f.raw_off)
            return gs_fail(r->err, GS_E_BOMB, "the index holds more than the %llu bytes that the manifest announces",
                           (unsigned long long)raw);
        if (content > (uint64_t)1 << b->lim.max_window_log)
            return gs_fail(r->err, GS_E_LIMIT, "a frame of %llu bytes, limit 2^%u", content, b->lim.max_window_log);
        f.raw = (uint32_t)content;
        f.stored = (uint32_t)n;
        bundle_hash(stored, n, f.digest);
        if (gs_buf_reserve(&text, f.raw, r->err) ||
            frame_decode(d, stored, n, text.data + text.len, f.raw, b->lim.max_window_log, r->err) || keep_own(r, &f))
            return gs_wrap(r->err, "'" BUNDLE_INDEX "'");
        text.len += f.raw;
        if (read_lines(r, &text))
            return -1;
        stored += n;
        len -= n;
        f.raw_off += f.raw;
        f.off += n;
    }
    if (f.raw_off != raw)
        return gs_fail(r->err, GS_E_INDEX, "the index has %llu bytes instead of %llu", (unsigned long long)f.raw_off,
                       (unsigned long long)raw);
    return text.len ? gs_fail(r->err, GS_E_INDEX, "the index does not end with a line feed") : 0;
}

/* ---- the whole ---- */

struct place {
    int64_t id;
    size_t at;
};

static int place_cmp(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Every group once, every parent before its children, every member in a group that is there. */
static int check_groups(struct bundle *b, struct gs_err *err)
{
    gs_autofree struct place *p = malloc((b->n_groups + 1) * sizeof *p);
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", b->n_groups);
    for (size_t i = 0; i < b->n_groups; i++)
        p[i] = (struct place){b->groups[i].id, i};
    if (b->n_groups)
        qsort(p, b->n_groups, sizeof *p, place_cmp);
    for (size_t i = 0; i < b->n_groups; i++) {
        struct place key = {.id = b->groups[i].parent_id};
        const struct place *parent = key.id ? bsearch(&key, p, b->n_groups, sizeof *p, place_cmp) : NULL;
        if (i && p[i].id == p[i - 1].id)
            return gs_fail(err, GS_E_INDEX, "group %lld stands twice in the index", (long long)p[i].id);
        if (key.id && (!parent || parent->at >= i))
            return gs_fail(err, GS_E_INDEX, "group %lld stands before its parent", (long long)b->groups[i].id);
    }
    for (size_t i = 0; i < b->n_members; i++) {
        struct place key = {.id = b->members[i].group_id};
        if (!bsearch(&key, p, b->n_groups, sizeof *p, place_cmp))
            return gs_fail(err, GS_E_INDEX, "member '%s' belongs to no group", b->members[i].path);
    }
    return 0;
}

/* Parts are numbered from 0 without a gap, and only when there is more than one. */
static int check_parts(struct bundle *b, struct gs_err *err)
{
    for (size_t i = 0; i < b->n_members; i++) {
        struct bundle_name n, next = {0};
        const struct bundle_member *m = &b->members[i];
        if (!bundle_name_parse(m->path, strlen(m->path), &n) || n.is_file)
            continue;
        if (i + 1 < b->n_members)
            GS_IGNORE(bundle_name_parse(b->members[i + 1].path, strlen(b->members[i + 1].path), &next),
                      "it was parsed before");
        bool more = next.group_id == n.group_id && strcmp(next.relation, n.relation) == 0 && !next.is_file;
        if (n.part == 0 && n.has_part != more)
            return gs_fail(err, GS_E_INDEX, "'%s' is numbered as if there were %s parts", m->path,
                           more ? "no" : "more");
        if (more && (!next.has_part || next.part != n.part + 1))
            return gs_fail(err, GS_E_INDEX, "a part is missing behind '%s'", m->path);
        if (n.part > 0 && (i == 0 || b->members[i - 1].part != n.part - 1))
            return gs_fail(err, GS_E_INDEX, "a part is missing before '%s'", m->path);
    }
    return 0;
}

static int check_counts(const struct bundle *b, const struct manifest *mf, struct gs_err *err)
{
    uint64_t total = 0;
    size_t i, max;
    yyjson_val *k, *v;
    if (mf->groups != b->n_groups)
        return gs_fail(err, GS_E_COUNT_MISMATCH, "the manifest counts %llu groups, the index %zu",
                       (unsigned long long)mf->groups, b->n_groups);
    yyjson_obj_foreach(mf->counts, i, max, k, v)
    {
        uint64_t n = 0;
        int64_t want = 0;
        for (size_t j = 0; j < b->n_members; j++)
            if (!b->members[j].is_file && strcmp(b->members[j].relation, yyjson_get_str(k)) == 0)
                n += b->members[j].records;
        if (!gs_json_val_i64(v, &want) || n != (uint64_t)want)
            return gs_fail(err, GS_E_COUNT_MISMATCH, "the manifest counts %lld records of '%.80s', the index %llu",
                           (long long)want, yyjson_get_str(k), (unsigned long long)n);
        total += n;
    }
    if (total != b->data_records)
        return gs_fail(err, GS_E_COUNT_MISMATCH, "the index holds a relation that the manifest does not count");
    return 0;
}

/* While the texts grew, offsets stood for pointers. */
static void fix_texts(struct bundle *b)
{
    const char *t = b->texts.data;
    for (size_t i = 0; i < b->n_groups; i++) {
        b->groups[i].full_path = t;
        t += strlen(t) + 1;
    }
    for (size_t i = 0; i < b->n_members + 3; i++) {
        struct bundle_member *m = i < 3 ? &b->books[i] : &b->members[i - 3];
        m->relation = i == BOOK_INDEX ? "index" : b->texts.data + (uintptr_t)m->relation - 1;
    }
}

int index_read(struct bundle *b, const struct manifest *mf, const char *stored, size_t stored_len, struct gs_err *err)
{
    struct reader r = {.b = b, .err = err};
    struct bundle_member *m = &b->books[BOOK_INDEX];
    ZSTD_DCtx *d = ZSTD_createDCtx();
    if (!d)
        return gs_fail(err, GS_E_NOMEM, "no memory to decompress with");
    int failed = read_stored(&r, d, mf->index_raw, stored, stored_len) || add_own(&r);
    ZSTD_freeDCtx(d);
    free(r.own);
    if (failed)
        return -1;
    m->raw = mf->index_raw;
    if (r.next != b->n_members + 2)
        return gs_fail(err, GS_E_INDEX, "the index does not describe every member");
    if (b->n_groups == 0)
        return gs_fail(err, GS_E_INDEX, "the index names no group");
    fix_texts(b);
    return check_groups(b, err) || check_parts(b, err) || check_counts(b, mf, err) ? -1 : 0;
}
