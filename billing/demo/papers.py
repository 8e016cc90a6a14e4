"""What finance does with the demo's invoices: money by bank, tax deducted, notes, a refund."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from billing.demo.calendar import DemoCalendar
from billing.demo.client import BillingApi, DemoError
from billing.demo.merchants import Merchant, merchant
from billing.money import round_half_up, to_minor

_TDS_SECTION: Final = "393(1)"
_TDS_PERCENT: Final = Decimal(2)
"""Of the taxable value: what a customer keeps back for the income tax of its supplier."""
_PAID_AFTER: Final = timedelta(days=11)
_NOTE_AFTER: Final = timedelta(days=8)
_SHARE_OF_NOTE: Final = 20
"""A note corrects a line by one part in so many."""
_REFUNDED_CREDITS: Final = Decimal(100)

PAID_LESS_TAX: Final = ("kaveri-retail", "rock-garden")
PAID: Final = ("deccan-wheels", "larkspur-health")
CREDITED: Final = "monsoon-pay"
CHARGED_MORE: Final = "indus-parcel"
GIVEN_BACK: Final = "malabar-credit"
"""The others have not paid yet: what is open, and how long, is part of the story."""


class Papers:
    """What follows the invoices of the first months; done again, it adds nothing.

    Args:
        namespace: begins every idempotency key and every reference of the bank.
    """

    def __init__(self, api: BillingApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def everything(self, calendar: DemoCalendar, wallets: Mapping[str, str]) -> None:
        """The demo's payments, notes and refund.

        Args:
            wallets: their ids by merchant code.
        """
        first, second, _ = calendar.complete_months
        paid_on = calendar.issue_date(first) + _PAID_AFTER
        invoices = self.invoices(first)
        for code in PAID_LESS_TAX:
            self.deduct_tax(invoices[code])
        self.credit(invoices[CREDITED])
        for code in (*PAID_LESS_TAX, *PAID, CREDITED):
            self.pay(invoices[code], paid_on)
        undercharged = self.invoices(second)[CHARGED_MORE]
        self.charge_more(undercharged, calendar.issue_date(second) + _NOTE_AFTER)
        self.give_back(merchant(GIVEN_BACK), wallets[GIVEN_BACK], calendar.anchor)

    def invoices(self, month: date) -> dict[str, str]:
        """The ids of a month's invoices by merchant code."""
        codes = {
            row["id"]: row["attributes"]["code"] for row in self._api.pages("/api/v1/accounts")
        }
        listed = self._api.pages("/api/v1/invoices", invoice_month=month.isoformat())
        return {codes[row["relationships"]["account"]["id"]]: row["id"] for row in listed}

    def deduct_tax(self, invoice_id: str) -> None:
        """Note the income tax that the customer keeps back; its certificate is still to come."""
        invoice = self._api.get(f"/api/v1/invoices/{invoice_id}")["attributes"]
        base_minor = invoice["taxable_minor"]
        kept = round_half_up(Decimal(base_minor) * _TDS_PERCENT / 100, 0)
        body = {
            "source": "tds_income_tax",
            "amount_minor": int(kept),
            "reference": f"{self._namespace}-{invoice['number']}",
            "section": _TDS_SECTION,
            "rate": str(_TDS_PERCENT),
            "base_minor": base_minor,
        }
        self._post(f"/invoices/{invoice_id}/settlement-lines", body, f"tds:{invoice_id}")

    def pay(self, invoice_id: str, day: date) -> None:
        """Record a transfer of what is still open, as the bank's statement of that day has it."""
        invoice = self._api.get(f"/api/v1/invoices/{invoice_id}")["attributes"]
        if invoice["status"] == "paid":
            return  # an earlier run came this far
        body = {
            "reference": f"{self._namespace}-{invoice['number']}",
            "received_on": day.isoformat(),
            "amount_minor": invoice["total_minor"] - invoice["settled_minor"],
            "invoice_id": invoice_id,
        }
        self._post("/payments/receipts", body, f"paid:{invoice_id}")

    def credit(self, invoice_id: str) -> None:
        """Take part of the dearest line back by a credit note of today."""
        why = "Receipts of one route came late: these did not arrive"
        body = {"reason": why, "lines": self._part_of_dearest(invoice_id)}
        self._post(f"/invoices/{invoice_id}/credit-notes", body, f"credit:{invoice_id}")

    def charge_more(self, invoice_id: str, day: date) -> None:
        """Charge a little more for the dearest line by a debit note."""
        why = "A surcharge of the operator was left out"
        body = {"reason": why, "lines": self._part_of_dearest(invoice_id)}
        note = self._post(f"/invoices/{invoice_id}/debit-notes", body, f"debit:{invoice_id}")
        issued = {"issue_date": day.isoformat()}
        self._post(f"/invoices/{note['id']}/approve", issued, f"approve:{note['id']}")

    def give_back(self, found: Merchant, wallet_id: str, day: date) -> None:
        """Send some credits of the last top-up back, with their tax."""
        payment: dict[str, Any] | None = next(
            self._api.pages("/api/v1/payments", wallet_id=wallet_id), None
        )
        if payment is None:
            raise DemoError(f"{found.code} has never paid into its wallet.")
        paid = payment["attributes"]
        credits_minor = to_minor(_REFUNDED_CREDITS, found.currency)
        tax = Decimal(paid["amount_minor"] - paid["credits_minor"]) / paid["credits_minor"]
        body = {
            "reference": f"{self._namespace}-refund-{found.code}",
            "sent_on": day.isoformat(),
            "amount_minor": credits_minor + int(round_half_up(credits_minor * tax, 0)),
            "reason": "Credits bought by mistake",
        }
        self._post(f"/payments/{payment['id']}/bank-refunds", body, f"refund:{found.code}")

    def _part_of_dearest(self, invoice_id: str) -> list[dict[str, Any]]:
        invoice = self._api.get(f"/api/v1/invoices/{invoice_id}")["attributes"]
        dearest = max(invoice["lines"], key=lambda line: int(line["amount_minor"]))
        amount_minor = dearest["amount_minor"] // _SHARE_OF_NOTE
        return [{"line_ref": dearest["line_ref"], "amount_minor": amount_minor}]

    def _post(self, path: str, body: Mapping[str, Any], what: str) -> dict[str, Any]:
        return self._api.post(f"/api/v1{path}", body, f"{self._namespace}:{what}")
