"""The one place where what goes wrong on a page becomes a sentence."""

import functools
import traceback
from collections.abc import Callable

import streamlit as st
import structlog

from billing.errors import BillingError, ErrorKind
from billing.ids import new_id
from console.components.tables import empty
from console.components.text import plain

log = structlog.get_logger(__name__)


def guarded(page: Callable[[], None]) -> Callable[[], None]:
    """A page that ends in a sentence instead of a traceback.

    What the domain refuses is said as the domain says it. Anything else is logged under a
    reference, and the person sees only the reference.
    """

    @functools.wraps(page)
    def run() -> None:
        try:
            page()
        except Exception as error:  # noqa: BLE001 - the boundary: nothing may pass as a traceback
            say(error)

    return run


def say(error: Exception) -> None:
    """Show any failure as a sentence."""
    if not isinstance(error, BillingError):
        _say_unexpected(error)
    elif error.code == "reports_missing":
        empty("No reports yet", error.message)
    elif error.kind is ErrorKind.UNAVAILABLE:
        st.warning(plain(error.message), icon=":material/cloud_off:")
    else:
        fields = [plain(f"{field.field}: {field.message}") for field in error.fields]
        st.error("\n- ".join([plain(error.message), *fields]), icon=":material/block:")


def _say_unexpected(error: Exception) -> None:
    reference = new_id()
    # As text, without the values of local variables: a key that is being typed is one of them.
    trace = "".join(traceback.format_exception(error))
    log.error("console_failed", reference=str(reference), traceback=trace)
    st.error(
        "Something went wrong on our side, and nothing was changed by it. "
        f"Reload the page; if it happens again, report reference **{reference}**.",
        icon=":material/error:",
    )
