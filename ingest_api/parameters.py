"""Query parameters that a route does not know are refused, as unknown fields of a body are.

A filter with a typing mistake would otherwise be no filter: a list of everything, a page of the
beginning for ever.
"""

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from billing.errors import FieldError, InvalidError


async def known_parameters(request: Request) -> None:
    """Refuse a request whose query names something that its route does not read.

    Raises:
        InvalidError: naming each of them.
    """
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute):
        return
    parameters = get_flat_params(route.dependant)
    known = {one.alias for one in parameters if isinstance(one.field_info, Query)}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        there_are = f"known here: {', '.join(sorted(known))}" if known else "there are none here"
        raise InvalidError(
            "The request is not valid.",
            code="invalid_request",
            fields=[FieldError(name, f"is no parameter; {there_are}") for name in unknown],
        )
