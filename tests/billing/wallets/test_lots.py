"""Lots: first in, first out, whatever was used, granted and refunded."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from billing.wallets.lots import Inflow, lots_after
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
