/* When a cadence may begin to make iterations itself. */
#include "unit.h"

#include "libreplay/kinds/iterations.h"

#include "libcommon/clock.h"

static int64_t day(const char *s)
{
    struct gs_err err = {0};
    int64_t ms;
    OK(gs_time_parse(s, &ms, &err));
    return ms / 86400000;
}

#define CADENCE(start, weeks, its) "{\"start_date\":" start ",\"duration_in_weeks\":" #weeks ",\"iterations\":[" its "]}"
#define IT(iid, a, b) "{\"iid\":" #iid ",\"start_date\":\"" a "\",\"due_date\":\"" b "\"}"

static const struct {
    const char *json, *today, *start;
    int64_t moves; /* iid; 0: none */
} cases[] = {
    /* nothing yet: its own start when that is allowed, else today */
    {CADENCE("\"2026-03-02\"", 2, ""), "2026-01-01", "2026-03-02", 0},
    {CADENCE("\"2025-12-20\"", 2, ""), "2026-01-01", "2025-12-20", 0},
    {CADENCE("\"2025-12-18\"", 2, ""), "2026-01-01", "2026-01-01", 0},
    {CADENCE("null", 1, ""), "2026-01-01", "2026-01-01", 0},
    /* one goes on, and some lie ahead, one behind the other: they stay */
    {CADENCE("\"2020-01-06\"", 1, IT(1, "2025-12-29", "2026-01-04") "," IT(2, "2026-01-05", "2026-01-11") "," IT(3, "2026-01-12", "2026-01-18")), "2026-01-01", "2026-01-05", 0},
    /* in any order, and with a pause before those ahead */
    {CADENCE("null", 1, IT(3, "2026-02-09", "2026-02-15") "," IT(1, "2025-12-29", "2026-01-04") "," IT(2, "2026-02-02", "2026-02-08")), "2026-01-01", "2026-02-02", 0},
    /* of another length, or with a hole: they move */
    {CADENCE("null", 2, IT(1, "2026-01-05", "2026-01-11") "," IT(2, "2026-01-12", "2026-01-18")), "2026-01-01", "2026-01-05", 1},
    {CADENCE("null", 1, IT(1, "2026-01-05", "2026-01-11") "," IT(2, "2026-01-19", "2026-01-25")), "2026-01-01", "2026-01-05", 2},
    /* today is the first day of one: it has begun */
    {CADENCE("null", 1, IT(1, "2026-01-01", "2026-01-07")), "2026-01-01", "2026-01-08", 0},
    /* all are over: behind the last, where that would make none that is over already; else in its rhythm */
    {CADENCE("\"2020-01-06\"", 1, IT(1, "2025-12-15", "2025-12-28")), "2026-01-01", "2025-12-29", 0},
    {CADENCE("\"2020-01-06\"", 1, IT(1, "2025-12-01", "2025-12-07")), "2026-01-01", "2025-12-29", 0},
    {CADENCE("\"2020-01-06\"", 2, IT(1, "2025-12-01", "2025-12-07")), "2026-01-01", "2025-12-22", 0},
    {CADENCE("\"2026-05-04\"", 2, IT(1, "2025-12-01", "2025-12-07")), "2026-01-01", "2026-05-04", 0},
};

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gs_err err = {0};
        GS_AUTO(yyjson_doc) doc = NULL;
        struct automation a;
        char got[GS_TIME_LEN];
        OK(gs_json_parse(cases[i].json, strlen(cases[i].json), NULL, &doc, &err));
        OK(automation_plan(yyjson_doc_get_root(doc), day(cases[i].today), &a, &err));
        gs_time_format(a.start * 86400000, got);
        got[10] = 0;
        if (strcmp(got, cases[i].start) != 0 || a.moves != (cases[i].moves != 0) || a.moves_iid != cases[i].moves)
            fail_msg("case %zu: %s, moves %lld; not %s, %lld", i, got, (long long)a.moves_iid, cases[i].start, (long long)cases[i].moves);
    }
}

static void refuses(void **state)
{
    static const char *const bad[] = {CADENCE("null", 0, ""), CADENCE("null", 99, ""), "{\"iterations\":[]}", CADENCE("\"soon\"", 1, ""),
                                      CADENCE("null", 1, "{\"iid\":1,\"start_date\":\"2026-01-01\"}")};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gs_err err = {0};
        GS_AUTO(yyjson_doc) doc = NULL;
        struct automation a;
        OK(gs_json_parse(bad[i], strlen(bad[i]), NULL, &doc, &err));
        FAILS(GS_E_RECORD, automation_plan(yyjson_doc_get_root(doc), day("2026-01-01"), &a, &err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
