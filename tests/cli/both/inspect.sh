# What people see: the origin first, the tree, the table, the ledger. No line plays tricks on the terminal.
. "$LIB/bundles.sh"
"$TOOL" inspect b.gsnap --tree | sed -e 's/^\(signature   by key\) [0-9A-F]*/\1 ID/' -e 's/^set  .*/set/' -e 's/^digest  .*/digest/' \
    -e 's/^made  .* by groupsnap.*/made/' -e 's/, [0-9.]* KiB, ndjson/, SIZE, ndjson/' -e 's/[0-9.]* [KM]*i*B$/SIZE/; s/[0-9.]* B  *SIZE$/SIZE/' -e 's/   *SIZE$/ SIZE/'
"$TOOL" inspect b.gsnap --trust key.pub | grep -c 'ORIGIN'
"$TOOL" inspect b.gsnap --trust key.pub | sed -n 's/^signed by   key .*, /signed by /p'
"$TOOL" inspect b.gsnap --trust key.pub --tree | LC_ALL=C grep -c "$(printf '\033\|\342\200\256\|\302\233')"
"$SNAP" keygen -o other --no-passphrase >/dev/null
"$TOOL" inspect b.gsnap --trust other.pub >out 2>/dev/null
echo "=> $? $(wc -c <out)"
