"""What the commands print."""

from __future__ import annotations

import sys

from rich.console import Console

WIDE = 200
"""Columns where nobody looks: tables in a pipe should hold whole ids."""

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def complain(what: str, remedy: str = "") -> None:
    """Say what went wrong, and what can be done about it."""
    errors.print(f"[bold red]rentgate:[/] {what}", markup=True)
    if remedy:
        errors.print(f"  {remedy}", markup=False)
