#include "cmd/replay/report_page.h"

#include "cmd/cli.h"
#include "cmd/contents.h"
#include "cmd/replay/live.h"
#include "libcommon/clock.h"
#include "libreplay/loss.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 120 /* of the timeline */

static const char *name_of(const char *relation)
{
    return strcmp(relation, "self") == 0 ? "groups" : relation;
}

static const char *time_text(int64_t ms, char out[32])
{
    char t[GS_TIME_LEN];
    gs_time_format(ms, t);
    snprintf(out, 32, "%.10s %.8s UTC", t, t + 11);
    return ms > 0 ? out : NULL;
}

/* How much of a long list stands here, and where all of it is. */
static void cut(struct report_page *x, const char *command)
{
    if (x->rows > PAGE_ROWS)
        page_text(&x->page, "%s of %s rows; all of them: %s", cli_count(PAGE_ROWS), cli_count(x->rows), command);
    x->rows = 0;
}

static bool shown(struct report_page *x)
{
    return x->rows++ < PAGE_ROWS;
}

static int meta_fact(struct report_page *x, const char *name, const char *key, struct gs_err *err)
{
    gs_autofree char *v = NULL;
    if (state_meta_get(x->state, key, &v, err))
        return -1;
    page_fact(&x->page, name, v, v && strncmp(v, "http", 4) == 0 ? v : NULL);
    return 0;
}

/* ---- what it comes to ---- */

static int summary(struct report_page *x, const struct report_total *t, struct gs_err *err)
{
    struct page *p = &x->page;
    char when[32];
    int64_t started;
    page_section(p, "summary", "What was loaded, and where");
    page_facts(p);
    if (meta_fact(x, "Target", "target_url", err) || meta_fact(x, "GitLab", "target_version", err) ||
        meta_fact(x, "Loaded by", "target_user", err) || report_fact(x->state, "started_at_ms", &started, err))
        return -1;
    page_fact(p, "Planned", time_text(started, when), NULL);
    page_fact(p, "Steps", cli_count(t->ops), NULL);
    page_fact(p, "Done", cli_count(t->done), NULL);
    page_fact(p, "Failed", cli_count(t->failed), NULL);
    page_fact(p, "Skipped for failures", cli_count(t->because_failed), NULL);
    page_fact(p, "Left out on purpose", cli_count(t->decided), NULL);
    page_fact(p, "Still to do", cli_count(t->open), NULL);
    page_fact(p, "Recognised after a lost answer", cli_count(t->found), NULL);
    page_facts_end(p);
    return 0;
}

/* ---- the tree ---- */

static const char *tone_of(const char *state)
{
    return strcmp(state, "loaded") == 0 ? "good" : strcmp(state, "loading") == 0 || strcmp(state, "planned") == 0 ? "part" : "bad";
}

static int group_row(void *cookie, const struct report_group *g, struct gs_err *err)
{
    struct report_page *x = cookie;
    struct page *p = &x->page;
    const char *slash = strrchr(g->grp.src_path, '/'), *state = report_group_state(g);
    (void)err;
    if (!shown(x))
        return 0;
    page_row(p);
    page_tree(p, (unsigned)g->grp.depth, slash && g->grp.parent ? slash + 1 : g->grp.src_path, NULL);
    page_link(p, g->grp.dst_path, g->grp.web_url);
    page_state(p, state, tone_of(state));
    page_number(p, g->done);
    page_number(p, g->failed + g->skipped);
    page_number(p, g->open);
    page_row_end(p);
    return 0;
}

static int tree(struct report_page *x, struct gs_err *err)
{
    static const char *const columns[] = {"Group at the source", "On the target", "State", "#Done", "#Failed", "#To do"};
    page_section(&x->page, "groups", "Groups");
    page_table(&x->page, "Groups, with where they are on the target and how far they are", columns, GS_COUNT(columns));
    if (report_groups(x->state, group_row, x, err))
        return -1;
    page_table_end(&x->page);
    cut(x, "replay status --csv groups --state STATE");
    return 0;
}

/* ---- relations ---- */

static int relation_bar(void *cookie, const struct report_relation *r, struct gs_err *err)
{
    struct report_page *x = cookie;
    (void)err;
    const struct page_part parts[] = {{"loaded", "good", r->loaded},   {"there before", "good", r->there}, {"lost by a rule", "off", r->lost},
                                      {"failed", "bad", r->failed},    {"skipped", "part", r->skipped},    {"to do", "part", r->open}};
    char label[128];
    snprintf(label, sizeof label, "%s: %s captured", name_of(r->relation), cli_count(r->in_bundle));
    page_bar(&x->page, label, parts, GS_COUNT(parts));
    return 0;
}

/* "labels captured=92 loaded=92 ..." */
static uint64_t part_of(const char *line, const char *name)
{
    char key[32];
    snprintf(key, sizeof key, " %s=", name);
    const char *p = strstr(line, key);
    return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

static void books_bars(struct report_page *x)
{
    size_t at = 0;
    page_bars(&x->page);
    for (const char *v = receipt_get(x->books, "relation", 0, &at); v; v = receipt_get(x->books, "relation", at + 1, &at)) {
        char relation[64], label[128];
        snprintf(relation, sizeof relation, "%.*s", (int)strcspn(v, " "), v);
        const struct page_part parts[] = {
            {"equal", "good", part_of(v, "equal")},     {"equal but for what a rule names", "part", part_of(v, "part")},
            {"lost by a rule", "off", part_of(v, "lost")}, {"refused", "bad", part_of(v, "refused")},
            {"differ", "bad", part_of(v, "differ")},    {"missing", "bad", part_of(v, "missing")},
            {"not to be read there", "off", part_of(v, "unread")}};
        snprintf(label, sizeof label, "%s: %s captured, %s on the target", name_of(relation), cli_count(part_of(v, "captured")),
                 cli_count(part_of(v, "loaded")));
        page_bar(&x->page, label, parts, GS_COUNT(parts));
    }
    page_bars_end(&x->page);
}

static int relations(struct report_page *x, struct gs_err *err)
{
    page_section(&x->page, "relations", "Kinds of records");
    if (x->books) {
        page_text(&x->page, "As they were read back from the target until %s.", receipt_get(x->books, "read-until", 0, NULL));
        books_bars(x);
        return 0;
    }
    page_text(&x->page, "As the load noted it; 'replay reconcile' reads them back from the target and compares.");
    page_bars(&x->page);
    if (report_relations(x->state, 0, relation_bar, x, err))
        return -1;
    page_bars_end(&x->page);
    return 0;
}

/* What differs, is missing or extra, of the books. */
static void findings(struct report_page *x)
{
    static const char *const columns[] = {"What", "Group", "Kind", "Record", "Where", "Why"};
    size_t at = 0;
    const char *v = x->books ? receipt_get(x->books, "named", 0, &at) : NULL;
    uint64_t more = 0;
    struct gs_err ignored = {0};
    if (!v)
        return;
    page_section(&x->page, "findings", "What did not arrive as it was");
    page_table(&x->page, "Records that differ, are missing, extra or refused", columns, GS_COUNT(columns));
    for (; v; v = receipt_get(x->books, "named", at + 1, &at)) {
        GS_AUTO(yyjson_doc) doc = NULL;
        if (!shown(x) || gs_json_parse(v, strlen(v), NULL, &doc, &ignored))
            continue;
        yyjson_val *o = yyjson_doc_get_root(doc);
        const char *as = gs_json_str(o, "counts_as"), *what = as && strcmp(as, "fault") != 0 ? as : gs_json_str(o, "finding");
        const char *group = gs_json_str(o, "group"), *relation = gs_json_str(o, "relation");
        page_row(&x->page);
        page_state(&x->page, what ? what : "?", "bad");
        page_cell(&x->page, group && *group ? group : ".");
        page_cell(&x->page, name_of(relation ? relation : "?"));
        page_cell(&x->page, gs_json_str(o, "key"));
        page_cell(&x->page, gs_json_str(o, "where"));
        page_cell(&x->page, gs_json_str(o, "why"));
        page_row_end(&x->page);
    }
    page_table_end(&x->page);
    if (receipt_u64(x->books, "not-named", &more, &ignored) == 0)
        x->rows += more;
    cut(x, "replay reconcile --csv findings");
}

/* ---- over time ---- */

struct waits {
    struct report_page *x;
    struct page_wait v[RUN_WAITS * 8];
    struct run_wait store[RUN_WAITS * 8];
    size_t n;
    unsigned runs;
};

static int run_row(void *cookie, const struct run_info *r, struct gs_err *err)
{
    struct waits *w = cookie;
    struct page *p = &w->x->page;
    char from[32], until[32];
    int64_t waited = 0;
    (void)err;
    for (unsigned i = 0; i < r->n_waits; i++) {
        waited += r->waits[i].until_ms - r->waits[i].from_ms;
        if (w->n < GS_COUNT(w->v)) {
            w->store[w->n] = r->waits[i];
            w->v[w->n] = (struct page_wait){w->store[w->n].why, r->waits[i].from_ms, r->waits[i].until_ms};
            w->n++;
        }
    }
    page_row(p);
    page_cell(p, r->verb);
    page_cell(p, time_text(r->begun_ms, from));
    page_cell(p, r->ended_ms ? time_text(r->ended_ms, until) : "it ended without a word, or runs still");
    page_number(p, r->requests);
    page_cell(p, r->n_waits ? cli_span(waited) : "");
    page_cell(p, r->end_code[0] ? r->end_text : r->ended_ms ? "came to its end" : "");
    page_row_end(p);
    w->runs++;
    return 0;
}

static int timeline(struct report_page *x, struct gs_err *err)
{
    static const char *const columns[] = {"Command", "From", "Until", "#Requests", "Waited", "How it ended"};
    static const char *const wait_columns[] = {"Waited for", "From", "For"};
    uint64_t v[COLUMNS];
    int64_t from, until;
    char a[32], b[32], title[160];
    struct waits w = {.x = x};
    page_section(&x->page, "timeline", "The load over time");
    page_table(&x->page, "Runs of the load", columns, GS_COUNT(columns));
    if (run_info_each(x->state, run_row, &w, err) || report_span(x->state, &from, &until, err))
        return -1;
    page_table_end(&x->page);
    if (until == 0)
        return 0;
    for (size_t i = 0; i < w.n; i++) {
        from = w.v[i].from_ms < from ? w.v[i].from_ms : from;
        until = w.v[i].until_ms > until ? w.v[i].until_ms : until;
    }
    if (report_timeline(x->state, from, until, v, COLUMNS, err))
        return -1;
    snprintf(title, sizeof title, "Steps that ended, from %s to %s; below, when the load waited", time_text(from, a), time_text(until, b));
    page_timeline(&x->page, title, from, until, v, COLUMNS, w.v, w.n);
    page_text(&x->page, "%s.", title);
    if (w.n == 0)
        return 0;
    page_table(&x->page, "Waits of the load", wait_columns, GS_COUNT(wait_columns));
    for (size_t i = 0; i < w.n; i++) {
        page_row(&x->page);
        page_cell(&x->page, live_wait_words(w.v[i].why));
        page_cell(&x->page, time_text(w.v[i].from_ms, a));
        page_cell(&x->page, cli_span(w.v[i].until_ms - w.v[i].from_ms));
        page_row_end(&x->page);
    }
    page_table_end(&x->page);
    return 0;
}

/* ---- failures, losses, people ---- */

static int failure_row(void *cookie, const struct report_failure *f, struct gs_err *err)
{
    struct report_page *x = cookie;
    struct page *p = &x->page;
    (void)err;
    if (!shown(x))
        return 0;
    page_row(p);
    page_cell(p, f->group);
    page_cell(p, name_of(f->relation));
    page_cell(p, f->op.key);
    page_state(p, f->reason ? "left out on purpose" : op_state_name(f->op.state), f->reason ? "off" : "bad");
    page_cell(p, f->reason ? f->reason : f->op.text);
    page_cell(p, f->hint);
    page_row_end(p);
    return 0;
}

static int failures(struct report_page *x, struct gs_err *err)
{
    static const char *const columns[] = {"Group", "Kind", "Record", "State", "What the target said", "What to do"};
    struct report_total t;
    page_section(&x->page, "failures", "Failures");
    if (report_total(x->state, &t, err))
        return -1;
    if (t.failed + t.because_failed + t.decided == 0) {
        page_text(&x->page, "None.");
        return 0;
    }
    page_table(&x->page, "Records that failed or were left out, and what to do", columns, GS_COUNT(columns));
    if (report_failures(x->state, false, NULL, failure_row, x, err))
        return -1;
    page_table_end(&x->page);
    cut(x, "replay failures --csv --state STATE");
    return 0;
}

static int loss_row(void *cookie, const struct report_loss *l, struct gs_err *err)
{
    struct report_page *x = cookie;
    struct page *p = &x->page;
    (void)err;
    if (!shown(x))
        return 0;
    page_row(p);
    page_cell(p, name_of(l->relation));
    page_number(p, l->count);
    page_state(p, l->whole ? "not loaded" : "in part", l->whole ? "off" : "part");
    page_cell(p, l->text);
    page_cell(p, l->detail);
    page_cell(p, l->code);
    page_row_end(p);
    return 0;
}

static int losses(struct report_page *x, struct gs_err *err)
{
    static const char *const columns[] = {"Kind", "#How often", "How much", "What is not as at the source", "For example", "Code"};
    page_section(&x->page, "losses", "Losses by rule");
    page_text(&x->page, "What the API of the target cannot carry, or was not asked to. Nothing else may be lost.");
    page_table(&x->page, "Losses by rule, with what each means", columns, GS_COUNT(columns));
    if (report_losses(x->state, loss_row, x, err))
        return -1;
    page_table_end(&x->page);
    x->rows = 0;
    return 0;
}

static int nobody_row(void *cookie, const struct user_row *u, struct gs_err *err)
{
    struct report_page *x = cookie;
    (void)err;
    if (!shown(x))
        return 0;
    page_row(&x->page);
    page_cell(&x->page, u->username);
    page_cell(&x->page, u->how && strncmp(u->how, "none:", 5) == 0 ? u->how + 5 : u->how);
    page_row_end(&x->page);
    return 0;
}

static int people(struct report_page *x, const struct report_total *t, struct gs_err *err)
{
    static const char *const columns[] = {"Person at the source", "Why nobody on the target"};
    const struct page_part parts[] = {
        {"by public email", "good", t->by_email}, {"by the user map", "good", t->by_csv}, {"nobody on the target", "off", t->nobody}};
    char label[64];
    page_section(&x->page, "people", "People");
    snprintf(label, sizeof label, "%s people", cli_count(t->people));
    page_bars(&x->page);
    page_bar(&x->page, label, parts, GS_COUNT(parts));
    page_bars_end(&x->page);
    if (t->nobody == 0)
        return 0;
    page_table(&x->page, "People of the bundle who are nobody on the target", columns, GS_COUNT(columns));
    if (report_nobody(x->state, nobody_row, x, err))
        return -1;
    page_table_end(&x->page);
    cut(x, "replay status --csv people --state STATE");
    return 0;
}

/* ---- where it comes from ---- */

static void signatures(struct report_page *x)
{
    static const char *const columns[] = {"Key", "Signature", "Comment"};
    const struct bundle_signature *v;
    size_t n = bundle_signatures(x->bundle, &v);
    page_table(&x->page, "Signatures of the bundle", columns, GS_COUNT(columns));
    for (size_t i = 0; i < n; i++) {
        char id[SIGN_KEYID_HEX];
        sign_keyid_hex(v[i].info.id, id);
        page_row(&x->page);
        page_cell(&x->page, id);
        page_state(&x->page, v[i].result == GS_OK ? "verified" : "not verified", v[i].result == GS_OK ? "good" : "off");
        page_cell(&x->page, v[i].result == GS_OK ? v[i].info.trusted_comment : "");
        page_row_end(&x->page);
    }
    page_table_end(&x->page);
}

static int provenance(struct report_page *x, struct gs_err *err)
{
    struct page *p = &x->page;
    page_section(p, "provenance", "Where it comes from");
    page_facts(p);
    if (meta_fact(x, "Bundle", "bundle_path", err) || meta_fact(x, "Digest of its manifest", "bundle_digest", err) ||
        meta_fact(x, "Set", "set_id", err))
        return -1;
    if (x->bundle) {
        yyjson_val *m = bundle_manifest(x->bundle), *src = yyjson_obj_get(m, "source"), *cap = yyjson_obj_get(m, "capture");
        page_fact(p, "Source", gs_json_str(src, "url"), gs_json_str(src, "url"));
        page_fact(p, "GitLab there", gs_json_str(src, "version"), NULL);
        page_fact(p, "Captured", gs_json_str(cap, "finished_at"), NULL);
        page_fact(p, "By way of", gs_json_str(cap, "via"), NULL);
    }
    page_fact(p, "State file", x->state_path, NULL);
    if (x->books) {
        page_fact(p, "Books", x->books_path, NULL);
        page_fact(p, "Digest of the books", receipt_get(x->books, "books", 0, NULL), NULL);
    }
    if (meta_fact(x, "Planned with", "tool_version", err))
        return -1;
    page_facts_end(p);
    if (x->bundle)
        signatures(x);
    else
        page_text(p, "Name the bundle to have its source and its signatures here.");
    return 0;
}

static void verdict(const struct report_page *x, const struct report_total *t, char *out, size_t cap, bool *good)
{
    uint64_t balance = 0;
    struct gs_err ignored = {0};
    if (x->books && receipt_u64(x->books, "balance", &balance, &ignored) == 0) {
        *good = balance == 0;
        snprintf(out, cap, balance ? "The books do not balance: %s to explain" : "Balance %s: every record is accounted for", cli_count(balance));
        return;
    }
    *good = t->failed + t->because_failed + t->open == 0;
    snprintf(out, cap, "%s done, %s failed, %s to do", cli_count(t->done), cli_count(t->failed + t->because_failed), cli_count(t->open));
}

static int begin(struct report_page *x, const char *what, const char *state, bool good, struct gs_err *err)
{
    gs_autofree char *url = NULL;
    gs_autofree char *subtitle = NULL;
    if (state_meta_get(x->state, "target_url", &url, err))
        return -1;
    subtitle = gs_asprintf("into %s", url ? url : "?");
    if (!subtitle)
        return gs_fail(err, GS_E_NOMEM, "no memory for a report");
    page_begin(&x->page, what, subtitle, state, good, err);
    return 0;
}

static int root_path(void *cookie, const struct report_group *g, struct gs_err *err)
{
    char **out = cookie;
    if (g->grp.parent || *out)
        return 0;
    *out = gs_asprintf("%s", g->grp.src_path);
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a report");
}

int report_page_write(struct report_page *x, struct gs_err *err)
{
    struct report_total t;
    gs_autofree char *root = NULL;
    char state[160];
    bool good;
    if (report_total(x->state, &t, err) || report_groups(x->state, root_path, &root, err))
        return -1;
    gs_autofree char *title = gs_asprintf("Load of %s", root ? root : "a bundle");
    if (!title)
        return gs_fail(err, GS_E_NOMEM, "no memory for a report");
    verdict(x, &t, state, sizeof state, &good);
    if (begin(x, title, state, good, err) || summary(x, &t, err) || tree(x, err) || relations(x, err))
        return -1;
    findings(x);
    return timeline(x, err) || failures(x, err) || losses(x, err) || people(x, &t, err) || provenance(x, err) || page_finish(&x->page) ? -1
                                                                                                                                       : 0;
}

int report_page_plan(struct report_page *x, const char *least, struct gs_err *err)
{
    struct report_total t;
    gs_autofree char *root = NULL;
    int64_t requests;
    if (report_total(x->state, &t, err) || report_groups(x->state, root_path, &root, err) || report_fact(x->state, "requests", &requests, err))
        return -1;
    gs_autofree char *title = gs_asprintf("Plan to load %s", root ? root : "a bundle");
    if (!title)
        return gs_fail(err, GS_E_NOMEM, "no memory for a report");
    if (begin(x, title, "Nothing was written to the target", true, err))
        return -1;
    struct page *p = &x->page;
    page_section(p, "summary", "What will be done");
    page_facts(p);
    if (meta_fact(x, "Target", "target_url", err) || meta_fact(x, "GitLab", "target_version", err) || meta_fact(x, "As user", "target_user", err))
        return -1;
    page_fact(p, "Steps", cli_count(t.ops), NULL);
    page_fact(p, "Requests", cli_count((uint64_t)requests), NULL);
    page_fact(p, "Takes at least", least, NULL);
    page_facts_end(p);
    return tree(x, err) || relations(x, err) || losses(x, err) || people(x, &t, err) || provenance(x, err) || page_finish(p) ? -1 : 0;
}
