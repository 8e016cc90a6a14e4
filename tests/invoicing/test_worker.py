"""Drawing workers: the same bytes as here, no network, and replaced when they fail."""

import io
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from billing.errors import UnavailableError
from invoicing.render import render_pdf
from invoicing.worker import DrawingPool, _Worker, serve
from tests.invoicing import document_samples as samples

ROOT = Path(__file__).parents[2]


def test_a_worker_draws_the_same_bytes_and_one_that_dies_is_replaced() -> None:
    document = samples.export()
    worker = _Worker(60)
    pool = DrawingPool(0)
    pool._idle.put(worker)
    try:
        assert pool.draw(document) == render_pdf(document)
        assert worker._process is not None
        worker._process.kill()
        with pytest.raises(UnavailableError, match="could not be drawn"):
            pool.draw(document)
        assert pool.draw(document) == render_pdf(document)
    finally:
        pool.close()


def test_a_confined_process_reaches_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = (
            "import os, socket, subprocess\n"
            "from invoicing.worker import confine\n"
            "confine()\n"
            "def tried(call, *arguments):\n"
            "    try:\n"
            "        call(*arguments)\n"
            "    except OSError as error:\n"
            "        print(type(error).__name__)\n"
            f"tried(socket.create_connection, ('127.0.0.1', {server.getsockname()[1]}))\n"
            "tried(socket.getaddrinfo, 'otpless.com', 443)\n"
            "tried(subprocess.run, ['true'])\n"
            "tried(os.system, 'true')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == ["PermissionError"] * 4


def test_what_cannot_be_drawn_is_said_and_the_worker_goes_on() -> None:
    asked = b"".join(len(one).to_bytes(8, "big") + one for one in (b"bad", b"good"))
    answers = io.BytesIO()

    def make(request: bytes) -> bytes:
        if request == b"bad":
            raise ValueError("no document")
        return b"drawn"

    serve(io.BytesIO(asked), answers, make)
    assert answers.getvalue()[8:] == (
        b"-ValueError: no document" + (6).to_bytes(8, "big") + b"+drawn"
    )
