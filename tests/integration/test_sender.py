"""What an endpoint answers, however oddly, is an answer: its status counts."""

from __future__ import annotations

import asyncio
import base64

import pytest

from app.webhooks.sender import Answer, Sender
from tests.receiver import Reply, receiving

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def answered(reply: Reply) -> Answer:
    """What comes of an attempt that is replied to so."""

    async def attempt(url: str) -> Answer:
        sender = Sender(allow_private=True)
        try:
            return await sender.send(url, "event-1", "{}", [SECRET])
        finally:
            await sender.aclose()

    with receiving() as receiver:
        receiver.reply = lambda _: reply
        return asyncio.run(attempt(receiver.url))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {"Content-Encoding": "gzip"}, b"this was never compressed"),
        Reply(200, {"Retry-After": "Mon, 01 Jan 99999999999999 00:00:00 GMT"}),
        Reply(202, {"Content-Type": "nonsense"}, b"\xff\x00"),
    ],
)
def test_what_is_taken_is_taken_whatever_else_is_said(reply: Reply) -> None:
    answer = answered(reply)
    assert answer.taken
    assert answer.retry_after is None


def test_when_to_come_again_that_can_not_be_read_is_not_said() -> None:
    answer = answered(Reply(503, {"Retry-After": "Mon, 01 Jan 99999999999999 00:00:00 GMT"}))
    assert (answer.status, answer.retry_after, answer.error) == (503, None, None)
