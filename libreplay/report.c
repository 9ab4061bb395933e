#include "libreplay/report.h"

#include "libreplay/kind.h"
#include "libreplay/loss.h"

#include <sqlite3.h>
#include <string.h>

static int db_fail(struct state *s, struct gs_err *err)
{
    return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %s", state_path(s), sqlite3_errmsg(state_db(s)));
}

typedef int (*row_fn)(void *cookie, sqlite3_stmt *st, struct gs_err *err);

static int query(struct state *s, const char *sql, int64_t arg, row_fn row, void *cookie, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(s), sql, -1, &st, NULL) != SQLITE_OK)
        return db_fail(s, err);
    if (sqlite3_bind_parameter_count(st) > 0)
        sqlite3_bind_int64(st, 1, arg);
    int rc = 0, got;
    while (!rc && (got = sqlite3_step(st)) != SQLITE_DONE)
        rc = got == SQLITE_ROW ? row(cookie, st, err) : db_fail(s, err);
    sqlite3_finalize(st);
    return rc;
}

static uint64_t u64(sqlite3_stmt *st, int col)
{
    int64_t v = sqlite3_column_int64(st, col);
    return v > 0 ? (uint64_t)v : 0;
}

static const char *text(sqlite3_stmt *st, int col)
{
    return (const char *)sqlite3_column_text(st, col);
}

int report_fact(struct state *s, const char *key, int64_t *out, struct gs_err *err)
{
    gs_autofree char *v = NULL;
    *out = 0;
    if (state_meta_get(s, key, &v, err))
        return -1;
    if (v)
        *out = strtoll(v, NULL, 10);
    return 0;
}

int report_begin(struct state *s, struct gs_err *err)
{
    return sqlite3_exec(state_db(s), "BEGIN", NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(s, err);
}

void report_end(struct state *s)
{
    sqlite3_exec(state_db(s), "COMMIT", NULL, NULL, NULL);
}

/* ---- totals ---- */

#define DECIDED "(o.state = 4 AND o.code = '" CODE_DECIDED "')"
/* Skipped, but not by a rule of its own or on purpose, nor because what it stands on was left out by a rule. */
#define BECAUSE_FAILED                                                                                                 \
    "(o.state = 4 AND coalesce(o.code, '') NOT IN ('lost-by-rule', '" CODE_DECIDED "') AND NOT EXISTS (SELECT 1 FROM" \
    " op n WHERE n.id = o.needs AND n.state = 4 AND n.code = 'lost-by-rule'))"

static int total_ops(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct report_total *t = cookie;
    (void)err;
    t->ops = u64(st, 0);
    t->done = u64(st, 1);
    t->adopted = u64(st, 2);
    t->found = u64(st, 3);
    t->failed = u64(st, 4);
    t->skipped = u64(st, 5);
    t->because_failed = u64(st, 6);
    t->tries = u64(st, 7);
    t->decided = u64(st, 8);
    t->open = t->ops - t->done - t->failed - t->skipped;
    t->lost = t->skipped - t->because_failed - t->decided;
    return 0;
}

static int total_rest(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct report_total *t = cookie;
    (void)err;
    t->groups = u64(st, 0);
    t->groups_loaded = u64(st, 1);
    t->people = u64(st, 2);
    t->by_csv = u64(st, 3);
    t->by_email = u64(st, 4);
    t->nobody = u64(st, 5);
    t->loss_records = u64(st, 6);
    t->by_username = u64(st, 7);
    return 0;
}

int report_total(struct state *s, struct report_total *out, struct gs_err *err)
{
    *out = (struct report_total){0};
    return query(s,
                 "SELECT count(*), total(state = 2), total(state = 2 AND adopted), total(state = 2 AND found), "
                 "total(state = 3),"
                 " total(state = 4), total(" BECAUSE_FAILED "), total(tries), total(" DECIDED ") FROM op o",
                 0, total_ops, out, err) ||
                   query(s,
                         "SELECT (SELECT count(*) FROM grp), (SELECT count(*) FROM grp WHERE target_id > 0),"
                         " (SELECT count(*) FROM user), (SELECT count(*) FROM user WHERE how = 'csv'),"
                         " (SELECT count(*) FROM user WHERE how = 'email'), (SELECT count(*) FROM user WHERE target_id "
                         "= 0),"
                         " (SELECT total(count) FROM loss), (SELECT count(*) FROM user WHERE how = 'username')",
                         0, total_rest, out, err)
               ? -1
               : 0;
}

static int count_sent(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    (void)err;
    *(uint64_t *)cookie = u64(st, 0);
    return 0;
}

int report_sent(struct state *s, uint64_t *out, struct gs_err *err)
{
    *out = 0;
    return query(s, "SELECT count(*) FROM op WHERE state = 1", 0, count_sent, out, err);
}

/* ---- relations ---- */

#define MAX_RELATIONS 64

struct relations {
    struct report_relation row[MAX_RELATIONS];
    char *names[MAX_RELATIONS];
    size_t n;
};

static struct report_relation *relation_row(struct relations *x, const char *name)
{
    for (size_t i = 0; i < x->n; i++)
        if (strcmp(x->names[i], name) == 0)
            return &x->row[i];
    if (x->n == MAX_RELATIONS || !(x->names[x->n] = strdup(name)))
        return NULL;
    x->row[x->n].relation = x->names[x->n];
    return &x->row[x->n++];
}

/* The membership of the token's user is a record of the bundle too, though it is put right with the ownership. */
#define COUNTED_AS                                                                                                     \
    "CASE WHEN kind = 'groups.owner' AND json_extract(arg, '$.access_level') > 0 THEN 'members' ELSE kind END"

/* A group is loaded when its settings, locks and avatar are too. */
#define STATE_OF_RECORD                                                                                                \
    "CASE WHEN kind = 'groups' AND state = 2 AND EXISTS (SELECT 1 FROM op s WHERE s.grp = o.grp"                       \
    " AND s.kind IN ('groups.settings', 'groups.locks', 'groups.avatar', 'groups.owner') AND s.state = 3"              \
    " AND NOT (s.kind = 'groups.owner' AND json_extract(s.arg, '$.access_level') > 0)) THEN 3 ELSE state END"

/* A kind that is a record of its relation; the others (settings, ownership, sweeping) are second calls and not counted
 * as records, so that the numbers of a relation add up to what the bundle holds. */
static bool is_record(const char *kind)
{
    return strchr(kind, '.') == NULL;
}

static int relation_ops(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    const char *name = text(st, 0);
    const struct kind *k = name ? kind_find(name) : NULL;
    struct report_relation *r = relation_row(cookie, k ? k->relation : name ? name : "?");
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    uint64_t n = u64(st, 5);
    if (!name || !is_record(name))
        return 0;
    r->in_bundle += n;
    switch ((enum op_state)sqlite3_column_int(st, 1)) {
    case OP_DONE:
        *(sqlite3_column_int(st, 2) ? &r->there : &r->loaded) += n;
        if (sqlite3_column_int(st, 3))
            r->found += n;
        break;
    case OP_FAILED:
        r->failed += n;
        break;
    case OP_SKIPPED:
        if (sqlite3_column_int(st, 6))
            r->decided += n;
        *(sqlite3_column_int(st, 4) || sqlite3_column_int(st, 6) ? &r->skipped : &r->lost) += n;
        break;
    default:
        r->open += n;
    }
    return 0;
}

static int relation_losses(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    const struct loss_rule *l = loss_find(text(st, 1) ? text(st, 1) : "");
    if (!l || !l->whole || strcmp(l->relation, "self") == 0)
        return 0;
    struct report_relation *r = relation_row(cookie, text(st, 0) ? text(st, 0) : "?");
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    r->in_bundle += u64(st, 2);
    r->lost += u64(st, 2);
    return 0;
}

int report_relations(struct state *s, int64_t grp,
                     int (*row)(void *cookie, const struct report_relation *r, struct gs_err *err), void *cookie,
                     struct gs_err *err)
{
    struct relations x = {.n = 0};
    int rc = 0;
    for (size_t i = 0; kinds[i] && !rc; i++)
        if (!relation_row(&x, kinds[i]->relation))
            rc = gs_fail(err, GS_E_NOMEM, "out of memory");
    if (!rc)
        rc = query(s,
                   "SELECT " COUNTED_AS ", " STATE_OF_RECORD ", adopted, found, " BECAUSE_FAILED
                   ", count(*), " DECIDED " FROM op o WHERE ?1 = 0 OR grp = ?1"
                   " GROUP BY 1, 2, 3, 4, 5, 7",
                   grp, relation_ops, &x, err);
    if (!rc)
        rc = query(s, "SELECT relation, code, sum(count) FROM loss WHERE op = 0 AND (?1 = 0 OR grp = ?1) GROUP BY 1, 2",
                   grp, relation_losses, &x, err);
    for (size_t i = 0; i < x.n && !rc; i++) {
        const struct report_relation *r = &x.row[i];
        if (r->in_bundle)
            rc = row(cookie, r, err);
    }
    for (size_t i = 0; i < x.n; i++)
        free(x.names[i]);
    return rc ? -1 : 0;
}

/* ---- losses ---- */

struct losses {
    int (*row)(void *cookie, const struct report_loss *l, struct gs_err *err);
    void *cookie;
    const struct loss_rule *rule;
};

static int one_loss(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct losses *x = cookie;
    struct report_loss l = {.code = x->rule->code,
                            .relation = text(st, 0),
                            .text = x->rule->text,
                            .count = u64(st, 1),
                            .groups = u64(st, 2),
                            .detail = text(st, 3),
                            .whole = x->rule->whole};
    if (l.detail && !*l.detail)
        l.detail = NULL;
    return x->row(x->cookie, &l, err);
}

int report_losses(struct state *s, int (*row)(void *cookie, const struct report_loss *l, struct gs_err *err),
                  void *cookie, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(
            state_db(s),
            "SELECT relation, sum(count), count(DISTINCT grp), min(nullif(detail, '')) FROM loss WHERE code = ?1"
            " GROUP BY relation ORDER BY relation",
            -1, &st, NULL) != SQLITE_OK)
        return db_fail(s, err);
    struct losses x = {.row = row, .cookie = cookie};
    int rc = 0;
    for (size_t i = 0; loss_rules[i].code && !rc; i++) {
        int got = SQLITE_DONE;
        x.rule = &loss_rules[i];
        sqlite3_bind_text(st, 1, x.rule->code, -1, SQLITE_STATIC);
        while (!rc && (got = sqlite3_step(st)) == SQLITE_ROW)
            rc = one_loss(&x, st, err);
        if (!rc && got != SQLITE_DONE)
            rc = db_fail(s, err);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    return rc ? -1 : 0;
}

/* ---- failures ---- */

struct failures {
    int (*row)(void *cookie, const struct report_failure *f, struct gs_err *err);
    void *cookie;
    const struct report_filter *filter;
    bool skipped;
};

static char *borrow(sqlite3_stmt *st, int col)
{
    return (char *)(uintptr_t)sqlite3_column_text(st, col);
}

/* Of a record: what was planned stays as it is, and only a retry takes it up again. */
static const char *failure_hint(enum gs_code code)
{
    switch (code) {
    case GS_E_REFUSED:
        return "the server refused the record for the reason it gives; mend that on the target, then 'replay retry'";
    case GS_E_FORBIDDEN:
        return "give the user whose token this load was begun with the right that is missing, then 'replay retry'";
    case GS_E_TARGET_TAKEN:
        return "rename or remove what is there on the target, then 'replay retry'; a load with another --rename needs another --state file";
    default:
        return gs_code_hint(code);
    }
}

static int one_failure(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct failures *x = cookie;
    struct report_failure f = {
        .op = {.id = sqlite3_column_int64(st, 0),
               .grp = sqlite3_column_int64(st, 1),
               .kind = borrow(st, 2),
               .key = borrow(st, 3),
               .src_id = sqlite3_column_int64(st, 4),
               .state = (enum op_state)sqlite3_column_int(st, 5),
               .tries = (unsigned)u64(st, 6),
               .http = sqlite3_column_int(st, 7),
               .code = borrow(st, 8),
               .text = borrow(st, 9),
               .request_id = borrow(st, 10),
               .request = borrow(st, 13),
               .target_id = sqlite3_column_int64(st, 17)},
        .group = text(st, 11),
        .target_group = text(st, 12),
        .reason = text(st, 14),
        .by = text(st, 15),
        .decided_ms = sqlite3_column_int64(st, 16),
    };
    const struct kind *k = f.op.kind ? kind_find(f.op.kind) : NULL;
    f.relation = k ? k->relation : f.op.kind;
    if (!report_filter_fits(x->filter, &f))
        return 0;
    if (!x->skipped && f.op.state == OP_SKIPPED && !f.reason &&
        !(x->filter && x->filter->code && strcmp(x->filter->code, CODE_DEPENDENCY) == 0))
        return 0;
    enum gs_code code = f.op.code ? gs_code_by_name(f.op.code) : GS_OK;
    f.hint = code != GS_OK              ? failure_hint(code)
             : f.reason                 ? "nothing, it was left out on purpose; 'replay retry --code " CODE_DECIDED "' loads it after all"
             : f.op.state == OP_SKIPPED ? "mend what it stands on, then it is loaded too"
                                        : "";
    return x->row(x->cookie, &f, err);
}

int report_failures(struct state *s, bool skipped, const struct report_filter *f,
                    int (*row)(void *cookie, const struct report_failure *f, struct gs_err *err), void *cookie,
                    struct gs_err *err)
{
    struct failures x = {.row = row, .cookie = cookie, .filter = f, .skipped = skipped};
    return query(s,
                 "SELECT o.id, o.grp, o.kind, o.key, o.src_id, o.state, o.tries, o.http, o.code, o.text, o.request_id, "
                 "g.src_path, g.dst_path, o.request, d.reason, d.user, d.at_ms, o.target_id FROM op o"
                 " LEFT JOIN grp g ON g.id = o.grp LEFT JOIN decision d ON d.op = o.id AND o.code = '" CODE_DECIDED "'"
                 " WHERE o.state > 2 AND (o.state = 3 OR " DECIDED " OR " BECAUSE_FAILED ")"
                 " ORDER BY g.depth, g.src_path, o.lane, o.pos",
                 0, one_failure, &x, err);
}

/* ---- filters ---- */

static const char *shown_relation(const char *relation)
{
    return strcmp(relation, "self") == 0 ? "groups" : relation;
}

static bool below(const char *path, const char *top)
{
    size_t n = strlen(top);
    return path && strncmp(path, top, n) == 0 && (path[n] == 0 || path[n] == '/');
}

bool report_filter_fits(const struct report_filter *f, const struct report_failure *x)
{
    if (!f)
        return true;
    if (f->code && strcmp(f->code, x->op.code ? x->op.code : "") != 0)
        return false;
    if (f->relation && strcmp(shown_relation(f->relation), shown_relation(x->relation)) != 0)
        return false;
    if (f->group && f->only ? strcmp(f->group, x->group ? x->group : "") != 0
                            : f->group && !below(x->group, f->group) && !below(x->target_group, f->group))
        return false;
    return !f->key || strcmp(f->key, x->op.key ? x->op.key : "") == 0;
}

static int count_groups(void *cookie, const struct report_group *g, struct gs_err *err)
{
    struct {
        const char *path;
        bool found;
    } *x = cookie;
    (void)err;
    x->found = x->found || strcmp(g->grp.src_path, x->path) == 0 || strcmp(g->grp.dst_path, x->path) == 0;
    return 0;
}

static bool code_known(const char *code)
{
    return gs_code_by_name(code) != GS_OK || strcmp(code, CODE_DEPENDENCY) == 0 || strcmp(code, CODE_DECIDED) == 0;
}

int report_filter_check(struct state *s, const struct report_filter *f, struct gs_err *err)
{
    if (f->code && !code_known(f->code))
        return gs_fail(err, GS_E_USAGE, "there is no code '%s'", f->code);
    if (f->relation) {
        bool found = false;
        for (size_t i = 0; kinds[i] && !found; i++)
            found = strcmp(shown_relation(kinds[i]->relation), shown_relation(f->relation)) == 0;
        if (!found)
            return gs_fail(err, GS_E_USAGE, "no relation '%s' is ever loaded", f->relation);
    }
    if (!f->group)
        return 0;
    struct {
        const char *path;
        bool found;
    } x = {f->group, false};
    if (report_groups(s, count_groups, &x, err))
        return -1;
    return x.found ? 0 : gs_fail(err, GS_E_USAGE, "no group of this load has the path '%s', here or there", f->group);
}

/* ---- groups, people ---- */

struct groups {
    int (*row)(void *cookie, const struct report_group *g, struct gs_err *err);
    void *cookie;
};

static int one_group(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct groups *x = cookie;
    struct report_group g = {
        .grp = {.id = sqlite3_column_int64(st, 0),
                .parent = sqlite3_column_int64(st, 1),
                .depth = sqlite3_column_int(st, 2),
                .src_path = borrow(st, 3),
                .dst_path = borrow(st, 4),
                .name = borrow(st, 5),
                .visibility = borrow(st, 6),
                .dst_parent = sqlite3_column_int64(st, 7),
                .target_id = sqlite3_column_int64(st, 8),
                .web_url = borrow(st, 9),
                .existed = sqlite3_column_int(st, 10)},
        .ops = u64(st, 11),
        .done = u64(st, 12),
        .failed = u64(st, 13),
        .skipped = u64(st, 14),
        .decided = u64(st, 15),
        .open = u64(st, 16),
    };
    return x->row(x->cookie, &g, err);
}

int report_groups(struct state *s, int (*row)(void *cookie, const struct report_group *g, struct gs_err *err),
                  void *cookie, struct gs_err *err)
{
    struct groups x = {.row = row, .cookie = cookie};
    return query(s,
                 "SELECT g.id, g.parent, g.depth, g.src_path, g.dst_path, g.name, g.visibility, g.dst_parent, "
                 "g.target_id, g.web_url,"
                 " g.existed, count(o.id), total(o.state = 2), total(o.state = 3), total(" BECAUSE_FAILED "),"
                 " total(" DECIDED "), total(o.state < 2) FROM grp g"
                 " LEFT JOIN op o ON o.grp = g.id GROUP BY g.id ORDER BY g.src_path || '/'",
                 0, one_group, &x, err);
}

const char *report_group_state(const struct report_group *g)
{
    if (!g->grp.target_id)
        return g->open == g->ops ? "planned" : g->open ? "loading" : g->decided ? "left-out" : "not-loaded";
    return g->open ? "loading" : g->failed || g->skipped ? "incomplete" : "loaded";
}

struct nobody {
    int (*row)(void *cookie, const struct user_row *u, struct gs_err *err);
    void *cookie;
};

static int one_nobody(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct nobody *x = cookie;
    struct user_row u = {.src_id = sqlite3_column_int64(st, 0),
                         .username = borrow(st, 1),
                         .public_email = borrow(st, 2),
                         .how = borrow(st, 3)};
    return x->row(x->cookie, &u, err);
}

int report_nobody(struct state *s, int (*row)(void *cookie, const struct user_row *u, struct gs_err *err), void *cookie,
                  struct gs_err *err)
{
    struct nobody x = {.row = row, .cookie = cookie};
    return query(s, "SELECT src_id, username, public_email, how FROM user WHERE target_id = 0 ORDER BY how, username",
                 0, one_nobody, &x, err);
}

/* ---- rows of the plan ---- */

struct rows {
    int (*row)(void *cookie, const struct report_row *r, struct gs_err *err);
    void *cookie;
    bool loss;
};

static int one_row(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct rows *x = cookie;
    struct report_row r = {.loss = x->loss,
                           .group = text(st, 0),
                           .target_group = text(st, 1),
                           .relation = text(st, 2),
                           .key = text(st, 3),
                           .what = text(st, 4),
                           .count = u64(st, 5),
                           .detail = text(st, 6)};
    if (!x->loss) {
        const struct kind *k = r.what ? kind_find(r.what) : NULL;
        r.relation = k ? k->relation : r.what;
    }
    return x->row(x->cookie, &r, err);
}

int report_rows(struct state *s, int (*row)(void *cookie, const struct report_row *r, struct gs_err *err), void *cookie,
                struct gs_err *err)
{
    struct rows x = {.row = row, .cookie = cookie};
    if (query(s,
              "SELECT g.src_path, g.dst_path, NULL, o.key, o.kind, 1, NULL FROM op o LEFT JOIN grp g ON g.id = o.grp "
              "ORDER BY o.id",
              0, one_row, &x, err))
        return -1;
    x.loss = true;
    return query(s,
                 "SELECT g.src_path, g.dst_path, l.relation, l.key, l.code, l.count, l.detail FROM loss l LEFT JOIN "
                 "grp g ON g.id = l.grp"
                 " ORDER BY l.id",
                 0, one_row, &x, err);
}

/* ---- over time ---- */

struct timeline {
    int64_t from, until;
    uint64_t *columns;
    size_t n;
};

static int timeline_ends(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct timeline *t = cookie;
    (void)err;
    t->from = sqlite3_column_int64(st, 0);
    t->until = sqlite3_column_int64(st, 1);
    return 0;
}

static int timeline_step(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct timeline *t = cookie;
    (void)err;
    int64_t at = (sqlite3_column_int64(st, 0) - t->from) * (int64_t)t->n / (t->until - t->from + 1);
    if (at >= 0 && at < (int64_t)t->n)
        t->columns[at] += u64(st, 1);
    return 0;
}

int report_span(struct state *s, int64_t *out_from_ms, int64_t *out_until_ms, struct gs_err *err)
{
    struct timeline t = {0};
    if (query(s, "SELECT min(ended_at), max(ended_at) FROM op WHERE ended_at > 0", 0, timeline_ends, &t, err))
        return -1;
    *out_from_ms = t.from;
    *out_until_ms = t.until;
    return 0;
}

int report_timeline(struct state *s, int64_t from_ms, int64_t until_ms, uint64_t *columns, size_t n, struct gs_err *err)
{
    struct timeline t = {.from = from_ms, .until = until_ms, .columns = columns, .n = n};
    memset(columns, 0, n * sizeof *columns);
    return query(s, "SELECT ended_at, count(*) FROM op WHERE ended_at > 0 GROUP BY ended_at", 0, timeline_step, &t, err);
}
