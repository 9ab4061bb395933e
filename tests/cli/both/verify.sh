# A bundle that is genuine, and everything that can be wrong with it.
. "$LIB/bundles.sh"
"$SNAP" keygen -o other --no-passphrase >/dev/null
mkdir keys none
cp key.pub other.pub keys
t() {
    echo "\$ $*"
    "$TOOL" "$@" >out 2>err
    rc=$?
    sed "s/^$NAME/TOOL/" err
    sed -n '/genuine/p; s/^\(signed by   key\) .*, /\1 ID, /p; s/^\(also  *a signature by key\) [0-9A-F]*/\1 ID/p' out
    echo "=> $rc"
}
for f in b.gsnap m.gsnap; do
    t verify $f --trust key.pub
    t verify $f --trust key.pub --deep --threads 1
done
t verify b.gsnap --trust keys
t verify b.gsnap -t other.pub -t key.pub
t verify b.gsnap --trust other.pub 2>&1 | sed 's/key [0-9A-F]\{16\}/key ID/'
t verify b.gsnap --trust none
t verify b.gsnap
# damage: the last byte of a member, a cut, something behind the end, a hole at the start
cp b.gsnap flipped
size=$(stat -c %s flipped)
off=$(grep -abo 'groups/7/milestones' flipped | sed -n '$s/:.*//p')
printf '\377' | dd of=flipped bs=1 seek=$((off + 512 + 8)) conv=notrunc 2>/dev/null
t verify flipped --trust key.pub
head -c $((size - 700)) b.gsnap >cut
t verify cut --trust key.pub
(cat b.gsnap; echo x) >longer
t verify longer --trust key.pub
# limits
t verify b.gsnap --trust key.pub --max-bundle 4k
t verify b.gsnap --trust key.pub --max-manifest 64
t verify b.gsnap --trust key.pub --max-members 3
t verify b.gsnap --trust key.pub --deep --max-record 100
# two signatures
"$SNAP" sign b.gsnap --key other >/dev/null || echo "not signed"
t verify b.gsnap --trust other.pub
t verify b.gsnap --trust keys
"$SNAP" sign b.gsnap --key other 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
# by stock tools
mkdir unpacked
tar -C unpacked -xf b.gsnap
command -v minisign >/dev/null && (cd unpacked && minisign -V -q -p ../key.pub -m manifest.json || echo "minisign refuses")
digest=$("$PYTHON" -c 'import json; print(json.load(open("unpacked/manifest.json"))["sums"]["blake2b256"])')
(cd unpacked && echo "$digest  SUMS" | b2sum -l 256 --quiet -c || echo "SUMS is not what is signed")
(cd unpacked && b2sum -l 256 --quiet -c SUMS || echo "b2sum refuses")
