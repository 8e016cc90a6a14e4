{#- The event dimensions that rates, item filters and marts know: `billing.rating.match.DIMENSIONS`. -#}
{% macro dimensions() %}
    {{ return(["country", "channel", "status", "operator", "route", "traffic_type"]) }}
{% endmacro %}

{#- The same as a comma-separated list of columns of one relation. -#}
{% macro dimension_columns(relation) -%}
    {%- for name in dimensions() %}{{ relation }}.{{ name }}{{ ", " if not loop.last }}{% endfor -%}
{%- endmacro %}

{#- Whether two relations agree on every dimension; an absent value equals an absent value. -#}
{% macro same_dimensions(left, right) -%}
    {%- for name in dimensions() %}
    {{ left }}.{{ name }} is not distinct from {{ right }}.{{ name }}
    {{- " and " if not loop.last }}{% endfor -%}
{%- endmacro %}

{#- Whether an item counts a row: each dimension its filter names has one of the listed values. -#}
{% macro filter_counts(event_filter, row) -%}
    {{ event_filter }} - array[{% for name in dimensions() %}'{{ name }}'{{ ", " if not loop.last }}{% endfor %}]
        = '{}'::jsonb
    {%- for name in dimensions() %}
    and (not {{ event_filter }} ? '{{ name }}'
        or coalesce({{ event_filter }} -> '{{ name }}' ? {{ row }}.{{ name }}, false))
    {%- endfor -%}
{%- endmacro %}
