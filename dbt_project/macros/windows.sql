{#- Whether a local day is in the range of days this run recomputes. -#}
{% macro in_usage_window(column) -%}
    {%- if var("usage_day_from") and var("usage_day_to") -%}
        ({{ column }} >= date '{{ var("usage_day_from") }}'
            and {{ column }} < date '{{ var("usage_day_to") }}')
    {%- elif var("usage_day_from") or var("usage_day_to") -%}
        {{ exceptions.raise_compiler_error("usage_day_from and usage_day_to belong together") }}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{#-
    Whether an event may lie in that range: bounds on the column the table is partitioned by.
    No zone is more than 14 hours ahead of UTC, nor more than 12 behind.
-#}
{% macro near_usage_window(column) -%}
    {%- if var("usage_day_from") and var("usage_day_to") -%}
        ({{ column }} >= timestamptz '{{ var("usage_day_from") }} 00:00:00+00' - interval '14 hours'
            and {{ column }} < timestamptz '{{ var("usage_day_to") }} 00:00:00+00' + interval '12 hours')
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{#-
    When a local day begins. Where clocks go back from one to midnight (Havana, the Azores), midnight
    comes twice: PostgreSQL means the second, and the day began with the first.
-#}
{% macro day_begins_at(day, zone) -%}
    {%- set midnight = "(" ~ day ~ ")::timestamp at time zone " ~ zone -%}
    case
        when (({{ midnight }} - interval '1 hour') at time zone {{ zone }})::date = {{ day }}
            then {{ midnight }} - interval '1 hour'
        else {{ midnight }}
    end
{%- endmacro %}

{#- Whether a row belongs to the invoice month this run rates; without one, nothing is rated. -#}
{% macro in_invoice_month(column) -%}
    {%- if var("invoice_month") -%}
        {{ column }} = date '{{ var("invoice_month") }}'
    {%- else -%}
        false
    {%- endif -%}
{%- endmacro %}

{#- The rating run of this dbt run; a month cannot be rated without one. -#}
{% macro rating_run_id() -%}
    {%- if execute and var("invoice_month") and not var("rating_run_id") -%}
        {{ exceptions.raise_compiler_error("invoice_month needs the rating_run_id whose cut-offs to read") }}
    {%- endif -%}
    nullif('{{ var("rating_run_id") }}', '')::uuid
{%- endmacro %}

{#- A day of the month that begins on `month`, or its last one if it has no such day. -#}
{% macro day_of_month(month, day) -%}
    least({{ month }} + {{ day }} - 1, ({{ month }} + interval '1 month')::date - 1)
{%- endmacro %}
