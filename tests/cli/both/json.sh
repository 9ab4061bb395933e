# --json: one object on one line, versioned, and complete; an error is one, too.
. "$LIB/bundles.sh"
"$TOOL" verify b.gsnap --trust key.pub --deep --json >verify.json || echo "exit code $?"
"$TOOL" inspect b.gsnap --trust key.pub --json >proven.json || echo "exit code $?"
"$TOOL" inspect m.gsnap --json >unproven.json || echo "exit code $?"
"$TOOL" verify b.gsnap --json >error.json 2>/dev/null
echo "=> $?"
"$PYTHON" - <<'PYTHON'
import json
import os


def load(name):
    with open(name, encoding="utf-8") as f:
        text = f.read()
    assert text.endswith("\n") and text.count("\n") == 1, name
    return json.loads(text)


v, p, u, e = (load(n + ".json") for n in ("verify", "proven", "unproven", "error"))
print(sorted(v))
print(v["schema"], v["ok"], v["deep"], v["records"], v["members"])
print(sorted(v["signatures"][0]), v["signatures"][0]["verified"])
print(sorted(p))
print(p["schema"], p["origin_proven"], p["encoding"], p["bytes"] == os.path.getsize("b.gsnap"))
print(p["manifest"]["schema"], p["manifest"]["source"]["version"], p["totals"]["records"])
for g in p["groups"]:
    print(g["id"], g["parent_id"], g["full_path"], {k: r["records"] for k, r in g["relations"].items()})
print([m["path"] for m in p["members"]])
print(u["origin_proven"], u["encoding"], u["signatures"][0]["verified"], "trusted_comment" in u["signatures"][0])
print(sorted(p["ledger"]), p["ledger"]["balance"]["stored"])
print(e["error"]["code"], e["error"]["exit"])
same = ("groups", "totals", "ledger")
assert all(g["relations"].keys() for g in p["groups"])
assert {k: [r["records"] for r in g["relations"].values()] for g in p["groups"] for k in [g["id"]]} == \
       {k: [r["records"] for r in g["relations"].values()] for g in u["groups"] for k in [g["id"]]}
PYTHON
