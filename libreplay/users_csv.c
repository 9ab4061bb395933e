#include "libreplay/users_csv.h"

#include "libcommon/csv_reader.h"
#include "libcommon/io.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define MAX_FILE ((size_t)64 << 20)

enum column { SOURCE_ID, SOURCE_USERNAME, SOURCE_EMAIL, TARGET_ID, TARGET_USERNAME, N_COLUMNS };
static const char *const column_names[N_COLUMNS] = {"source_id", "source_username", "source_email", "target_id",
                                                    "target_username"};

static int fail(const struct csv_reader *r, struct gs_err *err, const char *what)
{
    return gs_fail(err, GS_E_USER_MAP, "%s line %u: %s", r->name, r->line, what);
}

static char *trimmed(const char *s)
{
    size_t len = strlen(s);
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    while (len && (*s == ' ' || *s == '\t')) {
        s++;
        len--;
    }
    return strndup(s, len);
}

static int read_header(struct csv_reader *r, int place[N_COLUMNS], struct gs_err *err)
{
    for (int c = 0; c < N_COLUMNS; c++)
        place[c] = -1;
    if (csv_reader_next(r, err))
        return -1;
    if (r->n == 0)
        return gs_fail(err, GS_E_USER_MAP, "%s: the file is empty", r->name);
    for (unsigned i = 0; i < r->n; i++) {
        gs_autofree char *name = trimmed(gs_buf_str(&r->field[i]));
        int c = 0;
        if (!name)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
        while (c < N_COLUMNS && strcasecmp(name, column_names[c]) != 0)
            c++;
        if (c == N_COLUMNS)
            return gs_fail(err, GS_E_USER_MAP,
                           "%s line %u: unknown column '%s' (known: source_id, source_username, source_email, "
                           "target_id, target_username)",
                           r->name, r->line, name);
        if (place[c] >= 0)
            return gs_fail(err, GS_E_USER_MAP, "%s line %u: column '%s' twice", r->name, r->line, name);
        place[c] = (int)i;
    }
    if (place[SOURCE_ID] < 0 && place[SOURCE_USERNAME] < 0 && place[SOURCE_EMAIL] < 0)
        return fail(r, err, "no column source_username, source_id or source_email");
    if (place[TARGET_ID] < 0 && place[TARGET_USERNAME] < 0)
        return fail(r, err, "no column target_username or target_id");
    return 0;
}

/* *out NULL when the column is absent or empty. */
static int text_of(struct csv_reader *r, int at, char **out, struct gs_err *err)
{
    *out = NULL;
    if (at < 0)
        return 0;
    gs_autofree char *s = trimmed(gs_buf_str(&r->field[at]));
    if (!s)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (*s)
        *out = gs_steal(&s);
    return 0;
}

static int id_of(struct csv_reader *r, int at, const char *column, int64_t *out, struct gs_err *err)
{
    gs_autofree char *s = NULL;
    *out = 0;
    if (text_of(r, at, &s, err))
        return -1;
    if (!s)
        return 0;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (*end || errno || v <= 0 || *s < '0' || *s > '9')
        return gs_fail(err, GS_E_USER_MAP, "%s line %u: %s '%s' is no id", r->name, r->line, column, s);
    *out = v;
    return 0;
}

static int read_line(struct csv_reader *r, const int place[N_COLUMNS], unsigned columns, struct users_csv_line *l,
                     struct gs_err *err)
{
    if (r->n != columns)
        return gs_fail(err, GS_E_USER_MAP, "%s line %u: %u columns, the header has %u", r->name, r->line, r->n,
                       columns);
    l->line = r->line;
    if (id_of(r, place[SOURCE_ID], "source_id", &l->source_id, err) ||
        id_of(r, place[TARGET_ID], "target_id", &l->target_id, err) ||
        text_of(r, place[SOURCE_USERNAME], &l->source_username, err) ||
        text_of(r, place[SOURCE_EMAIL], &l->source_email, err) ||
        text_of(r, place[TARGET_USERNAME], &l->target_username, err))
        return -1;
    if (!l->source_id && !l->source_username && !l->source_email)
        return fail(r, err, "no source user");
    return 0;
}

static bool same_user(const struct users_csv_line *a, const struct users_csv_line *b)
{
    return (a->source_id && a->source_id == b->source_id) ||
           (a->source_username && b->source_username && strcasecmp(a->source_username, b->source_username) == 0) ||
           (a->source_email && b->source_email && strcasecmp(a->source_email, b->source_email) == 0);
}

/* Which source column comes first in a line decides; ids before names before addresses. */
static int line_cmp(const void *x, const void *y)
{
    const struct users_csv_line *a = x, *b = y;
    int ka = a->source_id ? 0 : a->source_username ? 1 : 2, kb = b->source_id ? 0 : b->source_username ? 1 : 2;
    if (ka != kb)
        return ka - kb;
    int c = ka == 0   ? (a->source_id > b->source_id) - (a->source_id < b->source_id)
            : ka == 1 ? strcasecmp(a->source_username, b->source_username)
                      : strcasecmp(a->source_email, b->source_email);
    return c ? c : (a->line > b->line) - (a->line < b->line);
}

static int check_twice(struct users_csv *c, struct gs_err *err)
{
    qsort(c->lines, c->n, sizeof(*c->lines), line_cmp);
    for (size_t i = 1; i < c->n; i++) {
        const struct users_csv_line *a = &c->lines[i - 1], *b = &c->lines[i];
        if (same_user(a, b))
            return gs_fail(err, GS_E_USER_MAP, "%s line %u: this source user stands in line %u already", c->name,
                           b->line, a->line);
    }
    return 0;
}

static int parse(struct csv_reader *r, struct users_csv *c, struct gs_err *err)
{
    int place[N_COLUMNS];
    size_t cap = 0;
    if (read_header(r, place, err))
        return -1;
    unsigned columns = r->n;
    for (;;) {
        if (csv_reader_next(r, err))
            return -1;
        if (r->n == 0)
            return check_twice(c, err);
        if (c->n == cap) {
            cap = cap ? 2 * cap : 64;
            struct users_csv_line *more = realloc(c->lines, cap * sizeof(*more));
            if (!more)
                return gs_fail(err, GS_E_NOMEM, "out of memory");
            c->lines = more;
        }
        c->lines[c->n] = (struct users_csv_line){0};
        if (read_line(r, place, columns, &c->lines[c->n++], err))
            return -1;
    }
}

int users_csv_parse(const char *name, const char *text, size_t len, struct users_csv **out, struct gs_err *err)
{
    GS_AUTO(users_csv) c = calloc(1, sizeof(*c));
    if (!c || !(c->name = strdup(name)))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    struct csv_reader r;
    csv_reader_init(&r, c->name, text, len, GS_E_USER_MAP);
    int rc = parse(&r, c, err);
    csv_reader_release(&r);
    if (rc)
        return -1;
    *out = gs_steal(&c);
    return 0;
}

int users_csv_load(const char *path, struct users_csv **out, struct gs_err *err)
{
    gs_autobuf text;
    gs_buf_init(&text, MAX_FILE);
    if (gs_read_file(path, MAX_FILE, &text, err))
        return gs_wrap(err, "user map");
    return users_csv_parse(path, gs_buf_str(&text), text.len, out, err);
}

void users_csv_free(struct users_csv *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++) {
        free(c->lines[i].source_username);
        free(c->lines[i].source_email);
        free(c->lines[i].target_username);
    }
    free(c->lines);
    free(c->name);
    free(c);
}

int users_csv_find(const struct users_csv *c, int64_t id, const char *username, const char *email,
                   const struct users_csv_line **out, struct gs_err *err)
{
    *out = NULL;
    /* one key per line, in three sorted runs: look in each */
    struct users_csv_line keys[3] = {
        {.source_id = id},
        {.source_username = (char *)(uintptr_t)username},
        {.source_email = (char *)(uintptr_t)email},
    };
    for (size_t k = 0; k < GS_COUNT(keys); k++) {
        if (!(k == 0 ? id != 0 : k == 1 ? username && *username : email && *email))
            continue;
        size_t lo = 0, hi = c->n;
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            if (line_cmp(&c->lines[mid], &keys[k]) < 0)
                lo = mid + 1;
            else
                hi = mid;
        }
        const struct users_csv_line *l = lo < c->n ? &c->lines[lo] : NULL;
        bool hit = l && (k == 0   ? l->source_id == id
                         : k == 1 ? !l->source_id && l->source_username && strcasecmp(l->source_username, username) == 0
                                  : !l->source_id && !l->source_username && l->source_email &&
                                        strcasecmp(l->source_email, email) == 0);
        if (hit && *out)
            return gs_fail(err, GS_E_USER_MAP, "%s line %u: this source user stands in line %u already", c->name,
                           l->line, (*out)->line);
        if (hit)
            *out = l;
    }
    return 0;
}
