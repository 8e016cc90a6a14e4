"""What a running API holds on to, and how a request gets at it."""

from dataclasses import dataclass

from fastapi import Request
from sqlalchemy import Engine

from billing.clock import Clock
from billing.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """One process's connections, settings and clock."""

    engine: Engine
    settings: Settings
    clock: Clock


def services_of(request: Request) -> Services:
    """What the application of this request holds."""
    services: Services = request.app.state.services
    return services
