"""Wallets: balances, what moved them, their ledger, top-ups and grants."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.money import from_units, to_minor
from billing.periods import DEFAULT_ZONE, Period, each_day, local_day
from billing.usage.tables import ShardMode
from console import actions
from console.access import PageName
from console.components import charts
from console.components.csv_export import to_csv
from console.components.filters import open_one
from console.components.forms import attempt, form_key
from console.components.grants import show_grants
from console.components.money import (
    count,
    exact_wallet_money,
    signed,
    typed_minor,
    wallet_money,
)
from console.components.page import show_page
from console.components.status import wallet_status, words
from console.components.tables import Column, empty, fact_list, table
from console.components.text import heading, note, readable_reference
from console.database import clock
from console.queries import wallets
from console.queries.reading import built
from console.queries.wallets import ShardRow, WalletRow

_DAYS = 30
_ENTRIES = 15
_EXPORTED = 10_000
_MODES = {
    ShardMode.DIRECT: "Redis is away. PostgreSQL decides alone until it is back: nothing is lost, "
    "answers take longer.",
    ShardMode.REBUILDING: "wallets are written to Redis anew. It takes seconds, and events wait.",
}


def _render(actor: Actor) -> None:
    found = wallets.wallets(actor)
    if not found:
        empty("No wallets yet", "A prepaid account gets its wallet with its first top-up.")
        return
    _numbers(found)
    _shards(wallets.shards(actor))
    _list(found)
    by_id = {wallet.id: wallet for wallet in found}
    titles = {wallet.id: wallet.title for wallet in found}
    _wallet(actor, by_id[open_one("Show wallet", titles, key="wallet_open")])


def _numbers(found: list[WalletRow]) -> None:
    with st.grid(4, min_column_width=140):
        for code in ("INR", "USD", "IDR"):
            balances = [wallet.balance_units for wallet in found if wallet.currency == code]
            if balances:
                st.metric(
                    f"Balance {code}", wallet_money(sum(balances), code),
                    f"{count(len(balances))} wallet{'s' if len(balances) > 1 else ''}",
                    delta_color="off", delta_arrow="off", border=True, height="stretch",
                )  # fmt: skip
        for value in ("low", "suspended"):
            number = sum(wallet.status == value for wallet in found)
            status = wallet_status(value)
            st.metric(
                status.text, count(number), "need a top-up" if number else "none",
                delta_color="off", delta_arrow="off", border=True, height="stretch",
            )  # fmt: skip


def _shards(found: list[ShardRow]) -> None:
    """How events get into the books, loudly where that is not the usual way."""
    for mode, told in _MODES.items():
        names = [str(row.shard) for row in found if row.mode == mode]
        if names:
            st.warning(
                f"Shard {', '.join(names)}: {told}", icon=":material/sync_problem:"
            )  # fmt: skip
    frozen = sum(row.frozen for row in found)
    if frozen:
        st.warning(
            f"{count(frozen)} wallet{'s' if frozen > 1 else ''} frozen: Redis and PostgreSQL do "
            "not agree. `billing shards` says by how much.", icon=":material/ac_unit:",
        )  # fmt: skip
    applied = [row.applied_at for row in found if row.applied_at is not None]
    if applied:
        newest = max(applied).astimezone(ZoneInfo(DEFAULT_ZONE))
        when = f"{newest:%H:%M:%S} on {newest:%d %b}"
        note(f"The last event or hold in the books was taken in at {when}.")


def _list(found: list[WalletRow]) -> None:
    statuses = ["All", *dict.fromkeys(words(wallet.status) for wallet in found)]
    chosen = st.segmented_control(
        "Status", statuses, default="All", required=True, key="wallet_status"
    )
    shown = [wallet for wallet in found if chosen in {"All", words(wallet.status)}]
    table(
        "Wallets",
        [Column("Customer", strong=True, nowrap=False), Column("Status"),
         Column("Balance", "right", strong=True),
         Column("Low below", "right"), Column("Credit line", "right")],
        [
            (wallet.owner, wallet_status(wallet.status),
             wallet_money(wallet.balance_units, wallet.currency),
             wallet_money(wallet.low_balance_units, wallet.currency),
             wallet_money(wallet.credit_line_units, wallet.currency))
            for wallet in shown
        ],
    )  # fmt: skip


def _wallet(actor: Actor, wallet: WalletRow) -> None:
    with st.container(border=True):
        heading(wallet.title)
        if wallet.is_frozen:
            st.warning(
                "Redis and PostgreSQL do not agree on this wallet: nothing is authorised until an "
                "operator has looked at `billing shards`.", icon=":material/ac_unit:",
            )  # fmt: skip
        fact_list([
            ("Status", wallet_status(wallet.status)),
            ("Account", words(wallet.account_state)),
            ("Balance", wallet_money(wallet.balance_units, wallet.currency)),
            ("Held by authorisations", wallet_money(wallet.held_units, wallet.currency)),
            ("Can still be spent", wallet_money(wallet.spendable_units, wallet.currency)),
            ("Low below", wallet_money(wallet.low_balance_units, wallet.currency)),
            ("Credit line", wallet_money(wallet.credit_line_units, wallet.currency)),
        ])  # fmt: skip
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(border=True, height="stretch"):
        _movements(actor, wallet)
    with right, st.container(border=True, height="stretch"):
        if actor.may(Permission.WALLETS_WRITE):
            _top_up(actor, wallet)
        else:
            st.subheader("Top up", anchor=False)
            empty("Not with this key", "Finance credits wallets when a payment has come in.")
    with st.container(border=True):
        show_grants(actor, wallet)
    _ledger(actor, wallet)


def _movements(actor: Actor, wallet: WalletRow) -> None:
    heading(f"Movements, {_DAYS} days")
    today = local_day(clock().now(), DEFAULT_ZONE)
    since = today - timedelta(days=_DAYS - 1)
    rows = built(lambda: wallets.movements(actor, wallet.id, since))
    if not rows:
        empty("No movements", "Top-ups and usage of the last days appear here once reported.")
        return
    days = list(each_day(Period(since, today + timedelta(days=1))))
    values = {(row.movement_day, row.kind): row.amount_units for row in rows}
    kinds = sorted({row.kind for row in rows})
    series = [
        (words(kind), [_minor(values.get((day, kind), 0), wallet.currency) for day in days])
        for kind in kinds
    ]
    credited = sum(row.amount_units for row in rows if row.amount_units > 0)
    debits = sum(row.amount_units for row in rows if row.amount_units < 0)
    charts.show(
        charts.money_bars([f"{day:%d %b}" for day in days], series, wallet.currency),
        caption=f"In {signed(wallet_money(credited, wallet.currency))}, "
        f"out {wallet_money(debits, wallet.currency)}.",
        key="wallet_movements",
    )


def _minor(amount_units: int, currency_code: str) -> int:
    return to_minor(from_units(amount_units, currency_code), currency_code)


def _top_up(actor: Actor, wallet: WalletRow) -> None:
    st.subheader("Top up", anchor=False)
    name = f"top_up:{wallet.id}"
    key = form_key(name)
    with st.form(f"top_up_{key}", border=False):
        amount = st.text_input(
            f"Credit in {wallet.currency}, without tax", key=f"top_up_amount_{key}",
            placeholder="50000.00", help="What the wallet is credited with.",
        )  # fmt: skip
        tax = st.text_input(
            f"Tax received with it, in {wallet.currency}", key=f"top_up_tax_{key}",
            placeholder="as it is due",
            help="Left empty, it is worked out from the customer's tax profile; another amount "
            "than is due is refused. Kept for the invoice that uses the credit.",
        )  # fmt: skip
        reference = st.text_input(
            "Payment reference", key=f"top_up_reference_{key}", placeholder="UTR or bank reference",
            help="Letters, digits and . _ : / - only. The same one is never credited twice.",
        )  # fmt: skip
        asked = st.form_submit_button(
            "Credit the wallet", type="primary", key=f"top_up_submit_{key}", width="stretch"
        )
    if asked:
        _credit(actor, wallet, _payment(wallet.currency, amount, tax, reference))


def _credit(actor: Actor, wallet: WalletRow, payment: actions.Payment | None) -> None:
    if payment is None:
        st.error(
            "Enter the amount and the tax in digits, such as 50000.00, with no more decimals than "
            "the currency has; the amount must be above zero.",
            icon=":material/edit:",
        )
        return
    attempt(
        f"top_up:{wallet.id}",
        lambda key: actions.credit(actor, key, wallet.id, payment),
        lambda now: (
            f"Payment {payment.reference} is credited to {wallet.title}; the balance is "
            f"{wallet_money(now.balance_units, now.currency)}."
        ),
        meanwhile="Crediting the wallet…",
    )


def _payment(code: str, amount: str, tax: str, reference: str) -> actions.Payment | None:
    """What was typed as a payment, or None if the amounts make no sense."""
    amount_minor, tax_minor = typed_minor(amount, code), typed_minor(tax, code)
    if not amount_minor or (tax.strip() and tax_minor is None):
        return None
    return actions.Payment(amount_minor, tax_minor, reference.strip())


def _ledger(actor: Actor, wallet: WalletRow) -> None:
    newest = wallets.ledger(actor, wallet.id, None, _ENTRIES)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader("Ledger", anchor=False, width="stretch")
        if newest:
            st.download_button(
                "Export CSV", lambda: _export(actor, wallet),
                file_name=f"ledger-{wallet.account}.csv", mime="text/csv",
                icon=":material/download:", key="ledger_export", on_click="ignore",
            )  # fmt: skip
    if not newest:
        empty("No entries yet", "The first top-up or the first event makes one.")
        return
    # Entries are numbered from one without gaps, so the newest number is how many there are.
    total = newest[0].wallet_seq
    with st.container(horizontal=True, vertical_alignment="center"):
        page = st.pagination(
            -(-total // _ENTRIES), max_visible_pages=5, key=f"ledger_page_{wallet.id}"
        )
        note(f"{count(total)} entries, newest first.")
    before = total + 1 - (page - 1) * _ENTRIES
    rows = newest if page == 1 else wallets.ledger(actor, wallet.id, before, _ENTRIES)
    zone = ZoneInfo(DEFAULT_ZONE)
    table(
        "Ledger entries, newest first",
        [Column("When (IST)"), Column("No.", "right"), Column("Kind"),
         Column("Reference", nowrap=False), Column("Amount", "right"),
         Column("Balance after", "right", strong=True)],
        [
            (f"{row.recorded_at.astimezone(zone):%d %b %Y, %H:%M}", count(row.wallet_seq),
             words(row.kind), readable_reference(row.kind, row.reference),
             signed(exact_wallet_money(row.amount_units, wallet.currency)),
             exact_wallet_money(row.balance_after_units, wallet.currency))
            for row in rows
        ],
    )  # fmt: skip


def _export(actor: Actor, wallet: WalletRow) -> bytes:
    """The newest entries as a file; amounts in wallet units, as the ledger keeps them."""
    rows = wallets.ledger(actor, wallet.id, None, _EXPORTED)
    return to_csv(wallets.LedgerRow._fields, rows)


show_page(PageName.WALLETS, "Wallets", "Prepaid balances, and every entry behind them.", _render)
