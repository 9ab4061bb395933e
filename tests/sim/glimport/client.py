"""What an importer sends to its source, in two generations, and what it checks of the answers.

old (14.x to about 18.5): the token as Bearer; before the first query the schema is introspected, and every document is checked against
it, printed anew and given a name; the status is asked for all relations at once; HEAD before a download; no batches.
new: the token as a parameter; plain documents; the status by relation; batches."""
import gzip
import http.client
import json
import re
import ssl
import time
import urllib.parse

RETRIED = (429, 500, 502, 503, 504)
FILE_TYPES = ("application/gzip", "application/octet-stream")


class Failed(Exception):
    """The pipeline fails for good."""


class Source:
    def __init__(self, url, token, cafile=None, generation="new", retry_s=0.5, retries=40, max_file=5 << 30, max_unpacked=25 << 30):
        self.url, self.token, self.generation = urllib.parse.urlsplit(url), token, generation
        self.context = ssl.create_default_context(cafile=cafile) if self.url.scheme == "https" else None
        self.retry_s, self.retries, self.max_file, self.max_unpacked = retry_s, retries, max_file, max_unpacked
        self.conn, self.schema, self.requests, self.introspections = None, None, 0, 0
        self.retried = 0

    # ---- the wire

    def once(self, method, path, body=None, headers=()):
        if self.conn is None:
            if self.context:
                self.conn = http.client.HTTPSConnection(self.url.hostname, self.url.port, context=self.context, timeout=60)
            else:
                self.conn = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=60)
        self.requests += 1
        try:
            self.conn.request(method, path, body, dict(headers))
            r = self.conn.getresponse()
            return r.status, r.headers, r.read()
        except (OSError, http.client.HTTPException):
            self.conn.close()
            self.conn = None
            raise

    def send(self, method, path, body=None, headers=()):
        for attempt in range(self.retries + 1):
            try:
                status, head, data = self.once(method, path, body, headers)
                if status not in RETRIED:
                    return status, head, data
                why = f"{method} {path.split('?')[0]}: {status}"
            except (OSError, http.client.HTTPException) as e:
                why = f"{method} {path.split('?')[0]}: {e!r}"
            self.retried += 1
            if attempt < self.retries:
                time.sleep(self.retry_s)
        raise Failed("network error: " + why)

    def rest(self, method, path, paged=True, **query):
        """-> (status, headers, body). Everything but version and token is sent with a page, also what has no pages."""
        if paged:
            query = {"page": 1, "per_page": 30, **query}
        headers = {"Content-Type": "application/json"}
        if self.generation == "old":
            headers["Authorization"] = "Bearer " + self.token
        else:
            query["private_token"] = self.token
        text = urllib.parse.urlencode(query)
        return self.send(method, "/api/v4" + path + ("?" + text if text else ""), None, headers)

    def json(self, method, path, **query):
        status, head, data = self.rest(method, path, **query)
        if status >= 300:
            raise Failed(f"{method} {path}: {status} {data[:200]!r}")
        if head.get("Content-Type", "").split(";")[0] != "application/json":
            raise Failed(f"{method} {path}: not parsed, since it is {head.get('Content-Type')}")
        return json.loads(data)

    def pages(self, path):
        page = "1"
        while page:
            status, head, data = self.rest("GET", path, page=page, per_page=100)
            if status >= 300:
                raise Failed(f"GET {path}: {status}")
            yield from json.loads(data)
            page = head.get("X-Next-Page")

    # ---- GraphQL

    def post(self, body):
        status, _, data = self.send("POST", "/api/graphql", json.dumps(body).encode(),
                                    {"Content-Type": "application/json", "Authorization": "Bearer " + self.token})
        if status >= 300:
            raise Failed(f"GraphQL: {status}")
        answer = json.loads(data)
        if answer.get("errors"):
            raise Failed(f"GraphQL: {answer['errors']}")
        return answer["data"]

    def query(self, document, **variables):
        if self.generation == "new":
            return self.post({"query": document, "operationName": None, "variables": variables})
        import graphql
        if self.schema is None:
            # Debian 12 has graphql-core 2
            text = graphql.get_introspection_query() if hasattr(graphql, "get_introspection_query") else graphql.introspection_query
            self.introspections += 1
            self.schema = graphql.build_client_schema(self.post({"query": text, "operationName": "IntrospectionQuery", "variables": {}}))
        parsed = graphql.parse(document)
        wrong = graphql.validate(self.schema, parsed)
        if wrong:
            raise Failed(f"the document does not fit the source's schema: {wrong}")
        name = "GraphQL__Client__OperationDefinition_%d" % (1000 + self.requests)
        printed = re.sub(r"^(query)?\s*(?=[({])", f"query {name} ", graphql.print_ast(parsed), count=1)
        return self.post({"query": printed, "operationName": name, "variables": variables})

    # ---- files

    def download(self, path, relation, **more):
        """The unpacked bytes of one file, after every check that GitLab makes of it."""
        if self.generation == "old":
            status, head, _ = self.rest("HEAD", path, relation=relation, **more)
            self.check_head(status, head, relation)
        status, head, data = self.rest("GET", path, relation=relation, **more)
        self.check_head(status, head, relation)
        if not data:
            raise Failed(f"{relation}: an empty file")
        if len(data) > self.max_file:
            raise Failed(f"{relation}: file size limit")
        try:
            out = gzip.decompress(data)
        except (OSError, EOFError) as e:
            raise Failed(f"{relation}: {e}")
        if len(out) > self.max_unpacked:
            raise Failed(f"{relation}: decompressed size limit")
        return out

    @staticmethod
    def check_head(status, head, relation):
        if status != 200:
            raise Failed(f"{relation}: download with {status}")
        if head.get("Content-Type") not in FILE_TYPES:
            raise Failed(f"{relation}: Invalid content type {head.get('Content-Type')!r}")
