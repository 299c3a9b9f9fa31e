"""Reads a zip archive from stdin and tells in JSON what is in it, as Python's own zipfile finds it:
a list of {name, mode, modified (seconds since 1970), bytes (base64; null where the sum is wrong)}."""

import base64
import io
import json
import stat
import struct
import sys
import zipfile


def modified(entry):
    """The extended timestamp (0x5455): flags, then seconds since 1970."""
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == 0x5455:
            return struct.unpack("<I", extra[5:9])[0]
        extra = extra[4 + size :]
    return None


def content(archive, entry):
    try:
        return base64.b64encode(archive.read(entry)).decode()
    except zipfile.BadZipFile:
        return None


def told(archive):
    return [
        {
            "name": entry.filename,
            "mode": stat.filemode(entry.external_attr >> 16),
            "modified": modified(entry),
            "bytes": content(archive, entry),
        }
        for entry in archive.infolist()
    ]


with zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())) as archive:
    json.dump(told(archive), sys.stdout)
