#include "cmd/inspect.h"
#include "cmd/reasons.h"
#include "formats/ledger.h"

#include <string.h>

#define LIST_MAX ((size_t)64 << 20)

static uint64_t number(yyjson_val *line, const char *key)
{
    int64_t v;
    return gs_json_i64(line, key, &v) && v > 0 ? (uint64_t)v : 0;
}

static int add_rule(struct inspect_ledger *l, const char *entry, yyjson_val *line, struct gs_err *err)
{
    const char *name = gs_json_str(line, "rule");
    struct inspect_rule *r = NULL;
    if (!name)
        name = "";
    for (size_t i = 0; i < l->n_rules && !r; i++)
        if (strcmp(l->rules[i].name, name) == 0 && strcmp(l->rules[i].entry, entry) == 0)
            r = &l->rules[i];
    if (!r) {
        struct inspect_rule *more = realloc(l->rules, (l->n_rules + 1) * sizeof *more);
        if (!more)
            return gs_fail(err, GS_E_NOMEM, "no memory for the ledger's rules");
        l->rules = more;
        r = &l->rules[l->n_rules];
        *r = (struct inspect_rule){.name = strdup(name), .entry = strdup(entry)};
        l->n_rules++;
        if (!r->name || !r->entry)
            return gs_fail(err, GS_E_NOMEM, "no memory for the ledger's rules");
    }
    r->lines++;
    r->count += number(line, "count");
    if (!reasons_is_unread(strcmp(entry, "lost") == 0, name))
        return 0;
    const char *relation = gs_json_str(line, "relation");
    return reasons_unread(&l->reasons, relation ? relation : "?", name, number(line, "count"), gs_json_str(line, "detail"), err);
}

static int keep(struct gs_buf *list, yyjson_val *line, struct gs_err *err)
{
    return gs_json_write(line, list, err) || gs_buf_addc(list, ',', err) ? -1 : 0;
}

static int add_line(struct inspect_ledger *l, yyjson_val *line, struct gs_err *err)
{
    const char *entry = gs_json_str(line, "entry");
    int64_t announced;
    l->lines++;
    if (!entry)
        return 0;
    if (strcmp(entry, "left_out") == 0 || strcmp(entry, "lost") == 0)
        return add_rule(l, entry, line, err);
    if (strcmp(entry, "fetch") == 0) {
        l->fetches++;
        l->pages += number(line, "pages");
        l->records += number(line, "records");
        l->bytes += number(line, "bytes");
        l->retries += number(line, "retries");
        l->waits_ms += number(line, "waits_ms");
    } else if (strcmp(entry, "relation") == 0) {
        l->relations++;
        if (gs_json_i64(line, "announced", &announced) && announced >= 0)
            l->announced += (uint64_t)announced;
        else
            l->unannounced++;
        l->stored += number(line, "stored");
        l->left_out += number(line, "left_out");
    } else if (strcmp(entry, "capture") == 0) {
        l->has_capture = true;
        l->requests = number(line, "requests");
        l->repeated = number(line, "repeated");
        l->kept = number(line, "kept");
        l->longest_pause_ms = number(line, "longest_pause_ms");
        l->passes = number(line, "passes");
    } else if (strcmp(entry, "fallback") == 0) {
        const char *relation = gs_json_str(line, "relation"), *from = gs_json_str(line, "from"), *to = gs_json_str(line, "to");
        l->fallbacks++;
        if (reasons_fallback(&l->reasons, relation ? relation : "?", from ? from : "?", to ? to : "?", gs_json_str(line, "why"), err))
            return -1;
        return keep(&l->fallback_lines, line, err);
    } else if (strcmp(entry, "watermark") == 0) {
        const char *seen = gs_json_str(line, "seen");
        l->watched++;
        l->watched_partly += !seen || strcmp(seen, "all") != 0;
    } else if (strcmp(entry, "settled") == 0) {
        l->settled++;
        return keep(&l->settled_lines, line, err);
    } else if (strcmp(entry, "changed") == 0) {
        l->changed++;
        return keep(&l->changed_lines, line, err);
    }
    return 0;
}

static int by_entry(const void *a, const void *b)
{
    const struct inspect_rule *x = a, *y = b;
    int r = strcmp(y->entry, x->entry); /* lost before left_out */
    return r ? r : strcmp(x->name, y->name);
}

int inspect_ledger_load(const struct bundle *b, struct inspect_ledger *out, struct gs_err *err)
{
    GS_AUTO(bundle_cursor) cur = NULL;
    *out = (struct inspect_ledger){0};
    gs_buf_init(&out->fallback_lines, LIST_MAX);
    gs_buf_init(&out->changed_lines, LIST_MAX);
    gs_buf_init(&out->settled_lines, LIST_MAX);
    if (bundle_cursor_open(b, 0, "ledger", &cur, err))
        return -1;
    for (;;) {
        const void *data;
        size_t len;
        GS_AUTO(yyjson_doc) doc = NULL;
        if (bundle_cursor_next(cur, &data, &len, NULL, err))
            return -1;
        if (!data)
            break;
        if (record_parse(RECORD_NDJSON, data, len, NULL, &doc, err) || add_line(out, yyjson_doc_get_root(doc), err))
            return gs_wrap(err, "ledger line %llu", (unsigned long long)out->lines + 1);
    }
    if (out->n_rules > 0)
        qsort(out->rules, out->n_rules, sizeof *out->rules, by_entry);
    reasons_sort(&out->reasons);
    return 0;
}

void inspect_ledger_release(struct inspect_ledger *l)
{
    for (size_t i = 0; i < l->n_rules; i++) {
        free(l->rules[i].name);
        free(l->rules[i].entry);
    }
    free(l->rules);
    reasons_release(&l->reasons);
    gs_buf_release(&l->fallback_lines);
    gs_buf_release(&l->changed_lines);
    gs_buf_release(&l->settled_lines);
}

static int array_of(struct gs_jw *w, const char *key, const struct gs_buf *list, struct gs_err *err)
{
    gs_autobuf a;
    gs_buf_init(&a, LIST_MAX + 2);
    if (gs_buf_addc(&a, '[', err) || gs_buf_add(&a, gs_buf_str(list), list->len ? list->len - 1 : 0, err) ||
        gs_buf_addc(&a, ']', err))
        return -1;
    gs_jw_key(w, key);
    gs_jw_raw(w, a.data, a.len);
    return 0;
}

int inspect_ledger_json(const struct inspect_ledger *l, struct gs_jw *w, struct gs_err *err)
{
    gs_jw_obj(w);
    gs_jw_ki64(w, "lines", (int64_t)l->lines);
    gs_jw_key(w, "fetched");
    gs_jw_obj(w);
    gs_jw_ki64(w, "endpoints", (int64_t)l->fetches);
    gs_jw_ki64(w, "pages", (int64_t)l->pages);
    gs_jw_ki64(w, "records", (int64_t)l->records);
    gs_jw_ki64(w, "bytes", (int64_t)l->bytes);
    gs_jw_ki64(w, "retries", (int64_t)l->retries);
    gs_jw_ki64(w, "waits_ms", (int64_t)l->waits_ms);
    gs_jw_end(w);
    gs_jw_key(w, "capture");
    if (l->has_capture) {
        gs_jw_obj(w);
        gs_jw_ki64(w, "requests", (int64_t)l->requests);
        gs_jw_ki64(w, "repeated", (int64_t)l->repeated);
        gs_jw_ki64(w, "kept", (int64_t)l->kept);
        gs_jw_ki64(w, "longest_pause_ms", (int64_t)l->longest_pause_ms);
        gs_jw_ki64(w, "passes", (int64_t)l->passes);
        gs_jw_end(w);
    } else {
        gs_jw_null(w);
    }
    gs_jw_key(w, "balance");
    gs_jw_obj(w);
    gs_jw_ki64(w, "relations", (int64_t)l->relations);
    gs_jw_ki64(w, "announced", (int64_t)l->announced);
    gs_jw_ki64(w, "relations_without_announcement", (int64_t)l->unannounced);
    gs_jw_ki64(w, "stored", (int64_t)l->stored);
    gs_jw_ki64(w, "left_out", (int64_t)l->left_out);
    gs_jw_end(w);
    gs_jw_key(w, "rules");
    gs_jw_arr(w);
    for (size_t i = 0; i < l->n_rules; i++) {
        const struct ledger_rule *rule = ledger_rule_find(l->rules[i].name);
        gs_jw_obj(w);
        gs_jw_kstr(w, "entry", l->rules[i].entry);
        gs_jw_kstr(w, "rule", l->rules[i].name);
        gs_jw_kstr(w, "text", rule ? rule->text : NULL);
        gs_jw_ki64(w, "count", (int64_t)l->rules[i].count);
        gs_jw_ki64(w, "lines", (int64_t)l->rules[i].lines);
        gs_jw_end(w);
    }
    gs_jw_end(w);
    gs_jw_key(w, "watermarks");
    gs_jw_obj(w);
    gs_jw_ki64(w, "relations", (int64_t)l->watched);
    gs_jw_ki64(w, "compared_in_part", (int64_t)l->watched_partly);
    gs_jw_end(w);
    if (array_of(w, "fallbacks", &l->fallback_lines, err) || array_of(w, "changed", &l->changed_lines, err) ||
        array_of(w, "settled", &l->settled_lines, err))
        return -1;
    reasons_json(w, l->reasons.v, l->reasons.n);
    gs_jw_end(w);
    return 0;
}
