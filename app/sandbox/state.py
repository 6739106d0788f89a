"""One sandbox: its world, the faults in waiting, and the calls it got."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from app.sandbox.faults import Fault, Faults
from app.sandbox.options import SandboxOptions
from app.sandbox.world import World

CALLS_KEPT = 10_000


class Sandbox:
    """Everything that a sandbox holds; `reset` makes it anew."""

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self.late: set[asyncio.Task[Any]] = set()
        self.reset()

    def reset(self) -> None:
        """Begin again as set up."""
        self.world = World(self._options)
        self.faults = Faults()
        self.shape = self._options.shape
        self.chance = random.Random(self._options.seed)
        self.calls: list[dict[str, Any]] = []

    def note_call(self, method: str, parameters: dict[str, str], fault: Fault | None) -> None:
        """Keep a call, its key shortened to the last four characters."""
        shown = {name: value for name, value in parameters.items() if name != "apikey"}
        self.calls.append(
            {
                "at": time.time(),
                "method": method,
                "account": parameters.get("apikey", "")[-4:] or None,
                "parameters": shown,
                "fault": None if fault is None else fault.kind.value,
            }
        )
        del self.calls[:-CALLS_KEPT]
