#!/usr/bin/python3
"""The HTML reports of both tools: one file without a script or a request, whose parts fit together, also for a large load with names that try to
be HTML. Where Chromium and npm are there it is opened in the browser too, and looked at by axe-core."""
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
ROOT = "halden-instruments"
EVIL = "<script>alert(1)</script>\" onx='1' \u202e\x1b[31m"
VOID = {"meta", "link", "br", "hr", "img", "input", "rect", "line"}


class Page(html.parser.HTMLParser):
    """What is in a page, and what is wrong with how it is put together."""

    def __init__(self, text):
        super().__init__()
        self.open, self.bad, self.ids, self.labels, self.words, self.links, self.tags = [], [], [], [], [], [], {}
        self.feed(text)
        self.bad += ["never closed: " + x for x in self.open]

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)
        if "id" in a:
            self.ids.append(a["id"])
        if "aria-labelledby" in a:
            self.labels.append(a["aria-labelledby"])
        if tag in ("script", "img", "iframe", "object", "embed", "form"):
            self.bad.append("element " + tag)
        if tag == "th" and "scope" not in a:
            self.bad.append("a head of a column without scope")
        for k, v in a.items():
            if k.startswith("on") or k == "src" or (k == "href" and not re.match("https?://|data:,$", v or "")):
                self.bad.append(f"{tag} {k}={v}")
            if k == "href" and tag == "a":
                self.links.append(v)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.bad.append("badly nested: " + tag)

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def contrast(a, b):
    def light(c):
        c = c.lstrip("#")
        c = "".join(x * 2 for x in c) if len(c) == 3 else c
        v = [int(c[i:i + 2], 16) / 255 for i in (0, 2, 4)]
        v = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in v]
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]
    x, y = sorted((light(a), light(b)), reverse=True)
    return (x + 0.05) / (y + 0.05)


def look(path, what):
    text = open(path, encoding="utf-8").read()
    p = Page(text)
    t.ok(not p.bad, f"{what}: one file of well-formed parts, no script, nothing to be fetched", *p.bad[:10])
    t.ok(len(p.ids) == len(set(p.ids)) and set(p.labels) <= set(p.ids), f"{what}: each section is named by its heading", repr(p.ids))
    t.ok(p.tags.get("h1") == 1 and p.tags.get("main") == 1 and 'lang="en"' in text and p.tags["caption"] == p.tags["table"],
         f"{what}: one heading, one main part, tables with captions", repr(p.tags))
    t.ok("@media print" in text and "prefers-color-scheme:dark" in text and 'name="viewport"' in text, f"{what}: for paper, for the dark, for phones")
    for scheme in re.findall(r":root\{([^}]*--bg[^}]*)\}", text)[:2]:
        c = dict(re.findall(r"--(\w+):(#\w+)", scheme))
        low = [(k, g, round(contrast(c[k], c[g]), 2)) for k in ("fg", "dim", "link", "good", "part", "bad", "off") for g in ("bg", "card")
               if contrast(c[k], c[g]) < 4.5]
        t.ok(not low, f"{what}: every colour of text can be told from its ground", repr(low))
    return p, text


with gstest.scratch() as d:
    key = gstest.keygen(d)
    path = lambda name: os.path.join(d, name)  # noqa: E731
    with gstest.Sim(d, "source", "--tier", "premium", "--seed", gstest.DEMO_TREE) as source:
        source.call(f"/api/v4/groups/{ROOT}/labels", {"name": EVIL, "color": "#112233"}, source.tokens["admin"])
        source.call(f"/api/v4/groups/{ROOT}", {"description": EVIL}, source.tokens["admin"], method="PUT")
        r = gstest.snap("create", "--url", source.url, ROOT, "-o", "demo.gsnap", "--key", key, token=source.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "the demo tree is captured", str(r))
    r = gstest.snap("report", "demo.gsnap", "--trust", "key.pub", "--html", "bundle.html", cwd=d)
    t.is_eq(r.code, 0, "snap report", str(r))
    p, text = look(path("bundle.html"), "bundle")
    t.has("".join(p.words), "Signature verified", "the signature is verified")
    t.has("".join(p.words), "labels", "and the kinds are there")
    gstest.snap("report", "demo.gsnap", "--html", "untrusted.html", cwd=d)
    t.has(open(path("untrusted.html")).read(), "Signature not verified", "without --trust it says that nothing was verified")

    with gstest.Sim(d, "target", "--tier", "premium", "--empty", "--users", gstest.DEMO_USERS) as sim:
        sim.faults({"match": {"method": "POST", "path": "/labels$", "body": "<script"}, "times": 0,
                    "do": {"status": 422, "body": {"message": "no <i>scripts</i> here"}}},
                   {"match": {"method": "POST", "path": "/milestones$", "nth": 4}, "do": {"status": 429, "headers": {"Retry-After": "4"}, "body": "Retry later\n"}})
        base = ("demo.gsnap", "--trust", "key.pub", "--url", sim.url)
        gstest.replay("apply", *base, "--yes", "--stop-after", "30", "--jobs", "1", token=sim.tokens["owner"], cwd=d)
        r = gstest.replay("report", "--state", "demo.state", "--html", "half.html", cwd=d)
        t.is_eq(r.code, 0, "a report of a load that is not finished", str(r))
        look(path("half.html"), "half")
        r = gstest.replay("apply", *base, "--yes", token=sim.tokens["owner"], cwd=d)
        t.is_eq(r.code, 3, "the load ends with a failure", str(r)[-500:])
        r = gstest.replay("reconcile", *base, "--books", "demo.books", token=sim.tokens["admin"], cwd=d)
        t.is_eq(r.code, 0, "and balances", str(r))
        r = gstest.replay("report", "demo.gsnap", "--trust", "key.pub", "--state", "demo.state", "--books", "demo.books", "--html", "load.html", cwd=d)
        t.is_eq(r.code, 0, "replay report", str(r))
        p, text = look(path("load.html"), "load")
        words = "".join(p.words)
        t.has(words, "Balance 0", "the balance stands at the top")
        t.ok(sum(x.startswith(sim.url + "/groups/") for x in p.links) == 8, "every group is linked", repr(p.links))
        t.has(words, "no <i>scripts</i> here", "what the server said is shown as text")
        t.ok("\u202e" not in text and "\x1b" not in text and "<script" not in text, "and names cannot play tricks")
        t.has(words, "the target's rate limit", "the time that it waited is there")
        t.has(words, "verified", "so are the signatures")
        r = gstest.replay("report", "--state", "demo.state", "--books", "nowhere", "--html", "x.html", cwd=d)
        t.is_eq((r.code, os.path.exists(path("x.html"))), (10, False), "books that are not there", str(r))

    # ---- a large load ----
    n = 20000
    records = {10: {"self": {"id": 10, "name": "Big", "path": "big", "parent_id": None, "visibility_level": 0},
                    "labels": [{"id": i + 1, "title": f"label {i:05}", "color": "#112233", "group_id": 10} for i in range(n - 600)]}}
    for i in range(300):
        records[100 + i] = {"self": {"id": 100 + i, "name": f"Sub {i}", "path": f"sub-{i}", "parent_id": 10, "visibility_level": 0},
                            "badges": [{"id": 1000 + i, "name": EVIL, "link_url": "https://a.example", "image_url": "https://b.example", "group_id": 100 + i}]}
    big = gstest.bundle(d, key, records, "big")
    with gstest.Sim(d, "bigtarget", "--tier", "premium", "--empty", "--users", gstest.DEMO_USERS) as sim:
        r = gstest.replay("plan", big, "--trust", "key.pub", "--url", sim.url, token=sim.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "a load of 20,000 records is planned", str(r)[-500:])
    r = gstest.replay("report", big, "--trust", "key.pub", "--state", "big.state", "--html", "big.html", cwd=d)
    size = os.path.getsize(path("big.html"))
    t.ok(r.code == 0 and size < 2 << 20, f"its report has {size} bytes", str(r))
    p, text = look(path("big.html"), "large")
    t.has("".join(p.words), "300 of 301 rows", "a list that is cut says so")

    # ---- in the browser ----
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    why = "CHROMIUM IS NOT INSTALLED" if not chromium else "NPM OR NODE IS NOT INSTALLED" if not shutil.which("npm") or not shutil.which("node") else None
    modules = os.path.join(gstest.BUILD, "npm")
    if not why and not os.path.exists(os.path.join(modules, "node_modules/axe-core")):
        os.makedirs(modules, exist_ok=True)
        try:
            r = subprocess.run(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=30000",
                                "--prefix", modules, "axe-core@4.10.2", "puppeteer-core@23.11.1"], capture_output=True, text=True, timeout=150)
            why = None if r.returncode == 0 else "NPM CANNOT INSTALL axe-core: " + (r.stderr.strip().splitlines() or ["?"])[-1]
        except subprocess.TimeoutExpired:
            why = "NPM DOES NOT COME TO AN END"
    if why:
        t.skip("the reports are opened in a browser", why)
    else:
        files = [path(x) for x in ("bundle.html", "load.html", "half.html", "big.html")]
        r = subprocess.run(["node", os.path.join(gstest.TOP, "tests/e2e/page_look.mjs"), chromium, modules, *files], capture_output=True, text=True, timeout=240)
        t.is_eq(r.returncode, 0, "the reports are opened in Chromium", r.stderr)
        for f, x in (json.loads(r.stdout) if r.returncode == 0 else {}).items():
            name = os.path.basename(f)
            t.ok(not x["console"] and not x["requests"], f"{name}: no error, no request", repr(x))
            t.ok(not x["overflow"], f"{name}: nothing stands out of the page, also on a phone", repr(x["overflow"]))
            t.ok(not x["faults"] and x["text"] > 500, f"{name}: axe-core finds nothing serious, light or dark", *x["faults"])
        if os.environ.get("GS_SCREENSHOTS"):
            for f in os.listdir(d):
                if f.endswith(".png"):
                    shutil.copy(path(f), os.environ["GS_SCREENSHOTS"])
t.done()
