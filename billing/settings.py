"""Settings, read once from the environment, grouped by what they concern.

With nothing set, everything points at the embedded stack under `.local/`.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from billing.errors import UnavailableError


class Settings(BaseSettings):
    """What every process needs to know to find its neighbours."""

    model_config = SettingsConfigDict(env_prefix="BILLING_", extra="ignore")

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    redis_url: str | None = Field(default=None, validation_alias="REDIS_URL")
    local_dir: Path = Path(".local")
    postgres_port: int = 15432
    redis_port: int = 16379
    api_port: int = 8000
    console_port: int = 8501
    dagster_port: int = 3000
    shard_count: int = Field(default=1, ge=1, le=1024)
    zone: str = "Asia/Kolkata"
    secret_pepper: SecretStr = SecretStr("local-development-pepper")
    """Keys the HMAC under which API keys are stored; set it in production."""

    @cached_property
    def state(self) -> dict[str, object]:
        """What a running embedded stack says of itself (`stack.json`), or nothing."""
        file = self.local_dir / "stack.json"
        try:
            loaded = json.loads(file.read_text())
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def require_database_url(self) -> str:
        """Where PostgreSQL is: the environment, or else the embedded stack.

        Raises:
            UnavailableError: if neither names one.
        """
        return self._require("database_url", self.database_url, "DATABASE_URL")

    def require_redis_url(self) -> str:
        """Where Redis is: the environment, or else the embedded stack.

        Raises:
            UnavailableError: if neither names one.
        """
        return self._require("redis_url", self.redis_url, "REDIS_URL")

    def _require(self, key: str, value: str | None, variable: str) -> str:
        found = value or self.state.get(key)
        if not isinstance(found, str):
            raise UnavailableError(
                f"{variable} is not set and no embedded stack runs in {self.local_dir}: "
                f"start one with `billing stack`, or set {variable}.",
                code="stack_not_running",
            )
        return found

    @classmethod
    def load(cls) -> Self:
        """Read the environment now."""
        return cls()
