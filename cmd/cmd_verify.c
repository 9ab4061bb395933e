/* verify: is a bundle genuine and whole? */
#include "cmd/cli.h"
#include "cmd/contents.h"
#include "cmd/volumes.h"
#include "libcommon/clock.h"

struct opts {
    struct cli_common c;
    struct cli_trust trust;
    struct cli_fresh fresh;
    bool deep, alone, volumes_only;
};

static const struct cli_opt opts[] = {
    {.name = "deep",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, deep),
     .help = "also unpack every frame, check and count every record, and add up the ledger"},
    {.name = "volumes-only",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, volumes_only),
     .help = "of volumes: say whether they are enough, and do not look at what was divided"},
    {.name = "alone",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, alone),
     .help = "of volumes: say whether those that are named are good; others of the set need not be there"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_trust, offsetof(struct opts, trust)}, {cli_opts_fresh, offsetof(struct opts, fresh)}, {0}};

static double mb_per_s(uint64_t bytes, double seconds)
{
    return seconds > 0 ? (double)bytes / 1e6 / seconds : 0;
}

static void print_text(struct cli *cli, const char *path, const struct bundle *b, bool deep,
                       const struct bundle_verify_result *v)
{
    const struct bundle_signature *s;
    size_t n = bundle_signatures(b, &s);
    char id[SIGN_KEYID_HEX], digest[2 * BUNDLE_DIGEST_LEN + 1];
    contents_hex(bundle_digest(b), BUNDLE_DIGEST_LEN, digest);
    cli_out(cli, "'%s' is genuine and whole\n", cli_safe(path));
    for (size_t i = 0; i < n; i++)
        if (s[i].result == GS_OK)
            contents_print_signer(cli, &s[i]);
    for (size_t i = 0; i < n; i++) {
        if (s[i].result == GS_OK)
            continue;
        sign_keyid_hex(s[i].info.id, id);
        cli_out(cli, "also        a signature by key %s that proves nothing [%s]\n", id, gs_code_name(s[i].result));
    }
    cli_out(cli, "set         %s\n", cli_safe(bundle_set_id(b)));
    cli_out(cli, "digest      %s\n", digest);
    cli_out(cli, "members     %s, %s\n", cli_count(v->members), cli_bytes(v->bytes));
    cli_out(cli, "records     %s%s\n", cli_count(v->records), deep ? ", each unpacked and checked" : "");
    if (deep)
        cli_out(cli, "unpacked    %s\n", cli_bytes(v->raw_bytes));
    cli_out(cli, "time        %s, %.0f MB/s%s\n", cli_span((int64_t)(v->seconds * 1000)),
            mb_per_s(deep ? v->raw_bytes : v->bytes, v->seconds), deep ? " unpacked" : "");
}

static int print_json(struct cli *cli, const char *path, const struct bundle *b, bool deep,
                      const struct bundle_verify_result *v, struct gs_err *err)
{
    const struct bundle_signature *s;
    size_t n = bundle_signatures(b, &s);
    char digest[2 * BUNDLE_DIGEST_LEN + 1];
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)64 << 20);
    contents_hex(bundle_digest(b), BUNDLE_DIGEST_LEN, digest);
    cli_json_begin(&w, &buf, "verify", err);
    gs_jw_kstr(&w, "file", cli_valid(path));
    gs_jw_kbool(&w, "ok", true);
    gs_jw_kbool(&w, "deep", deep);
    gs_jw_kstr(&w, "set_id", bundle_set_id(b));
    gs_jw_kstr(&w, "digest", digest);
    gs_jw_key(&w, "signatures");
    gs_jw_arr(&w);
    for (size_t i = 0; i < n; i++)
        contents_json_signature(&w, &s[i]);
    gs_jw_end(&w);
    gs_jw_ki64(&w, "members", (int64_t)v->members);
    gs_jw_ki64(&w, "bytes", (int64_t)v->bytes);
    gs_jw_ki64(&w, "records", (int64_t)v->records);
    if (deep)
        gs_jw_ki64(&w, "raw_bytes", (int64_t)v->raw_bytes);
    gs_jw_key(&w, "seconds");
    gs_jw_dbl(&w, v->seconds);
    gs_jw_key(&w, "mb_per_s");
    gs_jw_dbl(&w, mb_per_s(v->bytes, v->seconds));
    if (deep) {
        gs_jw_key(&w, "raw_mb_per_s");
        gs_jw_dbl(&w, mb_per_s(v->raw_bytes, v->seconds));
    }
    return cli_json_end(cli, &w);
}

struct screen {
    struct cli *cli;
    const char *path;
    int64_t begun_ms;
};

static void progress(void *cookie, uint64_t done, uint64_t total)
{
    struct screen *s = cookie;
    int64_t ms = gs_mono_ms() - s->begun_ms;
    char left[64] = "";
    if (done > 0 && ms > 2000)
        snprintf(left, sizeof left, ", about %s left", cli_span((int64_t)((double)ms / (double)done * (double)(total - done))));
    cli_progress(s->cli, "checking %s: %s of %s, %s/s%s", s->path, cli_bytes(done), cli_bytes(total),
                 cli_bytes(ms > 0 ? (uint64_t)((double)done / (double)ms * 1000) : 0), left);
}

static int verify_open(struct cli *cli, const struct opts *o, const char *path, struct bundle *b, struct gs_err *err)
{
    struct bundle_verify_result v = {0};
    cli_progress_end(cli);
    cli_progress(cli, "checking %s of %s ...", cli_bytes(bundle_size(b)), path);
    struct screen screen = {.cli = cli, .path = path, .begun_ms = gs_mono_ms()};
    struct bundle_verify_opts vo = {.deep = o->deep, .stop = &cli_stop, .progress = progress, .cookie = &screen};
    if (bundle_verify_with(b, &vo, &v, err))
        return cli_wrap_file(err, path);
    cli_progress_end(cli);
    if (cli_fresh_check(cli, &o->fresh, b, err))
        return cli_wrap_file(err, path);
    if (o->c.json)
        return print_json(cli, path, b, o->deep, &v, err);
    print_text(cli, path, b, o->deep, &v);
    return 0;
}

static int verify(struct cli *cli, const struct opts *o, const struct sign_trust *trust, const char *path,
                  struct gs_err *err)
{
    GS_AUTO(bundle) b = NULL;
    cli_progress(cli, "opening %s ...", path);
    return cli_bundle_open(cli, &o->trust, trust, path, &b, err) || verify_open(cli, o, path, b, err) ? -1 : 0;
}

static int verify_volumes(struct cli *cli, const struct opts *o, const struct sign_trust *trust, int argc, char **argv, struct volume_set **out,
                          struct gs_err *err)
{
    struct volumes_screen screen;
    struct volume_progress p = volumes_progress(&screen, cli, "checking volumes");
    const struct volume_seen *v;
    struct gs_err why = {0};
    GS_AUTO(volume_set) s = NULL;
    if (volumes_open((const char *const *)argv, (size_t)argc, o->alone, trust, &s, err) || volume_set_verify(s, o->trust.threads, &p, err))
        return -1;
    cli_progress_end(cli);
    bool enough = volume_set_enough(s, &why) == 0;
    if (volumes_show(cli, s, enough, err))
        return -1;
    size_t n = volume_set_seen(s, &v);
    for (size_t i = 0; o->alone && i < n; i++) {
        if (v[i].state == VOLUME_GOOD || v[i].state == VOLUME_MISSING)
            continue;
        if (v[i].why.code) {
            *err = v[i].why;
            return cli_wrap_file(err, v[i].path);
        }
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "'%s' is %s", v[i].path, v[i].state == VOLUME_TWICE ? "a second copy" : "of another set");
    }
    if (!o->alone && !enough) {
        *err = why;
        return -1;
    }
    *out = gs_steal(&s);
    return 0;
}

/* What was divided, when it is a bundle that can be looked into. */
static int verify_divided(struct cli *cli, const struct opts *o, const struct sign_trust *trust, struct volume_set *s, const char *path, struct gs_err *err)
{
    struct volume_about a;
    struct gs_source src;
    GS_AUTO(bundle) b = NULL;
    volume_set_about(s, &a);
    if (!a.is_bundle && o->trust.identity.n == 0 && !o->trust.age_passphrase_file) {
        cli_note(cli, "what was divided is not a bundle as it is; with --identity it is looked into");
        volume_set_close(s);
        return 0;
    }
    if (volume_set_source(s, &src, err))
        return -1;
    return cli_bundle_open_source(cli, &o->trust, trust, path, &src, &b, err) || verify_open(cli, o, path, b, err) ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct sign_trust trust = {0};
    struct volume_set *set = NULL;
    int r = cli_trust_load(&o->trust, true, &trust, &err);
    bool volumes = argc > 1 || o->alone || o->volumes_only || volume_paths_meant(argv[0]);
    if (r == 0)
        r = volumes ? verify_volumes(cli, o, &trust, argc, argv, &set, &err) : verify(cli, o, &trust, argv[0], &err);
    if (r == 0 && set && !o->alone && !o->volumes_only)
        r = verify_divided(cli, o, &trust, set, argv[0], &err);
    else
        volume_set_close(set);
    sign_trust_release(&trust);
    return r ? cli_error(cli, &err) : 0;
}

const struct cli_verb cli_verb_verify = {
    .name = "verify",
    .args = "FILE|VOLUME...|DIR",
    .min_args = 1,
    .max_args = 4096,
    .summary = "Check who signed a bundle and every byte of it",
    .text =
        "Name the keys you trust with --trust, or keep them with 'trust add'; one good signature by one of them is enough\n"
        "unless --require says more. Nothing in the file is believed before that holds. The exit code tells what is wrong:\n"
        "20 damaged, 21 signature missing or not trusted, or older than what was loaded from that source before, 22 a part is\n"
        "missing, 23 made by a newer version.\n\n"
        "Of a bundle in volumes (split) name one volume of those in a folder, the folder, or several files in any order. Every byte\n"
        "of each is checked; then it is said which are good, damaged, missing or strange, and whether they are enough. If so,\n"
        "the bundle in them is checked like any other.\n\n"
        "The same without this program, in an empty folder (compare 'tar tf FILE' with SUMS, too):\n\n"
            "  tar xf FILE && minisign -V -p PUB -m manifest.json\n"
            "  echo \"$(jq -r .sums.blake2b256 manifest.json)  SUMS\" | b2sum -l 256 -c\n"
            "  b2sum -l 256 -c SUMS",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
