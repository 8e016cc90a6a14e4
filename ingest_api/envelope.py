"""The one shape of every answer: data with its meta, or an error with its reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from billing.clock import Clock

API_VERSION: Final = "1.0"
DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def plain_decimal(number: Decimal) -> str:
    """A decimal as people write it: no exponent, no zeros behind the last digit that counts."""
    return format(number.normalize() + 0, "f")


Amount = Annotated[Decimal, PlainSerializer(plain_decimal, return_type=str)]
"""A decimal in an answer; text, because a JSON number would be read as a float."""

AttributesT = TypeVar("AttributesT", bound=BaseModel)
DataT = TypeVar("DataT")
RowT = TypeVar("RowT")


class Attributes(BaseModel):
    """Base of what a resource says of itself; read straight from a row."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Reference(BaseModel):
    """Points at another resource."""

    id: str
    type: str


class Resource(BaseModel, Generic[AttributesT]):
    """One thing the API knows."""

    id: str
    type: str
    attributes: AttributesT
    relationships: dict[str, Reference | None] = Field(default_factory=dict)


class Page(BaseModel):
    """Where a list goes on: pass `next` as `after`; null means that this was all."""

    limit: int
    next: str | None


class Meta(BaseModel):
    """About the answer itself."""

    timestamp: datetime
    version: Literal["1.0"] = API_VERSION


class ListMeta(Meta):
    """About a list."""

    page: Page


class Answer(BaseModel, Generic[AttributesT]):
    """One resource."""

    status: Literal["success"] = "success"
    data: Resource[AttributesT]
    meta: Meta


class ListAnswer(BaseModel, Generic[AttributesT]):
    """A page of resources."""

    status: Literal["success"] = "success"
    data: list[Resource[AttributesT]]
    meta: ListMeta


class FieldProblem(BaseModel):
    """One wrong field, by its path, and what to do about it."""

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong. `reference` finds the request in our logs."""

    code: str
    message: str
    fields: list[FieldProblem] = Field(default_factory=list)
    details: dict[str, Any] = Field(default_factory=dict)
    reference: UUID


class ErrorAnswer(BaseModel):
    """Every failure, whatever its status."""

    status: Literal["error"] = "error"
    error: Problem
    meta: Meta


@dataclass(frozen=True, slots=True)
class Reply:
    """Puts rows into the envelope, with the time of the answer."""

    clock: Clock

    def one(self, resource: Resource[AttributesT]) -> Answer[AttributesT]:
        """An answer of one resource."""
        return Answer(data=resource, meta=Meta(timestamp=self.clock.now()))

    def page(
        self,
        rows: Sequence[RowT],
        limit: int,
        convert: Callable[[RowT], Resource[AttributesT]],
        next_page: str | None = None,
    ) -> ListAnswer[AttributesT]:
        """A page of at most `limit` rows; one more in `rows` tells that the list goes on.

        Args:
            next_page: where it goes on, if not after the id of the last row shown.
        """
        shown = [convert(row) for row in rows[:limit]]
        following = (next_page or shown[-1].id) if len(rows) > limit else None
        return self._list(shown, Page(limit=limit, next=following))

    def all(
        self, rows: Sequence[RowT], convert: Callable[[RowT], Resource[AttributesT]]
    ) -> ListAnswer[AttributesT]:
        """A list that is always whole; without rows it still says no limit of 0."""
        limit = max(len(rows), DEFAULT_LIMIT)
        return self._list([convert(row) for row in rows], Page(limit=limit, next=None))

    def _list(self, shown: list[Resource[AttributesT]], page: Page) -> ListAnswer[AttributesT]:
        return ListAnswer(data=shown, meta=ListMeta(timestamp=self.clock.now(), page=page))


def refer(**targets: tuple[str, UUID | None]) -> dict[str, Reference | None]:
    """Relationships by name, each given as a type and an id or None."""
    return {
        name: Reference(id=str(target_id), type=kind) if target_id else None
        for name, (kind, target_id) in targets.items()
    }
