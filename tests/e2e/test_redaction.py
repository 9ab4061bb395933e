#!/usr/bin/python3
"""What a policy withholds is not in the bundle, stands in its ledger, and nothing else is changed; also after a load. And what the manifest says of
where a bundle comes from."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gstest  # noqa: E402

t = gstest.Tap()
ROOT = "halden-instruments"
TOKEN = "glpat-" + "Qw3rTy_8" * 3
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----"
POLICY = {"schema": "groupsnap.policy/1", "emails": True, "confidential": True, "relations": ["badges"], "attachments": {"larger_than": 300000, "types": ["pdf", "PNG"]},
          "text": {"patterns": {"host": "[a-z]+[.]corp[.]example"}}}

with gstest.scratch() as d:
    key = gstest.keygen(d)
    path = lambda name: os.path.join(d, name)  # noqa: E731

    def policy(value, name="policy.json"):
        with open(path(name), "w") as f:
            f.write(value if isinstance(value, str) else json.dumps(value))
        return name

    def cat(file, *what):
        return [json.loads(line) for line in gstest.snap("cat", file, *what, cwd=d).out.splitlines()]

    with gstest.Sim(d, "source", "--tier", "ultimate", "--seed", gstest.DEMO_TREE) as s:
        admin = s.tokens["admin"]

        dump = s.dump()
        free = [g for g in dump["groups"] if g["full_path"] == ROOT + "/quality-assurance"][0]  # has no epics, nor does its export

        def post(what, body):
            return s.call(f"/api/v4/groups/{free['id'] if what == 'epics' else ROOT}/{what}", body, admin)
        post("labels", {"name": "planted", "color": "#112233", "description": f"use {TOKEN}. or ask db.corp.example, ops@corp.example or (x.y+z@mail.example.org)!"})
        post("milestones", {"title": "keys", "description": PEM + "\nkept"})
        post("epics", {"title": "Acquisition", "confidential": True, "description": "of whom"})
        seen = post("epics", {"title": "Seen by all", "description": "AKIAABCDEFGHIJKLMNOP"})
        s.call(f"/api/v4/groups/{free['id']}/epics/{seen['id']}/notes", {"body": "between us", "internal": True}, admin)
        s.call(f"/api/v4/groups/{free['id']}/epics/{seen['id']}/notes", {"body": "for all"}, admin)
        s.call("/_sim/config", {"clock_offset_s": 90})
        r = gstest.snap("create", "--url", s.url, ROOT, "-o", "demo.gsnap", "--key", key, token=s.tokens["owner"], cwd=d)
        t.is_eq(r.code, 0, "the tree is captured", str(r))

        # at once: what is withheld is never in a bundle that leaves the capturing machine's work folder
        def create(name, *args):
            return gstest.snap("create", "--url", s.url, ROOT, "-o", name, "--key", key, "--time", "2026-01-02T03:04:05Z", *args, token=s.tokens["owner"], cwd=d)
        create("whole.gsnap")
        r = gstest.snap("redact", "whole.gsnap", "--policy", policy(POLICY), "-o", "then.gsnap", "--key", key, "--trust", "key.pub", "--json", cwd=d)
        held = r.json()["withheld"]
        r = create("once.gsnap", "--policy", "policy.json", "--json")
        t.ok(r.code == 0 and r.json()["withheld"] == held and held["records"] and held["values"] and held["files"], "a policy at create withholds the same", str(r))
        t.ok(open(path("once.gsnap"), "rb").read() == open(path("then.gsnap"), "rb").read(), "and makes the same bytes as create and redact")
        t.ok(not [x for x in os.listdir(d) if x.startswith("once.gsnap.")], "nothing stays beside it", os.listdir(d))
        r = create("told.gsnap", "--policy", "policy.json")
        t.has(r.out, f"Withheld by the policy, of what is counted above: {held['records']} records, ", "the report says it")
        gstest.snap("keygen", "--age", "-o", "reader", cwd=d)
        r = create("sealed.gsnap", "--policy", "policy.json", "--encrypt-to", "reader.recipient")
        t.ok(r.code == 0 and open(path("sealed.gsnap"), "rb").read(14) == b"age-encryption", "with encryption", str(r))
        r = gstest.snap("verify", "sealed.gsnap", "--deep", "--trust", "key.pub", "--identity", "reader", cwd=d)
        t.is_eq(r.code, 0, "it opens and balances", str(r))
        r = create("none.gsnap", "--policy", policy("{}", "bad.json"))
        t.ok(r.code == 2 and "[policy-invalid]" in r.err and not [x for x in os.listdir(d) if x.startswith("none.gsnap")], "no policy, no capture", str(r))

        # ended in the middle, and gone on with
        def goes_on(how, before):
            t.ok(before and not os.path.exists(path("twice.gsnap")), f"{how}: no bundle")
            r = create("twice.gsnap", "--policy", "policy.json")
            t.ok(r.code == 0 and open(path("twice.gsnap"), "rb").read() == open(path("then.gsnap"), "rb").read(), f"{how}: it goes on to the same bytes", str(r))
            t.ok(not [x for x in os.listdir(d) if x.startswith("twice.gsnap.")], f"{how}: nothing stays", os.listdir(d))
            os.unlink(path("twice.gsnap"))
        s.faults({"match": {"nth": 20}, "do": {"status": 401, "body": {"message": "401 Unauthorized"}}})
        r = create("twice.gsnap", "--policy", policy(POLICY))
        s.reset_faults()
        goes_on("token refused", r.code not in (0, 3) and os.path.isdir(path("twice.gsnap.work")))
        command = [gstest.SNAP, "create", "--url", s.url, ROOT, "-o", "twice.gsnap", "--key", key, "--time", "2026-01-02T03:04:05Z", "--policy", "policy.json", "--quiet"]
        for _ in range(20):  # on a busy machine it may be done before it is killed
            p = subprocess.Popen(command, cwd=d, env=gstest.environment(s.tokens["owner"]))
            while p.poll() is None and not os.path.isdir(path("twice.gsnap.work/pack/part")):
                pass
            p.kill()
            p.wait()
            if os.path.exists(path("twice.gsnap.work/pack/all.gsnap")) and not os.path.exists(path("twice.gsnap")):
                break
            create("twice.gsnap", "--policy", "policy.json")
            os.unlink(path("twice.gsnap"))
        goes_on("killed while it withholds", os.path.exists(path("twice.gsnap.work/pack/all.gsnap")))
    shown = gstest.snap("inspect", "demo.gsnap", "--json", "--trust", "key.pub", cwd=d).json()["manifest"]
    src = shown["source"]
    t.ok(src["url"] == s.url and src["version"] and src["enterprise"] is True and src["user"] and src["role"] == "owner" and 88 <= src["clock_offset_s"] <= 92
         and shown["capture"]["started_at"] <= shown["capture"]["finished_at"] and shown["tool"]["version"], "the manifest says where it comes from", src)
    text = gstest.snap("inspect", "demo.gsnap", cwd=d).out
    t.ok("its clock was 1m" in text and "ahead of that of the capturing machine" in text and ", owner" in text, "inspect shows it", text[:900])

    policy(POLICY)
    r = gstest.snap("redact", "demo.gsnap", "--policy", "policy.json", "-o", "less.gsnap", "--key", key, "--trust", "key.pub", "--json", cwd=d)
    t.is_eq(r.code, 0, "it is redacted", str(r))
    told = r.json()["withheld"]
    gone = {"badges": sum(len(cat("demo.gsnap", f"{g['full_path']}/badges")) for g in gstest.snap("inspect", "demo.gsnap", "--json", cwd=d).json()["groups"])}
    t.ok(gone["badges"] > 0, "there were badges")
    r = gstest.snap("verify", "less.gsnap", "--deep", "--trust", "key.pub", cwd=d)
    t.is_eq(r.code, 0, "its books balance", str(r))
    whole = gstest.snap("cat", "less.gsnap", cwd=d).out + gstest.snap("cat", "less.gsnap", "/users", cwd=d).out + gstest.snap("cat", "less.gsnap", "/ledger", cwd=d).out
    for word in TOKEN, "MIIE", "Acquisition", "of whom", "AKIAABCDEFGHIJKLMNOP", "between us", "db.corp.example", "ops@corp", "x.y+z@":
        t.lacks(whole, word, f"'{word}' is nowhere in it")
    with open(path("less.gsnap"), "rb") as f:
        t.ok(b"Acquisition" not in f.read(), "nor in its bytes")
    t.ok(not any(u["public_email"] for u in cat("less.gsnap", "/users")) and any(u["public_email"] for u in cat("demo.gsnap", "/users")), "nobody's address is")
    planted = [x for x in cat("less.gsnap", ROOT + "/labels") if x["title"] == "planted"][0]
    t.is_eq(planted["description"], "use [withheld: gitlab-token]. or ask [withheld: host], [withheld: email] or ([withheld: email])!", "a text says what was withheld")
    t.is_eq([x["description"] for x in cat("less.gsnap", ROOT + "/milestones") if x["title"] == "keys"], ["[withheld: private-key]\nkept"], "a private key is, to its end")
    epic = [x for x in cat("less.gsnap", free["full_path"] + "/epics") if x["title"] == "Seen by all"][0]
    t.is_eq([n["note"] for n in epic["notes"] if not n.get("system")], ["for all"], "internal comments are withheld")
    ledger = [x for x in cat("less.gsnap", "/ledger") if x.get("rule", "").startswith("redacted-")]
    sums = {rule: sum(x["count"] for x in ledger if x["rule"] == rule) for rule in ("redacted-record", "redacted-value", "redacted-file")}
    t.is_eq(sums, {"redacted-record": told["records"], "redacted-value": told["values"], "redacted-file": told["files"]}, "the ledger holds all that is told")
    confidential = sum(x["count"] for x in ledger if x["what"] == "confidential")
    t.is_eq(told["records"], gone["badges"] + confidential, "records: badges and confidential epics")
    before, after = ([m for m in gstest.snap("inspect", x, "--json", cwd=d).json()["members"] if m["file"]] for x in ("demo.gsnap", "less.gsnap"))
    t.is_eq(len(before) - len(after), told["files"], "files")
    t.ok(told["files"] > 0 and not any(m["path"].lower().endswith((".png", ".pdf")) for m in after), "by their type", [m["path"] for m in before])
    m = gstest.snap("inspect", "less.gsnap", "--json", "--trust", "key.pub", cwd=d).json()["manifest"]
    t.is_eq((m["redaction"]["of_set_id"], m["redaction"]["records"], m["serial"], m["source"]), (shown["set_id"], told["records"], shown["serial"], shown["source"]),
            "the manifest says of what it was made")

    t.has(gstest.snap("inspect", "less.gsnap", cwd=d).out, f"REDACTED    {told['records']} records", "inspect says it")

    # nothing else changed
    diff = [x for x in gstest.snap("diff", "demo.gsnap", "less.gsnap", "--json", cwd=d).lines() if x.get("schema") != "groupsnap.diff/1"]
    t.ok(diff and not any(x.get("kind") == "extra" for x in diff), "nothing was added", diff[:2])
    records = {json.dumps(x, sort_keys=True) for x in cat("demo.gsnap")}
    changed = [x for x in cat("less.gsnap") if json.dumps(x, sort_keys=True) not in records]
    t.ok(changed and all("[withheld: " in json.dumps(x) or '"public_email": null' in json.dumps(x) or x.get("title") == "Seen by all" or "epic_lists" in x
                         for x in changed), f"{len(changed)} records are changed, each by the policy", changed[:1])
    r = gstest.snap("redact", "demo.gsnap", "--policy", "policy.json", "-o", "again.gsnap", "--key", key, "--trust", "key.pub", cwd=d)
    t.ok(open(path("less.gsnap"), "rb").read() == open(path("again.gsnap"), "rb").read(), "the same bundle and policy give the same bytes", str(r))
    policy({"schema": "groupsnap.policy/1", "text": {"secrets": False}}, "none.json")
    r = gstest.snap("redact", "demo.gsnap", "--policy", "none.json", "-o", "same.gsnap", "--key", key, "--quiet", cwd=d)
    t.ok(r.code == 0 and gstest.snap("diff", "demo.gsnap", "same.gsnap", cwd=d).code == 0 and gstest.snap("cat", "same.gsnap", cwd=d).out == gstest.snap("cat", "demo.gsnap", cwd=d).out,
         "a policy of nothing changes nothing", str(r))
    t.has(r.err, "no key that is trusted here", "who redacts what nobody signed is warned")

    # policies that are none
    for bad in ("", "[]", "{}", '{"schema":"groupsnap.policy/2"}', {**POLICY, "email": True}, {**POLICY, "emails": "yes"}, {**POLICY, "relations": ["self"]},
                {**POLICY, "attachments": {"larger_than": -1}}, {**POLICY, "text": {"patterns": {"x": "("}}}, {**POLICY, "text": {"patterns": {"x": "a*"}}},
                {**POLICY, "text": {"patterns": {"X": "a"}}}, {**POLICY, "text": {"patterns": {"x": "(a{100}){100}"}}}):
        r = gstest.snap("redact", "demo.gsnap", "--policy", policy(bad, "bad.json"), "-o", "no.gsnap", "--key", key, cwd=d)
        t.ok(r.code == 2 and "[policy-invalid]" in r.err and not os.path.exists(path("no.gsnap")), f"{str(bad)[-60:]} is no policy", str(r))

    # the far side
    with gstest.Sim(d, "target", "--tier", "ultimate", "--empty", "--users", gstest.DEMO_USERS) as target:
        def replay(verb, *args, file="less.gsnap"):
            return gstest.replay(verb, file, "--trust", "key.pub", "--url", target.url, *args, token=target.tokens["admin"], cwd=d)
        os.mkdir(path("discs"))
        r = gstest.snap("split", "less.gsnap", "--size", "64k", "--parity", "1", "--key", key, "-o", "discs", "--json", cwd=d)
        t.ok(r.code == 0 and r.json()["data"] >= 2, "it is divided", str(r))
        os.unlink(path("discs/less.gsnap.vol01"))
        r = replay("apply", "--match-username", "--yes", "--state", "less.state", file="discs")
        t.is_eq(r.code, 0, "the redacted bundle is loaded out of volumes of which the first is lost", str(r)[-1500:])
        r = replay("reconcile", "--json")
        t.is_eq(r.code, 0, "and the books balance on the far side", "\n".join(x for x in r.out.splitlines() if '"balance":0' not in x and '"counts_as":"lost"' not in x)[:3000])
        t.lacks(json.dumps(target.dump()), "Acquisition", "what was withheld is not there")
t.done()
