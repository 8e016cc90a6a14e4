-- Every charge of every segment of the billing periods that belong to the invoice month, and the
-- charges in advance of the periods that follow them.
with periods as (select * from {{ ref("int_rating__periods") }}),

segments as (
    select
        null::uuid as then_period_id,
        subscription_id,
        segment_id,
        plan_version_id,
        quantity,
        starts_on,
        ends_on,
        recurring_from,
        recurring_to,
        added_on
    from {{ ref("stg_billing__subscription_segments") }}
    union all
    select
        billing_period_id as then_period_id,
        subscription_id,
        segment_id,
        plan_version_id,
        quantity,
        starts_on,
        ends_on,
        recurring_from,
        recurring_to,
        added_on
    from {{ ref("int_rating__known_then") }}
),

subscriptions as (select * from {{ ref("stg_billing__subscriptions") }}),

accounts as (select * from {{ ref("stg_billing__accounts") }}),

currencies as (select * from {{ ref("stg_billing__currencies") }}),

versions as (select * from {{ ref("stg_billing__price_plan_versions") }}),

charges as (select * from {{ ref("stg_billing__charges") }}),

items as (select * from {{ ref("stg_billing__billable_items") }})

select
    periods.billing_period_id,
    periods.subscription_id,
    periods.account_id,
    accounts.customer_id,
    segments.segment_id,
    segments.plan_version_id,
    versions.plan_id,
    charges.charge_id,
    charges.charge_code,
    charges.charge_name,
    charges.price_model,
    -- A one-time price never is, whatever is stored.
    charges.price_model = 'licence' or (charges.is_prorated and charges.price_model <> 'one_time')
        as is_prorated,
    charges.ordinal as charge_ordinal,
    charges.free_units,
    charges.free_pool,
    charges.dearest_of,
    charges.free_events,
    charges.unit_divisor,
    charges.unit_rounding,
    charges.tier_mode,
    charges.bills_zero,
    charges.discount_percent,
    segments.added_on,
    coalesce(segments.added_on, subscriptions.starts_on) as subscribed_on,
    charges.rate_deck_id,
    items.item_code,
    items.event_type,
    items.event_filter,
    items.aggregation,
    items.property_name,
    items.conversion,
    {{ reads_events("items") }} as reads_events,
    items.unit,
    items.sac,
    accounts.currency,
    currencies.minor_exponent,
    segments.quantity as segment_quantity,
    periods.full_ends_on - periods.full_starts_on as full_days,
    periods.invoice_month,
    periods.period_start,
    periods.period_end,
    periods.invoiced_period_id,
    periods.rated_start,
    periods.is_ahead,
    greatest(segments.starts_on, periods.rated_start) as covered_from,
    least(coalesce(segments.ends_on, periods.rated_end), periods.rated_end) as covered_to,
    case
        when segments.recurring_from is null
            then greatest(segments.starts_on, periods.rated_start)
        else greatest(segments.recurring_from, periods.full_starts_on)
    end as recurring_from,
    case
        when segments.recurring_to is null
            then least(coalesce(segments.ends_on, periods.rated_end), periods.rated_end)
        else least(segments.recurring_to, periods.full_ends_on)
    end as recurring_to
from periods
inner join subscriptions on subscriptions.subscription_id = periods.subscription_id
inner join accounts on accounts.account_id = periods.account_id
inner join currencies on currencies.currency = accounts.currency
inner join segments
    on segments.subscription_id = periods.subscription_id
    and segments.then_period_id is not distinct from periods.then_period_id
    and segments.starts_on < periods.rated_end
    and coalesce(segments.ends_on, 'infinity'::date) > periods.rated_start
inner join versions on versions.plan_version_id = segments.plan_version_id
inner join charges
    on charges.plan_version_id = segments.plan_version_id
    and (charges.timing = 'advance' or not periods.is_ahead)
inner join items on items.item_id = charges.item_id
