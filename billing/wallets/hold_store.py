"""Holds as PostgreSQL has them: a copy of those in Redis up to the cursor, or in direct mode all.

They are written in the transaction that moves the cursor, from the same journal entries as events.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from psycopg import Connection

from billing.usage.batch import JournalEntry
from billing.usage.event import microseconds
from billing.wallets.hold_book import Funds, HoldBook, names_in
from billing.wallets.holds import (
    Asked,
    Hold,
    HoldAnswer,
    HoldState,
    Verdict,
    from_ms,
    read_changes,
    to_ms,
)
from billing.wallets.keys import REMEMBER_SECONDS
from billing.wallets.news import KEPT
from billing.wallets.quota_bases import used_so_far

logger = structlog.get_logger(__name__)

_COLUMNS: Final = (
    "name, account_id, wallet_id, state, amount_units, body_hash, balance_units, available_units, "
    "verdict, quotas, created_at, expires_at, resolved_at"
)

# An entry of a journal that direct mode left behind may come after what was decided there: of two
# holds of one name the later one counts, and of one hold its end.
_WRITE: Final = f"""
INSERT INTO usage.holds AS old ({_COLUMNS})
SELECT {_COLUMNS} FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::text[], %s::bigint[],
    %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::jsonb[], %s::timestamptz[],
    %s::timestamptz[], %s::timestamptz[]) AS t ({_COLUMNS})
ORDER BY name
ON CONFLICT (name) DO UPDATE SET
    wallet_id = excluded.wallet_id, state = excluded.state, amount_units = excluded.amount_units,
    body_hash = excluded.body_hash, balance_units = excluded.balance_units,
    available_units = excluded.available_units, verdict = excluded.verdict,
    quotas = excluded.quotas, created_at = excluded.created_at, expires_at = excluded.expires_at,
    resolved_at = excluded.resolved_at
WHERE %s OR excluded.created_at > old.created_at
    OR (excluded.created_at = old.created_at AND old.state = 'open')
"""
_CAPTURE: Final = """
UPDATE usage.holds h SET state = 'captured', resolved_at = t.at
FROM unnest(%s::text[], %s::timestamptz[]) AS t (name, at)
WHERE h.name = t.name AND h.state = 'open'
RETURNING h.name
"""
# The hold may be in a journal that is applied later: one that direct mode left, or another shard's.
_NOTE: Final = """
INSERT INTO usage.holds (name, account_id, state, amount_units, body_hash, balance_units,
    available_units, verdict, quotas, created_at, expires_at, resolved_at)
SELECT name, substr(name, 1, 32)::uuid, 'captured', 0, '', 0, 0, 'none', '[]', at, at, at
FROM unnest(%s::text[], %s::timestamptz[]) AS t (name, at)
ORDER BY name
ON CONFLICT (name) DO NOTHING
"""
_EXPIRE: Final = """
UPDATE usage.holds SET state = 'expired', resolved_at = %(now)s
WHERE account_id = ANY (%(accounts)s) AND state = 'open' AND expires_at <= %(now)s
"""
_NAMED: Final = f"""
SELECT {_COLUMNS} FROM usage.holds
WHERE name = ANY (%(names)s) AND (state = 'open' OR resolved_at >= %(since)s)
"""
_OF_SHARD: Final = f"""
SELECT {_COLUMNS} FROM usage.holds h
WHERE (state = 'open' OR resolved_at >= %(since)s)
    AND EXISTS (SELECT 1 FROM billing.accounts a WHERE a.id = h.account_id AND a.shard = %(shard)s)
"""
_OF_ACCOUNT: Final = f"""
SELECT {_COLUMNS} FROM usage.holds
WHERE account_id = %(account)s AND (state = 'open' OR resolved_at >= %(since)s)
"""
_TO_TELL: Final = f"""
SELECT {_COLUMNS} FROM usage.holds
WHERE (account_id = %(account)s AND state = 'open') OR name = ANY (%(names)s)
"""
_FORGET: Final = """
DELETE FROM usage.holds h USING billing.accounts a
WHERE h.resolved_at < %(since)s AND a.id = h.account_id AND a.shard = %(shard)s AND NOT EXISTS (
    SELECT 1 FROM usage.account_news n WHERE n.account_id = a.id AND n.noted_at > %(told_since)s)
"""
_FUNDS: Final = """
SELECT w.id, w.balance_units, w.credit_line_units, (
    SELECT coalesce(sum(h.amount_units), 0)::bigint FROM usage.holds h
    WHERE h.account_id = w.account_id AND h.state = 'open' AND h.wallet_id = w.id)
FROM billing.wallets w WHERE w.id = ANY (%s)
"""
_ELSEWHERE: Final = "SELECT id FROM billing.accounts WHERE id = ANY (%s) AND shard <> %s"
_IN_QUOTAS: Final = """
SELECT quota ->> 0, sum((quota ->> 1)::bigint)::bigint
FROM usage.holds h CROSS JOIN LATERAL jsonb_array_elements(h.quotas) AS quota
WHERE h.account_id = ANY (%s) AND h.state = 'open' GROUP BY 1
"""


def record_holds(connection: Connection[Any], entries: Iterable[JournalEntry]) -> set[UUID]:
    """Write down what became of holds, within the caller's transaction; gives whose they are."""
    changed: dict[str, Hold] = {}
    captured: dict[str, int] = {}
    for entry in entries:
        try:
            changes = read_changes(entry.holds)
        except msgspec.MsgspecError:
            logger.exception("holds of an entry cannot be read", position=str(entry.position))
            continue
        for name, change in changes:
            if isinstance(change, Hold):
                changed[name] = change
            elif name not in changed:
                captured.setdefault(name, change)
            elif changed[name].state is HoldState.OPEN:
                changed[name] = msgspec.structs.replace(
                    changed[name], state=HoldState.CAPTURED, resolved_ms=change
                )
    if captured:
        instants = [from_ms(at) for at in captured.values()]
        found = {name for (name,) in connection.execute(_CAPTURE, [list(captured), instants])}
        unknown = {name: from_ms(at) for name, at in captured.items() if name not in found}
        if unknown:
            connection.execute(_NOTE, [list(unknown), list(unknown.values())])
    _write(connection, changed, is_last_word=False)
    return {UUID(hex=name[:32]) for name in captured.keys() | changed.keys()}


def holds_of_shard(connection: Connection[Any], shard: int, now: datetime) -> dict[str, Hold]:
    """All that are open or remembered, of accounts that are in this shard."""
    return _read(connection, _OF_SHARD, now, shard=shard)


def holds_of_account(connection: Connection[Any], account: UUID, now: datetime) -> dict[str, Hold]:
    """All of an account that are open or remembered."""
    return _read(connection, _OF_ACCOUNT, now, account=account)


def holds_to_tell(
    connection: Connection[Any], account: UUID, names: Sequence[str]
) -> dict[str, Hold]:
    """An account's holds that are open, and what is known of these names."""
    rows = connection.execute(_TO_TELL, {"account": account, "names": list(names)})
    return {row[0]: _hold(row) for row in rows}


def forget_holds(connection: Connection[Any], shard: int, now: datetime) -> None:
    """Drop those that ended long enough ago, unless the account's shard is to be told of them."""
    values = {"since": _remembered_since(now), "shard": shard, "told_since": now - KEPT}
    connection.execute(_FORGET, values)


def funds_of(connection: Connection[Any], wallets: Iterable[UUID]) -> dict[str, Funds]:
    """What wallets hold, by their ids in hex."""
    return {
        wallet.hex: Funds(balance, held, -credit_line)
        for wallet, balance, credit_line, held in connection.execute(_FUNDS, [list(wallets)])
    }


def decide(
    connection: Connection[Any], shard: int, asked: Sequence[Asked], now: datetime
) -> list[HoldAnswer]:
    """Answers of PostgreSQL alone.

    The caller's transaction holds the shard's row, in direct mode.
    """
    names, wallets, quotas = names_in(asked)
    accounts = {UUID(hex=name[:32]) for name in names}
    connection.execute(_EXPIRE, {"accounts": list(accounts), "now": now})
    known = _read(connection, _NAMED, now, names=list(names))
    funds = funds_of(connection, (UUID(hex=wallet) for wallet in wallets))
    elsewhere = {one.hex for (one,) in connection.execute(_ELSEWHERE, [list(accounts), shard])}
    uses: dict[str, int] = {}
    if quotas:
        uses = used_so_far(connection, accounts, quotas, microseconds(now))
        for quota, held in connection.execute(_IN_QUOTAS, [list(accounts)]):
            uses[quota] = uses.get(quota, 0) + held
    book = HoldBook(funds, uses, known)
    answers = [
        HoldAnswer(Verdict.MOVED, 0, 0)
        if one[1][:32] in elsewhere
        else book.answer(one, to_ms(now))
        for one in asked
    ]
    changed = {name: book.known[name] for name in book.changed}
    _write(connection, changed, is_last_word=True)
    return answers


def _read(
    connection: Connection[Any], query: str, now: datetime, **values: object
) -> dict[str, Hold]:
    values["since"] = _remembered_since(now)
    rows = connection.execute(query, values)
    return {row[0]: _hold(row) for row in rows if row[5]}


def _remembered_since(now: datetime) -> datetime:
    return now - timedelta(seconds=REMEMBER_SECONDS)


def _hold(row: Sequence[Any]) -> Hold:
    _, _, wallet, state, amount, body_hash, balance, left, verdict, quotas, *instants = row
    created, expires, resolved = (0 if one is None else to_ms(one) for one in instants)
    return Hold(
        HoldState(state), amount, created, expires, resolved, body_hash,
        wallet.hex if wallet else "", balance, left, Verdict(verdict),
        tuple((name, quantity) for name, quantity in quotas),
    )  # fmt: skip


def _write(connection: Connection[Any], holds: Mapping[str, Hold], *, is_last_word: bool) -> None:
    if not holds:
        return
    rows = [
        (
            name,
            UUID(hex=name[:32]),
            UUID(hex=one.wallet) if one.wallet else None,
            one.state.value,
            one.amount,
            one.body_hash,
            one.balance,
            one.available,
            one.verdict.value,
            json.dumps(one.quotas),
            one.created_at,
            one.expires_at,
            one.resolved_at,
        )
        for name, one in holds.items()
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    connection.execute(_WRITE, [*columns, is_last_word])
