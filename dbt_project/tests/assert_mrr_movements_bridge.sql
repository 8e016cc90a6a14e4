-- Revenue of the month before plus the movements must be the revenue of the month, or the bridge
-- that is shown does not end where the chart does.
with monthly as (
    select months.month, coalesce(sum(mrr.mrr_inr_minor), 0) as mrr_inr_minor
    from {{ ref("int_revenue__months") }} as months
    left join {{ ref("fct_mrr_monthly") }} as mrr on mrr.month = months.month
    group by months.month
),

movements as (
    select month, sum(amount_inr_minor) as amount_inr_minor
    from {{ ref("fct_mrr_movements") }}
    group by month
),

bridge as (
    select
        monthly.month,
        monthly.mrr_inr_minor,
        coalesce(lag(monthly.mrr_inr_minor) over (order by monthly.month), 0) as previous_inr_minor,
        coalesce(movements.amount_inr_minor, 0) as amount_inr_minor
    from monthly
    left join movements on movements.month = monthly.month
)

select * from bridge
where previous_inr_minor + amount_inr_minor <> mrr_inr_minor
