"""What the writer set aside: looked at, mended, taken in after all, or discarded with a reason.

A replay begins in PostgreSQL, as a revision does: the event passes the checks of the door, gets its
place in the shard's order under the lock of the shard's row, is debited, and Redis hears of the
debit as of any other adjustment. It keeps its identity, so a sender that repeats it is told that it
is known.
"""

import json
from collections.abc import Sequence
from uuid import UUID

from pydantic import Field, StrictInt, StrictStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.errors import (
    ConflictError,
    FieldError,
    InvalidError,
    PreconditionError,
    not_found,
)
from billing.usage.accounts import account_of
from billing.usage.body import read_events
from billing.usage.event import EventCheck, Rejected, UsageEvent
from billing.usage.hash import BODY_HASH_BYTES
from billing.usage.recount import Priceable, Recount
from billing.usage.row_reader import read_row
from billing.usage.tables import (
    EventKey,
    QuarantinedEntry,
    QuarantineStatus,
    ShardState,
    UsageDebit,
)
from billing.usage.writing import insert_raw_event
from billing.wallets.ledger import post_adjustment
from billing.wallets.rate_card import BillableAccount
from billing.wallets.tables import LedgerAccount, LedgerKind, Wallet

EventFields = dict[str, StrictInt | StrictStr | dict[str, StrictStr]]
"""An event as JSON has it, whatever it says."""


def list_quarantine(
    session: Session,
    actor: Actor,
    *,
    status: QuarantineStatus | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[QuarantinedEntry]:
    """What was set aside, the newest first, one page at a time."""
    actor.require(Permission.USAGE_QUARANTINE)
    query = select(QuarantinedEntry).order_by(QuarantinedEntry.id.desc()).limit(limit)
    if status is not None:
        query = query.where(QuarantinedEntry.status == status)
    if after is not None:
        query = query.where(QuarantinedEntry.id < after)
    return session.scalars(query).all()


def find_quarantined(session: Session, actor: Actor, entry_id: UUID) -> QuarantinedEntry:
    """One thing that was set aside.

    Raises:
        NotFoundError: if there is none.
    """
    actor.require(Permission.USAGE_QUARANTINE)
    entry = session.get(QuarantinedEntry, entry_id)
    if entry is None:
        raise not_found("quarantined_event", entry_id)
    return entry


class MendQuarantined(Request):
    """What an event should have said: the whole of it, as a sender would send it."""

    entry_id: UUID
    event: EventFields


class ReplayQuarantined(Request):
    """Take an event in after all, as it stands now."""

    entry_id: UUID


class DiscardQuarantined(Request):
    """Never take it in."""

    entry_id: UUID
    reason: str = Field(min_length=3, max_length=500)


@command("event.mend", Permission.USAGE_QUARANTINE)
def mend_quarantined(ctx: Context, request: MendQuarantined) -> QuarantinedEntry:
    """Write down what the event should have said; it is not taken in yet.

    Raises:
        NotFoundError: if there is no such entry.
        PreconditionError: if it is settled.
        InvalidError: if that is no event that could be taken in, or another one's.
    """
    entry = _open(ctx, request.entry_id)
    text = json.dumps(request.event)
    event = _checked(ctx, entry, text)
    _account(ctx, event)
    entry.event = text
    entry.source, entry.event_id = event.source, event.event_id
    return entry


@command("event.replay", Permission.USAGE_QUARANTINE)
def replay_quarantined(ctx: Context, request: ReplayQuarantined) -> QuarantinedEntry:
    """Take the event in: key, raw event, debit and ledger in this transaction.

    If it was taken in meanwhile, with the same body, nothing more happens.

    Raises:
        NotFoundError: if there is no such entry.
        PreconditionError: if it is settled, or cannot be read and was not mended.
        InvalidError: if the event as it stands could not be taken in.
        ConflictError: if its id was taken in with another body.
    """
    session = ctx.session
    entry = _open(ctx, request.entry_id)
    if entry.event is None:
        raise PreconditionError(
            "What was set aside cannot be read. Mend it first.", code="not_readable"
        )
    event = _checked(ctx, entry, entry.event)
    account = _account(ctx, event)
    shard = session.get_one(ShardState, account.shard, with_for_update=True, populate_existing=True)
    known = session.get(EventKey, (event.source, event.event_id))
    if known is None:
        shard.accept_seq += 1
        _write(ctx, entry, event, account, shard.accept_seq)
    elif known.body_hash != _hash_of(entry, event):
        raise ConflictError(
            "This id was taken in meanwhile with another body. Discard this one, or revise that.",
            code="event_conflict",
        )
    _settle(ctx, entry, QuarantineStatus.REPLAYED)
    return entry


@command("event.discard", Permission.USAGE_QUARANTINE)
def discard_quarantined(ctx: Context, request: DiscardQuarantined) -> QuarantinedEntry:
    """Settle an entry without taking anything in; it stays to be read, with the reason.

    Raises:
        NotFoundError: if there is no such entry.
        PreconditionError: if it is settled.
    """
    entry = _open(ctx, request.entry_id)
    entry.note = request.reason
    _settle(ctx, entry, QuarantineStatus.DISCARDED)
    return entry


def _open(ctx: Context, entry_id: UUID) -> QuarantinedEntry:
    entry = ctx.session.get(
        QuarantinedEntry, entry_id, with_for_update=True, populate_existing=True
    )
    if entry is None:
        raise not_found("quarantined_event", entry_id)
    if entry.status is not QuarantineStatus.OPEN:
        raise PreconditionError(
            f"It was {entry.status.value} by {entry.settled_by}.", code="already_settled"
        )
    return entry


def _settle(ctx: Context, entry: QuarantinedEntry, status: QuarantineStatus) -> None:
    entry.status = status
    entry.settled_at, entry.settled_by = ctx.clock.now(), ctx.actor.name


def _checked(ctx: Context, entry: QuarantinedEntry, text: str) -> UsageEvent:
    """The event, as the door would see it; it was sent in time, whenever it is replayed."""
    check = EventCheck(ctx.clock.now(), backfill=True)
    items, is_batch = read_events(text.encode(), check)
    event = items[0]
    if is_batch:
        raise InvalidError("Give one event.", fields=[FieldError("event", "must be one event")])
    if isinstance(event, Rejected):
        raise InvalidError("The event is not valid.", code=event.code, fields=event.fields)
    for name in ("source", "event_id"):
        before = getattr(entry, name)
        if before is not None and "\\" not in before and before != getattr(event, name):
            raise InvalidError(
                "A replay keeps the identity of the event.",
                fields=[FieldError(name, f"must stay {before}")],
            )
    return event


def _account(ctx: Context, event: UsageEvent) -> BillableAccount:
    account = account_of(ctx.session, event)
    if account is None:
        raise InvalidError(
            "No account is known by that name on that day.",
            code="unknown_account",
            fields=[FieldError("alias" if event.by_alias else "account_id", "is not known")],
        )
    return account


def _hash_of(entry: QuarantinedEntry, event: UsageEvent) -> bytes:
    """The hash of the body that was sent: it may have named the account by an alias, and is what
    the sender will repeat, however the event was mended."""
    try:
        sent: bytes = read_row(entry.payload)["body_hash"]
    except ValueError:
        return event.body_hash
    return sent if len(sent) == BODY_HASH_BYTES else event.body_hash


def _write(
    ctx: Context,
    entry: QuarantinedEntry,
    event: UsageEvent,
    account: BillableAccount,
    accept_seq: int,
) -> None:
    session, now = ctx.session, ctx.clock.now()
    session.add(
        EventKey(
            source=event.source,
            event_id=event.event_id,
            body_hash=_hash_of(entry, event),
            shard=account.shard,
            accept_seq=accept_seq,
            epoch=entry.epoch,
            stream_ms=entry.stream_ms,
            stream_seq=entry.stream_seq,
            account_id=account.id,
            occurred_at=event.occurred_at,
            received_at=entry.recorded_at,
        )
    )
    insert_raw_event(
        session,
        shard=account.shard,
        accept_seq=accept_seq,
        source=event.source,
        event_id=event.event_id,
        revision=1,
        account_id=account.id,
        event_type=event.event_type,
        occurred_at=event.occurred_at,
        quantity=event.quantity,
        dimensions=event.dimensions,
        vendor_cost=event.cost,
        voided=False,
        received_at=entry.recorded_at,
        recorded_at=now,
    )
    if account.wallet_id is not None:
        _debit(ctx, account, account.wallet_id, event, accept_seq)


def _debit(
    ctx: Context, account: BillableAccount, wallet_id: UUID, event: UsageEvent, accept_seq: int
) -> None:
    priceable = Priceable(event.event_type, event.dimensions, event.occurred_us, event.quantity)
    try:
        debit = Recount(ctx.session, account, wallet_id).finish(priceable, ctx.clock.now())
    except OverflowError:
        raise InvalidError(
            "The amount is more than a wallet can hold.",
            code="out_of_range",
            fields=[FieldError("quantity", "costs more than a wallet can hold")],
        ) from None
    ctx.session.add(
        UsageDebit(
            shard=account.shard,
            accept_seq=accept_seq,
            wallet_id=wallet_id,
            occurred_at=event.occurred_at,
            **debit.columns,
        )
    )
    if debit.amount_units or debit.changes:
        post_adjustment(
            ctx.session,
            ctx.session.get_one(Wallet, wallet_id),
            amount_units=-debit.amount_units,
            kind=LedgerKind.USAGE,
            counter_account=LedgerAccount.USAGE_UNBILLED,
            reference=f"usage:{account.shard}:{accept_seq}:{wallet_id}",
            note=f"{event.source}/{event.event_id}, replayed",
            actor=ctx.actor.name,
            now=ctx.clock.now(),
            counter_changes=debit.changes,
        )
