#include "cmd/snap/about.h"

const char snap_description[] =
    "%s reads a group with all its subgroups from a GitLab and writes one compressed, signed file: a bundle. The\n"
    "bundle is carried to a network that has no connection to the first one, and replay(1) loads it there into\n"
    "another GitLab, or keeps it as an archive.\n\n"
    "The bundle is a tar of zstd members with a minisign signature. It holds the books of its capture: what was\n"
    "announced by the server, what was received, and what was knowingly left out or lost, and by which rule.\n\n"
    "The result of a command goes to stdout, everything else to stderr. With --json the result is one object with\n"
    "a versioned schema, or one object per line; keys are only ever added. After an error the last line is an\n"
    "object with the single key error, which holds code, text, hint and exit.";

const char snap_files[] =
    "NAME.gsnap is a bundle. It appears whole, or not at all. It may be encrypted in the format age v1 (seal, and\n"
    "--encrypt-to of create and import-archive), under any name, such as NAME.gsnap.age; every command that reads a bundle\n"
    "reads it with --identity or a passphrase, and decrypts it in memory only.\n\n"
    "NAME.gsnap.work is the folder in which a capture is collected. It keeps what the server answered until the bundle is\n"
    "complete, so that the same command goes on after a stop, a failure or a crash; status shows what is in it, and\n"
    "--fresh throws it away. It holds answers as they came, also what the bundle withholds, and only its owner may read\n"
    "it. It is not encrypted, also when the bundle is; when it is removed, its blocks on the disk are not overwritten.\n\n"
    "FILE.vol01 ... are the volumes of a bundle (snap split). One of them, or their folder, may be named wherever a bundle is\n"
    "read; what they are is told by their content and not by their names.\n\n"
    "FILE.<key id>.minisig beside a bundle is one more signature of it (sign --beside).\n\n"
    "$XDG_CONFIG_HOME/groupsnap/trust or ~/.config/groupsnap/trust is the trust store (trust): the keys that are believed\n"
    "where --trust is not given, and those that were revoked.\n\n"
    "KEY and KEY.pub are a key pair in minisign's format. IDENTITY and IDENTITY.recipient are one in age's.";

const char snap_environment[] =
    "XDG_CONFIG_HOME and XDG_STATE_HOME, when absolute, are used in place of ~/.config and ~/.local/state.\n\n"
    "GITLAB_TOKEN is the access token, unless --token-file or --token-command is given. A token is never taken\n"
    "from the command line.\n\n"
    "NO_COLOR, when set and not empty, turns colours off. TERM=dumb turns the status line off.";

const char snap_examples[] =
    "Make a key once, and carry key.pub to the other network:\n\n"
    "  %s keygen -o key\n\n"
    "Look at what a capture would take and what it would lose, then capture:\n\n"
    "  export GITLAB_TOKEN=...\n"
    "  %s preflight --url https://gitlab.example.com team\n"
    "  %s create --url https://gitlab.example.com -o team.gsnap --key key team\n\n"
    "See how far a capture is, or why it stopped; the same create command goes on:\n\n"
    "  %s status team.gsnap\n\n"
    "Show what the bundle holds:\n\n"
    "  %s inspect team.gsnap --tree --trust key.pub\n\n"
    "Encrypt it to those who load it; 'keygen --age -o loader' made the key on their side:\n\n"
    "  %s seal team.gsnap -o team.gsnap.age --encrypt-to loader.recipient\n\n"
    "Make a bundle of GitLab's own group export:\n\n"
    "  %s import-archive -o team.gsnap --key key export.tar.gz";

const char snap_see_also[] = "replay(1), age(1), minisign(1), tar(1), zstd(1), b2sum(1)";
