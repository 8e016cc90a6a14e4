-- Nothing tells the planner how many events lie before a cut-off and between two periods; it takes
-- them for one, and would look through all periods again for each of a million.
{{ config(
    pre_hook=["{{ require_invoice_month_restored() }}", "set local enable_nestloop = off"]
) }}

-- Usage of the invoice month's periods by local day, as of the rating run's cut-offs. It is counted
-- from the events again, and not read from int_usage__daily, because that one moves on with every
-- late event: a run that is repeated must read what it read the first time.
with periods as (
    select * from {{ ref("stg_billing__billing_periods") }}
    where {{ in_invoice_month("invoice_month") }}
),

events as (
    {{
        latest_events(
            "events.occurred_at >= (select min(starts_at) from periods)"
            " and events.occurred_at < (select max(ends_at) from periods)",
            as_of_run=var("rating_run_id"),
        )
    }}
),

billed_accounts as (
    select
        accounts.account_id,
        accounts.zone
    from {{ ref("stg_billing__accounts") }} as accounts
    where accounts.account_id in (select account_id from periods)
),

by_local_day as (
    select
        events.account_id,
        (events.occurred_at at time zone billed_accounts.zone)::date as usage_day,
        events.event_type,
        {{ dimension_columns("events") }},
        events.quantity
    from events
    inner join billed_accounts on billed_accounts.account_id = events.account_id
)

select
    account_id,
    usage_day,
    event_type,
    country,
    channel,
    status,
    operator,
    route,
    traffic_type,
    count(*) as event_count,
    sum(quantity) as quantity
from by_local_day
group by account_id, usage_day, event_type, country, channel, status, operator, route,
    traffic_type
