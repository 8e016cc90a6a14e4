{#-
    Account-days: where a run is told which events were accepted since the one before, it replaces
    only the days of those accounts on which such events lie, or lay before they were replaced.

    `usage_accepted` says so, shard by shard, as `shard:after:upto shard:after:upto`. Without it
    the days of the window are replaced for all accounts.
-#}
{% macro knows_touched() -%}
    {{ return(var("usage_accepted") | length > 0) }}
{%- endmacro %}

{#- The touched accounts and their local days, in the window of the run, and the zone of those. -#}
{% macro touched_account_days() -%}
    select distinct account_id, usage_day, zone
    from {{ ref("int_usage__accepted") }}
    where {{ near_usage_window("occurred_at") }}
        and {{ in_usage_window("usage_day") }}
        and (
            {%- for one in var("usage_accepted").split() %}
            {%- set shard, after, upto = one.split(":") %}
            (shard = {{ shard | int }} and touched_by > {{ after | int }} and touched_by <= {{ upto | int }})
            {{- " or" if not loop.last }}
            {%- endfor %}
        )
{%- endmacro %}

{#- Where they are noted, in the transaction of a model and nowhere else. -#}
{% macro noted_account_days() -%}
    {{ this.schema }}.touched_{{ invocation_id | replace("-", "") }}
{%- endmacro %}

{#-
    Hooks that note them, each with the instants between which it lies, and let go of them: they are
    joined, and deleted by, and a table that was just analysed is planned for what it holds, one late
    event or a whole hour. It is no temporary one, since nothing that reads such a table is shared
    among processes.
-#}
{% macro note_touched_account_days() -%}
    {%- if execute and knows_touched() -%}
        create unlogged table {{ noted_account_days() }} as
        select
            account_id,
            usage_day,
            {{ day_begins_at("usage_day", "zone") }} as begins_at,
            {{ day_begins_at("usage_day + 1", "zone") }} as ends_at
        from (
            {{ touched_account_days() }}
        ) as touched;
        analyze {{ noted_account_days() }}
    {%- endif -%}
{%- endmacro %}

{% macro forget_touched_account_days() -%}
    {%- if execute and knows_touched() -%}
        drop table {{ noted_account_days() }}
    {%- endif -%}
{%- endmacro %}

{#-
    Whether a row of a model is one that the run replaces. Touched days lie in the window; that is
    said again for the index by day.

    touched: where they are; without it, where the model's transaction noted them.
-#}
{% macro is_replaced(account_id, usage_day, touched=none) -%}
    {%- if knows_touched() -%}
        ({{ account_id }}, {{ usage_day }}) in (
            select account_id, usage_day from {{ touched or noted_account_days() }}
        )
        and
    {% endif -%}
    {{ in_usage_window(usage_day) }}
{%- endmacro %}
