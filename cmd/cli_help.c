/* --help, from the tables. Fits 80 columns. */
#include "cmd/cli_priv.h"

#include <string.h>

#define WIDTH 80
#define HELP_COLUMN 28

/* ---- text blocks ---- */

/* Joins the lines of a paragraph and puts the tool's name in. Returns a new string. */
static char *block_text(const char *s, size_t len, const char *tool)
{
    size_t tool_len = strlen(tool), n = 0;
    char *out = malloc(len * (tool_len + 1) + 1);
    for (size_t i = 0; out && i < len; i++) {
        if (s[i] == '%' && i + 1 < len && s[i + 1] == 's') {
            memcpy(out + n, tool, tool_len);
            n += tool_len;
            i++;
        } else {
            out[n++] = s[i] == '\n' ? ' ' : s[i];
        }
    }
    if (out)
        out[n] = 0;
    return out;
}

int cli_each_block(const char *text, const char *tool, int (*block)(void *cookie, enum cli_block kind, const char *s),
                   void *cookie)
{
    const char *p = text ? text : "";
    int r = 0;
    while (*p && r == 0) {
        if (*p == '\n') {
            p++;
            continue;
        }
        enum cli_block kind = *p == ' ' ? CLI_VERBATIM : CLI_PARAGRAPH;
        const char *end = p;
        for (;;) {
            const char *nl = strchr(end, '\n');
            end = nl ? nl : end + strlen(end);
            /* a paragraph goes on until an empty line, an indented one or the end */
            if (kind == CLI_VERBATIM || *end == 0 || end[1] == '\n' || end[1] == ' ' || end[1] == 0)
                break;
            end++;
        }
        gs_autofree char *s = block_text(p, (size_t)(end - p), tool);
        r = s ? block(cookie, kind, s) : -1;
        p = *end ? end + 1 : end;
    }
    return r;
}

/* Prints words from column `col` on, breaking lines before WIDTH; further lines begin at `indent`. */
static void wrap(struct cli *cli, const char *s, unsigned col, unsigned indent)
{
    bool first = true;
    while (*s) {
        const char *end = strchr(s, ' ');
        size_t n = end ? (size_t)(end - s) : strlen(s);
        if (!first && col + 1 + n > WIDTH) {
            cli_out(cli, "\n%*s", (int)indent, "");
            col = indent;
            first = true;
        }
        cli_out(cli, "%s%.*s", first ? "" : " ", (int)n, s);
        col += (unsigned)n + !first;
        first = false;
        s += n;
        while (*s == ' ')
            s++;
    }
    cli_out(cli, "\n");
}

struct printer {
    struct cli *cli;
    enum cli_block last;
    bool any;
};

static int print_block(void *cookie, enum cli_block kind, const char *s)
{
    struct printer *p = cookie;
    if (!p->any || kind == CLI_PARAGRAPH || p->last == CLI_PARAGRAPH)
        cli_out(p->cli, "\n");
    if (kind == CLI_PARAGRAPH)
        wrap(p->cli, s, 0, 0);
    else
        cli_out(p->cli, "%s\n", s);
    p->any = true;
    p->last = kind;
    return 0;
}

/* ---- usage ---- */

void cli_usage_text(const char *tool, const struct cli_verb *v, char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "%.100s %s", tool, v->name);
    for (struct cli_walk w = {.verb = v}; cli_walk(&w) && n < cap;) {
        if (!w.opt->required)
            continue;
        if (w.opt->letter)
            n += (size_t)snprintf(out + n, cap - n, " -%c %s", w.opt->letter, w.opt->arg);
        else
            n += (size_t)snprintf(out + n, cap - n, " --%s %s", w.opt->name, w.opt->arg);
    }
    if (n < cap)
        snprintf(out + n, cap - n, " [options]%s%s", v->args && *v->args ? " " : "", v->args ? v->args : "");
}

void cli_opt_head(const struct cli_opt *o, char *out, size_t cap)
{
    char letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(out, cap, "%s--%s%s%s", letter, o->name, o->type == CLI_FLAG ? "" : " ",
             o->type == CLI_FLAG ? ""
             : o->arg            ? o->arg
                                 : "VALUE");
}

static void print_option(struct cli *cli, const struct cli_opt *o)
{
    char head[128], help[1024];
    cli_opt_head(o, head, sizeof head);
    if (o->type == CLI_CHOICE)
        snprintf(help, sizeof help, "%s: %s", o->help, o->choices);
    else
        snprintf(help, sizeof help, "%s%s", o->help, o->type == CLI_LIST ? "; may be repeated" : "");
    int n = (int)strlen(head) + 2;
    if (n + 2 <= HELP_COLUMN)
        cli_out(cli, "  %-*s", HELP_COLUMN - 2, head);
    else
        cli_out(cli, "  %s\n%*s", head, HELP_COLUMN, "");
    wrap(cli, help, HELP_COLUMN, HELP_COLUMN);
}

void cli_help_verb(struct cli *cli, const struct cli_verb *v)
{
    char usage[600], line[700];
    cli_usage_text(cli->tool, v, usage, sizeof usage);
    snprintf(line, sizeof line, "usage: %s", usage);
    wrap(cli, line, 0, 9);
    cli_out(cli, "\n");
    snprintf(line, sizeof line, "%s.", v->summary);
    wrap(cli, line, 0, 0);
    struct printer p = {.cli = cli};
    GS_IGNORE(cli_each_block(v->text, cli->tool, print_block, &p), "out of memory: the rest follows");
    bool hidden = false;
    cli_out(cli, "\noptions:\n");
    for (struct cli_walk w = {.verb = v}; cli_walk(&w);) {
        hidden |= w.opt->hidden;
        if (!w.opt->hidden)
            print_option(cli, w.opt);
    }
    if (hidden)
        cli_out(cli, "\nThe manual page (man %s) names further options.\n", cli->tool);
}

void cli_help_tool(struct cli *cli)
{
    char line[300];
    cli_out(cli, "usage: %s COMMAND [options] [arguments]\n\n", cli->tool);
    snprintf(line, sizeof line, "%s.", cli->about->summary);
    wrap(cli, line, 0, 0);
    cli_out(cli, "\ncommands:\n");
    for (const struct cli_verb *const *v = cli->about->verbs; *v; v++) {
        cli_out(cli, "  %-16s", (*v)->name);
        wrap(cli, (*v)->summary, 18, 18);
    }
    cli_out(cli, "\nSee '%s help COMMAND' for one command, and man %s for everything.\n", cli->tool, cli->tool);
}
