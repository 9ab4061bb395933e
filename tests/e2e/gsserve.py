"""`replay serve` in the background, for tests and measurements, and a small bundle for it."""
import atexit
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import time

import gstest

TIME = "2024-01-02T03:04:05.678Z"
LABELS = [{"id": i, "title": f"label {i}", "color": "#ff0000", "group_id": 10, "description": os.urandom(200).hex(), "type": "GroupLabel",
           "created_at": TIME, "updated_at": TIME} for i in range(1, 3001)]
USER = {"id": 7, "username": "jane", "public_email": "jane@x.example"}


def group(gid, parent, path):
    return {"id": gid, "parent_id": parent, "name": path.title(), "path": path, "description": "d", "visibility_level": 10}


# a bundle as gstest.bundle() takes it: a group with labels, badges and a member, and seven below it
TREE = {10: {"self": group(10, None, "team"), "labels": LABELS,
             "badges": [{"id": n, "name": f"b{n}", "link_url": "https://h/l", "image_url": "https://h/i", "group_id": 10, "type": "GroupBadge"} for n in range(1, 26)],
             "members": [{"id": 1, "access_level": 50, "source_id": 10, "user_id": 7, "created_at": TIME, "updated_at": TIME, "user": USER}]}}
TREE.update({n: {"self": group(n, 10, f"sub{n}")} for n in range(11, 18)})


def certificate(d, cert="cert.pem", key="key.pem"):
    """For 'localhost' and 127.0.0.1, signed by itself."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], cwd=d, check=True, capture_output=True)


class Serve:
    """In folder `d`, with the certificate of certificate() when `tls`; what it says is in NAME.out and NAME.err."""

    def __init__(self, d, key, *args, bundle="b.gsnap", tls=False, name="serve", json=True):
        self.d, self.name = d, name
        more = (["--tls-cert", "cert.pem", "--tls-key", "key.pem"] if tls else []) + (["--json"] if json else [])
        self.p = subprocess.Popen([gstest.REPLAY, "serve", bundle, "--trust", key + ".pub", "--listen", "127.0.0.1:0", "--host-name", "127.0.0.1",
                                   "--source-version", "17.8.1-ee", "--token-file", "token", *more, *args], cwd=d, env=gstest.environment(),
                                  stdin=subprocess.DEVNULL, stdout=open(self.file("out"), "w"), stderr=open(self.file("err"), "w"))
        atexit.register(self.p.kill)  # a test that breaks off leaves none behind
        until = time.monotonic() + 60
        while not self.events("listening"):
            if self.p.poll() is not None or time.monotonic() > until:
                raise RuntimeError("serve did not start: " + open(self.file("err")).read())
            time.sleep(0.05)
        self.port = self.events("listening")[0]["port"]
        self.token = open(os.path.join(d, "token")).read().strip()
        self.context = ssl.create_default_context(cafile=os.path.join(d, "cert.pem")) if tls else None

    def file(self, what):
        return os.path.join(self.d, f"{self.name}.{what}")

    def said(self):
        return open(self.file("out"), errors="replace").read() + open(self.file("err"), errors="replace").read()

    def events(self, what):
        return [e for e in (json.loads(x) for x in open(self.file("out")) if x.endswith("\n")) if e.get("event") == what]

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        return self.p.wait(60)

    def rss_mib(self):
        return int(next(x for x in open(f"/proc/{self.p.pid}/status") if x.startswith("VmHWM")).split()[1]) / 1024

    def client(self, timeout=20):
        if self.context:
            return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=timeout)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def get(self, path, method="GET", body=None, token=True, headers=None, timeout=20):
        c = self.client(timeout)
        c.request(method, path, body, {**({"PRIVATE-TOKEN": self.token} if token else {}), **(headers or {})})
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, r.headers, data

    def socket(self, timeout=5, tls=True):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(s, server_hostname="127.0.0.1") if self.context and tls else s

    def raw(self, data, wait=5):
        """What comes back on a connection of its own until it is closed."""
        with self.socket(wait) as s:
            out = b""
            try:
                s.sendall(data)
                while True:
                    more = s.recv(65536)
                    if not more:
                        return out
                    out += more
            except OSError:
                return out
