# key, key.pub, and b.gsnap (ndjson) and m.gsnap (msgpack), both of one export; $LABELS labels (3)
"$PYTHON" "$LIB/make_export.py" export ${LABELS:-3}
"$SNAP" keygen -o key --no-passphrase >/dev/null
for e in ndjson msgpack; do
    f=b.gsnap
    [ $e = ndjson ] || f=m.gsnap
    "$SNAP" import-archive --quiet -o $f --key key --encoding $e --time 2025-01-02T03:04:05Z export >made 2>&1 || cat made
done
