"""One sandbox: its world, the faults in waiting, and the calls it got."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.sandbox.faults import Fault, Faults
from app.sandbox.forms.seen import Seen
from app.sandbox.options import Habits, HistoryForm, SandboxOptions, Shape
from app.sandbox.world import World

CALLS_KEPT = 10_000


class Sandbox:
    """Everything that a sandbox holds; `reset` makes it anew.

    `shape`, `variations` and `habits` may be set at any time.
    """

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self.late: set[asyncio.Task[Any]] = set()
        self.reset()

    def reset(self) -> None:
        """Begin again as set up."""
        self.world = World(self._options)
        self.faults = Faults()
        self.shape = self._options.shape
        self.variations = self._options.variations
        self.habits = self._options.habits
        self.chance = random.Random(self._options.seed)
        self.calls: list[dict[str, Any]] = []
        self._histories: dict[str, HistoryForm] = {}

    def seen(self) -> Seen | None:
        """What varies the answers; None in the forms that are promised."""
        return Seen(self.chance, self.variations) if self.shape is Shape.SEEN else None

    def habits_towards(self, api_key: str, seen: Seen | None) -> Habits:
        """What this call meets where nothing is promised."""
        if seen is None:
            return self.habits
        if self.habits.history is not HistoryForm.NEWEST_FIRST:
            return seen.habits(self.habits)
        if api_key not in self._histories:
            self._histories[api_key] = seen.history()
        return seen.habits(replace(self.habits, history=self._histories[api_key]))

    def note_call(
        self, method: str, api_key: str, parameters: Mapping[str, str], fault: Fault | None
    ) -> None:
        """Keep a call, its key shortened to the last four characters."""
        shown = {name: value for name, value in parameters.items() if name != "apikey"}
        self.calls.append(
            {
                "at": time.time(),
                "method": method,
                "account": api_key[-4:] or None,
                "parameters": shown,
                "fault": None if fault is None else fault.kind.value,
            }
        )
        del self.calls[:-CALLS_KEPT]
