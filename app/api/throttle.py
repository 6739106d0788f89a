"""Slows down who sends wrong tokens, and who goes beyond the limit of its key or of its tenant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from limits import RateLimitItemPerMinute

from app.api.windows import Window, Windows
from app.errors import RateLimited

WRONG_TOKENS_PER_MINUTE = 20
WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Quota:
    """How many requests of a minute a policy (`key` or `tenant`) allows, and what is left of them."""

    policy: str
    limit: int
    window: Window

    def check(self) -> None:
        """See that the request was not one too many.

        Raises:
            RateLimited: it was.
        """
        if not self.window.had_room:
            _refuse(f"This {self.policy} has used up its requests of the minute.", self.window)


def quota_headers(quotas: Sequence[Quota]) -> list[tuple[bytes, bytes]]:
    """Quotas as answers tell them, by the IETF's draft on RateLimit header fields; none without a quota."""
    if not quotas:
        return []
    left = (f'"{q.policy}";r={q.window.remaining};t={math.ceil(q.window.seconds)}' for q in quotas)
    policies = (f'"{q.policy}";q={q.limit};w={WINDOW_SECONDS}' for q in quotas)
    return [(b"ratelimit", ", ".join(left).encode()), (b"ratelimit-policy", ", ".join(policies).encode())]


class Throttle:
    """Limits for a minute: by key, by tenant, and by address."""

    def __init__(self, windows: Windows, *, key: int | None, tenant: int | None) -> None:
        """Let each key and each tenant make so many requests a minute; None for any number."""
        self._windows = windows
        self._key = RateLimitItemPerMinute(key) if key else None
        self._tenant = RateLimitItemPerMinute(tenant) if tenant else None
        self._wrong_tokens = RateLimitItemPerMinute(WRONG_TOKENS_PER_MINUTE)

    @property
    def limits_requests(self) -> bool:
        """Whether requests are counted at all."""
        return self._key is not None or self._tenant is not None

    async def count_request(self, caller: str, tenant_id: str | None) -> Sequence[Quota]:
        """Count a request, and tell what each limit has left; nothing where there is no limit.

        What a key makes beyond its own limit is not counted for its tenant, so that no key uses up what the
        others have.
        """
        quotas: list[Quota] = []
        if self._key is not None:
            window = await self._windows.hit(self._key, "key", tenant_id or "", caller)
            quotas.append(Quota("key", self._key.amount, window))
            if not window.had_room:
                return quotas
        if self._tenant is not None and tenant_id is not None:
            window = await self._windows.hit(self._tenant, "tenant", tenant_id)
            quotas.append(Quota("tenant", self._tenant.amount, window))
        return quotas

    async def count_wrong_token(self, address: str) -> None:
        """Count a wrong token from an address; right ones never count.

        Raises:
            RateLimited: it is one too many.
        """
        window = await self._windows.hit(self._wrong_tokens, "address", address)
        if not window.had_room:
            _refuse("Too many wrong tokens came from this address.", window)


def _refuse(detail: str, window: Window) -> None:
    raise RateLimited(detail, retry_after=max(1.0, window.seconds))
