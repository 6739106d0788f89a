"""The vault on a real database: what is stored, what opens, and that one account serves one tenant."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from app.errors import NotFound, NoUpstreamKey, UpstreamKeyInUse
from app.vault.cipher import VaultKeyUnusable
from tests.integration.conftest import OpenHouse
from tests.integration.house import add_account, add_tenant


def test_the_database_holds_no_readable_key(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await house.look()
            with psycopg.connect(superuser_url) as connection:
                tables = connection.execute(
                    "select tablename from pg_tables where schemaname = 'public'"
                ).fetchall()
                for (table,) in tables:
                    for (row,) in connection.execute(f'select t::text from "{table}" t'):
                        assert house.api_key not in row
                        assert house.api_key.encode().hex() not in row

    asyncio.run(scenario())


def test_a_swapped_or_rolled_back_ciphertext_does_not_open(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            second_id = await add_account(house.services, house.tenant_id, "another-key")
            with psycopg.connect(superuser_url) as superuser:
                superuser.execute(
                    "update upstream_keys set ciphertext ="
                    " (select ciphertext from upstream_keys where id = %s) where id = %s",
                    [house.key_id, second_id],
                )
            async with house.database.transaction(house.tenant) as connection:
                with pytest.raises(VaultKeyUnusable):
                    await house.services.vault.open_secret(connection, house.tenant_id, second_id)
                plain = await house.services.vault.open_secret(connection, house.tenant_id, house.key_id)
                assert plain.secret == house.api_key

    asyncio.run(scenario())


def test_one_account_serves_one_tenant_once(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            for tenant_id in (house.tenant_id, await add_tenant(house.services)):
                with pytest.raises(UpstreamKeyInUse):
                    await add_account(house.services, tenant_id, house.api_key)

    asyncio.run(scenario())


def test_a_deleted_key_is_wiped_and_its_account_is_free_again(
    open_house: OpenHouse, superuser_url: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            vault = house.services.vault
            async with house.database.transaction(house.tenant) as connection:
                await vault.delete(connection, house.tenant_id, house.key_id)
            with psycopg.connect(superuser_url) as superuser:
                assert superuser.execute("select ciphertext from upstream_keys").fetchall() == [(b"",)]
            async with house.database.transaction(house.tenant) as connection:
                with pytest.raises(NotFound):
                    await vault.open_secret(connection, house.tenant_id, house.key_id)
                with pytest.raises(NoUpstreamKey):
                    await vault.chosen(connection, house.tenant_id, None)
                again = await vault.add(
                    connection, house.tenant_id, label="a", api_key=house.api_key, default=None
                )
                assert again.default

    asyncio.run(scenario())
