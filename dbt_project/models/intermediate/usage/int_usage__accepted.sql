{{ config(materialized="view") }}

-- Which account-day an accepted event touches: the one on which it lies, and the one on which lay
-- what it replaced. Both are read twice and never kept in between: whoever asks for a few events
-- would have all of them copied first.
with events as not materialized (select * from {{ ref("stg_usage__raw_events") }}),

accounts as not materialized (
    select account_id, zone from {{ ref("stg_billing__accounts") }}
),

superseded_events as (select * from {{ ref("stg_usage__superseded_events") }})

select
    events.shard,
    events.accept_seq as touched_by,
    events.occurred_at,
    events.account_id,
    (events.occurred_at at time zone accounts.zone)::date as usage_day,
    accounts.zone
from events
inner join accounts on accounts.account_id = events.account_id
union all
select
    superseded_events.shard,
    superseded_events.superseded_by as touched_by,
    superseded_events.occurred_at,
    events.account_id,
    (superseded_events.occurred_at at time zone accounts.zone)::date as usage_day,
    accounts.zone
from superseded_events
inner join events
    on events.shard = superseded_events.shard
    and events.accept_seq = superseded_events.accept_seq
    and events.occurred_at = superseded_events.occurred_at
inner join accounts on accounts.account_id = events.account_id
