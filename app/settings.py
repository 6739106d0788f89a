"""The settings: environment variables (or `.env`), typed, each with its line in `.env.example`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

UPSTREAM_URL = "https://smspva.com/api/rent.php"

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """All settings of one process. Seconds and rates may be fractions; a rate of 0 means no limit.

    Secrets are of type SecretStr, so that a dump of the settings holds none of them. URLs of the database
    count as secrets, since they may carry a password.
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
    database_url: SecretStr | None = None
    database_owner_url: SecretStr | None = None
    database_listen_url: SecretStr | None = None
    admin_token: SecretStr | None = None
    vault_key: SecretStr | None = None

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
    webhook_allow_private: bool = False
    log_level: str = "INFO"

    @model_validator(mode="after")
    def _idle_is_not_hastier_than_busy(self) -> Settings:
        """The idle interval is never less than the busy one, whatever was set."""
        if self.sync_idle_interval < self.sync_interval:
            object.__setattr__(self, "sync_idle_interval", self.sync_interval)
        return self
