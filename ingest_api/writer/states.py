"""Keeping accounts in line with their wallets: grace, suspension and back, a moment later."""

import threading
from typing import Final, Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from billing.clock import Clock
from billing.db.engine import open_engine
from billing.settings import Settings
from billing.wallets.account_states import settle_states

logger = structlog.get_logger(__name__)

_ROUND_SECONDS: Final = 1.0


class StateKeeper:
    """A thread; several of them do no harm, since each change is decided under a lock."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="account-states")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        engine = open_engine(self._settings.require_database_url(), application="billing-states")
        away = False
        try:
            while not self._stop.wait(_ROUND_SECONDS):
                try:
                    settle_states(engine, self._clock, self._stop.is_set)
                    away = False
                except SQLAlchemyError as error:
                    if not away:
                        logger.warning("account states not settled", reason=str(error))
                    away = True
                except Exception:
                    logger.exception("account states not settled")
        finally:
            engine.dispose()
