/* What the token's user is in the group that is captured. */
#include "libexport/capture_priv.h"

#include <inttypes.h>
#include <string.h>

const char *capture_role_name(int64_t level)
{
    switch (level) {
    case 0: return "none";
    case 5: return "minimal";
    case 10: return "guest";
    case 15: return "planner";
    case 20: return "reporter";
    case 25: return "security_manager";
    case 30: return "developer";
    case 40: return "maintainer";
    case 50: return "owner";
    default: return NULL;
    }
}

/* Never answered from what is kept: he may have been given another since. */
static int ask_role(struct capture *c, struct gs_err *err)
{
    const struct gl_instance *i = c->o.instance;
    struct gl_response rsp;
    int64_t level;
    if (!i || i->user_id <= 0)
        return 0;
    if (i->is_admin == 1) {
        c->role = "admin";
        return 0;
    }
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%" PRId64 "/members/all/%" PRId64, c->root_id, i->user_id);
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->live = true;
    GS_AUTO(yyjson_doc) doc = NULL;
    int ret = gl_perform(c->client, r, &rsp, err);
    if (ret && cap_denied(err)) {
        gs_err_clear(err);
        c->role = "none";
        ret = 0;
    } else if (ret == 0) {
        ret = gs_json_parse(gs_buf_str(&rsp.body), rsp.body.len, NULL, &doc, err);
        if (ret == 0 && gs_json_i64(yyjson_doc_get_root(doc), "access_level", &level))
            c->role = capture_role_name(level);
    }
    gl_response_release(&rsp);
    return ret;
}

/* Role of the token's user in the root group, for the manifest. Who cannot ask does not know. */
int cap_find_role(struct capture *c, struct gs_err *err)
{
    if (c->role_asked)
        return 0;
    c->role_asked = true;
    if (ask_role(c, err) || (c->o.staging && staging_role(c->o.staging, c->role ? c->role : "", err)))
        return -1;
    bool all_seen = c->role && (strcmp(c->role, "owner") == 0 || (c->o.once && c->o.instance && c->o.instance->is_admin == 1));
    if (c->role && !all_seen) {
        gs_logf(c->o.log, GS_LOG_WARN,
                "the token's user is not an Owner of '%s' (role: %s): settings and members may be incomplete",
                c->root_path, c->role);
        return book_lost(c->book, c->root_id, "self", "attribute-not-readable", NULL, 0,
                         "the token's user is not an Owner: settings that only Owners see are missing in the whole tree", err);
    }
    return 0;
}
