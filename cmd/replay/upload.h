/*
 * upload: the target's side of `archive --upload`: GitLab's group export file is sent to its file import, which is followed as far as the API lets.
 *
 *   upload_open() [asks where it goes, and refuses what is taken] -> upload_send() -> upload_follow() -> upload_free()
 *
 * The API has no status of a file import. What can be known is what has arrived: GitLab makes one group after the other, in the order of
 * the file, and everything of a group before the next. A failure is told to nobody but the log of the target.
 */
#ifndef REPLAY_UPLOAD_H
#define REPLAY_UPLOAD_H

#include "cmd/cli.h"
#include "libserve/content.h"

struct upload_opts {
    const struct cli_remote *remote;
    const char *into;             /* full path of the group to import below; NULL: a top-level group */
    const char *slug, *name;      /* of the group that is made */
    unsigned wait_s;              /* how long the import is followed */
    unsigned settle_s;            /* how long nothing arrives when it has ended (60; less, for tests, shortens other waits too) */
};

enum upload_end {
    UPLOAD_COMPLETE, /* all groups are there, and of the last of them as many records as can be counted */
    UPLOAD_QUIET,    /* something is not, and nothing has arrived any more for settle_s */
    UPLOAD_NOT_YET,  /* after wait_s things may still arrive */
};

struct upload;

/* The token is that of `remote`. GS_E_GROUP_NOT_FOUND: the parent is not there; GS_E_TARGET_TAKEN: something else is. The options and the
 * content live until upload_free(). */
int upload_open(struct cli *cli, const struct upload_opts *o, const struct content *c, struct upload **out, struct gs_err *err) GS_MUST_USE;
/*
 * POST /api/v4/groups/import with `size` bytes of the open file. When no answer came, it is looked whether the group came to be, and only
 * when it did not the file is sent again, at most three times in all. GS_E_FORBIDDEN, GS_E_TARGET_TAKEN, GS_E_IMPORT_SIZE,
 * GS_E_IMPORT_REFUSED, GS_E_RATE, GS_E_IMPORT_UNKNOWN: nobody can say whether it was taken.
 */
int upload_send(struct upload *u, int fd, uint64_t size, struct gs_err *err) GS_MUST_USE;
int upload_follow(struct upload *u, enum upload_end *out_end, struct gs_err *err) GS_MUST_USE;
/* Live as long as `u`. */
struct gl_client *upload_client(const struct upload *u);
const char *upload_path(const struct upload *u);
void upload_free(struct upload *u);
GS_DEFINE_AUTO(upload, upload_free);

#endif
