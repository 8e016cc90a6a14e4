"""From stored records to tax on an invoice: asks the tax rules, writes their answer down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from billing.customers.tables import Account, BillingMode, TaxProfile
from billing.db.recall import keep, recall
from billing.errors import PreconditionError
from billing.invoices.questions import questions_about
from billing.invoices.tables import Invoice, InvoiceLine, SupplierRegistration, TaxLine
from billing.invoices.turnovers import highest_turnover
from billing.tax import model as tax
from billing.tax.compute import round_off_minor, tax_line
from billing.tax.decide import decide
from billing.tax.einvoice import DocumentType

_NO_TURNOVER = Decimal(0)


@dataclass(frozen=True, slots=True)
class InvoiceTax:
    """The decisions for an invoice, one per SAC on it."""

    by_sac: Mapping[str, tax.TaxDecision]
    rounds_off: bool = False
    """Whether the total becomes whole rupees."""

    @property
    def leading(self) -> tax.TaxDecision:
        """Place of supply and zero-rating depend on the parties alone: any decision shows them."""
        return next(iter(self.by_sac.values()))

    @property
    def status(self) -> tax.DecisionStatus:
        """The gravest of them."""
        return tax.worst([decision.status for decision in self.by_sac.values()])

    @property
    def notes(self) -> str | None:
        """What a person has to look at, as sentences."""
        messages = {
            reason.message
            for decision in self.by_sac.values()
            for reason in decision.reasons
            if reason.status is not tax.DecisionStatus.OK
        }
        return " ".join(sorted(messages)) or None

    def to_dict(self) -> dict[str, object]:
        """As it is kept on the invoice."""
        return {sac: decision.to_dict() for sac, decision in sorted(self.by_sac.items())}


def tax_profile_on(session: Session, customer_id: UUID, day: date) -> TaxProfile:
    """The customer's tax profile in force on a day.

    Raises:
        PreconditionError: if none is on record; nothing may be invoiced then.
    """
    profile = recall(
        session,
        ("tax_profile", customer_id, day),
        lambda: session.scalars(
            select(TaxProfile)
            .where(TaxProfile.customer_id == customer_id, TaxProfile.valid_from <= day)
            .order_by(TaxProfile.valid_from.desc())
            .limit(1)
        ).one_or_none(),
    )
    if profile is None:
        raise PreconditionError(
            f"The customer has no tax profile on {day}; add one that is valid from then.",
            code="no_tax_profile",
        )
    return profile


def read_tax_profiles(session: Session, customer_ids: Iterable[UUID], day: date) -> None:
    """Read what `tax_profile_on` will be asked for many customers, within `recalling`."""
    wanted = set(customer_ids)
    found = session.scalars(
        select(TaxProfile)
        .ext(distinct_on(TaxProfile.customer_id))
        .where(TaxProfile.customer_id == func.any(list(wanted)), TaxProfile.valid_from <= day)
        .order_by(TaxProfile.customer_id, TaxProfile.valid_from.desc())
    )
    by_customer = {profile.customer_id: profile for profile in found}
    for customer_id in wanted:
        keep(session, ("tax_profile", customer_id, day), by_customer.get(customer_id))


def decide_invoice_tax(
    supplier: SupplierRegistration,
    profile: TaxProfile,
    *,
    sacs: set[str],
    currency: str,
    tax_date: date,
    turnover_crore: Decimal = _NO_TURNOVER,
    treatment: tax.TaxTreatment = tax.TaxTreatment.TAXABLE,
) -> InvoiceTax:
    """Ask the tax rules once per SAC.

    Args:
        currency: what the invoice is paid in; ISO 4217.
        tax_date: day of the time of supply in Asia/Kolkata.
        turnover_crore: see `turnovers.highest_turnover`.
        treatment: of everything on the document; a bill of supply holds exempt services alone.
    """
    registration = tax.SupplierRegistration(
        gstin=supplier.gstin,
        legal_name=supplier.legal_name,
        lut=_lut(supplier),
        max_turnover_crore=turnover_crore,
    )
    recipient = tax.CustomerTaxProfile(
        tax_kind=profile.tax_kind,
        legal_name=profile.legal_name,
        country=profile.country,
        gstin=profile.gstin,
        state_code=profile.state_code,
        address=profile.address_line,
        sez_authorised_operations=profile.sez_authorised_operations,
        same_legal_person=profile.own_establishment,
        payment_currency=currency,
    )
    return InvoiceTax(
        {
            sac: decide(
                registration, recipient, tax.TaxableItem(sac=sac, treatment=treatment), tax_date
            )
            for sac in sorted(sacs)
        }
    )


def decide_tax_of(
    session: Session,
    invoice: Invoice,
    supplier: SupplierRegistration,
    day: date,
    turnover_crore: Decimal | None = None,
) -> tuple[InvoiceTax, TaxProfile]:
    """The decision for an invoice as if it were issued on a day, and the profile it rests on.

    Args:
        turnover_crore: the highest turnover before that day, if the caller knows it.

    Raises:
        PreconditionError: if the customer has no tax profile on that day.
    """
    profile = tax_profile_on(session, invoice.customer_id, day)
    untaxed = invoice.document_type in {DocumentType.BILL_OF_SUPPLY, DocumentType.STATEMENT}
    decision = decide_invoice_tax(
        supplier,
        profile,
        sacs={line.sac for line in invoice.lines},
        currency=invoice.currency,
        tax_date=day,
        turnover_crore=(
            highest_turnover(session, supplier.gstin, day)
            if turnover_crore is None
            else turnover_crore
        ),
        treatment=tax.TaxTreatment.EXEMPT if untaxed else tax.TaxTreatment.TAXABLE,
    )
    questions = questions_about(session, invoice, supplier, decision.by_sac, day)
    asked = _with_questions(decision, questions) if questions else decision
    return replace(asked, rounds_off=_rounds_off(session, invoice, supplier)), profile


def _rounds_off(session: Session, invoice: Invoice, supplier: SupplierRegistration) -> bool:
    """A wallet pays to the paisa: what is rounded would be left over there."""
    if not supplier.round_off or invoice.currency != "INR":
        return False
    if invoice.document_type is not DocumentType.INVOICE:
        return False
    account = session.get_one(Account, invoice.account_id)
    return account.billing_mode is BillingMode.POSTPAID


def _with_questions(decision: InvoiceTax, questions: Mapping[str, list[tax.Reason]]) -> InvoiceTax:
    """The decisions with what else a person has to look at, by SAC."""
    return InvoiceTax(
        {
            sac: replace(
                one,
                reasons=(*one.reasons, *questions[sac]),
                status=tax.worst([one.status, *(reason.status for reason in questions[sac])]),
            )
            if sac in questions
            else one
            for sac, one in decision.by_sac.items()
        }
    )


def apply_tax(invoice: Invoice, lines: list[InvoiceLine], decision: InvoiceTax) -> None:
    """Write the tax of each line, and the totals, onto an invoice that is still a draft."""
    for line in lines:
        computed = tax_line(line.amount_minor, decision.by_sac[line.sac].heads)
        line.taxes = [
            TaxLine(
                head=amount.head,
                rate=amount.rate,
                taxable_minor=amount.taxable_minor,
                tax_minor=amount.tax_minor,
            )
            for amount in computed.taxes
        ]
    invoice.tax_decision = decision.to_dict()
    invoice.taxable_minor = sum(line.amount_minor for line in lines)
    invoice.tax_minor = sum(tax.tax_minor for line in lines for tax in line.taxes)
    exact = invoice.taxable_minor + invoice.tax_minor
    invoice.round_off_minor = round_off_minor(exact) if decision.rounds_off else 0
    invoice.total_minor = exact + invoice.round_off_minor


def total_with(invoice: Invoice, decision: InvoiceTax) -> int:
    """What an invoice comes to, with tax by a decision that is not applied to it; minor units."""
    exact = sum(
        tax_line(line.amount_minor, decision.by_sac[line.sac].heads).total_minor
        for line in invoice.lines
    )
    return exact + (round_off_minor(exact) if decision.rounds_off else 0)


def _lut(supplier: SupplierRegistration) -> tax.Lut | None:
    if supplier.lut_arn is None or supplier.lut_valid_from is None or supplier.lut_valid_to is None:
        return None
    return tax.Lut(supplier.lut_arn, supplier.lut_valid_from, supplier.lut_valid_to)
