"""Bodies, packed and plain, held to their bound."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.compression import Body, Refused

LARGEST = 4 * 1024**2


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip ": gzip.compress,
    "deflate": zlib.compress,
}


def taken(encoding: str, packed: bytes, step: int, largest: int = LARGEST) -> bytes:
    body = Body(encoding, largest)
    for start in range(0, len(packed), step):
        body.take(packed[start : start + step])
    body.take(b"")
    return body.whole()


@given(st.binary(), st.sampled_from([*PACKED.items(), ("deflate", raw_deflate)]), st.integers(1, 50))
def test_one_layer_is_unpacked_however_it_is_cut(
    body: bytes, packer: tuple[str, Callable[[bytes], bytes]], step: int
) -> None:
    encoding, pack = packer
    assert taken(encoding, pack(body), step) == body


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_what_is_not_packed_stays_as_it_is(encoding: str) -> None:
    assert taken(encoding, b"plain", 2) == b"plain"


@pytest.mark.parametrize(
    "encoding", ["gzip, gzip", "gzip,deflate", "identity, gzip", "br", "zstd", "compress", "x", "gzip;q=1"]
)
def test_what_was_not_asked_for_is_refused_before_a_byte_is_read(encoding: str) -> None:
    with pytest.raises(Refused, match="compressed in a way that was not asked for"):
        Body(encoding, LARGEST)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", ""])
def test_the_bound_is_exact(encoding: str) -> None:
    pack = PACKED.get(encoding, bytes)
    assert taken(encoding, pack(bytes(1000)), 7, 1000) == bytes(1000)
    with pytest.raises(Refused, match="larger than"):
        taken(encoding, pack(bytes(1001)), 7, 1000)


def test_what_is_packed_is_bounded_too() -> None:
    with pytest.raises(Refused, match="larger than"):
        taken("gzip", gzip.compress(bytes(10)), 1000, 20)


@pytest.mark.parametrize(
    "packed",
    [b"plain", gzip.compress(b"x")[:-4], gzip.compress(b"x")[:5], gzip.compress(b"x") * 2, b"\x1f\x8b"],
    ids=["plain", "cut", "cut early", "twice", "head"],
)
def test_what_is_broken_or_has_more_behind_it_is_refused(packed: bytes) -> None:
    for step in (1, 1000):
        with pytest.raises(Refused):
            taken("gzip", packed, step)


@given(st.binary(min_size=1))
def test_whatever_comes_is_refused_or_within_the_bound(packed: bytes) -> None:
    for encoding in ("gzip", "deflate"):
        with contextlib.suppress(Refused):
            assert len(taken(encoding, packed, 3, 100)) <= 100
