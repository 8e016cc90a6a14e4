{#-
    Hooks that stop a build over days whose events are in an archive alone: it would replace what
    was counted with nothing. The pipeline restores such days before it builds; this is for a build
    by hand. The database's answer names the command that brings the days back.
-#}
{% macro require_usage_window_restored() -%}
    {%- if var("usage_day_from") and var("usage_day_to") -%}
        select usage.require_restored(
            date '{{ var("usage_day_from") }}' - 1, date '{{ var("usage_day_to") }}' + 1)
    {%- else -%}
        select usage.require_restored('-infinity', 'infinity')
    {%- endif -%}
{%- endmacro %}

{% macro require_invoice_month_restored() -%}
    select usage.require_restored(
        (min(starts_at) at time zone 'UTC')::date, (max(ends_at) at time zone 'UTC')::date + 1)
    from {{ ref("stg_billing__billing_periods") }}
    where {{ in_invoice_month("invoice_month") }}
    having count(*) > 0
{%- endmacro %}
