"""What the commands print."""

from __future__ import annotations

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def complain(what: str, remedy: str = "") -> None:
    """Say what went wrong, and what can be done about it."""
    errors.print(f"[bold red]rentgate:[/] {what}", markup=True)
    if remedy:
        errors.print(f"  {remedy}", markup=False)
