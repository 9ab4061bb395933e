#include "cmd/reasons.h"

#include "cmd/cli.h"
#include "formats/ledger.h"

#include <stdio.h>
#include <string.h>

#define MAX_LINES 20 /* of each kind */

static const char *words(const struct reason *r)
{
    const struct ledger_rule *rule = r->why[0] || r->fallback ? NULL : ledger_rule_find(r->rule);
    return rule ? rule->text : r->why;
}

static void json_list(struct gs_jw *w, const char *key, bool fallback, const struct reason *v, size_t n)
{
    gs_jw_key(w, key);
    gs_jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        const struct reason *r = &v[i];
        if (r->fallback != fallback)
            continue;
        gs_jw_obj(w);
        gs_jw_kstr(w, "relation", cli_valid(r->relation));
        if (fallback) {
            gs_jw_kstr(w, "from", cli_valid(r->from));
            gs_jw_kstr(w, "to", cli_valid(r->to));
        } else {
            gs_jw_kstr(w, "rule", cli_valid(r->rule));
            gs_jw_ki64(w, "records", (int64_t)r->records);
        }
        gs_jw_ki64(w, "entries", (int64_t)r->entries);
        gs_jw_kstr(w, "why", cli_valid(words(r)));
        gs_jw_kbool(w, "varies", r->varies);
        gs_jw_end(w);
    }
    gs_jw_end(w);
}

void reasons_json(struct gs_jw *w, const struct reason *v, size_t n)
{
    json_list(w, "other_ways", true, v, n);
    json_list(w, "not_read", false, v, n);
}

static void one_line(const struct reason *r, char *out, size_t cap)
{
    const char *what = strcmp(r->relation, "export") == 0 ? "everything" : cli_safe(r->relation);
    const char *like = r->varies ? "; and others like it" : "";
    if (r->fallback)
        snprintf(out, cap, "  %9s  %s: by %s instead of %s: %s%s", cli_count(r->entries), what, cli_safe(r->to), cli_safe(r->from),
                 cli_safe(words(r)), like);
    else if (r->records)
        snprintf(out, cap, "  %9s  %s (%s records): %s%s", cli_count(r->entries), what, cli_count(r->records), cli_safe(words(r)), like);
    else
        snprintf(out, cap, "  %9s  %s: %s%s", cli_count(r->entries), what, cli_safe(words(r)), like);
}

static void lines(bool fallback, const struct reason *v, size_t n, void (*line)(void *cookie, const char *text), void *cookie)
{
    char text[1024];
    size_t shown = 0, more = 0;
    for (size_t i = 0; i < n; i++) {
        if (v[i].fallback != fallback)
            continue;
        if (shown == 0)
            line(cookie, fallback ? "Read another way than first tried:" : "Not read:");
        if (shown < MAX_LINES) {
            one_line(&v[i], text, sizeof text);
            line(cookie, text);
            shown++;
        } else {
            more++;
        }
    }
    if (more) {
        snprintf(text, sizeof text, "  and for %s more reasons, which --json names", cli_count(more));
        line(cookie, text);
    }
}

void reasons_lines(const struct reason *v, size_t n, void (*line)(void *cookie, const char *text), void *cookie)
{
    lines(true, v, n, line, cookie);
    lines(false, v, n, line, cookie);
}
