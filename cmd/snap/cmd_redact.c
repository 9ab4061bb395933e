/* snap redact: a bundle without what a policy withholds. */
#include "cmd/snap/output.h"
#include "cmd/snap/verbs.h"
#include "cmd/snap/withhold.h"

struct opts {
    struct cli_common c;
    struct cli_key key;
    struct cli_trust trust;
    struct cli_seal seal;
    const char *policy, *output;
    unsigned level;
};

static const struct cli_opt opts[] = {
    {.name = "policy",
     .letter = 'p',
     .type = CLI_STR,
     .offset = offsetof(struct opts, policy),
     .arg = "FILE",
     .required = true,
     .help = "what is withheld, as JSON"},
    {.name = "output",
     .letter = 'o',
     .type = CLI_STR,
     .offset = offsetof(struct opts, output),
     .arg = "FILE",
     .required = true,
     .help = "the bundle to make; it must not exist"},
    {.name = "level",
     .type = CLI_UINT,
     .offset = offsetof(struct opts, level),
     .arg = "N",
     .min = 1,
     .max = 19,
     .help = "zstd level, 3 unless told otherwise"},
    {.name = "encrypt-to",
     .type = CLI_LIST,
     .offset = offsetof(struct opts, seal) + offsetof(struct cli_seal, to),
     .arg = "RECIPIENT|FILE",
     .help =
         "encrypt the file to this public key (age1...), or to those in FILE, one a line; may be given several times"},
    {0},
};
static const struct cli_part parts[] = {
    {cli_opts_key, offsetof(struct opts, key)}, {cli_opts_trust, offsetof(struct opts, trust)}, {0}};

static int report(struct cli *cli, const struct opts *o, const struct snap_output *out, const char *from,
                  const struct redact_result *r, struct gs_err *err)
{
    if (o->c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&w, &buf, "redact", err);
        gs_jw_kstr(&w, "file", cli_valid(out->path));
        gs_jw_kstr(&w, "of", cli_valid(from));
        gs_jw_ki64(&w, "bytes", (int64_t)out->size);
        gs_jw_kstr(&w, "set_id", out->set_id);
        gs_jw_kstr(&w, "digest", out->digest);
        snap_output_json_withheld(out, &w);
        return cli_json_end(cli, &w);
    }
    cli_out(cli, "'%s' is '%s' without %s records, %s parts of records and %s files\n", cli_safe(out->path),
            cli_safe(from), cli_count(r->records), cli_count(r->values), cli_count(r->files));
    cli_out(cli, "digest      %s\n", out->digest);
    cli_note(cli, "what was withheld stands in its ledger: %s inspect %s", cli->tool, cli_safe(out->path));
    return 0;
}

static int redact(struct cli *cli, const struct opts *o, const char *path, const struct sign_trust *trust,
                  struct snap_output *out, struct gs_err *err)
{
    GS_AUTO(bundle) b = NULL;
    GS_AUTO(policy) p = NULL;
    struct bundle_verify_opts vo = {.stop = &cli_stop};
    struct snap_withheld w = {0};
    if (policy_load(o->policy, &p, err))
        return -1;
    cli_progress(cli, "checking %s ...", path);
    if (cli_bundle_open(cli, &o->trust, trust, path, &b, err))
        return -1;
    if (!bundle_proven(b))
        cli_warn(cli,
                 "no key that is trusted here is known to have signed '%s': what is signed now is your word for it",
                 path);
    if (bundle_verify_with(b, &vo, NULL, err))
        return cli_wrap_file(err, path);
    struct snap_output_opts so = {
        .path = o->output, .encoding = bundle_encoding(b) == RECORD_MSGPACK, .level = o->level};
    int r = snap_withhold(cli, b, p, &so, NULL, out, &w, err) ? cli_wrap_file(err, path) : snap_output_finish(cli, out, &w.meta.meta, err);
    cli_progress_end(cli);
    if (r == 0)
        r = report(cli, o, out, path, &w.sums, err);
    snap_withheld_release(&w);
    return r;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct snap_output out;
    struct sign_trust trust __attribute__((cleanup(sign_trust_release))) = {0};
    struct snap_output_opts so = {.path = o->output};
    (void)argc;
    if (cli_trust_load(&o->trust, false, &trust, &err))
        return cli_error(cli, &err);
    int r = snap_output_open(cli, &so, &o->key, &o->seal, &out, &err) || redact(cli, o, argv[0], &trust, &out, &err);
    snap_output_close(&out);
    return r ? cli_error(cli, &err) : 0;
}

const struct cli_verb snap_verb_redact = {
    .name = "redact",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Make a bundle without what a policy withholds",
    .text = "For the guard between the networks. FILE stays as it is; the new bundle is signed with --key. What is not "
            "withheld\n"
            "is the same, record by record ('diff' shows it); what is withheld stands in the ledger by number and "
            "rule, so that\n"
            "'verify --deep' and 'replay reconcile' account for it. The same bundle, policy and key give the same "
            "bytes.\n\n"
            "A policy (every part may be left out; secrets are withheld unless it says false):\n\n"
            "  {\"schema\": \"groupsnap.policy/1\",\n"
            "   \"emails\": true, \"confidential\": true,\n"
            "   \"relations\": [\"members\", \"badges\"],\n"
            "   \"attachments\": {\"larger_than\": 10485760, \"types\": [\"exe\", \"zip\"]},\n"
            "   \"text\": {\"patterns\": {\"host\": \"[a-z0-9-]+[.]corp[.]example\"}}}",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
