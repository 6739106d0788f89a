"""Rotations of the vault: resumable, and never with a row that can't be opened."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import pytest

from app.database import WORKER, Access
from app.errors import UpstreamKeyInUse, VaultUnavailable
from app.vault import rotation
from app.vault.cipher import VaultKeyUnusable
from app.webhooks import repository as webhooks
from tests.conftest import new_vault_key
from tests.integration.conftest import OpenHouse
from tests.integration.house import House, add_account, add_tenant
from tests.keyservices import TOKEN, served_transit


async def further_tenants(house: House, count: int) -> list[tuple[UUID, UUID]]:
    """Tenants with an upstream key each, whose secret is `secret of <tenant>`."""
    made = []
    for _ in range(count):
        tenant_id = await add_tenant(house.services)
        key_id = await add_account(house.services, tenant_id, f"secret-of-{tenant_id}")
        made.append((tenant_id, key_id))
    return made


async def opened(house: House, tenant_id: UUID, key_id: UUID) -> str:
    """A tenant's plain key, as the gateway opens it to call the upstream."""
    await house.services.vault.make_ready(tenant_id)
    async with house.database.transaction(Access.tenant(tenant_id)) as connection:
        return (await house.services.vault.open_secret(connection, tenant_id, key_id)).secret


async def all_open(house: House, made: list[tuple[UUID, UUID]]) -> None:
    for tenant_id, key_id in made:
        assert await opened(house, tenant_id, key_id) == f"secret-of-{tenant_id}"


async def finish(house: House) -> rotation.Progress:
    while await house.services.rotations.step():
        pass
    return (await house.services.rotations.latest())[0]


def test_the_vault_key_moves_to_another_home(open_house: OpenHouse, superuser_url: str) -> None:
    old = new_vault_key()

    async def scenario(new: str) -> None:
        async with open_house(vault_key=old) as house:
            made = await further_tenants(house, 3)
            with psycopg.connect(superuser_url) as superuser:  # as an earlier release has left them
                superuser.execute(
                    "update vault_keysets set wrapped_by = null where tenant_id = %s", [made[0][0]]
                )
                superuser.execute("update vault_fingerprint_keys set wrapped_by = null")
        both = {"vault_key": new, "vault_old_keys": f"{new_vault_key()}, {old}", "hcvault_token": TOKEN}
        async with open_house(**both) as house:
            await all_open(house, made)
            started = await house.services.rotations.start("key")
            assert (started.target, started.total) == (new, 5)
            ended = await finish(house)
            assert (ended.id, ended.done, ended.failed) == (started.id, 5, 0)
            assert ended.finished_at is not None
            assert list(await house.services.rotations.keysets_by_key()) == [(new, 5)]
        async with open_house(vault_key=new, hcvault_token=TOKEN) as house:  # the old one is needed no more
            await all_open(house, made)
            with pytest.raises(UpstreamKeyInUse):  # and accounts are still known by their fingerprints
                await add_account(house.services, made[1][0], f"secret-of-{made[0][0]}")
        with pytest.raises(VaultKeyUnusable):
            async with open_house(vault_key=old):
                pass

    with served_transit() as transit:
        asyncio.run(scenario(transit.key("new")))


def test_tenants_get_new_keysets_and_the_old_open_nothing(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            [(tenant_id, key_id)] = made = await further_tenants(house, 1)
            rows = "select ciphertext from upstream_keys where id = %s", [key_id]
            with psycopg.connect(superuser_url) as superuser:
                before = superuser.execute(*rows).fetchone()
            await house.services.rotations.start("tenants")
            assert (await finish(house)).done == 2
            await all_open(house, made)
            with psycopg.connect(superuser_url) as superuser:
                assert superuser.execute(*rows).fetchone() != before
                assert before is not None
                superuser.execute(
                    "update upstream_keys set ciphertext = %s where id = %s", [before[0], key_id]
                )
            with pytest.raises(VaultKeyUnusable):
                await opened(house, tenant_id, key_id)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "tampering",
    [
        "update vault_keysets a set wrapped ="
        " (select wrapped from vault_keysets b where b.tenant_id <> a.tenant_id)",
        "update vault_keysets set version = version + 1",
        "update upstream_keys set version = version + 1",
        "update upstream_keys a set ciphertext ="
        " (select ciphertext from upstream_keys b where b.tenant_id <> a.tenant_id)",
    ],
)
def test_what_was_swapped_or_rolled_back_does_not_open(
    tampering: str, open_house: OpenHouse, superuser_url: str
) -> None:
    async def scenario() -> None:
        vault_key: Any = new_vault_key()
        async with open_house(vault_key=vault_key) as house:
            made = await further_tenants(house, 1)
            with psycopg.connect(superuser_url) as superuser:
                superuser.execute(tampering)
        # Another process, which has no keyset in memory.
        async with open_house(vault_key=vault_key, upstream_rate=0) as house:
            for tenant_id, key_id in made:
                with pytest.raises(VaultKeyUnusable):
                    await opened(house, tenant_id, key_id)

    asyncio.run(scenario())


def test_an_interrupted_rotation_is_gone_on_with_by_another(
    open_house: OpenHouse, superuser_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = new_vault_key(), new_vault_key()
    monkeypatch.setitem(rotation.BATCH, "key", 2)

    async def scenario() -> None:
        async with open_house(vault_key=old) as house:
            made = await further_tenants(house, 4)
        async with open_house(vault_key=new, vault_old_keys=old) as first:
            await first.services.rotations.start("key")
            assert await first.services.rotations.step()
            await all_open(first, made)
            async with open_house(vault_key=new, vault_old_keys=old) as second:
                assert not await second.services.rotations.step()  # while the first holds it
                with psycopg.connect(superuser_url) as superuser:
                    superuser.execute("update vault_rotations set held_until = now() - interval '1 second'")
                started = await second.services.rotations.start("key")
                assert (started.done, started.finished_at) == (2, None)
                ended = await finish(second)
                assert ended.done == 7
                assert ended.finished_at is not None
                await all_open(second, made)
            assert not await first.services.rotations.step()

    asyncio.run(scenario())


def test_requests_are_served_while_keys_rotate(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            made = await further_tenants(house, 3)
            done = asyncio.Event()

            async def use() -> int:
                times = 0
                while not done.is_set():
                    await all_open(house, made)
                    times += 1
                return times

            async def replace() -> int:
                times = 0
                tenant_id, key_id = made[0]
                while not done.is_set():
                    async with house.database.transaction(Access.tenant(tenant_id)) as connection:
                        await house.services.vault.replace_secret(
                            connection, tenant_id, key_id, f"secret-of-{tenant_id}"
                        )
                    times += 1
                return times

            using = [asyncio.ensure_future(use()), asyncio.ensure_future(replace())]
            for _ in range(5):
                await house.services.rotations.start("tenants")
                assert (await finish(house)).failed == 0
            done.set()
            assert all([await each for each in using])

    asyncio.run(scenario())


def test_a_key_that_is_not_set_fails_its_keysets_and_no_others(open_house: OpenHouse) -> None:
    lost, new = new_vault_key(), new_vault_key()

    async def scenario() -> None:
        async with open_house(vault_key=lost) as house:
            await further_tenants(house, 1)
        async with open_house(vault_key=new, vault_old_keys=lost) as house:
            made = await further_tenants(house, 2)
            await house.services.rotations.start("key")
            async with house.database.transaction(WORKER) as connection:
                await connection.exec_driver_sql(
                    "update vault_keysets set wrapped_by = 'local:gone' where wrapped_by <> %s",
                    (house.services.rotations.target,),
                )
            ended = await finish(house)
            assert (ended.done, ended.failed) == (3, 2)
            await all_open(house, made)

    asyncio.run(scenario())


def test_a_rotation_waits_for_a_key_service_that_is_away(open_house: OpenHouse) -> None:
    old = new_vault_key()

    async def scenario() -> None:
        async with open_house(vault_key=old) as house:
            made = await further_tenants(house, 1)
        away = "hcvault://127.0.0.1:9/transit/keys/a"
        async with open_house(vault_key=old, vault_old_keys=away, hcvault_token=TOKEN) as house:
            await all_open(house, made)
        with served_transit() as transit:
            uri = transit.key("a")
            async with open_house(vault_key=uri, vault_old_keys=old, hcvault_token=TOKEN) as house:
                await house.services.rotations.start("key")
                transit.server.shutdown()
                transit.server.server_close()
                with pytest.raises(VaultUnavailable):
                    await house.services.rotations.step()
                assert (await house.services.rotations.latest())[0].done == 0

    asyncio.run(scenario())


def test_webhook_secrets_outlive_the_keyset_that_sealed_them(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            keyring, tenant_id = house.services.keyring, house.tenant_id

            async def secrets_of(webhook_id: UUID) -> list[str]:
                async with house.database.transaction(house.tenant) as connection:
                    return await webhooks.signing_secrets(connection, keyring, tenant_id, webhook_id)

            async with house.database.transaction(house.tenant) as connection:
                webhook, first = await webhooks.add(
                    connection, keyring, tenant_id, url="https://a.example/", events=["*"], description=None
                )
            async with house.database.transaction(house.tenant) as connection:
                _, second = await webhooks.rotate_secret(connection, keyring, tenant_id, webhook.id)
            await house.services.rotations.start("tenants")
            await finish(house)
            assert await secrets_of(webhook.id) == [second, first]

    asyncio.run(scenario())
