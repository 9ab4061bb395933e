#include "libreplay/decide.h"

#include "libcommon/clock.h"
#include "libreplay/kind.h"

#include <sqlite3.h>
#include <string.h>

static int db_fail(struct state *s, struct gs_err *err)
{
    int rc = sqlite3_errcode(state_db(s)) & 0xff;
    return gs_fail(err,
                   rc == SQLITE_FULL    ? GS_E_DISK_FULL
                   : rc == SQLITE_IOERR ? GS_E_IO
                                        : GS_E_STATE_DAMAGED,
                   "state file '%s': %s", state_path(s), sqlite3_errmsg(state_db(s)));
}

static int exec(struct state *s, const char *sql, struct gs_err *err)
{
    return sqlite3_exec(state_db(s), sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(s, err);
}

static int count(struct state *s, const char *sql, uint64_t *out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(s), sql, -1, &st, NULL) != SQLITE_OK)
        return db_fail(s, err);
    int rc = sqlite3_step(st);
    *out = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return rc == SQLITE_ROW ? 0 : db_fail(s, err);
}

/* ---- which ops ---- */

/* chosen: the ops of a decision. why 0: they fit the filter; 1: they stand on one that does; 2: they came short because
 * of one. */
static int begin(struct state *s, struct gs_err *err)
{
    return exec(s,
                "CREATE TEMP TABLE IF NOT EXISTS chosen(op INTEGER PRIMARY KEY, why INTEGER NOT NULL, because INTEGER "
                "NOT NULL);"
                "DELETE FROM temp.chosen;",
                err);
}

struct pick {
    struct state *s;
    sqlite3_stmt *add;
};

static int pick_add(struct pick *p, int64_t op, struct gs_err *err)
{
    sqlite3_bind_int64(p->add, 1, op);
    int rc = sqlite3_step(p->add);
    sqlite3_reset(p->add);
    return rc == SQLITE_DONE ? 0 : db_fail(p->s, err);
}

static int pick_begin(struct pick *p, struct gs_err *err)
{
    const char *sql = "INSERT OR IGNORE INTO temp.chosen VALUES(?1, 0, 0)";
    return sqlite3_prepare_v2(state_db(p->s), sql, -1, &p->add, NULL) == SQLITE_OK ? 0 : db_fail(p->s, err);
}

static int pick_failure(void *cookie, const struct report_failure *f, struct gs_err *err)
{
    return pick_add(cookie, f->op.id, err);
}

/* Groups at and below those whose creation is among the chosen: nothing in them can be without it. */
#define LOST_GROUPS                                                                                                    \
    "WITH RECURSIVE gone(grp, op) AS (SELECT o.grp, o.id FROM temp.chosen c JOIN op o ON o.id = c.op WHERE o.kind = "  \
    "'groups'"                                                                                                         \
    " UNION SELECT g.id, gone.op FROM grp g JOIN gone ON g.parent = gone.grp) "

/* Adds what stands on the chosen, over any number of steps. `states`: which ops may follow. */
static int follow(struct state *s, const char *states, struct gs_err *err)
{
    gs_autofree char *by_need =
        gs_asprintf("INSERT OR IGNORE INTO temp.chosen SELECT o.id, 1, c.op FROM op o JOIN temp.chosen c ON"
                    " c.op = o.needs AND c.why < 2 WHERE o.needs <> 0 AND (%s)",
                    states);
    gs_autofree char *by_group =
        gs_asprintf("INSERT OR IGNORE INTO temp.chosen " LOST_GROUPS
                    "SELECT o.id, 1, min(gone.op) FROM op o JOIN gone ON gone.grp = o.grp WHERE (%s) GROUP BY 1",
                    states);
    if (!by_need || !by_group)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    for (int before = -1; sqlite3_total_changes(state_db(s)) != before;) {
        before = sqlite3_total_changes(state_db(s));
        if (exec(s, by_group, err) || exec(s, by_need, err))
            return -1;
    }
    return 0;
}

static int totals(struct state *s, struct decide_result *out, struct gs_err *err)
{
    return count(s, "SELECT count(*) FROM temp.chosen WHERE why = 0", &out->chosen, err) ||
                   count(s, "SELECT count(*) FROM temp.chosen WHERE why = 1", &out->follow, err) ||
                   count(s, "SELECT count(*) FROM temp.chosen WHERE why = 2", &out->mended, err) ||
                   count(s, "SELECT count(*) FROM op WHERE state < 2 AND id NOT IN (SELECT op FROM temp.chosen)",
                         &out->open, err)
               ? -1
               : 0;
}

/* ---- once more ---- */

/* Is group `g` the one of `top`, or below it? */
#define AT_OR_BELOW(g, top)                                                                                            \
    "EXISTS (WITH RECURSIVE up(id) AS (SELECT " g                                                                      \
    " UNION SELECT parent FROM grp JOIN up ON grp.id = up.id WHERE parent <> 0)"                                       \
    " SELECT 1 FROM up WHERE id = " top ")"

/* What came short for want of a chosen label or milestone, and what has to be done again after such a one. */
static const char *const mend[] = {
    /* lists that were left out by the rule: they follow as if they had been skipped */
    "INSERT OR IGNORE INTO temp.chosen SELECT l.id, 1, c.op FROM temp.chosen c JOIN op r ON r.id = c.op AND r.kind IN"
    " ('labels', 'milestones') JOIN op l ON l.kind = 'lists' AND l.state = 4 AND l.code = '" CODE_RULE "'"
    " AND json_extract(l.arg, '$.title') = r.key JOIN loss x ON x.op = l.id AND x.code = 'list-reference-missing'"
    " WHERE " AT_OR_BELOW("l.grp", "r.grp"),
    /* boards without a label or milestone of their scope */
    "INSERT OR IGNORE INTO temp.chosen SELECT b.id, 2, c.op FROM temp.chosen c JOIN op r ON r.id = c.op AND r.kind IN"
    " ('labels', 'milestones') JOIN loss x ON x.detail = r.key AND x.op <> 0 AND x.code = CASE r.kind WHEN 'labels' "
    "THEN"
    " 'board-scope-label' ELSE 'board-scope-milestone' END JOIN op b ON b.id = x.op AND b.kind = 'boards' AND b.state "
    "= 2"
    " AND b.adopted = 0 WHERE " AT_OR_BELOW("b.grp", "r.grp"),
    /* fillers that a record with a number needs are taken away behind it */
    "INSERT OR IGNORE INTO temp.chosen SELECT w.id, 2, c.op FROM temp.chosen c JOIN op m ON m.id = c.op"
    " JOIN op w ON w.lane = m.lane AND w.kind = m.kind || '.sweep' AND w.state > 1",
    /* children of an epic that was not loaded, and the order in which children stand */
    "INSERT OR IGNORE INTO temp.chosen SELECT p.id, 1, c.op FROM temp.chosen c JOIN op e ON e.id = c.op AND e.kind = 'epics'"
    " JOIN op p ON p.kind = 'epics.parent' AND p.state = 4 AND json_extract(p.arg, '$.grp') = e.grp AND"
    " json_extract(p.arg, '$.key') = e.key",
    "INSERT OR IGNORE INTO temp.chosen SELECT w.id, 2, c.op FROM temp.chosen c JOIN op e ON e.id = c.op AND e.kind IN"
    " ('epics', 'epics.parent') JOIN op w ON w.kind = 'epics.order' AND w.state = 2 AND"
    " instr(w.arg, '{\"grp\":' || e.grp || ',\"key\":\"' || e.key || '\"}') > 0",
    /* an iteration is made while its cadence makes none itself */
    "INSERT OR IGNORE INTO temp.chosen SELECT a.id, 2, c.op FROM temp.chosen c JOIN op i ON i.id = c.op AND i.kind = 'iterations'"
    " JOIN op a ON a.needs = i.needs AND a.kind = 'iterations_cadences.automation' AND a.state > 1",
    /* an ownership that was kept only so that somebody could do this */
    "INSERT OR IGNORE INTO temp.chosen SELECT o.id, 2, 0 FROM op o JOIN loss x ON x.op = o.id AND x.code = "
    "'creator-kept-as-owner'"
    " AND x.detail LIKE 'records failed%' WHERE o.kind = 'groups.owner' AND o.state = 2 AND EXISTS (SELECT 1 FROM "
    "temp.chosen)",
};

/* Whatever asked anything before counts as sent: it may have acted, and is looked up. A state file that was upgraded knows
 * of the writes only, not when they were. */
static const char reset[] = "DELETE FROM loss WHERE op <> 0 AND op IN (SELECT op FROM temp.chosen);"
                            "DELETE FROM decision WHERE op IN (SELECT op FROM temp.chosen);"
                            "UPDATE op SET state = CASE WHEN sent_at IS NULL AND tries = 0 THEN 0 ELSE 1 END, target_id = 0, http = "
                            "0, code = NULL, text = NULL,"
                            " request_id = NULL, request = NULL, adopted = 0, found = 0, print = 0, ended_at = NULL "
                            "WHERE id IN (SELECT op FROM temp.chosen)";

int decide_retry(struct state *s, const struct report_filter *f, struct decide_result *out, struct gs_err *err)
{
    struct pick p = {.s = s};
    bool decided = f->code && strcmp(f->code, CODE_DECIDED) == 0;
    *out = (struct decide_result){0};
    if (begin(s, err) || pick_begin(&p, err))
        return -1;
    int r = report_failures(s, false, f, pick_failure, &p, err);
    sqlite3_finalize(p.add);
    if (r)
        return -1;
    /* a decision is taken back only by name */
    if (!decided &&
        exec(s, "DELETE FROM temp.chosen WHERE op IN (SELECT id FROM op WHERE state = 4 AND code = '" CODE_DECIDED "')",
             err))
        return -1;
    if (follow(s,
               decided ? "o.state = 4 AND (o.code = '" CODE_DEPENDENCY
                         "' OR EXISTS (SELECT 1 FROM decision d WHERE d.op = o.id AND"
                         " d.because <> 0))"
                       : "o.state = 4 AND o.code = '" CODE_DEPENDENCY "'",
               err))
        return -1;
    for (size_t i = 0; i < GS_COUNT(mend); i++)
        if (exec(s, mend[i], err))
            return -1;
    return totals(s, out, err) || exec(s, reset, err) ? -1 : 0;
}

/* ---- not at all ---- */

static int pick_open(struct pick *p, const struct report_filter *f, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(
            state_db(p->s),
            "SELECT o.id, o.kind, o.key, o.state, o.code, g.src_path, g.dst_path FROM op o JOIN grp g ON g.id = o.grp"
            " WHERE o.state IN (0, 3)",
            -1, &st, NULL) != SQLITE_OK)
        return db_fail(p->s, err);
    int rc, r = 0;
    while (!r && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW) {
            r = db_fail(p->s, err);
            break;
        }
        struct report_failure x = {.op = {.id = sqlite3_column_int64(st, 0),
                                          .kind = (char *)(uintptr_t)sqlite3_column_text(st, 1),
                                          .key = (char *)(uintptr_t)sqlite3_column_text(st, 2),
                                          .code = (char *)(uintptr_t)sqlite3_column_text(st, 4)},
                                   .group = (const char *)sqlite3_column_text(st, 5),
                                   .target_group = (const char *)sqlite3_column_text(st, 6)};
        const struct kind *k = kind_find(x.op.kind);
        x.relation = k ? k->relation : x.op.kind;
        if (report_filter_fits(f, &x))
            r = pick_add(p, x.op.id, err);
    }
    sqlite3_finalize(st);
    return r;
}

static int store(struct state *s, const char *reason, const char *user, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(s),
                           "INSERT OR REPLACE INTO decision SELECT op, ?1, ?2, ?3, because FROM temp.chosen", -1, &st,
                           NULL) != SQLITE_OK)
        return db_fail(s, err);
    sqlite3_bind_text(st, 1, reason, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, user, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, gs_unix_ms());
    int rc = sqlite3_step(st);
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? 0 : db_fail(s, err);
}

int decide_skip(struct state *s, const struct report_filter *f, const char *reason, const char *user,
                struct decide_result *out, struct gs_err *err)
{
    struct pick p = {.s = s};
    *out = (struct decide_result){0};
    if (begin(s, err) || pick_begin(&p, err))
        return -1;
    int r = pick_open(&p, f, err);
    sqlite3_finalize(p.add);
    if (r || exec(s,
                  "DELETE FROM temp.chosen WHERE op IN (SELECT o.id FROM op o WHERE (o.kind LIKE '%.sweep' OR o.kind = "
                  "'groups.owner')"
                  " AND EXISTS (SELECT 1 FROM grp g WHERE g.id = o.grp AND g.target_id <> 0))",
                  err))
        return -1;
    if (follow(s, "o.state = 0 OR (o.state = 4 AND o.code = '" CODE_DEPENDENCY "')", err) || totals(s, out, err) ||
        store(s, reason, user, err))
        return -1;
    return exec(s, "UPDATE op SET state = 4, code = '" CODE_DECIDED "' WHERE id IN (SELECT op FROM temp.chosen)", err);
}

/* ---- what it concerns ---- */

int decide_each(struct state *s, int (*row)(void *cookie, const char *relation, uint64_t n, struct gs_err *err),
                void *cookie, struct gs_err *err)
{
    struct {
        const char *relation;
        uint64_t n;
    } sums[64] = {{0}};
    sqlite3_stmt *st = NULL;
    size_t n_sums = 0;
    if (sqlite3_prepare_v2(state_db(s),
                           "SELECT o.kind, count(*) FROM temp.chosen c JOIN op o ON o.id = c.op GROUP BY 1", -1, &st,
                           NULL) != SQLITE_OK)
        return db_fail(s, err);
    int rc, r = 0;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const struct kind *k = kind_find((const char *)sqlite3_column_text(st, 0));
        const char *relation = k ? k->relation : "?";
        size_t i = 0;
        while (i < n_sums && strcmp(sums[i].relation, relation) != 0)
            i++;
        if (i == n_sums && n_sums < GS_COUNT(sums))
            sums[n_sums++].relation = relation;
        if (i < n_sums)
            sums[i].n += (uint64_t)sqlite3_column_int64(st, 1);
    }
    if (rc != SQLITE_DONE)
        r = db_fail(s, err);
    sqlite3_finalize(st);
    for (size_t i = 0; i < n_sums && !r; i++)
        r = row(cookie, sums[i].relation, sums[i].n, err);
    return r;
}
