/* snap keygen: a key pair in minisign's format. */
#include "cmd/snap/verbs.h"
#include "libcommon/io.h"

#include <errno.h>
#include <string.h>

#define TRIES 3

struct opts {
    struct cli_common c;
    const char *output, *passphrase_file;
    bool no_passphrase;
};

static const struct cli_opt opts[] = {
    {.name = "output",
     .letter = 'o',
     .type = CLI_STR,
     .offset = offsetof(struct opts, output),
     .arg = "KEY",
     .required = true,
     .help = "where to write the secret key; the public key is written to KEY.pub"},
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

static int ask(struct cli *cli, const char *prompt, struct gs_secret *out, struct gs_err *err)
{
    if (cli_ask_secret(cli, prompt, out, err) == 0)
        return 0;
    if (err->code == GS_E_USAGE) { /* nothing typed */
        gs_err_clear(err);
        return gs_fail(err, GS_E_KEY_PASSPHRASE, "an empty passphrase; --no-passphrase makes a key without one");
    }
    return -1;
}

static int ask_twice(struct cli *cli, struct gs_secret *out, struct gs_err *err)
{
    for (int i = 0; i < TRIES; i++) {
        struct gs_secret again = {0};
        if (ask(cli, "Passphrase for the new key: ", out, err) || ask(cli, "The same passphrase again: ", &again, err))
            return -1;
        bool same = out->len == again.len && memcmp(out->data, again.data, out->len) == 0;
        gs_secret_release(&again);
        if (same)
            return 0;
        cli_warn(cli, "the two passphrases differ");
    }
    return gs_fail(err, GS_E_KEY_PASSPHRASE, "the two passphrases differed %d times", TRIES);
}

static int write_pair(struct cli *cli, const struct opts *o, const char *pub_path, struct sign_pubkey *pub,
                      struct gs_err *err)
{
    struct gs_secret passphrase = {0};
    int r = 0;
    if (o->passphrase_file)
        r = gs_secret_from_file(&passphrase, o->passphrase_file, err);
    else if (!o->no_passphrase)
        r = ask_twice(cli, &passphrase, err);
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
    .summary = "Make a key pair for signing bundles",
    .text = "The files have minisign's format: keys made by 'minisign -G' serve as well, and the other way round.\n"
            "An existing file is never replaced.\n\n"
            "Whoever holds KEY can sign as you. KEY.pub is public, but the other side must get it in a way that\n"
            "nobody who could change a bundle could change, too.",
    .opts = opts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
