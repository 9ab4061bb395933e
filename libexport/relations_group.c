/* What becomes of each relation of one group: files to jobs, jobs to books, gaps to the API. */
#include "libexport/relations_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Relations that the API can give instead. Those without a kind are told by the group's own answer. */
static const struct {
    const char *name;
    const struct cap_kind *kind;
} api[] = {
    {"labels", &cap_kind_labels}, {"milestones", &cap_kind_milestones}, {"badges", &cap_kind_badges},
    {"boards", &cap_kind_boards}, {"members", NULL},                    {"self", NULL},
    {"namespace_settings", NULL}, {"iterations_cadences", &cap_kind_iterations},
    {"epics", &cap_kind_epics},   {"epic_boards", &cap_kind_epic_boards},
};
/* Those before are read of every group whose export does not have them, the last three where kinds/unread.c sees that there are some. */
#define API_ALWAYS (GS_COUNT(api) - 3)

static int api_index(const char *name)
{
    for (size_t i = 0; i < GS_COUNT(api); i++)
        if (strcmp(api[i].name, name) == 0)
            return (int)i;
    return -1;
}

struct rel_item *rel_item(struct rel_group *rg, const char *name)
{
    for (size_t i = 0; i < rg->n_items; i++)
        if (strcmp(rg->items[i].name, name) == 0)
            return &rg->items[i];
    return NULL;
}

struct rel_more *rel_more(struct rel_group *rg, const char *name)
{
    return strcmp(name, "boards") == 0                ? &rg->boards
           : strcmp(name, "iterations_cadences") == 0 ? &rg->cadences
           : strcmp(name, "epic_boards") == 0         ? &rg->epic_boards
                                                      : NULL;
}

struct rel_item *rel_item_need(struct rel_group *rg, const char *name)
{
    struct rel_item *it = rel_item(rg, name);
    if (it || rg->n_items == REL_MAX_ITEMS)
        return it;
    it = &rg->items[rg->n_items++];
    *it = (struct rel_item){.rg = rg, .objects = -1, .failed_ms = -1, .n_batches = 1};
    snprintf(it->name, sizeof it->name, "%s", name);
    return it;
}

/* The time of the export is in the name, so that a file of another one is never taken for it. */
void rel_file_name(const struct rel_item *it, unsigned batch, char *out, size_t cap)
{
    int64_t id = it->rg->g->id;
    const char *ext = strcmp(it->name, "uploads") == 0 ? "tar.gz" : strcmp(it->name, "self") == 0 ? "json.gz" : "ndjson.gz";
    if (batch)
        snprintf(out, cap, "%" PRId64 ".%s.%" PRId64 ".%u.%s", id, it->name, it->updated_ms, batch, ext);
    else
        snprintf(out, cap, "%" PRId64 ".%s.%" PRId64 ".%s", id, it->name, it->updated_ms, ext);
}

/* ---- what is known of a settled or given up export, for a later run ---- */

static void note_name(const struct rel_group *rg, char *out, size_t cap)
{
    snprintf(out, cap, "%" PRId64 ".export.json", rg->g->id);
}

static int note_text(struct rel_group *rg, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "starts", rg->starts);
    gs_jw_ki64(&w, "server_start_ms", rg->server_start_ms);
    gs_jw_kbool(&w, "stalled", rg->stalled);
    gs_jw_key(&w, "relations");
    gs_jw_arr(&w);
    for (size_t i = 0; i < rg->n_items; i++) {
        const struct rel_item *it = &rg->items[i];
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "name", it->name);
        gs_jw_ki64(&w, "updated_ms", it->updated_ms);
        gs_jw_kbool(&w, "batched", it->batched);
        gs_jw_kbool(&w, "open_ended", it->open_ended);
        gs_jw_ki64(&w, "batches", it->n_batches);
        gs_jw_ki64(&w, "objects", it->objects);
        gs_jw_kbool(&w, "waiting", it->phase == ITEM_WAIT);
        if (it->phase == ITEM_FAILED) {
            gs_jw_kstr(&w, "code", gs_code_name(it->why.code));
            gs_jw_ki64(&w, "http", it->why.http);
            gs_jw_kstr(&w, "failed", it->why.text);
        }
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int rel_group_note(struct rel_group *rg, struct gs_err *err)
{
    struct staging_file *f;
    struct gl_tag tag = {rg->g->id, "export"};
    char name[64];
    gs_autobuf b;
    gs_buf_init(&b, (size_t)1 << 20);
    note_name(rg, name, sizeof name);
    if (note_text(rg, &b, err) || staging_file_begin(rg->all->cap->o.staging, name, &f, err))
        return -1;
    if (staging_file_write(f, b.data, b.len, err)) {
        staging_file_abandon(f);
        return -1;
    }
    return staging_file_commit(f, tag, 0, NULL, err);
}

int rel_group_forget(struct rel_group *rg, struct gs_err *err)
{
    char name[64];
    note_name(rg, name, sizeof name);
    return staging_file_drop(rg->all->cap->o.staging, name, err);
}

static int recall_item(struct rel_group *rg, yyjson_val *v, struct gs_err *err)
{
    const char *name = gs_json_str(v, "name"), *failed = gs_json_str(v, "failed"), *code = gs_json_str(v, "code");
    int64_t batches = 1, http = 0;
    struct rel_item *it = name ? rel_item_need(rg, name) : NULL;
    if (!it)
        return gs_fail(err, GS_E_RECORD, "a relation without a name");
    it->phase = gs_json_true(v, "waiting") ? ITEM_WAIT : ITEM_DOWNLOAD;
    it->batched = gs_json_true(v, "batched");
    it->open_ended = gs_json_true(v, "open_ended");
    if (!gs_json_i64(v, "updated_ms", &it->updated_ms) || !gs_json_i64(v, "batches", &batches) ||
        !gs_json_i64(v, "objects", &it->objects))
        return gs_fail(err, GS_E_RECORD, "relation '%s'", it->name);
    if (batches < 0 || batches > GL_EXPORT_MAX_BATCHES)
        return gs_fail(err, GS_E_RECORD, "relation '%s' of %" PRId64 " batches", it->name, batches);
    it->n_batches = it->open_ended ? 1 : (unsigned)batches;
    gs_json_i64(v, "http", &http);
    if (failed && !(it->updated_ms > 0 && (http == 403 || http == 404 || http == 405))) { /* a refusal is not for ever */
        it->phase = ITEM_FAILED;
        gs_fail(&it->why, code && gs_code_by_name(code) ? gs_code_by_name(code) : GS_E_EXPORT_FAILED, "%s", failed);
    }
    return 0;
}

int rel_group_recall(struct rel_group *rg, bool *out_found, struct gs_err *err)
{
    struct staging_file_info info = {0};
    char name[64];
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf b;
    gs_buf_init(&b, (size_t)1 << 20);
    note_name(rg, name, sizeof name);
    *out_found = false;
    if (staging_file_have(rg->all->cap->o.staging, name, &info, out_found, err))
        return -1;
    int r = *out_found ? gs_read_file(info.path, b.max, &b, err) : 0;
    staging_file_info_release(&info);
    if (r || !*out_found)
        return r;
    int64_t starts = 1;
    if (gs_json_parse(gs_buf_str(&b), b.len, NULL, &doc, err))
        return gs_wrap(err, "'%s' in the staging folder", name);
    yyjson_val *root = yyjson_doc_get_root(doc), *v;
    gs_json_i64(root, "server_start_ms", &rg->server_start_ms);
    gs_json_i64(root, "starts", &starts);
    rg->starts = (unsigned)starts;
    rg->resumed = 1;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(root, "relations"));
    while ((v = yyjson_arr_iter_next(&it)))
        if (recall_item(rg, v, err))
            return gs_wrap(err, "'%s' in the staging folder", name);
    rg->stalled = gs_json_true(root, "stalled");
    if (!rg->stalled)
        rg->state = RG_SETTLED;
    return 0;
}

/* ---- jobs ---- */

static int add_path(struct rel_job *j, struct rel_item *it, unsigned batch, struct gs_err *err)
{
    struct staging_file_info info = {0};
    char name[200];
    bool have = false;
    rel_file_name(it, batch, name, sizeof name);
    if (staging_file_have(it->rg->all->cap->o.staging, name, &info, &have, err))
        return -1;
    if (!have)
        return gs_fail(err, GS_E_IO, "'%s' vanished from the staging folder", name);
    j->paths[j->n_paths++] = gs_steal(&info.path);
    staging_file_info_release(&info);
    return 0;
}

static int start_job(struct rel_item *it, struct gs_err *err)
{
    struct rel_group *rg = it->rg;
    struct capture *c = rg->all->cap;
    struct rel_more *more = rel_more(rg, it->name);
    struct rel_job *j = calloc(1, sizeof *j);
    if (!j || !(j->paths = calloc(it->n_batches + 1, sizeof *j->paths))) {
        free(j);
        return gs_fail(err, GS_E_NOMEM, "no memory for relation '%s'", it->name);
    }
    j->item = it;
    j->group_id = rg->g->id;
    j->relation = it->name;
    j->form = strcmp(it->name, "self") == 0 ? REL_SELF : strcmp(it->name, "uploads") == 0 ? REL_UPLOADS : REL_LINES;
    j->shelf = j->form == REL_SELF                       ? &rg->self
               : strcmp(it->name, "members") == 0        ? &rg->members
               : more && it->asked_more                  ? &more->shelf
                                                         : NULL;
    j->may_ask = more && !it->asked_more;
    j->strict = rg->all->via == CAPTURE_AUTO && j->form == REL_LINES && api_index(it->name) >= 0;
    j->stop = c->o.stop;
    j->writer = book_writer(c->book);
    int r = 0;
    for (unsigned i = 0; i < it->n_batches && r == 0; i++)
        r = add_path(j, it, it->batched ? i + 1 : 0, err);
    if (r == 0 && j->form != REL_UPLOADS)
        r = sink_open(c->book, rg->g->id, it->name, &j->sink, err);
    if (r) {
        rel_job_free(j);
        return -1;
    }
    it->phase = ITEM_JOB;
    rel_submit(rg->all, j);
    return 0;
}

static int post_notes(const struct rel_job *j, struct book *b, struct gs_err *err)
{
    for (size_t i = 0; i < j->n_notes; i++) {
        const struct rel_note *n = &j->notes[i];
        const char *what = n->what[0] ? n->what : NULL, *detail = n->detail[0] ? n->detail : NULL;
        int r = n->kind == NOTE_LOST ? book_lost(b, j->group_id, j->relation, n->rule, what, n->count, detail, err)
                                     : book_left_out(b, j->group_id, j->relation, n->rule, what, n->count, detail, err);
        if (r)
            return -1;
        if (n->kind == NOTE_MISSING)
            book_incomplete(b, n->count);
    }
    return 0;
}

static int merge_users(struct relations *r, const struct rel_job *j, struct gs_err *err)
{
    const struct idset *seen = archive_users_seen(j->users);
    bool is_new;
    for (size_t i = 0; i < seen->cap; i++)
        if (seen->slots[i] && idset_add(&r->mentioned, seen->slots[i], &is_new, err))
            return -1;
    return 0;
}

/*
 * GitLab leaves uploads out of an export whose file is gone from its storage, and counts them all the same. No reading brings them
 * back, so that they do not make a capture incomplete; but they are named.
 */
static int close_uploads(const struct rel_job *j, struct gs_err *err)
{
    uint64_t came = j->files + j->refused;
    int64_t announced = j->item->objects;
    if (announced < 0 || (uint64_t)announced <= came)
        return 0;
    return book_left_out(j->item->rg->g->cap->book, j->group_id, "uploads", "upload-not-readable", NULL, (uint64_t)announced - came,
                         "announced by the export, and not in it: the source has lost their content", err);
}

/* The balance: what the export announced and what came of it; and members whom only the API knows. */
static int close_job(struct rel_job *j, struct gs_err *err)
{
    struct rel_item *it = j->item;
    struct cap_group *g = it->rg->g;
    struct book *b = g->cap->book;
    gs_autofree char *endpoint = gs_asprintf("export:%s", it->name);
    if (!endpoint)
        return gs_fail(err, GS_E_NOMEM, "no memory for a name");
    int64_t announced = it->objects < 0 ? -1 : it->objects > (int64_t)j->invited ? it->objects - (int64_t)j->invited : 0;
    struct ledger_fetch f = {.group_id = g->id, .relation = it->name, .via = "relations", .endpoint = endpoint,
                             .announced = it->objects, .pages = j->n_paths, .bytes = j->bytes,
                             .records = j->form == REL_UPLOADS ? j->files : j->lines};
    if (book_fetch(b, &f, err) || post_notes(j, b, err))
        return -1;
    if (j->form == REL_UPLOADS)
        return close_uploads(j, err);
    if (j->form == REL_SELF || announced < 0)
        announced = (int64_t)j->lines;
    /* lines that are no records are counted by some servers, and not by others */
    if (announced < (int64_t)j->lines && announced >= (int64_t)(j->lines - j->left_out))
        announced = (int64_t)j->lines;
    if (j->added > 0 && j->lines > 0) {
        char before[64], after[96];
        snprintf(before, sizeof before, "%" PRIu64 " in the export", j->lines);
        snprintf(after, sizeof after, "%" PRIu64 " more over the API", j->added);
        if (book_changed(b, g->id, it->name, before, after, err))
            return -1;
    }
    sink_lacking(j->sink, j->left_out);
    return sink_close(gs_steal(&j->sink), announced + (int64_t)j->added, j->left_out, err);
}

static int store_shelf(struct rel_group *rg, const char *relation, const struct shelf *s, struct gs_err *err)
{
    struct sink *sink;
    if (sink_open(rg->g->cap->book, rg->g->id, relation, &sink, err))
        return -1;
    for (size_t i = 0; i < s->n; i++)
        if (sink_add(sink, s->text.data + s->rows[i].off, s->rows[i].len, err)) {
            sink_abandon(sink);
            return -1;
        }
    if (s->left_out > 0 && book_left_out(rg->g->cap->book, rg->g->id, relation, "duplicate-record", NULL, s->left_out, NULL, err)) {
        sink_abandon(sink);
        return -1;
    }
    return sink_close(sink, s->announced, s->left_out, err);
}

static int store_prevent(struct rel_group *rg, struct gs_err *err)
{
    struct sink *s;
    char text[80];
    if (!rg->prevent_known)
        return 0;
    int n = snprintf(text, sizeof text, "{\"prevent_sharing_groups_outside_hierarchy\":%s}", rg->prevent ? "true" : "false");
    if (sink_open(rg->g->cap->book, rg->g->id, "namespace_settings", &s, err))
        return -1;
    if (sink_add(s, text, (size_t)n, err)) {
        sink_abandon(s);
        return -1;
    }
    return sink_close(s, 1, 0, err);
}

static int avatar_by_rest(struct rel_group *rg, struct gs_err *err)
{
    gs_autofree char *url = gs_steal(&rg->avatar_url);
    return url ? cap_avatar(rg->g, url, err) : 0;
}

static int job_done(struct rel_job *j, struct gs_err *err)
{
    struct rel_item *it = j->item;
    struct rel_group *rg = it->rg;
    struct cap_group *g = rg->g;
    uint64_t came = j->lines;
    bool avatar = j->avatar;
    it->phase = ITEM_DONE;
    if (strcmp(it->name, "namespace_settings") == 0 && came == 0 && rg->prevent_known) {
        sink_abandon(gs_steal(&j->sink));
        return store_prevent(rg, err);
    }
    if (merge_users(rg->all, j, err) || close_job(j, err))
        return -1;
    if (strcmp(it->name, "members") == 0 && rg->members_why.code && came > 0)
        return book_lost(g->cap->book, g->id, "members", "attribute-not-readable", "user.name", came, rg->members_why.text, err);
    if (it->asked_more && strcmp(it->name, "boards") == 0 && rg->boards.why.code)
        return book_lost(g->cap->book, g->id, "boards", "board-scope-not-readable", NULL, came, rg->boards.why.text, err);
    return strcmp(it->name, "uploads") == 0 && !avatar ? avatar_by_rest(rg, err) : 0;
}

/* What came is damaged: once more from the server, then it has failed. */
static int damaged(struct rel_item *it, const struct gs_err *why, struct gs_err *err)
{
    char name[200];
    it->why = *why;
    bool again = why->code == GS_E_GZIP || why->code == GS_E_ARCHIVE || why->code == GS_E_JSON;
    for (unsigned i = 0; i < it->n_batches; i++) {
        rel_file_name(it, it->batched ? i + 1 : 0, name, sizeof name);
        if (staging_file_drop(it->rg->all->cap->o.staging, name, err))
            return -1;
    }
    if (again && it->damaged++ == 0) {
        gs_logf(it->rg->all->cap->o.log, GS_LOG_WARN, "%s of '%s' came damaged and is fetched again: %s", it->name,
                it->rg->g->full_path, why->text);
        rel_download_again(it);
    } else {
        it->phase = ITEM_FAILED;
    }
    return 0;
}

static bool of_the_file(const struct gs_err *e)
{
    switch (e->code) {
    case GS_E_GZIP:
    case GS_E_ARCHIVE:
    case GS_E_BOMB:
    case GS_E_LIMIT:
    case GS_E_JSON:
    case GS_E_JSON_UTF8:
    case GS_E_JSON_KEY_TWICE:
    case GS_E_JSON_DEPTH:
    case GS_E_RECORD:
        return true;
    default:
        return false;
    }
}

int rel_job_ended(struct rel_job *j, struct gs_err *err)
{
    struct rel_item *it = j->item;
    struct cap_group *g = it->rg->g;
    int r;
    if (j->rc == 0) {
        r = job_done(j, err);
    } else if (j->needs_more) {
        it->asked_more = true;
        it->phase = ITEM_FETCHED;
        r = api[api_index(it->name)].kind->start(g, err);
    } else if (of_the_file(&j->err)) {
        r = damaged(it, &j->err, err);
    } else {
        *err = j->err;
        r = gs_wrap(err, "%s of group '%s'", it->name, g->full_path);
    }
    rel_job_free(j);
    return r;
}

/* ---- gaps ---- */

/* Read over the API instead. */
static int by_api(struct rel_group *rg, const char *name, struct gs_err *err)
{
    int i = api_index(name);
    if (i < 0)
        return 0;
    if (api[i].kind) {
        return api[i].kind->start(rg->g, err);
    }
    if (strcmp(name, "self") == 0)
        return store_shelf(rg, "self", &rg->self, err);
    return strcmp(name, "namespace_settings") == 0 ? store_prevent(rg, err) : 0;
}

/* The list is there, or the reason why it is not. */
static int members_by_api(struct rel_group *rg, struct gs_err *err)
{
    if (rg->members_why.code)
        return cap_missing_now(rg->g, "members", &rg->members_why, err);
    return store_shelf(rg, "members", &rg->members, err);
}

/* A relation whose export failed. Named as missing unless the API may give it. */
static int item_failed(struct rel_item *it, struct gs_err *err)
{
    struct rel_group *rg = it->rg;
    struct relations *r = rg->all;
    struct book *b = r->cap->book;
    bool can = api_index(it->name) >= 0, self = strcmp(it->name, "self") == 0, members = strcmp(it->name, "members") == 0;
    if (members && !rg->members.ready)
        return 0;
    it->settled = true;
    it->asked_more = false; /* nothing is left that the API's records could be joined with */
    if (!rg->refused) /* said once for the group */
        gs_logf(r->cap->o.log, GS_LOG_WARN, "%s of '%s': %s", it->name, rg->g->full_path, it->why.text);
    if (r->via == CAPTURE_AUTO && can)
        return (!rg->refused && book_fallback(b, rg->g->id, it->name, "relations", "api", it->why.text, err)) ||
                       (members ? members_by_api(rg, err) : by_api(rg, it->name, err))
                   ? -1
                   : 0;
    if (book_missing(b, rg->g->id, it->name, "relation-not-read", it->why.text, err))
        return -1;
    if (strcmp(it->name, "uploads") == 0)
        return avatar_by_rest(rg, err);
    /* without its own record the group would have no place in the tree */
    return self ? by_api(rg, it->name, err) : 0;
}

/* A relation that this server's export does not have: the API gives it, whichever way was asked for. */
static int item_absent(struct rel_item *it, struct gs_err *err)
{
    struct rel_group *rg = it->rg;
    struct book *b = rg->all->cap->book;
    bool members = strcmp(it->name, "members") == 0;
    if (members && !rg->members.ready)
        return 0;
    it->settled = true;
    if (strcmp(it->name, "namespace_settings") == 0 && !rg->prevent_known)
        return 0;
    if (strcmp(it->name, "uploads") == 0)
        return book_left_out(b, rg->g->id, "uploads", "relation-not-read", NULL, 0, "the export does not have them", err) ||
                       avatar_by_rest(rg, err)
                   ? -1
                   : 0;
    if (book_fallback(b, rg->g->id, it->name, "relations", "api", "the export does not have it", err))
        return -1;
    return members ? members_by_api(rg, err) : by_api(rg, it->name, err);
}

/* Everything of a group that cannot be exported. */
static int group_refused(struct rel_group *rg, struct gs_err *err)
{
    struct book *b = rg->all->cap->book;
    bool is_auto = rg->all->via == CAPTURE_AUTO;
    if (is_auto && book_fallback(b, rg->g->id, "export", "relations", "api", rg->why.text, err))
        return -1;
    for (size_t i = 0; i <= API_ALWAYS; i++) {
        struct rel_item *it = rel_item_need(rg, i < API_ALWAYS ? api[i].name : "uploads");
        it->phase = ITEM_FAILED;
        it->why = rg->why;
        if (is_auto && i < API_ALWAYS && strcmp(it->name, "members") != 0) {
            it->settled = true; /* said once for the group */
            if (by_api(rg, it->name, err))
                return -1;
        }
    }
    return 0;
}

/* Once the export is settled, it is known what it does not have. */
static int decide(struct rel_group *rg, struct gs_err *err)
{
    rg->decided = true;
    if (rg->refused && group_refused(rg, err))
        return -1;
    for (size_t i = 0; i <= API_ALWAYS; i++) {
        const char *name = i < API_ALWAYS ? api[i].name : "uploads";
        if (rel_item(rg, name))
            continue;
        struct rel_item *it = rel_item_need(rg, name);
        if (!it)
            return gs_fail(err, GS_E_LIMIT, "the export of '%s' has more than %d relations", rg->g->full_path, REL_MAX_ITEMS);
        it->phase = ITEM_ABSENT;
    }
    return cap_kind_unread.start(rg->g, err);
}

static int item_step(struct rel_item *it, struct gs_err *err)
{
    struct rel_group *rg = it->rg;
    bool members = strcmp(it->name, "members") == 0;
    switch (it->phase) {
    case ITEM_FETCHED:
        if ((members && !rg->members.ready) || (it->asked_more && !rel_more(rg, it->name)->shelf.ready))
            return 0;
        return start_job(it, err);
    case ITEM_FAILED:
        return it->settled ? 0 : item_failed(it, err);
    case ITEM_ABSENT:
        return it->settled ? 0 : item_absent(it, err);
    default:
        return 0;
    }
}

static bool item_over(const struct rel_item *it)
{
    return it->phase == ITEM_DONE || ((it->phase == ITEM_FAILED || it->phase == ITEM_ABSENT) && it->settled && it->in_flight == 0);
}

int rel_group_step(struct rel_group *rg, bool *out_over, struct gs_err *err)
{
    *out_over = false;
    if (rg->state == RG_SETTLED && !rg->decided && decide(rg, err))
        return -1;
    for (size_t i = 0; i < rg->n_items; i++)
        if (item_step(&rg->items[i], err))
            return -1;
    *out_over = rg->state == RG_SETTLED && rg->decided;
    for (size_t i = 0; i < rg->n_items; i++)
        *out_over &= item_over(&rg->items[i]);
    return 0;
}
