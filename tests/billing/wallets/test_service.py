"""Wallet commands: money in, exactly once, with both sides in the ledger."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Role
from billing.clock import ManualClock
from billing.commands import Context
from billing.customers.tables import BillingMode
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.errors import BillingError, ConflictError, ForbiddenError, InvalidError, NotFoundError
from billing.ids import new_id
from billing.wallets.grants import GrantCredits, grant_credits
from billing.wallets.service import (
    CorrectWallet,
    CreateWallet,
    SetWalletLimits,
    TopUp,
    correct_wallet,
    create_wallet,
    set_wallet_limits,
    top_up,
)
from billing.wallets.tables import LedgerEntry, Wallet, WalletAdjustment, WalletStatus
from tests.support.factories.parties import make_account


@pytest.fixture
def ctx(database_url: str, clock: ManualClock) -> Iterator[Context]:
    engine = open_engine(database_url, application="test")
    with unit_of_work(engine) as session:
        yield Context(session, SYSTEM, clock)
    engine.dispose()


@pytest.fixture
def wallet(ctx: Context) -> Wallet:
    account = make_account(ctx.session, billing_mode=BillingMode.PREPAID)
    return create_wallet(ctx, CreateWallet(account_id=account.id, low_balance_minor=5_000))


def entries(session: Session, wallet_id: UUID) -> list[tuple[str, int]]:
    rows = session.execute(
        select(LedgerEntry.account, LedgerEntry.amount_units)
        .filter_by(wallet_id=wallet_id)
        .order_by(LedgerEntry.account)
    )
    return [(account.value, amount) for account, amount in rows]


def test_a_new_wallet_is_empty_and_cannot_send(wallet: Wallet) -> None:
    assert (wallet.balance_units, wallet.status) == (0, WalletStatus.SUSPENDED)


def test_a_top_up_credits_without_tax_and_keeps_the_tax_apart(ctx: Context, wallet: Wallet) -> None:
    top_up(ctx, TopUp(wallet_id=wallet.id, amount_minor=10_000, tax_minor=1_800, reference="p1"))

    assert (wallet.balance_units, wallet.status) == (100_000_000, WalletStatus.ACTIVE)
    assert entries(ctx.session, wallet.id) == [
        ("cash", -100_000_000),
        ("cash", -18_000_000),
        ("tax_on_advances", 18_000_000),
        ("wallet", 100_000_000),
    ]


def test_the_same_payment_is_credited_once(ctx: Context, wallet: Wallet) -> None:
    request = TopUp(wallet_id=wallet.id, amount_minor=10_000, reference="p1")
    for _ in range(3):
        top_up(ctx, request)

    assert wallet.balance_units == 100_000_000
    assert wallet.adjustment_seq == 1
    with pytest.raises(ConflictError):
        top_up(ctx, TopUp(wallet_id=wallet.id, amount_minor=9_999, reference="p1"))


def test_a_repeated_key_gives_the_first_result(ctx: Context, wallet: Wallet) -> None:
    keyed = Context(ctx.session, ctx.actor, ctx.clock, idempotency_key="k")
    first = top_up(keyed, TopUp(wallet_id=wallet.id, amount_minor=1, reference="p1"))
    again = top_up(keyed, TopUp(wallet_id=wallet.id, amount_minor=1, reference="p1"))

    assert first is again
    assert wallet.balance_units == 10_000


def test_grants_and_corrections_have_their_own_other_side(ctx: Context, wallet: Wallet) -> None:
    grant_credits(ctx, GrantCredits(wallet_id=wallet.id, amount_minor=100, reference="g"))
    correct_wallet(
        ctx,
        CorrectWallet(wallet_id=wallet.id, amount_units=-3, reference="c", note="one too many"),
    )

    assert wallet.balance_units == 999_997
    assert wallet.status is WalletStatus.LOW
    assert entries(ctx.session, wallet.id) == [
        ("correction", 3),
        ("promotion", -1_000_000),
        ("wallet", 1_000_000),
        ("wallet", -3),
    ]
    numbers = ctx.session.scalars(select(WalletAdjustment.seq).order_by(WalletAdjustment.seq))
    assert list(numbers) == [1, 2]


def test_limits_decide_the_status_at_once(ctx: Context, wallet: Wallet) -> None:
    set_wallet_limits(
        ctx,
        SetWalletLimits(wallet_id=wallet.id, credit_line_minor=1, low_balance_minor=0),
    )

    assert wallet.status is WalletStatus.ACTIVE


def test_amounts_beyond_what_a_wallet_holds_are_refused(ctx: Context, wallet: Wallet) -> None:
    with pytest.raises(InvalidError):
        top_up(ctx, TopUp(wallet_id=wallet.id, amount_minor=10**12, reference="p"))
    most = (2**53 - 1) // 10_000
    top_up(ctx, TopUp(wallet_id=wallet.id, amount_minor=most, reference="p"))
    with pytest.raises(InvalidError):
        top_up(ctx, TopUp(wallet_id=wallet.id, amount_minor=1, reference="q"))


def test_only_prepaid_accounts_get_a_wallet_and_only_one(ctx: Context, wallet: Wallet) -> None:
    with pytest.raises(ConflictError):
        create_wallet(ctx, CreateWallet(account_id=wallet.account_id))
    postpaid = make_account(ctx.session)
    with pytest.raises(BillingError, match="prepaid"):
        create_wallet(ctx, CreateWallet(account_id=postpaid.id))
    with pytest.raises(NotFoundError):
        create_wallet(ctx, CreateWallet(account_id=new_id()))


def test_nobody_tops_up_without_the_permission(ctx: Context, wallet: Wallet) -> None:
    request = TopUp(wallet_id=wallet.id, amount_minor=1, reference="p")
    analyst = Context(ctx.session, Actor("a", Role.PRODUCT_ANALYST), ctx.clock)
    with pytest.raises(ForbiddenError):
        top_up(analyst, request)
    stranger = Context(ctx.session, Actor("b", Role.FINANCE_ADMIN, new_id()), ctx.clock)
    with pytest.raises(NotFoundError):
        top_up(stranger, request)
    assert not ctx.session.scalar(text("SELECT count(*) FROM billing.wallet_adjustments"))
