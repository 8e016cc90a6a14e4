-- Step 8 of rating: what was billed in advance and is not due any more is a credit that the lines use
-- up in their order; what they leave of it is kept on a line without an amount, for the next period.
with segment_charges as (select * from {{ ref("int_rating__segment_charges") }}),

lines as (select * from {{ ref("int_rating__coupon_lines") }}),

-- A coupon had made a line smaller: then its part is worth that much less.
credits as (
    select
        ahead.billing_period_id,
        sum(
            ahead.left_minor + case
                when ahead.is_kept or ahead.amount_minor = coalesce(lines.used_minor, 0) then 0
                else div(
                    2 * (ahead.amount_minor - coalesce(lines.used_minor, 0)) * ahead.paid_minor::numeric
                        + ahead.amount_minor,
                    2 * ahead.amount_minor
                )
            end
        ) as credit_minor
    from {{ ref("int_rating__billed_ahead") }} as ahead
    left join lines
        on lines.billing_period_id = ahead.billing_period_id
        and substr(lines.line_ref, 47) = ahead.line_key
    group by ahead.billing_period_id
),

due as (
    select
        lines.*,
        due_minor - coupon_minor as open_minor
    from lines
    where not is_billed_already
),

-- The periods of the month, such as weeks, in chains: each has what the one before kept. One whose
-- invoice is issued begins a chain anew, for what it kept is read there.
balances as (
    select
        periods.billing_period_id,
        periods.subscription_id,
        periods.period_start,
        coalesce(credits.credit_minor, 0) as credit_minor,
        coalesce(credits.credit_minor, 0) - coalesce(opened.open_minor, 0) as change_minor,
        count(*) filter (where periods.is_after_issued) over (
            partition by periods.subscription_id order by periods.period_start
        ) as chain
    from (
        select
            own.*,
            coalesce(
                lag({{ is_issued("own") }}) over (
                    partition by own.subscription_id order by own.period_start
                ),
                false
            ) as is_after_issued
        from (
            select distinct
                billing_period_id,
                subscription_id,
                account_id,
                invoice_month,
                period_start,
                period_end
            from segment_charges
            where not is_ahead
        ) as own
    ) as periods
    left join credits on credits.billing_period_id = periods.billing_period_id
    left join (
        select invoiced_period_id, sum(open_minor) as open_minor
        from due
        group by invoiced_period_id
    ) as opened on opened.invoiced_period_id = periods.billing_period_id
),

running as (
    select
        balances.*,
        sum(change_minor) over (
            partition by subscription_id, chain order by period_start
        ) as total_minor
    from balances
),

-- What no line could use by then: how far the total is above the least that it was.
lefts as (
    select
        running.*,
        total_minor - least(
            0, min(total_minor) over (partition by subscription_id, chain order by period_start)
        ) as left_minor
    from running
),

available as (
    select
        billing_period_id,
        left_minor,
        credit_minor + coalesce(
            lag(left_minor) over (partition by subscription_id, chain order by period_start), 0
        ) as credit_minor
    from lefts
),

credited as (
    select
        due.*,
        {{ used_up_in_order("available.credit_minor", "open_minor", "invoiced_period_id") }}
            as credited_minor
    from due
    inner join available on available.billing_period_id = due.invoiced_period_id
),

left_over as (select * from available where left_minor > 0),

first_charges as (
    select distinct on (billing_period_id) *
    from segment_charges
    where not is_ahead and added_on is null
    order by billing_period_id, covered_from, charge_ordinal
)

select
    {{ line_columns("invoiced_period_id as billing_period_id") }},
    case when used_minor + coupon_minor + credited_minor = 0 then unit_price end as unit_price,
    currency,
    {{ stored_amount("amount") }} - {{ from_minor("(used_minor + coupon_minor + credited_minor)", "minor_exponent") }} as amount,
    (open_minor - credited_minor)::bigint as amount_minor,
    is_recurring,
    tier_breakdown
    || {{ taken_off("billed_ahead", "used_minor", "minor_exponent") }}
    || {{ taken_off("coupon", "coupon_minor", "minor_exponent", code="coupon_code") }}
    || {{ taken_off("credit", "credited_minor", "minor_exponent") }} as tier_breakdown
from credited
union all
select
    first_charges.subscription_id::text
        || ':' || to_char(first_charges.period_start, 'YYYYMMDD')
        || ':' || to_char(first_charges.period_start, 'YYYYMMDD') || ':credit:kept' as line_ref,
    first_charges.invoice_month,
    first_charges.account_id,
    first_charges.customer_id,
    first_charges.subscription_id,
    first_charges.billing_period_id,
    first_charges.segment_id,
    first_charges.plan_version_id,
    first_charges.charge_id,
    'credit' as charge_code,
    null::uuid as rate_id,
    first_charges.item_code,
    first_charges.sac,
    'Credit kept for the next invoice' as description,
    first_charges.period_start,
    first_charges.period_end,
    first_charges.covered_from,
    first_charges.covered_to,
    1::numeric as quantity,
    0::numeric as free_quantity,
    0::bigint as event_count,
    'credit' as unit,
    null::numeric as unit_price,
    first_charges.currency,
    0::numeric as amount,
    0::bigint as amount_minor,
    false as is_recurring,
    jsonb_build_array(
        jsonb_build_object(
            'kind', 'kept',
            'left', {{ plain(from_minor("left_over.left_minor", "first_charges.minor_exponent")) }},
            'amount', '0'
        )
    ) as tier_breakdown
from left_over
inner join first_charges on first_charges.billing_period_id = left_over.billing_period_id
