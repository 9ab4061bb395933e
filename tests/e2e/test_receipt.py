#!/usr/bin/python3
"""`replay receipt` and `snap receipt-check`: a receipt that stock minisign verifies, and what tells a changed one, one of another bundle, one
of a load that is not finished, and one whose books are others from the one that closes the bundle."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
ROOT = "halden-instruments"

with gstest.scratch() as d:
    gstest.keygen(d, "source")
    gstest.keygen(d, "target")
    gstest.keygen(d, "stranger")
    path = lambda name: os.path.join(d, name)  # noqa: E731

    with gstest.Sim(d, "from", "--tier", "premium", "--seed", gstest.DEMO_TREE) as source:
        for name, group in (("demo", ROOT), ("part", ROOT + "/firmware")):
            r = gstest.snap("create", "--url", source.url, group, "-o", name + ".gsnap", "--key", "source", token=source.tokens["owner"], cwd=d)
            t.is_eq(r.code, 0, f"{group} is captured", str(r))

    def reconcile(sim, books):
        return gstest.replay("reconcile", "demo.gsnap", "--trust", "source.pub", "--url", sim.url, "--books", books, token=sim.tokens["admin"], cwd=d)

    def check(bundle, receipt, *args, trust=("source.pub", "target.pub")):
        return gstest.snap("receipt-check", bundle, receipt, *[x for k in trust for x in ("--trust", k)], *args, cwd=d)

    with gstest.Sim(d, "to", "--tier", "premium", "--empty", "--users", gstest.DEMO_USERS) as sim:
        def apply(*args):
            return gstest.replay("apply", "demo.gsnap", "--trust", "source.pub", "--url", sim.url, "--yes", *args, token=sim.tokens["owner"], cwd=d)
        apply("--stop-after", "30", "--jobs", "1")
        t.is_eq(reconcile(sim, "early.books").code, 3, "a load that is not finished does not balance")
        t.is_eq(apply().code, 0, "the load is finished")
        t.is_eq(reconcile(sim, "demo.books").code, 0, "and balances")

    # ---- making it ----
    r = gstest.replay("receipt", "demo.books", "--key", "target", "--by", "Ops \"two\"\nteam", cwd=d)
    t.is_eq(r.code, 0, "a receipt is made", str(r))
    page = open(path("demo.books.receipt")).read()
    t.is_eq(r.out, page, "what is printed is the page")
    t.ok(page.isascii() and len(page) < 8000, "one page of text", f"{len(page)} bytes")
    r = subprocess.run(["minisign", "-V", "-p", path("target.pub"), "-m", path("demo.books.receipt")], capture_output=True, text=True)
    t.is_eq(r.returncode, 0, "stock minisign verifies it", r.stdout + r.stderr)
    r = gstest.replay("receipt", "demo.books", "--key", "target", cwd=d)
    t.is_eq(r.code, 2, "a receipt that is there is not overwritten", str(r))
    r = gstest.replay("receipt", "demo.books", "--key", "target", "-o", "again.receipt", "--json", cwd=d)
    t.is_eq(r.code, 0, "with --json", str(r))
    short = r.json()["short"]
    t.ok(len(short) < 700 and short.isascii() and "\n" not in short, f"the short form fits a QR code: {len(short)} characters")
    r = gstest.replay("receipt", "early.books", "--key", "target", cwd=d)
    t.is_eq(r.code, 0, "a receipt of a load that is not finished is made as well", str(r))

    # ---- checking it ----
    r = check("demo.gsnap", "demo.books.receipt")
    t.is_eq(r.code, 0, "it closes the bundle", str(r))
    t.has(r.out, "The receipt closes the bundle", "and says so")
    t.has(r.out, "members lost member-no-user", "and lists what did not arrive")
    r = check("demo.gsnap", "demo.books.receipt", "--json", "--books", "demo.books")
    t.ok(r.code == 0 and r.json()["closes"] and r.json()["balance"] == 0, "the same with --json, and with the books", str(r))

    r = check("demo.gsnap", "early.books.receipt")
    t.is_eq(r.code, 3, "a receipt of a load that is not finished does not close it", str(r)[:3000])
    t.has(r.out, "does not close the bundle: its balance is", "and says so")
    t.has(r.out, "missing:", "and names what is missing")
    r = check("part.gsnap", "demo.books.receipt")
    t.is_eq(r.code, 30, "a receipt of another bundle", str(r))
    r = check("demo.gsnap", "demo.books.receipt", "--books", "early.books")
    t.is_eq(r.code, 30, "other books than the receipt's", str(r))

    shutil.copy(path("demo.books.receipt.minisig"), path("changed.minisig"))
    with open(path("changed"), "w") as f:
        f.write(page.replace("balance: 0", "balance: 1"))
    r = check("demo.gsnap", "changed")
    t.is_eq((r.code, "sig-invalid" in r.err), (21, True), "a changed receipt", str(r))
    os.unlink(path("changed.minisig"))
    r = check("demo.gsnap", "changed")
    t.is_eq((r.code, "sig-missing" in r.err), (21, True), "one without its signature", str(r))
    r = check("demo.gsnap", "demo.books.receipt", trust=("source.pub", "stranger.pub"))
    t.is_eq((r.code, "sig-unknown-key" in r.err), (21, True), "one whose signer is not trusted", str(r))
    r = check("demo.gsnap", "demo.books.receipt", trust=())
    t.is_eq(r.code, 21, "no key is named", str(r))
    r = check("demo.gsnap", "nowhere")
    t.is_eq(r.code, 10, "no such receipt", str(r))

    # ---- signed, but no receipt: only somebody with a trusted key could do that ----
    for name, text, code in (("empty", "", 20), ("prose", "hello\n", 20), ("newer", "groupsnap-receipt: 2\n", 23), ("cut", page[:-1], 20),
                             ("short-of-all", page.replace("captured: ", "taken: ", 1), 20),
                             ("fewer", re.sub("^captured: .*$", "captured: 7", page, flags=re.M), 3)):
        with open(path(name), "w") as f:
            f.write(text)
        subprocess.run(["minisign", "-S", "-s", path("target"), "-m", path(name)], capture_output=True, input=b"\n")
        r = check("demo.gsnap", name)
        t.is_eq(r.code, code, f"a signed file that is {name}", str(r)[:1500])

    # ---- the short form ----
    def short_check(text, **kw):
        with open(path("qr"), "w") as f:
            f.write(text)
        return check(kw.pop("bundle", "demo.gsnap"), "qr", "--short", **kw)
    r = short_check(short + "\n")
    t.is_eq(r.code, 0, "the short form closes the bundle", str(r))
    t.is_eq(short_check(short.replace(" Z=0 ", " Z=1 ")).code, 21, "a changed one does not")
    t.is_eq(short_check(short, bundle="part.gsnap").code, 30, "nor one of another bundle")
    t.is_eq(short_check(short, trust=("source.pub", "stranger.pub")).code, 21, "nor one whose signer is not trusted")
    t.is_eq(short_check("GSR1 nonsense").code, 20, "nor what is none")
    r = gstest.replay("receipt", "early.books", "--key", "target", "--short", cwd=d)
    t.ok(r.code == 0 and short_check(r.out).code == 3, "nor one of a load that is not finished", str(r))

    # ---- books that are none ----
    books = open(path("demo.books")).read().splitlines(True)
    for name, lines in (("cut-line", books[:-1] + [books[-1][:-9]]), ("no-summary", books[:-1]), ("no-head", books[1:]), ("two-summaries", books + books[-1:]),
                        ("nothing", []), ("prose-books", ["hello\n"])):
        with open(path(name), "w") as f:
            f.writelines(lines)
        r = gstest.replay("receipt", name, "--key", "target", cwd=d)
        t.is_eq((r.code, "books-invalid" in r.err, os.path.exists(path(name + ".receipt"))), (20, True, False), f"books that are {name}", str(r))
t.done()
