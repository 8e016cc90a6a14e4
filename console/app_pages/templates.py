"""Templates: how documents look, version by version; edited as data, seen as a PDF, put to use."""

import base64
from datetime import datetime
from typing import Any, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.documents.templates import (
    Column as TemplateColumn,
)
from billing.documents.templates import (
    DocumentTemplate,
    SaveTemplate,
    TemplateContent,
    list_templates,
    save_template,
)
from billing.errors import BillingError
from billing.periods import DEFAULT_ZONE
from console import actions
from console.access import PageName
from console.components.boundary import say
from console.components.document import page_images, show_pdf
from console.components.forms import attempt, form_key
from console.components.page import show_page
from console.components.status import Status, words
from console.components.tables import Column, empty, table
from console.components.text import actor_name, heading, note
from console.database import engine
from console.queries import templates

_PREVIEW = "template_preview"
_USED = Status("In use", "●", "good")
_REQUIRED = ("sac", "taxes")


def _render(actor: Actor) -> None:
    ours = {one.gstin: one.title for one in templates.registrations(actor)}
    if not ours:
        empty("No registration of ours yet", "A template belongs to one; register it first.")
        return
    gstin = st.selectbox(
        "Registration", list(ours), format_func=ours.__getitem__, key="template_gstin"
    )
    with read_only(engine()) as session:
        versions = list_templates(session, actor, gstin)
    if versions:
        _list(versions)
    else:
        note("Documents have the plain look; the first version that is saved is used from then on.")
    if actor.may(Permission.INVOICES_WRITE):
        _editor(actor, gstin, {one.version: one for one in versions})


def _list(versions: list[DocumentTemplate]) -> None:
    newest = versions[0].version
    table(
        "Versions, the newest first",
        [Column("Version", "right", strong=True), Column("State"), Column("Colour"),
         Column("Footer", nowrap=False), Column("Saved by", nowrap=False), Column("When (IST)")],
        [
            (str(one.version), _USED if one.version == newest else Status("Before", "○", "quiet"),
             one.content["accent_colour"], one.content["footer"] or None,
             actor_name(one.created_by), _when(one.created_at))
            for one in versions
        ],
    )  # fmt: skip
    note("Issued documents keep the look they were issued with.")


def _when(instant: datetime) -> str:
    return f"{instant.astimezone(ZoneInfo(DEFAULT_ZONE)):%d %b %Y, %H:%M}"


def _editor(actor: Actor, gstin: str, versions: dict[int, DocumentTemplate]) -> None:
    heading("Edit")
    if versions:
        begin = st.selectbox(
            "Begin with", list(versions), format_func=lambda one: f"Version {one}",
            key=f"template_begin_{gstin}",
        )  # fmt: skip
        content = TemplateContent.model_validate(versions[begin].content)
    else:
        begin, content = 0, TemplateContent()
    left, right = st.columns([2, 3], gap="large")
    with left:
        wanted = _fields(gstin, begin, content)
    with right:
        _preview(actor, gstin, wanted)
    name = f"template:{gstin}"
    key = form_key(name)
    if st.button("Save and use from now on", type="primary", key=f"template_save_{key}"):
        attempt(
            name,
            lambda key: actions.run(actor, key, save_template, SaveTemplate, **wanted),
            lambda made: f"Version {made.version} is in use: documents issued from now on bear it.",
        )


def _fields(gstin: str, begin: int, content: TemplateContent) -> dict[str, Any]:
    """What is typed, as the fields of a new version."""
    at = f"{gstin}_{begin}"
    with st.grid(2, min_column_width=150):
        colour = st.color_picker("Colour", content.accent_colour, key=f"colour_{at}")
        website = st.text_input("Website", content.website, key=f"website_{at}", max_chars=100)
        email = st.text_input("Support", content.support_email, key=f"support_{at}", max_chars=100)
        hidden = st.multiselect(
            "Columns left out", [one for one in get_args(TemplateColumn) if one not in _REQUIRED],
            default=list(content.hidden_columns), key=f"hidden_{at}", format_func=words,
            placeholder="None", help="The law wants SAC and taxes; those stay.",
        )  # fmt: skip
    footer = st.text_input("Footer", content.footer, key=f"footer_{at}", max_chars=300)
    pay = st.text_input("How to pay", content.payment_instructions, key=f"pay_{at}", max_chars=300)
    terms = st.text_area(
        "Terms, one a line", "\n".join(content.terms), key=f"terms_{at}", height=110
    )
    logo = st.file_uploader("Logo, PNG or JPEG up to 200 kB", ["png", "jpg", "jpeg"],
                            key=f"logo_{at}", max_upload_size=1)  # fmt: skip
    code = st.checkbox(
        "QR code on invoices to consumers", content.dynamic_qr, key=f"qr_{at}",
        help="They pay it by UPI. The law wants it above a turnover of 500 crore; it needs a UPI "
        "address in the bank details.",
    )  # fmt: skip
    keep = content.logo_sha256 is not None and st.checkbox(
        "Keep the logo of this version", True, key=f"keep_{at}"
    )
    return {
        "supplier_gstin": gstin,
        "accent_colour": colour,
        "website": website.strip(),
        "support_email": email.strip(),
        "footer": footer.strip(),
        "payment_instructions": pay.strip(),
        "terms": tuple(line.strip() for line in terms.splitlines() if line.strip()),
        "hidden_columns": tuple(hidden),
        "dynamic_qr": code,
        "logo_sha256": content.logo_sha256 if keep else None,
        "logo_base64": base64.b64encode(logo.getvalue()).decode() if logo else None,
    }


def _preview(actor: Actor, gstin: str, wanted: dict[str, Any]) -> None:
    found = templates.samples(actor, gstin)
    if not found:
        empty(
            "Nothing to try it on", "The preview shows the lines of an invoice; there is none yet."
        )
        return
    invoice_id: UUID = st.selectbox(
        "With the lines of", list(found), format_func=found.__getitem__, key=f"sample_{gstin}"
    )
    if st.button("Show as PDF", icon=":material/visibility:", key="template_see"):
        try:
            with st.spinner("Rendering…"):
                content = actions.template_preview(actor, invoice_id, wanted)
            st.session_state[_PREVIEW] = (invoice_id, wanted, page_images(content))
        except BillingError as error:
            say(error)
            return
    shown = st.session_state.get(_PREVIEW)
    if shown is None:
        note("Nothing is kept until it is saved.")
        return
    if shown[:2] != (invoice_id, wanted):
        note("The picture is of what was typed before; show it again.")
    show_pdf(shown[2], title="Preview")


show_page(
    PageName.TEMPLATES, "Templates", "How invoices and notes look: logo, colour, words, columns.",
    _render,
)  # fmt: skip
