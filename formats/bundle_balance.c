/*
 * The books of a bundle, added up again: every equation that ledger.md states.
 *
 * The lines of one relation of one group lie together in the ledger, so that one pass with the sums of one relation in
 * memory does. Equations of the whole are checked at the end.
 */
#include "bundle_priv.h"

#include "ledger.h"
#include "libcommon/json.h"

#include <inttypes.h>
#include <string.h>

#define MAX_ENDPOINTS 32 /* of one relation; more are not told apart, and one sum for all is what remains */

/* What the lines of one relation of one group say. */
struct account {
    int64_t group;
    char relation[64];
    bool changed; /* the source changed: no equation between what was announced and what came holds */
    bool balanced; /* there is a "relation" line */
    int64_t announced;
    uint64_t stored, left_out;
    uint64_t by_rules;  /* records of the "left_out" lines */
    uint64_t truncated; /* of these: announced, and never given */
    uint64_t redacted;  /* of these: came, and were withheld later */
    uint64_t looked_at; /* records of the "watermark" line */
    uint64_t came[MAX_ENDPOINTS], came_in_all;
    size_t endpoints;
    uint64_t told;      /* files that were announced and did not come whole, by the "left_out" lines of uploads */
    uint64_t files_announced; /* by all "fetch" lines */
};

struct audit {
    const struct bundle *b;
    struct account a;
    bool begun; /* `a` is one */
    uint64_t lines, balances, stored; /* "relation" lines, and their sum */
    uint64_t pages, retries;
    uint64_t group_withheld, withheld; /* of these files, later */
    uint64_t group_files, files; /* that came by the "fetch" lines of this group's files, and of all */
    bool group_has_files, has_files; /* there are such lines */
    bool has_capture;
    uint64_t requests, repeated, kept;
};

static int unequal(struct gs_err *err, const struct account *a, const char *what)
{
    gs_fail(err, GS_E_LEDGER, "%s", what);
    return gs_wrap(err, "'%s' in group %" PRId64, a->relation, a->group);
}

/* The number under `key`; absent or null: false. GS_E_RECORD when it is anything but a number from 0 on. */
static int number(yyjson_val *line, const char *key, bool *out_there, uint64_t *out, struct gs_err *err)
{
    yyjson_val *v = yyjson_obj_get(line, key);
    int64_t n = 0;
    *out_there = v && !yyjson_is_null(v);
    *out = 0;
    if (!*out_there)
        return 0;
    if (!gs_json_val_i64(v, &n) || n < 0)
        return gs_fail(err, GS_E_RECORD, "a ledger line has no number under '%s'", key);
    *out = (uint64_t)n;
    return 0;
}

/* The same for a number that must be there. */
static int need(yyjson_val *line, const char *key, uint64_t *out, struct gs_err *err)
{
    bool there;
    if (number(line, key, &there, out, err))
        return -1;
    return there ? 0 : gs_fail(err, GS_E_RECORD, "a ledger line has no number under '%s'", key);
}

/* ---- the equations of one relation ---- */

/* Groups that the bundle holds below `group`: what the relation "subgroups" counts. */
static uint64_t groups_below(const struct bundle *b, int64_t group)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(b, &g);
    return n > 0 && g[0].id == group ? n - 1 : 0;
}

static int check_stored(const struct audit *t, const struct account *a, struct gs_err *err)
{
    bool tree = strcmp(a->relation, "subgroups") == 0;
    uint64_t have = tree ? groups_below(t->b, a->group) : bundle_count(t->b, a->group, a->relation);
    char text[160];
    if (a->stored == have)
        return 0;
    snprintf(text, sizeof text, "the ledger says %" PRIu64 " stored, the index %" PRIu64, a->stored, have);
    return unequal(err, a, text);
}

/* What came from some endpoint, or from all of them together, is what the balance accounts for. */
static bool received(const struct account *a)
{
    uint64_t want = a->stored + a->left_out;
    if (want < a->truncated)
        return false;
    want -= a->truncated;
    bool found = a->endpoints == 0 || a->came_in_all == want;
    for (size_t i = 0; i < a->endpoints && !found; i++)
        found = a->came[i] == want;
    return found;
}

/* Relations whose content is plain files, so that no "relation" line counts records of them. */
static bool is_files(const char *relation)
{
    return strcmp(relation, "uploads") == 0 || strcmp(relation, "avatar") == 0;
}

static int check_account(const struct audit *t, const struct account *a, struct gs_err *err)
{
    char text[200];
    if (is_files(a->relation) && !a->changed && a->files_announced > a->came_in_all + a->told) {
        snprintf(text, sizeof text, "%" PRIu64 " files announced, %" PRIu64 " came, the rules account for %" PRIu64,
                 a->files_announced, a->came_in_all, a->told);
        return unequal(err, a, text);
    }
    if (!a->balanced)
        return 0;
    if (check_stored(t, a, err))
        return -1;
    if (a->changed)
        return 0;
    if (a->announced >= 0 && (uint64_t)a->announced != a->stored + a->left_out) {
        snprintf(text, sizeof text,
                 "%" PRId64 " announced, %" PRIu64 " stored, %" PRIu64 " left out, and no change of the source",
                 a->announced, a->stored, a->left_out);
        return unequal(err, a, text);
    }
    if (a->left_out != a->by_rules) {
        snprintf(text, sizeof text, "%" PRIu64 " left out, the rules account for %" PRIu64, a->left_out, a->by_rules);
        return unequal(err, a, text);
    }
    if (a->looked_at > a->stored + a->redacted) {
        snprintf(text, sizeof text, "%" PRIu64 " stored, %" PRIu64 " seen at the end, and no change of the source", a->stored,
                 a->looked_at);
        return unequal(err, a, text);
    }
    if (!received(a)) {
        snprintf(text, sizeof text,
                 "%" PRIu64 " stored and %" PRIu64 " left out, but %" PRIu64 " came from %zu endpoints", a->stored,
                 a->left_out, a->came_in_all, a->endpoints);
        return unequal(err, a, text);
    }
    return 0;
}

/* ---- lines ---- */

static int take_fetch(struct audit *t, yyjson_val *line, struct gs_err *err)
{
    struct account *a = &t->a;
    uint64_t pages, records, retries, announced;
    bool there;
    if (need(line, "pages", &pages, err) || need(line, "records", &records, err) ||
        number(line, "retries", &there, &retries, err) || number(line, "announced", &there, &announced, err))
        return -1;
    t->pages += pages;
    t->retries += retries;
    if (a->endpoints < MAX_ENDPOINTS)
        a->came[a->endpoints++] = records;
    a->came_in_all += records;
    const char *via = gs_json_str(line, "via");
    if (is_files(a->relation) && !(via && strcmp(via, "archive") == 0)) {
        a->files_announced += there ? announced : 0;
        t->group_files += records;
        t->files += records;
        t->group_has_files = t->has_files = true;
    }
    return 0;
}

static int take_rule(struct audit *t, yyjson_val *line, struct gs_err *err)
{
    const char *name = gs_json_str(line, "rule");
    const struct ledger_rule *rule = name ? ledger_rule_find(name) : NULL;
    uint64_t count;
    if (!name)
        return gs_fail(err, GS_E_RECORD, "a ledger line of what was left out has no 'rule'");
    if (need(line, "count", &count, err))
        return -1;
    if (is_files(t->a.relation))
        t->a.told += count;
    if (strcmp(name, "redacted-file") == 0) {
        t->group_withheld += count;
        t->withheld += count;
    }
    if (!rule || !rule->record) /* unknown: of a newer version, and none of the balance that this one knows */
        return 0;
    t->a.by_rules += count;
    if (strcmp(name, "truncated-by-server") == 0)
        t->a.truncated += count;
    if (strcmp(name, "redacted-record") == 0)
        t->a.redacted += count;
    return 0;
}

static int take_balance(struct audit *t, yyjson_val *line, struct gs_err *err)
{
    struct account *a = &t->a;
    uint64_t announced;
    bool there;
    if (a->balanced)
        return unequal(err, a, "the ledger balances the relation twice");
    if (need(line, "stored", &a->stored, err) || need(line, "left_out", &a->left_out, err) ||
        number(line, "announced", &there, &announced, err))
        return -1;
    a->balanced = true;
    a->announced = there ? (int64_t)announced : -1;
    t->balances++;
    if (strcmp(a->relation, "subgroups") != 0)
        t->stored += a->stored;
    return 0;
}

static int take_capture(struct audit *t, yyjson_val *line, struct gs_err *err)
{
    if (t->has_capture)
        return gs_fail(err, GS_E_LEDGER, "the ledger sums up the capture twice");
    t->has_capture = true;
    return need(line, "requests", &t->requests, err) || need(line, "repeated", &t->repeated, err) ||
                   need(line, "kept", &t->kept, err)
               ? -1
               : 0;
}

/* The export's archive of uploads holds the avatar too: both are counted together. */
static int check_files(struct audit *t, struct gs_err *err)
{
    uint64_t have = t->group_has_files ? bundle_count_files(t->b, t->a.group) + t->group_withheld : 0, came = t->group_files;
    bool some = t->group_has_files;
    t->group_files = t->group_withheld = 0;
    t->group_has_files = false;
    if (!some || have == came)
        return 0;
    return gs_fail(err, GS_E_LEDGER, "'uploads' and 'avatar' in group %" PRId64 ": the ledger says %" PRIu64 " files came, the bundle holds %" PRIu64,
                   t->a.group, came, have);
}

/* The line is of another relation than the one before: that one is complete. */
static int turn(struct audit *t, int64_t group, const char *relation, struct gs_err *err)
{
    struct account *a = &t->a;
    if (t->begun && a->group == group && strcmp(a->relation, relation) == 0)
        return 0;
    if (t->begun && (check_account(t, a, err) || (group != a->group && check_files(t, err))))
        return -1;
    if (t->begun && (group < a->group || (group == a->group && strcmp(relation, a->relation) < 0)))
        return gs_fail(err, GS_E_LEDGER, "the lines of the ledger are not in order: '%s' in group %" PRId64, relation,
                       group);
    *a = (struct account){.group = group};
    snprintf(a->relation, sizeof a->relation, "%s", relation);
    t->begun = true;
    return 0;
}

static int take_line(struct audit *t, const void *data, size_t len, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    int64_t group = 0;
    if (record_parse(RECORD_NDJSON, data, len, &t->b->lim.record, &doc, err))
        return -1;
    yyjson_val *line = yyjson_doc_get_root(doc);
    const char *entry = gs_json_str(line, "entry"), *relation = gs_json_str(line, "relation");
    if (!entry)
        return gs_fail(err, GS_E_RECORD, "a ledger line has no 'entry'");
    if (strcmp(entry, "capture") == 0)
        return take_capture(t, line, err);
    if (!relation || !gs_json_i64(line, "group", &group))
        return 0;
    if (strlen(relation) >= sizeof t->a.relation)
        return gs_fail(err, GS_E_RECORD, "a ledger line names a relation of %zu characters", strlen(relation));
    if (turn(t, group, relation, err))
        return -1;
    if (strcmp(entry, "fetch") == 0)
        return take_fetch(t, line, err);
    if (strcmp(entry, "left_out") == 0)
        return take_rule(t, line, err);
    if (strcmp(entry, "relation") == 0)
        return take_balance(t, line, err);
    if (strcmp(entry, "watermark") == 0)
        return need(line, "records", &t->a.looked_at, err);
    t->a.changed |= strcmp(entry, "changed") == 0;
    return 0;
}

/* ---- the equations of the whole ---- */

static int check_whole(const struct audit *t, struct gs_err *err)
{
    const struct bundle_member *m;
    size_t n = bundle_members(t->b, &m);
    uint64_t records = 0, files = 0;
    for (size_t i = 0; i < n; i++) {
        records += m[i].is_file ? 0 : m[i].records;
        files += m[i].is_file && is_files(m[i].relation);
    }
    files += t->withheld;
    if (t->has_files && files != t->files)
        return gs_fail(err, GS_E_LEDGER, "the ledger says %" PRIu64 " files came, the bundle holds %" PRIu64, t->files, files);
    /* each line agreed with the index, and none stands there twice: with equal sums none is missing */
    if (t->balances > 0 && records != t->stored)
        return gs_fail(err, GS_E_LEDGER, "the ledger balances %" PRIu64 " records, the index counts %" PRIu64,
                       t->stored, records);
    if (t->has_capture && t->pages > t->requests + t->kept)
        return gs_fail(err, GS_E_LEDGER,
                       "the ledger counts %" PRIu64 " pages, but only %" PRIu64 " requests and %" PRIu64 " kept answers",
                       t->pages, t->requests, t->kept);
    if (t->has_capture && t->kept == 0 && t->retries > t->repeated)
        return gs_fail(err, GS_E_LEDGER,
                       "the endpoints of the ledger repeated %" PRIu64 " requests, the capture only %" PRIu64, t->retries,
                       t->repeated);
    return 0;
}

int bundle_check_books(const struct bundle *b, struct gs_err *err)
{
    struct audit t = {.b = b};
    GS_AUTO(bundle_cursor) c = NULL;
    const void *data;
    size_t len;
    if (bundle_cursor_open(b, 0, "ledger", &c, err))
        return -1;
    for (;;) {
        if (bundle_cursor_next(c, &data, &len, NULL, err))
            return -1;
        if (!data)
            break;
        t.lines++;
        if (take_line(&t, data, len, err))
            return gs_wrap(err, "ledger, line %" PRIu64, t.lines);
    }
    if (t.begun && (check_account(&t, &t.a, err) || check_files(&t, err)))
        return gs_wrap(err, "ledger");
    return check_whole(&t, err);
}
