"""Writes the folder of a small GitLab group export: make_export.py FOLDER [LABELS].

Groups: team (7) with team/backend (9) and team/labels (70), whose path ends like a relation. Titles hold what could play
tricks on a terminal. LABELS (3) is the number of labels of the root group.
"""
import json
import os
import sys

root = sys.argv[1]
n_labels = int(sys.argv[2]) if len(sys.argv) > 2 else 3


def write(path, *records):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        for r in records:
            f.write((r if isinstance(r, (str, int)) else json.dumps(r, ensure_ascii=False, separators=(",", ":"))).__str__())
            f.write("\n")


def label(i, group, title):
    return {"id": i, "title": title, "color": "#ff0000", "group_id": group, "created_at": "2024-01-02T03:04:05.678Z",
            "updated_at": "2024-01-02T03:04:05.678Z", "template": False, "description": None, "type": "GroupLabel",
            "priorities": []}


write("VERSION", "0.2.4")
write("GITLAB_VERSION", "17.8.1-ee")
write("GITLAB_REVISION", "abcdef01234")
write("tree/groups/_all.ndjson", 7, 9, 70)
for i, parent, path, name in ((7, None, "team", "Team"), (9, 7, "backend", "Backend \x1b[31m\u202eevil"), (70, 7, "labels", "L")):
    write(f"tree/groups/{i}.json", {"id": i, "name": name, "path": path, "parent_id": parent, "description": "",
                                    "visibility": "private", "type": "Group"})
write("tree/groups/7/labels.ndjson", *(label(i, 7, f"label {i}") for i in range(1, n_labels + 1)))
write("tree/groups/9/labels.ndjson", label(100001, 9, "tricky \u202e\u009b31m"), label(100002, 9, "a"), )
write("tree/groups/70/labels.ndjson", label(100003, 70, "l"))
write("tree/groups/7/milestones.ndjson", {"id": 1, "title": "m1", "iid": 1, "group_id": 7, "state": "active",
                                          "description": "", "weight": 12345678901234567890.5,
                                          "created_at": "2024-01-02T03:04:05.678Z",
                                          "updated_at": "2024-01-02T03:04:05.678Z"})
