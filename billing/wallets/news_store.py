"""Both servers, for news of accounts: `billing.wallets.news` filled in."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg import Connection

from billing.entitlements.quotas import Quota
from billing.wallets import hold_store
from billing.wallets.holds import Hold
from billing.wallets.keys import COUNTER_SECONDS, REMEMBER_SECONDS, ShardKeys
from billing.wallets.news import Base, News
from billing.wallets.ports import FencedError
from billing.wallets.quota_bases import QuotasPostgresPort, QuotasRedisPort, quotas_of
from billing.wallets.redis_port import open_holds
from billing.wallets.scripts import FENCED, NEWS

# in the order of the key, so that two shards that note the same accounts wait for each other
_NOTE: Final = """
INSERT INTO usage.account_news (account_id, token, noted_at)
SELECT id, gen_random_uuid(), %(now)s FROM billing.accounts
WHERE id = ANY (%(accounts)s) AND shard <> %(shard)s
ORDER BY id
ON CONFLICT (account_id) DO UPDATE SET token = excluded.token, noted_at = excluded.noted_at
"""
_OF_SHARD: Final = """
SELECT n.account_id, n.token, n.noted_at
FROM usage.account_news n JOIN billing.accounts a ON a.id = n.account_id
WHERE a.shard = %s ORDER BY n.account_id
"""
_FORGET: Final = """
DELETE FROM usage.account_news n USING unnest(%s::uuid[], %s::uuid[]) AS t (account_id, token)
WHERE n.account_id = t.account_id AND n.token = t.token
"""


def note_news(
    connection: Connection[Any], accounts: Collection[UUID], *, not_in: int, now: datetime
) -> None:
    """Have the shards of accounts told what the caller's transaction changes.

    Args:
        not_in: the shard whose journal says so; accounts that are there know it.
    """
    connection.execute(_NOTE, {"accounts": list(accounts), "shard": not_in, "now": now})


class NewsPostgresPort(QuotasPostgresPort):
    """A server, through a connection that is not inside a transaction."""

    def news(self, shard: int) -> list[News]:
        """Of the accounts that are in a shard."""
        rows = self.connection.execute(_OF_SHARD, [shard])
        return [News(account, token.hex, noted_at) for account, token, noted_at in rows]

    def forget_news(self, news: Sequence[News]) -> None:
        """Drop them, unless there was more meanwhile."""
        if news:
            accounts, tokens = [one.account_id for one in news], [UUID(one.token) for one in news]
            self.connection.execute(_FORGET, [accounts, tokens])

    def holds_to_tell(self, account: UUID, names: Sequence[str]) -> Mapping[str, Hold]:
        """An account's holds that are open, and what is known of these names."""
        return hold_store.holds_to_tell(self.connection, account, names)

    def account_quotas(self, account: UUID) -> list[Quota]:
        """Its quotas."""
        return [quota for _, quota in quotas_of(self.connection, account=account)]


class NewsRedisPort(QuotasRedisPort):
    """A server, through a blocking client."""

    def open_holds(self, keys: ShardKeys, account: UUID) -> list[str]:
        """Names of the account's holds that are open there."""
        return open_holds(self.redis, keys, account)

    def take_news(
        self,
        keys: ShardKeys,
        news: News,
        told: str,
        holds: Mapping[str, Hold],
        bases: Sequence[Base],
    ) -> bool:
        """Take all of it, if the account is here and nothing changed since it was looked at."""
        says = (
            list(holds.items()),
            [
                (
                    one.name,
                    "" if one.begins is None else str(one.begins),
                    "" if one.used is None else str(one.used),
                )
                for one in bases
            ],
        )
        answer = NEWS.call(
            self.redis,
            [keys.epoch_key, keys.stream, keys.gone, keys.told, keys.open_holds],
            [
                keys.epoch,
                news.account_id.hex,
                told,
                news.token,
                keys.holds,
                keys.wallets,
                keys.quotas,
                REMEMBER_SECONDS,
                COUNTER_SECONDS,
                msgspec.msgpack.encode(says),
            ],
        )
        if answer[0] == FENCED:
            raise FencedError("Redis is fenced off")
        return bool(answer[0])
