# stdout that is full, closed or not read any more.
exec 2>talk
"$TOOL" --help >/dev/full
echo "full: $?"
"$TOOL" cat --help >&-
echo "closed: $?"
"$TOOL" --help 2>&- | head -n 1 >/dev/null
(
    sleep 1
    "$TOOL" __man
    echo "pipe: $?" >rc
) | true
cat rc
# a closed stderr or stdin changes nothing
"$TOOL" --version >/dev/null 2>&- <&-
echo "no stderr: $?"
"$TOOL" nonsense 2>&-
echo "no stderr, wrong use: $?"
sed "s/^$NAME/TOOL/" talk
