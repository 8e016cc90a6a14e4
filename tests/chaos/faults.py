"""What is done to the processes and their disks. Every fault also mends what it broke."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from unittest import mock

import psycopg
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from billing.access.actor import SYSTEM
from billing.clock import SystemClock
from billing.commands import Context
from billing.customers.tables import Account
from billing.db.unit_of_work import unit_of_work
from billing.errors import ConflictError
from billing.stack.process import wait_until
from billing.wallets.moves import MoveAccount, move_account
from billing.wallets.tables import AccountMove
from tests.chaos.load import Load
from tests.chaos.stack import Stack, died, kill_server, restart_with, second_writer
from tests.support.processes import Program

_DEATH_SECONDS: Final = 30
_ATTEMPT_SECONDS: Final = 3
_ATTEMPTS: Final = 10
_PATIENCE_SECONDS: Final = 60


@dataclass
class Scene:
    """What a fault works on."""

    stack: Stack
    load: Load
    chance: random.Random

    def wait_for_answers(self, armed: Program | None = None) -> None:
        """Everything comes back by itself: a request made from now on is answered.

        Args:
            armed: a program that may die meanwhile, which ends the waiting.
        """
        now = time.monotonic()
        while self.load.history.answered_since < now:
            if armed is not None and died(armed, 0):
                return
            self.load.require_running()
            assert time.monotonic() < now + _PATIENCE_SECONDS, "nothing was answered for a minute"
            time.sleep(0.02)

    def pause(self, least: float, most: float) -> None:
        """Let the load go on for a while."""
        time.sleep(self.chance.uniform(least, most))


Fault = Callable[[Scene], None]
FAULTS: dict[str, Fault] = {}
"""By what the report calls them."""


def _fault(kind: str) -> Callable[[Fault], Fault]:
    def add(fault: Fault) -> Fault:
        FAULTS[kind] = fault
        return fault

    return add


@_fault("API killed")
def _kill_api(scene: Scene) -> None:
    scene.stack.api.kill()
    scene.pause(0, 0.3)
    scene.stack.api.start()


@_fault("writer killed")
def _kill_writer(scene: Scene) -> None:
    scene.stack.writer.kill()
    scene.pause(0, 0.3)
    scene.stack.writer.start()


@_fault("Redis killed")
def _kill_redis(scene: Scene) -> None:
    kill_server(scene.stack.redis)
    scene.pause(0, 0.5)
    scene.stack.redis.start()


@_fault("Redis away for long")
def _redis_away(scene: Scene) -> None:
    """Long enough for PostgreSQL to take events in alone."""
    kill_server(scene.stack.redis)
    scene.pause(2, 3)
    scene.stack.redis.start()


@_fault("everything killed at once")
def _kill_all(scene: Scene) -> None:
    stack = scene.stack
    parts: list[Callable[[], None]] = [
        stack.api.kill,
        stack.writer.kill,
        lambda: kill_server(stack.redis),
        lambda: kill_server(stack.postgres),
    ]
    scene.chance.shuffle(parts)
    for kill in parts:
        kill()
    stack.revive()


@_fault("Redis flushed")
def _flush(scene: Scene) -> None:
    with scene.stack.ask_redis() as client:
        client.flushall()


@_fault("Redis connections cut")
def _cut_redis(scene: Scene) -> None:
    with scene.stack.ask_redis() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@_fault("Redis forgets events")
def _forget_events(scene: Scene) -> None:
    """Dedupe buckets are gone: what is sent again is taken twice there, and given back."""
    with scene.stack.ask_redis() as client:
        for bucket in client.scan_iter("*:d:*", count=1000):
            client.unlink(bucket)
    scene.pause(0.2, 0.5)


@_fault("Redis folder lost")
def _lose_folder(scene: Scene) -> None:
    kill_server(scene.stack.redis)
    shutil.rmtree(scene.stack.append_only_dir)
    scene.stack.redis.start()


@_fault("Redis folder restored from an older copy")
def _restore_folder(scene: Scene) -> None:
    stack, copy = scene.stack, scene.stack.folder / "redis-copy"
    kill_server(stack.redis)
    shutil.copytree(stack.append_only_dir, copy)
    stack.redis.start()
    scene.pause(0.5, 1.5)
    kill_server(stack.redis)
    shutil.rmtree(stack.append_only_dir)
    copy.rename(stack.append_only_dir)
    stack.redis.start()


@_fault("Redis append-only file torn")
def _tear(scene: Scene) -> None:
    kill_server(scene.stack.redis)
    # there are two while the file is being rewritten: the later one is written to
    last = max(
        scene.stack.append_only_dir.glob("*.incr.aof"), key=lambda file: file.stat().st_mtime
    )
    size = last.stat().st_size
    os.truncate(last, size - min(size, scene.chance.randint(1, 4000)))
    scene.stack.redis.start()


@_fault("Redis killed while it rewrites its file")
def _rewrite(scene: Scene) -> None:
    with scene.stack.ask_redis() as client:
        client.bgrewriteaof()
    scene.pause(0, 0.2)
    kill_server(scene.stack.redis)
    scene.stack.redis.start()


@_fault("Redis disk full")
def _fill_redis(scene: Scene) -> None:
    stack = scene.stack
    stack.redis.disk.set(full=True)
    wait_until(lambda: stack.redis.pid is None, 1.5)
    stack.redis.disk.set()
    stack.revive()


@_fault("PostgreSQL killed")
def _kill_postgres(scene: Scene) -> None:
    kill_server(scene.stack.postgres)
    scene.pause(0, 0.5)
    scene.stack.postgres.start()


@_fault("PostgreSQL stopped at once")
def _stop_postgres(scene: Scene) -> None:
    process = scene.stack.postgres._process
    assert process is not None
    process.send_signal(signal.SIGQUIT)
    process.wait()
    scene.stack.postgres.lock.release()
    scene.stack.postgres.start()


@_fault("PostgreSQL connections cut amid commits")
def _cut_postgres(scene: Scene) -> None:
    stack = scene.stack
    stack.postgres.disk.set(sync_us=30_000)
    with stack.ask_postgres() as connection:
        for _ in range(3):
            scene.pause(0.02, 0.2)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'billing%%'"
            )
    stack.postgres.disk.set()


@_fault("PostgreSQL disk full")
def _fill_postgres(scene: Scene) -> None:
    stack = scene.stack
    stack.postgres.disk.set(full=True)
    wait_until(lambda: stack.postgres.pid is None, 1)
    stack.postgres.disk.set()
    # with space again it recovers by itself, unless it gave up
    if not wait_until(stack.postgres.answers, 1):
        with suppress(ProcessLookupError):
            kill_server(stack.postgres)
    stack.revive()


@_fault("PostgreSQL restored from a backup")
def _roll_back(scene: Scene) -> None:
    """Whoever restores a backup lets payments in when events are answered again.

    Those since the backup are then sent again; references keep them single. What was taken in
    directly has no journal to come back from, so the backup is made when no shard is in that mode.
    """
    postgres = scene.stack.postgres
    assert wait_until(lambda: _are_open(scene.stack), _PATIENCE_SECONDS), "a shard does not open"
    data, backup = postgres.place.data, postgres.place.data.with_name("backup")
    paid_before = max(0, len(scene.load.history.top_ups) - 1)  # the last may be on its way
    postgres.stop()
    subprocess.run(["cp", "-a", str(data), str(backup)], check=True)
    postgres.start()
    scene.pause(0.5, 1.5)
    kill_server(postgres)
    shutil.rmtree(data)
    backup.rename(data)
    with scene.load.payments_held:
        postgres.start()
        scene.wait_for_answers()
    scene.load.pay_again(paid_before)


def _are_open(stack: Stack) -> bool:
    with suppress(psycopg.Error), stack.ask_postgres() as connection:
        row = connection.execute("SELECT bool_and(mode = 'open') FROM usage.shard_state").fetchone()
        return row is not None and bool(row[0])
    return False


@_fault("both disks slow")
def _slow(scene: Scene) -> None:
    for server in (scene.stack.redis, scene.stack.postgres):
        server.disk.set(sync_us=scene.chance.choice([5_000, 20_000, 60_000]))
    scene.pause(0.5, 1.5)
    for server in (scene.stack.redis, scene.stack.postgres):
        server.disk.set()


@_fault("two writers")
def _two_writers(scene: Scene) -> None:
    """The first sleeps, holding entries; another takes over; the first wakes up."""
    stack, second = scene.stack, second_writer(scene.stack)
    first = stack.writer._process
    assert first is not None
    with stack.ask_postgres() as connection:
        second.start()
        ours = "FROM pg_stat_activity WHERE application_name LIKE 'billing-writer%%'"
        before = connection.execute(f"SELECT pid {ours}").fetchall()
        wait_until(
            lambda: connection.execute(f"SELECT pid {ours}").fetchall() not in ([], before), 10
        )
        first.send_signal(signal.SIGSTOP)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        )
    scene.pause(0.3, 0.8)
    first.send_signal(signal.SIGCONT)
    scene.pause(0.1, 0.8)
    second.kill()


@_fault("account moved to another shard")
def _move_account(scene: Scene) -> None:
    """And back, some other time; the writers do it."""
    stack = scene.stack
    sender = scene.chance.choice(stack.senders).account.id
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with unit_of_work(stack.engine) as session:
                account = session.get_one(Account, sender)
                ctx = Context(session, SYSTEM, SystemClock())
                request = MoveAccount(account_id=sender, to_shard=1 - account.shard)
                with mock.patch.dict(os.environ, {"BILLING_SHARD_COUNT": "2"}):
                    move_account(ctx, request)
        except ConflictError:
            pass  # one that was asked for before is not over
        except SQLAlchemyError:
            assert time.monotonic() < deadline, "a move cannot be asked for"
            scene.pause(0.05, 0.1)
            continue
        break
    while not died(stack.writer, 0):
        with suppress(SQLAlchemyError), unit_of_work(stack.engine) as session:
            moves = session.scalars(select(AccountMove).filter_by(account_id=sender)).all()
            if all(move.is_over for move in moves):
                return
        assert time.monotonic() < deadline, "the account was not moved for a minute"
        scene.pause(0.05, 0.1)


def _frozen(pid: int | None, scene: Scene) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    scene.pause(0.5, 1.5)
    os.kill(pid, signal.SIGCONT)


@_fault("API frozen")
def _freeze_api(scene: Scene) -> None:
    assert scene.stack.api._process is not None
    _frozen(scene.stack.api._process.pid, scene)


@_fault("writer frozen")
def _freeze_writer(scene: Scene) -> None:
    assert scene.stack.writer._process is not None
    _frozen(scene.stack.writer._process.pid, scene)


@_fault("Redis frozen")
def _freeze_redis(scene: Scene) -> None:
    _frozen(scene.stack.redis.pid, scene)


@_fault("a PostgreSQL connection frozen")
def _freeze_backend(scene: Scene) -> None:
    with scene.stack.ask_postgres() as connection:
        row = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'billing%%' "
            "ORDER BY random() LIMIT 1"
        ).fetchone()
    if row is not None and isinstance(row[0], int):
        _frozen(row[0], scene)


@dataclass(frozen=True)
class Crash:
    """How a failpoint is reached.

    Args:
        program: which of ours reaches it.
        most: it dies at the n-th time, n up to this.
        bring_about: what is done so that it is reached, if it is not by itself.
    """

    program: str
    most: int = 5
    bring_about: str | None = None


_REBUILD: Final = Crash("writer", 1, "Redis flushed")
_MOVE: Final = Crash("writer", 1, "account moved to another shard")
FAILPOINTS: dict[str, Crash] = {
    "api.before_admit": Crash("api"),
    "api.after_admit": Crash("api"),
    "api.before_watermark": Crash("api"),
    "api.before_answer": Crash("api"),
    "api.amid_answer": Crash("api"),
    "api.before_direct": Crash("api", 1, "Redis away for long"),
    "api.after_direct": Crash("api", 1, "Redis away for long"),
    "writer.after_read": Crash("writer"),
    "writer.after_keys": Crash("writer"),
    "writer.after_ledger": Crash("writer"),
    "writer.before_commit": Crash("writer"),
    "writer.after_commit": Crash("writer"),
    "mirror.before_adjust": Crash("writer", 3),
    "mirror.after_adjust": Crash("writer", 3),
    "mirror.before_compensate": Crash("writer", 1, "Redis forgets events"),
    "mirror.after_compensate": Crash("writer", 1, "Redis forgets events"),
    "relay.before_trim": Crash("writer", 1),
    "rebuild.fenced": _REBUILD,
    "rebuild.direct": _REBUILD,
    "rebuild.drained": _REBUILD,
    "rebuild.epoch_raised": _REBUILD,
    "rebuild.wallets_written": _REBUILD,
    "rebuild.written": _REBUILD,
    "rebuild.shown": _REBUILD,
    "rebuild.announced": _REBUILD,
    "move.expected": _MOVE,
    "move.held": _MOVE,
    "move.applied": _MOVE,
    "move.before_commit": _MOVE,
    "move.committed": _MOVE,
    "move.left": _MOVE,
    "move.arrived": _MOVE,
}
"""Every place named in the source, and how a run gets there."""


def crash_at(name: str) -> Fault:
    """A program dies at a failpoint."""

    def fault(scene: Scene) -> None:
        crash = FAILPOINTS[name]
        program = scene.stack.program(crash.program)
        restart_with(program, f"{name}=kill@{scene.chance.randint(1, crash.most)}", scene.chance)
        if crash.bring_about is None:
            assert died(program, _DEATH_SECONDS), f"{name} was never reached"
        else:
            # once may be too early: the program is only starting, or mends what came before
            attempts = 0
            while not died(program, 0 if attempts == 0 else _ATTEMPT_SECONDS):
                assert attempts < _ATTEMPTS, f"{name} was never reached"
                scene.wait_for_answers(program)
                if not died(program, 0):
                    FAULTS[crash.bring_about](scene)
                attempts += 1
        program.start()

    return fault
