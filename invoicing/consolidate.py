"""Which lines stand on which draft: an account's own, or those of all it is billed for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.customers.tables import Account
from billing.invoices.consolidation import BillAccounts
from billing.invoices.tables import Invoice, InvoiceStatus
from invoicing.rated_lines import RatedLine


@dataclass(frozen=True, slots=True)
class DraftedLines:
    """What one draft is made from."""

    account_id: UUID
    """Whose invoice it is."""
    lines: Sequence[RatedLine]
    is_shared: bool = False
    """Whether it holds lines of accounts below; then there is one such draft in a month."""

    @property
    def first(self) -> RatedLine:
        """Customer and currency are those of any line."""
        return self.lines[0]

    @property
    def period_start(self) -> date:
        """The first day of all its periods."""
        return min(line.period_start for line in self.lines)

    @property
    def period_end(self) -> date:
        """The day after the last of all its periods."""
        return max(line.period_end for line in self.lines)

    @property
    def periods(self) -> list[tuple[UUID, date]]:
        """The accounts and first days of the periods on it, in the order of the lines."""
        return list(dict.fromkeys((line.account_id, line.period_start) for line in self.lines))


def by_draft(
    session: Session, lines: Sequence[RatedLine], settings: BillAccounts
) -> list[DraftedLines]:
    """Sort lines into drafts.

    An account that is billed for others has one draft in the month: its own lines first, then
    those of each account by its code. Everybody else has one for each period.
    """
    own: dict[UUID, list[RatedLine]] = {}
    below: dict[UUID, list[RatedLine]] = {}
    for line in lines:
        bill_account_id = settings.on(line.account_id, line.period_start)
        side = own if bill_account_id == line.account_id else below
        side.setdefault(bill_account_id, []).append(line)
    codes = _codes(session, [line.account_id for found in below.values() for line in found])
    drafts = [
        DraftedLines(account_id, list(group))
        for account_id, found in own.items()
        if account_id not in below
        for _, group in groupby(found, key=attrgetter("period_start"))
    ]
    for account_id, found in below.items():
        others = sorted(found, key=lambda line: (codes[line.account_id], line.period_start))
        lines_above = own.get(account_id, [])
        drafts.append(DraftedLines(account_id, [*lines_above, *others], is_shared=True))
    return drafts


def earlier(existing: Sequence[Invoice], draft: DraftedLines, month: date) -> Invoice | None:
    """Which of an account's invoices, oldest first, a draft goes on with.

    Of a period it is the newest; of a shared one, which has no period of its own, the month's.
    """
    period = (draft.period_start, draft.period_end)
    exact = [row for row in existing if (row.period_start, row.period_end) == period]
    if not draft.is_shared:
        return exact[-1] if exact else None
    of_month = [row for row in existing if row.invoice_month == month]
    issued = [row for row in of_month if row.status in {InvoiceStatus.DUE, InvoiceStatus.PAID}]
    drafted = [row for row in of_month if row.status is InvoiceStatus.DRAFT]
    for found in (issued, [row for row in exact if row in drafted], drafted, exact):
        if found:
            return found[-1]
    return None


def usage_of(
    session: Session,
    draft: DraftedLines,
    used: Mapping[tuple[UUID, date], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """The usage behind a draft; on a shared one every row says whose it is."""
    if not draft.is_shared:
        return used.get((draft.account_id, draft.period_start), [])
    concerned = {account_id for account_id, _ in draft.periods}
    rows = session.execute(select(Account.id, Account.name).where(Account.id.in_(concerned)))
    names = {account_id: name for account_id, name in rows}  # noqa: C416 - rows are no pairs
    return [
        {**row, "account": names[account_id]}
        for account_id, start in draft.periods
        for row in used.get((account_id, start), [])
    ]


def on_own_invoices(
    sentences: Mapping[UUID, str], settings: BillAccounts, day: date
) -> dict[UUID, str]:
    """What stands in the way of accounts, told of those on whose invoices they stand."""
    told: dict[UUID, list[str]] = {}
    for account_id, sentence in sentences.items():
        told.setdefault(settings.on(account_id, day), []).append(sentence)
    return {account_id: " ".join(found) for account_id, found in told.items()}


def _codes(session: Session, account_ids: Iterable[UUID]) -> dict[UUID, str]:
    rows = session.execute(select(Account.id, Account.code).where(Account.id.in_(set(account_ids))))
    return {row.id: row.code for row in rows}
