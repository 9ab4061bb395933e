# Keys cross with the stock tool in both directions, with and without a passphrase.
command -v minisign >/dev/null || { echo "no minisign"; exit 77; }
echo "carry me" >file
echo "correct horse" >pass
"$SNAP" keygen -o plain --no-passphrase >/dev/null
"$SNAP" keygen -o locked --passphrase-file pass >/dev/null
minisign -S -W -s plain -m file -x plain.sig >/dev/null 2>&1 || minisign -S -s plain -m file -x plain.sig >/dev/null
minisign -V -q -p plain.pub -m file -x plain.sig || echo "plain key refused"
minisign -S -s locked -m file -x locked.sig <pass >/dev/null 2>&1 || echo "locked key refused"
minisign -V -q -p locked.pub -m file -x locked.sig || echo "signature by the locked key refused"
minisign -V -q -p plain.pub -m file -x locked.sig 2>/dev/null && echo "wrong key accepted"
# theirs: what our side makes of them shows where it stops, at the bundle and not at the key
minisign -G -W -p their.pub -s their.key >/dev/null 2>&1
for k in their.key plain; do
    "$SNAP" sign file --key "$k" 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
done
"$SNAP" sign file --key locked --passphrase-file pass 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
echo wrong >wrong
"$SNAP" sign file --key locked --passphrase-file wrong 2>&1
echo "=> $?"
"$SNAP" sign file --key locked 2>&1
echo "=> $?"
"$SNAP" sign file --key plain.pub 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
"$SNAP" sign file --key absent 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
"$SNAP" verify file --trust plain 2>&1 | sed -n '1s/.*\[\(.*\)\]$/\1/p'
