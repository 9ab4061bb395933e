#include "libexport/archive_users.h"

#include "formats/ledger.h"
#include "libcommon/json_scan.h"

#include <stdlib.h>
#include <string.h>

/* Columns that hold a user's id (direct-transfer facts, section 2). */
static const char *const references[] = {
    "author_id",   "assignee_id",       "updated_by_id",     "user_id",     "created_by_id",
    "closed_by_id", "last_edited_by_id", "latest_closed_by_id", "merged_by_id", "resolved_by_id",
};

enum { KEY_PLAIN = 0, KEY_SECRET, KEY_REFERENCE, KEY_BESIDE };
#define MAX_NEW 16 /* users that one record mentions for the first time */

struct archive_users {
    struct gs_key_cache keys;
    struct bundle_writer *w;
    struct idset seen;  /* known by id only, or better */
    struct idset named; /* told in full by a membership */
    struct gs_buf b;
};

int archive_users_new(struct bundle_writer *w, struct archive_users **out, struct gs_err *err)
{
    struct archive_users *u = calloc(1, sizeof *u);
    if (!u)
        return gs_fail(err, GS_E_NOMEM, "no memory for users");
    u->w = w;
    gs_buf_init(&u->b, 64 << 10);
    *out = u;
    return 0;
}

void archive_users_free(struct archive_users *u)
{
    if (!u)
        return;
    idset_release(&u->seen);
    idset_release(&u->named);
    gs_buf_release(&u->b);
    free(u);
}

const struct idset *archive_users_seen(const struct archive_users *u)
{
    return &u->seen;
}

static int tell(struct archive_users *u, int64_t id, yyjson_val *known, struct gs_err *err)
{
    struct gs_jw w;
    gs_buf_reset(&u->b);
    gs_jw_init(&w, &u->b, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "id", id);
    gs_jw_kstr(&w, "username", gs_json_str(known, "username"));
    gs_jw_kstr(&w, "name", gs_json_str(known, "name"));
    gs_jw_kstr(&w, "public_email", gs_json_str(known, "public_email"));
    gs_jw_kstr(&w, "state", NULL);
    gs_jw_kstr(&w, "kind", NULL);
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? -1 : bundle_writer_user(u->w, gs_buf_str(&u->b), u->b.len, err);
}

static int mention(struct archive_users *u, int64_t id, yyjson_val *known, struct gs_err *err)
{
    bool is_new, first;
    if (id <= 0)
        return 0;
    if (idset_add(&u->seen, id, &is_new, err))
        return -1;
    if (gs_json_str(known, "username")) {
        if (idset_add(&u->named, id, &first, err))
            return -1;
        return first ? tell(u, id, known, err) : 0;
    }
    return is_new || gs_json_str(known, "name") ? tell(u, id, known, err) : 0;
}

static int walk(struct archive_users *u, yyjson_val *v, struct gs_err *err)
{
    yyjson_val *e, *k;
    if (yyjson_is_arr(v)) {
        yyjson_arr_iter it = yyjson_arr_iter_with(v);
        while ((e = yyjson_arr_iter_next(&it)))
            if (walk(u, e, err))
                return -1;
        return 0;
    }
    if (!yyjson_is_obj(v))
        return 0;
    yyjson_obj_iter it = yyjson_obj_iter_with(v);
    while ((k = yyjson_obj_iter_next(&it))) {
        const char *key = yyjson_get_str(k);
        int64_t id;
        e = yyjson_obj_iter_get_val(k);
        if (yyjson_is_ctn(e)) {
            if (walk(u, e, err))
                return -1;
            continue;
        }
        for (size_t i = 0; i < GS_COUNT(references); i++) {
            if (strcmp(key, references[i]) != 0 || !gs_json_val_i64(e, &id))
                continue;
            /* "author": {"name": ...} stands beside author_id, "user": {...} beside user_id */
            char beside[32];
            snprintf(beside, sizeof beside, "%.*s", (int)(strlen(key) - 3), key);
            yyjson_val *known = yyjson_obj_get(v, beside);
            int64_t known_id;
            if (gs_json_i64(known, "id", &known_id) && known_id != id)
                known = NULL;
            if (mention(u, id, known, err))
                return -1;
        }
    }
    return 0;
}

int archive_users_walk(struct archive_users *u, const char *relation, yyjson_val *record, struct gs_err *err)
{
    int64_t id;
    if (strcmp(relation, "user_contributions") == 0)
        return gs_json_i64(record, "id", &id) ? mention(u, id, record, err) : 0;
    return walk(u, record, err);
}

/* ---- without a tree ---- */

static uint8_t classify(const char *key, size_t len)
{
    if (ledger_secret_key(key, len))
        return KEY_SECRET;
    for (size_t i = 0; i < GS_COUNT(references); i++) {
        size_t n = strlen(references[i]);
        if (len == n && memcmp(key, references[i], n) == 0)
            return KEY_REFERENCE;
        if (len == n - 3 && memcmp(key, references[i], n - 3) == 0)
            return KEY_BESIDE;
    }
    return KEY_PLAIN;
}

struct quick {
    struct archive_users *u;
    int64_t ids[MAX_NEW];
    unsigned n;
};

/* A whole number that is the value of a key; what it is not, is no id. */
static bool whole_number(const char *s, size_t left, int64_t *out)
{
    int64_t v = 0;
    size_t i = 0;
    for (; i < left && i < 18 && s[i] >= '0' && s[i] <= '9'; i++)
        v = v * 10 + (s[i] - '0');
    *out = v;
    return i > 0 && i < left && strchr(",}] \t\r", s[i]) && s[i];
}

static bool quick_key(void *cookie, const char *key, size_t len, const char *value, size_t left)
{
    struct quick *q = cookie;
    int64_t id;
    switch (gs_key_class(&q->u->keys, key, len, classify)) {
    case KEY_PLAIN:
        return false;
    case KEY_REFERENCE:
        if (!whole_number(value, left, &id) || idset_has(&q->u->seen, id))
            return false;
        if (q->n < MAX_NEW)
            q->ids[q->n] = id;
        return ++q->n > MAX_NEW;
    case KEY_BESIDE: /* more is known of a user than the id */
        return *value == '{';
    default:
        return true;
    }
}

int archive_users_quick(struct archive_users *u, const char *relation, const char *json, size_t len,
                        const struct record_limits *lim, bool *out_done, struct gs_err *err)
{
    struct quick q = {.u = u};
    *out_done = false;
    if (len == 0 || len > lim->max_bytes || strcmp(relation, "user_contributions") == 0 ||
        gs_json_scan(json, len, lim->max_depth, quick_key, &q) != len)
        return 0;
    for (unsigned i = 0; i < q.n; i++)
        if (mention(u, q.ids[i], NULL, err))
            return -1;
    *out_done = true;
    return 0;
}
