"""Document numbers: consecutive in their series, given in the transaction that issues.

Rule 46(b) of the CGST Rules asks for a consecutive number of at most 16 characters, unique within
a financial year. A counter row per (GSTIN, series, year) is locked until the issue commits: a
crash or a rollback gives the number back, so there are no gaps. A sequence would leave them.
"""

from datetime import date

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.errors import PreconditionError
from billing.invoices.return_periods import hold_open
from billing.invoices.tables import DocumentCounter
from billing.tax.fiscal import financial_year
from billing.tax.numbering import format_document_number


def next_number(session: Session, *, gstin: str, series: str, issue_date: date) -> str:
    """Take the next number of a series; see `next_numbers`."""
    return next_numbers(session, gstin=gstin, series=series, issue_date=issue_date, count=1)[0]


def next_numbers(
    session: Session, *, gstin: str, series: str, issue_date: date, count: int
) -> list[str]:
    """Take the next numbers of a series; the counter stays locked until the transaction ends.

    Raises:
        PreconditionError: if the series already holds a document of a later date, because dates
            must not decrease as numbers increase, or the month's return is locked.
    """
    hold_open(session, gstin, issue_date)
    year = financial_year(issue_date)
    key = {"gstin": gstin, "series": series, "financial_year": year}
    first = insert(DocumentCounter).values(**key, last_number=0, last_issue_date=issue_date)
    # A row must exist before it can be locked; an update that changes nothing locks it as well.
    locked = first.on_conflict_do_update(
        index_elements=list(key), set_={"last_number": DocumentCounter.last_number}
    ).returning(DocumentCounter)
    counter = session.scalars(
        select(DocumentCounter).from_statement(locked).execution_options(populate_existing=True)
    ).one()
    if issue_date < counter.last_issue_date:
        raise PreconditionError(
            f"The series {series} of {year} already holds a document dated "
            f"{counter.last_issue_date}; an earlier one cannot follow it. "
            f"Issue on {counter.last_issue_date} or later.",
            code="issue_date_before_series",
        )
    before = counter.last_number
    counter.last_number += count
    counter.last_issue_date = issue_date
    return [
        format_document_number(series, issue_date, before + place) for place in range(1, count + 1)
    ]
