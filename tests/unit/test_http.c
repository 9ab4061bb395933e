/* URLs, and what the client refuses before it touches the network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libgitlab/http.h"
#include "libgitlab/url.h"

#include <string.h>

static void test_base(void **state)
{
    static const struct {
        const char *url, *base, *host;
        unsigned port;
        bool https, loopback;
    } rows[] = {
        {"https://gitlab.example.com", "https://gitlab.example.com", "gitlab.example.com", 443, 1, 0},
        {"HTTPS://GitLab.Example.com/", "https://gitlab.example.com", "gitlab.example.com", 443, 1, 0},
        {"https://h:8443/gitlab//", "https://h:8443/gitlab", "h", 8443, 1, 0},
        {"https://h/api/v4/", "https://h", "h", 443, 1, 0},
        {"https://h/gitlab/api/v4", "https://h/gitlab", "h", 443, 1, 0},
        {"http://localhost:3000", "http://localhost:3000", "localhost", 3000, 0, 1},
        {"http://127.9.9.9", "http://127.9.9.9", "127.9.9.9", 80, 0, 1},
        {"http://[::1]:80/x", "http://[::1]/x", "::1", 80, 0, 1},
        {"https://[2001:db8::1]", "https://[2001:db8::1]", "2001:db8::1", 443, 1, 0},
        {"http://127.0.0.1.nip.io", "http://127.0.0.1.nip.io", "127.0.0.1.nip.io", 80, 0, 0},
        {"http://10.0.0.1", "http://10.0.0.1", "10.0.0.1", 80, 0, 0},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        struct gs_err err = {0};
        struct gl_origin o;
        char *base = NULL;
        assert_int_equal(gl_url_base(rows[i].url, &base, &o, &err), 0);
        assert_string_equal(base, rows[i].base);
        assert_string_equal(o.host, rows[i].host);
        assert_int_equal(o.port, rows[i].port);
        assert_int_equal(o.https, rows[i].https);
        assert_int_equal(o.loopback, rows[i].loopback);
        free(base);
    }
}

static void test_base_refused(void **state)
{
    static const char *const urls[] = {"",
                                       "gitlab.example.com",
                                       "ftp://h",
                                       "file:///etc",
                                       "https://",
                                       "https://u@h",
                                       "https://u:p@h",
                                       "https://:p@h",
                                       "https://h?x",
                                       "https://h/#f",
                                       "https://h/?a=b",
                                       "https://h h",
                                       "https://h\n",
                                       "https://h:0",
                                       "https://h:99999",
                                       "javascript:alert(1)",
                                       "https:///x",
                                       "https:/h"};
    for (size_t i = 0; i < GS_COUNT(urls); i++) {
        struct gs_err err = {0};
        struct gl_origin o;
        char *base = NULL;
        assert_int_equal(gl_url_base(urls[i], &base, &o, &err), -1);
        assert_int_equal(err.code, GS_E_URL);
        assert_null(strstr(err.text, "u:p"));
    }
}

static void test_resolve(void **state)
{
    static const struct {
        const char *from, *location, *want; /* NULL: refused */
    } rows[] = {
        {"https://h/api/v4/x?page=1", "/y", "https://h/y"},
        {"https://h/api/v4/x", "y?z=1", "https://h/api/v4/y?z=1"},
        {"https://h/api/v4/x", "//other/y", "https://other/y"},
        {"https://h/x", "http://other:81/a%2Fb#frag", "http://other:81/a%2Fb"},
        {"https://h/x", "file:///etc/passwd", NULL},
        {"https://h/x", "https://u:p@other/", NULL},
        {"https://h/x", "gopher://h", NULL},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        struct gs_err err = {0};
        struct gl_origin o;
        char *url = NULL;
        int r = gl_url_resolve(rows[i].from, rows[i].location, &url, &o, &err);
        assert_int_equal(r, rows[i].want ? 0 : -1);
        if (rows[i].want)
            assert_string_equal(url, rows[i].want);
        else
            assert_int_equal(err.code, GS_E_REMOTE);
        free(url);
    }
}

static void test_origin(void **state)
{
    struct gl_origin a = {.https = true, .port = 443, .host = "h"}, b = a;
    assert_true(gl_origin_equal(&a, &b));
    b.port = 444;
    assert_false(gl_origin_equal(&a, &b));
    b = a;
    b.https = false;
    assert_false(gl_origin_equal(&a, &b));
    b = a;
    b.host[0] = 'i';
    assert_false(gl_origin_equal(&a, &b));
}

static void test_encode(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {{"", ""},
                {"a/b", "a%2Fb"},
                {"A-z_0.9~", "A-z_0.9~"},
                {"ü +%", "%C3%BC%20%2B%25"},
                {"a&b=c?#", "a%26b%3Dc%3F%23"}};
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        char *s = gl_encode(rows[i].in);
        assert_string_equal(s, rows[i].out);
        free(s);
    }
}

static void test_client(void **state)
{
    struct gs_err err = {0};
    struct gs_secret token = {0};
    struct gl_client *c = NULL;
    assert_int_equal(gs_secret_init(&err), 0);
    assert_int_equal(gl_client_new(&(struct gl_client_opts){.url = "http://192.0.2.1"}, &c, &err), -1);
    assert_int_equal(err.code, GS_E_HTTP_PLAIN);
    assert_int_equal(gs_secret_set(&token, "abc\r\nX: y", 9, &err), 0);
    assert_int_equal(gl_client_new(&(struct gl_client_opts){.url = "https://h", .token = &token}, &c, &err), -1);
    assert_int_equal(err.code, GS_E_TOKEN);
    assert_null(strstr(err.text, "abc"));
    gs_secret_release(&token);
    assert_int_equal(
        gl_client_new(&(struct gl_client_opts){.url = "http://192.0.2.1/x/", .allow_http = true, .jobs = 3}, &c, &err),
        0);
    assert_string_equal(gl_client_url(c), "http://192.0.2.1/x");
    assert_string_equal(gl_client_host(c), "192.0.2.1");
    assert_string_equal(gl_client_tls_sha256(c), "");
    assert_int_equal(gl_free_slots(c), 3);
    assert_int_equal(gl_room(c), 4);
    assert_int_equal(gl_poll(c, 10, &err), 0); /* nothing to do: returns at once */

    /* what a caller got wrong is refused, never sent */
    assert_int_equal(gl_submit(c, gl_request_new(GL_GET, "no-slash"), &err), -1);
    assert_int_equal(gl_submit(c, gl_request_new(GL_GET, "/a b"), &err), -1);
    assert_int_equal(gl_submit(c, gl_request_new(GL_GET, "/a\r\nX:"), &err), -1);
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%d", 7);
    assert_string_equal(r->path, "/groups/7");
    r->sudo = strdup("x\nY: z");
    assert_int_equal(gl_submit(c, r, &err), -1);
    err = (struct gs_err){0};
    assert_int_equal(gl_submit(c, gl_request_new(GL_GET, "/x"), &err), 0);
    assert_int_equal(gl_pending(c), 1);
    assert_int_equal(gl_free_slots(c), 2);
    assert_int_equal(gl_room(c), 3);
    gl_client_free(c);
    gl_client_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base),   cmocka_unit_test(test_base_refused), cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_origin), cmocka_unit_test(test_encode),       cmocka_unit_test(test_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
