select
    wallet_id,
    account_id,
    customer_id,
    movement_day,
    kind,
    currency,
    sum(amount_units)::bigint as amount_units,
    count(*) as entries
from {{ ref("int_wallets__entries") }}
group by wallet_id, account_id, customer_id, movement_day, kind, currency
