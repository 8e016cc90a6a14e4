"""Settling a prepaid invoice from the wallet that its usage was debited from.

While the period ran, every event took a provisional debit. At issue one true-up makes the debits
of the period equal the rated lines (fixed fees included), the parked usage becomes revenue, and
the tax that was collected with the top-ups becomes output tax. Credits in a wallet are
tax-exclusive, so the two halves of the invoice are settled from two places.
"""

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing.commands import Context
from billing.customers.tables import Account, BillingMode
from billing.errors import PreconditionError
from billing.invoices.settlement import SettlementSource
from billing.invoices.tables import Invoice, InvoiceAllocation, InvoiceLine
from billing.money import currency, minor_to_units
from billing.periods import Period, local_midnight
from billing.tax.einvoice import DocumentType
from billing.wallets.allocations import allocate
from billing.wallets.grant_draws import draw_for_invoice
from billing.wallets.ledger import Posting, post_adjustment, post_transaction, tax_held
from billing.wallets.tables import AdvancePolicy, LedgerAccount, LedgerKind, Wallet

_PROVISIONAL = text(
    """
    SELECT coalesce(sum(debit.amount_units), 0)
    FROM usage.usage_debits debit
    JOIN billing.rating_run_cutoffs cutoff
        ON cutoff.shard = debit.shard AND cutoff.rating_run_id = :run
    WHERE debit.wallet_id = :wallet
        AND debit.occurred_at >= :start AND debit.occurred_at < :end
        AND debit.accept_seq <= cutoff.accept_seq
        AND NOT EXISTS (
            SELECT 1 FROM usage.superseded_events replaced
            WHERE replaced.shard = debit.shard AND replaced.accept_seq = debit.accept_seq
                AND replaced.superseded_by <= cutoff.accept_seq
        )
    """
)


def settle_from_wallet(ctx: Context, invoice: Invoice, account: Account) -> list[InvoiceAllocation]:
    """Set a prepaid account's wallet against its invoice; a postpaid one has nothing to set.

    The usage is settled whole, even if the wallet goes negative: usage that has happened is always
    billed, and a negative balance is what the customer owes there. Tax is settled as far as the
    top-ups brought it in; the rest stays due on the invoice, or is taken from a deposit.
    """
    if account.billing_mode is not BillingMode.PREPAID:
        return []
    wallet = _lock_wallet(ctx.session, invoice, account)
    _require_agreeing(invoice, wallet)
    rated_units = minor_to_units(invoice.taxable_minor, invoice.currency)
    _draw_grants(ctx, invoice, account, wallet)
    _true_up(ctx, invoice, account, wallet, rated_units)
    tax_units = min(
        minor_to_units(invoice.tax_minor, invoice.currency), tax_held(ctx.session, wallet)
    )
    tax_minor = max(tax_units, 0) // currency(invoice.currency).units_per_minor
    tax_units = minor_to_units(tax_minor, invoice.currency)
    _take_over(ctx, invoice, wallet, rated_units, tax_units)
    amount_minor = invoice.taxable_minor + tax_minor
    if not amount_minor:
        return []
    allocation = InvoiceAllocation(
        invoice_id=invoice.id,
        source="wallet",
        reference=str(wallet.id),
        amount_minor=amount_minor,
        recorded_at=ctx.clock.now(),
    )
    found = [allocation, *_tax_from_deposit(ctx, invoice, wallet, tax_minor)]
    ctx.session.add_all(found)
    allocate(ctx.session, wallet, ctx.clock.now())
    return found


def _require_agreeing(invoice: Invoice, wallet: Wallet) -> None:
    """A draft from before its wallet's policy changed would tax usage twice, or never."""
    is_statement = invoice.document_type is DocumentType.STATEMENT
    if is_statement is not (wallet.advance_policy is AdvancePolicy.TAX_INVOICE):
        raise PreconditionError(
            "The wallet's policy has changed since this was drafted; draft the month again.",
            code="policy_changed",
        )


def _tax_from_deposit(
    ctx: Context, invoice: Invoice, wallet: Wallet, settled_tax_minor: int
) -> list[InvoiceAllocation]:
    """A deposit pays the tax too, as far as it goes: it came without any."""
    if wallet.advance_policy is not AdvancePolicy.DEPOSIT:
        return []
    left_minor = max(wallet.balance_units, 0) // currency(wallet.currency).units_per_minor
    amount_minor = min(invoice.tax_minor - settled_tax_minor, left_minor)
    if not amount_minor:
        return []
    reference = f"{SettlementSource.DEPOSIT.value}:{wallet.id}"
    post_adjustment(
        ctx.session,
        wallet,
        amount_units=-minor_to_units(amount_minor, wallet.currency),
        kind=LedgerKind.INVOICE,
        # as if it had been given back and paid: output tax of paid invoices is not in this ledger
        counter_account=LedgerAccount.CASH,
        reference=f"invoice:{invoice.id}:{reference}",
        note=f"Tax of {invoice.period_start} to {invoice.period_end}",
        actor=ctx.actor.name,
        now=ctx.clock.now(),
    )
    return [
        InvoiceAllocation(
            invoice_id=invoice.id,
            source=SettlementSource.DEPOSIT.value,
            reference=reference,
            amount_minor=amount_minor,
            recorded_at=ctx.clock.now(),
        )
    ]


def _lock_wallet(session: Session, invoice: Invoice, account: Account) -> Wallet:
    wallet = session.scalars(
        select(Wallet)
        .filter_by(account_id=account.id, currency=invoice.currency)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if wallet is None:
        raise PreconditionError(
            f"The prepaid account {account.code} has no {invoice.currency} wallet to settle from.",
            code="no_wallet",
        )
    return wallet


def _draw_grants(ctx: Context, invoice: Invoice, account: Account, wallet: Wallet) -> None:
    """Grants for some items give back what the wallet was debited for them."""
    by_item = ctx.session.execute(
        select(InvoiceLine.item_code, func.sum(InvoiceLine.amount_minor))
        .where(InvoiceLine.invoice_id == invoice.id)
        .group_by(InvoiceLine.item_code)
    )
    draw_for_invoice(
        ctx,
        wallet,
        invoice.id,
        begins_at=local_midnight(invoice.period_start, account.zone),
        minor_by_item={code: int(minor) for code, minor in by_item},
    )


def _true_up(
    ctx: Context, invoice: Invoice, account: Account, wallet: Wallet, rated_units: int
) -> None:
    start, end = Period(invoice.period_start, invoice.period_end).instants(account.zone)
    debited = int(
        ctx.session.execute(
            _PROVISIONAL,
            {"run": invoice.rating_run_id, "wallet": wallet.id, "start": start, "end": end},
        ).scalar_one()
    )
    if rated_units != debited:
        post_adjustment(
            ctx.session,
            wallet,
            amount_units=debited - rated_units,
            kind=LedgerKind.TRUE_UP,
            counter_account=LedgerAccount.USAGE_UNBILLED,
            # unique: a period of a wallet is trued up once
            reference=f"true_up:{wallet.id}:{invoice.period_start}:{invoice.period_end}",
            note=f"Rated amount of {invoice.period_start} to {invoice.period_end}",
            actor=ctx.actor.name,
            now=ctx.clock.now(),
        )


def _take_over(
    ctx: Context, invoice: Invoice, wallet: Wallet, rated_units: int, tax_units: int
) -> None:
    postings = [
        Posting(LedgerAccount.USAGE_UNBILLED, -rated_units),
        Posting(LedgerAccount.REVENUE, rated_units),
        Posting(LedgerAccount.TAX_ON_ADVANCES, -tax_units),
        Posting(LedgerAccount.OUTPUT_TAX, tax_units),
    ]
    post_transaction(
        ctx.session,
        wallet,
        kind=LedgerKind.INVOICE,
        reference=f"invoice:{invoice.id}",
        postings=[posting for posting in postings if posting.amount_units],
        now=ctx.clock.now(),
    )
