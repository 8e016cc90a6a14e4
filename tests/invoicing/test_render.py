"""Pages: complete, repeatable, and blind to what customers write."""

import hashlib
import io
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pypdf
import pytest

from billing.formatting import format_amount, format_date, format_money, format_period
from invoicing.document import InvoiceDocument, TaxOnLine
from invoicing.extras import Asset
from invoicing.payment_qr import payment_qr
from invoicing.render import PackagedAssets, render_html, render_pdf
from tests.invoicing import document_samples as samples

EVERY_ISSUED: dict[str, Callable[[], InvoiceDocument]] = {
    "intra-state": samples.intra_state,
    "inter-state": samples.inter_state,
    "SEZ under LUT": samples.sez_under_lut,
    "export in USD": samples.export,
    "export in IDR": lambda: samples.export("IDR"),
    "unregistered": samples.unregistered,
}
ROOT = Path(__file__).parents[2]


def pages_of(pdf: bytes) -> list[str]:
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages]


@cache
def text_of(document: InvoiceDocument) -> str:
    """All text of the pages, with runs of blanks and line ends as one blank."""
    return re.sub(r"\s+", " ", " ".join(pages_of(render_pdf(document))))


def compact(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.fixture(params=EVERY_ISSUED)
def issued(request: pytest.FixtureRequest) -> InvoiceDocument:
    return EVERY_ISSUED[request.param]()


def test_a_consumers_invoice_bears_a_code_to_pay_it_if_finance_wants_that() -> None:
    paper = samples.unregistered()
    said = payment_qr(paper)
    fields = dict(parse_qsl(said.removeprefix("upi://pay?")))
    assert fields["pa"] == samples.BANK.upi_id
    assert Decimal(fields["am"]).scaleb(2) == paper.amount_due_minor
    assert (fields["invoiceNo"], fields["gstIn"]) == (paper.number, paper.supplier.gstin)
    split = dict(part.split(":") for part in fields["gstBrkUp"].split("|"))
    assert sum(Decimal(tax).scaleb(2) for tax in split.values()) == paper.tax_minor
    assert "Pay by UPI" in render_html(samples.changed(paper, payment_qr=said))
    assert render_pdf(samples.changed(paper, payment_qr=said)).startswith(b"%PDF")

    paid = (samples.Settlement(label="Paid", amount_minor=paper.total_minor),)
    without = samples.changed(paper, bank=None)
    for other in (samples.intra_state(), samples.export(), samples.changed(paper, settlements=paid),
                  without):  # fmt: skip
        assert payment_qr(other) == ""


class TestRule46:
    def test_supplier_number_and_dates_are_there(self, issued: InvoiceDocument) -> None:
        text = text_of(issued)
        supplier = issued.supplier
        for particular in [
            supplier.legal_name,
            supplier.gstin,
            supplier.pan,
            *supplier.address.lines,
            supplier.address.postal_code,
            str(issued.number),
            format_date(samples.ISSUED),
            format_period(issued.period_start, issued.period_end),
        ]:
            assert particular in text

    def test_the_recipient_is_there(self, issued: InvoiceDocument) -> None:
        text = text_of(issued)
        recipient = issued.recipient
        assert recipient.legal_name in text
        for line in recipient.address.lines:
            assert line in text
        assert recipient.address.country_name in text
        if recipient.tax_number:
            assert f"GSTIN {recipient.tax_number}" in text
        if recipient.address.state_name:
            assert f"{recipient.address.state_name} ({recipient.address.state_code})" in text

    def test_place_of_supply_reverse_charge_and_signature_are_there(
        self, issued: InvoiceDocument
    ) -> None:
        text = text_of(issued)
        assert f"{issued.place_of_supply_code}-{issued.place_of_supply_name}" in text
        assert re.search(r"TAX ON REVERSE CHARGE No", text)
        assert issued.signature_note in text
        assert "ORIGINAL FOR RECIPIENT" in text

    def test_every_line_shows_service_code_quantity_value_and_tax(
        self, issued: InvoiceDocument
    ) -> None:
        text = text_of(issued)
        for line in issued.lines:
            assert line.description in text
            assert line.sac in text
            assert format_amount(line.taxable_minor, issued.currency) in text
            assert format_amount(line.total_minor, issued.currency) in text
            for tax in line.taxes:
                assert format_amount(tax.tax_minor, issued.currency) in text

    def test_totals_are_the_documents_own_numbers(self, issued: InvoiceDocument) -> None:
        text, currency = text_of(issued), issued.currency
        assert f"Taxable value {format_amount(issued.taxable_minor, currency)}" in text
        for head in issued.head_totals:
            amount = format_amount(head.tax_minor, currency)
            assert f"{head.head.value} {head.rate}% {amount}" in text
        total = format_money(issued.total_minor, currency).replace("\u00a0", " ")
        assert f"Total {total}" in text
        assert issued.amount_in_words in text

    def test_reverse_charge_is_said_when_it_applies(self) -> None:
        assert "TAX ON REVERSE CHARGE Yes" in text_of(samples.inter_state(reverse_charge=True))


class TestKinds:
    def test_within_the_state_cgst_and_sgst_are_charged(self) -> None:
        text = text_of(samples.intra_state())
        assert "CGST 9%" in text
        assert "SGST 9%" in text
        assert "IGST" not in text

    @pytest.mark.parametrize("sample", [samples.sez_under_lut, samples.export])
    def test_under_a_lut_the_endorsement_and_its_number_are_there(
        self, sample: Callable[[], InvoiceDocument]
    ) -> None:
        text = text_of(sample())
        assert (
            "SUPPLY MEANT FOR EXPORT/SUPPLY TO SEZ UNIT OR SEZ DEVELOPER FOR AUTHORISED "
            "OPERATIONS UNDER BOND OR LETTER OF UNDERTAKING WITHOUT PAYMENT OF INTEGRATED TAX"
        ) in text
        assert samples.LUT.arn in text
        assert "IGST 0%" in text

    @pytest.mark.parametrize("currency", ["USD", "IDR"])
    def test_an_export_states_destination_and_rupee_values(self, currency: str) -> None:
        document = samples.export(currency)
        text = text_of(document)
        assert f"Country of destination {document.recipient.address.country_name}" in text
        fx = document.fx
        assert fx is not None
        assert f"1 {currency} = ₹{fx.inr_per_unit}" in text
        assert f"{fx.source}, {format_date(fx.rate_date)}" in text
        assert format_money(fx.total_inr_minor, "INR") in text
        assert "SWIFT" in text
        assert "IFSC" not in text

    def test_an_unregistered_person_is_named_as_such(self) -> None:
        text = text_of(samples.unregistered())
        assert "GSTIN Unregistered" in text
        assert "33-Tamil Nadu" in text

    def test_a_settled_invoice_shows_what_paid_it_and_asks_for_nothing(self) -> None:
        document = samples.intra_state()
        total = document.total_minor
        settlement = document.settlements[0].model_copy(update={"amount_minor": total})
        text = text_of(samples.intra_state(settlements=(settlement,)))
        assert f"Settled from wallet {format_date(samples.ISSUED)} · RV-2627-000017" in text
        assert "Amount due ₹0.00" in text
        assert samples.BANK.account_number not in text

    def test_a_draft_has_no_number_and_says_what_it_is(self) -> None:
        document = samples.draft()
        text = text_of(document)
        assert "DRAFT – NOT A TAX INVOICE" in text
        assert "INV-" not in text
        assert "ORIGINAL FOR RECIPIENT" not in text
        title = pypdf.PdfReader(io.BytesIO(render_pdf(document))).metadata.title  # type: ignore[union-attr]
        assert title == "Draft invoice – OTPless"

    def test_a_draft_whose_place_of_supply_is_open_says_so(self) -> None:
        document = samples.draft(place_of_supply_code="", place_of_supply_name="")
        assert "PLACE OF SUPPLY To be settled" in text_of(document)

    def test_lines_of_several_rates_carry_their_own(self) -> None:
        document = samples.inter_state()
        first, *others = document.lines
        tax = TaxOnLine(head=first.taxes[0].head, rate=samples.Decimal(5), tax_minor=321_681)
        cheaper = first.model_copy(
            update={"taxes": (tax,), "total_minor": first.taxable_minor + tax.tax_minor}
        )
        (total,) = document.head_totals
        rest = total.tax_minor - first.taxes[0].tax_minor
        mixed = samples.changed(
            document,
            lines=(cheaper, *others),
            head_totals=(
                total.model_copy(
                    update={
                        "rate": tax.rate,
                        "taxable_minor": first.taxable_minor,
                        "tax_minor": tax.tax_minor,
                    }
                ),
                total.model_copy(
                    update={
                        "taxable_minor": total.taxable_minor - first.taxable_minor,
                        "tax_minor": rest,
                    }
                ),
            ),
            tax_minor=rest + tax.tax_minor,
            total_minor=document.taxable_minor + rest + tax.tax_minor,
        )
        text = text_of(mixed)
        assert re.search(r"3,216\.81 5%", text)
        assert "IGST 5% on 64,336.14" in text
        assert "IGST 18% on 36,015.47" in text

    def test_an_annexure_lists_tiers_and_usage(self) -> None:
        first, annexure = pages_of(render_pdf(samples.intra_state()))
        assert "Price tiers and usage are in the annexure." in first
        for row in [
            "1,00,001 to 3,00,000 2,00,000 0.135 500.00 27,500.00",
            "3,00,001 and above 1,82,150 0.11988 – 21,836.142",
            "SMS United Arab Emirates 4,130 4,130 551.05",
        ]:
            assert row in re.sub(r"\s+", " ", annexure)

    def test_a_short_list_of_usage_stays_on_the_one_page_and_a_long_one_is_annexed(self) -> None:
        plain = tuple(
            line.model_copy(update={"tiers": (), "usage": ()})
            for line in samples.intra_state().lines
        )
        rows = [
            samples.UsageRow(
                service="otp.sms",
                channel="SMS",
                country=f"Country {number}",
                events=number,
                quantity=samples.Decimal(number),
            )
            for number in range(1, 41)
        ]
        short = samples.intra_state(lines=plain, usage=tuple(rows[:3]))
        long = samples.intra_state(lines=plain, usage=tuple(rows))
        (only,) = pages_of(render_pdf(short))
        first, *annexed = pages_of(render_pdf(long))
        assert "Usage by channel and country" in only
        assert "otp.sms SMS Country 3 3 3" in re.sub(r"\s+", " ", only)
        assert "Usage by channel" not in first
        assert all(f"Country {number} " in " ".join(annexed) for number in range(1, 41))

    def test_ten_lines_fit_on_one_page(self) -> None:
        lines = tuple(
            samples.rated_line(number, f"SMS OTP, route {number}", "91204", "0.1175", "10716.47")
            for number in range(1, 11)
        )
        document = samples.inter_state()
        profile = samples.CustomerTaxProfile(
            samples.TaxKind.REGISTERED, "Acme", gstin=document.recipient.tax_number, state_code="27"
        )
        assert len(pages_of(render_pdf(samples.build(profile, document.recipient, lines)))) == 1

    def test_a_hundred_lines_run_over_pages_that_are_counted(self) -> None:
        lines = tuple(
            samples.rated_line(number, f"SMS OTP, route {number}", "91204", "0.1175", "10716.47")
            for number in range(1, 101)
        )
        document = samples.inter_state()
        profile = samples.CustomerTaxProfile(
            samples.TaxKind.REGISTERED, "Acme", gstin=document.recipient.tax_number, state_code="27"
        )
        pages = pages_of(render_pdf(samples.build(profile, document.recipient, lines)))
        assert len(pages) > 2
        for number, page in enumerate(pages, 1):
            assert f"Page {number} of {len(pages)}" in page
        assert all(f"route {number}" in " ".join(pages) for number in range(1, 101))


class TestRepeatable:
    def test_the_same_document_gives_the_same_bytes(self, issued: InvoiceDocument) -> None:
        again = InvoiceDocument.from_json(issued.to_json())
        assert render_pdf(issued) == render_pdf(again)

    def test_another_process_gives_the_same_bytes(self, tmp_path: Path) -> None:
        document = samples.intra_state(notes=("लखनऊ · Привет · مرحبا · 😀",))
        render_pdf(samples.export())
        snapshot = tmp_path / "snapshot.json"
        snapshot.write_text(document.to_json(), encoding="utf-8")
        program = (
            "import hashlib, pathlib, sys\n"
            "from invoicing.document import InvoiceDocument\n"
            "from invoicing.render import render_pdf\n"
            "text = pathlib.Path(sys.argv[1]).read_text(encoding='utf-8')\n"
            "print(hashlib.sha256(render_pdf(InvoiceDocument.from_json(text))).hexdigest())\n"
        )
        other = subprocess.run(
            [sys.executable, "-c", program, str(snapshot)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert other.stdout.strip() == hashlib.sha256(render_pdf(document)).hexdigest()

    def test_drawing_from_several_threads_gives_the_same_bytes(self) -> None:
        document = samples.export()
        expected = render_pdf(document)
        drawn: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: drawn.append(render_pdf(document))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert drawn == [expected] * 4


class TestFile:
    def test_it_is_archivable_tagged_and_dated_by_the_document(self) -> None:
        reader = pypdf.PdfReader(io.BytesIO(render_pdf(samples.intra_state())))
        root: Any = reader.trailer["/Root"]
        assert root["/Lang"] == "en"
        assert root["/MarkInfo"]["/Marked"]
        xmp = root["/Metadata"].get_object().get_data().decode()
        assert 'pdfaid:part="3"' in xmp or "<pdfaid:part>3</pdfaid:part>" in xmp
        assert reader.metadata is not None
        assert reader.metadata.title == "Tax Invoice INV-2627-000042 – OTPless"
        assert str(reader.metadata["/CreationDate"]).startswith("D:20260531")

    def test_every_font_is_embedded_and_the_rupee_sign_can_be_copied(self) -> None:
        reader = pypdf.PdfReader(io.BytesIO(render_pdf(samples.intra_state())))
        fonts = 0
        for page in reader.pages:
            resources: Any = page["/Resources"]
            for font in resources["/Font"].values():
                for descendant in font.get_object()["/DescendantFonts"]:
                    assert "/FontFile2" in descendant.get_object()["/FontDescriptor"].get_object()
                    fonts += 1
        assert fonts
        assert "₹1,18,414.89" in reader.pages[0].extract_text()


class _Canary(BaseHTTPRequestHandler):
    hits: list[str]

    def do_GET(self) -> None:
        type(self).hits.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def canary() -> Iterator[tuple[str, list[str]]]:
    """A server that must never be asked for anything."""
    _Canary.hits = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Canary)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", _Canary.hits
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class TestHostileText:
    @pytest.mark.parametrize(
        "text",
        [
            "{{7*7}} {% raw %} ${7*7} #{7*7}",
            "</style><script>alert(1)</script>",
            '" onload="x" style="background:url(file:///etc/passwd)',
            "</title><h1>Paid in full</h1>",
            "X" * 200,
            "Тест 😀 Ωμέγα",
            "राम ट्रेडर्स, लखनऊ",
            "&lt;b&gt; &amp; <b>",
        ],
    )
    def test_it_appears_as_it_was_written(self, text: str) -> None:
        document = samples.intra_state()
        recipient = document.recipient.model_copy(update={"legal_name": text})
        lines = (
            document.lines[0].model_copy(update={"description": text, "unit": "<i>"}),
            *document.lines[1:],
        )
        printed = compact(text_of(samples.intra_state(lines=lines, notes=(text,)).model_copy(
            update={"recipient": recipient}
        )))  # fmt: skip
        assert printed.count(compact(text)) >= 3

    def test_right_to_left_text_keeps_its_letters(self) -> None:
        recipient = samples.intra_state().recipient.model_copy(update={"legal_name": "שלום עולם"})
        document = samples.intra_state().model_copy(update={"recipient": recipient})
        printed = compact(text_of(document))
        assert sorted(set("שלוםעולם")) == sorted(set(re.findall(r"[\u0590-\u05FF]", printed)))

    def test_nothing_is_fetched(self, canary: tuple[str, list[str]]) -> None:
        url, hits = canary
        attacks = (
            f'<img src="{url}/img">',
            f'<link rel="stylesheet" href="{url}/css"><style>@import url({url}/import);</style>',
            f'</style><iframe src="{url}/frame"></iframe><object data="{url}/object"></object>',
            f"}} body {{ background: url({url}/background) }}",
        )
        document = samples.intra_state(notes=attacks, declaration=attacks[0])
        text = compact(text_of(document))
        for attack in attacks:
            assert compact(attack) in text
        assert hits == []

    def test_even_markup_that_got_through_could_fetch_nothing(
        self, canary: tuple[str, list[str]]
    ) -> None:
        url, hits = canary
        assets = PackagedAssets({"asset:font": Asset(b"bytes")})
        assert assets("asset:font").read() == b"bytes"
        for address in [
            url,
            "file:///etc/passwd",
            "data:text/plain,x",
            "ftp://127.0.0.1/",
            "asset:",
        ]:
            with pytest.raises(ValueError, match="packaged assets only"):
                assets(address)
            with pytest.raises(ValueError, match="packaged assets only"):
                assets.open(address)
        assert hits == []

    def test_html_escapes_every_field(self) -> None:
        poison = "<poison>&\"'"
        document = samples.intra_state()
        values = document.to_dict()

        def poisoned(value: Any, key: str = "") -> Any:
            if isinstance(value, dict):
                return {name: poisoned(part, name) for name, part in value.items()}
            if isinstance(value, list):
                return [poisoned(part, key) for part in value]
            free = {"legal_name", "trade_name", "lines", "city", "description", "unit", "channel"}
            free |= {
                "country",
                "label",
                "reference",
                "bank_name",
                "branch",
                "account_name",
                "notes",
            }
            free |= {"logo_text", "website", "email", "phone", "payment_instructions", "price_note"}
            return poison if key in free and isinstance(value, str) else value

        page = render_html(InvoiceDocument.from_dict(poisoned(values)))
        assert "<poison>" not in page
        assert page.count("&lt;poison&gt;") > 20

    def test_a_colour_cannot_smuggle_styles(self) -> None:
        with pytest.raises(ValueError, match="accent_colour"):
            samples.Brand(name="x", logo_text="x", accent_colour="#1976D2; background: url(x)")
