"""Which plans a customer may be offered.

A customer of one or more subsets chooses among their plans. Everybody else has the whole catalogue,
without the plans of exclusive subsets. Only what is new is asked: nobody loses a plan by a subset.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.tables import PlanVersion, PricePlan, VersionStatus
from billing.customers.repository import get_customer
from billing.errors import PreconditionError
from billing.subsets.tables import CatalogueSubset, SubsetCustomer, SubsetEntry

_LISTED: Final = or_(SubsetEntry.plan_id == PricePlan.id, SubsetEntry.family == PricePlan.family)
"""An entry that names a plan, by itself or with its family."""


def list_offered(
    session: Session, actor: Actor, customer_id: UUID, *, family: str | None = None
) -> Sequence[PricePlan]:
    """The plans on sale that a customer may be offered, by family, tier and code."""
    actor.require(Permission.CATALOG_READ)
    get_customer(session, actor, customer_id)
    query = (
        select(PricePlan)
        .join(PlanVersion, PlanVersion.plan_id == PricePlan.id)
        .where(
            PlanVersion.status == VersionStatus.ACTIVE,
            PricePlan.archived_at.is_(None),
            _is_offered(session, customer_id),
        )
        .order_by(PricePlan.family, PricePlan.tier, PricePlan.code)
    )
    if family is not None:
        query = query.where(PricePlan.family == family)
    return session.scalars(query).all()


def refuse_not_offered(session: Session, customer_id: UUID, plan_id: UUID) -> None:
    """Sell a customer nothing that is not in its part of the catalogue.

    Raises:
        PreconditionError: naming the subsets that decide it.
    """
    offered = select(PricePlan.id).where(PricePlan.id == plan_id, _is_offered(session, customer_id))
    if session.scalar(offered) is not None:
        return
    plan = session.get_one(PricePlan, plan_id)
    mine = _subsets_of(session, customer_id)
    if mine:
        names = ", ".join(one.name for one in mine)
        why = f"The plan {plan.code} is not among those that the customer is offered: {names}."
        codes = [one.code for one in mine]
    else:
        listed = exists().where(
            SubsetEntry.subset_id == CatalogueSubset.id, PricePlan.id == plan_id, _LISTED
        )
        held = session.scalars(
            select(CatalogueSubset)
            .where(CatalogueSubset.is_exclusive, listed)
            .order_by(CatalogueSubset.code)
        ).all()
        names = ", ".join(one.name for one in held)
        why = f"The plan {plan.code} is offered to the customers of {names} alone."
        codes = [one.code for one in held]
    raise PreconditionError(why, code="plan_not_offered", details={"subset_codes": codes})


def _subsets_of(session: Session, customer_id: UUID) -> Sequence[CatalogueSubset]:
    return session.scalars(
        select(CatalogueSubset)
        .join(SubsetCustomer, SubsetCustomer.subset_id == CatalogueSubset.id)
        .where(SubsetCustomer.customer_id == customer_id)
        .order_by(CatalogueSubset.code)
    ).all()


def _is_offered(session: Session, customer_id: UUID) -> ColumnElement[bool]:
    """Of a `PricePlan` that a query selects from."""
    mine = [one.id for one in _subsets_of(session, customer_id)]
    if mine:
        return exists().where(SubsetEntry.subset_id.in_(mine), _LISTED)
    return ~exists().where(
        SubsetEntry.subset_id == CatalogueSubset.id, CatalogueSubset.is_exclusive, _LISTED
    )
