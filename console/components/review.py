"""The decisions on invoices: submit, approve, reject, approve many, and the document beside."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.errors import BillingError
from billing.invoices.repository import get_invoice
from billing.invoices.tables import Invoice
from billing.periods import DEFAULT_ZONE, local_day
from console import actions
from console.components.boundary import say
from console.components.document import page_images, show_pdf
from console.components.forms import Kind, attempt, form_key, messages, refuse_later, renew
from console.components.invoice import stage_sentence
from console.components.money import compact_money, count, money
from console.components.text import note, plain
from console.database import clock, engine
from console.queries.invoices import InvoiceFacts, InvoiceRow
from invoicing.foresee import Foreseen, foresee

_ASKED, _DOCUMENT = "decision_asked", "document"
_APPROVABLE = ("pending", "in_review")
_SUBMITTABLE = ("pending", "rejected")


def decide(actor: Actor, facts: InvoiceFacts) -> None:
    """The buttons that this actor has for this invoice, and the confirmation of one of them."""
    if facts.status == "due" and actor.may(Permission.INVOICES_APPROVE):
        _offer_void(actor, facts)
    if facts.status != "draft":
        return
    may_write = actor.may(Permission.INVOICES_WRITE)
    may_approve = actor.may(Permission.INVOICES_APPROVE)
    if not may_write and not may_approve:
        note(f"{stage_sentence(facts)} Your role may read it, not decide.")
        return
    note(stage_sentence(facts))
    approvable = facts.review_state in _APPROVABLE
    with st.container(horizontal=True):
        if may_approve and approvable:
            _ask("approve", "Approve…", facts, icon=":material/check:", primary=True)
        if may_approve and approvable:
            _ask("reject", "Reject…", facts, icon=":material/undo:")
        if may_write and facts.review_state in _SUBMITTABLE:
            _submit(actor, facts)
    if st.session_state.get(_ASKED) == ("approve", facts.id) and may_approve and approvable:
        _confirm_approval(actor, facts)
    if st.session_state.get(_ASKED) == ("reject", facts.id) and may_approve and approvable:
        _confirm_rejection(actor, facts)


def _ask(
    decision: str, label: str, facts: InvoiceFacts, *, icon: str, primary: bool = False
) -> None:
    if st.button(
        label, icon=icon, type="primary" if primary else "secondary", key=f"ask_{decision}"
    ):
        st.session_state[_ASKED] = (decision, facts.id)


def _submit(actor: Actor, facts: InvoiceFacts) -> None:
    name = f"submit:{facts.version}"
    key = form_key(name)
    if st.button("Submit for review", icon=":material/send:", key=f"submit_{key}"):
        attempt(
            name,
            lambda key: actions.submit(actor, key, facts.id),
            f"The draft of {facts.customer} is now in review.",
            refused=refuse_later,
        )


def _confirm_approval(actor: Actor, facts: InvoiceFacts) -> None:
    name = f"approve:{facts.version}"
    key = form_key(name)
    today = local_day(clock().now(), DEFAULT_ZONE)
    last_day = facts.period_end - timedelta(days=1)
    with st.container(border=True):
        st.markdown("**Approve and issue this invoice?**")
        issue_date = st.date_input(
            "Issue date", value=max(today, last_day), min_value=last_day,
            max_value=max(today, last_day), format="DD/MM/YYYY", key=f"issue_date_{key}",
        )  # fmt: skip
        issued = _as_issued(actor, facts, issue_date)
        note(
            f"{facts.customer} is billed {money(issued.total_minor, facts.currency)}. The invoice "
            "gets its number and is frozen; after that only a credit or debit note corrects it."
        )
        shown = f"{key}_{hash(issued)}"  # a click on what said something else names no widget
        reviewed = _confirm_tax(facts, issued, shown)
        with st.container(horizontal=True):
            sure = st.button("Approve and issue", type="primary", key=f"sure_{shown}")
            cancelled = st.button("Cancel", key=f"cancel_{key}")
    if cancelled:
        _close(name)
    if sure:
        approve = partial(
            actions.approve, invoice_id=facts.id, total_minor=issued.total_minor,
            issue_date=issue_date, tax_reviewed=reviewed,
        )  # fmt: skip
        attempt(
            name,
            lambda key: approve(actor, key),
            partial(_approved, facts),
            meanwhile="Numbering and freezing the invoice…",
            closes=_ASKED,
        )


def _as_issued(actor: Actor, facts: InvoiceFacts, day: date) -> Foreseen:
    """With the tax of that day; approving itself says why that cannot be decided."""
    try:
        with read_only(engine()) as session:
            return foresee(session, get_invoice(session, actor, facts.id), day)
    except BillingError:
        return Foreseen(facts.total_minor, None)


def _confirm_tax(facts: InvoiceFacts, issued: Foreseen, shown: str) -> bool:
    """What is to be looked at before approving, and whether it was."""
    if issued.total_minor != facts.total_minor:
        st.warning(
            plain(
                f"The draft says {money(facts.total_minor, facts.currency)}; with the tax of the "
                f"issue date it is {money(issued.total_minor, facts.currency)}."
            ),
            icon=":material/difference:",
        )
    if issued.to_review is None:
        return False
    st.warning(plain(issued.to_review), icon=":material/policy:")
    return st.checkbox("I have looked at this, and its tax is right", key=f"tax_reviewed_{shown}")


def _approved(facts: InvoiceFacts, invoice: Invoice) -> tuple[Kind, str]:
    if invoice.number is None:
        return "info", invoice.review_note or "A second person must approve it too."
    total = money(invoice.total_minor, invoice.currency)
    return "success", f"Invoice {invoice.number} of {facts.customer} is issued: {total}."


def _offer_void(actor: Actor, facts: InvoiceFacts) -> None:
    if st.button("Make void…", icon=":material/block:", key="void_offer"):
        st.session_state[_ASKED] = ("void", facts.id)
    if st.session_state.get(_ASKED) != ("void", facts.id):
        return
    _ask_why(
        partial(actions.void, actor),
        facts,
        "void",
        question="Why?",
        yes="Make void",
        done=f"Invoice {facts.number or ''} is void.",
        title="**Make this invoice void?**",
        hint="Only while nothing was paid, it was not sent, and its month is not filed. Its number "
        "stays used. Otherwise issue a credit note.",
    )


def _confirm_rejection(actor: Actor, facts: InvoiceFacts) -> None:
    _ask_why(
        partial(actions.reject, actor),
        facts,
        "reject",
        question="What is wrong with this draft?",
        yes="Reject the draft",
        done=f"The draft of {facts.customer} was sent back.",
        placeholder="Say what must be mended; it stays with the draft until then.",
    )


def _ask_why(
    act: Callable[[str, UUID, str], object],
    facts: InvoiceFacts,
    decision: str,
    *,
    question: str,
    yes: str,
    done: str,
    title: str | None = None,
    hint: str | None = None,
    placeholder: str | None = None,
) -> None:
    """A decision that needs a reason: its form, and what comes of it.

    Args:
        act: takes the form's key, the invoice and the reason.
    """
    name = f"{decision}:{facts.version}"
    key = form_key(name)
    with st.form(f"{decision}_{key}"):
        if title:
            st.markdown(title)
        if hint:
            note(hint)
        reason = st.text_area(
            question, max_chars=500, key=f"{decision}_reason_{key}", placeholder=placeholder
        )
        with st.container(horizontal=True):
            sure = st.form_submit_button(yes, type="primary", key=f"sure_{key}")
            cancelled = st.form_submit_button("Cancel", key=f"cancel_{key}")
    if cancelled:
        _close(name)
    if sure:
        attempt(name, lambda key: act(key, facts.id, reason), done, closes=_ASKED)


def _close(name: str) -> None:
    """The form is done with: the next one is a new request."""
    renew(name)
    st.session_state.pop(_ASKED, None)
    st.rerun()


def approve_selected(actor: Actor, selected: Sequence[InvoiceRow]) -> None:
    """Approve the ticked drafts, after a confirmation, with progress and a result for each."""
    ready = [row for row in selected if row.review_state in _APPROVABLE]
    if not selected:
        note("Tick drafts in the table to approve several at once.")
        return
    totals: dict[str, int] = {}
    for row in ready:
        totals[row.currency] = totals.get(row.currency, 0) + row.total_minor
    sums = " · ".join(compact_money(amount, code) for code, amount in totals.items())
    name = f"approve_selected:{','.join(row.version for row in ready)}"
    key = form_key(name)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{count(len(ready))} of {count(len(selected))}** ticked drafts can be "
                    f"approved{f', {sums}' if sums else ''}.", width="stretch")  # fmt: skip
        sure = st.checkbox("I have reviewed them", key=f"bulk_sure_{key}", disabled=not ready)
        asked = st.button(
            f"Approve {count(len(ready))}", type="primary", icon=":material/done_all:",
            key=f"bulk_{key}", disabled=not (ready and sure),
        )  # fmt: skip
    if asked:
        _approve_all(actor, key, ready)
        renew(name)
        st.rerun()


def _approve_all(actor: Actor, key: str, rows: Sequence[InvoiceRow]) -> None:
    names = {row.id: row.title for row in rows}
    said, progress = messages(), st.progress(0.0, text="Approving…")
    numbers: list[str] = []
    outcomes = actions.approve_each(actor, key, {row.id: row.total_minor for row in rows})
    try:
        for done, outcome in enumerate(outcomes, 1):
            if outcome.error is None:
                numbers.append(outcome.number or "")
            else:
                refusal = f"{names[outcome.invoice_id]}: {outcome.error.message}"
                said.add("warning", plain(refusal))
            progress.progress(done / len(rows), text=f"Approved {done} of {len(rows)}…")
    finally:  # a click elsewhere ends it here
        if numbers:
            issued = f"{count(len(numbers))} invoices issued: {', '.join(numbers)}."
            said.add("success", plain(issued))


def document_beside(actor: Actor, facts: InvoiceFacts) -> None:
    """The document as the customer gets it, and its download."""
    title = f"Invoice {facts.number}" if facts.number else "Draft invoice"
    st.subheader("Document", anchor=False)
    try:
        content, images = _rendered(actor, facts)
    except BillingError as error:
        say(error)
        return
    st.download_button(
        "Download PDF", content, mime="application/pdf", icon=":material/download:",
        file_name=f"{(facts.number or f'draft-{facts.id}').replace('/', '-')}.pdf",
        key="download_pdf", on_click="ignore", width="stretch",
    )  # fmt: skip
    show_pdf(images, title=f"{title} of {facts.customer}")


def _rendered(actor: Actor, facts: InvoiceFacts) -> tuple[bytes, list[bytes]]:
    """The last document that was shown is kept for the session, until its invoice changes."""
    version = facts.version
    kept = st.session_state.get(_DOCUMENT)
    if kept is not None and kept[0] == version:
        content, images = kept[1]
        return content, images
    with st.spinner("Rendering the document…"):
        content = actions.document(actor, facts.id)
        images = page_images(content)
    st.session_state[_DOCUMENT] = (version, (content, images))
    return content, images
