#include "libserve/export_archive.h"

#include "libcommon/io.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT_VERSION "0.2.4" /* of the layout, where the bundle does not tell the one it came in */
#define BLOCK ((size_t)256 << 10)

enum step { STEP_TOP, STEP_VERSION, STEP_GITLAB_VERSION, STEP_GITLAB_REVISION, STEP_TREE, STEP_GROUPS, STEP_ALL, STEP_GROUP, STEP_FOLDER,
            STEP_RELATION, STEP_END };

struct walk {
    const struct content *c;
    const struct export_archive_opts *o;
    struct export_archive_result *sums;
    enum step step;
    size_t group, row, rows_end;
};

/* One line of text, or none. */
static int text_member(struct tar_item *out, const char *name, const char *text, struct gs_err *err)
{
    snprintf(out->name, sizeof out->name, "%s", name);
    out->size = strlen(text);
    return stream_text(text, strlen(text), &out->data, err);
}

static void folder(struct tar_item *out, const char *name)
{
    snprintf(out->name, sizeof out->name, "%s", name);
    out->folder = true;
}

static size_t depth(const char *path)
{
    size_t n = 0;
    for (; *path; path++)
        n += *path == '/';
    return n;
}

static int by_depth(const void *a, const void *b, void *cookie)
{
    const struct bundle_group *g = cookie, *x = &g[*(const size_t *)a], *y = &g[*(const size_t *)b];
    size_t dx = depth(x->full_path), dy = depth(y->full_path);
    return dx != dy ? (dx > dy) - (dx < dy) : (x->id > y->id) - (x->id < y->id);
}

int export_archive_order(const struct content *c, size_t **out, struct gs_err *err)
{
    size_t *order = malloc((c->n_groups + 1) * sizeof *order);
    if (!order)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", c->n_groups);
    for (size_t i = 0; i < c->n_groups; i++)
        order[i] = i;
    qsort_r(order, c->n_groups, sizeof *order, by_depth, (void *)c->groups);
    *out = order;
    return 0;
}

/* The ids of all groups: GitLab makes them in this order. */
static int all_member(const struct walk *w, struct tar_item *out, struct gs_err *err)
{
    gs_autobuf b;
    gs_autofree size_t *order = NULL;
    gs_buf_init(&b, (size_t)256 << 20);
    if (export_archive_order(w->c, &order, err))
        return -1;
    for (size_t i = 0; i < w->c->n_groups; i++)
        if (gs_buf_addf(&b, err, "%" PRId64 "\n", w->c->groups[order[i]].id))
            return -1;
    return text_member(out, "./tree/groups/_all.ndjson", gs_buf_str(&b), err);
}

static int open_relation(const struct walk *w, const struct content_row *r, struct stream **out, struct gs_err *err)
{
    const struct relation *known = relation_find(r->relation);
    int64_t id = w->c->groups[r->group].id;
    return known && known->single ? stream_single(w->c->native, w->c->b, id, r->relation, NULL, out, err)
                                  : stream_lines(w->c->native, w->c->b, id, r->relation, 0, UINT64_MAX, out, err);
}

/* The size stands in front of the content, so that everything is made twice: once to be measured. */
static int relation_member(const struct walk *w, const struct content_row *r, struct tar_item *out, struct gs_err *err)
{
    struct stream *s;
    snprintf(out->name, sizeof out->name, "./tree/groups/%" PRId64 "/%s.ndjson", w->c->groups[r->group].id, r->relation);
    if (open_relation(w, r, &s, err) || stream_measure(s, &out->size, err) || open_relation(w, r, &out->data, err))
        return gs_wrap(err, "%s of group '%s'", r->relation, w->c->groups[r->group].full_path);
    w->sums->records += r->records;
    return 0;
}

static int self_member(const struct walk *w, struct tar_item *out, struct gs_err *err)
{
    struct stream *s;
    snprintf(out->name, sizeof out->name, "./tree/groups/%" PRId64 ".json", w->c->groups[w->group].id);
    if (content_self(w->c, w->group, &s, err) || stream_measure(s, &out->size, err) || content_self(w->c, w->group, &out->data, err))
        return gs_wrap(err, "group '%s'", w->c->groups[w->group].full_path);
    return 0;
}

static bool carried(const struct content_row *r)
{
    return strcmp(r->relation, "uploads") != 0 && strcmp(r->relation, "self") != 0 && r->records > 0;
}

static bool next_row(struct walk *w)
{
    while (w->row < w->rows_end && !carried(&w->c->rows[w->row]))
        w->row++;
    return w->row < w->rows_end;
}

static int begin_group(struct walk *w, struct tar_item *out, struct gs_err *err)
{
    const struct content_row *self = content_row(w->c, w->group, "self"), *files = content_row(w->c, w->group, "uploads");
    w->sums->groups++;
    w->sums->records += self ? 1 : 0;
    w->sums->groups_without_record += self ? 0 : 1;
    w->sums->files_left_out += files ? files->records : 0;
    content_rows(w->c, w->group, &w->row, &w->rows_end);
    w->step = next_row(w) ? STEP_FOLDER : STEP_GROUP;
    int r = self_member(w, out, err);
    w->group += w->step == STEP_GROUP;
    return r;
}

static const char *export_version(const struct content *c)
{
    yyjson_val *marks = yyjson_obj_get(yyjson_obj_get(bundle_manifest(c->b), "capture"), "watermarks");
    const char *v = gs_json_str(marks, "export_version");
    return v && *v ? v : EXPORT_VERSION;
}

static int next_member(void *cookie, struct tar_item *out, bool *out_end, struct gs_err *err)
{
    struct walk *w = cookie;
    yyjson_val *source = yyjson_obj_get(bundle_manifest(w->c->b), "source");
    const char *version = gs_json_str(source, "version"), *revision = gs_json_str(source, "revision");
    char name[64];
    if (w->o->stop && *w->o->stop)
        return gs_fail(err, GS_E_STOPPED, "stopped");
    if (w->o->progress)
        w->o->progress(w->o->cookie, w->sums->groups, w->sums->records);
    switch (w->step) {
    case STEP_TOP:
        w->step = STEP_VERSION;
        folder(out, "./");
        return 0;
    case STEP_VERSION:
        w->step = version ? STEP_GITLAB_VERSION : revision ? STEP_GITLAB_REVISION : STEP_TREE;
        return text_member(out, "./VERSION", export_version(w->c), err);
    case STEP_GITLAB_VERSION:
        w->step = revision ? STEP_GITLAB_REVISION : STEP_TREE;
        return text_member(out, "./GITLAB_VERSION", version, err);
    case STEP_GITLAB_REVISION:
        w->step = STEP_TREE;
        return text_member(out, "./GITLAB_REVISION", revision, err);
    case STEP_TREE:
        w->step = STEP_GROUPS;
        folder(out, "./tree/");
        return 0;
    case STEP_GROUPS:
        w->step = STEP_ALL;
        folder(out, "./tree/groups/");
        return 0;
    case STEP_ALL:
        w->step = STEP_GROUP;
        return all_member(w, out, err);
    case STEP_GROUP:
        if (w->group < w->c->n_groups)
            return begin_group(w, out, err);
        *out_end = true;
        return 0;
    case STEP_FOLDER:
        w->step = STEP_RELATION;
        snprintf(name, sizeof name, "./tree/groups/%" PRId64 "/", w->c->groups[w->group].id);
        folder(out, name);
        return 0;
    default: {
        const struct content_row *r = &w->c->rows[w->row++];
        if (!next_row(w)) {
            w->step = STEP_GROUP;
            w->group++;
        }
        return relation_member(w, r, out, err);
    }
    }
}

int export_archive_to(const struct content *c, int fd, const char *name, const struct export_archive_opts *o, struct export_archive_result *out,
                      struct gs_err *err)
{
    struct walk w = {.c = c, .o = o, .sums = out};
    GS_AUTO(stream) s = NULL;
    gs_autofree char *block = malloc(BLOCK);
    struct stream *tar;
    size_t n = 1;
    *out = (struct export_archive_result){0};
    if (!block)
        return gs_fail(err, GS_E_NOMEM, "no memory to write with");
    if (stream_tar(next_member, &w, NULL, c->made_s, &tar, err) || stream_gzip(tar, o->level ? o->level : 6, &s, err))
        return -1;
    while (n > 0) {
        if (stream_read(s, block, BLOCK, &n, err) || gs_write_all(fd, block, n, name, err))
            return -1;
        out->bytes += n;
        if (o->stop && *o->stop)
            return gs_fail(err, GS_E_STOPPED, "stopped");
    }
    return 0;
}

int export_archive_write(const struct content *c, const char *path, const struct export_archive_opts *o,
                         struct export_archive_result *out, struct gs_err *err)
{
    struct gs_stage st;
    *out = (struct export_archive_result){0};
    if (gs_stage_open(&st, path, 0666, false, err))
        return -1;
    int r = export_archive_to(c, st.fd, path, o, out, err);
    if (r == 0)
        r = gs_stage_commit(&st, err);
    gs_stage_release(&st);
    return r;
}
