"""The homes of the vault key over real HTTP: AWS KMS as moto serves it, and a transit engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import UUID

import boto3
import pytest
from moto.server import ThreadedMotoServer

from app.errors import VaultUnavailable
from app.vault import cipher
from app.vault.cipher import VaultKeyUnusable
from app.vault.homes import home
from tests.conftest import new_vault_key
from tests.integration.conftest import OpenHouse
from tests.integration.house import House, add_account
from tests.keyservices import TOKEN, Transit, served_transit


@pytest.fixture
def transit() -> Iterator[Transit]:
    with served_transit() as served:
        yield served


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The vault key's setting for a key of AWS KMS, which is moto's server here."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }.items():
        monkeypatch.setenv(name, value)
    made = boto3.client("kms", region_name="eu-central-1").create_key()
    yield f"aws-kms://{made['KeyMetadata']['Arn']}"
    server.stop()


async def use(house: House) -> None:
    """Have the account looked at, which opens its key, and store another key."""
    await house.look()
    await house.services.vault.make_ready(house.tenant_id)
    async with house.database.transaction(house.tenant) as connection:
        found = await house.services.vault.open_secret(connection, house.tenant_id, house.key_id)
        assert found.secret == house.api_key
    await add_account(house.services, house.tenant_id, "another-key")


def test_the_vault_key_in_aws(open_house: OpenHouse, aws: str) -> None:
    async def scenario() -> None:
        async with open_house(vault_key=aws) as house:
            await use(house)
            assert list(await house.services.rotations.keysets_by_key()) == [(aws, 1)]

    asyncio.run(scenario())
    kek = home(aws).kek
    assert kek.decrypt(kek.encrypt(b"x", b"a"), b"a") == b"x"
    with pytest.raises(VaultKeyUnusable):
        cipher.Fingerprints(cipher.new_fingerprint_key(kek)[:-1], kek)


def test_aws_that_is_away(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(VaultUnavailable):
        home(aws).kek.encrypt(b"x", b"")


def test_the_vault_key_in_a_transit_engine_is_asked_once_a_while(
    open_house: OpenHouse, transit: Transit
) -> None:
    async def scenario() -> None:
        async with open_house(vault_key=transit.key("a"), hcvault_token=TOKEN) as house:
            await use(house)
            asked = transit.calls
            for _ in range(3):
                await house.look()
            assert transit.calls == asked

    asyncio.run(scenario())


def test_an_opened_keyset_is_kept_for_its_time_only(open_house: OpenHouse, transit: Transit) -> None:
    async def scenario() -> None:
        settings = {"vault_key": transit.key("a"), "hcvault_token": TOKEN, "vault_cache_seconds": 0.01}
        async with open_house(**settings) as house:
            await house.look()
            asked = transit.calls
            await asyncio.sleep(0.02)
            await house.services.vault.make_ready(house.tenant_id)
            assert transit.calls == asked + 1

    asyncio.run(scenario())


def test_a_transit_engine_binds_what_it_encrypts(transit: Transit) -> None:
    uri = transit.key("a")
    kek, other = home(uri, hcvault_token=TOKEN).kek, home(transit.key("b"), hcvault_token=TOKEN).kek
    tenant, stranger = UUID(int=1), UUID(int=2)
    keyset = cipher.keyset_for(tenant, kek)
    cipher.open_keyset(keyset, kek, tenant)
    for of, key in ((stranger, kek), (tenant, other)):
        with pytest.raises(VaultKeyUnusable):
            cipher.open_keyset(keyset, key, of)


def test_a_transit_engine_that_does_not_answer_or_not_us(transit: Transit) -> None:
    uri = transit.key("a")
    with pytest.raises(VaultUnavailable):
        home(uri, hcvault_token="wrong").kek.encrypt(b"x", b"")
    with pytest.raises(VaultUnavailable):
        home("hcvault://127.0.0.1:9/transit/keys/a", hcvault_token=TOKEN).kek.encrypt(b"x", b"")


@pytest.mark.parametrize("setting", ["hcvault://host", "hcvault://host/keys/", "hcvault://u@host/t/keys/a"])
def test_a_malformed_home_is_refused(setting: str) -> None:
    with pytest.raises(VaultKeyUnusable):
        home(setting, hcvault_token=TOKEN)


def test_a_home_says_what_it_needs() -> None:
    with pytest.raises(VaultKeyUnusable, match="RENTGATE_HCVAULT_TOKEN"):
        home("hcvault://host/transit/keys/a")
    with pytest.raises(VaultKeyUnusable, match=r"rentgate\[gcp\]"):
        home("gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k")


def test_local_keys_are_told_apart_without_being_told() -> None:
    one = new_vault_key()
    assert home(one).name == home(f" {one} ").name != home(new_vault_key()).name
    assert one not in home(one).name
