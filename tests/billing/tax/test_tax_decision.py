"""Where supplies take place and which tax they bear."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.errors import InvalidError
from billing.tax.compute import gstr1_table, tax_document
from billing.tax.decide import decide
from billing.tax.gstin import check_character
from billing.tax.model import (
    CustomerTaxProfile,
    DecisionStatus,
    HeadRate,
    Lut,
    Nature,
    SupplierRegistration,
    SupplyKind,
    TaxableItem,
    TaxDecision,
    TaxHead,
    TaxKind,
    TaxTreatment,
    ZeroRatedMode,
)
from billing.tax.rules import place_name, states, tax_rate

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "gst-vectors.json").read_text(encoding="utf-8")
)
SMS = TaxableItem("998413", "SMS OTP")
DAY = date(2026, 5, 15)
LUT = Lut("AD290326000123X", date(2026, 4, 1), date(2027, 3, 31))
CURRENT_STATES = sorted(code for code, state in states().items() if state.successor is None)


def gstin(state: str, pan: str = "AABCT1234C") -> str:
    body = f"{state}{pan}1Z"
    return body + check_character(body)


def supplier(state: str = "29", **changes: Any) -> SupplierRegistration:
    return replace(
        SupplierRegistration(gstin(state, "AAHCO1234F"), "OTPless Private Limited"), **changes
    )


def registered(state: str = "29", **changes: Any) -> CustomerTaxProfile:
    profile = CustomerTaxProfile(
        TaxKind.REGISTERED, "Acme Limited", gstin=gstin(state), state_code=state
    )
    return replace(profile, **changes)


def overseas(**changes: Any) -> CustomerTaxProfile:
    profile = CustomerTaxProfile(
        TaxKind.OVERSEAS,
        "Acme Inc.",
        country="US",
        address="1 Market Street, San Francisco",
        payment_currency="USD",
    )
    return replace(profile, **changes)


def codes(decision: TaxDecision) -> set[str]:
    return {reason.code for reason in decision.reasons}


def customer_of(recipient: dict[str, Any]) -> CustomerTaxProfile:
    kind = TaxKind.SEZ_UNIT if recipient["type"] == "sez" else TaxKind(recipient["type"])
    state = recipient.get("gstin_state")
    return CustomerTaxProfile(
        kind,
        "Acme",
        country=recipient["country"],
        gstin=gstin(state) if state else None,
        state_code=recipient.get("address_state", state),
        address="Thamel, Kathmandu",
        sez_authorised_operations=True,
        payment_currency=recipient.get("currency", "INR"),
    )


@pytest.mark.parametrize("case", VECTORS["place_of_supply_cases"], ids=lambda case: case["id"])
def test_the_reference_case_is_decided_and_computed_as_the_law_says(case: dict[str, Any]) -> None:
    expected, day = case["expect"], date.fromisoformat(case["invoice_date"])
    lut = LUT if case["recipient"].get("lut") else None
    decision = decide(
        supplier(case["supplier_state"], lut=lut), customer_of(case["recipient"]), SMS, day
    )
    taxable_minor = int(Decimal(case["taxable_value"]) * 100)
    tax = tax_document([(taxable_minor, decision.heads)])
    by_head = {amount.head.value.lower(): amount for amount in tax.heads}

    assert decision.pos_code == expected["pos"]
    intra = expected["nature"].startswith("intra")
    assert decision.nature is (Nature.INTRA if intra else Nature.INTER)
    assert (decision.zero_rated_mode is not ZeroRatedMode.NONE) is (
        "zero-rated" in expected["nature"]
    )
    for head in ("cgst", "sgst", "utgst", "igst"):
        amount = by_head[head].tax_minor if head in by_head else 0
        assert amount == int(Decimal(expected.get(head, "0.00")) * 100), head
        if f"{head}_rate" in expected:
            assert by_head[head].rate == Decimal(expected[f"{head}_rate"])
    assert tax.total_minor == int(Decimal(expected["invoice_total"]) * 100)
    assert decision.einvoice_suptyp == expected["einvoice_suptyp"]
    assert gstr1_table(decision, tax.total_minor, day) == expected["gstr1"]
    assert (decision.status is DecisionStatus.REJECT) is (case["finalise"] == "reject")


class TestRegistered:
    def test_an_address_in_another_state_than_the_gstin_is_for_review(self) -> None:
        decision = decide(supplier(), registered(state_code="27"), SMS, DAY)
        assert decision.pos_code == "29"
        assert decision.status is DecisionStatus.REVIEW
        assert codes(decision) == {"state_differs_from_gstin"}

    def test_our_own_registration_is_rejected(self) -> None:
        decision = decide(supplier(), registered(gstin=supplier().gstin), SMS, DAY)
        assert decision.status is DecisionStatus.REJECT
        assert "own_gstin" in codes(decision)

    def test_our_own_person_in_another_state_is_taxed_and_reviewed(self) -> None:
        own = registered(gstin=gstin("27", "AAHCO1234F"), state_code="27")
        decision = decide(supplier(), own, SMS, DAY)
        assert decision.heads == (HeadRate(TaxHead.IGST, Decimal(18)),)
        assert codes(decision) == {"same_pan"}

    def test_a_wrong_check_digit_is_rejected(self) -> None:
        decision = decide(supplier(), registered(gstin="27AAPFU0939F1ZO"), SMS, DAY)
        assert codes(decision) >= {"gstin_invalid"}
        assert decision.status is DecisionStatus.REJECT

    def test_a_missing_number_is_rejected(self) -> None:
        decision = decide(supplier(), registered(gstin=None), SMS, DAY)
        assert codes(decision) == {"gstin_invalid", "no_place_of_supply"}

    def test_a_doubtful_number_is_for_review(self) -> None:
        decision = decide(
            supplier(), registered(gstin="27AAPFU0939F1AA", state_code="27"), SMS, DAY
        )
        assert decision.status is DecisionStatus.REVIEW
        assert codes(decision) == {"gstin_place_14"}

    def test_a_retired_state_is_rejected(self) -> None:
        decision = decide(supplier(), registered("28"), SMS, DAY)
        assert decision.status is DecisionStatus.REJECT

    def test_a_foreign_address_on_an_indian_registration_is_rejected(self) -> None:
        decision = decide(supplier(), registered(country="US"), SMS, DAY)
        assert "country_contradicts" in codes(decision)

    def test_an_invoice_in_dollars_within_india_is_for_review(self) -> None:
        decision = decide(supplier(), registered(payment_currency="USD"), SMS, DAY)
        assert codes(decision) == {"domestic_not_in_rupees"}

    def test_a_supplier_in_a_sez_always_supplies_inter_state(self) -> None:
        decision = decide(supplier(is_sez=True), registered(), SMS, DAY)
        assert decision.heads == (HeadRate(TaxHead.IGST, Decimal(18)),)


class TestUin:
    PROFILE = CustomerTaxProfile(TaxKind.UIN, "An Embassy", gstin="0717UNO00154UNU")

    def test_an_embassy_is_taxed_where_its_number_was_given_without_an_e_invoice(self) -> None:
        decision = decide(supplier("07"), self.PROFILE, SMS, DAY)
        assert [head.head for head in decision.heads] == [TaxHead.CGST, TaxHead.SGST]
        assert decision.einvoice_suptyp is None
        assert decision.gstr1_table == "b2b R"
        assert decision.status is DecisionStatus.OK

    def test_a_regular_number_does_not_make_an_embassy(self) -> None:
        decision = decide(supplier(), replace(self.PROFILE, gstin=gstin("07")), SMS, DAY)
        assert codes(decision) == {"number_of_other_kind"}

    def test_a_uin_does_not_make_a_registered_customer(self) -> None:
        decision = decide(supplier(), registered(gstin="0717UNO00154UNU"), SMS, DAY)
        assert "number_of_other_kind" in codes(decision)

    def test_a_deductor_may_use_its_deductor_number(self) -> None:
        deductor = CustomerTaxProfile(TaxKind.TDS_DEDUCTOR, "A Ministry", gstin="27AAFT56212B1DO")
        decision = decide(supplier(), deductor, SMS, DAY)
        assert (decision.pos_code, decision.status) == ("27", DecisionStatus.OK)


class TestSez:
    UNIT = CustomerTaxProfile(
        TaxKind.SEZ_UNIT,
        "Zone Unit Limited",
        gstin=gstin("29"),
        state_code="29",
        sez_authorised_operations=True,
    )

    def test_under_a_lut_no_tax_is_charged_and_the_endorsement_says_so(self) -> None:
        decision = decide(supplier(lut=LUT), self.UNIT, SMS, DAY)
        assert decision.heads == (HeadRate(TaxHead.IGST, Decimal(0)),)
        assert decision.rate == 18
        assert decision.lut_arn == LUT.arn
        assert "UNDER BOND OR LETTER OF UNDERTAKING" in decision.wording[0]

    def test_a_lapsed_lut_falls_back_to_igst_for_review(self) -> None:
        decision = decide(supplier(lut=LUT), self.UNIT, SMS, date(2027, 4, 1))
        assert decision.zero_rated_mode is ZeroRatedMode.IGST_PAID
        assert decision.heads == (HeadRate(TaxHead.IGST, Decimal(18)),)
        assert codes(decision) == {"lut_not_in_force"}
        assert decision.wording[0].endswith("ON PAYMENT OF INTEGRATED TAX")

    def test_without_the_officers_endorsement_tax_is_due_and_nothing_is_zero_rated(self) -> None:
        unit = replace(self.UNIT, sez_authorised_operations=False)
        decision = decide(supplier(lut=LUT), unit, SMS, DAY)
        assert decision.zero_rated_mode is ZeroRatedMode.NONE
        assert decision.heads == (HeadRate(TaxHead.IGST, Decimal(18)),)
        assert codes(decision) == {"sez_not_endorsed"}
        assert decision.wording == ()


class TestExport:
    def test_under_a_lut(self) -> None:
        decision = decide(supplier(lut=LUT), overseas(), SMS, DAY)
        assert (decision.pos_code, decision.pos_name) == ("96", "Foreign country")
        assert decision.supply is SupplyKind.EXPORT
        assert decision.einvoice_suptyp == "EXPWOP"
        assert decision.status is DecisionStatus.OK
        assert len(decision.wording) == 2

    def test_without_a_lut_igst_is_charged_and_someone_looks(self) -> None:
        decision = decide(supplier(), overseas(), SMS, DAY)
        assert decision.zero_rated_mode is ZeroRatedMode.IGST_PAID
        assert decision.einvoice_suptyp == "EXPWP"
        assert decision.gstr1_table == "exp WPAY"
        assert codes(decision) == {"lut_missing"}

    def test_our_own_branch_abroad_is_no_export(self) -> None:
        decision = decide(supplier(lut=LUT), overseas(same_legal_person=True), SMS, DAY)
        assert decision.zero_rated_mode is ZeroRatedMode.NONE
        assert decision.heads == (HeadRate(TaxHead.IGST, Decimal(18)),)
        assert codes(decision) == {"own_establishment"}

    def test_rupees_from_a_country_without_permission_are_for_review(self) -> None:
        decision = decide(supplier(lut=LUT), overseas(payment_currency="INR"), SMS, DAY)
        assert codes(decision) == {"rupee_export"}

    def test_without_an_address_it_is_rejected(self) -> None:
        decision = decide(supplier(lut=LUT), overseas(address=" "), SMS, DAY)
        assert codes(decision) == {"no_address_abroad"}
        assert decision.status is DecisionStatus.REJECT

    def test_an_overseas_customer_in_india_is_rejected(self) -> None:
        decision = decide(supplier(lut=LUT), overseas(country="IN"), SMS, DAY)
        assert "country_contradicts" in codes(decision)

    def test_a_gstin_on_an_overseas_profile_is_for_review(self) -> None:
        decision = decide(supplier(lut=LUT), overseas(gstin=gstin("27")), SMS, DAY)
        assert codes(decision) == {"number_not_expected"}


class TestUnregistered:
    PROFILE = CustomerTaxProfile(TaxKind.UNREGISTERED, "A Person", state_code="33")

    def test_an_unknown_state_is_rejected(self) -> None:
        decision = decide(supplier(), replace(self.PROFILE, state_code="39"), SMS, DAY)
        assert codes(decision) == {"state_unknown"}

    def test_a_large_supplier_declares_why_there_is_no_reference_number(self) -> None:
        large = supplier(max_turnover_crore=Decimal("5.01"))
        small = supplier(max_turnover_crore=Decimal(5))
        assert decide(large, self.PROFILE, SMS, DAY).wording[0].startswith("I/We hereby declare")
        assert decide(small, self.PROFILE, SMS, DAY).wording == ()


class TestItems:
    def test_an_exempt_item_bears_no_tax(self) -> None:
        item = replace(SMS, treatment=TaxTreatment.EXEMPT)
        decision = decide(supplier(), registered(), item, DAY)
        assert (decision.heads, decision.gstr1_table) == ((), "nil")

    def test_an_exempt_item_abroad_is_for_review(self) -> None:
        item = replace(SMS, treatment=TaxTreatment.NIL)
        assert codes(decide(supplier(), overseas(), item, DAY)) == {"exempt_beyond_border"}

    def test_a_service_without_a_rate_is_refused(self) -> None:
        with pytest.raises(InvalidError, match="no GST rate"):
            decide(supplier(), registered(), TaxableItem("996111"), DAY)

    @pytest.mark.parametrize("sac", [row["sac"] for row in VECTORS["tax_rates"]["sac_candidates"]])
    def test_every_candidate_service_is_taxed_at_eighteen_percent(self, sac: str) -> None:
        assert tax_rate(sac, date(2025, 9, 22)) == 18
        with pytest.raises(InvalidError):
            tax_rate(sac, date(2017, 6, 30))


def test_the_state_table_is_the_reference_table() -> None:
    reference = VECTORS["state_codes"]["current"]
    assert [row["code"] for row in reference] == CURRENT_STATES
    for row in reference:
        assert place_name(row["code"]) == row["name"]
        assert states()[row["code"]].local_head.value == row["local_tax"]


def test_an_unknown_place_has_no_name() -> None:
    with pytest.raises(InvalidError, match="no State"):
        place_name("99")


@given(st.sampled_from(CURRENT_STATES), st.sampled_from(CURRENT_STATES))
def test_heads_always_add_up_to_the_full_rate(here: str, there: str) -> None:
    decision = decide(supplier(here), registered(there), SMS, DAY)
    assert sum(head.rate for head in decision.heads) == decision.rate
    heads = [head.head for head in decision.heads]
    if here == there:
        assert heads == [TaxHead.CGST, states()[here].local_head]
    else:
        assert heads == [TaxHead.IGST]
    assert decision.status is DecisionStatus.OK


def test_a_decision_can_be_kept_as_json() -> None:
    decision = decide(supplier(), registered(state_code="27"), SMS, DAY)
    kept = json.loads(json.dumps(decision.to_dict()))
    assert kept["heads"] == [{"head": "CGST", "rate": "9"}, {"head": "SGST", "rate": "9"}]
    assert kept["reasons"][0]["code"] == "state_differs_from_gstin"
