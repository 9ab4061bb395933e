# The manual page: no warnings, every command, option and error code is in it.
. "$LIB/verbs.sh"
export SOURCE_DATE_EPOCH=1700000000
"$TOOL" __man >page.1 || echo "exit code $?"
if command -v groff >/dev/null; then
    groff -man -Tutf8 -ww -b page.1 2>&1 >/dev/null
fi
mandoc=${MANDOC:-mandoc}
if command -v "$mandoc" >/dev/null; then
    "$mandoc" -Tlint page.1
fi
sed 's/\\-/-/g; s/\\&//g' page.1 >plain
for v in $(verbs "$TOOL"); do
    grep -qx "\.SS $v" plain || echo "no section of $v"
    "$TOOL" "$v" --help | sed -n 's/^  *\(-[a-z], \)\{0,1\}--\([a-z0-9-]*\)\( .*\)*$/\2/p' >opts
    [ -s opts ] || echo "$v: no options"
    while read -r o; do
        grep -q -- "--$o\b" plain || echo "$v: --$o is not in the page"
    done <opts
done
for s in NAME SYNOPSIS DESCRIPTION COMMANDS 'EXIT STATUS' 'ERROR CODES' FILES ENVIRONMENT EXAMPLES 'SEE ALSO'; do
    grep -qx "\.SH $s" plain || echo "no section $s"
done
for c in internal bundle-damaged sig-unknown-key schema-newer not-confirmed; do
    grep -q "^\.BR $c " plain || echo "no code $c"
done
"$TOOL" __man gs-tool | grep -q '^\.TH GS\\-TOOL 1 "2023-11-14"' || echo "another name is not taken"
