/* The Link header, and what a redirect's Location becomes. First byte: which of the two. */
#include "libgitlab/rest.h"
#include "libgitlab/url.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gs_err err = {0};
    char *out = NULL;
    if (size < 1)
        return 0;
    char *text = strndup((const char *)data + 1, size - 1);
    if (!text)
        return 0;
    struct gl_origin o;
    if (data[0] & 1) {
        if (gl_link_next(text, &out, &err) == 0 && out && (strlen(out) == 0 || strlen(out) > strlen(text)))
            abort();
    } else if (gl_url_resolve("https://h/api/v4/x?y=1", text, &out, &o, &err) == 0) {
        if (!out || o.port == 0 || o.port > 65535 || o.host[0] == 0 || strchr(out, '#'))
            abort();
    } else if (err.code == GS_OK) {
        abort();
    }
    free(out);
    out = NULL;
    if (gl_url_base(text, &out, &o, &err) == 0) {
        const char *host = strstr(out, "://");
        if (!host || strncmp(out, "http", 4) != 0 || strpbrk(out, "?# ") ||
            memchr(host + 3, '@', strcspn(host + 3, "/")))
            abort();
    }
    free(out);
    free(text);
    return 0;
}
