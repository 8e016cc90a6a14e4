"""The interactive documentation, served from our own files: it must work without internet."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

DESCRIPTION = """
Meters usage, rates it under price plans, keeps prepaid wallets, and issues GST invoices.

* Every answer has the same envelope: `status`, `data` or `error`, and `meta`.
* Amounts are decimal strings, or integers whose name says the unit (`*_minor`, `*_units`).
* Days are local days of the account's zone, ranges are half-open, instants are UTC.
* Send `Idempotency-Key` with every command; sending it again does nothing twice.
* Too much is answered 429; `Retry-After` says when to come back.
* `WS /api/v1/live` tells balances and usage as they change.
* Lists give `meta.page.next`; pass it as `after` for the following page.
* A query parameter that a route does not know is refused, as a field of a body is.
"""

_ASSETS = "/docs/assets"


def install_documentation(app: FastAPI) -> None:
    """Serve `/docs` and the files it needs."""
    app.mount(_ASSETS, StaticFiles(directory=_asset_dir()), name="documentation_assets")

    @app.get("/docs", include_in_schema=False)
    def documentation() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{app.title}: API",
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon.png",
            swagger_ui_parameters=_parameters(),
        )


def _parameters() -> dict[str, Any]:
    # Without the first, Swagger UI would ask a validator on the internet for a badge.
    return {"validatorUrl": None, "persistAuthorization": True, "displayRequestDuration": True}


def _asset_dir() -> Path:
    """Where the wheel has put its files; the package itself is not imported."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("fastapi-offline is not installed")
    return Path(spec.origin).parent / "static"
