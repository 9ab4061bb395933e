/* What a capture by relation export is made of: status answers, gzip, lines, and the joining of records. */
#include "unit.h"

#include "libcommon/gz.h"
#include "libcommon/io.h"
#include "libexport/lines.h"
#include "libexport/shelf.h"
#include "libgitlab/relations.h"

#include <fcntl.h>
#include <zlib.h>

/* ---- status ---- */

static void parse(const char *text, struct gl_export_status *s)
{
    struct gs_err err = {0};
    OK(gl_export_status_parse(text, strlen(text), s, &err));
}

static void test_status(void **state)
{
    struct gl_export_status s;
    struct gs_err err = {0};
    parse("null", &s);
    assert_int_equal(s.n, 0);
    gl_export_status_release(&s);
    parse("[]", &s);
    assert_int_equal(s.n, 0);
    gl_export_status_release(&s);
    /* GitLab 14: no counts, no batches; an object instead of a list; what is odd is passed over */
    parse("[{\"relation\":\"labels\",\"status\":1,\"error\":null,\"updated_at\":\"2025-01-02T03:04:05.678Z\"},"
          "{\"relation\":\"../x\",\"status\":1},{\"relation\":\"boards\",\"status\":7},{\"status\":1},{\"relation\":\"labels\",\"status\":0}]", &s);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.v[0].name, "labels");
    assert_int_equal(s.v[0].state, GL_EXPORT_FINISHED);
    assert_true(s.v[0].updated_ms == 1735787045678);
    assert_false(s.v[0].batched);
    assert_true(s.v[0].objects == -1);
    gl_export_status_release(&s);
    parse("{\"relation\":\"epics\",\"status\":-1,\"error\":\"no\\nway\"}", &s);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.v[0].state, GL_EXPORT_FAILED);
    assert_string_equal(s.v[0].error, "no way");
    assert_true(s.v[0].updated_ms == 0);
    gl_export_status_release(&s);
    parse("[{\"relation\":\"labels\",\"status\":-2},{\"relation\":\"epics\",\"status\":0,\"batched\":true,\"batches_count\":3,"
          "\"total_objects_count\":101,\"batches\":[{\"batch_number\":2,\"status\":-1,\"error\":\"x\",\"objects_count\":50},"
          "{\"batch_number\":0,\"status\":1},{\"batch_number\":1}]}]", &s);
    const struct gl_export_relation *r = gl_export_find(&s, "epics");
    assert_int_equal(s.v[0].state, GL_EXPORT_PENDING);
    assert_non_null(r);
    assert_int_equal(r->n_batches, 3);
    assert_true(r->objects == 101);
    assert_int_equal(r->n_told, 1);
    assert_int_equal(r->batches[0].number, 2);
    assert_int_equal(r->batches[0].state, GL_EXPORT_FAILED);
    assert_null(gl_export_find(&s, "boards"));
    gl_export_status_release(&s);
    FAILS(GS_E_REMOTE, gl_export_status_parse("\"x\"", 3, &s, &err));
    FAILS(GS_E_REMOTE, gl_export_status_parse("[{", 2, &s, &err));
    static const char many[] = "{\"relation\":\"a\",\"status\":1,\"batched\":true,\"batches_count\":2000000000}";
    FAILS(GS_E_LIMIT, gl_export_status_parse(many, strlen(many), &s, &err));
}

static enum gl_export_refusal refusal(int status, const char *body, bool download)
{
    struct gs_err err = {0};
    struct gl_response rsp = {.outcome = GL_ANSWERED, .status = status};
    gs_buf_init(&rsp.body, 4096);
    OK(gs_buf_addstr(&rsp.body, body, &err));
    enum gl_export_refusal r = gl_export_refusal(&rsp, download);
    gs_buf_release(&rsp.body);
    return r;
}

static void test_refusals(void **state)
{
    assert_int_equal(refusal(404, "{\"message\":\"404 Not Found\"}", false), GL_EXPORT_OFF);
    assert_int_equal(refusal(404, "{\"message\":\"404 Export file not found\"}", true), GL_EXPORT_GONE);
    assert_int_equal(refusal(403, "{\"message\":\"403 Forbidden\"}", false), GL_EXPORT_NOT_OWNER);
    assert_int_equal(refusal(400, "{\"message\":\"400 Bad request - Export is batched\"}", true), GL_EXPORT_IS_BATCHED);
    assert_int_equal(refusal(400, "{\"message\":\"400 Bad request - Export is not batched\"}", true), GL_EXPORT_NO_BATCHES);
    assert_int_equal(refusal(400, "{\"error\":\"batched is invalid\"}", false), GL_EXPORT_NO_BATCHES);
    assert_int_equal(refusal(500, "oops", true), GL_EXPORT_OTHER);
    assert_int_equal(refusal(202, "{}", false), GL_EXPORT_OTHER);
    struct gl_gzip_head h = {0};
    struct gs_err err = {0};
    OK(gl_gzip_check(&h, "\x1f", 1, &err));
    OK(gl_gzip_check(&h, "\x8b\x08", 2, &err));
    OK(gl_gzip_check(&h, "anything", 8, &err));
    h = (struct gl_gzip_head){0};
    FAILS(GS_E_REMOTE, gl_gzip_check(&h, "<html>", 6, &err));
}

/* ---- gzip ---- */

static size_t packed(const char *text, size_t len, unsigned char *out, size_t cap)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)text;
    z.avail_in = (unsigned)len;
    z.next_out = out;
    z.avail_out = (unsigned)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = cap - z.avail_out;
    deflateEnd(&z);
    return n;
}

/* Unpacks a file with these bytes; what came is in `out`. */
static int unpack(const void *data, size_t len, bool plain, const struct gs_gz_limits *lim, struct gs_buf *out, struct gs_err *err)
{
    char path[] = "/tmp/groupsnap-gz-XXXXXX", block[1000];
    int fd = mkstemp(path);
    GS_AUTO(gs_gz) z = NULL;
    size_t n = 1;
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    lseek(fd, 0, SEEK_SET);
    int r = gs_gz_open(fd, "x.gz", plain, lim, &z, err);
    gs_buf_reset(out);
    while (r == 0 && n > 0) {
        r = gs_gz_read(z, block, sizeof block, &n, err);
        if (r == 0)
            r = gs_buf_add(out, block, n, err);
    }
    close(fd);
    return r;
}

static void test_gzip(void **state)
{
    static unsigned char gz[200000], two[200000];
    static char text[100000];
    struct gs_err err = {0};
    gs_autobuf out;
    gs_buf_init(&out, 1 << 20);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i * i % 23);
    size_t n = packed(text, sizeof text, gz, sizeof gz), empty = packed("", 0, two, sizeof two);
    OK(unpack(gz, n, false, NULL, &out, &err));
    assert_int_equal(out.len, sizeof text);
    assert_memory_equal(out.data, text, sizeof text);
    OK(unpack(two, empty, false, NULL, &out, &err));
    assert_int_equal(out.len, 0);
    /* two members, and zeros behind them */
    memcpy(two + empty, gz, n);
    memset(two + empty + n, 0, 100);
    OK(unpack(two, empty + n + 100, false, NULL, &out, &err));
    assert_int_equal(out.len, sizeof text);
    FAILS(GS_E_GZIP, unpack("", 0, false, NULL, &out, &err));
    FAILS(GS_E_GZIP, unpack("plain", 5, false, NULL, &out, &err));
    OK(unpack("plain", 5, true, NULL, &out, &err));
    assert_int_equal(out.len, 5);
    for (size_t cut = 2; cut < n; cut += n / 7)
        FAILS(GS_E_GZIP, unpack(gz, cut, false, NULL, &out, &err));
    /* the checksum and the length are compared */
    for (size_t back = 1; back <= 8; back++) {
        gz[n - back] ^= 1;
        FAILS(GS_E_GZIP, unpack(gz, n, false, NULL, &out, &err));
        gz[n - back] ^= 1;
    }
    memcpy(two, gz, n);
    memcpy(two + n, "rubbish", 7);
    FAILS(GS_E_GZIP, unpack(two, n + 7, false, NULL, &out, &err));
    struct gs_gz_limits lim = {.max_out = 99999};
    FAILS(GS_E_BOMB, unpack(gz, n, false, &lim, &out, &err));
    lim.max_out = 100000;
    OK(unpack(gz, n, false, &lim, &out, &err));
}

/* ---- lines ---- */

struct feed {
    const char *text;
    size_t len, off, step;
    char got[400];
};

static int feed_read(void *cookie, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct feed *f = cookie;
    size_t n = f->len - f->off < f->step ? f->len - f->off : f->step;
    memcpy(buf, f->text + f->off, n < len ? n : len);
    f->off += *out_n = n < len ? n : len;
    return 0;
}

static int feed_line(void *cookie, const struct line *l, struct gs_err *err)
{
    struct feed *f = cookie;
    size_t n = strlen(f->got);
    if (l->oversize)
        snprintf(f->got + n, sizeof f->got - n, "%d:!|", (int)l->number);
    else
        snprintf(f->got + n, sizeof f->got - n, "%d:%.*s|", (int)l->number, (int)l->len, l->text);
    return 0;
}

static void test_lines(void **state)
{
    static const char text[] = "one\n\n  \t\ntwo\r\n0123456789\n01234567890\nlonger than ten by much\r\nlast";
    struct gs_err err = {0};
    for (size_t step = 1; step < sizeof text; step++) {
        struct feed f = {.text = text, .len = strlen(text), .step = step};
        struct lines_opts o = {.read = feed_read, .read_cookie = &f, .each = feed_line, .cookie = &f, .max_len = 10};
        uint64_t bytes = 0;
        OK(lines_walk(&o, &bytes, &err));
        assert_string_equal(f.got, "1:one|4:two|5:0123456789|6:!|7:!|8:last|");
        assert_int_equal(bytes, strlen(text));
    }
    struct feed f = {.text = "ok\nan end that is too long", .len = 26, .step = 3};
    struct lines_opts o = {.read = feed_read, .read_cookie = &f, .each = feed_line, .cookie = &f, .max_len = 10};
    OK(lines_walk(&o, NULL, &err));
    assert_string_equal(f.got, "1:ok|2:!|");
    volatile int stop = 1;
    f.off = 0;
    o.stop = &stop;
    FAILS(GS_E_STOPPED, lines_walk(&o, NULL, &err));
}

/* ---- joining ---- */

static void join(struct shelf *s, const char *base, const char *const *only, const char *want)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts raw = {.raw_numbers = true};
    struct gs_err err = {0};
    bool changed = false;
    gs_autobuf out;
    gs_buf_init(&out, 1 << 20);
    OK(gs_json_parse(base, strlen(base), &raw, &doc, &err));
    OK(shelf_join(s, yyjson_doc_get_root(doc), only, &out, &changed, &err));
    assert_int_equal(changed, want != NULL);
    if (want)
        assert_string_equal(gs_buf_str(&out), want);
    else
        assert_int_equal(out.len, 0);
}

static void put(struct shelf *s, const char *json)
{
    struct gs_err err = {0};
    OK(shelf_add(s, json, strlen(json), &err));
}

static void test_join(void **state)
{
    static const char *const only[] = {"user", "iteration", NULL};
    struct shelf s;
    shelf_init(&s, "id");
    put(&s, "{\"id\":9,\"x\":1}");
    put(&s, "{\"id\":7,\"name\":\"other\",\"more\":[1.50],\"user\":{\"id\":1,\"name\":\"Ada\"},"
            "\"lists\":[{\"id\":2,\"user\":{\"id\":3},\"iteration\":null,\"secret\":1},{\"id\":1,\"b\":2}]}");
    /* keys that are there keep their value and place, also null and numbers as they were written */
    join(&s, "{\"name\":null,\"id\":7,\"n\":1.0,\"user\":{\"id\":1},\"lists\":[{\"id\":1,\"b\":null},{\"id\":2},{\"id\":3}]}", NULL,
         "{\"name\":null,\"id\":7,\"n\":1.0,\"user\":{\"id\":1,\"name\":\"Ada\"},\"lists\":[{\"id\":1,\"b\":null},{\"id\":2,\"user\":{\"id\":3},"
         "\"iteration\":null,\"secret\":1},{\"id\":3}],\"more\":[1.50]}");
    join(&s, "{\"id\":7,\"lists\":[{\"id\":2}]}", only,
         "{\"id\":7,\"lists\":[{\"id\":2,\"user\":{\"id\":3},\"iteration\":null}],\"user\":{\"id\":1,\"name\":\"Ada\"}}");
    join(&s, "{\"id\":8,\"a\":1}", NULL, NULL);
    join(&s, "{\"a\":1}", NULL, NULL);
    join(&s, "{\"id\":9,\"x\":2}", NULL, NULL); /* nothing to add: the line stays as it is */
    assert_true(s.rows[0].taken && s.rows[1].taken);
    shelf_reset(&s);
    join(&s, "{\"id\":7}", NULL, NULL);
    for (int i = 1000; i > 0; i--) {
        char text[64];
        snprintf(text, sizeof text, "{\"id\":%d,\"n\":%d}", i, i * 2);
        put(&s, text);
    }
    join(&s, "{\"id\":1}", NULL, "{\"id\":1,\"n\":2}");
    join(&s, "{\"id\":777}", NULL, "{\"id\":777,\"n\":1554}");
    join(&s, "{\"id\":1001}", NULL, NULL);
    shelf_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status), cmocka_unit_test(test_refusals), cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_lines),  cmocka_unit_test(test_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
