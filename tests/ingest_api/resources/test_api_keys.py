"""API keys: issued, used, ended."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from billing.access.roles import Role
from billing.access.tables import ApiKey, AuditEntry
from billing.db.unit_of_work import read_only
from tests.support.api import Api


def test_a_new_key_works_and_its_secret_is_shown_once(api: Api) -> None:
    issued = api.post("/api-keys", {"name": "core", "role": "sender"})
    text = issued["attributes"]["key"]
    assert text.startswith(f"otpb_{issued['attributes']['prefix']}_")
    assert api.call("GET", "/api/v1/customers", key=text).status_code == 403
    listed = next(row for row in api.get("/api-keys") if row["id"] == issued["id"])
    assert "key" not in listed["attributes"]


def test_no_secret_and_no_hmac_of_it_stands_anywhere_in_the_audit_log(api: Api) -> None:
    text = api.post("/api-keys", {"name": "core", "role": "sender"})["attributes"]["key"]
    secret = text.rpartition("_")[2]
    with read_only(api.engine) as session:
        row = session.scalars(select(ApiKey).filter_by(name="core")).one()
        log = " ".join(session.scalars(select(AuditEntry.entry)))
    assert row.prefix in log
    assert secret not in log
    assert row.secret_hmac.hex() not in log
    assert secret.encode() not in row.secret_hmac


def test_a_repeated_request_gives_the_same_key_without_its_text(api: Api) -> None:
    body, headers = {"name": "core", "role": "sender"}, {"Idempotency-Key": "k-1"}
    first = api.post("/api-keys", body, headers=headers)
    again = api.post("/api-keys", body, headers=headers)
    assert again["id"] == first["id"]
    assert again["attributes"]["key"] is None


def test_a_revoked_key_is_nobodys(api: Api) -> None:
    issued = api.post("/api-keys", {"name": "core", "role": "support"})
    text = issued["attributes"]["key"]
    assert api.call("GET", "/api/v1/customers", key=text).status_code == 200
    revoked = api.post(f"/api-keys/{issued['id']}/revoke")
    assert api.call("GET", "/api/v1/customers", key=text).status_code == 401
    assert api.post(f"/api-keys/{issued['id']}/revoke") == revoked


def test_a_key_ends_when_it_expires(api: Api) -> None:
    ends = api.clock.now() + timedelta(hours=1)
    body = {"name": "guest", "role": "support", "expires_at": ends.isoformat()}
    text = api.post("/api-keys", body)["attributes"]["key"]
    assert api.call("GET", "/api/v1/customers", key=text).status_code == 200
    api.clock.advance(timedelta(hours=1))
    assert api.call("GET", "/api/v1/customers", key=text).status_code == 401


def test_an_end_needs_a_zone(api: Api) -> None:
    body = {"name": "guest", "role": "support", "expires_at": "2026-08-01T00:00:00"}
    error = api.refused("POST", "/api-keys", 400, json=body)
    assert [wrong["field"] for wrong in error["fields"]] == ["expires_at"]


@pytest.mark.parametrize("role", ["customer", "support"])
def test_a_customers_key_and_only_it_names_a_customer(
    api: Api, new_customer: Callable[[str], str], role: str
) -> None:
    customer = None if role == "customer" else new_customer("acme")
    body = {"name": "x", "role": role, "customer_id": customer}
    error = api.refused("POST", "/api-keys", 400, json=body)
    assert error["fields"][0]["field"] == "customer_id"


def test_a_name_stands_for_one_holder(api: Api, new_customer: Callable[[str], str]) -> None:
    first = {"name": "shop", "role": "customer", "customer_id": new_customer("acme")}
    second = first | {"customer_id": new_customer("other")}
    api.post("/api-keys", first)
    api.post("/api-keys", first)
    assert api.refused("POST", "/api-keys", 409, json=second)["code"] == "name_taken"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer x",
        "Bearer otpb_",
        "Bearer otpb__",
        "Bearer otpb_000000000000_" + "0" * 64,
        "Basic otpb_x_y",
        "Bearer otpb_%00_%00",
    ],
)
def test_a_key_that_is_none_is_unauthenticated(api: Api, header: str) -> None:
    response = api.call("GET", "/api/v1/customers", role=None, headers={"Authorization": header})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "unauthenticated"


def test_another_scheme_or_another_secret_does_not_open_a_known_prefix(api: Api) -> None:
    text = api.keys[Role.SUPER_ADMIN]
    for wrong in (
        text[:-1] + ("0" if text[-1] != "0" else "1"),
        text.replace("otpb_", "demo_"),
        text + "0",
        text.upper(),
    ):
        assert api.call("GET", "/api/v1/customers", key=wrong).status_code == 401
