"""`billing live`: balances and usage of accounts as they change."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from rich.text import Text
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from billing.cli.output import complain, out
from billing.settings import Settings

_PATIENCE_SECONDS: Final = 60.0
"""The server says something every quarter of a minute."""
_PAUSE_SECONDS: Final = 1.0
_FINAL: Final = frozenset({4400, 4401, 4403, 4404})
"""Codes of a connection that would end the same way again."""


class _EndedError(Exception):
    """The server has said why it will not go on."""


def live(
    accounts: Annotated[list[UUID], typer.Argument(help="Ids of accounts.")],
    api_url: Annotated[str | None, typer.Option(help="Default: the running stack's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is said, as it is.")] = False,
) -> None:
    """Print balances and today's usage as they change, until Ctrl-C; comes back when cut off.

    The API key is read from BILLING_API_KEY: `billing keys create` prints one.
    """
    key = os.environ.get("BILLING_API_KEY")
    if not key:
        complain("Set BILLING_API_KEY: `BILLING_API_KEY=$(billing keys create me --role support)`.")
        raise typer.Exit(1)
    address = Settings.load().require_api_url(api_url)
    url = f"{address.replace('http', 'ws', 1)}/api/v1/live"
    try:
        for message in _messages(url, key, accounts):
            _show(message, as_json=as_json)
    except _EndedError as error:
        complain(str(error))
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit from None


def _messages(url: str, key: str, accounts: list[UUID]) -> Iterator[dict[str, Any]]:
    """Everything that is said, over as many connections as it takes.

    Raises:
        _EndedError: if another connection would end the same way.
    """
    last: str | None = None
    headers = {"Authorization": f"Bearer {key}"}
    while True:
        try:
            with connect(url, additional_headers=headers, proxy=None) as socket:
                wish = {"type": "subscribe", "accounts": [str(one) for one in accounts]}
                # who is refused at once cannot send any more; what the server said is still read
                with contextlib.suppress(ConnectionClosed):
                    socket.send(json.dumps({**wish, "after": last}))
                while True:
                    message = json.loads(socket.recv(timeout=_PATIENCE_SECONDS))
                    if message["type"] == "error":
                        complain(message["error"]["message"])
                        continue
                    last = message["id"]
                    yield message
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code in _FINAL:
                raise _EndedError(f"The connection was refused: {closed.rcvd.reason}.") from closed
        except InvalidHandshake as error:
            raise _EndedError(f"There is no live view at {url}: {error}.") from error
        except (OSError, TimeoutError):
            pass
        complain("The connection is gone; coming back.")
        time.sleep(_PAUSE_SECONDS)


def _show(message: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        out.print(Text(json.dumps(message)), soft_wrap=True)
        return
    for one in message.get("accounts", []):
        wallet, today = one["wallet"], one["today"]
        balance = f"{wallet['balance']} {one['currency']}" if wallet else "no wallet"
        out.print(
            Text(
                f"{time.strftime('%H:%M:%S')}  {one['account_id']}  {one['status']:9}  "
                f"{balance:>20}  {today['events']} events on {today['day']} "
                f"(quantity {today['quantity']})"
            ),
            soft_wrap=True,
        )


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command()(live)
