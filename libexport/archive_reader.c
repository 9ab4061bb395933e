#include "libexport/archive_reader.h"

#include "formats/relations.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libexport/archive_users.h"
#include "libexport/lines.h"
#include "libexport/plan.h"
#include "libexport/sink.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_FILE_MAX ((size_t)16 << 20)
#define MAX_TREE_DEPTH 64

struct group {
    int64_t id, parent_id;
    char *path;          /* last segment */
    bool listed, has_json;
    unsigned place;      /* line in _all.ndjson */
};

struct archive_reader {
    struct archive_reader_opts o;
    struct book *book;
    struct archive_users *users;
    struct group *groups;
    size_t n_groups, cap_groups;
    uint32_t *slots;     /* hash table over groups, of the first pass */
    size_t n_slots;
    int64_t root_id;
    bool has_all;
    char *prefix;        /* in front of "groups/": "tree/" or "name/tree/" or "" */
    char *root_path;
    char version[48], revision[48], export_version[48], watermarks[128];
    int64_t started_ms, finished_ms;
    uint64_t records;
};

/* ---- names ---- */

enum part { PART_OTHER, PART_VERSION, PART_GITLAB_VERSION, PART_GITLAB_REVISION, PART_ALL, PART_GROUP, PART_RELATION };

struct place {
    enum part part;
    int64_t id;
    char relation[64];
};

/* "4351" at the start of `s`; *end behind it. 0: none. */
static int64_t number(const char *s, const char **end)
{
    int64_t v = 0;
    size_t i = 0;
    while (s[i] >= '0' && s[i] <= '9' && i < 18)
        v = v * 10 + (s[i++] - '0');
    *end = s + i;
    return i == 0 || s[0] == '0' ? 0 : v;
}

static int keep_prefix(struct archive_reader *a, const char *name, size_t len, struct gs_err *err)
{
    if (!a->prefix) {
        a->prefix = strndup(name, len);
        return a->prefix ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a name");
    }
    if (strlen(a->prefix) != len || strncmp(a->prefix, name, len) != 0)
        return gs_fail(err, GS_E_ARCHIVE, "'%s' holds two exports: '%sgroups' and '%.*sgroups'", a->o.path, a->prefix,
                       (int)len, name);
    return 0;
}

/* Where the part behind "groups/" begins, or NULL. */
static const char *behind_groups(const char *name)
{
    if (strncmp(name, "groups/", 7) == 0)
        return name + 7;
    const char *s = strstr(name, "tree/groups/");
    return s && (s == name || s[-1] == '/') ? s + 12 : NULL;
}

static int classify(struct archive_reader *a, const char *name, struct place *out, struct gs_err *err)
{
    *out = (struct place){.part = PART_OTHER};
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name, *end;
    const char *rest = behind_groups(name);
    if (!rest) {
        out->part = strcmp(base, "VERSION") == 0           ? PART_VERSION
                    : strcmp(base, "GITLAB_VERSION") == 0  ? PART_GITLAB_VERSION
                    : strcmp(base, "GITLAB_REVISION") == 0 ? PART_GITLAB_REVISION
                                                           : PART_OTHER;
        return 0;
    }
    if (keep_prefix(a, name, (size_t)(rest - 7 - name), err))
        return -1;
    if (strcmp(rest, "_all.ndjson") == 0) {
        out->part = PART_ALL;
        return 0;
    }
    out->id = number(rest, &end);
    if (out->id > 0 && strcmp(end, ".json") == 0) {
        out->part = PART_GROUP;
        return 0;
    }
    size_t n = strlen(end);
    if (out->id > 0 && *end == '/' && n > 8 && strcmp(end + n - 7, ".ndjson") == 0 && !strchr(end + 1, '/') &&
        relation_name_ok(end + 1, n - 8)) {
        out->part = PART_RELATION;
        snprintf(out->relation, sizeof out->relation, "%.*s", (int)(n - 8), end + 1);
    }
    return 0;
}

/* ---- first pass: the groups ---- */

/* Where a group's position + 1 stands in the table, or an empty place. */
static uint32_t *slot_of(const struct archive_reader *a, int64_t id)
{
    size_t i = (size_t)(((uint64_t)id * 0x9e3779b97f4a7c15u) >> 32) & (a->n_slots - 1);
    while (a->slots[i] && a->groups[a->slots[i] - 1].id != id)
        i = (i + 1) & (a->n_slots - 1);
    return &a->slots[i];
}

static int more_slots(struct archive_reader *a, struct gs_err *err)
{
    free(a->slots);
    a->n_slots = a->n_slots ? a->n_slots * 2 : 64;
    a->slots = calloc(a->n_slots, sizeof *a->slots);
    if (!a->slots)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", a->n_slots);
    for (size_t i = 0; i < a->n_groups; i++)
        *slot_of(a, a->groups[i].id) = (uint32_t)(i + 1);
    return 0;
}

static struct group *need_group(struct archive_reader *a, int64_t id, struct gs_err *err)
{
    if (a->n_groups * 2 >= a->n_slots && more_slots(a, err))
        return NULL;
    uint32_t *slot = slot_of(a, id);
    if (*slot)
        return &a->groups[*slot - 1];
    if (a->n_groups == a->cap_groups) {
        size_t cap = a->cap_groups ? a->cap_groups * 2 : 32;
        struct group *v = realloc(a->groups, cap * sizeof *v);
        if (!v) {
            gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", cap);
            return NULL;
        }
        a->groups = v;
        a->cap_groups = cap;
    }
    struct group *g = &a->groups[a->n_groups++];
    *slot = (uint32_t)a->n_groups;
    *g = (struct group){.id = id};
    return g;
}

static int read_small(struct archive_reader *a, struct walk_file *f, struct gs_buf *out, struct gs_err *err)
{
    size_t n = 1;
    while (n > 0) {
        if (gs_buf_reserve(out, 65536, err))
            return gs_wrap(err, "'%s' in '%s'", f->name, a->o.path);
        if (f->read(f, out->data + out->len, 65536, &n, err))
            return -1;
        out->len += n;
        out->data[out->len] = '\0';
    }
    return 0;
}

static int read_all(struct archive_reader *a, const struct gs_buf *b, const char *name, struct gs_err *err)
{
    const char *s = gs_buf_str(b), *last = s + b->len;
    unsigned line = 0;
    a->has_all = true;
    while (s < last) {
        const char *end, *nl = memchr(s, '\n', (size_t)(last - s));
        const char *stop = nl ? nl : last;
        line++;
        while (s < stop && (*s == ' ' || *s == '\t' || *s == '\r'))
            s++;
        if (s == stop) {
            s = nl ? nl + 1 : last;
            continue;
        }
        int64_t id = number(s, &end);
        while (end < stop && (*end == ' ' || *end == '\r' || *end == '\t'))
            end++;
        if (id <= 0 || end != stop)
            return gs_fail(err, GS_E_ARCHIVE, "'%s' line %u: no group id", name, line);
        struct group *g = need_group(a, id, err);
        if (!g)
            return -1;
        if (g->listed)
            return gs_fail(err, GS_E_ARCHIVE, "'%s' line %u: group %" PRId64 " stands there twice", name, line, id);
        g->listed = true;
        g->place = line;
        if (a->root_id == 0)
            a->root_id = id;
        s = nl ? nl + 1 : last;
    }
    return a->root_id ? 0 : gs_fail(err, GS_E_ARCHIVE, "'%s' names no group", name);
}

static int read_group(struct archive_reader *a, const struct gs_buf *b, int64_t id, const char *name, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.max_bytes = SMALL_FILE_MAX, .raw_numbers = true};
    int64_t inside, parent = 0;
    const char *path;
    if (gs_json_parse(gs_buf_str(b), b->len, &o, &doc, err))
        return gs_wrap(err, "'%s'", name);
    yyjson_val *v = yyjson_doc_get_root(doc);
    if (gs_json_need_i64(v, "id", &inside, err) || gs_json_need_str(v, "path", &path, err))
        return gs_wrap(err, "'%s'", name);
    if (inside != id)
        return gs_fail(err, GS_E_ARCHIVE, "'%s' is about group %" PRId64, name, inside);
    if (*path == '\0' || strchr(path, '/'))
        return gs_fail(err, GS_E_ARCHIVE, "'%s': '%s' is no path of a group", name, path);
    gs_json_i64(v, "parent_id", &parent);
    struct group *g = need_group(a, id, err);
    if (!g)
        return -1;
    g->path = strdup(path);
    g->parent_id = parent;
    g->has_json = true;
    return g->path ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a path");
}

static void first_word(const struct gs_buf *b, char *out, size_t cap)
{
    const char *s = gs_buf_str(b);
    size_t n = 0;
    while (s[n] > ' ' && s[n] < 0x7f && s[n] != '"' && s[n] != '\\' && n + 1 < cap)
        n++;
    memcpy(out, s, n);
    out[n] = '\0';
}

static int first_pass(void *cookie, struct walk_file *f, struct gs_err *err)
{
    struct archive_reader *a = cookie;
    struct place p;
    if (classify(a, f->name, &p, err))
        return -1;
    if (p.part == PART_OTHER || p.part == PART_RELATION)
        return 0;
    gs_autobuf b;
    gs_buf_init(&b, p.part == PART_ALL ? (size_t)256 << 20 : SMALL_FILE_MAX);
    if (read_small(a, f, &b, err))
        return -1;
    switch (p.part) {
    case PART_VERSION: first_word(&b, a->export_version, sizeof a->export_version); return 0;
    case PART_GITLAB_VERSION: first_word(&b, a->version, sizeof a->version); return 0;
    case PART_GITLAB_REVISION: first_word(&b, a->revision, sizeof a->revision); return 0;
    case PART_ALL: return read_all(a, &b, f->name, err);
    default: return read_group(a, &b, p.id, f->name, err);
    }
}

/* ---- the tree ---- */

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const struct group *)a)->id, y = ((const struct group *)b)->id;
    return x < y ? -1 : x > y;
}

static struct group *sorted_group(const struct archive_reader *a, int64_t id)
{
    struct group key = {.id = id};
    return a->n_groups ? bsearch(&key, a->groups, a->n_groups, sizeof *a->groups, by_id) : NULL;
}

static char *full_path(const struct archive_reader *a, const struct group *g, struct gs_err *err)
{
    const struct group *chain[MAX_TREE_DEPTH];
    size_t n = 0, len = 0;
    for (;;) {
        if (n == MAX_TREE_DEPTH) {
            gs_fail(err, GS_E_ARCHIVE, "the parents of group %" PRId64 " have no end", g->id);
            return NULL;
        }
        chain[n++] = g;
        len += strlen(g->path) + 1;
        if (g->id == a->root_id)
            break;
        const struct group *up = sorted_group(a, g->parent_id);
        if (!up) {
            gs_fail(err, GS_E_ARCHIVE, "the parent of group %" PRId64 ", group %" PRId64 ", is not in '%s'", g->id,
                    g->parent_id, a->o.path);
            return NULL;
        }
        g = up;
    }
    char *out = malloc(len + 1), *s = out;
    if (!out) {
        gs_fail(err, GS_E_NOMEM, "no memory for a path");
        return NULL;
    }
    while (n-- > 0) {
        size_t l = strlen(chain[n]->path);
        memcpy(s, chain[n]->path, l);
        s += l;
        *s++ = '/';
    }
    s[-1] = '\0';
    return out;
}

static int build_tree(struct archive_reader *a, struct gs_err *err)
{
    if (!a->has_all)
        return gs_fail(err, GS_E_ARCHIVE, "'%s' holds no 'tree/groups/_all.ndjson': it is no group export", a->o.path);
    qsort(a->groups, a->n_groups, sizeof *a->groups, by_id);
    struct plan plan;
    plan_init(&plan);
    int r = 0;
    for (size_t i = 0; i < a->n_groups && r == 0; i++) {
        struct group *g = &a->groups[i];
        bool is_new;
        if (!g->has_json)
            r = gs_fail(err, GS_E_ARCHIVE, "'%s' names group %" PRId64 " in '_all.ndjson' line %u, but holds no '%" PRId64
                        ".json'", a->o.path, g->id, g->place, g->id);
        else if (!g->listed)
            r = gs_fail(err, GS_E_ARCHIVE, "'%s' holds '%" PRId64 ".json', which '_all.ndjson' does not name", a->o.path,
                        g->id);
        if (r)
            break;
        gs_autofree char *path = full_path(a, g, err);
        r = path ? plan_add(&plan, g->id, g->id == a->root_id ? 0 : g->parent_id, path, &is_new, err) : -1;
        if (r == 0 && g->id == a->root_id && !(a->root_path = strdup(path)))
            r = gs_fail(err, GS_E_NOMEM, "no memory for a path");
    }
    plan_order(&plan);
    for (size_t i = 0; i < plan.n && r == 0; i++)
        r = bundle_writer_group(book_writer(a->book), plan.v[i].id, plan.v[i].parent_id, plan.v[i].full_path, err);
    plan_release(&plan);
    return r;
}

/* ---- second pass: the records ---- */

static int fetch_line(struct archive_reader *a, const struct walk_file *f, int64_t id, const char *relation,
                      uint64_t records, uint64_t bytes, struct gs_err *err)
{
    gs_autofree char *endpoint = gs_asprintf("archive:%s", f->name + (a->prefix && strncmp(f->name, a->prefix, strlen(a->prefix)) == 0
                                                                          ? strlen(a->prefix) : 0));
    if (!endpoint)
        return gs_fail(err, GS_E_NOMEM, "no memory for a name");
    struct ledger_fetch l = {.group_id = id, .relation = relation, .via = "archive", .endpoint = endpoint, .announced = -1,
                             .pages = 1, .records = records, .bytes = bytes};
    return book_fetch(a->book, &l, err);
}

static size_t max_record(const struct archive_reader *a)
{
    return a->o.record.max_bytes ? a->o.record.max_bytes : LINES_MAX_LEN;
}

static int add_line(struct archive_reader *a, struct sink *s, const char *relation, const char *line, size_t len,
                    struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct record_limits lim = {.max_bytes = max_record(a),
                                .max_depth = a->o.record.max_depth ? a->o.record.max_depth : RECORD_MAX_DEPTH};
    struct gs_json_opts o = {.max_bytes = lim.max_bytes, .max_depth = lim.max_depth, .raw_numbers = true};
    bool done;
    if (archive_users_quick(a->users, relation, line, len, &lim, &done, err))
        return -1;
    if (done) {
        a->records++;
        return sink_add_sound(s, line, len, err);
    }
    if (gs_json_parse(line, len, &o, &doc, err))
        return -1;
    yyjson_val *v = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(v))
        return gs_fail(err, GS_E_RECORD, "no JSON object");
    a->records++;
    return archive_users_walk(a->users, relation, v, err) || sink_add(s, line, len, err) ? -1 : 0;
}

struct relation_lines {
    struct archive_reader *a;
    const struct walk_file *file;
    const char *relation;
    struct sink *sink;
};

static int on_line(void *cookie, const struct line *l, struct gs_err *err)
{
    struct relation_lines *r = cookie;
    if (l->oversize)
        gs_fail(err, GS_E_LIMIT, "a record of more than %zu bytes", max_record(r->a));
    else if (add_line(r->a, r->sink, r->relation, l->text, l->len, err) == 0)
        return 0;
    return gs_wrap(err, "'%s' in '%s', line %" PRIu64, r->file->name, r->a->o.path, l->number);
}

static int read_file(void *cookie, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct walk_file *f = cookie;
    return f->read(f, buf, len, out_n, err);
}

static int read_relation(struct archive_reader *a, struct walk_file *f, const struct place *p, struct gs_err *err)
{
    if (!sorted_group(a, p->id))
        return gs_fail(err, GS_E_ARCHIVE, "'%s' in '%s' belongs to no group of '_all.ndjson'", f->name, a->o.path);
    struct sink *s;
    if (sink_open(a->book, p->id, p->relation, &s, err))
        return -1;
    uint64_t bytes = 0;
    struct relation_lines r = {.a = a, .file = f, .relation = p->relation, .sink = s};
    struct lines_opts o = {.read = read_file, .read_cookie = f, .each = on_line, .cookie = &r, .max_len = max_record(a),
                           .stop = a->o.stop};
    int rc = lines_walk(&o, &bytes, err);
    uint64_t stored = sink_stored(s);
    if (rc == 0)
        rc = fetch_line(a, f, p->id, p->relation, stored, bytes, err);
    if (rc) {
        sink_abandon(s);
        return -1;
    }
    if (a->o.progress)
        a->o.progress(a->o.cookie, a->n_groups, a->records);
    return sink_close(s, (int64_t)stored, 0, err);
}

/* The group's own record on one line: as it is when it is one, else written again. */
static int read_self(struct archive_reader *a, struct walk_file *f, int64_t id, struct gs_err *err)
{
    gs_autobuf b, one;
    gs_buf_init(&b, SMALL_FILE_MAX);
    gs_buf_init(&one, SMALL_FILE_MAX);
    if (read_small(a, f, &b, err))
        return -1;
    size_t len = b.len;
    while (len > 0 && (b.data[len - 1] == '\n' || b.data[len - 1] == '\r' || b.data[len - 1] == ' '))
        len--;
    const char *json = b.data;
    if (memchr(b.data, '\n', len) || memchr(b.data, '\r', len)) {
        GS_AUTO(yyjson_doc) doc = NULL;
        struct gs_json_opts o = {.max_bytes = SMALL_FILE_MAX, .raw_numbers = true};
        if (gs_json_parse(b.data, len, &o, &doc, err) || gs_json_write(yyjson_doc_get_root(doc), &one, err))
            return gs_wrap(err, "'%s'", f->name);
        json = gs_buf_str(&one);
        len = one.len;
    }
    struct sink *s;
    if (sink_open(a->book, id, "self", &s, err))
        return -1;
    if (add_line(a, s, "self", json, len, err) || fetch_line(a, f, id, "self", 1, b.len, err)) {
        sink_abandon(s);
        return gs_wrap(err, "'%s'", f->name);
    }
    return sink_close(s, 1, 0, err);
}

static int second_pass(void *cookie, struct walk_file *f, struct gs_err *err)
{
    struct archive_reader *a = cookie;
    struct place p;
    if (a->o.stop && *a->o.stop)
        return gs_fail(err, GS_E_STOPPED, "stopped");
    if (classify(a, f->name, &p, err))
        return -1;
    switch (p.part) {
    case PART_GROUP:
        return read_self(a, f, p.id, err);
    case PART_RELATION:
        return read_relation(a, f, &p, err);
    case PART_OTHER: {
        size_t n = strlen(f->name);
        bool wiki = n > 12 && strcmp(f->name + n - 12, ".wiki.bundle") == 0;
        gs_logf(a->o.log, GS_LOG_WARN, "'%s' is not carried", f->name);
        return book_left_out(a->book, a->root_id, wiki ? "wiki" : "files", wiki ? "wiki-not-carried" : "archive-extra-file",
                             f->name, 1, NULL, err);
    }
    default:
        return 0;
    }
}

/* ---- life ---- */

int archive_reader_new(const struct archive_reader_opts *o, struct bundle_writer *w, struct archive_reader **out,
                       struct gs_err *err)
{
    struct archive_reader *a = calloc(1, sizeof *a);
    if (!a)
        return gs_fail(err, GS_E_NOMEM, "no memory for an archive reader");
    a->o = *o;
    if (book_new(w, &a->book, err) || archive_users_new(w, &a->users, err)) {
        archive_reader_free(a);
        return -1;
    }
    *out = a;
    return 0;
}

void archive_reader_free(struct archive_reader *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n_groups; i++)
        free(a->groups[i].path);
    free(a->groups);
    free(a->slots);
    free(a->prefix);
    free(a->root_path);
    archive_users_free(a->users);
    book_free(a->book);
    free(a);
}

int archive_reader_run(struct archive_reader *a, struct gs_err *err)
{
    a->started_ms = gs_unix_ms();
    if (archive_walk(a->o.path, &a->o.limits, first_pass, a, err) || build_tree(a, err) ||
        archive_walk(a->o.path, &a->o.limits, second_pass, a, err) || book_close(a->book, err))
        return -1;
    a->finished_ms = gs_unix_ms();
    snprintf(a->watermarks, sizeof a->watermarks, "{\"export_version\":\"%s\"}", a->export_version);
    return 0;
}

void archive_reader_summary(struct archive_reader *a, struct book_summary *out)
{
    book_summary(a->book, out);
}

uint64_t archive_reader_groups(const struct archive_reader *a)
{
    return a->n_groups;
}

void archive_reader_meta(const struct archive_reader *a, struct bundle_meta *out)
{
    size_t n = strlen(a->version);
    out->gitlab_version = n ? a->version : NULL;
    out->gitlab_revision = a->revision[0] ? a->revision : NULL;
    out->enterprise = n == 0 ? -1 : n > 3 && strcmp(a->version + n - 3, "-ee") == 0;
    out->via = "archive";
    out->started_at_ms = a->started_ms;
    out->finished_at_ms = a->finished_ms;
    out->root_path = a->root_path;
    out->root_id = a->root_id;
    if (a->export_version[0])
        out->watermarks_json = a->watermarks;
}
