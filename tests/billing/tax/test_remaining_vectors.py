"""The published cases that no other test asks: limits of notes, clashing numbers, advances."""

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.documents.crediting import TaxPart, credit, left_of
from billing.errors import InvalidError
from billing.tax.compute import gstr1_table, split_inclusive, tax_line
from billing.tax.decide import decide
from billing.tax.fiscal import financial_year
from billing.tax.gstin import check_character
from billing.tax.model import (
    CustomerTaxProfile,
    HeadRate,
    Lut,
    SupplierRegistration,
    TaxableItem,
    TaxHead,
    TaxKind,
)
from billing.tax.numbering import same_number

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "gst-vectors.json").read_text(encoding="utf-8")
)
IGST = (HeadRate(TaxHead.IGST, Decimal(18)),)
ADVANCES = {case["id"]: case for case in VECTORS["wallet_advances"]["cases"]}
NOT_BUILT = {
    "WA-6": "promotional credits are not shown as a discount; see docs/gst.md",
    "WA-7": "TAX_INVOICE_AT_TOPUP is no policy here; see docs/gst.md",
    "WA-9": "credits have a SAC, and that a rate: it is never unknown",
}


def paise(rupees: str) -> int:
    return int(Decimal(rupees) * 100)


@pytest.mark.parametrize(
    "case",
    [case for case in VECTORS["credit_note_time_limit"]["amount_checks"] if "new_cn" in case],
    ids=lambda case: case["new_cn"],
)
def test_notes_together_take_no_more_than_was_invoiced(case: dict[str, Any]) -> None:
    taxes = [TaxPart(TaxHead.IGST, Decimal(18), paise(case["invoice_taxable"]) * 18 // 100)]
    prior = paise(case["prior_cn"])
    taken = (prior, [TaxPart(TaxHead.IGST, Decimal(18), prior * 18 // 100)])
    left = left_of("line", paise(case["invoice_taxable"]), taxes, [taken])
    if case["ok"]:
        assert credit(left, paise(case["new_cn"]), "INR", with_tax=True).taxes[0].rate == 18
    else:
        with pytest.raises(InvalidError):
            credit(left, paise(case["new_cn"]), "INR", with_tax=True)


@pytest.mark.parametrize(
    "case", VECTORS["document_number"]["uniqueness"], ids=lambda case: f"{case['a']} {case['b']}"
)
def test_numbers_clash_as_published(case: dict[str, Any]) -> None:
    (one, other) = (case[side].split(" ")[0] for side in ("a", "b"))
    registrations = [re.search(r"GSTIN (\d\d)", case[side]) for side in ("a", "b")]
    places = {found.group(1) if found else "29" for found in registrations}
    years = {
        financial_year(date(2026, 5, 1)),
        financial_year(date(2026 + (not case["same_fy"]), 5, 1)),
    }
    clash = same_number(one, other) and len(places) == 1 and len(years) == 1
    assert clash == case["clash"]


def test_an_advance_holds_its_tax_and_one_under_lut_holds_none() -> None:
    first = ADVANCES["WA-1"]
    voucher = first["expect"]["receipt_voucher"]
    parts = split_inclusive(paise(first["events"][0]["topup_gross"]), IGST)
    assert (parts.taxable_minor, parts.tax_minor) == (
        paise(voucher["taxable"]),
        paise(voucher["igst"]),
    )
    with_tds = ADVANCES["WA-8"]
    due = split_inclusive(paise(with_tds["events"][0]["due_gross"]), IGST)
    assert due.taxable_minor == paise(with_tds["expect"]["receipt_voucher_taxable"])
    under_lut = decide(*_export(), date(2026, 4, 5))
    assert tax_line(100_000, under_lut.heads).tax_minor == paise(
        ADVANCES["WA-4"]["expect"]["tax_on_advance"]
    )


def _supplier(lut: Lut | None) -> SupplierRegistration:
    body = "29AAACT1234C1Z"
    return SupplierRegistration(body + check_character(body), "We", lut=lut)


def _export() -> tuple[SupplierRegistration, CustomerTaxProfile, TaxableItem]:
    lut = Lut("AD290326000001A", date(2026, 4, 1), date(2027, 3, 31))
    customer = CustomerTaxProfile(
        TaxKind.OVERSEAS, "Abroad", country="US", address="1 Road", payment_currency="USD"
    )
    return _supplier(lut), customer, TaxableItem("998413")


@pytest.mark.parametrize(
    ("place", "table"),
    [(0, "b2b SEWOP"), (1, "exp WPAY"), (2, "b2cl")],
    ids=["SEZ under LUT", "export with IGST", "large, unregistered"],
)
def test_supplies_go_where_a_widely_used_system_puts_them(place: int, table: str) -> None:
    published = VECTORS["gstr1"]["odoo_check"][place]
    named = {"sale_sez_wop": "b2b SEWOP", "sale_exp_wp": "exp WPAY", "sale_b2cl": "b2cl"}
    assert named[published["section"]] == table
    supplier, abroad, item = _export()
    day = date(2025, 6, 8) if place == 2 else date(2026, 5, 1)
    body = "27AABCB1234C1Z"
    customer = (
        CustomerTaxProfile(
            TaxKind.SEZ_UNIT,
            "SEZ",
            gstin=body + check_character(body),
            state_code="27",
            sez_authorised_operations=True,
        ),
        abroad,
        CustomerTaxProfile(TaxKind.UNREGISTERED, "Person", state_code="27"),
    )[place]
    decided = decide(supplier if place == 0 else _supplier(None), customer, item, day)
    assert gstr1_table(decided, 220_000_00 * 118 // 100, day) == table


def test_every_case_of_advances_is_asked_somewhere_or_named_as_not_built() -> None:
    asked = {"WA-1", "WA-4", "WA-8"}
    assert set(ADVANCES) == asked | set(NOT_BUILT)
