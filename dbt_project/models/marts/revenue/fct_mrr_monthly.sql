with recurring as (select * from {{ ref("int_revenue__recurring_months") }}),

usage_revenue as (
    select
        invoice_month as month,
        account_id,
        customer_id,
        currency,
        sum(amount_minor) as usage_revenue_minor
    from {{ ref("fct_invoice_lines") }}
    where not is_recurring
    group by invoice_month, account_id, customer_id, currency
),

fx as (select * from {{ ref("int_revenue__fx_by_month") }}),

account_months as (
    select
        coalesce(recurring.month, usage_revenue.month) as month,
        coalesce(recurring.account_id, usage_revenue.account_id) as account_id,
        coalesce(recurring.customer_id, usage_revenue.customer_id) as customer_id,
        coalesce(recurring.currency, usage_revenue.currency) as currency,
        coalesce(recurring.mrr, 0) as mrr,
        coalesce(usage_revenue.usage_revenue_minor, 0) as usage_revenue_minor
    from recurring
    full outer join usage_revenue
        on usage_revenue.month = recurring.month
        and usage_revenue.account_id = recurring.account_id
        and usage_revenue.currency = recurring.currency
)

select
    account_months.month,
    account_months.customer_id,
    account_months.account_id,
    account_months.currency,
    {{ to_minor("account_months.mrr", "fx.minor_exponent") }} as mrr_minor,
    {{ to_minor("account_months.mrr * fx.inr_per_unit", 2) }} as mrr_inr_minor,
    account_months.usage_revenue_minor::bigint as usage_revenue_minor,
    {{
        to_minor(
            "account_months.usage_revenue_minor"
            " / power(10::numeric, fx.minor_exponent) * fx.inr_per_unit", 2
        )
    }} as usage_revenue_inr_minor
from account_months
inner join fx on fx.month = account_months.month and fx.currency = account_months.currency
