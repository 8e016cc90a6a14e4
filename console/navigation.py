"""The list of pages, and the frame around them."""

from html import escape
from typing import Final

import streamlit as st
from streamlit.navigation.page import Page as StreamlitPage

from billing.access.actor import Actor
from billing.errors import BillingError
from console.access import PAGES, PageName, sign_in, sign_out
from console.components.boundary import say
from console.components.text import actor_name
from console.components.theme import ASSETS

TITLES: Final = {
    PageName.OVERVIEW: ("Overview", ":material/dashboard:"),
    PageName.USAGE: ("Usage", ":material/monitoring:"),
    PageName.EVENTS: ("Events", ":material/search:"),
    PageName.CUSTOMERS: ("Customers", ":material/groups:"),
    PageName.SUBSCRIPTIONS: ("Subscriptions", ":material/autorenew:"),
    PageName.INVOICES: ("Invoices", ":material/receipt_long:"),
    PageName.DOCUMENTS: ("Documents", ":material/edit_document:"),
    PageName.EINVOICES: ("E-invoices", ":material/qr_code_2:"),
    PageName.TEMPLATES: ("Templates", ":material/palette:"),
    PageName.PAYMENTS: ("Payments", ":material/payments:"),
    PageName.DUNNING: ("Dunning", ":material/notification_important:"),
    PageName.WALLETS: ("Wallets", ":material/account_balance_wallet:"),
    PageName.PAYMENT_METHODS: ("Payment methods", ":material/credit_card:"),
    PageName.REVENUE: ("Revenue", ":material/trending_up:"),
    PageName.CATALOGUE: ("Catalogue", ":material/menu_book:"),
    PageName.COUPONS: ("Coupons and add-ons", ":material/sell:"),
    PageName.SIMULATION: ("Simulation", ":material/science:"),
    PageName.RATE_DECKS: ("Rate decks", ":material/price_change:"),
}
"""What a page is called, at its top and in the navigation, and its icon."""

_GROUPS: Final = {
    "": (PageName.OVERVIEW,),
    "Usage": (PageName.USAGE, PageName.EVENTS),
    "Customers": (PageName.CUSTOMERS, PageName.SUBSCRIPTIONS),
    "Billing": (
        PageName.INVOICES,
        PageName.DOCUMENTS,
        PageName.EINVOICES,
        PageName.TEMPLATES,
    ),
    "Money": (PageName.PAYMENTS, PageName.DUNNING, PageName.WALLETS, PageName.PAYMENT_METHODS),
    "Revenue and prices": (
        PageName.REVENUE,
        PageName.CATALOGUE,
        PageName.COUPONS,
        PageName.SIMULATION,
        PageName.RATE_DECKS,
    ),
}


def pages_of(actor: Actor) -> dict[str, list[StreamlitPage]]:
    """The pages the actor's role has, by the group they are looked for in."""
    grouped = {
        group: [_page(name) for name in names if name in PAGES[actor.role]]
        for group, names in _GROUPS.items()
    }
    return {group: pages for group, pages in grouped.items() if pages}


def _page(name: PageName) -> StreamlitPage:
    title, icon = TITLES[name]
    return st.Page(
        f"app_pages/{name.value}.py", title=title, icon=icon, url_path=name.value,
        default=name is PageName.OVERVIEW,
    )  # fmt: skip


def frame(actor: Actor) -> None:
    """The logo, and who is signed in."""
    st.logo(ASSETS / "logo.svg", size="large")
    with st.sidebar:
        st.html(
            f'<div class="ob-who"><strong>{escape(actor_name(actor.name))}</strong>'
            f"<span>{escape(actor.role.value.replace('_', ' ').capitalize())}</span></div>"
        )
        if st.button("Sign out", icon=":material/logout:", key="sign_out", width="stretch"):
            sign_out()
            st.rerun()


def sign_in_page() -> None:
    """Ask for a key."""
    st.html('<div class="ob-sign-in-top"></div>')
    _, middle, _ = st.columns([1, 1.4, 1])
    with middle:
        st.image(ASSETS / "logo.svg", width=220, alt="OTPless Billing")
        st.title("Sign in")
        with st.form("sign_in", enter_to_submit=True):
            key = st.text_input(
                "API key",
                type="password",
                key="sign_in_key",
                autocomplete="current-password",
                placeholder="otpb_…",
                help="Your own key, made with `billing keys create`. It decides what you may do.",
            )
            asked = st.form_submit_button("Sign in", type="primary", width="stretch", key="enter")
        if asked:
            _try(key)
        st.caption("Everything you approve here is recorded under the name of your key.")


def _try(key: str) -> None:
    try:
        sign_in(key)
    except BillingError as error:
        say(error)
    else:
        st.rerun()
