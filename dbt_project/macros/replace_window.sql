{#-
    Incremental strategy: delete what the run's window holds, insert what was recomputed for it.

    A merge or a delete by key keeps rows that no longer come out of the query, so a voided event
    would stay billed. `meta.window_column` names the model's column: `usage_day`, of which a run
    that knows them replaces touched account-days alone, or `invoice_month`. Both statements run in
    one transaction.

    The window is read from the vars here, while running, and not in the model's config: a config
    keeps the vars of the time the project was parsed, and would delete another window.
-#}
{% macro get_incremental_replace_window_sql(arg_dict) %}
    {%- set windows = {
        "usage_day": is_replaced("account_id", "usage_day"),
        "invoice_month": in_invoice_month("invoice_month"),
    } -%}
    {%- set window = windows.get(config.get("meta", {}).get("window_column")) -%}
    {%- if not window -%}
        {{ exceptions.raise_compiler_error("replace_window needs meta.window_column") }}
    {%- endif -%}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) -%}
    delete from {{ arg_dict["target_relation"] }} where {{ window }};

    insert into {{ arg_dict["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{% endmacro %}
