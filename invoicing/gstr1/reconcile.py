"""Whether a return says what the documents and the ledger say, to the paisa.

The return is made from snapshots; here everything is summed again from the rows and the ledger, by
other ways, and what is not equal is named.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from billing.money import to_minor
from invoicing.gstr1.advances import Advances
from invoicing.gstr1.facts import Amounts, ReturnFacts, first_of_month, next_month

_SUPPLIES = ("b2b", "b2cl", "exp", "b2cs", "nil", "cdnr", "cdnur")


@dataclass(frozen=True, slots=True)
class Difference:
    """Two figures that should be equal; paise, or a count for documents."""

    name: str
    in_return: int
    in_books: int


_BOOKS = text(
    """
    WITH papers AS (
        SELECT 1 AS sign, i.currency, i.snapshot, i.taxable_minor,
            (SELECT jsonb_object_agg(head, tax) FROM (
                SELECT t.head, sum(t.tax_minor) AS tax FROM billing.tax_lines t
                JOIN billing.invoice_lines l ON l.id = t.invoice_line_id
                WHERE l.invoice_id = i.id GROUP BY t.head) heads) AS heads
        FROM billing.invoices i
        WHERE i.supplier_gstin = :gstin AND i.status IN ('due', 'paid')
            AND i.document_type <> 'statement'
            AND i.issue_date >= :start AND i.issue_date < :end
        UNION ALL
        SELECT -1, d.currency, d.snapshot,
            d.taxable_minor,
            (SELECT jsonb_object_agg(head, tax) FROM (
                SELECT t ->> 'head' AS head, sum((t ->> 'tax_minor')::bigint) AS tax
                FROM billing.document_lines l, jsonb_array_elements(l.taxes) t
                WHERE l.document_id = d.id GROUP BY 1) heads)
        FROM billing.documents d
        WHERE d.supplier_gstin = :gstin AND d.kind = 'credit_note'
            AND d.issue_date >= :start AND d.issue_date < :end
    ), in_rupees AS (
        SELECT sign,
            CASE WHEN currency = 'INR' THEN taxable_minor
                ELSE (snapshot -> 'fx' ->> 'taxable_inr_minor')::bigint END AS taxable,
            CASE WHEN currency = 'INR' THEN coalesce((heads ->> 'IGST')::bigint, 0)
                ELSE (snapshot -> 'fx' ->> 'tax_inr_minor')::bigint END AS igst,
            coalesce((heads ->> 'CGST')::bigint, 0) AS cgst,
            coalesce((heads ->> 'SGST')::bigint, 0) + coalesce((heads ->> 'UTGST')::bigint, 0)
                AS sgst
        FROM papers
    )
    SELECT coalesce(sum(sign * taxable), 0), coalesce(sum(sign * igst), 0),
        coalesce(sum(sign * cgst), 0), coalesce(sum(sign * sgst), 0)
    FROM in_rupees
    """
)

_COUNT = text(
    """
    SELECT (SELECT count(*) FROM billing.invoices WHERE supplier_gstin = :gstin
                AND document_type <> 'statement'
                AND status IN ('due', 'paid') AND issue_date >= :start AND issue_date < :end)
        + (SELECT count(*) FROM billing.documents WHERE supplier_gstin = :gstin
                AND kind NOT IN ('financial_credit_note', 'proforma')
                AND issue_date >= :start AND issue_date < :end)
    """
)

# Tax that an invoice took from the wallet, on its settlement lines and in the ledger.
_OUTPUT_TAX = text(
    """
    SELECT i.number,
        sum(a.amount_minor) - i.taxable_minor AS settled,
        (SELECT coalesce(sum(e.amount_units), 0)
            / power(10.0, c.wallet_exponent - c.minor_exponent)
         FROM billing.ledger_transactions t
         JOIN billing.ledger_entries e ON e.transaction_id = t.id
         WHERE t.reference = 'invoice:' || i.id AND e.account = 'output_tax') AS posted
    FROM billing.invoices i
    JOIN billing.currencies c ON c.code = i.currency
    JOIN billing.invoice_allocations a ON a.invoice_id = i.id AND a.source IN ('wallet', 'top_up')
    WHERE i.supplier_gstin = :gstin AND i.status IN ('due', 'paid')
        AND i.issue_date >= :start AND i.issue_date < :end
    GROUP BY i.id, c.wallet_exponent, c.minor_exponent
    ORDER BY i.number
    """
)

_UNDOCUMENTED = text(
    """
    SELECT t.reference,
        sum(e.amount_units) / power(10.0, c.wallet_exponent - c.minor_exponent)
    FROM billing.ledger_transactions t
    JOIN billing.ledger_entries e ON e.transaction_id = t.id
    JOIN billing.currencies c ON c.code = t.currency
    WHERE t.kind <> 'usage' AND e.account = 'output_tax'
        AND t.recorded_at >= (CAST(:start AS timestamp) AT TIME ZONE 'Asia/Kolkata')
        AND t.recorded_at < (CAST(:end AS timestamp) AT TIME ZONE 'Asia/Kolkata')
        AND NOT EXISTS (SELECT 1 FROM billing.invoices i
            WHERE 'invoice:' || i.id = t.reference AND i.status IN ('due', 'paid'))
        AND NOT EXISTS (SELECT 1 FROM billing.documents d
            WHERE 'credit_note:' || d.id = t.reference)
    GROUP BY t.id, c.wallet_exponent, c.minor_exponent
    """
)

_VOUCHERS = text(
    """
    SELECT d.number, d.tax_minor,
        (SELECT abs(coalesce(sum(e.amount_units), 0))
            / power(10.0, c.wallet_exponent - c.minor_exponent)
         FROM billing.ledger_entries e
         WHERE e.transaction_id = d.ledger_transaction_id AND e.account = 'tax_on_advances')
    FROM billing.documents d
    JOIN billing.currencies c ON c.code = d.currency
    WHERE d.supplier_gstin = :gstin AND d.ledger_transaction_id IS NOT NULL
        AND d.issue_date >= :start AND d.issue_date < :end
    ORDER BY d.number
    """
)

_UNPAPERED = text(
    """
    SELECT t.reference,
        coalesce(sum(e.amount_units) FILTER (WHERE e.account = 'tax_on_advances'), 0)
            / power(10.0, c.wallet_exponent - c.minor_exponent)
    FROM billing.ledger_transactions t
    JOIN billing.ledger_entries e ON e.transaction_id = t.id
    JOIN billing.currencies c ON c.code = t.currency
    LEFT JOIN billing.payments p ON t.reference = concat_ws(':', 'payment', p.id, 1)
    WHERE t.kind IN ('top_up', 'refund')
        AND coalesce(p.captured_at, t.recorded_at)
            < (CAST(:end AS timestamp) AT TIME ZONE 'Asia/Kolkata')
        AND NOT EXISTS (SELECT 1 FROM billing.documents d WHERE d.ledger_transaction_id = t.id)
        AND NOT EXISTS (SELECT 1 FROM billing.invoices i WHERE i.ledger_transaction_id = t.id)
    GROUP BY t.id, c.wallet_exponent, c.minor_exponent
    ORDER BY t.reference
    """
)


def reconcile(
    session: Session, facts: ReturnFacts, found: dict[str, Any], advances: Advances
) -> list[Difference]:
    """Every difference between a return and the books; none if it may be filed."""
    period = {"gstin": facts.gstin, "start": facts.month, "end": next_month(facts.month)}

    def rows(statement: TextClause) -> Sequence[Any]:
        return session.execute(statement, period).all()

    taxable, igst, cgst, sgst = rows(_BOOKS)[0]
    books = Amounts(int(taxable), int(igst), int(cgst), int(sgst))
    counted = rows(_COUNT)[0][0]
    pairs = [
        *_amounts("documents", supplies_in(found), books),
        *_amounts("hsn", hsn_in(found), books),
        ("documents_issued", _net_issued(found), int(counted)),
        *(
            (f"ledger.output_tax {number}", int(settled), int(posted))
            for number, settled, posted in rows(_OUTPUT_TAX)
        ),
        *(
            (f"ledger.tax_on_advances {number}", int(papered), int(posted))
            for number, papered, posted in rows(_VOUCHERS)
        ),
        *(
            (f"ledger.output_tax without document {reference}", 0, int(posted))
            for reference, posted in rows(_UNDOCUMENTED)
        ),
        *_unfounded(advances, facts.month),
    ]
    differences = [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
    # An advance without its voucher is named even if it bore no tax: table 13 lacks it.
    differences += [
        Difference(f"advance without voucher {reference}", 0, int(tax))
        for reference, tax in rows(_UNPAPERED)
    ]
    return differences


def supplies_in(found: dict[str, Any]) -> Amounts:
    """The sum of all tables of supplies, notes with their sign."""
    return sum((_sum(found.get(table, []), 1) for table in _SUPPLIES), Amounts())


def hsn_in(found: dict[str, Any]) -> Amounts:
    """The sum of table 12."""
    return _sum(found.get("hsn", {}), 1)


def _sum(value: Any, sign: int) -> Amounts:
    """Walk a table; an entry of type C takes back all that is below it."""
    if isinstance(value, list):
        return sum((_sum(one, sign) for one in value), Amounts())
    if not isinstance(value, dict):
        return Amounts()
    if value.get("ntty") == "C":
        sign = -sign
    own = Amounts(
        _paise(value.get("txval")) + _paise(value.get("nil_amt")),
        _paise(value.get("iamt")),
        _paise(value.get("camt")),
        _paise(value.get("samt")),
    ).times(sign)
    return sum((_sum(one, sign) for one in value.values()), own)


def _paise(rupees: Decimal | None) -> int:
    return 0 if rupees is None else to_minor(rupees, "INR")


def _amounts(name: str, in_return: Amounts, in_books: Amounts) -> Iterator[tuple[str, int, int]]:
    for part in ("taxable", "igst", "cgst", "sgst"):
        yield f"{name}.{part}", getattr(in_return, part), getattr(in_books, part)


def _net_issued(found: dict[str, Any]) -> int:
    return sum(
        run["net_issue"]
        for nature in found.get("doc_issue", {}).get("doc_det", [])
        for run in nature["docs"]
    )


def _unfounded(advances: Advances, month: date) -> Iterator[tuple[str, int, int]]:
    for draw, missing in advances.unfounded:
        if first_of_month(draw.day) == month:
            yield f"advances used without voucher {draw.number}", 0, missing
