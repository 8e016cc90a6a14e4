"""The audit log: complete, chained, and telling when somebody altered it."""

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from tests.support.api import Api

_REMEDY = "ALTER TABLE billing.audit_log {} TRIGGER USER"


def test_every_change_is_logged_with_who_what_before_and_after(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    customer = new_customer("acme")
    path = f"/api/v1/customers/{customer}"
    api.call("PATCH", path, json={"name": "Acme"}, role=Role.FINANCE_ADMIN)
    newest, oldest = api.get(f"/audit?entity_id={customer}")
    assert oldest["attributes"]["command"] == "customer.create"
    assert newest["attributes"]["role"] == "finance_admin"
    assert newest["attributes"]["actor"] == "key:finance_admin"
    (changed,) = newest["attributes"]["changes"]["rows"]
    assert (changed["table"], changed["id"]) == ("customers", customer)
    assert changed["before"]["name"] == "Customer acme"
    assert changed["after"]["name"] == "Acme"


def test_reading_and_being_refused_leave_no_entry(api: Api) -> None:
    before = len(api.get("/audit?limit=200"))
    api.get("/customers")
    api.refused("POST", "/customers", 400, json={"code": "!", "name": ""})
    api.refused("POST", "/customers", 403, json={"code": "x-1", "name": "X"}, role=Role.SUPPORT)
    assert len(api.get("/audit?limit=200")) == before


def test_the_log_is_read_page_by_page_and_by_command(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    for number in range(3):
        new_customer(f"shop-{number}")
    answer = api.call("GET", "/api/v1/audit?command=customer.create&limit=2").json()
    rest = api.get(f"/audit?command=customer.create&after={answer['meta']['page']['next']}")
    sequence = [int(row["id"]) for row in (*answer["data"], *rest)]
    assert sequence == sorted(sequence, reverse=True)
    assert len(sequence) == 4  # three shops and the holder of the test's customer key


def test_the_database_refuses_to_change_the_log(api: Api) -> None:
    for statement in (
        "UPDATE billing.audit_log SET actor = 'nobody'",
        "DELETE FROM billing.audit_log",
        "TRUNCATE billing.audit_log",
    ):
        with pytest.raises(DBAPIError, match="append-only"), unit_of_work(api.engine) as session:
            session.execute(text(statement))


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE billing.audit_log SET entry = replace(entry, 'acme', 'evil') WHERE seq = {seq}",
        "UPDATE billing.audit_log SET hash = sha256('x') WHERE seq = {seq}",
        "DELETE FROM billing.audit_log WHERE seq = {seq}",
        "UPDATE billing.audit_log SET seq = 900 WHERE seq = {seq}",
    ],
)
def test_whoever_gets_around_the_database_is_found_by_the_chain(
    api: Api, new_customer: Callable[[str], str], tampering: str
) -> None:
    customer = new_customer("acme")
    new_customer("later")
    sound = api.get("/audit/verification")["attributes"]
    assert sound["intact"] is True
    (entry,) = api.get(f"/audit?entity_id={customer}")
    with unit_of_work(api.engine) as session:
        session.execute(text(_REMEDY.format("DISABLE")))
        session.execute(text(tampering.format(seq=int(entry["id"]))))
        session.execute(text(_REMEDY.format("ENABLE")))
    found = api.get("/audit/verification")["attributes"]
    assert found["intact"] is False
    assert f"entry {entry['id']}" in found["finding"]


def test_concurrent_commands_leave_a_chain_without_gaps(api: Api) -> None:
    calls = [
        ("POST", "/api/v1/customers", {"json": {"code": f"c-{number}", "name": "C"}})
        for number in range(12)
    ]
    assert {answer.status_code for answer in api.together(*calls)} == {201}
    verification = api.get("/audit/verification")["attributes"]
    assert verification["intact"] is True
    assert verification["entries"] == int(api.get("/audit?limit=1")[0]["id"])
