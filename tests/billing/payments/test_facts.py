"""What gateways say, in any order and number, comes to one picture."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from billing.payments.facts import DisputeState, Fact, FactKind, PaymentStatus, fold

_NAMES = st.sampled_from(["pay_1", "pay_2", None])
_FACTS = st.builds(
    Fact,
    kind=st.sampled_from(FactKind),
    provider_payment_id=_NAMES,
    amount_minor=st.integers(1, 500) | st.none(),
    currency=st.sampled_from(["INR", "USD", None]),
    refund_id=st.sampled_from(["rfnd_1", "rfnd_2", None]),
    detail=st.sampled_from(["upi", "no answer", None]),
)


@given(st.lists(_FACTS, max_size=12), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(facts: list[Fact], random: object) -> None:
    told_again = facts + facts[: len(facts) // 2]
    random.shuffle(told_again)  # type: ignore[attr-defined]

    assert fold(told_again, "INR") == fold(facts, "INR")


@given(st.lists(_FACTS, max_size=12))
def test_never_more_goes_back_than_came_in(facts: list[Fact]) -> None:
    picture = fold(facts, "INR")

    assert 0 <= picture.refunded_minor <= picture.captured_minor


@given(_FACTS)
def test_a_fact_is_kept_as_it_was(fact: Fact) -> None:
    assert Fact.from_dict(fact.to_dict()) == fact


def test_every_order_of_a_whole_life_ends_in_the_same_state() -> None:
    life = [
        Fact(FactKind.PENDING, "pay_1"),
        Fact(FactKind.FAILED, "pay_1", detail="The bank did not answer"),
        Fact(FactKind.AUTHORISED, "pay_1"),
        Fact(FactKind.CAPTURED, "pay_1", 11800, "INR"),
        Fact(FactKind.REFUNDED, "pay_1", 1800, "INR", "rfnd_1"),
        Fact(FactKind.DISPUTED, "pay_1"),
        Fact(FactKind.DISPUTE_WON, "pay_1"),
    ]
    pictures = [fold(order, "INR") for order in permutations(life)]

    assert all(picture == pictures[0] for picture in pictures)
    assert pictures[0].status is PaymentStatus.CAPTURED
    assert (pictures[0].captured_minor, pictures[0].refunded_minor) == (11800, 1800)
    assert pictures[0].dispute is DisputeState.WON


def test_money_in_another_currency_is_named_and_not_counted() -> None:
    picture = fold([Fact(FactKind.CAPTURED, "pay_1", 11800, "USD")], "INR")

    assert picture.captured_minor == 0
    assert picture.status is PaymentStatus.CREATED
    assert picture.strangers == {"USD"}


def test_a_refund_that_failed_did_not_go_back() -> None:
    facts = [
        Fact(FactKind.CAPTURED, "pay_1", 500, "INR"),
        Fact(FactKind.REFUND_FAILED, "pay_1", refund_id="rfnd_1"),
        Fact(FactKind.REFUNDED, "pay_1", 200, "INR", "rfnd_1"),
    ]

    assert fold(facts, "INR").refunded_minor == 0
