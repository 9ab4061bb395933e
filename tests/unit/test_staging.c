/* The store of answers of a capture: what survives, what is found, forgotten, refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/io.h"
#include "libexport/staging.h"
#include "libexport/staging_status.h"

struct fixture {
    char top[64], dir[128];
};

static int setup(void **cookie)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct gs_err err = {0};
    snprintf(f->top, sizeof f->top, "/tmp/test_staging.XXXXXX");
    if (gs_secret_init(&err) || !mkdtemp(f->top))
        return -1;
    snprintf(f->dir, sizeof f->dir, "%s/x.work", f->top);
    *cookie = f;
    return 0;
}

static int teardown(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    int r = gs_remove_tree(f->top, &err);
    free(f);
    return r;
}

static void ok(int r, const struct gs_err *err)
{
    if (r)
        fail_msg("%s", err->text);
}

static const struct staging_identity identity = {.url = "https://gitlab.example", .root_id = 7, .root_path = "a/b",
                                                 .user_id = 3, .username = "ann", .version = "17.8.1-ee"};

static struct staging *open_begun(struct fixture *f, bool fresh)
{
    struct gs_err err = {0};
    struct staging *s = NULL;
    struct staging_opts o = {.fresh = fresh};
    gs_autofree char *old = NULL;
    ok(staging_open(f->dir, &o, &s, &err), &err);
    ok(staging_begin(s, &identity, &old, &err), &err);
    assert_null(old);
    return s;
}

static void give(struct staging *s, const char *path, const char *body, int64_t group, const char *relation)
{
    struct gs_err err = {0};
    struct gl_keep k = staging_keep(s, NULL);
    struct gl_request *r = gl_request_new(GL_GET, "%s", path);
    struct gl_response rsp = {.outcome = GL_ANSWERED, .status = 200, .content_type = "application/json", .request_id = "id-1",
                              .link = (char *)"<x>; rel=\"next\"", .total = 12, .total_pages = 2, .next_page = 3,
                              .date_ms = 1700000000000, .tries = 4, .waited_ms = 1234};
    gs_buf_init(&rsp.body, (size_t)1 << 30);
    ok(gs_buf_addstr(&rsp.body, body, &err), &err);
    r->tag = (struct gl_tag){group, relation};
    ok(k.keep(k.cookie, r, &rsp, &err), &err);
    gs_buf_release(&rsp.body);
    gl_request_free(r);
}

/* The body that is found, or NULL; everything else must be as given. */
static char *look(struct staging *s, const char *path)
{
    struct gs_err err = {0};
    struct gl_keep k = staging_keep(s, NULL);
    struct gl_request *r = gl_request_new(GL_GET, "%s", path);
    struct gl_response rsp = {0};
    bool found = false;
    ok(k.find(k.cookie, r, &rsp, &found, &err), &err);
    gl_request_free(r);
    if (!found)
        return NULL;
    assert_int_equal(rsp.status, 200);
    assert_string_equal(rsp.content_type, "application/json");
    assert_string_equal(rsp.request_id, "id-1");
    assert_string_equal(rsp.link, "<x>; rel=\"next\"");
    assert_true(rsp.total == 12 && rsp.total_pages == 2 && rsp.next_page == 3 && rsp.date_ms == 1700000000000);
    assert_true(rsp.tries == 4 && rsp.waited_ms == 1234);
    char *body = gs_buf_steal(&rsp.body, NULL);
    gl_response_release(&rsp);
    return body;
}

static void assert_body(struct staging *s, const char *path, const char *want)
{
    gs_autofree char *got = look(s, path);
    if (!want)
        assert_null(got);
    else
        assert_string_equal(got, want);
}

static void test_round_trip(void **cookie)
{
    struct fixture *f = *cookie;
    size_t big_len = 3 << 20;
    gs_autofree char *big = malloc(big_len + 1);
    memset(big, 'x', big_len);
    big[big_len] = 0;
    struct staging *s = open_begun(f, false);
    give(s, "/groups/1/labels?page=1", "[1,2,3]", 1, "labels");
    give(s, "/groups/1/labels?page=2", big, 1, "labels");
    give(s, "/groups/2", "", 2, "self");
    give(s, "/groups/1/labels?page=1", "[4]", 1, "labels"); /* the newer one counts */
    bool kept = false;
    staging_close(s, NULL, &kept);
    assert_true(kept);
    s = open_begun(f, false);
    assert_int_equal(staging_run(s), 2);
    assert_body(s, "/groups/1/labels?page=1", "[4]");
    assert_body(s, "/groups/1/labels?page=2", big);
    assert_body(s, "/groups/2", "");
    assert_body(s, "/groups/3", NULL);
    uint64_t answers, files;
    struct gs_err err = {0};
    ok(staging_counts(s, &answers, &files, &err), &err);
    assert_true(answers == 3 && files == 0);
    ok(staging_remove(s, &err), &err);
    assert_int_equal(access(f->dir, F_OK), -1);
}

/* What a request is decides what is found: method, path, body, and whom it is made for. */
static void test_keys(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct staging *s = open_begun(f, false);
    give(s, "/a", "1", 1, "labels");
    staging_close(s, NULL, NULL);
    s = open_begun(f, false);
    struct gl_keep k = staging_keep(s, NULL);
    for (int i = 0; i < 5; i++) {
        struct gl_request *r = gl_request_new(i == 1 ? GL_POST : GL_GET, i == 2 ? "/a?" : "/a");
        if (i == 3)
            r->body = strdup("x"), r->body_len = 1;
        if (i == 4)
            r->sudo = strdup("ann");
        struct gl_response rsp = {0};
        bool found = false;
        ok(k.find(k.cookie, r, &rsp, &found, &err), &err);
        assert_int_equal(found, i == 0);
        gl_response_release(&rsp);
        gl_request_free(r);
    }
    staging_close(s, NULL, NULL);
}

/* A process that ends without closing: everything that was stored is there. */
static void test_killed(void **cookie)
{
    struct fixture *f = *cookie;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct gs_err err = {0};
        struct staging *s = open_begun(f, false);
        struct gl_keep k = staging_keep(s, NULL);
        char path[32];
        unsigned left = 1;
        for (int i = 0; i < 200; i++) {
            snprintf(path, sizeof path, "/p/%d", i);
            give(s, path, path, i, "labels");
        }
        while (left > 0)
            if (k.unstored(k.cookie, &left, &err))
                _exit(1);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    struct staging_status st;
    struct gs_err err = {0};
    ok(staging_status_read(f->dir, &st, &err), &err);
    assert_true(!st.running && st.answers == 200 && st.code[0] == 0 && st.runs == 1 && st.retries == 600);
    assert_int_equal(st.n_relations, 1);
    staging_status_release(&st);
    struct staging *s = open_begun(f, false);
    char path[32];
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/p/%d", i);
        assert_body(s, path, path);
    }
    staging_close(s, NULL, NULL);
}

static void test_identity(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct staging *s = open_begun(f, false);
    give(s, "/a", "1", 1, "labels");
    staging_close(s, NULL, NULL);
    for (int i = 0; i < 5; i++) {
        struct staging_identity other = identity;
        struct staging_opts o = {0};
        gs_autofree char *old = NULL;
        err = (struct gs_err){0};
        if (i == 0)
            other.url = "https://other.example";
        else if (i == 1)
            other.root_id = 8;
        else if (i == 2)
            other.user_id = 4;
        else if (i == 3)
            other.root_path = "a/moved";
        else
            other.version = "18.0.0-ee";
        ok(staging_open(f->dir, &o, &s, &err), &err);
        int r = staging_begin(s, &other, &old, &err);
        if (i < 4) {
            assert_int_equal(r, -1);
            assert_int_equal(err.code, GS_E_STAGING_OTHER);
        } else {
            ok(r, &err);
            assert_string_equal(old, "17.8.1-ee");
        }
        staging_close(s, NULL, NULL);
    }
    s = open_begun(f, true);
    assert_body(s, "/a", NULL);
    bool kept = true;
    staging_close(s, NULL, &kept);
    assert_false(kept);
    assert_int_equal(access(f->dir, F_OK), -1);
}

static void test_locked(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct staging *s = open_begun(f, false), *second = NULL;
    struct staging_opts o = {0};
    struct staging_status st;
    uint64_t answers, files;
    assert_int_equal(staging_open(f->dir, &o, &second, &err), -1);
    assert_int_equal(err.code, GS_E_LOCKED);
    ok(staging_counts(s, &answers, &files, &err), &err); /* stored is what the capture is of: who asks before knows nothing of it */
    ok(staging_status_read(f->dir, &st, &err), &err); /* asks, and takes nothing */
    assert_true(st.running);
    assert_string_equal(st.root_path, "a/b");
    staging_status_release(&st);
    staging_close(s, NULL, NULL);
    assert_int_equal(staging_status_read(f->dir, &st, &err), -1);
    assert_int_equal(err.code, GS_E_NOT_FOUND);
}

static void test_forget(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    uint64_t n = 0;
    gs_autofree char *old = NULL;
    struct staging *s = open_begun(f, false);
    give(s, "/1/l", "a", 1, "labels");
    give(s, "/1/m", "b", 1, "milestones");
    give(s, "/2/l", "c", 2, "labels");
    ok(staging_forget(s, 1, "labels", &n, &err), &err);
    assert_true(n == 1);
    ok(staging_begin(s, &identity, &old, &err), &err); /* a further pass finds what the one before handed over */
    assert_body(s, "/1/l", NULL);
    assert_body(s, "/1/m", "b");
    assert_body(s, "/2/l", "c");
    ok(staging_forget(s, 1, NULL, &n, &err), &err);
    assert_true(n == 1);
    assert_body(s, "/1/m", NULL);
    assert_body(s, "/2/l", "c");
    assert_int_equal(staging_run(s), 1);
    staging_close(s, NULL, NULL);
}

static void write_file(struct staging *s, const char *name, const char *text, int64_t group, const char *relation)
{
    struct gs_err err = {0};
    struct staging_file *w = NULL;
    ok(staging_file_begin(s, name, &w, &err), &err);
    ok(staging_file_write(w, "thrown away", 11, &err), &err);
    ok(staging_file_restart(w, &err), &err);
    ok(staging_file_write(w, text, strlen(text), &err), &err);
    assert_true(staging_file_size(w) == strlen(text));
    ok(staging_file_commit(w, (struct gl_tag){group, relation}, 5, NULL, &err), &err);
}

static void test_files(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct staging_file_info i;
    struct staging_file *w = NULL;
    bool found = true;
    struct staging *s = open_begun(f, false);
    assert_int_equal(staging_file_begin(s, "../x", &w, &err), -1);
    assert_int_equal(staging_file_begin(s, ".x", &w, &err), -1);
    write_file(s, "7-labels.gz", "content", 7, "labels");
    write_file(s, "7-boards.gz", "other", 7, "boards");
    ok(staging_file_begin(s, "7-half.gz", &w, &err), &err);
    ok(staging_file_write(w, "x", 1, &err), &err);
    staging_file_abandon(w);
    staging_close(s, NULL, NULL);
    s = open_begun(f, false);
    ok(staging_file_have(s, "7-labels.gz", &i, &found, &err), &err);
    assert_true(found && i.size == 7 && i.records == 5);
    gs_autobuf b;
    gs_buf_init(&b, 100);
    ok(gs_read_file(i.path, 100, &b, &err), &err);
    assert_string_equal(gs_buf_str(&b), "content");
    assert_int_equal(truncate(i.path, 3), 0); /* what a loss of power may leave */
    staging_file_info_release(&i);
    ok(staging_file_have(s, "7-labels.gz", &i, &found, &err), &err);
    assert_false(found);
    ok(staging_file_have(s, "7-half.gz", &i, &found, &err), &err);
    assert_false(found);
    ok(staging_forget(s, 7, "boards", NULL, &err), &err);
    ok(staging_file_have(s, "7-boards.gz", &i, &found, &err), &err);
    assert_false(found);
    write_file(s, "7-labels.gz", "content", 7, "labels");
    ok(staging_file_drop(s, "7-labels.gz", &err), &err);
    ok(staging_file_have(s, "7-labels.gz", &i, &found, &err), &err);
    assert_false(found);
    staging_close(s, NULL, NULL);
    assert_int_equal(access(f->dir, F_OK), -1); /* nothing is kept any more */
}

static void test_exports(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    bool found = true;
    struct staging_export e = {.group = 7, .started_ms = 11, .server_started_ms = 22, .batched = true, .note = "{\"a\":1}"}, got;
    struct staging *s = open_begun(f, false);
    ok(staging_export_get(s, 7, &got, &found, &err), &err);
    assert_false(found);
    ok(staging_export_set(s, &e, &err), &err);
    staging_close(s, NULL, NULL);
    s = open_begun(f, false);
    ok(staging_export_get(s, 7, &got, &found, &err), &err);
    assert_true(found && got.started_ms == 11 && got.server_started_ms == 22 && got.batched);
    assert_string_equal(got.note, "{\"a\":1}");
    ok(staging_export_drop(s, 7, &err), &err);
    ok(staging_export_get(s, 7, &got, &found, &err), &err);
    assert_false(found);
    staging_close(s, NULL, NULL);
}

static void test_progress(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0}, why = {0};
    struct staging_status st;
    struct book_relation_sum rel = {.relation = "labels", .records = 9, .groups = 2};
    struct staging *s = open_begun(f, false);
    struct staging_progress p = {.groups_found = 5, .groups_done = 2, .records = 9, .relations = &rel, .n_relations = 1,
                                 .http = {.requests = 10, .retries = 1, .paused_ms = 60000, .in_flight = 3}};
    assert_true(staging_progress_due(s));
    ok(staging_progress(s, &p, &err), &err);
    assert_false(staging_progress_due(s));
    give(s, "/a", "1", 1, "labels");
    ok(staging_status(s, &st, &err), &err);
    assert_true(st.running && st.groups_found == 5 && st.groups_done == 2 && st.records == 9 && st.in_flight == 3);
    assert_true(st.pause_ms > 50000 && st.pause_ms <= 60000);
    assert_true(st.n_relations == 1 && st.relations[0].records == 9 && st.relations[0].answers == 1 && st.relations[0].bytes == 1);
    staging_status_release(&st);
    gs_fail(&why, GS_E_TOKEN, "the token is no more");
    staging_close(s, &why, NULL);
    ok(staging_status_read(f->dir, &st, &err), &err);
    assert_false(st.running);
    assert_string_equal(st.code, "token-refused");
    assert_string_equal(st.text, "the token is no more");
    staging_status_release(&st);
}

static void test_damaged(void **cookie)
{
    struct fixture *f = *cookie;
    struct gs_err err = {0};
    struct staging *s = open_begun(f, false);
    char path[160];
    sqlite3 *db = NULL;
    give(s, "/a", "1", 1, "labels");
    staging_close(s, NULL, NULL);
    snprintf(path, sizeof path, "%s/staging.db", f->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE answer SET body = x'32'", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    s = open_begun(f, false);
    struct gl_keep k = staging_keep(s, NULL);
    struct gl_request *r = gl_request_new(GL_GET, "/a");
    struct gl_response rsp = {0};
    bool found = false;
    assert_int_equal(k.find(k.cookie, r, &rsp, &found, &err), -1);
    assert_int_equal(err.code, GS_E_STAGING_DAMAGED);
    gl_response_release(&rsp);
    gl_request_free(r);
    staging_close(s, NULL, NULL);
    err = (struct gs_err){0};
    ok(gs_write_file(path, "no database", 11, 0600, true, &err), &err);
    struct staging_opts o = {0};
    assert_int_equal(staging_open(f->dir, &o, &s, &err), -1);
    assert_int_equal(err.code, GS_E_STAGING_DAMAGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
