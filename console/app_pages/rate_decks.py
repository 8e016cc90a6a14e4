"""Rate decks: upload a file, see what it changes and costs, publish it."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.decks.impact import Compared
from billing.decks.tables import DECK_DIMENSIONS
from billing.errors import BillingError
from billing.periods import DEFAULT_ZONE, local_day
from billing.rating.line import plain
from console import actions
from console.access import PageName
from console.components.boundary import say
from console.components.forms import attempt, form_key
from console.components.money import count
from console.components.page import show_page
from console.components.tables import Column, empty, table
from console.components.text import heading, note
from console.database import clock
from console.queries import rate_decks
from console.queries.rate_decks import VersionRow

_MOST = 200


def _render(actor: Actor) -> None:
    may_write = actor.may(Permission.CATALOG_WRITE)
    decks = rate_decks.decks(actor)
    if may_write:
        with st.expander("New deck", expanded=not decks):
            _new_deck(actor)
    if not decks:
        empty("No rate decks yet", "A deck holds the prices that charges of any plan can use.")
        return
    titles = {deck.id: deck.title for deck in decks}
    deck_id = st.selectbox("Deck", list(titles), format_func=titles.__getitem__, key="deck")
    if may_write:
        with st.container(border=True):
            _upload(actor, deck_id)
    versions = rate_decks.versions(actor, deck_id)
    if not versions:
        empty("No prices yet", "Upload a file with a price for each line.")
        return
    by_id = {version.id: version for version in versions}
    chosen = st.selectbox(
        "Version", list(by_id), format_func=lambda one: _title(by_id[one]), key=f"version_{deck_id}"
    )
    _version(actor, by_id[chosen], may_write=may_write)


def _title(version: VersionRow) -> str:
    state = "draft" if version.is_draft else "published"
    return f"Version {version.version}, {state}, from {version.effective_from:%d %b %Y}"


def _new_deck(actor: Actor) -> None:
    key = form_key("deck")
    with st.form(f"deck_{key}", border=False):
        left, right = st.columns(2)
        code = left.text_input("Code", key=f"deck_code_{key}", placeholder="sms-world")
        name = right.text_input("Name", key=f"deck_name_{key}", placeholder="SMS worldwide")
        asked = st.form_submit_button("Create it", key=f"deck_submit_{key}")
    if asked:
        attempt(
            "deck",
            lambda key: actions.new_deck(actor, key, code=code.strip(), name=name.strip()),
            f"The deck {code.strip()} is there; upload its prices.",
        )


def _upload(actor: Actor, deck_id: UUID) -> None:
    st.subheader("Upload prices", anchor=False)
    st.caption(
        f"CSV with the columns currency, {', '.join(DECK_DIMENSIONS)} and unit_price; * is any "
        "value. The operator is MCC-MNC, such as 404-45."
    )
    key = form_key("upload")
    tomorrow = local_day(clock().now(), DEFAULT_ZONE) + timedelta(days=1)
    with st.form(f"upload_{key}", border=False):
        file = st.file_uploader("File", type="csv", key=f"upload_file_{key}")
        day = st.date_input("Prices from this day on", tomorrow, format="DD/MM/YYYY",
                            key=f"upload_day_{key}")  # fmt: skip
        asked = st.form_submit_button("Check and keep as draft", key=f"upload_submit_{key}")
    if not asked:
        return
    if file is None:
        st.error("Choose a file first.", icon=":material/upload_file:")
        return
    try:
        text = file.getvalue().decode("utf-8-sig")
    except UnicodeDecodeError:
        st.error("The file is not UTF-8 text; save it as CSV UTF-8.", icon=":material/edit:")
        return
    attempt(
        "upload",
        lambda key: actions.upload_deck(actor, key, deck_id=deck_id, effective_from=day, csv=text),
        lambda made: f"Version {made.version} is kept as a draft with {made.row_count} prices.",
        refused=_wrong_lines,
    )


def _wrong_lines(error: BillingError) -> None:
    if not error.fields:
        say(error)
        return
    st.error(error.message, icon=":material/edit:")
    table(
        "What is wrong, line by line",
        [Column("Where", strong=True), Column("What to do", nowrap=False)],
        [(field.field.replace("lines.", "Line ", 1), field.message) for field in error.fields],
    )


def _version(actor: Actor, version: VersionRow, *, may_write: bool) -> None:
    st.download_button(
        f"Download {count(version.row_count)} prices", rate_decks.file(actor, version.id),
        file_name=f"rate-deck-v{version.version}.csv", mime="text/csv",
    )  # fmt: skip
    _changes(actor, version)
    _impact(actor, version)
    if version.is_draft and may_write:
        _publish(actor, version)


def _changes(actor: Actor, version: VersionRow) -> None:
    heading("What it changes")
    found = rate_decks.changes(actor, version.id)
    if found.against is None:
        note("It is the deck's first version.")
        return
    if not found.changes:
        note(f"Nothing: it has the prices of version {found.against}.")
        return
    note(f"{count(len(found.changes))} lines differ from version {found.against}.")
    table(
        "Lines that differ, the largest changes first",
        [Column("Line", strong=True, nowrap=False), Column("Currency"), Column("Before", "right"),
         Column("After", "right"), Column("Change", "right")],
        [
            (" / ".join(value or "*" for value in one.values), one.currency,
             _price(one.before), _price(one.after), _share(one.before, one.after) or one.kind)
            for one in found.changes[:_MOST]
        ],
    )  # fmt: skip


def _impact(actor: Actor, version: VersionRow) -> None:
    heading("Last month's traffic by these prices")
    found = rate_decks.impact(actor, version.id)
    if not found.totals and not found.unpriced:
        note("No usage of last month is priced by this deck.")
        return
    note(f"{found.first:%B %Y}, before discounts, limits and rounding.")
    _compared("In all", "Currency", [(code, code, one) for code, one in found.totals.items()])
    _compared(
        "By account", "Account", [(code, name, one) for (code, name), one in found.accounts.items()]
    )
    _compared(
        "By country",
        "Country",
        [(code, name, one) for (code, name), one in found.countries.items()],
    )
    if found.unpriced:
        events = sum(one.events for one in found.unpriced)
        st.warning(
            f"{count(events)} events match no line: invoices with such usage are parked.",
            icon=":material/warning:",
        )
        table(
            "Usage without a price",
            [Column("Account", strong=True), Column("Usage", nowrap=False),
             Column("Events", "right")],
            [
                (one.account_code, ", ".join(f"{k} {v}" for k, v in one.dimensions.items()),
                 count(one.events))
                for one in found.unpriced[:_MOST]
            ],
        )  # fmt: skip


def _compared(title: str, what: str, rows: list[tuple[str, str, Compared]]) -> None:
    rows.sort(key=lambda row: -abs(row[2].difference))
    table(
        title,
        [Column(what, strong=True), Column("Currency"), Column("Events", "right"),
         Column("Before", "right"), Column("After", "right"), Column("Change", "right")],
        [
            (name, code, count(one.events), _price(one.before), _price(one.after),
             _share(one.before, one.after))
            for code, name, one in rows[:_MOST]
        ],
    )  # fmt: skip


def _publish(actor: Actor, version: VersionRow) -> None:
    key = form_key(f"publish_{version.id}")
    with st.form(f"publish_{key}"):
        sure = st.checkbox(
            f"From {version.effective_from:%d %b %Y} these prices hold, and never change.",
            key=f"publish_sure_{key}",
        )
        asked = st.form_submit_button("Publish it", type="primary", key=f"publish_submit_{key}")
    if not asked:
        return
    if not sure:
        st.error("Tick the box to confirm.", icon=":material/check_box:")
        return
    attempt(
        f"publish_{version.id}",
        lambda key: actions.publish_deck(actor, key, version.id),
        f"Version {version.version} is published.",
    )


def _price(price: Decimal | None) -> str | None:
    return None if price is None else plain(price)


def _share(before: Decimal | None, after: Decimal | None) -> str | None:
    if not before or after is None:
        return None
    return f"{(after - before) * 100 / before:+.1f} %"


show_page(
    PageName.RATE_DECKS, "Rate decks", "Prices by country, operator, channel and traffic.", _render
)
