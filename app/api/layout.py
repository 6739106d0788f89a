"""Lays a JSON document out for readers and diffs: one line a member, a reference, or a short list."""

from __future__ import annotations

import json
from typing import Any

LINE_LENGTH = 110
_INDENT = "  "


def laid_out(node: Any) -> str:
    """A JSON value as text; it ends with a line break."""
    return _laid_out(node, "", 0) + "\n"


def _laid_out(node: Any, margin: str, column: int) -> str:
    """A value that starts at a column of a line with this margin."""
    line = json.dumps(node, ensure_ascii=False)
    if not node or not isinstance(node, (dict, list)) or _fits(node, column + len(line)):
        return line
    inner = margin + _INDENT
    if isinstance(node, dict):
        keys = [f"{inner}{json.dumps(key, ensure_ascii=False)}: " for key in node]
        items = [
            key + _laid_out(value, inner, len(key)) for key, value in zip(keys, node.values(), strict=True)
        ]
        opening, closing = "{", "}"
    else:
        items = [inner + _laid_out(item, inner, len(inner)) for item in node]
        opening, closing = "[", "]"
    return f"{opening}\n" + ",\n".join(items) + f"\n{margin}{closing}"


def _fits(node: dict[str, Any] | list[Any], end: int) -> bool:
    """Whether it stands on one line: a reference, or a list of plain values that is short enough."""
    if isinstance(node, dict):
        return node.keys() == {"$ref"}
    return end < LINE_LENGTH and not any(isinstance(item, (dict, list)) for item in node)
