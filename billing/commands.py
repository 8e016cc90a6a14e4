"""What every command has in common: an actor, a permission, an idempotency key, an audit row.

A command is a function of a `Context` and a `Request`, marked with `@command`. The mark checks the
permission first, answers a repeated idempotency key with the first result, and writes one audit
row that holds every row the command changed. The caller owns the transaction.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, field_validator
from sqlalchemy import Text, bindparam, cast, event, func, inspect, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import InstanceState, Mapper, Session, UOWTransaction
from sqlalchemy.orm.base import PassiveFlag

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.access.tables import AuditEntry, IdempotencyKey
from billing.clock import Clock
from billing.db.base import Base
from billing.errors import BillingError, ConflictError

_CHANGES = "changed_rows"
_Change = tuple[Base, dict[str, Any]]
"""A row, and what a flush wrote of it."""
_UNAUDITED_TABLES = frozenset({AuditEntry.__tablename__, IdempotencyKey.__tablename__})

P = ParamSpec("P")
R = TypeVar("R", bound=Base)
Q = TypeVar("Q", bound="Request")


class Request(BaseModel):
    """Base of a command's input: complete, immutable, and nothing that is not asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _refuse_unstorable(cls, value: object) -> object:
        """PostgreSQL cannot store NUL, nor UTF-8 half a pair of surrogates; better a named field
        than their errors."""
        problem = _unstorable(value)
        if problem is not None:
            raise ValueError(problem)
        return value


@dataclass(frozen=True, slots=True)
class Context:
    """Within what a command runs: the open transaction, who asks, and what time it is."""

    session: Session
    actor: Actor
    clock: Clock
    idempotency_key: str | None = None


def command(
    name: str, permission: Permission, *, unhashed: Collection[str] = ()
) -> Callable[[Callable[Concatenate[Context, P], R]], Callable[Concatenate[Context, P], R]]:
    """Mark a function as a command.

    Args:
        name: `concept.verb`, as it stands in the audit log.
        permission: what the actor needs.
        unhashed: keyword arguments that are no part of the caller's input, such as a secret made
            for this call; they differ when the same request is repeated.

    The function may raise `ForbiddenError` for a missing permission, and `ConflictError` with code
    `idempotency_key_reused` when its key was used before with other input.
    """

    def mark(
        function: Callable[Concatenate[Context, P], R],
    ) -> Callable[Concatenate[Context, P], R]:
        @wraps(function)
        def run(ctx: Context, /, *args: P.args, **kwargs: P.kwargs) -> R:
            ctx.actor.require(permission)
            hashed = _input_hash(name, args, _without(kwargs, unhashed))
            first = _first_result(ctx, name, ctx.idempotency_key, hashed)
            if first is not None:
                return first  # type: ignore[return-value]
            ctx.session.info[_CHANGES] = []
            result = function(ctx, *args, **kwargs)
            ctx.session.flush()
            changes: list[_Change] = ctx.session.info.pop(_CHANGES)
            _remember(ctx, ctx.idempotency_key, result)
            _audit(ctx, name, [(result, [change for _, change in changes])])
            return result

        return run

    return mark


def command_for_each(
    name: str, permission: Permission
) -> Callable[
    [Callable[[Context, Sequence[Q]], Sequence[R | BillingError]]],
    Callable[[Context, Sequence[Q], Sequence[str | None]], list[R | BillingError]],
]:
    """Mark a function that runs one command for many requests, in one transaction.

    It answers each request with its result, or with the error that refuses it; of what is refused
    nothing may have been changed. Each has a key of its own in place of the context's, as if it
    had been sent alone, and an audit row of its own.

    The function may raise what a function that `command` marks may.
    """

    def mark(
        function: Callable[[Context, Sequence[Q]], Sequence[R | BillingError]],
    ) -> Callable[[Context, Sequence[Q], Sequence[str | None]], list[R | BillingError]]:
        @wraps(function)
        def run(
            ctx: Context, requests: Sequence[Q], keys: Sequence[str | None], /
        ) -> list[R | BillingError]:
            ctx.actor.require(permission)
            answers: dict[int, Any] = {}
            # in one order, so that two who share keys wait for each other and do not lock up
            for key, place in sorted((key, at) for at, key in enumerate(keys) if key is not None):
                hashed = _input_hash(name, (requests[place],), {})
                answers[place] = _first_result(ctx, name, key, hashed)
            fresh = [place for place in range(len(requests)) if answers.get(place) is None]
            ctx.session.info[_CHANGES] = []
            found = function(ctx, [requests[place] for place in fresh]) if fresh else []
            ctx.session.flush()
            changes: list[_Change] = ctx.session.info.pop(_CHANGES)
            for place, result in zip(fresh, found, strict=True):
                answers[place] = result
                if isinstance(result, BillingError):
                    _forget(ctx, keys[place])
                else:
                    _remember(ctx, keys[place], result)
            done = [one for one in found if not isinstance(one, BillingError)]
            _audit(ctx, name, _by_result(ctx.session, done, changes))
            return [answers[place] for place in range(len(requests))]

        return run

    return mark


def canonical_json(value: object) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, decimals and dates as text."""
    return json.dumps(
        value, default=_plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )


def _unstorable(value: object) -> str | None:
    if isinstance(value, str):
        if "\x00" in value:
            return "remove the NUL character"
        if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
            return "remove the half of a pair of surrogates"
        return None
    parts: Iterable[object] = ()
    if isinstance(value, dict):
        parts = (part for pair in value.items() for part in pair)
    elif isinstance(value, list | tuple):
        parts = value
    return next((found for part in parts if (found := _unstorable(part))), None)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no canonical form")


def _without(kwargs: dict[str, Any], unhashed: Collection[str]) -> dict[str, object]:
    return {key: value for key, value in kwargs.items() if key not in unhashed}


def _input_hash(name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> bytes:
    return hashlib.sha256(canonical_json([name, args, kwargs]).encode()).digest()


def _first_result(ctx: Context, name: str, key: str | None, input_hash: bytes) -> Base | None:
    """Claim the key, or return what the command that claimed it first made.

    The insert waits for a concurrent holder of the same key, so of two racing requests one runs
    and the other gets its result.
    """
    if key is None:
        return None
    claimed = ctx.session.execute(
        insert(IdempotencyKey)
        .values(
            actor=ctx.actor.name,
            key=key,
            command=name,
            input_hash=input_hash,
            created_at=ctx.clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    ).scalar_one_or_none()
    if claimed is not None:
        return None
    earlier = ctx.session.get_one(IdempotencyKey, (ctx.actor.name, key))
    if earlier.input_hash != input_hash:
        raise ConflictError(
            f"The idempotency key {key!r} was used before with other input; "
            "use a new key for a new request.",
            code="idempotency_key_reused",
        )
    return _reload(ctx.session, earlier)


def _reload(session: Session, earlier: IdempotencyKey) -> Base:
    for mapper in Base.registry.mappers:
        if mapper.class_.__name__ == earlier.result_type:
            found: type[Base] = mapper.class_
            parts = zip(mapper.primary_key, earlier.result_key or [], strict=True)
            key = tuple(_parse(column.type.python_type, part) for column, part in parts)
            return session.get_one(found, key)
    raise LookupError(f"no table class is called {earlier.result_type}")


def _parse(kind: type[object], part: str) -> object:
    if kind is date:
        return date.fromisoformat(part)
    return UUID(part) if kind is UUID else part


def _remember(ctx: Context, key: str | None, result: Base) -> None:
    if key is None:
        return
    claim = ctx.session.get_one(IdempotencyKey, (ctx.actor.name, key))
    claim.result_type = type(result).__name__
    claim.result_key = [
        str(part) for part in inspect(result).mapper.primary_key_from_instance(result)
    ]


def _identity(row: Base) -> UUID | None:
    first, *others = inspect(row).mapper.primary_key_from_instance(row)
    return first if isinstance(first, UUID) and not others else None


def _forget(ctx: Context, key: str | None) -> None:
    """A refused request may be sent again under its key."""
    if key is not None:
        ctx.session.delete(ctx.session.get_one(IdempotencyKey, (ctx.actor.name, key)))


def _by_result(
    session: Session, results: Sequence[R], changes: Sequence[_Change]
) -> list[tuple[R, list[dict[str, Any]]]]:
    """The changes of each result: of itself and of rows that refer to it. What belongs to none of
    them, such as a counter they share, stands with the first."""
    mine: dict[object, list[dict[str, Any]]] = {id(result): [] for result in results}
    by_key = {(result.__tablename__, _identity(result)): result for result in results}
    for row, change in changes:
        owner = _owner(session, row, by_key) if len(results) > 1 else None
        if results:
            mine[id(owner or results[0])].append(change)
    return [(result, mine[id(result)]) for result in results]


def _owner(session: Session, row: Base, results: Mapping[tuple[str, Any], R]) -> R | None:
    """Which result a row belongs to, by its foreign keys and those of what it refers to."""
    state: InstanceState[Any] = inspect(row)
    found = results.get((row.__tablename__, _identity(row)))
    if found is not None:
        return found
    for key in state.mapper.local_table.foreign_keys:
        value = getattr(row, state.mapper.get_property_by_column(key.parent).key)
        found = results.get((key.column.table.name, value))
        if found is None and value is not None:
            mapper = _mapper_of(key.column.table.name)
            above = session.identity_map.get(mapper.identity_key_from_primary_key((value,)))
            if isinstance(above, Base) and above is not row:
                found = _owner(session, above, results)
        if found is not None:
            return found
    return None


@cache
def _mapper_of(table: str) -> Mapper[Any]:
    return next(one for one in Base.registry.mappers if one.class_.__tablename__ == table)


def _audit(ctx: Context, name: str, results: Sequence[tuple[Base, list[dict[str, Any]]]]) -> None:
    now = ctx.clock.now()
    rows = []
    for result, changes in results:
        entry = {
            "at": now,
            "actor": ctx.actor.name,
            "role": ctx.actor.role,
            "command": name,
            "entity": [type(result).__tablename__, _identity(result)],
            "rows": changes,
        }
        rows.append(
            {
                "seq": 0,  # the database numbers it, and chains the hash
                "at": now,
                "actor": ctx.actor.name,
                "role": ctx.actor.role.value,
                "command": name,
                "entity_type": type(result).__tablename__,
                "entity_id": _identity(result),
                "said": canonical_json(entry),
                "previous_hash": b"",
                "hash": b"",
            }
        )
    if rows:
        # what is hashed is sent once: the changes are a part of it
        said = bindparam("said", type_=Text)
        noted = func.jsonb_build_object("rows", cast(said, JSONB)["rows"])
        insertion = insert(AuditEntry).values(entry=said, changes=noted)
        ctx.session.connection().execute(insertion, rows)


@event.listens_for(Session, "after_flush")
def _collect_changes(session: Session, _: UOWTransaction) -> None:
    """Note what a flush wrote, while the state before it is still known."""
    changed: list[_Change] | None = session.info.get(_CHANGES)
    if changed is None:
        return
    for row in (*session.new, *session.dirty, *session.deleted):
        state: InstanceState[Any] = inspect(row)
        table = state.mapper.local_table.name  # type: ignore[attr-defined]
        if table in _UNAUDITED_TABLES:
            continue
        before, after = _before_and_after(state)
        if before != after:
            change = {"table": table, "id": _identity(row), "before": before, "after": after}
            changed.append((row, change))


def _before_and_after(state: InstanceState[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    # only what was set has a state before it; asking each attribute costs more than all else here
    for key in _audited(state.mapper).intersection(state.committed_state):
        history = state.get_history(key, PassiveFlag.PASSIVE_NO_INITIALIZE)
        if history.deleted:
            before[key] = history.deleted[0]
        if history.added:
            after[key] = history.added[0]
    return before, after


@cache
def _audited(mapper: Mapper[Any]) -> frozenset[str]:
    """The attributes of a table whose changes are noted."""
    return frozenset(
        attribute.key
        for attribute in mapper.column_attrs
        if attribute.columns[0].info.get("audit") is not False
    )


def verify_audit_chain(session: Session) -> int:
    """Recompute the chain from its first entry and return how many entries it has.

    Raises:
        ConflictError: naming the first entry that does not follow from the one before it.
    """
    previous, expected_seq = bytes(32), 1
    for row in session.scalars(select(AuditEntry).order_by(AuditEntry.seq)).yield_per(1000):
        digest = hashlib.sha256(previous + f"{row.seq}\n{row.entry}".encode()).digest()
        if (row.seq, row.previous_hash, row.hash) != (expected_seq, previous, digest):
            raise ConflictError(f"The audit log was altered at entry {expected_seq}.")
        previous, expected_seq = digest, expected_seq + 1
    return expected_seq - 1
