/* Options of a verb, from the tables into the verb's struct. */
#include "cmd/cli_priv.h"

#include <limits.h>
#include <string.h>

const struct cli_opt cli_opts_common[] = {
    {.name = "json", .type = CLI_FLAG, .offset = offsetof(struct cli_common, json),
     .help = "print JSON: one versioned object, or one object per line"},
    {.name = "quiet", .letter = 'q', .type = CLI_FLAG, .offset = offsetof(struct cli_common, quiet),
     .help = "no progress and no notes, only warnings and errors"},
    {.name = "verbose", .letter = 'v', .type = CLI_FLAG, .offset = offsetof(struct cli_common, verbose),
     .help = "say more about what is done"},
    {.name = "help", .letter = 'h', .type = CLI_FLAG, .offset = offsetof(struct cli_common, help),
     .help = "show this text"},
    {0},
};

bool cli_walk(struct cli_walk *w)
{
    for (;;) {
        /* table 0 is the verb's own, then its shared ones, at last the common one */
        const struct cli_verb *v = w->verb;
        const struct cli_opt *t = NULL;
        size_t base = 0;
        if (w->table == 0) {
            t = v->opts;
        } else if (w->table < UINT_MAX && v->more && v->more[w->table - 1].opts) {
            t = v->more[w->table - 1].opts;
            base = v->more[w->table - 1].at;
        } else if (w->table < UINT_MAX) {
            w->table = UINT_MAX;
        }
        if (w->table == UINT_MAX)
            t = cli_opts_common;
        if (t && t[w->row].name) {
            w->opt = &t[w->row++];
            w->at = base + w->opt->offset;
            w->number++;
            return true;
        }
        if (w->table == UINT_MAX)
            return false;
        w->table++;
        w->row = 0;
    }
}

/* ---- suggestions ---- */

/* Edits (insert, delete, replace, swap of neighbours) that lead from one word to the other. */
static unsigned edits(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    unsigned d[34][34];
    if (na > 32 || nb > 32)
        return UINT_MAX;
    for (size_t i = 0; i <= na; i++)
        for (size_t j = 0; j <= nb; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[na][nb];
}

const char *cli_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t len = strlen(word);
    unsigned least = len < 3 ? 2 : len < 6 ? 3 : 4; /* fewer edits than this */
    for (size_t i = 0; i < n; i++) {
        unsigned e = edits(word, candidates[i]);
        if (e >= least && len >= 3 && strncmp(word, candidates[i], len) == 0)
            e = least - 1; /* the beginning of it */
        if (e < least) {
            least = e;
            best = candidates[i];
        }
    }
    return best;
}

static const char *nearest_option(const struct cli_verb *v, const char *name)
{
    const char *names[CLI_MAX_OPTS];
    size_t n = 0;
    for (struct cli_walk w = {.verb = v}; n < GS_COUNT(names) && cli_walk(&w);)
        names[n++] = w.opt->name;
    return cli_nearest(name, names, n);
}

/* ---- parsing ---- */

struct parser {
    struct cli *cli;
    const struct cli_verb *verb;
    struct cli_parsed *out;
    int argc, next;
    char **argv;
    bool seen[CLI_MAX_OPTS + 1];
};

static bool parse_unsigned(const char *s, uint64_t *out, const char **end)
{
    uint64_t v = 0;
    const char *p = s;
    for (; *p >= '0' && *p <= '9'; p++) {
        unsigned d = (unsigned)(*p - '0');
        if (v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *out = v;
    *end = p;
    return p > s;
}

static int set_uint(struct parser *p, const struct cli_opt *o, unsigned *var, const char *value)
{
    uint64_t v;
    const char *end;
    unsigned max = o->max ? o->max : UINT_MAX;
    if (parse_unsigned(value, &v, &end) && *end == 0 && v >= o->min && v <= max) {
        *var = (unsigned)v;
        return 0;
    }
    if (o->max)
        return cli_usage(p->cli, "--%s takes a whole number from %u to %u, not '%s'", o->name, o->min, max, value);
    return cli_usage(p->cli, "--%s takes a whole number of at least %u, not '%s'", o->name, o->min, value);
}

static int set_size(struct parser *p, const struct cli_opt *o, uint64_t *var, const char *value)
{
    static const char unit[] = "kmgt";
    uint64_t v;
    const char *end;
    if (parse_unsigned(value, &v, &end)) {
        unsigned shift = 0;
        const char *u = *end ? strchr(unit, *end | 0x20) : NULL;
        if (u) {
            shift = 10 * (unsigned)(u - unit + 1);
            end++;
        }
        if (*end == 0 && v <= (UINT64_MAX >> shift) && v > 0) {
            *var = v << shift;
            return 0;
        }
    }
    return cli_usage(p->cli, "--%s takes a size such as 512, 64k, 4m or 2g, not '%s'", o->name, value);
}

static int set_choice(struct parser *p, const struct cli_opt *o, int *var, const char *value)
{
    size_t len = strlen(value);
    int i = 0;
    for (const char *c = o->choices; c; i++) {
        const char *bar = strchr(c, '|');
        size_t n = bar ? (size_t)(bar - c) : strlen(c);
        if (n == len && memcmp(c, value, n) == 0) {
            *var = i;
            return 0;
        }
        c = bar ? bar + 1 : NULL;
    }
    return cli_usage(p->cli, "--%s takes one of %s, not '%s'", o->name, o->choices, value);
}

static int set_value(struct parser *p, const struct cli_walk *w, const char *value)
{
    const struct cli_opt *o = w->opt;
    void *var = (char *)p->out->opts + w->at;
    if (o->type != CLI_LIST && p->seen[w->number])
        return cli_usage(p->cli, "--%s is given twice", o->name);
    p->seen[w->number] = true;
    if (o->type == CLI_FLAG) {
        *(bool *)var = true;
        return 0;
    }
    if (*value == 0)
        return cli_usage(p->cli, "--%s is given an empty text; is a variable of your script not set?", o->name);
    switch (o->type) {
    case CLI_STR: *(const char **)var = value; return 0;
    case CLI_LIST: {
        struct cli_list *l = var;
        if (!l->v)
            l->v = calloc((size_t)p->argc, sizeof *l->v); /* no more of them than arguments */
        if (!l->v)
            return cli_usage(p->cli, "no memory for the options");
        l->v[l->n++] = value;
        return 0;
    }
    case CLI_UINT: return set_uint(p, o, var, value);
    case CLI_SIZE: return set_size(p, o, var, value);
    case CLI_CHOICE: return set_choice(p, o, var, value);
    default: return 0;
    }
}

/* The value of an option that stands in the next argument. */
static int next_value(struct parser *p, const struct cli_opt *o, const char **out)
{
    const char *v = p->next < p->argc ? p->argv[p->next] : NULL;
    if (!v)
        return cli_usage(p->cli, "--%s needs a value (%s)", o->name, o->arg);
    if (v[0] == '-' && v[1] == '-')
        return cli_usage(p->cli, "--%s needs a value (%s), and '%s' looks like an option; write --%s=%s if it is the value",
                         o->name, o->arg, v, o->name, v);
    p->next++;
    *out = v;
    return 0;
}

static int long_option(struct parser *p, const char *arg)
{
    const char *name = arg + 2, *eq = strchr(name, '=');
    size_t len = eq ? (size_t)(eq - name) : strlen(name);
    for (struct cli_walk w = {.verb = p->verb}; cli_walk(&w);) {
        if (strlen(w.opt->name) != len || memcmp(w.opt->name, name, len) != 0)
            continue;
        const char *value = eq ? eq + 1 : NULL;
        if (w.opt->type == CLI_FLAG && eq)
            return cli_usage(p->cli, "--%s takes no value", w.opt->name);
        if (w.opt->type != CLI_FLAG && !eq && next_value(p, w.opt, &value))
            return -1;
        return set_value(p, &w, value);
    }
    char word[64], hint[96];
    snprintf(word, sizeof word, "%.*s", (int)(len < 63 ? len : 63), name);
    const char *near = nearest_option(p->verb, word);
    snprintf(hint, sizeof hint, "did you mean --%s?", near ? near : "");
    return cli_wrong_use(p->cli, near ? hint : NULL, "unknown option '--%.*s'", (int)(len < 200 ? len : 200), name);
}

static int letters(struct parser *p, const char *arg)
{
    for (const char *c = arg + 1; *c; c++) {
        struct cli_walk w = {.verb = p->verb};
        bool found = false;
        while (!found && cli_walk(&w))
            found = w.opt->letter == *c;
        if (!found) /* the whole argument: its first odd byte need not be a character */
            return cli_wrong_use(p->cli, NULL, "unknown option '%s'", arg);
        if (w.opt->type == CLI_FLAG) {
            if (set_value(p, &w, NULL))
                return -1;
            continue;
        }
        const char *value = c + 1;
        if (*value == 0 && next_value(p, w.opt, &value))
            return -1;
        return set_value(p, &w, value);
    }
    return 0;
}

static int check_args(struct parser *p)
{
    const struct cli_verb *v = p->verb;
    for (struct cli_walk w = {.verb = v}; cli_walk(&w);)
        if (w.opt->required && !p->seen[w.number])
            return cli_usage(p->cli, "--%s %s is needed", w.opt->name, w.opt->arg);
    unsigned n = (unsigned)p->out->n_args;
    if (n < v->min_args)
        return cli_usage(p->cli, "an argument is missing: %s", v->args);
    if (n > v->max_args && v->max_args == 0)
        return cli_usage(p->cli, "'%s' is one argument too many: the command takes none", p->out->args[0]);
    if (n > v->max_args)
        return cli_usage(p->cli, "'%s' is one argument too many", p->out->args[v->max_args]);
    const struct cli_common *c = p->out->opts;
    if (c->quiet && c->verbose)
        return cli_usage(p->cli, "--quiet and --verbose exclude each other");
    return 0;
}

int cli_parse(struct cli *cli, int argc, char **argv, struct cli_parsed *out)
{
    const struct cli_verb *v = cli->verb;
    struct parser p = {.cli = cli, .verb = v, .out = out, .argc = argc, .argv = argv};
    size_t size = v->opts_size > sizeof(struct cli_common) ? v->opts_size : sizeof(struct cli_common);
    *out = (struct cli_parsed){.opts = calloc(1, size), .args = calloc((size_t)argc + 1, sizeof *out->args)};
    /* --json holds for messages about the other arguments, too */
    struct cli_common early = {0};
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        early.json |= strcmp(argv[i], "--json") == 0;
    cli->common = &early;
    int r = 0;
    if (!out->opts || !out->args)
        r = cli_usage(cli, "no memory for the options");
    bool only_args = false;
    while (r == 0 && p.next < argc) {
        char *arg = argv[p.next++];
        if (only_args || arg[0] != '-' || arg[1] == 0)
            out->args[out->n_args++] = arg;
        else if (strcmp(arg, "--") == 0)
            only_args = true;
        else
            r = arg[1] == '-' ? long_option(&p, arg) : letters(&p, arg);
    }
    if (r == 0)
        r = check_args(&p);
    cli->common = NULL;
    return r ? -1 : 0;
}

void cli_parsed_release(const struct cli_verb *v, struct cli_parsed *p)
{
    for (struct cli_walk w = {.verb = v}; p->opts && cli_walk(&w);)
        if (w.opt->type == CLI_LIST)
            free(((struct cli_list *)((char *)p->opts + w.at))->v);
    free(p->opts);
    free(p->args);
    *p = (struct cli_parsed){0};
}

/* ---- wrong use ---- */

GS_PRINTF(3, 0)
static int wrong_use(struct cli *cli, const char *hint, const char *fmt, va_list ap)
{
    const char *verb = cli->verb ? cli->verb->name : "", *space = *verb ? " " : "";
    char text[700], line[800], head[300], usage[600], see[300];
    vsnprintf(text, sizeof text, fmt, ap);
    snprintf(line, sizeof line, "%s [%s]", text, gs_code_name(GS_E_USAGE));
    snprintf(head, sizeof head, "%s%.100s%s%.100s:%s ", cli_colour(cli, CLI_RED), cli->tool, space, verb,
             cli_colour(cli, CLI_PLAIN));
    snprintf(see, sizeof see, "see '%.100s%s%.100s --help'", cli->tool, space, verb);
    cli_io_line(cli, head, line);
    cli_io_line(cli, "  what to do: ", hint ? hint : see);
    if (cli->verb)
        cli_usage_text(cli->tool, cli->verb, usage, sizeof usage);
    else
        snprintf(usage, sizeof usage, "%.100s COMMAND [options] [arguments]", cli->tool);
    cli_io_line(cli, "usage: ", usage);
    if (cli->common && cli->common->json)
        cli_json_error(cli, gs_code_name(GS_E_USAGE), text, hint ? hint : see, gs_code_exit(GS_E_USAGE), NULL);
    return gs_code_exit(GS_E_USAGE);
}

int cli_wrong_use(struct cli *cli, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = wrong_use(cli, hint, fmt, ap);
    va_end(ap);
    return r;
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = wrong_use(cli, NULL, fmt, ap);
    va_end(ap);
    return r;
}
