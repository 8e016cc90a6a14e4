"""Where a supply takes place and which tax it bears: one pure function over dated data.

Source: IGST Act 2017 s.7, 8, 12, 13 and 16, CGST Act 2017, UTGST Act 2017 s.7. The recipient's
location under the contract decides, because every supply here is a service made from India.
"""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from billing.tax import gstin, rules
from billing.tax.einvoice import Requirement, einvoice_requirement
from billing.tax.gstin import NumberKind, NumberStatus
from billing.tax.model import (
    CustomerTaxProfile,
    DecisionStatus,
    HeadRate,
    Nature,
    Reason,
    SupplierRegistration,
    SupplyKind,
    TaxableItem,
    TaxDecision,
    TaxHead,
    TaxKind,
    TaxTreatment,
    ZeroRatedMode,
    worst,
)

_SEZ = frozenset({TaxKind.SEZ_UNIT, TaxKind.SEZ_DEVELOPER})
_WITHOUT_NUMBER = frozenset({TaxKind.UNREGISTERED, TaxKind.OVERSEAS})
_ORDINARY = frozenset({NumberKind.REGULAR, NumberKind.GOVERNMENT, NumberKind.SANDBOX})
_ALLOWED_NUMBERS = {
    TaxKind.REGISTERED: _ORDINARY | {NumberKind.NON_RESIDENT, NumberKind.TCS},
    TaxKind.COMPOSITION: _ORDINARY,
    TaxKind.SEZ_UNIT: _ORDINARY,
    TaxKind.SEZ_DEVELOPER: _ORDINARY,
    TaxKind.UIN: frozenset({NumberKind.UIN}),
    TaxKind.TDS_DEDUCTOR: _ORDINARY | {NumberKind.TDS},
}


@dataclass
class _Findings:
    """The reasons gathered on the way to a decision."""

    reasons: list[Reason] = field(default_factory=list)

    def review(self, code: str, message: str) -> None:
        self.reasons.append(Reason(code, message, DecisionStatus.REVIEW))

    def reject(self, code: str, message: str) -> None:
        self.reasons.append(Reason(code, message, DecisionStatus.REJECT))


@dataclass(frozen=True, slots=True)
class _ZeroRating:
    mode: ZeroRatedMode
    lut_arn: str | None = None


_NOT_ZERO_RATED = _ZeroRating(ZeroRatedMode.NONE)


def decide(
    supplier: SupplierRegistration,
    customer: CustomerTaxProfile,
    item: TaxableItem,
    tax_date: date,
) -> TaxDecision:
    """Decide place of supply, nature, heads, zero-rating, tables and wording of one supply.

    Never raises for what a customer record may contain: what a person has to look at comes back as
    status `review`, what must not be invoiced as `reject`, each with its reasons.

    Args:
        supplier: the registration that makes the supply; chosen by contract, not computed.
        customer: the recipient under the contract as it is on `tax_date`.
        item: what is supplied.
        tax_date: day of the time of supply in Asia/Kolkata; rate, LUT and thresholds depend on it.

    Raises:
        InvalidError: `no_tax_rate` if no rate covers a taxable item on that day.
    """
    findings = _Findings()
    _check_number(supplier, customer, findings)
    pos = _place_of_supply(supplier, customer, findings)
    supply = _supply_kind(customer)
    taxable = item.treatment is TaxTreatment.TAXABLE
    rate = rules.tax_rate(item.sac, tax_date) if taxable else Decimal(0)
    zero_rating = (
        _zero_rating(supplier, customer, tax_date, findings) if taxable else (_NOT_ZERO_RATED)
    )
    inter = supply is not SupplyKind.DOMESTIC or supplier.is_sez or pos != supplier.state_code
    nature = Nature.INTER if inter else Nature.INTRA
    if not taxable and supply is not SupplyKind.DOMESTIC:
        findings.review("exempt_beyond_border", "An exempt service to a SEZ or abroad is unusual.")
    if customer.country == "IN" and customer.payment_currency != "INR":
        findings.review("domestic_not_in_rupees", "A customer in India is invoiced in rupees.")
    return TaxDecision(
        pos_code=pos,
        pos_name=rules.place_name(pos) if pos else None,
        supply=supply,
        nature=nature,
        rate=rate,
        heads=_heads(nature, pos, rate, zero_rating) if taxable else (),
        zero_rated_mode=zero_rating.mode,
        einvoice_suptyp=_suptyp(customer, supply, zero_rating) if taxable else None,
        gstr1_table=_gstr1_table(customer, nature, zero_rating) if taxable else "nil",
        wording=_wording(supplier, customer, zero_rating, tax_date) if taxable else (),
        lut_arn=zero_rating.lut_arn,
        status=worst([reason.status for reason in findings.reasons]),
        reasons=tuple(findings.reasons),
    )


def _supply_kind(customer: CustomerTaxProfile) -> SupplyKind:
    if customer.tax_kind is TaxKind.OVERSEAS:
        return SupplyKind.EXPORT
    return SupplyKind.SEZ if customer.tax_kind in _SEZ else SupplyKind.DOMESTIC


def _check_number(
    supplier: SupplierRegistration, customer: CustomerTaxProfile, findings: _Findings
) -> None:
    if customer.tax_kind in _WITHOUT_NUMBER:
        if customer.gstin:
            findings.review(
                "number_not_expected",
                f"A customer with a GSTIN is not {customer.tax_kind.value}; check the tax profile.",
            )
        return
    number = gstin.parse(customer.gstin or "")
    if number.status is NumberStatus.INVALID:
        findings.reject("gstin_invalid", " ".join(reason.message for reason in number.reasons))
        return
    if number.value == gstin.normalise(supplier.gstin):
        findings.reject("own_gstin", "Supplier and recipient are the same registration.")
    elif number.pan is not None and number.pan == gstin.parse(supplier.gstin).pan:
        findings.review(
            "same_pan", "Recipient is our own person in another State: check the value."
        )
    if number.kind not in _ALLOWED_NUMBERS[customer.tax_kind]:
        kind = number.kind.value if number.kind else "unknown"
        findings.reject(
            "number_of_other_kind",
            f"A {kind} number does not belong to a {customer.tax_kind.value} customer.",
        )
    for reason in number.reasons:
        findings.review(f"gstin_{reason.code}", reason.message)


def _place_of_supply(
    supplier: SupplierRegistration, customer: CustomerTaxProfile, findings: _Findings
) -> str | None:
    if customer.tax_kind is TaxKind.OVERSEAS:
        return _place_abroad(customer, findings)
    if customer.country != "IN":
        findings.reject(
            "country_contradicts", f"A {customer.tax_kind.value} customer is located in India."
        )
    if customer.tax_kind is TaxKind.UNREGISTERED:
        return _place_of_unregistered(supplier, customer, findings)
    pos = gstin.normalise(customer.gstin or "")[:2]
    state = rules.states().get(pos)
    if state is None:
        findings.reject("no_place_of_supply", "The number names no State.")
        return None
    if state.successor is not None:
        findings.reject("retired_state", f"State code {pos} gave way to {state.successor}.")
    if customer.state_code is not None and customer.state_code != pos:
        findings.review(
            "state_differs_from_gstin",
            f"The address is in State {customer.state_code}, the GSTIN of State {pos}.",
        )
    return pos


def _place_abroad(customer: CustomerTaxProfile, findings: _Findings) -> str:
    if customer.country == "IN":
        findings.reject("country_contradicts", "An overseas customer is not located in India.")
    if not customer.country or not customer.address.strip():
        # The law would fall back to the supplier's own location; that is a gap in the record.
        findings.reject("no_address_abroad", "An overseas customer needs a country and an address.")
    return rules.FOREIGN_STATE


def _place_of_unregistered(
    supplier: SupplierRegistration, customer: CustomerTaxProfile, findings: _Findings
) -> str:
    if customer.state_code is None:
        findings.reject(
            "state_missing",
            "The State of an unregistered customer must be on record before the supply "
            "(Circular 242/36/2024).",
        )
        return supplier.state_code
    state = rules.states().get(customer.state_code)
    if state is None or state.successor is not None:
        findings.reject("state_unknown", f"{customer.state_code} is not a current State code.")
        return supplier.state_code
    return customer.state_code


def _zero_rating(
    supplier: SupplierRegistration,
    customer: CustomerTaxProfile,
    tax_date: date,
    findings: _Findings,
) -> _ZeroRating:
    supply = _supply_kind(customer)
    if supply is SupplyKind.DOMESTIC:
        return _NOT_ZERO_RATED
    if supply is SupplyKind.SEZ and not customer.sez_authorised_operations:
        findings.review(
            "sez_not_endorsed", "Without the endorsement for authorised operations tax is due."
        )
        return _NOT_ZERO_RATED
    if supply is SupplyKind.EXPORT and not _is_export(customer, findings):
        return _NOT_ZERO_RATED
    if supplier.lut is not None and supplier.lut.covers(tax_date):
        return _ZeroRating(ZeroRatedMode.LUT, supplier.lut.arn)
    if supplier.lut is not None:
        findings.review(
            "lut_not_in_force",
            f"LUT {supplier.lut.arn} does not cover {tax_date}: IGST is charged.",
        )
    elif supply is SupplyKind.EXPORT:
        findings.review("lut_missing", "There is no LUT: IGST is charged and may be refunded.")
    return _ZeroRating(ZeroRatedMode.IGST_PAID)


def _is_export(customer: CustomerTaxProfile, findings: _Findings) -> bool:
    """The conditions of IGST Act s.2(6) that a record can break."""
    if customer.same_legal_person:
        findings.review("own_establishment", "Supplying one's own branch abroad is no export.")
        return False
    in_rupees = customer.payment_currency == "INR"
    if in_rupees and not rules.exports_in_rupees_to(customer.country):
        findings.review(
            "rupee_export", f"Payment in rupees from {customer.country} needs RBI's permission."
        )
    return True


def _heads(
    nature: Nature, pos: str | None, rate: Decimal, zero_rating: _ZeroRating
) -> tuple[HeadRate, ...]:
    if zero_rating.mode is ZeroRatedMode.LUT:
        return (HeadRate(TaxHead.IGST, Decimal(0)),)
    if nature is Nature.INTER or pos is None:
        return (HeadRate(TaxHead.IGST, rate),)
    half = rate / 2
    return HeadRate(TaxHead.CGST, half), HeadRate(rules.states()[pos].local_head, half)


def _suptyp(
    customer: CustomerTaxProfile, supply: SupplyKind, zero_rating: _ZeroRating
) -> str | None:
    """The supply type of the e-invoice; None where the IRP takes none."""
    if customer.tax_kind in {TaxKind.UNREGISTERED, TaxKind.UIN}:
        return None
    if supply is SupplyKind.DOMESTIC:
        return "B2B"
    prefix = "EXP" if supply is SupplyKind.EXPORT else "SEZ"
    return f"{prefix}WOP" if zero_rating.mode is ZeroRatedMode.LUT else f"{prefix}WP"


def _gstr1_table(customer: CustomerTaxProfile, nature: Nature, zero_rating: _ZeroRating) -> str:
    under_lut = zero_rating.mode is ZeroRatedMode.LUT
    if customer.tax_kind is TaxKind.OVERSEAS:
        return "exp WOPAY" if under_lut else "exp WPAY"
    if customer.tax_kind in _SEZ:
        return "b2b SEWOP" if under_lut else "b2b SEWP"
    if customer.tax_kind is TaxKind.UNREGISTERED:
        return f"b2cs {nature.value.upper()}"
    return "b2b R"


def _wording(
    supplier: SupplierRegistration,
    customer: CustomerTaxProfile,
    zero_rating: _ZeroRating,
    tax_date: date,
) -> tuple[str, ...]:
    sentences = []
    if zero_rating.mode is ZeroRatedMode.LUT:
        sentences.append(rules.wording("export_or_sez_lut", tax_date))
    elif zero_rating.mode is ZeroRatedMode.IGST_PAID:
        sentences.append(rules.wording("export_or_sez_igst", tax_date))
    if customer.tax_kind is TaxKind.OVERSEAS:
        sentences.append(rules.wording("foreign_tax_notice", tax_date))
    if customer.tax_kind in {TaxKind.UNREGISTERED, TaxKind.UIN}:
        # A supplier above the limit says why this invoice bears no reference number.
        obliged = einvoice_requirement(
            supplier.max_turnover_crore,
            TaxKind.REGISTERED,
            tax_date,
            supplier_is_sez=supplier.is_sez,
        )
        if obliged is Requirement.REQUIRED:
            sentences.append(rules.wording("not_einvoiced_declaration", tax_date))
    return tuple(sentences)
