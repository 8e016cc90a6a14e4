"""Amending and voiding events: a new revision, and the wallet's difference beside it.

These begin in PostgreSQL, under the lock of the shard's row, so that a revision has its place in
the order of acceptance. Redis hears of the difference as of any other adjustment.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Self
from uuid import UUID

from pydantic import Field, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.tables import Account
from billing.errors import FieldError, InvalidError
from billing.usage.counters import advance_of
from billing.usage.event import (
    OLDEST,
    EventCheck,
    checked_dimensions,
    checked_number,
    checked_type,
    microseconds,
)
from billing.usage.recount import Priceable, Recount, Recounted
from billing.usage.repository import EventHistory, EventRevision, get_event
from billing.usage.tables import EventKey, ShardState, SupersededEvent, UsageDebit
from billing.usage.writing import insert_raw_event
from billing.wallets.card_loader import load_account
from billing.wallets.ledger import post_adjustment
from billing.wallets.tables import LedgerAccount, LedgerKind, Wallet

REVISION_DAYS: Final = OLDEST.days
"""As long as an event may be late, its delivery receipt may be."""


class ReviseEvent(Request):
    """What an event should have been; fields that are not named stay as they are."""

    source: str
    event_id: str
    void: bool = Field(default=False, strict=True)
    event_type: str | None = None
    occurred_at: datetime | None = None
    quantity: int | str | None = None
    dimensions: dict[str, str] | None = None
    """All of them: those that are missing here are gone."""
    cost: int | str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        changes = self.model_fields_set - {"source", "event_id", "void"}
        if self.void == bool(changes):
            raise ValueError("send the fields to change, or void: true")
        return self


@command("event.revise", Permission.USAGE_AMEND, unhashed=["window_days"])
def revise_event(
    ctx: Context, request: ReviseEvent, *, window_days: int = REVISION_DAYS
) -> Account:
    """Amend or void an event, and return its account; saying what is already so changes nothing.

    Args:
        window_days: how long after it happened an event can be revised; later only by those who
            may send events of the past.

    Raises:
        NotFoundError: if there is no such event.
        InvalidError: if a field is wrong, or it comes after the window (code `too_late`).
    """
    session = ctx.session
    key = get_event(session, ctx.actor, request.source, request.event_id).key
    shard = _locked_shard(session, key)
    history = get_event(session, ctx.actor, request.source, request.event_id)
    _require_in_window(ctx, history.latest, window_days)
    values = _values(ctx, request, history.latest)
    if all(getattr(history.latest, name) == value for name, value in values.items()):
        return history.account
    shard.accept_seq += 1
    _write(ctx, history, shard.accept_seq, values)
    _debit(ctx, history, shard.accept_seq, values)
    return history.account


def _locked_shard(session: Session, key: EventKey) -> ShardState:
    """The shard that numbered the event, and with it the one that counts for its account now."""
    home = session.scalars(select(Account.shard).where(Account.id == key.account_id)).one()
    for shard in sorted({key.shard, home}):
        session.get_one(ShardState, shard, with_for_update=True, populate_existing=True)
    return session.get_one(ShardState, key.shard)


def _require_in_window(ctx: Context, latest: EventRevision, window_days: int) -> None:
    closes = latest.occurred_at + timedelta(days=window_days)
    if ctx.clock.now() > closes and not ctx.actor.may(Permission.USAGE_BACKFILL):
        raise InvalidError(
            f"Events can be revised for {window_days} days after they happened; this one could be "
            f"until {closes:%Y-%m-%d %H:%M} UTC. Ask somebody who may change the past.",
            code="too_late",
            fields=[FieldError("occurred_at", "lies too far back to be revised")],
            details={"window_days": window_days, "closed_at": closes.isoformat()},
        )


def _values(ctx: Context, request: ReviseEvent, latest: EventRevision) -> dict[str, Any]:
    """The columns of the new revision that a revision can change."""
    values = {
        name: getattr(latest, name)
        for name in ("event_type", "occurred_at", "quantity", "dimensions", "vendor_cost")
    }
    values["voided"] = request.void
    wrong: list[FieldError] = []
    if request.event_type is not None:
        checked_type(request.event_type, wrong)
        values["event_type"] = request.event_type
    if request.occurred_at is not None:
        values["occurred_at"] = _checked_time(ctx, request.occurred_at, wrong)
    if request.quantity is not None:
        values["quantity"], _ = checked_number(wrong, "quantity", request.quantity)
    if request.cost is not None:
        values["vendor_cost"], _ = checked_number(wrong, "cost", request.cost)
    if request.dimensions is not None:
        values["dimensions"], _ = checked_dimensions(request.dimensions, wrong)
    if wrong:
        raise InvalidError("The revision is not valid.", fields=wrong)
    return values


def _checked_time(ctx: Context, occurred_at: datetime, wrong: list[FieldError]) -> datetime:
    if occurred_at.tzinfo is None:
        wrong.append(FieldError("occurred_at", "needs an offset, such as +05:30"))
        return occurred_at
    backfill = ctx.actor.may(Permission.USAGE_BACKFILL)
    EventCheck(ctx.clock.now(), backfill=backfill).occurred_us(occurred_at, wrong)
    return occurred_at.astimezone(UTC)


def _write(ctx: Context, history: EventHistory, accept_seq: int, values: dict[str, Any]) -> None:
    session, key, now = ctx.session, history.key, ctx.clock.now()
    insert_raw_event(
        session,
        **values,
        shard=key.shard,
        accept_seq=accept_seq,
        source=key.source,
        event_id=key.event_id,
        revision=history.latest.revision + 1,
        account_id=history.latest.account_id,
        received_at=now,
        recorded_at=now,
    )
    session.add(
        SupersededEvent(
            shard=key.shard,
            accept_seq=history.latest.accept_seq,
            superseded_by=accept_seq,
            occurred_at=history.latest.occurred_at,
            recorded_at=now,
        )
    )


def _debit(ctx: Context, history: EventHistory, accept_seq: int, values: dict[str, Any]) -> None:
    """Debit the revision, and give the wallet the difference."""
    before = history.latest
    if before.wallet_id is None:
        return
    debit = _recount(ctx, before, before.wallet_id, values)
    ctx.session.add(
        UsageDebit(
            shard=history.key.shard,
            accept_seq=accept_seq,
            wallet_id=before.wallet_id,
            occurred_at=values["occurred_at"],
            **debit.columns,
        )
    )
    difference = (before.amount_units or 0) - debit.amount_units
    if not difference and not debit.changes:
        return
    post_adjustment(
        ctx.session,
        ctx.session.get_one(Wallet, before.wallet_id),
        amount_units=difference,
        kind=LedgerKind.AMENDMENT,
        counter_account=LedgerAccount.USAGE_UNBILLED,
        reference=f"amendment:{history.key.shard}:{accept_seq}",
        note=f"{history.key.source}/{history.key.event_id}, revision {before.revision + 1}",
        actor=ctx.actor.name,
        now=ctx.clock.now(),
        counter_changes=debit.changes,
    )


def _recount(
    ctx: Context, before: EventRevision, wallet_id: UUID, values: dict[str, Any]
) -> Recounted:
    account = load_account(ctx.session, before.account_id)
    if account is None:
        raise LookupError(f"account {before.account_id} is gone")
    event = None
    if not values["voided"]:
        event = Priceable(
            values["event_type"],
            values["dimensions"],
            microseconds(values["occurred_at"]),
            Decimal(values["quantity"]),
        )
    recount = Recount(ctx.session, account, wallet_id)
    counted = (before.rate_id, before.counted_on, before.counted_micros)
    try:
        recount.take_back(before.amount_units or 0, advance_of(wallet_id, *counted))
        return recount.finish(event, ctx.clock.now())
    except OverflowError:
        raise InvalidError(
            "The amount is more than a wallet can hold.",
            code="out_of_range",
            fields=[FieldError("quantity", "costs more than a wallet can hold")],
        ) from None
