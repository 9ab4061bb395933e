# verbs PROGRAM: the commands that its help names, one per line
verbs() {
    "$1" --help | sed -n '/^commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'
}
