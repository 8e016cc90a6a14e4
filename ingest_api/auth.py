"""Who is asking, and the gate that every route stands behind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.access.service import authenticate
from billing.db.unit_of_work import read_only
from billing.errors import ForbiddenError, UnauthenticatedError
from ingest_api.services import Services, services_of

_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="otpb_<prefix>_<secret>",
    description="An API key, sent as `Authorization: Bearer otpb_…`.",
    auto_error=False,
)

_DOCUMENTATION = frozenset({"/openapi.json", "/docs", "/docs/assets"})
"""Open to everybody: it says how to ask, not what the answers are."""


def current_actor(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    services: Annotated[Services, Depends(services_of)],
) -> Actor:
    """Who holds the key of this request."""
    if credentials is None:
        raise UnauthenticatedError("Send an API key: Authorization: Bearer otpb_…")
    with read_only(services.engine) as session:
        return authenticate(session, credentials.credentials, services.settings, services.clock)


CurrentActor = Annotated[Actor, Depends(current_actor)]


@dataclass(frozen=True)
class Gate:
    """Lets through whoever has a permission."""

    permission: Permission
    staff_only: bool = False
    """Also keeps out keys that are confined to one customer."""

    def __call__(self, actor: CurrentActor) -> Actor:
        """The actor, if it may pass."""
        actor.require(self.permission)
        if self.staff_only and actor.customer_id is not None:
            raise ForbiddenError("This is not for keys that are confined to one customer.")
        return actor


def needs(permission: Permission, *, staff_only: bool = False) -> Any:
    """The dependency by which a route declares who may use it; it gives the actor."""
    return Depends(Gate(permission, staff_only))


def public() -> None:
    """The dependency by which a route declares that anybody may use it."""


def gates_of(dependant: Dependant) -> list[Gate]:
    """The gates a route stands behind."""
    return [call for call in _calls(dependant) if isinstance(call, Gate)]


def require_declared_permissions(app: FastAPI) -> None:
    """Refuse to start with a route that does not say who may use it.

    Raises:
        RuntimeError: naming the routes.
    """
    undeclared = [
        f"{sorted(route.methods or ())} {route.path}"
        for route in iter_route_contexts(app.routes)
        if route.path not in _DOCUMENTATION and not _is_declared(route.original_route, route)
    ]
    if undeclared:
        raise RuntimeError(f"routes without a declared permission: {', '.join(undeclared)}")


def _is_declared(original: object, route: Any) -> bool:
    if not isinstance(original, APIRoute):
        return False
    dependant: Dependant = route.dependant
    return bool(gates_of(dependant)) or public in _calls(dependant)


def _calls(dependant: Dependant) -> list[Callable[..., Any] | None]:
    found = [dependant.call]
    for below in dependant.dependencies:
        found.extend(_calls(below))
    return found
