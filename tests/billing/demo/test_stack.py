"""The stack that the demo starts ends with it."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from billing.stack import ports, process
from billing.stack.services import PORTS
from billing.stack.state import stack_lock

_PROGRAM = """
from billing.demo.stack import running_stack
from billing.settings import Settings
with running_stack(Settings.load()) as stack:
    stack.wait()
"""


_SLEEPER = """
import time
from billing.demo.stack import interrupted_by_signals
try:
    with interrupted_by_signals():
        print("ready", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_in_the_background_of_a_script_hears_each_signal_that_ends_it(number: int) -> None:
    ignoring = 'trap "" INT; exec "$0" -c "$1"'
    command = ["sh", "-c", ignoring, sys.executable, _SLEEPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        try:
            assert demo.stdout.readline() == "ready\n"
            demo.send_signal(number)
            assert demo.stdout.read() == "interrupted\n"
        finally:
            demo.kill()


def test_a_demo_that_is_terminated_takes_its_stack_along(server_dir: Path) -> None:
    local = Path(tempfile.mkdtemp(dir=server_dir)) / ".local"
    names = {"DATABASE_URL", "REDIS_URL", "BILLING_LIMITS_REDIS_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {port.variable: str(ports.any_free()) for port in PORTS.values()}
    environment["BILLING_LOCAL_DIR"] = str(local)
    demo = subprocess.Popen([sys.executable, "-c", _PROGRAM], env=environment)
    try:
        assert process.wait_until(lambda: _is_running(local), 60)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) != 0
        assert not _is_running(local)
    finally:
        if demo.poll() is None:
            demo.kill()


def _is_running(local: Path) -> bool:
    """Whether a stack holds the lock of that folder."""
    if not (local / "stack.lock").exists():
        return False
    lock = stack_lock(local)
    if not lock.acquire():
        return True
    lock.release()
    return False
