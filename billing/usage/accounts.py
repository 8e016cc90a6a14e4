"""Whose usage an event is: by the account's id, or by an alias on the local day it happened."""

from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from billing.usage.event import UsageEvent
from billing.wallets.aliases import load_aliases
from billing.wallets.card_loader import load_account
from billing.wallets.rate_card import BillableAccount


def account_of(session: Session, event: UsageEvent) -> BillableAccount | None:
    """The account that an event names, compiled for pricing; None if it names none."""
    if not event.by_alias:
        try:
            return load_account(session, UUID(event.account))
        except ValueError:
            return None
    for one in load_aliases(session, event.account):
        account = load_account(session, one.account_id)
        if account is not None:
            day = event.occurred_at.astimezone(ZoneInfo(account.zone)).date()
            if one.valid_from <= day and (one.valid_to is None or day < one.valid_to):
                return account
    return None
