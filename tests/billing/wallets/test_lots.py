"""Lots: each in its turn, first in, first out, whatever was used, granted and refunded."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from billing.wallets.lots import Inflow, Turn, end_reference, lots_after
from billing.wallets.tables import LedgerKind

AT = datetime(2026, 7, 15, tzinfo=UTC)


def inflow(number: int, units: int, reference: str | None = None) -> Inflow:
    kind = LedgerKind.TOP_UP if units > 0 else LedgerKind.REFUND
    return Inflow(UUID(int=number + 1), kind, reference or f"payment:{number}:1", AT, units)


def test_the_oldest_lot_is_used_first() -> None:
    lots = lots_after([inflow(1, 100), inflow(2, 50), inflow(3, 70)], 90)
    assert [(lot.used_units, lot.left_units) for lot in lots] == [(100, 0), (30, 20), (0, 70)]


def test_a_refund_takes_its_own_lot_back_and_not_the_oldest() -> None:
    flows = [inflow(1, 100), inflow(2, 50), inflow(9, -20, "payment:2:2")]
    lots = lots_after(flows, 100)
    assert [(lot.used_units, lot.refunded_units, lot.left_units) for lot in lots] == [
        (30, 0, 70),
        (0, 20, 30),
    ]


def test_a_balance_below_zero_leaves_nothing() -> None:
    assert [lot.left_units for lot in lots_after([inflow(1, 100)], -5)] == [0]


def in_turn(number: int, units: int, priority: int, days: int | None = None) -> Inflow:
    ends = None if days is None else AT + timedelta(days=days)
    reference = f"promotion:{number}"
    turn = Turn(priority, ends)
    return Inflow(UUID(int=number + 1), LedgerKind.PROMOTION, reference, AT, units, turn=turn)


def test_the_lowest_priority_is_used_first_then_what_ends_first() -> None:
    flows = [in_turn(1, 100, 50), in_turn(2, 60, 10), in_turn(3, 70, 50, 9), in_turn(4, 80, 50, 8)]
    left = {
        balance: [lot.left_units for lot in lots_after(flows, balance)]
        for balance in (300, 200, 100, 30)
    }
    assert left == {
        300: [100, 50, 70, 80],
        200: [100, 0, 70, 30],
        100: [100, 0, 0, 0],
        30: [30, 0, 0, 0],
    }


def test_what_is_invoiced_stays_with_the_lots_of_the_invoice() -> None:
    flows = [in_turn(1, 100, 50), in_turn(2, 60, 10)]
    lots = lots_after(flows, 70, {flows[0].id: 40})
    assert [lot.used_units for lot in lots] == [40, 50]
    # more came back than was used since: the last lot in turn gets it
    assert [lot.used_units for lot in lots_after(flows, 130, {flows[0].id: 40})] == [30, 0]


def test_an_end_takes_from_its_own_lot_alone() -> None:
    flows = [in_turn(1, 100, 50), in_turn(2, 60, 10, 5)]
    reference = end_reference(LedgerKind.EXPIRY, flows[1].id, 1)
    end = Inflow(UUID(int=9), LedgerKind.EXPIRY, reference, AT, -20)
    lots = lots_after([*flows, end], 100)
    assert [(lot.refunded_units, lot.used_units, lot.left_units) for lot in lots] == [
        (0, 0, 100),
        (20, 40, 0),
    ]


@given(
    st.lists(st.integers(1, 10**9), max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.integers(1, 10**9)), max_size=5),
    st.integers(-(10**9), 10**10),
)
def test_what_is_left_is_the_balance_and_used_in_order(
    came: list[int], back: list[tuple[int, int]], balance: int
) -> None:
    flows = [inflow(number, units) for number, units in enumerate(came)]
    total = sum(came)
    for number, (of, units) in enumerate(back):
        part = min(units, total)
        total -= part
        if part:
            flows.append(inflow(100 + number, -part, f"payment:{of}:{number + 2}"))
    balance = min(balance, total)

    lots = lots_after(flows, balance)

    assert sum(lot.left_units for lot in lots) == max(balance, 0)
    assert all(lot.left_units >= 0 and lot.used_units >= 0 for lot in lots)
    untouched = [index for index, lot in enumerate(lots) if lot.left_units]
    first = untouched[0] if untouched else len(lots)
    assert all(lot.used_units == 0 for lot in lots[first + 1 :])
