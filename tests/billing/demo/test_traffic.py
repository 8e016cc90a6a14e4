"""The demo's made-up traffic: repeatable, of the promised size, with the promised flaws."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from billing.demo import catalogue
from billing.demo.calendar import DemoCalendar
from billing.demo.merchants import INDIA, MERCHANTS, SUPPLIER, merchant
from billing.demo.timeline import Day, timeline
from billing.demo.traffic import UsageEvent, merchant_day
from billing.tax.gstin import NumberStatus, parse

RUPEES = {"INR": Decimal(1), "USD": Decimal("88.5"), "IDR": Decimal("0.00535")}
CALENDAR = DemoCalendar.at(datetime(2026, 11, 21, 8, tzinfo=UTC))


@pytest.fixture(scope="module")
def days() -> list[Day]:
    return list(timeline(CALENDAR))


@pytest.fixture(scope="module")
def events(days: list[Day]) -> dict[str, UsageEvent]:
    return {delivery.event.event_id: delivery.event for day in days for delivery in day.deliveries}


def deliveries(days: list[Day]) -> Iterator[tuple[datetime, UsageEvent]]:
    for day in days:
        for delivery in day.deliveries:
            yield delivery.sent_at, delivery.event


def test_the_same_seed_gives_the_same_day(days: list[Day]) -> None:
    again = list(timeline(CALENDAR, [merchant("asha-tiffins")]))
    expected = [[d for d in day.deliveries if d.event.account == "asha-tiffins"] for day in days]
    assert [day.deliveries for day in again] == expected


def test_a_later_start_adds_events_and_changes_none() -> None:
    later = DemoCalendar.at(datetime(2026, 11, 24, 8, tzinfo=UTC))
    for day in (date(2026, 9, 3), date(2026, 11, 21)):
        early_events = merchant_day(MERCHANTS[0], day, CALENDAR)
        assert merchant_day(MERCHANTS[0], day, later)[: len(early_events)] == early_events


def test_there_are_more_than_two_hundred_thousand_events(events: dict[str, UsageEvent]) -> None:
    assert 200_000 < len(events) < 300_000


def test_about_one_event_in_a_hundred_is_sent_twice_and_unchanged(
    days: list[Day], events: dict[str, UsageEvent]
) -> None:
    sent = Counter(event.event_id for _, event in deliveries(days))
    twice = [event_id for event_id, count in sent.items() if count == 2]
    assert max(sent.values()) == 2
    assert 0.008 < len(twice) / len(events) < 0.012
    assert all(event == events[event.event_id] for _, event in deliveries(days))


def test_some_events_come_days_late_and_all_before_their_month_is_issued(days: list[Day]) -> None:
    late = 0
    for day in days:
        for delivery in day.deliveries:
            local = delivery.event.occurred_at.astimezone(ZoneInfo(INDIA)).date()
            late += day.day - local >= timedelta(days=1)
            assert day.day < CALENDAR.issue_date(local.replace(day=1))
    assert late > 1_000


def test_nothing_happens_after_now(days: list[Day]) -> None:
    assert max(sent_at for sent_at, _ in deliveries(days)) < CALENDAR.until
    assert all(c.sent_at < CALENDAR.until for day in days for c in day.corrections)


def test_a_correction_follows_the_event_it_corrects(days: list[Day]) -> None:
    first: dict[str, date] = {}
    corrections = 0
    for day in days:
        for delivery in day.deliveries:
            first.setdefault(delivery.event.event_id, day.day)
        for correction in day.corrections:
            corrections += 1
            assert first[correction.event.event_id] <= day.day
    assert 50 < corrections < 600


def test_evenings_are_busier_than_nights(events: dict[str, UsageEvent]) -> None:
    hours = Counter(
        event.occurred_at.astimezone(ZoneInfo(INDIA)).hour
        for event in events.values()
        if event.account == "kaveri-retail"
    )
    assert hours[19] > 10 * hours[3]


def test_the_festival_stands_out(events: dict[str, UsageEvent]) -> None:
    per_day = Counter(
        event.occurred_at.astimezone(ZoneInfo(INDIA)).date() for event in events.values()
    )
    assert per_day[date(2026, 10, 20)] > 1.8 * per_day[date(2026, 10, 13)]


def test_traffic_keeps_to_the_life_of_each_merchant(events: dict[str, UsageEvent]) -> None:
    local: dict[str, list[date]] = {}
    for event in events.values():
        local.setdefault(event.account, []).append(
            event.occurred_at.astimezone(ZoneInfo(INDIA)).date()
        )
    assert min(local["tulsi-learning"]) == date(2026, 9, 10)
    assert max(local["bluefin-travels"]) == date(2026, 10, 20)
    assert max(local["peepal-games"]) == date(2026, 10, 31)


def test_wallets_go_where_the_story_wants_them(days: list[Day]) -> None:
    """One ends just below zero, one low, and the others never run out."""
    by_alias = {merchant.alias: merchant for merchant in MERCHANTS if merchant.wallet}
    balance = dict.fromkeys((m.code for m in by_alias.values()), Decimal(0))
    seen: set[str] = set()
    for day in days:
        if day.day.day == 4 and CALENDAR.month_index(day.day) in {1, 2}:
            for found in by_alias.values():
                balance[found.code] -= 1_500_000 if found.currency == "IDR" else 999
        for top_up in day.top_ups:
            balance[top_up.merchant] += top_up.amount
        fresh = {d.event.event_id: d.event for d in day.deliveries if d.event.event_id not in seen}
        seen |= fresh.keys()
        moves = [(event, 1) for event in fresh.values() if event.is_billed]
        moves += [(c.event, 1) for c in day.corrections if c.status == "delivered"]
        moves += [(c.event, -1) for c in day.corrections if not c.status and c.event.is_billed]
        for event, sign in moves:
            if event.account in by_alias:
                found = by_alias[event.account]
                price = catalogue.entry_price(
                    catalogue.plan(found.plan), event.event_type, event.dimensions["country"]
                )
                balance[found.code] -= price * event.quantity * sign
        if day.day < date(2026, 10, 30):
            assert min(balance.values()) > 0, day.day
    assert Decimal(-26) <= balance.pop("peepal-games") <= Decimal(-24)
    assert Decimal(3000) < balance.pop("saffron-stays") < Decimal(4300)
    assert min(balance.values()) > 0


def test_margins_are_thin_but_positive(events: dict[str, UsageEvent]) -> None:
    by_alias = {found.alias: found for found in MERCHANTS}
    earned: dict[str, Decimal] = defaultdict(Decimal)
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for event in events.values():
        found = by_alias[event.account]
        price = catalogue.entry_price(
            catalogue.plan(found.plan), event.event_type, event.dimensions["country"]
        )
        if event.is_billed:
            earned[found.code] += price * event.quantity * RUPEES[found.currency]
        spent[found.code] += event.cost
    for code, revenue in earned.items():
        assert Decimal("0.1") < 1 - spent[code] / revenue < Decimal("0.6"), code


def test_every_registration_number_is_valid() -> None:
    numbers = [found.gstin for found in (*MERCHANTS, SUPPLIER) if found.gstin]
    assert len(numbers) == 13
    assert all(parse(number).status is NumberStatus.VALID for number in numbers)


def test_events_of_a_day_are_in_order_and_numbered() -> None:
    events = merchant_day(MERCHANTS[0], date(2026, 9, 3), CALENDAR)
    assert all(one.occurred_at <= other.occurred_at for one, other in pairwise(events))
    assert len({event.event_id for event in events}) == len(events)
