"""Following an event to the invoice line that counts it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from billing.invoices.tables import (
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    RatingRun,
    RatingRunCutoff,
    ReviewState,
)
from billing.periods import local_day, local_midnight, month_of
from billing.subscriptions.tables import BillingPeriod, Subscription
from tests.ingest_api.intake.conftest import Api
from tests.support.factories.usage import Sender


def drafted(api: Api, sender: Sender, accept_seq: int, line_ref: str, revision: int = 1) -> UUID:
    """A draft of this month with one line, of a rating run that read up to there.

    An adjustment line names the run by which it is, that of its draft too.
    """
    now = datetime.now(UTC)
    month = month_of(local_day(now, sender.account.zone))
    with unit_of_work(api.engine) as session:
        run = RatingRun(
            invoice_month=month.start, event_time_to=now, started_at=now, triggered_by="test"
        )
        session.add(run)
        session.flush()
        shard = sender.account.shard
        session.add(RatingRunCutoff(rating_run_id=run.id, shard=shard, accept_seq=accept_seq))
        line = InvoiceLine(
            line_ref=line_ref,
            ordinal=1,
            description="SMS",
            item_code="sms",
            sac="998413",
            quantity=Decimal(1),
            unit="message",
            unit_price=Decimal("0.12"),
            amount_minor=12,
            period_start=month.start,
            period_end=month.end,
            tier_breakdown=[{"kind": "adjusted", "run": str(run.id)}]
            if line_ref.startswith("adjustment:")
            else [],
        )
        invoice = Invoice(
            account_id=sender.account.id,
            customer_id=sender.account.customer_id,
            supplier_gstin="29AAACO1234B1Z5",
            period_start=month.start,
            period_end=month.end,
            invoice_month=month.start,
            revision=revision,
            rating_run_id=run.id,
            lines_hash="",
            status=InvoiceStatus.DRAFT,
            review_state=ReviewState.PENDING,
            currency="INR",
            taxable_minor=12,
            tax_minor=0,
            total_minor=12,
            tax_decision={},
            created_at=now,
            updated_at=now,
            lines=[line],
        )
        session.add(invoice)
        session.flush()
        return invoice.id


def open_period(api: Api, sender: Sender) -> None:
    now = datetime.now(UTC)
    zone = sender.account.zone
    month = month_of(local_day(now, zone))
    with unit_of_work(api.engine) as session:
        subscription = session.scalars(
            select(Subscription).filter_by(account_id=sender.account.id)
        ).one()
        session.add(
            BillingPeriod(
                subscription_id=subscription.id,
                account_id=sender.account.id,
                starts_on=month.start,
                ends_on=month.end,
                starts_at=local_midnight(month.start, zone),
                ends_at=local_midnight(month.end, zone),
                invoice_month=month.start,
            )
        )


def test_an_event_names_its_price_and_the_line_that_counts_it(api: Api) -> None:
    sender = api.sender()
    open_period(api, sender)
    event = api.event(sender)
    assert api.send(event).status_code == 200
    path = f"/api/v1/events/core/{event['event_id']}"
    shown = api.client.get(path, headers=api.as_admin).json()["data"]["attributes"]
    (rated,) = shown["rated"]
    assert rated["tiers"] == [{"up_to": None, "unit_price": "0.12", "flat_amount": "0"}]
    assert rated["rate_id"] == shown["revisions"][0]["rate_id"]
    assert (rated["quantity"], rated["invoice_lines"]) == ("1", [])

    accept_seq = shown["revisions"][0]["accept_seq"]
    drafted(api, sender, accept_seq - 1, rated["line_ref"])  # rated before the event came
    counting = drafted(api, sender, accept_seq, rated["line_ref"], revision=2)
    again = api.client.get(path, headers=api.as_admin).json()["data"]["attributes"]
    assert again["rated"][0]["invoice_lines"] == [
        {
            "invoice_id": str(counting),
            "number": None,
            "status": "draft",
            "line_ref": rated["line_ref"],
            "amount_minor": 12,
        }
    ]
    customer = api.key(Role.CUSTOMER, customer_id=sender.account.customer_id)
    theirs = api.client.get(path, headers=customer).json()["data"]["attributes"]
    assert theirs["rated"][0]["invoice_lines"] == []


def test_an_event_after_issue_names_the_first_adjustment_that_counts_it(api: Api) -> None:
    sender = api.sender()
    open_period(api, sender)
    event = api.event(sender)
    api.send(event)
    path = f"/api/v1/events/core/{event['event_id']}"
    shown = api.client.get(path, headers=api.as_admin).json()["data"]["attributes"]
    accept_seq, reference = shown["revisions"][0]["accept_seq"], shown["rated"][0]["line_ref"]
    drafted(api, sender, accept_seq - 1, reference)
    adjusting = f"adjustment:{reference}"
    drafted(api, sender, accept_seq - 1, adjusting, revision=2)  # of another late event
    counting = drafted(api, sender, accept_seq, adjusting, revision=3)
    drafted(api, sender, accept_seq, adjusting, revision=4)  # of one that came later still

    again = api.client.get(path, headers=api.as_admin).json()["data"]["attributes"]

    (line,) = again["rated"][0]["invoice_lines"]
    assert (line["invoice_id"], line["line_ref"]) == (str(counting), adjusting)


def test_an_event_that_nothing_counts_names_no_line(api: Api) -> None:
    sender = api.sender()
    open_period(api, sender)
    failed = api.event(sender, dimensions={"country": "IN", "status": "failed"})
    nowhere = api.event(sender, dimensions={"country": "FR", "status": "sent"})
    api.send([failed, nowhere])
    rated = [
        api.client.get(f"/api/v1/events/core/{one['event_id']}", headers=api.as_admin).json()[
            "data"
        ]["attributes"]["rated"]
        for one in (failed, nowhere)
    ]

    assert rated[0] == []
    assert (rated[1][0]["rate_id"], rated[1][0]["line_ref"]) == (None, None)


def test_what_vendors_charge_us_is_not_shown_to_customers(api: Api) -> None:
    sender = api.sender()
    event = api.event(sender, cost="0.09")
    api.send(event)
    path = f"/api/v1/events/core/{event['event_id']}"
    customer = api.key(Role.CUSTOMER, customer_id=sender.account.customer_id)

    for headers, cost in ((api.as_admin, "0.09"), (customer, None)):
        answer = api.client.get(path, headers=headers)
        assert answer.json()["data"]["attributes"]["revisions"][0]["vendor_cost"] == cost
    other = api.key(Role.CUSTOMER, customer_id=api.sender().account.customer_id)
    assert api.client.get(path, headers=other).status_code == 404


def test_an_alias_that_was_given_to_another_account_still_names_the_first_in_the_past(
    api: Api,
) -> None:
    first, second = api.sender(), api.sender()
    today = local_day(datetime.now(UTC), first.account.zone)
    start, moved = today - timedelta(days=30), today - timedelta(days=2)
    sql = (
        "INSERT INTO billing.account_aliases (id, account_id, alias, valid_from, valid_to) "
        "VALUES (gen_random_uuid(), %s, 'moved-shop', %s, %s)"
    )
    api.connection.execute(sql, [first.account.id, start, None])

    def send(at: datetime) -> str:
        event = api.event(first, occurred_at=at.isoformat())
        event["alias"] = "moved-shop"
        del event["account_id"]
        assert api.send(event).status_code == 200
        return str(
            api.one(
                "SELECT account_id FROM usage.raw_events WHERE event_id = %s", event["event_id"]
            )
        )

    midnight = local_midnight(moved, first.account.zone)
    assert send(midnight) == str(first.account.id)  # before it was re-pointed: what is kept stays
    api.connection.execute(
        "UPDATE billing.account_aliases SET valid_to = %s WHERE alias = 'moved-shop'", [moved]
    )
    api.connection.execute(sql, [second.account.id, moved, None])
    names = []
    for _ in range(100):  # the intake hears of it within moments
        names = [send(midnight - timedelta(microseconds=1)), send(midnight)]
        if names[1] == str(second.account.id):
            break
    assert names == [str(first.account.id), str(second.account.id)]
