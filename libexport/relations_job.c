/* Downloaded files of one relation to records and files of the bundle. Runs on worker threads; nothing here touches the capture. */
#include "libexport/relations_priv.h"

#include "libcommon/gz.h"
#include "libexport/archive_walk.h"
#include "libexport/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define SELF_MAX ((size_t)16 << 20)
#define MAX_NOTES 100 /* single entries of one job; more are counted together */
#define MAX_NESTING 32

/* What only REST and GraphQL know of a board: the scope, and the names of users. */
static const char *const board_additions[] = {"iteration", "iteration_cadence", "assignee", "user", "limit_metric", NULL};

static int note(struct rel_job *j, int kind, const char *rule, const char *what, uint64_t count, const char *detail,
                struct gs_err *err)
{
    struct rel_note *n = NULL;
    if (j->n_notes >= MAX_NOTES)
        for (size_t i = j->n_notes; i-- > 0 && !n;)
            if (strcmp(j->notes[i].rule, rule) == 0)
                n = &j->notes[i];
    if (n) { /* one of many */
        n->count += count;
        snprintf(n->what, sizeof n->what, "and others");
        return 0;
    }
    if (j->n_notes == j->cap_notes) {
        size_t cap = j->cap_notes ? j->cap_notes * 2 : 8;
        struct rel_note *v = realloc(j->notes, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for the ledger");
        j->notes = v;
        j->cap_notes = cap;
    }
    n = &j->notes[j->n_notes++];
    *n = (struct rel_note){.kind = kind, .rule = rule, .count = count};
    snprintf(n->what, sizeof n->what, "%s", what ? what : "");
    snprintf(n->detail, sizeof n->detail, "%s", detail ? detail : "");
    return 0;
}

/* ---- records ---- */

/* An object that `id` names and that is not told. */
static bool untold(yyjson_val *obj, const char *id, const char *name)
{
    int64_t v;
    return gs_json_i64(obj, id, &v) && v > 0 && !yyjson_is_obj(yyjson_obj_get(obj, name));
}

/* The export shows ids where the API shows iterations, cadences and users. */
static bool board_needs_more(yyjson_val *board)
{
    yyjson_val *list;
    if (untold(board, "iteration_id", "iteration") || untold(board, "iteration_cadence_id", "iteration_cadence") ||
        untold(yyjson_obj_get(board, "board_assignee"), "assignee_id", "assignee"))
        return true;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(board, "lists"));
    while ((list = yyjson_arr_iter_next(&it)))
        if (untold(list, "user_id", "user") || untold(list, "iteration_id", "iteration"))
            return true;
    return false;
}

/* Invitations and requests are no members yet. */
static int member_kind(struct rel_job *j, yyjson_val *v, bool *out_skip, struct gs_err *err)
{
    int64_t user;
    *out_skip = true;
    if (!gs_json_i64(v, "user_id", &user) || user <= 0) {
        j->invited++; /* told where the invitations are asked for */
        return 0;
    }
    if (gs_json_str(v, "requested_at")) {
        j->invited++;
        return note(j, NOTE_LEFT_OUT, "access-request", NULL, 1, NULL, err);
    }
    *out_skip = false;
    return 0;
}

static int store(struct rel_job *j, yyjson_val *v, const char *text, size_t len, struct gs_err *err)
{
    bool boards = strcmp(j->relation, "boards") == 0, changed = false;
    if (j->may_ask && (!boards || board_needs_more(v))) {
        j->needs_more = true;
        return gs_fail(err, GS_E_STOPPED, "additions are needed");
    }
    if (archive_users_walk(j->users, j->relation, v, err))
        return -1;
    gs_autobuf joined;
    gs_buf_init(&joined, (size_t)256 << 20);
    if (j->shelf && shelf_join(j->shelf, v, boards ? board_additions : NULL, &joined, &changed, err))
        return -1;
    j->alone += !changed;
    j->nested_alone += changed ? 0 : yyjson_arr_size(yyjson_obj_get(v, "iterations"));
    return changed ? sink_add(j->sink, gs_buf_str(&joined), joined.len, err) : sink_add(j->sink, text, len, err);
}

static bool bad_json(const struct gs_err *e)
{
    switch (e->code) {
    case GS_E_JSON:
    case GS_E_JSON_UTF8:
    case GS_E_JSON_KEY_TWICE:
    case GS_E_JSON_DEPTH:
    case GS_E_RECORD:
    case GS_E_LIMIT:
        return true;
    default:
        return false;
    }
}

static int bad_line(struct rel_job *j, const char *rule, uint64_t number, const char *why, struct gs_err *err)
{
    char what[48];
    snprintf(what, sizeof what, "line %" PRIu64, number);
    if (j->strict)
        return gs_fail(err, GS_E_RECORD, "%s of the export cannot be used: %s", what, why);
    j->lines++;
    j->left_out++;
    return note(j, NOTE_MISSING, rule, what, 1, why, err);
}

static int on_line(void *cookie, const struct line *l, struct gs_err *err)
{
    struct rel_job *j = cookie;
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.max_bytes = LINES_MAX_LEN, .max_depth = MAX_NESTING, .raw_numbers = true};
    struct gs_err bad = {0};
    bool skip = false;
    if (l->oversize)
        return bad_line(j, "oversize-record", l->number, "a line of more than 50 MiB", err);
    if (gs_json_parse(l->text, l->len, &o, &doc, &bad)) {
        if (bad_json(&bad))
            return bad_line(j, "invalid-record", l->number, bad.text, err);
        *err = bad;
        return -1;
    }
    yyjson_val *v = yyjson_doc_get_root(doc);
    if (yyjson_is_null(v)) /* a relation with one record, which the group does not have */
        return 0;
    if (!yyjson_is_obj(v))
        return bad_line(j, "invalid-record", l->number, "no JSON object", err);
    if (strcmp(j->relation, "members") == 0 && member_kind(j, v, &skip, err))
        return -1;
    if (skip)
        return 0;
    j->lines++;
    return store(j, v, l->text, l->len, err);
}

/* What is said of a damaged file goes into the ledger: it is called as GitLab calls it, not by where it is kept here. */
static int read_gz(void *cookie, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    return gs_gz_read(cookie, buf, len, out_n, err);
}

static int open_file(const char *path, struct gs_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 ? fd : gs_fail_sys(err, GS_E_IO, errno, "opening '%s'", path);
}

static int read_lines(struct rel_job *j, const char *path, struct gs_err *err)
{
    GS_AUTO(gs_gz) z = NULL;
    uint64_t bytes = 0;
    gs_autofd int fd = open_file(path, err);
    gs_autofree char *name = gs_asprintf("%s.ndjson.gz", j->relation);
    if (!name)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (fd < 0 || gs_gz_open(fd, name, false, NULL, &z, err))
        return -1;
    struct lines_opts o = {.read = read_gz, .read_cookie = z, .each = on_line, .cookie = j, .stop = j->stop};
    int r = lines_walk(&o, &bytes, err);
    j->bytes += bytes;
    return r;
}

/* Records that only the API tells of: of members who came meanwhile, or whom this export does not show. */
static int store_rest(struct rel_job *j, struct gs_err *err)
{
    for (size_t i = 0; j->shelf && strcmp(j->relation, "members") == 0 && i < j->shelf->n; i++) {
        const struct shelf_row *r = &j->shelf->rows[i];
        if (r->taken)
            continue;
        j->added++;
        if (sink_add(j->sink, j->shelf->text.data + r->off, r->len, err))
            return -1;
    }
    return 0;
}

/* ---- the group's own record ---- */

static int read_self(struct rel_job *j, const char *path, struct gs_err *err)
{
    GS_AUTO(gs_gz) z = NULL;
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf b, one;
    size_t n = 1;
    gs_autofd int fd = open_file(path, err);
    gs_buf_init(&b, SELF_MAX);
    gs_buf_init(&one, SELF_MAX);
    if (fd < 0 || gs_gz_open(fd, "self.json.gz", false, NULL, &z, err))
        return -1;
    while (n > 0) {
        if (gs_buf_reserve(&b, 65536, err) || gs_gz_read(z, b.data + b.len, 65536, &n, err))
            return -1;
        b.len += n;
        b.data[b.len] = '\0';
    }
    j->bytes = b.len;
    struct gs_json_opts o = {.max_bytes = SELF_MAX, .max_depth = MAX_NESTING, .raw_numbers = true};
    if (gs_json_parse(b.data, b.len, &o, &doc, err))
        return gs_wrap(err, "record of the group");
    yyjson_val *v = yyjson_doc_get_root(doc);
    int64_t id;
    if (!yyjson_is_obj(v) || yyjson_obj_size(v) == 0)
        return gs_fail(err, GS_E_RECORD, "the group's own record is empty");
    if (gs_json_i64(v, "id", &id) && id != j->group_id)
        return gs_fail(err, GS_E_RECORD, "the record of group %" PRId64 " came for group %" PRId64, id, j->group_id);
    /* on one line, which it nearly always is */
    size_t len = b.len;
    while (len > 0 && (b.data[len - 1] == '\n' || b.data[len - 1] == '\r'))
        len--;
    if (!memchr(b.data, '\n', len) && !memchr(b.data, '\r', len)) {
        j->lines = 1;
        return store(j, v, b.data, len, err);
    }
    if (gs_json_write(v, &one, err))
        return -1;
    j->lines = 1;
    return store(j, v, gs_buf_str(&one), one.len, err);
}

/* ---- uploads ---- */

static int refuse(void *cookie, const char *name, const char *why, struct gs_err *err)
{
    struct rel_job *j = cookie;
    char what[80];
    size_t n = 0;
    for (const char *s = name; *s && n + 1 < sizeof what; s++)
        what[n++] = (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s;
    while (n > 0 && ((unsigned char)what[n - 1] & 0xc0) == 0x80 && name[n])
        n--;
    what[n] = '\0';
    bool kind = strcmp(why, "its name") != 0;
    j->refused += !kind; /* an upload is a file: a link is none of those that were announced */
    return note(j, NOTE_LEFT_OUT, kind ? "file-kind" : "file-name", what, 1, why, err);
}

static int read_entry(void *cookie, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct walk_file *f = cookie;
    return f->read(f, buf, len, out_n, err);
}

static int64_t hash_name(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    h ^= h >> 29;
    return (int64_t)((h & INT64_MAX) | 1);
}

static int on_upload(void *cookie, struct walk_file *f, struct gs_err *err)
{
    struct rel_job *j = cookie;
    const char *slash = strchr(f->name, '/');
    bool avatar = strncmp(f->name, "avatar/", 7) == 0, is_new = true;
    if (j->stop && *j->stop)
        return gs_fail(err, GS_E_STOPPED, "stopped");
    if (!slash || strchr(slash + 1, '/')) {
        j->refused++;
        return note(j, NOTE_LEFT_OUT, "archive-extra-file", f->name, 1, "not where uploads lie", err);
    }
    /* a group has one avatar; in batches a name may come twice */
    if (idset_add(&j->names, hash_name(avatar ? "avatar" : f->name), &is_new, err))
        return -1;
    if (!is_new) {
        j->refused++;
        return note(j, NOTE_LEFT_OUT, "duplicate-record", f->name, 1, NULL, err);
    }
    if (f->size > BUNDLE_FILE_MAX) {
        j->refused++;
        return note(j, NOTE_MISSING, "oversize-file", f->name, 1, "larger than 1 GiB", err);
    }
    char kind[64];
    struct bundle_stream in = {.read = read_entry, .cookie = f};
    int n = avatar ? snprintf(kind, sizeof kind, "avatar")
                   : snprintf(kind, sizeof kind, "uploads/%.*s", (int)(slash - f->name < 40 ? slash - f->name : 40), f->name);
    if (n < 0 || bundle_writer_stream(j->writer, j->group_id, kind, slash + 1, &in, err) == 0) {
        j->files++;
        j->bytes += f->size;
        j->avatar |= avatar;
        return 0;
    }
    if (err->code != GS_E_MEMBER_NAME)
        return -1;
    gs_err_clear(err);
    return refuse(j, f->name, "its name", err);
}

static int pass_over(void *cookie, struct walk_file *f, struct gs_err *err)
{
    struct rel_job *j = cookie;
    return j->stop && *j->stop ? gs_fail(err, GS_E_STOPPED, "stopped") : 0;
}

static int pass_odd(void *cookie, const char *name, const char *why, struct gs_err *err)
{
    return 0;
}

/* Read twice: files go into the bundle one by one, and none of them may before the whole is known to be sound. */
static int read_uploads(struct rel_job *j, struct gs_err *err)
{
    for (size_t i = 0; i < j->n_paths; i++)
        if (archive_walk_uploads(j->paths[i], "uploads.tar.gz", pass_over, pass_odd, j, err))
            return -1;
    for (size_t i = 0; i < j->n_paths; i++)
        if (archive_walk_uploads(j->paths[i], "uploads.tar.gz", on_upload, refuse, j, err))
            return -1;
    return 0;
}

/* ---- the job ---- */

static int notes_of_kind(struct rel_job *j, struct gs_err *err)
{
    uint64_t n = j->lines - j->left_out;
    if (n == 0)
        return 0;
    if (strcmp(j->relation, "iterations_cadences") == 0)
        return (j->alone && note(j, NOTE_LOST, "cadence-settings-not-exported", NULL, j->alone, NULL, err)) ||
                       (j->nested_alone && note(j, NOTE_LOST, "iteration-title-not-exported", NULL, j->nested_alone, NULL, err))
                   ? -1
                   : 0;
    if (strcmp(j->relation, "epic_boards") == 0)
        return j->alone == 0 ? 0 : note(j, NOTE_LOST, "epic-boards-not-readable", NULL, j->alone, "the export has neither their labels nor the order of epics", err);
    if (strcmp(j->relation, "epics") == 0)
        return note(j, NOTE_LOST, "events-not-readable", "resource_label_events", n, "the export has no events of labels", err);
    return 0;
}

static int run(struct rel_job *j, struct gs_err *err)
{
    if (archive_users_new(j->writer, &j->users, err))
        return -1;
    idset_init(&j->names);
    if (j->form == REL_UPLOADS)
        return read_uploads(j, err);
    for (size_t i = 0; i < j->n_paths; i++)
        if (j->form == REL_SELF ? read_self(j, j->paths[i], err) : read_lines(j, j->paths[i], err))
            return -1;
    return store_rest(j, err) || notes_of_kind(j, err) || (j->sink && sink_seal(j->sink, err)) ? -1 : 0;
}

void rel_job_run(struct rel_job *j)
{
    j->rc = run(j, &j->err);
}

void rel_job_free(struct rel_job *j)
{
    if (!j)
        return;
    sink_abandon(j->sink);
    archive_users_free(j->users);
    idset_release(&j->names);
    for (size_t i = 0; i < j->n_paths; i++)
        free(j->paths[i]);
    free(j->paths);
    free(j->notes);
    free(j);
}
