"""A bounded cache, for whatever is kept in memory: of more than so many entries, the oldest goes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(OrderedDict[K, V]):
    """Entries by key, in the order in which they were set last; who has read one may `move_to_end` it."""

    def __init__(self, capacity: int, *, evicted: Callable[[V], None] | None = None) -> None:
        """Keep at most so many entries; `evicted` is told of each that had to go."""
        super().__init__()
        self._capacity = capacity
        self._evicted = evicted

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self._capacity:
            _, value = self.popitem(last=False)
            if self._evicted is not None:
                self._evicted(value)

    @property
    def oldest(self) -> V:
        """The entry that was set, or moved to the end, longest ago; there must be one."""
        return next(iter(self.values()))
