"""Small carriers that both the HTTP side and the resource families use."""


class File:
    """A part of a multipart body that carries a file name."""

    def __init__(self, filename, content_type, data):
        self.filename, self.content_type, self.data = filename, content_type, data


class Binary:
    """An answer that is not JSON."""

    def __init__(self, data, content_type, headers=None):
        self.data, self.content_type, self.headers = data, content_type, headers or {}
