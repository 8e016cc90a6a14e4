-- Usage lost or counted twice between events and mart would be lost or billed twice. Counts and
-- sums of the recomputed days are compared with the events themselves, without any grouping.
-- depends_on: {{ ref("int_usage__accepted") }}
with {% if knows_touched() -%}
touched_account_days as materialized (
    {{ touched_account_days() }}
),

{% endif -%}
events as (
    select
        raw.account_id,
        (raw.occurred_at at time zone accounts.zone)::date as usage_day,
        raw.quantity
    from {{ ref("stg_usage__raw_events") }} as raw
    inner join {{ ref("stg_billing__accounts") }} as accounts on accounts.account_id = raw.account_id
    where not raw.is_voided
        and {{ near_usage_window("raw.occurred_at") }}
        {% if knows_touched() -%}
        and raw.account_id in (select account_id from touched_account_days)
        {% endif -%}
        and (raw.shard, raw.accept_seq) not in (
            select shard, accept_seq from {{ ref("stg_usage__superseded_events") }}
        )
),

from_events as (
    select count(*) as event_count, coalesce(sum(quantity), 0) as quantity
    from events
    where {{ is_replaced("account_id", "usage_day", touched="touched_account_days") }}
),

from_mart as (
    select coalesce(sum(event_count), 0) as event_count, coalesce(sum(quantity), 0) as quantity
    from {{ ref("fct_usage_daily") }}
    where {{ is_replaced("account_id", "usage_day", touched="touched_account_days") }}
)

select *
from from_events
inner join from_mart
    on from_events.event_count <> from_mart.event_count
    or from_events.quantity <> from_mart.quantity
