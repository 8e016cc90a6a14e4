"""`billing stack`, `migrate` and `doctor` as a person runs them."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from billing.stack import ports, process
from billing.stack.services import MARK, NAMES, PORTS
from billing.stack.state import read_state

DOOR = [sys.executable, "-c", "from billing.cli.main import app; app()"]


class Door:
    """Runs `billing` with a folder and an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local = folder / ".local"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DATABASE_URL", "REDIS_URL"}
        } | {"BILLING_LOCAL_DIR": str(self.local)}
        for port in PORTS.values():
            self.environment[port.variable] = str(ports.any_free())
        self._running: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*DOOR, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        child = subprocess.Popen(
            [*DOOR, "stack", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._running.append(child)

        def ready() -> bool:
            state = read_state(self.local)
            found = state is not None and state.pid == child.pid and state.ready
            return found or child.poll() is not None

        assert process.wait_until(ready, 60)
        assert child.poll() is None, child.communicate()[0]
        return child

    def close(self) -> None:
        for child in self._running:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            child.communicate(timeout=60)
        process.kill_all(process.in_directory(self.local / "redis"), signal.SIGKILL)


@pytest.fixture
def door(server_dir: Path) -> Iterator[Door]:
    made = Door(Path(tempfile.mkdtemp(dir=server_dir)))
    yield made
    made.close()


def test_the_stack_tells_others_where_it_is_and_cleans_up_on_sigterm(door: Door) -> None:
    child = door.start("--only", "redis")
    state = read_state(door.local)
    assert state is not None
    assert state.redis_url == f"redis://127.0.0.1:{door.environment['BILLING_REDIS_PORT']}/0"
    with redis.Redis.from_url(state.redis_url) as client:
        assert client.ping()
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert "ready" in output
    assert read_state(door.local) is None
    assert not any(process.is_running(pid) for pid in state.processes.values())


def test_after_a_kill_the_next_run_goes_on_with_the_data(door: Door) -> None:
    first = door.start("--only", "redis")
    state = read_state(door.local)
    assert state is not None
    assert state.redis_url is not None
    with redis.Redis.from_url(state.redis_url) as client:
        client.set("kept", 1)
    first.kill()
    first.communicate()
    assert process.is_running(state.processes["redis"])
    door.start("--only", "redis")
    assert not process.is_running(state.processes["redis"])
    with redis.Redis.from_url(state.redis_url) as client:
        assert client.get("kept") == b"1"


def test_processes_left_by_a_killed_run_are_ended_and_strangers_are_not(door: Door) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    ours = subprocess.Popen(sleep, env={**os.environ, MARK: str(door.local)})
    stranger = subprocess.Popen(sleep, env={**os.environ, MARK: str(door.local / "other")})
    try:
        door.start("--only", "redis")
        assert ours.wait(30) == -signal.SIGTERM
        assert stranger.poll() is None
    finally:
        for child in (ours, stranger):
            child.kill()
            child.wait()


def test_a_second_stack_says_where_the_first_one_is(door: Door) -> None:
    first = door.start("--only", "redis")
    second = door.run("stack", "--only", "redis")
    assert second.returncode == 1
    assert f"already runs (process {first.pid})" in second.stderr
    assert "redis://127.0.0.1:" in second.stderr


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_set_in_the_environment_and_in_use_is_refused(door: Door, taken: int) -> None:
    door.environment["BILLING_REDIS_PORT"] = str(taken)
    done = door.run("stack", "--only", "redis")
    assert done.returncode == 1
    assert done.stderr == (
        f"Port {taken} for Redis is in use: choose another with BILLING_REDIS_PORT.\n"
    )


def test_an_unknown_service_is_refused_with_the_known_ones(door: Door) -> None:
    done = door.run("stack", "--only", "redis,kafka")
    assert done.returncode == 1
    assert "no service 'kafka'" in done.stderr
    assert all(name in done.stderr for name in NAMES)


def test_a_service_without_its_server_is_refused(door: Door) -> None:
    done = door.run("stack", "--only", "redis,api")
    assert done.returncode == 1
    assert "api needs postgres: add it to --only, or set DATABASE_URL" in done.stderr


def test_a_place_where_nothing_can_be_written_is_named(door: Door) -> None:
    door.local.write_text("a file")
    done = door.run("stack", "--only", "redis")
    assert done.returncode == 1
    assert "BILLING_LOCAL_DIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_without_a_database_says_what_to_start(door: Door) -> None:
    done = door.run("migrate")
    assert done.returncode == 1
    assert "billing stack" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_of_a_database_that_is_away_is_one_sentence(door: Door) -> None:
    door.environment["DATABASE_URL"] = f"postgresql://postgres@127.0.0.1:{ports.any_free()}/x"
    done = door.run("migrate")
    assert done.returncode == 1
    assert done.stderr.startswith("PostgreSQL cannot be used: ")
    assert len(done.stderr.splitlines()) == 1


def test_migrate_is_safe_to_run_twice(door: Door, empty_database_url: str) -> None:
    door.environment["DATABASE_URL"] = empty_database_url
    assert "from nothing to" in door.run("migrate").stdout
    assert "already at" in door.run("migrate").stdout


def test_state_is_readable_by_its_owner_alone(door: Door) -> None:
    door.start("--only", "redis")
    file = door.local / "stack.json"
    assert file.stat().st_mode & 0o077 == 0
    assert json.loads(file.read_text())["ready"] is True


def test_doctor_finds_nothing_to_mend_on_a_good_stack(
    door: Door, database_url: str, redis_url: str
) -> None:
    door.environment |= {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    done = door.run("doctor")
    assert done.returncode == 0, done.stdout
    assert "the newest" in done.stdout
    assert "appendfsync is always" in done.stdout
