"""The golden bundles: all of valid/ are read and verified; each of invalid/ is refused with the code it is named after."""
import glob
import json
import os
import re
import subprocess
import sys

tool, name, golden = os.environ["TOOL"], os.environ["NAME"], os.environ["GOLDEN"]
trust = [a for d in sorted({os.path.dirname(p) for p in glob.glob(golden + "/**/*.pub", recursive=True)}) for a in ("--trust", d)]
manual = subprocess.run([os.environ["SNAP"], "__man"], capture_output=True, text=True, check=True).stdout
codes = {c.replace("\\-", "-"): int(n) for c, n in re.findall(r'^\.BR (\S+) " \((\d+)\)"$', manual, re.M)}
bad = 0


def run(*argv):
    p = subprocess.run([tool, *argv], capture_output=True, timeout=120)
    if p.returncode < 0 or p.returncode > 128:
        sys.exit(f"{' '.join(argv)}: died with {p.returncode}: {p.stderr.decode()}")
    return p


def expect(ok, path, what):
    global bad
    if not ok:
        bad += 1
        print(f"{os.path.basename(path)}: {what}")


valid = sorted(glob.glob(golden + "/valid/**/*.gsnap", recursive=True))
for path in valid:
    for argv in (["verify", path, *trust], ["verify", path, "--deep", *trust], ["inspect", path, "--tree", *trust],
                 ["inspect", path, "--json"], ["cat", path, *trust], ["cat", path, "/ledger", *trust]):
        p = run(*argv)
        expect(p.returncode == 0, path, f"{argv[0]} gives {p.returncode}: {p.stderr.decode()}")
    for line in run("cat", path, *trust).stdout.decode().splitlines():
        json.loads(line)

invalid = sorted(glob.glob(golden + "/invalid/**/*.gsnap", recursive=True))
for path in invalid:
    base = os.path.basename(path)
    code = max((c for c in codes if re.match(re.escape(c) + r"([.]|-|$)", base)), key=len, default=None)
    expect(code, path, "named after no code")
    if not code:
        continue
    p = run("verify", path, "--deep", "--json", *trust)
    got = json.loads(p.stdout.decode().splitlines()[-1])
    error = got.get("error", {"code": "ok", "exit": 0})
    expect(error["code"] == code and p.returncode == codes[code] == error["exit"], path,
           f"verify gives {p.returncode} {error['code']}")
    # what is not verified must not crash; it may or may not notice
    for argv in (["inspect", path, "--tree"], ["cat", path], ["inspect", path, "--json"]):
        p = run(*argv)
        expect(p.returncode in (0, codes[code]) or p.returncode in codes.values(), path, f"{argv[0]} gives {p.returncode}")

expect(valid and invalid, golden, "no bundles")
print(f"{'all' if not bad else 'not all'} as expected")
