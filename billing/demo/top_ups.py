"""When a prepaid merchant pays into its wallet, and how much."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from billing.demo import catalogue
from billing.demo.calendar import COMPLETE_MONTHS, ISSUE_DAY, DemoCalendar
from billing.demo.merchants import Merchant, WalletPolicy
from billing.demo.traffic import UsageEvent
from billing.money import round_half_up
from billing.periods import add_months

_ROUND_SUM = Decimal(500)
_GST = Decimal("0.18")
_LATEST = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class TopUp:
    """A payment into a wallet, exclusive of tax, in the account's currency."""

    day: date
    merchant: str
    amount: Decimal
    tax: Decimal
    """GST that is paid with it; an advance is taxed when it is received."""
    reference: str


Moves = Mapping[date, Sequence[tuple[UsageEvent, int]]]


def plan_top_ups(
    merchant: Merchant, policy: WalletPolicy, moves: Moves, calendar: DemoCalendar
) -> Iterator[TopUp]:
    """The top-ups that keep a wallet as its owner's policy wants it.

    Args:
        moves: per day, the events the wallet pays for (1) or gets back (-1).
    """
    wallet = _Wallet(
        policy,
        {day: _spent(merchant, events) for day, events in moves.items()},
        _platform_fee(merchant),
        calendar,
    )
    balance = Decimal(0)
    for day in calendar.days:
        if day.day == ISSUE_DAY and 1 <= calendar.month_index(day) < COMPLETE_MONTHS:
            balance -= wallet.fee  # the invoice of the month before takes what no event paid
        amount = wallet.wanted(balance, day)
        if amount > 0:
            reference = f"topup-{merchant.code}-{day:%Y%m%d}"
            tax = amount * _GST if merchant.place.country == "IN" else Decimal(0)
            yield TopUp(day, merchant.code, amount, tax, reference)
            balance += amount
        balance -= wallet.spending.get(day, Decimal(0))


@dataclass(frozen=True, slots=True)
class _Wallet:
    policy: WalletPolicy
    spending: Mapping[date, Decimal]
    fee: Decimal
    calendar: DemoCalendar

    def wanted(self, balance: Decimal, day: date) -> Decimal:
        """What its owner pays in on the morning of a day."""
        policy = self.policy
        if policy.month_ends_at is None:
            return policy.top_up if balance < policy.refill_below else Decimal(0)
        month = self.calendar.month_index(day)
        if day.day != 1 or month >= COMPLETE_MONTHS:
            return Decimal(0)
        last = month == COMPLETE_MONTHS - 1
        wanted = policy.month_ends_at[month] + self._to_come(day, last=last) - balance
        if last:
            return round_half_up(wanted, 0)
        return round_half_up(wanted / _ROUND_SUM, 0) * _ROUND_SUM

    def _to_come(self, day: date, *, last: bool) -> Decimal:
        """What will be spent until the month ends; in the last one, what comes late as well."""
        end = self.calendar.anchor + _LATEST if last else add_months(day, 1)
        usage = (spent for when, spent in self.spending.items() if day <= when < end)
        return sum(usage, self.fee if day > self.calendar.first_month else Decimal(0))


def _spent(merchant: Merchant, moves: Sequence[tuple[UsageEvent, int]]) -> Decimal:
    plan = catalogue.plan(merchant.plan)
    prices: dict[tuple[str, str], Decimal] = {}
    total = Decimal(0)
    for event, sign in moves:
        key = (event.event_type, event.dimensions["country"])
        if key not in prices:
            prices[key] = catalogue.entry_price(plan, *key)
        total += prices[key] * event.quantity * sign
    return total


def _platform_fee(merchant: Merchant) -> Decimal:
    charge = next(
        charge for charge in catalogue.plan(merchant.plan).charges if charge.price_model == "flat"
    )
    return Decimal(charge.rates[0].tiers[0].flat_amount)
