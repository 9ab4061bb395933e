# Passphrases of encrypted files on the terminal: asked twice when one is made, once when it is read; a signal leaves nothing behind.
exec "$PYTHON" - <<'PYTHON'
import os
import sys
sys.path.insert(0, os.environ["LIB"])
from terminal import Terminal, check
snap, golden = os.environ["SNAP"], os.environ["GOLDEN"]
bundle = os.path.join(golden, "valid/books.gsnap")


def answer(t, *words):
    for word in words:
        t.expect(": ")
        t.wait_echo(False)
        t.type(word + "\n")
    return t.end()


def seal(out):
    return Terminal([snap, "seal", bundle, "-o", out, "--encrypt-passphrase"])


t = seal("ours.age")
check(answer(t, "sesame", "sesame") == 0, f"seal: {t.shown!r}")
check(b"sesame" not in t.shown, "the passphrase was shown")
t = Terminal([snap, "verify", "ours.age", "--trust", os.path.join(golden, "golden.pub")])
t.expect("Passphrase of 'ours.age'")
check(answer(t, "sesame") == 0 and b"genuine and whole" in t.shown, f"verify: {t.shown!r}")
check(b"unlocking" in t.shown and not any("unlocking" in s for s in t.screen()), f"the status line: {t.screen()}")
t = Terminal([snap, "inspect", "ours.age"])
check(answer(t, "simsim") == 12 and b"[age-passphrase]" in t.shown, f"a wrong one: {t.shown!r}")
t = Terminal([snap, "inspect", "ours.age"])
check(answer(t, "") == 12 and b"[age-passphrase]" in t.shown, f"an empty one: {t.shown!r}")
t = seal("differ.age")
for _ in range(3):
    for prompt, word in (("file: ", "one"), ("again: ", "two")):
        t.expect(prompt)
        t.wait_echo(False)
        t.type(word + "\n")
    t.expect("differ")
check(t.end() == 12 and b"[age-passphrase]" in t.shown, f"three times different: {t.shown!r}")
t = seal("empty.age")
check(answer(t, "") == 12 and b"[age-passphrase]" in t.shown, f"empty: {t.shown!r}")
t = seal("ctrl-c.age")
t.expect(": ")
t.wait_echo(False)
t.type("half\x03")
t.wait_echo(True)
check(t.end() == 130, "Ctrl-C at the prompt")
t = seal("ours.age")
check(t.end() == 2 and b"[file-exists]" in t.shown, "an existing file is refused before anybody is asked")
print(sorted(f for f in os.listdir(".") if not f.startswith(".")))
PYTHON
