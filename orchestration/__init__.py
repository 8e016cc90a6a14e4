"""The pipeline: Dagster assets around dbt, from usage to drafts of invoices."""
