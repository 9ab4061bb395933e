# What a person does with a load, given wrongly: message, way out and exit code. No network.
t() {
    echo "\$ replay $*"
    "$REPLAY" "$@" >out 2>&1 </dev/null
    rc=$?
    sed "s#^\(usage: \)[^ ]*#\1replay#" out
    echo "=> $rc"
}
echo "this is no state file" >text.state
mkdir folder.state
for verb in status failures retry skip undo; do
    t $verb
    t $verb --state
    t $verb --state absent.state --nonsense
done
t status --state absent.state
t status --state text.state
t status --state folder.state
t status --state absent.state extra
t status --state absent.state --watch
t status --state absent.state --watch --json
t failures --state absent.state
t failures --state text.state --csv --json
t retry --state absent.state --trust none.pub
t retry --state text.state --trust none.pub
t skip --state absent.state --reason x
t skip --state absent.state --reason x --code refused
t skip --state text.state --reason x KEY
t skip --state text.state --reason x KEY ANOTHER
t skip --state text.state --reason "" KEY
t skip --state text.state KEY
t undo --state absent.state --trust none.pub
t undo --state text.state --trust none.pub --yes
t undo --state text.state extra
