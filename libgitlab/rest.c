#include "rest.h"

#include <string.h>
#include <strings.h>

int gl_response_json(const struct gl_response *rsp, yyjson_doc **out, struct gs_err *err)
{
    if (gs_json_parse(gs_buf_str(&rsp->body), rsp->body.len, NULL, out, err) == 0)
        return 0;
    if (err->code != GS_E_NOMEM && err->code != GS_E_LIMIT)
        err->code = GS_E_REMOTE;
    err->http = rsp->status;
    memcpy(err->request_id, rsp->request_id, sizeof err->request_id);
    return gs_wrap(err, "the server's answer is not what GitLab sends");
}

int gl_get(struct gl_client *c, const char *path, yyjson_doc **out, struct gs_err *err)
{
    struct gl_request *r = gl_request_new(GL_GET, "%s", path);
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    struct gl_response rsp;
    if (gl_perform(c, r, &rsp, err)) {
        gl_response_release(&rsp);
        return -1;
    }
    GS_AUTO(yyjson_doc) doc = NULL;
    int n = gl_response_json(&rsp, &doc, err);
    gl_response_release(&rsp);
    if (n == 0 && !yyjson_is_obj(yyjson_doc_get_root(doc)))
        n = gs_fail(err, GS_E_REMOTE, "the server's answer is no JSON object");
    if (n)
        return gs_wrap(err, "GET %.*s", (int)strcspn(path, "?"), path);
    *out = gs_steal(&doc);
    return 0;
}

/* ---- Link header (RFC 8288) ---- */

static const char *skip_blank(const char *p)
{
    return p + strspn(p, " \t");
}

/* Reads a token or a quoted string at *p; false when the quotes do not close. */
static bool param_value(const char **p, const char **begin, size_t *len)
{
    const char *s = *p;
    if (*s != '"') {
        *begin = s;
        *len = strcspn(s, ",; \t");
        *p = s + *len;
        return true;
    }
    *begin = ++s;
    while (*s && *s != '"')
        s += *s == '\\' && s[1] ? 2 : 1;
    if (!*s)
        return false;
    *len = (size_t)(s - *begin);
    *p = s + 1;
    return true;
}

/* `rel` holds a list of words. */
static bool has_next(const char *rel, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t b = i;
        while (i < len && rel[i] != ' ')
            i++;
        if (i - b == 4 && strncasecmp(rel + b, "next", 4) == 0)
            return true;
        i++;
    }
    return false;
}

/* Reads the parameters behind a <target>; *p is left at a comma or the end. */
static bool link_params(const char **p, bool *is_next)
{
    bool rel_seen = false;
    *is_next = false;
    for (;;) {
        *p = skip_blank(*p);
        if (**p == 0 || **p == ',')
            return true;
        if (**p != ';')
            return false;
        *p = skip_blank(*p + 1);
        const char *name = *p, *value = "";
        size_t n = strcspn(name, "=;, \t"), len = 0;
        *p = skip_blank(name + n);
        if (**p == '=') {
            *p = skip_blank(*p + 1);
            if (!param_value(p, &value, &len))
                return false;
        }
        if (n == 3 && strncasecmp(name, "rel", 3) == 0 && !rel_seen) {
            rel_seen = true;
            *is_next = has_next(value, len);
        }
    }
}

int gl_link_next(const char *link, char **out, struct gs_err *err)
{
    *out = NULL;
    const char *p = link ? link : "";
    for (;;) {
        p += strspn(p, " \t,");
        if (*p == 0)
            return 0;
        const char *target = p + 1, *end = *p == '<' ? strchr(target, '>') : NULL;
        if (!end || end == target)
            return gs_fail(err, GS_E_REMOTE, "the server's Link header is malformed");
        for (const char *q = target; q < end; q++)
            if ((unsigned char)*q <= 32 || *q == 127)
                return gs_fail(err, GS_E_REMOTE, "the server's Link header is malformed");
        p = end + 1;
        bool is_next;
        if (!link_params(&p, &is_next))
            return gs_fail(err, GS_E_REMOTE, "the server's Link header is malformed");
        if (is_next) {
            *out = strndup(target, (size_t)(end - target));
            return *out ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a link");
        }
    }
}
