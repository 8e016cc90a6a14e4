"""What a demo is remembered by: its key, the month it was made for, and whether it is whole."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, authenticate, create_api_key
from billing.access.tables import IdempotencyKey
from billing.clock import Clock
from billing.commands import Context
from billing.db.unit_of_work import read_only, unit_of_work
from billing.demo.calendar import DemoCalendar
from billing.demo.steps import SUBMITTED_DRAFTS
from billing.errors import UnauthenticatedError
from billing.settings import Settings

KEY_NAME = "demo"
_ACTOR = f"key:{KEY_NAME}"
_FIRST = "supplier"
_LAST = f"submitted:{SUBMITTED_DRAFTS}"


@dataclass(frozen=True, slots=True)
class DemoIdentity:
    """The demo of a database: there is at most one, whenever it was begun."""

    calendar: DemoCalendar
    is_whole: bool
    is_begun: bool

    @property
    def namespace(self) -> str:
        """Begins the idempotency key of every command of this demo."""
        return f"demo-{self.calendar.anchor}"

    @classmethod
    def find(cls, session: Session, clock: Clock) -> Self:
        """The demo this database holds, or the one that would begin now."""
        used = {
            row.key: row.created_at
            for row in session.scalars(select(IdempotencyKey).filter_by(actor=_ACTOR))
            if row.key.endswith((f":{_FIRST}", f":{_LAST}"))
        }
        for key, begun_at in used.items():
            namespace, _, what = key.partition(":")
            if what == _FIRST:
                calendar = _calendar_of(namespace, begun_at)
                return cls(calendar, f"{namespace}:{_LAST}" in used, is_begun=True)
        return cls(DemoCalendar.at(clock.now()), is_whole=False, is_begun=False)


def _calendar_of(namespace: str, begun_at: datetime) -> DemoCalendar:
    return DemoCalendar(date.fromisoformat(namespace.removeprefix("demo-")), begun_at)


def demo_key(engine: Engine, settings: Settings, clock: Clock) -> str:
    """The text of the demo's API key: the one this folder remembers, or else a new one."""
    file = settings.local_dir / "demo.json"
    remembered = _remembered(file)
    if remembered is not None:
        with read_only(engine) as session:
            try:
                authenticate(session, remembered, settings, clock)
            except UnauthenticatedError:
                remembered = None
    if remembered is not None:
        return remembered
    with unit_of_work(engine) as session:
        request = CreateApiKey(name=KEY_NAME, role=Role.SUPER_ADMIN)
        _, text = create_api_key(Context(session, SYSTEM, clock), request, settings)
    if text is None:
        raise RuntimeError("a key that was just made has no text")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(json.dumps({"api_key": text}) + "\n")
    return text


def _remembered(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text())["api_key"])
    except (OSError, ValueError, KeyError):
        return None
