{#-
    Events that count: the newest revision of each, unless it is voided.

    condition: what else must hold of `events`; bound `occurred_at` here, by which the table is
        partitioned.
    as_of_run: read what had been accepted when that rating run took its cut-offs, shard by shard,
        and nothing later. A revision from after the cut-off has replaced nothing yet.
-#}
{% macro latest_events(condition, as_of_run=none) -%}
    {%- if as_of_run is not none -%}
        {#- Named before the branch on a var, so that they are dependencies whatever its value. -#}
        {%- set cutoffs = ref("stg_billing__rating_run_cutoffs") -%}
        {%- set runs = ref("stg_billing__rating_runs") -%}
    {%- endif -%}
    select events.*
    from {{ ref("stg_usage__raw_events") }} as events
    {%- if as_of_run %}
    inner join {{ cutoffs }} as cutoffs
        on cutoffs.rating_run_id = '{{ as_of_run }}'
        and cutoffs.shard = events.shard
        and cutoffs.accept_seq >= events.accept_seq
    inner join {{ runs }} as runs
        on runs.rating_run_id = cutoffs.rating_run_id
        and runs.event_time_to > events.occurred_at
    {%- endif %}
    where not events.is_voided
        and {{ condition }}
        and not exists (
            select 1
            from {{ ref("stg_usage__superseded_events") }} as superseded
            where superseded.shard = events.shard
                and superseded.accept_seq = events.accept_seq
                {%- if as_of_run %}
                and superseded.superseded_by <= cutoffs.accept_seq
                {%- endif %}
        )
{%- endmacro %}
