-- Analysed once it is made: without statistics what joins it is taken for a few rows, and was merged
-- by one of four columns.
{{ config(post_hook="analyze {{ this }}") }}

-- Tiers with what all tiers below them come to when full: one match then prices a quantity.
-- A volume or stairstep tier prices all units by itself: nothing below it counts.
-- A per-unit rate is one open tier without a flat amount; so is a rate for packages, whose unit
-- price is the price of a package; tiers may have package sizes of their own.
with tiers as (select * from {{ ref("int_rating__rate_tiers") }}),

rates as (select * from {{ ref("int_rating__rates") }}),

charges as (
    select * from {{ ref("stg_billing__charges") }}
    where price_model not in ('flat', 'licence', 'one_time', 'commitment', 'percentage')
),

normalised as (
    select
        rates.charge_id,
        tiers.rate_id,
        tiers.ordinal,
        charges.price_model,
        coalesce(tiers.package_size, charges.package_size) as package_size,
        tiers.unit_price,
        charges.price_model in ('volume', 'stairstep') as prices_all_units,
        case
            when charges.price_model in ('graduated', 'volume', 'stairstep') then tiers.flat_amount
            else 0
        end as flat_amount,
        case
            when charges.price_model in ('graduated', 'volume', 'stairstep') then tiers.up_to
        end as up_to,
        coalesce(lag(tiers.up_to) over rising, 0) as above,
        row_number() over rising as position
    from tiers
    inner join rates on rates.rate_id = tiers.rate_id
    inner join charges on charges.charge_id = rates.charge_id
    window rising as (partition by rates.charge_id, tiers.rate_id order by tiers.ordinal)
)

select
    charge_id,
    rate_id,
    ordinal,
    price_model,
    package_size,
    prices_all_units,
    above,
    up_to,
    unit_price,
    flat_amount,
    case
        when prices_all_units then 0
        else coalesce(
            sum(
                flat_amount
                + {{ packages_or_units("up_to - above", "package_size") }} * unit_price
            ) over (
                partition by charge_id, rate_id order by ordinal
                rows between unbounded preceding and 1 preceding
            ),
            0
        )
    end as amount_below
from normalised
where price_model in ('graduated', 'volume', 'stairstep') or position = 1
