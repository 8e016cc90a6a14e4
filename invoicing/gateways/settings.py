"""Keys of the gateways, from the environment; a gateway without keys is not offered."""

from typing import Self

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """What the gateways need to know; the addresses are for tests and proxies."""

    model_config = SettingsConfigDict(env_prefix="BILLING_", extra="ignore")

    stripe_api_key: SecretStr | None = None
    stripe_webhook_secret: SecretStr | None = None
    stripe_address: str = "https://api.stripe.com"
    razorpay_key_id: str | None = None
    razorpay_key_secret: SecretStr | None = None
    razorpay_webhook_secret: SecretStr | None = None
    razorpay_address: str = "https://api.razorpay.com"
    gateway_timeout_seconds: int = 15
    checkout_return_url: str = "http://127.0.0.1:8501/"

    @classmethod
    def load(cls) -> Self:
        """Read the environment now."""
        return cls()
