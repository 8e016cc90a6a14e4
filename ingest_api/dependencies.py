"""What endpoints ask for: sessions, a command's context, a page, the envelope.

A unit of work has `scope="function"`: it commits before the answer leaves, so that a failed
commit is an error and never a success that was not kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Query
from pydantic import StringConstraints, ValidationError
from sqlalchemy.orm import Session

from billing.commands import Context, Request
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import InvalidError
from ingest_api.auth import CurrentActor
from ingest_api.envelope import DEFAULT_LIMIT, MAX_LIMIT, Reply
from ingest_api.field_errors import field_errors
from ingest_api.services import Services, services_of

CurrentServices = Annotated[Services, Depends(services_of)]

RequestT = TypeVar("RequestT", bound=Request)


def reading(services: CurrentServices) -> Iterator[Session]:
    """A session that cannot write."""
    with read_only(services.engine) as session:
        yield session


def writing(services: CurrentServices) -> Iterator[Session]:
    """A session that commits when the endpoint returns, and rolls back when it raises."""
    with unit_of_work(services.engine) as session:
        yield session


ReadSession = Annotated[Session, Depends(reading, scope="function")]
WriteSession = Annotated[Session, Depends(writing, scope="function")]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="A name of your choice for this request. Sent again with the same input, "
        "nothing is done twice and the answer is that of the first time; with other input it is "
        "a conflict.",
    ),
]


def command_context(
    session: WriteSession,
    actor: CurrentActor,
    services: CurrentServices,
    idempotency_key: IdempotencyKey = None,
) -> Context:
    """What a command runs in."""
    return Context(session, actor, services.clock, idempotency_key)


Commands = Annotated[Context, Depends(command_context, scope="function")]


def reply_of(services: CurrentServices) -> Reply:
    """The envelope of this request."""
    return Reply(services.clock)


Envelope = Annotated[Reply, Depends(reply_of)]

SearchText = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Free text in a query; control characters never reach the database."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is wanted."""

    limit: int
    after: UUID | None

    @property
    def fetch(self) -> dict[str, Any]:
        """Arguments for a repository: one row more than shown tells whether the list goes on."""
        return {"limit": self.limit + 1, "after": self.after}


def page_request(
    limit: Annotated[
        int, Query(ge=1, le=MAX_LIMIT, description="At most this many.")
    ] = DEFAULT_LIMIT,
    after: Annotated[UUID | None, Query(description="`meta.page.next` of the page before.")] = None,
) -> PageRequest:
    """The page that the query asks for."""
    return PageRequest(limit, after)


Paging = Annotated[PageRequest, Depends(page_request)]


def build(request: type[RequestT], **fields: Any) -> RequestT:
    """A command's input from the parts of a request.

    Raises:
        InvalidError: with the wrong fields, if the parts do not fit together.
    """
    try:
        return request(**fields)
    except ValidationError as error:
        wrong = field_errors(error.errors())
        raise InvalidError(
            "The request is not valid.", code="invalid_request", fields=wrong
        ) from error
