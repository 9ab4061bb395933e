# The completion script is valid, and offers commands, options and choices.
command -v bash >/dev/null || { echo "no bash"; exit 77; }
"$TOOL" __complete bash >script || echo "exit code $?"
cat >try <<'BASH'
source ./script
try() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _groupsnap_$NAME
    echo "${COMPREPLY[*]}"
}
try $NAME ver
try $NAME inspect --tr
try $NAME help insp
try $NAME verify --de
try $NAME verify --trust ""
BASH
NAME=$NAME bash -u try
"$TOOL" __complete bash gs-tool >script
bash -n script
grep -c '_groupsnap_gs_tool gs-tool$' script
