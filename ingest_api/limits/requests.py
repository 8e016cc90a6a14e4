"""Limits on requests, before anything else is done for them."""

from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.types import Scope

from billing.errors import BillingError, RateLimitedError, UnauthenticatedError
from billing.settings import Settings
from ingest_api.intake.directory import Directory
from ingest_api.limits.address import client_address, trusted_networks
from ingest_api.limits.limiter import Limiter, What

_FREE: Final = "/health/"
"""Whoever watches over us may ask as often as needed."""


class RequestLimits:
    """Counts the requests of keys, and of addresses that have none."""

    def __init__(self, limiter: Limiter, directory: Directory, settings: Settings) -> None:
        self.limiter = limiter
        self.directory = directory
        self._trusted = trusted_networks(settings.trusted_proxies)

    async def let_in(self, scope: Scope) -> None:
        """Count a request; who sends no valid key is told so by the route.

        Raises:
            RateLimitedError: if it is one too many.
        """
        if scope["path"].startswith(_FREE):
            return
        try:
            actor = await self.directory.actor(Headers(scope=scope).get("authorization"))
        except UnauthenticatedError:
            await self.limiter.spend_stranger(client_address(scope, self._trusted))
        except (SQLAlchemyError, OSError):
            return  # the route cannot tell who is asking either
        else:
            await self.limiter.spend(actor, What.REQUESTS, 1)

    async def count_stranger(self, scope: Scope, error: BillingError) -> BillingError:
        """The failure to answer with: that there were too many from there, or the given one."""
        if isinstance(error, UnauthenticatedError):
            try:
                await self.limiter.spend_stranger(client_address(scope, self._trusted))
            except RateLimitedError as too_many:
                return too_many
        return error
