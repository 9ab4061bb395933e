#include "cmd/replay/upload.h"

#include "libcommon/clock.h"
#include "libserve/export_archive.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SENDS 3
#define POLL_MS 2000
#define SLOWEST ((uint64_t)32 << 10) /* bytes in a second below which an upload is given up */
#define PATIENCE_MS 120000           /* for the answer */

/* Lists of a group by which it is seen how far its import is: what only direct members of the list are. */
static const struct {
    const char *relation, *list;
} counted[] = {
    {"labels", "labels?only_group_labels=true&include_ancestor_groups=false&include_descendant_groups=false"},
    {"milestones", "milestones?include_ancestors=false"},
    {"badges", "badges?"},
    {"boards", "boards?"},
    {"epics", "epics?include_ancestor_groups=false&include_descendant_groups=false"},
};

struct upload {
    struct cli *cli;
    const struct upload_opts *o;
    const struct content *c;
    struct gl_client *client;
    char *path;               /* full path of the group that is made */
    int64_t parent_id, id;    /* 0: none; not known yet */
    char *web_url;
    uint64_t size;
    size_t *order;            /* in which groups arrive */
    /* what was seen last */
    uint64_t groups, records;
    size_t at;                /* place in `order` of the group that is on its way */
    int64_t asked_ms;
};

struct gl_client *upload_client(const struct upload *u)
{
    return u->client;
}

const char *upload_path(const struct upload *u)
{
    return u->path;
}

/* An object about how it goes for programs; people see lines. */
static int event(struct upload *u, const char *what, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 16);
    if (!u->cli->common->json)
        return 0;
    cli_json_begin(&w, &buf, "archive", err);
    gs_jw_kstr(&w, "event", what);
    gs_jw_kstr(&w, "group", u->path);
    if (u->id) {
        gs_jw_ki64(&w, "group_id", u->id);
        gs_jw_kstr(&w, "url", u->web_url ? cli_valid(u->web_url) : NULL);
    }
    if (u->groups) {
        gs_jw_ki64(&w, "groups_arrived", (int64_t)u->groups);
        gs_jw_ki64(&w, "groups_expected", (int64_t)u->c->n_groups);
    }
    if (cli_json_end(u->cli, &w))
        return -1;
    cli_out_flush(u->cli);
    return 0;
}

/* A group by its full path. *out_found false: it is not there, or not for the token's user. */
static int find(struct upload *u, const char *path, int64_t *out_id, char **out_url, bool *out_found, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gl_response rsp = {0};
    gs_autofree char *segment = gl_encode(path);
    struct gl_request *r = segment ? gl_request_new(GL_GET, "/groups/%s?with_projects=false", segment) : NULL;
    *out_found = false;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->live = true;
    int ret = gl_perform(u->client, r, &rsp, err);
    if (ret && rsp.status == 404) {
        *err = (struct gs_err){0};
        ret = 0;
    } else if (!ret) {
        ret = gl_response_json(&rsp, &doc, err);
        yyjson_val *g = yyjson_doc_get_root(doc);
        *out_found = !ret && gs_json_i64(g, "id", out_id);
        if (!ret && !*out_found)
            ret = gs_fail(err, GS_E_REMOTE, "the answer about group '%s' holds no id", path);
        const char *url = gs_json_str(g, "web_url");
        if (!ret && out_url && url) {
            free(*out_url);
            *out_url = strdup(url);
        }
    }
    gl_response_release(&rsp);
    return ret;
}

int upload_open(struct cli *cli, const struct upload_opts *o, const struct content *c, struct upload **out, struct gs_err *err)
{
    GS_AUTO(upload) u = calloc(1, sizeof *u);
    bool found;
    int64_t id = 0;
    if (!u)
        return gs_fail(err, GS_E_NOMEM, "no memory for an upload");
    u->cli = cli;
    u->o = o;
    u->c = c;
    u->path = o->into ? gs_asprintf("%s/%s", o->into, o->slug) : strdup(o->slug);
    if (!u->path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (export_archive_order(c, &u->order, err) || cli_client(cli, o->remote, true, &u->client, err))
        return -1;
    if (o->into) {
        if (find(u, o->into, &u->parent_id, NULL, &found, err))
            return gs_wrap(err, "looking for group '%s' on %s", o->into, gl_client_url(u->client));
        if (!found)
            return gs_fail(err, GS_E_GROUP_NOT_FOUND, "group '%s', to import below, is not on %s", o->into, gl_client_url(u->client));
    }
    if (find(u, u->path, &id, NULL, &found, err))
        return gs_wrap(err, "looking for group '%s' on %s", u->path, gl_client_url(u->client));
    if (found)
        return gs_fail(err, GS_E_TARGET_TAKEN, "group '%s' is on %s already: a file import makes its group itself", u->path,
                       gl_client_url(u->client));
    *out = gs_steal(&u);
    return 0;
}

void upload_free(struct upload *u)
{
    if (!u)
        return;
    gl_client_free(u->client);
    free(u->path);
    free(u->web_url);
    free(u->order);
    free(u);
}

/* ---- sending ---- */

static void sent(void *cookie, uint64_t bytes)
{
    struct upload *u = cookie;
    if (bytes < u->size)
        cli_progress(u->cli, "uploading: %s of %s", cli_bytes(bytes), cli_bytes(u->size));
    else
        cli_progress(u->cli, "uploaded %s, waiting for the answer", cli_bytes(u->size));
}

static int send_once(struct upload *u, const struct gl_file *file, enum gl_outcome *out_outcome, struct gs_err *err)
{
    char parent[24];
    gs_autofree char *filename = gs_asprintf("%s_export.tar.gz", u->o->slug);
    struct gl_part parts[4] = {{.name = "name", .data = u->o->name, .len = strlen(u->o->name)},
                               {.name = "path", .data = u->o->slug, .len = strlen(u->o->slug)}};
    size_t n = 2;
    struct gl_response rsp = {0};
    struct gl_request *r = filename ? gl_request_new(GL_POST, "/groups/import") : NULL;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    snprintf(parent, sizeof parent, "%" PRId64, u->parent_id);
    if (u->parent_id)
        parts[n++] = (struct gl_part){.name = "parent_id", .data = parent, .len = strlen(parent)};
    /* the file last: what stands before it can be refused early */
    parts[n++] = (struct gl_part){.name = "file", .filename = filename, .content_type = "application/gzip", .file = file};
    r->parts = parts;
    r->n_parts = n;
    r->accept_type = "any"; /* GitLab's own proxy says some things in other words than JSON */
    r->deadline_ms = PATIENCE_MS + (int64_t)(file->size / SLOWEST) * 1000;
    int ret = gl_perform(u->client, r, &rsp, err);
    *out_outcome = rsp.outcome;
    if (ret && rsp.outcome == GL_ANSWERED && rsp.status == 413)
        err->code = GS_E_IMPORT_SIZE;
    else if (ret && rsp.outcome == GL_ANSWERED && (rsp.status == 400 || rsp.status == 422) && gl_error_names(rsp.body.data, rsp.body.len, "path") &&
             gl_error_duplicate(rsp.status, rsp.body.data, rsp.body.len) == GL_DUP_YES)
        err->code = GS_E_TARGET_TAKEN;
    else if (ret && err->code == GS_E_REFUSED)
        err->code = GS_E_IMPORT_REFUSED;
    gl_response_release(&rsp);
    cli_progress_end(u->cli);
    return ret;
}

static int pause_for(int64_t ms, struct gs_err *err)
{
    for (int64_t end = gs_mono_ms() + ms; gs_mono_ms() < end;) {
        if (cli_stop)
            return gs_fail(err, GS_E_STOPPED, "stopped");
        gs_sleep_ms(end - gs_mono_ms() < 100 ? 10 : 100);
    }
    return 0;
}

/* Is the group there, at once or soon? What is shown may lag behind what was done. */
static int look(struct upload *u, const char *why, bool *out_found, struct gs_err *err)
{
    static const int64_t waits[] = {500, 1500, 3000, 5000};
    for (size_t i = 0; i < GS_COUNT(waits); i++) {
        cli_progress(u->cli, "%s: looking whether '%s' is there", why, cli_safe(u->path));
        if (pause_for(u->o->settle_s < 60 ? waits[i] / 8 : waits[i], err) || find(u, u->path, &u->id, &u->web_url, out_found, err))
            return -1;
        if (*out_found)
            return 0;
    }
    return 0;
}

int upload_send(struct upload *u, int fd, uint64_t size, struct gs_err *err)
{
    const struct gl_file file = {.fd = fd, .size = size, .sent = sent, .cookie = u};
    bool found = false;
    u->size = size;
    for (unsigned i = 1;; i++) {
        enum gl_outcome outcome = GL_NOT_SENT;
        struct gs_err lost = {0};
        int r = send_once(u, &file, &outcome, &lost);
        if (!r)
            break;
        if (lost.code == GS_E_STOPPED || (outcome != GL_UNKNOWN && !(i > 1 && lost.code == GS_E_TARGET_TAKEN))) {
            *err = lost;
            return gs_wrap(err, "uploading to %s", gl_client_url(u->client));
        }
        /* also when it was sent again, and the path is taken now: by what was sent before */
        if (look(u, "no answer came", &found, err)) {
            cli_progress_end(u->cli);
            if (err->code == GS_E_STOPPED)
                return gs_wrap(err, "no answer came to the upload, and whether it was taken was not looked at to the end");
            err->code = GS_E_IMPORT_UNKNOWN;
            return gs_wrap(err, "no answer came to the upload (%s), and looking for group '%s' failed", lost.text, u->path);
        }
        cli_progress_end(u->cli);
        if (found) {
            cli_note(u->cli, "no answer came to the upload, but the group is there: it was taken");
            break;
        }
        if (i == SENDS) {
            *err = lost;
            err->code = GS_E_IMPORT_UNKNOWN;
            return gs_wrap(err, "uploading to %s, %u times, without an answer and without a group", gl_client_url(u->client), i);
        }
        cli_note(u->cli, "no answer came to the upload (%s), and the group is not there: sending it again", lost.text);
    }
    if (!found && look(u, "taken", &found, err))
        return gs_wrap(err, "the upload was taken; looking for its group");
    cli_progress_end(u->cli);
    if (!found)
        return gs_fail(err, GS_E_IMPORT_UNKNOWN, "%s took the upload, but shows no group '%s'", gl_client_url(u->client), u->path);
    if (!u->cli->common->json)
        cli_out(u->cli, "upload      %s, taken\ngroup       %s\n", cli_bytes(size), cli_safe(u->web_url ? u->web_url : u->path));
    cli_out_flush(u->cli);
    return event(u, "upload", err);
}

/* ---- following ---- */

/* How much is in a list: *out_n, where the server says it, and whether there are `want` at least. A list that is refused counts as there. */
static int count(struct upload *u, const char *path, uint64_t want, uint64_t *out_n, bool *out_enough, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gl_response rsp = {0};
    *out_n = 0;
    *out_enough = true;
    if (want == 0)
        return 0;
    struct gl_request *r = gl_request_new(GL_GET, "%s%sper_page=1&page=%" PRIu64, path, path[strlen(path) - 1] == '?' ? "" : "&", want);
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->live = true;
    int ret = gl_perform(u->client, r, &rsp, err);
    if (ret && (rsp.status == 403 || rsp.status == 404)) {
        *err = (struct gs_err){0};
        ret = 0;
    } else if (!ret) {
        ret = gl_response_json(&rsp, &doc, err);
        *out_enough = !ret && yyjson_arr_size(yyjson_doc_get_root(doc)) > 0;
        *out_n = rsp.total >= 0 ? (uint64_t)rsp.total : *out_enough ? want : 0;
    }
    gl_response_release(&rsp);
    return ret;
}

/* Where a group of the bundle is on the target. */
static char *path_there(const struct upload *u, size_t group)
{
    return gs_asprintf("%s%s", u->path, u->c->groups[group].full_path + strlen(u->c->groups[0].full_path));
}

/* How many groups are there, and how much is in the one that came last. *out_all: everything that can be counted. */
static int poll_once(struct upload *u, bool *out_all, struct gs_err *err)
{
    char path[192];
    bool enough;
    uint64_t n;
    size_t last = u->c->n_groups - 1;
    snprintf(path, sizeof path, "/groups/%" PRId64 "/descendant_groups?", u->id);
    if (count(u, path, last, &n, &enough, err))
        return -1;
    u->groups = (enough ? last : n < last ? n : last) + 1;
    u->at = (size_t)u->groups - 1;
    *out_all = enough;
    gs_autofree char *there = path_there(u, u->order[u->at]);
    gs_autofree char *segment = there ? gl_encode(there) : NULL;
    u->records = 0;
    for (size_t i = 0; i < GS_COUNT(counted); i++) {
        const struct content_row *row = content_row(u->c, u->order[u->at], counted[i].relation);
        gs_autofree char *list = segment ? gs_asprintf("/groups/%s/%s", segment, counted[i].list) : NULL;
        if (!list)
            return gs_fail(err, GS_E_NOMEM, "no memory for a path");
        if (count(u, list, row ? row->records : 0, &n, &enough, err))
            return -1;
        u->records += n;
        *out_all = *out_all && enough;
    }
    return 0;
}

int upload_follow(struct upload *u, enum upload_end *out_end, struct gs_err *err)
{
    int64_t began = gs_mono_ms(), changed = began, settle = (int64_t)u->o->settle_s * 1000, wait = (int64_t)u->o->wait_s * 1000;
    int64_t every = settle / 4 < POLL_MS ? settle / 4 : POLL_MS;
    uint64_t groups = 0, records = 0;
    bool all = false, moved = false;
    for (;;) {
        if (poll_once(u, &all, err))
            return gs_wrap(err, "asking what has arrived in group '%s' (the import goes on there)", u->path);
        int64_t now = gs_mono_ms();
        if (u->groups != groups || u->records != records) {
            moved = moved || u->groups > 1 || u->records > 0;
            changed = now;
            if (u->groups != groups && event(u, "import", err))
                return -1;
            groups = u->groups;
            records = u->records;
        }
        cli_progress(u->cli, "importing: %s of %s groups are there; %s records so far in %s", cli_count(groups), cli_count(u->c->n_groups),
                     cli_count(records), cli_safe(u->c->groups[u->order[u->at]].full_path));
        /* what cannot be counted of the last group is on its way for a moment longer */
        *out_end = all ? UPLOAD_COMPLETE : moved && now - changed >= settle ? UPLOAD_QUIET : UPLOAD_NOT_YET;
        if ((all && now - changed >= settle / 6) || *out_end == UPLOAD_QUIET || now - began >= wait)
            break;
        if (pause_for(every, err))
            return gs_wrap(err, "the import goes on in group '%s' without this program (reconcile --importer file tells later what came of it)", u->path);
    }
    cli_progress_end(u->cli);
    if (!u->cli->common->json)
        cli_out(u->cli, "arrived     %s of %s groups%s\n", cli_count(groups), cli_count(u->c->n_groups),
                *out_end == UPLOAD_COMPLETE  ? ""
                : *out_end == UPLOAD_QUIET ? "; nothing more comes"
                                           : "; more may come");
    return event(u, *out_end == UPLOAD_COMPLETE ? "complete" : *out_end == UPLOAD_QUIET ? "quiet" : "not-yet", err);
}
