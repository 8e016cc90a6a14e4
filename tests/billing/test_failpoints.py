"""Named places where tests make a process die, wait or fail."""

import os
import subprocess
import sys

import pytest

from billing.failpoints import parse

REACH = "from billing.failpoints import failpoint\nfor n in range(4): failpoint('a.b'); print(n)"


def reached(failpoints: str | None) -> "subprocess.CompletedProcess[str]":
    """A process that reaches `a.b` four times."""
    environment = {k: v for k, v in os.environ.items() if k != "FAILPOINTS"}
    if failpoints is not None:
        environment["FAILPOINTS"] = failpoints
    return subprocess.run(
        [sys.executable, "-uc", REACH], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("failpoints", [None, "", "other.place=kill"])
def test_nothing_happens_where_nothing_was_asked_for(failpoints: str | None) -> None:
    assert reached(failpoints).stdout.split() == ["0", "1", "2", "3"]


def test_a_process_dies_when_it_reaches_the_place_for_the_third_time() -> None:
    done = reached("a.b=kill@3")
    assert (done.returncode, done.stdout.split()) == (-9, ["0", "1"])


def test_a_failure_looks_like_a_connection_that_broke() -> None:
    done = reached("a.b=raise")
    assert done.stdout == ""
    assert "OSError: failpoint a.b" in done.stderr


def test_waiting_goes_on_afterwards() -> None:
    assert reached("a.b=sleep:10@2").stdout.split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("text", ["a.b", "a.b=die", "a.b=kill@x", "a.b=sleep:long"])
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"FAILPOINTS|int"):
        parse(text)
