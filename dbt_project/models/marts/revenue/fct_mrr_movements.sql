with months as (select month from {{ ref("int_revenue__months") }}),

by_customer as (
    select month, customer_id, sum(mrr_inr_minor) as mrr_inr_minor
    from {{ ref("fct_mrr_monthly") }}
    group by month, customer_id
),

first_months as (
    select customer_id, min(month) as first_month
    from by_customer
    where mrr_inr_minor > 0
    group by customer_id
),

-- Every month from a customer's first on, the empty ones too: leaving is a month without revenue.
spine as (
    select
        months.month,
        first_months.customer_id,
        first_months.first_month,
        coalesce(by_customer.mrr_inr_minor, 0) as mrr_inr_minor
    from first_months
    inner join months on months.month >= first_months.first_month
    left join by_customer
        on by_customer.month = months.month
        and by_customer.customer_id = first_months.customer_id
),

with_previous as (
    select
        *,
        coalesce(
            lag(mrr_inr_minor) over (partition by customer_id order by month), 0
        ) as previous_inr_minor
    from spine
)

select
    month,
    customer_id,
    case
        when month = first_month then 'new'
        when previous_inr_minor = 0 then 'reactivation'
        when mrr_inr_minor = 0 then 'churn'
        when mrr_inr_minor > previous_inr_minor then 'expansion'
        else 'contraction'
    end as movement,
    (mrr_inr_minor - previous_inr_minor)::bigint as amount_inr_minor
from with_previous
where mrr_inr_minor <> previous_inr_minor
