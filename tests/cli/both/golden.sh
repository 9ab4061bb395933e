# Every bundle that was ever written stays readable; every bad one is refused with the code in its name.
[ -d "$GOLDEN/valid" ] && [ -d "$GOLDEN/invalid" ] || { echo "no golden bundles"; exit 77; }
exec "$PYTHON" "$LIB/golden.py"
