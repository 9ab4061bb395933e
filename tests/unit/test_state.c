/* The state file: what survives, what is refused, who may write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/io.h"
#include "libreplay/state.h"

struct fixture {
    char dir[64];
    char path[128];
};

static int setup(void **cookie)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/test_state.XXXXXX");
    if (!f || !mkdtemp(f->dir))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/x.state", f->dir);
    *cookie = f;
    return 0;
}

static int teardown(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    int r = gs_remove_tree(f->dir, &err);
    free(f);
    return r;
}

static struct state *open_state(struct fixture *f, enum state_mode mode)
{
    struct gs_err err = {0};
    struct state *s = NULL;
    if (state_open(f->path, mode, &s, &err))
        fail_msg("state_open: %s", err.text);
    return s;
}

static void ok(int r, struct gs_err *err)
{
    if (r)
        fail_msg("%s", err->text);
}

static int64_t add_op(struct state *s, int64_t lane, const char *kind, const char *key)
{
    struct gs_err err = {0};
    struct op op = {.lane = lane, .grp = 7, .kind = (char *)(uintptr_t)kind, .key = (char *)(uintptr_t)key, .ref_member = -1};
    ok(state_add_op(s, &op, &err), &err);
    return op.id;
}

static int64_t add_lane(struct state *s, const char *name)
{
    struct gs_err err = {0};
    struct lane l = {.grp = 7, .phase = 20, .name = (char *)(uintptr_t)name, .watermark = -1};
    int64_t id = 0;
    ok(state_add_lane(s, &l, &id, &err), &err);
    return id;
}

static void an_op_goes_through_its_states_and_survives_reopening(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = open_state(f, STATE_CREATE);
    ok(state_begin(s, &err), &err);
    int64_t lane = add_lane(s, "l"), a = add_op(s, lane, "labels", "a"), b = add_op(s, lane, "labels", "b");
    ok(state_commit(s, &err), &err);
    ok(state_op_sent(s, a, 1000, &err), &err);
    ok(state_op_sent(s, a, 2000, &err), &err);
    struct op end = {.id = b, .state = OP_DONE, .target_id = 99, .tries = 1, .found = true};
    ok(state_op_end(s, &end, &err), &err);
    state_close(s);

    s = open_state(f, STATE_WRITE);
    struct op op[4] = {{0}};
    size_t n = 0;
    ok(state_next_ops(s, lane, 0, op, 4, &n, &err), &err);
    assert_int_equal(n, 1); /* b has ended */
    assert_int_equal(op[0].id, a);
    assert_int_equal(op[0].state, OP_SENT);
    assert_string_equal(op[0].key, "a");
    assert_int_equal(op[0].sent_at, 1000); /* the first time counts */
    op_release(&op[0]);
    bool found = false, taken = false;
    ok(state_find(s, "labels", 7, "b", &op[0], &found, &err), &err);
    assert_true(found);
    assert_int_equal(op[0].target_id, 99);
    assert_true(op[0].found);
    op_release(&op[0]);
    struct op asks = {.id = a, .kind = (char *)(uintptr_t)"labels", .grp = 7};
    ok(state_target_taken(s, &asks, 99, &taken, &err), &err);
    assert_true(taken);
    asks.id = b; /* an op does not stand in its own way */
    ok(state_target_taken(s, &asks, 99, &taken, &err), &err);
    assert_false(taken);
    asks = (struct op){.id = a, .kind = (char *)(uintptr_t)"labels", .grp = 8};
    ok(state_target_taken(s, &asks, 99, &taken, &err), &err);
    assert_false(taken);
    ok(state_op_unsent(s, a, &err), &err);
    ok(state_op(s, a, &op[0], &err), &err);
    assert_int_equal(op[0].state, OP_PLANNED);
    op_release(&op[0]);
    state_close(s);
}

static void what_was_rolled_back_is_gone(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = open_state(f, STATE_CREATE);
    int64_t lane = add_lane(s, "l");
    ok(state_begin(s, &err), &err);
    assert_int_equal(state_begin(s, &err), -1); /* no second one inside */
    gs_err_clear(&err);
    add_op(s, lane, "labels", "a");
    state_rollback(s);
    struct op op[2];
    size_t n = 1;
    ok(state_next_ops(s, lane, 0, op, 2, &n, &err), &err);
    assert_int_equal(n, 0);
    state_close(s);
}

static void ops_of_a_lane_come_in_order_behind_a_position(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = open_state(f, STATE_CREATE);
    int64_t one = add_lane(s, "one"), two = add_lane(s, "two");
    add_op(s, one, "labels", "a");
    add_op(s, two, "labels", "x");
    add_op(s, one, "labels", "b");
    add_op(s, one, "labels", "c");
    struct op op[2];
    size_t n;
    ok(state_next_ops(s, one, 0, op, 2, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_string_equal(op[0].key, "a");
    assert_string_equal(op[1].key, "b");
    int64_t after = op[1].pos;
    op_release(&op[0]);
    op_release(&op[1]);
    ok(state_next_ops(s, one, after, op, 2, &n, &err), &err);
    assert_int_equal(n, 1);
    assert_string_equal(op[0].key, "c");
    op_release(&op[0]);
    state_close(s);
}

static void one_writer_at_a_time_but_readers_any_time(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = open_state(f, STATE_CREATE), *second = NULL;
    assert_int_equal(state_open(f->path, STATE_WRITE, &second, &err), -1);
    assert_int_equal(err.code, GS_E_LOCKED);
    gs_err_clear(&err);
    ok(state_open(f->path, STATE_READ, &second, &err), &err);
    state_close(second);
    state_close(s);
    ok(state_open(f->path, STATE_WRITE, &second, &err), &err);
    state_close(second);
    char lock[160];
    snprintf(lock, sizeof lock, "%s.lock", f->path);
    assert_int_equal(access(lock, F_OK), -1); /* nothing left lying about */
}

static void files_that_are_no_state_are_refused(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = NULL;
    assert_int_equal(state_open(f->path, STATE_WRITE, &s, &err), -1);
    assert_int_equal(err.code, GS_E_NOT_FOUND);
    gs_err_clear(&err);
    char junk[5000];
    memset(junk, 'x', sizeof junk);
    ok(gs_write_file(f->path, junk, sizeof junk, 0600, false, &err), &err);
    assert_int_equal(state_open(f->path, STATE_WRITE, &s, &err), -1);
    assert_int_equal(err.code, GS_E_STATE_DAMAGED);
    gs_err_clear(&err);
    assert_int_equal(state_open(f->path, STATE_CREATE, &s, &err), -1);
    assert_int_equal(err.code, GS_E_EXISTS);
    gs_err_clear(&err);
    assert_int_equal(state_open(f->dir, STATE_WRITE, &s, &err), -1);
    assert_int_equal(err.code, GS_E_IO);
}

static void a_newer_version_is_refused(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = open_state(f, STATE_CREATE);
    assert_int_equal(sqlite3_exec(state_db(s), "PRAGMA user_version=999", NULL, NULL, NULL), SQLITE_OK);
    state_close(s);
    assert_int_equal(state_open(f->path, STATE_WRITE, &s, &err), -1);
    assert_int_equal(err.code, GS_E_STATE_NEWER);
}

static void the_state_is_private_and_synced_fully(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = open_state(f, STATE_CREATE);
    ok(state_begin(s, &err), &err);
    ok(state_commit(s, &err), &err);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_prepare_v2(state_db(s), "PRAGMA synchronous", -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(q, 0), 2); /* FULL */
    sqlite3_finalize(q);
    assert_int_equal(sqlite3_prepare_v2(state_db(s), "PRAGMA journal_mode", -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(q, 0), "wal");
    sqlite3_finalize(q);
    state_close(s);
    /* at rest it is one plain file, and looking at it leaves nothing beside it */
    s = open_state(f, STATE_READ);
    char *v = NULL;
    ok(state_meta_get(s, "x", &v, &err), &err);
    state_close(s);
    char wal[160];
    snprintf(wal, sizeof wal, "%s-wal", f->path);
    assert_int_equal(access(wal, F_OK), -1);
}

static void facts_are_kept_and_replaced(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = open_state(f, STATE_CREATE);
    char *v = NULL;
    ok(state_meta_get(s, "target_url", &v, &err), &err);
    assert_null(v);
    ok(state_meta_set(s, "target_url", "https://a", &err), &err);
    ok(state_meta_set(s, "target_url", "https://b", &err), &err);
    ok(state_meta_get(s, "target_url", &v, &err), &err);
    assert_string_equal(v, "https://b");
    free(v);
    state_close(s);
}

static int64_t number(struct state *s, const char *sql)
{
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_prepare_v2(state_db(s), sql, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return v;
}

static void assert_books(struct state *s, uint64_t done, uint64_t failed)
{
    struct gs_err err = {0};
    struct state_tally t;
    ok(state_tally(s, &t, &err), &err);
    assert_int_equal(t.ops, number(s, "SELECT count(*) FROM op"));
    assert_int_equal(t.done, done);
    assert_int_equal(t.failed, failed);
    assert_int_equal(t.skipped, 0);
}

static void the_books_follow_every_change(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = open_state(f, STATE_CREATE);
    int64_t lane = add_lane(s, "l"), a = add_op(s, lane, "labels", "a"), b = add_op(s, lane, "labels", "b");
    add_op(s, lane, "labels", "c");
    assert_int_equal(number(s, "SELECT open FROM lane"), 3);
    ok(state_op_sent(s, a, 1, &err), &err);
    assert_int_equal(number(s, "SELECT open FROM lane"), 3);
    struct op end = {.id = a, .state = OP_DONE};
    ok(state_op_end(s, &end, &err), &err);
    end = (struct op){.id = b, .state = OP_FAILED};
    ok(state_op_end(s, &end, &err), &err);
    assert_books(s, 1, 1);
    assert_int_equal(number(s, "SELECT open FROM lane"), 1);
    /* also when somebody else turns an op back */
    assert_int_equal(sqlite3_exec(state_db(s), "UPDATE op SET state = 0 WHERE state = 3", NULL, NULL, NULL), SQLITE_OK);
    assert_books(s, 1, 0);
    assert_int_equal(number(s, "SELECT open FROM lane"), 2);
    state_close(s);
}

static void an_older_version_is_upgraded_and_readable_before(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct state *s = open_state(f, STATE_CREATE);
    int64_t lane = add_lane(s, "l"), a = add_op(s, lane, "labels", "a");
    add_op(s, lane, "labels", "b");
    struct op end = {.id = a, .state = OP_DONE, .target_id = 9};
    ok(state_op_end(s, &end, &err), &err);
    assert_int_equal(sqlite3_exec(state_db(s), "DROP INDEX loss_op; DROP TRIGGER op_added; DROP TRIGGER op_ended; DROP TABLE tally; DROP TABLE filler;"
                                  "DROP TABLE newest; DROP TABLE decision; DROP TABLE undo; ALTER TABLE lane DROP COLUMN open; ALTER TABLE lane DROP COLUMN counter;"
                                  "ALTER TABLE op DROP COLUMN request; ALTER TABLE op DROP COLUMN print;"
                                  "PRAGMA user_version=1", NULL, NULL, NULL), SQLITE_OK);
    state_close(s);
    s = open_state(f, STATE_READ);
    assert_books(s, 1, 0);
    assert_int_equal(number(s, "SELECT count(*) FROM op WHERE request IS NULL AND print = 0"), 2);
    state_close(s);
    s = open_state(f, STATE_WRITE);
    assert_books(s, 1, 0);
    assert_int_equal(number(s, "SELECT open FROM lane"), 1);
    ok(state_op(s, a, &end, &err), &err);
    assert_int_equal(end.target_id, 9);
    op_release(&end);
    add_op(s, lane, "labels", "c");
    assert_books(s, 1, 0);
    state_close(s);
    s = open_state(f, STATE_WRITE); /* once is enough */
    assert_books(s, 1, 0);
    state_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_op_goes_through_its_states_and_survives_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_rolled_back_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(ops_of_a_lane_come_in_order_behind_a_position, setup, teardown),
        cmocka_unit_test_setup_teardown(one_writer_at_a_time_but_readers_any_time, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_are_no_state_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_state_is_private_and_synced_fully, setup, teardown),
        cmocka_unit_test_setup_teardown(the_books_follow_every_change, setup, teardown),
        cmocka_unit_test_setup_teardown(an_older_version_is_upgraded_and_readable_before, setup, teardown),
        cmocka_unit_test_setup_teardown(facts_are_kept_and_replaced, setup, teardown),
    };
    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
