/* The completion script for bash, from the tables. */
#include "cmd/cli_priv.h"

#include <ctype.h>
#include <string.h>

static void choices(struct cli *cli, const struct cli_opt *o)
{
    cli_out(cli, "        --%s) COMPREPLY=($(compgen -W '", o->name);
    for (const char *c = o->choices; *c; c++)
        cli_out(cli, "%c", *c == '|' ? ' ' : *c);
    cli_out(cli, "' -- \"$cur\")); return ;;\n");
}

/* Behind an option that takes a value: its choices, else file names. */
static void values(struct cli *cli, const struct cli_verb *v)
{
    bool any = false;
    cli_out(cli, "        case $prev in\n");
    for (struct cli_walk w = {.verb = v}; cli_walk(&w);)
        if (w.opt->type == CLI_CHOICE)
            choices(cli, w.opt);
    cli_out(cli, "        ");
    for (struct cli_walk w = {.verb = v}; cli_walk(&w);) {
        if (w.opt->type == CLI_FLAG || w.opt->type == CLI_CHOICE)
            continue;
        cli_out(cli, "%s--%s", any ? "|" : "", w.opt->name);
        if (w.opt->letter)
            cli_out(cli, "|-%c", w.opt->letter);
        any = true;
    }
    cli_out(cli, "%s) return ;;\n        esac\n", any ? "" : "''");
}

int cli_complete(struct cli *cli, const char *shell, const char *name)
{
    if (strcmp(shell, "bash") != 0)
        return cli_wrong_use(cli, "name bash", "completion is there for bash, not for '%s'", shell);
    char fn[64];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof fn; n++)
        fn[n] = isalnum((unsigned char)name[n]) ? name[n] : '_';
    fn[n] = 0;
    cli_out(cli,
            "# bash completion of %s; made by '%s __complete bash' from the option tables\n"
            "_groupsnap_%s()\n{\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= words= i\n"
            "    COMPREPLY=()\n"
            "    # --name=value comes as three words\n"
            "    if [[ $cur == = ]]; then\n        cur=\n"
            "    elif [[ $prev == = ]]; then\n        prev=${COMP_WORDS[COMP_CWORD-2]}\n    fi\n"
            "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
            "        [[ ${COMP_WORDS[i]} == -* ]] || { verb=${COMP_WORDS[i]}; break; }\n    done\n"
            "    case $verb in\n    ''|help) words='",
            name, name, fn);
    for (const struct cli_verb *const *v = cli->about->verbs; *v; v++)
        cli_out(cli, "%s ", (*v)->name);
    cli_out(cli, "help --help --version' ;;\n");
    for (const struct cli_verb *const *v = cli->about->verbs; *v; v++) {
        cli_out(cli, "    %s)\n", (*v)->name);
        values(cli, *v);
        cli_out(cli, "        words='");
        bool first = true;
        for (struct cli_walk w = {.verb = *v}; cli_walk(&w); first = false)
            cli_out(cli, "%s--%s", first ? "" : " ", w.opt->name);
        cli_out(cli, "'\n        [[ $cur == -* ]] || return ;;\n");
    }
    cli_out(cli,
            "    esac\n"
            "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
            "}\ncomplete -o default -F _groupsnap_%s %s\n",
            fn, name);
    return 0;
}
