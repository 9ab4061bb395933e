# Every command refuses an option it does not know, and a flag with a value; every option is refused without its value.
. "$LIB/verbs.sh"
refused() {
    "$TOOL" "$@" >out 2>err </dev/null
    rc=$?
    [ "$rc" = 2 ] || echo "$*: exit code $rc"
    [ ! -s out ] || echo "$*: something on stdout"
    grep -q '\[usage\]$' err && grep -q "^usage: $NAME $1 " err || { echo "$*:"; cat err; }
}
for v in $(verbs "$TOOL"); do
    refused "$v" --no-such-option
    refused "$v" --no-such-option=3 x
    refused "$v" -Z
    "$TOOL" "$v" --help | sed 1q | grep -q '[.][.][.]' || refused "$v" a b c d e f # of volumes there may be many
    refused "$v" --json=1
    refused "$v" --quiet --quiet
    refused "$v" -qv
    "$TOOL" "$v" --help | sed -n 's/^  *\(-[a-z], \)\{0,1\}--\([a-z0-9-]*\) [^a-z ].*/\2/p' | sort -u |
        while read -r o; do
            grep -qx -e "$o" seen 2>/dev/null && continue # the verbs share a parser, and the rows of most options
            echo "$o" >>seen
            refused "$v" "--$o"
            refused "$v" "--$o" --quiet
            refused "$v" "--$o="
        done
done
