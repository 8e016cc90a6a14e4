-- All lines of the month: what was used or subscribed to, and what makes up for minimums and
-- commitments, which are whole minor units.
with made_up as (
    select * from {{ ref("int_rating__minimums") }}
    union all
    select * from {{ ref("int_rating__commitments") }}
    where rate_id is not null and due_minor > billed_minor
),

segment_charges as (select * from {{ ref("int_rating__segment_charges") }}),

lines as (
    select
        {{ line_ref("segment_charges", "made_up.rate_key") }} as line_ref,
        segment_charges.invoice_month,
        segment_charges.account_id,
        segment_charges.customer_id,
        segment_charges.subscription_id,
        segment_charges.billing_period_id,
        segment_charges.segment_id,
        segment_charges.plan_version_id,
        segment_charges.charge_id,
        segment_charges.charge_code,
        made_up.rate_id,
        segment_charges.item_code,
        segment_charges.sac,
        made_up.name || case
            when (segment_charges.covered_from, segment_charges.covered_to)
                <> (segment_charges.period_start, segment_charges.period_end)
                then ' (' || to_char(segment_charges.covered_from, 'YYYY-MM-DD')
                    || ' to ' || to_char(segment_charges.covered_to - 1, 'YYYY-MM-DD') || ')'
            else ''
        end as description,
        segment_charges.period_start,
        segment_charges.period_end,
        segment_charges.covered_from,
        segment_charges.covered_to,
        1::numeric as quantity,
        0::numeric as free_quantity,
        0::bigint as event_count,
        'period' as unit,
        segment_charges.currency,
        segment_charges.minor_exponent,
        made_up.kind,
        {{ from_minor("made_up.due_minor", "segment_charges.minor_exponent") }} as due,
        {{ from_minor("made_up.billed_minor", "segment_charges.minor_exponent") }} as billed
    from made_up
    inner join segment_charges
        on segment_charges.billing_period_id = made_up.billing_period_id
        and segment_charges.segment_id = made_up.segment_id
        and segment_charges.charge_id = made_up.charge_id
)

select * from {{ ref("int_rating__limited_lines") }}
union all
select
    {{ line_columns() }},
    due - billed as unit_price,
    currency,
    minor_exponent,
    due - billed as amount,
    false as is_recurring,
    jsonb_build_array(
        jsonb_build_object(
            'kind', kind,
            'due', {{ plain("due") }},
            'billed', {{ plain("billed") }},
            'amount', {{ plain("due - billed") }}
        )
    ) as tier_breakdown
from lines
