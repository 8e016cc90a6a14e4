"""`billing live` as an operator runs it."""

import json
import os
import subprocess
import sys
import threading
from typing import Any
from uuid import uuid4

import pytest
import typer
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from billing.access.roles import Role
from billing.cli import live
from tests.ingest_api.live.conftest import Plant

COMMAND = [sys.executable, "-c", "from billing.cli.main import app; app()", "live"]


def test_it_prints_what_the_connection_says(plant: Plant) -> None:
    sender = plant.sender()
    arguments = [str(sender.account.id), "--json", "--api-url", f"http://127.0.0.1:{plant.port}"]
    child = subprocess.Popen(
        [*COMMAND, *arguments],
        env={**os.environ, "BILLING_API_KEY": plant.key(Role.SUPPORT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["type"] == "snapshot"
        plant.send(sender)
        said = (json.loads(line) for line in child.stdout)
        change = next(one for one in said if one["type"] == "changes")
        assert change["accounts"][0]["account_id"] == str(sender.account.id)
    finally:
        child.terminate()
        child.communicate(timeout=20)


def test_it_says_why_it_is_refused(plant: Plant) -> None:
    arguments = [str(plant.sender().account.id), "--api-url", f"http://127.0.0.1:{plant.port}"]
    for key, complaint in (("", "Set BILLING_API_KEY"), ("wrong", "The API key is not valid")):
        done = subprocess.run(
            [*COMMAND, *arguments],
            env={**os.environ, "BILLING_API_KEY": key},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert complaint in done.stderr


def test_it_reads_why_it_is_refused_before_it_could_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(socket: ServerConnection) -> None:
        socket.send(json.dumps({"type": "error", "error": {"message": "No such key."}}))
        socket.close(4401, "unauthenticated")

    def connect_slowly(*arguments: Any, **terms: Any) -> ClientConnection:
        """Comes back when the other side has gone."""
        socket: ClientConnection = connect(*arguments, **terms)
        socket.recv_events_thread.join()
        return socket

    monkeypatch.setattr(live, "connect", connect_slowly)
    with serve(refuse, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        monkeypatch.setenv("BILLING_API_KEY", "wrong")
        with pytest.raises(typer.Exit):
            live.live([uuid4()], url)
    said = capsys.readouterr().err
    assert "No such key." in said
    assert "unauthenticated" in said
