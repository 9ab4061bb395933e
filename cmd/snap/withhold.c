#include "cmd/snap/withhold.h"

static void progress(void *cookie, uint64_t records)
{
    cli_progress(cookie, "%s records", cli_count(records));
}

int snap_withhold(struct cli *cli, struct bundle *b, const struct policy *p, const struct snap_output_opts *so, const char *dir,
                  struct snap_output *out, struct snap_withheld *w, struct gs_err *err)
{
    struct redact_opts ro = {.policy = p, .stop = &cli_stop, .progress = progress, .cookie = cli};
    if (snap_output_begin(out, so, dir, err) || redact_run(b, &ro, out->writer, &w->sums, err) ||
        redact_meta(b, p, &w->sums, &w->meta, err))
        return -1;
    out->serial = w->meta.meta.serial;
    out->withheld = &w->sums;
    return 0;
}

void snap_withheld_release(struct snap_withheld *w)
{
    redact_meta_release(&w->meta);
}
