"""Documents that people write, how documents look, and how they stand with the portal."""

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine, select
from streamlit.testing.v1 import AppTest

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Role
from billing.access.tables import AuditEntry
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import read_only, unit_of_work
from billing.documents.tables import Document
from billing.documents.templates import DocumentTemplate
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.errors import ForbiddenError
from billing.invoices.tables import Invoice, InvoiceOrigin
from console.access import PageName
from console.components import custom_invoice
from console.components.tax_preview import rehearsed
from console.queries import einvoices
from invoicing.custom import CreateCustomInvoice, create_custom_invoice
from invoicing.issue import ApproveInvoice, approve_invoice
from tests.console.conftest import words_on
from tests.console.pressing import named, press
from tests.console.test_pages import visit
from tests.console.world import World
from tests.support.factories.invoices import make_due_invoice

SignIn = Callable[..., AppTest]

pytestmark = pytest.mark.usefixtures("furnished_url")

LINE = {"description": "Support, two days", "sac": "998313", "quantity": "2", "unit": "day",
        "unit_price": "25,000"}  # fmt: skip


def test_an_invoice_is_written_with_its_tax_in_view_and_discarded(
    sign_in: SignIn, engine: Engine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom_invoice, "_FIRST", LINE)
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.DOCUMENTS)
    app.segmented_control(key="documents_view").set_value("Custom invoice").run()
    named(app, "selectbox", "custom_account").set_value(world.accounts["acme"].id).run()
    words = words_on(app)
    assert "CGST 9%" in words
    assert "₹59,000.00" in words
    press(app, "custom_submit")

    with read_only(engine) as session:
        made = session.scalars(select(Invoice).filter_by(origin=InvoiceOrigin.CUSTOM)).one()
        assert made.total_minor == 5_900_000
    named(app, "checkbox", "discard_sure").check().run()
    press(app, "discard_0")
    assert "thrown away" in words_on(app)


def test_a_rehearsal_leaves_nothing_behind(engine: Engine, world: World) -> None:
    found = rehearsed(
        Actor("key:finance", Role.FINANCE_ADMIN), create_custom_invoice, CreateCustomInvoice,
        account_id=world.accounts["zenith"].id,
        lines=[LINE | {"unit_price": "25000"}],
    )  # fmt: skip
    assert (found.heads, found.tax_minor) == (("IGST 18%",), 900_000)
    with read_only(engine) as session:
        assert not session.scalars(select(Invoice).filter_by(origin=InvoiceOrigin.CUSTOM)).all()
        assert not session.scalars(
            select(AuditEntry).filter_by(command="invoice.create_custom")
        ).all()


def test_a_credit_note_takes_an_invoice_back(sign_in: SignIn, engine: Engine, world: World) -> None:
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.INVOICES)
    with unit_of_work(engine) as session:
        approve_invoice(
            Context(session, SYSTEM, SystemClock()), ApproveInvoice(invoice_id=world.drafts["acme"])
        )
    visit(app, PageName.DOCUMENTS)
    app.segmented_control(key="documents_view").set_value("Credit note").run()
    assert "SGST 9%" in words_on(app)
    named(app, "text_input", "credit_reason").set_value("Wrong rate").run()
    press(app, "credit_submit")
    app.segmented_control(key="documents_view").set_value("Issued").run()
    assert "Wrong rate" in words_on(app)
    with read_only(engine) as session:
        assert session.scalars(select(Document.invoice_id)).one() == world.drafts["acme"]


def test_a_template_is_seen_and_put_to_use(sign_in: SignIn, engine: Engine) -> None:
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.TEMPLATES)
    named(app, "text_input", "footer").set_value("Made with care").run()
    press(app, "template_see")
    assert not app.error
    press(app, "template_save")
    assert "Version 1 is in use" in words_on(app)
    with read_only(engine) as session:
        kept = session.scalars(select(DocumentTemplate)).one()
        assert kept.content["footer"] == "Made with care"


def test_an_overdue_document_is_named_and_the_portals_absence_said(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    now = datetime.now(UTC)
    with unit_of_work(engine) as session:
        invoice = make_due_invoice(session, world.accounts["acme"], 11_800, now)
        session.add(
            EInvoice(
                invoice_id=invoice.id, irn="0" * 64, number=invoice.number,
                issue_date=date(2026, 7, 1), state=EInvoiceState.WAITING, payload={}, attempts=0,
                report_by=date(2026, 7, 30), created_at=now, updated_at=now,
            )
        )  # fmt: skip
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.EINVOICES)
    assert "Overdue 1" in words_on(app)
    press(app, "register_")
    assert app.error
    with pytest.raises(ForbiddenError):
        einvoices.einvoices(Actor("acme", Role.CUSTOMER, world.accounts["acme"].customer_id))
