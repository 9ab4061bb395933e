#include "cmd/replay/serve_drive.h"

#include "libcommon/clock.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 2000

struct drive {
    struct cli *cli;
    struct gl_client *client;
    const struct gs_secret *source_token;
    int64_t id, asked_ms;
    char status[32];
    bool over;
};

/* The target may repeat what it was sent. */
static int blanked(struct drive *d, struct gs_err *err)
{
    gl_blank(d->source_token->data, d->source_token->len, err->text, strlen(err->text));
    return -1;
}

/* One object about the import for programs, one line for people. */
static int tell(struct drive *d, const char *event, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 16);
    if (!d->cli->common->json) {
        cli_out(d->cli, "import      %" PRId64 " on the target: %s\n", d->id, cli_safe(d->status));
        cli_out_flush(d->cli);
        return 0;
    }
    cli_json_begin(&w, &buf, "serve", err);
    gs_jw_kstr(&w, "event", event);
    gs_jw_ki64(&w, "import", d->id);
    gs_jw_kstr(&w, "status", cli_valid(d->status));
    if (cli_json_end(d->cli, &w))
        return -1;
    cli_out_flush(d->cli);
    return 0;
}

static struct gl_request *request(const struct drive_opts *o, struct gs_err *err)
{
    struct gl_request *r = gl_request_new(GL_POST, "/bulk_imports");
    struct gs_jw w;
    gs_autobuf body;
    gs_buf_init(&body, 1 << 16);
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_key(&w, "configuration");
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "url", o->source_url);
    gs_jw_key(&w, "access_token");
    gs_jw_strn(&w, o->source_token->data, o->source_token->len);
    gs_jw_end(&w);
    gs_jw_key(&w, "entities");
    gs_jw_arr(&w);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "source_type", "group_entity");
    gs_jw_kstr(&w, "source_full_path", o->source_path);
    gs_jw_kstr(&w, "destination_slug", o->slug);
    gs_jw_kstr(&w, "destination_namespace", o->into ? o->into : "");
    gs_jw_kbool(&w, "migrate_projects", false);
    gs_jw_end(&w);
    gs_jw_end(&w);
    gs_jw_end(&w);
    int failed = gs_jw_finish(&w);
    if (r && !failed)
        r->body = gs_buf_steal(&body, &r->body_len);
    if (r && !failed && r->body)
        return r;
    if (!failed)
        gs_fail(err, GS_E_NOMEM, "no memory for a request");
    gl_request_free(r);
    return NULL;
}

static int take(struct drive *d, yyjson_val *v, struct gs_err *err)
{
    const char *status = gs_json_str(v, "status");
    if (!status || !gs_json_i64(v, "id", &d->id))
        return gs_fail(err, GS_E_REMOTE, "the answer about the import holds no id or status");
    snprintf(d->status, sizeof d->status, "%s", status);
    d->over = strcmp(status, "created") != 0 && strcmp(status, "started") != 0;
    return 0;
}

int drive_start(struct cli *cli, const struct drive_opts *o, struct drive **out, struct gs_err *err)
{
    GS_AUTO(drive) d = calloc(1, sizeof *d);
    GS_AUTO(yyjson_doc) doc = NULL;
    struct cli_remote remote = {.url = o->url, .cacert = o->cacert, .allow_http = o->allow_http};
    struct gl_response rsp = {0};
    if (!d)
        return gs_fail(err, GS_E_NOMEM, "no memory to follow an import");
    d->cli = cli;
    d->source_token = o->source_token;
    if (cli_client(cli, &remote, true, &d->client, err))
        return -1;
    struct gl_request *r = request(o, err);
    if (!r)
        return -1;
    int ret = gl_perform(d->client, r, &rsp, err) || gl_response_json(&rsp, &doc, err) || take(d, yyjson_doc_get_root(doc), err);
    gl_response_release(&rsp);
    if (ret) {
        blanked(d, err);
        return gs_wrap(err, "starting the import on %s", o->url);
    }
    d->asked_ms = gs_mono_ms();
    if (tell(d, "import", err))
        return -1;
    *out = gs_steal(&d);
    return 0;
}

bool drive_finished(const struct drive *d)
{
    return strcmp(d->status, "finished") == 0;
}

struct gl_client *drive_client(const struct drive *d)
{
    return d->client;
}

void drive_free(struct drive *d)
{
    if (!d)
        return;
    gl_client_free(d->client);
    free(d);
}

int drive_step(struct drive *d, bool *out_over, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    char path[64], before[sizeof d->status];
    *out_over = d->over;
    if (d->over || gs_mono_ms() - d->asked_ms < POLL_MS)
        return 0;
    snprintf(path, sizeof path, "/bulk_imports/%" PRId64, d->id);
    snprintf(before, sizeof before, "%s", d->status);
    if (gl_get(d->client, path, &doc, err) || take(d, yyjson_doc_get_root(doc), err)) {
        blanked(d, err);
        return gs_wrap(err, "asking how the import goes");
    }
    d->asked_ms = gs_mono_ms();
    *out_over = d->over;
    return strcmp(before, d->status) != 0 ? tell(d, "import", err) : 0;
}

/* ---- failures ---- */

struct listing {
    struct drive *d;
    uint64_t failures;
};

static int tell_failure(struct listing *l, yyjson_val *entity, yyjson_val *f, struct gs_err *err)
{
    const char *path = gs_json_str(entity, "source_full_path"), *relation = gs_json_str(f, "relation"), *text = gs_json_str(f, "exception_message");
    char words[400];
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 16);
    snprintf(words, sizeof words, "%s", text ? text : "");
    gl_blank(l->d->source_token->data, l->d->source_token->len, words, strlen(words));
    l->failures++;
    if (!l->d->cli->common->json) {
        cli_out(l->d->cli, "failed      %s: %s: %s\n", cli_safe(path ? path : ""), cli_safe(relation ? relation : ""), cli_safe(words));
        return 0;
    }
    cli_json_begin(&w, &buf, "serve", err);
    gs_jw_kstr(&w, "event", "import-failure");
    gs_jw_kstr(&w, "group", path);
    gs_jw_kstr(&w, "relation", relation);
    gs_jw_kstr(&w, "text", cli_valid(words));
    return cli_json_end(l->d->cli, &w);
}

static int entities(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    size_t i, n, j, m;
    yyjson_val *e, *f;
    yyjson_arr_foreach(array, i, n, e)
    {
        yyjson_val *failures = yyjson_obj_get(e, "failures");
        yyjson_arr_foreach(failures, j, m, f)
        {
            if (tell_failure(cookie, e, f, err))
                return -1;
        }
    }
    return 0;
}

int drive_end(struct drive *d, bool *out_good, struct gs_err *err)
{
    struct listing l = {.d = d};
    struct gl_pages pages;
    char path[64];
    snprintf(path, sizeof path, "/bulk_imports/%" PRId64 "/entities", d->id);
    if (gl_list_all(d->client, path, entities, &l, &pages, err)) {
        blanked(d, err);
        return gs_wrap(err, "asking what of the import failed");
    }
    *out_good = drive_finished(d) && l.failures == 0;
    return 0;
}
