"""How our processes log: one line of JSON per event, and nothing of what variables held.

A traceback with local variables would write keys and secrets into the log, and drawing it takes
seconds in which an event loop answers nobody.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

HIDDEN: Final = "***"
_SECRET_NAMES: Final = re.compile(
    r"secret|password|passwd|token|pepper|authorization|cookie|api_?key|signature", re.IGNORECASE
)
_SECRET_TEXTS: Final = (
    (re.compile(r"\b(otpb_[0-9a-z]+)_[0-9A-Za-z]+"), rf"\1_{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s@/]+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"\b((?:sk|rk|whsec|rzp)_(?:live_|test_)?)\w{6,}"), rf"\1{HIDDEN}"),
)


def hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: values under telling names, and secrets inside texts, are hidden."""
    return {name: _hidden(name, value) for name, value in event.items()}


def without_secrets(text: str) -> str:
    """A text with what looks like a key, or the password of a URL, left out."""
    for pattern, replacement in _SECRET_TEXTS:
        text = pattern.sub(replacement, text)
    return text


def _hidden(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name):
        return HIDDEN
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {key: _hidden(str(key), one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden("", one) for one in value]
    return value


class _StandardError:
    """Standard error as it is when something is written, whoever replaced it since."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logs(level: int = logging.INFO) -> None:
    """Set up structlog for this process."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            hide_secrets,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(_StandardError()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
