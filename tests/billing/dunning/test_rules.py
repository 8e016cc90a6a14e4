"""Which steps are due: each once, and never several letters on one day."""

from datetime import date, timedelta

import pytest

from billing.customers.tables import Customer
from billing.dunning.letters import Letter, letter
from billing.dunning.rules import Step, steps_due
from billing.dunning.tables import DunningAction
from billing.invoices.tables import Invoice

DUE = date(2026, 7, 15)
REMIND, SUSPEND = DunningAction.REMIND, DunningAction.SUSPEND
STEPS = [
    Step(30, SUSPEND),
    Step(-3, REMIND),
    Step(1, DunningAction.CHARGE),
    Step(1, REMIND),
    Step(7, REMIND),
]


@pytest.mark.parametrize(
    ("day", "due", "passed_over"),
    [
        (-4, [], []),
        (-3, [-3], []),
        (0, [-3], []),
        (1, [1, 1], [-3]),
        (29, [1, 7], [-3, 1]),
        (30, [1, 7, 30], [-3, 1]),
    ],
)
def test_what_is_due_on_a_day_if_nothing_was_done_before(
    day: int, due: list[int], passed_over: list[int]
) -> None:
    found = steps_due(STEPS, DUE, DUE + timedelta(days=day), ())
    assert ([step.day for step in found[0]], [step.day for step in found[1]]) == (due, passed_over)


def test_day_by_day_every_step_is_taken_once() -> None:
    taken: set[tuple[int, DunningAction]] = set()
    order = []
    for day in range(-10, 60):
        due, passed_over = steps_due(STEPS, DUE, DUE + timedelta(days=day), taken)
        assert not passed_over
        order += [(day, step.action) for step in due]
        taken |= {step.key for step in due}
    assert order == sorted(((s.day, s.action) for s in STEPS), key=lambda one: one[0])


def test_words_are_filled_in_once_and_nothing_else_is_read() -> None:
    customer = Customer(name="{number} {0.__class__} %s")
    invoice = Invoice(
        number="INV-1", due_date=DUE, currency="INR", total_minor=118000050, settled_minor=50
    )
    words = Letter("{number}: {days_late} days", "{customer}: {currency} {outstanding} {unknown}")

    found = letter(words, invoice, customer, DUE + timedelta(days=9))

    assert found.subject == "INV-1: 9 days"
    assert found.body == "{number} {0.__class__} %s: INR 11,80,000.00 {unknown}"
