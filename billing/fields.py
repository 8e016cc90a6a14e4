"""Kinds of fields that several requests have."""

from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator


def _exact(value: object) -> object:
    """Refuse binary fractions: 0.1 read as one is not 0.1 any more."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError('write decimals as text, such as "0.12"')  # noqa: TRY004
    return value


ExactDecimal = Annotated[Decimal, BeforeValidator(_exact)]
"""A decimal that was written as text or as a whole number."""
