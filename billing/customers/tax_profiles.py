"""How a customer is taxed: what is asked for, and how its parts must agree with each other."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final
from uuid import UUID

from pydantic import Field

from billing.commands import Request
from billing.errors import FieldError, InvalidError
from billing.tax import gstin
from billing.tax.gstin import NumberKind, RegistrationNumber
from billing.tax.model import TaxKind
from billing.tax.rules import states

_TEXT: Final = r"^[^\x00]*$"
_PIN: Final = re.compile(r"[1-9][0-9]{5}")
_HOME: Final = "IN"
_WITHOUT_NUMBER: Final = frozenset({TaxKind.UNREGISTERED, TaxKind.OVERSEAS})
_OWN_NUMBER: Final = {TaxKind.UIN: NumberKind.UIN, TaxKind.TDS_DEDUCTOR: NumberKind.TDS}
_NOT_FOR_BUSINESSES: Final = frozenset({NumberKind.UIN, NumberKind.TDS, NumberKind.OIDAR})


class TaxProfileFields(Request):
    """How a customer is taxed from a day on."""

    valid_from: date
    tax_kind: TaxKind
    legal_name: str = Field(min_length=1, max_length=200, pattern=_TEXT)
    gstin: str | None = Field(default=None, max_length=20, pattern=_TEXT)
    address_line: str = Field(min_length=1, max_length=300, pattern=_TEXT)
    city: str = Field(min_length=1, max_length=100, pattern=_TEXT)
    postal_code: str = Field(min_length=1, max_length=12, pattern=_TEXT)
    state_code: str | None = None
    country: str = Field(default="IN", pattern=r"^[A-Z]{2}$")
    sez_authorised_operations: bool = False
    own_establishment: bool = False
    """A branch of ours abroad: what it is supplied with is no export (IGST Act s.2(6)(v))."""


class AddTaxProfile(TaxProfileFields):
    """Record how one customer is taxed."""

    customer_id: UUID


def number_and_state(request: AddTaxProfile) -> dict[str, str | None]:
    """The registration number in normal form and the State it is in, or that of the address.

    Raises:
        InvalidError: naming every field that contradicts another.
    """
    number = gstin.parse(request.gstin or "")
    given = None if number.is_absent else number
    wrong = [
        *_number_errors(request, given),
        *_place_errors(request),
        *_disagreement(request, given),
    ]
    if wrong:
        raise InvalidError("The tax profile is not consistent.", fields=wrong)
    return {
        "gstin": given.value if given else None,
        "state_code": request.state_code or (given.state_code if given else None),
    }


def _number_errors(
    request: AddTaxProfile, number: RegistrationNumber | None
) -> Iterator[FieldError]:
    kind = request.tax_kind
    if number is None:
        if kind not in _WITHOUT_NUMBER:
            yield FieldError("gstin", f"a customer of the kind {kind.value} has one")
    elif kind in _WITHOUT_NUMBER:
        yield FieldError("gstin", f"a customer of the kind {kind.value} has none")
    elif not number.is_usable:
        for reason in number.reasons:
            yield FieldError("gstin", reason.message)
    elif kind in _OWN_NUMBER and number.kind is not _OWN_NUMBER[kind]:
        yield FieldError("gstin", f"this is not the number of a {kind.value}")
    elif kind not in _OWN_NUMBER and number.kind in _NOT_FOR_BUSINESSES:
        yield FieldError("gstin", "this is not the number of a registered business")


def _place_errors(request: AddTaxProfile) -> Iterator[FieldError]:
    at_home = request.country == _HOME
    if (request.tax_kind is TaxKind.OVERSEAS) == at_home:
        yield FieldError("country", "overseas customers, and only they, are outside India")
    if request.state_code is not None and request.state_code not in states():
        yield FieldError("state_code", "use the two-digit GST code of a State")
    if request.own_establishment and at_home:
        yield FieldError("own_establishment", "only an establishment abroad is told apart by it")
    if request.state_code is not None and not at_home:
        yield FieldError("state_code", "only places in India have one")
    if at_home and request.tax_kind is TaxKind.UNREGISTERED and request.state_code is None:
        # A registered customer's State is in its number; here nothing else tells it.
        yield FieldError("state_code", "the place of supply follows from it")
    if at_home and not _PIN.fullmatch(request.postal_code):
        yield FieldError("postal_code", "an Indian PIN code has six digits")


def _disagreement(
    request: AddTaxProfile, number: RegistrationNumber | None
) -> Iterator[FieldError]:
    if number is None or request.state_code is None or not number.is_usable:
        return
    if _current(request.state_code) != _current(number.state_code):
        yield FieldError("state_code", f"the registration is in State {number.state_code}")


def _current(state_code: str | None) -> str | None:
    """The code that took over, for a retired one."""
    state = states().get(state_code or "")
    return state.successor or state.code if state else state_code
