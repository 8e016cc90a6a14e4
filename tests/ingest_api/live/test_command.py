"""`billing live` as an operator runs it."""

import json
import os
import subprocess
import sys

from billing.access.roles import Role
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
