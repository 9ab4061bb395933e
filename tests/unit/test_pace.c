/*
 * The pace against a server that counts requests in fixed windows, on a clock of the test's own: no request is refused
 * as long as nobody else uses the limit, and what is allowed is used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "libgitlab/pace.h"

#include <stdio.h>
#include <string.h>

#define MAX_ON_WIRE 64
#define UNIX_MS ((int64_t)1700000000 * 1000 + 357) /* Unix time of the server when our clock shows 0 */

struct world {
    unsigned jobs, rate_per_min;
    int64_t latency_ms;
    int64_t limit, period_s;      /* of the server, per window */
    int64_t others_per_window;    /* requests that somebody else makes, evenly */
    int64_t until_ms;
    bool silent;                  /* no headers */
};

struct outcome {
    int64_t sent, refused, whole_windows, in_whole_windows, most_in_minute;
};

struct wire {
    bool busy, counted;
    int number;
    int64_t arrives, answers;
    struct gl_pace_answer a;
    bool refused;
};

static int64_t server_now(int64_t now)
{
    return UNIX_MS + now;
}

/* What the server says to a request that arrives now. */
static void serve(const struct world *w, int64_t now, int64_t *window, int64_t *used, struct wire *x)
{
    int64_t period = w->period_s * 1000, no = server_now(now) / period;
    if (no != *window) {
        *window = no;
        *used = 0;
    }
    int64_t others = w->others_per_window * (server_now(now) % period) / period;
    ++*used;
    x->counted = true;
    x->refused = *used + others > w->limit;
    x->a = (struct gl_pace_answer){.server_ms = 0, .per_min = -1, .observed = -1, .remaining = -1, .reset_s = -1};
    if (w->silent)
        return;
    x->a.per_min = (w->limit * 60 + w->period_s - 1) / w->period_s;
    x->a.observed = *used + others;
    x->a.remaining = x->refused ? 0 : w->limit - x->a.observed;
    x->a.reset_s = (no + 1) * w->period_s;
    x->a.name = "throttle_authenticated_api";
}

static struct outcome simulate(const struct world *w)
{
    struct outcome o = {0};
    struct wire wire[MAX_ON_WIRE] = {0};
    struct gl_pace p;
    int64_t window = -1, used = 0, first_window = -1, of_window = 0, seen_window = -1;
    static int64_t at[1 << 20];
    gl_pace_init(&p, w->jobs, w->rate_per_min);
    for (int64_t now = 0; now < w->until_ms; now++) {
        for (size_t i = 0; i < MAX_ON_WIRE; i++) {
            struct wire *x = &wire[i];
            if (x->busy && !x->counted && now >= x->arrives) {
                serve(w, now, &window, &used, x);
                if (window != seen_window) {
                    if (seen_window > first_window && first_window >= 0) {
                        o.whole_windows++;
                        o.in_whole_windows += of_window;
                    }
                    if (first_window < 0)
                        first_window = window;
                    seen_window = window;
                    of_window = 0;
                }
                of_window += !x->refused;
                o.refused += x->refused;
            }
            if (x->busy && now >= x->answers) {
                x->a.server_ms = server_now(now) / 1000 * 1000;
                x->a.head_ms = now;
                gl_pace_answered(&p, x->number, 7, &x->a, now);
                if (x->refused)
                    gl_pace_refused(&p, 1000, now);
                else
                    gl_pace_went_well(&p);
                x->busy = false;
            }
        }
        while (gl_pace_when(&p, 7, now) <= now) {
            size_t i = 0;
            while (i < MAX_ON_WIRE && wire[i].busy)
                i++;
            assert_true(i < w->jobs);
            wire[i] = (struct wire){.busy = true, .number = gl_pace_sent(&p, 7, now), .arrives = now + w->latency_ms / 2,
                                    .answers = now + w->latency_ms};
            at[o.sent++] = now;
        }
    }
    for (int64_t i = 0, from = 0; i < o.sent; i++) {
        while (at[i] - at[from] >= 60000)
            from++;
        if (i - from + 1 > o.most_in_minute)
            o.most_in_minute = i - from + 1;
    }
    return o;
}

/* A window and a half of warming up, then several whole ones. */
static void test_headers_kept(void **state)
{
    static const struct world worlds[] = {
        {.jobs = 1, .latency_ms = 20, .limit = 60, .period_s = 60, .until_ms = 400000},
        {.jobs = 8, .latency_ms = 50, .limit = 600, .period_s = 60, .until_ms = 400000},
        {.jobs = 32, .latency_ms = 150, .limit = 2000, .period_s = 60, .until_ms = 400000},
        {.jobs = 64, .latency_ms = 800, .limit = 2000, .period_s = 60, .until_ms = 400000},
        {.jobs = 8, .latency_ms = 6, .limit = 100, .period_s = 10, .until_ms = 100000},
        {.jobs = 64, .latency_ms = 30, .limit = 300, .period_s = 15, .until_ms = 200000},
        {.jobs = 16, .latency_ms = 2000, .limit = 400, .period_s = 60, .until_ms = 400000},
    };
    for (size_t i = 0; i < GS_COUNT(worlds); i++) {
        const struct world *w = &worlds[i];
        struct outcome o = simulate(w);
        int64_t allowed = o.whole_windows * w->limit;
        print_message("limit %lld in %lld s, %u jobs, %lld ms: %lld refused, %.1f %% of the limit used\n", (long long)w->limit,
                      (long long)w->period_s, w->jobs, (long long)w->latency_ms, (long long)o.refused,
                      100.0 * (double)o.in_whole_windows / (double)allowed);
        assert_int_equal(o.refused, 0);
        assert_true(o.whole_windows >= 3);
        assert_true(o.in_whole_windows * 100 >= allowed * 95);
        assert_true(o.in_whole_windows * 32 <= allowed * 31); /* and others have it */
    }
}

/* What others take between two answers cannot be known: a refusal or two at the end of a window, no more. */
static void test_others_use_it_too(void **state)
{
    struct world w = {.jobs = 16, .latency_ms = 100, .limit = 600, .period_s = 60, .others_per_window = 400, .until_ms = 400000};
    struct outcome o = simulate(&w);
    assert_in_range(o.refused, 0, 2 * (o.whole_windows + 1));
    assert_true(o.in_whole_windows * 100 >= o.whole_windows * 200 * 85);
}

static void test_no_headers(void **state)
{
    struct world w = {.jobs = 8, .latency_ms = 50, .limit = INT64_MAX / 4, .period_s = 60, .until_ms = 10000, .silent = true};
    struct outcome o = simulate(&w);
    assert_int_equal(o.sent, 8 * 10000 / 50); /* jobs divided by latency */
}

static void test_own_rate(void **state)
{
    static const unsigned rates[] = {1, 30, 600, 6000, 60000};
    for (size_t i = 0; i < GS_COUNT(rates); i++) {
        struct world w = {.jobs = 64, .rate_per_min = rates[i], .latency_ms = 10, .limit = INT64_MAX / 4, .period_s = 60,
                          .until_ms = 300000, .silent = true};
        struct outcome o = simulate(&w);
        unsigned slack = rates[i] * 20 / 60000 + 1; /* what 20 ms may make up for */
        assert_in_range(o.most_in_minute, rates[i], rates[i] + slack);
        assert_true(o.sent * 100 >= (int64_t)rates[i] * 5 * 95);
    }
}

static const struct gl_pace_answer plenty = {.server_ms = 1000000, .head_ms = 0, .per_min = 600, .observed = 1, .remaining = 599,
                                             .reset_s = 1060, .name = "a"};

static void test_window(void **state)
{
    struct gl_pace p;
    struct gl_pace_view v;
    gl_pace_init(&p, 8, 0);
    gl_pace_refused(&p, 2000, 100);
    gl_pace_refused(&p, 3000, 150); /* another answer of the same burst */
    gl_pace_look(&p, 150, &v);
    assert_int_equal(v.window, 4);
    assert_int_equal(v.paused_ms, 3000);
    assert_int_equal(gl_pace_when(&p, 1, 150), 3150);
    gl_pace_refused(&p, 1000, 5000);
    gl_pace_look(&p, 5000, &v);
    assert_int_equal(v.window, 2);
    for (int i = 0; i < 2; i++)
        gl_pace_went_well(&p);
    gl_pace_look(&p, 5000, &v);
    assert_int_equal(v.window, 3); /* one round, one more */
    for (int i = 0; i < 100; i++)
        gl_pace_went_well(&p);
    gl_pace_look(&p, 5000, &v);
    assert_int_equal(v.window, 8);
    for (int i = 0; i < 10; i++)
        gl_pace_refused(&p, 1, 10000 + 100 * i);
    gl_pace_look(&p, 20000, &v);
    assert_int_equal(v.window, 1);
    assert_int_equal(gl_pace_sent(&p, 1, 20000), -1);
    assert_int_equal(gl_pace_when(&p, 1, 20000), GL_PACE_NEVER);
    gl_pace_gone(&p, -1);
    assert_int_equal(gl_pace_when(&p, 1, 20000), 20000);
}

/* A limit that is used up holds only its own kind of requests. */
static void test_limits_do_not_mix(void **state)
{
    struct gl_pace p;
    struct gl_pace_view v;
    uint32_t group = gl_pace_class_of("/groups/7?with_projects=false", false), labels = gl_pace_class_of("/groups/7/labels", false);
    assert_int_not_equal(group, labels);
    gl_pace_init(&p, 8, 0);
    struct gl_pace_answer a = plenty, b = plenty;
    b.name = "b";
    b.remaining = 0;
    b.observed = 5;
    b.per_min = 5;
    gl_pace_answered(&p, gl_pace_sent(&p, labels, 0), labels, &a, 0);
    gl_pace_answered(&p, gl_pace_sent(&p, group, 0), group, &b, 0);
    assert_int_equal(gl_pace_when(&p, labels, 10), 10);
    assert_int_equal(gl_pace_when(&p, group, 10), 60020); /* the window's end and a margin */
    assert_int_equal(gl_pace_when(&p, gl_pace_class_of("/user", false), 10), 10);
    gl_pace_look(&p, 10, &v);
    assert_int_equal(v.rate_per_min, 5);
    assert_int_equal(v.remaining, 0);
}

static void test_classes(void **state)
{
    assert_int_equal(gl_pace_class_of("/groups/7/labels?page=2", false), gl_pace_class_of("/groups/19/labels", false));
    assert_int_equal(gl_pace_class_of("/groups/a%2Fb", false), gl_pace_class_of("/groups/7", false));
    assert_int_not_equal(gl_pace_class_of("/groups/7/labels", false), gl_pace_class_of("/groups/7/badges", false));
    assert_int_equal(gl_pace_class_of("/graphql", true), gl_pace_class_of("/anything", true));
    assert_int_not_equal(gl_pace_class_of("/", false), gl_pace_class_of("/user", false));
}

/* Answers that overtake each other, and headers that are nonsense. */
static void test_strange_answers(void **state)
{
    struct gl_pace p;
    gl_pace_init(&p, 8, 0);
    struct gl_pace_answer a = plenty;
    a.remaining = 0;
    a.observed = 600;
    gl_pace_answered(&p, gl_pace_sent(&p, 1, 0), 1, &a, 0);
    gl_pace_answered(&p, gl_pace_sent(&p, 1, 0), 1, &plenty, 1); /* older: said less than what is known */
    assert_int_equal(gl_pace_when(&p, 1, 10), 60020);
    assert_int_equal(gl_pace_when(&p, 1, 60020), 60020); /* the next window: one may ask */
    struct gl_pace_answer old = plenty;
    old.reset_s = 1000;
    old.remaining = 0;
    gl_pace_init(&p, 8, 0);
    gl_pace_answered(&p, gl_pace_sent(&p, 1, 0), 1, &plenty, 0);
    gl_pace_answered(&p, gl_pace_sent(&p, 1, 0), 1, &old, 0);
    assert_int_equal(gl_pace_when(&p, 1, 10), 10);

    static const int64_t resets[] = {-1, 0, 30, INT64_C(99999999999999)};
    for (size_t i = 0; i < GS_COUNT(resets); i++) {
        gl_pace_init(&p, 8, 0);
        a.reset_s = resets[i];
        gl_pace_answered(&p, gl_pace_sent(&p, 1, 0), 1, &a, 0);
        assert_int_equal(gl_pace_when(&p, 1, 10), 10);
    }
    /* a limit of nothing does not hang for ever */
    gl_pace_init(&p, 8, 0);
    a = (struct gl_pace_answer){.server_ms = 1000000, .per_min = -1, .observed = -1, .remaining = 0, .reset_s = 1001};
    gl_pace_answered(&p, gl_pace_sent(&p, 1, 0), 1, &a, 0);
    assert_int_equal(gl_pace_when(&p, 1, 10), 1020);
    assert_int_equal(gl_pace_when(&p, 1, 1020), 1020);
    /* more names than there is room for */
    gl_pace_init(&p, 8, 0);
    for (int i = 0; i < 40; i++) {
        char name[80];
        snprintf(name, sizeof name, "%075d", i);
        a = plenty;
        a.name = i % 2 ? name : NULL;
        gl_pace_answered(&p, gl_pace_sent(&p, (uint32_t)i * 3, i), (uint32_t)i * 3, &a, i);
    }
    assert_int_equal(p.on_wire, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_kept),      cmocka_unit_test(test_others_use_it_too),
        cmocka_unit_test(test_no_headers),        cmocka_unit_test(test_own_rate),
        cmocka_unit_test(test_window),            cmocka_unit_test(test_limits_do_not_mix),
        cmocka_unit_test(test_classes),           cmocka_unit_test(test_strange_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
