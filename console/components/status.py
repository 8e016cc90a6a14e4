"""Statuses: always an icon and a word, the colour only repeats them."""

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "warn", "bad", "info", "quiet"]


@dataclass(frozen=True, slots=True)
class Status:
    """How a status is shown."""

    label: str
    icon: str
    tone: Tone

    @property
    def text(self) -> str:
        """Icon and word."""
        return f"{self.icon} {self.label}"


_WALLET = {
    "active": Status("Active", "●", "good"),
    "low": Status("Low", "▲", "warn"),
    "suspended": Status("Suspended", "■", "bad"),
}
_INVOICE = {
    "draft": Status("Draft", "✎", "info"),
    "due": Status("Due", "◷", "warn"),
    "paid": Status("Paid", "✓", "good"),
    "void": Status("Void", "⊘", "quiet"),
}
_PAYMENT = {
    "created": Status("Created", "○", "quiet"),
    "pending": Status("Pending", "◷", "info"),
    "authorised": Status("Authorised", "◐", "info"),
    "captured": Status("Captured", "✓", "good"),
    "failed": Status("Failed", "✕", "bad"),
    "expired": Status("Expired", "⊘", "quiet"),
}
_REVIEW = {
    "pending": Status("Pending", "○", "info"),
    "in_review": Status("In review", "◐", "info"),
    "approved": Status("Approved", "✓", "good"),
    "rejected": Status("Rejected", "✕", "bad"),
    "parked": Status("Parked", "!", "warn"),
}
_PHASE = {
    "trial": Status("Trial", "◔", "info"),
    "active": Status("Active", "●", "good"),
    "paused": Status("Paused", "‖", "warn"),
    "coming": Status("Coming", "○", "info"),
    "ended": Status("Ended", "⊘", "quiet"),
}
_METHOD = {
    "pending": Status("Not saved yet", "◷", "info"),
    "active": Status("Active", "●", "good"),
    "removed": Status("Removed", "⊘", "quiet"),
}
_EINVOICE = {
    "waiting": Status("Waiting", "◷", "info"),
    "unknown": Status("No answer yet", "?", "warn"),
    "registered": Status("Registered", "✓", "good"),
    "refused": Status("Refused", "✕", "bad"),
    "cancelled": Status("Cancelled", "⊘", "quiet"),
}
_WRITE_OFF = {
    "proposed": Status("Proposed", "◐", "info"),
    "approved": Status("Given up", "✓", "warn"),
    "rejected": Status("Rejected", "✕", "quiet"),
}
_GRANT = {
    "open": Status("Open", "●", "good"),
    "used": Status("Used", "✓", "quiet"),
    "expired": Status("Over", "⊘", "quiet"),
    "voided": Status("Taken back", "✕", "warn"),
}
_PLAN = {
    "on_sale": Status("On sale", "●", "good"),
    "unpublished": Status("Not published", "✎", "info"),
    "archived": Status("Archived", "⊘", "quiet"),
}
_VERSION = {
    "draft": Status("Draft", "✎", "info"),
    "template": Status("Template", "◫", "info"),
    "active": Status("Active", "●", "good"),
    "archived": Status("Archived", "⊘", "quiet"),
}
_COUPON = {
    "open": Status("Redeemable", "●", "good"),
    "coming": Status("Coming", "○", "info"),
    "used_up": Status("Used up", "✓", "quiet"),
    "over": Status("Over", "⊘", "quiet"),
    "withdrawn": Status("Withdrawn", "✕", "warn"),
}


_SPELLED = {
    "sms": "SMS",
    "whatsapp": "WhatsApp",
    "email": "E-mail",
    "sez_unit": "SEZ unit",
    "sez_developer": "SEZ developer",
    "add_on": "Add-on",
    "remove_add_on": "Add-on ended",
    "api_key": "API key",
    "api_keys": "API keys",
}


def _unknown(value: str) -> Status:
    return Status(value.replace("_", " ").capitalize(), "·", "quiet")


def wallet_status(value: str) -> Status:
    """Of a wallet."""
    return _WALLET.get(value) or _unknown(value)


def invoice_status(value: str) -> Status:
    """Of an invoice."""
    return _INVOICE.get(value) or _unknown(value)


def payment_status(value: str) -> Status:
    """Of a payment."""
    return _PAYMENT.get(value) or _unknown(value)


def review_status(value: str) -> Status:
    """Of a draft's review."""
    return _REVIEW.get(value) or _unknown(value)


def phase_status(value: str) -> Status:
    """Of a subscription on a day, or of one part of its life."""
    return _PHASE.get(value) or _unknown(value)


def method_status(value: str) -> Status:
    """Of a saved method of payment."""
    return _METHOD.get(value) or _unknown(value)


def einvoice_status(value: str) -> Status:
    """Of a document with the invoice registration portal."""
    return _EINVOICE.get(value) or _unknown(value)


def write_off_status(value: str) -> Status:
    """Of a proposal to give up a debt."""
    return _WRITE_OFF.get(value) or _unknown(value)


def grant_status(value: str) -> Status:
    """Of credits that were granted."""
    return _GRANT.get(value) or _unknown(value)


def plan_status(value: str) -> Status:
    """Of a plan: whether anybody new gets it."""
    return _PLAN.get(value) or _unknown(value)


def version_status(value: str) -> Status:
    """Of a version of a plan."""
    return _VERSION.get(value) or _unknown(value)


def coupon_status(value: str) -> Status:
    """Of a coupon on a day."""
    return _COUPON.get(value) or _unknown(value)


def stage(status: str, review_state: str) -> Status:
    """Where an invoice stands, in one badge: its review while a draft, its status afterwards."""
    if status != "draft":
        return invoice_status(status)
    return review_status(review_state)


def words(value: str) -> str:
    """A stored name as words: `top_up` is `Top up`, `otp.sms` stays as it is."""
    if value in _SPELLED:
        return _SPELLED[value]
    return value if "." in value else value.replace("_", " ").capitalize()
