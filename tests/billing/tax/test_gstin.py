"""Registration numbers: normal form, shape, State, check digit."""

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from billing.tax.gstin import (
    NumberKind,
    NumberStatus,
    check_character,
    normalise,
    parse,
)
from billing.tax.rules import states

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "gst-vectors.json").read_text(encoding="utf-8")
)["gstin"]
KIND_OF_VECTOR = {
    "regular": NumberKind.REGULAR,
    "composition": NumberKind.REGULAR,
    "isd": NumberKind.REGULAR,
    "sez_developer": NumberKind.REGULAR,
    "tcs_operator": NumberKind.TCS,
    "tds_deductor": NumberKind.TDS,
    "uin_un_body": NumberKind.UIN,
    "uin_embassy": NumberKind.UIN,
}
REASON_OF_VECTOR = {
    "27AAPFU0939F1ZVA": "length",
    "": "empty",
    "369296450896540": "shape",
    "012345678901236": "shape",
    "02AMBPG7773M002": "shape",
    "39AAACT1234C1ZS": "state",
    "00AAACT1234C1ZD": "state",
    "00AABCE2207R1Z5": "state",
    "29AAACT0000C1Z7": "pan_serial",
    "29AAAXT1234C1ZM": "pan_holder",
    "URP": "placeholder",
}
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@st.composite
def regular_numbers(draw: st.DrawFn) -> str:
    letters = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    state = draw(st.sampled_from(sorted(code for code in states() if code not in {"25", "28"})))
    pan = (
        "".join(draw(st.lists(letters, min_size=3, max_size=3)))
        + draw(st.sampled_from("ABCFGHJLPT"))
        + draw(letters)
        + f"{draw(st.integers(1, 9999)):04d}"
        + draw(letters)
    )
    body = f"{state}{pan}{draw(st.sampled_from('123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'))}Z"
    return body + check_character(body)


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: case["gstin"])
def test_a_public_number_is_valid_and_its_family_is_known(case: dict[str, str]) -> None:
    number = parse(case["gstin"])
    assert number.status is NumberStatus.VALID, number.reasons
    assert number.kind is KIND_OF_VECTOR[case["kind"]]
    assert number.state_code == case["state_code"]
    if "pan" in case:
        assert number.pan == case["pan"]


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: case["value"] or "empty")
def test_a_wrong_number_is_refused_for_its_reason(case: dict[str, str]) -> None:
    number = parse(case["value"])
    expected = REASON_OF_VECTOR.get(case["value"], "check_character")
    assert expected in {reason.code for reason in number.reasons}
    only_doubtful = expected == "pan_holder"
    assert number.is_usable is only_doubtful


@pytest.mark.parametrize("case", VECTORS["disputed"], ids=lambda case: case["value"])
def test_an_unusual_fourteenth_character_is_accepted_with_a_warning(case: dict[str, str]) -> None:
    number = parse(case["value"])
    assert number.status is NumberStatus.VALID_WITH_WARNING
    assert [reason.code for reason in number.reasons] == ["place_14"]


def test_the_worked_example_gives_its_check_character() -> None:
    example = VECTORS["worked_example"]
    assert check_character(example["body"]) == example["check"]


def test_a_wrong_check_character_is_named_with_the_right_one() -> None:
    assert "should be V" in parse("27AAPFU0939F1ZO").reasons[0].message


def test_blanks_hyphens_and_case_do_not_matter() -> None:
    assert parse(" 27-aapfu 0939f\t1zv ") == parse("27AAPFU0939F1ZV")


def test_nothing_given_means_unregistered() -> None:
    assert parse("  ").is_absent
    assert not parse("URP").is_absent


def test_a_sandbox_number_passes_only_where_it_is_allowed() -> None:
    assert not parse("02AMBPG7773M002").is_usable
    number = parse("02AMBPG7773M002", allow_sandbox=True)
    assert number.status is NumberStatus.VALID_WITH_WARNING
    assert number.kind is NumberKind.SANDBOX


def test_a_retired_state_code_is_usable_with_a_warning() -> None:
    body = "25AAACT1234C1Z"
    number = parse(body + check_character(body))
    assert [reason.code for reason in number.reasons] == ["retired_state"]


def test_other_families_are_recognised() -> None:
    for body, kind in [
        ("9919USA29027OS", NumberKind.OIDAR),
        ("2919USA29027NR", NumberKind.NON_RESIDENT),
    ]:
        number = parse(body + check_character(body))
        assert (number.kind, number.status) == (kind, NumberStatus.VALID)


@given(regular_numbers(), st.integers(0, 14), st.sampled_from(ALPHABET))
def test_changing_any_one_character_is_noticed(number: str, place: int, other: str) -> None:
    assert parse(number).status is NumberStatus.VALID
    assume(number[place] != other)
    changed = number[:place] + other + number[place + 1 :]
    assert not parse(changed).is_usable


@given(st.text(max_size=20))
def test_any_text_gets_an_answer(text: str) -> None:
    number = parse(text)
    assert number.value == normalise(text)
    assert number.is_usable or number.reasons
