"""From an event and its account to what admission needs: the price, the counter, the row."""

from billing.usage.event import UsageEvent
from billing.usage.row import encode_row
from billing.wallets.journal import Admission
from billing.wallets.rate_card import BillableAccount


def admission_of(account: BillableAccount, event: UsageEvent) -> Admission:
    """The event on its way in.

    Raises:
        OverflowError: if it costs more than a wallet can hold.
    """
    price = account.price(event.event_type, event.dimensions, event.occurred_us)
    wallet_id, amount, count, counted = account.wallet_id, 0, None, None
    if wallet_id is not None:
        amount = account.amount_units(price, event.quantity)
        if price.counted is not None:
            count = account.count(price, event.quantity, event.occurred_us)
    if count is not None:
        amount, counted = 0, (count.counted_on, count.quantity)
    row = encode_row(
        account.head,
        price.rate_field,
        amount,
        event,
        card_version=account.card_version,
        counted=counted,
    )
    return Admission(event.digest, event.body_hash, wallet_id, amount, row, count)
