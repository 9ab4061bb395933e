/* snap import-archive: makes a bundle from GitLab's own group export. */
#include "cmd/snap/output.h"
#include "cmd/snap/verbs.h"
#include "libexport/archive_reader.h"

struct opts {
    struct cli_common c;
    struct cli_key key;
    struct cli_seal seal;
    struct snap_output_opts out;
    uint64_t max_unpacked, max_record;
};

static const struct cli_opt opts[] = {
    {.name = "max-unpacked", .type = CLI_SIZE, .offset = offsetof(struct opts, max_unpacked), .arg = "SIZE", .hidden = true,
     .help = "most that the export may unpack to, 25g unless told otherwise"},
    {.name = "max-record", .type = CLI_SIZE, .offset = offsetof(struct opts, max_record), .arg = "SIZE", .hidden = true,
     .help = "most bytes of one line, 50m unless told otherwise"},
    {0},
};

static const struct cli_part parts[] = {{cli_opts_key, offsetof(struct opts, key)},
                                        {cli_opts_seal, offsetof(struct opts, seal)},
                                        {snap_output_opts_table, offsetof(struct opts, out)},
                                        {0}};

static void progress(void *cookie, uint64_t groups, uint64_t records)
{
    cli_progress(cookie, "%s groups, %s records", cli_count(groups), cli_count(records));
}

static int import(struct cli *cli, const struct opts *o, const char *path, struct snap_output *out, struct gs_err *err)
{
    GS_AUTO(archive_reader) reader = NULL;
    struct archive_reader_opts ro = {.path = path, .limits = {.max_total = o->max_unpacked},
                                     .record = {.max_bytes = o->max_record}, .log = &cli->log, .stop = &cli_stop,
                                     .progress = progress, .cookie = cli};
    struct bundle_meta meta = {0};
    struct book_summary sums;
    if (snap_output_begin(out, &o->out, NULL, err) || archive_reader_new(&ro, out->writer, &reader, err) ||
        archive_reader_run(reader, err))
        return cli_error(cli, err);
    archive_reader_meta(reader, &meta);
    if (snap_output_finish(cli, out, &meta, err))
        return cli_error(cli, err);
    archive_reader_summary(reader, &sums);
    return snap_output_report(cli, out, "import-archive", &meta, archive_reader_groups(reader), &sums, NULL, &o->key);
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct snap_output out;
    int rc = snap_output_open(cli, &o->out, &o->key, &o->seal, &out, &err) ? cli_error(cli, &err) : import(cli, o, argv[0], &out, &err);
    snap_output_close(&out);
    return rc;
}

const struct cli_verb snap_verb_import_archive = {
    .name = "import-archive",
    .args = "EXPORT",
    .min_args = 1,
    .max_args = 1,
    .summary = "Make a bundle from GitLab's own group export",
    .text = "EXPORT is the .tar.gz that GitLab offers for download, a .tar, or the folder it unpacks to. Every record is\n"
            "carried as it is; secrets (tokens) are taken out, and the ledger says which. No network is used.\n\n"
            "With --encrypt-to or a passphrase FILE is written encrypted, in the format age v1, as 'seal' would make it of the\n"
            "bundle; no two encrypted files are the same, also with --time. While it is made, FILE.work holds packed records that are NOT encrypted, in a file of mode 0600; they are\n"
            "removed when it is done, not overwritten.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
