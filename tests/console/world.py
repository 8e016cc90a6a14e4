"""A small company to look at: customers, wallets, invoices, and the marts the pipeline makes."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.access.roles import Role
from billing.customers.tables import Account, AccountStatus, BillingMode, Customer, TaxProfile
from billing.ids import new_id
from billing.invoices.tables import (
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    ReviewState,
    SupplierRegistration,
)
from billing.invoices.taxing import apply_tax, decide_invoice_tax
from billing.money import to_minor, to_units
from billing.periods import Period, add_months, each_day, month_of
from billing.subscriptions.tables import Subscription, SubscriptionStatus
from billing.tax.model import TaxKind
from billing.wallets.ledger import post_adjustment, status_of
from billing.wallets.tables import LedgerAccount, LedgerKind, Wallet, WalletStatus
from tests.support.factories.parties import LONG_AGO, gstin, make_supplier

MARTS = """
CREATE SCHEMA IF NOT EXISTS marts;
CREATE TABLE marts.fct_usage_daily (
    account_id uuid, customer_id uuid, usage_day date, event_type text, country text, channel text,
    status text, operator text, route text, traffic_type text, event_count bigint, quantity numeric,
    vendor_cost numeric);
CREATE TABLE marts.fct_wallet_movements (
    wallet_id uuid, account_id uuid, customer_id uuid, movement_day date, kind text, currency text,
    amount_units bigint, entries bigint);
CREATE TABLE marts.fct_mrr_monthly (
    month date, customer_id uuid, account_id uuid, currency text, mrr_minor bigint,
    mrr_inr_minor bigint, usage_revenue_minor bigint, usage_revenue_inr_minor bigint);
CREATE TABLE marts.fct_mrr_movements (
    month date, customer_id uuid, movement text, amount_inr_minor bigint)
"""

_INR_PER = {"INR": Decimal(1), "USD": Decimal(84), "IDR": Decimal("0.0053")}


@dataclass(frozen=True, slots=True)
class Merchant:
    """What the world needs to know of a customer before it exists."""

    code: str
    name: str
    state_code: str | None
    currency: str
    mode: BillingMode
    daily_events: int
    fee: Decimal
    wallet: Decimal = Decimal(0)
    joined_months_ago: int = 12


MERCHANTS = (
    Merchant("acme", "Acme Payments", "29", "INR", BillingMode.POSTPAID, 42_000, Decimal(49_999)),
    Merchant("zenith", "Zenith Retail", "27", "INR", BillingMode.POSTPAID, 31_500, Decimal(24_999)),
    Merchant("kirana", "KiranaKart", "07", "INR", BillingMode.PREPAID, 12_300, Decimal(0),
             Decimal("184250.4375")),
    Merchant("lotus", "Lotus Health", "29", "INR", BillingMode.PREPAID, 4_800, Decimal(0),
             Decimal("2310.55"), 5),
    Merchant("mosaic", "Mosaic Mobility", "33", "INR", BillingMode.PREPAID, 2_100, Decimal(0),
             Decimal(0), 4),
    Merchant("brightside", "Brightside Inc", None, "USD", BillingMode.POSTPAID, 9_400,
             Decimal(499), Decimal(0), 8),
    Merchant("nusantara", "Nusantara Pay", None, "IDR", BillingMode.PREPAID, 7_700, Decimal(0),
             Decimal(48_250_000), 6),
    Merchant("formula", "=Formula & Sons", "24", "INR", BillingMode.POSTPAID, 1_900,
             Decimal(9_999), Decimal(0), 2),
)  # fmt: skip

_CHANNELS = (("otp.sms", "sms", 55), ("otp.whatsapp", "whatsapp", 30), ("otp.email", "email", 10),
             ("otp.voice", "voice", 5))  # fmt: skip
_COUNTRIES = (("IN", 78), ("ID", 9), ("US", 6), ("AE", 4), ("SG", 3))
_OUTCOMES = (("delivered", 91), ("sent", 5), ("failed", 4))


@dataclass
class World:
    """What tests ask for by name."""

    today: date
    month: date
    accounts: dict[str, Account]
    drafts: dict[str, UUID]
    wallets: dict[str, UUID]
    issued: dict[str, UUID]


def build(session: Session, today: date) -> World:
    """Fill a migrated database; last month is ready for review."""
    session.execute(text(MARTS))
    supplier = make_supplier(session)
    month = add_months(today.replace(day=1), -1)
    world = World(today, month, {}, {}, {}, {})
    for merchant in MERCHANTS:
        account = _account(session, merchant)
        world.accounts[merchant.code] = account
        _usage(session, merchant, account, today)
        _revenue(session, merchant, account, month)
        if merchant.mode is BillingMode.PREPAID:
            world.wallets[merchant.code] = _wallet(session, merchant, account, today)
        drafted = _invoice(session, supplier, merchant, account, month)
        world.drafts[merchant.code] = drafted.id
    _states(session, world)
    return world


def _account(session: Session, merchant: Merchant) -> Account:
    customer = Customer(
        code=merchant.code, name=merchant.name, created_at=LONG_AGO, updated_at=LONG_AGO
    )
    session.add(customer)
    session.flush()
    abroad = merchant.state_code is None
    session.add(
        TaxProfile(
            customer_id=customer.id,
            valid_from=date(2025, 1, 1),
            tax_kind=TaxKind.OVERSEAS if abroad else TaxKind.REGISTERED,
            legal_name=f"{merchant.name} Private Limited",
            gstin=None if abroad else gstin(merchant.state_code or "", "AAACM5678K"),
            address_line="2 Market Street",
            city="Somewhere",
            postal_code="560001",
            state_code=merchant.state_code,
            country={"USD": "US", "IDR": "ID"}.get(merchant.currency, "IN"),
        )
    )
    account = Account(
        customer_id=customer.id,
        code=f"{merchant.code}-main",
        name="Main",
        billing_mode=merchant.mode,
        currency=merchant.currency,
        zone="Asia/Kolkata",
        status=AccountStatus.ACTIVE,
        shard=0,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    session.add(account)
    session.flush()
    session.add(
        Subscription(
            account_id=account.id,
            status=SubscriptionStatus.ACTIVE,
            starts_on=date(2025, 1, 1),
            created_at=LONG_AGO,
            updated_at=LONG_AGO,
        )
    )
    return account


def _usage(session: Session, merchant: Merchant, account: Account, today: date) -> None:
    rows: list[dict[str, Any]] = []
    for number, day in enumerate(each_day(Period(today - timedelta(days=75), today))):
        weekday = 100 if day.weekday() < 5 else 68
        level = merchant.daily_events * weekday * (100 + number // 3) // 10_000
        for event_type, channel, share in _CHANNELS:
            for country, part in _COUNTRIES:
                for status, outcome in _OUTCOMES:
                    events = level * share * part * outcome // 1_000_000
                    if events:
                        rows.append(
                            {
                                "account": account.id, "customer": account.customer_id,
                                "day": day, "type": event_type, "country": country,
                                "channel": channel, "status": status, "events": events,
                            }
                        )  # fmt: skip
    session.execute(
        text(
            """
            INSERT INTO marts.fct_usage_daily VALUES (:account, :customer, :day, :type, :country,
                :channel, :status, 'unknown', 'unknown', 'unknown', :events, :events,
                :events * 0.07)
            """
        ),
        rows,
    )


def _revenue(session: Session, merchant: Merchant, account: Account, month: date) -> None:
    rate = _INR_PER[merchant.currency]
    before = 0
    for ago in range(min(merchant.joined_months_ago, 9), -1, -1):
        fee = merchant.fee * _growth(merchant.code, ago)
        mrr, mrr_inr = to_minor(fee, merchant.currency), to_minor(fee * rate, "INR")
        usage = to_minor(Decimal(merchant.daily_events * (34 - ago)) * Decimal("0.11"), "INR")
        this = add_months(month, -ago)
        session.execute(
            text(
                "INSERT INTO marts.fct_mrr_monthly VALUES "
                "(:month, :customer, :account, :currency, :mrr, :mrr_inr, :usage, :usage)"
            ),
            {
                "month": this, "customer": account.customer_id, "account": account.id,
                "currency": merchant.currency, "mrr": mrr, "mrr_inr": mrr_inr, "usage": usage,
            },
        )  # fmt: skip
        if mrr_inr != before:
            session.execute(
                text(
                    "INSERT INTO marts.fct_mrr_movements VALUES (:month, :customer, :kind, :amount)"
                ),
                {
                    "month": this, "customer": account.customer_id,
                    "kind": _movement(before, mrr_inr), "amount": mrr_inr - before,
                },
            )  # fmt: skip
        before = mrr_inr


def _growth(code: str, ago: int) -> Decimal:
    """Everybody grew once; last month one grew, one shrank, and one only began."""
    if code == "formula":
        return Decimal(ago == 0)
    if ago == 0:
        return {"acme": Decimal("1.6"), "zenith": Decimal("0.9")}.get(code, Decimal("1.2"))
    return Decimal(1) if ago > 3 else Decimal("1.2")


def _movement(before: int, now: int) -> str:
    if not before:
        return "new"
    return "expansion" if now > before else "contraction"


def _wallet(session: Session, merchant: Merchant, account: Account, today: date) -> UUID:
    wallet = Wallet(
        account_id=account.id,
        currency=merchant.currency,
        shard=0,
        low_balance_units=to_units(
            Decimal(5000) if merchant.currency == "INR" else Decimal(2_000_000), merchant.currency
        ),
        status=WalletStatus.SUSPENDED,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    session.add(wallet)
    session.flush()
    daily = max(merchant.wallet / 80, Decimal("412.345678") if merchant.wallet == 0 else Decimal(1))
    moves = [(LedgerKind.TOP_UP, merchant.wallet + daily * 24, 24)]
    moves += [(LedgerKind.USAGE, -daily, ago) for ago in range(24, 0, -1)]
    for kind, amount, ago in moves:
        at = datetime(today.year, today.month, today.day, 6, tzinfo=UTC) - timedelta(days=ago)
        units = to_units(amount, merchant.currency)
        post_adjustment(
            session,
            wallet,
            amount_units=units,
            kind=kind,
            counter_account=LedgerAccount.USAGE_UNBILLED
            if kind is LedgerKind.USAGE
            else LedgerAccount.CASH,
            reference=f"{kind.value}:{merchant.code}:{at:%Y%m%d}",
            note="",
            actor="seed",
            now=at,
        )
        session.execute(
            text(
                "INSERT INTO marts.fct_wallet_movements VALUES "
                "(:wallet, :account, :customer, :day, :kind, :currency, :units, 1)"
            ),
            {
                "wallet": wallet.id, "account": account.id, "customer": account.customer_id,
                "day": at.date(), "kind": kind.value, "currency": merchant.currency,
                "units": units,
            },
        )  # fmt: skip
    wallet.status = status_of(wallet)
    return wallet.id


def _invoice(
    session: Session,
    supplier: SupplierRegistration,
    merchant: Merchant,
    account: Account,
    month: date,
) -> Invoice:
    period = month_of(month)
    now = datetime.now(UTC)
    invoice = Invoice(
        account_id=account.id,
        customer_id=account.customer_id,
        supplier_gstin=supplier.gstin,
        period_start=period.start,
        period_end=period.end,
        invoice_month=month,
        status=InvoiceStatus.DRAFT,
        review_state=ReviewState.PENDING,
        currency=merchant.currency,
        lines_hash="seed",
        taxable_minor=0,
        tax_minor=0,
        total_minor=0,
        tax_decision={},
        created_at=now,
        updated_at=now,
    )
    session.add(invoice)
    session.flush()
    lines = _lines(invoice, merchant)
    session.add_all(lines)
    profile = session.query(TaxProfile).filter_by(customer_id=account.customer_id).one()
    decision = decide_invoice_tax(
        supplier, profile, sacs={"998413"}, currency=merchant.currency, tax_date=period.end
    )
    apply_tax(invoice, lines, decision)
    session.flush()
    return invoice


def _lines(invoice: Invoice, merchant: Merchant) -> list[InvoiceLine]:
    sms, whatsapp = merchant.daily_events * 17, merchant.daily_events * 9
    scale = Decimal(1) if merchant.currency == "INR" else 1 / _INR_PER[merchant.currency]
    price = (Decimal("0.1275") * scale).quantize(Decimal("0.0001"))
    found = [("SMS OTP, India", "sms", Decimal(sms), None, _tiers(Decimal(sms), price))]
    amount = whatsapp * price * 2
    found.append(
        ("WhatsApp OTP", "whatsapp", Decimal(whatsapp), price * 2,
         [{"from": "0", "to": None, "units": str(whatsapp), "unit_price": str(price * 2),
           "flat_amount": "0", "amount": str(amount)}])
    )  # fmt: skip
    if merchant.fee:
        found.append(("Platform fee", "platform", Decimal(1), merchant.fee, []))
    lines = []
    for ordinal, (description, code, quantity, unit_price, tiers) in enumerate(found, 1):
        rated = sum((Decimal(tier["amount"]) for tier in tiers), Decimal(0)) or merchant.fee
        lines.append(
            InvoiceLine(
                invoice_id=invoice.id,
                line_ref=f"{new_id()}:{invoice.period_start:%Y%m%d}:{code}:1",
                ordinal=ordinal,
                description=description,
                item_code=code,
                sac="998413",
                quantity=quantity,
                unit="OTP" if code != "platform" else "month",
                unit_price=unit_price,
                amount_minor=to_minor(rated, merchant.currency),
                period_start=invoice.period_start,
                period_end=invoice.period_end,
                tier_breakdown=tiers,
                taxes=[],
            )
        )
    return lines


def _tiers(quantity: Decimal, price: Decimal) -> list[dict[str, Any]]:
    first, second = Decimal(50_000), Decimal(250_000)
    bounds = (
        (Decimal(0), first, price),
        (first, second, price * 9 / 10),
        (second, None, price * 8 / 10),
    )
    tiers = []
    for low, high, unit_price in bounds:
        units = min(quantity, high if high is not None else quantity) - low
        if units > 0:
            tiers.append(
                {"from": str(low), "to": None if high is None else str(high), "units": str(units),
                 "unit_price": str(unit_price), "flat_amount": "0",
                 "amount": str(units * unit_price)}
            )  # fmt: skip
    return tiers


def _states(session: Session, world: World) -> None:
    """One draft of each kind, besides those that are pending."""
    rejected = session.get_one(Invoice, world.drafts["zenith"])
    rejected.review_state, rejected.review_note = ReviewState.REJECTED, "The discount is missing."
    parked = session.get_one(Invoice, world.drafts["nusantara"])
    parked.review_state = ReviewState.PARKED
    parked.review_note = "No rate matches 412 events of otp.voice to SG."
    session.get_one(Invoice, world.drafts["formula"]).review_state = ReviewState.IN_REVIEW
    session.flush()


ROLES = {
    "finance": Role.FINANCE_ADMIN,
    "analyst": Role.PRODUCT_ANALYST,
    "engineer": Role.DATA_ENGINEER,
    "support": Role.SUPPORT,
    "admin": Role.SUPER_ADMIN,
    "merchant": Role.CUSTOMER,
    "sender": Role.SENDER,
}
