/* Every bundle of the golden corpus opens, or is refused with the code that its file name begins with. */
#include "formats/trust.h"
#include "unit.h"

#include <dirent.h>

static struct sign_trust trust;

static int setup(void **state)
{
    struct gs_err err = {0};
    (void)state;
    OK(gs_secret_init(&err));
    OK(sign_trust_add(&trust, golden_path("golden.pub"), &err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sign_trust_release(&trust);
    return 0;
}

/* Whether a frame has a thread of its own or the whole bundle shares one makes no difference to what is found. */
static void same_by_frames(struct bundle *b, int found, const struct gs_err *why, const char *path)
{
    for (uint64_t job = 1; job <= 1 << 20; job <<= 10) {
        struct gs_err err = {0};
        struct bundle_verify_opts o = {.deep = true, .job_raw = job};
        int r = bundle_verify_with(b, &o, NULL, &err);
        if (r != found || err.code != why->code || strcmp(err.text, why->text) != 0)
            fail_msg("%s: in jobs of %llu bytes '%s', else '%s'", path, (unsigned long long)job, err.text, why->text);
    }
}

/* Opens, verifies deeply, reads every record and file. */
static int read_all(const char *path, struct gs_err *err)
{
    struct bundle_opts o = {.trust = &trust, .threads = 2};
    GS_AUTO(bundle) b = NULL;
    const struct bundle_member *m;
    if (bundle_open(path, &o, &b, err))
        return -1;
    int r = bundle_verify(b, true, NULL, err);
    same_by_frames(b, r, err, path);
    if (r)
        return -1;
    size_t n = bundle_members(b, &m);
    for (size_t i = 0; i < n; i++) {
        gs_autobuf out;
        gs_buf_init(&out, 1 << 24);
        if (m[i].is_file) {
            OK(bundle_read_file(b, m[i].path, 1 << 24, &out, err));
            assert_int_equal(out.len, m[i].stored);
            continue;
        }
        GS_AUTO(bundle_cursor) c = NULL;
        const void *data;
        size_t len;
        OK(bundle_cursor_open(b, m[i].group_id, m[i].relation, &c, err));
        for (;;) {
            OK(bundle_cursor_next(c, &data, &len, NULL, err));
            if (!data)
                break;
            OK(record_to_json(bundle_encoding(b), data, len, NULL, &out, err));
        }
    }
    return 0;
}

static size_t walk(const char *folder, void (*one)(const char *path, const char *name))
{
    struct dirent **list = NULL;
    int n = scandir(golden_path(folder), &list, NULL, alphasort);
    size_t found = 0;
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        if (strstr(list[i]->d_name, ".gsnap")) {
            char *path = gs_asprintf("%s/%s", golden_path(folder), list[i]->d_name);
            one(path, list[i]->d_name);
            free(path);
            found++;
        }
        free(list[i]);
    }
    free(list);
    return found;
}

static void one_valid(const char *path, const char *name)
{
    struct gs_err err = {0};
    if (read_all(path, &err))
        fail_msg("%s: %s [%s]", name, err.text, gs_code_name(err.code));
}

static void one_invalid(const char *path, const char *name)
{
    struct gs_err err = {0};
    char want[64];
    snprintf(want, sizeof want, "%.*s", (int)(strstr(name, "--") - name), name);
    assert_int_not_equal(gs_code_by_name(want), GS_OK);
    if (read_all(path, &err) == 0)
        fail_msg("%s: was accepted", name);
    if (strcmp(gs_code_name(err.code), want) != 0)
        fail_msg("%s: %s [%s]", name, err.text, gs_code_name(err.code));
    int e = gs_code_exit(err.code);
    assert_true(e >= 20 && e <= 23);
}

static void test_valid(void **state)
{
    (void)state;
    assert_true(walk("valid", one_valid) >= 8);
}

static void test_invalid(void **state)
{
    (void)state;
    assert_true(walk("invalid", one_invalid) >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_valid), cmocka_unit_test(test_invalid)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
