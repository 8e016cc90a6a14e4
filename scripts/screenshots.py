"""Take a picture of every console page, in both themes, wide and narrow.

Sign in with a key; the console must be running:

    BILLING_KEY=otpb_… python scripts/screenshots.py http://127.0.0.1:8501 docs/images
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, get_args

from playwright.sync_api import Browser, Page, sync_playwright

from console.navigation import TITLES

Theme = Literal["light", "dark"]

PAGES: Final = {name.value: title for name, (title, _) in TITLES.items()}
WIDTHS: Final = (1440, 390)
CHROMIUM_FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_HEIGHT: Final = 900
_TALLEST: Final = 6000
_SETTLED_MS: Final = 1200
_FOLDS_BELOW: Final = 768


def main() -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where the console runs")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--pages", nargs="+", default=list(PAGES), choices=list(PAGES))
    parser.add_argument("--themes", nargs="+", default=get_args(Theme), choices=get_args(Theme))
    parser.add_argument("--widths", nargs="+", type=int, default=WIDTHS)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    key = os.environ.get("BILLING_KEY")
    if not key:
        parser.error("set BILLING_KEY to an API key of a console role")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=arguments.chromium, args=list(CHROMIUM_FLAGS)
        )
        for theme in arguments.themes:
            for width in arguments.widths:
                for file in shoot(browser, key, theme, width, arguments):
                    print(file)
        browser.close()


def shoot(
    browser: Browser, key: str, theme: Theme, width: int, arguments: argparse.Namespace
) -> Iterator[Path]:
    """One session of one theme and width: the sign-in form, then each page."""
    context = browser.new_context(
        viewport={"width": width, "height": _HEIGHT}, color_scheme=theme, device_scale_factor=1
    )
    page = context.new_page()
    page.goto(arguments.url)
    page.get_by_label("API key", exact=True).wait_for()
    yield picture(page, arguments.folder / f"sign-in-{theme}-{width}.png")
    sign_in(page, key)
    for name in arguments.pages:
        open_page(page, name, width)
        yield picture(page, arguments.folder / f"{name}-{theme}-{width}.png")
    context.close()


def sign_in(page: Page, key: str) -> None:
    """Fill the form and wait for the first page."""
    page.get_by_label("API key", exact=True).fill(key)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Overview").wait_for()


def open_page(page: Page, name: str, width: int) -> None:
    """Follow the link in the navigation, as a person does: a new address ends the session."""
    expand = page.get_by_test_id("stExpandSidebarButton")
    if expand.is_visible():
        expand.click()
    title = PAGES[name]
    page.get_by_test_id("stSidebarNavLink").get_by_text(title, exact=True).click()
    page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
    settle(page)
    if width < _FOLDS_BELOW and not expand.is_visible():
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()


def settle(page: Page) -> None:
    """Wait until the page's script has run and its charts are drawn."""
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.wait_for_timeout(_SETTLED_MS)


def picture(page: Page, file: Path) -> Path:
    """The whole page: its content scrolls inside a frame, so the window is made as tall as that."""
    settle(page)
    viewport = page.viewport_size or {"width": WIDTHS[0], "height": _HEIGHT}
    tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size(
        {"width": viewport["width"], "height": min(max(tall, _HEIGHT), _TALLEST)}
    )
    page.wait_for_timeout(_SETTLED_MS)
    page.screenshot(path=file)
    page.set_viewport_size({"width": viewport["width"], "height": _HEIGHT})
    settle(page)
    return file


if __name__ == "__main__":
    main()
