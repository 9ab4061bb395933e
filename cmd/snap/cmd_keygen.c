/* snap keygen: a key pair in minisign's format, for signing; or one in age's, for encryption. */
#include "cmd/snap/verbs.h"
#include "libcommon/clock.h"
#include "libcommon/io.h"

#include <errno.h>
#include <string.h>

struct opts {
    struct cli_common c;
    const char *output, *passphrase_file;
    bool no_passphrase, age;
};

static const struct cli_opt opts[] = {
    {.name = "output",
     .letter = 'o',
     .type = CLI_STR,
     .offset = offsetof(struct opts, output),
     .arg = "KEY",
     .required = true,
     .help = "where to write the secret key; the public key is written to KEY.pub"},
    {.name = "age",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, age),
     .help = "make a key to encrypt bundles to (an identity file of age) instead of one that signs; the public key is "
             "written to KEY.recipient"},
    {.name = "no-passphrase",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, no_passphrase),
     .help = "do not encrypt the secret key: whoever reads the file can sign with it"},
    {.name = "passphrase-file",
     .type = CLI_STR,
     .offset = offsetof(struct opts, passphrase_file),
     .arg = "FILE",
     .help = "file whose first line is the passphrase (otherwise the terminal is asked, twice)"},
    {0},
};

static int must_be_absent(const char *path, struct gs_err *err)
{
    if (access(path, F_OK) == 0)
        return gs_fail(err, GS_E_EXISTS, "'%s' is there already", path);
    return 0;
}

static int write_pair(struct cli *cli, const struct opts *o, const char *pub_path, struct sign_pubkey *pub,
                      struct gs_err *err)
{
    struct gs_secret passphrase = {0};
    int r = 0;
    if (o->passphrase_file)
        r = gs_secret_from_file(&passphrase, o->passphrase_file, err);
    else if (!o->no_passphrase)
        r = cli_ask_twice(cli, "Passphrase for the new key: ", GS_E_KEY_PASSPHRASE,
                          "an empty passphrase; --no-passphrase makes a key without one", &passphrase, err);
    GS_AUTO(sign_seckey) key = NULL;
    if (r == 0)
        r = sign_seckey_new(&key, pub, err);
    if (r == 0 && !o->no_passphrase)
        cli_progress(cli, "locking the key ...");
    if (r == 0)
        r = sign_seckey_write(key, o->output, o->no_passphrase ? NULL : &passphrase, false, err);
    cli_progress_end(cli);
    gs_secret_release(&passphrase);
    if (r)
        return -1;
    if (sign_pubkey_write(pub, pub_path, false, err)) {
        unlink(o->output); /* both or none */
        return -1;
    }
    return 0;
}

/* ---- of age ---- */

/* The identity file as it is, as age-keygen writes it; or encrypted with a passphrase, as `age -p` makes of it. */
static int write_identity(struct cli *cli, const struct opts *o, const struct gs_secret *text, struct gs_err *err)
{
    struct gs_secret passphrase = {0};
    struct gs_stage st;
    GS_AUTO(age_seal) seal = NULL;
    GS_AUTO(age_writer) w = NULL;
    if (!o->passphrase_file)
        return gs_write_file(o->output, text->data, text->len, 0600, false, err);
    if (gs_secret_from_file(&passphrase, o->passphrase_file, err))
        return -1;
    cli_progress(cli, "locking the key ...");
    int r = age_seal_new(NULL, &passphrase, 0, &seal, err);
    cli_progress_end(cli);
    gs_secret_release(&passphrase);
    if (r || gs_stage_open(&st, o->output, 0600, false, err))
        return -1;
    r = age_writer_new(seal, 1, st.fd, o->output, &w, err) || age_writer_write(w, text->data, text->len, err) ||
        age_writer_finish(w, err) || gs_stage_commit(&st, err);
    gs_stage_release(&st);
    return r ? -1 : 0;
}

static int age_pair(struct cli *cli, const struct opts *o, const char *pub_path, char recipient[AGE_RECIPIENT_TEXT],
                    struct gs_err *err)
{
    struct gs_secret text = {0};
    char line[AGE_RECIPIENT_TEXT + 1];
    int r = age_identity_new(gs_unix_ms() / 1000 * 1000, &text, recipient, err) || write_identity(cli, o, &text, err);
    gs_secret_release(&text);
    if (r)
        return -1;
    int n = snprintf(line, sizeof line, "%s\n", recipient);
    if (gs_write_file(pub_path, line, (size_t)n, 0644, false, err)) {
        unlink(o->output); /* both or none */
        return -1;
    }
    return 0;
}

static int run_age(struct cli *cli, const struct opts *o, struct gs_err *err)
{
    char recipient[AGE_RECIPIENT_TEXT];
    gs_autofree char *pub_path = gs_asprintf("%s.recipient", o->output);
    if (!pub_path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a file name");
    if (must_be_absent(o->output, err) || must_be_absent(pub_path, err) || age_pair(cli, o, pub_path, recipient, err))
        return -1;
    if (o->c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&w, &buf, "keygen", err);
        gs_jw_kstr(&w, "recipient", recipient);
        gs_jw_kstr(&w, "identity_file", cli_valid(o->output));
        gs_jw_kstr(&w, "recipient_file", cli_valid(pub_path));
        gs_jw_kbool(&w, "encrypted", o->passphrase_file != NULL);
        return cli_json_end(cli, &w);
    }
    cli_out(cli, "identity    '%s', %s: keep it where bundles are read, name it there with --identity\n", cli_safe(o->output),
            o->passphrase_file ? "encrypted" : "NOT encrypted");
    cli_out(cli,
            "public key  '%s': give it to those who encrypt to you, with --encrypt-to\n"
            "            %s\n",
            cli_safe(pub_path), recipient);
    return 0;
}

/* ---- of minisign ---- */

/* The second line of the public key's file, for reading it out or mailing it. */
static int public_line(const char *path, struct gs_buf *text, const char **out, struct gs_err *err)
{
    if (gs_read_file(path, 4096, text, err))
        return -1;
    char *line = strchr(text->data ? text->data : "", '\n');
    if (!line)
        return gs_fail(err, GS_E_INTERNAL, "'%s' has no second line", path);
    *out = ++line;
    line[strcspn(line, "\r\n")] = 0;
    return 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    if (o->no_passphrase && o->passphrase_file)
        return cli_usage(cli, "--no-passphrase and --passphrase-file exclude each other");
    if (o->age)
        return run_age(cli, o, &err) ? cli_error(cli, &err) : 0;
    gs_autofree char *pub_path = gs_asprintf("%s.pub", o->output);
    struct sign_pubkey pub = {0};
    gs_autobuf text;
    const char *line = "";
    gs_buf_init(&text, 4096);
    if (!pub_path) {
        gs_fail(&err, GS_E_NOMEM, "no memory for a file name");
        return cli_error(cli, &err);
    }
    if (must_be_absent(o->output, &err) || must_be_absent(pub_path, &err) || write_pair(cli, o, pub_path, &pub, &err) ||
        public_line(pub_path, &text, &line, &err))
        return cli_error(cli, &err);
    char id[SIGN_KEYID_HEX];
    sign_keyid_hex(pub.id, id);
    if (o->c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&w, &buf, "keygen", &err);
        gs_jw_kstr(&w, "key_id", id);
        gs_jw_kstr(&w, "public_key", line);
        gs_jw_kstr(&w, "secret_key_file", cli_valid(o->output));
        gs_jw_kstr(&w, "public_key_file", cli_valid(pub_path));
        gs_jw_kbool(&w, "encrypted", !o->no_passphrase);
        return cli_json_end(cli, &w) ? cli_error(cli, &err) : 0;
    }
    cli_out(cli, "key id      %s\n", id);
    cli_out(cli, "secret key  '%s', %s: keep it here, name it with --key\n", cli_safe(o->output),
            o->no_passphrase ? "NOT encrypted" : "encrypted");
    cli_out(cli,
            "public key  '%s': carry it to the other network over another channel\n"
            "            than the bundles, and name it there with --trust\n"
            "            %s\n",
            cli_safe(pub_path), line);
    return 0;
}

const struct cli_verb snap_verb_keygen = {
    .name = "keygen",
    .args = "",
    .summary = "Make a key pair for signing bundles, or one for encrypting them",
    .text = "The files have minisign's format: keys made by 'minisign -G' serve as well, and the other way round.\n"
            "An existing file is never replaced.\n\n"
            "Whoever holds KEY can sign as you. KEY.pub is public, but the other side must get it in a way that\n"
            "nobody who could change a bundle could change, too.\n\n"
            "With --age the key pair is one to encrypt bundles to, in the format of age-keygen. KEY is not encrypted unless\n"
            "--passphrase-file is given; whoever reads it can read what was encrypted to KEY.recipient. Make it where the\n"
            "bundles are to be read, and carry KEY.recipient to where they are made.",
    .opts = opts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
