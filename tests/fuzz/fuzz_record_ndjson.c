/* Records as text: whatever is accepted goes to msgpack and back unchanged in value, and has one shape only. */
#include "fuzz.h"

#include "formats/ledger.h"
#include "formats/record.h"
#include "formats/shape.h"

#include <string.h>

static const struct record_limits lim = {.max_bytes = 1 << 16, .max_depth = 24};

/* A record in today's shape is its own shape. */
static void shape_once(const char *relation, const char *json, size_t len)
{
    struct gs_err err = {0};
    struct gs_buf one, two, key;
    gs_buf_init(&one, 1 << 22);
    gs_buf_init(&two, 1 << 22);
    gs_buf_init(&key, 1 << 22);
    if (shape_normalise(relation, json, len, &one, &err) == 0) {
        MUST(shape_normalise(relation, gs_buf_str(&one), one.len, &two, &err) == 0);
        MUST(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
        yyjson_doc *d = NULL;
        MUST(gs_json_parse(gs_buf_str(&one), one.len, NULL, &d, &err) == 0);
        if (shape_key(relation, yyjson_doc_get_root(d), &key, &err))
            MUST(err.code != GS_OK);
        yyjson_doc_free(d);
    }
    gs_buf_release(&one);
    gs_buf_release(&two);
    gs_buf_release(&key);
}

static void one_record(const char *data, size_t len)
{
    static const char *const relations[] = {"self",   "labels", "boards", "epics", "members", "iterations_cadences",
                                            "badges", "other"};
    struct gs_err err = {0};
    struct gs_buf text, mp, back;
    bool changed;
    gs_buf_init(&text, 1 << 20);
    gs_buf_init(&mp, 1 << 20);
    gs_buf_init(&back, 1 << 22);
    if (record_check(RECORD_NDJSON, data, len, &lim, &err) == 0) {
        MUST(record_to_json(RECORD_NDJSON, data, len, &lim, &text, &err) == 0);
        if (record_encode(RECORD_MSGPACK, gs_buf_str(&text), text.len, &lim, &mp, &err) == 0) {
            yyjson_doc *a = NULL, *b = NULL;
            struct gs_json_opts o = {.raw_numbers = true};
            MUST(record_check(RECORD_MSGPACK, mp.data, mp.len, &lim, &err) == 0);
            MUST(record_to_json(RECORD_MSGPACK, mp.data, mp.len, &lim, &back, &err) == 0);
            MUST(gs_json_parse(gs_buf_str(&text), text.len, &o, &a, &err) == 0);
            MUST(gs_json_parse(gs_buf_str(&back), back.len, &o, &b, &err) == 0);
            MUST(gs_json_equal(yyjson_doc_get_root(a), yyjson_doc_get_root(b)));
            yyjson_doc_free(a);
            yyjson_doc_free(b);
        }
        for (size_t i = 0; i < sizeof relations / sizeof *relations; i++)
            shape_once(relations[i], gs_buf_str(&text), text.len);
        back.len = 0;
        if (ledger_withhold(gs_buf_str(&text), text.len, NULL, NULL, &changed, &back, &err) == 0 && changed) {
            MUST(record_check(RECORD_NDJSON, back.data, back.len, &lim, &err) == 0);
            MUST(ledger_withhold(gs_buf_str(&back), back.len, NULL, NULL, &changed, &mp, &err) == 0 && !changed);
        }
    }
    gs_buf_release(&text);
    gs_buf_release(&mp);
    gs_buf_release(&back);
}

/* The quick look accepts nothing that the parser refuses. */
static void quick_is_strict(const char *data, size_t size)
{
    struct gs_err err = {0};
    yyjson_doc *doc = NULL;
    struct gs_json_opts o = {.max_bytes = lim.max_bytes, .max_depth = lim.max_depth};
    size_t n = record_quick(RECORD_NDJSON, data, size, &lim);
    if (n == 0)
        return;
    MUST(n <= size && data[n - 1] == '\n' && !memchr(data, '\n', n - 1));
    MUST(gs_json_parse(data, n - 1, &o, &doc, &err) == 0 && yyjson_is_obj(yyjson_doc_get_root(doc)));
    yyjson_doc_free(doc);
    bool changed = false;
    struct gs_buf clean;
    gs_buf_init(&clean, 1 << 20);
    if (ledger_quick(data, n - 1, lim.max_bytes, lim.max_depth))
        MUST(ledger_withhold(data, n - 1, NULL, NULL, &changed, &clean, &err) == 0 && !changed);
    gs_buf_release(&clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    while (size > 0) {
        struct gs_err err = {0};
        size_t n = 0;
        quick_is_strict(p, size);
        if (record_next(RECORD_NDJSON, p, size, true, &lim, &n, &err))
            break;
        MUST(n > 0 && n <= size);
        one_record(p, n);
        p += n;
        size -= n;
    }
    return 0;
}
