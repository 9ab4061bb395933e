# Records come out as they went in, the same from both encodings.
. "$LIB/bundles.sh"
run() { "$TOOL" cat "$@" --trust key.pub; }
t() {
    echo "\$ cat $*"
    run b.gsnap "$@" >b 2>err
    rc=$?
    sed "s/^$NAME/TOOL/" err
    run m.gsnap "$@" >m 2>/dev/null
    cmp b m
    "$PYTHON" -c '
import json, sys
for line in open("b", encoding="utf-8"):
    d = json.loads(line)
    print(d.get("id", d.get("entry", sorted(d))), json.dumps(d.get("title", d.get("path"))))' 2>&1
    echo "=> $rc"
}
t team
t 7
t team/backend/labels
t 9/labels
t team/labels
t team/labels/labels
t team/milestones
t team/self
t team/epics
t team/nonsense
t team/nope/labels
t nope
t /nope
t users
t /users
t team/users
cmp export/tree/groups/7/milestones.ndjson b 2>/dev/null
run b.gsnap team/milestones | cmp - export/tree/groups/7/milestones.ndjson
run m.gsnap team/milestones | cmp - export/tree/groups/7/milestones.ndjson
run b.gsnap >all.b
run m.gsnap >all.m
cmp all.b all.m
"$TOOL" cat b.gsnap >unproven 2>err
echo "=> $?"
sed "s/^$NAME/TOOL/" err
cmp unproven all.b
run b.gsnap --with-key | "$PYTHON" -c '
import json, sys
for line in sys.stdin:
    d = json.loads(line)
    print(list(d), d["group"], d["relation"], d["record"]["id"])'
run b.gsnap /ledger --with-key | head -n 1 | cut -c 1-40
run b.gsnap /ledger | "$PYTHON" -c 'import json, sys; print(sorted({json.loads(x)["entry"] for x in sys.stdin}))'
run b.gsnap /index | "$PYTHON" -c 'import json, sys; print(len([json.loads(x) for x in sys.stdin]) > 5)'
