"""The replies that end a request early, in the many shapes GitLab uses."""


class ApiError(Exception):
    """Stops the request; its work is rolled back unless keep_work is set."""

    def __init__(self, status, body, headers=None, keep_work=False):
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.keep_work = keep_work


def message(status, msg, **kw):
    return ApiError(status, {"message": msg}, **kw)


def param_error(text):
    """Parameter validation failed before any work was looked at."""
    return ApiError(400, {"error": text})


def bad_request(text):
    return message(400, "400 Bad request - " + text)


def unauthorized():
    return message(401, "401 Unauthorized")


def forbidden(reason=None):
    return message(403, "403 Forbidden" + (" - " + reason if reason else ""))


def not_found(what=None):
    """Named objects answer '404 Group Not Found', record look-ups '404 Not found'."""
    return message(404, "404 %s Not Found" % what if what else "404 Not found")


def no_route():
    return ApiError(404, {"error": "404 Not Found"})


def invalid(**fields):
    """A record that the model refused: {"message": {"title": ["is invalid"]}}."""
    return message(400, {k: v if isinstance(v, list) else [v] for k, v in fields.items()})


def ruby_string(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"').replace("#{", "\\#{") + '"'


def ruby_hash(fields, version):
    """Print errors as Ruby's Hash#inspect does: its style changed with Ruby 3.4."""
    parts = []
    for key, msgs in fields.items():
        lst = "[" + ", ".join(ruby_string(m) for m in msgs) + "]"
        parts.append("%s: %s" % (key, lst) if version >= (18, 0) else ":%s=>%s" % (key, lst))
    return "{" + ", ".join(parts) + "}"
