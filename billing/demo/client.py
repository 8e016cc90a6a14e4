"""A small client of our own API, as a merchant's or an operator's program would have one."""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx

_PATIENCE_SECONDS: Final = 180
"""How long a part may be away, such as one that was killed and is started again."""
_LONGEST_PAUSE: Final = 5.0
_PAGE: Final = 100
_TRY_AGAIN: Final = frozenset({429, 502, 503, 504})


class DemoError(Exception):
    """The demo met an answer it did not expect; the message says which."""


class BillingApi:
    """Calls the API with a key, and tries again while a part behind it is away.

    Every command carries an idempotency key and every event an id, so trying again is safe.

    Args:
        base_url: where the API is, without a path.
        key: the text of an API key.
    """

    def __init__(self, base_url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(60, connect=5),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def post(self, path: str, body: Mapping[str, Any], idempotency_key: str) -> dict[str, Any]:
        """Send a command and return the resource it answers with.

        Raises:
            DemoError: if it is refused.
        """
        answer = self.send("POST", path, json=body, headers={"Idempotency-Key": idempotency_key})
        data: dict[str, Any] = answer.json()["data"]
        return data

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """The resource at a path.

        Raises:
            DemoError: if there is none.
        """
        data: dict[str, Any] = self.send("GET", path, params=parameters).json()["data"]
        return data

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Every resource of a list, page by page."""
        after: str | None = None
        while True:
            page = {"limit": _PAGE, **parameters, **({"after": after} if after else {})}
            answer = self.send("GET", path, params=page).json()
            yield from answer["data"]
            after = answer["meta"]["page"]["next"]
            if after is None:
                return

    def content(self, path: str) -> bytes:
        """The bytes at a path, such as a PDF.

        Raises:
            DemoError: if there are none.
        """
        return self.send("GET", path).content

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Make a request, and again after a pause while the answer is that something is away.

        Raises:
            DemoError: if it is refused, or nothing answers for long.
        """
        deadline, pause = time.monotonic() + _PATIENCE_SECONDS, 0.25
        while True:
            try:
                response = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                problem, try_again = f"{type(error).__name__}: {error}", True
            else:
                if response.is_success:
                    return response
                problem = f"{response.status_code} {response.text[:2000]}"
                try_again = response.status_code in _TRY_AGAIN
            if not try_again or time.monotonic() > deadline:
                raise DemoError(f"{method} {path} was answered with {problem}")
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
