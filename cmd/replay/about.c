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
    "encrypted.\n\n"
    "FILE.vol01 ... are the volumes of a bundle (snap split). One of them, or their folder, may be named wherever a bundle is\n"
    "read; what they are is told by their content and not by their names.\n\n"
    "FILE.<key id>.minisig beside a bundle is one more signature of it (snap sign --beside).\n\n"
    "$XDG_CONFIG_HOME/groupsnap/trust or ~/.config/groupsnap/trust is the trust store (trust): the keys that are believed\n"
    "where --trust is not given, and those that were revoked.\n\n"
    "$XDG_STATE_HOME/groupsnap/seen.json or ~/.local/state/groupsnap/seen.json remembers the newest bundle of each source\n"
    "that was loaded, so that an older one is refused (--allow-rollback).\n\n"
    "BUNDLE.token holds the token that the target's importer has to show to 'serve' (mode 0600). It is of use while that runs only.";

const char replay_environment[] =
    "XDG_CONFIG_HOME and XDG_STATE_HOME, when absolute, are used in place of ~/.config and ~/.local/state.\n\n"
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
    "  %s undo --state team.state --trust key.pub\n\n"
    "Let the target's own importer pull from the bundle, or make it a file to upload:\n\n"
    "  %s serve team.gsnap --trust key.pub --listen :443 --tls-cert serve.pem --tls-key serve.key\n"
    "  %s archive team.gsnap --trust key.pub -o team-export.tar.gz\n\n"
    "Or upload that file and see what came of it:\n\n"
    "  %s archive team.gsnap --trust key.pub --upload --url https://gitlab.internal --into imported";

const char replay_see_also[] = "snap(1), age(1), minisign(1), tar(1), zstd(1), b2sum(1)";
