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

then_lives as (
    select distinct billing_period_id, life_ends_on
    from {{ ref("int_rating__known_then") }}
),

next_months as (
    select
        own.*,
        date_trunc(
            'month',
            own.period_end + make_interval(months => case own.billing_interval
                when 'month' then 1 when 'quarter' then 3 when 'half_year' then 6 when 'year' then 12
                else 0
            end)
        )::date as next_month
    from own
),

following as (
    select
        own.*,
        then_lives.billing_period_id as then_period_id,
        own.period_end as rated_start,
        case
            when then_lives.billing_period_id is null then found.period_end
            else least(whole.ends_on, then_lives.life_ends_on)
        end as rated_end,
        case
            when then_lives.billing_period_id is null then found.full_starts_on
            else own.period_end
        end as whole_starts_on,
        case
            when then_lives.billing_period_id is null then found.full_ends_on
            else whole.ends_on
        end as whole_ends_on
    from next_months as own
    cross join lateral (
        select case
            when own.billing_interval = 'week' then own.period_end + 7
            else least(
                own.next_month + own.anchor_day - 1,
                (own.next_month + interval '1 month')::date - 1
            )
        end as ends_on
    ) as whole
    left join then_lives on then_lives.billing_period_id = own.billing_period_id
    left join {{ ref("stg_billing__billing_periods") }} as found
        on found.subscription_id = own.subscription_id
        and found.period_start = own.period_end
    where case
        when then_lives.billing_period_id is null then found.billing_period_id is not null
        else then_lives.life_ends_on > own.period_end
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
