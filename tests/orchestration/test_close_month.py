"""Closing a month with Dagster and dbt: the same again, and what changed when it changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import unit_of_work
from billing.invoices.explanation import explain_line
from billing.invoices.rerating import ADJUSTMENT, list_differences
from billing.invoices.tables import Invoice, InvoiceLine, RatingRun
from billing.rating.plan import FLAT, GRADUATED, PER_UNIT, SUM, Charge, Rate, Tier
from invoicing.issue import ApproveInvoice, approve_invoice
from orchestration.definitions import defs
from orchestration.defs.automation import touched_usage_days
from orchestration.lib.database import Database
from orchestration.lib.rerating import touched_since
from orchestration.run import close_month
from tests.support.factories.events import StoredEvent, revise_event, store_event
from tests.support.factories.parties import make_account
from tests.support.factories.plans import make_plan, make_subscription

pytestmark = pytest.mark.timeout(1200)  # every dbt takes seconds to start

JUNE, JULY = date(2026, 6, 1), date(2026, 7, 1)
NOON = datetime(2026, 6, 10, 6, 30, tzinfo=UTC)
SENT = {"country": "IN", "channel": "sms", "status": "delivered"}


def _charges() -> list[Charge]:
    sms = Charge(
        code="sms",
        name="SMS",
        item_code="sms",
        sac="998413",
        unit="message",
        price_model=GRADUATED,
        aggregation=SUM,
        event_type="otp.sms",
        event_filter={"status": ["delivered"]},
        rates=(
            Rate(
                1,
                "INR",
                (Tier(Decimal(2), Decimal("0.20")), Tier(None, Decimal("0.10"))),
                match={"country": "IN"},
            ),
        ),
    )
    email = Charge(
        code="email",
        name="E-mail",
        item_code="email",
        sac="998319",
        unit="mail",
        price_model=PER_UNIT,
        aggregation=SUM,
        event_type="otp.email",
        rates=(Rate(1, "INR", (Tier(None, Decimal("0.02")),)),),
    )
    fee = Charge(
        code="fee",
        name="Platform fee",
        item_code="fee",
        sac="998313",
        unit="month",
        price_model=FLAT,
        rates=(Rate(1, "INR", (Tier(None, flat_amount=Decimal(5000)),)),),
    )
    return [fee, sms, email]


def seeded(engine: Engine) -> tuple[UUID, list[StoredEvent]]:
    """One account with a fee, five messages and three mails in June."""
    with unit_of_work(engine) as session:
        account = make_account(session)
        version, _ = make_plan(session, _charges())
        make_subscription(session, account, [(version, Decimal(1), JUNE, None)])
        messages = [store_event(session, account.id, NOON, dimensions=SENT) for _ in range(5)]
        for _ in range(3):
            store_event(session, account.id, NOON, event_type="otp.email", dimensions=SENT)
        return account.id, messages


def lines(engine: Engine) -> dict[str, tuple[Decimal, int]]:
    with Session(engine) as session:
        rows = session.execute(
            text("SELECT charge_code, quantity, amount_minor FROM marts.fct_invoice_lines")
        )
        return {code: (quantity.normalize(), amount) for code, quantity, amount in rows}


def hashes(engine: Engine) -> list[str | None]:
    with Session(engine) as session:
        return list(session.scalars(select(RatingRun.lines_hash).order_by(RatingRun.id)))


def the_draft(engine: Engine) -> Invoice:
    with Session(engine) as session:
        return session.scalars(select(Invoice)).one()


def test_closing_again_changes_nothing_and_late_amended_and_voided_events_change_their_lines_only(
    engine: Engine, instance: dg.DagsterInstance
) -> None:
    account, messages = seeded(engine)
    close_month(instance, JUNE)
    first = lines(engine)
    draft = the_draft(engine)
    assert first == {
        "fee": (Decimal(1), 500_000),
        "sms": (Decimal(5), 70),  # 2 x 0.20 + 3 x 0.10
        "email": (Decimal(3), 6),
    }
    assert draft.taxable_minor == 500_076

    close_month(instance, JUNE)
    assert lines(engine) == first
    assert len(set(hashes(engine))) == 1
    assert the_draft(engine).updated_at == draft.updated_at

    with unit_of_work(engine) as session:
        store_event(session, account, NOON, dimensions=SENT)  # late
        revise_event(session, messages[0], dimensions=SENT | {"status": "failed"})
        revise_event(session, messages[1], voided=True)
    close_month(instance, JUNE)

    assert lines(engine) == first | {"sms": (Decimal(4), 60)}
    assert the_draft(engine).id == draft.id
    assert the_draft(engine).taxable_minor == 500_066
    with Session(engine) as session:
        left = session.execute(
            text(
                "SELECT status, sum(event_count) AS events "
                "FROM marts.fct_usage_daily GROUP BY status"
            )
        )
        assert {row.status: row.events for row in left} == {"delivered": 7, "failed": 1}

    _bills_june_with_july(engine, instance, account, draft.id)


def _bills_june_with_july(
    engine: Engine, instance: dg.DagsterInstance, account: UUID, june: UUID
) -> None:
    """What comes after issue is found by the close of the next month, and billed by its drafts."""
    with unit_of_work(engine) as session:
        approve_invoice(Context(session, SYSTEM, SystemClock()), ApproveInvoice(invoice_id=june))
        assert touched_since(session, JULY) == []
        store_event(session, account, NOON, dimensions=SENT)
        session.flush()
        assert touched_since(session, JULY) == [JUNE]

    job = defs.resolve_job_def("close_month")
    assert job.execute_in_process(instance=instance, partition_key="2026-07-01").success

    with Session(engine) as session:
        assert touched_since(session, date(2026, 8, 1)) == []
        (july,) = session.scalars(select(Invoice).filter_by(invoice_month=JULY))
        billed = session.scalars(select(InvoiceLine).filter_by(invoice_id=july.id)).all()
        by_item = {line.item_code.partition("-")[0]: line for line in billed}
        assert {code: line.amount_minor for code, line in by_item.items()} == {
            "fee": 500_000,
            "sms": 10,  # the fifth at 0.10
        }
        assert by_item["sms"].period_start == JUNE
        found = explain_line(session, SYSTEM, by_item["sms"].line_ref)
        assert (found.verdict, found.event_count) == ("equal", 5)
        issued = explain_line(session, SYSTEM, by_item["sms"].line_ref.removeprefix(ADJUSTMENT))
        assert (issued.verdict, issued.event_count) == ("equal", 4)
        assert [one.amount_minor for one in issued.adjustments] == [10]
        assert list_differences(session, SYSTEM) == []


def test_broken_books_stop_the_close(engine: Engine, instance: dg.DagsterInstance) -> None:
    account, _ = seeded(engine)
    with unit_of_work(engine) as session:
        store_event(session, account, NOON, dimensions=SENT)
        session.execute(text("DELETE FROM usage.raw_events WHERE accept_seq = 1"))

    with pytest.raises(Exception, match=r"every_key_has_its_event|accept_seq_has_no_gap"):
        close_month(instance, JUNE)

    with Session(engine) as session:
        assert session.scalars(select(Invoice)).all() == []


def test_what_no_rate_matches_parks_the_draft_and_the_sensor_has_touched_days_recomputed(
    engine: Engine, instance: dg.DagsterInstance
) -> None:
    assert _tick(instance, None) == (None, [])  # nothing was ever sent
    account, messages = seeded(engine)
    with unit_of_work(engine) as session:
        other = make_account(session).id
        store_event(session, other, NOON, dimensions=SENT)
        store_event(session, account, NOON, dimensions=SENT | {"country": "FR"})
    close_month(instance, JUNE)
    assert the_draft(engine).review_state.value == "parked"
    assert "otp.sms" in (the_draft(engine).review_note or "")
    cursor, requests = _tick(instance, None)
    assert _days(requests) == [("2026-06-10", "2026-06-10")]

    assert _tick(instance, cursor)[1] == []

    with unit_of_work(engine) as session:
        session.execute(text("UPDATE intermediate.int_usage__daily SET vendor_cost = 7"))
        revise_event(session, messages[2], voided=True)
        for day in (2, 3):
            store_event(session, account, datetime(2026, 6, day, 20, tzinfo=UTC))
    with _running(instance, "refresh_usage"):
        assert _tick(instance, cursor)[1] == []  # the next look asks for them
    _, requests = _tick(instance, cursor)
    # 20:00 UTC is half past one of the next day in India.
    assert _days(requests) == [("2026-06-03", "2026-06-04"), ("2026-06-10", "2026-06-10")]

    job = defs.resolve_job_def("refresh_usage")
    assert job.execute_in_process(instance=instance, tags=dict(requests[1].tags)).success
    with Session(engine) as session:
        left = session.execute(
            text(
                "SELECT daily.account_id, sum(mart.event_count), max(daily.vendor_cost) "
                "FROM intermediate.int_usage__daily daily "
                "JOIN marts.fct_usage_daily mart "
                "USING (account_id, usage_day, event_type, country) "
                "WHERE usage_day = '2026-06-10' AND event_type = 'otp.sms' GROUP BY 1"
            )
        ).all()
    assert {row[0]: (int(row[1]), int(row[2])) for row in left} == {account: (5, 0), other: (1, 7)}


def test_one_build_at_a_time_touches_a_database(engine: Engine) -> None:
    is_free = text("SELECT pg_try_advisory_xact_lock(hashtextextended('pipeline.build', 0))")
    with Database().alone("build"), engine.connect() as other:
        assert not other.scalar(is_free)
    with engine.connect() as other:
        assert other.scalar(is_free)


@contextmanager
def _running(instance: dg.DagsterInstance, job: str) -> Iterator[None]:
    run = dg.DagsterRun(job_name=job, status=dg.DagsterRunStatus.STARTED)
    instance.add_run(run)
    yield
    instance.delete_run(run.run_id)


def _tick(
    instance: dg.DagsterInstance, cursor: str | None
) -> tuple[str | None, list[dg.RunRequest]]:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs)
    result: Any = touched_usage_days(context, database=Database())
    if isinstance(result, dg.SkipReason):
        return cursor, []
    return result.cursor, result.run_requests


def _days(requests: list[dg.RunRequest]) -> list[tuple[str, str]]:
    names = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    return [(request.tags[names[0]], request.tags[names[1]]) for request in requests]


def test_the_graph_is_the_one_we_know() -> None:
    assert {job.name for job in defs.resolve_all_job_defs()} == {
        "__ASSET_JOB",
        "close_month",
        "collect_charges",
        "issue_vouchers",
        "reconcile_payments",
        "register_einvoices",
        "remind_debtors",
        "make_views",
        "refresh_history",
        "refresh_usage",
    }
    keys = {key.to_user_string() for key in defs.resolve_all_asset_keys()}
    assert {
        "billing/billing_periods",
        "billing/earlier_months",
        "billing/invoice_drafts",
        "billing/rating_runs",
        "billing/vouchers",
        "billing/reconciliations",
        "marts/fct_invoice_lines",
        "marts/fct_invoice_usage",
        "marts/fct_mrr_monthly",
        "marts/fct_mrr_movements",
        "marts/fct_unrated_usage",
        "marts/fct_usage_daily",
        "marts/fct_wallet_movements",
    } <= keys
    # A key that nothing makes is a typing error in somebody's `deps`.
    loose = {key for key in keys if key.split("/")[0] not in {"billing", "usage"}}
    assert loose == {
        key for key in loose if key.split("/")[0] in {"staging", "intermediate", "marts"}
    }
