/* snap report: what is in a bundle, as one HTML file. */
#include "cmd/contents.h"
#include "cmd/inspect.h"
#include "cmd/page.h"
#include "cmd/snap/verbs.h"
#include "formats/ledger.h"
#include "libcommon/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct opts {
    struct cli_common c;
    struct cli_trust trust;
    const char *html;
};

static const struct cli_opt opts[] = {
    {.name = "html", .type = CLI_STR, .offset = offsetof(struct opts, html), .arg = "OUT.html", .required = true,
     .help = "the report; an older file is replaced"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_trust, offsetof(struct opts, trust)}, {0}};

struct report {
    struct page page;
    const char *path;
    struct bundle *b;
    struct contents all;
    struct inspect_ledger ledger;
};

static void cut(struct report *x, size_t n, const char *command)
{
    if (n > PAGE_ROWS)
        page_text(&x->page, "%s of %s rows; all of them: %s", cli_count(PAGE_ROWS), cli_count(n), command);
}

static const char *name_of(const char *relation)
{
    return strcmp(relation, "self") == 0 ? "groups" : relation;
}

static void summary(struct report *x)
{
    struct page *p = &x->page;
    yyjson_val *m = bundle_manifest(x->b), *src = yyjson_obj_get(m, "source"), *cap = yyjson_obj_get(m, "capture");
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    const char *url = gs_json_str(src, "url");
    contents_hex(bundle_digest(x->b), BUNDLE_DIGEST_LEN, hex);
    page_section(p, "summary", "What it is");
    page_facts(p);
    page_fact(p, "File", x->path, NULL);
    page_fact(p, "Size", cli_bytes(bundle_size(x->b)), NULL);
    page_fact(p, "Records", cli_count(x->all.records), NULL);
    page_fact(p, "Files", x->all.files ? cli_count(x->all.files) : NULL, NULL);
    page_fact(p, "Source", url, url);
    page_fact(p, "GitLab there", gs_json_str(src, "version"), NULL);
    page_fact(p, "Read by", gs_json_str(src, "user"), NULL);
    page_fact(p, "Role", gs_json_str(src, "role"), NULL);
    page_fact(p, "By way of", gs_json_str(cap, "via"), NULL);
    page_fact(p, "Capture began", gs_json_str(cap, "started_at"), NULL);
    page_fact(p, "Capture ended", gs_json_str(cap, "finished_at"), NULL);
    page_fact(p, "Made", gs_json_str(m, "created_at"), NULL);
    page_fact(p, "Digest of its manifest", hex, NULL);
    page_fact(p, "Set", bundle_set_id(x->b), NULL);
    page_fact(p, "TLS certificate (SHA-256)", gs_json_str(src, "tls_sha256"), NULL);
    page_facts_end(p);
}

static void signatures(struct report *x)
{
    static const char *const columns[] = {"Key", "Signature", "Comment"};
    const struct bundle_signature *v;
    size_t n = bundle_signatures(x->b, &v);
    page_section(&x->page, "signatures", "Signatures");
    page_table(&x->page, "Signatures of the bundle", columns, GS_COUNT(columns));
    for (size_t i = 0; i < n; i++) {
        char id[SIGN_KEYID_HEX];
        bool good = v[i].result == GS_OK;
        sign_keyid_hex(v[i].info.id, id);
        page_row(&x->page);
        page_cell(&x->page, id);
        page_state(&x->page, good ? "verified" : "not verified", good ? "good" : "off");
        page_cell(&x->page, good ? v[i].info.trusted_comment : "");
        page_row_end(&x->page);
    }
    page_table_end(&x->page);
}

static void tree(struct report *x)
{
    static const char *const columns[] = {"Group", "#Id", "#Records", "#Unpacked, bytes", "Kinds"};
    const struct bundle_group *g;
    size_t n = bundle_groups(x->b, &g);
    page_section(&x->page, "groups", "Groups");
    page_table(&x->page, "Groups of the bundle, with what each holds", columns, GS_COUNT(columns));
    for (size_t i = 0; i < n && i < PAGE_ROWS; i++) {
        size_t rows;
        const struct contents_row *r = contents_of(&x->all, &g[i], &rows);
        const char *slash = strrchr(g[i].full_path, '/');
        uint64_t records = 0, raw = 0;
        unsigned depth = 0;
        char kinds[400] = "";
        for (const struct bundle_group *up = &g[i]; up->parent_id && depth < 20; depth++) {
            size_t k = 0;
            while (k < n && g[k].id != up->parent_id)
                k++;
            if (k == n)
                break;
            up = &g[k];
        }
        for (size_t k = 0; k < rows; k++) {
            size_t len = strlen(kinds);
            records += r[k].records;
            raw += r[k].raw;
            snprintf(kinds + len, sizeof kinds - len, "%s%s %s", len ? ", " : "", cli_count(r[k].records), name_of(r[k].relation));
        }
        page_row(&x->page);
        page_tree(&x->page, depth, slash && i > 0 ? slash + 1 : g[i].full_path, NULL);
        page_number(&x->page, (uint64_t)g[i].id);
        page_number(&x->page, records);
        page_number(&x->page, raw);
        page_cell(&x->page, kinds);
        page_row_end(&x->page);
    }
    page_table_end(&x->page);
    cut(x, n, "snap inspect BUNDLE --tree");
}

/* One name over all groups. */
struct sum {
    const char *name;
    uint64_t records, raw, stored;
};

static int kinds_of_records(struct report *x, struct gs_err *err)
{
    static const char *const columns[] = {"Kind", "#Records", "#Unpacked, bytes", "#Stored, bytes"};
    const struct contents *c = &x->all;
    gs_autofree struct sum *v = calloc(c->n_rows + 1, sizeof *v);
    size_t n = 0;
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "no memory for a report");
    for (size_t i = 0; i < c->n_rows; i++) {
        size_t k = 0;
        while (k < n && strcmp(v[k].name, c->rows[i].relation) != 0)
            k++;
        n += k == n;
        v[k].name = c->rows[i].relation;
        v[k].records += c->rows[i].records;
        v[k].raw += c->rows[i].raw;
        v[k].stored += c->rows[i].stored;
    }
    page_section(&x->page, "relations", "Kinds of records");
    page_table(&x->page, "Kinds of records, with their number and size", columns, GS_COUNT(columns));
    for (size_t i = 0; i < n; i++) {
        page_row(&x->page);
        page_cell(&x->page, name_of(v[i].name));
        page_number(&x->page, v[i].records);
        page_number(&x->page, v[i].raw);
        page_number(&x->page, v[i].stored);
        page_row_end(&x->page);
    }
    page_table_end(&x->page);
    return 0;
}

static void ledger(struct report *x)
{
    static const char *const columns[] = {"What", "#How much", "#Entries", "Why", "Rule"};
    const struct inspect_ledger *l = &x->ledger;
    struct page *p = &x->page;
    const struct page_part shares[] = {{"stored", "good", l->stored}, {"left out by a rule", "off", l->left_out}};
    char label[128];
    page_section(p, "ledger", "The books of the capture");
    page_facts(p);
    page_fact(p, "Requests", l->has_capture ? cli_count(l->requests) : NULL, NULL);
    page_fact(p, "Repeated", l->has_capture ? cli_count(l->repeated) : NULL, NULL);
    page_fact(p, "Lists read", cli_count(l->fetches), NULL);
    page_fact(p, "Passes", l->has_capture ? cli_count(l->passes) : NULL, NULL);
    page_fact(p, "Relations that moved meanwhile", cli_count(l->changed), NULL);
    page_fact(p, "Read another way than first tried", cli_count(l->fallbacks), NULL);
    page_facts_end(p);
    snprintf(label, sizeof label, "%s records announced by the source", cli_count(l->announced));
    page_bars(p);
    page_bar(p, label, shares, GS_COUNT(shares));
    page_bars_end(p);
    page_table(p, "What was left out, and what is poorer than at the source, by rule", columns, GS_COUNT(columns));
    for (size_t i = 0; i < l->n_rules; i++) {
        bool lost = strcmp(l->rules[i].entry, "lost") == 0;
        const struct ledger_rule *r = ledger_rule_find(l->rules[i].name);
        page_row(p);
        page_state(p, lost ? "poorer" : "left out", lost ? "part" : "off");
        page_number(p, l->rules[i].count);
        page_number(p, l->rules[i].lines);
        page_cell(p, r ? r->text : "");
        page_cell(p, l->rules[i].name);
        page_row_end(p);
    }
    page_table_end(p);
    page_text(p, "Every entry: snap cat BUNDLE ledger");
}

static int write_page(struct report *x, struct gs_err *err)
{
    const struct bundle_group *g;
    const struct bundle_signature *v;
    size_t n = bundle_groups(x->b, &g), signers = bundle_signatures(x->b, &v), good = 0;
    for (size_t i = 0; i < signers; i++)
        good += v[i].result == GS_OK;
    gs_autofree char *title = gs_asprintf("Bundle of %s", n ? g[0].full_path : "no group");
    if (!title)
        return gs_fail(err, GS_E_NOMEM, "no memory for a report");
    page_begin(&x->page, title, "a signed snapshot of a GitLab group tree", good ? "Signature verified" : "Signature not verified", good > 0, err);
    summary(x);
    signatures(x);
    tree(x);
    if (kinds_of_records(x, err))
        return -1;
    ledger(x);
    return page_finish(&x->page);
}

static int report(struct cli *cli, const struct opts *o, const char *path, uint64_t *out_bytes, struct gs_err *err)
{
    struct sign_trust trust __attribute__((cleanup(sign_trust_release))) = {0};
    GS_AUTO(bundle) b = NULL;
    struct report x = {.path = path};
    if (cli_trust_load(&o->trust, false, &trust, err) || cli_bundle_open(cli, &o->trust, &trust, path, &b, err) ||
        contents_load(b, &x.all, err))
        return -1;
    x.b = b;
    int r = inspect_ledger_load(b, &x.ledger, err) || write_page(&x, err) ||
            gs_write_file(o->html, gs_buf_str(&x.page.html), x.page.html.len, 0666, true, err);
    *out_bytes = x.page.html.len;
    page_release(&x.page);
    inspect_ledger_release(&x.ledger);
    contents_release(&x.all);
    return r ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    uint64_t bytes;
    if (report(cli, o, argv[0], &bytes, &err))
        return cli_error(cli, &err);
    return page_told(cli, o->c.json, o->html, bytes, &err) ? cli_error(cli, &err) : 0;
}

const struct cli_verb snap_verb_report = {
    .name = "report",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Make an HTML report of what is in a bundle",
    .text = "One file that needs nothing else: it asks for nothing over a network, holds no script, and reads on a screen, on a phone and on\n"
            "paper. It shows where the bundle comes from and who signed it, the tree with what every group holds, the kinds of records with\n"
            "their sizes, and the books of the capture: what was left out, and by which rule. Long lists are cut, and say which command gives\n"
            "all of them. Without --trust the signatures are shown and not checked.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
