"""No secret passes the redaction, and what is harmless stays readable."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from app.telemetry.redaction import MASK, hide, redacted, redacted_values

TOKEN = "rg_" + "A1b2C3d4" * 6 + "x"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET https://smspva.com/api/rent.php?method=orders&apikey=abc123def HTTP/1.1", "abc123def"),
        ("url?method=x&apikey=abc123def&id=5", "abc123def"),
        ("Authorization: Bearer some.opaque-token", "some.opaque-token"),
        (f"token was {TOKEN}", TOKEN),
        (f"GET /rentals/{TOKEN.replace('rg_', 'rgp_')}", TOKEN.removeprefix("rg_")),
        ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("postgresql+psycopg://rentgate:hunter2@db/rentgate", "hunter2"),
        ('{"api_key": "abc123def"}', "abc123def"),
        ("{'password': 'hunter2'}", "hunter2"),
    ],
)
def test_secrets_go(text: str, secret: str) -> None:
    cleaned = redacted(text)
    assert secret not in cleaned
    assert MASK in cleaned


def test_what_was_hidden_goes() -> None:
    hide("correct horse battery", "short")
    assert redacted("a correct horse battery, in short") == f"a {MASK}, in short"


@pytest.mark.parametrize("text", ["api_key:01a2089c-ee3e-740e", "token bucket", "no secrets here", ""])
def test_what_is_harmless_stays(text: str) -> None:
    assert redacted(text) == text


def test_it_reaches_everything_in_an_entry() -> None:
    entry = {"a": [{"b": (f"Bearer {TOKEN}",)}], "n": 5, TOKEN: None}
    assert TOKEN not in json.dumps(redacted_values(entry))


def test_log_lines_are_json_without_secrets_even_in_tracebacks_and_from_libraries() -> None:
    program = f"""
import logging, structlog
from app.telemetry import configure_logging
configure_logging("DEBUG")
structlog.get_logger("ours").info("event", url="http://x/?apikey=abc123def")
logging.getLogger("theirs").warning("calling %s", "http://x/?apikey=abc123def")
try:
    raise RuntimeError("failed at http://x/?apikey=abc123def with {TOKEN}")
except RuntimeError:
    structlog.get_logger("ours").exception("crashed")
    logging.getLogger("theirs").exception("crashed")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == [
        "event",
        f"calling http://x/?apikey={MASK}",
        "crashed",
        "crashed",
    ]
    assert "RuntimeError" in lines[2]["exception"]
    for secret in ("abc123def", TOKEN):
        assert secret not in done.stdout + done.stderr


def test_the_http_library_never_logs() -> None:
    import app.upstream.transport  # noqa: F401, PLC0415 - importing it is what silences the library

    assert not logging.getLogger("httpx").isEnabledFor(logging.CRITICAL)
    assert not logging.getLogger("httpcore.http11").isEnabledFor(logging.CRITICAL)
