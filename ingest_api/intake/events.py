"""`POST /api/v1/events`: one event or a batch, each item answered for itself."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.errors import ConflictError, FieldError, InvalidError, UnavailableError
from billing.usage.body import Item
from billing.usage.event import EventCheck, Rejected, UsageEvent
from billing.wallets.admissions import admission_of
from billing.wallets.holds import held_name
from billing.wallets.rate_card import BillableAccount
from ingest_api.intake.admission import (
    ANSWER_SECONDS,
    MOST_PER_CALL,
    MOVED,
    UNAVAILABLE,
    Durability,
    Named,
    Outcome,
    ShardIntake,
    Status,
)
from ingest_api.intake.conflicts import ConflictLog
from ingest_api.intake.directory import Directory
from ingest_api.intake.formats import read_request
from ingest_api.intake.http import NO_CONTENT, Answer
from ingest_api.intake.pressure import Pressure
from ingest_api.limits.limiter import Limiter, What
from ingest_api.metrics.api import EVENTS

logger = structlog.get_logger(__name__)

_OK: Final = 200
_ACCEPTED: Final = 202
_MULTI_STATUS: Final = 207
_DURABLE: Final = frozenset({Status.ACCEPTED, Status.DUPLICATE})
_MOVE_SECONDS: Final = 0.02
"""How long it takes at least until an account that is on its way may have come."""
_ByShard = dict[int, list[tuple[int, Named]]]
"""What is asked of each shard, with its place in the request."""
_Outcomes = list[Outcome | Rejected | None]
_REPLAY: Final = [(b"idempotent-replay", b"true")]
_UNKNOWN_ACCOUNT: Final = "is not known, or did not name an account on that day"
_REASONS: Final = {
    "out_of_range": FieldError("quantity", "the amount or the balance exceeds what a wallet holds"),
    "quarantined": FieldError("event_id", "was set aside for an operator; ask for its release"),
}


class Events:
    """Takes in events."""

    def __init__(
        self,
        directory: Directory,
        shards: Sequence[ShardIntake],
        clock: Clock,
        limiter: Limiter,
        conflicts: ConflictLog,
        pressure: Pressure,
    ) -> None:
        self._pressure = pressure
        self._limiter = limiter
        self._conflicts = conflicts
        self._directory = directory
        self._shards = shards
        self._clock = clock

    async def handle(self, headers: Headers, body: bytes) -> Answer:
        """The answer to one request."""
        actor = await self._directory.actor(headers.get("authorization"))
        actor.require(Permission.USAGE_SEND)
        self._limiter.require_some(actor, What.EVENTS)
        now = self._clock.now()
        check = EventCheck(now, backfill=actor.may(Permission.USAGE_BACKFILL))
        sent = read_request(headers, body, check, now)
        await self._limiter.spend(actor, What.EVENTS, len(sent.items))
        outcomes = await self._take(actor, sent.items)
        refused = _in_conflict(sent.items, outcomes)
        if refused:
            await self._conflicts.note(refused)
        if refused and not sent.is_batch:
            raise _conflict(await self._conflicts.first(refused[0]))
        if not sent.is_batch:
            answer = _single(sent.items[0], outcomes[0])
        elif sent.as_cloud_events:
            return _cloud_batch(sent.items, outcomes)
        else:
            return _batch(sent.items, outcomes)
        if sent.as_cloud_events and answer.status == _OK:
            return Answer(None, status=NO_CONTENT, headers=answer.headers)
        return answer

    async def _take(self, actor: Actor, items: Sequence[Item]) -> list[Outcome | Rejected]:
        outcomes: _Outcomes = [None] * len(items)
        by_shard: _ByShard = {}
        unknown = {
            item.account
            for item in items
            if isinstance(item, UsageEvent)
            and not item.by_alias
            and self._directory.peek(item.account) is None
        }
        if len(unknown) > 1:
            await self._directory.prepare(unknown)
        for index, item in enumerate(items):
            found = item if isinstance(item, Rejected) else await self._name_if_known(actor, item)
            if isinstance(found, Rejected):
                outcomes[index] = found
                EVENTS.labels("rejected").inc()
            elif isinstance(found, Outcome):
                outcomes[index] = found
            else:
                shard, named = found
                by_shard.setdefault(shard, []).append((index, named))
        await self._ask(by_shard, outcomes)
        if any(one is MOVED for one in outcomes):
            await self._follow_moved(actor, items, outcomes)
        return [one for one in outcomes if one is not None]

    async def _ask(self, by_shard: _ByShard, outcomes: _Outcomes) -> None:
        parts = [
            self._fill(shard, named[start : start + MOST_PER_CALL], outcomes)
            for shard, named in by_shard.items()
            for start in range(0, len(named), MOST_PER_CALL)
        ]
        if len(parts) == 1:
            await parts[0]  # as a task of its own it would wait for a turn of the loop
        else:
            await asyncio.gather(*parts)

    async def _follow_moved(self, actor: Actor, items: Sequence[Item], outcomes: _Outcomes) -> None:
        """Accounts that are being moved to another shard: asked for there, as soon as it is so."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + ANSWER_SECONDS
        while loop.time() < give_up:
            await asyncio.sleep(_MOVE_SECONDS)
            by_shard: _ByShard = {}
            for index, item in enumerate(items):
                if outcomes[index] is MOVED and isinstance(item, UsageEvent):
                    try:
                        known = await self._account(actor, item)
                        if known is not None:
                            await self._directory.again(known.id)
                    except (UnavailableError, SQLAlchemyError, OSError):
                        return
                    found = await self._name_if_known(actor, item)
                    if isinstance(found, tuple):
                        by_shard.setdefault(found[0], []).append((index, found[1]))
            if not by_shard:
                return
            await self._ask(by_shard, outcomes)

    async def _fill(
        self,
        shard: int,
        named: Sequence[tuple[int, Named]],
        outcomes: _Outcomes,
    ) -> None:
        events = [one for _, one in named]
        taken = await self._pressure.take(shard, self._shards[shard], events)
        for (index, _), outcome in zip(named, taken, strict=True):
            outcomes[index] = outcome

    async def _name_if_known(
        self, actor: Actor, event: UsageEvent
    ) -> tuple[int, Named] | Rejected | Outcome:
        try:
            return await self._name(actor, event)
        except (UnavailableError, SQLAlchemyError, OSError) as error:
            # the other events of the batch may be of accounts that are in memory
            logger.warning("account not found", reason=str(error).partition("\n")[0])
            return UNAVAILABLE

    async def _name(self, actor: Actor, event: UsageEvent) -> tuple[int, Named] | Rejected:
        """The event with its account found and its price worked out."""
        account = await self._account(actor, event)
        if account is None or account.shard >= len(self._shards):
            named = "alias" if event.by_alias else "account_id"
            field = "subject" if event.id_or_alias else named
            return Rejected(
                event.source,
                event.event_id,
                [FieldError(field, _UNKNOWN_ACCOUNT)],
                code="unknown_account",
            )
        try:
            admission = admission_of(account, event)
        except OverflowError:
            return Rejected(
                event.source, event.event_id, [_REASONS["out_of_range"]], code="out_of_range"
            )
        if event.authorization_id:
            admission.hold = held_name(account.id, event.authorization_id)
        if account.quotas:
            uses = (
                (
                    one.name(event.occurred_us),
                    one.micros(event.event_type, event.dimensions, event.quantity),
                )
                for one in account.quotas
            )
            admission.quotas = tuple(use for use in uses if use[1])
        allowed = account.standing.journal_answers
        return account.shard, Named(event.source, event.event_id, admission, allowed)

    async def _account(self, actor: Actor, event: UsageEvent) -> BillableAccount | None:
        if not event.by_alias and actor.customer_id is None:
            found = self._directory.peek(event.account)
            if found is not None:
                return found
        found = await self._directory.account(
            actor, event.account, event.occurred_at, by_alias=event.by_alias
        )
        if found is None and event.id_or_alias and not event.by_alias:
            # the sender's own ids look like ours
            found = await self._directory.account(
                actor, event.account, event.occurred_at, by_alias=True
            )
        return found


def _single(item: Item, outcome: Outcome | Rejected) -> Answer:
    if isinstance(outcome, Rejected):
        raise InvalidError("The event is not valid.", code=outcome.code, fields=outcome.fields)
    match outcome.status:
        case Status.REJECTED:
            code = outcome.code or "rejected"
            raise InvalidError("The event was not taken.", code=code, fields=[_REASONS[code]])
        case Status.UNAVAILABLE:
            raise _try_again()
    replay = _REPLAY if outcome.status is Status.DUPLICATE else []
    status = _OK if outcome.durability is Durability.LEDGER else _ACCEPTED
    return Answer(_resource(item, outcome), status=status, headers=replay)


def _in_conflict(items: Sequence[Item], outcomes: Sequence[Outcome | Rejected]) -> list[UsageEvent]:
    return [
        item
        for item, one in zip(items, outcomes, strict=True)
        if isinstance(one, Outcome)
        and one.status is Status.CONFLICT
        and isinstance(item, UsageEvent)
    ]


def _conflict(first: Mapping[str, object]) -> ConflictError:
    return ConflictError(
        "This id was sent before with another body. Nothing was changed: to correct an event, "
        "post a revision of it.",
        code="event_conflict",
        details=first,
    )


def _batch(items: Sequence[Item], outcomes: Sequence[Outcome | Rejected]) -> Answer:
    if all(isinstance(one, Outcome) and one.status is Status.UNAVAILABLE for one in outcomes):
        raise _try_again()
    counts = dict.fromkeys(Status, 0)
    for one in outcomes:
        counts[Status.REJECTED if isinstance(one, Rejected) else one.status] += 1
    in_journal = any(
        isinstance(one, Outcome) and one.durability is Durability.JOURNAL for one in outcomes
    )
    return Answer(
        [_resource(item, outcome) for item, outcome in zip(items, outcomes, strict=True)],
        status=_ACCEPTED if in_journal else _OK,
        meta={"counts": {status.value: number for status, number in counts.items()}},
    )


def _cloud_batch(items: Sequence[Item], outcomes: Sequence[Outcome | Rejected]) -> Answer:
    """Nothing if all is durable; else what became of each, with a status that is no plain success.

    A sender that only looks at the status has to send the batch again as long as one event may
    not have been taken: those that were are then known.
    """
    taken = all(isinstance(one, Outcome) and one.status in _DURABLE for one in outcomes)
    if not items:
        return Answer(None, status=NO_CONTENT)
    answer = _batch(items, outcomes)
    if taken:
        return Answer(None, status=NO_CONTENT) if answer.status == _OK else answer
    if any(isinstance(one, Outcome) and one.status is Status.UNAVAILABLE for one in outcomes):
        raise _try_again({"events": answer.data})
    return msgspec.structs.replace(answer, status=_MULTI_STATUS)


def _resource(item: Item, outcome: Outcome | Rejected) -> dict[str, Any]:
    attributes: dict[str, Any] = {"source": item.source, "event_id": item.event_id}
    if isinstance(outcome, Rejected):
        attributes |= {"status": "rejected", "code": outcome.code, "fields": outcome.fields}
    else:
        attributes["status"] = outcome.status.value
        if outcome.accepted_at is not None:
            attributes["accepted_at"] = _utc(outcome.accepted_at)
            attributes["durability"] = outcome.durability.value
        if outcome.code is not None:
            attributes["code"] = outcome.code
        if outcome.code in _REASONS:
            attributes["fields"] = [_REASONS[outcome.code]]
    return {
        "id": f"{item.source}/{item.event_id}",
        "type": "event",
        "attributes": attributes,
    }


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


def _try_again(details: Mapping[str, object] | None = None) -> UnavailableError:
    return UnavailableError(
        "It is not known yet whether the events were taken. Send them again with the same ids.",
        code="try_again",
        details=details,
    )
