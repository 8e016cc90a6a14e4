"""Amounts of tax: per line, per head, in minor units."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.tax.compute import (
    inr_minor,
    round_off_minor,
    split_inclusive,
    tax_document,
    tax_line,
)
from billing.tax.model import HeadRate, TaxHead

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "gst-vectors.json").read_text(encoding="utf-8")
)
ROUNDING = VECTORS["rounding"]
AMOUNTS = st.integers(0, 10**13)


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [case for case in ROUNDING if case["kind"] == kind]


def paise(rupees: str) -> int:
    return int(Decimal(rupees) * 100)


def intra(rate: str) -> list[HeadRate]:
    half = Decimal(rate) / 2
    return [HeadRate(TaxHead.CGST, half), HeadRate(TaxHead.SGST, half)]


def inter(rate: str) -> list[HeadRate]:
    return [HeadRate(TaxHead.IGST, Decimal(rate))]


@pytest.mark.parametrize("case", of_kind("line"), ids=lambda case: case["taxable"])
def test_a_line_is_rounded_once_per_head(case: dict[str, Any]) -> None:
    within = tax_line(paise(case["taxable"]), intra(case["rate"]))
    across = tax_line(paise(case["taxable"]), inter(case["rate"]))
    assert [tax.tax_minor for tax in within.taxes] == [
        paise(case["intra"]["cgst"]),
        paise(case["intra"]["sgst"]),
    ]
    assert across.tax_minor == paise(case["inter"]["igst"])
    assert across.tax_minor - within.tax_minor == paise(case["differ_by"])


@pytest.mark.parametrize("case", of_kind("multi_line"), ids=lambda case: case["taxables"][0])
def test_the_header_is_the_sum_of_the_lines(case: dict[str, Any]) -> None:
    document = tax_document([(paise(value), intra(case["rate"])) for value in case["taxables"]])
    assert document.heads[0].head is TaxHead.CGST
    assert document.heads[0].tax_minor == paise(case["expected_header_cgst"])


@pytest.mark.parametrize("case", of_kind("round_off_to_rupee"), ids=lambda case: case["before"])
def test_rounding_off_reaches_the_nearest_rupee(case: dict[str, Any]) -> None:
    total = paise(case["before"])
    assert round_off_minor(total) == paise(case["round_off"])
    assert total + round_off_minor(total) == paise(case["after"])


@pytest.mark.parametrize("case", of_kind("tax_inclusive"), ids=lambda case: case["gross"])
def test_tax_is_taken_out_of_a_gross_amount(case: dict[str, Any]) -> None:
    across = split_inclusive(paise(case["gross"]), inter(case["rate"]))
    within = split_inclusive(paise(case["gross"]), intra(case["rate"]))
    assert across.taxable_minor == paise(case["inter"]["taxable"])
    assert across.tax_minor == paise(case["inter"]["igst"])
    assert within.taxable_minor == paise(case["intra"]["taxable"])
    assert [tax.tax_minor for tax in within.taxes] == [
        paise(case["intra"]["cgst"]),
        paise(case["intra"]["sgst"]),
    ]


def test_some_gross_amounts_have_no_exact_forward_solution() -> None:
    case = of_kind("tax_inclusive_property")[0]

    def reappears(gross: str, heads: list[HeadRate]) -> bool:
        near = split_inclusive(paise(gross), heads).taxable_minor
        return any(
            tax_line(taxable, heads).total_minor == paise(gross)
            for taxable in range(max(0, near - 2), near + 3)
        )

    assert not any(reappears(gross, inter("18")) for gross in case["inter_fail"])
    assert not any(reappears(gross, intra("18")) for gross in case["intra_fail"])
    for gross in case["both_pass"]:
        assert reappears(gross, inter("18"))
        assert reappears(gross, intra("18"))


def test_heads_are_never_rounded_to_the_rupee() -> None:
    case = of_kind("s170_trap")[0]
    line = tax_line(paise(case["taxable"]), intra("18"))
    assert line.tax_minor == paise(case["line_level"]["tax"])


@pytest.mark.parametrize(
    "case",
    [case for case in VECTORS["reference_tax_results"] if "carry" not in case.get("note", "")],
    ids=lambda case: case["src"],
)
def test_public_results_are_reproduced(case: dict[str, Any]) -> None:
    lines = case.get("lines", case.get("taxable_lines", [case] if "cgst" in case else []))
    for line in [*lines, case["invoice"]] if "invoice" in case else lines:
        tax = tax_line(paise(line["taxable"]), intra(line.get("rate", "18")))
        assert [amount.tax_minor for amount in tax.taxes] == [
            paise(line["cgst"]),
            paise(line["sgst"]),
        ]
        assert tax.total_minor == paise(line["total"])
    if "advance_gross" in case:
        advance = split_inclusive(paise(case["advance_gross"]), inter(case["rate"]))
        assert advance.taxable_minor == paise(case["taxable"])
        assert advance.tax_minor == paise(case["tax_inside"])
    for gross, half in zip(
        case.get("allocations_gross", []), case.get("cgst_each", []), strict=True
    ):
        allocation = split_inclusive(paise(gross), intra("18"))
        assert [tax.tax_minor for tax in allocation.taxes] == [paise(half)] * 2


def test_rounding_each_line_may_part_from_carrying_the_remainder_but_not_by_much() -> None:
    case = next(
        case for case in VECTORS["reference_tax_results"] if "carry" in case.get("note", "")
    )
    document = tax_document(
        [(paise(line["taxable"]), intra(line["rate"])) for line in case["lines"]]
    )
    assert document.heads[0].tax_minor == paise("0.92")
    assert abs(document.heads[0].tax_minor - paise(case["cgst_total"])) == 1


@pytest.mark.parametrize("case", VECTORS["fx"]["cases"], ids=lambda case: case["inr_per_unit"])
def test_foreign_lines_are_stated_in_rupees_line_by_line(case: dict[str, Any]) -> None:
    rate, code = Decimal(case["inr_per_unit"]), case["currency"]
    per_unit = 1 if code == "IDR" else 100
    amounts = case.get("line_amounts", [case["amount"]] if "amount" in case else [])
    lines = [inr_minor(int(Decimal(amount) * per_unit), code, rate) for amount in amounts]
    assert lines == [paise(value) for value in case.get("line_inr", [case.get("inr")])]
    if "header_inr_sum_of_lines" in case:
        assert sum(lines) == paise(case["header_inr_sum_of_lines"])


@given(AMOUNTS, st.sampled_from(["5", "12", "18", "28", "40"]))
def test_cgst_equals_sgst_and_parts_at_most_a_paisa_from_igst(taxable: int, rate: str) -> None:
    within, across = tax_line(taxable, intra(rate)), tax_line(taxable, inter(rate))
    assert within.taxes[0].tax_minor == within.taxes[1].tax_minor
    assert abs(within.tax_minor - across.tax_minor) <= 1


@given(st.lists(AMOUNTS, max_size=30), st.booleans())
def test_a_document_adds_up(taxables: list[int], stays_within: bool) -> None:
    heads = intra("18") if stays_within else inter("18")
    document = tax_document([(taxable, heads) for taxable in taxables])
    assert document.taxable_minor == sum(taxables)
    assert document.tax_minor == sum(head.tax_minor for head in document.heads)
    assert document.total_minor == sum(line.total_minor for line in document.lines)
    assert all(head.taxable_minor == document.taxable_minor for head in document.heads)


@given(st.integers(0, 10**12), st.booleans())
def test_a_split_adds_up_to_its_gross(gross: int, stays_within: bool) -> None:
    line = split_inclusive(gross, intra("18") if stays_within else inter("18"))
    assert line.total_minor == gross
    assert line.taxable_minor >= 0


@given(st.integers(-(10**10), 10**10))
def test_round_off_is_small_and_symmetric(total: int) -> None:
    assert (total + round_off_minor(total)) % 100 == 0
    assert abs(round_off_minor(total)) <= 50
    assert round_off_minor(-total) == -round_off_minor(total)
