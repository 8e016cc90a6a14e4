"""Creating the catalogue and the merchants through the API, as an operator's program would.

Every command's idempotency key is made from what it creates, so that a demo that was cut off takes
up where it stopped, and one that is whole creates nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from billing.demo import catalogue
from billing.demo.calendar import COMPLETE_MONTHS, DemoCalendar
from billing.demo.catalogue import ChargeSpec, Item, PlanSpec, RateSpec, TierSpec
from billing.demo.client import BillingApi
from billing.demo.merchants import SUPPLIER, Merchant
from billing.money import to_minor
from billing.periods import add_months

_FX_SOURCE = "demo reference rate"


class Setup:
    """Creates what traffic needs before it can flow.

    Args:
        namespace: begins every idempotency key; one per demo.
    """

    def __init__(self, api: BillingApi, calendar: DemoCalendar, namespace: str) -> None:
        self._api = api
        self._calendar = calendar
        self._namespace = namespace

    def everything(self, merchants: Sequence[Merchant]) -> dict[str, str]:
        """Create it all, and return the ids of the wallets by merchant code."""
        self.supplier()
        self.exchange_rates()
        for item in catalogue.ITEMS:
            self.item(item)
        for plan in catalogue.PLANS:
            self.plan(plan)
        wallets = {}
        for merchant in merchants:
            wallet_id = self.merchant(merchant)
            if wallet_id:
                wallets[merchant.code] = wallet_id
        return wallets

    def supplier(self) -> None:
        """Our own registration, with a Letter of Undertaking for the years the demo covers."""
        body = {
            "gstin": SUPPLIER.gstin,
            "legal_name": SUPPLIER.name,
            "trade_name": "Passline",
            "address_line": SUPPLIER.place.line,
            "city": SUPPLIER.place.city,
            "postal_code": SUPPLIER.place.postal_code,
            "lut_arn": "AD290426011223F",
            "lut_valid_from": _financial_year_start(self._calendar.first_month),
            "lut_valid_to": _financial_year_end(self._calendar.anchor),
            "invoice_series": "PL",
            "bank_details": {
                "account_name": SUPPLIER.name,
                "account_number": "004412900117",
                "bank_name": "Garden City Bank",
                "ifsc": "GCBL0000042",
            },
        }
        self._create("/supplier-registrations", body, "supplier")

    def exchange_rates(self) -> None:
        """One rate per currency and month."""
        for code, rates in catalogue.FX.items():
            for month, rate in zip(range(COMPLETE_MONTHS + 1), rates, strict=True):
                day = add_months(self._calendar.first_month, month)
                body = {
                    "currency": code,
                    "rate_date": day.isoformat(),
                    "inr_per_unit": rate,
                    "source": _FX_SOURCE,
                }
                self._create("/fx-rates", body, f"fx:{code}:{day}")

    def item(self, item: Item) -> None:
        """A billable item; usage counts once it is sent or delivered."""
        usage = item.event_type is not None
        body = {
            "code": item.code,
            "name": item.name,
            "kind": "usage" if usage else "recurring",
            "event_type": item.event_type,
            "event_filter": {"status": catalogue.COUNTED_STATUSES} if usage else {},
            "aggregation": "sum",
            "unit": item.unit,
            "sac": item.sac,
        }
        self._create("/billable-items", body, f"item:{item.code}")

    def plan(self, plan: PlanSpec) -> None:
        """A plan with one published version."""
        plan_id = self._create(
            "/price-plans", {"code": plan.code, "name": plan.name}, f"plan:{plan.code}"
        )
        charges = [charge_body(charge, plan.currency) for charge in plan.charges]
        version_id = self._create(
            f"/price-plans/{plan_id}/versions", {"charges": charges}, f"version:{plan.code}"
        )
        self._create(f"/plan-versions/{version_id}/publish", {}, f"publish:{plan.code}")

    def merchant(self, merchant: Merchant) -> str | None:
        """A customer with its account, alias, subscription and, if prepaid, wallet (its id)."""
        code = merchant.code
        starts = merchant.starts.on(self._calendar.first_month)
        customer_id = self._create(
            "/customers",
            {"code": code, "name": merchant.name, "email": merchant.email},
            f"customer:{code}",
        )
        self._create(
            f"/customers/{customer_id}/tax-profiles",
            tax_profile_body(merchant, starts),
            f"tax:{code}",
        )
        account_id = self._create(
            "/accounts",
            {
                "customer_id": customer_id,
                "code": code,
                "name": merchant.name,
                "billing_mode": merchant.billing_mode,
                "currency": merchant.currency,
                "zone": merchant.zone,
            },
            f"account:{code}",
        )
        alias = {"alias": merchant.alias, "valid_from": starts.isoformat()}
        self._create(f"/accounts/{account_id}/aliases", alias, f"alias:{code}")
        self._subscribe(merchant, account_id, starts)
        return self._wallet(merchant, account_id)

    def _subscribe(self, merchant: Merchant, account_id: str, starts: date) -> None:
        code, first = merchant.code, self._calendar.first_month
        body = {
            "account_id": account_id,
            "plan_code": merchant.plan,
            "starts_on": starts.isoformat(),
        }
        subscription_id = self._create("/subscriptions", body, f"subscription:{code}")
        path = f"/subscriptions/{subscription_id}"
        if merchant.upgrade:
            day, plan = merchant.upgrade
            change = {"plan_code": plan, "from_day": day.on(first).isoformat()}
            self._create(f"{path}/change", change, f"upgrade:{code}")
        if merchant.leaves:
            end = {"ends_on": merchant.leaves.on(first).isoformat()}
            self._create(f"{path}/end", end, f"end:{code}")

    def _wallet(self, merchant: Merchant, account_id: str) -> str | None:
        if merchant.wallet is None:
            return None
        body = {
            "account_id": account_id,
            "low_balance_minor": to_minor(merchant.wallet.low_balance, merchant.currency),
        }
        return self._create("/wallets", body, f"wallet:{merchant.code}")

    def _create(self, path: str, body: Mapping[str, Any], what: str) -> str:
        return str(self._api.post(f"/api/v1{path}", body, f"{self._namespace}:{what}")["id"])


def charge_body(charge: ChargeSpec, currency: str) -> dict[str, Any]:
    """A charge as the API wants it."""
    return {
        "code": charge.code,
        "name": charge.name,
        "item_code": charge.item,
        "price_model": charge.price_model,
        "prorated": charge.prorated,
        "match_dimensions": list(charge.match_dimensions),
        "rates": [_rate_body(rate, currency) for rate in charge.rates],
    }


def tax_profile_body(merchant: Merchant, valid_from: date) -> dict[str, Any]:
    """A tax profile as the API wants it."""
    return {
        "valid_from": valid_from.isoformat(),
        "tax_kind": merchant.tax_kind,
        "legal_name": merchant.name,
        "gstin": merchant.gstin,
        "address_line": merchant.place.line,
        "city": merchant.place.city,
        "postal_code": merchant.place.postal_code,
        "state_code": merchant.place.state_code,
        "country": merchant.place.country,
        "sez_authorised_operations": merchant.tax_kind == "sez_unit",
    }


def _rate_body(rate: RateSpec, currency: str) -> dict[str, Any]:
    return {
        "currency": currency,
        "match": dict(rate.match),
        "tiers": [_tier_body(tier) for tier in rate.tiers],
    }


def _tier_body(tier: TierSpec) -> dict[str, Any]:
    return {
        "up_to": tier.up_to,
        "unit_price": tier.unit_price,
        "flat_amount": tier.flat_amount,
    }


def _financial_year_start(day: date) -> str:
    return date(day.year if day.month >= 4 else day.year - 1, 4, 1).isoformat()


def _financial_year_end(day: date) -> str:
    return date(day.year + 1 if day.month >= 4 else day.year, 3, 31).isoformat()
