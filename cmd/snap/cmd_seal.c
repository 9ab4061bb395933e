/* snap seal: encrypts a file in the format of age. */
#include "cmd/snap/verbs.h"
#include "libcommon/clock.h"

#include <string.h>
#include <sys/stat.h>

#define STEP ((uint64_t)8 << 20)

struct opts {
    struct cli_common c;
    struct cli_seal seal;
    const char *output;
};

static const struct cli_opt opts[] = {
    {.name = "output",
     .letter = 'o',
     .type = CLI_STR,
     .offset = offsetof(struct opts, output),
     .arg = "FILE.age",
     .required = true,
     .help = "the encrypted file to make; it must not exist"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_seal, offsetof(struct opts, seal)}, {0}};

static int copy(struct cli *cli, const struct gs_source *src, struct age_writer *w, struct gs_err *err)
{
    int64_t begun = gs_mono_ms();
    for (uint64_t off = 0; off < src->size;) {
        uint64_t n = src->size - off < STEP ? src->size - off : STEP;
        int64_t ms = gs_mono_ms() - begun;
        if (cli_stop)
            return gs_fail(err, GS_E_STOPPED, "stopped before the file was encrypted; nothing of it is left");
        if (age_writer_copy(w, src, off, n, err))
            return -1;
        off += n;
        cli_progress(cli, "encrypting: %s of %s, %s/s", cli_bytes(off), cli_bytes(src->size),
                     cli_bytes(ms > 0 ? (uint64_t)((double)off / (double)ms * 1000) : 0));
    }
    return age_writer_finish(w, err);
}

static int seal(struct cli *cli, const struct opts *o, const char *path, uint64_t *out_size, struct gs_err *err)
{
    struct gs_source src;
    struct gs_stage st = {.fd = -1};
    GS_AUTO(age_seal) keys = NULL;
    GS_AUTO(age_writer) w = NULL;
    if (gs_source_open(path, &src, err))
        return -1;
    struct stat there;
    int r = 0;
    if (age_is(&src))
        r = gs_fail(err, GS_E_USAGE, "'%s' is encrypted already", path);
    else if (lstat(o->output, &there) == 0) /* before anybody is asked for a passphrase */
        r = gs_fail(err, GS_E_EXISTS, "'%s' exists already", o->output);
    if (r == 0)
        r = cli_seal_new(cli, &o->seal, &keys, err) || gs_stage_open(&st, o->output, 0644, false, err) ||
            age_writer_new(keys, 0, st.fd, o->output, &w, err) || copy(cli, &src, w, err) || gs_stage_commit(&st, err);
    gs_stage_release(&st);
    *out_size = src.size;
    age_writer_free(gs_steal(&w)); /* its threads read from the source */
    gs_source_close(&src);
    cli_progress_end(cli);
    return r ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    uint64_t size;
    bool pass = o->seal.passphrase || o->seal.passphrase_file;
    (void)argc;
    if (!pass && o->seal.to.n == 0)
        return cli_usage(cli, "encrypted to whom? Give --encrypt-to, or --encrypt-passphrase");
    if (seal(cli, o, argv[0], &size, &err))
        return cli_error(cli, &err);
    if (o->c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&w, &buf, "seal", &err);
        gs_jw_kstr(&w, "file", cli_valid(o->output));
        gs_jw_kstr(&w, "of", cli_valid(argv[0]));
        gs_jw_ki64(&w, "bytes", (int64_t)size);
        gs_jw_kbool(&w, "passphrase", pass);
        return cli_json_end(cli, &w) ? cli_error(cli, &err) : 0;
    }
    cli_out(cli, "'%s' holds '%s' (%s), encrypted %s\n", cli_safe(o->output), cli_safe(argv[0]), cli_bytes(size),
            pass ? "with a passphrase" : "to the recipients");
    return 0;
}

const struct cli_verb snap_verb_seal = {
    .name = "seal",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Encrypt a bundle to those who may read it",
    .text =
        "The result has the public format age v1: 'age -d -i KEY' gives FILE back, and so does every verb here that\n"
        "reads a bundle, with --identity or a passphrase, without writing anything decrypted to a disk. A recipient\n"
        "is what '%s keygen --age' or age-keygen shows as public key. FILE stays as it is; remove it yourself. Any\n"
        "other file can be encrypted, too.\n\n"
        "Encryption says nothing about who made a file: sign first ('create' does), then encrypt. A guard between\n"
        "the networks that must look into the bundle can be one of the recipients.\n\n"
        "  %s seal team.gsnap -o team.gsnap.age --encrypt-to age1...",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
