"""Small real PNG files, so that avatars need no picture in the repository."""
import struct
import zlib

from .colors import normalise


def make(color="#336699", size=16):
    """A square of one colour with a lighter diagonal."""
    c = normalise(color) or "#336699"
    dark = bytes(int(c[i:i + 2], 16) for i in (1, 3, 5))
    light = bytes(min(255, v + 80) for v in dark)
    raw = b"".join(b"\0" + b"".join(light if x == y else dark for x in range(size)) for y in range(size))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))
