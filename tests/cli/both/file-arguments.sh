# What is no bundle: absent, a folder, unreadable, empty, another kind of file, a device.
: >empty
echo "some text" >text
mkdir folder
"$SNAP" keygen -o key --no-passphrase >/dev/null
mkfifo fifo
for verb in verify inspect cat; do
    for f in absent folder empty text fifo /dev/null "$(printf 'evil\033[31m\nname')"; do
        "$TOOL" "$verb" --trust key.pub "$f" >out 2>err
        rc=$?
        [ ! -s out ] || echo "something on stdout"
        echo "$verb '$f' => $rc $(sed -n '1s/.*\[\(.*\)\]$/\1/p' err)" | cat -v
        grep -q "$(printf '\033')" err && echo "an escape sequence reached the terminal"
        grep -q '^  what to do: .' err || cat err
    done
done
"$TOOL" verify text --trust key.pub --json 2>/dev/null | "$PYTHON" -c '
import json, sys
e = json.loads(sys.stdin.read().splitlines()[-1])["error"]
print(sorted(e), e["code"], e["exit"])'
for trust in absent.pub folder key; do
    "$TOOL" verify text --trust $trust 2>&1 | sed "1s/^$NAME/TOOL/"
    "$TOOL" verify text --trust $trust 2>/dev/null
    echo "=> $?"
done
"$TOOL" verify text 2>&1 | sed "1s/^$NAME/TOOL/"
"$TOOL" cat text --trust folder 2>/dev/null
echo "=> $?"
