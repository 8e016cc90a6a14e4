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
    limits_redis_url: str | None = None
    """Where rate limits are counted, apart from the money; without it each process counts alone."""
    local_dir: Path = Path(".local")
    postgres_port: int = 15432
    redis_port: int = 16379
    limits_redis_port: int = 16380
    api_port: int = 8000
    console_port: int = 8501
    dagster_port: int = 3000
    shard_count: int = Field(default=1, ge=1, le=1024)
    direct_after_seconds: int = Field(default=3, ge=1)
    """How long Redis may be away before PostgreSQL alone takes events in."""
    journal_answers: bool = False
    """Whether an event that only Redis has may be answered (202) while PostgreSQL is away."""
    journal_after_ms: int = Field(default=60, ge=0)
    """How long such an answer waits for PostgreSQL, once that is known to be away."""
    hold_seconds: int = Field(default=300, ge=1, le=86_400)
    """How long a hold binds money, if the request does not say so."""
    journal_keep_minutes: int = Field(default=10, ge=1)
    """How long applied entries stay in the journal, for PostgreSQL restored to a backup."""
    stale_seconds: int = Field(default=600, ge=0)
    """How old keys and accounts in memory may become while PostgreSQL is away."""
    events_per_second: int = Field(default=100_000, ge=1)
    """What a key may send that has no limit of its own."""
    requests_per_minute: int = Field(default=10_000, ge=1)
    requests_per_minute_unknown: int = Field(default=1_000, ge=1)
    """Requests without a valid key, by address."""
    burst_seconds: int = Field(default=2, ge=1, le=60)
    """How many seconds of events may come at once."""
    limits_alone_percent: int = Field(default=25, ge=1, le=100)
    """What part of each limit a process allows while the Redis of limits is away."""
    most_events_in_flight: int = Field(default=50_000, ge=1)
    """Events that wait for an answer in one process; more are sent away."""
    most_body_mb_in_flight: int = Field(default=64, ge=1)
    """Megabytes of request bodies in one process; more are sent away."""
    most_queued_entries: int = Field(default=5_000_000, ge=1)
    """Entries of a shard's journal above which new events are refused."""
    redis_full_percent: int = Field(default=80, ge=1, le=100)
    """Part of Redis' `maxmemory` (or of half the machine) above which new events are refused."""
    most_live_connections: int = Field(default=500, ge=1)
    """Connections of the live view in one process."""
    live_heartbeat_seconds: int = Field(default=15, ge=1)
    live_send_seconds: int = Field(default=10, ge=1)
    """A client of the live view that takes nothing for so long is let go."""
    metrics_host: str = "127.0.0.1"
    """Where `/metrics` is served, to whoever can reach it."""
    api_metrics_port: int | None = None
    writer_metrics_port: int | None = None
    trusted_proxies: str = ""
    """Networks, with commas between, whose `X-Forwarded-For` is believed."""
    revision_days: int = Field(default=35, ge=0, le=3660)
    """How long after it happened an event can be amended or voided without a permission."""
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

    def require_api_url(self, given: str | None) -> str:
        """Where the API is: as it was given, or else the embedded stack's.

        Raises:
            UnavailableError: if neither names one.
        """
        found = self._find("api_url", given)
        if found is None:
            raise UnavailableError(
                "No stack runs here: start one with `billing stack`, or say where the API is.",
                code="stack_not_running",
            )
        return found.rstrip("/")

    def find_limits_redis_url(self) -> str | None:
        """Where rate limits are counted: the environment, or else the embedded stack, or None."""
        return self._find("limits_redis_url", self.limits_redis_url)

    def _find(self, key: str, value: str | None) -> str | None:
        """What was set, or else what the embedded stack says."""
        found = value or self.state.get(key)
        return found if isinstance(found, str) else None

    def _require(self, key: str, value: str | None, variable: str) -> str:
        found = self._find(key, value)
        if found is None:
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
