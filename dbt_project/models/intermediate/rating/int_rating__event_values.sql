-- Steps 1 and 2 of rating where counts and sums of quantities are not enough: each event that such a
-- charge counts, with what it says. One that says nothing has no rate either: it is never billed as
-- zero.
with segment_charges as (
    select * from {{ ref("int_rating__segment_charges") }}
    where reads_events and price_model not in ('flat', 'licence', 'one_time', 'commitment')
),

accounts as (select * from {{ ref("stg_billing__accounts") }}),

periods as (
    select * from {{ ref("stg_billing__billing_periods") }}
    where {{ in_invoice_month("invoice_month") }}
),

events as (
    {{
        latest_events(
            "events.account_id in (select account_id from segment_charges)"
            " and events.event_type in (select event_type from segment_charges)"
            " and events.occurred_at >= (select min(starts_at) from periods)"
            " and events.occurred_at < (select max(ends_at) from periods)",
            as_of_run=var("rating_run_id"),
        )
    }}
),

counted as (
    select
        segment_charges.billing_period_id,
        segment_charges.segment_id,
        segment_charges.charge_id,
        segment_charges.currency,
        segment_charges.event_type,
        segment_charges.aggregation,
        {{ dimension_columns("events") }},
        eras.era_from,
        eras.override_account_id,
        events.occurred_at,
        events.shard,
        events.accept_seq,
        {{ measured_value("segment_charges", "events") }} as value,
        {{ measured_text("segment_charges", "events") }} as value_text
    {{ from_charged_events() }}
    where {{ filter_counts("segment_charges.event_filter", "events") }}
)

select
    counted.*,
    case
        when value is not null or value_text is not null
            then jsonb_build_array(
                {{ dimension_columns("counted") }}, era_from, override_account_id
            )::text
    end as dimension_key
from counted
