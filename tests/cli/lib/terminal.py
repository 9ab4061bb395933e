"""A program on a pseudo terminal: what is typed, what is shown, how it ends.

    t = Terminal([program, ...]); t.expect("Passphrase"); t.type("secret\n"); code = t.end(); t.shown
"""
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time


class Terminal:
    def __init__(self, argv, columns=80, env=None, stdout=None):
        self.shown = b""
        self.seen = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            if stdout:
                os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
            os.execve(argv[0], argv, dict(os.environ, TERM="xterm", **(env or {})))

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            got = os.read(self.fd, 65536)
        except OSError:  # the other side is closed
            got = b""
        self.shown += got
        return bool(got)

    def expect(self, text, seconds=60):
        """Waits until `text` is shown behind what was expected before."""
        text = text.encode()
        end = time.monotonic() + seconds
        while text not in self.shown[self.seen:]:
            left = end - time.monotonic()
            if left <= 0 or not (self.read(left) or text in self.shown[self.seen:]):
                sys.exit(f"'{text.decode()}' was not shown, but: {self.shown!r}")
        self.seen = self.shown.index(text, self.seen) + len(text)

    def type(self, text):
        os.write(self.fd, text.encode())

    def echo(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def wait_echo(self, on, seconds=20):
        end = time.monotonic() + seconds
        while self.echo() != on:
            if time.monotonic() > end:
                sys.exit(f"the terminal's echo did not become {on}")
            time.sleep(0.01)

    def end(self):
        """Reads to the end and gives the exit code as the shell would."""
        while self.read(120):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def status_lines(self):
        """Every state of the line that is written over again and again."""
        return [s.decode("utf-8", "replace") for s in re.findall(rb"\r([^\r\n\x1b]+)\x1b\[K", self.shown)]

    def screen(self):
        """The lines a reader sees at the end: carriage returns and erased lines are applied."""
        lines, line, at = [], [], 0
        for part in re.findall(rb"\x1b\[K|\x1b\[[0-9;]*m|\r|\n|[^\r\n\x1b]|\x1b", self.shown):
            if part == b"\x1b[K":
                line = line[:at]
            elif part == b"\r":
                at = 0
            elif part == b"\n":
                lines.append(b"".join(line))
                line, at = [], 0
            elif not part.endswith(b"m") or len(part) == 1:
                line[at:at + 1] = [part]
                at += 1
        return [s.decode("utf-8", "replace") for s in lines + ([b"".join(line)] if line else [])]


def check(condition, what):
    if not condition:
        sys.exit(f"failed: {what}")
