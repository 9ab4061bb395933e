/* Group exports made in memory as tar files, and folders: what is read, and what is refused with which code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "libcommon/io.h"
#include "libcommon/secret.h"
#include "libexport/archive_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
    const char *name, *text;
    int type;         /* 0: regular file; AE_IFLNK ..., 1: hard link to `text` */
};

static char dir[64];

static int set_up(void **state)
{
    struct gs_err err = {0};
    snprintf(dir, sizeof dir, "/tmp/test_archive.XXXXXX");
    return gs_secret_init(&err) || !mkdtemp(dir) ? -1 : 0;
}

static int tear_down(void **state)
{
    struct gs_err err = {0};
    return gs_remove_tree(dir, &err);
}

static void make_tar(const char *path, const struct file *files, size_t n, bool gzip)
{
    struct archive *a = archive_write_new();
    archive_write_set_format_pax_restricted(a);
    if (gzip)
        archive_write_add_filter_gzip(a);
    assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
    for (size_t i = 0; i < n; i++) {
        struct archive_entry *e = archive_entry_new();
        archive_entry_set_pathname(e, files[i].name);
        archive_entry_set_filetype(e, files[i].type > 1 ? (unsigned)files[i].type : AE_IFREG);
        archive_entry_set_perm(e, 0644);
        if (files[i].type == AE_IFLNK)
            archive_entry_set_symlink(e, files[i].text);
        else if (files[i].type == 1)
            archive_entry_set_hardlink(e, files[i].text);
        else
            archive_entry_set_size(e, (la_int64_t)strlen(files[i].text));
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        if (files[i].type == 0)
            assert_int_equal(archive_write_data(a, files[i].text, strlen(files[i].text)), (la_ssize_t)strlen(files[i].text));
        archive_entry_free(e);
    }
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
}

/* Reads an export into a bundle, and opens that. */
static enum gs_code import(const char *path, const struct archive_reader_opts *more, struct bundle **out, struct gs_err *err)
{
    char work[128], file[128];
    GS_AUTO(bundle_writer) w = NULL;
    GS_AUTO(archive_reader) r = NULL;
    GS_AUTO(sign_seckey) key = NULL;
    struct sign_pubkey pub;
    struct archive_reader_opts o = more ? *more : (struct archive_reader_opts){0};
    struct bundle_meta meta = {.created_at_ms = 1000};
    o.path = path;
    snprintf(work, sizeof work, "%s/work", dir);
    snprintf(file, sizeof file, "%s/out.gsnap", dir);
    unlink(file);
    if (bundle_writer_new(work, &(struct bundle_writer_opts){.threads = 1}, &w, err) || archive_reader_new(&o, w, &r, err) ||
        archive_reader_run(r, err))
        return err->code;
    archive_reader_meta(r, &meta);
    assert_int_equal(sign_seckey_new(&key, &pub, err), 0);
    const struct sign_seckey *keys[] = {key};
    if (bundle_writer_finish(w, &meta, keys, 1, file, false, err))
        return err->code;
    return out && bundle_open(file, &(struct bundle_opts){.no_verify = true}, out, err) ? err->code : GS_OK;
}

static char *first_record(struct bundle *b, int64_t group, const char *relation)
{
    struct gs_err err = {0};
    GS_AUTO(bundle_cursor) c = NULL;
    const void *data;
    size_t len;
    assert_int_equal(bundle_cursor_open(b, group, relation, &c, &err), 0);
    assert_int_equal(bundle_cursor_next(c, &data, &len, NULL, &err), 0);
    return data ? strndup(data, len) : NULL;
}

#define ALL {"./tree/groups/_all.ndjson", "7\n8\n", 0}
#define TOP {"./tree/groups/7.json", "{\n  \"path\": \"top\",\n  \"id\": 7,\n  \"runners_token\": \"geheim\",\n  \"x\": 1.50\n}\n", 0}
#define SUB {"./tree/groups/8.json", "{\"path\":\"sub\",\"parent_id\":7,\"id\":8}", 0}

static void test_reads(void **state)
{
    /* a space that no writer of ours would put there shows that lines are kept byte for byte */
    static const struct file files[] = {
        {"./VERSION", "0.2.4\n", 0},
        {"./GITLAB_VERSION", "17.8.1-ee\n", 0},
        {"./tree/groups/8/labels.ndjson", "{\"title\": \"a\",\"id\":1}\n{\"title\":\"b\",\"id\":2}", 0},
        ALL, TOP, SUB,
        {"./tree/groups/8/strange_things.ndjson", "{\"a\":12345678901234567890}\n\n", 0},
        {"./tree/groups/8/members.ndjson",
         "{\"user_id\":3,\"invite_token\":\"geheim\",\"user\":{\"id\":3,\"username\":\"u\",\"public_email\":\"u@x\"}}\n", 0},
        {"./repositories/7.wiki.bundle", "PACK", 0},
    };
    for (int gzip = 0; gzip < 2; gzip++) {
        char path[96];
        struct gs_err err = {0};
        GS_AUTO(bundle) b = NULL;
        snprintf(path, sizeof path, "%s/ok.tar", dir);
        make_tar(path, files, GS_COUNT(files), gzip);
        assert_int_equal(import(path, NULL, &b, &err), GS_OK);
        const struct bundle_group *g;
        assert_int_equal(bundle_groups(b, &g), 2);
        assert_string_equal(g[1].full_path, "top/sub");
        assert_int_equal(bundle_count(b, 8, "labels"), 2);
        assert_int_equal(bundle_count(b, 8, "strange_things"), 1);
        gs_autofree char *label = first_record(b, 8, "labels");
        assert_string_equal(label, "{\"title\": \"a\",\"id\":1}\n");
        gs_autofree char *self = first_record(b, 7, "self");
        assert_string_equal(self, "{\"path\":\"top\",\"id\":7,\"x\":1.50}\n");
        gs_autofree char *strange = first_record(b, 8, "strange_things");
        assert_non_null(strstr(strange, "12345678901234567890"));
        gs_autofree char *member = first_record(b, 8, "members");
        assert_null(strstr(member, "geheim"));
        gs_autofree char *user = first_record(b, 0, "users");
        assert_non_null(strstr(user, "u@x"));
        assert_string_equal(gs_json_str(yyjson_obj_get(bundle_manifest(b), "source"), "version"), "17.8.1-ee");
        struct bundle_verify_result v;
        assert_int_equal(bundle_verify(b, true, &v, &err), 0);
    }
}

static void test_refuses(void **state)
{
    static const struct {
        const char *what;
        struct file files[5];
        enum gs_code code;
        const char *words;
    } rows[] = {
        {"no list of groups", {TOP}, GS_E_ARCHIVE, "_all.ndjson"},
        {"group without a file", {ALL, TOP}, GS_E_ARCHIVE, "line 2"},
        {"file that is not listed", {{"tree/groups/_all.ndjson", "7", 0}, {"tree/groups/7.json", "{\"id\":7,\"path\":\"t\"}", 0},
                                     {"tree/groups/8.json", "{\"id\":8,\"path\":\"t\"}", 0}}, GS_E_ARCHIVE, "8.json"},
        {"folder that is not listed", {ALL, TOP, SUB, {"./tree/groups/9/labels.ndjson", "{}", 0}}, GS_E_ARCHIVE, "9/labels"},
        {"other group inside", {ALL, TOP, {"./tree/groups/8.json", "{\"id\":9,\"path\":\"x\"}", 0}}, GS_E_ARCHIVE, "8.json"},
        {"parent that is not there", {ALL, TOP, {"./tree/groups/8.json", "{\"id\":8,\"path\":\"x\",\"parent_id\":5}", 0}},
         GS_E_ARCHIVE, "group 5"},
        {"group that is its own parent", {ALL, TOP, {"./tree/groups/8.json", "{\"id\":8,\"path\":\"x\",\"parent_id\":8}", 0}},
         GS_E_ARCHIVE, "no end"},
        {"id twice", {{"tree/groups/_all.ndjson", "7\n7\n", 0}}, GS_E_ARCHIVE, "twice"},
        {"no id", {{"tree/groups/_all.ndjson", "7\nx\n", 0}}, GS_E_ARCHIVE, "line 2"},
        {"line that is no JSON", {ALL, TOP, SUB, {"./tree/groups/8/labels.ndjson", "{}\n{\"a\":1}\n{\"a\":\n", 0}}, GS_E_JSON,
         "line 3"},
        {"line that is no object", {ALL, TOP, SUB, {"./tree/groups/8/labels.ndjson", "[1]\n", 0}}, GS_E_RECORD, "line 1"},
        {"key twice", {ALL, TOP, SUB, {"./tree/groups/8/labels.ndjson", "{\"a\":1,\"a\":2}\n", 0}}, GS_E_JSON_KEY_TWICE, "line 1"},
        {"file twice", {ALL, TOP, SUB, SUB}, GS_E_ARCHIVE, "twice"},
        {"file twice, named otherwise", {ALL, TOP, SUB, {"tree/groups/8.json", "{}", 0}}, GS_E_ARCHIVE, "twice"},
        {"symbolic link", {ALL, {"tree/groups/7.json", "/etc/passwd", AE_IFLNK}}, GS_E_ARCHIVE, "link"},
        {"hard link", {ALL, TOP, {"tree/groups/8.json", "tree/groups/7.json", 1}}, GS_E_ARCHIVE, "link"},
        {"pipe", {ALL, {"tree/groups/7.json", "", AE_IFIFO}}, GS_E_ARCHIVE, "no file"},
        {"absolute name", {{"/tree/groups/_all.ndjson", "7", 0}}, GS_E_ARCHIVE, "name"},
        {"name that leads out", {{"tree/../../x", "7", 0}}, GS_E_ARCHIVE, "name"},
        {"two exports", {ALL, {"./a/tree/groups/7.json", "{}", 0}}, GS_E_ARCHIVE, "two exports"},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        char path[96];
        size_t n = 0;
        struct gs_err err = {0};
        while (n < GS_COUNT(rows[i].files) && rows[i].files[n].name)
            n++;
        snprintf(path, sizeof path, "%s/bad.tar", dir);
        make_tar(path, rows[i].files, n, i % 2);
        enum gs_code code = import(path, NULL, NULL, &err);
        if (code != rows[i].code || !strstr(err.text, rows[i].words))
            fail_msg("%s: %s (%s)", rows[i].what, err.text, gs_code_name(code));
    }
}

static void test_limits(void **state)
{
    char path[96], cut[96];
    struct gs_err err = {0};
    gs_autofree char *zeros = malloc(4 << 20);
    memset(zeros, ' ', 4 << 20);
    zeros[(4 << 20) - 1] = '\0';
    struct file files[] = {ALL, TOP, SUB, {"./tree/groups/8/labels.ndjson", zeros, 0}};
    snprintf(path, sizeof path, "%s/bomb.tar.gz", dir);
    make_tar(path, files, GS_COUNT(files), true);
    struct archive_reader_opts o = {.limits = {.max_total = 1 << 20}};
    assert_int_equal(import(path, &o, NULL, &err), GS_E_BOMB);
    /* no file alone is too large, all together are */
    zeros[700 << 10] = '\0';
    struct file two[] = {ALL, TOP, SUB, {"./tree/groups/8/labels.ndjson", zeros, 0}, {"./tree/groups/8/boards.ndjson", zeros, 0}};
    make_tar(path, two, GS_COUNT(two), true);
    gs_err_clear(&err);
    assert_int_equal(import(path, &o, NULL, &err), GS_E_BOMB);
    zeros[700 << 10] = ' ';
    make_tar(path, files, GS_COUNT(files), true);
    o = (struct archive_reader_opts){.limits = {.max_entries = 3}};
    gs_err_clear(&err);
    assert_int_equal(import(path, &o, NULL, &err), GS_E_LIMIT);
    /* a line without end */
    o = (struct archive_reader_opts){.record = {.max_bytes = 1 << 20}};
    gs_err_clear(&err);
    assert_int_equal(import(path, &o, NULL, &err), GS_E_LIMIT);
    assert_non_null(strstr(err.text, "line 1"));
    /* a file that was cut off */
    gs_autobuf b;
    gs_buf_init(&b, 1 << 24);
    gs_err_clear(&err);
    assert_int_equal(gs_read_file(path, 1 << 24, &b, &err), 0);
    snprintf(cut, sizeof cut, "%s/cut.tar.gz", dir);
    assert_int_equal(gs_write_file(cut, b.data, b.len / 2, 0644, true, &err), 0);
    assert_int_equal(import(cut, NULL, NULL, &err), GS_E_ARCHIVE);
    gs_err_clear(&err);
    assert_int_equal(import("/nowhere/at/all", NULL, NULL, &err), GS_E_NOT_FOUND);
}

static void put(const char *base, const char *name, const char *text)
{
    char path[256];
    struct gs_err err = {0};
    snprintf(path, sizeof path, "%s/%s", base, name);
    assert_int_equal(gs_write_file(path, text, strlen(text), 0644, true, &err), 0);
}

static void test_folder(void **state)
{
    char base[96], sub[128], link_path[160];
    struct gs_err err = {0};
    GS_AUTO(bundle) b = NULL;
    snprintf(base, sizeof base, "%s/folder", dir);
    snprintf(sub, sizeof sub, "%s/groups", base);
    mkdir(base, 0755);
    mkdir(sub, 0755);
    put(sub, "_all.ndjson", "7\n");
    put(sub, "7.json", "{\"id\":7,\"path\":\"top\"}");
    /* the folder tree/ itself may be named */
    assert_int_equal(import(base, NULL, &b, &err), GS_OK);
    assert_int_equal(bundle_count(b, 7, "self"), 1);
    snprintf(link_path, sizeof link_path, "%s/8.json", sub);
    assert_int_equal(symlink("7.json", link_path), 0);
    assert_int_equal(import(base, NULL, NULL, &err), GS_E_ARCHIVE);
    assert_non_null(strstr(err.text, "link"));
}

/* A real export of three groups, as GitLab's own tests use it. */
static void test_contract(void **state)
{
    char path[512];
    const char *contract = getenv("GITLAB_CONTRACT_DIR");
    snprintf(path, sizeof path, "%s/group_exports/complex", contract ? contract : "../shared/contract");
    if (access(path, R_OK) != 0) {
        print_message("SKIP: '%s' is not there\n", path);
        skip();
    }
    struct gs_err err = {0};
    GS_AUTO(bundle) b = NULL;
    assert_int_equal(import(path, NULL, &b, &err), GS_OK);
    const struct bundle_group *g;
    assert_int_equal(bundle_groups(b, &g), 3);
    assert_int_equal(g[0].id, 4351);
    assert_int_equal(bundle_count(b, 4351, "epics") + bundle_count(b, 4352, "epics") + bundle_count(b, 4353, "epics"), 15);
    assert_int_equal(bundle_count(b, 4352, "members"), 6);
    struct bundle_verify_result v;
    assert_int_equal(bundle_verify(b, true, &v, &err), 0);
    assert_int_equal(v.records, 82);
    gs_autofree char *self = first_record(b, 4351, "self");
    assert_null(strstr(self, "encrypted"));
    assert_non_null(strstr(self, "\"created_at\":\"2019-11-20 17:01:53 UTC\""));
    /* the line of a relation is the line of the file */
    gs_autobuf f;
    gs_buf_init(&f, 1 << 20);
    char file[600];
    snprintf(file, sizeof file, "%s/tree/groups/4352/milestones.ndjson", path);
    assert_int_equal(gs_read_file(file, 1 << 20, &f, &err), 0);
    gs_autofree char *first = first_record(b, 4352, "milestones");
    assert_memory_equal(first, f.data, strlen(first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),  cmocka_unit_test(test_refuses),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_folder), cmocka_unit_test(test_contract),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
