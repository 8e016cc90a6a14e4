"""Whose invoice an account's charges stand on: its own, or that of an account above it.

A setting of an account, from a day on. A billing period goes where the setting of its first day
says, whole. Both accounts are of one customer, so there is one recipient, one GSTIN and one place
of supply, and both are postpaid in one currency: that is what one document can hold.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.repository import get_account, load_account
from billing.customers.tables import Account, BillingMode
from billing.db.base import Base
from billing.db.locks import lock_for_transaction
from billing.errors import ConflictError, PreconditionError
from billing.ids import new_id
from billing.invoices.tables import Invoice, InvoiceLine, InvoiceOrigin, InvoiceStatus

ISSUED = (InvoiceStatus.DUE, InvoiceStatus.PAID)


class BillAccount(Base):
    """On whose invoice an account's periods stand that begin on or after a day."""

    __tablename__ = "bill_accounts"
    __table_args__ = (
        UniqueConstraint("account_id", "valid_from"),
        CheckConstraint("bill_account_id <> account_id", name="another_account"),
        Index("ix_bill_accounts_bill_account_id", "bill_account_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    bill_account_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.accounts.id"))
    """None: it has invoices of its own."""
    valid_from: Mapped[date]
    set_by: Mapped[str]
    created_at: Mapped[datetime]


class SetBillAccount(Request):
    """Whose invoice an account's charges stand on, from a day on."""

    account_id: UUID
    bill_account_id: UUID | None
    valid_from: date


class BillAccounts:
    """The settings of some accounts, to be asked by day."""

    def __init__(self, rows: Iterable[BillAccount]) -> None:
        self._of: dict[UUID, list[BillAccount]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: row.valid_from):
            self._of[row.account_id].append(row)

    def on(self, account_id: UUID, day: date) -> UUID:
        """The account on whose invoice the charges of an account stand; mostly its own."""
        in_force = [row for row in self._of.get(account_id, []) if row.valid_from <= day]
        found = in_force[-1].bill_account_id if in_force else None
        return found or account_id

    def below(self, bill_account_id: UUID, day: date) -> set[UUID]:
        """The other accounts whose charges stand on an account's invoice on a day."""
        return {
            account_id
            for account_id in self._of
            if account_id != bill_account_id and self.on(account_id, day) == bill_account_id
        }


def bill_accounts(session: Session) -> BillAccounts:
    """All settings there are."""
    return BillAccounts(session.scalars(select(BillAccount)))


def bill_accounts_of(session: Session, customer_id: UUID) -> BillAccounts:
    """The settings of one customer's accounts; none reaches beyond them."""
    return BillAccounts(_settings_around(session, customer_id))


@command("account.set_bill_account", Permission.CUSTOMERS_WRITE)
def set_bill_account(ctx: Context, request: SetBillAccount) -> BillAccount:
    """Put an account's charges on the invoice of one above it, or back on its own.

    Raises:
        PreconditionError: if the two cannot share a document, or days from then on are invoiced.
        ConflictError: if a setting begins on that day already, or one would lead to another.
    """
    session = ctx.session
    account = load_account(session, request.account_id, lock=True)
    lock_for_transaction(session, f"bill_accounts:{account.customer_id}")
    rows = _settings_around(session, account.customer_id)
    concerned = {account.id, BillAccounts(rows).on(account.id, request.valid_from)}
    if any((row.account_id, row.valid_from) == (account.id, request.valid_from) for row in rows):
        raise ConflictError(
            f"A setting begins on {request.valid_from} already; use a later day.",
            code="bill_account_exists",
        )
    if request.bill_account_id is not None:
        bill_account = load_account(session, request.bill_account_id)
        _require_one_document(session, account, bill_account)
        _require_no_chain(rows, account, bill_account, request.valid_from)
        concerned.add(bill_account.id)
    for one in concerned:
        _require_not_invoiced(session, one, request.valid_from)
    row = BillAccount(**request.model_dump(), set_by=ctx.actor.name, created_at=ctx.clock.now())
    session.add(row)
    return row


def list_bill_accounts(session: Session, actor: Actor, account_id: UUID) -> Sequence[BillAccount]:
    """An account's settings, past and to come, in the order of their days."""
    account = get_account(session, actor, account_id)
    return session.scalars(
        select(BillAccount).filter_by(account_id=account.id).order_by(BillAccount.valid_from)
    ).all()


def issued_for(session: Session, account_id: UUID, invoice_month: date) -> str | None:
    """The number of the issued invoice of rated lines that an account's month stands on."""
    own_or_shared = or_(
        Invoice.account_id == account_id,
        Invoice.lines.any(InvoiceLine.account_id == account_id),
    )
    return session.scalars(
        select(Invoice.number).where(
            own_or_shared,
            Invoice.invoice_month == invoice_month,
            Invoice.origin == InvoiceOrigin.RATED,
            Invoice.status.in_(ISSUED),
        )
    ).first()


def _settings_around(session: Session, customer_id: UUID) -> Sequence[BillAccount]:
    return session.scalars(
        select(BillAccount)
        .join(Account, Account.id == BillAccount.account_id)
        .where(Account.customer_id == customer_id)
    ).all()


def _require_one_document(session: Session, account: Account, bill_account: Account) -> None:
    above = account.parent_account_id
    while above is not None and above != bill_account.id:
        above = load_account(session, above).parent_account_id
    if above is None:
        raise PreconditionError(
            f"{bill_account.code} is not above {account.code}; only an account above it can be "
            "billed for it.",
            code="not_above",
        )
    if account.currency != bill_account.currency:
        raise PreconditionError(
            f"{bill_account.code} is billed in {bill_account.currency}, {account.code} in "
            f"{account.currency}; one document has one currency.",
            code="another_currency",
        )
    if BillingMode.PREPAID in {account.billing_mode, bill_account.billing_mode}:
        raise PreconditionError(
            "A prepaid account's invoice is settled from its own wallet; only postpaid accounts "
            "share one.",
            code="prepaid",
        )


def _require_no_chain(
    rows: Sequence[BillAccount], account: Account, bill_account: Account, day: date
) -> None:
    """No account that is billed for others stands on another's invoice, on any day from then."""
    settings = BillAccounts(rows)
    days = {day, *(row.valid_from for row in rows if row.valid_from > day)}
    others = {row.account_id for row in rows} - {account.id}
    for one in days:
        if settings.on(bill_account.id, one) != bill_account.id:
            raise ConflictError(
                f"{bill_account.code} stands on another invoice itself on {one}.",
                code="bill_account_chain",
            )
        if any(settings.on(other, one) == account.id for other in others):
            raise ConflictError(
                f"{account.code} is billed for others on {one}; move those first.",
                code="bill_account_chain",
            )


def _require_not_invoiced(session: Session, account_id: UUID, day: date) -> None:
    issued = session.scalars(
        select(Invoice.number)
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .where(
            or_(Invoice.account_id == account_id, InvoiceLine.account_id == account_id),
            Invoice.origin == InvoiceOrigin.RATED,
            Invoice.status.in_(ISSUED),
            Invoice.period_end > day,
        )
    ).first()
    if issued is not None:
        raise PreconditionError(
            f"Days from {day} on are invoiced ({issued}); let the setting begin after them.",
            code="already_billed",
        )
