"""Comparing wallets in both stores, and what follows when they do not agree."""

import pytest

from billing.usage.batch import START
from billing.wallets.audit import (
    SAME_TIMES,
    AuditCounts,
    Auditor,
    PostgresToAudit,
    RedisToAudit,
    row_debit,
)
from billing.wallets.card_loader import load_account
from billing.wallets.mirror import sync_wallets
from tests.billing.wallets.test_rebuild import Pair
from tests.billing.wallets.test_rebuild import pair as pair  # noqa: PLC0414 - a fixture
from tests.support.factories.usage import make_event, make_row


@pytest.fixture
def counts() -> AuditCounts:
    return AuditCounts()


@pytest.fixture
def auditor(pair: Pair, counts: AuditCounts) -> Auditor:
    books = PostgresToAudit(pair.connection, pair.clock)
    return Auditor(books, RedisToAudit(pair.redis), pair.keys, counts)


def drifts(pair: Pair) -> list[tuple[int, int, bool]]:
    rows = pair.connection.execute(
        "SELECT expected_units, found_units, settled_at IS NOT NULL FROM usage.wallet_drifts"
    )
    return [(said, found, settled) for said, found, settled in rows]


def is_frozen(pair: Pair) -> bool:
    from sqlalchemy.orm import Session

    with Session(pair.engine) as session:
        account = load_account(session, pair.sender.account.id)
        assert account is not None
        return account.standing.is_frozen


def test_wallets_agree_at_any_cut(pair: Pair, auditor: Auditor, counts: AuditCounts) -> None:
    pair.pay(1, "early")
    pair.admit("a")
    auditor.check()  # an adjustment that Redis lacks, an entry that PostgreSQL lacks
    sync_wallets(pair.books, pair.there, pair.keys)
    auditor.check()
    pair.write()
    pair.admit("b", "c")
    for _ in range(SAME_TIMES):
        auditor.check()

    assert drifts(pair) == []
    assert counts.checked == 2 + SAME_TIMES
    assert counts.drifts == 0


def test_a_drift_is_noted_once_and_freezes_the_wallet_until_redis_is_made_anew(
    pair: Pair, auditor: Auditor, counts: AuditCounts
) -> None:
    pair.admit("a")
    pair.write()
    pair.redis.hincrby(pair.keys.wallet(pair.wallet_id), "bal", 7)
    for _ in range(SAME_TIMES - 1):
        auditor.check()
    assert not is_frozen(pair)
    pair.admit("b")
    auditor.check()
    auditor.check()

    assert drifts(pair) == [(-10, -3, False)]
    assert counts.drifts == 1
    assert is_frozen(pair)

    pair.rebuild()
    assert drifts(pair) == [(-10, -3, True)]
    assert not is_frozen(pair)


def test_a_difference_that_goes_away_is_no_drift(pair: Pair, auditor: Auditor) -> None:
    name = pair.keys.wallet(pair.wallet_id)
    for _ in range(SAME_TIMES):
        pair.redis.hincrby(name, "bal", 7)
        auditor.check()
    pair.redis.hincrby(name, "bal", -7 * SAME_TIMES)
    for _ in range(SAME_TIMES):
        auditor.check()

    assert drifts(pair) == []


def test_too_long_a_queue_is_passed_over(pair: Pair, auditor: Auditor, counts: AuditCounts) -> None:
    for number in range(201):
        pair.admit(f"event-{number}")
    auditor.check()

    assert counts.passed_over == 1
    assert pair.cursor == START


def test_the_debit_of_a_row_is_read_without_reading_the_row(pair: Pair) -> None:
    row = make_row(pair.sender, make_event("a", pair.sender.account.id), 12)
    assert row_debit(row) == (pair.wallet_id, 12)
