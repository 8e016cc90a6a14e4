"""The operator's door: the `billing` command.

To add a command, add a module here with a function `register(app: typer.Typer) -> None` that
hangs it on `app`; `main` finds it. Modules here start `ingest_api`, `orchestration` and `console`
as processes and never import them. An expected failure is a `BillingError`: `main` prints its
sentence and exits with 1.
"""
