/* The manual page, as troff with the man macros, from the tables. */
#include "cmd/cli_priv.h"
#include "libcommon/clock.h"

#include <ctype.h>
#include <string.h>

/* What stands in the source for one character; NULL: itself. */
static const char *troff_char(char c)
{
    switch (c) {
    case '\\':
        return "\\e";
    case '-':
        return "\\-";
    case '\'':
        return "\\(aq";
    case '`':
        return "\\(ga";
    case '^':
        return "\\(ha";
    case '~':
        return "\\(ti";
    default:
        return NULL;
    }
}

/*
 * Text as troff shows it unchanged: no line of it is a request, no character of it an escape. `fold` breaks lines of
 * the source at blanks, which does not show where text is filled.
 */
static void troff_text(struct cli *cli, const char *s, bool fold)
{
    unsigned col = 0;
    if (*s == '.' || *s == '\'')
        cli_out(cli, "\\&");
    for (; *s; s++) {
        const char *put = troff_char(*s);
        size_t word = strcspn(s + 1, " ");
        if (fold && *s == ' ' && col + word + 8 > 76 && s[1] != '.' && s[1] != '\'' && s[1] != ' ') {
            cli_out(cli, "\n");
            col = 0;
        } else if (put) {
            cli_out(cli, "%s", put);
            col += (unsigned)strlen(put);
        } else {
            cli_out(cli, "%c", *s);
            col++;
        }
    }
}

static void troff(struct cli *cli, const char *s)
{
    troff_text(cli, s, false);
}

static void troff_line(struct cli *cli, const char *macro, const char *s)
{
    cli_out(cli, "%s", macro);
    troff_text(cli, s, *macro == 0);
    cli_out(cli, "\n");
}

struct page {
    struct cli *cli;
    bool any, verbatim;
};

static void end_verbatim(struct page *p)
{
    if (p->verbatim)
        cli_out(p->cli, ".fi\n.RE\n");
    p->verbatim = false;
}

static int block(void *cookie, enum cli_block kind, const char *s)
{
    struct page *p = cookie;
    if (kind == CLI_VERBATIM) {
        if (!p->verbatim)
            cli_out(p->cli, "%s.RS 4\n.nf\n", p->any ? ".PP\n" : "");
        p->verbatim = true;
        while (*s == ' ')
            s++;
        troff(p->cli, s);
        cli_out(p->cli, "\n");
    } else {
        end_verbatim(p);
        if (p->any)
            cli_out(p->cli, ".PP\n");
        troff_line(p->cli, "", s);
    }
    p->any = true;
    return 0;
}

/* `after`: text stands above already in this section. */
static void text(struct cli *cli, const char *s, const char *name, bool after)
{
    struct page p = {.cli = cli, .any = after};
    GS_IGNORE(cli_each_block(s, name, block, &p), "out of memory: a write on stdout will fail, too");
    end_verbatim(&p);
}

static void section(struct cli *cli, const char *title, const char *s, const char *name)
{
    if (!s)
        return;
    cli_out(cli, ".SH %s\n", title);
    text(cli, s, name, false);
}

static void option(struct cli *cli, const struct cli_opt *o)
{
    cli_out(cli, ".TP\n");
    if (o->letter)
        cli_out(cli, ".BR \\-%c \", \" \\-\\-", o->letter);
    else
        cli_out(cli, ".BR \\-\\-");
    troff(cli, o->name);
    if (o->type != CLI_FLAG) {
        cli_out(cli, " \" \\fI");
        troff(cli, o->arg ? o->arg : "VALUE");
        cli_out(cli, "\\fR\"");
    }
    cli_out(cli, "\n");
    char help[1024];
    snprintf(help, sizeof help, "%c%s%s%s%s.", toupper((unsigned char)o->help[0]), o->help + 1,
             o->type == CLI_LIST ? "; may be repeated" : "", o->type == CLI_CHOICE ? ": " : "",
             o->type == CLI_CHOICE ? o->choices : "");
    troff_line(cli, "", help);
}

static void verb(struct cli *cli, const struct cli_verb *v, const char *name)
{
    char usage[600];
    cli_usage_text(name, v, usage, sizeof usage);
    troff_line(cli, ".SS ", v->name);
    troff_line(cli, ".B ", usage);
    cli_out(cli, ".PP\n");
    char summary[300];
    snprintf(summary, sizeof summary, "%s.", v->summary);
    troff_line(cli, "", summary);
    text(cli, v->text, name, true);
    for (struct cli_walk w = {.verb = v}; cli_walk(&w);)
        if (w.table != (unsigned)-1 && !w.opt->hidden)
            option(cli, w.opt);
    bool first = true;
    for (struct cli_walk w = {.verb = v}; cli_walk(&w);) {
        if (!w.opt->hidden)
            continue;
        if (first)
            cli_out(cli, ".PP\nFurther options of this command:\n");
        first = false;
        option(cli, w.opt);
    }
}

static void exit_status(struct cli *cli)
{
    static const struct {
        const char *code, *text;
    } rows[] = {
        {"0", "Done."},
        {"1", "Failed."},
        {"2", "Wrong usage."},
        {"3", "Finished, but records failed or differ."},
        {"4", "Finished, but the source changed during the capture."},
        {"10", "Not found or unreachable."},
        {"11", "Locked by another run."},
        {"12", "Access refused."},
        {"20", "Damaged."},
        {"21", "Signature missing or untrusted."},
        {"22", "Part missing."},
        {"23", "Format newer than this program."},
        {"30", "The target does not match the plan."},
        {"75", "Try again later; what was done is kept."},
        {"128+N", "Stopped by signal N; what was done is kept. 141: the reader of stdout went away."},
    };
    cli_out(cli, ".SH EXIT STATUS\nThe numbers keep their meaning for ever.\n");
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        cli_out(cli, ".TP\n.B %s\n", rows[i].code);
        troff_line(cli, "", rows[i].text);
    }
}

static void error_codes(struct cli *cli)
{
    cli_out(cli, ".SH ERROR CODES\n"
                 "Every error message ends with a stable name in brackets, which\n"
                 "\\fB\\-\\-json\\fR gives as \\fIerror.code\\fR. The number is the exit status\n"
                 "that belongs to it.\n");
    for (int c = GS_OK + 1; c < GS_E_COUNT; c++) {
        cli_out(cli, ".TP\n.BR ");
        troff(cli, gs_code_name((enum gs_code)c));
        cli_out(cli, " \" (%d)\"\n", gs_code_exit((enum gs_code)c));
        char hint[400];
        const char *h = gs_code_hint((enum gs_code)c);
        snprintf(hint, sizeof hint, "%c%s.", toupper((unsigned char)h[0]), h[0] ? h + 1 : "");
        troff_line(cli, "", hint);
    }
}

static void further_codes(struct cli *cli, const struct cli_codes *c)
{
    for (; c && c->title; c++) {
        const char *name, *text;
        cli_out(cli, ".SH ");
        troff(cli, c->title);
        cli_out(cli, "\n");
        troff_line(cli, "", c->intro);
        for (size_t i = 0; c->code(i, &name, &text); i++) {
            char sentence[600];
            cli_out(cli, ".TP\n.B ");
            troff(cli, name);
            cli_out(cli, "\n");
            snprintf(sentence, sizeof sentence, "%c%s.", toupper((unsigned char)text[0]), text[0] ? text + 1 : "");
            troff_line(cli, "", sentence);
        }
    }
}

/* The day of SOURCE_DATE_EPOCH, which packagers set; without it the page has no date, so that it does not change by
 * itself. */
static void page_date(char out[GS_TIME_LEN])
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    char *end;
    long long secs = epoch ? strtoll(epoch, &end, 10) : 0;
    out[0] = 0;
    if (!epoch || end == epoch || *end || secs < 0 || secs > 250000000000)
        return;
    gs_time_format(secs * 1000, out);
    out[strlen("2025-01-02")] = 0;
}

int cli_man(struct cli *cli, const char *name)
{
    const struct cli_tool *t = cli->about;
    char upper[64];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof upper; n++)
        upper[n] = (char)toupper((unsigned char)name[n]);
    upper[n] = 0;
    cli_out(cli, ".\\\" Made by '%s __man' from the option tables.\n.TH ", cli_safe(name));
    troff(cli, upper);
    char date[GS_TIME_LEN];
    page_date(date);
    cli_out(cli, " 1 \"%s\" \"groupsnap %s\" \"groupsnap manual\"\n.nh\n.ad l\n.SH NAME\n", date, GS_VERSION);
    troff(cli, name);
    cli_out(cli, " \\- ");
    char summary[300];
    snprintf(summary, sizeof summary, "%c%s", tolower((unsigned char)t->summary[0]), t->summary + 1);
    troff_line(cli, "", summary);
    cli_out(cli, ".SH SYNOPSIS\n");
    for (const struct cli_verb *const *v = t->verbs; *v; v++) {
        char usage[600];
        cli_usage_text(name, *v, usage, sizeof usage);
        troff_line(cli, ".B ", usage);
        cli_out(cli, ".br\n");
    }
    troff_line(cli, ".B ", name);
    cli_out(cli, ".BR help \" [\\fICOMMAND\\fR] | \" \\-\\-version\n");
    section(cli, "DESCRIPTION", t->description, name);
    cli_out(cli, ".SH COMMANDS\n"
                 "Every command takes the options that follow here, and those named with\n"
                 "it. There are no abbreviations; an option that may not be repeated is\n"
                 "refused when it is. \\fB\\-\\-\\fR ends the options. Sizes are bytes, or\n"
                 "take k, m, g or t (powers of 1024).\n");
    for (const struct cli_opt *o = cli_opts_common; o->name; o++)
        option(cli, o);
    for (const struct cli_verb *const *v = t->verbs; *v; v++)
        verb(cli, *v, name);
    exit_status(cli);
    error_codes(cli);
    further_codes(cli, cli->about->codes);
    section(cli, "FILES", t->files, name);
    section(cli, "ENVIRONMENT", t->environment, name);
    section(cli, "EXAMPLES", t->examples, name);
    section(cli, "SEE ALSO", t->see_also, name);
    return 0;
}
