"""Queueing letters and sending them.

A letter is sent at least once: a crash between the server's answer and our note of it sends it
again, under the same `Message-ID`, by which mail programs show it once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.db.unit_of_work import read_only, unit_of_work
from billing.documents.tables import DocumentFile
from billing.ids import new_id
from billing.invoices.tables import InvoiceDocument
from billing.mail.tables import Mail, MailAttachment, MailState

logger = structlog.get_logger(__name__)

WAITS: Final = tuple(timedelta(minutes=minutes) for minutes in (5, 15, 60, 240, 720, 1440))
"""How long to wait after each failure; after the last of them a letter is given up."""

_MOST_PER_ROUND: Final = 500


class RefusedForGoodError(Exception):
    """The mail server will never take this letter: there is no such address."""


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file that goes with a letter."""

    name: str
    content: bytes
    media_type: str = "application/pdf"


class Sender(Protocol):
    """What sends a letter."""

    def send(self, mail: Mail, files: Sequence[AttachedFile] = ()) -> None:
        """Hand a letter to a server.

        Raises:
            RefusedForGoodError: if trying again is of no use.
            OSError: if it may work later.
        """
        ...


def queue_mail(
    session: Session,
    *,
    customer_id: UUID,
    recipient: str,
    subject: str,
    body: str,
    reference: str,
    now: datetime,
) -> UUID | None:
    """Queue a letter; nothing, if its reference was told before. It goes if this commits."""
    return session.scalar(
        insert(Mail)
        .values(
            id=new_id(),
            reference=reference,
            customer_id=customer_id,
            recipient=recipient,
            subject=" ".join(subject.split()),  # a header is one line
            body=body,
            state=MailState.QUEUED,
            tries=0,
            next_try_at=now,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["reference"])
        .returning(Mail.id)
    )


def files_of(session: Session, mail_id: UUID) -> list[AttachedFile]:
    """What goes with a letter."""
    row = session.get(MailAttachment, mail_id)
    if row is None:
        return []
    if row.invoice_id is not None:
        content = session.get_one(InvoiceDocument, row.invoice_id).content
    else:
        content = session.get_one(DocumentFile, row.document_id).content
    return [AttachedFile(row.file_name, content)]


def send_queued(engine: Engine, clock: Clock, sender: Sender) -> tuple[int, int]:
    """Send what is due; how many went, and how many did not."""
    with read_only(engine) as session:
        due = session.scalars(
            select(Mail.id)
            .where(Mail.state == MailState.QUEUED, Mail.next_try_at <= clock.now())
            .order_by(Mail.next_try_at, Mail.id)
            .limit(_MOST_PER_ROUND)
        ).all()
    sent = failed = 0
    for mail_id in due:
        with unit_of_work(engine) as session:
            mail = session.scalars(
                select(Mail).filter_by(id=mail_id).with_for_update(skip_locked=True)
            ).one_or_none()
            if mail is None or mail.state is not MailState.QUEUED:
                continue  # another process has it
            if _try(mail, files_of(session, mail_id), sender, clock.now()):
                sent += 1
            else:
                failed += 1
    return sent, failed


def list_mails(
    session: Session,
    actor: Actor,
    *,
    state: MailState | None = None,
    customer_id: UUID | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Mail]:
    """Letters, newest first, one page at a time."""
    actor.require(Permission.CUSTOMERS_READ)
    query = select(Mail).order_by(Mail.id.desc()).limit(limit)
    if actor.customer_id is not None:
        query = query.where(Mail.customer_id == actor.customer_id)
    if state is not None:
        query = query.where(Mail.state == state)
    if customer_id is not None:
        query = query.where(Mail.customer_id == customer_id)
    if after is not None:
        query = query.where(Mail.id < after)
    return session.scalars(query).all()


def _try(mail: Mail, files: Sequence[AttachedFile], sender: Sender, now: datetime) -> bool:
    mail.tries += 1
    try:
        sender.send(mail, files)
    except (RefusedForGoodError, OSError) as error:
        mail.error = str(error) or type(error).__name__
        if isinstance(error, RefusedForGoodError) or mail.tries > len(WAITS):
            mail.state = MailState.GIVEN_UP
        else:
            mail.next_try_at = now + WAITS[mail.tries - 1]
        logger.warning("letter not sent", mail=str(mail.id), reason=mail.error)
        return False
    mail.state, mail.sent_at, mail.error = MailState.SENT, now, None
    return True
