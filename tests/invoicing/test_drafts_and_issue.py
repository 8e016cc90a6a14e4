"""From rated lines to a numbered, frozen document."""

import csv
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Role
from billing.clock import ManualClock
from billing.commands import Context, verify_audit_chain
from billing.customers.tables import Account
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.errors import BillingError, ForbiddenError, InvalidError, PreconditionError
from billing.exports.files import FileFormat
from billing.exports.service import ExportFilter, export_bytes
from billing.fx.tables import FxRate
from billing.invoices.repository import get_invoice, load_invoice
from billing.invoices.service import RejectInvoice, SubmitInvoice, reject_invoice, submit_invoice
from billing.invoices.tables import (
    DocumentCounter,
    Invoice,
    InvoiceStatus,
    ReviewState,
    SupplierRegistration,
)
from billing.outbox.tables import OutboxEntry
from billing.tax.model import TaxHead, TaxKind
from invoicing.assemble import DraftReport, draft_invoices
from invoicing.issue import ApproveInvoice, approve_invoice
from invoicing.issue_many import Outcome, approve_each
from invoicing.storage import invoice_pdf
from tests.support.factories.parties import make_account, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE = date(2026, 6, 1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, application="test", pool_size=10)
    with unit_of_work(engine) as session:
        create_marts(session)
        make_supplier(session)
    yield engine
    engine.dispose()


def drafted(
    engine: Engine, clock: ManualClock, accounts: list[tuple[Account, list[int]]]
) -> DraftReport:
    """Rate the given amounts per account, and draft them."""
    with unit_of_work(engine) as session:
        run = make_rating_run(session, JUNE)
        for account, amounts in accounts:
            for position, amount_minor in enumerate(amounts):
                make_rated_line(
                    session,
                    run.id,
                    account,
                    amount_minor=amount_minor,
                    line_ref=f"{account.code}:{position}",
                )
        return draft_invoices(session, JUNE, run.id, clock)


def an_account(engine: Engine, **what: object) -> Account:
    with unit_of_work(engine) as session:
        return make_account(session, **what)  # type: ignore[arg-type]


def approve(engine: Engine, clock: ManualClock, draft: Invoice | object, **what: object) -> Invoice:
    with unit_of_work(engine) as session:
        return approve_invoice(
            Context(session, SYSTEM, clock),
            ApproveInvoice(invoice_id=draft, **what),  # type: ignore[arg-type]
        )


class TestDrafts:
    def test_within_the_state_cgst_and_sgst_are_equal_halves(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        report = drafted(engine, clock, [(an_account(engine), [10_001, 333])])

        with Session(engine) as session:
            draft = load_invoice(session, report.created[0])
        assert draft.taxable_minor == 10_334
        heads = [(tax.head, tax.tax_minor) for line in draft.lines for tax in line.taxes]
        assert heads == [
            (TaxHead.CGST, 900),
            (TaxHead.SGST, 900),
            (TaxHead.CGST, 30),
            (TaxHead.SGST, 30),
        ]
        assert draft.total_minor == 10_334 + 1_860

    def test_another_state_pays_igst(self, engine: Engine, clock: ManualClock) -> None:
        report = drafted(engine, clock, [(an_account(engine, state_code="27"), [10_000])])

        with Session(engine) as session:
            draft = load_invoice(session, report.created[0])
        assert [(tax.head, tax.tax_minor) for tax in draft.lines[0].taxes] == [
            (TaxHead.IGST, 1_800)
        ]

    def test_a_second_run_with_the_same_lines_changes_nothing(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        account = an_account(engine)
        first = drafted(engine, clock, [(account, [500])])
        clear_lines(engine)

        second = drafted(engine, clock, [(account, [500])])

        assert second.unchanged == first.created
        assert not second.created
        assert not second.updated

    def test_changed_lines_replace_those_of_the_draft_and_send_it_back_to_review(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        account = an_account(engine)
        first = drafted(engine, clock, [(account, [500])])
        with unit_of_work(engine) as session:
            submit_invoice(
                Context(session, SYSTEM, clock), SubmitInvoice(invoice_id=first.created[0])
            )
        clear_lines(engine)

        second = drafted(engine, clock, [(account, [700, 100])])

        assert second.updated == first.created
        with Session(engine) as session:
            draft = load_invoice(session, first.created[0])
        assert [line.amount_minor for line in draft.lines] == [700, 100]
        assert draft.review_state is ReviewState.PENDING

    def test_a_draft_that_no_line_supports_any_more_goes_away(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        first = drafted(engine, clock, [(an_account(engine), [500])])
        clear_lines(engine)

        second = drafted(engine, clock, [])

        assert second.removed == first.created
        with Session(engine) as session:
            assert session.scalars(select(Invoice)).all() == []

    def test_usage_without_a_rate_parks_the_draft_until_it_is_rated(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        account = an_account(engine)
        with unit_of_work(engine) as session:
            session.execute(
                text(
                    "INSERT INTO marts.fct_unrated_usage VALUES "
                    "(:m, :a, 'otp.sms', 7, 7, null, 'IN', 'sms', 'unknown', 'jio')"
                ),
                {"m": JUNE, "a": account.id},
            )
        report = drafted(engine, clock, [(account, [500])])

        assert report.parked == report.created
        named = r"7 otp\.sms events \(country IN, channel sms, operator jio\): add a rate and"
        with pytest.raises(PreconditionError, match=named):
            approve(engine, clock, report.created[0])
        drafted(engine, clock, [(account, [500])])
        with Session(engine) as session:
            alerts = session.scalars(select(OutboxEntry).filter_by(topic="usage.unrated")).all()
        assert [alert.account_id for alert in alerts] == [account.id]

    def test_a_customer_without_a_tax_profile_is_parked_with_the_reason(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        report = drafted(engine, clock, [(an_account(engine, tax_profile=False), [500])])

        with Session(engine) as session:
            draft = load_invoice(session, report.parked[0])
        assert draft.review_state is ReviewState.PARKED
        assert "tax profile" in (draft.review_note or "")


class TestApproval:
    def test_gives_consecutive_numbers_of_the_financial_year(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        accounts = [(an_account(engine), [100]), (an_account(engine), [200])]
        report = drafted(engine, clock, accounts)

        numbers = [
            approve(engine, clock, draft, issue_date=date(2026, 7, 3)).number
            for draft in report.created
        ]

        assert numbers == ["INV-2627-000001", "INV-2627-000002"]

    def test_fifty_concurrent_approvals_of_ten_drafts_leave_no_gap_and_no_double(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        report = drafted(engine, clock, [(an_account(engine), [100 + n]) for n in range(10)])

        def try_to_approve(position: int) -> str | None:
            try:
                return approve(engine, clock, report.created[position % 10]).number
            except BillingError:
                return None

        with ThreadPoolExecutor(10) as pool:
            numbers = [number for number in pool.map(try_to_approve, range(50)) if number]

        assert sorted(numbers) == [f"INV-2627-{n:06}" for n in range(1, 11)]
        with Session(engine) as session:
            assert session.scalars(select(DocumentCounter.last_number)).one() == 10

    def test_a_failed_approval_gives_its_number_back(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        first, second = drafted(
            engine, clock, [(an_account(engine), [100]), (an_account(engine), [100])]
        ).created
        with Session(engine) as session:
            taken = approve_invoice(
                Context(session, SYSTEM, clock), ApproveInvoice(invoice_id=first)
            )
            assert taken.number == "INV-2627-000001"
            session.rollback()  # as when the process dies before the commit

        assert approve(engine, clock, second).number == "INV-2627-000001"

    def test_issue_dates_do_not_go_back_within_a_series(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        first, second = drafted(
            engine, clock, [(an_account(engine), [100]), (an_account(engine), [100])]
        ).created
        approve(engine, clock, first, issue_date=date(2026, 7, 10))

        with pytest.raises(PreconditionError, match="2026-07-10 or later"):
            approve(engine, clock, second, issue_date=date(2026, 7, 9))

    @pytest.mark.parametrize("issue_date", [date(2026, 6, 29), date(2026, 7, 16)])
    def test_refuses_a_date_before_the_period_ends_or_after_today(
        self, engine: Engine, clock: ManualClock, issue_date: date
    ) -> None:
        (draft,) = drafted(engine, clock, [(an_account(engine), [100])]).created

        with pytest.raises(InvalidError, match="between 2026-06-30"):
            approve(engine, clock, draft, issue_date=issue_date)

    def test_needs_the_permission(self, engine: Engine, clock: ManualClock) -> None:
        (draft,) = drafted(engine, clock, [(an_account(engine), [100])]).created
        support = Actor("someone", Role.SUPPORT)

        with pytest.raises(ForbiddenError, match=r"invoices\.approve"), Session(engine) as session:
            approve_invoice(Context(session, support, clock), ApproveInvoice(invoice_id=draft))

    def test_a_rejected_draft_cannot_be_approved_and_says_why(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        (draft,) = drafted(engine, clock, [(an_account(engine), [100])]).created
        with unit_of_work(engine) as session:
            reject_invoice(
                Context(session, SYSTEM, clock),
                RejectInvoice(invoice_id=draft, reason="The discount is missing."),
            )

        with pytest.raises(PreconditionError, match="The discount is missing"):
            approve(engine, clock, draft)

    def test_the_same_idempotency_key_approves_once(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        (draft,) = drafted(engine, clock, [(an_account(engine), [100])]).created
        numbers = []
        for _ in range(2):
            with unit_of_work(engine) as session:
                ctx = Context(session, SYSTEM, clock, "one click")
                numbers.append(approve_invoice(ctx, ApproveInvoice(invoice_id=draft)).number)

        assert numbers == ["INV-2627-000001"] * 2

    def test_the_audit_chain_holds_and_names_the_command(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        (draft,) = drafted(engine, clock, [(an_account(engine), [100])]).created
        approve(engine, clock, draft)

        with Session(engine) as session:
            assert verify_audit_chain(session) == 1
            command = session.scalar(text("SELECT command FROM billing.audit_log"))
        assert command == "invoice.approve"


def approve_together(
    engine: Engine, clock: ManualClock, drafts: list[UUID], key: str | None = None
) -> list[Outcome]:
    requests = [ApproveInvoice(invoice_id=draft) for draft in drafts]
    return list(approve_each(engine, SYSTEM, clock, requests, key))


class TestSeveral:
    def test_each_has_its_number_in_the_order_given_and_an_audit_row_of_its_own(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        drafts = drafted(
            engine, clock, [(an_account(engine, state_code="27"), [100 + n]) for n in range(3)]
        ).created[::-1]
        with unit_of_work(engine) as session:  # as if their tax had been another when drafted
            session.execute(update(Invoice).values(tax_decision={}))

        first = approve_together(engine, clock, drafts, "all")
        again = approve_together(engine, clock, drafts, "all")

        assert [one.number for one in first] == [f"INV-2627-00000{n}" for n in (1, 2, 3)]
        assert again == first
        with Session(engine) as session:
            assert verify_audit_chain(session) == 3
            rows = session.execute(
                text("SELECT entity_id, changes FROM billing.audit_log ORDER BY seq")
            ).all()
        assert [row.entity_id for row in rows] == drafts
        for draft, outcome, row in zip(drafts, first, rows, strict=True):
            invoices = [one for one in row.changes["rows"] if one["table"] == "invoices"]
            assert {one["id"] for one in invoices} == {str(draft)}
            assert invoices[-1]["after"]["number"] == outcome.number
            assert {"snapshot", "snapshot_hash"} & set(invoices[-1]["after"]) == {"snapshot_hash"}
            assert [one["table"] for one in row.changes["rows"]].count("tax_lines") == 1

    def test_one_that_fails_after_others_had_numbers_leaves_no_gap(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        with unit_of_work(engine) as session:
            session.execute(update(SupplierRegistration).values(second_approval_above_minor=200))
        accounts = [(an_account(engine), [amount]) for amount in (100, 1_000, 110)]
        small, large, other = drafted(engine, clock, accounts).created
        (waits,) = approve_together(engine, clock, [large])

        outcomes = approve_together(engine, clock, [small, large, other, small])

        assert waits.number is None
        assert "a second person" in (waits.review_note or "")
        assert [one.number for one in outcomes] == ["INV-2627-000001", None, "INV-2627-000002"]
        assert [one.refusal and one.refusal.code for one in outcomes] == [
            None,
            "second_person",
            None,
        ]


def test_a_draft_that_is_not_the_sum_of_its_lines_and_taxes_is_not_committed(
    engine: Engine, clock: ManualClock
) -> None:
    drafted(engine, clock, [(an_account(engine), [100, 50])])

    for beside_it in (
        "UPDATE billing.invoice_lines SET amount_minor = 1",
        "UPDATE billing.tax_lines SET tax_minor = 1",
        "UPDATE billing.invoices SET settled_minor = 1",
    ):
        with (
            pytest.raises(IntegrityError, match="does not add up"),
            engine.begin() as connection,
        ):
            connection.execute(text(f"{beside_it}; UPDATE billing.invoices SET updated_at = now()"))


class TestIssuedInvoice:
    def test_is_frozen_by_the_database(self, engine: Engine, clock: ManualClock) -> None:
        (draft,) = drafted(engine, clock, [(an_account(engine), [100])]).created
        approve(engine, clock, draft)

        for statement in (
            "UPDATE billing.invoices SET taxable_minor = 1, total_minor = 1, tax_minor = 0",
            "DELETE FROM billing.invoices",
            "UPDATE billing.invoice_lines SET amount_minor = 1",
            "UPDATE billing.tax_lines SET tax_minor = 0",
        ):
            with (
                pytest.raises(IntegrityError, match=r"frozen|issued"),
                engine.begin() as connection,
            ):
                connection.execute(text(statement))

    def test_later_lines_leave_it_alone_but_are_reported(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        account = an_account(engine)
        (draft,) = drafted(engine, clock, [(account, [100])]).created
        approve(engine, clock, draft)
        clear_lines(engine)

        report = drafted(engine, clock, [(account, [100, 50])])

        assert report.issued_kept == report.issued_differs == [draft]

    def test_its_pdf_is_stored_once_and_stays_the_same(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        (draft,) = drafted(engine, clock, [(an_account(engine), [100])]).created
        approve(engine, clock, draft)
        with unit_of_work(engine) as session:
            first = invoice_pdf(session, draft, clock)
        clock.advance(timedelta(days=30))
        with unit_of_work(engine) as session:
            second = invoice_pdf(session, draft, clock)

        assert first.startswith(b"%PDF")
        assert first == second

    def test_an_export_under_lut_carries_no_tax_and_its_rupee_value(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        account = an_account(
            engine, tax_kind=TaxKind.OVERSEAS, state_code=None, country="US", currency="USD"
        )
        (draft,) = drafted(engine, clock, [(account, [12_345])]).created
        with pytest.raises(PreconditionError, match="exchange rate"):
            approve(engine, clock, draft)
        with unit_of_work(engine) as session:
            session.add(
                FxRate(
                    currency="USD",
                    rate_date=date(2026, 6, 30),
                    inr_per_unit=Decimal("84.5"),
                    source="FBIL",
                )
            )

        with pytest.raises(PreconditionError, match="of 30 Jun 2026, 15 days before 15 Jul 2026"):
            approve(engine, clock, draft)
        with unit_of_work(engine) as session:
            session.execute(update(SupplierRegistration).values(oldest_fx_rate_days=15))
        invoice = approve(engine, clock, draft)

        assert invoice.tax_minor == 0
        assert invoice.snapshot is not None
        assert invoice.snapshot["fx"]["total_inr_minor"] == 1_043_153
        register = export_bytes(engine, SYSTEM, "invoices", ExportFilter(), FileFormat.CSV)
        (row,) = csv.DictReader(io.StringIO(register.decode("utf-8-sig")))
        assert (row["currency"], row["total"], row["inr_per_unit"]) == ("USD", "123.45", "84.5")
        assert (row["taxable_inr"], row["tax_inr"], row["total_inr"]) == (
            "10431.53",
            "0.00",
            "10431.53",
        )
        assert "LETTER OF UNDERTAKING" in " ".join(invoice.snapshot["wording"])

    def test_a_customer_sees_its_own_documents_and_no_drafts(
        self, engine: Engine, clock: ManualClock
    ) -> None:
        mine, other = an_account(engine), an_account(engine)
        report = drafted(engine, clock, [(mine, [100]), (other, [200])])
        me = Actor("me", Role.CUSTOMER, customer_id=mine.customer_id)
        for draft in report.created:
            with pytest.raises(BillingError, match="no"), Session(engine) as session:
                get_invoice(session, me, draft)
        for draft in report.created:
            approve(engine, clock, draft)

        seen = []
        for draft in report.created:
            with Session(engine) as session:
                try:
                    seen.append(get_invoice(session, me, draft).status)
                except BillingError:
                    seen.append(None)

        assert sorted(seen, key=str) == [None, InvoiceStatus.DUE]


def clear_lines(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE marts.fct_invoice_lines"))


def test_the_counter_is_per_financial_year(engine: Engine) -> None:
    clock = ManualClock(datetime(2027, 4, 2, tzinfo=UTC))
    first, second = drafted(
        engine, clock, [(an_account(engine), [100]), (an_account(engine), [100])]
    ).created

    old = approve(engine, clock, first, issue_date=date(2027, 3, 31)).number
    new = approve(engine, clock, second, issue_date=date(2027, 4, 1)).number

    assert (old, new) == ("INV-2627-000001", "INV-2728-000001")
