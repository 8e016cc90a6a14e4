"""Events that the writer could not write: given back, mended, replayed and discarded."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from billing.access.roles import Role
from billing.cli.main import app as billing
from billing.usage.event import EventCheck, EventIn, UsageEvent
from billing.usage.row import encode_row, row_head, uuid_field
from billing.wallets.connect import open_any
from billing.wallets.keys import ShardKeys
from tests.ingest_api.intake.conftest import Api
from tests.support.factories.usage import Sender

Until = Callable[[Callable[[], bool]], None]
PRICE = 120_000


class Aside:
    """An event that was set aside, of a sender with a wallet."""

    def __init__(self, api: Api, until: Until, *, readable: bool = True) -> None:
        self.api, self.until = api, until
        self.sender: Sender = api.sender()
        self.event = api.event(self.sender)
        assert self.sender.wallet is not None
        self.wallet_id = self.sender.wallet.id
        self._put(b"" if readable else b"?")
        found = api.one("SELECT id FROM usage.quarantine ORDER BY recorded_at DESC, id DESC")
        self.path = f"/api/v1/quarantine/{found}"
        self.id = str(found)

    def _put(self, before: bytes) -> None:
        """A negative quantity, which no table takes, debited as the intake does it."""
        now = datetime.now(UTC)
        sent = EventIn(
            source=self.event["source"],
            event_id=self.event["event_id"],
            event_type=self.event["event_type"],
            occurred_at=datetime.fromisoformat(self.event["occurred_at"]),
            account_id=self.event["account_id"],
            dimensions=self.event["dimensions"],
        )
        checked = EventCheck(now)(sent)
        assert isinstance(checked, UsageEvent)
        wrong = msgspec.structs.replace(checked, quantity=Decimal(-1))
        head = row_head(self.wallet_id, self.sender.account.id)
        row = before + encode_row(head, uuid_field(None), PRICE, wrong)
        count = self.api.one("SELECT count(*) FROM usage.quarantine")
        received = int(now.timestamp() * 1_000_000)
        self.until(self._is_loaded)
        with open_any(self.api.redis_url) as client:
            client.hincrby(self.keys.wallet(self.wallet_id), "bal", -PRICE)
            client.xadd(self.keys.stream, {"v": "2", "r": received, "n": 1, "p": row})
        self.until(lambda: bool(self.api.one("SELECT count(*) FROM usage.quarantine") == count + 1))

    @property
    def keys(self) -> ShardKeys:
        return self.api.keys(self.sender)

    def _is_loaded(self) -> bool:
        with open_any(self.api.redis_url) as client:
            return bool(client.hexists(self.keys.wallet(self.wallet_id), "floor"))

    def in_redis(self) -> int:
        with open_any(self.api.redis_url) as client:
            return int(client.hget(self.keys.wallet(self.wallet_id), "bal") or 0)  # type: ignore[arg-type]

    def post(self, what: str, body: Any = None) -> Any:
        return self.api.client.post(f"{self.path}/{what}", json=body, headers=self.api.as_admin)

    def followed(self) -> dict[str, Any]:
        """What is said to somebody who looks for the event, and not for what was set aside."""
        path = f"/api/v1/events/core/{self.event['event_id']}"
        answer = self.api.client.get(path, headers=self.api.as_admin)
        error: dict[str, Any] = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "quarantined")
        return error

    def status(self) -> str:
        answer = self.api.client.get(self.path, headers=self.api.as_admin)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["attributes"]["status"])


def test_what_is_set_aside_can_be_read_and_costs_nothing(api: Api, until: Until) -> None:
    aside = Aside(api, until)

    until(lambda: aside.in_redis() == 0)
    assert api.balance(aside.sender) == 0
    listed = api.client.get("/api/v1/quarantine?status=open&limit=1", headers=api.as_admin)
    shown = listed.json()["data"][0]
    assert shown["id"] == aside.id
    attributes = shown["attributes"]
    assert (attributes["source"], attributes["event_id"]) == ("core", aside.event["event_id"])
    assert attributes["event"]["quantity"] == "-1"
    assert attributes["event"]["dimensions"] == aside.event["dimensions"]
    assert attributes["amount_units"] == PRICE
    assert "quantity" in attributes["reason"]
    error = aside.followed()
    assert error["details"] == {
        "quarantine_id": aside.id,
        "status": "open",
        "reason": attributes["reason"],
        "recorded_at": error["details"]["recorded_at"],
        "note": None,
    }
    assert attributes["reason"] in error["message"]
    customer = api.key(Role.CUSTOMER, customer_id=aside.sender.account.customer_id)
    path = f"/api/v1/events/core/{aside.event['event_id']}"
    assert api.client.get(path, headers=customer).status_code == 404


def test_a_mended_event_is_taken_in_once_under_its_own_id(api: Api, until: Until) -> None:
    aside = Aside(api, until)

    assert aside.post("replay").json()["error"]["fields"][0]["field"] == "quantity"
    mended = aside.post("event", {"event": {**aside.event, "quantity": 1}})
    assert mended.status_code == 200, mended.text
    assert mended.json()["data"]["attributes"]["status"] == "open"
    replayed = aside.post("replay")
    assert replayed.status_code == 200, replayed.text
    assert replayed.json()["data"]["attributes"]["status"] == "replayed"

    assert api.balance(aside.sender) == -PRICE
    until(lambda: aside.in_redis() == -PRICE)
    assert aside.post("replay").status_code == 409
    answer = api.send(aside.event)  # as it was sent first: its hash is kept
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["attributes"]["status"] == "duplicate", answer.text
    until(lambda: aside.in_redis() == -PRICE)
    assert api.balance(aside.sender) == -PRICE
    assert api.one(
        "SELECT max(accept_seq) = count(*) FROM usage.raw_events WHERE shard = %s",
        aside.sender.account.shard,
    )
    commands = api.connection.execute(
        "SELECT command FROM billing.audit_log WHERE entity_id = %s ORDER BY seq", [aside.id]
    ).fetchall()
    assert commands == [("event.mend",), ("event.replay",)]


def test_a_discarded_event_stays_to_be_read_with_its_reason(api: Api, until: Until) -> None:
    aside = Aside(api, until)

    assert aside.post("discard", {"reason": "x"}).status_code == 400
    assert aside.post("discard", {"reason": "a test of the merchant"}).status_code == 200
    assert aside.status() == "discarded"
    again = aside.post("discard", {"reason": "once more"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_settled")
    assert aside.post("event", {"event": aside.event}).status_code == 409
    note = api.one("SELECT note FROM usage.quarantine WHERE id = %s", aside.id)
    assert note == "a test of the merchant"
    assert aside.followed()["details"]["note"] == note
    assert api.balance(aside.sender) == 0


def test_what_cannot_be_read_must_be_mended_first(api: Api, until: Until) -> None:
    aside = Aside(api, until, readable=False)

    assert aside.post("replay").json()["error"]["code"] == "not_readable"
    assert aside.post("event", {"event": aside.event}).status_code == 200
    assert aside.post("replay").status_code == 200
    assert api.balance(aside.sender) == -PRICE


def test_a_replay_finds_that_the_event_came_in_meanwhile(api: Api, until: Until) -> None:
    aside = Aside(api, until)
    assert api.send(aside.event).status_code == 200

    assert aside.post("event", {"event": {**aside.event, "quantity": 1}}).status_code == 200
    assert aside.post("replay").status_code == 200
    assert api.balance(aside.sender) == -PRICE


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"event_id": "another"}, "event_id"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": "many"}, "quantity"),
        ({"account_id": "00000000-0000-7000-8000-000000000000"}, "account_id"),
        ({"colour": "red"}, "colour"),
        ({"dimensions": {"country": "I\x00N"}}, "event"),
        ({"dimensions": {"a": {}}}, "event"),
    ],
)
def test_an_event_cannot_be_mended_into_a_wrong_one(
    api: Api, until: Until, changes: dict[str, Any], field: str
) -> None:
    aside = Aside(api, until)
    answer = aside.post("event", {"event": {**aside.event, **changes}})

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["fields"][0]["field"].startswith(field)
    assert aside.status() == "open"


def test_only_operators_see_and_settle_it(api: Api) -> None:
    for role in (Role.SENDER, Role.SUPPORT, Role.FINANCE_ADMIN):
        assert api.client.get("/api/v1/quarantine", headers=api.key(role)).status_code == 403
    engineer = api.key(Role.DATA_ENGINEER)
    assert api.client.get("/api/v1/quarantine", headers=engineer).status_code == 200


def test_the_command_line_does_the_same(
    api: Api, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside, other = Aside(api, until), Aside(api, until)
    url = api.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    file = tmp_path / "event.json"
    file.write_text(json.dumps({**aside.event, "quantity": 1}))

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(billing, ["events", "quarantine", *words])
        assert result.exit_code == code, result.output
        return result.output

    assert aside.id in run("list")
    assert '"quantity": "-1"' in run("show", aside.id)
    run("replay", aside.id, code=1)
    run("fix", aside.id, str(file))
    assert "replayed" in run("replay", aside.id)
    assert "discarded: of no use" in run("discard", other.id, "--reason", "of no use")
    assert aside.id not in run("list")
    assert api.balance(aside.sender) == -PRICE
