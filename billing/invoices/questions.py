"""What a person has to look at before an invoice is issued, beside who its parties are."""

from collections.abc import Mapping
from datetime import date, timedelta

from sqlalchemy.orm import Session

from billing.customers.tables import Account, BillingMode
from billing.db.recall import recall
from billing.formatting import format_date
from billing.fx.service import rate_on
from billing.invoices.tables import Invoice, SupplierRegistration
from billing.tax import rules
from billing.tax.model import DecisionStatus, Reason, TaxDecision
from billing.tax.timing import old_rate_applies, time_of_supply


def questions_about(
    session: Session,
    invoice: Invoice,
    supplier: SupplierRegistration,
    decided: Mapping[str, TaxDecision],
    day: date,
) -> dict[str, list[Reason]]:
    """The reasons for a review of an invoice that is issued on a day, by SAC."""
    exchange = _age_of_exchange_rate(session, invoice, supplier, day)
    found = {}
    for sac, decision in decided.items():
        taxed = decision.rate and _change_of_tax_rate(session, invoice, sac, decision, day)
        reasons = [reason for reason in (exchange, taxed) if reason]
        if reasons:
            found[sac] = reasons
    return found


def _age_of_exchange_rate(
    session: Session, invoice: Invoice, supplier: SupplierRegistration, day: date
) -> Reason | None:
    """Rupee values are those of the day of the time of supply (r.34(2)), not of some day before."""
    code = invoice.currency
    if code == "INR":
        return None
    rate = recall(session, ("fx_rate", code, day), lambda: rate_on(session, code, day))
    if rate is None:
        return None  # without any rate it is not issued at all
    age = (day - rate.rate_date).days
    if age <= supplier.oldest_fx_rate_days:
        return None
    return Reason(
        "fx_rate_old",
        f"The last {code} rate on record is of {format_date(rate.rate_date)}, {age} days before "
        f"{format_date(day)}: record the rate of that day, or confirm that this one holds.",
        DecisionStatus.REVIEW,
    )


def _change_of_tax_rate(
    session: Session, invoice: Invoice, sac: str, decision: TaxDecision, day: date
) -> Reason | None:
    """Where the rate changed between supply and invoice, two of three events decide (s.14)."""
    supplied = invoice.period_end - timedelta(days=1)
    change = rules.tax_rate_since(sac, day)
    if change <= supplied or rules.tax_rate(sac, supplied) == decision.rate:
        return None
    account = session.get_one(Account, invoice.account_id)
    # What a wallet pays was paid before; all else is taken to be paid after its invoice.
    paid = supplied if account.billing_mode is BillingMode.PREPAID else day
    is_late = time_of_supply(service_done=supplied, invoiced=day, paid=None) < change
    is_old = is_late or old_rate_applies(change, supplied=supplied, invoiced=day, paid=paid)
    before, now = f"{rules.tax_rate(sac, supplied):f} %", f"{decision.rate:f} %"
    applies = (
        f"{before} still applies: issue it as of {format_date(supplied)}"
        if is_old
        else f"{now} applies, but {before} to what was paid before that day"
    )
    return Reason(
        "rate_changed",
        f"The rate of SAC {sac} went from {before} to {now} on {format_date(change)}, between the "
        f"supply and this invoice. By section 14 {applies}.",
        DecisionStatus.REVIEW,
    )
