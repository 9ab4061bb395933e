# Wrong use: message, way out and usage line on stderr, exit code 2.
t() {
    echo "\$ $*"
    "$TOOL" "$@" >out 2>&1 </dev/null
    rc=$?
    sed "s/$NAME/TOOL/g" out
    echo "=> $rc"
}
t
t cta
t nonsense
t --nonsense
t help nonsense
t help cat cat
t cat
t cat a b c
t cat --jsno a
t cat --trsut a
t cat -t
t cat --trust a --threads
t cat --threads 0 a
t cat --threads 257 a
t cat --threads -1 a
t cat --threads 99999999999999999999 a
t cat --threads 1 --threads 2 a
t cat --max-member 4q a
t cat --max-member 0 a
t cat --max-member 99999999t a
t cat --with-key=yes a
t cat --trust= a
t cat --trust --json a
t verify --quiet --verbose a
t verify --deep --deep a --json
t verify a
t -- verify
t "$(printf 'evil\033[31m\nname')"
t __complete fish
