"""Many customers at once: a CSV file in, each row checked by itself, and the same file out."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context
from billing.csv_cells import safe_cell
from billing.customers.service import (
    CreateAccount,
    CreateCustomer,
    add_tax_profile,
    create_account,
    create_customer,
)
from billing.customers.tables import Account, Customer, TaxProfile
from billing.customers.tax_profiles import AddTaxProfile
from billing.errors import BillingError, FieldError, InvalidError

CUSTOMER: Final = ("customer_code", "customer_name", "email")
PROFILE: Final = (
    "valid_from", "tax_kind", "legal_name", "gstin", "address_line", "city", "postal_code",
    "state_code", "country", "sez_authorised_operations", "own_establishment",
)  # fmt: skip
ACCOUNT: Final = (
    "account_code", "account_name", "billing_mode", "currency", "zone", "payment_terms_days",
    "parent_account_code",
)  # fmt: skip
COLUMNS: Final = (*CUSTOMER, *PROFILE, *ACCOUNT)
MOST_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What became of one row; the header is row 1."""

    row: int
    customer_code: str
    created: Sequence[str]
    """Of `customer`, `tax_profile`, `account`: what was not there yet."""
    errors: Sequence[FieldError]
    """By column; a row with any changes nothing."""


def import_customers(ctx: Context, content: str, *, dry_run: bool) -> list[RowOutcome]:
    """Create what a file names and we do not have; rows that are wrong are left out and told.

    A row names a customer, and, where their columns are filled, a tax profile and an account. What
    exists under its code is left as it is, so a mended file can be sent again as a whole.

    Args:
        dry_run: check all, and keep nothing.

    Raises:
        InvalidError: if it is no CSV file with these columns.
    """
    ctx.actor.require(Permission.CUSTOMERS_WRITE)
    rows = _rows(content)
    outer = ctx.session.begin_nested()
    outcomes = [
        _import_row(Context(ctx.session, ctx.actor, ctx.clock), number, row)
        for number, row in enumerate(rows, 2)
    ]
    if dry_run:
        outer.rollback()
    else:
        outer.commit()
    return outcomes


def _rows(content: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(content.removeprefix("\ufeff")), strict=True)
    try:
        unknown = sorted(set(reader.fieldnames or ()) - set(COLUMNS))
        missing = sorted({"customer_code", "customer_name"} - set(reader.fieldnames or ()))
        rows = [
            {name: (value or "").strip() for name, value in row.items() if name is not None}
            for row in reader
        ]
    except csv.Error as error:
        raise InvalidError(f"The file is not CSV: {error}.", code="not_csv") from error
    wrong = [FieldError(name, "there is no such column") for name in unknown]
    wrong += [FieldError(name, "the column is needed") for name in missing]
    if wrong:
        raise InvalidError("The file's columns are wrong.", code="wrong_columns", fields=wrong)
    if len(rows) > MOST_ROWS:
        raise InvalidError(f"A file may have {MOST_ROWS} rows.", code="too_many_rows")
    return rows


def _import_row(ctx: Context, number: int, row: Mapping[str, str]) -> RowOutcome:
    """One row in a savepoint of its own."""
    savepoint = ctx.session.begin_nested()
    created: list[str] = []
    errors: list[FieldError] = []
    try:
        _apply(ctx, row, created)
    except ValidationError as error:
        errors = [
            FieldError(".".join(str(part) for part in one["loc"]) or "row", one["msg"])
            for one in error.errors()
        ]
    except BillingError as error:
        errors = list(error.fields) or [FieldError("row", error.message)]
    if errors:
        savepoint.rollback()
        return RowOutcome(number, row.get("customer_code", ""), (), errors)
    savepoint.commit()
    return RowOutcome(number, row["customer_code"], created, ())


def _apply(ctx: Context, row: Mapping[str, str], created: list[str]) -> None:
    customer = ctx.session.scalars(
        select(Customer).filter_by(code=row["customer_code"])
    ).one_or_none()
    if customer is None:
        named = {"code": row["customer_code"], "name": row["customer_name"]}
        asked = CreateCustomer.model_validate(named | _given(row, ("email",)))
        customer = create_customer(ctx, asked)
        created.append("customer")
    profile = _given(row, PROFILE)
    if profile:
        request = AddTaxProfile.model_validate({"customer_id": customer.id, **profile})
        known = select(TaxProfile.id).filter_by(
            customer_id=customer.id, valid_from=request.valid_from
        )
        if ctx.session.scalar(known) is None:
            add_tax_profile(ctx, request)
            created.append("tax_profile")
    if row.get("account_code"):
        account = _given(row, ACCOUNT)
        code = account.pop("account_code")
        if ctx.session.scalar(select(Account.id).filter_by(code=code)) is None:
            account["name"] = account.pop("account_name", row["customer_name"])
            parent = _parent(ctx.session, account.pop("parent_account_code", None))
            fields = {"customer_id": customer.id, "code": code, **account, **parent}
            create_account(ctx, CreateAccount.model_validate(fields))
            created.append("account")


def _given(row: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """The filled ones of these columns, without the quote that export puts before a formula."""
    return {name: row[name].removeprefix("'") for name in columns if row.get(name)}


def _parent(session: Session, code: str | None) -> dict[str, object]:
    if code is None:
        return {}
    parent = session.scalar(select(Account.id).filter_by(code=code))
    if parent is None:
        wrong = FieldError(
            "parent_account_code", "there is no such account; name it in a row above"
        )
        raise InvalidError("The parent is not known.", fields=[wrong])
    return {"parent_account_id": parent}


def export_customers(session: Session, actor: Actor, today: date) -> Iterator[str]:
    """Every customer, its tax profile in force and each account, as `import_customers` reads it."""
    actor.require(Permission.CUSTOMERS_READ)
    yield _line(COLUMNS)
    begun = select(TaxProfile).where(TaxProfile.valid_from <= today).order_by(TaxProfile.valid_from)
    profiles = {one.customer_id: one for one in session.scalars(begun)}
    query = (
        select(Customer, Account)
        .outerjoin(Account, Account.customer_id == Customer.id)
        .order_by(Customer.id, Account.id)
    )
    if actor.customer_id is not None:
        query = query.where(Customer.id == actor.customer_id)
    codes = {one.id: one.code for one in session.execute(select(Account.id, Account.code))}
    for customer, account in session.execute(query):
        profile = profiles.get(customer.id)
        cells: list[object] = [customer.code, customer.name, customer.email]
        cells += [_cell(profile, name) for name in PROFILE]
        if account is not None:
            names = ("code", "name", *ACCOUNT[2:-1])
            cells += [_cell(account, name) for name in names]
            cells.append(codes.get(account.parent_account_id))
        else:
            cells += [None] * len(ACCOUNT)
        yield _line(cells)


def _cell(row: object, name: str) -> object:
    value = getattr(row, name, None)
    return str(value).lower() if isinstance(value, bool) else value


def _line(cells: Sequence[object]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow([safe_cell(None if cell is None else str(cell)) for cell in cells])
    return written.getvalue()
