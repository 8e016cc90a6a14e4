select
    id as rate_id,
    account_id,
    number,
    plan_id,
    charge_code,
    deck_id as rate_deck_id,
    currency,
    match,
    starts_on,
    ends_on
from {{ source('billing', 'price_overrides') }}
