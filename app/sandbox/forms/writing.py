"""Answers as the upstream's PHP writes them."""

from __future__ import annotations

import json
from typing import Any


def written(value: Any, *, digits: int | None = None) -> str:
    """A value as JSON; floats with so many digits, as PHP wrote them before its version 7.1."""
    if digits is None:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    match value:
        case dict():
            members = (f"{json.dumps(key)}:{written(item, digits=digits)}" for key, item in value.items())
            return f"{{{','.join(members)}}}"
        case list():
            return f"[{','.join(written(item, digits=digits) for item in value)}]"
        case float():
            return f"{value:.{digits}g}"
        case _:
            return json.dumps(value, ensure_ascii=False)
