"""The console's entry: page configuration, the sign-in gate, and navigation; nothing else.

Run it with `streamlit run console/app.py`.
"""

import streamlit as st

from billing.logs import configure_logs
from console.access import current_actor
from console.components.boundary import guarded
from console.components.theme import ASSETS, apply_style
from console.navigation import frame, pages_of, sign_in_page

configure_logs()
st.set_page_config(
    page_title="OTPless Billing",
    page_icon=ASSETS / "icon.svg",
    layout="wide",
    menu_items={"About": "OTPless Billing: usage, wallets, invoices and revenue."},
)
apply_style()


@guarded
def main() -> None:
    """Show the sign-in form, or the page that was asked for."""
    actor = current_actor()
    if actor is None:
        st.navigation([st.Page(sign_in_page, title="Sign in")], position="hidden").run()
        return
    page = st.navigation(pages_of(actor), expanded=True)
    frame(actor)
    page.run()


main()
