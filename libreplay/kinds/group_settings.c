/*
 * Settings and locks of a group: read, then one PUT with what differs, then compared with what the server made of it.
 * When the whole PUT is refused each setting is sent by itself, so that a bad one does not cost the others. Locks come
 * when everything in the group and below it is done, since they could forbid it.
 */
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/settings.h"
#include "libreplay/kinds/step.h"

#include <stdio.h>
#include <string.h>

enum form {
    AS_IS,         /* the record has the REST name and value */
    PROJECT_LEVEL, /* integer in exports, word in REST */
    SUBGROUP_LEVEL,
    EMAILS,       /* emails_enabled, or the older emails_disabled turned round */
    RUNNERS,      /* one word in REST, two columns in exports */
    BRANCH,       /* default_branch, or the column default_branch_name */
    BRANCH_LEVEL, /* default_branch_protection, unless the newer defaults are there */
};

struct setting {
    const char *name;
    enum form form;
    bool lock;
    const char *usual; /* the server's default as JSON: not sent, and not missed, where the server does not show the
                          attribute */
};

static const struct setting settings[] = {
    {"request_access_enabled", AS_IS, false, "true"},
    {"lfs_enabled", AS_IS, false, "true"},
    {"emails_enabled", EMAILS, false, "true"},
    {"mentions_disabled", AS_IS, false, "false"},
    {"project_creation_level", PROJECT_LEVEL, false, "\"developer\""},
    {"subgroup_creation_level", SUBGROUP_LEVEL, false, "\"maintainer\""},
    {"require_two_factor_authentication", AS_IS, false, "false"},
    {"two_factor_grace_period", AS_IS, false, "48"},
    {"auto_devops_enabled", AS_IS, false, "null"},
    {"default_branch", BRANCH, false, "null"},
    {"default_branch_protection_defaults", AS_IS, false, "{}"},
    {"default_branch_protection", BRANCH_LEVEL, false, "2"},
    {"show_diff_preview_in_email", AS_IS, false, "true"},
    {"max_artifacts_size", AS_IS, false, "null"},
    {"wiki_access_level", AS_IS, false, "\"enabled\""},
    {"enabled_git_access_protocol", AS_IS, false, "\"all\""},
    {"prevent_sharing_groups_outside_hierarchy", AS_IS, false, "false"},
    {"prevent_forking_outside_group", AS_IS, false, "false"},
    {"only_allow_merge_if_pipeline_succeeds", AS_IS, false, "false"},
    {"allow_merge_on_skipped_pipeline", AS_IS, false, "false"},
    {"only_allow_merge_if_all_discussions_are_resolved", AS_IS, false, "false"},
    {"service_access_tokens_expiration_enforced", AS_IS, false, "true"},
    {"web_based_commit_signing_enabled", AS_IS, false, "false"},
    {"shared_runners_minutes_limit", AS_IS, false, "null"},
    {"share_with_group_lock", AS_IS, true, "false"},
    {"membership_lock", AS_IS, true, "false"},
    {"shared_runners_setting", RUNNERS, true, "\"enabled\""},
    {"math_rendering_limits_enabled", AS_IS, true, "true"},
    {"lock_math_rendering_limits_enabled", AS_IS, true, "false"},
    {"duo_features_enabled", AS_IS, true, "true"},
    {"lock_duo_features_enabled", AS_IS, true, "false"},
    {"allowed_email_domains_list", AS_IS, true, "null"},
};

static int word(struct gs_buf *out, const char *s, struct gs_err *err)
{
    return s ? gs_json_quote(s, strlen(s), out, err) : 0;
}

static int level(yyjson_val *rec, const char *key, const char *const *words, size_t n, struct gs_buf *out,
                 struct gs_err *err)
{
    int64_t v;
    if (gs_json_str(rec, key))
        return word(out, gs_json_str(rec, key), err);
    return gs_json_i64(rec, key, &v) && v >= 0 && (size_t)v < n ? word(out, words[v], err) : 0;
}

static int as_is(yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    if (!v || yyjson_is_null(v) || (yyjson_is_str(v) && yyjson_get_len(v) == 0))
        return 0;
    return gs_json_write(v, out, err);
}

static int wanted(yyjson_val *rec, const struct setting *s, struct gs_buf *out, struct gs_err *err)
{
    static const char *const project[] = {"noone", "maintainer", "developer", "administrator", "owner"};
    static const char *const subgroup[] = {"owner", "maintainer"};
    yyjson_val *v = step_get(rec, s->name);
    switch (s->form) {
    case PROJECT_LEVEL:
        return level(rec, s->name, project, GS_COUNT(project), out, err);
    case SUBGROUP_LEVEL:
        return level(rec, s->name, subgroup, GS_COUNT(subgroup), out, err);
    case EMAILS:
        if (!v && yyjson_is_bool(step_get(rec, "emails_disabled")))
            return gs_buf_addstr(out, gs_json_true(rec, "emails_disabled") ? "false" : "true", err);
        return as_is(v, out, err);
    case RUNNERS:
        if (v || !yyjson_is_bool(step_get(rec, "shared_runners_enabled")))
            return as_is(v, out, err);
        return word(out,
                    gs_json_true(rec, "shared_runners_enabled") ? "enabled"
                    : gs_json_true(rec, "allow_descendants_override_disabled_shared_runners")
                        ? "disabled_and_overridable"
                        : "disabled_and_unoverridable",
                    err);
    case BRANCH:
        return as_is(v ? v : step_get(rec, "default_branch_name"), out, err);
    case BRANCH_LEVEL:
        return step_get(rec, "default_branch_protection_defaults") ? 0 : as_is(v, out, err);
    case AS_IS:
        break;
    }
    return as_is(v, out, err);
}

bool settings_wanted(yyjson_val *rec, size_t i, const char **out_name, bool *out_lock, struct gs_buf *out)
{
    struct gs_err ignored = {0};
    if (i >= GS_COUNT(settings))
        return false;
    *out_name = settings[i].name;
    *out_lock = settings[i].lock;
    gs_buf_reset(out);
    if (wanted(rec, &settings[i], out, &ignored))
        gs_buf_reset(out);
    return true;
}

const char *settings_usual(const char *name)
{
    for (size_t i = 0; i < GS_COUNT(settings); i++)
        if (strcmp(settings[i].name, name) == 0)
            return settings[i].usual;
    return NULL;
}

static bool json_same(const char *a, const char *b)
{
    yyjson_doc *x = yyjson_read(a, strlen(a), 0), *y = yyjson_read(b, strlen(b), 0);
    bool same = x && y && gs_json_equal(yyjson_doc_get_root(x), yyjson_doc_get_root(y));
    yyjson_doc_free(x);
    yyjson_doc_free(y);
    return same;
}

bool settings_any(yyjson_val *rec, bool locks)
{
    gs_autobuf b;
    gs_buf_init(&b, 1 << 20);
    const char *name;
    bool lock;
    for (size_t i = 0; settings_wanted(rec, i, &name, &lock, &b); i++)
        if (lock == locks && b.len && !(locks && json_same(gs_buf_str(&b), settings[i].usual)))
            return true;
    return false;
}

/* ---- what is there ---- */

/* The value that the answer shows for a setting; NULL when it shows none. Emails may be shown the other way round. */
static yyjson_val *shown(yyjson_val *there, const struct setting *s, bool *out_turned)
{
    *out_turned = false;
    yyjson_val *v = yyjson_obj_get(there, s->name);
    if (!v && s->form == EMAILS) {
        *out_turned = true;
        v = yyjson_obj_get(there, "emails_disabled");
    }
    return v;
}

/* Objects: every key that is wanted must be there with its value; the server may know more of them. */
static bool covers(yyjson_val *want, yyjson_val *got)
{
    size_t i, max;
    yyjson_val *k, *v;
    if (!yyjson_is_obj(want) || !yyjson_is_obj(got))
        return gs_json_equal(want, got);
    yyjson_obj_foreach(want, i, max, k, v)
    {
        yyjson_val *g = yyjson_obj_get(got, yyjson_get_str(k));
        if (!gs_json_equal(v, g) && !(yyjson_is_null(v) || (!yyjson_get_bool(v) && yyjson_is_bool(v) && !g)))
            return false;
    }
    return true;
}

enum verdict { SAME, DIFFERS, NOT_SHOWN };

static enum verdict compare(const char *want_text, yyjson_val *there, const struct setting *s)
{
    bool turned;
    yyjson_val *got = shown(there, s, &turned);
    yyjson_doc *doc = yyjson_read(want_text, strlen(want_text), 0);
    yyjson_val *want = yyjson_doc_get_root(doc);
    enum verdict v = DIFFERS;
    if (!got)
        v = json_same(want_text, s->usual) ? SAME : NOT_SHOWN;
    else if (turned)
        v = yyjson_get_bool(want) != yyjson_get_bool(got) ? SAME : DIFFERS;
    else if (yyjson_is_null(got) && yyjson_is_bool(want) && !yyjson_get_bool(want))
        v = SAME; /* null means false */
    else if (covers(want, got))
        v = SAME;
    yyjson_doc_free(doc);
    return v;
}

/* ---- steps ---- */

enum { START, READ, WRITE, ONE };

static int read_group(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    return step_send(r, READ,
                     run_request(GL_GET, NULL, "/groups/%lld?with_projects=false", (long long)r->grp->target_id),
                     out_req, out, err);
}

static int member(struct run *r, struct gs_buf *body, const struct setting *s, const char *value, struct gs_err *err)
{
    const char *name = s->name;
    if (s->form == EMAILS && !gl_instance_at_least(r->target, 16, 5)) {
        name = "emails_disabled";
        value = strcmp(value, "true") == 0 ? "false" : "true";
    }
    return gs_buf_addf(body, err, "%s\"%s\":", body->len > 1 ? "," : "", name) || gs_buf_addstr(body, value, err) ? -1
                                                                                                                  : 0;
}

static int put(struct run *r, int phase, struct gs_buf *body, struct gl_request **out_req, enum step_result *out,
               struct gs_err *err)
{
    if (gs_buf_addc(body, '}', err))
        return -1;
    struct gl_request *q = run_request(GL_PUT, body, "/groups/%lld", (long long)r->grp->target_id);
    return step_send_repeatable(r, phase, q, out_req, out, err);
}

/* What of the record is to be sent now? NULL-terminated decision by walking the table: `there` is the answer of the
 * READ. */
static int differing(struct run *r, bool locks, yyjson_val *there, struct gl_request **out_req, enum step_result *out,
                     struct gs_err *err)
{
    gs_autobuf body, want, names;
    gs_buf_init(&body, 4 << 20);
    gs_buf_init(&want, 4 << 20);
    gs_buf_init(&names, 64 << 10);
    const char *name;
    bool lock;
    if (gs_buf_addc(&body, '{', err))
        return -1;
    r->n2 = 0; /* bit per setting that is sent */
    for (size_t i = 0; settings_wanted(r->rec, i, &name, &lock, &want); i++) {
        if (lock != locks || !want.len || compare(gs_buf_str(&want), there, &settings[i]) == SAME)
            continue;
        if (step_name(&names, name, err) || member(r, &body, &settings[i], gs_buf_str(&want), err))
            return -1;
        r->n2 |= (int64_t)1 << i;
    }
    *out = STEP_DONE;
    if (!r->n2)
        return 0;
    if (r->grp->existed)
        return run_loss(r, "exists-differs", gs_buf_str(&names),
                        err); /* nothing that was there before is overwritten */
    return put(r, WRITE, &body, out_req, out, err);
}

static int compare_sent(struct run *r, int64_t sent, yyjson_val *there, struct gs_err *err)
{
    gs_autobuf want, got;
    gs_buf_init(&want, 4 << 20);
    gs_buf_init(&got, 4 << 20);
    const char *name;
    bool lock, turned;
    for (size_t i = 0; settings_wanted(r->rec, i, &name, &lock, &want); i++) {
        if (!(sent & ((int64_t)1 << i)) || compare(gs_buf_str(&want), there, &settings[i]) == SAME)
            continue;
        yyjson_val *v = shown(there, &settings[i], &turned);
        gs_buf_reset(&got);
        if (v && gs_json_write(v, &got, err))
            return -1;
        if (step_loss(r, err, "group-setting-not-applied", "%s: wanted %s, got %s", name, gs_buf_str(&want),
                      v ? gs_buf_str(&got) : "nothing"))
            return -1;
    }
    return 0;
}

/* The next setting by itself, from position n1 on. */
static int one_by_one(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_autobuf body, want;
    gs_buf_init(&body, 4 << 20);
    gs_buf_init(&want, 4 << 20);
    const char *name;
    bool lock;
    for (; settings_wanted(r->rec, (size_t)r->n1, &name, &lock, &want); r->n1++) {
        if (!(r->n2 & ((int64_t)1 << r->n1)))
            continue;
        if (gs_buf_addc(&body, '{', err) || member(r, &body, &settings[r->n1], gs_buf_str(&want), err))
            return -1;
        return put(r, ONE, &body, out_req, out, err);
    }
    *out = STEP_DONE;
    return 0;
}

static int step_settings(struct run *r, bool locks, const struct gl_response *rsp, struct gl_request **out_req,
                         enum step_result *out, struct gs_err *err)
{
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == WRITE || r->phase == ONE, &a, err))
        return -1;
    r->op.target_id = r->grp->target_id;
    /* a PUT says what is to be, so that one without an answer is begun again from what the group shows */
    if (r->phase == START || a == ANS_LOST) {
        r->n1 = 0;
        return read_group(r, out_req, out, err);
    }
    GS_AUTO(yyjson_doc) doc = NULL;
    if (a == ANS_OK && step_doc(rsp, &doc, err))
        return -1;
    switch (r->phase) {
    case READ:
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "reading the group");
        return differing(r, locks, yyjson_doc_get_root(doc), out_req, out, err);
    case WRITE:
        if (a == ANS_REFUSED && rsp->status != 400)
            return step_refused(rsp, err, "setting up the group");
        if (a == ANS_REFUSED) {
            r->n1 = 0;
            return one_by_one(r, out_req, out, err);
        }
        if (compare_sent(r, r->n2, yyjson_doc_get_root(doc), err))
            return -1;
        *out = STEP_DONE;
        return 0;
    case ONE:
        if (a == ANS_REFUSED) {
            if (step_loss(r, err, "group-setting-not-applied", "%s: %s", settings[r->n1].name, rsp->err.text))
                return -1;
        } else if (compare_sent(r, (int64_t)1 << r->n1, yyjson_doc_get_root(doc), err)) {
            return -1;
        }
        r->n1++;
        return one_by_one(r, out_req, out, err);
    default:
        return gs_fail(err, GS_E_INTERNAL, "settings in phase %d", r->phase);
    }
}

static int step_plain(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                      struct gs_err *err)
{
    return step_settings(r, false, rsp, out_req, out, err);
}

static int step_locks(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                      struct gs_err *err)
{
    return step_settings(r, true, rsp, out_req, out, err);
}

const struct kind kind_groups_settings = {
    .name = "groups.settings", .relation = "self", .ordered = false, .step = step_plain};
const struct kind kind_groups_locks = {.name = "groups.locks", .relation = "self", .ordered = true, .step = step_locks};
