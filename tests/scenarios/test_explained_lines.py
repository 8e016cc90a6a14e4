"""Every line of a rated month is worked out again, before and long after later events arrive."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from typer.testing import CliRunner

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.cli.main import app as billing
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.invoices.tables import Invoice, InvoiceLine
from invoicing.assemble import draft_invoices
from invoicing.issue import ApproveInvoice, approve_invoice
from tests.scenarios import rated_world
from tests.scenarios.rated_world import CLOCK, JUNE, RatedWorld
from tests.support.api import Api, running_api
from tests.support.dbt import DbtProjectRunner
from tests.support.factories.events import revise_event, store_event
from tests.support.postgres import fresh_database
from tests.support.rating import RATING_MODELS, open_run, rating_vars

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def database(postgres_server: str, template_database: str) -> Iterator[str]:
    with fresh_database(postgres_server, template_database) as url:
        yield url


@pytest.fixture(scope="module")
def engine(database: str) -> Iterator[Engine]:
    engine = open_engine(database, application="explained")
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def world(engine: Engine, database: str, dbt: DbtProjectRunner) -> RatedWorld:
    """The month rated, one invoice issued; then events come late, are amended and voided."""
    with unit_of_work(engine) as session:
        world = rated_world.build(session)
        run = open_run(session, JUNE)
    dbt.build(database, [*RATING_MODELS, "fct_rated_usage"], rating_vars(run))
    with unit_of_work(engine) as session:
        draft_invoices(session, JUNE, run.id, CLOCK)
        (mine,) = session.scalars(select(Invoice).filter_by(account_id=world.inr.id))
        approve_invoice(Context(session, SYSTEM, CLOCK), ApproveInvoice(invoice_id=mine.id))
    with unit_of_work(engine) as session:
        for event in world.events[:12]:
            store_event(
                session, event.account_id, event.occurred_at, event_type=event.event_type,
                quantity=9, dimensions=event.dimensions,
            )  # fmt: skip
        revise_event(session, world.events[12], dimensions={"status": "failed"})
        revise_event(session, world.events[15], voided=True)
    return world


@pytest.fixture(scope="module")
def api(engine: Engine, database: str, world: RatedWorld) -> Iterator[Api]:
    assert world
    with running_api(database, "redis://127.0.0.1:1", CLOCK) as running:
        yield running


def refs(engine: Engine, account_id: UUID | None = None) -> list[str]:
    """The names of all lines, or of one account's."""
    query = select(InvoiceLine.line_ref).join(Invoice, Invoice.id == InvoiceLine.invoice_id)
    if account_id is not None:
        query = query.where(Invoice.account_id == account_id)
    with unit_of_work(engine) as session:
        return list(session.scalars(query.order_by(InvoiceLine.line_ref)))


def explained(api: Api, line_ref: str, **query: Any) -> dict[str, Any]:
    path = f"/invoice-lines/{line_ref}/explanation"
    return api.get(path, params=query)["attributes"]  # type: ignore[no-any-return]


def test_every_line_comes_out_again_although_its_month_changed_since(
    api: Api, engine: Engine
) -> None:
    lines = refs(engine)
    assert len(lines) >= 14
    for line_ref in lines:
        found = explained(api, line_ref, limit=200)
        assert found["verdict"] == "equal", found
        assert found["recomputed"]["tier_breakdown"] == found["tier_breakdown"]
        assert found["recomputed"]["amount_minor"] == found["amount_minor"]
        assert len(found["events"]) == found["event_count"] == found["recomputed"]["event_count"]
        assert found["events_next"] is None


def test_the_listed_events_are_those_that_the_line_counts(api: Api, engine: Engine) -> None:
    for line_ref in [ref for ref in refs(engine) if ":sms:" in ref]:
        found = explained(api, line_ref, limit=200)
        assert sum(Decimal(one["quantity"]) for one in found["events"]) == Decimal(
            found["quantity"]
        )
        assert {one["dimensions"]["status"] for one in found["events"]} == {"delivered"}


def test_events_are_listed_page_by_page(api: Api, engine: Engine) -> None:
    line_ref = max(refs(engine), key=lambda ref: explained(api, ref)["event_count"])
    whole = explained(api, line_ref, limit=200)
    assert whole["event_count"] > 2
    seen: list[dict[str, Any]] = []
    page: dict[str, Any] = {}
    while not page or page["events_next"]:
        after = {"after": page["events_next"]} if page else {}
        page = explained(api, line_ref, limit=2, **after)
        seen += page["events"]
    assert seen == whole["events"]


def test_the_price_version_and_the_cut_offs_are_told(
    api: Api, engine: Engine, world: RatedWorld
) -> None:
    changed = next(ref for ref in refs(engine) if ":20260616:sms:" in ref)
    found = explained(api, changed)
    assert found["price_version"]["id"] == str(world.versions["second"])
    assert found["price_version"]["covered_from"] == "2026-06-16"
    assert found["rating_run"]["accept_seqs"] == {"0": 144}


def test_a_line_that_was_altered_is_said_to_differ(
    api: Api, engine: Engine, world: RatedWorld
) -> None:
    line_ref = next(ref for ref in refs(engine, world.usd.id) if ":email:" in ref)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE billing.invoice_lines SET amount_minor = amount_minor + 7 "
                 "WHERE line_ref = :ref"),
            {"ref": line_ref},
        )  # fmt: skip
    try:
        found = explained(api, line_ref)
        assert (found["verdict"], found["difference_minor"]) == ("differs by 0.07", 7)
    finally:
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE billing.invoice_lines SET amount_minor = amount_minor - 7 "
                     "WHERE line_ref = :ref"),
                {"ref": line_ref},
            )  # fmt: skip


def test_lines_of_others_and_lines_that_do_not_exist_are_not_found(
    api: Api, engine: Engine, world: RatedWorld
) -> None:
    api.refused("GET", "/invoice-lines/no-such-line/explanation", 404)
    api.refused("GET", f"/invoice-lines/{refs(engine)[0]}/explanation", 404, role=Role.CUSTOMER)
    own = api.key_for(Role.CUSTOMER, str(world.inr.customer_id))
    issued, draft = (refs(engine, account.id)[0] for account in (world.inr, world.usd))
    assert api.get(f"/invoice-lines/{issued}/explanation", key=own)
    api.refused("GET", f"/invoice-lines/{draft}/explanation", 404, key=own)


def test_the_command_prints_what_a_line_is_made_of(
    database: str, engine: Engine, world: RatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world
    monkeypatch.setenv("DATABASE_URL", database)
    line_ref = next(ref for ref in refs(engine) if ":20260616:sms:" in ref)
    result = CliRunner().invoke(billing, ["explain", line_ref, "--events", "2"])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert ": equal" in said
    assert "shard 0 up to 144" in said
    assert "the first 2 of" in said
    missing = CliRunner().invoke(billing, ["explain", "nothing"])
    assert missing.exit_code == 1


MONTHS = {"first_month": "2026-06-01", "last_month": "2026-06-01"}


def simulated(api: Api, **body: Any) -> dict[str, Any]:
    found = api.post("/pricing/simulations", MONTHS | body)["attributes"]
    assert found["is_exact"], found["replay"]
    assert {one["difference"] for one in found["replay"]} == {"0"}
    for name in ("customers", "channels", "countries", "charges"):
        for column in ("before_minor", "after_minor"):
            assert _sums(found[name], column) == _sums(found["totals"], column), name
    return found  # type: ignore[no-any-return]


def _sums(rows: list[dict[str, Any]], column: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["currency"]] = sums.get(row["currency"], 0) + row[column]
    return sums


def _billed(engine: Engine, code: str) -> int:
    with engine.connect() as connection:
        query = "SELECT sum(taxable_minor) FROM billing.invoices WHERE currency = :code"
        return int(connection.execute(text(query), {"code": code}).scalar_one())


def test_the_prices_that_were_billed_come_to_what_was_billed(api: Api, engine: Engine) -> None:
    found = simulated(api)
    assert found["periods"] == 3  # also that of an account which another is billed for
    assert {one["currency"]: one["billed_minor"] for one in found["replay"]} == {
        code: _billed(engine, code) for code in ("INR", "USD")
    }
    assert {one["difference_minor"] for one in found["totals"]} == {0}


def test_raised_prices_are_compared_by_customer_channel_and_country(
    api: Api, engine: Engine, world: RatedWorld
) -> None:
    found = simulated(api, prices=[{"percent": "100", "charge_code": "voice", "currency": "INR"}])
    voice = next(one for one in found["charges"] if one["difference_minor"])
    assert (voice["key"], voice["currency"]) == ("voice", "INR")
    assert voice["difference_minor"] == voice["before_minor"] > 0
    assert found["customers"][0]["key"] == str(world.inr.customer_id)
    channels = {one["key"]: one["difference_minor"] for one in found["channels"]
                if one["currency"] == "INR"}  # fmt: skip
    assert channels == {"voice": voice["difference_minor"], "sms": 0, "email": 0, None: 0}


def test_another_version_bills_what_it_would_have(
    api: Api, engine: Engine, world: RatedWorld
) -> None:
    first, second = (str(world.versions[name]) for name in ("first", "second"))
    found = simulated(api, versions=[{"version_id": first, "by_version_id": second}])
    changed = {(one["key"], one["currency"]) for one in found["charges"] if one["difference_minor"]}
    assert changed == {("sms", "INR")}


def test_a_charge_that_cannot_be_published_is_refused_with_its_fields(api: Api) -> None:
    charge = {"code": "sms", "name": "SMS", "item_code": "nothing", "price_model": "per_unit",
              "rates": [{"currency": "INR", "tiers": [{"unit_price": "1"}]}]}  # fmt: skip
    body = MONTHS | {"charges": [{"charge": charge}]}
    error = api.refused("POST", "/pricing/simulations", 400, json=body)
    assert error["fields"][0]["field"] == "charges.0.charge.item_code"


def test_a_changed_month_is_counted_from_events_by_the_cut_offs_of_its_invoice(
    api: Api, engine: Engine
) -> None:
    expected = simulated(api, prices=[{"percent": "10"}])
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE marts.fct_rated_usage RENAME TO set_aside"))
    try:
        assert simulated(api, prices=[{"percent": "10"}]) == expected
    finally:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE marts.set_aside RENAME TO fct_rated_usage"))


def test_a_draft_shows_what_it_would_change_on_last_months_traffic(
    api: Api, engine: Engine, world: RatedWorld
) -> None:
    first = world.versions["first"]
    plan = api.get(f"/plan-versions/{first}")["relationships"]["price_plan"]["id"]
    copied = api.get(f"/plan-versions/{first}")["attributes"]["charges"]
    fee = next(charge for charge in copied if charge["code"] == "fee")
    kept = ("code", "name", "item_code", "price_model", "prorated")
    rates = [
        {"currency": rate["currency"], "tiers": [{"flat_amount": tier["flat_amount"]}]}
        for rate in fee["rates"]
        for tier in rate["tiers"]
    ]
    charge = {name: fee[name] for name in kept} | {"rates": rates}
    draft = api.post(f"/price-plans/{plan}/versions", {"charges": [charge]})["id"]
    found = api.get(f"/plan-versions/{draft}/impact")["attributes"]
    assert found["is_exact"]
    changed = {one["key"] for one in found["charges"] if one["difference_minor"]}
    assert "fee" not in changed
    assert changed
    assert all(one["difference_minor"] < 0 for one in found["totals"])
    quiet = api.get(f"/plan-versions/{draft}/impact?month=2026-03-01")["attributes"]
    assert (quiet["periods"], quiet["totals"]) == (0, [])


def test_templates_are_compared_side_by_side_with_what_was_billed(
    api: Api, world: RatedWorld
) -> None:
    """A copy of the prices in force bills what they billed; one without fees bills less."""
    first = world.versions["first"]
    same, without = (
        api.post(f"/plan-versions/{first}/copy", {"template": name}) for name in ("same", "no-fee")
    )
    assert len(same["attributes"]["charges"]) == 4
    assert (
        api.get(f"/plan-versions/{same['id']}/diff?against={first}")["attributes"]["changes"] == []
    )
    fee = next(one for one in without["attributes"]["charges"] if one["code"] == "fee")
    rates = [{"currency": one["currency"], "tiers": [{"flat_amount": "0"}]} for one in fee["rates"]]
    kept = {name: fee[name] for name in ("code", "name", "item_code", "price_model", "prorated")}
    path = f"/api/v1/plan-versions/{without['id']}/charges"
    answer = api.call("PUT", path, json={"charges": [kept | {"rates": rates}]})
    assert answer.status_code == 200, answer.text
    body = MONTHS | {
        "candidates": [
            {"name": "same", "version_ids": [same["id"]]},
            {"name": "no fee", "version_ids": [without["id"]]},
            {"name": "dearer", "prices": [{"percent": "100", "charge_code": "fee"}]},
        ]
    }
    found = api.post("/pricing/comparisons", body)["attributes"]
    assert found["is_exact"]
    for row in found["totals"]:
        kept_same, free, dearer = (one["difference_minor"] for one in row["candidates"])
        assert free < kept_same == 0 < dearer
    alone = simulated(api, prices=[{"percent": "100", "charge_code": "fee"}])
    for name in ("totals", "customers", "channels", "countries", "charges"):
        side = {(row["key"], row["currency"]): row for row in found[name]}
        for row in alone[name]:
            tried = side[row["key"], row["currency"]]
            assert tried["before_minor"] == row["before_minor"]
            assert tried["candidates"][2]["difference_minor"] == row["difference_minor"]
    twice = [{"name": "both", "version_ids": [same["id"], without["id"]]}]
    error = api.refused("POST", "/pricing/comparisons", 400, json=MONTHS | {"candidates": twice})
    assert [wrong["field"] for wrong in error["fields"]] == ["candidates.0.version_ids.1"]


def test_the_simulation_command_prints_its_check_first(
    database: str, world: RatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world
    monkeypatch.setenv("DATABASE_URL", database)
    months = ["--first", "2026-06", "--last", "2026-06"]
    result = CliRunner().invoke(billing, ["simulate", *months, "--percent", "sms=-10"])
    assert result.exit_code == 0, result.output
    assert "billed INR lines: difference 0.00" in " ".join(result.output.split())
    wrong = CliRunner().invoke(billing, ["simulate", *months, "--percent", "sms=much"])
    assert wrong.exit_code == 1
