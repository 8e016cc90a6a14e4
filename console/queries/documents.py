"""What documents can be written for, and drafts that people wrote."""

from typing import NamedTuple
from uuid import UUID

from billing.access.roles import Permission
from console.queries.reading import fetch, live

_MOST = 200


class InvoiceChoice(NamedTuple):
    """An invoice to choose, in minor units."""

    id: UUID
    number: str | None
    customer: str
    currency: str
    total_minor: int
    month: str

    @property
    def title(self) -> str:
        """How a list names it."""
        return f"{self.number or 'Draft'} · {self.customer} · {self.month}"


_CHOICE = """
    select i.id, i.number, c.name, i.currency, i.total_minor, to_char(i.invoice_month, 'Mon YYYY')
    from billing.invoices i join billing.customers c on c.id = i.customer_id
    where (cast(:confined as uuid) is null or i.customer_id = :confined)
"""


@live(Permission.INVOICES_WRITE)
def issued(confined: UUID | None) -> list[InvoiceChoice]:
    """Issued tax invoices that a note can correct, the newest first."""
    rows = fetch(
        f"""{_CHOICE} and i.status in ('due', 'paid') and i.document_type <> 'debit_note'
            order by i.issue_date desc, i.number desc limit :most""",
        {"confined": confined, "most": _MOST},
    )
    return [InvoiceChoice(*row) for row in rows]


@live(Permission.INVOICES_WRITE)
def drafts(confined: UUID | None) -> list[InvoiceChoice]:
    """Drafts of which a proforma can be made, the newest first."""
    rows = fetch(
        f"""{_CHOICE} and i.status = 'draft' and i.document_type <> 'debit_note'
            and i.taxable_minor > 0 order by i.id desc limit :most""",
        {"confined": confined, "most": _MOST},
    )
    return [InvoiceChoice(*row) for row in rows]


@live(Permission.INVOICES_WRITE)
def written(confined: UUID | None) -> list[InvoiceChoice]:
    """Drafts that a person wrote and that are not issued yet, the newest first."""
    rows = fetch(
        f"""{_CHOICE} and i.status = 'draft' and i.origin <> 'rated'
            order by i.id desc limit :most""",
        {"confined": confined, "most": _MOST},
    )
    return [InvoiceChoice(*row) for row in rows]
