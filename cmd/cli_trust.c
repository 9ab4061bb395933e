/* Whom to believe: the keys of --trust or of the store, signatures beside a bundle, and what was loaded before. */
#include "cmd/cli_priv.h"
#include "cmd/volumes.h"
#include "formats/trust.h"
#include "libcommon/clock.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_BESIDE 64
#define MAX_SIGNATURE 4096

const struct cli_opt cli_opts_fresh[] = {
    {.name = "allow-rollback",
     .type = CLI_FLAG,
     .offset = offsetof(struct cli_fresh, allow_rollback),
     .help = "take a bundle that is older than one of the same source that was loaded before"},
    {0},
};

/* ---- places ---- */

/* A file of ours in a folder of the XDG base directories; relative ones count for nothing. */
static char *place(const char *variable, const char *below_home, const char *name)
{
    const char *dir = getenv(variable), *home = getenv("HOME");
    if (dir && dir[0] == '/')
        return gs_asprintf("%s/groupsnap/%s", dir, name);
    return home && home[0] == '/' ? gs_asprintf("%s/%s/groupsnap/%s", home, below_home, name) : NULL;
}

char *cli_trust_dir(void)
{
    return place("XDG_CONFIG_HOME", ".config", "trust");
}

char *cli_seen_file(void)
{
    return place("XDG_STATE_HOME", ".local/state", "seen.json");
}

/* ---- keys ---- */

int cli_trust_load(const struct cli_trust *t, bool need, struct sign_trust *out, struct gs_err *err)
{
    gs_autofree char *store = cli_trust_dir();
    struct stat st;
    *out = (struct sign_trust){0};
    need = need || t->require;
    for (size_t i = 0; i < t->trust.n; i++)
        if (sign_trust_add(out, t->trust.v[i], err))
            return gs_wrap(err, "--trust");
    if (store && t->trust.n > 0) {
        if (sign_trust_add_revoked(out, store, err))
            return gs_wrap(err, "trust store");
    } else if (store && stat(store, &st) == 0) {
        if (sign_trust_add(out, store, err)) {
            if (err->code != GS_E_NO_TRUST)
                return gs_wrap(err, "trust store");
            gs_err_clear(err);
        }
        out->lenient = !need;
    }
    if (out->n == 0 && need)
        return gs_fail(err, GS_E_NO_TRUST, "no trusted key is named");
    return 0;
}

/* ---- signatures beside the file ---- */

struct beside {
    struct bundle_beside v[MAX_BESIDE];
    char *name[MAX_BESIDE], *text[MAX_BESIDE];
    size_t n;
};

static void beside_release(struct beside *b)
{
    for (size_t i = 0; i < b->n; i++) {
        free(b->name[i]);
        free(b->text[i]);
    }
}

/* "FILE.0123456789ABCDEF.minisig"? */
static bool is_beside(const char *name, const char *file)
{
    size_t n = strlen(file);
    return strncmp(name, file, n) == 0 && name[n] == '.' &&
           strspn(name + n + 1, "0123456789ABCDEF") == SIGN_KEYID_HEX - 1 &&
           strcmp(name + n + SIGN_KEYID_HEX, ".minisig") == 0;
}

static int beside_add(struct beside *b, const char *dir, const char *name, struct gs_err *err)
{
    gs_autofree char *path = gs_asprintf("%s/%s", dir, name);
    gs_autobuf text;
    size_t len;
    gs_buf_init(&text, MAX_SIGNATURE);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (b->n == MAX_BESIDE)
        return gs_fail(err, GS_E_LIMIT, "more than %d signatures beside the bundle", MAX_BESIDE);
    if (gs_buf_reserve(&text, 1, err) || gs_read_file(path, MAX_SIGNATURE, &text, err))
        return -1;
    char *copy = strdup(name), *data = gs_buf_steal(&text, &len);
    if (!copy || !data) {
        free(copy);
        free(data);
        return gs_fail(err, GS_E_NOMEM, "no memory for a signature");
    }
    b->name[b->n] = copy;
    b->text[b->n] = data;
    b->v[b->n++] = (struct bundle_beside){.name = copy, .text = data, .len = len};
    return 0;
}

char *cli_divided_name(const char *path)
{
    struct volume_paths p = {0};
    struct gs_err err = {0};
    char *base = NULL;
    if (!volume_paths_meant(path))
        return strdup(path);
    if (volume_paths_expand(&path, 1, false, &p, &err) == 0 && p.n > 0)
        base = volume_base(p.v[0]);
    volume_paths_release(&p);
    return base ? base : strdup(path);
}

char *cli_beside_name(const char *path, const uint8_t id[SIGN_KEYID_LEN])
{
    char hex[SIGN_KEYID_HEX];
    gs_autofree char *base = cli_divided_name(path);
    sign_keyid_hex(id, hex);
    return base ? gs_asprintf("%s.%s.minisig", base, hex) : NULL;
}

static int beside_load(const char *named, struct beside *b, struct gs_err *err)
{
    gs_autofree char *path = cli_divided_name(named);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    gs_autofree char *dir = slash ? strndup(path, (size_t)(slash - path) + (slash == path)) : strdup(".");
    struct dirent **names = NULL;
    if (!dir)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (!*file)
        return 0;
    int n = scandir(dir, &names, NULL, alphasort), r = 0;
    if (n < 0) /* a folder that may be passed through and not listed */
        return errno == EACCES ? 0 : gs_fail_sys(err, GS_E_IO, errno, "reading folder '%s'", dir);
    for (int i = 0; i < n; i++) {
        if (r == 0 && is_beside(names[i]->d_name, file))
            r = beside_add(b, dir, names[i]->d_name, err);
        free(names[i]);
    }
    free(names);
    return r;
}

/* ---- bundles ---- */

/* `src` is closed when this fails. */
static int open_bundle(const struct cli_trust *t, const struct sign_trust *trust, const char *path,
                       struct gs_source *src, struct bundle **out, struct gs_err *err)
{
    struct beside beside __attribute__((cleanup(beside_release))) = {.n = 0};
    if (beside_load(path, &beside, err)) {
        gs_source_close(src);
        return -1;
    }
    struct bundle_opts o = {
        .trust = trust,
        .no_verify = !trust || trust->n == 0 || trust->lenient,
        .require = t->require,
        .beside = beside.v,
        .n_beside = beside.n,
        .threads = t->threads,
        .limits =
            {
                .max_bundle = t->max_bundle,
                .max_manifest = t->max_manifest,
                .max_sums = t->max_sums,
                .max_index_raw = t->max_index,
                .max_members = t->max_members,
                .max_member_raw = t->max_member,
                .max_ledger_raw = t->max_ledger,
                .record = {.max_bytes = t->max_record, .max_depth = t->max_depth},
            },
    };
    return bundle_open_source(src, &o, out, err) ? cli_wrap_file(err, path) : 0;
}

int cli_bundle_open(struct cli *cli, const struct cli_trust *t, const struct sign_trust *trust, const char *path,
                    struct bundle **out, struct gs_err *err)
{
    struct gs_source src;
    return cli_source_open(cli, t, trust, path, &src, err) ? -1 : open_bundle(t, trust, path, &src, out, err);
}

int cli_bundle_open_source(struct cli *cli, const struct cli_trust *t, const struct sign_trust *trust, const char *path,
                           struct gs_source *src, struct bundle **out, struct gs_err *err)
{
    return cli_source_decrypt(cli, t, path, src, err) ? -1 : open_bundle(t, trust, path, src, out, err);
}

/* ---- what was loaded before ---- */

int cli_fresh_check(struct cli *cli, const struct cli_fresh *f, const struct bundle *b, struct gs_err *err)
{
    gs_autofree char *path = cli_seen_file();
    if (!path || !bundle_proven(b) || trust_seen_check(path, b, err) == 0)
        return 0;
    if (err->code != GS_E_ROLLBACK || !f->allow_rollback)
        return -1;
    cli_warn(cli, "%s", err->text);
    gs_err_clear(err);
    return 0;
}

void cli_fresh_note(struct cli *cli, const struct bundle *b)
{
    gs_autofree char *path = cli_seen_file();
    struct gs_err err = {0};
    if (!path)
        cli_warn(cli, "there is no home folder in which to remember this bundle: an older one will not be refused");
    else if (bundle_proven(b) && trust_seen_note(path, b, gs_unix_ms(), &err))
        cli_warn(cli, "an older bundle will not be refused, since this one cannot be remembered: %s", err.text);
}
