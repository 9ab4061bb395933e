/* snap split: a bundle in volumes. snap reissue: some of them once more. */
#include "cmd/snap/verbs.h"
#include "cmd/volumes.h"

#include <string.h>
#include <sys/stat.h>

struct opts {
    struct cli_common c;
    struct cli_key key;
    struct cli_trust trust;
    const char *size, *output, *volumes;
    unsigned parity;
};

#define SPLIT_OPTS                                                                                                     \
    {.name = "size",                                                                                                   \
     .letter = 's',                                                                                                    \
     .type = CLI_STR,                                                                                                  \
     .offset = offsetof(struct opts, size),                                                                            \
     .arg = "SIZE",                                                                                                    \
     .required = true,                                                                                                 \
     .help = "most bytes of one volume: 1900m, 4g; or dvd, bd, fat32, what fits such a medium"},                       \
        {.name = "parity",                                                                                             \
         .type = CLI_UINT,                                                                                             \
         .offset = offsetof(struct opts, parity),                                                                      \
         .arg = "K",                                                                                                   \
         .max = 64,                                                                                                    \
         .help = "make K more volumes: any K of them all may then be lost (0)"},                                       \
    {                                                                                                                  \
        .name = "output", .letter = 'o', .type = CLI_STR, .offset = offsetof(struct opts, output), .arg = "BASE|DIR",  \
        .help = "write BASE.vol01 ..., or DIR/FILE.vol01 ... (FILE.vol01 ... beside FILE)"                             \
    }

static const struct cli_opt split_opts[] = {SPLIT_OPTS, {0}};
static const struct cli_opt reissue_opts[] = {{.name = "volumes",
                                               .type = CLI_STR,
                                               .offset = offsetof(struct opts, volumes),
                                               .arg = "N,N-N",
                                               .required = true,
                                               .help = "which volumes, such as 3,7 or 2-4"},
                                              SPLIT_OPTS,
                                              {0}};
static const struct cli_part parts[] = {
    {cli_opts_key, offsetof(struct opts, key)}, {cli_opts_trust, offsetof(struct opts, trust)}, {0}};

/* ---- options ---- */

static bool read_size(const char *s, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } media[] = {
        {"fat32", UINT32_MAX}, /* the largest file there */
        {"dvd", 4690000000u},  /* 4.70 GB, less what a file system takes */
        {"bd", 25000000000u},  /* 25.03 GB, the same */
    };
    static const char units[] = "kmgt";
    for (size_t i = 0; i < GS_COUNT(media); i++)
        if (strcmp(media[i].name, s) == 0) {
            *out = media[i].bytes;
            return true;
        }
    uint64_t v = 0;
    size_t n = strspn(s, "0123456789");
    if (n == 0 || n > 15)
        return false;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (uint64_t)(s[i] - '0');
    const char *u = s[n] ? strchr(units, s[n] | 0x20) : NULL;
    if (s[n] && (!u || s[n + 1]))
        return false;
    unsigned shift = u ? 10 * (unsigned)(u - units + 1) : 0;
    *out = v << shift;
    return v > 0 && v <= ((uint64_t)INT64_MAX >> shift);
}

/* "3,7-9" */
static bool read_list(const char *s, bool out[VOLUME_MAX + 1])
{
    while (*s) {
        unsigned from = 0, to;
        size_t n = strspn(s, "0123456789");
        if (n == 0 || n > 3)
            return false;
        for (; n > 0; n--)
            from = from * 10 + (unsigned)(*s++ - '0');
        to = from;
        if (*s == '-') {
            n = strspn(++s, "0123456789");
            if (n == 0 || n > 3)
                return false;
            for (to = 0; n > 0; n--)
                to = to * 10 + (unsigned)(*s++ - '0');
        }
        if (from == 0 || to < from || to > VOLUME_MAX)
            return false;
        while (from <= to)
            out[from++] = true;
        if (*s == ',' && s[1])
            s++;
        else if (*s)
            return false;
    }
    return true;
}

/* Where the volumes are written: to be freed. */
static char *base_of(const struct opts *o, const char *file)
{
    struct stat st;
    const char *slash = strrchr(file, '/');
    if (!o->output)
        return strdup(file);
    if (stat(o->output, &st) == 0 && S_ISDIR(st.st_mode))
        return gs_asprintf("%s/%s", o->output, slash ? slash + 1 : file);
    return strdup(o->output);
}

/* ---- what is done ---- */

static int show(struct cli *cli, const struct opts *o, const char *what, const char *file, const char *base,
                const struct volume_split_result *r, struct gs_err *err)
{
    unsigned of = r->data + r->parity;
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 20);
    if (o->c.json) {
        cli_json_begin(&w, &buf, what, err);
        gs_jw_kstr(&w, "file", cli_valid(file));
        gs_jw_kstr(&w, "set", r->set);
        gs_jw_ki64(&w, "data", r->data);
        gs_jw_ki64(&w, "parity", r->parity);
        gs_jw_key(&w, "volumes");
        gs_jw_arr(&w);
    } else {
        cli_out(cli, "set         %s: %u volumes of data, %u of parity\n", r->set, r->data, r->parity);
    }
    for (unsigned i = 1; i <= of; i++) {
        gs_autofree char *path = r->bytes[i] ? volume_file_name(base, i, of) : NULL;
        if (!path)
            continue;
        if (o->c.json) {
            gs_jw_obj(&w);
            gs_jw_ki64(&w, "volume", i);
            gs_jw_kstr(&w, "file", cli_valid(path));
            gs_jw_ki64(&w, "bytes", (int64_t)r->bytes[i]);
            gs_jw_kbool(&w, "parity", i > r->data);
            gs_jw_end(&w);
        } else {
            cli_out(cli, "%5u %-6s %s (%s)\n", i, i > r->data ? "parity" : "", cli_safe(path), cli_bytes(r->bytes[i]));
        }
    }
    if (!o->c.json)
        return 0;
    gs_jw_end(&w);
    return cli_json_end(cli, &w);
}

static int open_file(struct cli *cli, const struct opts *o, const struct sign_trust *trust, const char *path,
                     struct gs_source *src, struct bundle **b, struct gs_err *err)
{
    if (gs_source_open(path, src, err))
        return -1;
    if (volume_is(src))
        return gs_fail(err, GS_E_USAGE, "'%s' is a volume already", path);
    if (age_is(src)) /* what is encrypted is divided as it is */
        return 0;
    struct bundle_verify_opts vo = {.stop = &cli_stop};
    cli_progress(cli, "checking %s ...", path);
    if (cli_bundle_open(cli, &o->trust, trust, path, b, err))
        return -1;
    return bundle_verify_with(*b, &vo, NULL, err) ? cli_wrap_file(err, path) : 0;
}

static int split(struct cli *cli, const struct opts *o, const char *path, const bool *only, const char *what,
                 struct gs_err *err)
{
    struct sign_trust trust __attribute__((cleanup(sign_trust_release))) = {0};
    GS_AUTO(sign_seckey) key = NULL;
    struct gs_source src = {0};
    struct bundle *b = NULL;
    struct volume_split_opts so = {.parity = o->parity, .only = only, .threads = o->trust.threads};
    struct volume_split_result res;
    struct volumes_screen screen;
    gs_autofree char *base = base_of(o, path);
    if (!base)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (!read_size(o->size, &so.limit))
        return gs_fail(err, GS_E_USAGE, "--size '%s': a size such as 1900m or 4g is needed, or dvd, bd or fat32",
                       o->size);
    so.base = base;
    so.progress = volumes_progress(&screen, cli, "dividing");
    int r = cli_trust_load(&o->trust, false, &trust, err) || cli_key_load(cli, &o->key, &key, err) ||
            open_file(cli, o, &trust, path, &src, &b, err);
    so.key = key;
    r = r || volume_split(b, &src, &so, &res, err) ? -1 : 0;
    bundle_close(b);
    gs_source_close(&src);
    cli_progress_end(cli);
    return r ? -1 : show(cli, o, what, path, base, &res, err);
}

static int run_split(struct cli *cli, void *optv, int argc, char **argv)
{
    struct gs_err err = {0};
    (void)argc;
    return split(cli, optv, argv[0], NULL, "split", &err) ? cli_error(cli, &err) : 0;
}

static int run_reissue(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    bool only[VOLUME_MAX + 1] = {0};
    (void)argc;
    if (!read_list(o->volumes, only))
        return cli_usage(cli, "--volumes '%s': numbers of volumes are needed, such as 3,7 or 2-4", o->volumes);
    return split(cli, o, argv[0], only, "reissue", &err) ? cli_error(cli, &err) : 0;
}

const struct cli_verb snap_verb_split = {
    .name = "split",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Divide a bundle into volumes that fit a medium",
    .text = "Every volume is a tar with a label of its own that is signed with --key: which set, which number, what it "
            "holds, and the\n"
            "digests. A bundle's members stand in it as they are, and none that holds records is cut; 'tar xf' of all "
            "volumes gives what\n"
            "'tar xf FILE' gives. An encrypted file is cut anywhere.\n\n"
            "With --parity K any K volumes of the set may be lost or damaged: every command that reads a bundle takes "
            "one volume, or the\n"
            "folder of them, in place of FILE, and computes what lacks. 'verify' says what is there and whether it is "
            "enough, 'repair'\n"
            "makes the volumes that lack, 'join' the bundle. FILE stays as it is.\n\n"
            "The same bundle, size, parity and key give the same bytes: 'reissue' makes single volumes again.\n\n"
            "  %s split team.gsnap --size dvd --parity 2 --key key",
    .opts = split_opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run_split,
};

const struct cli_verb snap_verb_reissue = {
    .name = "reissue",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Make single volumes of a set again, byte for byte",
    .text = "FILE, --size, --parity and --key must be those of 'split'; then the volumes are the same, byte for byte. "
            "No file is replaced.\n\n"
            "  %s reissue team.gsnap --volumes 3,7 --size dvd --parity 2 --key key -o again",
    .opts = reissue_opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run_reissue,
};
