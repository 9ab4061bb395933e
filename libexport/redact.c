#include "redact.h"

#include "formats/ledger.h"
#include "libcommon/clock.h"
#include "libcommon/json.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So many records of one relation of one group were withheld. */
struct account {
    int64_t group;
    char relation[64];
    uint64_t records;
};

/* A line of the ledger to come, of the relation that is being written. */
struct tally {
    const char *rule;
    char what[64];
    uint64_t count;
};

struct epic {
    int64_t group, iid;
};

struct redact {
    struct bundle *b;
    const struct redact_opts *o;
    struct bundle_writer *w;
    struct redact_result *res;
    struct account *accounts; /* by group and relation */
    size_t n_accounts, cap_accounts;
    struct epic *epics; /* confidential ones */
    size_t n_epics, cap_epics;
    struct tally *tallies;
    size_t n_tallies, cap_tallies;
    bool changed, oom; /* of the record at hand */
    const char *key;
};

/* ---- counting ---- */

static int count(struct redact *r, const char *rule, const char *what, struct gs_err *err)
{
    for (size_t i = 0; i < r->n_tallies; i++)
        if (r->tallies[i].rule == rule && strcmp(r->tallies[i].what, what) == 0) {
            r->tallies[i].count++;
            return 0;
        }
    if (gs_array_grow((void **)&r->tallies, &r->cap_tallies, r->n_tallies, sizeof *r->tallies, err))
        return -1;
    struct tally *t = &r->tallies[r->n_tallies++];
    *t = (struct tally){.rule = rule, .count = 1};
    snprintf(t->what, sizeof t->what, "%s", what);
    return 0;
}

static const char RECORD[] = "redacted-record", VALUE[] = "redacted-value", FILE_RULE[] = "redacted-file";

/* The lines of one relation of one group, once it is through. */
static int flush(struct redact *r, int64_t group, const char *relation, struct gs_err *err)
{
    uint64_t records = 0;
    for (size_t i = 0; i < r->n_tallies; i++) {
        const struct tally *t = &r->tallies[i];
        gs_autobuf line;
        gs_buf_init(&line, 1 << 16);
        records += t->rule == RECORD ? t->count : 0;
        *(t->rule == RECORD ? &r->res->records : t->rule == VALUE ? &r->res->values : &r->res->files) += t->count;
        if (ledger_rule_line("left_out", group, relation, t->rule, t->what, t->count, NULL, &line, err) ||
            bundle_writer_ledger(r->w, line.data, line.len, err))
            return -1;
    }
    r->n_tallies = 0;
    if (records == 0)
        return 0;
    if (gs_array_grow((void **)&r->accounts, &r->cap_accounts, r->n_accounts, sizeof *r->accounts, err))
        return -1;
    struct account *a = &r->accounts[r->n_accounts++];
    *a = (struct account){.group = group, .records = records};
    snprintf(a->relation, sizeof a->relation, "%s", relation);
    return 0;
}

static int by_place(const void *x, const void *y)
{
    const struct account *a = x, *b = y;
    return a->group != b->group ? (a->group < b->group ? -1 : 1) : strcmp(a->relation, b->relation);
}

static int by_epic(const void *x, const void *y)
{
    const struct epic *a = x, *b = y;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    return (a->iid > b->iid) - (a->iid < b->iid);
}

/* ---- one record ---- */

static void seen(void *cookie, const char *name)
{
    struct redact *r = cookie;
    struct gs_err err = {0};
    r->oom |= count(r, VALUE, name, &err) != 0;
}

static int put_string(struct redact *r, yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    const char *s = yyjson_get_str(v);
    size_t len = yyjson_get_len(v);
    bool changed = false;
    gs_autobuf text;
    gs_buf_init(&text, (size_t)256 << 20);
    if (policy_text(r->o->policy, s, len, seen, r, &changed, &text, err))
        return -1;
    if (r->oom)
        return gs_fail(err, GS_E_NOMEM, "no memory for what is withheld");
    r->changed |= changed;
    return changed ? gs_json_quote(gs_buf_str(&text), text.len, out, err) : gs_json_quote(s, len, out, err);
}

/* Is this element of a list for the eyes of some only, or does it name an epic that is? */
static bool element_withheld(const struct redact *r, const char *key, yyjson_val *e)
{
    struct epic x;
    if (!policy_withholds_confidential(r->o->policy) || !yyjson_is_obj(e))
        return false;
    if (gs_json_true(e, "internal") || gs_json_true(e, "confidential"))
        return true;
    return key && strcmp(key, "epics") == 0 && gs_json_i64(e, "group_id", &x.group) && gs_json_i64(e, "iid", &x.iid) &&
           r->n_epics && bsearch(&x, r->epics, r->n_epics, sizeof x, by_epic);
}

static int put_value(struct redact *r, yyjson_val *v, const char *key, struct gs_buf *out, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *k, *e;
    bool first = true;
    if (yyjson_is_str(v)) {
        if (!key || !policy_withholds_key(r->o->policy, key))
            return put_string(r, v, out, err);
        if (yyjson_get_len(v) == 0)
            return gs_json_quote("", 0, out, err);
        r->changed = true;
        return count(r, VALUE, key, err) || gs_buf_addstr(out, "null", err) ? -1 : 0;
    }
    if (yyjson_is_arr(v)) {
        if (gs_buf_addc(out, '[', err))
            return -1;
        yyjson_arr_foreach(v, i, max, e)
        {
            if (element_withheld(r, key, e)) {
                r->changed = true;
                if (count(r, VALUE, key ? key : "", err))
                    return -1;
                continue;
            }
            if ((!first && gs_buf_addc(out, ',', err)) || put_value(r, e, key, out, err))
                return -1;
            first = false;
        }
        return gs_buf_addc(out, ']', err);
    }
    if (!yyjson_is_obj(v))
        return gs_json_write(v, out, err);
    if (gs_buf_addc(out, '{', err))
        return -1;
    yyjson_obj_foreach(v, i, max, k, e)
    {
        if ((!first && gs_buf_addc(out, ',', err)) || gs_json_quote(yyjson_get_str(k), yyjson_get_len(k), out, err) ||
            gs_buf_addc(out, ':', err) || put_value(r, e, yyjson_get_str(k), out, err))
            return -1;
        first = false;
    }
    return gs_buf_addc(out, '}', err);
}

/* `json` is the record's text; what is to be written is `out` when *out_changed, else `json` as it is. */
static int redact_text(struct redact *r, const char *json, size_t len, bool *out_changed, bool *out_whole,
                       struct gs_buf *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.raw_numbers = true, .max_bytes = (size_t)256 << 20};
    gs_buf_reset(out);
    r->changed = *out_whole = false;
    if (gs_json_parse(json, len, &o, &doc, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (policy_withholds_confidential(r->o->policy) && gs_json_true(root, "confidential")) {
        *out_whole = true;
        return 0;
    }
    if (put_value(r, root, NULL, out, err))
        return -1;
    *out_changed = r->changed;
    return 0;
}

/* ---- relations ---- */

/* Calls `each` with the text of every record. */
static int walk(struct redact *r, int64_t group, const char *relation,
                int (*each)(struct redact *r, const char *json, size_t len, void *cookie, struct gs_err *err),
                void *cookie, struct gs_err *err)
{
    GS_AUTO(bundle_cursor) c = NULL;
    enum record_encoding enc = group ? bundle_encoding(r->b) : RECORD_NDJSON;
    gs_autobuf json;
    gs_buf_init(&json, (size_t)256 << 20);
    if (bundle_cursor_open(r->b, group, relation, &c, err))
        return -1;
    for (;;) {
        const void *data;
        size_t len;
        if (bundle_cursor_next(c, &data, &len, NULL, err))
            return -1;
        if (!data)
            return 0;
        if (r->o->stop && *r->o->stop)
            return gs_fail(err, GS_E_STOPPED, "stopped before the bundle was redacted; nothing of it is left");
        gs_buf_reset(&json);
        if (record_to_json(enc, data, len, NULL, &json, err))
            return -1;
        if (each(r, gs_buf_str(&json), json.len, cookie, err))
            return gs_wrap(err, "%s of group %" PRId64, relation, group);
    }
}

static int note_epic(struct redact *r, const char *json, size_t len, void *cookie, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    const int64_t *group = cookie;
    int64_t iid;
    if (gs_json_parse(json, len, NULL, &doc, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!gs_json_true(root, "confidential") || !gs_json_i64(root, "iid", &iid))
        return 0;
    if (gs_array_grow((void **)&r->epics, &r->cap_epics, r->n_epics, sizeof *r->epics, err))
        return -1;
    r->epics[r->n_epics++] = (struct epic){*group, iid};
    return 0;
}

struct target {
    struct bundle_part *part;
    struct gs_buf text;
    bool all; /* the relation is withheld */
};

static int put_record(struct redact *r, const char *json, size_t len, void *cookie, struct gs_err *err)
{
    struct target *t = cookie;
    bool changed = false, whole = false;
    if (t->all)
        return count(r, RECORD, "relation", err);
    if (redact_text(r, json, len, &changed, &whole, &t->text, err))
        return -1;
    if (whole)
        return count(r, RECORD, "confidential", err);
    if (r->o->progress && ++r->res->kept_records % 4096 == 0)
        r->o->progress(r->o->cookie, r->res->kept_records);
    return changed ? bundle_part_add(t->part, t->text.data, t->text.len, err)
                   : bundle_part_add(t->part, json, len, err);
}

static int put_relation(struct redact *r, int64_t group, const char *relation, struct gs_err *err)
{
    struct target t = {.all = policy_withholds_relation(r->o->policy, relation)};
    gs_buf_init(&t.text, (size_t)256 << 20);
    if (bundle_part_open(r->w, group, relation, &t.part, err))
        return -1;
    int e = walk(r, group, relation, put_record, &t, err);
    gs_buf_release(&t.text);
    if (e) {
        bundle_part_abandon(t.part);
        return -1;
    }
    return bundle_part_close(t.part, err) || flush(r, group, relation, err) ? -1 : 0;
}

/* ---- plain files ---- */

static int read_file(void *cookie, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    return bundle_file_read(cookie, buf, len, out_n, err);
}

/* groups/<id>/<kind>/<name> */
static int put_file(struct redact *r, const struct bundle_member *m, struct gs_err *err)
{
    char kind[64];
    const char *name = strrchr(m->path, '/') + 1, *from = strchr(strchr(m->path, '/') + 1, '/') + 1;
    if (policy_withholds_relation(r->o->policy, m->relation))
        return count(r, FILE_RULE, "relation", err);
    if (policy_withholds_file(r->o->policy, name, m->stored))
        return count(r, FILE_RULE, "attachment", err);
    snprintf(kind, sizeof kind, "%.*s", (int)(name - 1 - from), from);
    struct bundle_file *f;
    if (bundle_file_open(r->b, m, &f, err))
        return -1;
    struct bundle_stream in = {read_file, f};
    r->res->kept_files++;
    int rc = bundle_writer_stream(r->w, m->group_id, kind, name, &in, err);
    bundle_file_close(f);
    return rc;
}

/* ---- books ---- */

static int put_user(struct redact *r, const char *json, size_t len, void *cookie, struct gs_err *err)
{
    struct target *t = cookie;
    bool changed = false, whole;
    if (redact_text(r, json, len, &changed, &whole, &t->text, err))
        return -1;
    return changed ? bundle_writer_user(r->w, t->text.data, t->text.len, err)
                   : bundle_writer_user(r->w, json, len, err);
}

/* Lines of the capture stay; the balance of a relation from which records are gone is that of what is left. */
static int put_line(struct redact *r, const char *json, size_t len, void *cookie, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct account key = {0};
    int64_t announced = -1, stored, left_out;
    gs_autobuf line;
    (void)cookie;
    gs_buf_init(&line, 1 << 16);
    if (gs_json_parse(json, len, NULL, &doc, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *entry = gs_json_str(root, "entry"), *relation = gs_json_str(root, "relation");
    const struct account *a = NULL;
    if (entry && relation && strcmp(entry, "relation") == 0 && gs_json_i64(root, "group", &key.group) &&
        r->n_accounts) {
        snprintf(key.relation, sizeof key.relation, "%s", relation);
        a = bsearch(&key, r->accounts, r->n_accounts, sizeof key, by_place);
    }
    if (!a)
        return bundle_writer_ledger(r->w, json, len, err);
    GS_IGNORE(gs_json_i64(root, "announced", &announced), "null: the server did not say");
    if (gs_json_need_i64(root, "stored", &stored, err) || gs_json_need_i64(root, "left_out", &left_out, err))
        return -1;
    if ((uint64_t)stored < a->records)
        return gs_fail(err, GS_E_LEDGER,
                       "'%s' in group %" PRId64 ": the ledger says %" PRId64 " stored, and there were %" PRIu64,
                       relation, key.group, stored, a->records);
    return ledger_relation_line(key.group, relation, announced, (uint64_t)stored - a->records,
                                (uint64_t)left_out + a->records, &line, err) ||
                   bundle_writer_ledger(r->w, line.data, line.len, err)
               ? -1
               : 0;
}

/* ---- all of it ---- */

static int note_epics(struct redact *r, struct gs_err *err)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(r->b, &g);
    if (!policy_withholds_confidential(r->o->policy))
        return 0;
    for (size_t i = 0; i < n; i++) {
        int64_t id = g[i].id;
        if (bundle_count(r->b, id, "epics") && walk(r, id, "epics", note_epic, &id, err))
            return -1;
    }
    if (r->n_epics)
        qsort(r->epics, r->n_epics, sizeof *r->epics, by_epic);
    return 0;
}

static int put_members(struct redact *r, struct gs_err *err)
{
    const struct bundle_member *m;
    size_t n = bundle_members(r->b, &m);
    for (size_t i = 0; i < n; i++) {
        if (m[i].group_id == 0)
            continue;
        bool last = i + 1 == n || m[i + 1].group_id != m[i].group_id || strcmp(m[i + 1].relation, m[i].relation) != 0;
        if (m[i].is_file) {
            if (put_file(r, &m[i], err) || (last && flush(r, m[i].group_id, m[i].relation, err)))
                return -1;
        } else if (m[i].part == 0 && put_relation(r, m[i].group_id, m[i].relation, err)) { /* all parts of it */
            return -1;
        }
    }
    return 0;
}

static int put_books(struct redact *r, struct gs_err *err)
{
    struct target t = {0};
    gs_buf_init(&t.text, (size_t)256 << 20);
    int e = walk(r, 0, "users", put_user, &t, err) || flush(r, 0, "users", err);
    gs_buf_release(&t.text);
    if (e)
        return -1;
    if (r->n_accounts)
        qsort(r->accounts, r->n_accounts, sizeof *r->accounts, by_place);
    return walk(r, 0, "ledger", put_line, NULL, err);
}

int redact_run(struct bundle *b, const struct redact_opts *o, struct bundle_writer *w, struct redact_result *out,
               struct gs_err *err)
{
    struct redact r = {.b = b, .o = o, .w = w, .res = out};
    const struct bundle_group *g;
    size_t n = bundle_groups(b, &g);
    int e = 0;
    *out = (struct redact_result){0};
    for (size_t i = 0; i < n && e == 0; i++)
        e = bundle_writer_group(w, g[i].id, g[i].parent_id, g[i].full_path, err);
    e = e || note_epics(&r, err) || put_members(&r, err) || put_books(&r, err);
    free(r.accounts);
    free(r.epics);
    free(r.tallies);
    return e ? -1 : 0;
}

/* ---- the manifest ---- */

static int64_t time_of(yyjson_val *o, const char *key)
{
    const char *s = gs_json_str(o, key);
    struct gs_err err = {0};
    int64_t ms = 0;
    return s && gs_time_parse(s, &ms, &err) == 0 ? ms : 0;
}

static void hex(const uint8_t *data, size_t len, char *out)
{
    sodium_bin2hex(out, 2 * len + 1, data, len);
}

static int put_redaction(const struct bundle *b, const struct policy *p, const struct redact_result *r,
                         struct redact_meta *out, struct gs_err *err)
{
    static const char what[] = "groupsnap redaction";
    char digest[65], policy[65];
    uint8_t id[16];
    crypto_generichash_state h;
    struct gs_jw w;
    hex(bundle_digest(b), BUNDLE_DIGEST_LEN, digest);
    hex(policy_digest(p), POLICY_DIGEST_LEN, policy);
    crypto_generichash_init(&h, NULL, 0, sizeof id);
    crypto_generichash_update(&h, (const uint8_t *)what, sizeof what);
    crypto_generichash_update(&h, bundle_digest(b), BUNDLE_DIGEST_LEN);
    crypto_generichash_update(&h, policy_digest(p), POLICY_DIGEST_LEN);
    crypto_generichash_final(&h, id, sizeof id);
    hex(id, sizeof id, out->set_id);
    gs_jw_init(&w, &out->redaction, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "files", (int64_t)r->files);
    gs_jw_kstr(&w, "of", digest);
    gs_jw_kstr(&w, "of_set_id", bundle_set_id(b));
    gs_jw_kstr(&w, "policy", policy);
    gs_jw_ki64(&w, "records", (int64_t)r->records);
    gs_jw_ki64(&w, "values", (int64_t)r->values);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int redact_meta(const struct bundle *b, const struct policy *p, const struct redact_result *r, struct redact_meta *out,
                struct gs_err *err)
{
    yyjson_val *m = bundle_manifest(b), *src = yyjson_obj_get(m, "source"), *cap = yyjson_obj_get(m, "capture"),
               *root = yyjson_obj_get(m, "root");
    yyjson_val *ee = yyjson_obj_get(src, "enterprise"), *marks = yyjson_obj_get(cap, "watermarks");
    int64_t serial = 0, offset = 0;
    memset(out, 0, sizeof *out);
    gs_buf_init(&out->redaction, 4096);
    gs_buf_init(&out->watermarks, (size_t)16 << 20);
    if (put_redaction(b, p, r, out, err) || (yyjson_is_obj(marks) && gs_json_canonical(marks, &out->watermarks, err)))
        return -1;
    GS_IGNORE(gs_json_i64(m, "serial", &serial), "checked when the bundle was opened");
    struct bundle_meta *o = &out->meta;
    o->set_id = out->set_id;
    o->serial = (uint64_t)serial;
    o->created_at_ms = time_of(m, "created_at");
    o->source_url = gs_json_str(src, "url");
    o->source_host = gs_json_str(src, "host");
    o->tls_sha256 = gs_json_str(src, "tls_sha256");
    o->gitlab_version = gs_json_str(src, "version");
    o->gitlab_revision = gs_json_str(src, "revision");
    o->enterprise = yyjson_is_bool(ee) ? yyjson_is_true(ee) : -1;
    o->token_user = gs_json_str(src, "user");
    o->token_role = gs_json_str(src, "role");
    o->clock_known = gs_json_i64(src, "clock_offset_s", &offset);
    o->clock_offset_ms = offset * 1000;
    o->via = gs_json_str(cap, "via");
    o->started_at_ms = time_of(cap, "started_at");
    o->finished_at_ms = time_of(cap, "finished_at");
    o->root_path = gs_json_str(root, "path");
    GS_IGNORE(gs_json_i64(root, "id", &o->root_id), "checked when the bundle was opened");
    o->watermarks_json = out->watermarks.len ? gs_buf_str(&out->watermarks) : NULL;
    o->redaction_json = gs_buf_str(&out->redaction);
    return 0;
}

void redact_meta_release(struct redact_meta *m)
{
    gs_buf_release(&m->redaction);
    gs_buf_release(&m->watermarks);
}
