"""The life of plans, their versions and billable items: published, archived, retired, restored.

Nothing is deleted: subscribers keep the version that they have, and invoices what they say.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.catalog.repository import load_draft, load_plan, refuse_archived
from billing.catalog.requests import (
    ArchivePlan,
    DiscardVersion,
    PublishVersion,
    RestoreItem,
    RestorePlan,
    RetireItem,
)
from billing.catalog.tables import BillableItem, Charge, PlanVersion, PricePlan, VersionStatus
from billing.commands import Context, command
from billing.decks.rates import deck_versions
from billing.errors import PreconditionError, not_found
from billing.periods import DEFAULT_ZONE, local_day
from billing.subscriptions.tables import SubscriptionSegment


@command("plan_version.publish", Permission.CATALOG_WRITE)
def publish_version(ctx: Context, request: PublishVersion) -> PlanVersion:
    """Make a draft the active version; who subscribed to the one before stays on it."""
    version = load_draft(ctx.session, request.plan_version_id)
    if version.template is not None:
        raise PreconditionError(
            f"Version {version.version} is the template {version.template}, which is only compared "
            "with; copy it to a draft, and publish that.",
            code="version_is_template",
        )
    refuse_archived(load_plan(ctx.session, version.plan_id, lock=True))
    _require_deck_prices(ctx.session, version.charges)
    _refuse_retired(ctx.session, version.charges)
    before = ctx.session.scalars(
        select(PlanVersion)
        .filter_by(plan_id=version.plan_id, status=VersionStatus.ACTIVE)
        .with_for_update()
    ).one_or_none()
    if before is not None:
        before.status = VersionStatus.ARCHIVED
        ctx.session.flush()  # only one version of a plan may be active at a time
    version.status = VersionStatus.ACTIVE
    version.published_at = ctx.clock.now()
    return version


@command("plan_version.discard", Permission.CATALOG_WRITE)
def discard_version(ctx: Context, request: DiscardVersion) -> PlanVersion:
    """Give up a draft; it stays to be read, and nothing can be made of it any more."""
    version = load_draft(ctx.session, request.plan_version_id)
    version.status = VersionStatus.DISCARDED
    return version


@command("price_plan.archive", Permission.CATALOG_WRITE)
def archive_plan(ctx: Context, request: ArchivePlan) -> PricePlan:
    """Let nobody new have the plan; who has it is billed by it as before."""
    plan = load_plan(ctx.session, request.plan_id, lock=True)
    plan.archived_at = plan.archived_at or ctx.clock.now()
    return plan


@command("price_plan.restore", Permission.CATALOG_WRITE)
def restore_plan(ctx: Context, request: RestorePlan) -> PricePlan:
    """Sell an archived plan again, by the version that was active."""
    plan = load_plan(ctx.session, request.plan_id, lock=True)
    plan.archived_at = None
    return plan


@command("billable_item.retire", Permission.CATALOG_WRITE)
def retire_item(ctx: Context, request: RetireItem) -> BillableItem:
    """Make no new prices for an item that nobody buys.

    Raises:
        PreconditionError: if a plan on sale prices it, or somebody still has a version that does.
    """
    item = _locked_item(ctx.session, request.item_id)
    plans = _plans_with(ctx, item)
    if plans and item.retired_at is None:
        raise PreconditionError(
            f"The item {item.code} is priced by {', '.join(plans)}; archive what is on sale, and "
            "move who still has it.",
            code="item_in_use",
            details={"plan_codes": plans},
        )
    item.retired_at = item.retired_at or ctx.clock.now()
    return item


@command("billable_item.restore", Permission.CATALOG_WRITE)
def restore_item(ctx: Context, request: RestoreItem) -> BillableItem:
    """Let plans price a retired item again."""
    item = _locked_item(ctx.session, request.item_id)
    item.retired_at = None
    return item


def _locked_item(session: Session, item_id: UUID) -> BillableItem:
    item = session.get(BillableItem, item_id, with_for_update=True)
    if item is None:
        raise not_found("billable item", item_id)
    return item


def _plans_with(ctx: Context, item: BillableItem) -> list[str]:
    """The codes of the plans that new or running subscriptions buy the item by."""
    today = local_day(ctx.clock.now(), DEFAULT_ZONE)
    held = exists().where(
        SubscriptionSegment.plan_version_id == PlanVersion.id,
        or_(SubscriptionSegment.ends_on.is_(None), SubscriptionSegment.ends_on > today),
    )
    on_sale = and_(PlanVersion.status == VersionStatus.ACTIVE, PricePlan.archived_at.is_(None))
    found = ctx.session.scalars(
        select(PricePlan.code)
        .join(PlanVersion, PlanVersion.plan_id == PricePlan.id)
        .join(Charge, Charge.plan_version_id == PlanVersion.id)
        .where(Charge.item_id == item.id, or_(on_sale, held))
        .distinct()
        .order_by(PricePlan.code)
    )
    return list(found)


def _refuse_retired(session: Session, charges: Sequence[Charge]) -> None:
    """Items are held until the transaction ends, so that none is retired meanwhile."""
    items = session.execute(
        select(BillableItem.code, BillableItem.retired_at)
        .where(BillableItem.id.in_({charge.item_id for charge in charges}))
        .order_by(BillableItem.code)
        .with_for_update(read=True)
    )
    retired = [code for code, retired_at in items if retired_at is not None]
    if retired:
        raise PreconditionError(
            f"The item {retired[0]} is retired; restore it, or leave its charge out.",
            code="item_retired",
        )


def _require_deck_prices(session: Session, charges: Sequence[Charge]) -> None:
    published = deck_versions(
        session, {charge.rate_deck_id for charge in charges if charge.rate_deck_id is not None}
    )
    for charge in charges:
        if charge.rate_deck_id is not None and charge.rate_deck_id not in published:
            raise PreconditionError(
                f"The rate deck of the charge {charge.code} has no prices yet; publish a version "
                "of it first.",
                code="deck_without_prices",
            )
