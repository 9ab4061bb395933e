/* Every row of the table in retry.h, and the bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "libgitlab/retry.h"

#define HALF 0x80000000u

static struct gl_try base(void)
{
    return (struct gl_try){.wire = GL_WIRE_ANSWERED,
                           .retry_after_ms = -1,
                           .tries = 1,
                           .max_tries = 8,
                           .max_wait_ms = 600000,
                           .answered_before = true,
                           .random = HALF};
}

static void test_statuses(void **state)
{
    static const struct {
        int status;
        bool read, write, pause;
    } rows[] = {{200, 0, 0, 0}, {201, 0, 0, 0}, {304, 0, 0, 0}, {400, 0, 0, 0}, {401, 0, 0, 0},
                {403, 0, 0, 0}, {404, 0, 0, 0}, {405, 0, 0, 0}, {408, 1, 0, 0}, {409, 0, 0, 0},
                {412, 0, 0, 0}, {422, 0, 0, 0}, {429, 1, 1, 1}, {500, 1, 0, 0}, {501, 0, 0, 0},
                {502, 1, 0, 0}, {503, 1, 0, 0}, {504, 1, 0, 0}, {505, 0, 0, 0}, {520, 1, 0, 0}};
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        struct gl_try t = base();
        t.status = rows[i].status;
        t.repeatable = true;
        assert_int_equal(gl_retry(&t).verdict, rows[i].read ? GL_AGAIN : GL_STOP);
        t.repeatable = false;
        struct gl_decision d = gl_retry(&t);
        assert_int_equal(d.verdict, rows[i].write ? GL_AGAIN : GL_STOP);
        assert_int_equal(d.pause_all, rows[i].pause);
        assert_non_null(d.why);
    }
}

static void test_wire(void **state)
{
    static const struct {
        enum gl_wire wire;
        bool read, write;
    } rows[] = {{GL_WIRE_NO_CONNECT, 1, 1}, {GL_WIRE_BROKEN, 1, 0}, {GL_WIRE_TIMEOUT, 1, 0}, {GL_WIRE_FINAL, 0, 0}};
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        struct gl_try t = base();
        t.wire = rows[i].wire;
        t.repeatable = true;
        assert_int_equal(gl_retry(&t).verdict, rows[i].read ? GL_AGAIN : GL_STOP);
        t.repeatable = false;
        assert_int_equal(gl_retry(&t).verdict, rows[i].write ? GL_AGAIN : GL_STOP);
        assert_false(gl_retry(&t).pause_all);
    }
}

static void test_lock(void **state)
{
    struct gl_try t = base();
    t.status = 409;
    t.resource_lock = true;
    assert_int_equal(gl_retry(&t).verdict, GL_AGAIN);
    assert_false(gl_retry(&t).pause_all);
    t.status = 400;
    assert_int_equal(gl_retry(&t).verdict, GL_STOP);
}

static void test_retry_after(void **state)
{
    struct gl_try t = base();
    t.status = 429;
    t.retry_after_ms = 60000;
    for (uint32_t r = 0;; r = UINT32_MAX) {
        t.random = r;
        struct gl_decision d = gl_retry(&t);
        assert_int_equal(d.verdict, GL_AGAIN);
        assert_in_range(d.wait_ms, 60000, 60500);
        if (r)
            break;
    }
    t.retry_after_ms = 600001; /* more than we are willing to wait */
    assert_int_equal(gl_retry(&t).verdict, GL_STOP);
    t.retry_after_ms = 60000;
    t.waited_ms = 550000;
    assert_int_equal(gl_retry(&t).verdict, GL_STOP);
    /* 503: a read waits as asked and everybody with it, a write is not repeated */
    t = base();
    t.status = 503;
    t.retry_after_ms = 5000;
    t.repeatable = true;
    assert_in_range(gl_retry(&t).wait_ms, 5000, 5400);
    assert_true(gl_retry(&t).pause_all);
    t.repeatable = false;
    assert_int_equal(gl_retry(&t).verdict, GL_STOP);
    assert_false(gl_retry(&t).pause_all);
    /* 500 with the header is no promise of anything */
    t.status = 500;
    t.repeatable = true;
    assert_in_range(gl_retry(&t).wait_ms, 0, 1000);
    /* a wait is never nothing: a server that says 0 is not hammered */
    t.status = 429;
    t.retry_after_ms = 0;
    t.random = 0;
    assert_in_range(gl_retry(&t).wait_ms, 100, 500);
}

static void test_tries(void **state)
{
    struct gl_try t = base();
    t.status = 502;
    t.repeatable = true;
    t.tries = 7;
    assert_int_equal(gl_retry(&t).verdict, GL_AGAIN);
    t.tries = 8;
    assert_int_equal(gl_retry(&t).verdict, GL_STOP);
    t.status = 429; /* the server is well: it may say so four times as often */
    t.tries = 31;
    assert_int_equal(gl_retry(&t).verdict, GL_AGAIN);
    t.tries = 32;
    assert_int_equal(gl_retry(&t).verdict, GL_STOP);
    t.max_tries = 1;
    t.tries = 1;
    assert_int_equal(gl_retry(&t).verdict, GL_STOP);
    t.max_tries = UINT32_MAX;
    t.tries = 1000000;
    t.status = 500;
    assert_in_range(gl_retry(&t).wait_ms, GL_WAIT_MAX_MS / 2, GL_WAIT_MAX_MS);
}

static void test_backoff(void **state)
{
    struct gl_try t = base();
    t.wire = GL_WIRE_BROKEN;
    t.repeatable = true;
    int64_t full = 500;
    for (t.tries = 1; t.tries < 8; t.tries++, full *= 2) {
        int64_t want = full < GL_WAIT_MAX_MS ? full : GL_WAIT_MAX_MS;
        t.random = 0;
        assert_int_equal(gl_retry(&t).wait_ms, want / 2);
        t.random = UINT32_MAX;
        assert_int_equal(gl_retry(&t).wait_ms, want);
    }
}

/* The whole course of a server that is not there. */
static unsigned course(bool answered_before, bool unlikely, int64_t *out_waited)
{
    struct gl_try t = base();
    t.wire = GL_WIRE_NO_CONNECT;
    t.answered_before = answered_before;
    t.unlikely = unlikely;
    t.random = UINT32_MAX;
    for (;;) {
        struct gl_decision d = gl_retry(&t);
        if (d.verdict == GL_STOP)
            break;
        t.waited_ms += d.wait_ms;
        t.tries++;
    }
    *out_waited = t.waited_ms;
    return t.tries;
}

static void test_absent(void **state)
{
    int64_t waited;
    assert_int_equal(course(false, false, &waited), GL_TRIES_ABSENT);
    assert_in_range(waited, 1000, GL_WAIT_ABSENT_MS);
    assert_int_equal(course(false, true, &waited), GL_TRIES_UNLIKELY);
    assert_in_range(waited, 1000, 3000);
    assert_int_equal(course(true, true, &waited), GL_TRIES_UNLIKELY);
    assert_int_equal(course(true, false, &waited), 8); /* it was there: perhaps it is being restarted */
    assert_in_range(waited, 60000, 600000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),    cmocka_unit_test(test_wire),  cmocka_unit_test(test_lock),
        cmocka_unit_test(test_retry_after), cmocka_unit_test(test_tries), cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
