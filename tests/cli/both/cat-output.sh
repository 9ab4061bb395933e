# Records into what is full, closed, or not read to the end: an exit code, and no endless work.
LABELS=50000
. "$LIB/bundles.sh"
exec 2>talk
"$TOOL" cat b.gsnap --trust key.pub >/dev/full
echo "full: $?"
"$TOOL" cat b.gsnap --trust key.pub >&-
echo "closed: $?"
(
    "$TOOL" cat b.gsnap --trust key.pub
    echo $? >rc
) | head -n 1 | cut -c 1-20
echo "pipe: $(cat rc)"
"$TOOL" inspect b.gsnap --trust key.pub --json >/dev/full
echo "full: $?"
sed "s/^$NAME/TOOL/" talk
