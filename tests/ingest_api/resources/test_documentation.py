"""The API describes itself, wholly, and without the internet."""

import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.support.api import Api


@pytest.fixture
def described(api: Api) -> Any:
    """The document as a client gets it, without a key."""
    response = api.call("GET", "/openapi.json", role=None)
    assert response.status_code == 200
    return response.json()


def test_the_description_is_valid_openapi(described: Any) -> None:
    validate(described)


def test_every_operation_says_what_it_does_and_how_it_fails(described: Any) -> None:
    incomplete = []
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            failures = {"400", "401", "403", "503"} & responses.keys()
            described_failures = all(
                responses[status]["content"]["application/json"]["schema"]["$ref"].endswith(
                    "/ErrorAnswer"
                )
                for status in failures
            )
            complete = (
                operation.get("summary")
                and operation.get("description")
                and operation.get("tags")
                and failures == {"400", "401", "403", "503"}
                and described_failures
                and "422" not in responses
            )
            if not complete:
                incomplete.append((method, path))
    assert incomplete == []


def test_every_body_has_an_example(described: Any) -> None:
    without = [
        (method, path)
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation and "example" not in str(operation["requestBody"])
    ]
    assert without == []


def test_every_operation_but_health_and_signed_messages_asks_for_a_key(described: Any) -> None:
    scheme = described["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, operations in described["paths"].items():
        for operation in operations.values():
            secured = operation.get("security") == [{"ApiKey": []}]
            assert secured is not path.startswith(("/health", "/api/v1/webhooks/")), path


NAMED_OTHERWISE = {
    "/api/v1/events",
    "/api/v1/authorizations",
    "/api/v1/authorizations/{authorization_id}/release",
    "/api/v1/webhooks/{gateway}",
    "/api/v1/payments/{payment_id}/look-up",
    "/api/v1/payment-methods/{method_id}/look-up",
    "/api/v1/einvoices/{einvoice_id}/register",
    "/api/v1/einvoices/{einvoice_id}/cancel",
    "/api/v1/pricing/preview",
    "/api/v1/pricing/simulations",
    "/api/v1/pricing/comparisons",
    "/api/v1/subscriptions/preview",
    "/api/v1/subscriptions/{subscription_id}/preview",
    "/api/v1/plan-versions/{version_id}/migrations/preview",
    "/api/v1/document-templates/preview",
}
"""What carries a name of its own, or changes nothing by being repeated."""


def test_every_command_takes_an_idempotency_key(described: Any) -> None:
    without = [
        path
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if method in {"post", "put", "patch"}
        and path not in NAMED_OTHERWISE
        and "Idempotency-Key" not in {found["name"] for found in operation.get("parameters", [])}
    ]
    assert without == []


def test_operations_have_names_of_their_own(described: Any) -> None:
    names = [
        operation["operationId"]
        for operations in described["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names))


def test_the_page_and_all_it_loads_come_from_here(api: Api) -> None:
    page = api.call("GET", "/docs", role=None)
    assert page.status_code == 200
    assert not re.search(r"https?://|//[a-z]", page.text.replace("<!-- ", ""))
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 3
    for path in loaded:
        assert api.call("GET", path, role=None).status_code == 200
    assert '"validatorUrl": null' in page.text
