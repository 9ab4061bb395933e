# Whom to believe: the trust store, two persons, keys that were revoked or have expired, signatures beside what cannot be changed.
. "$LIB/bundles.sh"
for k in alice bob carol mallory; do "$SNAP" keygen -o $k --no-passphrase >/dev/null; done
ids() { sed "s/^$NAME/TOOL/; s/^usage: $NAME/usage: TOOL/; s/'$NAME trust --help'/'TOOL trust --help'/; s/(\(a\|b\)\.pub)/(TWIN)/; s/[0-9A-F]\{16\}/ID/g; s/RW[A-Za-z0-9+/]\{54\}/PUBLIC/; s/on 20[0-9][0-9]-[0-9-]*:/on DAY:/; s#'/[^']*/groupsnap/#'STORE/#"; }
t() {
    echo "\$ $*"
    "$TOOL" "$@" >out 2>err
    rc=$?
    ids <err
    case $1 in
    trust) ids <out ;;
    *) sed -n '/genuine/p; s/^\(signed by   key\) .*, /\1 ID, /p; s/^\(also  *a signature by key\) [0-9A-F]*/\1 ID/p' out | sort ;; # they stand in the order of their ids
    esac
    echo "=> $rc"
}
reason() { "$TOOL" "$@" --json 2>/dev/null | "$PYTHON" -c 'import json, sys; e = json.loads(sys.stdin.read().splitlines()[-1])["error"]; print(e["code"], e["exit"])'; }
cp b.gsnap one.gsnap
"$SNAP" sign --quiet one.gsnap --key alice >/dev/null
cp one.gsnap two.gsnap
"$SNAP" sign --quiet two.gsnap --key bob >/dev/null
# the store
t trust list
t trust add key.pub
t trust add alice.pub --expires 2999-12-31
t trust add alice.pub --name somebody
t trust add bob.pub --name alice
t trust add bob.pub --expires never
t trust add absent.pub
t trust add b.gsnap --name x
t trust add bob.pub --name ../bob
t trust remove nobody
t trust revoke nobody --reason lost
t trust revoke alice
t trust forget alice
t trust add
t trust list --expires 2027-01-01
"$TOOL" trust list --json | "$PYTHON" -c '
import json, sys
d = json.load(sys.stdin)
print(d["schema"], sorted(d))
for k in d["keys"]: print(sorted(k), k["name"], k["state"], k["expires_at"])'
store=.config/groupsnap/trust
stat -c %a .config .config/groupsnap $store
command -v minisign >/dev/null && { mkdir u; tar -C u -xf b.gsnap; minisign -V -q -p $store/key.pub -m u/manifest.json || echo "minisign refuses the store's key"; }
# the store is what is believed when nothing is said
t verify b.gsnap
t verify one.gsnap --require 2
t verify b.gsnap --require 2
t verify two.gsnap --trust bob.pub
t verify two.gsnap --trust mallory.pub
"$TOOL" inspect m.gsnap --json | grep -c '"origin_proven":true'
"$SNAP" import-archive --quiet -o strange.gsnap --key mallory export >/dev/null
t verify strange.gsnap
"$TOOL" inspect strange.gsnap --json | grep -c '"origin_proven":false'
# two of three, in whatever order
mkdir three
cp alice.pub bob.pub carol.pub three
for f in b one two; do t verify $f.gsnap --trust three --require 2; done
t verify two.gsnap --trust three --require 3
# one key is one key: named twice, under two ids, signed twice
mkdir again
cp alice.pub again/a.pub
"$PYTHON" - <<'PYTHON'
import base64
line = open("alice.pub").read().splitlines()[1]
raw = bytearray(base64.b64decode(line))
raw[2] ^= 1
open("again/b.pub", "w").write("untrusted comment: x\n" + base64.b64encode(raw).decode() + "\n")
sec = open("alice").read().splitlines()
raw = bytearray(base64.b64decode(sec[1]))
raw[54] ^= 1
raw[126:158] = bytes(32)
open("alice2", "w").write(sec[0] + "\n" + base64.b64encode(raw).decode() + "\n")
PYTHON
cp one.gsnap twice.gsnap
"$SNAP" sign --quiet twice.gsnap --key alice 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
"$SNAP" sign --quiet twice.gsnap --key alice2 >/dev/null || echo "not signed"
t verify twice.gsnap --trust again
t verify twice.gsnap --trust again --require 2
# expired
t trust add alice.pub --expires 2020-05-06
t trust list
"$SNAP" import-archive --quiet -o hers.gsnap --key alice export >/dev/null
t verify hers.gsnap
t verify two.gsnap
t trust add alice.pub --expires 2999-01-01
t verify hers.gsnap
# revoked: also when the key is named, and under another id
t trust revoke alice --reason "laptop lost"
t trust revoke alice --reason again
t trust add alice.pub
t verify hers.gsnap
t verify hers.gsnap --trust alice.pub
t verify twice.gsnap --trust again
t verify two.gsnap --trust bob.pub
t verify two.gsnap --require 2 --trust alice.pub --trust bob.pub
t trust revoke mallory.pub --reason "never ours"
t verify strange.gsnap
t trust remove alice
t trust remove alice --revoked
for f in "hers.gsnap --trust carol.pub" "strange.gsnap" "one.gsnap --require 2" "b.gsnap --trust absent.pub"; do reason verify $f; done
# a store that cannot be read is not passed over
echo '{"schema":"groupsnap.trust-key/1","expires_at":"soon"}' >$store/key.trust
t verify b.gsnap
t verify b.gsnap --trust key.pub
rm $store/key.trust
# beside: a bundle that is not changed, an encrypted one, by the stock tool
sum=$(b2sum <b.gsnap)
"$SNAP" sign --quiet --beside b.gsnap --key bob | ids
"$SNAP" sign --quiet --beside b.gsnap --key bob 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
[ "$sum" = "$(b2sum <b.gsnap)" ] || echo "the bundle was changed"
t verify b.gsnap --require 2 --trust key.pub --trust bob.pub
"$SNAP" keygen -o age --age >/dev/null
"$SNAP" seal --quiet b.gsnap -o s.age --encrypt-to age.recipient >/dev/null
"$SNAP" sign --quiet s.age --key bob 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
"$SNAP" sign --quiet s.age --key bob --identity age >/dev/null || echo "not signed"
t verify s.age --require 2 --trust key.pub --trust bob.pub --identity age
if command -v minisign >/dev/null; then
    id=$("$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))["key_id"])' $store/mallory.trust)
    minisign -S -W -s carol -m u/manifest.json -x s.age.0000000000000000.minisig >/dev/null 2>&1 || minisign -S -s carol -m u/manifest.json -x s.age.0000000000000000.minisig >/dev/null
    t verify s.age --require 2 --trust key.pub --trust carol.pub --identity age
else
    echo "no minisign"
fi
for f in s.age.*; do case $f in *0000*) ;; *) sed -i 's/file:manifest/file:Manifest/' "$f" ;; esac; done
t verify s.age --trust key.pub --trust bob.pub --identity age
