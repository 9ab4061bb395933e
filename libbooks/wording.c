#include "libbooks/known_priv.h"

#include "libreplay/attribution.h"
#include "libreplay/names.h"

#include <string.h>

#define CUT_MIN 250 /* bytes that a text has at least that GitLab has cut (at 255 characters) */

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\n\r\f\v", p[i]) || !p[i])
            return false;
    return true;
}

static size_t alike(const char *a, size_t na, const char *b, size_t nb)
{
    size_t n = 0;
    while (n < na && n < nb && a[n] == b[n])
        n++;
    return n;
}

/*
 * Is `there` what was made of `here`? Where something was rewritten it may also be as it was: at the time the load may not have known of it, or
 * have failed to make it until then. Everything else is as it is in `made`.
 */
static bool fits(const char *here, const struct gs_buf *made, const struct text_notes *notes, const char *there, size_t n, bool cut)
{
    size_t at = 0, from = 0, spans = notes->spans.len / sizeof(struct text_span);
    const char *text = gs_buf_str(made);
    for (size_t i = 0; i <= spans; i++) {
        struct text_span s = {.out_at = made->len};
        if (i < spans)
            memcpy(&s, notes->spans.data + i * sizeof s, sizeof s);
        size_t same = alike(text + from, s.out_at - from, there + at, n - at);
        at += same;
        if (same < s.out_at - from)
            return at == n && (is_blank(text + from + same, made->len - from - same) || cut);
        size_t new = alike(text + s.out_at, s.out_len, there + at, n - at), old = alike(here + s.at, s.len, there + at, n - at);
        bool is_new = new == s.out_len, is_old = old == s.len;
        if (i < spans && !is_new && !is_old)
            return cut && at + (new > old ? new : old) == n;
        at += is_new && (!is_old || s.out_len >= s.len) ? s.out_len : s.len;
        from = s.out_at + s.out_len;
    }
    return at == n;
}

/* The end of a text that says who wrote it, as this load would write it. */
static int name_author(struct known *k, yyjson_val *owner, struct gs_buf *out, struct gs_err *err)
{
    yyjson_val *author = yyjson_obj_get(owner, "author");
    int64_t user = 0;
    if (!gs_json_i64(owner, "author_id", &user))
        gs_json_i64(author, "id", &user);
    return attribution_of(k->state, user, author, gs_json_str(owner, "created_at"), out, err);
}

/* How much of `there` stands before that end; all of it where there is none, or another one than this load writes. */
static int without_author(struct known *k, yyjson_val *owner, const char *there, size_t n, size_t *out, bool *out_named, struct gs_err *err)
{
    struct attribution_found found;
    gs_autobuf end;
    gs_buf_init(&end, 1 << 20);
    *out = n;
    *out_named = false;
    if (!owner || !attribution_find(there, n, &found))
        return 0;
    if (name_author(k, owner, &end, err))
        return -1;
    if (end.len != n - found.text_len || memcmp(there + found.text_len, end.data, end.len) != 0)
        return 0;
    *out_named = true;
    for (*out = found.text_len; *out > 0 && is_blank(there + *out - 1, 1);)
        --*out;
    return 0;
}

int known_wording(struct known *k, const struct wording *w, const char *here, size_t len, const char *there, size_t there_len,
                  const char **out_code, struct gs_err *err)
{
    size_t n;
    bool named;
    struct names names = {.state = k->state, .groups = k->groups, .n_groups = k->n, .grp = known_grp(k, w->group), .afterwards = true};
    struct text_env env = {.cookie = &names, .source_url = gs_json_str(yyjson_obj_get(bundle_manifest(k->bundle), "source"), "url"),
                           .target_url = k->target_url, .actions = w->actions, .spans = true, .find = names_find};
    struct text_notes notes = {0};
    gs_autobuf made;
    gs_buf_init(&made, len * 8 + ((size_t)1 << 20));
    *out_code = NULL;
    if (without_author(k, w->owner, there, there_len, &n, &named, err))
        return -1;
    if (w->named && !named)
        return 0;
    int r = text_convert(&env, here, len, &made, &notes, err);
    if (r == 0 && fits(here, &made, &notes, there, n, w->cut && n >= CUT_MIN))
        *out_code = named             ? "author-in-text"
                    : notes.actions   ? "text-action-kept"
                    : notes.rewritten ? "text-rewritten"
                                      : "group-description-cut";
    text_notes_release(&notes);
    return r;
}
