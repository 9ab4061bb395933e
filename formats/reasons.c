#include "formats/reasons.h"

#include "libcommon/cleanup.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool reasons_is_unread(bool lost, const char *rule)
{
    /* the last ones are in the balance of the tree, too, as what was left out of it */
    static const char *const rules[] = {"relation-not-read", "forbidden", "avatar-not-readable", "group-not-visible"};
    for (size_t i = 0; i < (lost ? GS_COUNT(rules) : 1); i++)
        if (strcmp(rules[i], rule) == 0)
            return true;
    return false;
}

/* Behind a name between quotes, or a number of a path. */
static const char *pass_name(const char *s, char before)
{
    const char *end = *s == '\'' ? strchr(s + 1, '\'') : NULL;
    if (end)
        return end + 1;
    if (before == '/')
        while (isdigit((unsigned char)*s))
            s++;
    return s;
}

/* Do two lines say the same, apart from names? */
static bool alike(const char *a, const char *b)
{
    char before = 0;
    for (;; before = *a, a++, b++) {
        const char *x = pass_name(a, before), *y = pass_name(b, before);
        if (x != a && y != b) {
            a = x;
            b = y;
        }
        if (*a != *b)
            return false;
        if (!*a)
            return true;
    }
}

static bool same(const struct reason *a, const struct reason *b)
{
    return a->fallback == b->fallback && strcmp(a->relation, b->relation) == 0 && strcmp(a->from, b->from) == 0 &&
           strcmp(a->to, b->to) == 0 && strcmp(a->rule, b->rule) == 0 && alike(a->why, b->why);
}

static int add(struct reasons *r, const struct reason *one, struct gs_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        struct reason *x = &r->v[i];
        if (!same(x, one))
            continue;
        int order = strcmp(one->why, x->why);
        x->varies |= order != 0;
        if (order < 0)
            memcpy(x->why, one->why, sizeof x->why);
        x->entries++;
        x->records += one->records;
        return 0;
    }
    if (r->n == REASONS_MAX) { /* only words of a server can be that many */
        r->v[r->n - 1].varies = true;
        r->v[r->n - 1].entries++;
        r->v[r->n - 1].records += one->records;
        return 0;
    }
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 8;
        struct reason *v = realloc(r->v, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for the books");
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = *one;
    return 0;
}

static struct reason unread(const char *relation, const char *rule, const char *why)
{
    struct reason one = {.entries = 1};
    snprintf(one.relation, sizeof one.relation, "%s", relation);
    snprintf(one.rule, sizeof one.rule, "%s", rule);
    int n = snprintf(one.why, sizeof one.why, "%s", why ? why : "");
    if (n >= (int)sizeof one.why) /* no half of a character */
        for (n = sizeof one.why - 1; n > 0 && ((unsigned char)why[n] & 0xc0) == 0x80;)
            one.why[--n] = '\0';
    return one;
}

int reasons_fallback(struct reasons *r, const char *relation, const char *from, const char *to, const char *why, struct gs_err *err)
{
    struct reason one = unread(relation, "", why);
    one.fallback = true;
    snprintf(one.from, sizeof one.from, "%s", from);
    snprintf(one.to, sizeof one.to, "%s", to);
    return add(r, &one, err);
}

int reasons_unread(struct reasons *r, const char *relation, const char *rule, uint64_t records, const char *why, struct gs_err *err)
{
    struct reason one = unread(relation, rule, why);
    one.records = records;
    return add(r, &one, err);
}

void reasons_take_back(struct reasons *r, const char *relation, const char *rule, const char *why)
{
    struct reason one = unread(relation, rule, why);
    for (size_t i = 0; i < r->n; i++)
        if (same(&r->v[i], &one)) {
            if (--r->v[i].entries == 0)
                r->v[i] = r->v[--r->n];
            return;
        }
}

static int in_order(const void *a, const void *b)
{
    const struct reason *x = a, *y = b;
    int r = y->fallback - x->fallback;
    if (!r)
        r = strcmp(x->relation, y->relation);
    if (!r)
        r = strcmp(x->rule, y->rule);
    return r ? r : strcmp(x->why, y->why);
}

void reasons_sort(struct reasons *r)
{
    if (r->n > 1)
        qsort(r->v, r->n, sizeof *r->v, in_order);
}

void reasons_release(struct reasons *r)
{
    free(r->v);
    *r = (struct reasons){0};
}
