"""The lists that can be exported: what they hold, and who may have them.

Amounts are in units of the currency, exact; instants are in UTC. Every query is confined to the
actor's customer by `:customer_id`, and to days of India's calendar by `:from_day` and `:to_day`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from billing.access.roles import Permission


@dataclass(frozen=True, slots=True)
class ExportList:
    """One list.

    Attributes:
        relation: what must exist for there to be rows; the pipeline makes some later.
    """

    title: str
    permission: Permission
    query: str
    relation: str | None = None


_MINOR: Final = "/ power(10::numeric, c.minor_exponent)::numeric(20, 0)"
_UNITS: Final = "/ power(10::numeric, c.wallet_exponent)::numeric(20, 0)"


def _minor(column: str) -> str:
    return f"round({column} {_MINOR}, c.minor_exponent)"


def _exact_minor(column: str) -> str:
    """Not rounded: what is less than a minor unit must show where all should come to nothing."""
    return f"trim_scale({column} {_MINOR})"


def _units(column: str) -> str:
    return f"round({column} {_UNITS}, c.wallet_exponent)"


def _within(day: str, *, customer: str, account: str) -> str:
    return (
        f"(CAST(:customer_id AS uuid) IS NULL OR {customer} = :customer_id) "
        f"AND (CAST(:account_id AS uuid) IS NULL OR {account} = :account_id) "
        f"AND (CAST(:from_day AS date) IS NULL OR {day} >= :from_day) "
        f"AND (CAST(:to_day AS date) IS NULL OR {day} < :to_day)"
    )


def _india(instant: str) -> str:
    return f"({instant} AT TIME ZONE 'Asia/Kolkata')::date"


def _heads(of: str) -> str:
    """The tax of a document by head, as `heads`; `of` gives `head` and `tax_minor` of its rows."""
    sums = ", ".join(
        f"coalesce(sum(tax_minor) FILTER (WHERE head IN ({heads})), 0) AS {name}"
        for name, heads in (
            ("cgst", "'CGST'"),
            ("sgst_utgst", "'SGST', 'UTGST'"),
            ("igst", "'IGST'"),
        )
    )
    return f"CROSS JOIN LATERAL (SELECT {sums} FROM ({of}) AS taxes) AS heads"


def _said(snapshot: str) -> str:
    """What a document says of itself, as `said`; a draft says nothing yet."""
    return (
        f"LEFT JOIN LATERAL jsonb_to_record({snapshot}) AS said (recipient jsonb, fx jsonb, "
        "place_of_supply_code text, place_of_supply_name text) ON true"
    )


def _in_rupees(row: str, amount: str) -> str:
    return (
        f"round(CASE {row}.currency WHEN 'INR' THEN {row}.{amount}_minor "
        f"ELSE (said.fx ->> '{amount}_inr_minor')::bigint END / 100::numeric, 2) AS {amount}_inr"
    )


def _register(row: str) -> str:
    """What a register of sales says of each document, besides its value and total."""
    return f"""{_minor("heads.cgst")} AS cgst, {_minor("heads.sgst_utgst")} AS sgst_utgst,
    {_minor("heads.igst")} AS igst, {_minor(f"{row}.tax_minor")} AS tax,
    {_minor(f"{row}.round_off_minor")} AS round_off,
    {_minor(f"{row}.total_minor")} AS total, said.fx ->> 'inr_per_unit' AS inr_per_unit,
    {_in_rupees(row, "taxable")}, {_in_rupees(row, "tax")}, {_in_rupees(row, "total")},
    CASE WHEN e.state IN ('registered', 'cancelled') THEN e.irn END AS irn,
    e.state AS irn_status"""


_INVOICE_HEADS: Final = _heads(
    "SELECT t.head, t.tax_minor FROM billing.invoice_lines l "
    "JOIN billing.tax_lines t ON t.invoice_line_id = l.id WHERE l.invoice_id = i.id"
)
_DOCUMENT_HEADS: Final = _heads(
    "SELECT t.head, t.tax_minor FROM billing.document_lines l, "
    "jsonb_to_recordset(l.taxes) AS t (head text, tax_minor bigint) WHERE l.document_id = d.id"
)
_PLACE: Final = "said.place_of_supply_code || '-' || said.place_of_supply_name AS place_of_supply"
_RECIPIENT: Final = "said.recipient ->> 'tax_number' AS recipient_gstin"

_INVOICES = f"""
SELECT i.number, i.document_type, i.status, i.issue_date, i.due_date, i.period_start,
    i.period_end, cu.code AS customer, cu.name AS customer_name, a.code AS account,
    i.supplier_gstin, {_RECIPIENT}, {_PLACE}, corrected.number AS corrects, i.currency,
    {_minor("i.taxable_minor")} AS taxable, {_register("i")},
    {_minor("i.settled_minor")} AS settled,
    {_minor("(i.total_minor - i.settled_minor)")} AS outstanding, i.id
FROM billing.invoices i
{_said("i.snapshot")}
{_INVOICE_HEADS}
LEFT JOIN billing.einvoices e ON e.invoice_id = i.id
LEFT JOIN billing.invoices corrected ON corrected.id = i.corrects_id
JOIN billing.customers cu ON cu.id = i.customer_id
JOIN billing.accounts a ON a.id = i.account_id
JOIN billing.currencies c ON c.code = i.currency
WHERE (CAST(:customer_id AS uuid) IS NULL OR i.status <> 'draft')
    AND {
    _within(
        "coalesce(i.issue_date, i.period_end)", customer="i.customer_id", account="i.account_id"
    )
}
ORDER BY coalesce(i.issue_date, i.period_end), i.number, i.id
"""

_INVOICE_LINES = f"""
SELECT i.number, i.issue_date, cu.code AS customer, a.code AS account, l.ordinal, l.item_code,
    l.description, l.sac, l.quantity, l.unit, l.unit_price, i.currency,
    {_minor("l.amount_minor")} AS amount,
    {_minor("coalesce(t.tax_minor, 0)")} AS tax, l.period_start, l.period_end, l.line_ref
FROM billing.invoice_lines l
JOIN billing.invoices i ON i.id = l.invoice_id
JOIN billing.customers cu ON cu.id = i.customer_id
JOIN billing.accounts a ON a.id = i.account_id
JOIN billing.currencies c ON c.code = i.currency
LEFT JOIN (SELECT invoice_line_id, sum(tax_minor) AS tax_minor FROM billing.tax_lines
    GROUP BY invoice_line_id) t ON t.invoice_line_id = l.id
WHERE (CAST(:customer_id AS uuid) IS NULL OR i.status <> 'draft')
    AND {
    _within(
        "coalesce(i.issue_date, i.period_end)", customer="i.customer_id", account="i.account_id"
    )
}
ORDER BY coalesce(i.issue_date, i.period_end), i.number, i.id, l.ordinal
"""

_PAYMENTS = f"""
SELECT p.created_at, p.purpose, p.gateway, p.status, cu.code AS customer, a.code AS account,
    i.number AS invoice, p.currency, {_minor("p.amount_minor")} AS asked,
    {_minor("p.captured_minor")} AS received, {_minor("p.refunded_minor")} AS refunded,
    p.captured_at, p.provider_order_id, p.attention, p.failure, p.id
FROM billing.payments p
JOIN billing.customers cu ON cu.id = p.customer_id
JOIN billing.accounts a ON a.id = p.account_id
JOIN billing.currencies c ON c.code = p.currency
LEFT JOIN billing.invoices i ON i.id = p.invoice_id
WHERE {_within(_india("p.created_at"), customer="p.customer_id", account="p.account_id")}
ORDER BY p.created_at, p.id
"""

_SETTLEMENTS = f"""
SELECT s.recorded_at, i.number AS invoice, cu.code AS customer, a.code AS account, s.source,
    s.reference, i.currency, {_minor("s.amount_minor")} AS amount,
    s.details ->> 'section' AS section, s.details ->> 'rate' AS rate,
    s.details ->> 'certificate' AS certificate, s.details ->> 'note' AS note
FROM billing.invoice_allocations s
JOIN billing.invoices i ON i.id = s.invoice_id
JOIN billing.customers cu ON cu.id = i.customer_id
JOIN billing.accounts a ON a.id = i.account_id
JOIN billing.currencies c ON c.code = i.currency
WHERE {_within(_india("s.recorded_at"), customer="i.customer_id", account="i.account_id")}
ORDER BY s.recorded_at, s.id
"""

_TDS = f"""
SELECT s.recorded_at, s.source, i.number AS invoice, i.issue_date, cu.code AS customer,
    cu.name AS customer_name, a.code AS account, i.currency, {_minor("s.amount_minor")} AS amount,
    s.details ->> 'section' AS section, s.details ->> 'rate' AS rate, s.reference,
    EXISTS (SELECT FROM billing.invoice_allocations u WHERE u.invoice_id = s.invoice_id
        AND u.reference = 'reversal:' || s.reference) AS taken_back,
    t.form, t.number AS certificate, t.issued_on AS certificate_date
FROM billing.invoice_allocations s
JOIN billing.invoices i ON i.id = s.invoice_id
JOIN billing.customers cu ON cu.id = i.customer_id
JOIN billing.accounts a ON a.id = i.account_id
JOIN billing.currencies c ON c.code = i.currency
LEFT JOIN billing.tds_certificate_lines l ON l.settlement_line_id = s.id
LEFT JOIN billing.tds_certificates t ON t.id = l.certificate_id
WHERE s.source IN ('tds_income_tax', 'tds_gst')
    AND {_within(_india("s.recorded_at"), customer="i.customer_id", account="i.account_id")}
ORDER BY s.recorded_at, s.id
"""

_WRITE_OFFS = f"""
SELECT w.proposed_at, w.state, i.number AS invoice, cu.code AS customer,
    cu.name AS customer_name, a.code AS account, i.currency,
    {_minor("w.amount_minor")} AS amount, w.reason, w.proposed_by, w.decided_by, w.decided_at,
    w.decision_note
FROM billing.write_offs w
JOIN billing.invoices i ON i.id = w.invoice_id
JOIN billing.customers cu ON cu.id = i.customer_id
JOIN billing.accounts a ON a.id = i.account_id
JOIN billing.currencies c ON c.code = i.currency
WHERE CAST(:customer_id AS uuid) IS NULL
    AND {_within(_india("w.proposed_at"), customer="i.customer_id", account="i.account_id")}
ORDER BY w.proposed_at, w.id
"""

_LEDGER = f"""
SELECT t.recorded_at, a.code AS account, e.wallet_seq AS number, t.kind, t.reference, t.currency,
    {_units("e.amount_units")} AS amount, {_units("e.balance_after_units")} AS balance
FROM billing.ledger_entries e
JOIN billing.ledger_transactions t ON t.id = e.transaction_id
JOIN billing.wallets w ON w.id = e.wallet_id
JOIN billing.accounts a ON a.id = w.account_id
JOIN billing.currencies c ON c.code = t.currency
WHERE e.account = 'wallet'
    AND {_within(_india("t.recorded_at"), customer="a.customer_id", account="a.id")}
ORDER BY a.code, w.currency, e.wallet_seq
"""

_USAGE = f"""
SELECT u.usage_day, a.code AS account, u.event_type, u.channel, u.country, u.operator, u.route,
    u.traffic_type, u.status, u.event_count AS events, u.quantity
FROM marts.fct_usage_daily u
JOIN billing.accounts a ON a.id = u.account_id
WHERE {_within("u.usage_day", customer="u.customer_id", account="u.account_id")}
ORDER BY u.usage_day, a.code, u.event_type, u.channel, u.country, u.operator, u.route,
    u.traffic_type, u.status
"""

_DOCUMENTS = f"""
SELECT d.number, d.kind, d.issue_date, cu.code AS customer, cu.name AS customer_name,
    a.code AS account, d.supplier_gstin, {_RECIPIENT}, {_PLACE}, corrected.number AS corrects,
    corrected.issue_date AS corrects_date, d.currency,
    {_minor("d.taxable_minor")} AS taxable, {_register("d")}, d.reason
FROM billing.documents d
{_said("d.snapshot")}
{_DOCUMENT_HEADS}
LEFT JOIN billing.einvoices e ON e.document_id = d.id
LEFT JOIN billing.invoices corrected ON corrected.id = d.invoice_id
JOIN billing.customers cu ON cu.id = d.customer_id
JOIN billing.accounts a ON a.id = d.account_id
JOIN billing.currencies c ON c.code = d.currency
WHERE {_within("d.issue_date", customer="d.customer_id", account="d.account_id")}
ORDER BY d.issue_date, d.number
"""

_CUSTOMERS = f"""
SELECT cu.code, cu.name, cu.email, cu.created_at, t.valid_from AS tax_profile_from, t.tax_kind,
    t.legal_name, t.gstin, t.address_line, t.city, t.postal_code, t.state_code, t.country,
    a.code AS account, a.name AS account_name, a.billing_mode, a.currency, a.zone, a.status,
    a.payment_terms_days, parent.code AS parent_account
FROM billing.customers cu
LEFT JOIN LATERAL (SELECT * FROM billing.tax_profiles p WHERE p.customer_id = cu.id
    ORDER BY p.valid_from DESC LIMIT 1) t ON true
LEFT JOIN billing.accounts a ON a.customer_id = cu.id
LEFT JOIN billing.accounts parent ON parent.id = a.parent_account_id
WHERE {_within(_india("cu.created_at"), customer="cu.id", account="a.id")}
ORDER BY cu.code, a.code
"""

_SUBSCRIPTIONS = f"""
SELECT cu.code AS customer, cu.name AS customer_name, a.code AS account, s.status,
    plan.code AS plan, plan.name AS plan_name, version.version, plan.is_add_on,
    trim_scale(g.quantity) AS quantity, g.phase, coalesce(g.interval, s.interval) AS interval,
    g.starts_on, g.ends_on,
    s.starts_on AS subscribed_on, s.ends_on AS subscribed_until, s.id
FROM billing.subscription_segments g
JOIN billing.subscriptions s ON s.id = g.subscription_id
JOIN billing.price_plan_versions version ON version.id = g.plan_version_id
JOIN billing.price_plans plan ON plan.id = version.plan_id
JOIN billing.accounts a ON a.id = s.account_id
JOIN billing.customers cu ON cu.id = a.customer_id
WHERE {_within("g.starts_on", customer="a.customer_id", account="a.id")}
ORDER BY a.code, s.id, plan.is_add_on, g.starts_on, g.id
"""

_EINVOICES = f"""
SELECT e.number, e.issue_date, cu.code AS customer, cu.name AS customer_name, a.code AS account,
    e.state, e.irn, e.ack_number, e.acknowledged_at, e.report_by, e.attempts, e.error_code,
    e.error, e.cancel_reason, e.cancel_remark, e.cancelled_at
FROM billing.einvoices e
LEFT JOIN billing.invoices i ON i.id = e.invoice_id
LEFT JOIN billing.documents d ON d.id = e.document_id
JOIN billing.customers cu ON cu.id = coalesce(i.customer_id, d.customer_id)
JOIN billing.accounts a ON a.id = coalesce(i.account_id, d.account_id)
WHERE {_within("e.issue_date", customer="cu.id", account="a.id")}
ORDER BY e.issue_date, e.number, e.id
"""

_INVOICE_CLEARING = f"""
SELECT v.number, i.issue_date, i.status, cu.code AS customer, cu.name AS customer_name,
    a.code AS account, v.currency, {_minor("v.total_minor")} AS total,
    {_minor("v.settled_minor")} AS settled, {_minor("v.outstanding_minor")} AS outstanding,
    {_minor("v.remainder_minor")} AS remainder, v.invoice_id AS id
FROM billing.invoice_clearing v
JOIN billing.invoices i ON i.id = v.invoice_id
JOIN billing.customers cu ON cu.id = v.customer_id
JOIN billing.accounts a ON a.id = i.account_id
JOIN billing.currencies c ON c.code = v.currency
WHERE CAST(:customer_id AS uuid) IS NULL
    AND {_within("i.issue_date", customer="v.customer_id", account="i.account_id")}
ORDER BY i.issue_date, v.number, v.invoice_id
"""

_PAYMENT_CLEARING = f"""
SELECT p.created_at, v.gateway, v.purpose, cu.code AS customer, cu.name AS customer_name,
    a.code AS account, v.currency, {_minor("v.captured_minor")} AS received,
    {_minor("v.refunded_minor")} AS refunded, {_minor("v.allocated_minor")} AS allocated,
    {_minor("v.credited_minor")} AS credited, {_minor("v.left_minor")} AS left_over,
    {_exact_minor("v.remainder_minor")} AS remainder, v.payment_id AS id
FROM billing.payment_clearing v
JOIN billing.payments p ON p.id = v.payment_id
JOIN billing.customers cu ON cu.id = v.customer_id
JOIN billing.accounts a ON a.id = p.account_id
JOIN billing.currencies c ON c.code = v.currency
WHERE CAST(:customer_id AS uuid) IS NULL
    AND {_within(_india("p.created_at"), customer="v.customer_id", account="p.account_id")}
ORDER BY p.created_at, p.id
"""

LISTS: Final[Mapping[str, ExportList]] = {
    "invoices": ExportList("Invoices", Permission.INVOICES_READ, _INVOICES),
    "invoice-lines": ExportList("Invoice lines", Permission.INVOICES_READ, _INVOICE_LINES),
    "einvoices": ExportList("E-invoices", Permission.INVOICES_READ, _EINVOICES),
    "documents": ExportList("Notes and vouchers", Permission.INVOICES_READ, _DOCUMENTS),
    "payments": ExportList("Payments", Permission.PAYMENTS_READ, _PAYMENTS),
    "settlement-lines": ExportList("Settlement lines", Permission.PAYMENTS_READ, _SETTLEMENTS),
    "tds": ExportList("Tax deducted at source", Permission.PAYMENTS_READ, _TDS),
    "write-offs": ExportList("Debts given up", Permission.PAYMENTS_READ, _WRITE_OFFS),
    "invoice-clearing": ExportList(
        "Clearing of invoices", Permission.PAYMENTS_READ, _INVOICE_CLEARING
    ),
    "payment-clearing": ExportList(
        "Clearing of payments", Permission.PAYMENTS_READ, _PAYMENT_CLEARING
    ),
    "customers": ExportList("Customers and accounts", Permission.CUSTOMERS_READ, _CUSTOMERS),
    "subscriptions": ExportList("Subscriptions", Permission.SUBSCRIPTIONS_READ, _SUBSCRIPTIONS),
    "ledger": ExportList("Wallet ledger", Permission.WALLETS_READ, _LEDGER),
    "usage": ExportList("Usage by day", Permission.USAGE_READ, _USAGE, "marts.fct_usage_daily"),
}
