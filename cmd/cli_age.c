/* Options of verbs that open or make encrypted files, and what is made from them. */
#include "cmd/cli_priv.h"
#include "cmd/volumes.h"

#include <string.h>

#define TRIES 3

const struct cli_opt cli_opts_seal[] = {
    {.name = "encrypt-to",
     .type = CLI_LIST,
     .offset = offsetof(struct cli_seal, to),
     .arg = "RECIPIENT|FILE",
     .help =
         "encrypt the file to this public key (age1...), or to those in FILE, one a line; may be given several times"},
    {.name = "encrypt-passphrase",
     .type = CLI_FLAG,
     .offset = offsetof(struct cli_seal, passphrase),
     .help = "encrypt the file with a passphrase that is asked for, twice"},
    {.name = "age-passphrase-file",
     .type = CLI_STR,
     .offset = offsetof(struct cli_seal, passphrase_file),
     .arg = "FILE",
     .help = "encrypt the file with the passphrase in the first line of FILE"},
    {0},
};

/* ---- passphrases ---- */

int cli_ask_twice(struct cli *cli, const char *prompt, enum gs_code empty, const char *empty_text,
                  struct gs_secret *out, struct gs_err *err)
{
    for (int i = 0; i < TRIES; i++) {
        struct gs_secret again = {0};
        if (cli_ask_secret(cli, prompt, out, err) || cli_ask_secret(cli, "The same passphrase again: ", &again, err)) {
            if (err->code == GS_E_USAGE) /* nothing typed */
                gs_fail(err, empty, "%s", empty_text);
            else if (err->code == GS_E_KEY_PASSPHRASE) /* no terminal */
                err->code = empty;
            return -1;
        }
        bool same = out->len == again.len && memcmp(out->data, again.data, out->len) == 0;
        gs_secret_release(&again);
        if (same)
            return 0;
        cli_warn(cli, "the two passphrases differ");
    }
    return gs_fail(err, empty, "the two passphrases differed %d times", TRIES);
}

struct asking {
    struct cli *cli;
    const char *file;
};

/* The passphrase of an encrypted file or identity file. */
static int ask(void *cookie, const char *file, struct gs_secret *out, struct gs_err *err)
{
    const struct asking *a = cookie;
    char prompt[300];
    if (a->file)
        return gs_secret_from_file(out, a->file, err);
    snprintf(prompt, sizeof prompt, "Passphrase of '%.200s': ", cli_safe(file));
    if (cli_ask_secret(a->cli, prompt, out, err) == 0) {
        cli_progress(a->cli, "unlocking %s ...", file);
        return 0;
    }
    if (err->code == GS_E_USAGE || err->code == GS_E_KEY_PASSPHRASE) /* nothing typed; no terminal */
        err->code = GS_E_AGE_PASSPHRASE;
    return -1;
}

/* ---- reading ---- */

/* `src` is closed when this fails. */
static int decrypt(struct cli *cli, const struct cli_trust *t, const char *path, struct gs_source *src,
                   struct gs_err *err)
{
    struct asking a = {cli, t->age_passphrase_file};
    struct age_passphrase pass = {ask, &a};
    struct age_identities ids = {0};
    struct age_open_opts o = {.name = path, .ids = &ids, .pass = &pass};
    struct gs_source out;
    int r = 0;
    for (size_t i = 0; i < t->identity.n && r == 0; i++)
        r = age_identities_add(&ids, t->identity.v[i], &pass, err);
    if (r) {
        gs_wrap(err, "--identity");
        gs_source_close(src);
    } else {
        r = age_open(src, &o, &out, err);
    }
    age_identities_release(&ids);
    if (r == 0)
        *src = out;
    return r;
}

int cli_source_decrypt(struct cli *cli, const struct cli_trust *t, const char *path, struct gs_source *src, struct gs_err *err)
{
    return age_is(src) && decrypt(cli, t, path, src, err) ? cli_wrap_file(err, path) : 0;
}

/* A volume, or a folder of them: what was divided, put together as it is read. */
static int open_volumes(struct cli *cli, const struct cli_trust *t, const struct sign_trust *trust, const char *path, struct gs_source *out, struct gs_err *err)
{
    struct volume_set *s = NULL;
    const struct volume_seen *v;
    struct volumes_screen screen;
    struct volume_about a;
    if (volumes_open(&path, 1, false, trust, &s, err))
        return -1;
    volume_set_about(s, &a);
    size_t n = volume_set_seen(s, &v);
    bool lacks = false;
    for (size_t i = 0; i < a.data; i++)
        lacks |= v[i].state != VOLUME_GOOD;
    /* out of a volume that is damaged another one would be computed wrongly: so all are looked at first */
    struct volume_progress p = volumes_progress(&screen, cli, "checking volumes");
    if (lacks && volume_set_verify(s, t->threads, &p, err)) {
        volume_set_close(s);
        return -1;
    }
    cli_progress_end(cli);
    n = volume_set_seen(s, &v);
    for (size_t i = 0; i < n; i++)
        if (v[i].why.code)
            cli_warn(cli, "'%s': %s [%s]", v[i].path, v[i].why.text, gs_code_name(v[i].why.code));
        else if (v[i].state == VOLUME_MISSING)
            cli_note(cli, "volume %u is missing", v[i].number);
    return volume_set_source(s, out, err);
}

int cli_source_open(struct cli *cli, const struct cli_trust *t, const struct sign_trust *trust, const char *path, struct gs_source *out,
                    struct gs_err *err)
{
    if (volume_paths_meant(path) ? open_volumes(cli, t, trust, path, out, err) : gs_source_open(path, out, err))
        return cli_wrap_file(err, path);
    return cli_source_decrypt(cli, t, path, out, err);
}

/* ---- writing ---- */

int cli_seal_new(struct cli *cli, const struct cli_seal *o, struct age_seal **out, struct gs_err *err)
{
    struct age_recipients to = {0};
    struct gs_secret pass = {0};
    bool with_pass = o->passphrase || o->passphrase_file;
    int r = 0;
    *out = NULL;
    if (!with_pass && o->to.n == 0)
        return 0;
    if (with_pass && o->to.n > 0)
        return gs_fail(err, GS_E_USAGE,
                       "a file is encrypted either to recipients (--encrypt-to) or with a passphrase, not both");
    for (size_t i = 0; i < o->to.n && r == 0; i++)
        if (age_recipients_add(&to, o->to.v[i], err))
            r = gs_wrap(err, "--encrypt-to");
    if (r == 0 && o->passphrase_file)
        r = gs_secret_from_file(&pass, o->passphrase_file, err);
    else if (r == 0 && o->passphrase)
        r = cli_ask_twice(cli, "Passphrase for the encrypted file: ", GS_E_AGE_PASSPHRASE, "an empty passphrase", &pass,
                          err);
    if (r == 0)
        r = age_seal_new(&to, with_pass ? &pass : NULL, 0, out, err);
    age_recipients_release(&to);
    gs_secret_release(&pass);
    return r;
}
