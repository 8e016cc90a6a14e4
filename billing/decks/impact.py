"""What a version of a deck would have cost on a month's traffic, beside what it replaces.

Both price lists are applied to the same usage with what was agreed with each account, before
discounts, limits and rounding: the difference is the deck's alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.decks.rates import DeckVersion, load_deck_rates
from billing.decks.repository import version_before
from billing.decks.tables import RateDeckVersion
from billing.errors import PreconditionError
from billing.overrides.rates import agreements_of
from billing.rating.book import in_force
from billing.rating.match import DIMENSIONS, RateIndex, counts
from billing.rating.plan import SUM, Rate

_MART: Final = "marts.fct_usage_daily"
_ABSENT: Final = "unknown"

_USAGE: Final = f"""
SELECT charge.code AS charge_code, version.plan_id, account.id AS account_id,
    account.code AS account_code,
    account.currency, item.event_filter, item.aggregation,
    {", ".join(f"usage.{name}" for name in DIMENSIONS)},
    sum(usage.event_count) AS events, sum(usage.quantity) AS quantity
FROM billing.charges charge
JOIN billing.billable_items item ON item.id = charge.item_id
JOIN billing.price_plan_versions version ON version.id = charge.plan_version_id
JOIN billing.subscription_segments segment ON segment.plan_version_id = version.id
JOIN billing.subscriptions subscription ON subscription.id = segment.subscription_id
JOIN billing.accounts account ON account.id = subscription.account_id
JOIN {_MART} usage ON usage.account_id = account.id AND usage.event_type = item.event_type
    AND usage.usage_day >= segment.starts_on
    AND usage.usage_day < coalesce(segment.ends_on, 'infinity')
WHERE charge.rate_deck_id = :deck_id AND usage.usage_day >= :first AND usage.usage_day < :end
GROUP BY charge.code, version.plan_id, account.id, account.code, account.currency,
    item.event_filter, item.aggregation, {", ".join(f"usage.{name}" for name in DIMENSIONS)}
"""


_READING: Final = """
SELECT DISTINCT item.code FROM billing.charges charge
JOIN billing.billable_items item ON item.id = charge.item_id
WHERE charge.rate_deck_id = :deck_id
    AND (item.property_name IS NOT NULL OR item.conversion IS NOT NULL)
ORDER BY item.code
"""


@dataclass(slots=True)
class Compared:
    """The same usage at both prices, in one currency."""

    events: int = 0
    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)

    @property
    def difference(self) -> Decimal:
        """What the version adds."""
        return self.after - self.before

    def add(self, events: int, before: Decimal, after: Decimal) -> None:
        """Count usage."""
        self.events += events
        self.before += before
        self.after += after


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Usage that no row of the version would match: its accounts' invoices would be parked."""

    account_code: str
    dimensions: dict[str, str]
    events: int


@dataclass(slots=True)
class Impact:
    """A month's traffic under a version and under the one it replaces."""

    first: date
    end: date
    replaced_version: int | None
    totals: dict[str, Compared] = field(default_factory=lambda: defaultdict(Compared))
    """By currency."""
    accounts: dict[tuple[str, str], Compared] = field(default_factory=lambda: defaultdict(Compared))
    """By currency and the account's code."""
    countries: dict[tuple[str, str], Compared] = field(
        default_factory=lambda: defaultdict(Compared)
    )
    """By currency and country."""
    unpriced: list[Unpriced] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Used:
    account_id: UUID
    account_code: str
    plan_id: UUID
    charge_code: str
    currency: str
    dimensions: dict[str, str]
    events: int
    units: Decimal


def deck_impact(
    session: Session, actor: Actor, version: RateDeckVersion, first: date, end: date
) -> Impact:
    """Price the usage of the days from `first` (in) to `end` (out) by a version, draft or not.

    Raises:
        PreconditionError: if items that it prices read more off events than daily usage says.
    """
    actor.require(Permission.CATALOG_READ)
    _require_daily(session, version.deck_id)
    before = version_before(session, version)
    found = Impact(first, end, None if before is None else before.version)
    used = list(_used(session, version.deck_id, first, end))
    agreements = agreements_of(session, {one.account_id for one in used})
    new = _Prices(session, version)
    old = None if before is None else _Prices(session, before)
    for one in used:
        agreed = RateIndex(
            agreement.rate
            for agreement in agreements.get(one.account_id, ())
            if agreement.concerns(one.plan_id, one.charge_code, version.deck_id)
            and agreement.rate.currency == one.currency
            and in_force(agreement.rate, version.effective_from)
        ).find(one.dimensions)
        after = agreed or new.find(one)
        if after is None:
            found.unpriced.append(Unpriced(one.account_code, one.dimensions, one.events))
            continue
        was = agreed or (old.find(one) if old is not None else None)
        costs = [one.units * (rate.tiers[0].unit_price if rate else 0) for rate in (was, after)]
        country = one.dimensions.get("country", _ABSENT)
        found.totals[one.currency].add(one.events, *costs)
        found.accounts[one.currency, one.account_code].add(one.events, *costs)
        found.countries[one.currency, country].add(one.events, *costs)
    found.unpriced.sort(key=lambda usage: -usage.events)
    return found


def _require_daily(session: Session, deck_id: UUID) -> None:
    codes = session.scalars(text(_READING), {"deck_id": deck_id}).all()
    if codes:
        raise PreconditionError(
            f"Daily usage is counts and quantities; {', '.join(codes)} reads more off events: "
            "preview the prices with events instead.",
            code="impact_unknown",
        )


class _Prices:
    """The rows of one version, by currency."""

    def __init__(self, session: Session, version: RateDeckVersion) -> None:
        known = DeckVersion(
            version.id, version.deck_id, version.version, version.effective_from, None
        )
        by_currency: dict[str, list[Rate]] = defaultdict(list)
        for rate in load_deck_rates(session, [known])[version.deck_id]:
            by_currency[rate.currency].append(rate)
        self._indexes = {code: RateIndex(rates) for code, rates in by_currency.items()}

    def find(self, used: _Used) -> Rate | None:
        index = self._indexes.get(used.currency)
        return None if index is None else index.find(used.dimensions)


def _used(session: Session, deck_id: UUID, first: date, end: date) -> Iterator[_Used]:
    """What charges that use the deck counted; nothing until the pipeline has run."""
    if session.scalar(text("SELECT to_regclass(:mart)"), {"mart": _MART}) is None:
        return
    rows: Iterable[Any] = session.execute(
        text(_USAGE), {"deck_id": deck_id, "first": first, "end": end}
    ).mappings()
    for row in rows:
        dimensions = {name: row[name] for name in DIMENSIONS if row[name] != _ABSENT}
        if counts(row["event_filter"], dimensions):
            yield _Used(
                account_id=row["account_id"],
                account_code=row["account_code"],
                plan_id=row["plan_id"],
                charge_code=row["charge_code"],
                currency=row["currency"],
                dimensions=dimensions,
                events=int(row["events"]),
                units=Decimal(row["quantity"] if row["aggregation"] == SUM else row["events"]),
            )
