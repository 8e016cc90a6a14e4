"""A prepaid invoice against the wallet its usage came from: every unit accounted for."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.clock import ManualClock
from billing.commands import Context
from billing.customers.tables import Account, BillingMode
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.errors import PreconditionError
from billing.ids import new_id
from billing.invoices.tables import Invoice, InvoiceAllocation, InvoiceStatus
from billing.money import minor_to_units
from billing.usage.tables import SupersededEvent
from billing.wallets.ledger import Posting, post_adjustment
from billing.wallets.lots import lots_of
from billing.wallets.service import SetAdvancePolicy, TopUp, set_advance_policy, top_up
from billing.wallets.tables import (
    AdvancePolicy,
    LedgerAccount,
    LedgerEntry,
    LedgerKind,
    Wallet,
    WalletAdjustment,
    WalletStatus,
)
from invoicing.assemble import draft_invoices
from invoicing.issue import ApproveInvoice, approve_invoice
from invoicing.vouchers import postings_without_voucher
from tests.support.factories.debits import IN_JUNE, debit
from tests.support.factories.parties import LONG_AGO, make_account, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE = date(2026, 6, 1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, application="test")
    with unit_of_work(engine) as session:
        create_marts(session)
        make_supplier(session)
    yield engine
    engine.dispose()


@pytest.fixture
def account(engine: Engine) -> Account:
    with unit_of_work(engine) as session:
        return make_account(session, billing_mode=BillingMode.PREPAID)


def fund(
    session: Session,
    account: Account,
    credits_minor: int,
    tax_minor: int,
    policy: AdvancePolicy = AdvancePolicy.RECEIPT_VOUCHER,
) -> Wallet:
    wallet = Wallet(
        account_id=account.id,
        currency="INR",
        shard=0,
        status=WalletStatus.ACTIVE,
        advance_policy=policy,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    session.add(wallet)
    session.flush()
    if not credits_minor:
        return wallet
    tax_units = minor_to_units(tax_minor, "INR")
    post_adjustment(
        session,
        wallet,
        amount_units=minor_to_units(credits_minor, "INR"),
        kind=LedgerKind.TOP_UP,
        counter_account=LedgerAccount.CASH,
        reference=f"top-up:{new_id()}",
        note="bank transfer",
        actor="test",
        now=LONG_AGO,
        further=[
            Posting(LedgerAccount.TAX_ON_ADVANCES, tax_units),
            Posting(LedgerAccount.CASH, -tax_units),
        ],
    )
    return wallet


def issue(engine: Engine, account: Account, amount_minor: int, accept_seq: int) -> Invoice:
    clock = ManualClock(datetime(2026, 7, 3, tzinfo=UTC))
    with unit_of_work(engine) as session:
        run = make_rating_run(session, JUNE, accept_seq)
        make_rated_line(session, run.id, account, amount_minor=amount_minor)
        (draft,) = draft_invoices(session, JUNE, run.id, clock).created
    with unit_of_work(engine) as session:
        return approve_invoice(Context(session, SYSTEM, clock), ApproveInvoice(invoice_id=draft))


def test_a_deposit_pays_usage_and_tax_and_leaves_no_advance(
    engine: Engine, account: Account
) -> None:
    with unit_of_work(engine) as session:
        wallet = fund(session, account, 0, 0, AdvancePolicy.DEPOSIT)
        context = Context(session, SYSTEM, ManualClock(IN_JUNE))
        top_up(context, TopUp(wallet_id=wallet.id, amount_minor=11_000, reference="NEFT-1"))
        taxed = TopUp(wallet_id=wallet.id, amount_minor=1, tax_minor=1, reference="NEFT-2")
        with pytest.raises(PreconditionError, match="deposit"):
            top_up(context, taxed)
        other = SetAdvancePolicy(wallet_id=wallet.id, policy=AdvancePolicy.RECEIPT_VOUCHER)
        with pytest.raises(PreconditionError, match="other policy"):
            set_advance_policy(context, other)

    invoice = issue(engine, account, amount_minor=10_000, accept_seq=0)

    assert (invoice.status, invoice.settled_minor) == (InvoiceStatus.DUE, 11_000)
    after = balances(engine)
    assert after["wallet"] == 0
    assert after.get("tax_on_advances", 0) == 0
    with Session(engine) as session:
        assert postings_without_voucher(session) == []
        sources = session.scalars(select(InvoiceAllocation.source)).all()
        assert sorted(sources) == ["deposit", "wallet"]
        (lot,) = lots_of(session, SYSTEM, session.scalars(select(Wallet.id)).one())
    assert (lot.source.kind, lot.left_units) == (LedgerKind.DEPOSIT, 0)


def balances(engine: Engine) -> dict[str, int]:
    with Session(engine) as session:
        rows = session.execute(
            select(LedgerEntry.account, func.sum(LedgerEntry.amount_units)).group_by(
                LedgerEntry.account
            )
        )
        return {account.value: int(total) for account, total in rows}


def test_one_true_up_makes_the_debits_equal_the_rated_amount(
    engine: Engine, account: Account
) -> None:
    with unit_of_work(engine) as session:
        wallet = fund(session, account, credits_minor=100_000, tax_minor=18_000)
        debit(session, wallet, accept_seq=1, amount_units=1_234_567)

    invoice = issue(engine, account, amount_minor=50_000, accept_seq=1)

    assert invoice.status is InvoiceStatus.PAID
    left = balances(engine)
    assert left["wallet"] == minor_to_units(50_000, "INR")
    assert left["usage_unbilled"] == 0
    assert left["revenue"] == minor_to_units(50_000, "INR")
    assert left["output_tax"] == minor_to_units(9_000, "INR")
    assert left["tax_on_advances"] == minor_to_units(9_000, "INR")
    assert sum(left.values()) == 0


def test_a_replaced_revision_is_not_counted_as_debited(engine: Engine, account: Account) -> None:
    with unit_of_work(engine) as session:
        wallet = fund(session, account, credits_minor=100_000, tax_minor=18_000)
        debit(session, wallet, accept_seq=1, amount_units=120_000)
        debit(session, wallet, accept_seq=2, amount_units=0)
        session.add(
            SupersededEvent(
                shard=0,
                accept_seq=1,
                superseded_by=2,
                occurred_at=IN_JUNE,
                recorded_at=IN_JUNE,
            )
        )

    issue(engine, account, amount_minor=1_000, accept_seq=2)

    with Session(engine) as session:
        true_up = session.scalars(select(WalletAdjustment).filter_by(kind=LedgerKind.TRUE_UP)).one()
    assert true_up.amount_units == -minor_to_units(1_000, "INR")


def test_tax_that_no_top_up_brought_stays_due(engine: Engine, account: Account) -> None:
    with unit_of_work(engine) as session:
        fund(session, account, credits_minor=10_000, tax_minor=1_800)

    invoice = issue(engine, account, amount_minor=20_000, accept_seq=0)

    assert invoice.status is InvoiceStatus.DUE
    assert invoice.settled_minor == 20_000 + 1_800
    with Session(engine) as session:
        wallet = session.scalars(select(Wallet)).one()
        allocation = session.scalars(select(InvoiceAllocation)).one()
    assert wallet.balance_units == minor_to_units(-10_000, "INR")
    assert wallet.status is WalletStatus.SUSPENDED
    assert allocation.amount_minor == invoice.settled_minor
