"""Locks on things that are not rows."""

from sqlalchemy import text
from sqlalchemy.orm import Session


def lock_for_transaction(session: Session, name: str) -> None:
    """Let one transaction at a time go on with what `name` stands for; the others wait."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name}
    )
