"""Three months of a plan that has everything, each line worked out again by hand.

The story is told through the API: a trial, two decks of prices, an agreed price, a late event, an
amendment and one taken back, an upgrade, a pause, a migration, more seats. What each line must come
to stands here in figures from the plans of `every_feature.py`, and in no rule of the product.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from billing.clock import ManualClock
from billing.db.unit_of_work import unit_of_work
from billing.periods import month_of
from billing.subscriptions.periods import make_periods
from invoicing.assemble import draft_invoices
from orchestration.lib.rating_runs import open_rating_run
from tests.scenarios.every_feature import (
    BY_JIO,
    DECEMBER,
    INDIA,
    NOVEMBER,
    OCTOBER,
    PLUS_LATER,
    WINTER,
    Agreed,
    Sender,
    agree,
    local,
    publish,
    publish_deck,
)
from tests.scenarios.other_interval import (
    ASKED,
    DECEMBER_LINES,
    KEPT,
    NOVEMBER_LINES,
    OCTOBER_LINES,
    Mover,
)
from tests.support.api import Api, whole_api
from tests.support.dbt import DbtProjectRunner
from tests.support.postgres import fresh_database
from tests.support.rating import RATING_MODELS, rating_vars

pytestmark = pytest.mark.timeout(1200)

Lines = dict[str, Decimal]
"""Amounts before tax, by first day, charge and rate of the line."""
AFTER = timedelta(microseconds=1)


@dataclass
class Story:
    """What the account was billed, as the API said it."""

    mover: Mover
    months: dict[date, Lines] = field(default_factory=dict)
    taxable: dict[date, int] = field(default_factory=dict)
    refs: list[str] = field(default_factory=list)
    explained: Lines = field(default_factory=dict)
    """What each line came to when it was worked out again at the end, by its whole name."""
    kinds: list[str] = field(default_factory=list)
    upgrade_difference: int = 0
    pocket_asked: list[str] = field(default_factory=list)
    pocket: Lines = field(default_factory=dict)
    paid_by: dict[str, Decimal] = field(default_factory=dict)
    """What the pocket's lots gave for October; credits for SMS alone are a lot of the invoice."""
    pocket_left: Decimal = Decimal(0)


@dataclass
class Teller:
    """Lets the time go on and closes months."""

    api: Api
    url: str
    dbt: DbtProjectRunner
    clock: ManualClock

    def now(self, *when: int, **year: int) -> None:
        self.clock.instant = local(*when, **year).astimezone(UTC)

    def close(self, month: date) -> None:
        with unit_of_work(self.api.engine) as session:
            make_periods(session, month_of(month).end + timedelta(days=1))
            run = open_rating_run(session, month, "scenario", self.clock)
        self.dbt.build(self.url, RATING_MODELS, rating_vars(run))
        with unit_of_work(self.api.engine) as session:
            draft_invoices(session, month, run.id, self.clock)

    def issue(self, month: date, account: str) -> dict[str, Any]:
        (draft,) = (
            one
            for one in self.api.get("/invoices", params={"invoice_month": month.isoformat()})
            if one["relationships"]["account"]["id"] == account
        )
        assert draft["attributes"]["review_state"] != "parked", draft
        self.api.post(f"/invoices/{draft['id']}/approve")
        found: dict[str, Any] = self.api.get(f"/invoices/{draft['id']}")
        return found


def lines_of(invoice: dict[str, Any]) -> Lines:
    rows = invoice["attributes"]["lines"]
    found = {row["line_ref"].split(":", 2)[2]: Decimal(row["amount_minor"]) / 100 for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def story(postgres_server: str, template_database: str, dbt: DbtProjectRunner) -> Iterator[Story]:
    clock = ManualClock(local(9, 28).astimezone(UTC))
    with (
        fresh_database(postgres_server, template_database) as url,
        whole_api(url, clock) as api,
    ):
        teller = Teller(api, url, dbt, clock)
        agreed = agree(api)
        sender = Sender(api, agreed.account)
        told = Story(Mover(api))
        told.mover.agree()
        _october(teller, agreed, sender, told)
        _november(teller, agreed, sender, told)
        _december(teller, agreed, sender, told)
        changes = api.get(f"/subscriptions/{agreed.subscription}/changes")
        told.kinds = [change["attributes"]["kind"] for change in changes]
        for ref in told.refs:
            found = api.get(f"/invoice-lines/{ref}/explanation")["attributes"]
            assert found["verdict"] == "equal", found
            told.explained[ref] = Decimal(found["recomputed"]["amount_minor"]) / 100
        told.mover.explain()
        yield told


def _october(teller: Teller, agreed: Agreed, sender: Sender, told: Story) -> None:
    teller.now(10, 20)
    pocket = Sender(teller.api, agreed.pocket, "pocket")
    for count in (200, 100):  # of 250, but the quota is a soft one
        reason, held = pocket.ask("sms", count, INDIA)
        told.pocket_asked.append(reason)
        pocket.capture(held, "sms", count, INDIA)
    teller.now(11, 2, 10)
    sender.send(
        ("sms", local(10, 1, 0), 1000, BY_JIO),
        ("sms", local(10, 1, 0) - AFTER, 70, BY_JIO),  # the day before it began
        ("sms", local(10, 14), 2000, INDIA),
        ("sms", local(10, 14), 500, INDIA | {"status": "failed"}),
        ("sms", local(11, 1, 0) - AFTER, 100, {"country": "US"}),
        ("voice", local(10, 3), 1000, {}),
        ("voice", local(10, 12), 5000, {}),
        ("voice", local(10, 13), 325, {}),  # the eighth: amended below
        ("email", local(10, 13), 2000, {}),
        ("lookup", local(10, 4), 15, {}),
        ("lookup", local(10, 20), 230, {}),
        ("payment", local(10, 5, 9), 50, {}),
        ("payment", local(10, 5, 10), 100, {}),
        ("payment", local(10, 5, 11), 250, {}),
        ("payment", local(10, 18), 400, {}),
        ("payment", local(10, 19), 5000, {}),
        ("carrier", local(10, 22), "187.3", {}),
        ("carrier", local(10, 23), "211.2", {}),
        ("whatsapp", local(10, 2), 600, INDIA),
        ("whatsapp", local(10, 15), 400, INDIA),
        ("whatsapp", local(10, 25), 300, INDIA),
        ("whatsapp", local(10, 25), 10, {"country": "US"}),
        ("rcs", local(10, 6), 500, {}),
        ("rcs", local(10, 16), 500, {}),
        ("rcs", local(10, 17), 77, {}),  # the twenty-fifth: taken back below
        ("api-call", local(10, 7), 3200, {}),
        ("api-call", local(10, 27), 7400, {}),
        ("users", local(10, 8), 1, {"user": "a"}),
        ("users", local(10, 9), 1, {"user": "b"}),
        ("users", local(10, 9), 1, {"user": "a"}),
        ("users", local(10, 12), 1, {"user": "b"}),
        ("users", local(10, 13), 1, {"user": "c"}),
        ("users", local(10, 13), 1, {"user": "d"}),
    )  # fmt: skip
    told.mover.send((10, (20,), 150))
    teller.now(11, 3, 10)
    sender.send(("sms", local(10, 30), 500, INDIA))  # late
    sender.revise(8, "voice", quantity="1325")
    sender.revise(25, "rcs", void=True)
    _note(teller, agreed, told, OCTOBER)
    told.pocket = lines_of(teller.issue(OCTOBER, agreed.pocket))
    told.pocket_left = Decimal(teller.api.get(f"/wallets/{agreed.wallet}")["attributes"]["balance"])
    for row in teller.api.get(f"/wallets/{agreed.wallet}/lot-allocations"):
        of_lot = row["attributes"]
        told.paid_by[of_lot["lot_reference"].partition(":")[0]] = (
            Decimal(of_lot["credit_units"]) / 1_000_000
        )
    teller.now(11, 6)
    publish_deck(teller.api, agreed.deck, "2026-11-10", WINTER)


def _november(teller: Teller, agreed: Agreed, sender: Sender, told: Story) -> None:
    teller.now(11, 14)
    wish = {"plan_code": "plus", "quantity": "8", "from_day": "2026-11-16"}
    path = f"/subscriptions/{agreed.subscription}"
    tried = teller.api.post(f"{path}/preview", {"action": "change", **wish})["attributes"]
    told.upgrade_difference = tried["difference_minor"]
    teller.api.post(f"{path}/change", wish)
    numbers = {"plan_code": "numbers", "quantity": "2", "from_day": "2026-11-21"}
    teller.api.post(f"{path}/add-ons", numbers)
    told.mover.change("by-year", "2026-11-16")
    told.mover.send((11, (5,), 250))
    told.mover.ask()
    teller.now(12, 1, 10)
    told.mover.ask_anew()
    told.mover.send((11, (20,), 1200))
    sender.send(
        ("sms", local(11, 1, 0), 1, INDIA),
        ("sms", local(11, 5), 999, INDIA),
        ("sms", local(11, 12), 1000, INDIA),
        ("sms", local(11, 20), 400, BY_JIO),
        ("sms", local(11, 20), 10, {"country": "US"}),
        ("voice", local(11, 4), 250, {}),
        ("email", local(11, 15, 23, 59), 6000, {}),
        ("email", local(11, 16, 0), 1500, {}),
        ("push", local(11, 9), 501, {}),
        ("push", local(11, 19), 100, {}),
        ("whatsapp", local(11, 3), 1500, INDIA),
        ("whatsapp", local(11, 22), 300, INDIA),
        ("api-call", local(11, 8), 1001, {}),
        ("inbound", local(11, 20, 23, 59), 40, {}),  # before the number was theirs
        ("inbound", local(11, 21, 0), 25, {}),
    )  # fmt: skip
    _note(teller, agreed, told, NOVEMBER)


def _december(teller: Teller, agreed: Agreed, sender: Sender, told: Story) -> None:
    path = f"/subscriptions/{agreed.subscription}"
    teller.now(12, 5)
    told.mover.undo_refused()
    told.mover.change("by-month", "2026-12-11")
    teller.api.post(f"{path}/pause", {"from_day": "now"})
    teller.now(12, 15)
    teller.api.post(f"{path}/resume", {"from_day": "now"})
    later = publish(teller.api, agreed.plus, PLUS_LATER)
    wish = {"subscription_ids": [agreed.subscription], "when": "2026-12-21"}
    report = teller.api.post(f"/plan-versions/{later}/migrations", wish)["attributes"]
    assert (report["moved"], report["stayed"]) == (1, 0)
    teller.now(12, 22)
    teller.api.post(f"{path}/seats", {"quantity": "10", "from_day": "2026-12-26"})
    (numbers,) = {
        one["add_on_id"]
        for one in teller.api.get(path)["attributes"]["segments"]
        if one["add_on_id"]
    }
    third = {"add_on_id": numbers, "quantity": "3", "from_day": "2026-12-23"}
    teller.api.post(f"{path}/seats", third)
    teller.api.post(f"{path}/end", {"add_on_id": numbers, "ends_on": "2026-12-30"})
    teller.now(1, 2, year=2027)
    told.mover.send((12, (10, 23, 59), 300), (12, (11, 0), 40))
    sender.send(
        ("sms", local(1, 1, 0, year=2027) - AFTER, 100, INDIA),
        ("sms", local(1, 1, 0, year=2027), 900, INDIA),  # of January
        ("push", local(12, 5), 100, {}),
        ("email", local(12, 18), 1001, {}),
        ("email", local(12, 24), 3, {}),
        ("whatsapp", local(12, 2), 60, INDIA),
        ("whatsapp", local(12, 10), 250, INDIA),
        ("whatsapp", local(12, 17), 100, INDIA),
        ("whatsapp", local(12, 23), 150, INDIA),
        ("whatsapp", local(12, 28), 10, INDIA),
        ("inbound", local(12, 2), 8, {}),
        ("inbound", local(12, 10), 4, {}),
        ("inbound", local(12, 24), 12, {}),
        ("inbound", local(12, 30, 0), 9, {}),  # it is no longer theirs
    )  # fmt: skip
    _note(teller, agreed, told, DECEMBER)


def _note(teller: Teller, agreed: Agreed, told: Story, month: date) -> None:
    """Close a month for good: three days later the account has its invoice."""
    teller.close(month)
    teller.clock.advance(timedelta(days=3))
    issued = teller.issue(month, agreed.account)
    told.months[month] = lines_of(issued)
    told.refs += [row["line_ref"] for row in issued["attributes"]["lines"]]
    told.taxable[month] = issued["attributes"]["taxable_minor"]
    told.mover.issue(month.isoformat())


def money(amount: Decimal | int | str) -> Decimal:
    """To the paisa; a half goes up."""
    return Decimal(amount).quantize(Decimal("0.01"), ROUND_HALF_UP)


def days(price: str, seats: int, billed: int, whole: int) -> Decimal:
    """A monthly price of so many seats for some days of the month."""
    return money(Decimal(price) * seats * billed / whole)


def units(quantity: int, price: str) -> Decimal:
    return money(quantity * Decimal(price))


def missing(committed: Decimal, *billed: Lines) -> Decimal:
    return money(committed) - sum((sum(lines.values()) for lines in billed), Decimal(0))


def less_coupon(lines: Lines) -> Lines:
    """An eighth off each."""
    return {key: amount - money(amount * Decimal("12.5") / 100) for key, amount in lines.items()}


def less_credit(credit: str, lines: Lines) -> Lines:
    """The lines in the order of their names use the credit up."""
    left, found = Decimal(credit), {}
    for key in sorted(lines):
        used = min(left, lines[key])
        left -= used
        found[key] = lines[key] - used
    assert not left
    return found


def of(day: str, **amounts: Decimal | str) -> Lines:
    """Lines that begin on a day, by charge and rate; the first rate if none is named."""
    found = {}
    for name, amount in amounts.items():
        charge, _, rate = name.partition("__")
        key = f"{charge.replace('_', '-')}:{rate.replace('_', '.') or '1'}"
        found[f"{day}:{key}"] = money(amount)
    return found


def october() -> Lines:
    """A trial for ten days, then 21 of 31 days."""
    trial = of(
        "20261001",
        setup=units(5, "100"),
        sms__d1_1=units(1000, "0.1150"),
        voice=units(10, "9"),  # packages of 100
        push="50",  # nothing was pushed all month
        lookup="0",  # 15 of 20 free ones
        payment="3.95",  # 50 and 100 free, then 150 x 1.3 % + 2
        whatsapp="0",  # 600 of 1,000 free ones
        rcs=units(100, "0.40"),  # and 400 of them
        api_call=units(4, "1"),  # 3,200 by the thousand
        users="0",  # a and b are 3, and of both parts of the month the lookups are dearer
    )
    after = of(
        "20261011",
        platform=days("620", 5, 21, 31),
        seats=days("310", 5, 21, 31),
        support=days("62", 5, 21, 31),
        sms__d1_2=units(2000 + 500, "0.13"),  # and those that came late
        sms__d1_3=units(100, "4.5"),
        voice="570",  # 5,000 + 1,325 as amended: 10 x 9 + 6 x 80
        email="270",  # 2,000 x 0.15, less 10 %
        email__minimum="30",
        lookup=units(3, "8"),  # 5 more are free: 225 in packages of 100
        payment="19.20",  # 400 x 1.3 % + 2, and 12 at most
        carrier="400.99",  # 398.5 x 1.15, less 12.5 %
        whatsapp=units(400, "0.55"),
        whatsapp__2=units(10, "1.25"),
        whatsapp__o1=units(300, "0.50"),  # agreed with the account from the 21st on
        rcs=units(500, "0.40"),  # 77 were taken back
        api_call="6.50",  # 8 thousands: 5 x 1 + 3 x 0.5
        users="0",  # b, c, d
    )
    committed = of("20261011", commitment=missing(Decimal(7000), trial, after))
    ahead = of("20261101", support=units(5, "62"))
    return less_coupon({**trial, **after, **committed, **ahead})


def november() -> Lines:
    """Half a month of each plan; 7,000 for 15 days are met, 15,000 are not."""
    before = of(
        "20261101",
        platform=days("620", 5, 15, 30),
        seats=days("310", 5, 15, 30),
        sms__d1_2=units(1000, "0.13"),
        sms__d2_2=units(1000, "0.14"),  # the deck of the 10th
        voice=units(3, "9"),
        email="400",  # 6,000 x 0.10, less 10 %, and 400 at most
        push="400",
        whatsapp__o1=units(500, "0.50"),  # 1,000 free
        api_call=units(2, "1"),
    )
    # 155 of support besides, which was billed ahead
    assert sum(before.values()) > Decimal(7000) * 15 / 30
    after = of(
        "20261116",
        platform=days("1240", 8, 15, 30),
        seats=days("372", 8, 15, 30),
        support=days("124", 8, 15, 30),
        sms__d2_1=units(400, "0.12"),
        sms__d2_3=units(10, "4.5"),
        email=units(1500, "0.12"),
        push="55",
        whatsapp=units(200, "0.45"),  # the agreed price was the other plan's
    )
    committed = of("20261116", commitment=missing(Decimal(15000) * 15 / 30, after))
    numbers = of("20261121", number=days("62", 2, 10, 30), number_setup=units(2, "40"))
    numbers |= of("20261121", inbound="35")  # 5 free, 10 x 2 + 10 x 1.5
    ahead = of("20261201", support=units(8, "124"))
    # the other half of 310 for the support of a whole November, less an eighth: 155 - 19.375
    lines = {**less_coupon(before), **after, **committed, **numbers, **ahead}
    return less_credit("135.63", lines)


def december() -> Lines:
    """Five days, a pause of ten, five days, then another version: five days, and six with 10."""
    before = {
        **of(
            "20261201",
            platform=days("1240", 8, 5, 31),
            seats=days("372", 8, 5, 31),
            push="55",
            whatsapp="0",  # 60 of 100 free ones
        ),
        **of("20261206", whatsapp=units(210, "0.45")),
        **of(
            "20261216",
            platform=days("1240", 8, 5, 31),
            seats=days("372", 8, 5, 31),
            support=days("124", 8, 5, 31),
            email=units(1001, "0.12"),
            whatsapp=units(100, "0.45"),
        ),
    }
    after = {
        **of(
            "20261221",
            platform=days("1550", 8, 5, 31),
            seats=days("310", 8, 5, 31) + 31,  # the first tier, once
            support=days("155", 8, 5, 31),
            email=units(3, "0.18"),
            whatsapp=units(50, "0.40"),  # 100 are free again: it is another charge
        ),
        **of(
            "20261226",
            platform=days("1550", 10, 6, 31),
            seats=days("310", 8, 6, 31) + days("155", 2, 6, 31) + 62,
            support=days("155", 10, 6, 31),
            sms__d2_2=units(100, "0.14"),
            whatsapp=units(10, "0.40"),
        ),
    }
    assert sum(after.values()) > Decimal(15000) * 11 / 31
    # billed ahead, and so on no line: 5 of 31 days of 8 x 124
    billed = of("20261201", support=days("124", 8, 5, 31))
    committed = of("20261216", commitment=missing(Decimal(15000) * 20 / 31, before, billed))
    numbers = {
        **of("20261201", number=days("62", 2, 5, 31), inbound="6"),  # 3 of 8 are paid
        **of("20261206", inbound="8"),
        **of("20261216", number=days("62", 2, 7, 31)),
        **of("20261223", number=days("62", 3, 7, 31), inbound="23"),  # tiers begin anew
    }
    ahead = of("20270101", support=units(10, "155"))
    # 992 were billed for all of December, and 160 are due
    return less_credit("832", {**before, **after, **committed, **numbers, **ahead})


def test_each_line_of_the_trial_month_is_what_a_pencil_gives(story: Story) -> None:
    assert story.months[OCTOBER] == october()


def test_each_line_of_the_month_of_the_upgrade_is_what_a_pencil_gives(story: Story) -> None:
    assert story.months[NOVEMBER] == november()


def test_each_line_of_the_month_of_pause_and_migration_is_what_a_pencil_gives(
    story: Story,
) -> None:
    assert story.months[DECEMBER] == december()


def test_the_invoices_are_the_sums_of_their_lines(story: Story) -> None:
    for month, lines in story.months.items():
        assert story.taxable[month] == sum(lines.values()) * 100


def test_every_line_is_explained_by_what_is_on_record_at_the_end(story: Story) -> None:
    billed = {key: amount for lines in story.months.values() for key, amount in lines.items()}
    assert len(billed) == len(story.refs)
    assert {ref.split(":", 2)[2]: amount for ref, amount in story.explained.items()} == billed


def test_grants_pay_a_prepaid_invoice_before_money_does(story: Story) -> None:
    assert story.pocket == of("20261001", platform="50", sms__d1_2=units(300, "0.13"))
    # those for SMS alone pay of 39, and are in no balance; then what has the first turn
    assert story.paid_by == {"invoice": 20, "promotion": 30, "top_up": 50 + 39 - 20 - 30}
    assert story.pocket_left == 1000 + 30 - (50 + 39 - 20)


def test_the_upgrade_was_foretold_and_every_change_is_on_record(story: Story) -> None:
    # Without usage both plans bill what was committed: 7,000 now, 3,500 + 7,500 with the change;
    # of that 310 and 155 were billed ahead, and the next month's are billed besides: 310 and 992.
    now = less_coupon(
        of(
            "1", platform="3100", seats="1550", push="50", email="300", support=units(5, "62"),
            commitment=Decimal(7000 - 3100 - 1550 - 310 - 50 - 300),
        )
    )  # fmt: skip
    half = less_coupon(
        of(
            "1", platform="1550", seats="775", push="50", email="150",
            commitment=Decimal(3500 - 1550 - 775 - 155 - 50 - 150),
        )
    )  # fmt: skip
    then = sum(half.values()) + 7500 + 992 - Decimal("135.63")
    assert story.upgrade_difference == (then - sum(now.values())) * 100
    kinds = ["start", "upgrade", "add_on", "pause", "resume", "migrate", "seats"]
    assert story.kinds == [*kinds, "seats", "remove_add_on"]


def test_quotas_refuse_or_warn_and_what_is_sent_is_billed_all_the_same(story: Story) -> None:
    assert story.mover.asked == ASKED
    assert story.pocket_asked == ["ok", "quota_warning"]
    sent = {"20261101:email:1": NOVEMBER_LINES["20261101:email:1"]}
    assert sent.items() <= story.mover.months[1].items()
    assert story.pocket["20261001:sms:d1.2"] == units(200 + 100, "0.13")


def test_a_year_and_a_month_begin_amid_a_period_and_cut_it_short(story: Story) -> None:
    assert story.mover.months == [OCTOBER_LINES, NOVEMBER_LINES, DECEMBER_LINES]
    assert story.mover.kept == KEPT
    explained = {verdict for ref, verdict in story.mover.verdicts.items() if "kept" not in ref}
    assert explained == {"equal"}
    # what is invoiced is not undone; the second invoice of December had to wait for the first
    assert story.mover.refused == ["already_billed", "earlier_draft"]


def test_both_invoices_of_another_interval_are_foretold(story: Story) -> None:
    year, month = story.mover.previews
    # Without usage November bills what is missing to 620 and December's 310. With the year, 155 are
    # missing to 310, which the 155 that are not due any more pay.
    assert [_foretold(year[one]) for one in ("before", "after", "then")] == [
        ("2026-11-01", "2026-12-01", 310_00 + 310_00),
        ("2026-11-01", "2026-11-16", 3650_00),
        ("2026-11-16", "2027-11-16", 3650_00 + 3650_00),  # to 7,300, and another year
    ]
    assert year["difference_minor"] == 3030_00
    # 1,200 mails are 880; 620 x 5 / 30 and 310 are paid by 3,400 - 880
    assert [_foretold(month[one]) for one in ("before", "after", "then")] == [
        ("2026-11-16", "2027-11-16", 880_00 + (7300 - 3650 - 880) * 100 + 3650_00),
        ("2026-11-16", "2026-12-11", 0),
        ("2026-12-11", "2026-12-16", 0),
    ]


def _foretold(invoice: dict[str, Any]) -> tuple[str, str, int]:
    return invoice["period_start"], invoice["period_end"], invoice["amount_minor"]
