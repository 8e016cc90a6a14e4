"""`POST /api/v1/events`: one event or a batch, each item answered for itself."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.errors import ConflictError, FieldError, InvalidError, UnavailableError
from billing.usage.body import Item
from billing.usage.event import EventCheck, Rejected, UsageEvent
from billing.wallets.admissions import admission_of
from billing.wallets.holds import held_name
from billing.wallets.rate_card import BillableAccount
from ingest_api.intake.admission import ANSWER_SECONDS, MOST_PER_CALL, ShardIntake
from ingest_api.intake.conflicts import ConflictLog
from ingest_api.intake.directory import Directory
from ingest_api.intake.formats import Sent, read_request
from ingest_api.intake.http import NO_CONTENT, Answer
from ingest_api.intake.outcomes import (
    MOVED,
    UNAVAILABLE,
    Durability,
    Named,
    Outcome,
    Status,
)
from ingest_api.intake.pressure import Pressure
from ingest_api.limits.limiter import Limiter, What
from ingest_api.metrics.api import EVENTS

logger = structlog.get_logger(__name__)

_OK: Final = 200
_NONE: Final = dict.fromkeys((status.value for status in Status), 0)
_ACCEPTED: Final = 202
_MULTI_STATUS: Final = 207
_REJECTED: Final = EVENTS.labels("rejected")
_DURABLE: Final = frozenset({Status.ACCEPTED, Status.DUPLICATE})
_MOVE_SECONDS: Final = 0.02
"""How long it takes at least until an account that is on its way may have come."""
_ByShard = dict[int, tuple[list[int], list[Named]]]
"""What is asked of each shard, with the places in the request."""
_Outcomes = list[Outcome | Rejected]
_REPLAY: Final = [(b"idempotent-replay", b"true")]
_UNKNOWN_ACCOUNT: Final = "is not known, or did not name an account on that day"
_NOT_TAKEN: Final = {
    "queue_full": "The journal is full until what is in it was written. Send the events again.",
    "busy": "Too many events wait for their answer. Send them again.",
}
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

    async def handle(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to one request."""
        actor = await self._directory.actor(headers.get("authorization"))
        actor.require(Permission.USAGE_SEND)
        self._limiter.require_some(actor, What.EVENTS)
        now = self._clock.now()
        check = EventCheck(now, backfill=actor.may(Permission.USAGE_BACKFILL))
        number = 1  # so much costs a body that cannot be read, or that has nothing in it
        try:
            sent = read_request(headers, body, check, now)
            number = len(sent.items) or 1
        finally:
            await self._limiter.spend(actor, What.EVENTS, number)
        outcomes = await self._take(actor, sent.items)
        if not sent.as_cloud_events:
            answer = _all_accepted(sent, outcomes)
            if answer is not None:
                return answer
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
        outcomes: _Outcomes = [UNAVAILABLE] * len(items)
        by_shard: _ByShard = {}
        accounts = await self._accounts(actor, items)
        for index, (item, account) in enumerate(zip(items, accounts, strict=True)):
            found = item if isinstance(item, Rejected) else self._name(item, account)
            if isinstance(found, Named):
                places, events = by_shard.setdefault(found.shard, ([], []))
                places.append(index)
                events.append(found)
            else:
                outcomes[index] = found
                if isinstance(found, Rejected):
                    _REJECTED.inc()
        await self._ask(by_shard, outcomes)
        if any(one is MOVED for one in outcomes):
            await self._follow_moved(actor, items, outcomes)
        return outcomes

    async def _ask(self, by_shard: _ByShard, outcomes: _Outcomes) -> None:
        parts = [
            self._fill(
                shard, places[at : at + MOST_PER_CALL], events[at : at + MOST_PER_CALL], outcomes
            )
            for shard, (places, events) in by_shard.items()
            for at in range(0, len(events), MOST_PER_CALL)
        ]
        if len(parts) == 1:
            await parts[0]  # as a task of its own it would wait for a turn of the loop
        elif parts:
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
                        found = self._name(item, await self._account(actor, item))
                    except (UnavailableError, SQLAlchemyError, OSError):
                        return
                    if isinstance(found, Named):
                        places, events = by_shard.setdefault(found.shard, ([], []))
                        places.append(index)
                        events.append(found)
            if not by_shard:
                return
            await self._ask(by_shard, outcomes)

    async def _fill(
        self,
        shard: int,
        places: Sequence[int],
        events: Sequence[Named],
        outcomes: _Outcomes,
    ) -> None:
        taken = await self._pressure.take(shard, self._shards[shard], events)
        for index, outcome in zip(places, taken, strict=True):
            outcomes[index] = outcome

    async def _accounts(
        self, actor: Actor, items: Sequence[Item]
    ) -> list[BillableAccount | Outcome | None]:
        """The account of each item, in their order; an outcome, where it cannot be looked up."""
        peek = self._directory.peek
        found: list[BillableAccount | Outcome | None] = [
            None
            if isinstance(item, Rejected) or item.by_alias or actor.customer_id is not None
            else peek(item.account)
            for item in items
        ]
        missing = [
            (index, item)
            for index, item in enumerate(items)
            if found[index] is None and isinstance(item, UsageEvent)
        ]
        unknown = {
            item.account for _, item in missing if not item.by_alias and peek(item.account) is None
        }
        if len(unknown) > 1:
            await self._directory.prepare(unknown)
        for index, item in missing:
            try:
                found[index] = await self._account(actor, item)
            except (UnavailableError, SQLAlchemyError, OSError) as error:
                # the other events of the batch may be of accounts that are in memory
                logger.warning("account not found", reason=str(error).partition("\n")[0])
                found[index] = UNAVAILABLE
        return found

    def _name(
        self, event: UsageEvent, account: BillableAccount | Outcome | None
    ) -> Named | Rejected | Outcome:
        """The event with its price worked out."""
        if isinstance(account, Outcome):
            return account
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
        return Named(event.source, event.event_id, admission, allowed, account.shard)

    async def _account(self, actor: Actor, event: UsageEvent) -> BillableAccount | None:
        found = await self._directory.account(
            actor, event.account, event.occurred_at, by_alias=event.by_alias
        )
        if found is None and event.id_or_alias and not event.by_alias:
            # the sender's own ids look like ours
            found = await self._directory.account(
                actor, event.account, event.occurred_at, by_alias=True
            )
        return found


def _all_accepted(sent: Sent, outcomes: Sequence[Outcome | Rejected]) -> Answer | None:
    """The answer to nearly every request, written by hand; None if it is another one.

    Sources and ids need no escapes: `EventCheck` lets none through that would.
    """
    said: list[str] = []
    tail, before, status = "", None, _OK
    for item, one in zip(sent.items, outcomes, strict=True):
        if one is not before:
            if not isinstance(one, Outcome) or one.status is not Status.ACCEPTED:
                return None
            before, tail = one, _tail(one)
            if one.durability is Durability.JOURNAL:
                status = _ACCEPTED
        source, event_id = item.source, item.event_id
        said.append(
            f'{{"id":"{source}/{event_id}","type":"event",'
            f'"attributes":{{"source":"{source}","event_id":"{event_id}",{tail}'
        )
    if not sent.is_batch:
        return Answer(msgspec.Raw(said[0].encode()), status=status)
    counts = {**_NONE, Status.ACCEPTED.value: len(said)}
    data = msgspec.Raw(f"[{','.join(said)}]".encode())
    return Answer(data, status=status, meta={"counts": counts})


def _tail(outcome: Outcome) -> str:
    """What is the same for all events of one outcome."""
    assert outcome.accepted_at is not None  # noqa: S101 - as of all that were accepted
    at = msgspec.json.encode(_utc(outcome.accepted_at)).decode()
    return f'"status":"accepted","accepted_at":{at},"durability":"{outcome.durability.value}"}}}}'


def _single(item: Item, outcome: Outcome | Rejected) -> Answer:
    if isinstance(outcome, Rejected):
        raise InvalidError("The event is not valid.", code=outcome.code, fields=outcome.fields)
    match outcome.status:
        case Status.REJECTED:
            code = outcome.code or "rejected"
            raise InvalidError("The event was not taken.", code=code, fields=[_REASONS[code]])
        case Status.UNAVAILABLE:
            raise _try_again([outcome])
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
        raise _try_again(outcomes)
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
        raise _try_again(outcomes, {"events": answer.data})
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


def _try_again(
    outcomes: Sequence[Outcome | Rejected], details: Mapping[str, object] | None = None
) -> UnavailableError:
    """Why nothing is said of all of them: none was taken, or of some it is not known."""
    codes = {one.code for one in outcomes}
    for code, message in _NOT_TAKEN.items():
        if codes == {code}:
            return UnavailableError(message, code=code, details=details)
    return UnavailableError(
        "It is not known yet whether the events were taken. Send them again with the same ids.",
        code="try_again",
        details=details,
    )
