"""The settings: environment variables (or `.env`), typed, each with its line in `.env.example`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

UPSTREAM_URL = "https://smspva.com/api/rent.php"
BALANCE_URL = "https://api.smspva.com/activation/balance"
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _redis(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError(
            "has to be redis://host or rediss://host, with a port, a password and a number if need be"
        )
    return url


def _postgres(url: SecretStr) -> SecretStr:
    try:
        scheme, _, driver = make_url(url.get_secret_value()).drivername.partition("+")
    except (ArgumentError, ValueError):
        scheme = driver = ""
    if scheme not in ("postgresql", "postgres") or driver:
        raise ValueError(
            "has to be postgresql://user:password@host/database, with % codes for special characters"
        )
    return url


def _keys_url(url: str) -> str:
    parts = urlsplit(url)
    trusted = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not trusted or not parts.hostname or parts.username is not None:
        raise ValueError("has to be an https URL without a user, or http on loopback")
    return url


def _balance_url(url: str | None) -> str | None:
    parts = urlsplit(url or BALANCE_URL)
    named = bool(parts.hostname) and parts.port != 0  # of a port that is none, this raises
    if parts.scheme not in ("http", "https") or not named or parts.username is not None:
        raise ValueError("has to be a URL with https or http and a host, without a user; or empty")
    return url


PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres)]


MEANT_WHEN_EMPTY = ("balance_url",)
"""Settings that mean something when they are set to nothing."""


class _MeantEmpty(PydanticBaseSettingsSource):
    """Of a source that gives what is empty too, only that which means something."""

    def __init__(self, source: PydanticBaseSettingsSource) -> None:
        super().__init__(source.settings_cls)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of one field, its name, and whether it is to be decoded."""
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        """The fields that are set to nothing, and mean it."""
        found = (
            (name, *self.get_field_value(Settings.model_fields[name], name)) for name in MEANT_WHEN_EMPTY
        )
        return {name: value for name, value, *_ in found if value == ""}


class Settings(BaseSettings):
    """All settings of one process. Seconds and rates may be fractions; a rate of 0 means no limit.

    Secrets are of type SecretStr, so that a dump of the settings holds none of them. URLs of the database
    and of Redis count as secrets, since they may carry a password.
    """

    model_config = SettingsConfigDict(
        env_prefix="RENTGATE_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Path(".rentgate")
    database_url: PostgresUrl | None = None
    database_owner_url: PostgresUrl | None = None
    database_listen_url: PostgresUrl | None = None
    admin_token: SecretStr | None = None
    jwt_jwks_url: Annotated[str, AfterValidator(_keys_url)] | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_tenant_claim: str = "tenant_id"
    jwt_scope_claim: str = "scope"
    vault_key: SecretStr | None = None
    vault_old_keys: SecretStr | None = None
    vault_cache_seconds: Seconds = 60.0
    hcvault_token: SecretStr | None = None
    hcvault_addr: str | None = None
    reference_kinds: Annotated[tuple[Literal["vault", "aws-sm", "env"], ...], NoDecode] = ()
    reference_cache_seconds: Seconds = 60.0

    upstream_url: str = UPSTREAM_URL
    upstream_timeout: Seconds = 20.0
    upstream_rate: Rate = 0.25
    upstream_burst: Annotated[int, Field(ge=1)] = 5
    upstream_global_rate: Rate = 10.0
    balance_url: Annotated[str | None, AfterValidator(_balance_url)] = None
    balance_rate: Rate = 0.1
    balance_interval: Seconds = 600.0
    purchase_wait: Seconds = 25.0

    sync_interval: Seconds = 5.0
    sync_idle_interval: Seconds = 30.0
    reconcile_seconds: Seconds = 120.0

    countries_ttl: Seconds = 3600.0
    offers_ttl: Seconds = 30.0
    rate_limit: Annotated[int, Field(ge=1)] | None = None
    tenant_rate_limit: Annotated[int, Field(ge=1)] | None = None
    redis_url: Annotated[SecretStr, AfterValidator(_redis)] | None = None
    events_kept_days: Annotated[int, Field(ge=1)] = 90
    webhook_allow_private: bool = False
    log_level: str = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where settings come from: what is empty counts as not set, but where that is said on purpose."""
        dotenv_file = getattr(dotenv_settings, "env_file", None)
        return (
            init_settings,
            env_settings,
            _MeantEmpty(EnvSettingsSource(settings_cls, env_ignore_empty=False)),
            dotenv_settings,
            _MeantEmpty(DotEnvSettingsSource(settings_cls, dotenv_file, env_ignore_empty=False)),
            file_secret_settings,
        )

    @field_validator("reference_kinds", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        """The kinds of a text with commas between them."""
        return [kind.strip() for kind in given.split(",")] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _idle_is_not_hastier_than_busy(self) -> Settings:
        """The idle interval is never less than the busy one, whatever was set."""
        if self.sync_idle_interval < self.sync_interval:
            object.__setattr__(self, "sync_idle_interval", self.sync_interval)
        return self

    @model_validator(mode="after")
    def _balance_is_asked_for_where_the_account_is(self) -> Settings:
        """The provider's own host is asked only for accounts of the provider's: a key of another upstream, be
        it a sandbox, is not shown to it.
        """
        if self.balance_url is None:
            own = BALANCE_URL if self.upstream_url == UPSTREAM_URL else ""
            object.__setattr__(self, "balance_url", own)
        return self

    @model_validator(mode="after")
    def _issuer_is_told_whole(self) -> Settings:
        """An issuer without all three would trust tokens that are another's or meant for another."""
        told = (self.jwt_jwks_url, self.jwt_issuer, self.jwt_audience)
        if any(told) and not all(told):
            raise ValueError("JWT_JWKS_URL, JWT_ISSUER and JWT_AUDIENCE are set together or not at all")
        return self
