"""Several prices tried on the same usage, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.catalog.repository import get_version
from billing.commands import Request
from billing.errors import FieldError, InvalidError
from billing.rating.simulate import Difference, Simulation
from billing.simulations.impact import in_place_of_others
from billing.simulations.service import (
    ChangedPrices,
    ChosenUsage,
    OtherPrices,
    ReplacedCharge,
    ReplacedVersion,
    read_usage,
    simulate_on,
)


class Candidate(Request):
    """Prices that could be: whole versions in place of those in force, single charges, parts."""

    name: str = Field(min_length=1, max_length=100)
    version_ids: tuple[UUID, ...] = Field(default=(), max_length=20)
    """Templates, drafts or published versions, one of a plan; each takes the place of every version
    that its plan's subscribers were billed by."""
    charges: tuple[ReplacedCharge, ...] = Field(default=(), max_length=100)
    prices: tuple[ChangedPrices, ...] = Field(default=(), max_length=100)


class ComparePrices(ChosenUsage):
    """Whose usage of which months, and the prices to try on it."""

    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1, max_length=8)]

    @field_validator("candidates")
    @classmethod
    def _names_differ(cls, value: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        if len({one.name for one in value}) < len(value):
            raise ValueError("give each candidate a name of its own")
        return value


@dataclass(frozen=True, slots=True)
class SideBySide:
    """What something billed, and what each candidate would have, in minor units of one currency."""

    key: str | None
    """Of a customer its id; None for prices without a country or channel."""
    name: str | None
    currency: str
    before_minor: int
    after_minor: tuple[int, ...]
    """In the order of the candidates."""

    @property
    def differences_minor(self) -> tuple[int, ...]:
        """Positive where a candidate bills more."""
        return tuple(after - self.before_minor for after in self.after_minor)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidates on the same usage, each with the proof that the replay came out as billed."""

    names: tuple[str, ...]
    simulations: tuple[Simulation, ...]
    """One for each candidate, in their order."""

    @property
    def totals(self) -> list[SideBySide]:
        """By currency."""
        return self._side_by_side(lambda one: one.totals)

    @property
    def customers(self) -> list[SideBySide]:
        """By customer, the largest difference of any candidate first."""
        return self._side_by_side(lambda one: one.customers)

    @property
    def channels(self) -> list[SideBySide]:
        """By channel, in the same order."""
        return self._side_by_side(lambda one: one.channels)

    @property
    def countries(self) -> list[SideBySide]:
        """By country, in the same order."""
        return self._side_by_side(lambda one: one.countries)

    @property
    def charges(self) -> list[SideBySide]:
        """By charge, in the same order; a candidate without it bills 0."""
        return self._side_by_side(lambda one: one.charges)

    def _side_by_side(self, of: Callable[[Simulation], Sequence[Difference]]) -> list[SideBySide]:
        found = [
            {(row.currency, row.key): row for row in of(simulation)}
            for simulation in self.simulations
        ]
        rows = []
        for place in {place: None for rows_of_one in found for place in rows_of_one}:
            known = next(one[place] for one in found if place in one)
            after = tuple(one[place].after_minor if place in one else 0 for one in found)
            rows.append(
                SideBySide(known.key, known.name, known.currency, known.before_minor, after)
            )
        return sorted(
            rows,
            key=lambda row: (
                row.currency,
                -max(abs(one) for one in row.differences_minor),
                row.name or "",
            ),
        )


def compare_prices(session: Session, actor: Actor, request: ComparePrices) -> Comparison:
    """Rate the usage of the months by each candidate's prices; it is read once. Stores nothing.

    Raises:
        InvalidError: with every field that is wrong.
        NotFoundError: if a version is not there.
        PreconditionError: if events that have to be read are in an archive alone.
    """
    wanted = [_asked(session, actor, at, one) for at, one in enumerate(request.candidates)]
    usage = read_usage(session, actor, request)
    found = []
    for at, prices in enumerate(wanted):
        try:
            found.append(simulate_on(session, usage, prices))
        except InvalidError as error:
            fields = [
                replace(field, field=f"candidates.{at}.{field.field}") for field in error.fields
            ]
            raise InvalidError(error.message, code=error.code, fields=fields) from error
    return Comparison(tuple(one.name for one in request.candidates), tuple(found))


def _asked(session: Session, actor: Actor, at: int, candidate: Candidate) -> OtherPrices:
    replaced: list[ReplacedVersion] = []
    plans: set[UUID] = set()
    for place, version_id in enumerate(candidate.version_ids):
        version = get_version(session, actor, version_id)
        if version.plan_id in plans:
            raise InvalidError(
                "The comparison is not valid.",
                code="invalid_request",
                fields=[
                    FieldError(
                        f"candidates.{at}.version_ids.{place}",
                        "another version of the same plan stands before it",
                    )
                ],
            )
        plans.add(version.plan_id)
        replaced += in_place_of_others(session, version)
    return OtherPrices(versions=tuple(replaced), charges=candidate.charges, prices=candidate.prices)
