"""The body of an answer as it comes, held to a bound before and after it is unpacked.

Identity is asked for. A server may still compress; one layer of gzip or deflate is unpacked bit by bit, so
that no more than the bound is ever in memory. Whatever else was done to a body is refused unread.
"""

from __future__ import annotations

import zlib

_GZIP = zlib.MAX_WBITS | 16
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""The codings that are unpacked (RFC 9110, 8.4.1)."""


class Refused(Exception):
    """A body that is not taken; the text says what it is."""


class Body:
    """Takes a body chunk by chunk."""

    def __init__(self, encoding: str, largest: int) -> None:
        """Expect what the header `Content-Encoding` says; no more than `largest` bytes, packed or not.

        Raises:
            Refused: it is compressed more than once, or in a way that is not known here.
        """
        codings = [coding for part in encoding.lower().split(",") if (coding := part.strip())]
        is_plain = codings in ([], ["identity"])
        if not is_plain and (len(codings) > 1 or codings[0] not in _CODINGS):
            raise Refused("compressed in a way that was not asked for")
        self._coding = None if is_plain else codings[0]
        self._unpacker: zlib._Decompress | None = None
        self._largest = largest
        self._came = 0
        self._unpacked = bytearray()

    def take(self, chunk: bytes) -> None:
        """Take the next chunk as it came over the wire.

        Raises:
            Refused: the body is too large, or can't be unpacked.
        """
        self._came += len(chunk)
        if self._came > self._largest:
            raise Refused(self._too_large)
        self._unpacked += chunk if self._coding is None or not chunk else self._unpack(self._coding, chunk)
        if len(self._unpacked) > self._largest:
            raise Refused(self._too_large)

    def whole(self) -> bytes:
        """The body, once all of it has come.

        Raises:
            Refused: it was cut off while it was packed.
        """
        if self._unpacker is not None and not self._unpacker.eof:
            raise Refused("compressed, and cut off")
        return bytes(self._unpacked)

    def _unpack(self, coding: str, chunk: bytes) -> bytes:
        if self._unpacker is None:
            self._unpacker = zlib.decompressobj(_window(coding, chunk[0]))
        try:
            # One byte beyond the bound tells that there is more; the rest stays packed.
            unpacked = self._unpacker.decompress(chunk, self._largest + 1 - len(self._unpacked))
        except zlib.error:
            raise Refused("compressed, and broken") from None
        if self._unpacker.unused_data:
            raise Refused("compressed, with more behind its end")
        return unpacked

    @property
    def _too_large(self) -> str:
        return f"larger than {self._largest // 1024**2} MiB"


def _window(coding: str, first_byte: int) -> int:
    """How zlib is told of the format. Some servers send deflate without the zlib format around it, whose
    first byte names the method, 8 (RFC 1950, 2.2).
    """
    if coding != "deflate":
        return _GZIP
    return zlib.MAX_WBITS if first_byte & 0x0F == 8 else -zlib.MAX_WBITS
