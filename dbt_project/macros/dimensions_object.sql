{#- The dimensions that a row has, as one object; absent ones are not in it. -#}
{% macro dimensions_object(relation) -%}
    jsonb_strip_nulls(jsonb_build_object(
        {%- for name in dimensions() %}'{{ name }}', {{ relation }}.{{ name }}{{ ", " if not loop.last }}{% endfor -%}
    ))
{%- endmacro %}
