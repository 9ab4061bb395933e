# The passphrase prompt: no echo, asked twice, three chances; a signal gives the terminal back.
exec "$PYTHON" - <<'PYTHON'
import os
import sys
import time
sys.path.insert(0, os.environ["LIB"])
from terminal import Terminal, check
snap = os.environ["SNAP"]


def keygen(name, *more):
    return Terminal([snap, "keygen", "-o", name, *more])


t = keygen("good")
t.expect("Passphrase for the new key: ")
t.wait_echo(False)
t.type("first try\n")
t.expect("again: ")
t.wait_echo(False)
t.type("second try\n")
t.expect("differ")
for _ in range(2):
    t.expect(": ")
    t.wait_echo(False)
    t.type("sesame\n")
code = t.end()
check(code == 0, f"exit code {code}: {t.shown!r}")
check(b"sesame" not in t.shown and b"try" not in t.shown, "the passphrase was shown")
check(b"locking the key" in t.shown, "no status line")
check(not any("locking" in s for s in t.screen()), f"the status line was left: {t.screen()}")
check(all(len(s) < 80 for s in t.status_lines()), "a status line would wrap")
check(os.path.exists("good") and os.path.exists("good.pub"), "no key")

t = keygen("differ")
for i in range(3):
    for word in ("one", "two"):
        t.expect(": ")
        t.wait_echo(False)
        t.type(word + "\n")
    t.expect("differ")
check(t.end() == 12, "three times different")

t = keygen("empty")
t.expect(": ")
t.wait_echo(False)
t.type("\n")
check(t.end() == 12 and b"--no-passphrase" in t.shown, "empty passphrase")

t = keygen("ctrl-c")
t.expect(": ")
t.wait_echo(False)
t.type("half\x03")
t.wait_echo(True)
code = t.end()
check(code == 130, f"Ctrl-C at the prompt gives {code}")

t = keygen("term")
t.expect(": ")
t.wait_echo(False)
os.kill(t.pid, 15)
t.wait_echo(True)
check(t.end() == 143, "SIGTERM at the prompt")

with open("pass", "w") as f:
    f.write("sesame\n")
t = keygen("early", "--passphrase-file", "pass")
t.expect("locking the key")
t.type("\x03")
code = t.end()
check(code == 130, f"Ctrl-C while locking gives {code}")
check(t.shown.endswith(b"\r\x1b[K"), f"the status line was left: {t.shown!r}")

with open("file", "w") as f:
    f.write("no bundle\n")
t = Terminal([snap, "sign", "file", "--key", "good"])
t.expect("Passphrase of 'good': ")
t.wait_echo(False)
t.type("sesame\n")
code = t.end()
check(code == 20 and b"[not-a-bundle]" in t.shown, f"sign gives {code}: {t.shown!r}")
print(sorted(f for f in os.listdir(".") if not f.startswith(".")))
PYTHON
