"""The shared fixtures keep tests apart."""

import psycopg
import pytest
import redis


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_a_migrated_database_of_its_own(database_url: str, turn: int) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select to_regclass('public.left_over')").fetchone()
        assert row == (None,)
        connection.execute("create table left_over ()")
        row = connection.execute("select to_regclass('billing.alembic_version')").fetchone()
        assert row is not None
        assert row[0] is not None


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_redis(redis_url: str, turn: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left_over", turn)
