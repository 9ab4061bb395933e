/* The course of a capture: root, discovery of the tree, groups open a few at a time, and the tree's order at the end. */
#include "libexport/watch.h"

#include "libcommon/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPEN_GROUPS 64
#define EXPORT_TIMEOUT_MS (90 * 60 * 1000)

/* What is read of a group besides itself: the lists, and what is only counted. */
static const struct cap_kind *const cap_lists[] = {
    &cap_kind_labels, &cap_kind_milestones, &cap_kind_boards, &cap_kind_members, NULL,
};
static const struct cap_kind *const cap_counts[] = {&cap_kind_invitations, &cap_kind_unread, NULL};

void cap_fail(struct capture *c, const struct gs_err *err)
{
    if (!c->failed) {
        c->failed = true;
        c->err = *err;
    }
    if (c->o.stop)
        *c->o.stop = 1;
}

void cap_fail_live(struct capture *c, const struct gs_err *err)
{
    c->kept_is_good |= !c->failed;
    cap_fail(c, err);
}

void cap_begin(struct cap_group *g)
{
    g->pending++;
}

void cap_end(struct cap_group *g)
{
    if (--g->pending > 0)
        return;
    struct capture *c = g->cap;
    struct plan_group *pg = &c->plan.v[g->at];
    if (g->aside) {
        c->aside--;
        if (!c->failed)
            pg->counts = COUNTS_KNOWN;
        free(g);
        return;
    }
    c->open--;
    if (g->late) {
        free(g);
        return;
    }
    if (pg->state == PLAN_FOUND && !c->failed)
        pg->state = PLAN_KEPT;
    c->done += !c->failed; /* else it only ended */
    free(g);
}

bool cap_denied(const struct gs_err *err)
{
    switch (err->code) {
    case GS_E_TOKEN:
    case GS_E_SCOPE:
    case GS_E_STOPPED:
    case GS_E_NOMEM:
    case GS_E_DISK_FULL:
        return false;
    case GS_E_GRAPHQL:
    case GS_E_FORBIDDEN:
    case GS_E_GROUP_NOT_FOUND:
        return true;
    default:
        return err->http == 403 || err->http == 404 || err->http == 405;
    }
}

void cap_refused(struct capture *c, unsigned n, const struct gs_err *why)
{
    if (c->luck[n].refused++ == 0)
        snprintf(c->luck[n].why, sizeof c->luck[n].why, "%s", why->text);
}

bool cap_try(const struct capture *c, unsigned n)
{
    return c->luck[n].ok > 0 || c->luck[n].refused < 3;
}

int cap_sink(struct cap_group *g, const char *relation, struct sink **out, struct gs_err *err)
{
    struct shelf *shelf = relations_shelf(g, relation);
    return shelf ? sink_open_shelf(shelf, out, err) : sink_open(g->cap->book, g->id, relation, out, err);
}

int cap_missing(struct cap_group *g, const char *relation, const struct gs_err *why, struct gs_err *err)
{
    return relations_no_addition(g, relation, why) ? 0 : cap_missing_now(g, relation, why, err);
}

int cap_missing_now(struct cap_group *g, const char *relation, const struct gs_err *why, struct gs_err *err)
{
    gs_logf(g->cap->o.log, GS_LOG_WARN, "%s of '%s' cannot be read: %s", relation, g->full_path, why->text);
    bool forbidden = why->code == GS_E_FORBIDDEN || why->code == GS_E_GROUP_NOT_FOUND || why->http == 403 || why->http == 404;
    return book_missing(g->cap->book, g->id, relation, forbidden ? "forbidden" : "relation-not-read", why->text, err);
}

int cap_user(struct capture *c, const struct cap_user *u, struct gs_err *err)
{
    if (u->id <= 0)
        return 0;
    /* answers know more or less of a user; whoever tells more than was told is heard, in any order */
    size_t known = !u->public_email ? 0 : u->bot < 0 ? 1 : 2;
    bool is_new;
    for (size_t i = known; i < GS_COUNT(c->users); i++)
        if (idset_has(&c->users[i], u->id))
            return 0;
    if (idset_add(&c->users[known], u->id, &is_new, err))
        return -1;
    gs_autobuf b;
    gs_buf_init(&b, 64 << 10);
    struct gs_jw w;
    gs_jw_init(&w, &b, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "id", u->id);
    gs_jw_kstr(&w, "username", u->username);
    gs_jw_kstr(&w, "name", u->name);
    gs_jw_kstr(&w, "public_email", u->public_email);
    gs_jw_kstr(&w, "state", u->state);
    gs_jw_kstr(&w, "kind", u->bot < 0 ? NULL : u->bot ? "bot" : "human");
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? -1 : bundle_writer_user(book_writer(c->book), gs_buf_str(&b), b.len, err);
}

/* ---- discovery ---- */

struct discovery {
    struct capture *cap;
    uint64_t twice;
    bool below; /* direct children of one group, not the whole tree */
    size_t at;  /* whose */
};

static int found_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct discovery *d = cookie;
    struct capture *c = d->cap;
    if (c->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it))) {
        int64_t id, parent = 0;
        const char *path;
        bool is_new;
        if (gs_json_need_i64(v, "id", &id, err) || gs_json_need_str(v, "full_path", &path, err))
            return gs_wrap(err, "list of the groups below '%s'", c->root_path);
        gs_json_i64(v, "parent_id", &parent);
        if (plan_add(&c->plan, id, parent, path, &is_new, err))
            return -1;
        d->twice += !is_new;
        if (is_new && mark_value(v, &c->plan.v[c->plan.n - 1].mark, err))
            return -1;
    }
    return 0;
}

static int discover(struct capture *c, size_t at, bool below, struct gs_err *err);

/* All lists of groups are one account of the root's: this one is added to it. */
static void add_list(struct capture *c, const struct gl_pages *p, uint64_t twice)
{
    struct gl_pages *t = &c->tree;
    t->pages += p->pages;
    t->records += p->records;
    t->bytes += p->bytes;
    t->retries += p->retries;
    t->waited_ms += p->waited_ms;
    t->announced = t->announced < 0 || p->announced < 0 ? -1 : t->announced + p->announced;
    c->tree_twice += twice;
}

static int found_result(struct discovery *d, const struct gl_pages *p, const struct gs_err *result, struct gs_err *err)
{
    struct capture *c = d->cap;
    if (result->code == GS_OK) {
        add_list(c, p, d->twice);
        return 0;
    }
    if (c->failed || !cap_denied(result)) {
        *err = *result;
        return -1;
    }
    if (d->below) {
        const struct plan_group *pg = &c->plan.v[d->at];
        struct cap_group g = {.cap = c, .id = pg->id, .full_path = pg->full_path};
        c->tree.announced = -1;
        return cap_missing(&g, "subgroups", result, err);
    }
    /* the whole tree in one list is refused: level by level then */
    c->recursive = true;
    return book_fallback(c->book, c->root_id, "subgroups", "descendant_groups", "subgroups", result->text, err);
}

static void found_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct discovery *d = cookie;
    struct capture *c = d->cap;
    struct gs_err err = {0};
    c->discovering--;
    if (found_result(d, p, result, &err)) {
        c->broken_discovery = c->plan.v[d->at].id;
        cap_fail(c, &err);
    }
    free(d);
}

static int discover(struct capture *c, size_t at, bool below, struct gs_err *err)
{
    struct discovery *d = calloc(1, sizeof *d);
    if (!d)
        return gs_fail(err, GS_E_NOMEM, "no memory for the list of groups");
    *d = (struct discovery){.cap = c, .below = below, .at = at};
    char id[24];
    snprintf(id, sizeof id, "%" PRId64, c->plan.v[at].id);
    gs_autofree char *path = ahead_tree_path(id, below);
    c->discovering++;
    struct gl_list_opts tagged = {.tag = {c->plan.v[at].id, "subgroups"}};
    if (path && gl_list_with(c->client, path, &tagged, found_page, found_done, d, err) == 0)
        return 0;
    if (!path)
        gs_fail(err, GS_E_NOMEM, "no memory for a path");
    c->discovering--;
    free(d);
    return -1;
}

/* ---- groups ---- */

static int start_all(struct cap_group *g, const struct cap_kind *const *kinds, struct gs_err *err)
{
    int r = 0;
    for (size_t i = 0; kinds[i] && r == 0; i++)
        r = kinds[i]->start(g, err);
    return r;
}

static int open_with(struct capture *c, const struct cap_group *how, const struct cap_kind *const *kinds, struct gs_err *err)
{
    struct cap_group *g = malloc(sizeof *g);
    if (!g)
        return gs_fail(err, GS_E_NOMEM, "no memory for a group");
    const struct plan_group *pg = &c->plan.v[how->at];
    *g = (struct cap_group){.cap = c, .at = how->at, .late = how->late, .aside = how->aside, .id = pg->id, .parent_id = pg->parent_id,
                            .full_path = pg->full_path};
    *(g->aside ? &c->aside : &c->open) += 1;
    cap_begin(g);
    int r = start_all(g, kinds, err);
    cap_end(g);
    return r;
}

static int group_open(struct capture *c, size_t at, struct gs_err *err)
{
    static const struct cap_kind *const self[] = {&cap_kind_self, NULL};
    return open_with(c, &(struct cap_group){.at = at}, self, err);
}

int cap_group_late(struct capture *c, size_t at, struct gs_err *err)
{
    static const struct cap_kind *const badges[] = {&cap_kind_badges, NULL};
    return open_with(c, &(struct cap_group){.at = at, .late = true}, badges, err);
}

bool cap_aside_left(const struct capture *c)
{
    return !c->rel && !c->o.once && (c->aside > 0 || c->next_aside < c->plan.n);
}

int cap_fill_aside(struct capture *c, struct gs_err *err)
{
    struct plan_group *v = c->plan.v;
    /* not of a group that is being read: it may turn out to be closed to us, and nothing more is told of it then */
    for (size_t at = c->next_aside; !c->rel && !c->o.once && at < c->plan.n && at < c->next_aside + 2 * MAX_OPEN_GROUPS; at++) {
        if (v[at].state == PLAN_FOUND || v[at].counts != COUNTS_NONE)
            continue;
        if (gl_room(c->client) == 0)
            break;
        v[at].counts = v[at].state == PLAN_KEPT ? COUNTS_ASKED : COUNTS_KNOWN;
        if (v[at].state == PLAN_KEPT && open_with(c, &(struct cap_group){.at = at, .aside = true}, cap_counts, err))
            return -1;
    }
    while (c->next_aside < c->plan.n && v[c->next_aside].counts != COUNTS_NONE)
        c->next_aside++;
    return 0;
}

int cap_group_rest(struct cap_group *g, struct gs_err *err)
{
    if (g->rel) /* the rest when it is known what the export does not have */
        return cap_kind_members.start(g, err) || cap_kind_invitations.start(g, err) ? -1 : 0;
    if (start_all(g, cap_lists, err))
        return -1;
    if (g->cap->o.once && !g->cap->rel) {
        g->cap->plan.v[g->at].counts = COUNTS_KNOWN;
        /* which groups have planning records is asked by what counts those that are not read */
        return cap_kind_badges.start(g, err) || cap_kind_unread.start(g, err) ? -1 : 0;
    }
    /* of the root at once: what it refuses is not asked for again for every group */
    if (!g->cap->rel && g->at > 0)
        return 0;
    g->cap->plan.v[g->at].counts = COUNTS_KNOWN;
    /* a group without an export beside others that have one is read to its end */
    return start_all(g, cap_counts, err) || (g->cap->rel && cap_kind_badges.start(g, err)) ? -1 : 0;
}

void cap_group_lost(struct cap_group *g)
{
    g->cap->plan.v[g->at].state = PLAN_LOST;
}

static int fill(struct capture *c, struct gs_err *err)
{
    /* more than jobs: a group that waits for the last page of one list must not keep the others' slots empty */
    unsigned max_open = c->o.jobs < MAX_OPEN_GROUPS / 2 ? 2 * c->o.jobs : MAX_OPEN_GROUPS;
    while (c->recursive && c->next_recursion < c->plan.n && c->discovering < 2)
        if (discover(c, c->next_recursion++, true, err))
            return -1;
    /* nothing is kept of one that is read once: so that what only a list tells is not asked for last, all lists begin as early as possible */
    while (c->next < c->plan.n && c->open < max_open && (gl_room(c->client) > 0 || (c->o.once && !c->rel)))
        if (group_open(c, c->next++, err))
            return -1;
    /* some are left for the look, of which the longest lists would else be waited for alone */
    return c->next == c->plan.n && c->discovering == 0 ? cap_fill_aside(c, err) : 0;
}

static void note_progress(struct capture *c, const struct book_summary *s, const struct gl_stats *http)
{
    struct staging_progress p = {.groups_found = c->plan.n,
                                 .groups_done = c->done,
                                 .records = s->records,
                                 .discovering = c->discovering > 0,
                                 .http = *http,
                                 .relations = s->relations,
                                 .n_relations = s->n_relations,
                                 .reasons = s->reasons,
                                 .n_reasons = s->n_reasons};
    struct gs_err err = {0};
    if (staging_progress(c->o.staging, &p, &err))
        cap_fail(c, &err);
}

static void report(struct capture *c, bool last)
{
    bool note = c->o.staging && (last || staging_progress_due(c->o.staging));
    if (!c->o.progress && !note)
        return;
    struct book_summary s;
    book_summary(c->book, &s);
    struct relations_progress rp = {0};
    if (c->rel)
        relations_progress(c->rel, &rp);
    struct capture_progress p = {.exporting = rp.exporting, .downloading = rp.downloading,
                                 .groups_found = c->plan.n, .groups_done = c->done, .records = s.records,
                                 .discovering = c->discovering > 0, .looking = c->looking, .groups_looked = c->looked};
    gl_client_stats(c->client, &p.http);
    if (note)
        note_progress(c, &s, &p.http);
    if (c->o.progress)
        c->o.progress(c->o.cookie, &p);
}

void cap_report(struct capture *c)
{
    report(c, false);
}

static bool more(const struct capture *c)
{
    return c->open > 0 || c->discovering > 0 || c->next < c->plan.n || (c->recursive && c->next_recursion < c->plan.n);
}

bool cap_stopped(struct capture *c)
{
    struct gs_err err = {0};
    if (!c->o.stop || !*c->o.stop)
        return false;
    gs_fail(&err, GS_E_STOPPED, "stopped");
    cap_fail(c, &err);
    return true;
}

/* Exports are waited for, and worker threads: not for the network alone. */
static int turn(struct capture *c, struct gs_err *err)
{
    int64_t wait;
    if (fill(c, err))
        return -1;
    if (!c->rel)
        return gl_poll(c->client, 200, err);
    return relations_tick(c->rel, &wait, err) || gl_wait(c->client, (int)wait, err) ? -1 : 0;
}

static void loop(struct capture *c)
{
    struct gs_err err = {0};
    while (!c->failed && more(c)) {
        if (!cap_stopped(c) && turn(c, &err))
            cap_fail(c, &err);
        report(c, false);
    }
    /* after a failure, what is still on its way ends with an error of its own, and cleans up in its callbacks */
    while ((c->failed || c->rel) && gl_pending(c->client) > 0)
        if (gl_poll(c->client, 200, &err))
            break;
    if (c->rel)
        relations_abandon(c->rel);
    report(c, true);
}

/* ---- start and end ---- */

/* The root's record: the answer to what was asked ahead, or to a request that is sent now. */
static int get_root(struct capture *c, yyjson_doc **out, struct gs_err *err)
{
    const struct gl_response *rsp = NULL;
    if (c->o.ahead && ahead_root(c->o.ahead, c->client, &rsp, err))
        return -1;
    if (rsp)
        return gl_response_json(rsp, out, err);
    gs_autofree char *enc = gl_encode(c->o.group);
    gs_autofree char *path = enc ? ahead_root_path(enc) : NULL;
    return path ? gl_get(c->client, path, out, err) : gs_fail(err, GS_E_NOMEM, "no memory for a path");
}

static int find_root(struct capture *c, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (get_root(c, &doc, err)) {
        if (err->http == 404 || err->code == GS_E_GROUP_NOT_FOUND) {
            gs_err_clear(err);
            return gs_fail(err, GS_E_GROUP_NOT_FOUND, "group '%s' was not found on %s", c->o.group,
                           gl_client_host(c->client));
        }
        return gs_wrap(err, "group '%s'", c->o.group);
    }
    yyjson_val *v = yyjson_doc_get_root(doc);
    const char *full_path;
    bool is_new;
    if (gs_json_need_i64(v, "id", &c->root_id, err) || gs_json_need_str(v, "full_path", &full_path, err))
        return gs_wrap(err, "group '%s'", c->o.group);
    if (c->o.ahead)
        ahead_is(c->o.ahead, c->root_id);
    c->root_path = strdup(full_path);
    if (!c->root_path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    return plan_add(&c->plan, c->root_id, 0, full_path, &is_new, err);
}

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* A group that was lost, but has children in the bundle, stays as a bare record, so that they keep their place. */
static int skeleton(struct capture *c, const struct plan_group *g, struct gs_err *err)
{
    struct sink *s;
    const char *slash = strrchr(g->full_path, '/');
    const char *path = slash ? slash + 1 : g->full_path;
    struct gs_jw w;
    gs_buf_reset(&c->json);
    gs_jw_init(&w, &c->json, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "id", g->id);
    gs_jw_kstr(&w, "name", path);
    gs_jw_kstr(&w, "path", path);
    gs_jw_ki64(&w, "visibility_level", 0);
    gs_jw_key(&w, "parent_id");
    if (g->parent_id)
        gs_jw_i64(&w, g->parent_id);
    else
        gs_jw_null(&w);
    gs_jw_kstr(&w, "full_path", g->full_path);
    gs_jw_end(&w);
    if (gs_jw_finish(&w) || sink_open(c->book, g->id, "self", &s, err))
        return -1;
    if (sink_add(s, gs_buf_str(&c->json), c->json.len, err)) {
        sink_abandon(s);
        return -1;
    }
    return sink_close(s, 1, 0, err);
}

/* The account of the tree: what the lists announced, and which groups are in the bundle. */
static int balance_tree(struct capture *c, struct gs_err *err)
{
    struct cap_group root = {.cap = c, .id = c->root_id};
    uint64_t stored = 0, lost = 0;
    for (size_t i = 0; i < c->plan.n; i++) {
        stored += c->plan.v[i].state == PLAN_KEPT;
        lost += c->plan.v[i].state != PLAN_KEPT;
    }
    if (c->o.no_subgroups)
        return book_left_out(c->book, c->root_id, "subgroups", "group-excluded", NULL, 0, "how many was not asked", err);
    if (cap_fetch(&root, "subgroups", c->recursive ? "rest:/groups/:id/subgroups" : "rest:/groups/:id/descendant_groups",
                  &c->tree, err) ||
        cap_compare(&root, "subgroups", &c->tree, c->tree_twice, err))
        return -1;
    if ((lost > 0 && book_left_out(c->book, c->root_id, "subgroups", "group-not-visible", NULL, lost, NULL, err)) ||
        (c->tree_twice > 0 &&
         book_left_out(c->book, c->root_id, "subgroups", "duplicate-record", NULL, c->tree_twice, NULL, err)))
        return -1;
    return book_relation(c->book, c->root_id, "subgroups", c->tree.announced, stored - 1, lost + c->tree_twice, 0, err);
}

static int write_tree(struct capture *c, struct gs_err *err)
{
    struct plan *p = &c->plan;
    plan_order(p);
    /* parents of groups that are kept, from the leaves up */
    size_t n = 0;
    gs_autofree int64_t *needed = malloc((p->n + 1) * sizeof *needed);
    if (!needed)
        return gs_fail(err, GS_E_NOMEM, "no memory for the tree");
    for (size_t i = p->n; i-- > 0;)
        if (p->v[i].state == PLAN_KEPT && p->v[i].parent_id)
            needed[n++] = p->v[i].parent_id;
    qsort(needed, n, sizeof *needed, by_id);
    for (size_t i = p->n; i-- > 0;) {
        struct plan_group *g = &p->v[i];
        if (g->state != PLAN_LOST || !bsearch(&g->id, needed, n, sizeof *needed, by_id))
            continue;
        g->state = PLAN_KEPT;
        if (g->parent_id) {
            needed[n++] = g->parent_id;
            qsort(needed, n, sizeof *needed, by_id);
        }
        if (skeleton(c, g, err))
            return -1;
    }
    for (size_t i = 0; i < p->n; i++) {
        const struct plan_group *g = &p->v[i];
        int64_t parent = g->id == c->root_id ? 0 : g->parent_id;
        if (g->state == PLAN_KEPT && bundle_writer_group(book_writer(c->book), g->id, parent, g->full_path, err))
            return -1;
    }
    return 0;
}

int capture_new(const struct capture_opts *o, struct bundle_writer *w, struct capture **out, struct gs_err *err)
{
    struct capture *c = calloc(1, sizeof *c);
    if (!c)
        return gs_fail(err, GS_E_NOMEM, "no memory for a capture");
    c->o = *o;
    c->client = o->client;
    if (c->o.jobs == 0)
        c->o.jobs = 8;
    if (c->o.export_timeout_ms == 0)
        c->o.export_timeout_ms = EXPORT_TIMEOUT_MS;
    plan_init(&c->plan);
    for (size_t i = 0; i < GS_COUNT(c->users); i++)
        idset_init(&c->users[i]);
    gs_buf_init(&c->json, (size_t)50 << 20);
    if (book_new(w, &c->book, err) || book_watch(c->book, err) ||
        book_pass(c->book, o->pass ? o->pass : 1, o->settled, o->n_settled, err)) {
        capture_free(c);
        return -1;
    }
    c->marks = book_marks(c->book);
    book_on_record(c->book, o->record, o->record_cookie);
    *out = c;
    return 0;
}

void capture_free(struct capture *c)
{
    if (!c)
        return;
    relations_free(c->rel);
    gl_client_keep(c->client, NULL); /* the store may end before the client */
    plan_release(&c->plan);
    for (size_t i = 0; i < GS_COUNT(c->users); i++)
        idset_release(&c->users[i]);
    cap_emails_free(c->emails);
    gs_buf_release(&c->json);
    book_free(c->book);
    free(c->root_path);
    free(c->watermarks);
    free(c);
}

/* For the manifest: each relation over the whole tree. */
static int sum_watermarks(struct capture *c, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf b;
    char time[GS_TIME_LEN];
    gs_buf_init(&b, 1 << 20);
    gs_jw_init(&w, &b, 0, err);
    gs_jw_obj(&w);
    for (int k = 0; k < MARK_KINDS; k++) {
        struct mark m;
        bool known = marks_sum(c->marks, (enum mark_kind)k, &m);
        if (!known && k >= MARK_PLANS)
            continue;
        gs_time_format(m.newest_s * 1000, time);
        gs_jw_key(&w, mark_relation((enum mark_kind)k));
        gs_jw_obj(&w);
        gs_jw_ki64(&w, "records", (int64_t)m.n);
        gs_jw_kstr(&w, "newest", m.newest_s ? time : NULL);
        gs_jw_key(&w, "highest_id");
        if (m.highest)
            gs_jw_i64(&w, m.highest);
        else
            gs_jw_null(&w);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    free(c->watermarks);
    c->watermarks = strdup(gs_buf_str(&b));
    return c->watermarks ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for watermarks");
}

/* Does the failure come from what some answer says, so that the same answer would bring it again? */
static bool of_an_answer(const struct gs_err *err)
{
    switch (err->code) {
    case GS_E_TOKEN:
    case GS_E_NO_TOKEN:
    case GS_E_SCOPE:
    case GS_E_STOPPED:
    case GS_E_NOMEM:
    case GS_E_DISK_FULL:
    case GS_E_IO:
    case GS_E_RATE:
    case GS_E_SERVER:
    case GS_E_TIMEOUT:
    case GS_E_UNREACHABLE:
    case GS_E_TLS:
    case GS_E_EXPORT_TIMEOUT:
    case GS_E_STAGING_OTHER:
    case GS_E_STAGING_DAMAGED:
        return false;
    default:
        return true;
    }
}

/* An answer that cannot be used must not be found again: of each group that was being read, everything is asked for anew. */
static void forget_doubtful(struct capture *c, const struct gs_err *why)
{
    struct staging *st = c->o.staging;
    struct gs_err e = {0};
    if (!st || c->kept_is_good || !of_an_answer(why))
        return;
    GS_IGNORE(staging_forget(st, 0, NULL, NULL, &e), "the first error is told");
    if (c->broken_discovery)
        GS_IGNORE(staging_forget(st, c->broken_discovery, "subgroups", NULL, &e), "the first error is told");
    for (size_t i = 0; i < c->next; i++)
        if (c->plan.v[i].state == PLAN_FOUND || c->plan.v[i].counts == COUNTS_ASKED)
            GS_IGNORE(staging_forget(st, c->plan.v[i].id, NULL, NULL, &e), "the first error is told");
}

static int write_cost(struct capture *c, struct gs_err *err)
{
    struct gl_stats s;
    if (c->o.reproducible)
        return 0;
    gl_client_stats(c->client, &s);
    struct ledger_capture l = {.requests = s.requests, .repeated = s.retries, .kept = s.kept + c->kept_files,
                               .longest_pause_ms = s.longest_wait_ms, .passes = c->o.pass ? c->o.pass : 1};
    return book_capture(c->book, &l, err);
}

/* Without a store: what was asked for ahead only. */
static int find_ahead(void *cookie, const struct gl_request *req, struct gl_response *out, bool *out_found, struct gs_err *err)
{
    struct capture *c = cookie;
    (void)err;
    *out_found = ahead_find(c->o.ahead, req, out);
    return 0;
}

static int keep_nothing(void *cookie, const struct gl_request *req, const struct gl_response *rsp, struct gs_err *err)
{
    (void)cookie, (void)req, (void)rsp, (void)err;
    return 0;
}

/* An answer that an earlier run kept, or that was asked for ahead, which then is kept under the request that it answers now. */
static int find_kept(void *cookie, const struct gl_request *req, struct gl_response *out, bool *out_found, struct gs_err *err)
{
    struct capture *c = cookie;
    if (c->store.find(c->store.cookie, req, out, out_found, err))
        return -1;
    if (*out_found || !ahead_find(c->o.ahead, req, out))
        return 0;
    *out_found = true;
    return c->store.keep(c->store.cookie, req, out, err);
}

static int keep_answer(void *cookie, const struct gl_request *req, const struct gl_response *rsp, struct gs_err *err)
{
    struct capture *c = cookie;
    return c->store.keep(c->store.cookie, req, rsp, err);
}

static int count_unstored(void *cookie, unsigned *out, struct gs_err *err)
{
    struct capture *c = cookie;
    return c->store.unstored(c->store.cookie, out, err);
}

/* From here on answers are kept, and those of an earlier run are found. What the capture is of was asked of the server itself. */
static int begin_staging(struct capture *c, struct gs_err *err)
{
    struct staging *st = c->o.staging;
    const struct gl_instance *i = c->o.instance;
    gs_autofree char *old = NULL;
    if (!st) {
        struct gl_keep ahead = {.cookie = c, .find = find_ahead, .keep = keep_nothing};
        if (c->o.ahead)
            gl_client_keep(c->client, &ahead);
        return 0;
    }
    struct staging_identity id = {.url = gl_client_url(c->client), .root_id = c->root_id, .root_path = c->root_path,
                                  .user_id = i ? i->user_id : 0, .username = i ? i->username : "",
                                  .version = i ? i->version : ""};
    if (staging_begin(st, &id, &old, err))
        return -1;
    c->started_ms = staging_started_ms(st);
    /* what an earlier run was shown as somebody else must be forgotten before it is found */
    if (staging_run(st) > 1 && cap_find_role(c, err))
        return -1;
    c->store = staging_keep(st, c->client);
    struct gl_keep ahead = {.cookie = c, .find = find_kept, .keep = keep_answer, .unstored = count_unstored};
    gl_client_keep(c->client, c->o.ahead ? &ahead : &c->store);
    if (!old)
        return 0;
    gs_logf(c->o.log, GS_LOG_WARN, "the GitLab was upgraded from %s to %s since the capture was begun", old, i->version);
    return book_changed(c->book, 0, "version", old, i->version, err);
}

/* By export, or by the API; with auto the first answer decides. */
static int choose_way(struct capture *c, struct gs_err *err)
{
    bool open = false;
    if (c->o.via == CAPTURE_API || !c->o.staging)
        return c->o.via == CAPTURE_RELATIONS ? gs_fail(err, GS_E_INTERNAL, "a capture by export without a staging folder") : 0;
    if (relations_new(c, &c->rel, err) || relations_begin(c->rel, &open, err))
        return -1;
    if (!open) {
        relations_free(c->rel);
        c->rel = NULL;
    }
    return 0;
}

/* What depends on the root alone travels together. */
static int begin(struct capture *c, struct gs_err *err)
{
    if (!c->o.no_subgroups && discover(c, 0, false, err))
        return -1;
    /* else it is not known yet how groups are read; a list of groups that is there already is looked at between */
    if (c->o.via == CAPTURE_API && (fill(c, err) || gl_poll(c->client, 0, err) || fill(c, err)))
        return -1;
    return cap_find_role(c, err) || choose_way(c, err) ? -1 : 0;
}

int capture_run(struct capture *c, struct gs_err *err)
{
    c->started_ms = gs_unix_ms();
    gl_client_keep(c->client, NULL); /* of an earlier pass */
    if (find_root(c, err) || begin_staging(c, err))
        return -1;
    if (begin(c, err))
        cap_fail(c, err);
    loop(c);
    c->looking = true;
    if (!c->failed && !c->o.once)
        watch_run(c);
    if (c->failed) {
        *err = c->err;
        forget_doubtful(c, err);
        return -1;
    }
    if (c->rel && relations_users(c, err))
        return -1;
    c->finished_ms = gs_unix_ms();
    if (cap_not_asked(c, err) || write_tree(c, err) || balance_tree(c, err) || write_cost(c, err) || sum_watermarks(c, err) ||
        book_close(c->book, err))
        return -1;
    book_unwatch(c->book); /* packing needs the memory */
    c->marks = NULL;
    return 0;
}

void capture_summary(struct capture *c, struct book_summary *out)
{
    book_summary(c->book, out);
}

uint64_t capture_groups(const struct capture *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->plan.n; i++)
        n += c->plan.v[i].state == PLAN_KEPT;
    return n;
}

void capture_meta(const struct capture *c, struct bundle_meta *out)
{
    const struct gl_instance *i = c->o.instance;
    out->source_url = gl_client_url(c->client);
    out->source_host = gl_client_host(c->client);
    const char *tls = gl_client_tls_sha256(c->client);
    out->tls_sha256 = tls && *tls ? tls : NULL;
    out->enterprise = -1;
    if (i) {
        out->gitlab_version = i->version[0] ? i->version : NULL;
        out->gitlab_revision = i->revision[0] ? i->revision : NULL;
        out->enterprise = i->enterprise;
        out->clock_known = i->clock_known;
        /* a Date header has no milliseconds: of two measurements one may say a second more, and the bytes would not be the same */
        int64_t ms = i->clock_offset_ms;
        out->clock_offset_ms = c->o.reproducible ? (ms < 0 ? ms - 5000 : ms + 5000) / 10000 * 10000 : ms;
        out->token_user = i->username[0] ? i->username : NULL;
    }
    out->token_role = c->role;
    out->via = c->rel ? "relations" : "api";
    out->watermarks_json = c->watermarks;
    out->started_at_ms = c->started_ms;
    out->finished_at_ms = c->finished_ms;
    out->root_path = c->root_path;
    out->root_id = c->root_id;
}
