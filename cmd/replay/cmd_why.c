/* replay why: the story of one record: where it came from, what was sent, what came back, and what is there now. */
#include "cmd/replay/verbs.h"
#include "formats/shape.h"
#include "libcommon/clock.h"
#include "libreplay/loss.h"
#include "libreplay/plan.h"
#include "libreplay/story.h"

#include <string.h>

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    const char *state, *bundle;
    bool offline;
};

static const struct cli_opt opts[] = {
    {.name = "state", .type = CLI_STR, .offset = offsetof(struct opts, state), .arg = "FILE", .required = true,
     .help = "the state file of the load"},
    {.name = "bundle", .type = CLI_STR, .offset = offsetof(struct opts, bundle), .arg = "FILE",
     .help = "the bundle, where it is not any more where the load took it from"},
    {.name = "offline", .type = CLI_FLAG, .offset = offsetof(struct opts, offline),
     .help = "do not ask the target what is there now"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_remote_known, 0}, {cli_opts_trust, offsetof(struct opts, trust)}, {0}};

struct why {
    struct cli *cli;
    struct state *state;
    struct bundle *bundle;
    struct gl_client *client; /* NULL: the target is not asked */
    struct story_of of;
    struct grp grp;
    struct gs_jw *w; /* NULL: for people */
    uint64_t found;  /* things that are known of it */
};

static const char *when(int64_t ms, char out[GS_TIME_LEN])
{
    if (ms <= 0)
        return NULL;
    gs_time_format(ms, out);
    return out;
}

/* ---- where it came from ---- */

static int source_record(struct why *y, const void *data, size_t len, struct gs_err *err)
{
    gs_autobuf json, norm, key;
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_buf_init(&json, (size_t)256 << 20);
    gs_buf_init(&norm, (size_t)256 << 20);
    gs_buf_init(&key, (size_t)256 << 20);
    if (record_to_json(bundle_encoding(y->bundle), data, len, NULL, &json, err) || gs_json_parse(gs_buf_str(&json), json.len, NULL, &doc, err))
        return -1;
    yyjson_val *rec = yyjson_doc_get_root(doc);
    bool self = strcmp(y->of.relation, "self") == 0;
    /* kinds that are their content are called by their name */
    const char *name = gs_json_str(rec, "name");
    if (!self && shape_key(y->of.relation, rec, &key, err))
        return -1;
    if (!self && strcmp(gs_buf_str(&key), y->of.key) != 0 && !(name && strcmp(name, y->of.key) == 0))
        return 0;
    y->found++;
    if (y->w) {
        gs_jw_val(y->w, rec);
        return 0;
    }
    cli_out(y->cli, "in the bundle\n  ");
    if (gs_buf_addc(&json, '\n', err))
        return -1;
    return cli_out_json(y->cli, &json, err);
}

static int source(struct why *y, struct gs_err *err)
{
    GS_AUTO(bundle_cursor) c = NULL;
    const void *data;
    size_t len;
    if (!y->bundle || bundle_count(y->bundle, y->of.grp, y->of.relation) == 0)
        return 0;
    if (bundle_cursor_open(y->bundle, y->of.grp, y->of.relation, &c, err))
        return -1;
    for (;;) {
        if (bundle_cursor_next(c, &data, &len, NULL, err))
            return -1;
        if (!data)
            return 0;
        if (source_record(y, data, len, err))
            return -1;
    }
}

/* ---- what is there now ---- */

/* Where the object of a step is asked for; *out NULL: nowhere. Epics by their numbers, where the target has them over REST. */
static int place_of(struct why *y, const struct story_step *x, char **out, struct gs_err *err)
{
    long long group = y->grp.target_id, id = x->op.target_id;
    gs_autofree char *api = NULL, *number = NULL;
    *out = NULL;
    if (x->at) {
        *out = *x->at ? gs_asprintf("/groups/%lld/%s/%lld", group, x->at, id) : gs_asprintf("/groups/%lld?with_projects=false", group);
        return *out ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
    }
    if (strcmp(x->op.kind, "epics") != 0)
        return 0;
    if (state_meta_get(y->state, "epics_api", &api, err) || state_address(y->state, x->op.id, &number, err))
        return -1;
    if (api && strcmp(api, "work-items") == 0)
        return 0;
    *out = gs_asprintf("/groups/%lld/epics/%s", group, number ? number : y->of.key);
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
}

/* *out NULL: it cannot be asked for; *out_gone: the target does not have it. */
static int there_now(struct why *y, const struct story_step *x, yyjson_doc **out, bool *out_gone, struct gs_err *err)
{
    *out = NULL;
    *out_gone = false;
    gs_autofree char *path = NULL;
    if (!y->client || !x->op.target_id || !y->grp.target_id)
        return 0;
    if (place_of(y, x, &path, err))
        return -1;
    if (!path)
        return 0;
    if (gl_get(y->client, path, out, err) == 0) {
        /* where a label of this id is gone, one whose title is the number is shown */
        int64_t id = 0;
        *out_gone = gs_json_i64(yyjson_doc_get_root(*out), "id", &id) && id != x->op.target_id;
        if (*out_gone) {
            yyjson_doc_free(*out);
            *out = NULL;
        }
        return 0;
    }
    if (err->http != 404)
        return -1;
    gs_err_clear(err);
    *out_gone = true;
    return 0;
}

static int step_json(struct why *y, const struct story_step *x, yyjson_doc *now, bool gone)
{
    struct gs_jw *w = y->w;
    char t[GS_TIME_LEN];
    gs_jw_obj(w);
    gs_jw_kstr(w, "step", x->op.kind);
    gs_jw_kstr(w, "state", op_state_name(x->op.state));
    gs_jw_ki64(w, "source_id", x->op.src_id);
    gs_jw_ki64(w, "target_id", x->op.target_id);
    gs_jw_ki64(w, "writes", x->op.tries);
    gs_jw_kstr(w, "sent_at", when(x->op.sent_at, t));
    gs_jw_kstr(w, "ended_at", when(x->ended_ms, t));
    gs_jw_kbool(w, "was_there", x->op.adopted);
    gs_jw_kbool(w, "found", x->op.found);
    gs_jw_ki64(w, "http", x->op.http);
    gs_jw_kstr(w, "code", x->op.code);
    gs_jw_kstr(w, "text", x->op.text);
    gs_jw_kstr(w, "request", x->op.request);
    gs_jw_kstr(w, "request_id", x->op.request_id);
    gs_jw_kbool(w, "gone", gone);
    gs_jw_key(w, "now");
    if (now)
        gs_jw_val(w, yyjson_doc_get_root(now));
    else
        gs_jw_null(w);
    gs_jw_end(w);
    return 0;
}

static int step_text(struct why *y, const struct story_step *x, yyjson_doc *now, bool gone, struct gs_err *err)
{
    struct cli *cli = y->cli;
    const struct op *op = &x->op;
    char t[GS_TIME_LEN];
    cli_out(cli, "step %lld (%s): %s\n", (long long)op->id, cli_safe(op->kind), op_state_name(op->state));
    if (when(op->sent_at, t))
        cli_out(cli, "  sent first  %s, by the target's clock\n", t);
    if (when(x->ended_ms, t))
        cli_out(cli, "  ended       %s\n", t);
    if (op->tries)
        cli_out(cli, "  writes      %u\n", op->tries);
    if (op->request && *op->request)
        cli_out(cli, "  request     %s\n", cli_safe(op->request));
    if (op->http)
        cli_out(cli, "  answered    HTTP %d\n", op->http);
    if (op->text && *op->text)
        cli_out(cli, "  said        %s\n", cli_safe(op->text));
    if (op->code && *op->code)
        cli_out(cli, "  code        %s\n", cli_safe(op->code));
    if (op->request_id && *op->request_id)
        cli_out(cli, "  request id  %s\n", cli_safe(op->request_id));
    if (op->target_id)
        cli_out(cli, "  there       id %lld%s\n", (long long)op->target_id,
                op->adopted ? ", which was there before" : op->found ? ", recognised after its answer was lost" : "");
    if (gone)
        cli_out(cli, "  now         it is not there any more, or not to be seen with this token\n");
    if (!now)
        return 0;
    gs_autobuf json;
    gs_buf_init(&json, (size_t)256 << 20);
    cli_out(cli, "  now         ");
    return gs_json_write(yyjson_doc_get_root(now), &json, err) || gs_buf_addc(&json, '\n', err) || cli_out_json(cli, &json, err) ? -1 : 0;
}

static int step(void *cookie, const struct story_step *x, struct gs_err *err)
{
    struct why *y = cookie;
    GS_AUTO(yyjson_doc) now = NULL;
    bool gone;
    y->found++;
    if (there_now(y, x, &now, &gone, err))
        return -1;
    return y->w ? step_json(y, x, now, gone) : step_text(y, x, now, gone, err);
}

static int loss(void *cookie, const char *code, const char *detail, struct gs_err *err)
{
    struct why *y = cookie;
    const struct loss_rule *l = loss_find(code);
    (void)err;
    if (y->w) {
        gs_jw_obj(y->w);
        gs_jw_kstr(y->w, "code", code);
        gs_jw_kstr(y->w, "text", l ? l->text : NULL);
        gs_jw_kstr(y->w, "detail", detail);
        gs_jw_end(y->w);
        return 0;
    }
    cli_out(y->cli, "lost: %s%s%s [%s]\n", l ? l->text : "", detail && *detail ? ": " : "", detail ? cli_safe(detail) : "", cli_safe(code));
    return 0;
}

/* ---- all of it ---- */

static int tell(struct why *y, struct gs_err *err)
{
    gs_autobuf buf;
    struct gs_jw w;
    gs_buf_init(&buf, (size_t)1 << 30);
    if (y->cli->common->json) {
        cli_json_begin(&w, &buf, "why", err);
        gs_jw_kstr(&w, "group", y->of.group);
        gs_jw_kstr(&w, "target_group", y->grp.dst_path);
        gs_jw_kstr(&w, "relation", y->of.relation);
        gs_jw_kstr(&w, "key", y->of.key);
        gs_jw_key(&w, "source");
        gs_jw_arr(&w);
        y->w = &w;
    } else {
        cli_out(y->cli, "%s '%s' of %s, which is %s on the target\n", cli_safe(y->of.relation), cli_safe(y->of.key), cli_safe(y->of.group),
                cli_safe(y->grp.dst_path));
    }
    if (source(y, err))
        return -1;
    if (y->w) {
        gs_jw_end(&w);
        gs_jw_key(&w, "steps");
        gs_jw_arr(&w);
    }
    if (story_steps(y->state, &y->of, step, y, err))
        return -1;
    if (y->w) {
        gs_jw_end(&w);
        gs_jw_key(&w, "losses");
        gs_jw_arr(&w);
    }
    if (story_losses(y->state, &y->of, loss, y, err))
        return -1;
    if (y->w) {
        gs_jw_end(&w);
        gs_jw_kbool(&w, "known", y->found > 0);
    }
    if (y->found == 0)
        return gs_fail(err, GS_E_NOT_FOUND, "neither the bundle nor the load knows a record '%s' among the %s of '%s'", y->of.key, y->of.relation,
                       y->of.group);
    return y->w ? cli_json_end(y->cli, &w) : 0;
}

/* The bundle where the load took it from, unless another place is named; without one, its content is left out. */
static int open_bundle(struct cli *cli, const struct opts *o, struct state *s, struct sign_trust *trust, struct bundle **out, struct gs_err *err)
{
    gs_autofree char *noted = NULL;
    if (state_meta_get(s, "bundle_path", &noted, err) || cli_trust_load(&o->trust, false, trust, err))
        return -1;
    const char *path = o->bundle ? o->bundle : noted;
    if (!path)
        return 0;
    if (cli_bundle_open(cli, &o->trust, trust, path, out, err)) {
        if (o->bundle || err->code != GS_E_NOT_FOUND)
            return -1;
        cli_note(cli, "'%s' is not there any more: --bundle FILE names it", cli_safe(path));
        gs_err_clear(err);
        return 0;
    }
    return plan_check(s, *out, NULL, 0, NULL, err);
}

static int open_client(struct cli *cli, const struct opts *o, struct state *s, struct gl_client **out, struct gs_err *err)
{
    gs_autofree char *url = NULL;
    struct cli_remote remote = o->r;
    if (o->offline)
        return 0;
    if (state_meta_get(s, "target_url", &url, err))
        return -1;
    if (!remote.url)
        remote.url = url;
    if (!remote.url)
        return gs_fail(err, GS_E_USAGE, "--url URL is needed, or --offline");
    return cli_client(cli, &remote, true, out, err);
}

static int why(struct cli *cli, const struct opts *o, const char *what, struct gs_err *err)
{
    GS_AUTO(state) state = NULL;
    GS_AUTO(bundle) bundle = NULL;
    GS_AUTO(gl_client) client = NULL;
    struct sign_trust trust __attribute__((cleanup(sign_trust_release))) = {0};
    struct why y = {.cli = cli};
    if (state_open(o->state, STATE_READ, &state, err) || story_find(state, what, &y.of, err))
        return -1;
    int r = state_grp(state, y.of.grp, &y.grp, err) || open_bundle(cli, o, state, &trust, &bundle, err) || open_client(cli, o, state, &client, err);
    y.state = state;
    y.bundle = bundle;
    y.client = client;
    if (!r)
        r = tell(&y, err);
    grp_release(&y.grp);
    story_of_release(&y.of);
    return r ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    struct gs_err err = {0};
    return why(cli, optv, argv[0], &err) ? cli_error(cli, &err) : 0;
}

const struct cli_verb replay_verb_why = {
    .name = "why",
    .args = "GROUP/RELATION/KEY",
    .min_args = 1,
    .max_args = 1,
    .summary = "Tell the story of one record of a load",
    .text = "Where the record came from and what it was, what was sent for it and how often, what the target answered, by which rules something of\n"
            "it was lost, and what stands there now. GROUP is a full path at the source or on the target, RELATION a kind (labels, milestones,\n"
            "members; groups is the group itself and needs no KEY), KEY what 'failures' and 'reconcile' call the record.\n"
            "\n"
            "The bundle is looked for where the load took it from. With --offline the target is not asked, and no token is needed.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
