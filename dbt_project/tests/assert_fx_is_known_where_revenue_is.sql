-- Revenue in a currency without a rate would drop out of the totals in rupees.
select
    fx.month,
    fx.currency
from {{ ref("int_revenue__fx_by_month") }} as fx
where fx.inr_per_unit is null
    and (
        exists (
            select 1 from {{ ref("fct_invoice_lines") }} as lines
            where lines.invoice_month = fx.month and lines.currency = fx.currency
        )
        or exists (
            select 1 from {{ ref("int_revenue__recurring_months") }} as recurring
            where recurring.month = fx.month and recurring.currency = fx.currency
        )
    )
