-- The segments that issued invoices of the month knew, of subscriptions that were changed since: what
-- they billed ahead comes out again by these, as `billing.subscriptions.ahead.timeline_when_issued`.
with issued as (
    select
        periods.billing_period_id,
        periods.subscription_id,
        max(invoices.rated_at) as rated_at
    from {{ ref("stg_billing__billing_periods") }} as periods
    inner join {{ ref("stg_billing__issued_periods") }} as invoices
        on invoices.account_id = periods.account_id
        and invoices.invoice_month = periods.invoice_month
        and invoices.period_start <= periods.period_start
        and invoices.period_end >= periods.period_end
    where {{ in_invoice_month("periods.invoice_month") }}
    group by periods.billing_period_id, periods.subscription_id
),

changes as (select * from {{ ref("stg_billing__subscription_changes") }}),

known as (
    select distinct on (issued.billing_period_id)
        issued.billing_period_id,
        issued.subscription_id,
        changes.segments
    from issued
    inner join changes
        on changes.subscription_id = issued.subscription_id
        and changes.made_at <= issued.rated_at
    where exists (
        select 1 from changes as later
        where later.subscription_id = issued.subscription_id and later.made_at > issued.rated_at
    )
    order by issued.billing_period_id, changes.number desc
)

select
    known.billing_period_id,
    known.subscription_id,
    parts.id as segment_id,
    parts.plan_version_id,
    parts.quantity,
    parts.starts_on,
    parts.ends_on,
    parts.recurring_from,
    parts.recurring_to,
    parts.added_on,
    parts.cycle ->> 'interval' as billing_interval,
    (parts.cycle ->> 'anchor_day')::int as anchor_day,
    (parts.cycle ->> 'anchor_month')::int as anchor_month,
    max(coalesce(parts.ends_on, 'infinity'::date)) over (
        partition by known.billing_period_id
    ) as life_ends_on
from known
cross join lateral jsonb_to_recordset(known.segments) as parts (
    id uuid,
    plan_version_id uuid,
    quantity numeric,
    starts_on date,
    ends_on date,
    recurring_from date,
    recurring_to date,
    cycle jsonb,
    added_on date
)
