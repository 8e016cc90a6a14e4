-- The billing periods that belong to the invoice month, and those after them, for charges in advance.
-- The latter carry the one on whose invoice they are (`invoiced_period_id`, `period_start`,
-- `period_end`), and a name of their own. Where their segments were changed after that invoice was
-- issued, they are as it knew them (`then_period_id`), even if they are shorter now, or gone.
with own as (
    select
        periods.*,
        subscriptions.billing_interval,
        subscriptions.anchor_day,
        subscriptions.anchor_month
    from {{ ref("stg_billing__billing_periods") }} as periods
    inner join {{ ref("stg_billing__subscriptions") }} as subscriptions
        on subscriptions.subscription_id = periods.subscription_id
    where {{ in_invoice_month("periods.invoice_month") }}
),

-- The segments that the invoice knew, with the cycle of their days: the subscription's first one,
-- unless they say another.
then_known as (
    select
        known.billing_period_id,
        known.starts_on,
        known.ends_on,
        known.life_ends_on,
        own.period_end,
        coalesce(known.billing_interval, own.billing_interval) as billing_interval,
        coalesce(known.anchor_day, own.anchor_day) as anchor_day,
        coalesce(known.anchor_month, own.anchor_month) as anchor_month
    from own
    inner join {{ ref("int_rating__known_then") }} as known
        on known.billing_period_id = own.billing_period_id
    where known.added_on is null
),

then_cycles as (
    select
        running.*,
        date_trunc('month', running.period_end)::date as month,
        case running.billing_interval
            when 'quarter' then 3 when 'half_year' then 6 when 'year' then 12 else 1
        end as months,
        -- another cycle begins there, and cuts the period short
        (
            select min(later.starts_on)
            from then_known as later
            where later.billing_period_id = running.billing_period_id
                and later.starts_on > running.period_end
                and (later.billing_interval, later.anchor_day, later.anchor_month)
                    <> (running.billing_interval, running.anchor_day, running.anchor_month)
        ) as cut_on
    from then_known as running
    where running.starts_on <= running.period_end
        and coalesce(running.ends_on, 'infinity'::date) > running.period_end
),

-- The month in which the whole period begins, as `billing.periods.Cycle.containing`: one of those
-- that the anchor names, or the one before if the anchor's day is yet to come.
then_anchors as (
    select
        then_cycles.*,
        (
            month - make_interval(
                months => mod(extract(month from month)::int - anchor_month + 12, months)
            )
        )::date as anchor_from
    from then_cycles
),

then_months as (
    select
        then_anchors.*,
        case
            when {{ day_of_month("anchor_from", "anchor_day") }} > period_end
                then (anchor_from - make_interval(months => months))::date
            else anchor_from
        end as first_month
    from then_anchors
),

then_wholes as (
    select
        lives.billing_period_id,
        lives.life_ends_on,
        wholes.cut_on,
        case
            when billing_interval = 'week'
                then period_end - mod(extract(isodow from period_end)::int - anchor_day + 7, 7)
            else {{ day_of_month("first_month", "anchor_day") }}
        end as starts_on,
        case
            when billing_interval = 'week'
                then period_end - mod(extract(isodow from period_end)::int - anchor_day + 7, 7) + 7
            else {{ day_of_month(
                "(first_month + make_interval(months => months))::date", "anchor_day"
            ) }}
        end as ends_on
    from (select distinct billing_period_id, life_ends_on from then_known) as lives
    left join then_months as wholes on wholes.billing_period_id = lives.billing_period_id
),

following as (
    select
        own.*,
        known.billing_period_id as then_period_id,
        own.period_end as rated_start,
        case
            when known.billing_period_id is null then found.period_end
            else least(known.ends_on, known.cut_on, known.life_ends_on)
        end as rated_end,
        case
            when known.billing_period_id is null then found.full_starts_on
            else known.starts_on
        end as whole_starts_on,
        case
            when known.billing_period_id is null then found.full_ends_on
            else known.ends_on
        end as whole_ends_on
    from own
    left join then_wholes as known on known.billing_period_id = own.billing_period_id
    left join {{ ref("stg_billing__billing_periods") }} as found
        on found.subscription_id = own.subscription_id
        and found.period_start = own.period_end
    where case
        when known.billing_period_id is null then found.billing_period_id is not null
        else known.life_ends_on > own.period_end
    end
)

select
    billing_period_id,
    subscription_id,
    account_id,
    invoice_month,
    period_start,
    period_end,
    full_starts_on,
    full_ends_on,
    billing_period_id as invoiced_period_id,
    null::uuid as then_period_id,
    period_start as rated_start,
    period_end as rated_end,
    false as is_ahead
from own
union all
select
    md5(billing_period_id::text || ':ahead')::uuid as billing_period_id,
    subscription_id,
    account_id,
    invoice_month,
    period_start,
    period_end,
    whole_starts_on as full_starts_on,
    whole_ends_on as full_ends_on,
    billing_period_id as invoiced_period_id,
    then_period_id,
    rated_start,
    rated_end,
    true as is_ahead
from following
where date_trunc('month', rated_end - 1)::date > invoice_month
