"""One request or task, one transaction; what leaves the system leaves after the commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

_AFTER_COMMIT = "after_commit_hooks"


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[Session]:
    """A session that commits when the block ends well and rolls back when it does not."""
    with Session(engine, expire_on_commit=False) as session:
        try:
            yield session
            session.commit()
        except BaseException:
            session.rollback()
            raise
        hooks: list[Callable[[], None]] = session.info.pop(_AFTER_COMMIT, [])
    for hook in hooks:
        hook()


def after_commit(session: Session, hook: Callable[[], None]) -> None:
    """Run `hook` once the transaction is durable; never, if it rolls back."""
    session.info.setdefault(_AFTER_COMMIT, []).append(hook)


@contextmanager
def read_only(engine: Engine) -> Iterator[Session]:
    """A session the database refuses to write with, and that sees one state of the books.

    One state for all of its statements, and for a statement and its plan: in the default isolation
    a statement is planned before it takes its snapshot, and would count an event that was accepted
    in between without the partition that was attached for it.
    """
    with Session(engine) as session:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        yield session
