"""`billing keys`: API keys from the machine itself, such as the very first one."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import (
    CreateApiKey,
    LimitApiKey,
    RevokeApiKey,
    create_api_key,
    limit_api_key,
    list_api_keys,
    revoke_api_key,
)
from billing.cli.output import out
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.settings import Settings

_keys = typer.Typer(no_args_is_help=True, help="Issue, list and revoke API keys.")


@_keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    customer_id: Annotated[UUID | None, typer.Option(help="For the role customer.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="It ends after this many.")] = None,
    events_per_second: Annotated[int | None, typer.Option(min=1, help="Its own limit.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Its own limit.")] = None,
) -> None:
    """Issue a key and print it; it is shown only now."""
    settings, clock = Settings.load(), SystemClock()
    request = CreateApiKey(
        name=name,
        role=role,
        customer_id=customer_id,
        expires_at=clock.now() + timedelta(days=days) if days else None,
        events_per_second=events_per_second,
        requests_per_minute=requests_per_minute,
    )
    engine = open_engine(settings.require_database_url(), application="billing-keys", pool_size=1)
    with unit_of_work(engine) as session:
        _, text = create_api_key(Context(session, SYSTEM, clock), request, settings)
    # Only the key stands on standard output, so that `KEY=$(billing keys create …)` works.
    out.print(text, soft_wrap=True)


@_keys.command("list")
def show() -> None:
    """List keys, never their secrets."""
    settings, now = Settings.load(), SystemClock().now()
    engine = open_engine(settings.require_database_url(), application="billing-keys", pool_size=1)
    with read_only(engine) as session:
        for key in list_api_keys(session, SYSTEM):
            ended = key.revoked_at or (key.expires_at and key.expires_at <= now)
            state = "ended" if ended else "in force"
            row = f"{key.id}  {key.prefix}  {key.role.value:15} {state:8}  {key.name}"
            out.print(row, soft_wrap=True)


@_keys.command("limit")
def limit(
    api_key_id: Annotated[UUID, typer.Argument(help="Its id, as `billing keys list` says.")],
    events_per_second: Annotated[int | None, typer.Option(min=1)] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Set how much a key may send and ask; what is not given is what every key may."""
    settings, clock = Settings.load(), SystemClock()
    engine = open_engine(settings.require_database_url(), application="billing-keys", pool_size=1)
    request = LimitApiKey(
        api_key_id=api_key_id,
        events_per_second=events_per_second,
        requests_per_minute=requests_per_minute,
    )
    with unit_of_work(engine) as session:
        key = limit_api_key(Context(session, SYSTEM, clock), request)
        events, requests = key.events_per_second, key.requests_per_minute
        out.print(
            f"{key.name} ({key.prefix}): {events or settings.events_per_second} events a second, "
            f"{requests or settings.requests_per_minute} requests a minute"
        )


@_keys.command("revoke")
def revoke(
    api_key_id: Annotated[UUID, typer.Argument(help="Its id, as `billing keys list` says.")],
) -> None:
    """End a key at once."""
    settings, clock = Settings.load(), SystemClock()
    engine = open_engine(settings.require_database_url(), application="billing-keys", pool_size=1)
    with unit_of_work(engine) as session:
        key = revoke_api_key(Context(session, SYSTEM, clock), RevokeApiKey(api_key_id=api_key_id))
        out.print(f"revoked {key.name} ({key.prefix})")


def register(app: typer.Typer) -> None:
    """Hang the commands on the door."""
    app.add_typer(_keys, name="keys")
