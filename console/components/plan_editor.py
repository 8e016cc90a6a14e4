"""Changing a draft or a template: its prices, charge by charge, and its terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.catalog.copies import written
from billing.catalog.repository import get_version
from billing.catalog.requests import ChangeTerms, ChargeInput, ReplaceCharges
from billing.catalog.service import change_terms, replace_charges
from billing.catalog.tables import PlanVersion, PriceModel
from billing.db.unit_of_work import read_only
from billing.errors import FieldError, InvalidError
from billing.formatting import format_quantity
from billing.periods import Interval
from billing.rating.line import plain as spelled
from console import actions
from console.components.forms import attempt, form_key
from console.components.prices import PERIODS, matched
from console.components.text import note, plain
from console.database import engine

_MOST: Final = 120
_FEES: Final = frozenset(
    {PriceModel.FLAT, PriceModel.ONE_TIME, PriceModel.COMMITMENT, PriceModel.STAIRSTEP}
)


@dataclass(frozen=True, slots=True)
class _Price:
    """One number of a version that can be changed."""

    charge: int
    rate: int
    tier: int
    what: str
    """unit_price or flat_amount."""
    label: str
    now: Decimal


def show_editor(actor: Actor, version_id: UUID) -> None:
    """The prices of a version that is not published, each in a field; and its terms."""
    with read_only(engine()) as session:
        version = get_version(session, actor, version_id)
        charges = [written(charge) for charge in version.charges]
        terms = _terms_of(version)
    prices = [price for at, charge in enumerate(charges) for price in _prices(at, charge)]
    if len(prices) > _MOST:
        note(f"It has {len(prices)} prices: change them through the API, or keep a rate deck.")
    elif prices:
        _edit_prices(actor, version_id, charges, prices)
    _edit_terms(actor, version_id, terms)


def _terms_of(version: PlanVersion) -> dict[str, Any]:
    return {
        "interval": version.interval,
        "trial_days": version.trial_days,
        "grace_days": version.grace_days,
    }


def _prices(at: int, charge: ChargeInput) -> list[_Price]:
    seats = charge.price_model is PriceModel.LICENCE and charge.tier_mode is None
    found = []
    for number, rate in enumerate(charge.rates):
        for position, tier in enumerate(rate.tiers):
            named = [charge.name, matched(rate.match), rate.currency]
            if len(rate.tiers) > 1:
                up_to = "" if tier.up_to is None else format_quantity(tier.up_to, rate.currency)
                named.append(f"up to {up_to}" if up_to else "above")
            label = ", ".join(part for part in named if part)
            is_fee = seats or charge.price_model in _FEES
            if not is_fee:
                found.append(_Price(at, number, position, "unit_price", label, tier.unit_price))
            if is_fee or tier.flat_amount:
                fee = label if is_fee else f"{label}, fixed part"
                found.append(_Price(at, number, position, "flat_amount", fee, tier.flat_amount))
    return found


def _edit_prices(
    actor: Actor, version_id: UUID, charges: list[ChargeInput], prices: list[_Price]
) -> None:
    name = f"prices:{version_id}"
    key = form_key(name)
    with st.form(f"prices_{key}", border=False):
        with st.grid(3, min_column_width=220):
            typed = {
                price: st.text_input(
                    plain(price.label), spelled(price.now), key=f"price_{at}_{key}"
                )
                for at, price in enumerate(prices)
            }
        asked = st.form_submit_button("Change prices", type="primary", key=f"prices_submit_{key}")
    if asked:
        attempt(
            name,
            lambda key: actions.run(
                actor, key, replace_charges, ReplaceCharges, plan_version_id=version_id,
                charges=_changed(charges, typed),
            ),
            lambda made: f"Version {made.version} has these prices now.",
        )  # fmt: skip


def _changed(charges: list[ChargeInput], typed: Mapping[_Price, str]) -> list[dict[str, Any]]:
    asked = [charge.model_dump() for charge in charges]
    wrong = []
    for price, text in typed.items():
        try:
            amount = Decimal(text.replace(",", "").strip())
        except InvalidOperation:
            wrong.append(FieldError(price.label, "must be a number in digits, such as 0.175"))
            continue
        tier = asked[price.charge]["rates"][price.rate]["tiers"][price.tier]
        tier[price.what] = amount
    if wrong:
        raise InvalidError("Enter prices in digits.", fields=wrong)
    return asked


def _edit_terms(actor: Actor, version_id: UUID, terms: Mapping[str, Any]) -> None:
    name = f"terms:{version_id}"
    key = form_key(name)
    intervals = list(Interval)
    with st.form(f"terms_{key}", border=False):
        with st.grid(3, min_column_width=220):
            fields = {
                "interval": st.selectbox(
                    "Billed every", intervals, index=intervals.index(terms["interval"]),
                    format_func=lambda one: PERIODS[one].capitalize(), key=f"term_every_{key}",
                ),
                "trial_days": st.number_input(
                    "Days of trial, without recurring charges", 0, 3660, terms["trial_days"],
                    key=f"term_trial_{key}",
                ),
                "grace_days": st.number_input(
                    "Days that late events wait", 0, 30, terms["grace_days"],
                    key=f"term_grace_{key}",
                ),
            }  # fmt: skip
        asked = st.form_submit_button("Change terms", key=f"terms_submit_{key}")
    if asked:
        attempt(
            name,
            lambda key: actions.run(
                actor, key, change_terms, ChangeTerms, plan_version_id=version_id, **fields
            ),
            lambda made: f"Version {made.version} has these terms now.",
        )  # fmt: skip
