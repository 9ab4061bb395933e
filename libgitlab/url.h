/* url: what libgitlab needs to know about URLs. All parsing is libcurl's. */
#ifndef GL_URL_H
#define GL_URL_H

#include "libcommon/err.h"

#include <stdbool.h>

struct gl_origin {
    bool https;
    bool loopback; /* 127.0.0.0/8, ::1 or localhost, by its text: nothing is resolved */
    unsigned port;
    char host[256]; /* lower case, an IPv6 address without brackets */
};

/*
 * Checks the base URL of an instance: GS_E_URL for anything but http(s)://host[:port][/path]. A slash and /api/v4 at
 * the end are dropped from *out_base (to be freed).
 */
int gl_url_base(const char *url, char **out_base, struct gl_origin *out, struct gs_err *err) GS_MUST_USE;
/* `location` as seen from `current`, both complete afterwards. GS_E_REMOTE when it is no http(s) URL. */
int gl_url_resolve(const char *current, const char *location, char **out_url, struct gl_origin *out,
                   struct gs_err *err) GS_MUST_USE;
bool gl_origin_equal(const struct gl_origin *a, const struct gl_origin *b);

#endif
