"""Commands on catalogue subsets, and the list of them."""

from collections.abc import Collection, Sequence
from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.requests import Code, Named
from billing.catalog.tables import PricePlan
from billing.commands import Context, Request, command
from billing.customers.tables import Customer
from billing.errors import ConflictError, FieldError, InvalidError, not_found
from billing.subsets.tables import CatalogueSubset, SubsetCustomer, SubsetEntry

Codes = Annotated[tuple[Code, ...], Field(max_length=500)]
CustomerIds = Annotated[tuple[UUID, ...], Field(max_length=10_000)]


class CreateSubset(Named):
    """Plans that some customers choose among, instead of the whole catalogue."""

    is_exclusive: bool = False
    """Whether nobody else is offered its plans."""
    plan_codes: Codes = ()
    families: Codes = ()
    """All tiers of these, those that are yet to come too."""
    customer_ids: CustomerIds = ()


class SubsetChanges(Request):
    """What is to be other than it was; a list takes the place of the one before."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    is_exclusive: bool | None = None
    plan_codes: Codes | None = None
    families: Codes | None = None
    customer_ids: CustomerIds | None = None


class ChangeSubset(SubsetChanges):
    """Other plans or customers for a subset."""

    subset_id: UUID


@command("catalogue_subset.create", Permission.CATALOG_WRITE)
def create_subset(ctx: Context, request: CreateSubset) -> CatalogueSubset:
    """Name plans that some customers are offered."""
    if ctx.session.scalar(select(CatalogueSubset.id).filter_by(code=request.code)):
        raise ConflictError(f"The code {request.code} is taken; choose another.", code="code_taken")
    now = ctx.clock.now()
    subset = CatalogueSubset(
        code=request.code,
        name=request.name,
        is_exclusive=request.is_exclusive,
        entries=_entries(ctx.session, request.plan_codes, request.families),
        customers=_customers(ctx.session, request.customer_ids),
        created_at=now,
        updated_at=now,
    )
    ctx.session.add(subset)
    return subset


@command("catalogue_subset.change", Permission.CATALOG_WRITE)
def change_subset(ctx: Context, request: ChangeSubset) -> CatalogueSubset:
    """Offer other plans, or to others; subscriptions that there are stay as they are."""
    subset = ctx.session.get(CatalogueSubset, request.subset_id, with_for_update=True)
    if subset is None:
        raise not_found("catalogue subset", request.subset_id)
    subset.name = subset.name if request.name is None else request.name
    if request.is_exclusive is not None:
        subset.is_exclusive = request.is_exclusive
    if request.plan_codes is not None or request.families is not None:
        plans = [one.plan_id for one in subset.entries if one.plan_id is not None]
        before = ctx.session.scalars(select(PricePlan.code).where(PricePlan.id.in_(plans)))
        codes = tuple(before) if request.plan_codes is None else request.plan_codes
        kept = tuple(one.family for one in subset.entries if one.family is not None)
        families = kept if request.families is None else request.families
        subset.entries = _entries(ctx.session, codes, families)
    if request.customer_ids is not None:
        wanted = set(request.customer_ids)
        here = {one.customer_id for one in subset.customers}
        subset.customers = [
            *(one for one in subset.customers if one.customer_id in wanted),
            *_customers(ctx.session, wanted - here),
        ]
    subset.updated_at = ctx.clock.now()
    return subset


def list_subsets(session: Session, actor: Actor) -> Sequence[CatalogueSubset]:
    """All subsets by code."""
    actor.require(Permission.CATALOG_READ)
    return session.scalars(select(CatalogueSubset).order_by(CatalogueSubset.code)).all()


def plan_codes_of(session: Session, subsets: Collection[CatalogueSubset]) -> dict[UUID, str]:
    """The codes of the plans that subsets name, by their ids."""
    ids = {entry.plan_id for one in subsets for entry in one.entries if entry.plan_id is not None}
    found = session.execute(select(PricePlan.id, PricePlan.code).where(PricePlan.id.in_(ids)))
    return {plan_id: code for plan_id, code in found}  # noqa: C416


def _entries(
    session: Session, plan_codes: Sequence[str], families: Sequence[str]
) -> list[SubsetEntry]:
    found = session.execute(
        select(PricePlan.code, PricePlan.id, PricePlan.family).where(
            PricePlan.code.in_(plan_codes) | PricePlan.family.in_(families)
        )
    ).all()
    plans = {code: plan_id for code, plan_id, _ in found}
    known = {family for *_, family in found}
    wrong = [
        FieldError(f"plan_codes.{at}", f"there is no plan {code}")
        for at, code in enumerate(plan_codes)
        if code not in plans
    ]
    wrong += [
        FieldError(f"families.{at}", f"no plan is of the family {family}")
        for at, family in enumerate(families)
        if family not in known
    ]
    if not plan_codes and not families:
        wrong.append(FieldError("plan_codes", "name a plan or a family"))
    if wrong:
        raise InvalidError("The subset cannot be offered like this.", fields=wrong)
    return [
        *(SubsetEntry(plan_id=plans[code]) for code in dict.fromkeys(plan_codes)),
        *(SubsetEntry(family=family) for family in dict.fromkeys(families)),
    ]


def _customers(session: Session, customer_ids: Collection[UUID]) -> list[SubsetCustomer]:
    known = set(session.scalars(select(Customer.id).where(Customer.id.in_(customer_ids))))
    if missing := sorted(set(customer_ids) - known):
        raise InvalidError(
            "The subset cannot be offered like this.",
            fields=[FieldError("customer_ids", f"there is no customer {missing[0]}")],
        )
    return [SubsetCustomer(customer_id=one) for one in sorted(known)]
