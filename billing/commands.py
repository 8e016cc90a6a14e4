"""What every command has in common: an actor, a permission, an idempotency key, an audit row.

A command is a function of a `Context` and a `Request`, marked with `@command`. The mark checks the
permission first, answers a repeated idempotency key with the first result, and writes one audit
row that holds every row the command changed. The caller owns the transaction.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, field_validator
from sqlalchemy import event, inspect, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstanceState, Session, UOWTransaction

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.access.tables import AuditEntry, IdempotencyKey
from billing.clock import Clock
from billing.db.base import Base
from billing.errors import ConflictError

_CHANGES = "changed_rows"
_UNAUDITED_TABLES = frozenset({AuditEntry.__tablename__, IdempotencyKey.__tablename__})

P = ParamSpec("P")
R = TypeVar("R", bound=Base)


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
            first = _first_result(ctx, name, _input_hash(name, args, _without(kwargs, unhashed)))
            if first is not None:
                return first  # type: ignore[return-value]
            ctx.session.info[_CHANGES] = []
            result = function(ctx, *args, **kwargs)
            ctx.session.flush()
            _remember(ctx, result)
            _audit(ctx, name, result)
            return result

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


def _first_result(ctx: Context, name: str, input_hash: bytes) -> Base | None:
    """Claim the key, or return what the command that claimed it first made.

    The insert waits for a concurrent holder of the same key, so of two racing requests one runs
    and the other gets its result.
    """
    if ctx.idempotency_key is None:
        return None
    claimed = ctx.session.execute(
        insert(IdempotencyKey)
        .values(
            actor=ctx.actor.name,
            key=ctx.idempotency_key,
            command=name,
            input_hash=input_hash,
            created_at=ctx.clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    ).scalar_one_or_none()
    if claimed is not None:
        return None
    earlier = ctx.session.get_one(IdempotencyKey, (ctx.actor.name, ctx.idempotency_key))
    if earlier.input_hash != input_hash:
        raise ConflictError(
            f"The idempotency key {ctx.idempotency_key!r} was used before with other input; "
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


def _remember(ctx: Context, result: Base) -> None:
    if ctx.idempotency_key is None:
        return
    claim = ctx.session.get_one(IdempotencyKey, (ctx.actor.name, ctx.idempotency_key))
    claim.result_type = type(result).__name__
    claim.result_key = [
        str(part) for part in inspect(result).mapper.primary_key_from_instance(result)
    ]


def _identity(row: Base) -> UUID | None:
    first, *others = inspect(row).mapper.primary_key_from_instance(row)
    return first if isinstance(first, UUID) and not others else None


def _audit(ctx: Context, name: str, result: Base) -> None:
    now = ctx.clock.now()
    changes = {"rows": ctx.session.info.pop(_CHANGES)}
    entry = {
        "at": now,
        "actor": ctx.actor.name,
        "role": ctx.actor.role,
        "command": name,
        "entity": [type(result).__tablename__, _identity(result)],
        **changes,
    }
    canonical = canonical_json(entry)
    ctx.session.execute(
        insert(AuditEntry).values(
            seq=0,  # the database numbers it, and chains the hash
            at=now,
            actor=ctx.actor.name,
            role=ctx.actor.role.value,
            command=name,
            entity_type=type(result).__tablename__,
            entity_id=_identity(result),
            changes=json.loads(canonical_json(changes)),
            entry=canonical,
            previous_hash=b"",
            hash=b"",
        )
    )


@event.listens_for(Session, "after_flush")
def _collect_changes(session: Session, _: UOWTransaction) -> None:
    """Note what a flush wrote, while the state before it is still known."""
    changed: list[dict[str, Any]] | None = session.info.get(_CHANGES)
    if changed is None:
        return
    for row in (*session.new, *session.dirty, *session.deleted):
        state: InstanceState[Any] = inspect(row)
        table = state.mapper.local_table.name  # type: ignore[attr-defined]
        if table in _UNAUDITED_TABLES:
            continue
        before, after = _before_and_after(state)
        if before != after:
            changed.append({"table": table, "id": _identity(row), "before": before, "after": after})


def _before_and_after(state: InstanceState[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for attribute in state.mapper.column_attrs:
        if attribute.columns[0].info.get("audit") is False:
            continue
        history = state.attrs[attribute.key].history
        if history.deleted:
            before[attribute.key] = history.deleted[0]
        if history.added:
            after[attribute.key] = history.added[0]
    return before, after


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
