"""Daily usage, exchange rates, rating runs."""

from datetime import date

import pytest
from sqlalchemy import text

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from tests.support.api import Api
from tests.support.factories.parties import make_account
from tests.support.marts import make_rating_run

_MART = """
CREATE SCHEMA IF NOT EXISTS marts;
CREATE TABLE marts.fct_usage_daily (
    account_id uuid, customer_id uuid, usage_day date, event_type text, country text,
    channel text, status text, operator text, route text,
    traffic_type text, event_count bigint, quantity numeric, vendor_cost numeric
)
"""


def test_usage_is_empty_until_the_pipeline_has_run(api: Api) -> None:
    assert api.get("/usage/daily") == []


def test_usage_is_filtered_and_paged(api: Api) -> None:
    with unit_of_work(api.engine) as session:
        session.execute(text(_MART))
        account = make_account(session)
        for day in range(1, 6):
            for country in ("IN", "US"):
                session.execute(
                    text(
                        "INSERT INTO marts.fct_usage_daily VALUES (:account, :customer, :day, "
                        "'otp.sms', :country, 'sms', 'sent', 'unknown', 'direct', 'otp', "
                        "2, 2.50, 0.1)"
                    ),
                    {
                        "account": account.id,
                        "customer": account.customer_id,
                        "day": date(2026, 7, day),
                        "country": country,
                    },
                )
    path = "/api/v1/usage/daily?country=IN&from_day=2026-07-02&to_day=2026-07-05&limit=2"
    first = api.call("GET", path).json()
    rest = api.call("GET", f"{path}&after={first['meta']['page']['next']}").json()
    rows = [*first["data"], *rest["data"]]
    assert [row["attributes"]["usage_day"] for row in rows] == [
        "2026-07-02",
        "2026-07-03",
        "2026-07-04",
    ]
    assert {row["attributes"]["quantity"] for row in rows} == {"2.5"}
    assert rest["meta"]["page"]["next"] is None
    assert api.get(f"/usage/daily?account_id={account.id}&event_type=otp.email") == []


def test_a_rate_holds_until_the_next_one_and_is_never_changed(api: Api) -> None:
    body = {
        "currency": "USD",
        "rate_date": "2026-07-01",
        "inr_per_unit": "87.3150",
        "source": "RBI reference rate",
    }
    api.post("/fx-rates", body)
    api.post("/fx-rates", body | {"rate_date": "2026-07-10", "inr_per_unit": "88"})
    on = api.get("/fx-rates/on?currency=USD&day=2026-07-09")
    assert on["id"] == "USD:2026-07-01"
    assert on["attributes"]["inr_per_unit"] == "87.315"
    api.refused("GET", "/fx-rates/on?currency=USD&day=2026-06-30", 404)
    error = api.refused("POST", "/fx-rates", 409, json=body | {"inr_per_unit": "1"})
    assert error["code"] == "fx_rate_exists"
    assert [row["id"] for row in api.get("/fx-rates?currency=USD")] == [
        "USD:2026-07-10",
        "USD:2026-07-01",
    ]


@pytest.mark.parametrize(
    "wrong", [{"currency": "INR"}, {"inr_per_unit": "0"}, {"inr_per_unit": 1.5}]
)
def test_a_rate_is_a_positive_decimal_of_a_foreign_currency(
    api: Api, wrong: dict[str, object]
) -> None:
    body = {"currency": "USD", "rate_date": "2026-07-01", "inr_per_unit": "88", "source": "RBI"}
    error = api.refused("POST", "/fx-rates", 400, json=body | wrong)
    assert [found["field"] for found in error["fields"]] == list(wrong)


def test_rating_runs_are_for_staff(api: Api) -> None:
    with unit_of_work(api.engine) as session:
        run = make_rating_run(session, date(2026, 6, 1))
    (shown,) = api.get("/rating-runs")
    assert shown["id"] == str(run.id)
    assert shown["attributes"]["invoice_month"] == "2026-06-01"
    api.refused("GET", "/rating-runs", 403, role=Role.CUSTOMER)
