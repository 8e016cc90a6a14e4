"""Settling a prepaid invoice from the wallet that its usage was debited from.

While the period ran, every event took a provisional debit. At issue one true-up makes the debits
of the period equal the rated lines (fixed fees included), the parked usage becomes revenue, and
the tax that was collected with the top-ups becomes output tax. Credits in a wallet are
tax-exclusive, so the two halves of the invoice are settled from two places.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing.commands import Context
from billing.customers.tables import Account, BillingMode
from billing.errors import PreconditionError
from billing.invoices.rerating import ADJUSTMENT, differences, net
from billing.invoices.settlement import SettlementSource
from billing.invoices.tables import Invoice, InvoiceAllocation, InvoiceLine
from billing.money import currency, minor_to_units
from billing.periods import Period, local_midnight
from billing.tax.einvoice import DocumentType
from billing.wallets.allocations import allocate
from billing.wallets.grant_draws import draw_for_invoice
from billing.wallets.ledger import Posting, post_adjustment, post_transaction, tax_held
from billing.wallets.tables import (
    AdvancePolicy,
    LedgerAccount,
    LedgerKind,
    Wallet,
    WalletAdjustment,
)
from invoicing.rated_lines import CHARGE

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

_BILLS_USAGE: Final = """(
    EXISTS (
        SELECT FROM billing.invoice_lines line
        WHERE line.invoice_id = invoice.id AND NOT starts_with(line.line_ref, :adjustment)
            AND NOT starts_with(line.line_ref, :charge)
    ) OR EXISTS (
        SELECT FROM billing.billing_periods period
        WHERE period.account_id = invoice.account_id
            AND period.starts_on = invoice.period_start AND period.ends_on = invoice.period_end
    )
)"""
"""Not so of a calendar month that has adjustments or charges alone: a longer period may hold it."""

_IS_USAGE_BILLED = text(
    f"SELECT {_BILLS_USAGE} FROM billing.invoices invoice WHERE invoice.id = :invoice"
)

_RATED_SINCE = text(
    f"""
    SELECT invoice.id, invoice.period_start, invoice.period_end, run.id AS run_id,
        CAST((
            SELECT coalesce(sum(line.amount_minor), 0) FROM billing.invoice_lines line
            WHERE line.invoice_id = invoice.id AND NOT starts_with(line.line_ref, :adjustment)
        ) + (
            SELECT coalesce(sum(added.amount_minor), 0)
            FROM billing.rerated_lines rerated
            JOIN billing.invoice_lines added ON added.line_ref = :adjustment || rerated.line_ref
            JOIN billing.invoices bill ON bill.id = added.invoice_id
                AND (bill.status IN ('due', 'paid') OR bill.id = CAST(:with_draft AS uuid))
            WHERE rerated.invoice_id = invoice.id
        ) AS bigint) AS billed_minor
    FROM billing.invoices invoice
    JOIN LATERAL (
        SELECT id FROM billing.rating_runs
        WHERE invoice_month = invoice.invoice_month AND finished_at IS NOT NULL
        ORDER BY id DESC LIMIT 1
    ) run ON run.id > invoice.rating_run_id
    WHERE invoice.account_id = :account AND invoice.origin = 'rated'
        AND invoice.status IN ('due', 'paid') AND {_BILLS_USAGE}
        AND (
            invoice.issued_at > CAST(:now AS timestamptz) - interval '100 days'
            OR EXISTS (SELECT FROM billing.rerated_lines WHERE invoice_id = invoice.id)
        )
    ORDER BY invoice.period_start
    """
)
"""Issued invoices whose month was rated again since, and what was billed for their usage: recent
ones, for the debits of which all events are looked at, and those that ever came to something else.
"""


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
    _true_up(ctx, invoice, account, wallet)
    true_up_rated_since(ctx, account, wallet, invoice.id, with_draft=invoice.id)
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


def _true_up(ctx: Context, invoice: Invoice, account: Account, wallet: Wallet) -> None:
    # what adjustment lines bill was debited in the periods that they are for
    own_minor = sum(
        line.amount_minor for line in invoice.lines if not line.line_ref.startswith(ADJUSTMENT)
    )
    period = Period(invoice.period_start, invoice.period_end)
    names = {"invoice": invoice.id, "adjustment": ADJUSTMENT, "charge": CHARGE}
    debited = 0
    if ctx.session.scalar(_IS_USAGE_BILLED, names):
        debited = _debited(ctx.session, wallet, account, period, invoice.rating_run_id)
    amount_units = debited - minor_to_units(own_minor, invoice.currency)
    # unique: a period of a wallet is trued up once for each document that bills it
    _post_true_up(ctx, wallet, period, _of_period(wallet, period), amount_units)


def true_up_rated_since(
    ctx: Context,
    account: Account,
    wallet: Wallet,
    document_id: UUID,
    *,
    with_draft: UUID | None = None,
) -> None:
    """Make the debits of periods that were rated again after issue equal what was billed for them.

    A period of which something is still open waits for the document that settles it. What a void
    gave back at once is taken again here, as the note for it gives it back as well.

    Args:
        document_id: of what settles it now.
        with_draft: the invoice that is being issued, whose adjustment lines count already.
    """
    asked = {
        "account": account.id,
        "adjustment": ADJUSTMENT,
        "charge": CHARGE,
        "with_draft": with_draft,
        "now": ctx.clock.now(),
    }
    periods = ctx.session.execute(_RATED_SINCE, asked).all()
    if not periods:
        return
    found = differences(
        ctx.session,
        issued_only=True,
        with_draft=with_draft,
        invoice_ids=[row.id for row in periods],
    )
    waiting = {one.of.invoice_id for one in net(found)}
    for row in periods:
        if row.id in waiting:
            continue
        period = Period(row.period_start, row.period_end)
        reference = _of_period(wallet, period)
        before = ctx.session.scalar(
            select(func.coalesce(func.sum(WalletAdjustment.amount_units), 0)).where(
                WalletAdjustment.wallet_id == wallet.id,
                WalletAdjustment.kind == LedgerKind.TRUE_UP,
                WalletAdjustment.reference.startswith(reference, autoescape=True),
            )
        )
        debited = _debited(ctx.session, wallet, account, period, row.run_id)
        amount_units = (
            debited - minor_to_units(row.billed_minor, wallet.currency) - int(before or 0)
        )
        _post_true_up(ctx, wallet, period, f"{reference}:{document_id}", amount_units)


def _of_period(wallet: Wallet, period: Period) -> str:
    return f"true_up:{wallet.id}:{period.start}:{period.end}"


def _debited(
    session: Session, wallet: Wallet, account: Account, period: Period, run_id: UUID | None
) -> int:
    """What the usage of a period took from a wallet, as a rating run read it."""
    start, end = period.instants(account.zone)
    where = {"run": run_id, "wallet": wallet.id, "start": start, "end": end}
    return int(session.execute(_PROVISIONAL, where).scalar_one())


def _post_true_up(
    ctx: Context, wallet: Wallet, period: Period, reference: str, amount_units: int
) -> None:
    if amount_units:
        post_adjustment(
            ctx.session,
            wallet,
            amount_units=amount_units,
            kind=LedgerKind.TRUE_UP,
            counter_account=LedgerAccount.USAGE_UNBILLED,
            reference=reference,
            note=f"Rated amount of {period.start} to {period.end}",
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
