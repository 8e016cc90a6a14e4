"""Puts the commands of this folder together, and turns expected failures into one sentence."""

import importlib
import pkgutil
from typing import Any

import psycopg
import redis
import typer
from sqlalchemy.exc import OperationalError
from typer.core import TyperGroup

import billing.cli
from billing.cli.output import complain
from billing.errors import BillingError
from billing.logs import configure_logs


class _Door(TyperGroup):
    """Runs a command; an expected failure becomes its sentence and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        configure_logs()
        try:
            return super().invoke(ctx)
        except BillingError as error:
            complain(error.message, [f"{one.field}: {one.message}" for one in error.fields])
        except (OperationalError, psycopg.OperationalError) as error:
            complain(f"PostgreSQL cannot be used: {_first_line(error)}. Try `billing doctor`.")
        except redis.ConnectionError as error:
            complain(f"Redis cannot be reached: {_first_line(error)}. Try `billing doctor`.")
        raise typer.Exit(1)


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0].rstrip(".")


def _build() -> typer.Typer:
    built = typer.Typer(
        cls=_Door,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,
        help="Usage metering, rating, prepaid wallets and GST invoices.",
    )
    for module in pkgutil.iter_modules(billing.cli.__path__):
        register = getattr(importlib.import_module(f"billing.cli.{module.name}"), "register", None)
        if register is not None:
            register(built)
    return built


app = _build()
