"""The published rows that a price can say, as plans and events that SQL rates."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from billing.catalog.preview import DaysInput, PricedUsage, PricePreview
from billing.catalog.rated import as_rated
from billing.catalog.requests import CreateItem
from billing.catalog.tables import BillableItem, PlanVersion
from billing.customers.tables import Account
from billing.periods import Period
from billing.rating.plan import COMMITMENT, FLAT, PERIOD_MODELS, Charge, Rate, Tier
from billing.subscriptions.tables import BillingPeriod
from tests.support.bodies import PLATFORM_ITEM, SMS_ITEM
from tests.support.factories.events import store_event
from tests.support.factories.parties import make_account
from tests.support.factories.plans import make_plan, make_subscription
from tests.support.rating_vectors import BY_ID, comes_to, other_items, priced_cases

_NOON = timedelta(hours=12)
_ITEMS = {
    str(body["code"]): BillableItem(**dict(CreateItem.model_validate(body)))
    for body in (SMS_ITEM, PLATFORM_ITEM, *other_items())
}


class RatedVectors:
    """Each preview of a row as a charge of its own name, with an account for each part of a month.

    What a preview prices is stored as it says: one event of its quantity, or its events in order;
    of a price per period the seats and the days; beside a commitment what everything else bills.
    """

    def __init__(self, session: Session, month: date) -> None:
        """Store them all, in periods that the invoice of that month bills."""
        self._session, self._month = session, month
        self._charges: dict[str, list[tuple[int, str]]] = defaultdict(list)
        """Of each row, by sign, the codes of its charges."""
        together: dict[tuple[Any, ...], list[tuple[str, PricePreview]]] = defaultdict(list)
        for number, case in priced_cases().items():
            for index, (sign, body) in enumerate(case):
                code = f"{number}-{index}"
                preview = PricePreview.model_validate(body)
                self._charges[number] += [(sign, one) for one, _ in _parts(code, preview)]
                together[_company(code, preview)].append((code, preview))
        self.accounts = {self._store(company) for company in together.values()}

    def wrong(self, lines: Sequence[dict[str, Any]]) -> dict[str, Decimal]:
        """What the rows come to that are not as published, by their numbers."""
        by_code: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in lines:
            by_code[line["charge_code"]].append(line)
        found = {
            number: comes_to(
                BY_ID[number],
                [
                    (sign, line["amount"], line["amount_minor"], line["currency"])
                    for sign, code in codes
                    for line in by_code[code]
                ],
            )
            for number, codes in self._charges.items()
        }
        return {
            number: amount
            for number, amount in found.items()
            if amount != Decimal(BY_ID[number]["expected_amount"])
        }

    def _store(self, company: Sequence[tuple[str, PricePreview]]) -> UUID:
        """Previews that one subscription bills, in an account of their own."""
        (_, first), *_ = company
        currency = first.charge.rates[0].currency
        account = make_account(self._session, currency=currency, tax_profile=False)
        charges = [charge for code, one in company for charge in _charges_of(code, one, currency)]
        version, _ = make_plan(self._session, charges)
        segments: list[tuple[PlanVersion, Decimal, date, date | None]] = []
        begins = self._month
        for seats, length in _seats(first)[:-1]:
            ends = begins + timedelta(days=length)
            segments.append((version, seats, begins, ends))
            begins = ends
        segments.append((version, _seats(first)[-1][0], begins, None))
        subscription = make_subscription(self._session, account, segments)
        days = first.days or DaysInput(billed=31, full=31)
        self._add_period(account, subscription.id, days)
        for code, preview in company:
            for one, part in _parts(code, preview):
                self._send(account, one, part)
        return account.id

    def _add_period(self, account: Account, subscription_id: UUID, days: DaysInput) -> None:
        period = Period(self._month, self._month + timedelta(days=days.billed))
        starts_at, ends_at = period.instants(account.zone)
        self._session.add(
            BillingPeriod(
                subscription_id=subscription_id,
                account_id=account.id,
                starts_on=period.start,
                ends_on=period.end,
                full_ends_on=self._month + timedelta(days=days.full),
                starts_at=starts_at,
                ends_at=ends_at,
                invoice_month=self._month,
            )
        )

    def _send(self, account: Account, code: str, preview: PricedUsage) -> None:
        if _ITEMS[preview.charge.item_code].event_type is None:
            return
        noon = datetime.combine(self._month, datetime.min.time(), UTC) + _NOON
        sent = (
            [(preview.quantity or Decimal(0), {})]
            if preview.events is None
            else [(event.quantity, event.dimensions) for event in preview.events]
        )
        for second, (quantity, dimensions) in enumerate(sent):
            store_event(
                self._session,
                account.id,
                noon + timedelta(seconds=second),
                event_type=_event_type(code),
                quantity=quantity,
                dimensions=dimensions,
            )


def _parts(code: str, preview: PricePreview) -> list[tuple[str, PricedUsage]]:
    """Its charges, each under a code of its own."""
    beside = ((f"{code}-{number}", one) for number, one in enumerate(preview.beside))
    return [(code, preview), *beside]


def _seats(preview: PricePreview) -> list[tuple[Decimal, int]]:
    """What a subscription holds day by day, the last of it for as long as it bills."""
    if preview.held is not None:
        return [(one.quantity, one.days) for one in preview.held]
    is_by_period = preview.charge.price_model in PERIOD_MODELS
    return [(preview.quantity if is_by_period and preview.quantity else Decimal(1), 0)]


def _company(code: str, preview: PricePreview) -> tuple[Any, ...]:
    """What previews have in common that one subscription can bill."""
    charge = preview.charge
    is_usage = _ITEMS[charge.item_code].event_type is not None
    alone = None if charge.price_model != COMMITMENT else code
    seats = None if is_usage else tuple(_seats(preview))
    days = preview.days and (preview.days.billed, preview.days.full)
    return charge.rates[0].currency, days, seats, alone


def _charges_of(code: str, preview: PricePreview, currency: str) -> list[Charge]:
    """Its charges, in a group of their own if they are in one."""
    charges = [
        charge
        for one, part in _parts(code, preview)
        for charge in _charges_of_part(one, part, currency)
    ]
    return [replace(one, dearest_of=code) if one.dearest_of else one for one in charges]


def _charges_of_part(code: str, preview: PricedUsage, currency: str) -> list[Charge]:
    """The charge under its own code, counting events of its own type, as a preview counts."""
    charge = as_rated(preview.charge, _ITEMS[preview.charge.item_code])
    named = replace(charge, code=code)
    if charge.price_model == COMMITMENT:
        amount = Tier(None, flat_amount=preview.quantity or Decimal(0))
        rates = (Rate(1, currency, (amount,)),)
        return [
            named,
            replace(charge, code=f"{code}-else", price_model=FLAT, rates=rates, prorated=False),
        ]
    if charge.event_type is None:
        return [named]
    counted = {} if preview.events is None else charge.event_filter
    return [replace(named, event_type=_event_type(code), event_filter=counted)]


def _event_type(code: str) -> str:
    return f"otp.{code.replace('-', '.')}"
