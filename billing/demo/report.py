"""What the demo says when it is ready: where everything is, and what to try."""

from rich.console import Console
from rich.table import Table

from billing.demo.merchants import MERCHANTS, Merchant
from billing.demo.stack import RunningStack

_KINDS = {
    "registered": "GST registered",
    "sez_unit": "SEZ unit, under LUT",
    "unregistered": "unregistered",
    "overseas": "export, under LUT",
}


def print_summary(console: Console, stack: RunningStack, key: str) -> None:
    """Print addresses, the API key, the merchants, and commands that work as they stand."""
    where = Table(box=None, padding=(0, 2), show_header=False)
    for name, url in (
        ("Console", stack.console_url),
        ("API and its documentation", f"{stack.api_url}/docs"),
        ("Dagster", stack.dagster_url),
        ("API key (super admin)", key),
    ):
        if url:
            where.add_row(name, url)
    console.print()
    console.print(where)
    console.print()
    console.print(_merchants())
    console.print("\n[bold]Try[/bold]")
    for line in _commands(stack.api_url, key):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _merchants() -> Table:
    table = Table("Merchant", "Plan", "Pays", "For GST", "Story", box=None, padding=(0, 2))
    for merchant in MERCHANTS:
        pays = f"{merchant.billing_mode}, {merchant.currency}"
        kind = _KINDS[merchant.tax_kind]
        table.add_row(merchant.code, merchant.plan, pays, kind, _story(merchant))
    return table


def _story(merchant: Merchant) -> str:
    if merchant.upgrade:
        return "moves up to a larger plan in the middle of a month"
    if merchant.leaves:
        return "leaves in the third month"
    if merchant.starts.month:
        return "joins in the second month"
    if merchant.wallet and merchant.wallet.runs_dry:
        return "wallet ran out: suspended"
    if merchant.wallet and merchant.wallet.month_ends_at:
        return "wallet is low"
    return ""


def _commands(api_url: str, key: str) -> list[str]:
    header = f'-H "Authorization: Bearer {key}"'
    json = '-H "Content-Type: application/json"'
    authorisation = '{"alias": "peepal-games", "event_type": "otp.sms", "dimensions": '
    authorisation += '{"country": "IN", "channel": "sms"}}'
    event = '{"source": "readme", "event_id": "first-1", "alias": "kaveri-retail", '
    event += '"event_type": "otp.sms", "occurred_at": "\'$(date -u +%FT%TZ)\'", '
    event += '"dimensions": {"country": "IN", "channel": "sms", "status": "delivered"}}'
    return [
        "# may this merchant, whose wallet is empty, send?",
        f"curl -sS {api_url}/api/v1/authorizations {header} {json} -d '{authorisation}'",
        "# send an event; send it again and nothing is billed twice",
        f"curl -sS {api_url}/api/v1/events {header} {json} -d '{event}'",
        "# what waits for review",
        f"curl -sS '{api_url}/api/v1/invoices?review_state=in_review' {header}",
    ]
