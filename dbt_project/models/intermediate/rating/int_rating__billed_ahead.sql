-- What the invoices of the periods before billed in advance for the periods of the month, and the
-- credit that they kept; as `billing.subscriptions.ahead`. Within the month, what a period keeps is
-- worked out with the next one, unless it is issued already.
with own as (
    select distinct
        billing_period_id, subscription_id, invoice_month, period_start, minor_exponent
    from {{ ref("int_rating__segment_charges") }}
    where not is_ahead
),

before as (
    select
        own.billing_period_id,
        own.minor_exponent,
        to_char(own.period_start, 'YYYYMMDD') as first_day,
        periods.invoice_month,
        own.subscription_id::text || ':' || to_char(periods.period_start, 'YYYYMMDD') as line_period
    from own
    inner join {{ ref("stg_billing__billing_periods") }} as periods
        on periods.subscription_id = own.subscription_id
        and periods.period_end = own.period_start
        and (periods.invoice_month < own.invoice_month or {{ is_issued("periods") }})
),

lines as (
    select * from {{ ref("stg_billing__invoiced_lines") }}
    where invoice_month in (select invoice_month from before)
),

entries as (
    select
        before.billing_period_id,
        lines.line_key,
        lines.line_key like '%:credit:kept' as is_kept,
        lines.amount_minor,
        coalesce(
            sum({{ to_minor("(entry ->> 'amount')::numeric", "before.minor_exponent") }})
                filter (where entry ->> 'kind' in ('coupon', 'credit')),
            0
        ) as taken_off_minor,
        coalesce(
            sum({{ to_minor("(entry ->> 'amount')::numeric", "before.minor_exponent") }})
                filter (where entry ->> 'kind' = 'coupon'),
            0
        ) as coupon_minor,
        coalesce(
            sum({{ to_minor("(entry ->> 'left')::numeric", "before.minor_exponent") }}), 0
        ) as left_minor
    from before
    inner join lines
        on lines.line_period = before.line_period
        and lines.invoice_month = before.invoice_month
        and (lines.line_key like '%:credit:kept' or left(lines.line_key, 8) >= before.first_day)
    left join lateral jsonb_array_elements(lines.tier_breakdown) as entry on true
    group by
        before.billing_period_id,
        lines.line_ref,
        lines.line_key,
        lines.amount_minor
)

select
    billing_period_id,
    line_key,
    is_kept,
    amount_minor - taken_off_minor as amount_minor,
    amount_minor - taken_off_minor + coupon_minor as paid_minor,
    left_minor
from entries
