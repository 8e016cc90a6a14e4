"""The dynamic QR code of invoices to consumers (N 14/2020-CT): pay this invoice by UPI.

The UPI address stands for the account behind it, so account number and IFSC need not be in it
(Circular 156/12/2021).
"""

from typing import Final
from urllib.parse import quote, urlencode

from billing.money import from_minor
from billing.tax.einvoice import DocumentType
from billing.tax.model import SupplyKind
from invoicing.document import InvoiceDocument, RecipientKind

_CONSUMERS: Final = frozenset({RecipientKind.UNREGISTERED, RecipientKind.UIN})
"""A holder of a UIN is not registered (s.2(94)), so its invoice counts as a consumer's."""


def payment_qr(paper: InvoiceDocument) -> str:
    """What the code of an issued document says; empty where none is asked for.

    None is on exports, on invoices to registered persons, and on what is paid already: that bears
    its payment's reference instead.
    """
    bank = paper.bank
    if (
        paper.is_draft
        or paper.document_type is not DocumentType.INVOICE
        or paper.recipient.kind not in _CONSUMERS
        or paper.supply is not SupplyKind.DOMESTIC
        or paper.currency != "INR"
        or paper.amount_due_minor <= 0
        or bank is None
        or not bank.upi_id
        or paper.issue_date is None
    ):
        return ""
    heads: dict[str, int] = {}
    for total in paper.head_totals:
        heads[total.head.value] = heads.get(total.head.value, 0) + total.tax_minor
    said = {
        "pa": bank.upi_id,
        "pn": bank.account_name,
        "am": _rupees(paper.amount_due_minor),
        "cu": "INR",
        "tr": paper.number,
        "tn": f"Invoice {paper.number} over {_rupees(paper.total_minor)}",
        "gstIn": paper.supplier.gstin,
        "gstBrkUp": "|".join(f"{head}:{_rupees(tax)}" for head, tax in heads.items()),
        "invoiceNo": paper.number,
        "invoiceDate": paper.issue_date.isoformat(),
    }
    return f"upi://pay?{urlencode(said, quote_via=quote, safe='@:|')}"


def _rupees(amount_minor: int) -> str:
    return f"{from_minor(amount_minor, 'INR'):f}"
