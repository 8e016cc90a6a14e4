"""Columns of lines: wide enough for what stands in them, and together as wide as the page."""

import string
from importlib.resources import files

import pytest
from fontTools.ttLib import TTFont

from invoicing.columns import column_widths
from invoicing.document import InvoiceDocument
from tests.invoicing import document_samples as samples

PAGE_MM = 178
POINT_MM = 25.4 / 72


def widths(document: InvoiceDocument) -> list[float]:
    heads = list(dict.fromkeys(total.head for total in document.head_totals))
    found = column_widths(document, heads, uniform=True, discounted=False)
    return [float(width.removesuffix("mm")) for width in found]


def with_lines(**changes: object) -> InvoiceDocument:
    paper = samples.intra_state()
    return samples.changed(
        paper, lines=tuple(line.model_copy(update=changes) for line in paper.lines)
    )


@pytest.mark.parametrize("document", [samples.intra_state(), samples.export("IDR")])
def test_they_fill_the_page(document: InvoiceDocument) -> None:
    assert sum(widths(document)) == pytest.approx(PAGE_MM, abs=0.1)


def test_every_letter_has_the_room_it_takes_in_either_weight() -> None:
    fonts = [
        TTFont(str(files("invoicing").joinpath("templates", "fonts", f"NotoSans-{weight}.ttf")))
        for weight in ("Regular", "Bold")
    ]
    quantity, count = 3, 14
    for letter in string.ascii_letters + string.digits + string.punctuation:
        widest = max(
            font["hmtx"][font.getBestCmap()[ord(letter)]][0] / font["head"].unitsPerEm
            for font in fonts
        )
        column = widths(with_lines(unit=letter * count))[quantity]
        assert column >= count * widest * 7 * POINT_MM, letter


def test_numbers_too_long_for_the_page_leave_it_to_the_drawing_library() -> None:
    assert widths(with_lines(unit="M" * 60)) == []
