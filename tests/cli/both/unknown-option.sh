# Every command refuses an option it does not know, any option without its value, and a flag with one.
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
    refused "$v" a b c d e f
    refused "$v" --json=1
    refused "$v" --quiet --quiet
    refused "$v" -qv
    "$TOOL" "$v" --help | sed -n 's/^  *\(-[a-z], \)\{0,1\}--\([a-z0-9-]*\) [^a-z ].*/\2/p' | sort -u |
        while read -r o; do
            refused "$v" "--$o"
            refused "$v" "--$o" --quiet
            refused "$v" "--$o="
        done
done
