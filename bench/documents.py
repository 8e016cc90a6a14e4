"""`python -m bench.documents`: drafts, issue, PDFs, an invoice on demand, webhooks.

An embedded PostgreSQL with the settings of production in a folder of its own. Amounts and lines are
made up; what is measured is what `invoicing` does with them.
"""

import asyncio
import hashlib
import hmac
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from starlette.types import Message, Receive, Scope, Send

from bench.machine import spin_ms, usage_of
from bench.marts import RATED_MARTS
from bench.report import Row, print_table, write_json
from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.clock import ManualClock
from billing.commands import Context
from billing.customers.tables import Account, AccountStatus, BillingMode, Customer, TaxProfile
from billing.db import migrate
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.ids import new_id
from billing.invoices.service import RegisterSupplier, register_supplier
from billing.invoices.tables import Invoice, InvoiceStatus, RatingRun
from billing.payments.tables import Payment, PaymentPurpose, PaymentStatus
from billing.settings import Settings
from billing.stack import ports
from billing.stack.postgres import EmbeddedPostgres
from billing.tax.gstin import check_character
from billing.tax.model import TaxKind
from ingest_api.collector import calm_collector
from ingest_api.main import app
from ingest_api.services import Services
from invoicing.assemble import draft_invoices
from invoicing.document import InvoiceDocument
from invoicing.issue import ApproveInvoice, approve_invoice
from invoicing.issue_many import approve_each
from invoicing.worker import DrawingPool

MONTH, END = date(2026, 10, 1), date(2026, 11, 1)
NOW = datetime(2026, 11, 3, 6, tzinfo=UTC)
LINES = 3
WEBHOOK_SECRET = "bench"
_SIZES = {"INVOICES": 10_000, "ISSUED": 2_000, "PDFS": 10_000, "WEBHOOKS": 500, "ON_DEMAND": 20}
_COPY = """
COPY marts.fct_invoice_lines (line_ref, rating_run_id, invoice_month, account_id, customer_id,
    charge_code, item_code, sac, description, period_start, period_end, quantity, unit,
    unit_price, currency, amount_minor, is_recurring, tier_breakdown) FROM STDIN
"""


def size(name: str) -> int:
    """How much of something, by `BENCH_<name>`."""
    return int(os.environ.get(f"BENCH_{name}", _SIZES[name]))


def main() -> int:
    """Run; the exit code is 0 when every must is reached."""
    os.environ["BILLING_RAZORPAY_KEY_ID"] = "bench"
    os.environ["BILLING_RAZORPAY_KEY_SECRET"] = "bench"
    os.environ["BILLING_RAZORPAY_WEBHOOK_SECRET"] = WEBHOOK_SECRET
    out = Path(os.environ.get("BENCH_OUT", ".local/bench"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="billing-bench-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres", ports.any_free())
        server.start()
        try:
            url = server.url_of("billing")
            migrate.upgrade(url)
            engine = open_engine(url, application="bench", pool_size=8)
            rows = _measured(engine, url)
            engine.dispose()
        finally:
            server.stop()
    print()
    print_table(rows)
    sizes = {one: size(one) for one in _SIZES}
    print(f"\nDetails: {write_json(out, rows, {'sizes': sizes}, name='documents')}")
    return 0 if all(row.reaches(row.must) for row in rows) else 1


def _measured(engine: Engine, url: str) -> list[Row]:
    calm_collector()  # as the API does, in which drafts are approved
    clock = ManualClock(NOW)
    run_id, accounts = _world(engine, clock, size("INVOICES"))
    rows = [_drafts(engine, clock, run_id, len(accounts))]
    rows += _issue(engine, clock)
    with read_only(engine) as session:
        found = session.scalars(
            select(Invoice.snapshot).where(Invoice.snapshot.is_not(None)).limit(200)
        )
        snapshots = [InvoiceDocument.from_dict(one or {}) for one in found]
    rows += _pdfs(snapshots)
    return [*rows, *asyncio.run(_over_http(engine, url, clock, accounts[0]))]


def _world(engine: Engine, clock: ManualClock, count: int) -> tuple[UUID, list[UUID]]:
    with unit_of_work(engine) as session:
        body = "29AAACO1234F1Z"
        supplier = RegisterSupplier(
            gstin=body + check_character(body),
            legal_name="Bench Private Limited",
            trade_name="Bench",
            address_line="1 Residency Road",
            city="Bengaluru",
            postal_code="560025",
        )
        register_supplier(Context(session, SYSTEM, clock), supplier)
        run = RatingRun(
            invoice_month=MONTH, event_time_to=NOW, started_at=NOW, triggered_by="bench"
        )
        session.add(run)
        customers = [_customer(number) for number in range(count)]
        session.add_all(customers)
        session.flush()
        accounts = [_account(session, customer) for customer in customers]
        session.execute(text(RATED_MARTS))
        session.flush()
        run_id, ids = run.id, [(account.id, account.customer_id) for account in accounts]
    address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection, connection.cursor() as cursor:
        _copy_lines(cursor, run_id, ids)
    return run_id, [account_id for account_id, _ in ids]


def _customer(number: int) -> Customer:
    name = f"Customer {number}"
    return Customer(id=new_id(), code=f"c-{number}", name=name, created_at=NOW, updated_at=NOW)


def _account(session: Session, customer: Customer) -> Account:
    number = int(customer.code[2:])
    state = ("29", "27", "33")[number % 3]
    pan = f"{state}AAACM5678K1Z"
    session.add(
        TaxProfile(
            customer_id=customer.id,
            valid_from=date(2026, 1, 1),
            tax_kind=TaxKind.REGISTERED,
            legal_name=f"Customer {number} Private Limited",
            gstin=pan + check_character(pan),
            address_line="2 Market Street",
            city="Somewhere",
            postal_code="560001",
            state_code=state,
            country="IN",
            sez_authorised_operations=False,
        )
    )
    account = Account(
        id=new_id(),
        customer_id=customer.id,
        code=f"a-{number}",
        name=f"Account {number}",
        billing_mode=BillingMode.POSTPAID,
        currency="INR",
        zone="Asia/Kolkata",
        status=AccountStatus.ACTIVE,
        shard=0,
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(account)
    return account


def _copy_lines(
    cursor: "psycopg.Cursor[Any]", run_id: UUID, accounts: list[tuple[UUID, UUID]]
) -> None:
    names = ("SMS to India", "WhatsApp", "Platform fee")
    with cursor.copy(_COPY) as copy:
        for account_id, customer_id in accounts:
            for place in range(LINES):
                quantity = 1000 + place * 37
                copy.write_row(
                    (
                        f"{account_id}:{place}", run_id, MONTH, account_id, customer_id,
                        "c", "sms", "998413", names[place], MONTH, END, Decimal(quantity),
                        "message", Decimal("0.1175"), "INR", quantity * 12, place == 2, "[]",
                    )
                )  # fmt: skip


def _drafts(engine: Engine, clock: ManualClock, run_id: UUID, count: int) -> Row:
    spin, cpu, began = spin_ms(), time.process_time(), time.perf_counter()
    with unit_of_work(engine) as session:
        made = len(draft_invoices(session, MONTH, run_id, clock).created)
    took = time.perf_counter() - began
    assert made == count
    scaled = took * 10_000 / count
    each = (time.process_time() - cpu) * 1000 / count
    detail = {"drafts": made, "seconds": took, "cpu_ms_each": each}
    return Row("10,000 drafts with tax", scaled, "s", 60, 20, spin_ms=spin, detail=detail)


def _issue(engine: Engine, clock: ManualClock) -> list[Row]:
    with read_only(engine) as session:
        drafts = list(
            session.scalars(
                text("SELECT id FROM billing.invoices WHERE status = 'draft' LIMIT :most"),
                {"most": size("ISSUED")},
            )
        )
    requests = [ApproveInvoice(invoice_id=draft) for draft in drafts]
    singly = requests[: len(requests) // 10]
    together = _issued(
        "issued: number, snapshot, hash", (200, 1_000), requests[len(singly) :],
        lambda some: list(approve_each(engine, SYSTEM, clock, some)),
    )  # fmt: skip

    def one_by_one(some: list[ApproveInvoice]) -> None:
        for request in some:
            with unit_of_work(engine) as session:
                approve_invoice(Context(session, SYSTEM, clock), request)

    alone = _issued("  each in a transaction of its own", (None, None), singly, one_by_one)
    with read_only(engine) as session:
        numbered = session.query(Invoice).where(Invoice.number.is_not(None)).count()
    assert numbered == len(drafts)
    return [together, alone]


def _issued(
    name: str,
    targets: tuple[float | None, float | None],
    requests: list[ApproveInvoice],
    issue: Callable[[list[ApproveInvoice]], object],
) -> Row:
    """How many a second two threads issue, and what one costs this process."""
    spin, cpu, began = spin_ms(), time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(issue, (requests[0::2], requests[1::2])))
    rate = len(requests) / (time.perf_counter() - began)
    detail = {"cpu_ms_each": (time.process_time() - cpu) * 1000 / len(requests)}
    return Row(name, rate, "/s", *targets, True, spin, detail)


def _pdfs(papers: list[InvoiceDocument]) -> list[Row]:
    spin, one = spin_ms(), DrawingPool(1)
    one.draw(papers[0])
    times = []
    for paper in papers[:100]:
        began = time.perf_counter()
        one.draw(paper)
        times.append((time.perf_counter() - began) * 1000)
    one.close()
    median = statistics.median(times)
    wanted, two = size("PDFS"), DrawingPool(2)
    before, again = 0.0, spin_ms()
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        for done, content in enumerate(
            pool.map(lambda number: two.draw(papers[number % len(papers)]), range(wanted)), 1
        ):
            assert content.startswith(b"%PDF")
            if done == max(wanted // 10, 1):
                before = usage_of(os.getpid()).rss_mb
    minutes = (time.perf_counter() - began) / 60 * 10_000 / wanted
    after = usage_of(os.getpid()).rss_mb
    two.close()
    memory = {"pdfs": wanted, "rss_mb_at_a_tenth": before, "rss_mb_at_the_end": after}
    return [
        Row("one-page PDF, warm worker, median", median, "ms", 130, 90, spin_ms=spin),
        Row("10,000 PDFs, two workers", minutes, "min", 15, 9, spin_ms=again, detail=memory),
        Row("  their memory, end against a tenth", after / max(before, 1), "x", 1.3, 1.1),
    ]


def _payments(engine: Engine) -> list[tuple[UUID, int]]:
    """Payments that are asked for, one for each of some invoices; what each is to bring."""
    with unit_of_work(engine) as session:
        invoices = session.scalars(
            select(Invoice).filter_by(status=InvoiceStatus.DUE).limit(size("WEBHOOKS"))
        )
        payments = [
            Payment(
                purpose=PaymentPurpose.INVOICE,
                customer_id=invoice.customer_id,
                account_id=invoice.account_id,
                invoice_id=invoice.id,
                gateway="razorpay",
                currency="INR",
                amount_minor=invoice.total_minor,
                status=PaymentStatus.PENDING,
                created_at=NOW,
                updated_at=NOW,
            )
            for invoice in invoices
        ]
        session.add_all(payments)
        session.flush()
        return [(payment.id, payment.amount_minor) for payment in payments]


class _Answered:
    """Our application, noting when it had answered: a caller in its own process waits on."""

    at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noting(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.at = time.perf_counter()

        await app(scope, receive, noting)


_ANSWERED = _Answered()


async def _over_http(engine: Engine, url: str, clock: ManualClock, account_id: UUID) -> list[Row]:
    settings = Settings.model_validate({"DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1"})
    app.state.services = Services(engine, settings, clock)
    with unit_of_work(engine) as session:
        asked = CreateApiKey(name="bench", role=Role.SUPER_ADMIN)
        key = create_api_key(Context(session, SYSTEM, clock), asked, settings)[1]
    transport = httpx.ASGITransport(_ANSWERED)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers={"Authorization": f"Bearer {key}"}
    ) as client:
        rows = [
            await _on_demand(client, account_id),
            await _webhooks(client, _payments(engine)),
        ]
    with read_only(engine) as session:
        paid = session.query(Invoice).filter_by(status=InvoiceStatus.PAID).count()
    assert paid == size("WEBHOOKS")
    return rows


async def _on_demand(client: httpx.AsyncClient, account_id: UUID) -> Row:
    line = {"description": "Support", "quantity": "2", "unit_price": "25000"}
    spin, times = spin_ms(), []
    for number in range(size("ON_DEMAND") + 1):
        began = time.perf_counter()
        body = {"account_id": str(account_id), "lines": [line]}
        made = await client.post("/api/v1/invoices", json=body)
        draft = made.json()["data"]["id"]
        await client.post(f"/api/v1/invoices/{draft}/approve")
        drawn = await client.get(f"/api/v1/invoices/{draft}/pdf")
        assert drawn.content.startswith(b"%PDF"), drawn.text
        if number:  # the first one starts the worker
            times.append(time.perf_counter() - began)
    return Row("an invoice on demand, to its PDF", max(times), "s", 2, 0.5, spin_ms=spin)


async def _webhooks(client: httpx.AsyncClient, payments: list[tuple[UUID, int]]) -> Row:
    """Messages that pay invoices: answered once they are kept, applied after that."""
    spin, cpu, times, applied = spin_ms(), time.process_time(), [], []
    for number, (payment_id, amount) in enumerate(payments):
        entity = {
            "id": f"pay_{number:014d}", "entity": "payment", "amount": amount, "currency": "INR",
            "status": "captured", "order_id": f"order_{number}", "created_at": 1,
            "notes": {"reference": str(payment_id)},
        }  # fmt: skip
        payload = {"event": "payment.captured", "payload": {"payment": {"entity": entity}}}
        body = json.dumps(payload | {"created_at": 1}).encode()
        signature = hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {"x-razorpay-signature": signature, "x-razorpay-event-id": f"evt_{number}"}
        began = time.perf_counter()
        answer = await client.post("/api/v1/webhooks/razorpay", content=body, headers=headers)
        applied.append((time.perf_counter() - began) * 1000)
        times.append((_ANSWERED.at - began) * 1000)
        assert answer.status_code == 204, answer.text
    worst = statistics.quantiles(times, n=100)[98]
    detail = {
        "median_ms": statistics.median(times),
        "applied_median_ms": statistics.median(applied),
        "applied_p99_ms": statistics.quantiles(applied, n=100)[98],
        "cpu_ms_each": (time.process_time() - cpu) * 1000 / len(times),
    }
    return Row("webhook answered, p99", worst, "ms", 50, 15, spin_ms=spin, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
