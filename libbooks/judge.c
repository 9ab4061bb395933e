/* What explains a difference: a rule by which the load left something out or changed it, a refusal, or that it was there before. */
#include "libbooks/known_priv.h"
#include "libbooks/rules.h"

#include "libreplay/loss.h"

#include <stdio.h>
#include <string.h>

static void say(struct known *k, struct diff_item *i, enum diff_verdict v, const char *code, const char *text)
{
    snprintf(k->code, sizeof k->code, "%s", code);
    snprintf(k->text, sizeof k->text, "%s", text ? text : "");
    i->verdict = v;
    i->rule = *k->code ? k->code : NULL;
    i->why = *k->text ? k->text : NULL;
}

static const char *column(sqlite3_stmt *st, int n)
{
    const char *s = (const char *)sqlite3_column_text(st, n);
    return s ? s : "";
}

/* The losses of a record, and of its relation as a whole; of a group there is one record. NULL with `err`. */
static sqlite3_stmt *losses(struct known *k, int64_t group, const char *relation, const char *key, struct gs_err *err)
{
    bool self = strcmp(relation, "self") == 0;
    sqlite3_stmt *st = known_stmt(k, self ? KNOWN_PREFIX : KNOWN_LOSS, err);
    if (!st)
        return NULL;
    sqlite3_bind_int64(st, 1, group);
    sqlite3_bind_text(st, 2, relation, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 3, self ? "" : key, -1, SQLITE_TRANSIENT);
    if (self)
        sqlite3_bind_text(st, 4, "\xff", -1, SQLITE_STATIC);
    else
        sqlite3_bind_text(st, 5, known_called(k, key), -1, SQLITE_TRANSIENT);
    return st;
}

/* ---- missing ---- */

/* A rule by which the record was left out as a whole; `op` 0: noted when the load was planned, or by this step. */
static int left_out(struct known *k, struct diff_item *i, const char *relation, int64_t op, struct gs_err *err)
{
    sqlite3_stmt *st = losses(k, i->group_a, relation, i->key, err);
    int rc = SQLITE_DONE;
    while (st && i->verdict == DIFF_COUNTS && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const struct loss_rule *l = loss_find(column(st, 0));
        int64_t of = sqlite3_column_int64(st, 2);
        bool avatar = strcmp(column(st, 0), "group-avatar-not-loaded") == 0;
        /* the one rule of groups that leaves out a whole thing is about their picture */
        if (l && l->whole && (of == 0 || of == op || avatar) && avatar == (strcmp(i->relation, "avatar") == 0))
            say(k, i, DIFF_LOST, l->code, *column(st, 1) ? column(st, 1) : l->text);
    }
    if (!st || (rc != SQLITE_ROW && rc != SQLITE_DONE))
        return known_db_fail(k, err);
    sqlite3_reset(st);
    return 0;
}

/* Settings that only a group without one above it has: a tree that was put below another group is without them. */
static void by_place(struct known *k, struct diff_item *i, const char *attr)
{
    static const char *const top[] = {"prevent_sharing_groups_outside_hierarchy", "service_access_tokens_expiration_enforced"};
    const struct grp *g = known_grp(k, i->group_a);
    for (size_t n = 0; n < GS_COUNT(top) && g && strchr(g->dst_path, '/'); n++)
        if (strcmp(attr, top[n]) == 0)
            say(k, i, DIFF_LOST, "group-setting-not-applied", "only a top-level group has this setting");
}

static int missing(struct known *k, struct diff_item *i, struct gs_err *err)
{
    bool avatar = strcmp(i->relation, "avatar") == 0;
    const char *relation = avatar || strcmp(i->relation, "groups") == 0 ? "self" : i->relation;
    struct known_op op = {0};
    bool found = false;
    if (!avatar && known_op(k, i->group_a, relation, i->id_a, i->key, &op, &found, err))
        return -1;
    if (found && op.state == OP_FAILED)
        say(k, i, DIFF_REFUSED, op.code, op.text);
    else if (found && op.state == OP_SKIPPED && strcmp(op.code, CODE_DECIDED) == 0)
        say(k, i, DIFF_LOST, CODE_DECIDED, op.text);
    else if (found && op.state == OP_SKIPPED && strcmp(op.code, CODE_RULE) != 0)
        say(k, i, DIFF_REFUSED, op.code, op.text);
    if (i->verdict == DIFF_COUNTS && left_out(k, i, relation, op.id, err))
        return -1;
    if (i->verdict == DIFF_COUNTS && strcmp(relation, "namespace_settings") == 0)
        by_place(k, i, "prevent_sharing_groups_outside_hierarchy");
    if (i->verdict == DIFF_COUNTS && found && k->loaded)
        say(k, i, DIFF_COUNTS, "", op.state == OP_DONE ? "it was loaded, and is not there any more" : "it is not loaded yet");
    return 0;
}

/* ---- different ---- */

static int by_rule(struct known *k, struct diff_item *i, const char *relation, const char *key, struct gs_err *err)
{
    sqlite3_stmt *st = losses(k, i->group_a, relation, key, err);
    int rc = SQLITE_DONE;
    while (st && i->verdict == DIFF_COUNTS && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const struct loss_rule *l = loss_find(column(st, 0));
        if (l && !l->whole && rules_explain(l->code, column(st, 1), i->attr))
            say(k, i, DIFF_LOST, l->code, *column(st, 1) ? column(st, 1) : l->text);
    }
    if (!st || (rc != SQLITE_ROW && rc != SQLITE_DONE))
        return known_db_fail(k, err);
    sqlite3_reset(st);
    return 0;
}

/*
 * Elements that have losses of their own, under "KEY OF THE RECORD / ...": how many of them were left out, how many are there with less,
 * and whether their order could not be kept.
 */
struct parts {
    uint64_t whole, part;
    bool order;
};

static int count_parts(struct known *k, const struct diff_item *i, const char *relation, struct parts *out, struct gs_err *err)
{
    const char *called = known_called(k, i->key);
    const char *sep = *called == '&' ? " " : " / ";
    gs_autofree char *from = gs_asprintf("%s%s", called, sep), *to = gs_asprintf("%s%s\xff", called, sep), *itself = strdup(called);
    sqlite3_stmt *st = from && to ? known_stmt(k, KNOWN_PREFIX, err) : NULL;
    int rc;
    *out = (struct parts){0};
    if (!from || !to || !itself)
        return gs_fail(err, GS_E_NOMEM, "no memory for a key");
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, i->group_a);
    sqlite3_bind_text(st, 2, relation, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, from, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 4, to, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 5, itself, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const struct loss_rule *l = loss_find(column(st, 0));
        if (!l)
            continue;
        snprintf(k->code, sizeof k->code, "%s", l->code);
        snprintf(k->text, sizeof k->text, "%s", *column(st, 1) ? column(st, 1) : l->text);
        *(l->whole ? &out->whole : &out->part) += 1;
        out->order |= strcmp(l->code, "list-order") == 0;
    }
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

static size_t find_equal(yyjson_val *arr, const bool *used, yyjson_val *v)
{
    size_t n = yyjson_arr_size(arr), i;
    for (i = 0; i < n; i++)
        if (!used[i] && gs_json_equal(yyjson_arr_get(arr, i), v))
            return i;
    return n;
}

/* Are the elements of `b` those of `a`, but for as many as the losses say, and in their order? */
static int parts_fit(yyjson_val *a, yyjson_val *b, const struct parts *p, bool *out, struct gs_err *err)
{
    size_t na = yyjson_arr_size(a), nb = yyjson_arr_size(b), last = 0, alike = 0;
    gs_autofree bool *used = calloc(nb + 1, sizeof *used);
    bool ordered = true;
    if (!used)
        return gs_fail(err, GS_E_NOMEM, "no memory for a list");
    for (size_t i = 0; i < na; i++) {
        size_t at = find_equal(b, used, yyjson_arr_get(a, i));
        if (at == nb)
            continue;
        used[at] = true;
        ordered &= alike == 0 || at > last;
        last = at;
        alike++;
    }
    size_t left_a = na - alike, left_b = nb - alike;
    *out = (ordered || p->order) && left_b <= p->part && left_a <= left_b + p->whole;
    return 0;
}

static int nested_rule(struct known *k, struct diff_item *i, struct gs_err *err)
{
    const struct relation *r = relation_find(i->relation);
    const struct rel_nested *n = r ? r->nested : NULL;
    while (n && n->name && strcmp(n->name, i->attr) != 0)
        n++;
    if (!n || !n->name || !n->array || !i->a || !i->b)
        return 0;
    struct parts p;
    GS_AUTO(yyjson_doc) a = NULL;
    GS_AUTO(yyjson_doc) b = NULL;
    struct gs_json_opts raw = {.raw_numbers = true, .max_bytes = (size_t)256 << 20};
    bool fits = false;
    if (count_parts(k, i, n->relation, &p, err))
        return -1;
    if (p.whole + p.part == 0)
        return 0;
    if (gs_json_parse(i->a, strlen(i->a), &raw, &a, err) || gs_json_parse(i->b, strlen(i->b), &raw, &b, err) ||
        parts_fit(yyjson_doc_get_root(a), yyjson_doc_get_root(b), &p, &fits, err))
        return -1;
    if (fits) {
        i->verdict = DIFF_LOST;
        i->rule = k->code;
        i->why = k->text;
    }
    return 0;
}

/* What a GitLab makes of a text by itself, recognised by the text alone: so that a load by other means is understood as well. */
static void by_text(struct known *k, struct diff_item *i)
{
    size_t na = i->a ? strlen(i->a) : 0, nb = i->b ? strlen(i->b) : 0;
    if (nb < 3 || na < nb)
        return;
    if (strcmp(i->relation, "self") == 0 && strcmp(i->attr, "description") == 0 && na > nb && strncmp(i->a, i->b, nb - 1) == 0 && nb > 250)
        say(k, i, DIFF_LOST, "group-description-cut", NULL);
    if (strcmp(i->relation, "milestones") != 0 || strcmp(i->attr, "title") != 0)
        return;
    /* markup goes, what stands between stays: both are read as quoted JSON */
    const char *x = i->a, *y = i->b;
    while (*x && *y) {
        if (*x == '<' && strchr(x, '>'))
            x = strchr(x, '>') + 1;
        else if (*x != *y)
            break;
        else
            x++, y++;
    }
    if (!*x && !*y)
        say(k, i, DIFF_LOST, "milestone-title-sanitised", NULL);
}

static int differs(struct known *k, struct diff_item *i, struct gs_err *err)
{
    if (strcmp(i->relation, "groups") == 0 || strcmp(i->relation, "avatar") == 0)
        return 0;
    if (by_rule(k, i, i->relation, i->key, err) || (i->verdict == DIFF_COUNTS && nested_rule(k, i, err)))
        return -1;
    if (i->verdict == DIFF_COUNTS)
        by_text(k, i);
    if (i->verdict == DIFF_COUNTS && strcmp(i->relation, "self") == 0)
        by_place(k, i, i->attr);
    return 0;
}

/* ---- extra ---- */

static int extra(struct known *k, struct diff_item *i, struct gs_err *err)
{
    const struct grp *g = known_grp(k, i->group_a ? i->group_a : k->root);
    const char *kind = strcmp(i->relation, "groups") == 0 ? "groups" : i->relation;
    if (!k->loaded || !g || !g->existed)
        return 0;
    sqlite3_stmt *st = known_stmt(k, KNOWN_OURS, err);
    if (!st)
        return -1;
    sqlite3_bind_text(st, 1, kind, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, strcmp(kind, "groups") == 0 ? i->group_b : i->id_b);
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    if (rc == SQLITE_DONE)
        say(k, i, DIFF_BESIDE, "", "the group was there before, and this is not of the load");
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

/* The token's user stays Owner of a group where nobody else is, which the load has said. */
static int extra_owner(struct known *k, struct diff_item *i, struct gs_err *err)
{
    gs_autofree char *name = NULL;
    if (strcmp(i->relation, "members") != 0)
        return 0;
    if (state_meta_get(k->state, "target_user", &name, err))
        return -1;
    if (!name || strcmp(name, i->key) != 0)
        return 0;
    sqlite3_stmt *st = losses(k, i->group_a, "self", "", err);
    int rc = SQLITE_DONE;
    while (st && (rc = sqlite3_step(st)) == SQLITE_ROW)
        if (strcmp(column(st, 0), "creator-kept-as-owner") == 0)
            say(k, i, DIFF_BESIDE, "creator-kept-as-owner", loss_find("creator-kept-as-owner")->text);
    if (!st || rc != SQLITE_DONE)
        return known_db_fail(k, err);
    sqlite3_reset(st);
    return 0;
}

int known_judge(void *cookie, struct diff_item *i, struct gs_err *err)
{
    struct known *k = cookie;
    i->rule = i->why = NULL;
    switch (i->kind) {
    case DIFF_MISSING:
        return missing(k, i, err);
    case DIFF_DIFFERS:
        return differs(k, i, err);
    case DIFF_EXTRA:
        return extra(k, i, err) || (i->verdict == DIFF_COUNTS && extra_owner(k, i, err)) ? -1 : 0;
    }
    return 0;
}
