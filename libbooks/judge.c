/* What explains a difference: a rule by which the load left something out or changed it, a refusal, or that it was there before. */
#include "libbooks/known_priv.h"
#include "libbooks/rules.h"

#include "libreplay/loss.h"

#include <stdio.h>
#include <string.h>

void known_say(struct known *k, struct diff_item *i, enum diff_verdict v, const char *code, const char *text)
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
            known_say(k, i, DIFF_LOST, l->code, *column(st, 1) ? column(st, 1) : l->text);
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
            known_say(k, i, DIFF_LOST, "group-setting-not-applied", "only a top-level group has this setting");
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
        known_say(k, i, DIFF_REFUSED, op.code, op.text);
    else if (found && op.state == OP_SKIPPED && strcmp(op.code, CODE_DECIDED) == 0)
        known_say(k, i, DIFF_LOST, CODE_DECIDED, op.text);
    else if (found && op.state == OP_SKIPPED && strcmp(op.code, CODE_RULE) != 0)
        known_say(k, i, DIFF_REFUSED, op.code, op.text);
    if (i->verdict == DIFF_COUNTS && left_out(k, i, relation, op.id, err))
        return -1;
    if (i->verdict == DIFF_COUNTS && strcmp(relation, "namespace_settings") == 0)
        by_place(k, i, "prevent_sharing_groups_outside_hierarchy");
    if (i->verdict == DIFF_COUNTS && found && k->loaded)
        known_say(k, i, DIFF_COUNTS, "", op.state == OP_DONE ? "it was loaded, and is not there any more" : "it is not loaded yet");
    return 0;
}

/* ---- different ---- */

/* A value as plain text: numbers and words as they are. *out to be freed; NULL: there is none, or it is no single value. */
static int plain(const char *json, char **out, struct gs_err *err)
{
    struct gs_json_opts raw = {.raw_numbers = true, .max_bytes = (size_t)256 << 20};
    GS_AUTO(yyjson_doc) doc = NULL;
    *out = NULL;
    if (!json)
        return 0;
    if (gs_json_parse(json, strlen(json), &raw, &doc, err))
        return -1;
    yyjson_val *v = yyjson_doc_get_root(doc);
    if (!yyjson_is_str(v) && !yyjson_is_raw(v) && !yyjson_is_bool(v))
        return 0;
    *out = strdup(yyjson_is_str(v) ? yyjson_get_str(v) : json);
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a value");
}

static int by_rule(struct known *k, struct diff_item *i, const char *relation, const char *key, struct gs_err *err)
{
    gs_autofree char *there = NULL;
    if (plain(i->b, &there, err))
        return -1;
    sqlite3_stmt *st = losses(k, i->group_a, relation, key, err);
    int rc = SQLITE_DONE;
    while (st && i->verdict == DIFF_COUNTS && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const struct loss_rule *l = loss_find(column(st, 0));
        if (l && !l->whole && rules_explain(l->code, column(st, 1), i->attr, there))
            known_say(k, i, DIFF_LOST, l->code, *column(st, 1) ? column(st, 1) : l->text);
    }
    if (!st || (rc != SQLITE_ROW && rc != SQLITE_DONE))
        return known_db_fail(k, err);
    sqlite3_reset(st);
    return 0;
}

/* Text that people wrote: is it what a load makes of it, by whatever means? */
static int by_wording(struct known *k, struct diff_item *i, struct gs_err *err)
{
    const struct relation *r = relation_find(i->relation);
    const struct rel_attr *attr = r ? relation_attr(r, i->attr) : NULL;
    bool epic = strcmp(i->relation, "epics") == 0;
    struct wording w = {.group = i->group_a, .actions = epic, .cut = strcmp(i->relation, "self") == 0};
    struct gs_json_opts limit = {.max_bytes = (size_t)256 << 20};
    GS_AUTO(yyjson_doc) own = NULL;
    GS_AUTO(yyjson_doc) a = NULL;
    GS_AUTO(yyjson_doc) b = NULL;
    const char *code = NULL;
    if (!attr || attr->type != REL_TEXT)
        return 0;
    if ((i->a && gs_json_parse(i->a, strlen(i->a), &limit, &a, err)) || (i->b && gs_json_parse(i->b, strlen(i->b), &limit, &b, err)) ||
        (epic && i->record_a && gs_json_parse(i->record_a, strlen(i->record_a), &limit, &own, err)) ||
        known_noted(k, i->group_a, i->relation, known_called(k, i->key), "author-in-text", &w.named, err))
        return -1;
    yyjson_val *va = yyjson_doc_get_root(a), *vb = yyjson_doc_get_root(b);
    w.owner = yyjson_doc_get_root(own);
    if (known_wording(k, &w, va ? yyjson_get_str(va) : "", yyjson_get_len(va), vb ? yyjson_get_str(vb) : "", yyjson_get_len(vb), &code, err))
        return -1;
    if (code)
        known_say(k, i, DIFF_LOST, code, loss_find(code)->text);
    return 0;
}

/* What GitLab itself takes out of a title, recognised by the title alone: so that a load by other means is understood as well. */
static void by_title(struct known *k, struct diff_item *i)
{
    if (!i->a || !i->b || strlen(i->b) < 3 || strlen(i->a) < strlen(i->b))
        return;
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
        known_say(k, i, DIFF_LOST, "milestone-title-sanitised", NULL);
}

static int look_for_parents(struct known *k, struct gs_err *err)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(k->target, &g);
    k->parents = -1;
    for (size_t i = 0; i < n && k->parents < 0; i++) {
        GS_AUTO(bundle_cursor) c = NULL;
        const void *data;
        size_t len;
        if (bundle_count(k->target, g[i].id, "epics") == 0)
            continue;
        if (bundle_cursor_open(k->target, g[i].id, "epics", &c, err))
            return -1;
        do {
            GS_AUTO(yyjson_doc) doc = NULL;
            if (bundle_cursor_next(c, &data, &len, NULL, err) ||
                (data && record_parse(bundle_encoding(k->target), data, len, NULL, &doc, err)))
                return -1;
            if (data && yyjson_is_obj(yyjson_obj_get(yyjson_doc_get_root(doc), "parent")))
                k->parents = 1;
        } while (data && k->parents < 0);
    }
    return 0;
}

/* Whether epics may have parents the tier decides, which no read tells. Where a load noted nothing, it is one that takes none if none has. */
static int by_tier(struct known *k, struct diff_item *i, struct gs_err *err)
{
    if (k->loaded || strcmp(i->relation, "epics") != 0 || strcmp(i->attr, "parent") != 0 || i->b)
        return 0;
    if (k->parents == 0 && look_for_parents(k, err))
        return -1;
    if (k->parents < 0)
        known_say(k, i, DIFF_LOST, "epic-parent", "no epic has a parent there, so that its tier has none");
    return 0;
}

static int differs(struct known *k, struct diff_item *i, struct gs_err *err)
{
    if (strcmp(i->relation, "groups") == 0 || strcmp(i->relation, "avatar") == 0)
        return 0;
    if (by_rule(k, i, i->relation, i->key, err) || (i->verdict == DIFF_COUNTS && known_parts(k, i, err)) ||
        (i->verdict == DIFF_COUNTS && by_wording(k, i, err)) || (i->verdict == DIFF_COUNTS && by_tier(k, i, err)))
        return -1;
    if (i->verdict == DIFF_COUNTS)
        by_title(k, i);
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
        known_say(k, i, DIFF_BESIDE, "", "the group was there before, and this is not of the load");
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
            known_say(k, i, DIFF_BESIDE, "creator-kept-as-owner", loss_find("creator-kept-as-owner")->text);
    if (!st || rc != SQLITE_DONE)
        return known_db_fail(k, err);
    sqlite3_reset(st);
    return 0;
}

/* After an import by GitLab itself the plan's own losses explain nothing: they are about what the API cannot do. */
static int native(struct known *k, struct diff_item *i, struct gs_err *err)
{
    if (known_native(k, i, err))
        return -1;
    if (i->verdict == DIFF_COUNTS && i->kind == DIFF_MISSING && strcmp(i->relation, "namespace_settings") == 0)
        by_place(k, i, "prevent_sharing_groups_outside_hierarchy");
    if (i->verdict == DIFF_COUNTS && i->kind == DIFF_DIFFERS && strcmp(i->relation, "self") == 0)
        by_place(k, i, i->attr);
    if (i->verdict == DIFF_COUNTS && i->kind == DIFF_DIFFERS)
        by_title(k, i);
    return i->verdict == DIFF_COUNTS && i->kind == DIFF_DIFFERS ? by_tier(k, i, err) : 0;
}

int known_judge(void *cookie, struct diff_item *i, struct gs_err *err)
{
    struct known *k = cookie;
    i->rule = i->why = NULL;
    if (k->native.by != NATIVE_NONE)
        return native(k, i, err);
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
