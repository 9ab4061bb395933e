# Keys and their files; nothing is replaced; both files or none.
umask 000
"$SNAP" keygen -o key --no-passphrase >out || echo "exit code $?"
stat -c '%a %n' key key.pub
id=$(sed -n 's/^key id *//p' out)
head -n 1 key.pub | grep -q "minisign public key.*$id" || cat key.pub
grep -q "^ *$(sed -n 2p key.pub)$" out || cat out
awk 'length($0) > 80' out
cp key key.before
"$SNAP" keygen -o key --no-passphrase 2>&1
echo "=> $?"
cmp key key.before
rm key
"$SNAP" keygen -o key --no-passphrase 2>&1
echo "=> $?"
[ ! -e key ] || echo "half a pair was made"
"$SNAP" keygen -o nowhere/key --no-passphrase 2>/dev/null
echo "=> $?"
"$SNAP" keygen -o other --json --no-passphrase | "$PYTHON" -c '
import json, sys
d = json.load(sys.stdin)
print(sorted(d), d["schema"], d["encrypted"], len(d["key_id"]))'
"$SNAP" keygen -o third 2>&1
echo "=> $?"
"$SNAP" keygen -o third --no-passphrase --passphrase-file x 2>/dev/null
echo "=> $?"
: >nothing
"$SNAP" keygen -o third --passphrase-file nothing 2>&1
echo "=> $?"
"$SNAP" keygen --no-passphrase 2>&1 | head -n 1
ls
