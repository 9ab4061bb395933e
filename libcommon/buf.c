#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gs_buf_init(struct gs_buf *b, size_t max)
{
    *b = (struct gs_buf){.max = max};
}

void gs_buf_release(struct gs_buf *b)
{
    free(b->data);
    *b = (struct gs_buf){.max = b->max};
}

void gs_buf_reset(struct gs_buf *b)
{
    b->len = 0;
    if (b->data)
        b->data[0] = 0;
}

int gs_buf_reserve(struct gs_buf *b, size_t more, struct gs_err *err)
{
    if (more > b->max || b->len > b->max - more)
        return gs_fail(err, GS_E_LIMIT, "more than %zu bytes", b->max);
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    char *p = realloc(b->data, cap);
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu bytes", cap);
    if (!b->data)
        p[0] = 0;
    b->data = p;
    b->cap = cap;
    return 0;
}

int gs_buf_add(struct gs_buf *b, const void *data, size_t len, struct gs_err *err)
{
    if (gs_buf_reserve(b, len, err))
        return -1;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
    return 0;
}

int gs_buf_addstr(struct gs_buf *b, const char *s, struct gs_err *err)
{
    return gs_buf_add(b, s, strlen(s), err);
}

int gs_buf_addc(struct gs_buf *b, char c, struct gs_err *err)
{
    return gs_buf_add(b, &c, 1, err);
}

int gs_buf_addf(struct gs_buf *b, struct gs_err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return gs_fail(err, GS_E_INTERNAL, "a text could not be formatted");
    if (gs_buf_reserve(b, (size_t)n, err))
        return -1;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

const char *gs_buf_str(const struct gs_buf *b)
{
    return b->data ? b->data : "";
}

char *gs_buf_steal(struct gs_buf *b, size_t *out_len)
{
    char *p = b->data ? b->data : calloc(1, 1);
    if (out_len)
        *out_len = b->len;
    *b = (struct gs_buf){.max = b->max};
    return p;
}

char *gs_asprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    char *p = malloc((size_t)n + 1);
    if (!p)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

int gs_array_grow(void **array, size_t *cap, size_t n, size_t elem, struct gs_err *err)
{
    if (n < *cap)
        return 0;
    size_t c = *cap ? *cap * 2 : 8;
    void *p = c > SIZE_MAX / elem ? NULL : realloc(*array, c * elem);
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu entries", c);
    *array = p;
    *cap = c;
    return 0;
}
