-- Monthly recurring revenue of each account: the flat prices of the segments in force on the
-- month's last day, or what was agreed with the account instead; of seats with tiers, what all tiers
-- that they enter come to. A price of another
-- interval counts by its share of a month; trials and pauses have no recurring revenue.
with months as (select * from {{ ref("int_revenue__months") }}),

segments as (select * from {{ ref("stg_billing__subscription_segments") }}),

subscriptions as (select * from {{ ref("stg_billing__subscriptions") }}),

accounts as (select * from {{ ref("stg_billing__accounts") }}),

charges as (select * from {{ ref("stg_billing__charges") }} where price_model in ('flat', 'licence')),

rates as (select * from {{ ref("stg_billing__rates") }} where match = '{}'::jsonb),

versions as (select * from {{ ref("stg_billing__price_plan_versions") }}),

overrides as (
    select * from {{ ref("stg_billing__price_overrides") }} where match = '{}'::jsonb
),

tiers as (
    select
        rate_id,
        ordinal,
        {{ tier_floor() }} as above,
        up_to,
        unit_price,
        flat_amount
    from (
        select rate_id, ordinal, up_to, unit_price, flat_amount
        from {{ ref("stg_billing__rate_tiers") }}
        union all
        select rate_id, ordinal, up_to, unit_price, flat_amount
        from {{ ref("stg_billing__price_override_tiers") }}
    ) as of_any
)

select
    months.month,
    accounts.account_id,
    accounts.customer_id,
    accounts.currency,
    sum(
        case
            when charges.tier_mode is null then tiers.flat_amount * segments.quantity
            else tiers.flat_amount
                + {{ seats_in_tier("segments.quantity", "tiers", "charges.tier_mode") }}
                * tiers.unit_price
        end
        * case coalesce(segments.billing_interval, subscriptions.billing_interval) when 'week' then 52 else 1 end
        / case coalesce(segments.billing_interval, subscriptions.billing_interval)
            when 'quarter' then 3
            when 'half_year' then 6
            when 'week' then 12
            when 'year' then 12
            else 1
        end
    ) as mrr
from months
inner join segments
    on segments.phase = 'active'
    and segments.starts_on <= months.last_day
    and coalesce(segments.ends_on, 'infinity'::date) > months.last_day
inner join subscriptions
    on subscriptions.subscription_id = segments.subscription_id
    and coalesce(subscriptions.ends_on, 'infinity'::date) > months.last_day
inner join accounts on accounts.account_id = subscriptions.account_id
inner join charges on charges.plan_version_id = segments.plan_version_id
inner join rates on rates.charge_id = charges.charge_id and rates.currency = accounts.currency
inner join versions on versions.plan_version_id = segments.plan_version_id
left join overrides
    on overrides.account_id = accounts.account_id
    and overrides.plan_id = versions.plan_id
    and overrides.charge_code = charges.charge_code
    and overrides.currency = accounts.currency
    and overrides.starts_on <= months.last_day
    and coalesce(overrides.ends_on, 'infinity'::date) > months.last_day
inner join tiers
    on tiers.rate_id = coalesce(overrides.rate_id, rates.rate_id)
    and case
        when charges.tier_mode is null then tiers.ordinal = 1
        else {{ prices_seats("segments.quantity", "segments.quantity", "tiers", "charges.tier_mode") }}
    end
group by months.month, accounts.account_id, accounts.customer_id, accounts.currency
