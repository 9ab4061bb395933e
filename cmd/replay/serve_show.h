/*
 * serve_show: what `serve` says: what has to be set and called on the target, what the importer does, and what it left out.
 */
#ifndef REPLAY_SERVE_SHOW_H
#define REPLAY_SERVE_SHOW_H

#include "cmd/cli.h"
#include "libserve/source.h"

struct serve_plan {
    const struct content *c;
    const struct source *source;
    const char *bundle, *url, *host, *token_file;
    bool made_token;  /* the file was made now */
    bool tls;
};

/* Settings, name resolution and the call, as text or as one object. */
int serve_show_plan(struct cli *cli, const struct serve_plan *p, struct gs_err *err) GS_MUST_USE;
/* That it listens. */
int serve_show_listening(struct cli *cli, const struct serve_plan *p, unsigned port, struct gs_err *err) GS_MUST_USE;
/* Events since the last call: a line each for people who see no table, an object each for programs. */
int serve_show_events(struct cli *cli, const struct serve_plan *p, bool quiet, struct gs_err *err) GS_MUST_USE;
/* The table, as many lines as the screen has (0: all). */
void serve_show_table(struct cli *cli, const struct serve_plan *p, unsigned rows);
/* What was never asked for, and sums. *out_missing: relations with records that never left as a whole. */
int serve_show_end(struct cli *cli, const struct serve_plan *p, uint64_t *out_missing, struct gs_err *err) GS_MUST_USE;

#endif
