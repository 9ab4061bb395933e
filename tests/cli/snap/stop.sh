# A signal during work: reads are given up and the program ends in order with 128+N. A second signal ends it at once.
exec "$PYTHON" - <<'PYTHON'
import os
import signal
import socket
import subprocess
import time

snap = os.environ["SNAP"]

url = "http://127.0.0.1:1"


def start(hangup=signal.SIG_DFL):  # whoever runs this may ignore it
    global server, url  # one for each: the program may connect more than once
    server = socket.create_server(("127.0.0.1", 0))
    url = "http://127.0.0.1:%d" % server.getsockname()[1]
    p = subprocess.Popen([snap, "groups", "--url", url], env=dict(os.environ, GITLAB_TOKEN="glpat-secret-1234567"),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup))
    return p, server.accept()[0]


for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    p, c = start()
    os.kill(p.pid, sig)
    os.kill(p.pid, sig)  # a moment later: the same wish
    # the server never answers; a read is given up, so nobody waits for it
    out, err = p.communicate(timeout=60)
    print(sig.name, p.returncode, repr(out), [w for w in err.split() if w.startswith("[")])
    assert "glpat" not in err
    c.close()

# work that a first signal does not end: a command that is asked for the token and says nothing
p = subprocess.Popen([snap, "groups", "--url", url, "--token-command", "exec sleep 20"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(0.5)
os.kill(p.pid, signal.SIGINT)
time.sleep(0.7)
assert p.poll() is None, "the first signal should have been noted only"
os.kill(p.pid, signal.SIGTERM)
print("twice:", p.wait(timeout=30))

p, c = start(signal.SIG_IGN)
os.kill(p.pid, signal.SIGHUP)
time.sleep(0.5)
print("ignored:", p.poll())
with open(f"/proc/{p.pid}/environ", "rb") as f:
    print("token in the environment:", b"glpat" in f.read())
p.kill()
p.wait()
PYTHON
