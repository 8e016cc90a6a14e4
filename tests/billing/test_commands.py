"""What every command has in common, shown on the smallest ones."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, func, select

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Role
from billing.access.tables import AuditEntry, IdempotencyKey
from billing.clock import ManualClock
from billing.commands import Context, canonical_json, verify_audit_chain
from billing.customers.service import (
    CreateCustomer,
    UpdateCustomer,
    create_customer,
    update_customer,
)
from billing.customers.tables import Customer
from billing.db.engine import open_engine
from billing.db.unit_of_work import after_commit, read_only, unit_of_work
from billing.errors import ConflictError, ForbiddenError

ACME = CreateCustomer(code="acme", name="Acme")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A fresh database."""
    engine = open_engine(database_url, application="test-commands", pool_size=3)
    yield engine
    engine.dispose()


def _count(engine: Engine, table: type[Customer] | type[AuditEntry] | type[IdempotencyKey]) -> int:
    with read_only(engine) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def _create_and_mail(
    engine: Engine, clock: ManualClock, sent: list[str], *, fail: bool = False
) -> None:
    with unit_of_work(engine) as session:
        after_commit(session, lambda: sent.append("mail"))
        create_customer(Context(session, SYSTEM, clock, "key-1"), ACME)
        assert sent == []
        if fail:
            raise RuntimeError("later")


def test_what_rolls_back_leaves_no_entry_no_key_and_no_side_effect(
    engine: Engine, clock: ManualClock
) -> None:
    sent: list[str] = []
    with pytest.raises(RuntimeError, match="later"):
        _create_and_mail(engine, clock, sent, fail=True)
    assert [_count(engine, table) for table in (Customer, AuditEntry, IdempotencyKey)] == [0, 0, 0]
    assert sent == []
    _create_and_mail(engine, clock, sent)
    assert sent == ["mail"]


def test_permission_is_asked_before_the_idempotency_key_tells_anything(
    engine: Engine, clock: ManualClock
) -> None:
    clerk = Actor("clerk", Role.FINANCE_ADMIN)
    with unit_of_work(engine) as session:
        create_customer(Context(session, clerk, clock, "key-1"), ACME)
    demoted = replace(clerk, role=Role.SUPPORT)
    with pytest.raises(ForbiddenError), unit_of_work(engine) as session:
        create_customer(Context(session, demoted, clock, "key-1"), ACME)


def test_several_commands_of_one_transaction_have_an_entry_each(
    engine: Engine, clock: ManualClock
) -> None:
    with unit_of_work(engine) as session:
        context = Context(session, SYSTEM, clock)
        customer = create_customer(context, ACME)
        update_customer(context, UpdateCustomer(customer_id=customer.id, name="Acme Limited"))
    with read_only(engine) as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.seq)).all()
        assert verify_audit_chain(session) == 2
    assert [entry.command for entry in entries] == ["customer.create", "customer.update"]
    (created,), (updated,) = (entry.changes["rows"] for entry in entries)
    assert created["before"] == {}
    assert updated["before"] == {"name": "Acme"}
    assert updated["after"] == {"name": "Acme Limited"}
    assert entries[1].previous_hash == entries[0].hash


def test_a_key_is_bound_to_the_input_it_came_with(engine: Engine, clock: ManualClock) -> None:
    with unit_of_work(engine) as session:
        first = create_customer(Context(session, SYSTEM, clock, "key-1"), ACME)
    with unit_of_work(engine) as session:
        again = create_customer(Context(session, SYSTEM, clock, "key-1"), ACME)
        assert again.id == first.id
    other = ACME.model_copy(update={"name": "Acme Two"})
    with pytest.raises(ConflictError) as refused, unit_of_work(engine) as session:
        create_customer(Context(session, SYSTEM, clock, "key-1"), other)
    assert refused.value.code == "idempotency_key_reused"


def test_a_request_is_complete_immutable_and_storable() -> None:
    halves = {"name": "a\ud800"}  # which no UTF-8 can write
    for wrong in ({"name": "a\x00b"}, halves, {"name": "A", "color": "red"}, {}):
        with pytest.raises(ValidationError):
            CreateCustomer.model_validate({"code": "acme", **wrong})
    with pytest.raises(ValidationError):
        ACME.name = "Other"  # type: ignore[misc]


def test_canonical_json_has_one_spelling_per_value() -> None:
    assert canonical_json({"b": 1, "a": [ACME]}) == canonical_json({"a": [ACME], "b": 1})
    assert canonical_json({"é": "₹"}) == '{"é":"₹"}'
    with pytest.raises(TypeError):
        canonical_json({"a": object()})
