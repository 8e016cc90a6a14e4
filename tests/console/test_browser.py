"""The console in a real browser: sign in, approve an invoice, see its PDF, export usage."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, Playwright, expect, sync_playwright
from sqlalchemy import Engine, text

from billing.access.roles import Role
from billing.stack import ports
from tests.console.conftest import APP, make_key
from tests.console.world import World

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
_PATIENCE_MS = 30_000


@contextmanager
def _served(url: str, log: Path) -> Iterator[str]:
    """The address of a console process on that database, which is ended afterwards."""
    port = ports.any_free()
    command = [
        sys.executable, "-m", "streamlit", "run", str(APP),
        "--server.port", str(port), "--server.address", "127.0.0.1",
    ]  # fmt: skip
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=APP.parents[1],
            env={**os.environ, "DATABASE_URL": url},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(process, address)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_for(process: "subprocess.Popen[bytes]", address: str) -> None:
    while process.poll() is None:
        try:
            with urlopen(f"{address}/_stcore/health", timeout=1):
                return
        except (URLError, TimeoutError):
            pass
    raise AssertionError("the console ended before it answered")


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    """A driver of browsers."""
    with sync_playwright() as driver:
        yield driver


def _open(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNavLink").get_by_text(name, exact=True).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def test_finance_signs_in_approves_an_invoice_and_sees_the_issued_pdf(
    playwright: Playwright, furnished_url: str, engine: Engine, world: World, tmp_path: Path
) -> None:
    key = make_key(engine, world, Role.FINANCE_ADMIN)
    log = tmp_path / "console.log"
    expect.set_options(timeout=_PATIENCE_MS)
    with _served(furnished_url, log) as address:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("requestfailed", lambda request: failures.append(request.url))
        page.goto(address)
        page.get_by_label("API key", exact=True).fill(key)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()

        _open(page, "Invoices")
        page.get_by_role("combobox", name="Open invoice").click()
        page.get_by_role("option").filter(has_text="Acme Payments").click()
        draft = page.get_by_alt_text("Draft invoice of Acme Payments, page 1", exact=False)
        expect(draft).to_be_visible()
        page.get_by_role("button", name="Approve…").click()
        page.get_by_role("button", name="Approve and issue").dblclick()
        expect(page.get_by_text("is issued:")).to_be_visible()
        with engine.connect() as connection:
            (number,) = connection.execute(
                text("SELECT number FROM billing.invoices WHERE status <> 'draft'")
            ).one()
        pdf = page.get_by_alt_text(f"Invoice {number} of Acme Payments, page 1", exact=False)
        expect(pdf).to_be_visible()
        assert pdf.evaluate("image => image.complete && image.naturalWidth > 800")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download PDF").click()
        assert Path(download.value.path()).read_bytes().startswith(b"%PDF")

        _open(page, "Usage")
        with page.expect_download() as download:
            page.get_by_role("button", name="Export CSV").click()
        exported = Path(download.value.path()).read_text(encoding="utf-8-sig")
        assert "\n'=Formula & Sons," in exported
        assert "\n=" not in exported
        browser.close()
    assert failures == []
    said = log.read_text()
    assert "Traceback" not in said
    assert "ScriptRunContext" not in said
    assert "deprecat" not in said.lower()


def test_no_page_scrolls_sideways_on_a_phone_or_a_tablet(
    playwright: Playwright, furnished_url: str, engine: Engine, world: World, tmp_path: Path
) -> None:
    key = make_key(engine, world, Role.FINANCE_ADMIN)
    expect.set_options(timeout=_PATIENCE_MS)
    with _served(furnished_url, tmp_path / "console.log") as address:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 320, "height": 800})
        page.goto(address)
        page.get_by_label("API key", exact=True).fill(key)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        for name in ("Usage", "Invoices", "Dunning", "Wallets", "Revenue", "Overview"):
            page.set_viewport_size({"width": 320, "height": 800})
            # A phone folds the sidebar away after each choice; wait for the end of both movements.
            page.get_by_test_id("stExpandSidebarButton").click()
            expect(page.get_by_test_id("stSidebar")).to_be_in_viewport(ratio=0.9)
            _open(page, name)
            page.get_by_test_id("stStatusWidget").wait_for(state="detached")
            for width in (320, 390, 768):
                page.set_viewport_size({"width": width, "height": 800})
                too_wide = page.get_by_test_id("stMain").evaluate(
                    "main => main.scrollWidth - main.clientWidth"
                )
                assert too_wide <= 0, (name, width)
        browser.close()
