"""Who may use which route: declared on every one, and held for every role."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from billing.access.actor import Actor
from billing.access.roles import PERMISSIONS, Permission, Role
from ingest_api.auth import Gate, gates_of, needs, require_declared_permissions
from tests.support.api import Api

NOBODY = "01a1fd27-bde0-703b-a3de-4bcb27aa1eb3"
OPEN_TO_ALL = {
    "/health/live",
    "/health/ready",
    "/docs",
    "/openapi.json",
    "/api/v1/webhooks/{gateway}",
}


def _operations(app: FastAPI) -> Iterator[tuple[str, str, list[Gate]]]:
    """Every route of the framework as method, path and gates."""
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.path not in OPEN_TO_ALL:
            for method in sorted(route.methods or ()):
                yield method, str(route.path), gates_of(route.dependant)


def _filled(path: str) -> str:
    for name in ("source", "event_id", "alias"):
        path = path.replace(f"{{{name}}}", "x")
    parts = [NOBODY if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


def test_every_route_lets_in_exactly_the_roles_that_have_its_permission(api: Api) -> None:
    operations = list(_operations(api.app))
    assert len(operations) > 50
    wrong = []
    for method, path, gates in operations:
        calls: list[tuple[str, str, dict[str, Any]]] = [
            (method, _filled(path), {"role": role, "json": {"wrong": True}})
            for role in (None, *Role)
        ]
        anonymous, *answers = api.together(*calls)
        if anonymous.status_code != 401:
            wrong.append((method, path, "nobody", anonymous.status_code))
        for role, answer in zip(Role, answers, strict=True):
            allowed = all(_opens(gate, role) for gate in gates)
            if (answer.status_code in {401, 403}) == allowed or answer.status_code >= 500:
                wrong.append((method, path, role.value, answer.status_code))
    assert wrong == []


def _opens(gate: Gate, role: Role) -> bool:
    confined = role is Role.CUSTOMER
    return gate.permission in PERMISSIONS[role] and not (gate.staff_only and confined)


@pytest.mark.parametrize(
    ("method", "path", "roles"),
    [
        ("POST", "/customers", {Role.SUPER_ADMIN, Role.FINANCE_ADMIN}),
        ("POST", f"/customers/{NOBODY}/tax-profiles", {Role.SUPER_ADMIN, Role.FINANCE_ADMIN}),
        ("POST", "/accounts", {Role.SUPER_ADMIN, Role.FINANCE_ADMIN}),
        ("POST", "/subscriptions", {Role.SUPER_ADMIN, Role.FINANCE_ADMIN}),
        ("POST", f"/wallets/{NOBODY}/top-ups", {Role.SUPER_ADMIN, Role.FINANCE_ADMIN}),
        ("POST", f"/invoices/{NOBODY}/approve", {Role.SUPER_ADMIN, Role.FINANCE_ADMIN}),
        (
            "POST",
            f"/plan-versions/{NOBODY}/publish",
            {Role.SUPER_ADMIN, Role.FINANCE_ADMIN, Role.PRODUCT_ANALYST},
        ),
        ("POST", "/api-keys", {Role.SUPER_ADMIN}),
        ("GET", "/api-keys", {Role.SUPER_ADMIN}),
        ("GET", "/audit", {Role.SUPER_ADMIN, Role.FINANCE_ADMIN}),
        ("GET", "/customers", set(Role) - {Role.SENDER}),
        ("GET", "/wallets", set(Role) - {Role.SENDER}),
        ("GET", "/usage/daily", set(Role) - {Role.SENDER}),
        ("GET", "/price-plans", set(Role) - {Role.SENDER, Role.CUSTOMER}),
        ("GET", "/rating-runs", set(Role) - {Role.SENDER, Role.CUSTOMER}),
    ],
)
def test_the_permission_matrix_of_the_requirements_holds(
    api: Api, method: str, path: str, roles: set[Role]
) -> None:
    let_in = {
        role
        for role in Role
        if api.call(method, f"/api/v1{path}", role=role, json={}).status_code != 403
    }
    assert let_in == roles


def test_a_refusal_names_the_permission_that_is_missing(api: Api) -> None:
    error = api.refused("POST", "/customers", 403, json={}, role=Role.SUPPORT)
    assert error["code"] == "forbidden"
    assert error["details"] == {"role": "support", "permission": "customers.write"}


def test_a_route_that_declares_nothing_stops_the_start() -> None:
    router = APIRouter()

    @router.get("/open")
    def forgotten() -> None:
        """Says nothing of who may use it."""

    @router.get("/closed")
    def declared(actor: Annotated[Actor, needs(Permission.AUDIT_READ)]) -> None:
        """Says it."""

    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(router, prefix="/api")
    with pytest.raises(RuntimeError, match=r"permission: \['GET'\] /api/open$"):
        require_declared_permissions(app)
