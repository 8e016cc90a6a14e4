{#- What `billing.rating.measures` reads off events; the parity tests hold both together. -#}

{#- Whether counts and sums of quantities are not enough to say what an item bills. -#}
{% macro reads_events(item) -%}
    ({{ item }}.aggregation not in ('count', 'sum')
        or {{ item }}.property_name is not null
        or {{ item }}.conversion is not null)
{%- endmacro %}

{#- The SMS of one message: `billing.rating.segments.sms_segments`, where the source is named. -#}
{% macro sms_segments(length, encoding) -%}
    case
        when {{ length }} !~ '^[0-9]{1,12}$' then null
        when {{ encoding }} = 'gsm7' then
            case
                when {{ length }}::numeric <= 160 then 1
                else {{ packages_begun(length ~ "::numeric", "153") }}
            end
        when {{ encoding }} = 'ucs2' then
            case
                when {{ length }}::numeric <= 70 then 1
                else {{ packages_begun(length ~ "::numeric", "67") }}
            end
    end
{%- endmacro %}

{#- The number that an event says; null if it says none. -#}
{% macro measured_value(item, event) -%}
    {%- set property = "(" ~ event ~ ".dimensions ->> " ~ item ~ ".property_name)" -%}
    {%- set length = "(" ~ event ~ ".dimensions ->> coalesce(" ~ item ~ ".property_name, 'message_length'))" -%}
    case
        when {{ item }}.aggregation = 'unique' then null
        when {{ item }}.conversion = 'sms_segments'
            then {{ event }}.quantity * {{ sms_segments(length, "(" ~ event ~ ".dimensions ->> 'encoding')") }}
        when {{ item }}.property_name is null then {{ event }}.quantity
        when {{ property }} ~ '^[0-9]{1,12}(\.[0-9]{1,6})?$' then {{ property }}::numeric
    end
{%- endmacro %}

{#- The text of which an item counts different ones; null if an event has none. -#}
{% macro measured_text(item, event) -%}
    case
        when {{ item }}.aggregation = 'unique'
            then nullif({{ event }}.dimensions ->> {{ item }}.property_name, '')
    end
{%- endmacro %}

{#-
    One quantity of the rows of a group: of the last one, where two occurred at the same instant,
    that which was accepted later.
-#}
{% macro measured_together(rows) -%}
    coalesce(
        case {{ rows }}.aggregation
            when 'sum' then sum({{ rows }}.value)
            when 'max' then max({{ rows }}.value)
            when 'unique' then count(distinct {{ rows }}.value_text)
            when 'latest' then (
                array_agg(
                    {{ rows }}.value
                    order by
                        {{ rows }}.occurred_at desc,
                        {{ rows }}.shard desc,
                        {{ rows }}.accept_seq desc
                ) filter (where {{ rows }}.value is not null)
            )[1]
        end,
        0
    )
{%- endmacro %}
