"""How documents look: data with versions, no code; the newest version is used from then on.

A document keeps the look it was issued with: what it needs is copied into its snapshot, and the
logo is named there by its hash.
"""

import base64
import binascii
import hashlib
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator
from sqlalchemy import Integer, LargeBinary, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.db.base import Base
from billing.errors import FieldError, InvalidError
from billing.invoices.repository import registration

MOST_LOGO_BYTES: Final = 200_000
_SIGNATURES: Final = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

Column = Literal["sac", "quantity", "unit_price", "discount", "taxes"]
Line = Annotated[str, Field(max_length=500)]


class TemplateLogo(Base):
    """The picture of a logo, by its SHA-256."""

    __tablename__ = "template_logos"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    media_type: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary, info={"audit": False})


class DocumentTemplate(Base):
    """One version of how a registration's documents look."""

    __tablename__ = "document_templates"

    supplier_gstin: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    content: Mapped[dict[str, Any]]
    """A `TemplateContent`."""
    created_by: Mapped[str]
    created_at: Mapped[datetime]


class TemplateContent(Request):
    """What finance may choose; all of it is text or a colour, and is printed as it is."""

    accent_colour: str = Field(default="#1976D2", pattern=r"^#[0-9A-Fa-f]{6}$")
    logo_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    website: str = Field(default="", max_length=100)
    support_email: str = Field(default="", max_length=100)
    footer: str = Field(default="", max_length=300)
    terms: tuple[Line, ...] = Field(default=(), max_length=12)
    payment_instructions: str = Field(default="", max_length=300)
    hidden_columns: tuple[Column, ...] = ()
    """Columns that are left out. The law wants SAC and taxes, so those stay on tax documents."""
    dynamic_qr: bool = False
    """A code on invoices to consumers by which they are paid over UPI. The law wants it of who
    turned over more than 500 crore (N 14/2020-CT)."""

    @model_validator(mode="after")
    def _keeps_what_the_law_wants(self) -> "TemplateContent":
        wanted = {"sac", "taxes"} & set(self.hidden_columns)
        if wanted:
            raise ValueError(f"Rule 46 asks for {' and '.join(sorted(wanted))} on an invoice")
        return self


class SaveTemplate(TemplateContent):
    """A new version of a registration's template."""

    supplier_gstin: str
    logo_base64: str | None = Field(default=None, max_length=300_000)
    """PNG or JPEG of at most 200 kB; without it the logo that `logo_sha256` names, or none."""


@command("document_template.save", Permission.INVOICES_WRITE)
def save_template(ctx: Context, request: SaveTemplate) -> DocumentTemplate:
    """Keep a new version; documents issued from now on bear it.

    Raises:
        NotFoundError: if the registration is not ours.
        InvalidError: if the logo is no picture, too large, or not known.
    """
    registration(ctx.session, request.supplier_gstin)
    sha256 = request.logo_sha256
    if request.logo_base64 is not None:
        sha256 = _keep_logo(ctx.session, request.logo_base64)
    elif sha256 is not None and ctx.session.get(TemplateLogo, sha256) is None:
        raise InvalidError("No logo with that hash is on record.", code="unknown_logo")
    # Two who save at once: the second waits for the registration's row and counts again.
    ctx.session.execute(
        select(func.pg_advisory_xact_lock(func.hashtext(f"template {request.supplier_gstin}")))
    )
    last = ctx.session.scalar(
        select(func.max(DocumentTemplate.version)).filter_by(supplier_gstin=request.supplier_gstin)
    )
    content = request.model_dump(mode="json", exclude={"supplier_gstin", "logo_base64"})
    row = DocumentTemplate(
        supplier_gstin=request.supplier_gstin,
        version=(last or 0) + 1,
        content=content | {"logo_sha256": sha256},
        created_by=ctx.actor.name,
        created_at=ctx.clock.now(),
    )
    ctx.session.add(row)
    return row


def decoded_logo(encoded: str) -> tuple[str, bytes]:
    """A logo's media type and bytes.

    Raises:
        InvalidError: if it is no PNG or JPEG, or too large.
    """
    try:
        content = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        content = b""
    media_type = next(
        (kind for start, kind in _SIGNATURES.items() if content.startswith(start)), None
    )
    if media_type is None or len(content) > MOST_LOGO_BYTES:
        raise InvalidError(
            f"A logo is a PNG or JPEG of at most {MOST_LOGO_BYTES} bytes, in base64.",
            code="logo",
            fields=[FieldError("logo_base64", "PNG or JPEG, at most 200 kB")],
        )
    return media_type, content


def _keep_logo(session: Session, encoded: str) -> str:
    media_type, content = decoded_logo(encoded)
    sha256 = hashlib.sha256(content).hexdigest()
    session.execute(
        insert(TemplateLogo)
        .values(sha256=sha256, media_type=media_type, content=content)
        .on_conflict_do_nothing()
    )
    return sha256


def current_template(session: Session, gstin: str) -> DocumentTemplate | None:
    """The version that new documents of a registration bear; None for the plain look."""
    return session.scalars(
        select(DocumentTemplate)
        .filter_by(supplier_gstin=gstin)
        .order_by(DocumentTemplate.version.desc())
        .limit(1)
    ).one_or_none()


def list_templates(session: Session, actor: Actor, gstin: str) -> list[DocumentTemplate]:
    """All versions, newest first."""
    actor.require(Permission.INVOICES_READ)
    return list(
        session.scalars(
            select(DocumentTemplate)
            .filter_by(supplier_gstin=gstin)
            .order_by(DocumentTemplate.version.desc())
        )
    )
