{{
    config(
        materialized="incremental",
        incremental_strategy="replace_window",
        meta={"window_column": "usage_day"},
        on_schema_change="fail",
        full_refresh=false,
        pre_hook=["{{ require_usage_window_restored() }}", "{{ note_touched_account_days() }}"],
        post_hook="{{ forget_touched_account_days() }}",
        indexes=[{"columns": ["usage_day", "account_id"]}],
    )
}}

-- depends_on: {{ ref("int_usage__accepted") }}
-- To find an event's local day costs as much as to read it: where days were noted, the instants
-- between which they lie are compared instead.
with events as (
    {{ latest_events(near_usage_window("events.occurred_at")) }}
),

accounts as not materialized (
    select account_id, customer_id, zone from {{ ref("stg_billing__accounts") }}
),

by_local_day as (
    select
        events.account_id,
        {% if knows_touched() -%}
        touched.usage_day,
        {%- else -%}
        (events.occurred_at at time zone accounts.zone)::date as usage_day,
        {%- endif %}
        events.event_type,
        {{ dimension_columns("events") }},
        events.quantity,
        events.vendor_cost
    from events
    {%- if knows_touched() %}
    inner join {{ noted_account_days() }} as touched
        on touched.account_id = events.account_id
        and events.occurred_at >= touched.begins_at
        and events.occurred_at < touched.ends_at
    {%- else %}
    inner join accounts on accounts.account_id = events.account_id
    {%- endif %}
),

summed as (
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
        sum(quantity) as quantity,
        coalesce(sum(vendor_cost), 0) as vendor_cost
    from by_local_day
    where {{ in_usage_window("usage_day") }}
    group by
        account_id, usage_day, event_type, country, channel, status, operator, route, traffic_type
)

-- rows of a day lie together, so that the next run replaces few pages and not one row on each
select
    summed.account_id,
    accounts.customer_id,
    summed.usage_day,
    summed.event_type,
    summed.country,
    summed.channel,
    summed.status,
    summed.operator,
    summed.route,
    summed.traffic_type,
    summed.event_count,
    summed.quantity,
    summed.vendor_cost
from summed
inner join accounts on accounts.account_id = summed.account_id
order by summed.usage_day
