"""Financial years, time of supply, e-invoice duty, document numbers."""

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.errors import InvalidError
from billing.periods import local_day
from billing.tax.einvoice import (
    DocumentType,
    Requirement,
    einvoice_requirement,
    last_reporting_day,
)
from billing.tax.fiscal import (
    credit_note_deadline,
    credit_note_safe_issue_day,
    financial_year,
    financial_year_short,
)
from billing.tax.model import TaxKind
from billing.tax.numbering import (
    LAST_OF_SERIES,
    MAX_LENGTH,
    check_document_number,
    follows,
    format_document_number,
    same_number,
)
from billing.tax.timing import (
    invoice_deadline,
    old_rate_applies,
    time_of_supply,
    time_of_supply_of_excess,
)

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "gst-vectors.json").read_text(encoding="utf-8")
)
EINVOICE = VECTORS["einvoice_applicability"]
SUPPLY = VECTORS["time_of_supply"]


def day(value: str | None) -> date | None:
    return date.fromisoformat(value) if value else None


class TestFinancialYear:
    @pytest.mark.parametrize("case", VECTORS["financial_year"], ids=lambda case: case["ist_date"])
    def test_it_begins_in_april(self, case: dict[str, str]) -> None:
        local = date.fromisoformat(case["ist_date"])
        if "utc" in case:
            assert local_day(datetime.fromisoformat(case["utc"]), "Asia/Kolkata") == local
        assert financial_year(local) == case["fy"]

    def test_the_short_form_is_four_digits(self) -> None:
        assert financial_year_short(date(2026, 4, 1)) == "2627"
        assert financial_year_short(date(2100, 1, 1)) == "9900"

    @pytest.mark.parametrize(
        "case", VECTORS["credit_note_time_limit"]["cases"], ids=lambda case: case["supply"]
    )
    def test_credit_notes_end_in_november(self, case: dict[str, str]) -> None:
        supplied = date.fromisoformat(case["supply"])
        assert credit_note_deadline(supplied).isoformat() == case["last_declare"]
        assert credit_note_safe_issue_day(supplied).isoformat() == case["safe_issue_by"]


class TestTimeOfSupply:
    @pytest.mark.parametrize(
        "case", [case for case in SUPPLY["s13_2"] if "tos" in case], ids=lambda case: case["tos"]
    )
    def test_the_earliest_decisive_day_counts(self, case: dict[str, Any]) -> None:
        done, invoiced = day(case["service_done"]), day(case["invoice"])
        found = time_of_supply(service_done=done, invoiced=invoiced, paid=day(case["payment"]))
        assert found.isoformat() == case["tos"]
        if done and invoiced:
            assert (invoiced <= invoice_deadline(done)) is case["invoice_in_time"]

    def test_nothing_known_is_an_error(self) -> None:
        with pytest.raises(InvalidError):
            time_of_supply(service_done=None, invoiced=None, paid=None)

    def test_a_small_overpayment_may_wait_for_the_next_invoice(self) -> None:
        paid, following = date(2026, 5, 10), date(2026, 5, 31)
        assert time_of_supply_of_excess(90_000, paid, following) == following
        assert time_of_supply_of_excess(100_000, paid, following) == following
        assert time_of_supply_of_excess(150_000, paid, following) == paid

    @pytest.mark.parametrize("case", SUPPLY["rule47_deadline"], ids=lambda c: c["service_done"])
    def test_the_invoice_is_due_within_thirty_days(self, case: dict[str, str]) -> None:
        deadline = invoice_deadline(date.fromisoformat(case["service_done"]))
        assert deadline.isoformat() == case["last_invoice_date"]

    @pytest.mark.parametrize("case", SUPPLY["s14_rate_change"])
    def test_two_of_three_events_decide_the_rate(self, case: dict[str, str]) -> None:
        change = date(2026, 7, 1)
        days = {"before": date(2026, 6, 30), "after": change}
        old = old_rate_applies(
            change,
            supplied=days[case["supply"]],
            invoiced=days[case["invoice"]],
            paid=days[case["payment"]],
        )
        assert old is (case["rate"] == "old")


class TestEInvoice:
    @pytest.mark.parametrize("case", EINVOICE["cases"])
    def test_who_needs_a_reference_number(self, case: dict[str, Any]) -> None:
        requirement = einvoice_requirement(
            Decimal(case["aato_max_crore"]),
            TaxKind(case["recipient"]),
            date.fromisoformat(case["doc_date"]),
            DocumentType(case.get("doc", "invoice").replace(" ", "_")),
            wholly_exempt=case.get("all_lines") == "exempt",
        )
        assert (requirement is Requirement.REQUIRED) is case["required"]

    def test_a_supplier_in_a_sez_is_exempt(self) -> None:
        found = einvoice_requirement(
            Decimal(600), TaxKind.REGISTERED, date(2026, 5, 1), supplier_is_sez=True
        )
        assert found is Requirement.NOT_REQUIRED

    @pytest.mark.parametrize("threshold", EINVOICE["thresholds"], ids=lambda row: row["from"])
    def test_each_limit_holds_from_its_day(self, threshold: dict[str, Any]) -> None:
        first, limit = date.fromisoformat(threshold["from"]), threshold["aato_exceeds_crore"]
        for turnover, required in [
            (Decimal(limit), Requirement.NOT_REQUIRED),
            (Decimal(limit) + 1, Requirement.REQUIRED),
        ]:
            assert einvoice_requirement(turnover, TaxKind.REGISTERED, first) is required

    @pytest.mark.parametrize("case", EINVOICE["deadline_cases"])
    def test_until_when_it_can_be_reported(self, case: dict[str, Any]) -> None:
        turnover = Decimal(9) if case["aato"].startswith("<") else Decimal(10)
        last = last_reporting_day(turnover, date.fromisoformat(case["doc_date"]))
        assert last == day(case["last_day_to_report"])


class TestDocumentNumbers:
    @pytest.mark.parametrize(
        "case", VECTORS["document_number"]["cases"], ids=lambda case: ascii(case["value"])
    )
    def test_each_rule_judges_for_itself(self, case: dict[str, Any]) -> None:
        check = check_document_number(case["value"])
        assert (check.rule_46, check.irp, check.house) == (
            case["rule46b_ok"],
            case["irp_ok"],
            case["house_ok"],
        )

    def test_letter_case_does_not_make_another_number(self) -> None:
        assert same_number("INV-2627-000001", "inv-2627-000001")
        assert not same_number("INV-2627-000001", "INV-2627-000002")

    @pytest.mark.parametrize("case", VECTORS["document_number"]["series_contiguity"])
    def test_gaps_in_a_series_are_seen(self, case: list[Any]) -> None:
        previous, following, contiguous = case
        assert follows(previous, following) is contiguous

    def test_a_number_names_its_series_and_year(self) -> None:
        assert format_document_number("INV", date(2026, 5, 15), 1) == "INV-2627-000001"
        assert format_document_number("CN", date(2026, 3, 31), 42) == "CN-2526-000042"

    @pytest.mark.parametrize("series", ["", "inv", "INVO", "I1", "Ï"])
    def test_a_strange_series_is_refused(self, series: str) -> None:
        with pytest.raises(InvalidError):
            format_document_number(series, date(2026, 5, 15), 1)

    @pytest.mark.parametrize("counter", [0, -1, LAST_OF_SERIES + 1])
    def test_a_full_series_is_refused(self, counter: int) -> None:
        with pytest.raises(InvalidError):
            format_document_number("INV", date(2026, 5, 15), counter)

    @given(
        st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=3),
        st.dates(date(2017, 7, 1), date(2099, 12, 31)),
        st.integers(1, LAST_OF_SERIES - 1),
    )
    def test_every_number_we_give_is_taken_everywhere_and_followed_by_the_next(
        self, series: str, issued: date, counter: int
    ) -> None:
        number = format_document_number(series, issued, counter)
        check = check_document_number(number)
        assert check.rule_46
        assert check.irp
        assert check.house
        assert len(number) <= MAX_LENGTH
        assert follows(number, format_document_number(series, issued, counter + 1))
