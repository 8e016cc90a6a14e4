"""Every answer has the one shape, also those that no endpoint gives."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest
import structlog
from psycopg import sql
from sqlalchemy import text

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from ingest_api import errors
from tests.support.api import Api


def _check(response: httpx.Response) -> Any:
    body = response.json()
    assert datetime.fromisoformat(body["meta"]["timestamp"]) == datetime(
        2026, 7, 15, 4, 30, tzinfo=UTC
    )
    assert body["meta"]["version"] == "1.0"
    request_id = UUID(response.headers["x-request-id"])
    if response.is_success:
        assert body.keys() == {"status", "data", "meta"}
        assert body["status"] == "success"
    else:
        assert body.keys() == {"status", "error", "meta"}
        assert body["status"] == "error"
        assert body["error"].keys() == {"code", "message", "fields", "details", "reference"}
        assert UUID(body["error"]["reference"]) == request_id
    return body


def test_a_resource_and_a_list_have_the_shape_of_the_requirements(api: Api) -> None:
    created = _check(api.call("POST", "/api/v1/customers", json={"code": "acme", "name": "Acme"}))
    assert created["data"].keys() == {"id", "type", "attributes", "relationships"}
    listed = _check(api.call("GET", "/api/v1/customers?limit=1"))
    assert listed["meta"]["page"].keys() == {"limit", "next"}
    assert listed["data"][0].keys() == {"id", "type", "attributes", "relationships"}
    nothing = _check(api.call("GET", "/api/v1/billable-items"))
    assert (nothing["data"], nothing["meta"]["page"]) == ([], {"limit": 50, "next": None})


@pytest.mark.parametrize(
    ("method", "path", "role", "status", "code"),
    [
        ("GET", "/api/v1/nothing", Role.SUPER_ADMIN, 404, "no_such_route"),
        ("GET", "/", None, 404, "no_such_route"),
        ("GET", "/api/v1/customers/", Role.SUPER_ADMIN, 404, "no_such_route"),
        ("DELETE", "/api/v1/customers", Role.SUPER_ADMIN, 405, "method_not_allowed"),
        ("GET", "/api/v1/events", Role.SENDER, 405, "method_not_allowed"),
        ("GET", "/api/v1/customers", None, 401, "unauthenticated"),
        ("GET", "/api/v1/customers", Role.SENDER, 403, "forbidden"),
        ("GET", "/api/v1/customers?limit=0", Role.SUPER_ADMIN, 400, "invalid_request"),
        ("POST", "/api/v1/customers", Role.SUPER_ADMIN, 400, "invalid_request"),
        ("GET", "/docs/assets/nothing.js", None, 404, "no_such_route"),
    ],
)
def test_every_failure_has_it_too(
    api: Api, method: str, path: str, role: Role | None, status: int, code: str
) -> None:
    response = api.call(method, path, role=role)
    assert response.status_code == status
    assert _check(response)["error"]["code"] == code


def test_what_we_did_not_foresee_tells_a_reference_and_nothing_else(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(None, processors=[log], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(errors, "logger", logger)
    with unit_of_work(api.engine) as session:
        session.execute(text("ALTER TABLE billing.customers RENAME COLUMN email TO secret_email"))
    response = api.call("GET", "/api/v1/customers")
    assert response.status_code == 500
    error = _check(response)["error"]
    assert error["code"] == "unexpected"
    assert not re.search("email|sql|select|column|psycopg", response.text, re.IGNORECASE)
    assert {entry["reference"] for entry in log.entries} == {error["reference"]}


def test_a_database_that_is_away_is_said_so_with_a_time_to_come_back(
    api: Api, postgres_server: str
) -> None:
    api.engine.dispose()
    database = urlsplit(str(api.settings.database_url)).path.removeprefix("/")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(database))
        )
    response = api.call("GET", "/api/v1/customers")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert _check(response)["error"]["code"] == "database_away"


def test_answers_are_not_kept_by_caches_and_not_guessed_at(api: Api) -> None:
    headers = api.call("GET", "/api/v1/customers").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
