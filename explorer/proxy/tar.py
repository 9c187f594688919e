"""Members of an uncompressed tar file: where each lies, by one quick pass over the headers that reads no content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tarfile import BLOCKSIZE, HeaderError, ReadError, TarInfo
from typing import NamedTuple

END = bytes(BLOCKSIZE)
LONGEST = 2**20  # bytes of a name or of a pax header


class Member(NamedTuple):
    """Where the content of a member lies."""

    offset: int
    size: int
    head: bytes  # its first block, where it has only one


def members(file: Path) -> Iterator[tuple[str, Member]]:
    """Name and place of each regular file, whole ones only. Five times as quick as `tarfile`, which 10^6 members need.

    Raises:
        ReadError: after the last whole one, where the file is torn or no tar file; says at which byte.
    """
    length, position, long_name, long_size = os.path.getsize(file), 0, "", -1
    with file.open("rb", buffering=8 * BLOCKSIZE) as stream:
        while True:
            stream.seek(position)
            block = stream.read(BLOCKSIZE)
            if block == END:
                return
            try:
                kind, name, size = _header(block)
            except (HeaderError, ValueError):
                told = f"torn at byte {position}" if position else "no tar file"
                raise ReadError(told) from None
            if long_size >= 0 and kind not in b"xgLK":
                size = long_size
            start = position + BLOCKSIZE
            if size < 0 or start + size > length:
                raise ReadError(f"torn at byte {position}")
            position = start + -(-size // BLOCKSIZE) * BLOCKSIZE
            if kind in b"xL":
                payload = stream.read(min(size, LONGEST))
                try:
                    records = _records(payload) if kind == b"x" else {"path": payload.rstrip(b"\0")}
                    long_name = records["path"].decode("utf-8", "backslashreplace") if "path" in records else long_name
                    long_size = int(records.get("size", long_size))
                except ValueError:
                    raise ReadError(f"torn at byte {start}") from None
            elif kind not in b"gK":
                if kind in b"0\0007":
                    yield long_name or name, Member(start, size, stream.read(size) if size <= BLOCKSIZE else b"")
                long_name, long_size = "", -1


def name_at(file: Path, offset: int) -> str:
    """The name of the member whose content lies there, as far as its own header has it."""
    with file.open("rb") as stream:
        stream.seek(offset - BLOCKSIZE)
        try:
            return _header(stream.read(BLOCKSIZE))[1]
        except (HeaderError, ValueError):
            return f"byte {offset}"


def _header(block: bytes) -> tuple[bytes, str, int]:
    """Kind, name and size of a member."""
    if block[257:262] != b"ustar" or block[124] & 0x80 or len(block) < BLOCKSIZE:  # an old tar, a huge member, or torn
        info = TarInfo.frombuf(block, "utf-8", "backslashreplace")
        return info.type, info.name, info.size
    name = block[:100].partition(b"\0")[0]
    if block[345] and block[263:265] == b"00":  # not in GNU's variant, which keeps times there
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    return block[156:157], name.decode("utf-8", "backslashreplace"), int(block[124:136].strip(b" \0") or b"0", 8)


def _records(payload: bytes) -> dict[str, bytes]:
    """The records of a pax header, each "LENGTH KEY=VALUE" and a new line."""
    found = {}
    while payload.rstrip(b"\0"):
        count, _, _ = payload.partition(b" ")
        length = int(count)
        if not len(count) + 1 < length <= len(payload):
            raise ValueError("a record of no such length")
        key, _, value = payload[len(count) + 1 : length - 1].partition(b"=")
        found[key.decode("utf-8", "backslashreplace")] = value
        payload = payload[length:]
    return found
