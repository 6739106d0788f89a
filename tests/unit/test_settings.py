"""The settings: each documented in `.env.example`, fractions welcome, secrets hidden."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import BALANCE_URL, Settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_every_setting_has_its_line_in_the_example_and_every_line_its_setting() -> None:
    named = set(re.findall(r"^#?\s?(RENTGATE_[A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))
    assert named == {f"RENTGATE_{name.upper()}" for name in Settings.model_fields}


def test_the_examples_defaults_are_the_true_ones() -> None:
    defaults = Settings(_env_file=None)
    for line in EXAMPLE.read_text().splitlines():
        if match := re.fullmatch(r"#?\s?RENTGATE_([A-Z_]+)=(.+)", line):
            value = getattr(defaults, match[1].lower())
            if value is not None:
                assert (
                    str(type(value)(match[2]) if not isinstance(value, bool) else match[2]).lower()
                    == str(value).lower()
                ), line


def test_seconds_and_rates_may_be_fractions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENTGATE_UPSTREAM_TIMEOUT", "0.5")
    monkeypatch.setenv("RENTGATE_UPSTREAM_RATE", "0.25")
    settings = Settings(_env_file=None)
    assert (settings.upstream_timeout, settings.upstream_rate) == (0.5, 0.25)


def test_the_idle_interval_is_never_less_than_the_busy_one() -> None:
    settings = Settings(_env_file=None, sync_interval=40, sync_idle_interval=30)
    assert settings.sync_idle_interval == 40


@pytest.mark.parametrize("name", ["upstream_timeout", "upstream_rate", "reconcile_seconds"])
@pytest.mark.parametrize("value", [-1, float("inf"), float("nan")])
def test_impossible_times_and_rates_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({name: value})


def test_no_secret_shows_in_the_settings_text() -> None:
    settings = Settings(
        _env_file=None,
        admin_token="hunter2",
        database_url="postgresql://a:hunter2@b/c",
        vault_key="hunter2",
        redis_url="redis://:hunter2@b/1",
    )
    assert "hunter2" not in repr(settings) + str(settings)


@pytest.mark.parametrize("url", ["", "redis://", "http://hunter2@b", "hunter2", "redis:///hunter2"])
def test_a_redis_that_can_not_be_one_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"redis_url": url})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["database_url", "database_owner_url", "database_listen_url"])
@pytest.mark.parametrize(
    "url", ["foo", "mysql://u:hunter2@h/x", "postgresql://u:p@ss:hunter2@h/x", "postgresql+asyncpg://h/x"]
)
def test_a_database_that_can_not_be_one_is_refused_without_showing_it(name: str, url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({name: url})
    assert "hunter2" not in str(refused.value)


ISSUER = {
    "jwt_jwks_url": "https://login.example/keys",
    "jwt_issuer": "https://login.example",
    "jwt_audience": "rentgate",
}


@pytest.mark.parametrize("missing", ISSUER)
def test_an_issuer_is_told_whole_or_not_at_all(missing: str) -> None:
    assert Settings.model_validate(ISSUER).jwt_audience == "rentgate"
    with pytest.raises(ValidationError, match="together"):
        Settings.model_validate({name: value for name, value in ISSUER.items() if name != missing})


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/keys", "http://[::1]:9/keys", "http://localhost/keys"])
def test_an_issuers_keys_may_come_over_http_on_loopback(url: str) -> None:
    assert Settings.model_validate({**ISSUER, "jwt_jwks_url": url}).jwt_jwks_url == url


@pytest.mark.parametrize(
    "url", ["http://login.example/keys", "https://", "file:///keys", "keys", "https://a:b@login.example/keys"]
)
def test_an_issuers_keys_come_from_nowhere_else(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({**ISSUER, "jwt_jwks_url": url})


def test_the_balance_is_read_at_the_provider_only_for_the_providers_own_accounts() -> None:
    assert Settings(_env_file=None).balance_url == BALANCE_URL
    elsewhere = Settings(_env_file=None, upstream_url="http://127.0.0.1:1/rent.php")
    assert elsewhere.balance_url == ""
    both = Settings(_env_file=None, upstream_url="http://a/rent.php", balance_url="http://a/balance")
    assert both.balance_url == "http://a/balance"
    assert Settings(_env_file=None, balance_url="").balance_url == ""


def test_a_balance_url_that_is_set_to_nothing_turns_it_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("RENTGATE_BALANCE_URL=\nRENTGATE_UPSTREAM_RATE=\n")
    assert Settings(_env_file=file).balance_url == ""
    assert Settings(_env_file=file).upstream_rate == 0.25
    monkeypatch.setenv("RENTGATE_BALANCE_URL", "https://b.example/balance")
    assert Settings(_env_file=file).balance_url == "https://b.example/balance"
    monkeypatch.setenv("rentgate_balance_url", "")
    monkeypatch.delenv("RENTGATE_BALANCE_URL")
    file.write_text("RENTGATE_BALANCE_URL=https://c.example/balance\n")
    assert Settings(_env_file=file).balance_url == ""
    assert Settings(_env_file=None).balance_url == ""


@pytest.mark.parametrize(
    "url", ["balance", "ftp://a/b", "https://", "//a/b", "https://a:b@c/d", "https://[::1/b", "https://a:x/b"]
)
def test_a_balance_url_that_can_not_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"balance_url": url})
