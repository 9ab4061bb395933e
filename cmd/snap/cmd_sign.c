/* snap sign: one more signature, in the bundle or beside it. */
#include "cmd/snap/verbs.h"
#include "cmd/volumes.h"

#include <string.h>

struct opts {
    struct cli_common c;
    struct cli_key key;
    struct cli_trust trust;
    bool beside;
};

static const struct cli_opt opts[] = {
    {.name = "beside",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, beside),
     .help = "leave FILE as it is and write FILE.<key id>.minisig beside it; always so for what is encrypted or in "
             "volumes"},
    {0},
};
static const struct cli_part parts[] = {
    {cli_opts_key, offsetof(struct opts, key)}, {cli_opts_trust, offsetof(struct opts, trust)}, {0}};

/* *out_file: what was written, to be freed. */
static int sign_beside(const struct opts *o, const char *path, struct bundle *b, const struct sign_seckey *key,
                       char **out_file, struct gs_err *err)
{
    struct sign_pubkey pub;
    gs_autobuf text;
    gs_buf_init(&text, 4096);
    (void)o;
    sign_seckey_public(key, &pub);
    *out_file = cli_beside_name(path, pub.id);
    if (!*out_file)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (bundle_sign_beside(b, key, &text, err))
        return -1;
    return gs_write_file(*out_file, gs_buf_str(&text), text.len, 0644, false, err);
}

static int sign(struct cli *cli, const struct opts *o, const char *path, const struct sign_trust *trust,
                const struct sign_seckey *key, char **out_file, struct gs_err *err)
{
    GS_AUTO(bundle) b = NULL;
    struct gs_source src;
    /* who signed before is asked only of whom --trust or the store names */
    bool changeable = !o->beside && !volume_paths_meant(path);
    if (changeable) {
        if (gs_source_open(path, &src, err))
            return -1;
        changeable = !age_is(&src);
        gs_source_close(&src);
    }
    if (changeable && !(trust->n && !trust->lenient))
        return bundle_add_signature(path, key, err);
    if (cli_bundle_open(cli, &o->trust, trust, path, &b, err))
        return -1;
    return changeable ? bundle_add_signature(path, key, err) : sign_beside(o, path, b, key, out_file, err);
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct sign_trust trust __attribute__((cleanup(sign_trust_release))) = {0};
    gs_autofree char *beside = NULL;
    GS_AUTO(sign_seckey) key = NULL;
    (void)argc;
    if (cli_trust_load(&o->trust, false, &trust, &err) || cli_key_load(cli, &o->key, &key, &err))
        return cli_error(cli, &err);
    cli_progress(cli, "checking and signing %s ...", argv[0]);
    if (sign(cli, o, argv[0], &trust, key, &beside, &err)) {
        cli_wrap_file(&err, argv[0]);
        return cli_error(cli, &err);
    }
    cli_progress_end(cli);
    struct sign_pubkey pub;
    char id[SIGN_KEYID_HEX];
    sign_seckey_public(key, &pub);
    sign_keyid_hex(pub.id, id);
    if (o->c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&w, &buf, "sign", &err);
        gs_jw_kstr(&w, "file", cli_valid(argv[0]));
        gs_jw_kstr(&w, "key_id", id);
        gs_jw_kstr(&w, "signature_file", beside ? cli_valid(beside) : NULL);
        return cli_json_end(cli, &w) ? cli_error(cli, &err) : 0;
    }
    cli_out(cli, "'%s' is signed by key %s\n", cli_safe(argv[0]), id);
    if (beside)
        cli_out(cli, "the signature is in '%s': carry both\n", cli_safe(beside));
    return 0;
}

const struct cli_verb snap_verb_sign = {
    .name = "sign",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Add one more signature to a bundle",
    .text =
        "Every byte of the bundle is checked against its own list of digests first. Who signed it before is asked "
        "when\n"
        "--trust says whom to believe. Signatures that are there stay. The file is replaced as a whole.\n\n"
        "What is encrypted is opened with --identity or a passphrase and not changed, nor are volumes: the signature "
        "goes into a file\n"
        "beside it, FILE.<key id>.minisig, which every command that reads FILE finds there. So it does with --beside,\n"
        "for a bundle that lies on a medium that cannot be written. What is signed is manifest.json in either case:\n"
        "'minisign -S -m manifest.json' on the unpacked bundle makes such a file, too.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
