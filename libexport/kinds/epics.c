/*
 * epics with labels, comments, emoji and events: GraphQL, a few in each answer, and REST for the events, which it alone shows. All of a
 * group are kept until they are complete, and are stored in the order of their ids. Read of groups that have some (kinds/unread.c).
 *
 * Where GraphQL has no epics any more, they are read as the work items that they are (epic_items.h). These have no events, and no number for the
 * place among their siblings: each parent is asked for its children, in their order.
 */
#include "libexport/capture_priv.h"
#include "libexport/kinds/epic_items.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COLLECT_MAX ((size_t)1 << 30) /* bytes of all epics of one group */
#define AT_ONCE 16                    /* epics whose events and further comments are on their way */

static const struct {
    unsigned number; /* of the luck */
    const char *document, *notes, *connection, *note_connection;
    int since;       /* major version */
    bool items;
} ways[] = {
    {12, "group_epics_16", "epic_notes_16", "group.epics", "group.epic.notes", 16, false},
    {13, "group_epics", "epic_notes", "group.epics", "group.epic.notes", 0, false},
    {17, "work_items_epics", "work_item_notes", "group.workItems", "workItem.widgets.notes", 17, true},
};

/* What GraphQL told of an epic, and what is asked for besides. */
struct epic {
    struct job *job;
    int64_t id, iid;
    size_t off, len;      /* of the node, in the text of the job */
    struct gs_buf notes, states, labels; /* elements of arrays */
    bool many_notes;
    unsigned left;        /* requests */
    int64_t place;        /* among its siblings, counted from 1; 0: not told like this */
};

/* An epic of this or of another group, below which some of the group hang. */
struct parent {
    struct job *job;
    int64_t id, children; /* children: that came so far */
};

struct job {
    struct cap_group *group;
    unsigned way;
    struct gs_buf text;
    struct epic **v;
    size_t n, cap, next;
    unsigned open;        /* epics that are not complete */
    struct idset seen;
    uint64_t twice, no_events;
    struct gl_pages pages;
    bool broke, failed;
    /* of work items */
    struct parent **parents;
    size_t n_parents, cap_parents, next_parent;
    struct idset parent_ids;
    uint64_t closed, start_unsure, due_unsure, unfixed, no_place;
};

static void job_free(struct job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        gs_buf_release(&j->v[i]->notes);
        gs_buf_release(&j->v[i]->states);
        gs_buf_release(&j->v[i]->labels);
        free(j->v[i]);
    }
    for (size_t i = 0; i < j->n_parents; i++)
        free(j->parents[i]);
    free(j->parents);
    free(j->v);
    gs_buf_release(&j->text);
    idset_release(&j->seen);
    idset_release(&j->parent_ids);
    free(j);
}

/* ---- records ---- */

static int64_t number(yyjson_val *v, const char *key)
{
    int64_t n = 0;
    const char *text = gs_json_str(v, key);
    return text ? strtoll(text, NULL, 10) : gs_json_i64(v, key, &n) ? n : 0;
}

static yyjson_val *nodes(yyjson_val *v, const char *connection)
{
    return yyjson_obj_get(yyjson_obj_get(v, connection), "nodes");
}

static bool goes_on(yyjson_val *v, const char *connection)
{
    return gs_json_true(yyjson_obj_get(yyjson_obj_get(v, connection), "pageInfo"), "hasNextPage");
}

/* `key`_id, and with `object` the person; the users of the bundle hear of him. */
static int put_user(struct capture *c, struct gs_jw *w, const char *key_id, const char *key, yyjson_val *u, struct gs_err *err)
{
    struct cap_user user = cap_user_graphql(u);
    gs_jw_key(w, key_id);
    if (user.id <= 0) {
        gs_jw_null(w);
        return 0;
    }
    gs_jw_i64(w, user.id);
    if (key) {
        gs_jw_key(w, key);
        gs_jw_obj(w);
        gs_jw_ki64(w, "id", user.id);
        gs_jw_kstr(w, "username", user.username);
        gs_jw_kstr(w, "name", user.name);
        gs_jw_end(w);
    }
    return cap_user(c, &user, err);
}

static int put_awards(struct capture *c, struct gs_jw *w, yyjson_val *of, const char *type, int64_t id, struct gs_err *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes(of, "awardEmoji"));
    yyjson_val *a;
    gs_jw_key(w, "award_emoji");
    gs_jw_arr(w);
    while ((a = yyjson_arr_iter_next(&it))) {
        gs_jw_obj(w);
        cap_copy(w, "name", a, "name");
        if (put_user(c, w, "user_id", NULL, yyjson_obj_get(a, "user"), err))
            return -1;
        gs_jw_kstr(w, "awardable_type", type);
        gs_jw_ki64(w, "awardable_id", id);
        gs_jw_end(w);
    }
    gs_jw_end(w);
    return 0;
}

/* What stands alone is a discussion of its own kind. */
static int put_note(struct capture *c, struct gs_jw *w, int64_t epic, yyjson_val *n, struct gs_err *err)
{
    const char *gid = gs_json_str(yyjson_obj_get(n, "discussion"), "id"), *slash = gid ? strrchr(gid, '/') : NULL;
    bool thread = gid && !strstr(gid, "/IndividualNote"), internal = gs_json_true(n, "internal") || gs_json_true(n, "confidential");
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(n));
    cap_copy(w, "note", n, "body");
    gs_jw_kstr(w, "noteable_type", "Epic");
    if (put_user(c, w, "author_id", "author", yyjson_obj_get(n, "author"), err))
        return -1;
    cap_copy(w, "created_at", n, "createdAt");
    cap_copy(w, "updated_at", n, "updatedAt");
    gs_jw_ki64(w, "noteable_id", epic);
    cap_copy(w, "system", n, "system");
    gs_jw_kstr(w, "discussion_id", slash ? slash + 1 : NULL);
    gs_jw_kbool(w, "internal", internal);
    cap_copy_known(w, "last_edited_at", n, "lastEditedAt");
    gs_jw_kstr(w, "type", thread && !gs_json_true(n, "system") ? "DiscussionNote" : NULL);
    if (put_awards(c, w, n, "Note", cap_id(n), err))
        return -1;
    if (yyjson_is_obj(yyjson_obj_get(n, "systemNoteMetadata")))
        cap_copy(w, "system_note_metadata", n, "systemNoteMetadata");
    gs_jw_end(w);
    return 0;
}

static void put_labels(struct gs_jw *w, yyjson_val *v, int64_t epic)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes(v, "labels"));
    yyjson_val *l;
    gs_jw_key(w, "label_links");
    gs_jw_arr(w);
    while ((l = yyjson_arr_iter_next(&it))) {
        gs_jw_obj(w);
        gs_jw_ki64(w, "label_id", cap_id(l));
        gs_jw_ki64(w, "target_id", epic);
        gs_jw_kstr(w, "target_type", "Epic");
        gs_jw_key(w, "label");
        cap_nested_label(w, l);
        gs_jw_end(w);
    }
    gs_jw_end(w);
}

static void put_parent(struct gs_jw *w, yyjson_val *p)
{
    gs_jw_key(w, "parent_id");
    if (!yyjson_is_obj(p)) {
        gs_jw_null(w);
        return;
    }
    gs_jw_i64(w, cap_id(p));
    gs_jw_key(w, "parent");
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(p));
    gs_jw_ki64(w, "group_id", cap_id(yyjson_obj_get(p, "group")));
    gs_jw_ki64(w, "iid", number(p, "iid"));
    cap_copy(w, "title", p, "title");
    gs_jw_end(w);
}

static void put_elements(struct gs_jw *w, const char *key, const struct gs_buf *elements)
{
    gs_jw_key(w, key);
    if (elements->len == 0) {
        gs_jw_raw(w, "[]", 2);
        return;
    }
    gs_jw_arr(w);
    gs_jw_raw(w, elements->data, elements->len);
    gs_jw_end(w);
}

/* Who closed it last. */
static int put_closer(struct gs_jw *w, const struct epic *e, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf all;
    int64_t user = 0;
    gs_buf_init(&all, COLLECT_MAX);
    if (gs_buf_addc(&all, '[', err) || gs_buf_add(&all, e->states.data, e->states.len, err) || gs_buf_addc(&all, ']', err) ||
        gs_json_parse(gs_buf_str(&all), all.len, NULL, &doc, err))
        return -1;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_doc_get_root(doc));
    yyjson_val *s;
    while ((s = yyjson_arr_iter_next(&it)))
        if (gs_json_str(s, "state") && strcmp(gs_json_str(s, "state"), "closed") == 0)
            gs_json_i64(s, "user_id", &user);
    gs_jw_key(w, "closed_by_id");
    if (user)
        gs_jw_i64(w, user);
    else
        gs_jw_null(w);
    return 0;
}

static int put_epic(const struct epic *e, yyjson_val *v, struct gs_jw *w, struct gs_err *err)
{
    struct capture *c = e->job->group->cap;
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", e->id);
    gs_jw_ki64(w, "group_id", e->job->group->id);
    if (put_user(c, w, "author_id", "author", yyjson_obj_get(v, "author"), err))
        return -1;
    gs_jw_ki64(w, "iid", e->iid);
    cap_copy_date(w, "start_date", v, "startDate");
    cap_copy_date(w, "end_date", v, "dueDate");
    cap_copy(w, "created_at", v, "createdAt");
    cap_copy(w, "updated_at", v, "updatedAt");
    cap_copy(w, "title", v, "title");
    cap_copy(w, "description", v, "description");
    cap_copy_date(w, "start_date_fixed", v, "startDateFixed");
    cap_copy_date(w, "due_date_fixed", v, "dueDateFixed");
    cap_copy(w, "start_date_is_fixed", v, "startDateIsFixed");
    cap_copy(w, "due_date_is_fixed", v, "dueDateIsFixed");
    if (put_closer(w, e, err))
        return -1;
    cap_copy(w, "closed_at", v, "closedAt");
    if (e->place)
        gs_jw_ki64(w, "relative_position", e->place);
    else
        cap_copy_known(w, "relative_position", v, "relativePosition");
    cap_copy(w, "confidential", v, "confidential");
    cap_copy_known(w, "color", v, "color");
    if (gs_json_str(v, "healthStatus"))
        cap_copy(w, "health_status", v, "healthStatus");
    cap_copy(w, "state", v, "state");
    put_parent(w, yyjson_obj_get(v, "parent"));
    if (put_awards(c, w, v, "Epic", e->id, err))
        return -1;
    put_labels(w, v, e->id);
    put_elements(w, "notes", &e->notes);
    put_elements(w, "resource_state_events", &e->states);
    put_elements(w, "resource_label_events", &e->labels);
    gs_jw_end(w);
    return gs_jw_finish(w);
}

/* ---- all of them are complete ---- */

static int by_id(const void *a, const void *b)
{
    const struct epic *x = *(struct epic *const *)a, *y = *(struct epic *const *)b;
    return (x->id > y->id) - (x->id < y->id);
}

static int store(struct job *j, struct sink *s, struct gs_err *err)
{
    struct capture *c = j->group->cap;
    for (size_t i = 0; i < j->n; i++) {
        struct epic *e = j->v[i];
        GS_AUTO(yyjson_doc) doc = NULL;
        struct gs_jw w;
        if (gs_json_parse(j->text.data + e->off, e->len, NULL, &doc, err))
            return -1;
        gs_buf_reset(&c->json);
        gs_jw_init(&w, &c->json, 0, err);
        if (put_epic(e, yyjson_doc_get_root(doc), &w, err) || sink_add(s, gs_buf_str(&c->json), c->json.len, err))
            return -1;
    }
    return 0;
}

/* What this way of reading did not show. */
static int tell_lost(const struct job *j, struct gs_err *err)
{
    static const char no_event[] = "events-not-readable", no_attr[] = "attribute-not-readable", one_switch[] = "a work item has one switch for both dates";
    bool items = ways[j->way].items, old = ways[j->way].since < 16;
    const struct {
        const char *rule, *attribute;
        uint64_t n;
        const char *why;
    } lost[] = {
        {no_event, "events", j->n, NULL},
        {no_event, "resource_state_events", items ? j->n : j->no_events, NULL},
        {no_event, "resource_label_events", items ? j->n : 0, NULL},
        {no_attr, "color", old ? j->n : 0, NULL},
        {no_attr, "notes.award_emoji", old ? j->n : 0, NULL},
        {no_attr, "closed_by_id", j->closed, NULL},
        {no_attr, "start_date_is_fixed", j->start_unsure, one_switch},
        {no_attr, "due_date_is_fixed", j->due_unsure, one_switch},
        {no_attr, "start_date_fixed", j->unfixed, "a fixed date that is not in use is not shown"},
        {no_attr, "due_date_fixed", j->unfixed, "a fixed date that is not in use is not shown"},
        {no_attr, "relative_position", j->no_place, NULL},
    };
    for (size_t i = 0; i < GS_COUNT(lost); i++)
        if (lost[i].n && book_lost(j->group->cap->book, j->group->id, "epics", lost[i].rule, lost[i].attribute, lost[i].n, lost[i].why, err))
            return -1;
    return 0;
}

static int finish(struct job *j, struct gs_err *err)
{
    struct cap_group *g = j->group;
    struct sink *s;
    if (cap_fetch(g, "epics", ways[j->way].items ? "graphql:group.workItems" : "graphql:group.epics", &j->pages, err) ||
        cap_compare(g, "epics", &j->pages, j->twice, err) || cap_sink(g, "epics", &s, err))
        return -1;
    if (j->n > 0 && (store(j, s, err) || tell_lost(j, err))) {
        sink_abandon(s);
        return gs_wrap(err, "epics of group '%s'", g->full_path);
    }
    return sink_close(s, -1, 0, err);
}

static int go_on(struct job *j, struct gs_err *err);

/* Ends the job when nothing of it is pending; `j` may be gone afterwards. */
static void settle(struct job *j, int r, struct gs_err *err)
{
    struct cap_group *g = j->group;
    if (r == 0 && !j->failed && !g->cap->failed)
        r = go_on(j, err);
    if (r && !j->failed) {
        j->failed = true;
        cap_fail(g->cap, err);
    }
    if (j->open > 0)
        return;
    if (!j->failed && !g->cap->failed && finish(j, err))
        cap_fail(g->cap, err);
    job_free(j);
    cap_end(g);
}

static void epic_ended(struct epic *e, int r, struct gs_err *err)
{
    struct job *j = e->job;
    if (--e->left == 0)
        j->open--;
    settle(j, r, err);
}

/* ---- events and further comments of one epic ---- */

static int append(struct gs_buf *out, struct gs_buf *one, struct gs_err *err)
{
    return (out->len && gs_buf_addc(out, ',', err)) || gs_buf_add(out, one->data, one->len, err) ? -1 : 0;
}

static int add_notes(struct epic *e, yyjson_val *array, struct gs_err *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *n;
    while ((n = yyjson_arr_iter_next(&it))) {
        gs_autobuf one;
        struct gs_jw w;
        gs_buf_init(&one, COLLECT_MAX);
        gs_jw_init(&w, &one, 0, err);
        if (put_note(e->job->group->cap, &w, e->id, n, err) || gs_jw_finish(&w) || append(&e->notes, &one, err))
            return -1;
    }
    return 0;
}

static int add_event(struct epic *e, struct gs_buf *out, bool of_labels, yyjson_val *v, struct gs_err *err)
{
    gs_autobuf one;
    struct gs_jw w;
    gs_buf_init(&one, 1 << 20);
    gs_jw_init(&w, &one, 0, err);
    gs_jw_obj(&w);
    cap_copy(&w, "id", v, "id");
    if (put_user(e->job->group->cap, &w, "user_id", NULL, yyjson_obj_get(v, "user"), err))
        return -1;
    cap_copy(&w, "created_at", v, "created_at");
    cap_copy(&w, of_labels ? "action" : "state", v, of_labels ? "action" : "state");
    gs_jw_ki64(&w, "epic_id", e->id);
    yyjson_val *label = yyjson_obj_get(v, "label");
    if (of_labels && yyjson_is_obj(label)) {
        gs_jw_ki64(&w, "label_id", cap_id(label));
        gs_jw_key(&w, "label");
        cap_nested_label(&w, label);
    }
    gs_jw_end(&w);
    return gs_jw_finish(&w) || append(out, &one, err) ? -1 : 0;
}

static int events_page(struct epic *e, bool of_labels, yyjson_val *array, struct gs_err *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it)))
        if (add_event(e, of_labels ? &e->labels : &e->states, of_labels, v, err)) {
            e->job->broke = true;
            return -1;
        }
    return 0;
}

static int on_states(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    return events_page(cookie, false, array, err);
}

static int on_labels(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    return events_page(cookie, true, array, err);
}

static int on_notes(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct epic *e = cookie;
    int r = add_notes(e, array, err);
    e->job->broke = e->job->broke || r;
    return r;
}

/* Before 15.4 there are no events of states; who may not see them goes without. */
static void on_events_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct epic *e = cookie;
    struct job *j = e->job;
    struct gs_err err = *result;
    j->pages.bytes += p->bytes;
    j->pages.retries += p->retries;
    int r = result->code == GS_OK ? 0 : -1;
    if (r && !j->broke && cap_denied(result)) {
        j->no_events++;
        r = 0;
        gs_err_clear(&err);
    }
    epic_ended(e, r, &err);
}

static void on_notes_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct epic *e = cookie;
    struct gs_err err = *result;
    e->job->pages.bytes += p->bytes;
    e->job->pages.retries += p->retries;
    epic_ended(e, result->code == GS_OK ? 0 : -1, &err);
}

static int ask_events(struct epic *e, const char *what, gl_page_fn page, struct gs_err *err)
{
    struct cap_group *g = e->job->group;
    struct gl_list_opts tagged = {.tag = {g->id, "epics"}, .live = g->late};
    gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "/epics/%" PRId64 "/%s", g->id, e->id, what);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    e->left++;
    if (gl_list_with(g->cap->client, path, &tagged, page, on_events_done, e, err) == 0)
        return 0;
    e->left--;
    return -1;
}

static int ask_notes(struct epic *e, struct gs_err *err)
{
    struct cap_group *g = e->job->group;
    char which[64];
    snprintf(which, sizeof which, ways[e->job->way].items ? "\"id\":\"gid://gitlab/WorkItem/%" PRId64 "\"" : "\"iid\":\"%" PRId64 "\"",
             ways[e->job->way].items ? e->id : e->iid);
    struct gl_list_opts tagged = {.tag = {g->id, "epics"}, .live = g->late, .variables = which};
    const char *doc = gl_document(ways[e->job->way].notes);
    if (!doc)
        return gs_fail(err, GS_E_INTERNAL, "no GraphQL document '%s'", ways[e->job->way].notes);
    e->left++;
    if (gl_graphql_list_with(g->cap->client, doc, g->full_path, ways[e->job->way].note_connection, &tagged, on_notes, on_notes_done, e,
                             err) == 0)
        return 0;
    e->left--;
    return -1;
}

/* ---- the order of siblings ---- */

/* The epic of the group with this id; they are sorted by then. */
static struct epic *own(const struct job *j, int64_t id)
{
    struct epic one = {.id = id}, *key = &one, **e = j->n ? bsearch(&key, j->v, j->n, sizeof *j->v, by_id) : NULL;
    return e ? *e : NULL;
}

static int on_children(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct parent *p = cookie;
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *c;
    while ((c = yyjson_arr_iter_next(&it))) {
        struct epic *e = own(p->job, cap_id(c));
        p->children++;
        if (e)
            e->place = p->children;
    }
    return 0;
}

static void on_children_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct job *j = ((struct parent *)cookie)->job;
    struct gs_err err = *result;
    j->pages.bytes += p->bytes;
    j->pages.retries += p->retries;
    int r = result->code == GS_OK ? 0 : -1;
    if (r && cap_denied(result)) {
        j->no_place++;
        r = 0;
        gs_err_clear(&err);
    }
    j->open--;
    settle(j, r, &err);
}

static int ask_children(struct parent *p, struct gs_err *err)
{
    struct cap_group *g = p->job->group;
    const char *doc = gl_document("work_item_children");
    char which[64];
    snprintf(which, sizeof which, "\"id\":\"gid://gitlab/WorkItem/%" PRId64 "\"", p->id);
    struct gl_list_opts tagged = {.tag = {g->id, "epics"}, .live = g->late, .variables = which};
    if (!doc)
        return gs_fail(err, GS_E_INTERNAL, "no GraphQL document 'work_item_children'");
    p->job->open++;
    if (gl_graphql_list_with(g->cap->client, doc, g->full_path, "workItem.widgets.children", &tagged, on_children, on_children_done, p, err) == 0)
        return 0;
    p->job->open--;
    return -1;
}

/* Notes that some epic of the group hangs below this one. */
static int add_parent(struct job *j, int64_t id, struct gs_err *err)
{
    bool is_new;
    if (id <= 0)
        return 0;
    if (idset_add(&j->parent_ids, id, &is_new, err))
        return -1;
    if (!is_new)
        return 0;
    if (j->n_parents == j->cap_parents) {
        size_t cap = j->cap_parents ? 2 * j->cap_parents : 32;
        struct parent **v = realloc(j->parents, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for epics");
        j->parents = v;
        j->cap_parents = cap;
    }
    struct parent *p = calloc(1, sizeof *p);
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no memory for epics");
    *p = (struct parent){.job = j, .id = id};
    j->parents[j->n_parents++] = p;
    return 0;
}

/* What GraphQL did not tell is asked for, of a few epics at a time. */
static int go_on(struct job *j, struct gs_err *err)
{
    while (j->next < j->n && j->open < AT_ONCE) {
        struct epic *e = j->v[j->next++];
        int r = 0;
        j->open++;
        e->left = 1; /* until all are asked for */
        if (!ways[j->way].items)
            r = ask_events(e, "resource_label_events", on_labels, err) ||
                        (gl_instance_at_least(j->group->cap->o.instance, 15, 4) &&
                         ask_events(e, "resource_state_events", on_states, err))
                    ? -1
                    : 0;
        if (!r && e->many_notes)
            r = ask_notes(e, err);
        if (--e->left == 0)
            j->open--;
        if (r)
            return -1;
    }
    while (j->next_parent < j->n_parents && j->open < AT_ONCE)
        if (ask_children(j->parents[j->next_parent++], err))
            return -1;
    return 0;
}

/* ---- the list ---- */

static int add(struct job *j, yyjson_val *v, struct gs_err *err)
{
    bool is_new;
    int64_t id = cap_id(v);
    if (!yyjson_is_obj(v) || id <= 0)
        return gs_fail(err, GS_E_REMOTE, "an element of the list of epics has no id");
    if (idset_add(&j->seen, id, &is_new, err))
        return -1;
    if (!is_new) {
        j->twice++;
        return 0;
    }
    if (j->n == j->cap) {
        size_t cap = j->cap ? 2 * j->cap : 32;
        struct epic **p = realloc(j->v, cap * sizeof *p);
        if (!p)
            return gs_fail(err, GS_E_NOMEM, "no memory for epics");
        j->v = p;
        j->cap = cap;
    }
    struct epic *e = calloc(1, sizeof *e);
    if (!e)
        return gs_fail(err, GS_E_NOMEM, "no memory for epics");
    *e = (struct epic){.job = j, .id = id, .iid = number(v, "iid"), .off = j->text.len, .many_notes = goes_on(v, "notes")};
    gs_buf_init(&e->notes, COLLECT_MAX);
    gs_buf_init(&e->states, COLLECT_MAX);
    gs_buf_init(&e->labels, COLLECT_MAX);
    j->v[j->n++] = e;
    if (gs_json_write(v, &j->text, err))
        return -1;
    e->len = j->text.len - e->off;
    if (goes_on(v, "awardEmoji") &&
        book_lost(j->group->cap->book, j->group->id, "epics", "truncated-by-server", "award_emoji", 1, NULL, err))
        return -1;
    return e->many_notes ? 0 : add_notes(e, nodes(v, "notes"), err);
}

/* A work item, brought into the form of an epic. */
static int add_item(struct job *j, yyjson_val *item, struct gs_err *err)
{
    struct capture *c = j->group->cap;
    GS_AUTO(yyjson_doc) doc = NULL;
    struct epic_item facts;
    gs_buf_reset(&c->json);
    if (epic_item_shape(item, &c->json, &facts, err) || gs_json_parse(gs_buf_str(&c->json), c->json.len, NULL, &doc, err))
        return -1;
    size_t before = j->n;
    if (add(j, yyjson_doc_get_root(doc), err) || add_parent(j, facts.parent, err))
        return -1;
    if (j->n == before)
        return 0;
    j->closed += facts.closed;
    j->start_unsure += facts.start_unsure;
    j->due_unsure += facts.due_unsure;
    j->unfixed += facts.unfixed;
    return 0;
}

static int page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct job *j = cookie;
    bool items = ways[j->way].items;
    if (j->group->cap->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it)))
        if (items ? add_item(j, v, err) : add(j, v, err)) {
            j->broke = true;
            return gs_wrap(err, "epics of group '%s'", j->group->full_path);
        }
    return 0;
}

static int send(struct job *j, struct gs_err *err);

/* The next way that this server may know; false: there is none. */
static bool next_way(struct job *j)
{
    const struct capture *c = j->group->cap;
    while (++j->way < GS_COUNT(ways))
        if (cap_try(c, ways[j->way].number) && gl_instance_at_least(c->o.instance, ways[j->way].since, 0))
            return true;
    return false;
}

static void done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct job *j = cookie;
    struct cap_group *g = j->group;
    struct gs_err err = *result;
    j->pages = *p;
    if (result->code == GS_OK) {
        g->cap->luck[ways[j->way].number].ok++;
        if (j->n > 1)
            qsort(j->v, j->n, sizeof *j->v, by_id);
        settle(j, 0, &err);
        return;
    }
    int r = -1;
    if (!g->cap->failed && !j->broke && j->n == 0 && cap_denied(result)) {
        const char *from = ways[j->way].document;
        cap_refused(g->cap, ways[j->way].number, result);
        if (next_way(j)) {
            if (book_fallback(g->cap->book, g->id, "epics", from, ways[j->way].document, result->text, &err) == 0 && send(j, &err) == 0)
                return;
        } else {
            r = cap_missing(g, "epics", result, &err);
        }
    }
    if (r)
        cap_fail(g->cap, &err);
    job_free(j);
    cap_end(g);
}

static int send(struct job *j, struct gs_err *err)
{
    struct cap_group *g = j->group;
    const char *doc = gl_document(ways[j->way].document);
    struct gl_list_opts tagged = {.tag = {g->id, "epics"}, .live = g->late};
    return doc ? gl_graphql_list_with(g->cap->client, doc, g->full_path, ways[j->way].connection, &tagged, page, done, j, err)
               : gs_fail(err, GS_E_INTERNAL, "no GraphQL document '%s'", ways[j->way].document);
}

static int start(struct cap_group *g, struct gs_err *err)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return gs_fail(err, GS_E_NOMEM, "no memory for epics");
    j->group = g;
    j->way = (unsigned)-1;
    gs_buf_init(&j->text, COLLECT_MAX);
    idset_init(&j->seen);
    idset_init(&j->parent_ids);
    cap_begin(g);
    int r = -1;
    if (next_way(j)) {
        r = send(j, err);
    } else {
        struct gs_err why = {0};
        gs_fail(&why, GS_E_GRAPHQL, "%s", g->cap->luck[ways[0].number].why);
        r = cap_missing(g, "epics", &why, err) ? -1 : 1;
    }
    if (r == 0)
        return 0;
    job_free(j);
    cap_end(g);
    return r < 0 ? -1 : 0;
}

const struct cap_kind cap_kind_epics = {.relation = "epics", .start = start};
