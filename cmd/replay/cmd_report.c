/* replay report: the whole of a load as one HTML file. */
#include "cmd/replay/report_page.h"
#include "cmd/replay/verbs.h"
#include "libbooks/receipt_books.h"
#include "libcommon/io.h"
#include "libreplay/plan.h"

#include <string.h>

struct opts {
    struct cli_common c;
    struct cli_trust trust;
    const char *state, *html, *books;
};

static const struct cli_opt opts[] = {
    {.name = "state", .type = CLI_STR, .offset = offsetof(struct opts, state), .arg = "FILE", .required = true,
     .help = "the state file of the load"},
    {.name = "html", .type = CLI_STR, .offset = offsetof(struct opts, html), .arg = "OUT.html", .required = true,
     .help = "the report; an older file is replaced"},
    {.name = "books", .type = CLI_STR, .offset = offsetof(struct opts, books), .arg = "FILE",
     .help = "the books that 'reconcile --books' wrote: then the numbers are those of the target, and the balance stands at the top"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_trust, offsetof(struct opts, trust)}, {0}};

static int read_bundle(struct cli *cli, const struct opts *o, const char *path, struct report_page *x, struct sign_trust *trust,
                       struct bundle **out, struct gs_err *err)
{
    if (!path)
        return 0;
    if (cli_trust_load(&o->trust, false, trust, err) || cli_bundle_open(cli, &o->trust, trust, path, out, err) ||
        plan_check(x->state, *out, NULL, 0, NULL, err))
        return -1;
    x->bundle = *out;
    x->proven = bundle_proven(*out);
    return 0;
}

static int read_books(const struct opts *o, struct report_page *x, struct receipt *books, struct gs_err *err)
{
    gs_autofree char *digest = NULL;
    if (!o->books)
        return 0;
    if (receipt_from_books(o->books, books, err) || state_meta_get(x->state, "bundle_digest", &digest, err))
        return -1;
    const char *of = receipt_get(books, "bundle", 0, NULL);
    if (!digest || !of || strcmp(digest, of) != 0)
        return gs_fail(err, GS_E_BOOKS_OTHER, "'%s' are the books of another bundle than the state file's", o->books);
    x->books = books;
    x->books_path = o->books;
    return 0;
}

static int report(struct cli *cli, const struct opts *o, const char *file, uint64_t *out_bytes, struct gs_err *err)
{
    GS_AUTO(state) state = NULL;
    GS_AUTO(bundle) bundle = NULL;
    struct sign_trust trust __attribute__((cleanup(sign_trust_release))) = {0};
    struct receipt books __attribute__((cleanup(receipt_release))) = {0};
    struct report_page x = {.state_path = o->state};
    if (state_open(o->state, STATE_READ, &state, err) || report_begin(state, err))
        return -1;
    x.state = state;
    int r = read_bundle(cli, o, file, &x, &trust, &bundle, err) || read_books(o, &x, &books, err) || report_page_write(&x, err) ||
            gs_write_file(o->html, gs_buf_str(&x.page.html), x.page.html.len, 0666, true, err);
    *out_bytes = x.page.html.len;
    page_release(&x.page);
    return r ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    uint64_t bytes;
    if (report(cli, o, argc ? argv[0] : NULL, &bytes, &err))
        return cli_error(cli, &err);
    return page_told(cli, o->c.json, o->html, bytes, &err) ? cli_error(cli, &err) : 0;
}

const struct cli_verb replay_verb_report = {
    .name = "report",
    .args = "[FILE]",
    .max_args = 1,
    .summary = "Make an HTML report of a load",
    .text =
        "One file that needs nothing else: it asks for nothing over a network, holds no script, and reads on a screen, on a phone and on\n"
        "paper. It shows the tree with the state of every group and links to the loaded ones, the records of every kind, the load over time\n"
        "with its waits, failures with what to do, losses with what they mean, people, and where all of it comes from.\n"
        "\n"
        "Long lists are cut, and say which command gives all of them. With FILE, the bundle, its source and its signatures stand there too;\n"
        "they are checked against the keys named with --trust.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
