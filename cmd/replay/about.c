#include "cmd/replay/about.h"

const char replay_description[] =
    "%s loads a bundle made by snap(1) into a GitLab. Nothing in the bundle is believed before a signature by a key\n"
    "named with --trust holds.\n\n"
    "A load is planned first: the plan shows every object that would be made, and every loss, before anything is\n"
    "written. It is kept in a state file, which is journal and account book as well. A load that was cut off goes on\n"
    "with the same command: what was made is not made again, and a request whose answer never came is looked up\n"
    "on the target before it is repeated.\n\n"
    "The result of a command goes to stdout, everything else to stderr. With --json the result is one object with\n"
    "a versioned schema, or one object per line; keys are only ever added. After an error the last line is an\n"
    "object with the single key error, which holds code, text, hint and exit.";

const char replay_files[] =
    "NAME.gsnap is a bundle. It may be encrypted in the format age v1, under any name; it is then read with --identity or a\n"
    "passphrase, and decrypted in memory only.\n\n"
    "NAME.state is the state file of one load of one bundle into one target. Keep it as long as the load matters:\n"
    "it knows what was made there. It holds no records, but ids and names (paths, titles, user names), and is not\n"
    "encrypted.";

const char replay_environment[] =
    "GITLAB_TOKEN is the access token, unless --token-file or --token-command is given. A token is never taken\n"
    "from the command line.\n\n"
    "NO_COLOR, when set and not empty, turns colours off. TERM=dumb turns the status line off.";

const char replay_examples[] =
    "Check what came over:\n\n"
    "  %s verify team.gsnap --deep --trust key.pub\n\n"
    "Plan a load, look at it, then do it:\n\n"
    "  export GITLAB_TOKEN=...\n"
    "  %s plan team.gsnap --trust key.pub --url https://gitlab.internal\n"
    "  %s apply team.gsnap --trust key.pub --url https://gitlab.internal --yes\n\n"
    "What came of it:\n\n"
    "  %s status --state team.state\n"
    "  %s failures --state team.state\n\n"
    "Try again what failed, leave the rest out, or take everything back:\n\n"
    "  %s retry --state team.state --trust key.pub --yes\n"
    "  %s skip --state team.state --code refused --reason 'agreed with the owner'\n"
    "  %s undo --state team.state --trust key.pub";

const char replay_see_also[] = "snap(1), age(1), minisign(1), tar(1), zstd(1), b2sum(1)";
