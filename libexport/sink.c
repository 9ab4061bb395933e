#include "libexport/sink.h"

#include <stdlib.h>
#include <string.h>

#define MAX_WITHHELD 32 /* different secret keys of one relation; more are counted together */

struct sink {
    struct book *book;
    struct bundle_part *part;
    struct record_limits limits; /* of `part` */
    struct shelf *shelf; /* instead of book and part */
    int64_t group_id;
    char relation[64];
    uint64_t stored, raw;
    enum mark_kind kind; /* MARK_KINDS: no mark is taken */
    struct mark mark;
    struct gs_buf clean;
    struct {
        char path[96];
        uint64_t n;
    } withheld[MAX_WITHHELD];
    unsigned n_withheld;
};

int sink_open(struct book *b, int64_t group_id, const char *relation, struct sink **out, struct gs_err *err)
{
    struct sink *s = calloc(1, sizeof *s);
    if (!s)
        return gs_fail(err, GS_E_NOMEM, "no memory for relation '%s'", relation);
    s->book = b;
    s->group_id = group_id;
    snprintf(s->relation, sizeof s->relation, "%s", relation);
    s->kind = book_marks(b) ? mark_kind_of(relation) : MARK_KINDS;
    gs_buf_init(&s->clean, (size_t)64 << 20);
    *out = s;
    return 0;
}

int sink_open_shelf(struct shelf *shelf, struct sink **out, struct gs_err *err)
{
    struct sink *s = calloc(1, sizeof *s);
    if (!s)
        return gs_fail(err, GS_E_NOMEM, "no memory for a shelf");
    s->shelf = shelf;
    shelf_reset(shelf);
    *out = s;
    return 0;
}

void sink_abandon(struct sink *s)
{
    if (!s)
        return;
    if (s->shelf && !s->shelf->ready)
        shelf_reset(s->shelf);
    bundle_part_abandon(s->part);
    gs_buf_release(&s->clean);
    free(s);
}

bool sink_is_shelf(const struct sink *s)
{
    return s->shelf != NULL;
}

void sink_lacking(struct sink *s, uint64_t n)
{
    s->mark.lacking = n;
}

uint64_t sink_stored(const struct sink *s)
{
    return s->stored;
}

static void seen_secret(void *cookie, const char *path)
{
    struct sink *s = cookie;
    unsigned i = 0;
    while (i < s->n_withheld && strncmp(s->withheld[i].path, path, sizeof s->withheld[i].path - 1) != 0)
        i++;
    if (i == s->n_withheld) {
        if (i == MAX_WITHHELD)
            i--;
        else
            s->n_withheld++;
        snprintf(s->withheld[i].path, sizeof s->withheld[i].path, "%s", path);
    }
    s->withheld[i].n++;
}

static int open_part(struct sink *s, struct gs_err *err)
{
    if (s->part)
        return 0;
    if (bundle_part_open(book_writer(s->book), s->group_id, s->relation, &s->part, err))
        return -1;
    bundle_part_limits(s->part, &s->limits);
    return 0;
}

/* What the look back at the source will be compared with. */
static int mark(struct sink *s, const char *json, size_t len, struct gs_err *err)
{
    return s->kind == MARK_KINDS ? 0 : mark_record(&s->mark, s->kind, json, len, err);
}

int sink_add_sound(struct sink *s, const char *json, size_t len, struct gs_err *err)
{
    if (open_part(s, err) || bundle_part_add_sound(s->part, json, len, err) || mark(s, json, len, err) ||
        book_record(s->book, s->group_id, s->relation, json, len, err))
        return -1;
    s->stored++;
    s->raw += len + 1;
    return 0;
}

int sink_add(struct sink *s, const char *json, size_t len, struct gs_err *err)
{
    bool changed = false;
    if (s->shelf) {
        s->stored++;
        return shelf_add(s->shelf, json, len, err);
    }
    if (s->part && ledger_quick(json, len, s->limits.max_bytes, s->limits.max_depth))
        return sink_add_sound(s, json, len, err);
    gs_buf_reset(&s->clean);
    if (ledger_withhold(json, len, seen_secret, s, &changed, &s->clean, err))
        return -1;
    if (changed) {
        json = gs_buf_str(&s->clean);
        len = s->clean.len;
    }
    if (open_part(s, err) || bundle_part_add(s->part, json, len, err) || mark(s, json, len, err) ||
        book_record(s->book, s->group_id, s->relation, json, len, err))
        return -1;
    s->stored++;
    s->raw += len + 1;
    return 0;
}

int sink_seal(struct sink *s, struct gs_err *err)
{
    struct bundle_part *part = gs_steal(&s->part);
    return part ? bundle_part_close(part, err) : 0;
}

int sink_close(struct sink *s, int64_t announced, uint64_t left_out, struct gs_err *err)
{
    if (s->shelf) {
        shelf_finish(s->shelf, announced, left_out);
        sink_abandon(s);
        return 0;
    }
    int r = sink_seal(s, err);
    if (r == 0 && s->kind != MARK_KINDS)
        r = marks_put(book_marks(s->book), s->group_id, s->kind, &s->mark, err);
    if (r == 0)
        r = book_relation(s->book, s->group_id, s->relation, announced, s->stored, left_out, s->raw, err);
    for (unsigned i = 0; i < s->n_withheld && r == 0; i++)
        r = book_left_out(s->book, s->group_id, s->relation, "secret-field", s->withheld[i].path, s->withheld[i].n, NULL,
                          err);
    sink_abandon(s);
    return r;
}
