"""The invoice reference number, as the portal computes it (GSTN, e-invoice schema).

SHA-256 over GSTIN, financial year, kind and number with nothing between them. Knowing it before
the portal says it finds duplicates, and tells its answer from anybody else's.
"""

import hashlib
from datetime import date
from typing import Final

from billing.tax.einvoice import DocumentType
from billing.tax.fiscal import financial_year

CODES: Final = {
    DocumentType.INVOICE: "INV",
    DocumentType.CREDIT_NOTE: "CRN",
    DocumentType.DEBIT_NOTE: "DBN",
}
"""What the portal calls the documents that it takes."""

CASE_IGNORED_FROM: Final = date(2025, 6, 1)
"""From then on numbers are upper-cased before they are hashed."""


def irn(gstin: str, document_type: DocumentType, number: str, issue_date: date) -> str:
    """The IRN of a document, 64 hexadecimal digits.

    Raises:
        KeyError: for a document that the portal does not take.
    """
    hashed = number.upper() if issue_date >= CASE_IGNORED_FROM else number
    said = f"{gstin}{financial_year(issue_date)}{CODES[document_type]}{hashed}"
    return hashlib.sha256(said.encode()).hexdigest()
