"""How many numbers of each service are left in each country, by operator."""

from __future__ import annotations

from collections.abc import Sequence

from app.sandbox.refusals import Refusal
from app.sandbox.shop import COUNTRIES

Goods = tuple[str, str]
"""A country and a service."""


class Stock:
    """The numbers that are left.

    `stock[country, service]` is a total, which can be set; the country's operators share it.
    """

    def __init__(self, plenty: int) -> None:
        self._plenty = plenty
        self._left: dict[Goods, dict[str, int]] = {}

    def __getitem__(self, goods: Goods) -> int:
        return sum(self.by_operator(*goods).values())

    def __setitem__(self, goods: Goods, total: int) -> None:
        operators = COUNTRIES[goods[0]].operators
        share, rest = divmod(total, len(operators))
        self._left[goods] = {name: share + (n < rest) for n, name in enumerate(operators)}

    def by_operator(self, country: str, service: str) -> dict[str, int]:
        """The numbers of each operator of the country."""
        if (country, service) not in self._left:
            self[country, service] = self._plenty
        return dict(self._left[country, service])

    def for_all(self, country: str, services: Sequence[str]) -> dict[str, int]:
        """How many numbers of each operator can take all of these services."""
        each = [self.by_operator(country, service) for service in services]
        return {name: min(left[name] for left in each) for name in COUNTRIES[country].operators}

    def operator_for(self, country: str, services: Sequence[str], wanted: str | None) -> str:
        """The operator whose number takes all of these services: the wanted one, else that with the most.

        Raises:
            Refusal: there is none.
        """
        left = self.for_all(country, services)
        chosen = max(left, key=lambda name: left[name]) if wanted is None else wanted
        if left.get(chosen, 0) < 1:
            raise Refusal("No numbers available")
        return chosen

    def take(self, country: str, services: Sequence[str], operator: str) -> None:
        """One number less of an operator for each of these services."""
        for service in services:
            self._left[country, service][operator] -= 1
