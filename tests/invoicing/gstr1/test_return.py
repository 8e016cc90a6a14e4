"""The return against the published facts, and against an independent sum of made-up documents."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.tax.compute import tax_line
from billing.tax.decide import decide
from billing.tax.model import (
    CustomerTaxProfile,
    HeadRate,
    Lut,
    SupplierRegistration,
    TaxableItem,
    TaxDecision,
    TaxHead,
    TaxKind,
)
from invoicing.gstr1.advances import follow
from invoicing.gstr1.build import portal_return
from invoicing.gstr1.facts import (
    Amounts,
    Draw,
    DrawKind,
    Issued,
    Line,
    Lot,
    Paper,
    PaperKind,
    ReturnFacts,
    table_of,
)
from invoicing.gstr1.files import TABLES, portal_json, table_csv
from invoicing.gstr1.reconcile import hsn_in, supplies_in
from tests.support.factories.parties import gstin

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "gst-vectors.json").read_text(encoding="utf-8")
)
OURS = gstin("29")
MAY = date(2026, 5, 1)
LUT = Lut("AD290326000001A", date(2026, 4, 1), date(2027, 3, 31))
KINDS = {
    "sez": TaxKind.SEZ_UNIT,
    "overseas": TaxKind.OVERSEAS,
    "unregistered": TaxKind.UNREGISTERED,
    "registered": TaxKind.REGISTERED,
}


def decision(recipient: str, *, inter: bool = True, lut: bool = True) -> TaxDecision:
    state = "27" if inter else "29"
    kind = KINDS[recipient]
    abroad = kind is TaxKind.OVERSEAS
    numbered = kind in {TaxKind.SEZ_UNIT, TaxKind.REGISTERED}
    customer = CustomerTaxProfile(
        tax_kind=kind,
        legal_name="A customer",
        country="US" if abroad else "IN",
        gstin=gstin(state, "AAACM5678K") if numbered else None,
        state_code=None if abroad else state,
        address="1 Long Street",
        sez_authorised_operations=True,
        payment_currency="USD" if abroad else "INR",
    )
    supplier = SupplierRegistration(OURS, "We", lut=LUT if lut else None)
    if not lut and kind is TaxKind.SEZ_UNIT:
        supplier = SupplierRegistration(OURS, "We")
    return decide(supplier, customer, TaxableItem("998413"), date(2026, 5, 15))


def paper(
    decided: TaxDecision,
    amounts: list[int],
    *,
    kind: PaperKind = PaperKind.INVOICE,
    number: str = "INV-2627-000001",
    value: int | None = None,
    original_value: int = 0,
) -> Paper:
    lines = []
    for amount in amounts:
        by_head = dict.fromkeys(TaxHead, 0)
        for tax in tax_line(amount, decided.heads).taxes:
            by_head[tax.head] += tax.tax_minor
        sgst = by_head[TaxHead.SGST] + by_head[TaxHead.UTGST]
        parts = Amounts(amount, by_head[TaxHead.IGST], by_head[TaxHead.CGST], sgst)
        rate = sum((head.rate for head in decided.heads), Decimal(0))
        lines.append(Line("998413", rate, parts))
    total = sum(line.amounts.taxable + line.amounts.tax for line in lines)
    registered = decided.gstr1_table.startswith("b2b")
    return Paper(
        kind=kind,
        number=number,
        issue_date=date(2026, 5, 15),
        decided=decided.gstr1_table,
        pos=decided.pos_code or "",
        is_inter=decided.nature.value == "inter",
        ctin=gstin(decided.pos_code or "27", "AAACM5678K") if registered else None,
        value=total if value is None else value,
        lines=tuple(lines),
        original_value=original_value,
        original_date=date(2026, 5, 1) if kind is not PaperKind.INVOICE else None,
    )


def paise(rupees: str) -> int:
    return int(Decimal(rupees) * 100)


@pytest.mark.parametrize(
    "case",
    [case for case in VECTORS["gstr1"]["classification"] if "recipient" in case],
    ids=lambda case: "-".join(str(part) for part in case.values()),
)
def test_a_document_goes_to_the_table_of_the_published_facts(case: dict[str, Any]) -> None:
    decided = decision(case["recipient"], inter=case.get("inter", True), lut=case.get("lut", True))
    made = paper(
        decided,
        [1_000],
        kind=PaperKind(case["doc"]),
        value=paise(case.get("value", "11.80")),
        original_value=paise(case.get("original_value", "0")),
    )

    table, detail = table_of(made)
    found = portal_return(ReturnFacts(OURS, MAY, papers=(made,)))

    assert table == case["table"]
    assert [name for name in TABLES if name in found] == [table, "hsn"]
    expected = case.get("inv_typ") or case.get("exp_typ") or case.get("typ")
    assert expected is None or detail == expected
    if case.get("sign") == "negative":
        assert found["b2cs"][0]["txval"] == Decimal("-10.00")


def test_a_numbered_and_cancelled_document_is_counted_and_nothing_else() -> None:
    issued = (
        Issued(1, "INV-2627-000001"),
        Issued(1, "INV-2627-000002", is_cancelled=True),
        Issued(1, "INV-2627-000003"),
        Issued(1, "KA-2627-000009"),
    )

    found = portal_return(ReturnFacts(OURS, MAY, issued=issued))

    (nature,) = found["doc_issue"]["doc_det"]
    assert nature["doc_num"] == 1
    assert {
        "num": 1,
        "from": "INV-2627-000001",
        "to": "INV-2627-000003",
        "totnum": 3,
        "cancel": 1,
        "net_issue": 2,
    } in [run | {"num": 1} for run in nature["docs"]]
    assert len(nature["docs"]) == 2
    assert "hsn" not in found


def keys_of(shape: str, opening: str) -> set[str]:
    """The mandatory keys that a published shape names right after an opening."""
    inside = shape.split(opening, 1)[1].partition("}")[0]
    return {part.split()[0] for part in inside.split(",") if "?" not in part}


def test_items_have_the_keys_of_the_published_shapes() -> None:
    shapes = {
        name: table["shape"]
        for name, table in VECTORS["gstr1"]["tables"].items()
        if "shape" in table
    }
    papers = (
        paper(decision("registered"), [1_000]),
        paper(decision("unregistered"), [20_000_000], number="INV-2627-000002"),
        paper(decision("overseas"), [1_000], number="INV-2627-000003"),
        paper(decision("unregistered", inter=False), [1_000], number="INV-2627-000004"),
    )
    found = portal_return(ReturnFacts(OURS, MAY, papers=papers))

    b2b = found["b2b"][0]["inv"][0]["itms"][0]
    assert set(b2b["itm_det"]) == keys_of(shapes["b2b"], "itm_det:{")
    b2cl = found["b2cl"][0]["inv"][0]["itms"][0]
    assert set(b2cl["itm_det"]) == keys_of(shapes["b2cl"], "itm_det:{")
    assert set(found["exp"][0]["inv"][0]["itms"][0]) == keys_of(shapes["exp"], "itms:[{")
    assert set(found["b2cs"][0]) == {
        *("sply_ty", "typ", "pos", "rt", "txval", "iamt", "camt", "samt", "csamt")
    }
    assert set(found["hsn"]) == {"hsn_b2b", "hsn_b2c"}
    assert [row["uqc"] for row in found["hsn"]["hsn_b2c"]] == ["NA", "NA"]
    before = portal_return(ReturnFacts(OURS, date(2025, 4, 1), papers=papers))
    assert set(before["hsn"]) == {"data"}
    assert {*VECTORS["gstr1"]["top"]} - {"fp (MMYYYY)"} <= found.keys()


def lot(day: date, taxable: int, tax: int, number: str = "RV-2627-000001") -> Lot:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Lot("w", number, day, at, "27", True, Decimal(18), tax, Amounts(taxable, igst=tax))


def draw(day: date, tax: int, number: str, kind: DrawKind = DrawKind.INVOICE) -> Draw:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Draw("w", number, day, at, kind, tax)


def test_an_advance_is_declared_adjusted_and_refunded_as_published() -> None:
    case = VECTORS["wallet_advances"]["cases"][0]
    topup, april, may, refund = case["events"]
    lots = [lot(date.fromisoformat(topup["date"]), 1_000_000, 180_000)]
    draws = [
        draw(date.fromisoformat(event["date"]), paise(event["invoice_taxable"]) * 18 // 100, name)
        for name, event in (("INV-1", april), ("INV-2", may))
    ]
    back = paise(refund["refund_gross"]) * 18 // 118
    draws.append(draw(date.fromisoformat(refund["date"]), back, "RF-1", DrawKind.REFUND))
    advances = follow(lots, draws)

    for month in ("2026-04", "2026-05", "2026-06"):
        first = date.fromisoformat(f"{month}-01")
        found = portal_return(ReturnFacts(OURS, first), advances)
        for table, published in (("at", "11A"), ("txpd", "11B")):
            expected = case["expect"][month].get(published)
            items = [item for row in found.get(table, []) for item in row["itms"]]
            named = (
                [{key: str(item[key]) for key in expected} for item in items] if expected else items
            )
            assert named == ([expected] if expected else [])
    voucher = case["expect"]["2026-06"]["refund_voucher"]
    ((_, refunded),) = advances.refunded(date(2026, 6, 1))
    assert (refunded.taxable, refunded.igst) == (
        paise(voucher["taxable"]),
        paise(voucher["igst"]),
    )


def test_an_advance_without_tax_is_in_no_table() -> None:
    facts = ReturnFacts(OURS, MAY, lots=(lot(date(2026, 5, 2), 100_000, 0),))

    assert "at" not in portal_return(facts)


@given(
    received=st.lists(st.integers(1, 500_000), min_size=1, max_size=5),
    used=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 60_000)), max_size=8),
)
def test_what_is_received_is_adjusted_refunded_or_still_open(
    received: list[int], used: list[tuple[int, int]]
) -> None:
    start = date(2026, 4, 1)
    lots = [
        lot(start + timedelta(days=20 * place), amount * 100, amount * 18, f"RV-{place}")
        for place, amount in enumerate(received)
    ]
    draws = [
        draw(start + timedelta(days=day), tax, f"INV-{place}", list(DrawKind)[place % 2])
        for place, (day, tax) in enumerate(used)
    ]
    advances = follow(lots, draws)
    months = [date(2026, month, 1) for month in range(4, 9)]

    taken = sum(take.tax_minor for take in advances.takes)
    missing = sum(left for _, left in advances.unfounded)
    declared = sum(a.tax for month in months for _, a in advances.received(month))
    left_later = sum(
        a.tax for month in months for _, a in (*advances.adjusted(month), *advances.refunded(month))
    )

    assert taken + missing == sum(tax for _, tax in used)
    assert declared - left_later == sum(one.tax_minor for one in lots) - taken
    assert all(min(a.taxable, a.tax) >= 0 for month in months for _, a in advances.received(month))


@given(
    made=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *(("registered", False), ("registered", True), ("unregistered", False)),
                    *(("unregistered", True), ("sez", True), ("overseas", True)),
                ]
            ),
            st.booleans(),
            st.sampled_from(list(PaperKind)),
            st.lists(st.integers(1, 9_000_000), min_size=1, max_size=4),
        ),
        max_size=8,
    )
)
def test_the_tables_equal_an_independent_sum_of_the_documents(made: list[Any]) -> None:
    papers = tuple(
        paper(decision(who, inter=inter, lut=lut), amounts, kind=kind, number=f"N-{place + 1}")
        for place, ((who, inter), lut, kind, amounts) in enumerate(made)
    )
    sums: Counter[str] = Counter()
    for (who, inter), lut, kind, amounts in made:
        sign = -1 if kind is PaperKind.CREDIT_NOTE else 1
        for amount in amounts:
            sums["taxable"] += sign * amount
            if who in {"sez", "overseas"} and lut:
                continue
            for head in ("igst",) if inter else ("cgst", "sgst"):
                percent = 18 if head == "igst" else 9
                sums[head] += sign * ((amount * percent + 50) // 100)
    expected = Amounts(sums["taxable"], sums["igst"], sums["cgst"], sums["sgst"])

    found = portal_return(ReturnFacts(OURS, MAY, papers=papers))

    assert supplies_in(found) == expected
    assert hsn_in(found) == expected
    assert json.loads(portal_json(found), parse_float=Decimal) == json.loads(
        json.dumps(found, default=str), object_hook=_numbers
    )
    for table in TABLES:
        assert table_csv(found, table).count("\r\n") >= bool(found.get(table))


def _numbers(read: dict[str, Any]) -> dict[str, Any]:
    text = {"inum", "nt_num", "pos", "hsn_sc", "fp", "gstin", "ctin"}
    return {
        key: Decimal(value)
        if isinstance(value, str) and key not in text and _is_number(value)
        else value
        for key, value in read.items()
    }


def _is_number(value: str) -> bool:
    return value.removeprefix("-").replace(".", "", 1).isdigit()


def test_a_name_that_looks_like_a_formula_stays_text_in_csv() -> None:
    found = {"b2b": [{"ctin": "=cmd|x", "inv": [{"val": Decimal("-1.00")}]}]}

    assert table_csv(found, "b2b") == "ctin,val\r\n'=cmd|x,-1.00\r\n"


def test_heads_are_told_apart_by_rate() -> None:
    half = [HeadRate(TaxHead.CGST, Decimal(9)), HeadRate(TaxHead.UTGST, Decimal(9))]
    taxes = tax_line(1_000, half).taxes
    line = Line("998413", Decimal(18), Amounts(1_000, 0, taxes[0].tax_minor, taxes[1].tax_minor))
    other = Line("998413", Decimal(5), Amounts(200, 0, 5, 5))
    made = paper(decision("registered", inter=False), [1_000])
    mixed = Paper(
        **{**{name: getattr(made, name) for name in made.__slots__}, "lines": (line, other)}
    )

    (invoice,) = portal_return(ReturnFacts(OURS, MAY, papers=(mixed,)))["b2b"][0]["inv"]

    assert [(item["num"], item["itm_det"]["rt"]) for item in invoice["itms"]] == [(1, 5), (2, 18)]
