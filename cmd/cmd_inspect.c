/* inspect: what is in a bundle, where it comes from, and what it says is missing. */
#include "cmd/cli.h"
#include "cmd/contents.h"
#include "cmd/inspect.h"
#include "cmd/reasons.h"
#include "formats/ledger.h"
#include "formats/relations.h"
#include "libcommon/clock.h"

#include <string.h>

#define MAX_NAMED 20 /* relations that moved */
#define MAX_DRAWN_DEPTH 40 /* GitLab allows 20 */

struct opts {
    struct cli_common c;
    struct cli_trust trust;
    bool tree;
};

static const struct cli_opt opts[] = {
    {.name = "tree",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, tree),
     .help = "draw the tree of groups with the number of records of each kind"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_trust, offsetof(struct opts, trust)}, {0}};

struct inspect {
    struct cli *cli;
    const struct opts *o;
    const char *path;
    struct bundle *b;
    bool proven;
    struct contents all;
    struct inspect_ledger ledger;
};

/* ---- text ---- */

static const char *safe_or(const char *s, const char *otherwise)
{
    return s && *s ? cli_safe(s) : otherwise;
}

static void print_signatures(const struct inspect *in)
{
    const struct bundle_signature *s;
    size_t n = bundle_signatures(in->b, &s);
    char id[SIGN_KEYID_HEX];
    for (size_t i = 0; i < n; i++) {
        sign_keyid_hex(s[i].info.id, id);
        if (s[i].result == GS_OK)
            contents_print_signer(in->cli, &s[i]);
        else
            cli_out(in->cli, "signature   by key %s, which proves nothing [%s]\n", id, gs_code_name(s[i].result));
    }
    if (n == 0)
        cli_out(in->cli, "signature   none\n");
}

static void print_origin(const struct inspect *in)
{
    yyjson_val *m = bundle_manifest(in->b), *src = yyjson_obj_get(m, "source"), *cap = yyjson_obj_get(m, "capture");
    yyjson_val *tool = yyjson_obj_get(m, "tool");
    struct cli *cli = in->cli;
    const char *tls = gs_json_str(src, "tls_sha256"), *user = gs_json_str(src, "user"),
               *role = gs_json_str(src, "role");
    yyjson_val *ee = yyjson_obj_get(src, "enterprise");
    cli_out(cli, "made        %s by %s %s\n", safe_or(gs_json_str(m, "created_at"), "?"),
            safe_or(gs_json_str(tool, "name"), "?"), safe_or(gs_json_str(tool, "version"), ""));
    const char *url = gs_json_str(src, "url");
    cli_out(cli, "source      %s%sGitLab %s%s\n", safe_or(url, ""), url ? ", " : "",
            safe_or(gs_json_str(src, "version"), "of unknown version"),
            yyjson_is_true(ee)    ? ", Enterprise Edition"
            : yyjson_is_false(ee) ? ", Community Edition"
                                  : "");
    if (tls)
        cli_out(cli, "            TLS certificate sha256 %s\n", cli_safe(tls));
    int64_t ahead;
    if (gs_json_i64(src, "clock_offset_s", &ahead)) {
        if (ahead)
            cli_out(cli, "            its clock was %s %s that of the capturing machine\n", cli_span((ahead < 0 ? -ahead : ahead) * 1000),
                    ahead < 0 ? "behind" : "ahead of");
        else
            cli_out(cli, "            its clock and that of the capturing machine agreed to a second\n");
    }
    if (user)
        cli_out(cli, "read by     user '%s'%s%s\n", cli_safe(user), role ? ", " : "", safe_or(role, ""));
    yyjson_val *red = yyjson_obj_get(m, "redaction");
    if (yyjson_is_obj(red)) {
        int64_t n[3] = {0};
        static const char *const keys[] = {"records", "values", "files"};
        for (size_t i = 0; i < 3; i++)
            GS_IGNORE(gs_json_i64(red, keys[i], &n[i]), "0: not known");
        cli_out(cli, "REDACTED    %s records, %s parts of records and %s files were withheld by policy %s\n", cli_count((uint64_t)n[0]),
                cli_count((uint64_t)n[1]), cli_count((uint64_t)n[2]), safe_or(gs_json_str(red, "policy"), "?"));
        cli_out(cli, "            of bundle %s\n", safe_or(gs_json_str(red, "of"), "?"));
    }
    cli_out(cli, "captured    via %s", safe_or(gs_json_str(cap, "via"), "?"));
    const char *from = gs_json_str(cap, "started_at"), *to = gs_json_str(cap, "finished_at");
    int64_t t0, t1;
    struct gs_err err = {0};
    if (from && to) {
        cli_out(cli, ", %s to %s", cli_safe(from), cli_safe(to));
        if (gs_time_parse(from, &t0, &err) == 0 && gs_time_parse(to, &t1, &err) == 0)
            cli_out(cli, " (%s)", cli_span(t1 - t0));
    }
    cli_out(cli, "\n");
}

static void print_table(const struct inspect *in)
{
    const struct contents *c = &in->all;
    struct cli *cli = in->cli;
    cli_out(cli, "\n%-28s %14s %12s %12s\n", "relation", "records", "unpacked", "stored");
    /* rows are sorted by group: add up each name where it stands first in the order of all names */
    struct total {
        const char *name;
        uint64_t records, raw, stored;
    };
    gs_autofree struct total *t = calloc(c->n_rows + 1, sizeof *t);
    size_t n = 0;
    for (size_t i = 0; t && i < c->n_rows; i++) {
        const struct contents_row *r = &c->rows[i];
        size_t k = 0;
        while (k < n && strcmp(t[k].name, r->relation) < 0)
            k++;
        if (k == n || strcmp(t[k].name, r->relation) != 0) {
            memmove(t + k + 1, t + k, (n - k) * sizeof *t);
            t[k] = (struct total){.name = r->relation};
            n++;
        }
        t[k].records += r->records;
        t[k].raw += r->raw;
        t[k].stored += r->stored;
    }
    for (size_t i = 0; i < n; i++)
        cli_out(cli, "%-28s %14s %12s %12s%s\n", cli_safe(t[i].name), cli_count(t[i].records), cli_bytes(t[i].raw),
                cli_bytes(t[i].stored), relation_find(t[i].name) ? "" : "  (unknown kind)");
    cli_out(cli, "%-28s %14s %12s %12s\n", "all", cli_count(c->records), cli_bytes(c->raw), cli_bytes(c->stored));
    if (c->files)
        cli_out(cli, "%-28s %14s %12s %12s\n", "files", cli_count(c->files), "", cli_bytes(c->file_bytes));
}

/* "once", "3 times" */
static const char *times(uint64_t n)
{
    static char text[40];
    if (n == 1)
        return "once";
    snprintf(text, sizeof text, "%s times", cli_count(n));
    return text;
}

/* The first of the lines that say what moved. */
static void print_changes(struct cli *cli, const struct gs_buf *lines)
{
    struct gs_err err = {0};
    gs_autobuf text;
    gs_buf_init(&text, lines->len + 2);
    GS_AUTO(yyjson_doc) doc = NULL;
    if (lines->len == 0 || gs_buf_addc(&text, '[', &err) || gs_buf_add(&text, gs_buf_str(lines), lines->len - 1, &err) ||
        gs_buf_addc(&text, ']', &err) || gs_json_parse(text.data, text.len, NULL, &doc, &err))
        return;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_doc_get_root(doc));
    yyjson_val *v;
    for (unsigned i = 0; (v = yyjson_arr_iter_next(&it)) && i < MAX_NAMED; i++) {
        int64_t group = 0;
        GS_IGNORE(gs_json_i64(v, "group", &group), "0: of the whole capture");
        cli_out(cli, "            %s of group %lld: %s, then %s\n", safe_or(gs_json_str(v, "relation"), "?"), (long long)group,
                safe_or(gs_json_str(v, "before"), "?"), safe_or(gs_json_str(v, "after"), "?"));
    }
}

static void print_line(void *cookie, const char *text)
{
    cli_out(cookie, "%s\n", text);
}

static void print_ledger(const struct inspect *in)
{
    const struct inspect_ledger *l = &in->ledger;
    struct cli *cli = in->cli;
    cli_out(cli, "\nledger      %s relations: ", cli_count(l->relations));
    if (l->unannounced < l->relations)
        cli_out(cli, "%s announced, ", cli_count(l->announced));
    cli_out(cli, "%s stored, %s left out\n", cli_count(l->stored), cli_count(l->left_out));
    if (l->unannounced && l->unannounced < l->relations)
        cli_out(cli, "            the server announced no number for %s of them\n", cli_count(l->unannounced));
    if (l->fetches)
        cli_out(cli, "            read from %s endpoints: %s pages, %s records, %s; %s requests repeated\n",
                cli_count(l->fetches), cli_count(l->pages), cli_count(l->records), cli_bytes(l->bytes),
                cli_count(l->retries));
    if (l->has_capture)
        cli_out(cli, "            %s requests in all, %s repeated, %s answers of an earlier run, longest pause %s, read %s\n",
                cli_count(l->requests), cli_count(l->repeated), cli_count(l->kept), cli_span((int64_t)l->longest_pause_ms),
                times(l->passes));
    if (l->watched)
        cli_out(cli, "            %s relations were looked at again at the end and had not moved (%s of them compared in part)\n",
                cli_count(l->watched), cli_count(l->watched_partly));
    if (l->changed)
        cli_out(cli, "CHANGED     %s relations changed at the source during the capture\n", cli_count(l->changed));
    print_changes(cli, &l->changed_lines);
    if (l->settled)
        cli_out(cli, "settled     %s relations had moved, and were read again\n", cli_count(l->settled));
    print_changes(cli, &l->settled_lines);
    reasons_lines(l->reasons.v, l->reasons.n, print_line, cli);
    for (size_t i = 0; i < l->n_rules; i++) {
        bool lost = strcmp(l->rules[i].entry, "lost") == 0;
        const struct ledger_rule *rule = ledger_rule_find(l->rules[i].name);
        if (reasons_is_unread(lost, l->rules[i].name)) /* told with its reasons */
            continue;
        cli_out(cli, "%-11s %s x %s\n", lost ? "lost" : "left out",
                cli_count(l->rules[i].count), cli_safe(l->rules[i].name));
        if (rule)
            cli_out(cli, "            %s\n", rule->text);
    }
    if (l->n_rules == 0)
        cli_out(cli, "            nothing was left out or lost\n");
}

/* ---- tree ---- */

struct tree {
    const struct bundle_group *groups;
    size_t n;
    size_t *first_child, *next_sibling; /* n: none */
};

/* Position of the group with this id among the first `n` groups; parents stand before their children. */
static size_t find_parent(const struct tree *t, int64_t id, size_t hint, size_t n)
{
    if (hint < n && t->groups[hint].id == id)
        return hint;
    for (size_t i = n; i-- > 0;)
        if (t->groups[i].id == id)
            return i;
    return t->n;
}

static int tree_build(const struct bundle *b, struct tree *t, struct gs_err *err)
{
    t->n = bundle_groups(b, &t->groups);
    t->first_child = calloc(t->n + 1, sizeof *t->first_child);
    t->next_sibling = calloc(t->n + 1, sizeof *t->next_sibling);
    size_t *last = calloc(t->n + 1, sizeof *last);
    if (!t->first_child || !t->next_sibling || !last) {
        free(last);
        return gs_fail(err, GS_E_NOMEM, "no memory for a tree of %zu groups", t->n);
    }
    size_t hint = t->n;
    for (size_t i = 0; i <= t->n; i++)
        t->first_child[i] = t->next_sibling[i] = last[i] = t->n;
    for (size_t i = 1; i < t->n; i++) {
        size_t p = hint = find_parent(t, t->groups[i].parent_id, hint, i);
        if (p == t->n)
            continue;
        if (last[p] == t->n)
            t->first_child[p] = i;
        else
            t->next_sibling[last[p]] = i;
        last[p] = i;
    }
    free(last);
    return 0;
}

static void print_group(const struct inspect *in, const struct bundle_group *g, bool root)
{
    const char *slash = root ? NULL : strrchr(g->full_path, '/');
    size_t n;
    const struct contents_row *r = contents_of(&in->all, g, &n);
    cli_out(in->cli, "%s (%lld)", cli_safe(slash ? slash + 1 : g->full_path), (long long)g->id);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(r[i].relation, "self") == 0)
            continue;
        cli_out(in->cli, "%s %s %s", any ? "," : ":", cli_safe(r[i].relation), cli_count(r[i].records));
        any = true;
    }
    cli_out(in->cli, "\n");
}

/* Depth first without recursion: the tree comes from a file. */
static int print_tree(const struct inspect *in, struct gs_err *err)
{
    struct tree t = {0};
    gs_autofree size_t *stack = NULL;
    int r = tree_build(in->b, &t, err);
    if (r == 0 && !(stack = calloc(t.n + 1, sizeof *stack)))
        r = gs_fail(err, GS_E_NOMEM, "no memory for a tree of %zu groups", t.n);
    size_t depth = 0;
    if (r == 0 && t.n > 0) {
        cli_out(in->cli, "\n");
        stack[depth++] = 0;
        print_group(in, &t.groups[0], true);
    }
    /* stack[0..depth): the way to the group printed last */
    while (r == 0 && depth > 0 && cli_out_ok(in->cli)) {
        size_t next = t.first_child[stack[depth - 1]];
        while (next == t.n && depth > 1) {
            next = t.next_sibling[stack[depth - 1]];
            depth--;
        }
        if (next == t.n)
            break;
        stack[depth++] = next;
        size_t from = depth > MAX_DRAWN_DEPTH ? depth - MAX_DRAWN_DEPTH : 0;
        if (from > 0)
            cli_out(in->cli, "... ");
        for (size_t i = from + 1; i + 1 < depth; i++)
            cli_out(in->cli, "%s", t.next_sibling[stack[i]] == t.n ? "    " : "|   ");
        cli_out(in->cli, "%s", t.next_sibling[next] == t.n ? "`-- " : "|-- ");
        print_group(in, &t.groups[next], false);
    }
    free(t.first_child);
    free(t.next_sibling);
    return r;
}

static int print_text(const struct inspect *in, struct gs_err *err)
{
    struct cli *cli = in->cli;
    yyjson_val *m = bundle_manifest(in->b);
    const struct bundle_group *g;
    size_t n = bundle_groups(in->b, &g);
    int64_t serial = 0;
    char digest[2 * BUNDLE_DIGEST_LEN + 1];
    contents_hex(bundle_digest(in->b), BUNDLE_DIGEST_LEN, digest);
    cli_out(cli, "'%s': %s, %s, %s\n", cli_safe(in->path), safe_or(gs_json_str(m, "schema"), "?"),
            cli_bytes(bundle_size(in->b)), record_encoding_name(bundle_encoding(in->b)));
    if (!in->proven)
        cli_out(cli, "\n*** ORIGIN NOT PROVEN: no --trust was given, so anybody may have written what follows ***\n\n");
    print_signatures(in);
    cli_out(cli, "set         %s", cli_safe(bundle_set_id(in->b)));
    if (gs_json_i64(m, "serial", &serial))
        cli_out(cli, ", serial %lld", (long long)serial);
    cli_out(cli, "\ndigest      %s\n", digest);
    print_origin(in);
    cli_out(cli, "groups      %s", cli_count(n));
    if (n > 0)
        cli_out(cli, ", root '%s' (%lld)", cli_safe(g[0].full_path), (long long)g[0].id);
    cli_out(cli, "\n");
    if (in->o->tree && print_tree(in, err))
        return -1;
    print_table(in);
    print_ledger(in);
    return 0;
}

/* ---- JSON ---- */

static void json_row(struct gs_jw *w, const struct contents_row *r)
{
    gs_jw_key(w, r->relation);
    gs_jw_obj(w);
    gs_jw_ki64(w, "records", (int64_t)r->records);
    gs_jw_ki64(w, "raw", (int64_t)r->raw);
    gs_jw_ki64(w, "stored", (int64_t)r->stored);
    gs_jw_end(w);
}

static void json_member(struct gs_jw *w, const struct bundle_member *m)
{
    char digest[2 * BUNDLE_DIGEST_LEN + 1];
    contents_hex(m->digest, BUNDLE_DIGEST_LEN, digest);
    gs_jw_obj(w);
    gs_jw_kstr(w, "path", m->path);
    gs_jw_ki64(w, "group", m->group_id);
    gs_jw_kstr(w, "relation", m->relation);
    gs_jw_kbool(w, "file", m->is_file);
    gs_jw_ki64(w, "records", (int64_t)m->records);
    gs_jw_ki64(w, "raw", (int64_t)m->raw);
    gs_jw_ki64(w, "stored", (int64_t)m->stored);
    gs_jw_kstr(w, "blake2b_256", digest);
    gs_jw_end(w);
}

/* Gives out what was collected so far: a bundle may have millions of members. */
static int drain(const struct inspect *in, struct gs_jw *w)
{
    if (gs_jw_finish(w))
        return -1;
    if (w->out->len < 1 << 16)
        return 0;
    if (cli_out_json(in->cli, w->out, w->err))
        return -1;
    gs_buf_reset(w->out);
    return 0;
}

static int json_lists(const struct inspect *in, struct gs_jw *w)
{
    const struct bundle_group *g;
    const struct bundle_member *m;
    size_t n = bundle_groups(in->b, &g), n_members = bundle_members(in->b, &m);
    gs_jw_key(w, "groups");
    gs_jw_arr(w);
    for (size_t i = 0; i < n && cli_out_ok(in->cli); i++) {
        size_t n_rows;
        const struct contents_row *r = contents_of(&in->all, &g[i], &n_rows);
        gs_jw_obj(w);
        gs_jw_ki64(w, "id", g[i].id);
        gs_jw_ki64(w, "parent_id", g[i].parent_id);
        gs_jw_kstr(w, "full_path", g[i].full_path);
        gs_jw_key(w, "relations");
        gs_jw_obj(w);
        for (size_t k = 0; k < n_rows; k++)
            json_row(w, &r[k]);
        gs_jw_end(w);
        gs_jw_end(w);
        if (drain(in, w))
            return -1;
    }
    gs_jw_end(w);
    gs_jw_key(w, "members");
    gs_jw_arr(w);
    for (size_t i = 0; i < n_members && cli_out_ok(in->cli); i++) {
        json_member(w, &m[i]);
        if (drain(in, w))
            return -1;
    }
    gs_jw_end(w);
    return 0;
}

static int print_json(const struct inspect *in, struct gs_err *err)
{
    const struct bundle_signature *s;
    size_t n = bundle_signatures(in->b, &s);
    char digest[2 * BUNDLE_DIGEST_LEN + 1];
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)256 << 20);
    contents_hex(bundle_digest(in->b), BUNDLE_DIGEST_LEN, digest);
    cli_json_begin(&w, &buf, "inspect", err);
    gs_jw_kstr(&w, "file", cli_valid(in->path));
    gs_jw_ki64(&w, "bytes", (int64_t)bundle_size(in->b));
    gs_jw_kbool(&w, "origin_proven", in->proven);
    gs_jw_kstr(&w, "set_id", bundle_set_id(in->b));
    gs_jw_kstr(&w, "digest", digest);
    gs_jw_kstr(&w, "encoding", record_encoding_name(bundle_encoding(in->b)));
    gs_jw_key(&w, "signatures");
    gs_jw_arr(&w);
    for (size_t i = 0; i < n; i++)
        contents_json_signature(&w, &s[i]);
    gs_jw_end(&w);
    gs_jw_key(&w, "manifest");
    gs_jw_val(&w, bundle_manifest(in->b));
    gs_jw_key(&w, "totals");
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "records", (int64_t)in->all.records);
    gs_jw_ki64(&w, "raw", (int64_t)in->all.raw);
    gs_jw_ki64(&w, "stored", (int64_t)in->all.stored);
    gs_jw_ki64(&w, "files", (int64_t)in->all.files);
    gs_jw_ki64(&w, "file_bytes", (int64_t)in->all.file_bytes);
    gs_jw_end(&w);
    gs_jw_key(&w, "ledger");
    if (inspect_ledger_json(&in->ledger, &w, err) || drain(in, &w) || json_lists(in, &w))
        return -1;
    return cli_json_end(in->cli, &w);
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct sign_trust trust = {0};
    struct inspect in = {.cli = cli, .o = o, .path = argv[0]};
    int r = cli_trust_load(&o->trust, false, &trust, &err);
    if (r == 0)
        r = cli_bundle_open(cli, &o->trust, &trust, argv[0], &in.b, &err);
    if (r == 0) {
        in.proven = bundle_proven(in.b);
        cli_progress(cli, "reading the ledger of %s ...", argv[0]);
        r = contents_load(in.b, &in.all, &err);
        if (r == 0)
            r = inspect_ledger_load(in.b, &in.ledger, &err);
        if (r == 0)
            cli_progress_end(cli);
        if (r == 0)
            r = o->c.json ? print_json(&in, &err) : print_text(&in, &err);
        if (r)
            cli_wrap_file(&err, argv[0]);
        inspect_ledger_release(&in.ledger);
        contents_release(&in.all);
    }
    bundle_close(in.b); /* before the keys that it refers to */
    sign_trust_release(&trust);
    return r ? cli_error(cli, &err) : 0;
}

const struct cli_verb cli_verb_inspect = {
    .name = "inspect",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Show what a bundle holds, where it comes from and what it lacks",
    .text = "Without --trust nothing proves who made the bundle, and the output says so. 'verify' checks every byte;\n"
            "this command reads the manifest, the index and the ledger only. With --json everything is given:\n"
            "manifest, signatures, groups, members and the sums of the ledger.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
