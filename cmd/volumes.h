/* volumes: sets of volumes on the command line: which files are meant, and how a set is shown. */
#ifndef VOLUMES_H
#define VOLUMES_H

#include "cmd/cli.h"
#include "formats/volume.h"

struct volume_paths {
    char **v;
    size_t n;
};

/*
 * Folders become the volumes in them. A single file that is a volume stands for all volumes in its folder unless
 * `alone`; the set that it belongs to is then the one that is meant. GS_E_NOT_FOUND, GS_E_IO.
 */
int volume_paths_expand(const char *const *args, size_t n, bool alone, struct volume_paths *out,
                        struct gs_err *err) GS_MUST_USE;
void volume_paths_release(struct volume_paths *p);
/* Is this a folder, or a volume? */
bool volume_paths_meant(const char *path);
/* "x/team.gsnap.vol03" -> "x/team.gsnap"; another name stays. To be freed. */
char *volume_base(const char *path);
/* The set that these arguments name. */
int volumes_open(const char *const *args, size_t n, bool alone, const struct sign_trust *trust, struct volume_set **out,
                 struct gs_err *err) GS_MUST_USE;

/* The table for people, or the object groupsnap.volumes/1. */
int volumes_show(struct cli *cli, const struct volume_set *s, bool enough, struct gs_err *err) GS_MUST_USE;
/* Progress of splitting, checking and joining; `what` stands in front. The result refers to `to`. */
struct volumes_screen {
    struct cli *cli;
    const char *what;
    int64_t begun_ms;
};
struct volume_progress volumes_progress(struct volumes_screen *to, struct cli *cli, const char *what);

#endif
