"""Tokens of the platform's issuer: what is taken from them, what is refused, and when keys are fetched."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.errors import NotReady, Unauthenticated
from app.tenants.issuer import LEEWAY_SECONDS, REFETCH_SECONDS, Issuer, may_be_jwt
from app.tenants.scopes import Scope
from tests.issuer import AUDIENCE, ISSUER, TokenIssuer, served_issuer

T = TypeVar("T")
TENANT = str(uuid4())


@pytest.fixture
def platform() -> Iterator[TokenIssuer]:
    """The platform's issuer."""
    with served_issuer() as served:
        yield served


def with_issuer(platform: TokenIssuer, work: Callable[[Issuer], Awaitable[T]], **options: Any) -> T:
    """What comes of some work with the gateway's side of the issuer."""

    async def scenario() -> T:
        told = {"tenant_claim": "tenant_id", "scope_claim": "scope", **options}
        issuer = Issuer(platform.url, issuer=ISSUER, audience=AUDIENCE, **told)
        try:
            return await work(issuer)
        finally:
            await issuer.aclose()

    return asyncio.run(scenario())


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "EdDSA"])
def test_tokens_of_asymmetric_algorithms_are_read(platform: TokenIssuer, algorithm: str) -> None:
    platform.add_key("other", algorithm)
    ends = int(time.time()) + 60
    token = platform.token(TENANT, key_id="other", exp=ends)
    found = with_issuer(platform, lambda issuer: issuer.read(token))
    assert (found.subject, found.tenant_id) == ("orders", UUID(TENANT))
    assert set(found.scopes) == {Scope.RENTALS_READ, Scope.RENTALS_WRITE}
    assert found.expires_at == datetime.fromtimestamp(ends, UTC) + timedelta(seconds=LEEWAY_SECONDS)


@pytest.mark.parametrize(
    ("named", "scopes"),
    [
        ("rentals:read  audit:read\topenid", {Scope.RENTALS_READ, Scope.AUDIT_READ}),
        (["keys:manage", 7, {}, "vault:write", "tenants:manage", "admin"], {Scope.KEYS_MANAGE}),
        ("rentals:reader", set()),
        ({"rentals:read": True}, set()),
        (None, set()),
    ],
)
def test_only_scopes_of_a_tenant_are_taken(platform: TokenIssuer, named: Any, scopes: set[Scope]) -> None:
    token = platform.token(TENANT, scope=named)
    assert set(with_issuer(platform, lambda issuer: issuer.read(token)).scopes) == scopes


def test_the_claims_of_tenant_and_scopes_have_the_names_that_are_set(platform: TokenIssuer) -> None:
    claims: dict[str, Any] = {"https://p.example/org": TENANT, "scp": ["catalog:read"]}
    token = platform.token(None, scope=None, **claims)
    found = with_issuer(
        platform,
        lambda issuer: issuer.read(token),
        tenant_claim="https://p.example/org",
        scope_claim="scp",
    )
    assert (str(found.tenant_id), found.scopes) == (TENANT, (Scope.CATALOG_READ,))


@pytest.mark.parametrize("claims", [{"exp": -1}, {"iat": 3, "nbf": 3}])
def test_clocks_may_be_a_little_apart(platform: TokenIssuer, claims: dict[str, int]) -> None:
    now = int(time.time())
    moments: dict[str, Any] = {name: now + seconds for name, seconds in claims.items()}
    token = platform.token(TENANT, **moments)
    assert with_issuer(platform, lambda issuer: issuer.read(token)).subject == "orders"


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"exp": 1_700_000_000}, "expired"),
        ({"exp": "soon"}, "not a valid one"),
        ({"exp": 10**30}, "not a valid one"),
        ({"exp": float("inf")}, "not a valid one"),
        ({"nbf": 4_000_000_000}, "not valid yet"),
        ({"iat": 4_000_000_000}, "not valid yet"),
        ({"iss": "https://elsewhere.example"}, "another issuer"),
        ({"aud": "billing"}, "another audience"),
        ({"aud": ["billing", "mail"]}, "another audience"),
        *(({name: None}, f"lacks the claim {name}") for name in ("exp", "iss", "aud", "sub")),
        ({"tenant_id": None}, "names no tenant"),
        ({"tenant_id": "acme"}, "names no tenant"),
        ({"tenant_id": ["x"]}, "names no tenant"),
        ({"sub": ""}, "printable"),
        ({"sub": "x" * 201}, "printable"),
        ({"sub": "orders\n"}, "printable"),
        ({"sub": 7}, "not a valid one"),
    ],
)
def test_what_tokens_say_is_checked(platform: TokenIssuer, claims: dict[str, Any], told: str) -> None:
    token = platform.token(**{"tenant_id": TENANT, **claims})
    with pytest.raises(Unauthenticated, match=told):
        with_issuer(platform, lambda issuer: issuer.read(token))


def forged(platform: TokenIssuer) -> dict[str, str]:
    """Tokens that nobody but the issuer could have made, if they were good."""
    good = platform.token(TENANT)
    header, payload, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    public = jwt.PyJWK(platform.published[0]).key.public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    stranger = TokenIssuer()
    stranger.server.server_close()
    stranger.add_key("first")
    return {
        "unsigned": jwt.encode(claims, "", "none", headers={"kid": "first"}),
        "signed with the public key": _signed_by_hand(good, public),
        "signed by another": stranger.token(TENANT),
        "without a key's id": jwt.encode(claims, "x" * 32, "HS256"),
        "with a changed payload": f"{header}.{payload[:-2]}AA.{signature}",
        "without a signature": f"{header}.{payload}.",
        "with a key of its own": jwt.encode(
            claims, "x" * 32, "HS256", headers={"kid": "first", "jwk": {"kty": "oct", "k": "eHh4"}}
        ),
        "of another algorithm": _with_header(good, {"alg": "ES384", "kid": "first", "typ": "JWT"}),
        "with a key's id of another type": _with_header(good, {"alg": "ES256", "kid": 1}),
        "no JSON": "aaaa.bbbb.cccc",
        "empty": "..",
    }


def _signed_by_hand(token: str, key: bytes) -> str:
    """The token under HS256, as a careless verifier would take it for signed by the issuer."""
    unsigned = _with_header(token, {"alg": "HS256", "kid": "first"}).rpartition(".")[0]
    signature = base64.urlsafe_b64encode(hmac.digest(key, unsigned.encode(), "sha256")).rstrip(b"=")
    return f"{unsigned}.{signature.decode()}"


def _with_header(token: str, header: dict[str, Any]) -> str:
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return ".".join([encoded, *token.split(".")[1:]])


def test_forged_tokens_are_refused(platform: TokenIssuer) -> None:
    async def work(issuer: Issuer) -> None:
        assert (await issuer.read(platform.token(TENANT))).subject == "orders"
        for name, token in forged(platform).items():
            assert may_be_jwt(token)
            with pytest.raises(Unauthenticated) as refused:
                await issuer.read(token)
            assert token not in refused.value.detail, name

    with_issuer(platform, work)


@pytest.mark.parametrize(
    "described",
    [
        {"use": "enc"},
        {"alg": "HS256", "kty": "oct", "k": "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg"},
        {"x": 7},
        {"crv": "P-0"},
    ],
)
def test_published_keys_that_can_sign_nothing_for_us_are_none(
    platform: TokenIssuer, described: dict[str, Any]
) -> None:
    platform.add_key("odd", **described)
    platform.published.append("no key at all")  # type: ignore[arg-type]

    async def work(issuer: Issuer) -> None:
        assert (await issuer.read(platform.token(TENANT))).subject == "orders"
        with pytest.raises(Unauthenticated, match="doesn't publish"):
            await issuer.read(platform.token(TENANT, key_id="odd"))

    platform.published.reverse()
    with_issuer(platform, work)


def test_keys_are_fetched_once_for_many_and_seldom_for_unknown_ones(platform: TokenIssuer) -> None:
    async def work(issuer: Issuer) -> None:
        token = platform.token(TENANT)
        await asyncio.gather(*(issuer.read(token) for _ in range(20)))
        assert platform.fetches == 1
        platform.add_key("second")
        platform.withdraw("first")
        rotated, began = platform.token(TENANT, key_id="second"), time.monotonic()
        while True:
            try:
                await issuer.read(rotated)
                break
            except Unauthenticated:
                assert time.monotonic() - began < REFETCH_SECONDS * 4
                await asyncio.sleep(0.01)
        for _ in range(100):
            with pytest.raises(Unauthenticated, match="doesn't publish"):
                await issuer.read(token)
        assert platform.fetches <= 2 + (time.monotonic() - began) / REFETCH_SECONDS

    with_issuer(platform, work)


def test_a_key_that_was_withdrawn_is_not_taken_after_a_quiet_time(platform: TokenIssuer) -> None:
    async def work(issuer: Issuer) -> None:
        token = platform.token(TENANT)
        await issuer.read(token)
        platform.withdraw("first")
        await asyncio.sleep(REFETCH_SECONDS)
        with pytest.raises(Unauthenticated, match="doesn't publish"):
            await issuer.read(token)

    with_issuer(platform, work, fresh_seconds=0.1)


def test_while_the_issuer_is_away_its_keys_stay_and_it_is_left_alone(platform: TokenIssuer) -> None:
    async def work(issuer: Issuer) -> None:
        token = platform.token(TENANT)
        await issuer.read(token)
        platform.broken = True
        await asyncio.sleep(REFETCH_SECONDS)
        for _ in range(20):
            assert (await issuer.read(token)).subject == "orders"
        assert platform.fetches == 2

    with_issuer(platform, work, fresh_seconds=0.1)


def test_an_issuer_that_never_answered_is_told_apart_from_a_wrong_token(platform: TokenIssuer) -> None:
    platform.broken = True

    async def work(issuer: Issuer) -> None:
        for _ in range(3):
            with pytest.raises(NotReady) as told:
                await issuer.read(platform.token(TENANT))
            assert told.value.retry_after == REFETCH_SECONDS
        assert platform.fetches == 1
        with pytest.raises(NotReady):
            await issuer.check()
        platform.broken = False
        assert await issuer.check() == 1

    with_issuer(platform, work)
