#include "libreplay/kinds/step.h"

#include "libcommon/clock.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CLOCK_SLACK_MS 10000

struct step_notes *step_notes(struct run *r)
{
    if (!r->text)
        r->text = calloc(1, sizeof(struct step_notes));
    return (struct step_notes *)(void *)r->text;
}

static void take_error(const struct gl_response *rsp, struct gs_err *err)
{
    if (rsp->err.code != GS_OK) {
        *err = rsp->err;
        return;
    }
    gs_fail(err, GS_E_REMOTE, "the server answered %d", rsp->status);
    err->http = rsp->status;
}

int step_judge(struct run *r, const struct gl_response *rsp, bool write, enum step_answer *out, struct gs_err *err)
{
    *out = ANS_NONE;
    if (!rsp)
        return 0;
    struct step_notes *n = step_notes(r);
    if (!n)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    bool ok = rsp->status >= 200 && rsp->status < 300;
    bool unclear = rsp->outcome == GL_UNKNOWN || (ok && rsp->err.code != GS_OK);
    if (rsp->outcome == GL_NOT_SENT || (unclear && !write)) {
        take_error(rsp, err);
        return err->scope == GS_SCOPE_FATAL && err->code != GS_E_REMOTE ? -1 : gs_scoped(err, GS_SCOPE_RETRY);
    }
    if (unclear) {
        n->looks = 0;
        n->began_ms = 0;
        n->page = 0;
        r->unsure = true;
        take_error(rsp, err);
        n->lost_code = err->code;
        /* at the last one step_absent() says so, after a look-up */
        if (++n->lost > STEP_MAX_LOST) {
            gs_wrap(err, "sent %u times without an answer", n->lost);
            return gs_scoped(err, GS_SCOPE_ITEM);
        }
        *err = (struct gs_err){0};
        *out = ANS_LOST;
        return 0;
    }
    if (ok) {
        *out = ANS_OK;
        return 0;
    }
    if (rsp->status == 401) {
        take_error(rsp, err);
        return gs_scoped(err, GS_SCOPE_FATAL);
    }
    if (rsp->status == 429 || rsp->status >= 500 || rsp->status < 400) {
        take_error(rsp, err);
        return gs_scoped(err, GS_SCOPE_RETRY);
    }
    *out = ANS_REFUSED;
    return 0;
}

int step_refused(const struct gl_response *rsp, struct gs_err *err, const char *fmt, ...)
{
    char what[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    take_error(rsp, err);
    if (err->code == GS_E_REMOTE)
        err->code = GS_E_REFUSED;
    gs_wrap(err, "%s", what);
    return gs_scoped(err, GS_SCOPE_ITEM);
}

int step_fail(struct gs_err *err, enum gs_code code, const char *fmt, ...)
{
    char what[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    gs_fail(err, code, "%s", what);
    return gs_scoped(err, GS_SCOPE_ITEM);
}

int step_send(struct run *r, int phase, struct gl_request *q, struct gl_request **out_req, enum step_result *out,
              struct gs_err *err)
{
    if (!q)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    struct step_notes *n = step_notes(r);
    if (!n) {
        gl_request_free(q);
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    }
    if (n->began_ms == 0)
        n->began_ms = gs_mono_ms();
    r->phase = phase;
    *out_req = q;
    *out = STEP_SEND;
    return 0;
}

int step_send_repeatable(struct run *r, int phase, struct gl_request *q, struct gl_request **out_req, enum step_result *out,
                         struct gs_err *err)
{
    if (q)
        q->idempotent = true;
    return step_send(r, phase, q, out_req, out, err);
}

int step_absent(struct run *r, int phase, bool *out_proven, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    int64_t now = gs_mono_ms(), enough = r->since_ms + run_lag(r);
    *out_proven = n->began_ms >= enough;
    n->began_ms = 0;
    n->page = 0;
    if (*out_proven && n->lost >= STEP_MAX_LOST)
        return step_fail(err, n->lost_code, "sent %u times without an answer, and it is not there", n->lost);
    if (*out_proven) {
        n->looks = 0;
        r->unsure = r->maybe = false;
        run_proven_absent(r);
        return 0;
    }
    /* soon at first, since most objects show at once; never long beyond the time that decides */
    int64_t wait = (int64_t)400 << (n->looks < 4 ? n->looks : 4), rest = enough - now + 1;
    n->looks++;
    r->phase = phase;
    r->wait_ms = rest < wait ? (rest > 1 ? rest : 1) : wait;
    *out = STEP_AGAIN;
    return 0;
}

int step_wait_shown(struct run *r, int phase, bool *out_over, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (!n->waits) { /* it may have been made just now, by another op */
        n->waits = true;
        r->since_ms = gs_mono_ms();
    }
    return step_absent(r, phase, out_over, out, err);
}

void step_hidden(struct run *r)
{
    struct step_notes *n = step_notes(r);
    n->began_ms = 0;
    n->looks = 0;
    n->page = 0;
    r->since_ms = gs_mono_ms();
}

void step_seen(struct run *r)
{
    if (step_notes(r)->looks)
        run_lagged(r);
}

int step_whose(struct run *r, yyjson_val *obj, bool same, bool *out_ours, struct gs_err *err)
{
    step_seen(r);
    if (r->grp->existed) {
        *out_ours = false;
        return r->unsure ? step_made_by_us(r, obj, out_ours, err) : 0;
    }
    *out_ours = r->unsure || same;
    if (*out_ours || run_opts(r)->merge)
        return 0;
    return step_fail(err, GS_E_TAKEN, "%s '%s' is there already, with other values", r->op.kind, r->op.key);
}

int step_lost(struct run *r, const char *code, const char *detail, enum step_result *out, struct gs_err *err)
{
    if (run_loss(r, code, detail, err))
        return -1;
    *out = STEP_SKIP;
    return 0;
}

static int parse(const struct gl_response *rsp, bool array, yyjson_doc **out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gs_json_parse(gs_buf_str(&rsp->body), rsp->body.len, NULL, &doc, err)) {
        gs_wrap(err, "answer of the server");
        err->code = GS_E_REMOTE;
        return gs_scoped(err, GS_SCOPE_ITEM);
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (array ? !yyjson_is_arr(root) : !yyjson_is_obj(root))
        return step_fail(err, GS_E_REMOTE, "the server's answer is no JSON %s", array ? "array" : "object");
    *out = gs_steal(&doc);
    return 0;
}

int step_doc(const struct gl_response *rsp, yyjson_doc **out, struct gs_err *err)
{
    return parse(rsp, false, out, err);
}

int step_array(const struct gl_response *rsp, yyjson_doc **out, struct gs_err *err)
{
    return parse(rsp, true, out, err);
}

int step_graphql(const struct gl_response *rsp, bool of_group, const char *field, yyjson_doc **doc, yyjson_val **out, bool *out_absent,
                 struct gs_err *err)
{
    static const char not_there[] = "does not exist or you don't have permission";
    yyjson_val *data = NULL;
    *out = NULL;
    *out_absent = false;
    if (gl_graphql_answer(rsp, doc, &data, out_absent, err)) {
        *out_absent = *out_absent || strstr(err->text, not_there) != NULL;
        /* a mutation that timed out inside the server may have acted: the op stays as it is, and is looked up by the next run */
        return err->scope == GS_SCOPE_RETRY ? -1 : gs_scoped(err, GS_SCOPE_ITEM);
    }
    *out = step_get(of_group ? step_get(data, "group") : data, field);
    if (*out)
        return 0;
    *out_absent = true;
    return step_fail(err, GS_E_GRAPHQL, "GraphQL: the server's answer has no '%s'", field);
}

int64_t step_gid(yyjson_val *obj)
{
    const char *gid = gs_json_str(obj, "id");
    int64_t id = gid ? gl_gid(gid) : 0;
    return id > 0 ? id : 0;
}

int64_t step_iid(yyjson_val *obj)
{
    const char *text = gs_json_str(obj, "iid");
    int64_t iid = 0;
    if (text)
        return strtoll(text, NULL, 10);
    return gs_json_i64(obj, "iid", &iid) ? iid : 0;
}

const char *step_after(const struct run *r)
{
    return r->buf.len ? gs_buf_str(&r->buf) : NULL;
}

int step_next_after(struct run *r, yyjson_val *connection, bool *out_more, struct gs_err *err)
{
    yyjson_val *info = step_get(connection, "pageInfo");
    const char *cursor = gs_json_str(info, "endCursor");
    *out_more = gs_json_true(info, "hasNextPage");
    if (*out_more && (!cursor || !*cursor || strcmp(cursor, gs_buf_str(&r->buf)) == 0))
        return step_fail(err, GS_E_REMOTE, "GraphQL: the pages of a list do not go on");
    gs_buf_reset(&r->buf);
    return *out_more ? gs_buf_addstr(&r->buf, cursor, err) : 0;
}

bool step_next_page(struct step_notes *n, const struct gl_response *rsp)
{
    if (rsp->next_page > n->page)
        n->page = rsp->next_page;
    else if (rsp->next_page == 0 && rsp->link && strstr(rsp->link, "rel=\"next\""))
        n->page++;
    else
        return false;
    return true;
}

int step_made_by_us(struct run *r, yyjson_val *obj, bool *out, struct gs_err *err)
{
    *out = false;
    const char *created = gs_json_str(obj, yyjson_obj_get(obj, "createdAt") ? "createdAt" : "created_at");
    if (!created)
        return 0;
    int64_t at;
    struct gs_err ignored = {0};
    if (gs_time_parse(created, &at, &ignored))
        return 0;
    int64_t start = r->unsure ? r->op.sent_at : 0;
    if (start == 0) {
        gs_autofree char *text = NULL;
        if (state_meta_get(r->state, "started_at_ms", &text, err))
            return -1;
        if (!text)
            return 0;
        start = strtoll(text, NULL, 10);
    }
    /* both are the server's time; some seconds because its Date has no parts of them and its machines may differ */
    *out = at >= start - CLOCK_SLACK_MS;
    return 0;
}

int step_take_id(struct run *r, yyjson_val *obj, struct gs_err *err)
{
    int64_t id = 0;
    if (!gs_json_i64(obj, "id", &id) || id <= 0)
        return step_fail(err, GS_E_REMOTE, "the server's answer has no id");
    r->op.target_id = id;
    return 0;
}

int step_ref(struct run *r, const char *kind, int64_t home, const char *title, int64_t *out_id, struct gs_err *err)
{
    int64_t at = r->op.grp;
    while (at && at != home) {
        struct grp g;
        if (state_grp(r->state, at, &g, err))
            return -1;
        at = g.parent;
        grp_release(&g);
    }
    *out_id = 0;
    struct op op = {0};
    bool found = false;
    if (at && state_find(r->state, kind, at, title, &op, &found, err))
        return -1;
    op_release(&op);
    return run_ref(r, kind, found ? at : r->op.grp, title, !found, out_id, err);
}

int step_ref_id(struct run *r, const char *kind, int64_t src_id, int64_t *out_id, struct gs_err *err)
{
    *out_id = 0;
    for (const struct grp *g = src_id > 0 ? run_grp(r, r->op.grp) : NULL; g; g = g->parent ? run_grp(r, g->parent) : NULL) {
        struct op op = {0};
        bool found = false;
        if (state_find_src(r->state, kind, g->id, src_id, &op, &found, err))
            return -1;
        if (found)
            *out_id = op.state == OP_DONE ? op.target_id : 0;
        op_release(&op);
        if (found)
            return 0;
    }
    return 0;
}

int step_loss(struct run *r, struct gs_err *err, const char *code, const char *fmt, ...)
{
    char detail[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);
    return run_loss(r, code, detail, err);
}

char *step_strip(const char *s)
{
    while (*s && isspace((unsigned char)*s))
        s++;
    size_t len = strlen(s);
    while (len && isspace((unsigned char)s[len - 1]))
        len--;
    return strndup(s, len);
}

size_t step_cut(const char *s, size_t max)
{
    size_t i = 0, n = 0;
    for (; s[i]; i++)
        if (((unsigned char)s[i] & 0xc0) != 0x80 && n++ == max)
            return i;
    return i;
}

bool step_same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

bool step_same_date(const char *a, const char *b)
{
    a = a ? a : "";
    b = b ? b : "";
    return strncmp(a, b, 10) == 0;
}

bool step_same_time(const char *a, const char *b)
{
    int64_t x, y;
    struct gs_err ignored = {0};
    return a && b && gs_time_parse(a, &x, &ignored) == 0 && gs_time_parse(b, &y, &ignored) == 0 && x == y;
}

static bool color_long(const char *s, char out[8])
{
    size_t len = strlen(s);
    if (s[0] != '#' || (len != 4 && len != 7))
        return false;
    for (size_t i = 0; i < 6; i++)
        out[i + 1] = (char)tolower((unsigned char)s[1 + (len == 4 ? i / 2 : i)]);
    out[0] = '#';
    out[7] = 0;
    return true;
}

bool step_same_color(const char *a, const char *b)
{
    char x[8], y[8];
    if (!a || !b || !color_long(a, x) || !color_long(b, y))
        return true;
    return strcmp(x, y) == 0;
}

yyjson_val *step_get(yyjson_val *obj, const char *key)
{
    yyjson_val *v = yyjson_obj_get(obj, key);
    return yyjson_is_null(v) ? NULL : v;
}

int step_name(struct gs_buf *list, const char *name, struct gs_err *err)
{
    return gs_buf_addf(list, err, "%s%s", list->len ? ", " : "", name);
}
