-- The month spine: from the first subscription to the last month that was rated.
with bounds as (
    select
        (
            select min(date_trunc('month', starts_on)::date)
            from {{ ref("stg_billing__subscriptions") }}
        ) as first_month,
        (select max(invoice_month) from {{ ref("stg_billing__rating_runs") }}) as last_month
)

select
    month_start::date as month,
    (month_start + interval '1 month' - interval '1 day')::date as last_day
from bounds
cross join lateral generate_series(first_month, last_month, interval '1 month') as month_start
