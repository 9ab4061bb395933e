#include "cmd/replay/books_out.h"

#include "cmd/csv.h"
#include "libcommon/clock.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BUF ((size_t)256 << 10)
#define TEXT_LINES 1000 /* findings that people are shown; the file and the CSV hold all */

static const char *const importers[] = {NULL, "transfer", "file"};
static const char *const kinds[] = {"missing", "extra", "differs"};

static const char *shown_relation(const char *relation)
{
    return strcmp(relation, "self") == 0 ? "groups" : relation;
}

/* ---- lines of JSON ---- */

static int flush(struct books_out *o, struct gs_err *err)
{
    int r = gs_write_all(o->stage.fd, gs_buf_str(&o->file), o->file.len, o->path, err);
    gs_buf_reset(&o->file);
    return r;
}

/* An object that cli_json_begin() began: into the file, and to stdout. */
static int line(struct books_out *o, struct gs_jw *w, struct gs_err *err)
{
    if (!o->path)
        return cli_json_end(o->cli, w);
    gs_jw_end(w);
    if (gs_jw_finish(w) || gs_buf_add(&o->file, gs_buf_str(w->out), w->out->len, err) || gs_buf_addc(&o->file, '\n', err) ||
        (o->file.len > FILE_BUF && flush(o, err)))
        return -1;
    if (!o->json)
        return 0;
    return gs_buf_addc(w->out, '\n', err) || cli_out_json(o->cli, w->out, err) ? -1 : 0;
}

int books_out_open(struct books_out *o, struct cli *cli, const char *path, enum books_csv csv, bool all, struct gs_err *err)
{
    *o = (struct books_out){.cli = cli, .json = cli->common->json, .all = all, .csv = csv, .path = path, .stage = {.fd = -1}};
    gs_buf_init(&o->file, (size_t)1 << 30);
    if (path && gs_stage_open(&o->stage, path, 0666, true, err))
        return -1;
    if (csv == BOOKS_CSV_BOOKS)
        return CSV_ROW(cli, err, "group", "target_group", "relation", "captured", "loaded", "equal", "lost_part", "lost_whole",
                       "refused", "differs", "missing", "unread", "extra", "beside");
    if (csv == BOOKS_CSV_FINDINGS)
        return CSV_ROW(cli, err, "finding", "counts_as", "group", "relation", "key", "attribute", "where", "source", "target", "rule",
                       "why", "source_id", "target_id");
    return 0;
}

static void sign_names(struct gs_jw *w, const struct bundle *b)
{
    const struct bundle_signature *v;
    size_t n = bundle_signatures(b, &v);
    gs_jw_key(w, "signers");
    gs_jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        char id[SIGN_KEYID_HEX];
        sign_keyid_hex(v[i].info.id, id);
        gs_jw_obj(w);
        gs_jw_kstr(w, "key", id);
        gs_jw_kbool(w, "trusted", v[i].result == GS_OK);
        gs_jw_end(w);
    }
    gs_jw_end(w);
}

static void times(struct gs_jw *w, const struct readback *r)
{
    char t[GS_TIME_LEN];
    gs_time_format(r->began_ms, t);
    gs_jw_kstr(w, "read_from", t);
    gs_time_format(r->ended_ms, t);
    gs_jw_kstr(w, "read_until", t);
}

/* What both the head and the summary say, so that the summary alone tells what it is about. */
static void about(struct gs_jw *w, const struct books_head *h)
{
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    yyjson_val *m = bundle_manifest(h->bundle);
    sodium_bin2hex(hex, sizeof hex, bundle_digest(h->bundle), BUNDLE_DIGEST_LEN);
    gs_jw_key(w, "bundle");
    gs_jw_obj(w);
    gs_jw_kstr(w, "digest", hex);
    gs_jw_kstr(w, "set_id", bundle_set_id(h->bundle));
    gs_jw_key(w, "serial");
    gs_jw_val(w, yyjson_obj_get(m, "serial"));
    gs_jw_kstr(w, "created_at", gs_json_str(m, "created_at"));
    gs_jw_kstr(w, "source", gs_json_str(yyjson_obj_get(m, "source"), "url"));
    sign_names(w, h->bundle);
    gs_jw_end(w);
    gs_jw_key(w, "target");
    gs_jw_obj(w);
    gs_jw_kstr(w, "url", h->target_url);
    gs_jw_kstr(w, "version", h->target->version);
    gs_jw_kstr(w, "read_by", h->target->username);
    times(w, h->read);
    gs_jw_end(w);
    gs_jw_kbool(w, "state_used", h->state_path != NULL);
    gs_jw_kstr(w, "importer", importers[h->importer]);
    gs_jw_kstr(w, "tool_version", GS_VERSION);
}

int books_out_head(struct books_out *o, const struct books_head *h, struct gs_err *err)
{
    if (o->json || o->path) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 16 << 20);
        cli_json_begin(&w, &buf, "reconcile-head", err);
        about(&w, h);
        if (line(o, &w, err))
            return -1;
    }
    if (o->json || o->csv)
        return 0;
    char from[GS_TIME_LEN], until[GS_TIME_LEN];
    gs_time_format(h->read->began_ms, from);
    gs_time_format(h->read->ended_ms, until);
    cli_out(o->cli, "bundle      %s\n", cli_safe(h->bundle_path));
    cli_out(o->cli, "target      %s, GitLab %s, read as %s from %.19sZ to %.19sZ\n", cli_safe(h->target_url), cli_safe(h->target->version),
            cli_safe(h->target->username), from, until);
    cli_out(o->cli, "state file  %s\n\n",
            h->state_path                      ? cli_safe(h->state_path)
            : h->importer == NATIVE_TRANSFER ? "none: GitLab's direct transfer made this"
            : h->importer == NATIVE_FILE     ? "none: GitLab's import of an export file made this"
                                             : "none: what the load itself noted is not known");
    return 0;
}

/* ---- findings ---- */

static const char *counts_as(const struct diff_item *i)
{
    if (i->kind == DIFF_DIFFERS && i->cls != REL_VALUE)
        return "aside";
    switch (i->verdict) {
    case DIFF_LOST:
        return "lost";
    case DIFF_REFUSED:
        return "refused";
    case DIFF_BESIDE:
        return "beside";
    default:
        return i->unread && i->kind == DIFF_MISSING ? "unread" : i->unread ? "aside" : "fault";
    }
}

static void value(struct gs_jw *w, const char *key, const char *json)
{
    gs_jw_key(w, key);
    gs_jw_raw(w, json ? json : "null", json ? strlen(json) : 4);
}

static int item_json(struct books_out *o, const struct diff_item *i, const char *as, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)1 << 30);
    cli_json_begin(&w, &buf, "reconcile-finding", err);
    gs_jw_kstr(&w, "finding", kinds[i->kind]);
    gs_jw_kstr(&w, "counts_as", as);
    gs_jw_kstr(&w, "group", i->group);
    gs_jw_kstr(&w, "relation", i->relation);
    gs_jw_kstr(&w, "key", i->key);
    gs_jw_kstr(&w, "target_key", i->key_b ? i->key_b : i->key);
    if (i->kind == DIFF_DIFFERS) {
        gs_jw_kstr(&w, "attribute", i->attr);
        gs_jw_kstr(&w, "where", i->where);
        value(&w, "source", i->a);
        value(&w, "target", i->b);
    }
    gs_jw_kstr(&w, "rule", i->rule);
    gs_jw_kstr(&w, "why", i->why);
    gs_jw_ki64(&w, "source_id", i->id_a);
    gs_jw_ki64(&w, "target_id", i->id_b);
    return line(o, &w, err);
}

static int count_code(struct books_out *o, const struct diff_item *i, const char *as, struct gs_err *err)
{
    const char *code = i->rule ? i->rule : i->why ? i->why : "";
    for (size_t k = 0; k < o->n_codes; k++)
        if (strcmp(o->codes[k].verdict, as) == 0 && strncmp(o->codes[k].code, code, sizeof o->codes[k].code - 1) == 0) {
            o->codes[k].n++;
            return 0;
        }
    struct code_count *v = realloc(o->codes, (o->n_codes + 1) * sizeof *v);
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "no memory for sums");
    o->codes = v;
    v[o->n_codes] = (struct code_count){.verdict = as, .n = 1};
    snprintf(v[o->n_codes++].code, sizeof v->code, "%s", code);
    return 0;
}

static void item_text(struct books_out *o, const struct diff_item *i, const char *as)
{
    struct cli *cli = o->cli;
    bool fault = strcmp(as, "fault") == 0;
    cli_out(cli, "%-8s %s %s '%s'", fault ? kinds[i->kind] : as, *i->group ? cli_safe(i->group) : ".", shown_relation(i->relation),
            cli_safe(i->key));
    if (i->kind == DIFF_DIFFERS)
        cli_out(cli, " %s: here %s, there %s", cli_safe(i->where), i->a ? cli_safe(i->a) : "nothing", i->b ? cli_safe(i->b) : "nothing");
    else if (!fault)
        cli_out(cli, " is %s", i->kind == DIFF_MISSING ? "not there" : "there only");
    if (i->id_b)
        cli_out(cli, " (id %lld there)", (long long)i->id_b);
    if (i->why)
        cli_out(cli, ": %s", cli_safe(i->why));
    if (i->rule)
        cli_out(cli, " [%s]", cli_safe(i->rule));
    cli_out(cli, "\n");
}

int books_out_item(void *cookie, const struct diff_item *i, struct gs_err *err)
{
    struct books_out *o = cookie;
    const char *as = counts_as(i);
    bool aside = strcmp(as, "aside") == 0;
    if ((o->json || o->path) && item_json(o, i, as, err))
        return -1;
    if (o->csv == BOOKS_CSV_FINDINGS && !aside)
        return CSV_ROW(o->cli, err, kinds[i->kind], as, i->group, shown_relation(i->relation), i->key, i->attr, i->where, i->a, i->b,
                       i->rule, i->why, i->id_a ? csv_number((uint64_t)i->id_a) : "", i->id_b ? csv_number((uint64_t)i->id_b) : "");
    if (o->json || o->csv || (aside && !o->all))
        return cli_out_ok(o->cli) ? 0 : gs_fail(err, GS_E_IO, "writing the findings");
    if (!aside && strcmp(as, "fault") != 0 && count_code(o, i, as, err))
        return -1;
    if (!o->all && strcmp(as, "fault") != 0)
        return 0;
    if (o->told >= TEXT_LINES)
        o->kept_back++;
    else
        item_text(o, i, as);
    o->told++;
    return cli_out_ok(o->cli) ? 0 : gs_fail(err, GS_E_IO, "writing the findings");
}

/* ---- sums ---- */

static void numbers(struct gs_jw *w, const struct books_row *r)
{
    gs_jw_ki64(w, "captured", (int64_t)r->captured);
    gs_jw_ki64(w, "loaded", (int64_t)books_loaded(r));
    gs_jw_ki64(w, "equal", (int64_t)r->equal);
    gs_jw_ki64(w, "lost_part", (int64_t)r->lost_part);
    gs_jw_ki64(w, "lost_whole", (int64_t)r->lost_whole);
    gs_jw_ki64(w, "refused", (int64_t)r->refused);
    gs_jw_ki64(w, "differs", (int64_t)r->differs);
    gs_jw_ki64(w, "missing", (int64_t)r->missing);
    gs_jw_ki64(w, "unread", (int64_t)r->unread);
    gs_jw_ki64(w, "extra", (int64_t)r->extra);
    gs_jw_ki64(w, "beside", (int64_t)r->beside);
    gs_jw_ki64(w, "set_aside", (int64_t)r->set_aside);
    gs_jw_ki64(w, "balance", (int64_t)books_balance(r));
}

int books_out_row(void *cookie, const struct books_row *r, struct gs_err *err)
{
    struct books_out *o = cookie;
    if (o->json || o->path) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&w, &buf, "reconcile-books", err);
        gs_jw_kstr(&w, "group", r->group);
        gs_jw_kstr(&w, "target_group", r->target_group);
        gs_jw_kstr(&w, "relation", r->relation);
        numbers(&w, r);
        if (line(o, &w, err))
            return -1;
    }
    if (o->csv != BOOKS_CSV_BOOKS)
        return 0;
    return CSV_ROW(o->cli, err, r->group, r->target_group, shown_relation(r->relation), csv_number(r->captured),
                   csv_number(books_loaded(r)), csv_number(r->equal), csv_number(r->lost_part), csv_number(r->lost_whole),
                   csv_number(r->refused), csv_number(r->differs), csv_number(r->missing), csv_number(r->unread), csv_number(r->extra),
                   csv_number(r->beside));
}

static int end_json(struct books_out *o, const struct books_head *h, const struct reconcile_result *r, int exit_code, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 16 << 20);
    cli_json_begin(&w, &buf, "reconcile", err);
    about(&w, h);
    gs_jw_key(&w, "relations");
    gs_jw_arr(&w);
    for (size_t i = 0; i < r->n; i++) {
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "relation", r->sums[i].relation);
        numbers(&w, &r->sums[i]);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    gs_jw_key(&w, "total");
    gs_jw_obj(&w);
    numbers(&w, &r->total);
    gs_jw_end(&w);
    gs_jw_ki64(&w, "findings", (int64_t)r->findings);
    if (h->importer != NATIVE_NONE)
        gs_jw_ki64(&w, "placeholders", (int64_t)r->placeholders);
    gs_jw_ki64(&w, "requests", (int64_t)h->read->http.requests);
    gs_jw_ki64(&w, "balance", (int64_t)books_balance(&r->total));
    gs_jw_ki64(&w, "exit", exit_code);
    return line(o, &w, err);
}

static void row_text(struct cli *cli, const char *name, const struct books_row *r)
{
    cli_out(cli, "%-20s %9s %9s %9s %7s %7s %8s %7s %8s %7s %6s\n", name, cli_count(r->captured), cli_count(books_loaded(r)),
            cli_count(r->equal), cli_count(r->lost_part), cli_count(r->lost_whole), cli_count(r->refused), cli_count(r->differs),
            cli_count(r->missing), cli_count(r->unread), cli_count(r->extra));
}

static void end_text(struct books_out *o, const struct reconcile_result *r)
{
    struct cli *cli = o->cli;
    if (o->kept_back)
        cli_out(cli, "... and %s more: --csv findings, or --books FILE, holds them all\n", cli_count(o->kept_back));
    if (o->told)
        cli_out(cli, "\n");
    cli_out(cli, "%-20s %9s %9s %9s %7s %7s %8s %7s %8s %7s %6s\n", "relation", "captured", "loaded", "equal", "part", "lost", "refused",
            "differ", "missing", "unread", "extra");
    for (size_t i = 0; i < r->n; i++)
        row_text(cli, shown_relation(r->sums[i].relation), &r->sums[i]);
    row_text(cli, "all", &r->total);
    for (size_t i = 0; i < o->n_codes; i++)
        cli_out(cli, "%s%9s  %s%s%s\n", i ? "" : "\nexplained:\n", cli_count(o->codes[i].n), o->codes[i].verdict,
                *o->codes[i].code ? ": " : "", cli_safe(o->codes[i].code));
    if (r->placeholders)
        cli_out(cli, "\n%s people stand there as placeholder users: an Owner reassigns them under Members > Placeholders\n",
                cli_count(r->placeholders));
    uint64_t balance = books_balance(&r->total);
    if (balance == 0)
        cli_out(cli, "\nbalance 0: every record of the bundle is on the target, or named above as lost by a rule or refused\n");
    else
        cli_out(cli, "\nbalance %s: %s differ, %s missing, %s extra, %s not to be read there\n", cli_count(balance),
                cli_count(r->total.differs), cli_count(r->total.missing), cli_count(r->total.extra), cli_count(r->total.unread));
}

int books_out_end(struct books_out *o, const struct books_head *h, const struct reconcile_result *r, int exit_code, struct gs_err *err)
{
    if ((o->json || o->path) && end_json(o, h, r, exit_code, err))
        return -1;
    if (!o->json && !o->csv)
        end_text(o, r);
    return o->path && (flush(o, err) || gs_stage_commit(&o->stage, err)) ? -1 : 0;
}

void books_out_close(struct books_out *o)
{
    if (o->path)
        gs_stage_release(&o->stage);
    gs_buf_release(&o->file);
    free(o->codes);
}
