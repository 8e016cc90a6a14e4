"""Requests ready to be sent, and the books the generator keeps of what was answered."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from bench.world import EVENT_TYPE, PRICES, World

SOURCE = "bench"
EVENTS_PATH = "/api/v1/events"
AUTHORIZATIONS_PATH = "/api/v1/authorizations"

_NUMBER = b"@@@@@@@@@@"
_TEMPLATES = {1: 2_000, 500: 16}
_SENDERS = 1_000
"""Accounts that send; the other wallets are only there."""

_SKEW = 1.1
"""Few accounts send most: the weight of the n-th is n^-1.1."""


@dataclass(frozen=True, slots=True)
class Template:
    """A request whose event ids are filled in when it is sent."""

    head: bytes
    body: bytes
    events: int
    spent: Counter[UUID]
    """What it takes from which wallet."""

    def request(self, number: int) -> bytes:
        """With the ids of the n-th request; the length stays the same."""
        return self.head + self.body.replace(_NUMBER, b"%010d" % number)


@dataclass
class Books:
    """What was sent and answered, by the number of the request."""

    sent: dict[int, Template] = field(default_factory=dict)
    accepted: set[int] = field(default_factory=set)
    next_number: int = 1

    def take(self, template: Template) -> tuple[int, bytes]:
        """The next request of this template."""
        number = self.next_number
        self.next_number += 1
        self.sent[number] = template
        return number, template.request(number)

    @property
    def accepted_events(self) -> int:
        """How many events were answered as taken in."""
        return sum(self.sent[number].events for number in self.accepted)


def post(path: str, key: str, length: int) -> bytes:
    """The head of a request."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def event_templates(world: World, events: int, seed: int) -> list[Template]:
    """Requests of so many events each; a single event is sent bare."""
    chance = random.Random(seed)
    senders = world.payers[:_SENDERS]
    weights = [(rank + 1) ** -_SKEW for rank in range(len(senders))]
    made = []
    for _ in range(_TEMPLATES[events]):
        sent = []
        spent: Counter[UUID] = Counter()
        for place, payer in enumerate(chance.choices(senders, weights, k=events)):
            country = chance.choice(list(PRICES))
            spent[payer.wallet_id] += PRICES[country]
            sent.append(
                {
                    "source": SOURCE,
                    "event_id": f"{_NUMBER.decode()}-{place:03d}",
                    "event_type": EVENT_TYPE,
                    "occurred_at": datetime.now(UTC).isoformat(),
                    "account_id": str(payer.account_id),
                    "dimensions": {
                        "country": country,
                        "channel": "sms",
                        "status": chance.choice(["sent", "delivered"]),
                        "operator": chance.choice(["jio", "airtel", "vi", "bsnl"]),
                    },
                    "cost": f"0.0{chance.randint(10, 99)}",
                }
            )
        body = msgspec.json.encode(sent[0] if events == 1 else sent)
        head = post(EVENTS_PATH, world.key, len(body))
        made.append(Template(head, body, events, spent))
    return made


def authorization_requests(world: World, funded: int, seed: int) -> list[bytes]:
    """Questions about accounts that have money."""
    chance = random.Random(seed)
    made = []
    for payer in world.payers[:funded]:
        body = msgspec.json.encode(
            {
                "event_type": EVENT_TYPE,
                "account_id": str(payer.account_id),
                "dimensions": {"country": chance.choice(list(PRICES)), "channel": "sms"},
            }
        )
        made.append(post(AUTHORIZATIONS_PATH, world.key, len(body)) + body)
    return made
