/* snap receipt-check: does this receipt close this bundle? */
#include "cmd/snap/verbs.h"
#include "formats/receipt.h"
#include "libcommon/io.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct opts {
    struct cli_common c;
    struct cli_trust trust;
    const char *books;
    bool short_form;
};

static const struct cli_opt opts[] = {
    {.name = "books", .type = CLI_STR, .offset = offsetof(struct opts, books), .arg = "FILE",
     .help = "the full books, when they came along: are they those of the receipt?"},
    {.name = "short", .type = CLI_FLAG, .offset = offsetof(struct opts, short_form),
     .help = "RECEIPT is the file with the short form, as it was read from a QR code"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_trust, offsetof(struct opts, trust)}, {0}};

struct check {
    struct bundle *bundle;
    struct receipt r;
    struct sign_info by;
    const char *against; /* why the receipt does not close the bundle though its balance is zero; NULL: it does */
    uint64_t balance, in_bundle;
};

/* The signature first: nothing of the page is believed before it holds. */
static int read_receipt(const struct opts *o, const char *path, const struct sign_trust *trust, struct check *c, struct gs_err *err)
{
    gs_autobuf page, sig;
    gs_autofree char *sig_path = gs_asprintf("%s.minisig", path);
    gs_buf_init(&page, RECEIPT_MAX);
    gs_buf_init(&sig, 1 << 16);
    if (!sig_path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (gs_read_file(path, RECEIPT_MAX, &page, err))
        return -1;
    if (o->short_form)
        return receipt_short_verify(gs_buf_str(&page), page.len, trust, &c->by, &c->r, err) ? gs_wrap(err, "'%s'", path) : 0;
    if (gs_read_file(sig_path, 1 << 16, &sig, err)) {
        if (err->code != GS_E_NOT_FOUND)
            return -1;
        gs_err_clear(err);
        return gs_fail(err, GS_E_SIG_MISSING, "'%s' is not there", sig_path);
    }
    return sign_verify(gs_buf_str(&sig), sig.len, gs_buf_str(&page), page.len, trust, &c->by, err) ||
                   receipt_parse(gs_buf_str(&page), page.len, &c->r, err)
               ? gs_wrap(err, "'%s'", path)
               : 0;
}

static int same_bundle(struct check *c, const char *path, struct gs_err *err)
{
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    const char *of = receipt_get(&c->r, "bundle", 0, NULL);
    sodium_bin2hex(hex, sizeof hex, bundle_digest(c->bundle), BUNDLE_DIGEST_LEN);
    if (of && strcmp(of, hex) == 0)
        return 0;
    return gs_fail(err, GS_E_RECEIPT_OTHER, "the receipt is about bundle %.16s..., and '%s' is %.16s...", of ? of : "?", path, hex);
}

static int same_books(const struct opts *o, const struct check *c, struct gs_err *err)
{
    uint8_t digest[32], buf[65536];
    char hex[2 * sizeof digest + 1];
    crypto_generichash_state h;
    struct gs_source src;
    size_t n = 1;
    uint64_t off = 0;
    if (!o->books)
        return 0;
    if (gs_source_open(o->books, &src, err))
        return -1;
    crypto_generichash_init(&h, NULL, 0, sizeof digest);
    int r = 0;
    while (!r && n > 0) {
        r = src.read_at(src.cookie, off, buf, sizeof buf, &n, err);
        crypto_generichash_update(&h, buf, r ? 0 : n);
        off += n;
    }
    gs_source_close(&src);
    crypto_generichash_final(&h, digest, sizeof digest);
    sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    const char *of = receipt_get(&c->r, "books", 0, NULL);
    if (r || (of && strcmp(of, hex) == 0))
        return r;
    return gs_fail(err, GS_E_BOOKS_OTHER, "'%s' are not the books of the receipt (%.16s... instead of %.16s...)", o->books, hex, of ? of : "?");
}

/* Records and files of groups: what a reconciliation accounts for. */
static uint64_t in_bundle(const struct bundle *b, const char *relation)
{
    const struct bundle_member *m;
    size_t n = bundle_members(b, &m);
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        if (m[i].group_id && (!relation || strcmp(m[i].relation, relation) == 0))
            sum += m[i].is_file ? 1 : m[i].records;
    return sum;
}

static int judge(struct check *c, struct gs_err *err)
{
    uint64_t captured, n[7];
    static const char *const names[] = {"equal", "part", "lost", "refused", "differ", "missing", "unread"};
    uint64_t sum = 0;
    if (receipt_u64(&c->r, "captured", &captured, err) || receipt_u64(&c->r, "balance", &c->balance, err))
        return -1;
    for (size_t i = 0; i < GS_COUNT(names); i++) {
        if (receipt_u64(&c->r, names[i], &n[i], err))
            return -1;
        sum += n[i];
    }
    c->in_bundle = in_bundle(c->bundle, NULL);
    if (captured != c->in_bundle)
        c->against = "it does not account for all that the bundle holds";
    else if (sum < captured)
        c->against = "its numbers do not add up";
    return 0;
}

/* ---- telling ---- */

static void each(const struct receipt *r, const char *name, void (*one)(void *cookie, const char *value), void *cookie)
{
    size_t at = 0;
    for (const char *v = receipt_get(r, name, 0, &at); v; v = receipt_get(r, name, at + 1, &at))
        one(cookie, v);
}

static void raw_value(void *cookie, const char *v)
{
    gs_jw_raw(cookie, v, strlen(v));
}

static void string_value(void *cookie, const char *v)
{
    gs_jw_str(cookie, v);
}

static int tell_json(struct cli *cli, const struct check *c, int rc, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    char id[SIGN_KEYID_HEX];
    gs_buf_init(&buf, (size_t)64 << 20);
    sign_keyid_hex(c->by.id, id);
    cli_json_begin(&w, &buf, "receipt-check", err);
    gs_jw_kbool(&w, "closes", rc == 0);
    gs_jw_kstr(&w, "against", c->against);
    gs_jw_kstr(&w, "signed_by", id);
    gs_jw_kstr(&w, "comment", c->by.trusted_comment);
    gs_jw_ki64(&w, "in_bundle", (int64_t)c->in_bundle);
    gs_jw_ki64(&w, "balance", (int64_t)c->balance);
    gs_jw_key(&w, "rules");
    gs_jw_arr(&w);
    each(&c->r, "rule", string_value, &w);
    gs_jw_end(&w);
    gs_jw_key(&w, "named");
    gs_jw_arr(&w);
    each(&c->r, "named", raw_value, &w);
    gs_jw_end(&w);
    gs_jw_key(&w, "receipt");
    gs_jw_arr(&w);
    for (size_t i = 0; i < c->r.n; i++) {
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "name", c->r.v[i].name);
        gs_jw_kstr(&w, "value", c->r.v[i].value);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    gs_jw_ki64(&w, "exit", rc);
    return cli_json_end(cli, &w);
}

static void rule_line(void *cookie, const char *v)
{
    cli_out(cookie, "  by a rule: %s\n", cli_safe(v));
}

static void named_line(void *cookie, const char *v)
{
    struct gs_err ignored = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gs_json_parse(v, strlen(v), NULL, &doc, &ignored))
        return;
    yyjson_val *o = yyjson_doc_get_root(doc);
    const char *group = gs_json_str(o, "group"), *where = gs_json_str(o, "where"), *why = gs_json_str(o, "why"), *as = gs_json_str(o, "counts_as");
    const char *finding = gs_json_str(o, "finding"), *relation = gs_json_str(o, "relation"), *key = gs_json_str(o, "key");
    bool refused = as && strcmp(as, "fault") != 0;
    cli_out(cookie, "  %s: %s %s '%s'%s%s%s%s\n", refused ? cli_safe(as) : cli_safe(finding ? finding : "?"), group && *group ? cli_safe(group) : ".",
            cli_safe(relation ? relation : "?"), cli_safe(key ? key : "?"), where ? " " : "", where ? cli_safe(where) : "", why ? ": " : "",
            why ? cli_safe(why) : "");
}

static void line(struct cli *cli, const struct receipt *r, const char *title, const char *name)
{
    const char *v = receipt_get(r, name, 0, NULL);
    if (v)
        cli_out(cli, "%-11s %s\n", title, cli_safe(v));
}

static void tell_text(struct cli *cli, const struct check *c, int rc)
{
    char id[SIGN_KEYID_HEX];
    sign_keyid_hex(c->by.id, id);
    cli_out(cli, "%-11s %s\n", "signed by", id);
    line(cli, &c->r, "made by", "made-by");
    line(cli, &c->r, "made", "made");
    line(cli, &c->r, "target", "target");
    line(cli, &c->r, "version", "target-version");
    line(cli, &c->r, "read until", "read-until");
    static const char *const names[] = {"captured", "loaded", "equal", "part", "lost", "refused", "differ", "missing", "unread", "extra"};
    for (size_t i = 0; i < GS_COUNT(names); i++)
        line(cli, &c->r, names[i], names[i]);
    const char *more = receipt_get(&c->r, "not-named", 0, NULL);
    if (receipt_get(&c->r, "rule", 0, NULL) || receipt_get(&c->r, "named", 0, NULL))
        cli_out(cli, "\nwhat did not arrive, or not as it was:\n");
    each(&c->r, "rule", rule_line, cli);
    each(&c->r, "named", named_line, cli);
    if (more && strcmp(more, "0") != 0)
        cli_out(cli, "  and %s more, which the books name\n", cli_safe(more));
    if (rc == 0)
        cli_out(cli, "\nThe receipt closes the bundle: its balance is 0, and every record is accounted for.\n");
    else
        cli_out(cli, "\nThe receipt does not close the bundle: %s%s.\n", c->against ? c->against : "its balance is ",
                c->against ? "" : cli_count(c->balance));
}

static int check(struct cli *cli, const struct opts *o, char **argv, int *out_rc, struct gs_err *err)
{
    struct sign_trust trust __attribute__((cleanup(sign_trust_release))) = {0};
    GS_AUTO(bundle) bundle = NULL;
    struct check c = {0};
    int r = cli_trust_load(&o->trust, true, &trust, err) || read_receipt(o, argv[1], &trust, &c, err) ||
            cli_bundle_open(cli, &o->trust, &trust, argv[0], &bundle, err);
    c.bundle = bundle;
    if (!r)
        r = same_bundle(&c, argv[0], err) || same_books(o, &c, err) || judge(&c, err);
    if (!r) {
        *out_rc = c.balance || c.against ? 3 : 0;
        if (cli->common->json)
            r = tell_json(cli, &c, *out_rc, err);
        else
            tell_text(cli, &c, *out_rc);
    }
    receipt_release(&c.r);
    return r ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    struct gs_err err = {0};
    int rc = 0;
    return check(cli, optv, argv, &rc, &err) ? cli_error(cli, &err) : rc;
}

const struct cli_verb snap_verb_receipt_check = {
    .name = "receipt-check",
    .args = "BUNDLE RECEIPT",
    .min_args = 2,
    .max_args = 2,
    .summary = "Say whether a receipt from the target closes a bundle, and what did not arrive",
    .text =
        "RECEIPT was made by 'replay receipt' on the target side; RECEIPT.minisig stands beside it. Name two keys with --trust: that of who\n"
        "signed the bundle, and that of who signed the receipt, which came over another channel.\n"
        "\n"
        "A receipt closes a bundle when it is about this very bundle, accounts for as many records as the bundle holds, and its balance is 0:\n"
        "nothing is missing or different on the target but what a rule or a refusal names. What did not arrive is listed in any case.\n"
        "\n"
        "The exit code is 0 when the receipt closes the bundle, 3 when it is genuine and does not (a load that is not finished), 20 when it\n"
        "is no receipt, 21 when its signature is missing, wrong or not trusted, and 30 when it is about another bundle or other books.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
