# A signal during work: what is under way is ended in order, and then the program, with 128+N. A second one ends it at once.
exec "$PYTHON" - <<'PYTHON'
import os
import signal
import socket
import subprocess
import time

snap = os.environ["SNAP"]
server = socket.create_server(("127.0.0.1", 0))
url = "http://127.0.0.1:%d" % server.getsockname()[1]


def start(**more):
    p = subprocess.Popen([snap, "groups", "--url", url], env=dict(os.environ, GITLAB_TOKEN="glpat-secret-1234567"),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    return p, server.accept()[0]


for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    p, c = start()
    os.kill(p.pid, sig)
    os.kill(p.pid, sig)  # a moment later: the same wish
    time.sleep(0.5)
    assert p.poll() is None, "did not wait for the answer"
    c.recv(65536)
    c.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    out, err = p.communicate(timeout=60)
    print(sig.name, p.returncode, repr(out), [w for w in err.split() if w.startswith("[")])
    assert "glpat" not in err
    c.close()

p, c = start()
os.kill(p.pid, signal.SIGINT)
time.sleep(0.5)
os.kill(p.pid, signal.SIGTERM)
print("twice:", p.wait(timeout=5))

p, c = start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
os.kill(p.pid, signal.SIGHUP)
time.sleep(0.5)
print("ignored:", p.poll())
with open(f"/proc/{p.pid}/environ", "rb") as f:
    print("token in the environment:", b"glpat" in f.read())
p.kill()
p.wait()
PYTHON
