"""Credit notes: what goes back, to whom, and never more than was invoiced."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from billing.access.actor import SYSTEM
from billing.clock import ManualClock
from billing.commands import Context
from billing.customers.tables import BillingMode
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.documents.crediting import TaxPart, credit, left_of
from billing.documents.tables import Document, DocumentKind
from billing.errors import BillingError, InvalidError, PreconditionError
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.tax.model import TaxHead
from billing.wallets.service import CreateWallet, TopUp, create_wallet, top_up
from billing.wallets.tables import Wallet
from invoicing.assemble import draft_invoices
from invoicing.credit_notes import CreditLine, IssueCreditNote, issue_credit_note
from invoicing.issue import ApproveInvoice, approve_invoice
from invoicing.storage import document_pdf
from invoicing.vouchers import issue_missing_vouchers
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


def issued(
    engine: Engine, clock: ManualClock, amounts: list[int], **account: object
) -> tuple[UUID, list[str]]:
    """An issued invoice with lines of these amounts, and their references."""
    with unit_of_work(engine) as session:
        owner = make_account(session, **account)  # type: ignore[arg-type]
        if owner.billing_mode is BillingMode.PREPAID:
            context = Context(session, SYSTEM, clock)
            wallet = create_wallet(context, CreateWallet(account_id=owner.id))
            paid = TopUp(
                wallet_id=wallet.id, amount_minor=100_000, tax_minor=18_000, reference="first"
            )
            top_up(context, paid)
        run = make_rating_run(session, JUNE)
        refs = [f"{owner.code}:{place}" for place in range(len(amounts))]
        for line_ref, amount_minor in zip(refs, amounts, strict=True):
            make_rated_line(session, run.id, owner, amount_minor=amount_minor, line_ref=line_ref)
        [invoice_id] = draft_invoices(session, JUNE, run.id, clock).created
        approve_invoice(Context(session, SYSTEM, clock), ApproveInvoice(invoice_id=invoice_id))
        return invoice_id, refs


def note(engine: Engine, clock: ManualClock, invoice_id: UUID, **lines: int) -> Document:
    with unit_of_work(engine) as session:
        wanted = tuple(
            CreditLine(line_ref=line_ref, amount_minor=amount) for line_ref, amount in lines.items()
        )
        request = IssueCreditNote(
            invoice_id=invoice_id, reason="Receipts came late", lines=wanted or None
        )
        return issue_credit_note(Context(session, SYSTEM, clock), request)


def invoice_now(engine: Engine, invoice_id: UUID) -> Invoice:
    with read_only(engine) as session:
        return session.get_one(Invoice, invoice_id)


def test_a_note_settles_what_is_due_with_the_heads_of_the_invoice(
    engine: Engine, clock: ManualClock
) -> None:
    invoice_id, refs = issued(engine, clock, [10_001, 5_000])

    paper = note(engine, clock, invoice_id, **{refs[0]: 1_001})

    assert (paper.number, paper.kind) == ("CN-2627-000001", DocumentKind.CREDIT_NOTE)
    assert paper.taxable_minor == 1_001
    [cgst, sgst] = paper.lines[0].taxes
    assert (cgst["head"], sgst["head"]) == ("CGST", "SGST")
    assert cgst["tax_minor"] == sgst["tax_minor"] == 90
    invoice = invoice_now(engine, invoice_id)
    assert invoice.settled_minor == paper.total_minor == paper.applied_minor
    assert invoice.status is InvoiceStatus.DUE


def test_the_rest_is_what_was_invoiced_to_the_last_paisa(
    engine: Engine, clock: ManualClock
) -> None:
    invoice_id, refs = issued(engine, clock, [10_001, 5_003])
    total = invoice_now(engine, invoice_id).total_minor

    first = note(engine, clock, invoice_id, **{refs[0]: 3_333})
    rest = note(engine, clock, invoice_id)

    assert first.total_minor + rest.total_minor == total
    assert invoice_now(engine, invoice_id).status is InvoiceStatus.PAID
    with pytest.raises(PreconditionError, match="taken back already"):
        note(engine, clock, invoice_id)


def test_more_than_a_line_is_refused_by_code_and_by_the_database(
    engine: Engine, clock: ManualClock
) -> None:
    invoice_id, refs = issued(engine, clock, [10_000])
    paper = note(engine, clock, invoice_id, **{refs[0]: 6_000})

    with pytest.raises(InvalidError, match=r"₹40\.00 is left"):
        note(engine, clock, invoice_id, **{refs[0]: 4_001})
    with engine.begin() as connection, pytest.raises(DBAPIError, match="frozen"):
        connection.execute(text("UPDATE billing.documents SET total_minor = 1, tax_minor = 0"))
    with pytest.raises((IntegrityError, DBAPIError)), engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO billing.document_lines SELECT document_id, 9, invoice_line_id, "
                "description, sac, 4001, '[]' FROM billing.document_lines WHERE document_id = :id"
            ),
            {"id": paper.id},
        )


def test_two_notes_at_once_take_a_line_once(engine: Engine, clock: ManualClock) -> None:
    invoice_id, refs = issued(engine, clock, [10_000])

    def attempt(_: int) -> bool:
        try:
            note(engine, clock, invoice_id, **{refs[0]: 6_000})
        except BillingError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1


def test_a_prepaid_customer_gets_credits_back(engine: Engine, clock: ManualClock) -> None:
    invoice_id, refs = issued(engine, clock, [40_000], billing_mode=BillingMode.PREPAID)
    with read_only(engine) as session:
        before = session.scalars(select(Wallet.balance_units)).one()

    paper = note(engine, clock, invoice_id, **{refs[0]: 10_000})

    with read_only(engine) as session:
        after = session.scalars(select(Wallet.balance_units)).one()
    assert after - before == 10_000 * 10_000
    assert paper.applied_minor == paper.total_minor == 11_800


def test_after_the_time_limit_the_note_has_no_tax(engine: Engine, clock: ManualClock) -> None:
    invoice_id, _ = issued(engine, clock, [10_000])
    clock.advance(datetime(2027, 11, 5, tzinfo=UTC) - clock.now())

    paper = note(engine, clock, invoice_id)

    assert paper.kind is DocumentKind.FINANCIAL_CREDIT_NOTE
    assert (paper.number, paper.tax_minor) == ("FCN-2728-000001", 0)


def test_the_pdf_is_drawn_once_and_names_the_invoice(engine: Engine, clock: ManualClock) -> None:
    invoice_id, _ = issued(engine, clock, [10_000])
    paper = note(engine, clock, invoice_id)
    with unit_of_work(engine) as session:
        first = document_pdf(session, paper, clock)
    with unit_of_work(engine) as session:
        assert document_pdf(session, paper, clock) == first
    assert first.startswith(b"%PDF")
    assert paper.snapshot["references"][0]["number"] == "INV-2627-000001"


def test_every_top_up_gets_one_receipt_voucher(engine: Engine, clock: ManualClock) -> None:
    issued(engine, clock, [40_000], billing_mode=BillingMode.PREPAID)

    assert issue_missing_vouchers(engine, clock) == (1, 0)
    assert issue_missing_vouchers(engine, clock) == (0, 0)

    with read_only(engine) as session:
        voucher = session.scalars(
            select(Document).filter_by(kind=DocumentKind.RECEIPT_VOUCHER)
        ).one()
    assert (voucher.number, voucher.taxable_minor, voucher.tax_minor) == (
        "RV-2627-000001",
        100_000,
        18_000,
    )


@given(
    amount=st.integers(1, 10_000_000),
    cuts=st.lists(st.integers(1, 10_000_000), max_size=5),
    halves=st.booleans(),
)
def test_notes_of_a_line_add_up_to_the_line(amount: int, cuts: list[int], halves: bool) -> None:
    heads = [TaxHead.CGST, TaxHead.SGST] if halves else [TaxHead.IGST]
    taxes = [TaxPart(head, 9, amount * 9 // 100) for head in heads]  # type: ignore[arg-type]
    taken: list[tuple[int, tuple[TaxPart, ...]]] = []
    for cut in [*cuts, None]:
        left = left_of("line", amount, taxes, taken)
        asked = left.taxable_minor if cut is None else min(cut, left.taxable_minor)
        if not asked:
            break
        credited = credit(left, asked, "INR", with_tax=True)
        assert len({part.tax_minor for part in credited.taxes}) == 1
        taken.append((credited.taxable_minor, credited.taxes))

    assert sum(minor for minor, _ in taken) == amount
    for place, part in enumerate(taxes):
        assert sum(parts[place].tax_minor for _, parts in taken) == part.tax_minor
