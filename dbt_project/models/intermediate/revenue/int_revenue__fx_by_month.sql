-- Rupees for one unit of each currency at each month's end: the last rate published by then.
with months as (select * from {{ ref("int_revenue__months") }}),

currencies as (select * from {{ ref("stg_billing__currencies") }}),

rates as (select * from {{ ref("stg_billing__fx_rates") }})

select distinct on (months.month, currencies.currency)
    months.month,
    currencies.currency,
    currencies.minor_exponent,
    case when currencies.currency = 'INR' then 1::numeric else rates.inr_per_unit end
        as inr_per_unit
from months
cross join currencies
left join rates
    on rates.currency = currencies.currency
    and rates.rate_date <= months.last_day
order by months.month, currencies.currency, rates.rate_date desc nulls last
