"""Decisions on invoices through the page."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, select, text
from streamlit.testing.v1 import AppTest

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from billing.invoices.beside import ReratedLine
from billing.invoices.rerating import ADJUSTMENT
from billing.invoices.tables import Invoice, InvoiceLine
from console.access import PageName
from console.components.money import compact_money, money
from console.components.text import plain
from tests.console.conftest import words_on
from tests.console.test_pages import visit
from tests.console.world import World
from tests.support.marts import make_rating_run

SignIn = Callable[..., AppTest]


def _row(engine: Engine, invoice_id: UUID) -> Any:
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT * FROM billing.invoices WHERE id = :id"), {"id": invoice_id}
        ).one()


def _open(app: AppTest, invoice_id: UUID) -> AppTest:
    visit(app, PageName.INVOICES)
    app.selectbox(key="invoice_open").set_value(invoice_id)
    return app.run()


def _click(app: AppTest, prefix: str) -> AppTest:
    """Click the one button whose key begins like that."""
    (button,) = [found for found in app.button if str(found.key).startswith(prefix)]
    return button.click().run()


def _fill(app: AppTest, prefix: str, value: str) -> None:
    (area,) = [found for found in app.text_area if str(found.key).startswith(prefix)]
    area.set_value(value)


def test_approving_numbers_the_invoice_and_shows_the_issued_document(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = _open(sign_in(Role.FINANCE_ADMIN), world.drafts["acme"])
    _click(app, "ask_approve")
    assert _row(engine, world.drafts["acme"]).status == "draft", "nothing happens unconfirmed"
    _click(app, "sure_")
    row = _row(engine, world.drafts["acme"])
    assert row.status == "due"
    assert row.number
    assert plain(row.number) in app.success[0].value
    assert not app.error
    assert not [found for found in app.button if str(found.key).startswith("ask_")]
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT count(*) FROM billing.invoice_documents"))
        assert stored.scalar_one() == 1


def test_an_issued_invoice_becomes_void_with_its_reason(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = _open(sign_in(Role.FINANCE_ADMIN), world.drafts["acme"])
    _click(app, "ask_approve")
    _click(app, "sure_")
    _click(app, "void_offer")
    _fill(app, "void_reason_", "Billed to the wrong account")
    _click(app, "sure_")
    assert _row(engine, world.drafts["acme"]).status == "void"
    assert "is void" in app.success[0].value
    assert "Void ones are not in the sum" in words_on(app)


def test_usage_after_issue_names_its_adjustment_and_is_given_back_by_a_note(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = _open(sign_in(Role.FINANCE_ADMIN), world.drafts["acme"])
    _click(app, "ask_approve")
    _click(app, "sure_")
    assert "Usage after issue" not in [found.value for found in app.subheader]
    with unit_of_work(engine) as session:
        run = make_rating_run(session, world.month).id
        (adjusting,) = session.scalars(
            select(InvoiceLine).filter_by(invoice_id=world.drafts["zenith"], ordinal=1)
        )
        more, less = session.scalars(
            select(InvoiceLine)
            .filter_by(invoice_id=world.drafts["acme"])
            .order_by(InvoiceLine.ordinal)
            .limit(2)
        )
        later = session.get_one(Invoice, world.drafts["zenith"])
        later.customer_id = world.accounts["acme"].customer_id
        adjusting.line_ref = f"{ADJUSTMENT}{more.line_ref}"
        for line, differs_minor in ((more, adjusting.amount_minor), (less, -12_300)):
            facts = ("line_ref", "description", "item_code", "sac", "period_start", "period_end")
            session.add(
                ReratedLine(
                    invoice_id=line.invoice_id, account_id=world.accounts["acme"].id,
                    rated_minor=line.amount_minor + differs_minor, rating_run_id=run,
                    **{name: getattr(line, name) for name in facts},
                )
            )  # fmt: skip

    _open(app, world.drafts["lotus"])
    _click(app, "differing_")
    said = words_on(app).replace("\\", "")
    assert "on the draft of" in said
    assert f"{money(12_300, 'INR')} is to be given back" in said
    _click(app, "credit_usage:")
    assert not app.error
    with engine.connect() as connection:
        note = text("SELECT taxable_minor FROM billing.documents WHERE for_usage")
        assert connection.scalar(note) == 12_300
    assert "is to be given back" not in words_on(app)
    app.selectbox(key="invoices_status").set_value("due").run()
    _click(app, "adjusted_")
    assert app.session_state["invoice_open"] == world.drafts["zenith"]


def test_another_total_and_what_is_to_be_looked_at_are_shown_before_approving(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    draft = world.drafts["acme"]
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE billing.tax_profiles SET tax_kind = 'sez_unit', state_code = '27', "
                 "sez_authorised_operations = true WHERE customer_id = :id"),
            {"id": world.accounts["acme"].customer_id},
        )  # fmt: skip
        connection.execute(
            text("UPDATE billing.supplier_registrations SET lut_valid_to = '2100-01-01'")
        )
    before = _row(engine, draft)
    app = _click(_open(sign_in(Role.FINANCE_ADMIN), draft), "ask_approve")
    said = "\n".join(warning.value for warning in app.warning).replace("\\", "")
    assert money(before.total_minor, "INR") in said
    assert money(before.taxable_minor, "INR") in said
    assert "The address is in State 27" in said
    _click(app, "sure_")
    assert "needs a look first" in app.error[0].value
    assert _row(engine, draft).status == "draft"
    (tick,) = [found for found in app.checkbox if str(found.key).startswith("tax_reviewed")]
    tick.check().run()
    _click(app, "sure_")
    row = _row(engine, draft)
    assert (row.status, row.total_minor) == ("due", before.taxable_minor)


def test_a_cancelled_approval_changes_nothing(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = _open(sign_in(Role.FINANCE_ADMIN), world.drafts["acme"])
    _click(app, "ask_approve")
    _click(app, "cancel_")
    assert _row(engine, world.drafts["acme"]).status == "draft"
    assert not [found for found in app.button if str(found.key).startswith("sure_")]


def test_a_draft_that_changed_since_it_was_shown_is_not_approved_unseen(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = _open(sign_in(Role.FINANCE_ADMIN), world.drafts["acme"])
    _click(app, "ask_approve")
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE billing.invoices SET updated_at = now() WHERE id = :id"),
            {"id": world.drafts["acme"]},
        )
    _click(app, "sure_")
    assert _row(engine, world.drafts["acme"]).status == "draft"
    _click(app, "sure_")
    assert _row(engine, world.drafts["acme"]).status == "due"


def test_rejecting_needs_a_reason_and_keeps_it(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = _open(sign_in(Role.FINANCE_ADMIN), world.drafts["acme"])
    _click(app, "ask_reject")
    _click(app, "sure_")
    assert "needs at least 3 characters" in app.error[0].value
    _fill(app, "reject_reason_", "The discount is missing.")
    _click(app, "sure_")
    row = _row(engine, world.drafts["acme"])
    assert (row.review_state, row.review_note) == ("rejected", "The discount is missing.")
    assert "The discount is missing" in app.warning[0].value.replace("\\", "")


def test_a_rejected_draft_can_be_submitted_again(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = _open(sign_in(Role.FINANCE_ADMIN), world.drafts["zenith"])
    assert not [found for found in app.button if str(found.key) == "ask_approve"]
    _click(app, "submit_")
    assert _row(engine, world.drafts["zenith"]).review_state == "in_review"


def test_what_the_domain_refuses_is_said_as_a_sentence(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = _open(sign_in(Role.FINANCE_ADMIN), world.drafts["kirana"])
    with engine.begin() as connection:
        connection.execute(
            text("DELETE FROM billing.tax_profiles WHERE customer_id = :id"),
            {"id": world.accounts["kirana"].customer_id},
        )
    _click(app, "ask_approve")
    _click(app, "sure_")
    assert "no tax profile" in app.error[0].value.replace("\\", "")
    assert _row(engine, world.drafts["kirana"]).status == "draft"


def test_a_parked_draft_says_why_and_offers_no_approval(sign_in: SignIn, world: World) -> None:
    app = _open(sign_in(Role.FINANCE_ADMIN), world.drafts["nusantara"])
    assert "No rate matches" in app.warning[0].value
    assert not [found for found in app.button if str(found.key) == "ask_approve"]


def test_who_may_only_read_is_offered_no_decision(sign_in: SignIn, world: World) -> None:
    app = _open(sign_in(Role.SUPPORT), world.drafts["acme"])
    assert not [found for found in app.button if str(found.key).startswith(("ask_", "submit_"))]
    assert "Acme Payments" in words_on(app)


def test_ticked_drafts_are_approved_together_and_the_refused_ones_are_named(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.INVOICES)
    (queue,) = app.dataframe
    ids = list(queue.value["Customer"])
    picked = [ids.index(name) for name in ("Acme Payments", "Lotus Health", "Nusantara Pay")]
    with engine.begin() as connection:
        connection.execute(
            text("DELETE FROM billing.tax_profiles WHERE customer_id = :id"),
            {"id": world.accounts["lotus"].customer_id},
        )
    app.session_state[str(queue.key)] = {"selection": {"rows": picked, "columns": [], "cells": []}}
    app.run()
    (sure,) = [found for found in app.checkbox if str(found.key).startswith("bulk_sure")]
    assert next(found for found in app.button if str(found.key).startswith("bulk_")).disabled
    sure.check().run()
    _click(app, "bulk_")
    assert _row(engine, world.drafts["acme"]).status == "due"
    assert _row(engine, world.drafts["lotus"]).status == "draft"
    assert _row(engine, world.drafts["nusantara"]).review_state == "parked"
    assert "1 invoices issued" in app.success[0].value
    assert "Lotus Health" in app.warning[0].value


def test_how_a_line_was_computed_is_shown_down_to_its_tiers(sign_in: SignIn, world: World) -> None:
    app = _open(sign_in(Role.SUPPORT), world.drafts["acme"])
    said = words_on(app)
    assert "2,50,000" in said
    assert "Rounded once" in said
    assert "IGST 18%" in said or "CGST 9%" in said
    assert "Karnataka" in said


def test_the_sum_of_the_list_counts_what_a_top_up_paid_once(
    sign_in: SignIn, engine: Engine, world: World
) -> None:
    with engine.begin() as connection:
        untaxed = (
            "DELETE FROM billing.tax_lines WHERE invoice_line_id IN "
            "(SELECT id FROM billing.invoice_lines WHERE invoice_id = :id)"
        )
        connection.execute(text(untaxed), {"id": world.drafts["lotus"]})
        statement = (
            "UPDATE billing.invoices SET document_type = 'statement', tax_minor = 0, "
            "total_minor = taxable_minor WHERE id = :id"
        )
        connection.execute(text(statement), {"id": world.drafts["lotus"]})
        query = (
            "SELECT sum(total_minor) FROM billing.invoices "
            "WHERE currency = 'INR' AND document_type <> 'statement'"
        )
        asked = int(connection.execute(text(query)).scalar_one())
    said = words_on(visit(sign_in(Role.SUPPORT), PageName.INVOICES)).replace("\\", "")
    assert compact_money(asked, "INR") in said
    assert "Statements are not in the sum" in said
