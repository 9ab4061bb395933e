/* snap sign: one more signature for a bundle. */
#include "cmd/snap/verbs.h"

struct opts {
    struct cli_common c;
    struct cli_key key;
};

static const struct cli_part parts[] = {{cli_opts_key, offsetof(struct opts, key)}, {0}};

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    GS_AUTO(sign_seckey) key = NULL;
    if (cli_key_load(cli, &o->key, &key, &err))
        return cli_error(cli, &err);
    cli_progress(cli, "checking and signing %s ...", argv[0]);
    if (bundle_add_signature(argv[0], key, &err)) {
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
        return cli_json_end(cli, &w) ? cli_error(cli, &err) : 0;
    }
    cli_out(cli, "'%s' is signed by key %s\n", cli_safe(argv[0]), id);
    return 0;
}

const struct cli_verb snap_verb_sign = {
    .name = "sign",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Add one more signature to a bundle",
    .text = "Every byte of the bundle is checked against its own list of digests first; who signed it before is not\n"
            "asked. Signatures that are there stay. The file is replaced as a whole. An encrypted bundle cannot be signed: sign\n"
            "first, then 'seal'.",
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
