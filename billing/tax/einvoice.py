"""Whether a document needs an invoice reference number, and until when it can be reported.

Source: CGST Rules r.48(4), Notification 13/2020-CT with its later limits; GSTN advisories for the
reporting limit.
"""

from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from billing.tax import rules
from billing.tax.model import TaxKind

_NOT_TAKEN_BY_IRP = frozenset({TaxKind.UNREGISTERED, TaxKind.UIN})


class Requirement(StrEnum):
    """Whether the law wants an e-invoice."""

    REQUIRED = "required"
    NOT_REQUIRED = "not_required"


class DocumentType(StrEnum):
    """The documents of GST law; proforma and statement are none of them."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"
    DEBIT_NOTE = "debit_note"
    BILL_OF_SUPPLY = "bill_of_supply"
    RECEIPT_VOUCHER = "receipt_voucher"
    REFUND_VOUCHER = "refund_voucher"
    PROFORMA = "proforma"
    STATEMENT = "statement"
    """Of usage whose tax was charged when its credits were sold."""


_REPORTED = frozenset({DocumentType.INVOICE, DocumentType.CREDIT_NOTE, DocumentType.DEBIT_NOTE})


def einvoice_requirement(
    max_turnover_crore: Decimal,
    recipient: TaxKind,
    document_date: date,
    document_type: DocumentType = DocumentType.INVOICE,
    *,
    wholly_exempt: bool = False,
    supplier_is_sez: bool = False,
) -> Requirement:
    """Whether a document of that day must be registered with the IRP before it is sent.

    Args:
        max_turnover_crore: highest aggregate turnover of the supplier's PAN in any preceding
            financial year since 2017-18; once above the limit, it stays so.
    """
    limit = rules.in_force(rules.facts("einvoice"), document_date)
    above_limit = limit is not None and max_turnover_crore > Decimal(
        limit["turnover_exceeds_crore"]
    )
    exempt = (
        wholly_exempt
        or supplier_is_sez
        or recipient in _NOT_TAKEN_BY_IRP
        or document_type not in _REPORTED
    )
    return Requirement.REQUIRED if above_limit and not exempt else Requirement.NOT_REQUIRED


def last_reporting_day(max_turnover_crore: Decimal, document_date: date) -> date | None:
    """The last day the IRP takes the document; None if there is no limit.

    The day of the document counts, as in GSTN's own example (1 April to 30 April).
    """
    days = [
        int(row["days"])
        for row in rules.facts("einvoice_reporting")
        if date.fromisoformat(row["from"]) <= document_date
        and max_turnover_crore >= Decimal(row["turnover_at_least_crore"])
    ]
    return document_date + timedelta(days=min(days) - 1) if days else None
