-- The billing periods that belong to the invoice month, and those after them, for charges in advance.
-- The latter carry the one on whose invoice they are (`invoiced_period_id`, `period_start`,
-- `period_end`), and a name of their own. Where their segments were changed after that invoice was
-- issued, they are as it knew them (`then_period_id`), even if they are shorter now, or gone.
with own as (
    select periods.*, subscriptions.billing_interval, subscriptions.anchor_day
    from {{ ref("stg_billing__billing_periods") }} as periods
    inner join {{ ref("stg_billing__subscriptions") }} as subscriptions
        on subscriptions.subscription_id = periods.subscription_id
    where {{ in_invoice_month("periods.invoice_month") }}
),

-- With the interval of the day after the period, if it is not the subscription's first one.
then_lives as (
    select
        known.billing_period_id,
        known.life_ends_on,
        max(known.billing_interval) filter (
            where known.starts_on <= own.period_end
            and coalesce(known.ends_on, 'infinity'::date) > own.period_end
        ) as billing_interval,
        max(known.anchor_day) filter (
            where known.starts_on <= own.period_end
            and coalesce(known.ends_on, 'infinity'::date) > own.period_end
        ) as anchor_day
    from own
    inner join {{ ref("int_rating__known_then") }} as known
        on known.billing_period_id = own.billing_period_id
    group by known.billing_period_id, known.life_ends_on
),

then_next as (
    select
        own.billing_period_id,
        then_lives.life_ends_on,
        coalesce(then_lives.billing_interval, own.billing_interval) as billing_interval,
        coalesce(then_lives.anchor_day, own.anchor_day) as anchor_day,
        date_trunc(
            'month',
            own.period_end + make_interval(
                months => case coalesce(then_lives.billing_interval, own.billing_interval)
                    when 'month' then 1 when 'quarter' then 3 when 'half_year' then 6
                    when 'year' then 12 else 0
                end
            )
        )::date as next_month,
        own.period_end
    from own
    inner join then_lives on then_lives.billing_period_id = own.billing_period_id
),

then_wholes as (
    select
        billing_period_id,
        life_ends_on,
        case
            when billing_interval = 'week' then period_end + 7
            else least(next_month + anchor_day - 1, (next_month + interval '1 month')::date - 1)
        end as ends_on
    from then_next
),

following as (
    select
        own.*,
        known.billing_period_id as then_period_id,
        own.period_end as rated_start,
        case
            when known.billing_period_id is null then found.period_end
            else least(known.ends_on, known.life_ends_on)
        end as rated_end,
        case
            when known.billing_period_id is null then found.full_starts_on
            else own.period_end
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
