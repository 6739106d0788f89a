"""The settings: environment variables (or `.env`), typed, each with its line in `.env.example`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

UPSTREAM_URL = "https://smspva.com/api/rent.php"
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


PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres)]


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
    def _issuer_is_told_whole(self) -> Settings:
        """An issuer without all three would trust tokens that are another's or meant for another."""
        told = (self.jwt_jwks_url, self.jwt_issuer, self.jwt_audience)
        if any(told) and not all(told):
            raise ValueError("JWT_JWKS_URL, JWT_ISSUER and JWT_AUDIENCE are set together or not at all")
        return self
