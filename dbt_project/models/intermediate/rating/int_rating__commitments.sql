-- Step 6 of rating: what all lines of a plan version leave open of what was committed for the period,
-- minimums of charges included. Without a rate in the account's currency, nothing says what that is.
with segment_charges as (select * from {{ ref("int_rating__segment_charges") }}),

charges as (
    select
        segment_charges.*,
        sum(covered_to - covered_from) over of_charge as covered_days,
        row_number() over (of_charge order by covered_from desc) as from_the_last
    from segment_charges
    where price_model = 'commitment'
    window of_charge as (partition by billing_period_id, charge_id)
),

rates as (
    select distinct on (charges.billing_period_id, charges.charge_id)
        charges.billing_period_id,
        charges.charge_id,
        rates.rate_id,
        rates.rate_key,
        tiers.flat_amount
    from charges
    inner join {{ ref("int_rating__rates") }} as rates
        on rates.charge_id = charges.charge_id
        and rates.currency = charges.currency
        and rates.exactness = 0
        and (rates.account_id is null or rates.account_id = charges.account_id)
    inner join {{ ref("int_rating__rate_tiers") }} as tiers
        on tiers.rate_id = rates.rate_id and tiers.ordinal = 1
    order by
        charges.billing_period_id, charges.charge_id, rates.precedence desc, rates.ordinal
),

amounts as (
    select
        billing_period_id,
        segment_id,
        {{ to_minor("amount", "minor_exponent") }} as amount_minor
    from {{ ref("int_rating__limited_lines") }}
    union all
    select billing_period_id, segment_id, due_minor - billed_minor as amount_minor
    from {{ ref("int_rating__minimums") }}
),

billed as (
    select
        charges.billing_period_id,
        charges.charge_id,
        sum(amounts.amount_minor) as billed_minor
    from charges
    inner join amounts
        on amounts.billing_period_id = charges.billing_period_id
        and amounts.segment_id = charges.segment_id
    group by charges.billing_period_id, charges.charge_id
)

select
    charges.billing_period_id,
    charges.segment_id,
    charges.charge_id,
    rates.rate_id,
    'commitment' as kind,
    rates.rate_key,
    charges.charge_name as name,
    {{ to_minor(part_of_period("rates.flat_amount", "charges"), "charges.minor_exponent") }} as due_minor,
    coalesce(billed.billed_minor, 0) as billed_minor
from charges
left join rates
    on rates.billing_period_id = charges.billing_period_id and rates.charge_id = charges.charge_id
left join billed
    on billed.billing_period_id = charges.billing_period_id
    and billed.charge_id = charges.charge_id
where charges.from_the_last = 1
