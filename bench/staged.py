"""The yardstick: what this PostgreSQL takes in by staged COPY, with the same rows and no wallet."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg

from bench.traffic import Template
from billing.ids import new_id
from billing.usage.body import read_events
from billing.usage.event import EventCheck, UsageEvent
from billing.usage.row import COLUMNS, COPY_HEAD, COPY_TAIL, encode_row, row_head, uuid_field

_BATCH = 5_000
_TYPES = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)
_NAMES = ", ".join(name for name, _ in COLUMNS)


def staged_copy_rate(database_url: str, templates: Sequence[Template], seconds: float) -> float:
    """Rows a second: binary COPY into a temporary stage, INSERT … ON CONFLICT DO NOTHING."""
    table = "public.bench_staged"
    pieces = _pieces(templates, int(seconds * 200_000))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute(f"CREATE TABLE {table} ({_TYPES}, PRIMARY KEY (source, event_id))")
        connection.execute(f"CREATE TEMP TABLE stage_bench ({_TYPES}) ON COMMIT DELETE ROWS")
        start, rows = time.perf_counter(), 0
        for piece in pieces:
            with connection.transaction(), connection.cursor() as cursor:
                with cursor.copy(f"COPY stage_bench ({_NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
                    copy.write(piece)
                cursor.execute(
                    f"INSERT INTO {table} SELECT * FROM stage_bench ON CONFLICT DO NOTHING"
                )
                rows += cursor.rowcount
            if time.perf_counter() - start > seconds:
                break
        elapsed = time.perf_counter() - start
        connection.execute(f"DROP TABLE {table}")
    return rows / elapsed


def _pieces(templates: Sequence[Template], most: int) -> list[bytes]:
    """COPY streams, encoded ahead so that only the server is measured."""
    check = EventCheck(datetime.now(UTC))
    head, rate = row_head(new_id(), new_id()), uuid_field(new_id())
    pieces: list[bytes] = []
    number = 0
    while len(pieces) * _BATCH < most:
        rows: list[bytes] = []
        while len(rows) < _BATCH:
            number += 1
            template = templates[number % len(templates)]
            body = template.request(number)[len(template.head) :]
            for event in read_events(body, check)[0]:
                assert isinstance(event, UsageEvent)
                rows.append(encode_row(head, rate, 120_000, event))
        pieces.append(COPY_HEAD + b"".join(rows) + COPY_TAIL)
    return pieces
