/* Between two passes: what moved is forgotten, so that it is asked for again. */
#include "libexport/capture_priv.h"
#include "libexport/staging.h"

#include <string.h>

static int forget(struct capture *c, int64_t group, const char *relation, struct gs_err *err)
{
    return staging_forget(c->o.staging, group, relation, NULL, err);
}

/* Boards hold copies of the labels and milestones of their group and its ancestors. */
static int forget_boards(struct capture *c, int64_t group, struct gs_err *err)
{
    const char *path = NULL;
    for (size_t i = 0; i < c->plan.n && !path; i++)
        path = c->plan.v[i].id == group ? c->plan.v[i].full_path : NULL;
    size_t n = path ? strlen(path) : 0;
    for (size_t i = 0; i < c->plan.n && path; i++) {
        const char *p = c->plan.v[i].full_path;
        if (strncmp(p, path, n) == 0 && (p[n] == 0 || p[n] == '/') && forget(c, c->plan.v[i].id, "boards", err))
            return -1;
    }
    return 0;
}

/* The list or lists that show the groups. */
static int forget_tree(struct capture *c, struct gs_err *err)
{
    for (size_t i = 0; i < c->plan.n; i++)
        if ((c->recursive || c->plan.v[i].id == c->root_id) && forget(c, c->plan.v[i].id, "subgroups", err))
            return -1;
    return 0;
}

static int forget_change(struct capture *c, const struct book_change *m, struct gs_err *err)
{
    bool self = strcmp(m->relation, "self") == 0;
    /* the files of an export are of one moment: a new one is asked for, and what is known of the old one is no answer */
    if (staging_export_drop(c->o.staging, m->group_id, err) || forget(c, m->group_id, "export", err) ||
        forget(c, m->group_id, m->relation, err))
        return -1;
    if (self || strcmp(m->relation, "subgroups") == 0)
        return forget_tree(c, err) || (self && forget(c, m->group_id, "avatar", err)) ? -1 : 0;
    if (mark_kind_of(m->relation) >= MARK_PLANS && mark_kind_of(m->relation) < MARK_KINDS)
        return forget(c, m->group_id, "unread", err); /* there may have been none */
    if (strcmp(m->relation, "labels") == 0 || strcmp(m->relation, "milestones") == 0)
        return forget_boards(c, m->group_id, err);
    return 0;
}

int capture_forget(struct capture *c, struct gs_err *err)
{
    struct book_summary s;
    if (!c->o.staging)
        return 0;
    book_summary(c->book, &s);
    bool all = s.n_changes < s.changed; /* more than were kept in mind */
    for (size_t i = 0; i < s.n_changes && !all; i++) {
        all = s.changes[i].group_id == 0; /* of the whole instance */
        if (!all && forget_change(c, &s.changes[i], err))
            return -1;
    }
    for (size_t i = 0; i < c->plan.n && all; i++)
        if (forget(c, c->plan.v[i].id, NULL, err))
            return -1;
    return 0;
}
