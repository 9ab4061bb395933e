"$TOOL" --version >version || echo "exit code $?"
grep -Eqx "$NAME \(groupsnap\) [0-9]+\.[0-9]+\.[0-9]+" version || cat version
"$TOOL" -V | cmp - version
