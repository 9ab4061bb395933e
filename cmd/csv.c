#include "cmd/csv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int field(struct gs_buf *line, const char *s, struct gs_err *err)
{
    bool formula = *s && strchr("=+-@\t\r", *s);
    if (!formula && !strpbrk(s, ",\"\r\n"))
        return gs_buf_addstr(line, s, err);
    if (gs_buf_addstr(line, formula ? "\"'" : "\"", err))
        return -1;
    for (; *s; s++)
        if ((*s == '"' && gs_buf_addc(line, '"', err)) || gs_buf_addc(line, *s, err))
            return -1;
    return gs_buf_addc(line, '"', err);
}

int csv_line(struct gs_buf *to, const char *const *fields, size_t n, struct gs_err *err)
{
    for (size_t i = 0; i < n; i++)
        if ((i && gs_buf_addc(to, ',', err)) || field(to, fields[i] ? fields[i] : "", err))
            return -1;
    return gs_buf_addstr(to, "\r\n", err);
}

int csv_row(struct cli *cli, const char *const *fields, size_t n, struct gs_err *err)
{
    gs_autobuf line;
    gs_buf_init(&line, (size_t)64 << 20);
    if (csv_line(&line, fields, n, err))
        return -1;
    cli_out_buf(cli, &line);
    return cli_out_ok(cli) ? 0 : gs_fail(err, GS_E_IO, "writing the rows");
}

const char *csv_number(uint64_t n)
{
    static _Thread_local char ring[16][24];
    static _Thread_local unsigned at;
    char *s = ring[at++ % 16];
    snprintf(s, sizeof ring[0], "%" PRIu64, n);
    return s;
}
