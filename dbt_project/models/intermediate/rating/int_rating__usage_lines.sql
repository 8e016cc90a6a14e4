-- Step 5 of rating for usage: the amount of a quantity is what the tiers below come to, plus the
-- flat amount and the units of the tier it ends in; where that tier prices all units, of all of
-- them. No unit, no tier entered, nothing to pay, unless the charge bills the first tier even then.
-- Percentages come from their events.
with measured as (select * from {{ ref("int_rating__measured") }}),

tiers as (select * from {{ ref("int_rating__tiers") }}),

priced as (
    select
        measured.billing_period_id,
        measured.segment_id,
        measured.charge_id,
        measured.rate_id,
        tiers.amount_below
            + tiers.flat_amount
            + {{
                packages_or_units(
                    "measured.billed_quantity - case when tiers.prices_all_units then 0 else tiers.above end",
                    "tiers.package_size",
                )
            }} * tiers.unit_price as amount
    from measured
    inner join tiers
        on tiers.rate_id = measured.rate_id
        and tiers.charge_id = measured.charge_id
        and (tiers.above < measured.billed_quantity or (measured.bills_zero and tiers.above = 0))
        and coalesce(tiers.up_to, 'infinity'::numeric) >= measured.billed_quantity
),

breakdowns as (
    select
        measured.billing_period_id,
        measured.segment_id,
        measured.charge_id,
        measured.rate_id,
        jsonb_agg(
            jsonb_build_object(
                'from', {{ plain("tiers.above") }},
                'to', {{ plain("tiers.up_to") }},
                'units', {{ plain("entered.units") }},
                'unit_price', {{ plain("tiers.unit_price") }},
                'flat_amount', {{ plain("tiers.flat_amount") }},
                'amount', {{
                    plain(
                        "tiers.flat_amount + "
                        ~ packages_or_units("entered.units", "tiers.package_size")
                        ~ " * tiers.unit_price"
                    )
                }}
            )
            || case
                when tiers.package_size is null then '{}'::jsonb
                else jsonb_build_object('package_size', {{ plain("tiers.package_size") }})
            end
            order by tiers.ordinal
        ) as tier_breakdown
    from measured
    inner join tiers
        on tiers.rate_id = measured.rate_id
        and tiers.charge_id = measured.charge_id
        and (tiers.above < measured.billed_quantity or (measured.bills_zero and tiers.above = 0))
        and (
            tiers.prices_all_units is not true
            or coalesce(tiers.up_to, 'infinity'::numeric) >= measured.billed_quantity
        )
    cross join lateral (
        select
            case
                when tiers.prices_all_units then measured.billed_quantity
                else least(tiers.up_to, measured.billed_quantity) - tiers.above
            end as units
    ) as entered
    group by
        measured.billing_period_id, measured.segment_id, measured.charge_id, measured.rate_id
)

select
    measured.billing_period_id,
    measured.segment_id,
    measured.charge_id,
    measured.rate_id,
    measured.event_count,
    measured.quantity,
    coalesce(percentages.free_quantity, measured.free_quantity) as free_quantity,
    coalesce(percentages.amount, priced.amount, 0) as amount,
    coalesce(percentages.tier_breakdown, breakdowns.tier_breakdown, '[]'::jsonb) as tier_breakdown
from measured
left join priced
    on priced.billing_period_id = measured.billing_period_id
    and priced.segment_id = measured.segment_id
    and priced.charge_id = measured.charge_id
    and priced.rate_id = measured.rate_id
left join breakdowns
    on breakdowns.billing_period_id = measured.billing_period_id
    and breakdowns.segment_id = measured.segment_id
    and breakdowns.charge_id = measured.charge_id
    and breakdowns.rate_id = measured.rate_id
left join {{ ref("int_rating__percentages") }} as percentages
    on percentages.billing_period_id = measured.billing_period_id
    and percentages.segment_id = measured.segment_id
    and percentages.charge_id = measured.charge_id
    and percentages.rate_id = measured.rate_id
