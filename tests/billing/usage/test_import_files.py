"""Reading event files: every row is read or refused for itself, whatever the file holds."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from billing.errors import InvalidError
from billing.usage.event import EventCheck
from billing.usage.imports.check import Checked, check_row
from billing.usage.imports.columns import Columns
from billing.usage.imports.error_file import ErrorFile, Refusal
from billing.usage.imports.rows import open_source

NOW = datetime(2026, 7, 15, 4, 30, tzinfo=UTC)
ACCOUNT = "0197f3a0-0000-7000-8000-000000000001"
HEADER = "source,event_id,event_type,occurred_at,account_id,quantity,country,status"
GOOD = f"core,e1,otp.sms,2026-07-14T10:00:00+05:30,{ACCOUNT},2,IN,delivered"


def checked(file: Path, columns: Columns | None = None) -> list[Checked]:
    columns = columns or Columns({}, {})
    source = open_source(file)
    if source.columns is not None:
        columns.require(source.columns)
    check = EventCheck(NOW)
    return [check_row(row, columns, check) for row in source.rows()]


def problems(rows: list[Checked]) -> list[tuple[int, str]]:
    return [(one.row.line, one.problems[0].field) for one in rows if one.problems]


def write(path: Path, *lines: str | bytes, end: bytes = b"\n") -> Path:
    path.write_bytes(
        b"".join((line.encode() if isinstance(line, str) else line) + end for line in lines)
    )
    return path


def test_a_byte_order_mark_quotes_and_line_ends_of_windows_are_no_part_of_the_values(
    tmp_path: Path,
) -> None:
    quoted = GOOD.replace("core", '"core"').replace("IN", '"I""N, of course"')
    file = write(tmp_path / "a.csv", b"\xef\xbb\xbf" + HEADER.encode(), quoted, end=b"\r\n")

    (one,) = checked(file)

    assert one.event is not None
    assert one.event.source == "core"
    assert one.event.dimensions == {"country": 'I"N, of course', "status": "delivered"}
    assert one.event.quantity == Decimal(2)


def test_a_cell_may_hold_line_ends_and_the_lines_after_it_keep_their_numbers(
    tmp_path: Path,
) -> None:
    several = GOOD.replace("delivered", '"deli\nvered"')
    file = write(tmp_path / "a.csv", HEADER, several, "", GOOD.replace("e1", "not/an/id"))

    first, second = checked(file)

    assert first.event is not None
    assert first.event.dimensions["status"] == "deli\nvered"
    assert problems([second]) == [(5, "event_id")]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (GOOD + ",more", "row"),
        (GOOD.rpartition(",")[0], "row"),
        (GOOD.replace(",2,", ",two,"), "quantity"),
        (GOOD.replace(",2,", ",-2,"), "quantity"),
        (GOOD.replace(",2,", ",1e3,"), "quantity"),
        (GOOD.replace("2026-07-14T10:00:00+05:30", "14/07/2026"), "occurred_at"),
        (GOOD.replace("+05:30", ""), "occurred_at"),
        (GOOD.replace("2026", "2025"), "occurred_at"),
        (GOOD.replace("otp.sms", ""), "event_type"),
        (GOOD.replace("IN", "\x00"), "dimensions.country"),
        (GOOD.encode().replace(b"IN", b"\xff"), "row"),
        (GOOD.replace("core", '"core"x'), "row"),
    ],
)
def test_a_wrong_row_is_refused_by_its_line_and_field_and_the_next_one_read(
    tmp_path: Path, line: str | bytes, field: str
) -> None:
    rows = checked(write(tmp_path / "a.csv", HEADER, line, GOOD))

    assert problems(rows) == [(2, field)]
    assert rows[-1].event is not None


def test_a_quote_that_never_closes_takes_its_rows_into_the_error_file_and_no_further(
    tmp_path: Path,
) -> None:
    torn = GOOD.replace("core", '"core')
    rows = checked(write(tmp_path / "a.csv", HEADER, GOOD, torn, GOOD.replace("e1", "e2")))

    assert problems(rows) == [(3, "row")]
    assert "e2" in rows[1].row.raw


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (HEADER.replace("source,", ""), "No column says source"),
        (HEADER.replace("account_id", "customer"), "not known what these columns say: customer"),
        (HEADER.replace("quantity", "country"), "More than one column"),
        ("", "is empty"),
    ],
)
def test_columns_that_can_make_no_event_are_refused_before_the_first_row(
    tmp_path: Path, header: str, said: str
) -> None:
    with pytest.raises(InvalidError, match=said):
        checked(write(tmp_path / "a.csv", header, GOOD))


def test_columns_are_mapped_set_and_ignored_as_told(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv",
        "id,when,merchant,mcc,note",
        "e1,2026-07-14 10:00:00,kaveri,404,whatever",
    )
    columns = Columns(
        {
            "event_id": "id",
            "occurred_at": "when",
            "alias": "merchant",
            "dimensions.mcc": "mcc",
        },
        {"source": "history", "event_type": "otp.sms"},
        ["note"],
        "Asia/Kolkata",
    )

    (one,) = checked(file, columns)

    assert one.event is not None
    assert (one.event.source, one.event.account, one.event.by_alias) == ("history", "kaveri", True)
    assert one.event.occurred_at == datetime(2026, 7, 14, 4, 30, tzinfo=UTC)
    assert one.event.dimensions == {"mcc": "404"}


def test_numbers_of_json_lines_never_become_floats(tmp_path: Path) -> None:
    event = (
        f'{{"source": "core", "event_id": "e1", "event_type": "otp.sms", "account_id": "{ACCOUNT}",'
        '"occurred_at": "2026-07-14T10:00:00Z", "quantity": 0.1, "cost": 12345678.000001,'
        '"dimensions": {"country": "IN"}}'
    )
    bad = [
        event.replace('"quantity": 0.1', '"quantity": 1, "quantity": 2'),
        event[:-5],
        "[1]",
        event.replace("0.1", "NaN"),
        event.replace("quantity", "count"),
        '{"a":' * 100_000,
    ]
    rows = checked(write(tmp_path / "a.jsonl", event, "", *bad))

    assert rows[0].event is not None
    assert rows[0].event.quantity == Decimal("0.1")
    assert rows[0].event.cost == Decimal("12345678.000001")
    assert problems(rows) == [
        (3, "row"),
        (4, "row"),
        (5, "row"),
        (6, "quantity"),
        (7, "count"),
        (8, "row"),
    ]


def _frame(**other: object) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "source": ["core"],
            "event_id": [17],
            "event_type": ["otp.sms"],
            "occurred_at": [datetime(2026, 7, 14, 4, 30, tzinfo=UTC)],
            "account_id": [ACCOUNT],
            "quantity": [Decimal("2.50")],
            "dimensions": [{"country": "IN", "route": None}],
            **other,
        }
    )


def test_parquet_keeps_decimals_and_instants_exactly(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    _frame().write_parquet(file)

    (one,) = checked(file)

    assert one.event is not None
    assert one.event.event_id == "17"
    assert one.event.quantity == Decimal("2.5")
    assert one.event.occurred_at == datetime(2026, 7, 14, 4, 30, tzinfo=UTC)
    assert one.event.dimensions == {"country": "IN"}


def test_parquet_with_floating_point_amounts_is_refused_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    _frame(quantity=[0.1]).write_parquet(file)

    with pytest.raises(InvalidError, match=r"floating point.*quantity"):
        checked(file)


def test_a_torn_parquet_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    _frame().write_parquet(file)
    file.write_bytes(file.read_bytes()[:-20])

    with pytest.raises(InvalidError, match="no Parquet file that can be read"):
        checked(file)


def test_parquet_that_is_damaged_inside_is_read_up_to_the_damage(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pl.concat([_frame()] * 100).write_parquet(file, row_group_size=10)
    content = bytearray(file.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 200] = b"\xff" * 200
    file.write_bytes(content)

    with pytest.raises(InvalidError, match="cannot be read after row"):
        checked(file)


def test_the_error_file_holds_no_formula_and_forgets_what_was_never_noted(tmp_path: Path) -> None:
    rows = checked(write(tmp_path / "a.csv", HEADER, "=cmd|' /C calc'!A0"))
    refusal = Refusal(rows[0].row, rows[0].problems[0])
    path = tmp_path / "errors.csv"
    errors = ErrorFile(path, 0)
    errors.write([refusal])
    noted = errors.size
    errors.write([refusal])

    ErrorFile(path, noted).write([])

    text = path.read_text("utf-8-sig")
    assert text.splitlines() == [
        "line,field,message,row",
        "2,row,\"has 1 cells, not 8\",'=cmd|' /C calc'!A0",
    ]


def test_an_error_file_never_overwrites_another_file(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.csv", "precious")

    with pytest.raises(InvalidError, match="holds something else"):
        ErrorFile(mine, 0)

    assert mine.read_text() == "precious\n"
