#include "cmd/replay/session.h"

#include "cmd/replay/filter.h"

#include "libreplay/report.h"
#include "libreplay/undo.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct cli_opt session_opts[] = {
    {.name = "into",
     .type = CLI_STR,
     .offset = offsetof(struct session_args, into),
     .arg = "GROUP",
     .help = "full path of the target's group to load into; otherwise the tree becomes a top-level group"},
    {.name = "rename",
     .type = CLI_LIST,
     .offset = offsetof(struct session_args, rename),
     .arg = "OLD=NEW",
     .help = "another path segment (NEW, or NEW:Name) for the group whose full path at the source is OLD"},
    {.name = "decisions",
     .type = CLI_STR,
     .offset = offsetof(struct session_args, decisions),
     .arg = "FILE.csv",
     .help = "the table of 'plan --csv' with decisions in it: 'skip', or 'rename NEW[:Name]' for a group"},
    {.name = "on-existing",
     .type = CLI_CHOICE,
     .offset = offsetof(struct session_args, on_existing),
     .arg = "WHAT",
     .choices = "fail|merge",
     .help = "when a group is there already: stop, or load into it and overwrite nothing"},
    {.name = "user-map",
     .type = CLI_STR,
     .offset = offsetof(struct session_args, user_map),
     .arg = "FILE.csv",
     .help = "who is who: columns source_username (or source_id, source_email) and target_username (or target_id)"},
    {.name = "match-username",
     .type = CLI_FLAG,
     .offset = offsetof(struct session_args, match_username),
     .help = "who is found neither in the user map nor by email is the active user of the same name there, whoever that is"},
    {.name = "as-authors",
     .type = CLI_FLAG,
     .offset = offsetof(struct session_args, as_authors),
     .help = "make epics, comments and reactions as the people who wrote them; needs an administrator's token with the scopes api and sudo"},
    {.name = "prefer",
     .type = CLI_CHOICE,
     .offset = offsetof(struct session_args, prefer),
     .arg = "WHAT",
     .choices = "author|dates",
     .help = "with --as-authors, what to keep of an epic or comment where GitLab takes either its author or its creation time"},
    {.name = "no-attribution",
     .type = CLI_FLAG,
     .offset = offsetof(struct session_args, no_attribution),
     .help = "do not say at the end of an epic or comment who wrote it and when, where its author cannot be set"},
    {.name = "state",
     .type = CLI_STR,
     .offset = offsetof(struct session_args, state),
     .arg = "FILE",
     .help = "the state file of this load (FILE.state beside the bundle)"},
    {.name = "keep-owner",
     .type = CLI_FLAG,
     .offset = offsetof(struct session_args, keep_owner),
     .help = "leave the token's user Owner of the groups that he creates"},
    {.name = "max-fillers",
     .type = CLI_UINT,
     .offset = offsetof(struct session_args, max_fillers),
     .arg = "N",
     .min = 1,
     .max = 1000000,
     .hidden = true,
     .help = "how many numbers of deleted milestones may be filled in one gap (1000)"},
    {.name = "epics-api",
     .type = CLI_CHOICE,
     .offset = offsetof(struct session_args, epics_api),
     .arg = "WAY",
     .choices = "auto|rest|work-items",
     .help = "how epics are made: over REST, which keeps more, as long as the target has it; or as work items"},
    {0},
};

/* NAME.gsnap and NAME.gsnap.age -> NAME.state, anything else -> ANYTHING.state; volumes as what was divided */
static char *default_state(const char *named)
{
    gs_autofree char *bundle = cli_divided_name(named);
    if (!bundle)
        return NULL;
    size_t len = strlen(bundle);
    if (len > 10 && strcmp(bundle + len - 10, ".gsnap.age") == 0)
        len -= 4;
    if (len > 6 && memcmp(bundle + len - 6, ".gsnap", 6) == 0)
        len -= 6;
    return gs_asprintf("%.*s.state", (int)len, bundle);
}

static int keep(char **to, char *s, struct gs_err *err)
{
    *to = s;
    return s ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
}

/* Bundle and URL out of a state file that is there; what is not in it stays NULL. */
static int ask_state(struct session *s, bool need_bundle, bool need_url, struct gs_err *err)
{
    GS_AUTO(state) st = NULL;
    if (!s->state_path || access(s->state_path, F_OK) != 0) {
        if (need_bundle)
            return gs_fail(err, GS_E_NOT_FOUND, "state file '%s' is not there", s->state_path ? s->state_path : "");
        return 0;
    }
    if (state_open(s->state_path, STATE_READ, &st, err))
        return -1;
    if (need_bundle && state_meta_get(st, "bundle_path", &s->bundle_path, err))
        return -1;
    if (need_url && state_meta_get(st, "target_url", &s->url, err))
        return -1;
    return 0;
}

/* The first requests tell how long one takes. */
int session_probe(struct session *s, bool read_only, struct gs_err *err)
{
    struct gl_stats st;
    if (gl_instance_probe(s->client, read_only, &s->target, err))
        return -1;
    gl_client_stats(s->client, &st);
    s->request_ms = st.tries_on_wire ? (int64_t)(st.wire_us / st.tries_on_wire / 1000) : 0;
    return 0;
}

/* Renames may stand among the decisions, too. */
static int read_decisions(struct session *s, struct gs_err *err)
{
    const struct session_args *a = s->args;
    if (a->decisions && decisions_load(a->decisions, &s->decisions, err))
        return -1;
    s->n_rename = a->rename.n + s->decisions.n_rename;
    s->rename = calloc(s->n_rename + 1, sizeof *s->rename);
    if (!s->rename)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < s->n_rename; i++)
        s->rename[i] = i < a->rename.n ? a->rename.v[i] : s->decisions.rename[i - a->rename.n];
    return 0;
}

int session_open(struct session *s, struct cli *cli, const struct cli_remote *r, const struct cli_trust *trust,
                 const struct session_args *args, const char *file, bool read_only, struct gs_err *err)
{
    return session_files(s, cli, r, trust, args, file, err) || session_probe(s, read_only, err) ? -1 : 0;
}

int session_files(struct session *s, struct cli *cli, const struct cli_remote *r, const struct cli_trust *trust,
                  const struct session_args *args, const char *file, struct gs_err *err)
{
    *s = (struct session){.cli = cli, .args = args};
    if (!file && !args->state)
        return gs_fail(err, GS_E_USAGE, "name the bundle, or its state file with --state");
    if (keep(&s->state_path, args->state ? strdup(args->state) : default_state(file), err) ||
        ask_state(s, !file, !r->url, err) || read_decisions(s, err))
        return -1;
    if (file && keep(&s->bundle_path, strdup(file), err))
        return -1;
    if (!s->bundle_path)
        return gs_fail(err, GS_E_USAGE, "state file '%s' does not say which bundle it is about: name it",
                       s->state_path);
    struct cli_remote remote = *r;
    if (!remote.url)
        remote.url = s->url;
    if (!remote.url)
        return gs_fail(err, GS_E_USAGE, "--url URL is needed");
    cli_progress(cli, "opening %s ...", cli_safe(s->bundle_path));
    int rc = cli_trust_load(trust, true, &s->trust, err) ||
             cli_bundle_open(cli, trust, &s->trust, s->bundle_path, &s->bundle, err);
    cli_progress_end(cli);
    if (rc)
        return -1;
    char real[PATH_MAX];
    if (realpath(s->bundle_path, real)) {
        free(s->bundle_path);
        if (keep(&s->bundle_path, strdup(real), err))
            return -1;
    }
    return cli_client(cli, &remote, true, &s->client, err);
}

int session_borrow(struct session *s, struct cli *cli, const struct session_args *args, struct bundle *bundle, const char *file, struct gs_err *err)
{
    *s = (struct session){.cli = cli, .args = args, .bundle = bundle, .borrowed = true};
    return keep(&s->state_path, default_state(file), err) || keep(&s->bundle_path, strdup(file), err) || read_decisions(s, err) ? -1 : 0;
}

static void plan_options(const struct session *s, struct plan_opts *o)
{
    const struct session_args *a = s->args;
    *o = (struct plan_opts){
        .into = a->into,
        .rename = s->rename,
        .n_rename = s->n_rename,
        .user_map = a->user_map,
        .match_username = a->match_username,
        .load = {.merge = a->on_existing == 1, .keep_owner = a->keep_owner, .max_fillers = a->max_fillers, .as_authors = a->as_authors,
                 .prefer_dates = a->prefer == 1, .no_attribution = a->no_attribution, .epics_api = a->epics_api},
        .log = &s->cli->log};
}

/* Were options given that belong to a plan? One that goes on need not repeat them. */
static bool any_option(const struct session_args *a)
{
    return a->into || a->user_map || a->rename.n || a->decisions || a->on_existing || a->keep_owner || a->max_fillers || a->match_username ||
           a->as_authors || a->prefer || a->no_attribution || a->epics_api;
}

int session_state(struct session *s, const char *path, struct gs_err *err)
{
    if (access(path, F_OK) != 0)
        return state_open(path, STATE_CREATE, &s->state, err);
    if (state_open(path, STATE_WRITE, &s->state, err))
        return -1;
    /* one that was cut off while the plan was being made is begun anew */
    gs_autofree char *digest = NULL;
    if (state_meta_get(s->state, "bundle_digest", &digest, err))
        return -1;
    s->planned = digest != NULL;
    if (!s->planned)
        return 0;
    bool undone;
    if (undo_begun(s->state, &undone, err))
        return -1;
    if (undone)
        return gs_fail(err, GS_E_UNDONE, "the load of state file '%s' was taken back, or has begun to be", path);
    struct plan_opts o;
    plan_options(s, &o);
    if (decisions_check(s->state, &s->decisions, err))
        return -1;
    return plan_check(s->state, s->bundle, gl_client_url(s->client), s->target.user_id, any_option(s->args) ? &o : NULL,
                      err);
}

static void on_progress(void *cookie, const char *what, uint64_t n)
{
    cli_progress(cookie, "%s: %s", what, cli_count(n));
}

int session_plan(struct session *s, struct gs_err *err)
{
    struct plan_opts o;
    plan_options(s, &o);
    o.progress = on_progress;
    o.cookie = s->cli;
    int rc = s->fresh ? cli_fresh_check(s->cli, s->fresh, s->bundle, err) : 0;
    if (!rc)
        rc = plan_make(s->state, s->bundle, s->client, &s->target, &o, err);
    cli_progress_end(s->cli);
    char user[256];
    if (!rc)
        rc = decisions_apply(s->state, &s->decisions, filter_user(user, sizeof user), err);
    if (!rc)
        rc = state_meta_set(s->state, "bundle_path", s->bundle_path, err);
    if (rc)
        session_forget(s);
    return rc;
}

struct show_opts session_shown(const struct session *s, const struct cli_remote *r)
{
    struct gl_stats st;
    gl_client_stats(s->client, &st);
    return (struct show_opts){.plan = true,
                              .jobs = r->jobs,
                              .round_ms = s->request_ms,
                              .rate_per_min = st.rate_per_min,
                              .own_rate = r->rate,
                              .rate_left = st.rate_left};
}

int session_load_opts(struct session *s, struct load_opts *out, struct gs_err *err)
{
    gs_autofree char *text = NULL;
    GS_AUTO(yyjson_doc) doc = NULL;
    int64_t fillers = 0;
    *out = (struct load_opts){0};
    if (state_meta_get(s->state, "options", &text, err))
        return -1;
    if (!text || gs_json_parse(text, strlen(text), NULL, &doc, err))
        return text ? -1
                    : gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s' does not say how it was planned",
                              state_path(s->state));
    yyjson_val *o = yyjson_doc_get_root(doc);
    out->merge = gs_json_true(o, "merge");
    out->keep_owner = gs_json_true(o, "keep_owner");
    out->as_authors = gs_json_true(o, "as_authors");
    out->prefer_dates = gs_json_true(o, "prefer_dates");
    out->no_attribution = gs_json_true(o, "no_attribution");
    if (gs_json_i64(o, "max_fillers", &fillers) && fillers > 0)
        out->max_fillers = (unsigned)fillers;
    const char *api = gs_json_str(o, "epics_api");
    out->epics_api = !api ? EPICS_AUTO : strcmp(api, "rest") == 0 ? EPICS_REST : EPICS_WORK_ITEMS;
    return 0;
}

void session_forget(struct session *s)
{
    if (!s->state)
        return;
    static const char *const parts[] = {"", "-wal", "-shm"};
    gs_autofree char *path = strdup(state_path(s->state));
    state_close(s->state);
    s->state = NULL;
    for (size_t i = 0; path && i < GS_COUNT(parts); i++) {
        gs_autofree char *one = gs_asprintf("%s%s", path, parts[i]);
        GS_IGNORE(one && unlink(one), "it may not be there");
    }
}

void session_close(struct session *s)
{
    state_close(s->state);
    if (!s->borrowed) {
        gl_client_free(s->client);
        bundle_close(s->bundle);
    }
    sign_trust_release(&s->trust);
    decisions_release(&s->decisions);
    free(s->rename);
    free(s->bundle_path);
    free(s->state_path);
    free(s->url);
    *s = (struct session){0};
}
