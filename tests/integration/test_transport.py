"""The transport against rude servers: whether a call was sent is always known, and no key ever shows."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.upstream.errors import BUSY_SECONDS, CallFailed, Outcome
from app.upstream.transport import LARGEST_ANSWER, LONGEST_RETRY_AFTER, SHORTEST_RETRY_AFTER, Transport

KEY = "TopSecretKey12345"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def rude_server(serve: Serve) -> AsyncIterator[str]:
    """A server that does as `serve` says once it has a request."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/rent.php"
    finally:
        server.close()


def answering(head: str, body: bytes = b"", *, length: int | None = None) -> Serve:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = len(body) if length is None else length
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {size}\r\n\r\n".encode() + body)
        await writer.drain()

    return serve


async def dropping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless_chunks(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()


async def endless_headers(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: and more\r\n" * 100)
        await writer.drain()


async def endless_promises(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def call(serve: Serve, *, send_by: float | None = None) -> bytes:
    async with rude_server(serve) as url:
        transport = Transport(url, 0.5)
        try:
            return await transport.get("orders", {"apikey": KEY}, send_by=send_by)
        finally:
            await transport.aclose()


@pytest.mark.parametrize(
    ("serve", "code"),
    [
        (dropping, "upstream_unavailable"),
        (silent, "upstream_timeout"),
        (dripping, "upstream_timeout"),
        (answering("200 OK", b'{"status', length=50), "upstream_unavailable"),
        (answering("500 Internal Server Error"), "upstream_unavailable"),
        (answering("503 Service Unavailable", b"<html>"), "upstream_unavailable"),
        (answering("403 Forbidden", b"<html>"), "upstream_unavailable"),
        (answering("301 Moved\r\nLocation: /elsewhere"), "upstream_unavailable"),
        (answering("429 Too Many Requests"), "upstream_busy"),
        (answering("200 OK", b"x" * (LARGEST_ANSWER + 1)), "upstream_bad_response"),
        (answering("garbage"), "upstream_unavailable"),
        (endless_chunks, "upstream_bad_response"),
        (endless_headers, "upstream_unavailable"),
        (endless_promises, "upstream_timeout"),
        (answering("200 OK\r\nContent-Encoding: gzip", b"not packed"), "upstream_bad_response"),
        (answering("200 OK\r\nContent-Encoding: br", b"x"), "upstream_bad_response"),
    ],
)
def test_once_sent_the_outcome_is_unknown(serve: Serve, code: str) -> None:
    with pytest.raises(CallFailed) as failed:
        asyncio.run(call(serve))
    assert failed.value.outcome is Outcome.UNKNOWN
    assert failed.value.error.code == code


def test_a_good_answer_comes_whole() -> None:
    body = b'{"status": 1}' + b" " * (LARGEST_ANSWER - 13)
    assert asyncio.run(call(answering("200 OK", body))) == body


def test_nothing_is_sent_where_nobody_listens() -> None:
    async def scenario() -> CallFailed:
        async with rude_server(silent) as url:
            pass
        transport = Transport(url, 0.5)
        with pytest.raises(CallFailed) as failed:
            await transport.get("create", {"apikey": KEY})
        await transport.aclose()
        return failed.value

    failure = asyncio.run(scenario())
    assert failure.outcome is Outcome.NOT_SENT
    assert failure.error.code == "upstream_unavailable"


def test_past_its_deadline_a_call_is_not_sent() -> None:
    received: list[bool] = []

    async def noting(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        received.append(True)

    with pytest.raises(CallFailed) as failed:
        asyncio.run(call(noting, send_by=time.monotonic() - 0.001))
    assert failed.value.outcome is Outcome.NOT_SENT
    assert not received


def test_redirects_are_not_followed_and_nothing_is_sent_twice() -> None:
    requests: list[bytes] = []

    async def redirecting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(b"x")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /rent.php\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    with pytest.raises(CallFailed):
        asyncio.run(call(redirecting))
    assert len(requests) == 1


@pytest.mark.parametrize("serve", [dropping, silent, answering("500 Oops"), answering("garbage")])
def test_no_failure_holds_or_logs_the_key(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(CallFailed) as failed:
        asyncio.run(call(serve))
    error: BaseException | None = failed.value
    told = "".join(traceback.format_exception(failed.value)) + caplog.text
    while error is not None:
        told += repr(error) + repr(error.args) + repr(vars(error))
        assert error.__cause__ is None
        error = error.__context__
    assert KEY not in told
    assert "rent.php?" not in told


ANSWER = b'{"status": 1, "data": []}'


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("200 OK\r\nContent-Encoding: gzip", gzip.compress(ANSWER)),
        ("200 OK\r\nContent-Encoding: deflate", zlib.compress(ANSWER)),
        ("200 OK\r\nContent-Encoding: identity", ANSWER),
        ("200 OK\r\nContent-Encoding:", ANSWER),
        ("200 OK\r\nContent-Type: text/html; charset=cp1251", ANSWER),
    ],
    ids=["gzip", "deflate", "identity", "empty", "none"],
)
def test_one_layer_of_compression_is_unpacked(head: str, body: bytes) -> None:
    assert asyncio.run(call(answering(head, body))) == ANSWER


def zeros_packed(mebibytes: int) -> bytes:
    """So many zeros in gzip's format; only who unpacks them all finds that their checksum is missing."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packer.compress(bytes(16 * 1024**2)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + block * (mebibytes // 16)


@pytest.mark.parametrize(
    ("encodings", "bomb"),
    [
        (["gzip, gzip"], gzip.compress(zeros_packed(3 * 1024))),
        (["gzip", "gzip"], gzip.compress(zeros_packed(3 * 1024))),
        (["gzip"], zeros_packed(1024)),
        (["deflate"], zlib.compress(bytes(64 * 1024**2))),
    ],
)
def test_what_swells_is_refused_before_it_is_unpacked(encodings: list[str], bomb: bytes) -> None:
    head = "200 OK" + "".join(f"\r\nContent-Encoding: {encoding}" for encoding in encodings)
    assert len(bomb) < LARGEST_ANSWER
    tracemalloc.start()
    try:
        with pytest.raises(CallFailed) as failed:
            asyncio.run(call(answering(head, bomb)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert failed.value.error.code == "upstream_bad_response"
    assert peak < 10 * LARGEST_ANSWER


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (None, BUSY_SECONDS, BUSY_SECONDS),
        ("soon", BUSY_SECONDS, BUSY_SECONDS),
        ("-7", BUSY_SECONDS, BUSY_SECONDS),
        ("42", 42.0, 42.0),
        ("2", 2.0, 2.0),
        ("0", SHORTEST_RETRY_AFTER, SHORTEST_RETRY_AFTER),
        ("9" * 400, LONGEST_RETRY_AFTER, LONGEST_RETRY_AFTER),
        (timedelta(seconds=200), 100.0, 200.0),
        (timedelta(days=-1), 1.0, 1.0),
        (timedelta(days=1), 300.0, 300.0),
    ],
)
def test_a_429_says_when_to_come_again(header: str | timedelta | None, least: float, most: float) -> None:
    if isinstance(header, timedelta):
        header = format_datetime(datetime.now(UTC) + header, usegmt=True)
    head = "429 Too Many Requests" + ("" if header is None else f"\r\nRetry-After: {header}")
    with pytest.raises(CallFailed) as failed:
        asyncio.run(call(answering(head)))
    assert failed.value.outcome is Outcome.UNKNOWN
    assert failed.value.error.retry_after is not None
    assert least <= failed.value.error.retry_after <= most
