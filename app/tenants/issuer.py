"""Bearer tokens of the platform's own issuer: JSON Web Tokens, so that services need no API key.

The algorithm comes from the issuer's published key, never from the token, and only asymmetric ones will do.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import jwt
import structlog

from app.errors import NotReady, Unauthenticated
from app.tenants.scopes import Scope

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
REQUIRED = ["exp", "iss", "aud", "sub"]
LEEWAY_SECONDS = 5
"""How far the issuer's clock and ours may be apart."""

FRESH_SECONDS = 300.0
"""How long published keys are used before they are fetched again, behind the requests; after twice this time,
when nobody has called for long, the next token waits for it.
"""

AWAY_SECONDS = 10.0
"""How long an issuer that did not answer is left alone, while its keys from before will do."""

REFETCH_SECONDS = 2.0
"""The least time between two fetches, whatever tokens come."""

FETCH_TIMEOUT = 3.0
LONGEST_TOKEN = 8 * 1024
LONGEST_SUBJECT = 200

_REFUSALS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidIssuerError: "The token is another issuer's.",
    jwt.InvalidAudienceError: "The token is for another audience.",
}

NOT_FETCHED = "The keys of the platform's issuer of tokens could not be fetched."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """What a token says: which service it is, in which tenant, what it may do, and until when."""

    subject: str
    tenant_id: UUID
    scopes: tuple[Scope, ...]
    expires_at: datetime


def may_be_jwt(token: str) -> bool:
    """Whether a token has the form of a JSON Web Token: three parts in base64."""
    return token.isascii() and token.count(".") == 2 and len(token) <= LONGEST_TOKEN


class Issuer:
    """Verifies tokens by the keys that the issuer publishes. Made once a process; `aclose()` when it ends."""

    def __init__(
        self,
        jwks_url: str,
        *,
        issuer: str,
        audience: str,
        tenant_claim: str,
        scope_claim: str,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        """Take where the keys are published, and what tokens have to say and in which claims."""
        self._url = jwks_url
        self._issuer = issuer
        self._audience = audience
        self._tenant_claim = tenant_claim
        self._scope_claim = scope_claim
        self._fresh_seconds = fresh_seconds
        self._client = httpx.AsyncClient(timeout=FETCH_TIMEOUT, trust_env=False, follow_redirects=False)
        self._keys: dict[str, jwt.PyJWK] | None = None
        self._fetch: asyncio.Task[None] | None = None
        self._stale_at = self._next_fetch = 0.0

    async def read(self, token: str) -> ServiceToken:
        """What a token says, after everything about it was verified but whether its tenant exists.

        Raises:
            Unauthenticated: the token is not one of the issuer's that is valid now.
            NotReady: the issuer's keys could not be fetched so far.
        """
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": REQUIRED, "enforce_minimum_key_length": True},
            )
            expires_at = datetime.fromtimestamp(int(claims["exp"]) + LEEWAY_SECONDS, UTC)
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"The token lacks the claim {error.claim}.") from None
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, OSError) as error:
            detail = _REFUSALS.get(type(error), "The token is not a valid one of the platform's issuer.")
            raise Unauthenticated(detail) from None
        return ServiceToken(
            _subject(claims["sub"]), self._tenant_id(claims), self._scopes(claims), expires_at
        )

    async def check(self) -> int:
        """Fetch the keys now, and tell how many of those published may sign tokens.

        Raises:
            NotReady: they could not be fetched.
        """
        await self._replace_keys()
        if self._keys is None:
            raise NotReady(NOT_FETCHED)
        return len(self._keys)

    def _tenant_id(self, claims: dict[str, Any]) -> UUID:
        try:
            return UUID(claims[self._tenant_claim])
        except (KeyError, ValueError, TypeError, AttributeError):
            raise Unauthenticated(f"The token names no tenant in its claim {self._tenant_claim}.") from None

    def _scopes(self, claims: dict[str, Any]) -> tuple[Scope, ...]:
        """The tenant's scopes among those that the token names; what else it names is for others."""
        named = claims.get(self._scope_claim)
        words = named.split() if isinstance(named, str) else named if isinstance(named, list) else []
        return tuple(scope for scope in Scope if scope.value in words)

    async def _key(self, key_id: object) -> jwt.PyJWK:
        if not isinstance(key_id, str):
            raise Unauthenticated("The token does not name the key that it is signed with (kid).")
        stale_for = time.monotonic() - self._stale_at
        if self._keys is None or key_id not in self._keys or stale_for >= self._fresh_seconds:
            if fetch := self._fetching():
                await asyncio.shield(fetch)  # others wait for it too
        elif stale_for >= 0:
            self._fetching()
        if self._keys is None:
            raise NotReady(NOT_FETCHED, retry_after=REFETCH_SECONDS)
        if key_id not in self._keys:
            raise Unauthenticated(
                "The token is signed with a key that the platform's issuer doesn't publish."
            )
        return self._keys[key_id]

    def _fetching(self) -> asyncio.Task[None] | None:
        """The fetch that is under way, begun now if none was begun lately."""
        if (self._fetch is None or self._fetch.done()) and time.monotonic() >= self._next_fetch:
            self._next_fetch = time.monotonic() + REFETCH_SECONDS
            self._fetch = asyncio.create_task(self._replace_keys())
        return self._fetch

    async def _replace_keys(self) -> None:
        """Take the keys that are published now; while there is no answer, those from before stay."""
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                response = await self._client.get(self._url)
            response.raise_for_status()
            self._keys = _signing_keys(response.json()["keys"])
        except (httpx.HTTPError, OSError, ValueError, LookupError, TypeError) as error:
            log.warning("issuer.keys_not_fetched", error=type(error).__name__)
            self._stale_at = time.monotonic() + AWAY_SECONDS
        else:
            self._stale_at = time.monotonic() + self._fresh_seconds

    async def aclose(self) -> None:
        """Close what is open."""
        if self._fetch is not None:
            self._fetch.cancel()
        await self._client.aclose()


def _signing_keys(published: list[dict[str, Any]]) -> dict[str, jwt.PyJWK]:
    """The published keys that may sign tokens, by their ids; others are none of ours."""
    found: dict[str, jwt.PyJWK] = {}
    for described in published:
        try:
            key = jwt.PyJWK.from_dict(described)
        except (jwt.PyJWTError, AttributeError, LookupError, TypeError, ValueError):
            continue
        if key.key_id and key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig"):
            found[key.key_id] = key
    return found


def _subject(text: str) -> str:
    """A subject as the audit trail names it; refused rather than cleaned, so that no two become one."""
    if not 1 <= len(text) <= LONGEST_SUBJECT or not text.isprintable():
        raise Unauthenticated(f"The token's sub has to be 1 to {LONGEST_SUBJECT} printable characters.")
    return text
