"""Referenced keys within the gateway: asked once however many want them, and left alone by rotations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import background
from app.database import PLATFORM, new_id
from app.errors import VaultUnavailable
from app.tenants import service as tenants
from app.upstream.errors import CallFailed, Outcome
from app.vault.resolver import Resolver
from app.vault.sources import sources
from tests.integration.conftest import OpenHouse
from tests.integration.house import House, add_account
from tests.keyservices import TOKEN, KvStore, served_kv

REFERENCE = "vault:kv/data/acme/key#api_key"


@pytest.fixture
def kv() -> Iterator[KvStore]:
    with served_kv() as store:
        store.put("kv/data/acme/key", api_key="the-secret")
        yield store


async def add_referenced(house: House) -> UUID:
    """A second key of the tenant, which is a reference."""
    async with house.database.transaction(PLATFORM) as connection:
        changes = {"reference_prefixes": ["vault:kv/data/acme/"]}
        await tenants.change_tenant(connection, house.caller, house.tenant_id, changes)
    return await add_account(house.services, house.tenant_id, reference=REFERENCE)


async def opened(house: House, key_id: UUID) -> str:
    async with house.database.transaction(house.tenant) as connection:
        return (await house.services.vault.open_secret(connection, house.tenant_id, key_id)).secret


def test_many_that_want_a_secret_ask_once(kv: KvStore) -> None:
    async def nobody(_connection: AsyncConnection, _tenant_id: UUID) -> tuple[str, ...]:
        return ()

    async def scenario() -> None:
        found = sources(["vault"], hcvault_addr=kv.address, hcvault_token=TOKEN)
        resolver, key_id = Resolver(found, nobody), new_id()
        secrets = await asyncio.gather(*(resolver.fresh(key_id, REFERENCE) for _ in range(30)))
        assert set(secrets) == {"the-secret"}
        assert len(kv.asked) == 1
        assert resolver.kept(key_id, REFERENCE) == "the-secret"
        assert resolver.kept(key_id, f"{REFERENCE}2") is None
        kv.put("kv/data/acme/key", api_key="a newline and spaces are no key")
        with pytest.raises(VaultUnavailable):
            await resolver.fresh(key_id, REFERENCE)
        resolver.forget(key_id)
        assert resolver.kept(key_id, REFERENCE, grace=True) is None

    asyncio.run(scenario())


def test_a_referenced_key_opens_only_when_it_was_made_ready(open_house: OpenHouse, kv: KvStore) -> None:
    settings = {"reference_kinds": "vault", "hcvault_addr": kv.address, "hcvault_token": TOKEN}

    async def scenario() -> None:
        async with open_house(**settings) as house:
            vault = house.services.vault
            key_id = await add_referenced(house)
            with pytest.raises(VaultUnavailable):
                await opened(house, key_id)
            assert await vault.make_key_ready(house.tenant_id, key_id) is None
            assert await opened(house, key_id) == "the-secret"
            # Another process has taken what is at the source now: what is in memory here is not used.
            kv.put("kv/data/acme/key", api_key="the-newer-secret")
            async with house.database.transaction(house.tenant) as connection:
                await vault.replace_secret(
                    connection,
                    house.tenant_id,
                    key_id,
                    "the-newer-secret",
                    reference=REFERENCE,
                    rotated=True,
                )
            with pytest.raises(VaultUnavailable):
                await opened(house, key_id)
            assert await vault.make_key_ready(house.tenant_id, key_id) is None
            assert await opened(house, key_id) == "the-newer-secret"
            # What was found at a reference that the key does not have any more is not stored.
            async with house.database.transaction(house.tenant) as connection:
                await vault.replace_secret(connection, house.tenant_id, key_id, "a-plain-secret")
                with pytest.raises(VaultUnavailable):
                    await vault.replace_secret(
                        connection, house.tenant_id, key_id, "late", reference=REFERENCE, rotated=True
                    )
            assert await opened(house, key_id) == "a-plain-secret"

    asyncio.run(scenario())


def test_rotations_leave_references_as_they_are(open_house: OpenHouse, kv: KvStore) -> None:
    settings = {"reference_kinds": "vault", "hcvault_addr": kv.address, "hcvault_token": TOKEN}

    async def scenario() -> None:
        async with open_house(**settings) as house:
            key_id = await add_referenced(house)
            await house.services.rotations.start("tenants")
            while await house.services.rotations.step():
                pass
            (done, *_) = await house.services.rotations.latest()
            assert (done.done, done.failed) == (1, 0)
            await house.services.vault.make_key_ready(house.tenant_id, key_id)
            assert await opened(house, key_id) == "the-secret"
            assert await opened(house, house.key_id) == house.api_key

    asyncio.run(scenario())


def test_with_the_kind_turned_off_a_referenced_key_does_not_open(open_house: OpenHouse, kv: KvStore) -> None:
    settings = {"reference_kinds": "vault", "hcvault_addr": kv.address, "hcvault_token": TOKEN}

    async def scenario() -> None:
        async with open_house(**settings) as house:
            key_id = await add_referenced(house)
            tenant_id = house.tenant_id
        for kinds in ("", "env"):
            async with open_house(reference_kinds=kinds or ()) as other:
                with pytest.raises(CallFailed) as failure:
                    await other.services.calls.send(
                        background(tenant_id), key_id, "orders", lambda client, secret: client.orders(secret)
                    )
                assert isinstance(failure.value.error, VaultUnavailable)
                assert failure.value.outcome is Outcome.NOT_SENT

    asyncio.run(scenario())
