/* Arrays inside a record, element by element: what the load noted of one explains what is not as at the source in this one, and in no other. */
#include "libbooks/known_priv.h"
#include "libbooks/rules.h"

#include "libcommon/clock.h"
#include "libreplay/loss.h"

#include <stdlib.h>
#include <string.h>

/* What the load noted of an element: a loss, or that the step which should have made it did not come to its end. */
struct note {
    char *key, *code, *text;
    bool whole, used;
};

struct parts {
    struct known *k;
    int64_t group;
    const struct relation *of; /* elements */
    const char *holder;        /* what holds them, as the keys of the notes begin */
    yyjson_val *own;           /* comments: the array of the record as captured */
    int64_t *ids;              /* comments: their ids, in the order of the normalised array */
    size_t n_ids;
    struct note *v;
    size_t n, cap;
    bool order;                /* the load noted that it could not keep the order of the elements */
    bool epic_order;           /* nor that of the epics in them */
};

/* ---- notes ---- */

static int add_note(struct parts *p, const char *key, const char *code, const char *text, bool whole, struct gs_err *err)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 16;
        struct note *v = realloc(p->v, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for losses");
        p->v = v;
        p->cap = cap;
    }
    struct note *n = &p->v[p->n++];
    *n = (struct note){strdup(key), strdup(code), strdup(text), whole, false};
    p->order |= strcmp(code, "list-order") == 0;
    return n->key && n->code && n->text ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for losses");
}

static const char *column(sqlite3_stmt *st, int n)
{
    const char *s = (const char *)sqlite3_column_text(st, n);
    return s ? s : "";
}

static int bind_range(struct parts *p, sqlite3_stmt *st, const char *relation, const char *from, const char *to)
{
    sqlite3_bind_int64(st, 1, p->group);
    sqlite3_bind_text(st, 2, relation, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 3, from, -1, SQLITE_TRANSIENT);
    return sqlite3_bind_text(st, 4, to, -1, SQLITE_TRANSIENT);
}

/* Losses and bad ends of everything whose key begins with `from`, and losses of the holder that are told under the name of its elements. */
static int read_notes(struct parts *p, const char *from, struct gs_err *err)
{
    struct known *k = p->k;
    int rc;
    gs_autofree char *to = gs_asprintf("%s\xff", from);
    if (!to)
        return gs_fail(err, GS_E_NOMEM, "no memory for a key");
    sqlite3_stmt *st = known_stmt(k, KNOWN_PREFIX, err);
    if (!st)
        return -1;
    bind_range(p, st, p->of->name, from, to);
    sqlite3_bind_text(st, 5, p->holder, -1, SQLITE_TRANSIENT);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const struct loss_rule *l = loss_find(column(st, 0));
        if (l && add_note(p, column(st, 3), l->code, *column(st, 1) ? column(st, 1) : l->text, l->whole, err))
            return -1;
    }
    sqlite3_reset(st);
    if (rc != SQLITE_DONE || !(st = known_stmt(k, KNOWN_BAD, err)))
        return known_db_fail(k, err);
    bind_range(p, st, p->of->name, from, to);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (add_note(p, column(st, 0), column(st, 1), column(st, 2), true, err))
            return -1;
    }
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

static void parts_release(struct parts *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->v[i].key);
        free(p->v[i].code);
        free(p->v[i].text);
    }
    free(p->v);
    free(p->ids);
}

static void explained_by(struct parts *p, const char *code, const char *text)
{
    const struct loss_rule *l = loss_find(code);
    snprintf(p->k->code, sizeof p->k->code, "%s", code);
    snprintf(p->k->text, sizeof p->k->text, "%s", text ? text : l ? l->text : "");
}

/* ---- which notes are about an element ---- */

struct placed {
    int64_t at_ms, id;
    size_t index;
};

static int by_place(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Comments have no id any more where they are compared; they stand there in the order of their times, without what GitLab wrote. */
static int read_ids(struct parts *p, struct gs_err *err)
{
    size_t i, max, n = 0;
    yyjson_val *v;
    struct gs_err ignored = {0};
    gs_autofree struct placed *all = calloc(yyjson_arr_size(p->own) + 1, sizeof *all);
    p->ids = calloc(yyjson_arr_size(p->own) + 1, sizeof *p->ids);
    if (!all || !p->ids)
        return gs_fail(err, GS_E_NOMEM, "no memory for comments");
    yyjson_arr_foreach(p->own, i, max, v)
    {
        const char *when = gs_json_str(v, "created_at");
        if (gs_json_true(v, "system"))
            continue;
        all[n] = (struct placed){.index = i};
        if (when)
            GS_IGNORE(gs_time_parse(when, &all[n].at_ms, &ignored), "without a time it stands first");
        gs_json_i64(v, "id", &all[n].id);
        n++;
    }
    qsort(all, n, sizeof *all, by_place);
    for (i = 0; i < n; i++)
        p->ids[i] = all[i].id;
    p->n_ids = n;
    return 0;
}

static yyjson_val *own_comment(const struct parts *p, size_t at)
{
    size_t i, max;
    yyjson_val *v;
    int64_t id;
    yyjson_arr_foreach(p->own, i, max, v)
    {
        if (at < p->n_ids && gs_json_i64(v, "id", &id) && id == p->ids[at])
            return v;
    }
    return NULL;
}

/* Labels of an epic, or of what a board is limited to: losses of the record itself name those that are not there. */
static bool of_labels(const struct relation *of)
{
    return strcmp(of->name, "label_links") == 0 || strcmp(of->name, "label") == 0;
}

/* The key of an element as the load writes it; of some only its beginning is known here. NULL: no memory. */
static char *element_key(const struct parts *p, size_t at, yyjson_val *a, bool *out_begins)
{
    const char *of = p->of->name;
    *out_begins = false;
    if (strcmp(of, "notes") == 0)
        return gs_asprintf("%s note %lld", p->holder, (long long)(at < p->n_ids ? p->ids[at] : 0));
    *out_begins = true;
    if (strcmp(of, "award_emoji") == 0)
        return gs_asprintf("%s :%s: of ", p->holder, gs_json_str(a, "name") ? gs_json_str(a, "name") : "");
    if (strcmp(of, "iterations") == 0) {
        const char *title = gs_json_str(a, "title"), *start = gs_json_str(a, "start_date"), *due = gs_json_str(a, "due_date");
        *out_begins = false;
        return gs_asprintf("%s / %s%s%.10s - %.10s", p->holder, title ? title : "", title ? " " : "", start ? start : "?", due ? due : "?");
    }
    if (of_labels(p->of)) {
        const char *title = gs_json_str(strcmp(of, "label") == 0 ? a : yyjson_obj_get(a, "label"), "title");
        *out_begins = false;
        return gs_asprintf("%s", title ? title : "");
    }
    static const char *const stands_for[] = {"label", "milestone", "iteration"};
    for (size_t i = 0; i < GS_COUNT(stands_for); i++) {
        yyjson_val *v = yyjson_obj_get(a, stands_for[i]);
        const char *title = gs_json_str(v, "title") ? gs_json_str(v, "title") : gs_json_str(v, "start_date");
        *out_begins = !title;
        if (yyjson_is_obj(v))
            return gs_asprintf("%s / %s %s", p->holder, stands_for[i], title ? title : "");
    }
    *out_begins = true;
    return gs_asprintf("%s / ", p->holder);
}

static bool is_about(const struct note *n, const char *key, bool begins)
{
    return begins ? strncmp(n->key, key, strlen(key)) == 0 : strcmp(n->key, key) == 0;
}

/* The load noted that this element is not there: that is said once. */
static int left_out(struct parts *p, size_t at, yyjson_val *a, bool *out, struct gs_err *err)
{
    bool begins;
    gs_autofree char *key = element_key(p, at, a, &begins);
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "no memory for a key");
    *out = false;
    for (size_t i = 0; i < p->n && !*out; i++) {
        struct note *n = &p->v[i];
        *out = n->whole && !n->used && is_about(n, key, begins);
        if (*out) {
            n->used = true;
            explained_by(p, n->code, n->text);
        }
    }
    return 0;
}

/* ---- one element ---- */

static int match(struct parts *p, yyjson_val *a, yyjson_val *b, bool *out, struct gs_err *err);

static int text_fits(struct parts *p, const char *attr, size_t at, const char *key, yyjson_val *va, yyjson_val *vb, bool *out, struct gs_err *err)
{
    bool comment = strcmp(p->of->name, "notes") == 0;
    struct wording w = {.group = p->group, .actions = comment, .owner = comment ? own_comment(p, at) : NULL};
    const char *code = NULL, *here = yyjson_get_str(va), *there = yyjson_get_str(vb);
    const struct rel_attr *ra = relation_attr(p->of, attr);
    *out = false;
    if (!ra || ra->type != REL_TEXT)
        return 0;
    if (known_noted(p->k, p->group, p->of->name, key, "author-in-text", &w.named, err) ||
        known_wording(p->k, &w, here ? here : "", yyjson_get_len(va), there ? there : "", yyjson_get_len(vb), &code, err))
        return -1;
    *out = code != NULL;
    if (code)
        explained_by(p, code, NULL);
    return 0;
}

/* Emoji on a comment. */
static int below_fits(struct parts *p, const char *attr, const char *key, yyjson_val *va, yyjson_val *vb, bool *out, struct gs_err *err)
{
    const struct rel_nested *n = p->of->nested;
    while (n && n->name && strcmp(n->name, attr) != 0)
        n++;
    *out = false;
    if (!n || !n->name || !n->array || strcmp(n->relation, "award_emoji") != 0)
        return 0;
    struct parts below = {.k = p->k, .group = p->group, .of = relation_find(n->relation), .holder = key};
    gs_autofree char *from = gs_asprintf("%s :", key);
    int r = !from ? gs_fail(err, GS_E_NOMEM, "no memory for a key") : read_notes(&below, from, err) || match(&below, va, vb, out, err) ? -1 : 0;
    parts_release(&below);
    return r;
}

/* The step of an epic that a list of a board shows; *out_group NULL: of a group that the bundle does not have. */
static int epic_op(struct parts *p, yyjson_val *e, const struct grp **out_group, struct known_op *out, bool *out_is, struct gs_err *err)
{
    int64_t iid = 0;
    const char *path = gs_json_str(e, "group_path");
    *out_group = NULL;
    *out_is = false;
    for (size_t n = 0; path && n < p->k->n && !*out_group; n++)
        *out_group = strcmp(p->k->groups[n].dst_path, path) == 0 ? &p->k->groups[n] : NULL;
    if (!*out_group || !gs_json_i64(e, "iid", &iid))
        return 0;
    gs_autofree char *key = gs_asprintf("&%lld", (long long)iid);
    return key ? known_op(p->k, (*out_group)->id, "epics", 0, key, out, out_is, err) : gs_fail(err, GS_E_NOMEM, "no memory for a key");
}

/* The epics in a list of a board: those that were loaded, in their order unless the load noted that it could not keep it. */
static int epics_fit(struct parts *p, yyjson_val *va, yyjson_val *vb, bool *out, struct gs_err *err)
{
    size_t na = yyjson_arr_size(va), nb = yyjson_arr_size(vb), at = 0, found = 0;
    gs_autofree bool *used = calloc(nb + 1, sizeof *used);
    *out = !va && p->epic_order; /* the bundle does not say what is in the list */
    if (*out)
        explained_by(p, "epic-board-order", NULL);
    if (*out)
        return 0;
    if (!used)
        return gs_fail(err, GS_E_NOMEM, "no memory for a list");
    for (size_t i = 0; i < na; i++) {
        yyjson_val *e = yyjson_arr_get(va, i);
        size_t j = p->epic_order ? 0 : at;
        while (j < nb && (used[j] || !gs_json_equal(e, yyjson_arr_get(vb, j))))
            j++;
        if (j < nb) {
            used[j] = true;
            at = j + 1;
            found++;
            continue;
        }
        struct known_op op;
        const struct grp *g;
        bool is;
        if (epic_op(p, e, &g, &op, &is, err))
            return -1;
        if (g && (!is || op.state == OP_DONE))
            return 0;
        explained_by(p, is ? op.code : "epic-board-order", is ? op.text : NULL);
    }
    for (size_t j = 0; j < nb; j++) { /* what was in the group before is on its boards as well */
        struct known_op op;
        const struct grp *g;
        bool is;
        if (used[j])
            continue;
        if (epic_op(p, yyjson_arr_get(vb, j), &g, &op, &is, err))
            return -1;
        found += !is && (!g || g->existed);
    }
    *out = found == nb;
    if (*out && found == na)
        explained_by(p, "epic-board-order", NULL);
    return 0;
}

/* Is `b` what the load made of `a`, the element at this place? */
static int fits(struct parts *p, size_t at, yyjson_val *a, yyjson_val *b, bool *out, struct gs_err *err)
{
    bool begins;
    gs_autofree char *key = element_key(p, at, a, &begins);
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "no memory for a key");
    *out = yyjson_is_obj(a) && yyjson_is_obj(b);
    for (int second = 0; second < 2 && *out; second++) {
        yyjson_obj_iter it = yyjson_obj_iter_with(second ? b : a);
        yyjson_val *n;
        while (*out && (n = yyjson_obj_iter_next(&it))) {
            const char *attr = yyjson_get_str(n);
            yyjson_val *va = yyjson_obj_get(a, attr), *vb = yyjson_obj_get(b, attr);
            bool fine = va && vb && gs_json_equal(va, vb);
            if (fine || (second && va))
                continue;
            if (strcmp(p->of->name, "epic_lists") == 0 && strcmp(attr, "epics") == 0 ? epics_fit(p, va, vb, &fine, err)
                : text_fits(p, attr, at, key, va, vb, &fine, err) || (!fine && below_fits(p, attr, key, va, vb, &fine, err)))
                return -1;
            for (size_t i = 0; i < p->n && !fine; i++) {
                const struct note *x = &p->v[i];
                fine = !x->whole && (is_about(x, key, begins) || strcmp(x->key, p->holder) == 0) && rules_explain(x->code, x->text, attr, yyjson_is_raw(vb) ? yyjson_get_raw(vb) : yyjson_get_str(vb));
                if (fine)
                    explained_by(p, x->code, x->text);
            }
            *out = fine;
        }
    }
    return 0;
}

/* ---- the whole array ---- */

static size_t find_equal(yyjson_val *arr, const bool *used, yyjson_val *v)
{
    size_t n = yyjson_arr_size(arr), i;
    for (i = 0; i < n; i++)
        if (!used[i] && gs_json_equal(yyjson_arr_get(arr, i), v))
            return i;
    return n;
}

static void notes_unused(struct parts *p)
{
    for (size_t i = 0; i < p->n; i++)
        p->v[i].used = false;
}

/* One after the other, as long as each is the next one of the other side or was left out. */
static int match_in_order(struct parts *p, yyjson_val *a, yyjson_val *b, bool *out, struct gs_err *err)
{
    size_t na = yyjson_arr_size(a), nb = yyjson_arr_size(b), j = 0;
    notes_unused(p);
    for (size_t i = 0; i < na; i++) {
        yyjson_val *e = yyjson_arr_get(a, i);
        bool is = j < nb && gs_json_equal(e, yyjson_arr_get(b, j));
        if (!is && j < nb && fits(p, i, e, yyjson_arr_get(b, j), &is, err))
            return -1;
        j += is;
        if (!is && left_out(p, i, e, &is, err))
            return -1;
        if (!is)
            return 0;
    }
    *out = j == nb;
    return 0;
}

/* In any order: equal ones first, so that what was left out of several that are alike is known. */
static int match_any(struct parts *p, yyjson_val *a, yyjson_val *b, bool *out, struct gs_err *err)
{
    size_t na = yyjson_arr_size(a), nb = yyjson_arr_size(b), found = 0, last = 0;
    gs_autofree bool *used = calloc(nb + 1, sizeof *used);
    gs_autofree size_t *at = calloc(na + 1, sizeof *at);
    bool ordered = true;
    notes_unused(p);
    if (!used || !at)
        return gs_fail(err, GS_E_NOMEM, "no memory for a list");
    for (size_t i = 0; i < na; i++) {
        at[i] = find_equal(b, used, yyjson_arr_get(a, i));
        used[at[i]] = true;
        used[nb] = false;
    }
    for (size_t i = 0; i < na; i++) {
        yyjson_val *e = yyjson_arr_get(a, i);
        bool is = at[i] < nb;
        for (size_t j = 0; j < nb && !is; j++) {
            if (used[j])
                continue;
            if (fits(p, i, e, yyjson_arr_get(b, j), &is, err))
                return -1;
            if (is)
                used[at[i] = j] = true;
        }
        if (!is && left_out(p, i, e, &is, err))
            return -1;
        if (!is)
            return 0;
        if (at[i] < nb) {
            ordered = ordered && (found == 0 || at[i] > last);
            last = at[i];
            found++;
        }
    }
    for (size_t j = 0; j < nb; j++) /* Open and Closed stand there only for what is in them */
        found += !used[j] && p->epic_order && strcmp(p->of->name, "epic_lists") == 0 && !yyjson_obj_get(yyjson_arr_get(b, j), "label");
    *out = found == nb && (ordered || p->order);
    if (*out && !ordered)
        explained_by(p, "list-order", NULL);
    return 0;
}

/* Are the elements of `b` those of `a`, but for what was noted? */
static int match(struct parts *p, yyjson_val *a, yyjson_val *b, bool *out, struct gs_err *err)
{
    *out = false;
    return match_in_order(p, a, b, out, err) || (!*out && match_any(p, a, b, out, err)) ? -1 : 0;
}

/* Labels that are not there have no steps of their own. */
static int read_label_notes(struct parts *p, const char *relation, struct gs_err *err)
{
    sqlite3_stmt *st = known_stmt(p->k, KNOWN_PREFIX, err);
    int rc;
    if (!st)
        return -1;
    bind_range(p, st, relation, "", "");
    sqlite3_bind_text(st, 5, p->holder, -1, SQLITE_TRANSIENT);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        bool label = strcmp(column(st, 0), "epic-label-missing") == 0 || strcmp(column(st, 0), "epic-board-label") == 0;
        if (label && add_note(p, column(st, 1), column(st, 0), column(st, 1), true, err))
            return -1;
    }
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : known_db_fail(p->k, err);
}

static int compare(struct parts *p, struct diff_item *i, struct gs_err *err)
{
    struct gs_json_opts raw = {.raw_numbers = true, .max_bytes = (size_t)256 << 20};
    GS_AUTO(yyjson_doc) own = NULL;
    GS_AUTO(yyjson_doc) a = NULL;
    GS_AUTO(yyjson_doc) b = NULL;
    const char *of = p->of->name;
    bool comments = strcmp(of, "notes") == 0, fit = false;
    gs_autofree char *from = gs_asprintf("%s%s", p->holder, comments ? " note " : strcmp(of, "award_emoji") == 0 ? " :" : " / ");
    if (!from)
        return gs_fail(err, GS_E_NOMEM, "no memory for a key");
    if (gs_json_parse(i->a, strlen(i->a), &raw, &a, err) || gs_json_parse(i->b, strlen(i->b), &raw, &b, err) || read_notes(p, from, err) ||
        (of_labels(p->of) && read_label_notes(p, i->relation, err)) ||
        known_noted(p->k, p->group, i->relation, p->holder, "epic-board-order", &p->epic_order, err))
        return -1;
    if (comments && i->record_a) {
        if (gs_json_parse(i->record_a, strlen(i->record_a), NULL, &own, err))
            return -1;
        p->own = yyjson_obj_get(yyjson_doc_get_root(own), "notes");
        if (read_ids(p, err))
            return -1;
    }
    if (match(p, yyjson_doc_get_root(a), yyjson_doc_get_root(b), &fit, err))
        return -1;
    if (fit) {
        i->verdict = DIFF_LOST;
        i->rule = p->k->code;
        i->why = p->k->text;
    }
    return 0;
}

int known_parts(struct known *k, struct diff_item *i, struct gs_err *err)
{
    const struct relation *r = relation_find(i->relation);
    const struct rel_nested *n = r ? r->nested : NULL;
    while (n && n->name && strcmp(n->name, i->attr) != 0)
        n++;
    if (!n || !n->name || !n->array || !i->a || !i->b)
        return 0;
    gs_autofree char *holder = strdup(known_called(k, i->key));
    if (!holder)
        return gs_fail(err, GS_E_NOMEM, "no memory for a key");
    struct parts p = {.k = k, .group = i->group_a, .of = relation_find(n->relation), .holder = holder};
    int c = compare(&p, i, err);
    parts_release(&p);
    return c;
}
