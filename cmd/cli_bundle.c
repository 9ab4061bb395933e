/* Options of verbs that open a bundle or sign, and what is made from them. */
#include "cmd/cli_priv.h"

#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define LIMIT(option, field, text)                                                                                     \
    {.name = option, .type = CLI_SIZE, .offset = offsetof(struct cli_trust, field), .arg = "SIZE", .hidden = true,     \
     .help = text}

const struct cli_opt cli_opts_trust[] = {
    {.name = "trust", .letter = 't', .type = CLI_LIST, .offset = offsetof(struct cli_trust, trust), .arg = "PUB|DIR",
     .help = "public key of a signer, or a folder whose *.pub files are all taken (otherwise the keys of the trust store)"},
    {.name = "require", .type = CLI_UINT, .offset = offsetof(struct cli_trust, require), .arg = "N", .min = 1, .max = 64,
     .help = "demand signatures by N different trusted keys (1)"},
    {.name = "identity", .letter = 'i', .type = CLI_LIST, .offset = offsetof(struct cli_trust, identity), .arg = "FILE",
     .help = "identity file (of 'snap keygen --age' or age-keygen) that opens an encrypted bundle"},
    {.name = "age-passphrase-file", .type = CLI_STR, .offset = offsetof(struct cli_trust, age_passphrase_file), .arg = "FILE",
     .help = "file whose first line is the passphrase of an encrypted bundle or identity file (otherwise the terminal is asked)"},
    {.name = "threads", .type = CLI_UINT, .offset = offsetof(struct cli_trust, threads), .arg = "N", .min = 1,
     .max = 256, .help = "worker threads (number of cores, at most 8)"},
    LIMIT("max-bundle", max_bundle, "refuse a larger bundle file (1t)"),
    LIMIT("max-manifest", max_manifest, "refuse a larger manifest (16m)"),
    LIMIT("max-sums", max_sums, "refuse a larger SUMS (1g)"),
    LIMIT("max-index", max_index, "refuse an index that unpacks to more (2g)"),
    LIMIT("max-member", max_member, "refuse a member that unpacks to more (1g)"),
    LIMIT("max-ledger", max_ledger, "refuse a ledger that unpacks to more (1g)"),
    LIMIT("max-record", max_record, "refuse a larger record (50m)"),
    {.name = "max-members", .type = CLI_UINT, .offset = offsetof(struct cli_trust, max_members), .arg = "N", .min = 1,
     .hidden = true, .help = "refuse a bundle of more members (4000000)"},
    {.name = "max-depth", .type = CLI_UINT, .offset = offsetof(struct cli_trust, max_depth), .arg = "N", .min = 1,
     .max = GS_JSON_MAX_DEPTH, .hidden = true, .help = "refuse records nested deeper (32)"},
    {0},
};

const struct cli_opt cli_opts_key[] = {
    {.name = "key", .letter = 'k', .type = CLI_STR, .offset = offsetof(struct cli_key, key), .arg = "KEY",
     .required = true, .help = "secret key made by 'snap keygen' or 'minisign -G'"},
    {.name = "passphrase-file", .type = CLI_STR, .offset = offsetof(struct cli_key, passphrase_file), .arg = "FILE",
     .help = "file whose first line is the passphrase of the key (otherwise the terminal is asked)"},
    {0},
};

int cli_wrap_file(struct gs_err *err, const char *path)
{
    return strstr(err->text, path) ? -1 : gs_wrap(err, "'%s'", path);
}

int cli_ask_secret(struct cli *cli, const char *prompt, struct gs_secret *out, struct gs_err *err)
{
    struct termios saved;
    cli_progress_end(cli);
    gs_autofd int tty = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (tty < 0 || tcgetattr(tty, &saved))
        return gs_fail(err, GS_E_KEY_PASSPHRASE, "no terminal to ask for a passphrase");
    cli_io_prompting(&saved);
    int r = gs_secret_prompt(out, prompt, err);
    cli_io_prompting(NULL);
    return r;
}

int cli_ask_yes(struct cli *cli, const char *question, const char *about, bool *out, struct gs_err *err)
{
    struct termios saved;
    char answer[16] = "";
    *out = false;
    if (tcgetattr(STDIN_FILENO, &saved))
        return gs_fail(err, GS_E_NOT_CONFIRMED, "there is no terminal to ask on");
    cli_progress_end(cli);
    cli_out_flush(cli);
    cli_io_prompting(&saved);
    if (cli_stop) { /* came before the prompt: nobody is asked any more */
        cli_io_prompting(NULL);
        return gs_fail(err, GS_E_STOPPED, "stopped before the answer");
    }
    fprintf(stderr, "%s %s? [y/N] ", question, cli_safe(about));
    fflush(stderr);
    *out = fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
    cli_io_prompting(NULL);
    return 0;
}

int cli_key_load(struct cli *cli, const struct cli_key *k, struct sign_seckey **out, struct gs_err *err)
{
    struct gs_secret passphrase = {0};
    bool encrypted = false;
    if (sign_seckey_encrypted(k->key, &encrypted, err))
        return -1;
    int r = 0;
    if (encrypted && k->passphrase_file) {
        r = gs_secret_from_file(&passphrase, k->passphrase_file, err);
    } else if (encrypted) {
        char prompt[300];
        snprintf(prompt, sizeof prompt, "Passphrase of '%.200s': ", cli_safe(k->key));
        r = cli_ask_secret(cli, prompt, &passphrase, err);
    }
    if (r == 0 && encrypted)
        cli_progress(cli, "unlocking the key ...");
    if (r == 0)
        r = sign_seckey_load(k->key, encrypted ? &passphrase : NULL, out, err);
    cli_progress_end(cli);
    gs_secret_release(&passphrase);
    return r;
}
