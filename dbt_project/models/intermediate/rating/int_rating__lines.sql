-- Usage and flat lines with their names and words; amounts not rounded yet.
with usage_lines as (
    select
        billing_period_id,
        segment_id,
        charge_id,
        rate_id,
        event_count,
        quantity,
        free_quantity,
        amount,
        tier_breakdown,
        1 as billed_days,
        1 as whole_days
    from {{ ref("int_rating__usage_lines") }}
),

flat_lines as (
    select
        billing_period_id,
        segment_id,
        charge_id,
        rate_id,
        0::bigint as event_count,
        quantity,
        0::numeric as free_quantity,
        amount,
        tier_breakdown,
        billed_days,
        whole_days
    from {{ ref("int_rating__flat_lines") }}
    where rate_id is not null
),

priced as (
    select * from usage_lines
    union all
    select * from flat_lines
),

segment_charges as (select * from {{ ref("int_rating__segment_charges") }}),

rates as (select * from {{ ref("int_rating__rates") }}),

first_tiers as (
    select distinct on (rate_id) rate_id, unit_price, flat_amount
    from {{ ref("int_rating__rate_tiers") }}
    order by rate_id, ordinal
)

select
    {{ line_ref("segment_charges", "rates.rate_key") }} as line_ref,
    segment_charges.invoice_month,
    segment_charges.account_id,
    segment_charges.customer_id,
    segment_charges.subscription_id,
    priced.billing_period_id,
    priced.segment_id,
    segment_charges.plan_version_id,
    priced.charge_id,
    segment_charges.charge_code,
    priced.rate_id,
    segment_charges.item_code,
    segment_charges.sac,
    segment_charges.charge_name || coalesce(
        ' (' || nullif(
            concat_ws(
                ', ',
                {% for name in dimensions() -%}
                '{{ name }} ' || rates.{{ name }},
                {% endfor -%}
                case
                    when (segment_charges.covered_from, segment_charges.covered_to)
                        <> (segment_charges.period_start, segment_charges.period_end)
                        then to_char(segment_charges.covered_from, 'YYYY-MM-DD')
                            || ' to ' || to_char(segment_charges.covered_to - 1, 'YYYY-MM-DD')
                end,
                case
                    when priced.billed_days <> priced.whole_days
                        then priced.billed_days || ' of ' || priced.whole_days || ' days'
                end
            ),
            ''
        ) || ')',
        ''
    ) as description,
    segment_charges.period_start,
    segment_charges.period_end,
    segment_charges.covered_from,
    segment_charges.covered_to,
    priced.quantity,
    priced.free_quantity,
    priced.event_count,
    segment_charges.unit,
    case
        when segment_charges.tier_mode is not null then null
        when segment_charges.price_model in ('flat', 'licence', 'one_time')
            then first_tiers.flat_amount
        when segment_charges.price_model in ('per_unit', 'dynamic') then first_tiers.unit_price
    end as unit_price,
    segment_charges.currency,
    segment_charges.minor_exponent,
    priced.amount,
    segment_charges.price_model in ('flat', 'licence') as is_recurring,
    priced.tier_breakdown
from priced
inner join segment_charges
    on segment_charges.billing_period_id = priced.billing_period_id
    and segment_charges.segment_id = priced.segment_id
    and segment_charges.charge_id = priced.charge_id
inner join rates
    on rates.rate_id = priced.rate_id
    and rates.charge_id = priced.charge_id
inner join first_tiers on first_tiers.rate_id = priced.rate_id
