/*
 * Texts for the target. First byte: how the world answers. Where everything is the same, nothing but backslashes is added; no line
 * outside of closed code that begins with an action stays without one; what was done once is not done again.
 */
#include "fuzz.h"

#include "libreplay/text.h"

#include <string.h>

struct world {
    int how;
    unsigned asked;
};

static int find(void *cookie, const struct text_ref *ref, struct text_target *out, struct gs_err *err)
{
    struct world *w = cookie;
    MUST(!ref->group || strlen(ref->group) > 0);
    MUST(ref->kind == TEXT_GROUP || ref->kind == TEXT_USER || ref->name || ref->number >= 0);
    w->asked++;
    out->number = ref->number;
    if (w->how == 0) {
        out->found = TEXT_CARRIED;
        return 0;
    }
    out->found = (enum text_found)((ref->number + (ref->name ? ref->name[0] : 0) + w->how) % 3);
    if (w->how & 4 && out->found == TEXT_CARRIED) {
        out->name = strdup(ref->kind == TEXT_USER ? "some.body" : ref->kind == TEXT_GROUP ? "x/y" : "a title");
        if (!out->name)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
    }
    return 0;
}

static void convert(struct world *w, const char *in, size_t len, bool actions, struct gs_buf *out, struct text_notes *notes)
{
    struct text_env env = {.cookie = w, .source_url = "https://src.example", .target_url = w->how ? "https://dst.example" : "https://src.example",
                           .actions = actions, .spans = true, .find = find};
    struct gs_err err = {0};
    gs_buf_init(out, (size_t)64 << 20);
    MUST(text_convert(&env, in, len, out, notes, &err) == 0);
}

/* `out` is `in` with backslashes put in front of slashes at the beginning of lines. */
static unsigned added(const char *in, size_t n, const struct gs_buf *out)
{
    size_t i = 0;
    unsigned more = 0;
    for (size_t o = 0; o < out->len; o++) {
        if (i < n && in[i] == out->data[o]) {
            i++;
            continue;
        }
        MUST(out->data[o] == '\\' && i < n && in[i] == '/' && (i == 0 || in[i - 1] == '\n'));
        more++;
    }
    MUST(i == n);
    return more;
}

/* What the notes do not name as rewritten stands in `out` as in `in`. */
static void rest_is_same(const char *in, size_t n, const struct gs_buf *out, const struct text_notes *notes)
{
    size_t at = 0, o = 0;
    for (size_t i = 0; i < notes->spans.len; i += sizeof(struct text_span)) {
        struct text_span x;
        memcpy(&x, notes->spans.data + i, sizeof x);
        MUST(x.at >= at && x.out_at >= o && x.at - at == x.out_at - o && memcmp(in + at, out->data + o, x.at - at) == 0);
        at = x.at + x.len;
        o = x.out_at + x.out_len;
        MUST(at <= n && o <= out->len);
    }
    MUST(n - at == out->len - o && (n == at || memcmp(in + at, out->data + o, n - at) == 0));
    MUST(notes->spans.len / sizeof(struct text_span) == notes->rewritten);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gs_buf once, twice, other;
    struct text_notes a = {0}, b = {0}, c = {0};
    if (size < 1)
        return 0;
    struct world same = {0}, w = {.how = data[0]};
    const char *in = (const char *)data + 1;
    convert(&same, in, size - 1, true, &once, &a);
    /* links to the source itself are normalised (the case of the host, the number of a comment) */
    if (a.rewritten == 0)
        MUST(added(in, size - 1, &once) == a.actions);
    convert(&same, gs_buf_str(&once), once.len, true, &twice, &b);
    MUST(b.actions == 0);
    convert(&w, in, size - 1, (data[0] & 8) != 0, &other, &c);
    if (!(data[0] & 8))
        rest_is_same(in, size - 1, &other, &c);
    MUST(c.names.len < 2000 && ((data[0] & 8) || c.actions == 0));
    gs_buf_release(&once);
    gs_buf_release(&twice);
    gs_buf_release(&other);
    text_notes_release(&a);
    text_notes_release(&b);
    text_notes_release(&c);
    return 0;
}
