"""The sources of references over real HTTP: what they need, and what it is when they don't give a secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from app.errors import VaultUnavailable
from app.settings import Settings
from app.vault.references import NothingThere, Reference, ReferencesUnusable
from app.vault.sources import Source, sources
from tests.keyservices import TOKEN, KvStore, served_kv

SECRET = Reference("vault", "kv/data/acme/key", "api_key")


@pytest.fixture
def kv() -> Iterator[KvStore]:
    with served_kv() as store:
        yield store


def engine(address: str, token: str = TOKEN) -> Source:
    return sources(["vault"], hcvault_addr=address, hcvault_token=token)["vault"]


@pytest.mark.parametrize(
    ("address", "token", "missing"),
    [
        (None, TOKEN, "RENTGATE_HCVAULT_ADDR"),
        ("vault.example", TOKEN, "RENTGATE_HCVAULT_ADDR"),
        ("http://vault.example", TOKEN, "RENTGATE_HCVAULT_ADDR"),
        ("https://me@vault.example", TOKEN, "RENTGATE_HCVAULT_ADDR"),
        ("https://vault.example/v1", TOKEN, "RENTGATE_HCVAULT_ADDR"),
        ("https://vault.example", None, "RENTGATE_HCVAULT_TOKEN"),
    ],
)
def test_an_engine_says_what_it_needs(address: str | None, token: str | None, missing: str) -> None:
    with pytest.raises(ReferencesUnusable, match=missing):
        sources(["vault"], hcvault_addr=address, hcvault_token=token)


def test_kinds_are_told_with_commas_and_have_to_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENTGATE_REFERENCE_KINDS", "vault, env")
    assert Settings(_env_file=None).reference_kinds == ("vault", "env")
    monkeypatch.setenv("RENTGATE_REFERENCE_KINDS", "file")
    with pytest.raises(ValidationError):
        Settings(_env_file=None)


def test_fields_that_are_no_text_are_no_secrets(kv: KvStore) -> None:
    kv.put("kv/data/acme/key", api_key={"a": "b"}, number=1)
    for field in ("api_key", "number", "none"):
        with pytest.raises(NothingThere):
            engine(kv.address).read(Reference("vault", "kv/data/acme/key", field))


def test_an_engine_that_is_away_or_refuses(kv: KvStore) -> None:
    kv.put("kv/data/acme/key", api_key="x")
    assert engine(kv.address).read(SECRET) == "x"
    for address, token in (("http://127.0.0.1:9", TOKEN), (kv.address, "wrong")):
        with pytest.raises(VaultUnavailable) as refused:
            engine(address, token).read(SECRET)
        assert token not in refused.value.detail
    kv.away = True
    with pytest.raises(VaultUnavailable):
        engine(kv.address).read(SECRET)


def test_aws_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }.items():
        monkeypatch.setenv(name, value)
    manager = sources(["aws-sm"], hcvault_addr=None, hcvault_token=None)["aws-sm"]
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:acme/key-AbCdEf"
    with pytest.raises(VaultUnavailable):
        manager.read(Reference("aws-sm", arn, None))
