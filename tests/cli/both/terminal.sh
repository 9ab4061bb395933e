# On a terminal: a status line that goes away, harmless records, colours only when wanted.
. "$LIB/bundles.sh"
exec "$PYTHON" - <<'PYTHON'
import json
import os
import sys
sys.path.insert(0, os.environ["LIB"])
from terminal import Terminal, check
tool = os.environ["TOOL"]

t = Terminal([tool, "verify", "b.gsnap", "--trust", "key.pub"], columns=30)
check(t.end() == 0, "verify")
lines = t.status_lines()
check(lines and all(len(s) < 30 for s in lines), f"status lines: {lines}")
check(t.screen()[0].startswith("'b.gsnap' is genuine"), t.screen())

t = Terminal([tool, "verify", "b.gsnap", "--trust", "key.pub", "--quiet"])
check(t.end() == 0 and not t.status_lines(), "a status line in spite of --quiet")

t = Terminal([tool, "verify", "absent", "--trust", "key.pub"])
check(t.end() == 10, "absent")
check(b"\x1b[1;31m" in t.shown, "no colour")
check("..." not in t.screen()[0] and "absent" in t.screen()[0], t.screen())
t = Terminal([tool, "verify", "absent", "--trust", "key.pub"], env={"NO_COLOR": "1"})
check(t.end() == 10 and b"\x1b[1;31m" not in t.shown, "NO_COLOR")

t = Terminal([tool, "cat", "b.gsnap", "9/labels", "--trust", "key.pub"])
check(t.end() == 0, "cat")
check(b"\xe2\x80\xae" not in t.shown and b"\xc2\x9b" not in t.shown, "a trick reached the terminal")
first = [json.loads(s) for s in t.screen() if s][0]
check(first["title"] == "tricky \u202e\u009b31m", f"the value changed: {first}")

t = Terminal([tool, "inspect", "b.gsnap"], stdout="out")
check(t.end() == 0, "inspect")
check(t.screen() in ([], [""]), f"left on the terminal: {t.screen()}")
print("done")
PYTHON
