"""Customers with a tax profile, their accounts, and our own registration."""

from datetime import UTC, date, datetime
from itertools import count

from sqlalchemy.orm import Session

from billing.customers.tables import Account, AccountStatus, BillingMode, Customer, TaxProfile
from billing.invoices.tables import SupplierRegistration
from billing.tax.gstin import check_character
from billing.tax.model import TaxKind

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = count(1)


def gstin(state_code: str, pan: str = "AAACO1234F") -> str:
    """A well-formed GSTIN of that State."""
    body = f"{state_code}{pan}1Z"
    return body + check_character(body)


def make_supplier(session: Session, *, state_code: str = "29") -> SupplierRegistration:
    """Our default registration, in Karnataka unless said otherwise, with an LUT."""
    supplier = SupplierRegistration(
        gstin=gstin(state_code),
        legal_name="Otpless Test Private Limited",
        trade_name="OTPless",
        address_line="1 Residency Road",
        city="Bengaluru",
        postal_code="560025",
        state_code=state_code,
        lut_arn="AD290326000001A",
        lut_valid_from=date(2026, 4, 1),
        lut_valid_to=date(2027, 3, 31),
        invoice_series="INV",
        bank_details={},
        is_default=True,
    )
    session.add(supplier)
    session.flush()
    return supplier


def make_account(
    session: Session,
    *,
    state_code: str | None = "29",
    tax_kind: TaxKind = TaxKind.REGISTERED,
    country: str = "IN",
    currency: str = "INR",
    billing_mode: BillingMode = BillingMode.POSTPAID,
    tax_profile: bool = True,
    zone: str = "Asia/Kolkata",
) -> Account:
    """An account with its customer and, unless told otherwise, a tax profile."""
    number = next(_numbers)
    customer = Customer(
        code=f"customer-{number}",
        name=f"Customer {number}",
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    session.add(customer)
    session.flush()
    if tax_profile:
        registered = tax_kind not in {TaxKind.UNREGISTERED, TaxKind.OVERSEAS}
        session.add(
            TaxProfile(
                customer_id=customer.id,
                valid_from=date(2026, 1, 1),
                tax_kind=tax_kind,
                legal_name=f"Customer {number} Private Limited",
                gstin=gstin(state_code or "29", "AAACM5678K") if registered else None,
                address_line="2 Market Street",
                city="Somewhere",
                postal_code="560001",
                state_code=state_code,
                country=country,
                sez_authorised_operations=tax_kind is TaxKind.SEZ_UNIT,
            )
        )
    account = Account(
        customer_id=customer.id,
        code=f"account-{number}",
        name=f"Account {number}",
        billing_mode=billing_mode,
        currency=currency,
        zone=zone,
        status=AccountStatus.ACTIVE,
        shard=0,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    session.add(account)
    session.flush()
    return account


def make_branch(session: Session, head: Account, name: str) -> Account:
    """An account of the same customer below another."""
    branch = Account(
        customer_id=head.customer_id,
        parent_account_id=head.id,
        code=f"{head.code}-{name}",
        name=f"Branch {name}",
        billing_mode=BillingMode.POSTPAID,
        currency=head.currency,
        zone=head.zone,
        status=head.status,
        shard=0,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    session.add(branch)
    session.flush()
    return branch
