"""Parts of the catalogue that some customers are offered."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from billing.db.base import Base
from billing.ids import new_id


class CatalogueSubset(Base):
    """Plans that its customers choose among, instead of the whole catalogue."""

    __tablename__ = "catalogue_subsets"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    is_exclusive: Mapped[bool] = mapped_column(default=False)
    """Whether nobody else is offered its plans."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    entries: Mapped[list["SubsetEntry"]] = relationship(
        lazy="selectin", order_by="SubsetEntry.id", cascade="all, delete-orphan"
    )
    customers: Mapped[list["SubsetCustomer"]] = relationship(
        lazy="selectin", order_by="SubsetCustomer.customer_id", cascade="all, delete-orphan"
    )


class SubsetEntry(Base):
    """A plan of a subset, or a family: all its tiers, those that are yet to come too."""

    __tablename__ = "catalogue_subset_entries"
    __table_args__ = (CheckConstraint("num_nonnulls(plan_id, family) = 1", name="plan_or_family"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    subset_id: Mapped[UUID] = mapped_column(ForeignKey("billing.catalogue_subsets.id"), index=True)
    plan_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.price_plans.id"))
    family: Mapped[str | None]


class SubsetCustomer(Base):
    """A customer whose accounts are offered the subset."""

    __tablename__ = "catalogue_subset_customers"

    subset_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.catalogue_subsets.id"), primary_key=True
    )
    customer_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.customers.id"), primary_key=True, index=True
    )
