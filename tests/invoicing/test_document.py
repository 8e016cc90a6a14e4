"""The document's own arithmetic and its canonical JSON."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from invoicing.document import DocumentStatus, InvoiceDocument
from tests.invoicing import document_samples as samples

EVERY_SAMPLE: list[Callable[[], InvoiceDocument]] = [
    samples.intra_state,
    samples.inter_state,
    samples.sez_under_lut,
    samples.export,
    lambda: samples.export("IDR"),
    samples.unregistered,
    samples.draft,
]


@pytest.mark.parametrize("sample", EVERY_SAMPLE)
def test_json_brings_back_the_same_document_with_the_same_hash(
    sample: Callable[[], InvoiceDocument],
) -> None:
    document = sample()
    again = InvoiceDocument.from_json(document.to_json())
    assert again == document
    assert again.to_json() == document.to_json()
    assert again.snapshot_hash == document.snapshot_hash


def test_a_json_column_that_reorders_keys_does_not_change_the_hash() -> None:
    document = samples.intra_state()
    stored = json.loads(json.dumps(document.to_dict(), sort_keys=True))
    shuffled = dict(reversed(stored.items()))
    assert InvoiceDocument.from_dict(shuffled).snapshot_hash == document.snapshot_hash


def test_any_change_changes_the_hash() -> None:
    document = samples.intra_state()
    other = samples.intra_state(number="INV-2627-000043")
    assert other.snapshot_hash != document.snapshot_hash


def test_a_document_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        samples.intra_state().total_minor = 1  # type: ignore[misc]


def test_what_is_settled_is_no_longer_due() -> None:
    document = samples.intra_state()
    assert document.settled_minor == 5_000_000
    assert document.amount_due_minor == document.total_minor - 5_000_000


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"total_minor": 1}, "total is not"),
        ({"taxable_minor": 1}, "taxable value is not"),
        ({"tax_minor": 1}, "tax is not"),
        ({"round_off_minor": 1}, "total is not"),
        ({"number": None}, "number and a date"),
        ({"issue_date": None}, "number and a date"),
        ({"status": DocumentStatus.DRAFT}, "draft has no number"),
        ({"currency": "EUR"}, "no documents in EUR"),
        ({"period_end": samples.PERIOD[0]}, "end after it starts"),
        (
            {
                "settlements": (
                    samples.Settlement(label="Settled from wallet", amount_minor=10**12),
                )
            },
            "more is settled",
        ),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_what_does_not_add_up_is_refused(changes: dict[str, Any], complaint: str) -> None:
    document = samples.intra_state()
    with pytest.raises(ValidationError, match=complaint):
        samples.changed(document, **changes)


def test_heads_that_differ_from_their_lines_are_refused() -> None:
    document = samples.intra_state()
    cgst, sgst = document.head_totals
    moved = (
        cgst.model_copy(update={"tax_minor": cgst.tax_minor + 1}),
        sgst.model_copy(update={"tax_minor": sgst.tax_minor - 1}),
    )
    with pytest.raises(ValidationError, match="head's total"):
        samples.changed(document, head_totals=moved)


def test_a_line_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(ValidationError, match="taxable value plus tax"):
        samples.rated_line(1, "SMS", "1", "1", "1", total_minor=99)
    with pytest.raises(ValidationError, match="two ends"):
        samples.rated_line(1, "SMS", "1", "1", "1", period_end=None)


def test_a_document_without_lines_is_refused() -> None:
    with pytest.raises(ValidationError, match="has lines"):
        samples.changed(samples.intra_state(), lines=())


def test_decimals_stay_exact_in_json() -> None:
    line = samples.rated_line(1, "SMS", "0.1", "0.123456", "0.01")
    again = type(line).model_validate_json(line.model_dump_json())
    assert again.quantity == Decimal("0.1")
    assert again.unit_price == Decimal("0.123456")
