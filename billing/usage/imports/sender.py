"""Sends events to the API in batches, and again with the same ids until their verdict is known."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec

from billing.errors import (
    BillingError,
    FieldError,
    ForbiddenError,
    InvalidError,
    UnauthenticatedError,
    UnavailableError,
)

_PATH: Final = "/api/v1/events"
_TRY_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
_ATTEMPTS: Final = 80
"""With the pauses below some six minutes: a restart or a failover is over by then."""
_FIRST_PAUSE_MS: Final = 100
_LONGEST_PAUSE_MS: Final = 5_000
_LONGEST_ASKED_MS: Final = 60_000
_UNAVAILABLE: Final = "unavailable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the API said of one event.

    Args:
        status: `accepted`, `duplicate`, `conflict`, `rejected`, or what it may say one day.
    """

    status: str
    code: str | None = None
    fields: tuple[FieldError, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the event is not there now, or not as the file says it."""
        return self.status in {"conflict", "rejected"}


class Sender:
    """One API and one key; may be used by several threads.

    Args:
        url: where the API is, without a path.
        sleep: called with the milliseconds between two attempts.
        tell: called with a sentence when the API stops taking events, once until it does again.
    """

    def __init__(
        self,
        url: str,
        key: str,
        sleep: Callable[[int], None] = lambda ms: time.sleep(ms / 1000),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._sleep = sleep
        self._tell = tell
        self._told = False
        self._stopped = False
        try:
            self._http = httpx.Client(
                base_url=url,
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
                timeout=httpx.Timeout(60, connect=5),
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise InvalidError(f"{url} or the key cannot be used: {error}") from None

    def stop(self) -> None:
        """Let whoever waits between two attempts give up."""
        self._stopped = True

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def send(self, events: Sequence[bytes]) -> list[Verdict]:
        """The verdicts on these events, in their order.

        Raises:
            BillingError: if the API refuses to look at them, or does not answer for long. Then
                nobody knows which were taken; sent again, they are taken once.
        """
        verdicts: list[Verdict | None] = [None] * len(events)
        waiting = list(range(len(events)))
        problem = ""
        for attempt in range(_ATTEMPTS):
            answer, problem = self._post([events[index] for index in waiting])
            if answer is not None and answer.is_success:
                waiting = _fill(verdicts, waiting, answer)
                problem = "the events were not durable in time"
                if not waiting:
                    self._told = False
                    return [verdict for verdict in verdicts if verdict is not None]
            if self._stopped:
                break
            if not self._told:
                self._told = True
                self._tell(f"The API at {self._url} does not take events now: {problem}.")
            self._sleep(_pause(attempt, answer))
        raise UnavailableError(
            f"The API at {self._url} cannot take events: {problem}. Give the same command again "
            "to go on where this stopped."
        )

    def _post(self, events: Sequence[bytes]) -> tuple[httpx.Response | None, str]:
        try:
            answer = self._http.post(_PATH, content=b"[" + b",".join(events) + b"]")
        except httpx.TransportError as error:
            return None, str(error) or type(error).__name__
        if not answer.is_success and answer.status_code not in _TRY_AGAIN:
            raise _refusal(answer)
        return answer, f"{answer.status_code} {answer.text[:300]}"


def _fill(verdicts: list[Verdict | None], waiting: list[int], answer: httpx.Response) -> list[int]:
    """Note the verdicts; which events must be sent again."""
    try:
        items = answer.json()["data"]
        said = [_verdict(item["attributes"]) for item in items]
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidError(f"What answers there is not our API: {error}.") from None
    again = []
    for index, verdict in zip(waiting, said, strict=True):
        if verdict.status == _UNAVAILABLE:
            again.append(index)
        else:
            verdicts[index] = verdict
    return again


def _verdict(attributes: dict[str, Any]) -> Verdict:
    fields = tuple(FieldError(one["field"], one["message"]) for one in attributes.get("fields", ()))
    return Verdict(attributes["status"], attributes.get("code"), fields)


def _pause(attempt: int, answer: httpx.Response | None) -> int:
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    if asked.isdecimal():
        return min(int(asked) * 1000, _LONGEST_ASKED_MS)
    return min(_FIRST_PAUSE_MS << min(attempt, 10), _LONGEST_PAUSE_MS)


def _refusal(answer: httpx.Response) -> BillingError:
    try:
        sentence = str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        sentence = answer.text[:300]
    match answer.status_code:
        case 401:
            return UnauthenticatedError(sentence)
        case 403:
            return ForbiddenError(sentence)
    return InvalidError(f"The API answered {answer.status_code}: {sentence}")


encode: Final = msgspec.json.Encoder().encode
"""Writes an event as it is sent."""
