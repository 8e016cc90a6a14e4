"""What happens all the time while things break: events, holds, payments, amendments."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Self
from uuid import UUID

import httpx

from billing.access.actor import SYSTEM
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import unit_of_work
from billing.usage.revisions import ReviseEvent, revise_event
from billing.wallets.service import TopUp, top_up
from tests.chaos.stack import Stack

CLIENTS = 4
PRICES = {"IN": 120_000, "US": 600_000, "NP": 0}
"""Wallet units of one message by country; the last one has no rate."""
TOP_UP_MINOR = 777
UNITS_PER_MINOR = 10_000
PATIENCE_SECONDS = 90
_MAY_REFUSE = {"insufficient_balance", "account_suspended", "wallet_frozen"}

Sent = tuple[dict[str, Any], UUID, int]
"""An event, the wallet it is taken from and its price."""


@dataclass
class History:
    """What the clients sent, and what they were answered."""

    seed: int
    stop: threading.Event = field(default_factory=threading.Event)
    sent: dict[str, Sent] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    """Ids of events of which an answer said that they are durable."""
    top_ups: dict[str, UUID] = field(default_factory=dict)
    amended: dict[str, int] = field(default_factory=dict)
    """What events cost that were amended or voided, by id."""
    captured: set[tuple[str, str]] = field(default_factory=set)
    """Account (its id in hex) and hold of events whose answer said that they are durable."""
    holds: int = 0
    """Authorisations that were given."""
    requests: int = 0
    answered_since: float = 0.0
    """When the latest request began that was answered."""
    last_answer: float = field(default_factory=time.monotonic)
    longest_stall: float = 0.0

    def answer(self, event_ids: list[str], asked: float) -> None:
        """Events are durable."""
        if not event_ids:
            return
        now = time.monotonic()
        self.answered_since = max(self.answered_since, asked)
        self.longest_stall = max(self.longest_stall, now - self.last_answer)
        self.last_answer = now
        self.answered.update(event_ids)

    def take_stall(self) -> float:
        """The longest time without an answer since the last call."""
        stall, self.longest_stall = self.longest_stall, 0.0
        return stall


class Load:
    """Clients and payments, for the length of a `with` block; leaving it waits for every answer."""

    def __init__(self, stack: Stack, history: History) -> None:
        self._stack = stack
        self.history = history
        self._pool = ThreadPoolExecutor(CLIENTS + 1)
        self._running: list[Future[None]] = []
        self.payments_held = threading.Lock()
        """Whoever holds it keeps payments out."""

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._send, number) for number in range(CLIENTS)]
        self._running.append(self._pool.submit(self._top_up))
        return self

    def __exit__(self, *_: object) -> None:
        self.history.stop.set()
        self._pool.shutdown()
        for one in self._running:
            one.result()

    def require_running(self) -> None:
        """Fail if a client gave up."""
        for one in self._running:
            if one.done():
                one.result()

    def pay_again(self, first: int) -> None:
        """Send every payment from the n-th on again, as after PostgreSQL went back to a backup."""
        for reference, wallet_id in list(self.history.top_ups.items())[first:]:
            self._pay(wallet_id, reference)
        for event_id in list(self.history.amended):
            self._amend(event_id)

    def _send(self, client_no: int) -> None:
        """Send batches; each is repeated under its ids until it is answered."""
        chance = random.Random(f"{self.history.seed}-{client_no}")
        numbers = count(1)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{self._stack.port}",
            headers={"Authorization": f"Bearer {self._stack.key}"},
            timeout=10,
        ) as client:
            while not self.history.stop.is_set():
                size = chance.choice([1, 1, 3, 20])
                batch = [self._event(chance, f"{client_no}-{next(numbers)}") for _ in range(size)]
                if chance.random() < 0.2:
                    self._hold(client, batch[0][0], chance)
                self._until_answered(client, batch)
                if chance.random() < 0.1:
                    self._until_answered(client, batch)  # on purpose, after an answer
                if chance.random() < 0.1:
                    known = list(self.history.sent.values())
                    self._until_answered(client, chance.sample(known, min(10, len(known))))
                time.sleep(chance.uniform(0, 0.03))

    def _hold(self, client: httpx.Client, event: dict[str, Any], chance: random.Random) -> None:
        """Ask whether it may be sent; the event captures the hold, mostly."""
        name = f"for-{event['event_id']}"
        body = {
            "account_id": event["account_id"],
            "event_type": event["event_type"],
            "dimensions": {"country": "IN", "status": "sent"},
            "authorization_id": name,
            "ttl_seconds": chance.choice([1, 60]),
        }
        try:
            response = client.post("/api/v1/authorizations", json=body)
        except httpx.HTTPError:
            return
        assert response.status_code in {200, 503}, response.text
        if response.status_code == 200:
            said = response.json()["data"]["attributes"]
            assert said["authorised"] or said["reason"] in _MAY_REFUSE, said
            self.history.holds += said["state"] == "open"
            if chance.random() < 0.8:
                event["authorization_id"] = name

    def _event(self, chance: random.Random, event_id: str) -> Sent:
        sender = chance.choice(self._stack.senders)
        country = chance.choice(list(PRICES))
        assert sender.wallet is not None
        event = {
            "source": "chaos",
            "event_id": event_id,
            "event_type": "otp.sms",
            "occurred_at": datetime.now(UTC).isoformat(),
            "account_id": str(sender.account.id),
            "dimensions": {"country": country, "status": "sent"},
        }
        self.history.sent[event_id] = (event, sender.wallet.id, PRICES[country])
        return self.history.sent[event_id]

    def _until_answered(self, client: httpx.Client, batch: list[Sent]) -> None:
        """Repeat what has no answer yet, for as long as it takes."""
        waiting = {event["event_id"]: event for event, _, _ in batch}
        deadline = time.monotonic() + PATIENCE_SECONDS
        said: object = None
        while waiting:
            assert time.monotonic() < deadline, f"{list(waiting)}: no answer for too long: {said}"
            self.history.requests += 1
            asked = time.monotonic()
            try:
                response = client.post("/api/v1/events", json=list(waiting.values()))
            except httpx.HTTPError as error:
                said = error
                time.sleep(0.1)
                continue
            said = response.text
            if response.status_code == 503:
                time.sleep(0.05)
                continue
            assert response.status_code in {200, 202}, response.text
            items = [item["attributes"] for item in response.json()["data"]]
            for one in items:
                assert one["status"] in {"accepted", "duplicate", "unavailable"}, one
            if response.status_code == 200:
                durable = [one["event_id"] for one in items if one["status"] != "unavailable"]
                self.history.answer(durable, asked)
                for event_id in durable:
                    event = waiting.pop(event_id)
                    if "authorization_id" in event:
                        account = UUID(event["account_id"]).hex
                        self.history.captured.add((account, event["authorization_id"]))

    def _top_up(self) -> None:
        """Pay in, each payment twice, through whatever happens to the database."""
        chance = random.Random(self.history.seed)
        for number in count(1):
            if self.history.stop.is_set():
                return
            sender = chance.choice(self._stack.senders)
            assert sender.wallet is not None
            reference = f"payment-{number}"
            self.history.top_ups[reference] = sender.wallet.id
            for _ in range(2):
                self._pay(sender.wallet.id, reference)
            if number % 4 == 0:
                known = sorted(self.history.answered.copy() - self.history.amended.keys())
                if known:
                    event_id = chance.choice(known)
                    self.history.amended[event_id] = chance.choice(sorted({0, *PRICES.values()}))
                    self._amend(event_id)
            time.sleep(0.1)

    def _amend(self, event_id: str) -> None:
        """Say what an event should have been; said again, it changes nothing."""
        price = self.history.amended[event_id]
        country = next((one for one, cost in PRICES.items() if cost == price and cost), None)
        said: dict[str, Any] = {"void": True}
        if country is not None:
            said = {"dimensions": {"country": country, "status": "sent"}}
        request = ReviseEvent(source="chaos", event_id=event_id, **said)
        self._until_done(lambda ctx: revise_event(ctx, request), f"{event_id} was not amended")

    def _pay(self, wallet_id: UUID, reference: str) -> None:
        request = TopUp(wallet_id=wallet_id, amount_minor=TOP_UP_MINOR, reference=reference)
        self._until_done(lambda ctx: top_up(ctx, request), f"{reference} was not paid in")

    def _until_done(self, act: Callable[[Context], object], complaint: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self.payments_held, unit_of_work(self._stack.engine) as session:
                    act(Context(session, SYSTEM, SystemClock()))
            except Exception as error:  # the database may be in any state
                if time.monotonic() > deadline:
                    raise AssertionError(complaint) from error
                time.sleep(0.05)
            else:
                return
