/* replay receipt: one signed page about the books of a reconciliation, for who made the bundle. */
#include "cmd/replay/verbs.h"
#include "libbooks/receipt_books.h"
#include "libcommon/clock.h"
#include "libcommon/io.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct opts {
    struct cli_common c;
    struct cli_key key;
    const char *output, *name;
    bool short_form;
};

static const struct cli_opt opts[] = {
    {.name = "output", .letter = 'o', .type = CLI_STR, .offset = offsetof(struct opts, output), .arg = "FILE",
     .help = "the receipt (BOOKS.receipt); its signature goes to FILE.minisig. Neither may exist"},
    {.name = "by", .type = CLI_STR, .offset = offsetof(struct opts, name), .arg = "TEXT",
     .help = "who makes the receipt, as it shall say ('Jane Doe, platform team')"},
    {.name = "short", .type = CLI_FLAG, .offset = offsetof(struct opts, short_form),
     .help = "print only the short form, one line that fits a QR code and is signed by itself"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_key, offsetof(struct opts, key)}, {0}};

/* What only who signs knows. */
static int finish_page(const struct opts *o, const struct sign_seckey *key, struct receipt *r, struct gs_err *err)
{
    struct sign_pubkey pub;
    char id[SIGN_KEYID_HEX], now[GS_TIME_LEN];
    sign_seckey_public(key, &pub);
    sign_keyid_hex(pub.id, id);
    gs_time_format(gs_unix_ms(), now);
    return receipt_add(r, "made", now, err) || receipt_add_text(r, "made-by", o->name, err) || receipt_add(r, "made-with-key", id, err)
               ? -1
               : 0;
}

static int write_both(const char *path, const struct gs_buf *page, const struct receipt *r, const struct sign_seckey *key,
                      struct gs_err *err)
{
    gs_autobuf sig;
    gs_buf_init(&sig, 1 << 16);
    gs_autofree char *sig_path = gs_asprintf("%s.minisig", path);
    gs_autofree char *comment =
        gs_asprintf("groupsnap receipt, bundle %.16s, balance %s", receipt_get(r, "bundle", 0, NULL), receipt_get(r, "balance", 0, NULL));
    if (!sig_path || !comment)
        return gs_fail(err, GS_E_NOMEM, "no memory for a receipt");
    if (sign_create(key, gs_buf_str(page), page->len, comment, &sig, err))
        return -1;
    return gs_write_file(path, gs_buf_str(page), page->len, 0666, false, err) ||
                   gs_write_file(sig_path, gs_buf_str(&sig), sig.len, 0666, false, err)
               ? -1
               : 0;
}

static int tell(struct cli *cli, const char *path, const struct receipt *r, const struct gs_buf *page, const char *line, struct gs_err *err)
{
    if (cli->common->json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, (size_t)64 << 20);
        cli_json_begin(&w, &buf, "receipt", err);
        gs_jw_kstr(&w, "file", cli_valid(path));
        gs_jw_key(&w, "lines");
        gs_jw_arr(&w);
        for (size_t i = 0; i < r->n; i++) {
            gs_jw_obj(&w);
            gs_jw_kstr(&w, "name", r->v[i].name);
            gs_jw_kstr(&w, "value", r->v[i].value);
            gs_jw_end(&w);
        }
        gs_jw_end(&w);
        gs_jw_kstr(&w, "short", line);
        return cli_json_end(cli, &w);
    }
    cli_out_buf(cli, page);
    cli_note(cli, "'%s' and '%s.minisig' are for who made the bundle: snap receipt-check BUNDLE %s --trust PUB", cli_safe(path), cli_safe(path),
             cli_safe(path));
    return 0;
}

static int make(struct cli *cli, const struct opts *o, const char *books, struct gs_err *err)
{
    GS_AUTO(sign_seckey) key = NULL;
    struct receipt r __attribute__((cleanup(receipt_release))) = {0};
    gs_autobuf page, line;
    gs_buf_init(&page, RECEIPT_MAX);
    gs_buf_init(&line, 8192);
    gs_autofree char *path = o->output ? strdup(o->output) : gs_asprintf("%s.receipt", books);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (receipt_from_books(books, &r, err) || cli_key_load(cli, &o->key, &key, err) || finish_page(o, key, &r, err) ||
        receipt_text(&r, &page, err) || receipt_short(&r, key, &line, err))
        return -1;
    if (o->short_form) {
        cli_out(cli, "%s\n", gs_buf_str(&line));
        return 0;
    }
    return write_both(path, &page, &r, key, err) || tell(cli, path, &r, &page, gs_buf_str(&line), err) ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    if (o->short_form && (o->output || o->c.json))
        return cli_usage(cli, "--short prints one line and writes no file: leave --output and --json out");
    return make(cli, o, argv[0], &err) ? cli_error(cli, &err) : 0;
}

const struct cli_verb replay_verb_receipt = {
    .name = "receipt",
    .args = "BOOKS",
    .min_args = 1,
    .max_args = 1,
    .summary = "Make a signed receipt of what stands on the target, for who made the bundle",
    .text =
        "BOOKS is the file that 'reconcile --books FILE' wrote. The receipt is one page of text: which bundle by its digest and signers, which\n"
        "target, read by whom and when, how many records of every relation were captured, loaded, equal, lost by which rule, refused, missing\n"
        "and so on, the balance, and the digest of the full books. Records that did not arrive and are explained by no rule are named, up to\n"
        "a thousand; the books name all. It holds no content of records, but their names.\n"
        "\n"
        "Carry FILE and FILE.minisig back, and the public key over another channel. On the source side 'snap receipt-check' says whether the\n"
        "receipt closes the bundle; 'minisign -V -p PUB -m FILE' verifies the signature alone. The short form says the same in one line, for a\n"
        "QR code where no file may cross.\n"
        "\n"
        "The exit code is 0 when the receipt was made, whatever its balance is.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
