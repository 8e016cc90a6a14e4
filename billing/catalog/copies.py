"""New rows that say what stored ones do: a draft begun from another version."""

from typing import Any, Final

from sqlalchemy import inspect

from billing.catalog.tables import Charge, ChargeLimit, Rate, RateTier
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
