"""An account that goes from months to a year and back, each time amid a period.

Its fee is billed in advance. What is agreed and sent, and what each line must come to, stand here
in figures.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.scenarios.every_feature import (
    NOTHING,
    ZONE,
    Sender,
    charge,
    entitle,
    local,
    publish,
    tiers,
)
from tests.support.api import Api
from tests.support.bodies import open_account, tax_profile
from tests.support.factories.parties import gstin

Lines = dict[str, Decimal]


def terms(fee: str, committed: str, *email: str) -> list[dict[str, Any]]:
    """A fee in advance, mails by tiers, and what is committed for the interval."""
    return [
        charge(
            "fee", "flat", tiers(f"*:flat_amount={fee}"), item_code="support", prorated=True,
            timing="advance",
        ),
        charge("email", "graduated", tiers(*email)),
        charge(
            "commitment", "commitment", tiers(f"*:flat_amount={committed}"),
            item_code="platform", prorated=True,
        ),
    ]  # fmt: skip


@dataclass
class Mover:
    """The account, and what the API said of it."""

    api: Api
    account: str = ""
    sender: Sender = field(init=False)
    path: str = ""
    months: list[Lines] = field(default_factory=list)
    """What each close billed, by first day, charge and rate."""
    kept: dict[str, Decimal] = field(default_factory=dict)
    """Credit that an invoice left, by the line that says so."""
    previews: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Why authorisations were given or not, in their order."""
    verdicts: dict[str, str] = field(default_factory=dict)

    def agree(self) -> None:
        """Both plans, and a subscription by month from October on."""
        for code, interval, anchor, charges in (
            ("by-month", "month", "fixed",
             terms("310", "620", "100:unit_price=1", "*:unit_price=0.5")),
            ("by-year", "year", "anniversary",
             terms("3650", "7300", "1000:unit_price=0.8", "*:unit_price=0.4")),
        ):  # fmt: skip
            plan = self.api.post("/price-plans", {"code": code, "name": code})["id"]
            publish(self.api, plan, charges, interval=interval, anchor=anchor)
        customer = self.api.post("/customers", {"code": "mover", "name": "Mover"})["id"]
        profile = tax_profile(gstin=gstin("29", "AAACM5678K"))
        self.api.post(f"/customers/{customer}/tax-profiles", profile)
        about = {"billing_mode": "postpaid", "zone": ZONE.key}
        self.account = open_account(self.api, customer, "mover", **about)["id"]
        self.sender = Sender(self.api, self.account, "mover")
        wish = {"account_id": self.account, "plan_code": "by-month", "starts_on": "2026-10-01"}
        self.path = f"/subscriptions/{self.api.post('/subscriptions', wish)['id']}"
        entitle(self.api, self.account, "email", 1000, "hard")

    def send(self, *events: tuple[int, tuple[int, ...], int]) -> None:
        """Mails: month, day and time, and how many."""
        mails = [("email", local(month, *time), count, NOTHING) for month, time, count in events]
        self.sender.send(*mails)

    def change(self, plan: str, day: str) -> None:
        """Look at the next invoices with a change, then make it."""
        wish = {"plan_code": plan, "from_day": day}
        shown = self.api.post(f"{self.path}/preview", {"action": "change", **wish})
        self.previews.append(shown["attributes"])
        self.api.post(f"{self.path}/change", wish)

    def ask(self) -> None:
        """Up to the hard quota and beyond it; at last 60 that nobody asked for."""
        sender = self.sender
        (taken, first), (refused, _) = sender.ask("email", 700), sender.ask("email", 51)
        (filled, second), (full, _) = sender.ask("email", 50), sender.ask("email", 1)
        sender.capture(first, "email", 700)
        self.api.post(f"/authorizations/{second}/release")
        free = [sender.ask("email", count, hold=False)[0] for count in (50, 51)]
        sender.send(("email", local(11, 14), 60, NOTHING))
        over, _ = sender.ask("email", 1, hold=False)
        self.asked += [taken, refused, filled, full, *free, over]

    def ask_anew(self) -> None:
        """Another month has a quota of its own, whatever period bills it."""
        self.asked += [self.sender.ask("email", count, hold=False)[0] for count in (1000, 1001)]

    def undo_refused(self) -> None:
        """Note why the latest change can no longer be undone."""
        latest = self.api.get(f"{self.path}/changes")[-1]["id"]
        path = f"{self.path}/changes/{latest}/undo"
        self.refused.append(self.api.refused("POST", path, 409)["code"])

    def issue(self, month: str) -> None:
        """Approve the drafts of a month, the earliest first; a later one has to wait for it."""
        found = self.api.get("/invoices", params={"invoice_month": month})
        mine = [one for one in found if one["relationships"]["account"]["id"] == self.account]
        mine.sort(key=lambda one: one["attributes"]["period_start"])
        for later in mine[1:]:
            path = f"/invoices/{later['id']}/approve"
            self.refused.append(self.api.refused("POST", path, 409)["code"])
        lines: Lines = {}
        for draft in mine:
            self.api.post(f"/invoices/{draft['id']}/approve")
            for row in self.api.get(f"/invoices/{draft['id']}")["attributes"]["lines"]:
                self.verdicts[row["line_ref"]] = ""
                key = row["line_ref"].split(":", 2)[2]
                if key.endswith(":credit:kept"):
                    (entry,) = row["tier_breakdown"]
                    self.kept[key] = Decimal(entry["left"])
                else:
                    lines[key] = Decimal(row["amount_minor"]) / 100
        self.months.append(lines)

    def explain(self) -> None:
        """Work every line out again, by what is on record at the end."""
        for ref in self.verdicts:
            if not ref.endswith(":credit:kept"):
                found = self.api.get(f"/invoice-lines/{ref}/explanation")["attributes"]
                self.verdicts[ref] = found["verdict"]


OCTOBER_LINES = {
    "20261001:fee:1": Decimal(310),
    "20261001:email:1": Decimal(125),  # 100 x 1 + 50 x 0.5
    "20261001:commitment:1": Decimal(185),  # 620 - 310 - 125
    "20261101:fee:1": Decimal(310),
}
"""A whole month, and the fee of the next one."""

NOVEMBER_LINES = {
    # 1,010, those sent beyond the quota too, and none that was refused or let go: 100 x 1 + 910 x
    # 0.5, more than the 310 committed; less 155 of the fee, billed for the 16th to the 30th
    "20261101:email:1": Decimal(555 - 155),
    "20261116:fee:1": Decimal(3650),
}
"""Fifteen of thirty days by month; then the year that begins, from which nothing is taken off."""

DECEMBER_LINES = {
    # 1,500: 1,000 x 0.8 + 500 x 0.4; with 250 for 25 of 365 days more than the 500 committed
    "20261116:email:1": Decimal(0),
    "20261211:commitment:1": Decimal(0),  # 620 x 5 / 30 = 103.33, less 51.67 and 40
    "20261211:email:1": Decimal(0),  # 40 x 1
    "20261211:fee:1": Decimal(0),  # 310 x 5 / 30 = 51.67
    "20261216:fee:1": Decimal(0),
}
"""Twenty-five days of the year, five of the month up to the day that stays, and its next month: all
is paid by 3,650 - 250 that were billed for the rest of the year."""

ASKED = [
    "ok",  # 250 are sent, and 700 held
    "quota_exceeded",  # 51 more would be 1,001
    "ok",
    "quota_exceeded",  # 1,000 are sent or held
    "ok",  # 700 of them are sent, the other 50 were let go
    "quota_exceeded",
    "quota_exceeded",  # 1,010 are sent
    "ok",  # of December
    "quota_exceeded",
]
"""Of 1,000 mails a month."""

KEPT = {
    "20261116:credit:kept": Decimal(3400 - 1000),
    "20261211:credit:kept": Decimal(2400) - Decimal("11.66") - 40 - Decimal("51.67") - 310,
}
