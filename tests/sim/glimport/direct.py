"""Direct transfer: what the destination asks of its source, in order, and what it makes of the answers."""
import io
import json
import re
import tarfile
import time

from .client import Failed

GROUP = """query($full_path: ID!) { group(fullPath: $full_path) { id name path description visibility emails_disabled: emailsDisabled
  lfs_enabled: lfsEnabled mentions_disabled: mentionsDisabled project_creation_level: projectCreationLevel
  request_access_enabled: requestAccessEnabled require_two_factor_authentication: requireTwoFactorAuthentication
  share_with_group_lock: shareWithGroupLock subgroup_creation_level: subgroupCreationLevel two_factor_grace_period: twoFactorGracePeriod } }"""
MEMBERS = """query($full_path: ID!, $cursor: String, $per_page: Int) { portable: group(fullPath: $full_path) {
  members: groupMembers(relations: [DIRECT INHERITED SHARED_FROM_GROUPS], first: $per_page, after: $cursor) {
    page_info: pageInfo { next_page: endCursor has_next_page: hasNextPage }
    nodes { created_at: createdAt updated_at: updatedAt expires_at: expiresAt access_level: accessLevel { integer_value: integerValue }
      user { user_gid: id public_email: publicEmail username: username name: name } } } } }"""
PROJECTS = """query($full_path: ID!, $cursor: String, $per_page: Int) { group(fullPath: $full_path) {
  projects(includeSubgroups: false, notAimedForDeletion: true, first: $per_page, after: $cursor) {
    page_info: pageInfo { next_page: endCursor has_next_page: hasNextPage } nodes { id name path full_path: fullPath } } } }"""
USERS = """query($ids: [ID!], $cursor: String) { users(ids: $ids, after: $cursor) {
  pageInfo { next_page: endCursor has_next_page: hasNextPage } nodes { id name username } } }"""
GHOST = """{ users(usernames: ["ghost","ghost1","ghost2","ghost3","ghost4","ghost5","ghost6"], humans: false) { nodes { id username type } } }"""

VISIBILITY = {"private": 0, "internal": 10, "public": 20}
PROJECT_LEVEL = {"noone": 0, "maintainer": 1, "developer": 2, "administrator": 3, "owner": 4}
SUBGROUP_LEVEL = {"owner": 0, "maintainer": 1}
LEVELS = (5, 10, 15, 20, 30, 40, 50)
SECRET = re.compile(r"^[0-9a-f]{10}([0-9a-f]{22})?$")


class Migration:
    def __init__(self, source, db, enterprise=True, poll_s=0.2, empty_status_s=3, before=lambda what, group: None):
        self.source, self.db, self.enterprise, self.poll_s, self.empty_status_s = source, db, enterprise, poll_s, empty_status_s
        self.before = before  # called in front of every pipeline
        self.version, self.source_enterprise, self.ghost = None, True, None

    # ---- start

    def connect(self):
        """As the form on the web does it."""
        s = self.source
        try:
            v = s.json("GET", "/version", paged=False)
        except Failed:
            v = s.json("GET", "/metadata", paged=False)
        m = re.match(r"^(\d+)\.(\d+)\.(\d+)", v["version"])
        if not m or int(m[1]) < 14:
            raise Failed(f"unsupported version {v['version']}")
        self.version, self.source_enterprise = tuple(map(int, m.groups())), v.get("enterprise", True)
        if self.version >= (15, 5, 0) and "api" not in s.json("GET", "/personal_access_tokens/self", paged=False)["scopes"]:
            raise Failed("the token lacks the scope api")
        return s.json("GET", "/groups", top_level_only="true", min_access_level=50)

    def run(self, full_path):
        self.connect()
        first = self.attributes(full_path)
        status, _, _ = self.source.rest("GET", f"/groups/{first['number']}/export_relations/status")
        if status != 200:
            raise Failed(f"the export is not enabled at the source: {status}")
        self.entity(full_path, full_path.rsplit("/", 1)[-1], None)
        ids = sorted({u for t in self.db.rows("SELECT attributes FROM records") for u in users_in(json.loads(t[0]))})
        for i in range(0, len(ids), 100):
            answer = self.source.query(USERS, ids=[f"gid://gitlab/User/{u}" for u in ids[i:i + 100]], after=None)["users"]
            if answer["pageInfo"]["has_next_page"]:
                raise Failed("users on several pages: the importer would ask for ever")
            for u in answer["nodes"]:
                self.db.user(number(u["id"]), u["name"], u["username"])

    def attributes(self, full_path):
        g = self.source.query(GROUP, full_path=full_path)["group"]
        if g is None:
            raise Failed(f"group {full_path} is not there")
        return {**g, "number": number(g["id"])}

    # ---- one group

    def entity(self, full_path, slug, parent):
        g = self.attributes(full_path)
        at = f"/groups/{g['number']}"
        batched = self.source.generation == "new" and self.version >= (16, 2)
        status, _, body = self.source.rest("POST", at + "/export_relations", **({"batched": "true"} if batched else {}))
        if not 200 <= status < 300:
            raise Failed(f"the export of {full_path} does not begin: {status} {body[:100]!r}")
        if self.ghost is None and self.source.generation == "new":
            self.ghost = self.source.query(GHOST)["users"]["nodes"]
        gid = self.db.group(g["number"], parent, g["name"], slug, {
            "name": g["name"], "description": g["description"], "visibility_level": VISIBILITY[g["visibility"]],
            "project_creation_level": PROJECT_LEVEL.get(g["project_creation_level"]),
            "subgroup_creation_level": SUBGROUP_LEVEL.get(g["subgroup_creation_level"]),
            **{k: g[k] for k in ("emails_disabled", "lfs_enabled", "mentions_disabled", "request_access_enabled",
                                 "require_two_factor_authentication", "share_with_group_lock", "two_factor_grace_period")}})
        ee = self.enterprise and self.source_enterprise
        stages = [["self", "namespace_settings", "labels", "milestones"] + (["iterations_cadences"] if ee else []),
                  ["boards"] + (["epics"] if ee else []) + (["epic_boards"] if ee and self.version >= (18, 4) else [])]
        for relation in stages[0]:
            self.pipeline(relation, gid, at)
        self.guarded("members", gid, self.members, gid, full_path)
        self.guarded("badges", gid, self.badges, gid, at)
        for relation in stages[1]:
            self.pipeline(relation, gid, at)
        self.guarded("uploads", gid, self.uploads, gid, at)
        if ee:
            status, _, data = self.source.rest("GET", at + "/wikis")
            if status not in (200, 403, 404) or (status == 200 and json.loads(data)):
                self.db.failure(gid, "wiki", f"it seems to be there: {status}")
        if self.version >= (14, 4):
            page = self.source.query(PROJECTS, full_path=full_path, cursor=None, per_page=500)["group"]["projects"]
            if page["nodes"] or page["page_info"]["has_next_page"]:
                self.db.failure(gid, "projects", "there are some")
        for sub in self.source.pages(at + "/subgroups"):
            self.entity(sub["full_path"], sub["path"], gid)

    def guarded(self, what, gid, fn, *args):
        self.before(what, gid)
        try:
            fn(*args)
        except (Failed, ValueError, KeyError) as e:
            self.db.failure(gid, what, repr(e))

    def pipeline(self, relation, gid, at):
        self.guarded(relation, gid, self.relation, relation, gid, at)

    # ---- relations

    def status(self, relation, at):
        began = time.monotonic()
        while True:
            query = {"relation": relation} if self.source.generation == "new" else {}
            v = self.source.json("GET", at + "/export_relations/status", **query)
            if isinstance(v, list):
                v = next((x for x in v if x["relation"] == relation), None)
            if v is None and time.monotonic() - began > self.empty_status_s:
                raise Failed(f"Empty export status of {relation}")
            if v is not None and v["status"] == -1:
                raise Failed(f"{relation}: {v['error']}")
            if v is not None and v["status"] == 1:
                return v
            time.sleep(self.poll_s)

    def files(self, relation, at):
        v = self.status(relation, at)
        path = at + "/export_relations/download"
        if not v.get("batched"):
            yield self.source.download(path, relation)
            return
        for n in range(1, v["batches_count"] + 1):
            if v["batches"][n - 1]["status"] != 1:
                raise Failed(f"{relation}: batch {n}")
            yield self.source.download(path, relation, batched="true", batch_number=n)

    def relation(self, relation, gid, at):
        for data in self.files(relation, at):
            if relation == "self":
                self.db.set_group(gid, membership_lock=json.loads(data).get("membership_lock"))
                continue
            for line in data.splitlines():
                record = json.loads(line)
                if relation == "namespace_settings":
                    self.db.set_group(gid, prevent_sharing_groups_outside_hierarchy=record["prevent_sharing_groups_outside_hierarchy"])
                else:
                    self.db.load(gid, relation, record)

    def uploads(self, gid, at):
        for data in self.files("uploads", at):
            with tarfile.open(fileobj=io.BytesIO(data)) as t:
                for m in t:
                    if m.isdir():
                        continue
                    if not m.isreg():
                        raise Failed("uploads: a link")
                    folder, _, name = m.name.removeprefix("./").rpartition("/")
                    if folder == "avatar" or SECRET.match(folder):
                        self.db.db.execute("INSERT INTO uploads VALUES(?,?,?,?)", (gid, folder, name, t.extractfile(m).read()))

    def members(self, gid, full_path):
        cursor = None
        while True:
            page = self.source.query(MEMBERS, full_path=full_path, cursor=cursor, per_page=500)["portable"]["members"]
            for m in page["nodes"]:
                level = m["access_level"]["integer_value"]
                if level in LEVELS:
                    self.db.member(gid, number(m["user"]["user_gid"]), {"access_level": level, "expires_at": m["expires_at"], "created_at": m["created_at"],
                                                                        "updated_at": m["updated_at"], "public_email": m["user"]["public_email"],
                                                                        "username": m["user"]["username"], "name": m["user"]["name"]})
            if not page["page_info"]["has_next_page"]:
                return
            if page["page_info"]["next_page"] == cursor:
                raise Failed("a page without an end")
            cursor = page["page_info"]["next_page"]

    def badges(self, gid, at):
        for b in self.source.pages(at + "/badges"):
            self.db.make(gid, "badges", {k: b[k] for k in ("name", "link_url", "image_url")})


def number(gid):
    m = re.match(r"^gid://gitlab/\w+/(\d+)$", gid)
    if not m:
        raise Failed(f"no global id: {gid}")
    return int(m[1])


def users_in(value):
    if isinstance(value, dict):
        for k, v in value.items():
            if k in ("author_id", "user_id", "closed_by_id", "updated_by_id", "last_edited_by_id") and isinstance(v, int):
                yield v
            yield from users_in(v)
    elif isinstance(value, list):
        for v in value:
            yield from users_in(v)
