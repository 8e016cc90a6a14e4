"""What a stored charge says, once more: as rows of another version, or as a person writes it."""

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import inspect

from billing.catalog.requests import ChargeInput, LimitInput, RateInput, TierInput
from billing.catalog.tables import Charge, ChargeLimit, Rate, RateTier
from billing.commands import Request
from billing.db.base import Base

_OF_THE_ROW: Final = {"id", "plan_version_id", "charge_id", "rate_id"}
"""Columns that say which row it is and what it belongs to."""


def copied(charge: Charge) -> Charge:
    """A charge with its rates, tiers and limits, to belong to another version."""
    return Charge(
        **_said(charge),
        item=charge.item,
        rate_deck=charge.rate_deck,
        limits=[ChargeLimit(**_said(limit)) for limit in charge.limits],
        rates=[
            Rate(**_said(rate), tiers=[RateTier(**_said(tier)) for tier in rate.tiers])
            for rate in charge.rates
        ],
    )


def _said(row: Base) -> dict[str, Any]:
    columns = {column.key for column in inspect(row).mapper.column_attrs} - _OF_THE_ROW
    return {name: getattr(row, name) for name in columns}


def written(charge: Charge) -> ChargeInput:
    """A charge as it could be asked for, to be changed and asked for again."""
    return ChargeInput(
        **_asked(charge, ChargeInput, {"item_code", "rate_deck", "limits", "rates"}),
        item_code=charge.item.code,
        rate_deck=None if charge.rate_deck is None else charge.rate_deck.code,
        limits=tuple(LimitInput(**_asked(limit, LimitInput)) for limit in charge.limits),
        rates=tuple(
            RateInput(
                **_asked(rate, RateInput, {"tiers"}),
                tiers=tuple(TierInput(**_asked(tier, TierInput)) for tier in rate.tiers),
            )
            for rate in charge.rates
        ),
    )


def _asked(
    row: Base, request: type[Request], but: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """The fields of a request that are columns of a row, numbers without needless zeros."""
    found = {name: getattr(row, name) for name in request.model_fields if name not in but}
    return {
        name: Decimal(format(value.normalize(), "f")) if isinstance(value, Decimal) else value
        for name, value in found.items()
    }
