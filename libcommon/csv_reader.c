#include "libcommon/csv_reader.h"

#include <stdbool.h>
#include <string.h>

#define FIELD_MAX ((size_t)64 << 10)

void csv_reader_init(struct csv_reader *r, const char *name, const char *text, size_t len, enum gs_code code)
{
    *r = (struct csv_reader){.name = name, .p = text, .end = text + len, .code = code, .line = 1, .next_line = 1};
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        r->p += 3;
    for (unsigned i = 0; i < CSV_COLUMNS_MAX; i++)
        gs_buf_init(&r->field[i], FIELD_MAX);
}

void csv_reader_release(struct csv_reader *r)
{
    for (unsigned i = 0; i < CSV_COLUMNS_MAX; i++)
        gs_buf_release(&r->field[i]);
}

static int fail(const struct csv_reader *r, struct gs_err *err, const char *what)
{
    return gs_fail(err, r->code, "%s line %u: %s", r->name, r->line, what);
}

/* One field behind r->p into `out`; stops at a comma or line end. */
static int read_field(struct csv_reader *r, struct gs_buf *out, struct gs_err *err)
{
    if (r->p < r->end && *r->p == '"') {
        for (r->p++;;) {
            if (r->p == r->end)
                return fail(r, err, "a quote is not closed");
            char c = *r->p++;
            if (c == '"') {
                if (r->p == r->end || *r->p != '"')
                    break;
                r->p++;
            }
            if (c == '\n')
                r->next_line++;
            if (gs_buf_addc(out, c, err))
                return -1;
        }
        if (r->p < r->end && *r->p != ',' && *r->p != '\n' && *r->p != '\r')
            return fail(r, err, "text behind a closing quote");
        return 0;
    }
    while (r->p < r->end && *r->p != ',' && *r->p != '\n' && *r->p != '\r') {
        if (*r->p == '"')
            return fail(r, err, "a quote in a field that does not begin with one");
        if (gs_buf_addc(out, *r->p++, err))
            return -1;
    }
    return 0;
}

int csv_reader_next(struct csv_reader *r, struct gs_err *err)
{
    for (;;) {
        r->n = 0;
        r->line = r->next_line;
        if (r->p == r->end)
            return 0;
        bool more = true;
        while (more) {
            if (r->n == CSV_COLUMNS_MAX)
                return fail(r, err, "more columns than there can be");
            gs_buf_reset(&r->field[r->n]);
            if (read_field(r, &r->field[r->n], err)) {
                if (err->code != GS_E_LIMIT)
                    return -1;
                gs_err_clear(err);
                return fail(r, err, "a field of more than 64 KiB");
            }
            const char *f = gs_buf_str(&r->field[r->n]);
            if (strlen(f) != r->field[r->n].len)
                return fail(r, err, "a NUL byte");
            r->n++;
            more = r->p < r->end && *r->p == ',';
            r->p += more;
        }
        if (r->p < r->end && *r->p == '\r' && (r->p + 1 == r->end || r->p[1] != '\n'))
            return fail(r, err, "a carriage return that is no line end");
        if (r->p < r->end && *r->p == '\r')
            r->p++;
        if (r->p < r->end)
            r->p++;
        r->next_line++;
        if (r->n > 1 || r->field[0].len)
            return 0;
    }
}
