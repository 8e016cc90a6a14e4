{#-
    Account-days: where a run is told which events were accepted since the one before, it replaces
    only the days of those accounts on which such events lie, or lay before they were replaced.

    `usage_accepted` says so, shard by shard, as `shard:after:upto shard:after:upto`. Without it
    the days of the window are replaced for all accounts.
-#}
{% macro knows_touched() -%}
    {{ return(var("usage_accepted") | length > 0) }}
{%- endmacro %}

{#- The touched accounts and their local days, in the window of the run. -#}
{% macro touched_account_days() -%}
    select distinct account_id, usage_day
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

{#-
    A hook that notes them for the model's transaction: they are joined, and deleted by, and a table
    that was just analysed is planned for what it holds, one late event or a whole hour.
-#}
{% macro note_touched_account_days() -%}
    {%- if execute and knows_touched() -%}
        create temporary table touched_account_days on commit drop as
        {{ touched_account_days() }};
        analyze touched_account_days
    {%- endif -%}
{%- endmacro %}

{#-
    Whether a row of a model is one that the run replaces. Touched days lie in the window; that is
    said again for the index by day.
-#}
{% macro is_replaced(account_id, usage_day) -%}
    {%- if knows_touched() -%}
        ({{ account_id }}, {{ usage_day }}) in (select account_id, usage_day from touched_account_days)
        and
    {% endif -%}
    {{ in_usage_window(usage_day) }}
{%- endmacro %}
