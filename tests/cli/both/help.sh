# Every command's help: on stdout only, exit 0, at most 80 columns, says its usage; `help COMMAND` gives the same.
. "$LIB/verbs.sh"
n=0
look() {
    [ ! -s err ] || { echo "$*: help on stderr"; cat err; }
    awk -v v="$*" 'length($0) > 80 { print v ": line longer than 80 columns: " $0 } / $/ { print v ": blank at the end: " $0 }' out
    head -n 1 out | grep -q "^usage: $NAME $1" || echo "$*: no usage line"
}
for v in $(verbs "$TOOL"); do
    "$TOOL" "$v" --help >out 2>err || echo "$v: exit code $?"
    look "$v"
    grep -q '^options:' out || echo "$v: no options"
    "$TOOL" help "$v" | cmp - out
    "$TOOL" "$v" --no-such -h | cmp - out
    n=$((n + 1))
done
"$TOOL" --help >out 2>err || echo "exit code $?"
look COMMAND
"$TOOL" -h | cmp - out
"$TOOL" help | cmp - out
[ "$n" -ge 5 ] || echo "only $n commands"
