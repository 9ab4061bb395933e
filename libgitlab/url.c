#include "url.h"

#include "http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

static void auto_curlu(CURLU **u)
{
    curl_url_cleanup(*u);
}

static void auto_curl_free(char **p)
{
    curl_free(*p);
}

#define AUTO_CURLU __attribute__((cleanup(auto_curlu))) CURLU *
#define AUTO_CURL_STR __attribute__((cleanup(auto_curl_free))) char *

static bool is_loopback(const char *host)
{
    struct in_addr a4;
    struct in6_addr a6;
    if (inet_pton(AF_INET, host, &a4) == 1)
        return (ntohl(a4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host, &a6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&a6);
    return strcmp(host, "localhost") == 0;
}

/* Returns -1 without an error text: the two callers speak of different things. */
static int origin_of(CURLU *u, struct gl_origin *out)
{
    AUTO_CURL_STR scheme = NULL;
    AUTO_CURL_STR host = NULL;
    AUTO_CURL_STR port = NULL;
    if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) || curl_url_get(u, CURLUPART_HOST, &host, 0) ||
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
        return -1;
    *out = (struct gl_origin){.https = strcasecmp(scheme, "https") == 0};
    if (!out->https && strcasecmp(scheme, "http") != 0)
        return -1;
    const char *h = host;
    size_t n = strlen(h);
    if (n >= 2 && h[0] == '[' && h[n - 1] == ']') {
        h++;
        n -= 2;
    }
    if (n == 0 || n >= sizeof out->host)
        return -1;
    for (size_t i = 0; i < n; i++)
        out->host[i] = (char)(h[i] >= 'A' && h[i] <= 'Z' ? h[i] + 32 : h[i]);
    out->host[n] = 0;
    unsigned long p = strtoul(port, NULL, 10);
    if (p == 0 || p > 65535)
        return -1;
    out->port = (unsigned)p;
    out->loopback = is_loopback(out->host);
    return 0;
}

static bool has_part(CURLU *u, CURLUPart part)
{
    AUTO_CURL_STR s = NULL;
    return curl_url_get(u, part, &s, 0) == CURLUE_OK;
}

static bool drop_suffix(char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    if (n < k || strcmp(s + n - k, suffix) != 0)
        return false;
    s[n - k] = 0;
    return true;
}

int gl_url_base(const char *url, char **out_base, struct gl_origin *out, struct gs_err *err)
{
    if (!url || !*url)
        return gs_fail(err, GS_E_URL, "no URL");
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= 32 || *p == 127)
            return gs_fail(err, GS_E_URL, "the URL holds a blank or control character");
    AUTO_CURLU u = curl_url();
    if (!u)
        return gs_fail(err, GS_E_NOMEM, "no memory for a URL");
    CURLUcode rc = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
    if (rc == CURLUE_BAD_SCHEME || rc == CURLUE_UNSUPPORTED_SCHEME)
        return gs_fail(err, GS_E_URL, "the URL must begin with https://");
    if (rc)
        return gs_fail(err, GS_E_URL, "the URL is malformed: %s", curl_url_strerror(rc));
    /* the text of the URL is left out here: what stands before the @ is a secret, and a query may hold a token */
    if (strpbrk(url, "?#"))
        return gs_fail(err, GS_E_URL, "the URL has a query or fragment");
    if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD))
        return gs_fail(err, GS_E_URL, "the URL holds a user name or password");
    const char *colon = strchr(url, ':'); /* libcurl puts up with one slash, and with three */
    if (!colon || strncmp(colon, "://", 3) != 0 || colon[3] == '/')
        return gs_fail(err, GS_E_URL, "'%.200s' has no host", url);
    if (origin_of(u, out))
        return gs_fail(err, GS_E_URL, "'%.200s' is no http or https URL with a host", url);

    AUTO_CURL_STR path = NULL;
    AUTO_CURL_STR port = NULL;
    if (curl_url_get(u, CURLUPART_PATH, &path, 0))
        return gs_fail(err, GS_E_URL, "'%.200s' is malformed", url);
    bool v6 = strchr(out->host, ':') != NULL;
    bool shows_port = curl_url_get(u, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT) == CURLUE_OK;
    while (drop_suffix(path, "/")) {
    }
    if (drop_suffix(path, "/api/v4"))
        while (drop_suffix(path, "/")) {
        }
    char *base = gs_asprintf("%s://%s%s%s%s%s%s", out->https ? "https" : "http", v6 ? "[" : "", out->host,
                             v6 ? "]" : "", shows_port ? ":" : "", shows_port ? port : "", path);
    if (!base)
        return gs_fail(err, GS_E_NOMEM, "no memory for a URL");
    *out_base = base;
    return 0;
}

int gl_url_resolve(const char *current, const char *location, char **out_url, struct gl_origin *out, struct gs_err *err)
{
    AUTO_CURLU u = curl_url();
    if (!u)
        return gs_fail(err, GS_E_NOMEM, "no memory for a URL");
    AUTO_CURL_STR full = NULL;
    if (curl_url_set(u, CURLUPART_URL, current, CURLU_PATH_AS_IS) ||
        curl_url_set(u, CURLUPART_URL, location, CURLU_PATH_AS_IS | CURLU_URLENCODE) ||
        curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) || has_part(u, CURLUPART_USER) ||
        has_part(u, CURLUPART_PASSWORD) || origin_of(u, out) || curl_url_get(u, CURLUPART_URL, &full, 0))
        return gs_fail(err, GS_E_REMOTE, "the server redirects to something that is no http or https URL");
    char *copy = strdup(full);
    if (!copy)
        return gs_fail(err, GS_E_NOMEM, "no memory for a URL");
    *out_url = copy;
    return 0;
}

bool gl_origin_equal(const struct gl_origin *a, const struct gl_origin *b)
{
    return a->https == b->https && a->port == b->port && strcmp(a->host, b->host) == 0;
}

char *gl_encode(const char *s)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = strlen(s);
    char *out = n < SIZE_MAX / 3 ? malloc(3 * n + 1) : NULL, *p = out;
    if (!out)
        return NULL;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_' || c == '~' || c == '.';
        if (plain) {
            *p++ = (char)c;
        } else {
            *p++ = '%';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    *p = 0;
    return out;
}
