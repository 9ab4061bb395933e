# A bundle in volumes: read without joining, judged, repaired, joined; signatures beside it; encrypted.
command -v minisign >/dev/null || { echo "no minisign"; exit 77; }
"$PYTHON" - <<'PYTHON'
import json, os, random
random.seed(5)
os.makedirs("export/tree/groups")
open("export/tree/groups/_all.ndjson", "w").writelines(f"{i}\n" for i in range(7, 14))
for i in range(7, 14):
    json.dump({"id": i, "name": f"g{i}", "path": f"g{i}", "parent_id": None if i == 7 else 7}, open(f"export/tree/groups/{i}.json", "w"))
    os.makedirs(f"export/tree/groups/{i}")
    with open(f"export/tree/groups/{i}/labels.ndjson", "w") as f:
        f.writelines(json.dumps({"title": "l%d" % n, "description": random.randbytes(100).hex(), "color": "#112233"}) + "\n" for n in range(100))
PYTHON
for k in key bob stranger; do "$SNAP" keygen -o $k --no-passphrase >/dev/null; done
"$SNAP" import-archive --quiet export -o team.gsnap --key key --time 2025-01-02T03:04:05Z >/dev/null
ids() { sed "s/^$NAME/TOOL/; s/[0-9A-F]\{16\}/ID/g; s/\b[0-9a-f]\{32\}\b/SET/; s/(first: .*)//; s/^time .*/time/; s/^digest .*/digest/; s/, [0-9.]* [KM]iB,/, SIZE,/; s/([0-9.]* [KM]iB)/(SIZE)/; s/, [0-9.]* [KM]iB$/, SIZE/"; }
t() {
    echo "\$ $*"
    "$REPLAY" "$@" >out 2>err
    rc=$?
    ids <err
    ids <out | sed '/^signed by/,$d'
    echo "=> $rc"
}
"$SNAP" split team.gsnap --size 46k --parity 2 --key key | ids | sed 's/(.*)//'
for f in team.gsnap.vol*; do tar tf $f >/dev/null || echo "tar refuses $f"; done
ls | grep -c vol
t verify team.gsnap.vol04 --trust key.pub
t verify team.gsnap.vol04 --trust stranger.pub
# read as a file is
"$REPLAY" cat team.gsnap --trust key.pub >records
"$REPLAY" cat team.gsnap.vol09 --trust key.pub | cmp - records || echo "other records"
"$SNAP" diff team.gsnap team.gsnap.vol01 --quiet --trust key.pub | tail -n 1
"$REPLAY" inspect team.gsnap.vol02 --trust key.pub --json | "$PYTHON" -c 'import json, sys; d = json.load(sys.stdin); print(d["origin_proven"], d["totals"]["records"])'
# lost and damaged, in a folder of their own
mkdir two
cp team.gsnap.vol* two
rm two/team.gsnap.vol02
printf x | dd of=two/team.gsnap.vol05 bs=1 seek=12000 conv=notrunc 2>/dev/null
t verify two --trust key.pub
"$REPLAY" cat two --trust key.pub 2>err | cmp - records && echo "what lacks is computed"
ids <err
mkdir bad
cp team.gsnap.vol* bad
cp two/team.gsnap.vol05 bad
"$REPLAY" cat bad --trust key.pub 2>&1 >/dev/null | ids # what is damaged is not passed on
t verify two/team.gsnap.vol05 --alone --trust key.pub
t verify two/team.gsnap.vol09 --alone --trust key.pub
cp -r two three
rm three/team.gsnap.vol08
t verify three --trust key.pub
"$REPLAY" verify three --trust key.pub --json 2>/dev/null | "$PYTHON" -c '
import json, sys
v, e = (json.loads(line) for line in sys.stdin)
print(v["schema"], sorted(v), v["enough"], v["good"], [x["volume"] for x in v["volumes"] if x["state"] != "good"])
print(sorted(v["volumes"][0]), e["error"]["code"], e["error"]["exit"])'
t join three -o no --trust key.pub
t inspect three --trust key.pub
[ ! -e no ] || echo "half a file is there"
t repair three --trust key.pub | tail -n 1
t repair two --trust key.pub
cmp two/team.gsnap.vol02 team.gsnap.vol02 && cmp two/team.gsnap.vol05.repaired team.gsnap.vol05 && echo "repaired byte for byte"
t repair two --trust key.pub | tail -n 2
t join two -o joined --trust key.pub | tail -n 2
cmp joined team.gsnap && echo "joined byte for byte"
t join two -o joined --trust key.pub | tail -n 3
# made again
"$SNAP" reissue team.gsnap --volumes 3,9-10 --size 46k --parity 2 --key key -o again >/dev/null || echo "not reissued"
ls again*
for n in 03 09 10; do cmp again.vol$n team.gsnap.vol$n; done
rm again*
for v in 0 1-0 x 3, 11 300; do "$SNAP" reissue team.gsnap --volumes $v --size 46k --parity 2 --key key -o again 2>&1 | sed -n '1s/.*: //p'; done
for s in 10k 0 4q 18446744073709551615 1k; do "$SNAP" split team.gsnap --size $s --key key -o no 2>&1 | sed -n '1s/^snap split: //p'; done
"$SNAP" split team.gsnap --size 46k --parity 2 --key key 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
"$SNAP" split team.gsnap.vol01 --size 1m --key key 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
"$SNAP" split team.gsnap --size dvd --key key -o one >/dev/null
ls one*
# one more signature of the whole; an encrypted file
"$SNAP" sign team.gsnap.vol03 --key bob >/dev/null || echo "not signed"
ls | grep minisig | ids
"$REPLAY" verify team.gsnap.vol06 --trust key.pub --trust bob.pub --require 2 | grep -c "^signed by"
"$SNAP" keygen -o age --age >/dev/null
"$SNAP" seal --quiet team.gsnap -o s.age --encrypt-to age.recipient >/dev/null
mkdir sealed
"$SNAP" split s.age --size 48k --parity 1 --key key -o sealed >/dev/null
rm sealed/s.age.vol02
t verify sealed --trust key.pub | sed 's/([0-9.]* KiB)//; /good/d'
"$REPLAY" verify sealed --trust key.pub --identity age 2>/dev/null | grep genuine
"$REPLAY" join sealed -o s2.age --trust key.pub >/dev/null && cmp s.age s2.age && echo "the same encrypted file"
# well signed, and yet no label: it does not say how many there are
cp team.gsnap.vol01 odd.vol
"$PYTHON" - <<'PYTHON'
import subprocess, tarfile
with tarfile.open("odd.vol") as tar:
    label, sig = (tar.getmember("volumes/001/label.json" + x) for x in ("", ".minisig"))
    text, old = (tar.extractfile(m).read() for m in (label, sig))
new = text.replace(b'"data":', b'"dato":', 1)
open("label.json", "wb").write(new)
lines = old.decode().splitlines()
if subprocess.call(["minisign", "-S", "-W", "-s", "key", "-m", "label.json", "-c", lines[0].split(": ", 1)[1], "-t", lines[2].split(": ", 1)[1]],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
    subprocess.check_call(["minisign", "-S", "-s", "key", "-m", "label.json", "-c", lines[0].split(": ", 1)[1], "-t", lines[2].split(": ", 1)[1]],
                          stdout=subprocess.DEVNULL)
signed = open("label.json.minisig", "rb").read()
assert len(signed) == len(old)
with open("odd.vol", "r+b") as f:
    for member, data in (label, new), (sig, signed):
        f.seek(member.offset_data)
        f.write(data)
PYTHON
t verify odd.vol --alone --trust key.pub
