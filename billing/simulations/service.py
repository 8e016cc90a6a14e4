"""Trying prices: what may be changed, and the comparison. Nothing is stored."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.rated import RatedVersion, as_rated, load_rated
from billing.catalog.requests import ChargeInput
from billing.catalog.rules import errors_in
from billing.catalog.tables import BillableItem, PricePlan
from billing.commands import Request
from billing.coupons.rates import subscriptions_with_coupons
from billing.errors import FieldError, ForbiddenError, InvalidError
from billing.fields import ExactDecimal
from billing.money import round_half_up
from billing.overrides.tables import PriceOverride
from billing.rating import plan
from billing.rating.simulate import Simulation, frames_can_rate, simulate
from billing.simulations.load import Chosen, Read, read_frames, set_apart
from billing.subscriptions.tables import Subscription, SubscriptionSegment

_PRICE_DECIMALS: Final = 12
Percent = Annotated[ExactDecimal, Field(ge=-100, le=10_000, decimal_places=6)]


class ReplacedVersion(Request):
    """Subscriptions on one plan version, as if they were on another; it may be a draft."""

    version_id: UUID
    by_version_id: UUID


class ReplacedCharge(Request):
    """Another price for the charge of that code, in one plan or in all that have it."""

    plan_code: str | None = None
    charge: ChargeInput


class ChangedPrices(Request):
    """Prices raised or lowered by a part: of one plan, charge or currency, or of all."""

    percent: Percent
    """Of unit prices, tier fees and prices per period; 5 raises them by a twentieth."""
    plan_code: str | None = None
    charge_code: str | None = None
    currency: str | None = None
    match: dict[str, str] = Field(default_factory=dict, max_length=10)
    """Only rates that name these values."""


class ChosenUsage(Request):
    """Whose usage of which months."""

    first_month: date
    last_month: date
    """Both are first days of invoice months."""
    account_ids: tuple[UUID, ...] | None = Field(default=None, max_length=10_000)
    customer_ids: tuple[UUID, ...] | None = Field(default=None, max_length=10_000)


class OtherPrices(Request):
    """What is to be other than it was."""

    versions: tuple[ReplacedVersion, ...] = Field(default=(), max_length=1000)
    charges: tuple[ReplacedCharge, ...] = Field(default=(), max_length=100)
    prices: tuple[ChangedPrices, ...] = Field(default=(), max_length=100)


class SimulatePrices(OtherPrices, ChosenUsage):
    """Whose usage of which months, and what is to be other than it was."""


def simulate_prices(session: Session, actor: Actor, request: SimulatePrices) -> Simulation:
    """Rate what was used again, by the prices it was billed with and by others.

    Raises:
        InvalidError: with every field that is wrong.
        PreconditionError: if events that have to be read are in an archive alone.
    """
    usage = read_usage(session, actor, request)
    return simulate_on(session, usage, request)


def read_usage(session: Session, actor: Actor, request: ChosenUsage) -> Read:
    """What was billed in the months and the usage it was billed for, to try prices on.

    Raises:
        InvalidError: if the months make no sense.
    """
    actor.require(Permission.CATALOG_READ)
    actor.require(Permission.INVOICES_READ)
    if actor.customer_id is not None:
        raise ForbiddenError("Simulations are for staff.")
    _check_months(request)
    return read_frames(
        session,
        Chosen(request.first_month, request.last_month, request.account_ids, request.customer_ids),
    )


def simulate_on(session: Session, read: Read, request: OtherPrices) -> Simulation:
    """The same usage by the prices that it was billed with, and by others.

    Raises:
        InvalidError: with every field that is wrong.
        PreconditionError: if events that have to be read are in an archive alone.
    """
    used = {UUID(version) for version in read.world.parts["version_id"].unique()}
    actual = load_rated(session, used)
    changed = _Changes(session, request, actual).changed()
    prices = {version: found.charges for version, found in actual.items()}
    others = {version: found.charges for version, found in changed.items()}
    apart = {str(one) for one in used if not frames_can_rate(one, prices, others)}
    agreed = _subscriptions_apart(session)
    alone = read.outdated | {
        number
        for number, version, subscription in read.world.parts.join(read.world.periods, on="period")
        .select("period", "version_id", "subscription_id")
        .iter_rows()
        if version in apart or subscription in agreed
    }
    world = set_apart(session, read, alone, actual, changed)
    return simulate(world, prices, others)


def _check_months(request: ChosenUsage) -> None:
    wrong = [
        FieldError(name, "use the first day of a month")
        for name in ("first_month", "last_month")
        if getattr(request, name).day != 1
    ]
    if request.last_month < request.first_month:
        wrong.append(FieldError("last_month", "it comes before the first"))
    if wrong:
        raise InvalidError("The months cannot be read.", code="invalid_request", fields=wrong)


def _subscriptions_apart(session: Session) -> set[str]:
    """Those whose prices are not their plan's alone: agreed, with add-ons, or with a coupon."""
    agreed = select(PriceOverride.account_id)
    found = session.scalars(select(Subscription.id).where(Subscription.account_id.in_(agreed)))
    added = session.scalars(
        select(SubscriptionSegment.subscription_id).where(
            SubscriptionSegment.add_on_id.is_not(None)
        )
    )
    return {str(one) for one in (*found, *added, *subscriptions_with_coupons(session))}


class _Changes:
    """Works out the other prices of the versions that were billed."""

    def __init__(
        self, session: Session, request: OtherPrices, actual: Mapping[UUID, RatedVersion]
    ) -> None:
        self._session = session
        self._request = request
        self._actual = actual
        found = session.execute(select(PricePlan.id, PricePlan.code))
        self._plans: dict[UUID, str] = {plan_id: code for plan_id, code in found}  # noqa: C416

    def changed(self) -> dict[UUID, RatedVersion]:
        """The versions that have other prices; first whole versions, then charges, then parts."""
        now = dict(self._actual)
        now |= self._replaced_versions()
        for index, wanted in enumerate(self._request.charges):
            charge = self._proposed(index, wanted.charge)
            for version_id, version in now.items():
                if self._is_of(version, wanted.plan_code):
                    now[version_id] = replace(
                        version, charges=_with_charge(version.charges, charge)
                    )
        for prices in self._request.prices:
            for version_id, version in now.items():
                if self._is_of(version, prices.plan_code):
                    now[version_id] = replace(
                        version,
                        charges=tuple(_repriced(charge, prices) for charge in version.charges),
                    )
        return {one: found for one, found in now.items() if found != self._actual[one]}

    def _replaced_versions(self) -> dict[UUID, RatedVersion]:
        swaps = {one.version_id: one.by_version_id for one in self._request.versions}
        loaded = load_rated(self._session, set(swaps.values()))
        wrong = [
            FieldError(f"versions.{index}.by_version_id", "there is no such plan version")
            for index, one in enumerate(self._request.versions)
            if one.by_version_id not in loaded
        ]
        if wrong:
            raise InvalidError("The simulation is not valid.", code="invalid_request", fields=wrong)
        return {old: loaded[new] for old, new in swaps.items() if old in self._actual}

    def _proposed(self, index: int, charge: ChargeInput) -> plan.Charge:
        items = {
            item.code: item
            for item in self._session.scalars(select(BillableItem).filter_by(code=charge.item_code))
        }
        wrong = [
            replace(error, field=error.field.replace("charges.0", f"charges.{index}.charge", 1))
            for error in errors_in([charge], items)
        ]
        if wrong:
            raise InvalidError("The simulation is not valid.", code="invalid_request", fields=wrong)
        return as_rated(charge, items[charge.item_code])

    def _is_of(self, version: RatedVersion, plan_code: str | None) -> bool:
        return plan_code is None or self._plans.get(version.plan_id) == plan_code


def _with_charge(charges: tuple[plan.Charge, ...], other: plan.Charge) -> tuple[plan.Charge, ...]:
    return tuple(other if charge.code == other.code else charge for charge in charges)


def _repriced(charge: plan.Charge, prices: ChangedPrices) -> plan.Charge:
    if prices.charge_code not in {None, charge.code}:
        return charge
    factor = 1 + prices.percent / 100
    rates = tuple(
        replace(rate, tiers=tuple(_times(tier, factor) for tier in rate.tiers))
        if prices.currency in {None, rate.currency} and prices.match.items() <= rate.match.items()
        else rate
        for rate in charge.rates
    )
    return replace(charge, rates=rates)


def _times(tier: plan.Tier, factor: Decimal) -> plan.Tier:
    return replace(
        tier,
        unit_price=round_half_up(tier.unit_price * factor, _PRICE_DECIMALS),
        flat_amount=round_half_up(tier.flat_amount * factor, _PRICE_DECIMALS),
    )
