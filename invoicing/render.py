"""From a document to HTML and to PDF: no database, no clock, no network.

The same document gives the same bytes in every process on the same library set: identifier and
dates come from the document, fonts from this package. Whatever a customer's record contains is
text; markup in it is escaped and nothing it names is ever fetched.
"""

import hashlib
import io
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import segno
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from weasyprint import CSS, HTML
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import URLFetcher, URLFetcherResponse

from billing import formatting
from invoicing import columns
from invoicing.document import InvoiceDocument
from invoicing.extras import NOTHING_ELSE, Asset, Extras
from invoicing.statement import Statement

PDF_VARIANT: Final = "pdf/a-3a"
"""Made for keeping for years, and able to carry the invoice's JSON one day."""

_SCHEME: Final = "asset:"
_FONTS: Final = (
    "NotoSans-Regular.ttf",
    "NotoSans-Bold.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "DejaVuSans.ttf",
)
_BETWEEN_TAGS: Final = re.compile(r">\s*\n\s*<")
_NOTES: Final = re.compile(r"^::(footnote|note)-.*$", re.MULTILINE)
# Pango and fontconfig keep caches that are not made for several threads at once.
_drawing = threading.Lock()


class PackagedAssets(URLFetcher):  # type: ignore[misc]
    """Gives out the fonts of this package and refuses every other address."""

    def __init__(self, assets: Mapping[str, Asset]) -> None:
        super().__init__(allowed_protocols=(), allow_redirects=False)
        self._assets = assets

    def fetch(self, url: str, headers: Any = None) -> URLFetcherResponse:  # noqa: ARG002
        """The bytes of a packaged asset.

        Raises:
            ValueError: for any address that is not one.
        """
        try:
            found = self._assets[url]
        except KeyError:
            raise ValueError("documents are drawn from packaged assets only") from None
        return URLFetcherResponse(url, found.content, {"Content-Type": found.media_type})


class _Page(HTML):  # type: ignore[misc]
    """A page whose elements are not each asked for five kinds of notes: documents have none."""

    def _ua_stylesheets(self, forms: bool = False) -> list[CSS]:  # noqa: ARG002
        return [_browser_styles()]


def render_html(document: InvoiceDocument, extras: Extras = NOTHING_ELSE) -> str:
    """The document as an HTML page; its stylesheet is applied by `render_pdf`.

    A browser shows it when `stylesheet()` is put beside it.
    """
    template = _environment().get_template("invoice.html.j2")
    return _packed(template.render(document=document, extras=extras))


def render_statement_html(statement: Statement) -> str:
    """A statement of account as an HTML page."""
    template = _environment().get_template("statement.html.j2")
    return _packed(template.render(statement=statement))


def render_pdf(document: InvoiceDocument, extras: Extras = NOTHING_ELSE) -> bytes:
    """The document as PDF/A-3, the same bytes every time."""
    images = {}
    if extras.logo is not None:
        images[f"{_SCHEME}logo"] = extras.logo
    if extras.registration is not None:
        images[f"{_SCHEME}qr"] = _qr(extras.registration.signed_qr)
    if document.payment_qr:
        images[f"{_SCHEME}payment-qr"] = _qr(document.payment_qr)
    said = f"{document.to_json()}{extras.registration or ''}"
    return _drawn(render_html(document, extras), said, images)


def render_statement(statement: Statement) -> bytes:
    """A statement of account as PDF/A-3, the same bytes every time."""
    return _drawn(render_statement_html(statement), statement.model_dump_json(), {})


def _packed(page: str) -> str:
    """Without the indentation of its templates, of which every piece would be a box to lay out.

    What customers wrote has no angle bracket of its own: they are escaped.
    """
    return _BETWEEN_TAGS.sub("><", page)


def _drawn(page: str, said: str, images: Mapping[str, Asset]) -> bytes:
    with _drawing:
        fonts, styles, assets = _drawing_kit()
        fetcher = PackagedAssets({**assets, **images})
        html = _Page(string=page, url_fetcher=fetcher, base_url=_SCHEME)
        pdf: bytes = html.write_pdf(
            stylesheets=[styles],
            font_config=fonts,
            pdf_variant=PDF_VARIANT,
            pdf_identifier=hashlib.sha256(said.encode()).digest()[:16],
        )
    return pdf


def _qr(signed: str) -> Asset:
    """The token itself as a QR code, as the portal asks; at level L it has about version 22."""
    drawn = io.BytesIO()
    segno.make_qr(signed, error="l", mode="byte", boost_error=False).save(
        drawn, kind="svg", border=4, xmldecl=False, svgns=True
    )
    return Asset(drawn.getvalue(), "image/svg+xml")


@cache
def stylesheet() -> str:
    """The stylesheet of all documents."""
    return files("invoicing").joinpath("templates", "invoice.css").read_text(encoding="utf-8")


@cache
def _browser_styles() -> CSS:
    """What the library gives every page, without its footnotes and other notes."""
    theirs = files("weasyprint").joinpath("css", "html5_ua.css").read_text(encoding="utf-8")
    return CSS(string=_NOTES.sub("", theirs))


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(str(files("invoicing").joinpath("templates"))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        amount=formatting.format_amount,
        money=formatting.format_money,
        rated=formatting.format_rated,
        quantity=formatting.format_quantity,
        rate=formatting.format_rate,
        day=formatting.format_date,
    )
    environment.globals |= {
        "period": formatting.format_period,
        "column_widths": columns.column_widths,
        "is_compact": columns.is_compact,
        "wide_unit": columns.WIDE_UNIT,
    }
    return environment


@cache
def _drawing_kit() -> tuple[FontConfiguration, CSS, Mapping[str, Asset]]:
    """What every drawing shares: parsed once, used under the lock."""
    folder = files("invoicing").joinpath("templates", "fonts")
    assets = {f"{_SCHEME}{name}": Asset(folder.joinpath(name).read_bytes()) for name in _FONTS}
    fetcher = PackagedAssets(assets)
    with as_file(folder) as fonts_path, _only_our_fonts(fonts_path):
        fonts = FontConfiguration()
    styles = CSS(string=stylesheet(), url_fetcher=fetcher, font_config=fonts, base_url=_SCHEME)
    return fonts, styles, MappingProxyType(assets)


@contextmanager
def _only_our_fonts(folder: Path) -> Iterator[None]:
    """Keep fonts of the machine out, which would change the bytes from host to host."""
    previous = os.environ.get("FONTCONFIG_FILE")
    os.environ["FONTCONFIG_FILE"] = str(folder / "fonts.conf")
    try:
        yield
    finally:
        if previous is None:
            del os.environ["FONTCONFIG_FILE"]
        else:
            os.environ["FONTCONFIG_FILE"] = previous
