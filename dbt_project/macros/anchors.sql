{#- The anchor day in a month given by its first day; months that are too short end with it. -#}
{% macro anchor_in_month(month_first, anchor_day) -%}
    ({{ month_first }}
        + (least(
            {{ anchor_day }},
            extract(day from {{ month_first }} + interval '1 month' - interval '1 day')
        )::integer - 1))::date
{%- endmacro %}

{#- Days of the whole month, from anchor to anchor, that a period starting on that day is part of. -#}
{% macro full_period_days(starts_on, anchor_day) -%}
    {%- set first = "date_trunc('month', " ~ starts_on ~ ")::date" -%}
    {%- set next = "(" ~ first ~ " + interval '1 month')::date" -%}
    {%- set previous = "(" ~ first ~ " - interval '1 month')::date" -%}
    case
        when {{ anchor_in_month(first, anchor_day) }} <= {{ starts_on }}
            then {{ anchor_in_month(next, anchor_day) }} - {{ anchor_in_month(first, anchor_day) }}
        else {{ anchor_in_month(first, anchor_day) }} - {{ anchor_in_month(previous, anchor_day) }}
    end
{%- endmacro %}
