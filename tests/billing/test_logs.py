"""What our logs leave out."""

import json
import subprocess
import sys

import pytest

from billing.logs import HIDDEN, hide_secrets, without_secrets

_PROGRAM = """
import structlog
from billing.logs import configure_logs
configure_logs()
def fail():
    secret_of_a_local = "hunter" + "2"
    raise ValueError("refused Bearer abcdefgh" + "12345")
try:
    fail()
except ValueError:
    structlog.get_logger().exception("failed", api_key="k", url="redis://me:pass" + "word@host")
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("otpb_a1b2_deadbeef sent", f"otpb_a1b2_{HIDDEN} sent"),
        ("Authorization: Bearer abc.def-123456", f"Authorization: Bearer {HIDDEN}"),
        ("postgresql://billing:s3cret@db:5432/x", f"postgresql://billing:{HIDDEN}@db:5432/x"),
        ("redis://:s3cret@db", f"redis://:{HIDDEN}@db"),
        ("sk_live_abcdef123", f"sk_live_{HIDDEN}"),
        ("http://host:8000/a@b", "http://host:8000/a@b"),
    ],
)
def test_keys_and_passwords_are_left_out_of_texts(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_values_with_telling_names_are_hidden_however_deep() -> None:
    event = {"password": "a", "headers": {"Authorization": "b"}, "many": [{"token": 1}], "n": 2}
    assert hide_secrets(None, "", event) == {
        "password": HIDDEN,
        "headers": {"Authorization": HIDDEN},
        "many": [{"token": HIDDEN}],
        "n": 2,
    }


def test_a_traceback_shows_where_and_never_what_variables_held() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    line = json.loads(done.stderr)
    assert "in fail" in line["exception"]
    for secret in ("hunter2", "abcdefgh12345", "password@"):
        assert secret not in done.stderr
    assert line["api_key"] == HIDDEN
