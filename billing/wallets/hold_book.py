"""Holds decided without Redis: what holds.lua does, over what PostgreSQL says.

Pure: whoever has a `HoldBook` fills in what the questions need, and stores the changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from billing.wallets.holds import Asked, Hold, HoldAnswer, HoldState, Verdict

_GIVEN: Final = frozenset({Verdict.OK, Verdict.WARNED, Verdict.GRACE})


@dataclass(frozen=True, slots=True)
class Funds:
    """A wallet; all in wallet units."""

    balance: int
    held: int
    floor: int
    """Minus the credit line."""

    @property
    def left(self) -> int:
        """What may still be authorised."""
        return self.balance - self.held - self.floor


@dataclass
class HoldBook:
    """Answers questions one after the other.

    Args:
        funds: wallets by their id in hex.
        uses: what quotas have lost and hold, by name, in millionths of a unit.
        known: holds by name.
    """

    funds: dict[str, Funds]
    uses: dict[str, int]
    known: dict[str, Hold]
    changed: set[str] = field(default_factory=set)
    """Names of the holds that are not as they were."""

    def expire(self, now_ms: int) -> None:
        """Let go of the holds whose time is over."""
        for name, hold in list(self.known.items()):
            if hold.state is HoldState.OPEN and hold.expires_ms <= now_ms:
                self._resolve(name, HoldState.EXPIRED, now_ms)

    def answer(self, asked: Asked, now_ms: int) -> HoldAnswer:
        """The answer to one question."""
        kind, name = asked[0], asked[1]
        if kind == "h":
            return self._place(asked, now_ms)
        if kind == "a":
            return HoldAnswer(*self._judge(asked))
        hold = self._find(name)
        if hold is None:
            return HoldAnswer(Verdict.NONE, 0, 0)
        if kind == "g":
            return HoldAnswer(Verdict.FOUND, 0, 0, hold)
        if hold.state is not HoldState.OPEN:
            return HoldAnswer(Verdict.RESOLVED, 0, 0, hold)
        return HoldAnswer(Verdict.RELEASED, 0, 0, self._resolve(name, HoldState.RELEASED, now_ms))

    def capture(self, name: str, at_ms: int) -> None:
        """An event names it."""
        hold = self.known.get(name)
        if hold is not None and hold.state is HoldState.OPEN:
            self._resolve(name, HoldState.CAPTURED, at_ms)

    def _find(self, name: str) -> Hold | None:
        """A hold; not that one was captured of which nothing is known."""
        hold = self.known.get(name)
        return hold if hold is not None and hold.body_hash else None

    def _judge(self, asked: Asked) -> tuple[Verdict, int, int]:
        _, _, _, wallet, amount, grace, _, quotas = asked
        verdict, balance, left = Verdict.OK, 0, 0
        if wallet:
            funds = self.funds.get(wallet)
            if funds is None:
                return Verdict.NO_WALLET, 0, 0
            balance, left = funds.balance, funds.left
            if not _is_enough(left, amount):
                if not _is_enough(left + grace, amount):
                    return Verdict.NO_FUNDS, balance, left
                verdict = Verdict.GRACE
        for quota, quantity, limit, is_hard in quotas:
            if self.uses.get(quota, 0) + quantity > limit:
                if is_hard:
                    return Verdict.OVER_QUOTA, balance, left
                if verdict is Verdict.OK:
                    verdict = Verdict.WARNED
        return verdict, balance, left

    def _place(self, asked: Asked, now_ms: int) -> HoldAnswer:
        _, name, body_hash, wallet, amount, _, expires_ms, quotas = asked
        known = self._find(name)
        if known is not None:
            verdict = Verdict.SAME if known.body_hash == body_hash else Verdict.OTHER
            return HoldAnswer(verdict, known.balance, known.available, known)
        verdict, balance, left = self._judge(asked)
        if verdict not in _GIVEN:
            return HoldAnswer(verdict, balance, left)
        if wallet:
            left -= amount
        uses = tuple((quota, quantity) for quota, quantity, _, _ in quotas)
        noted = self.known.get(name)
        created_ms = now_ms if noted is None else max(now_ms, noted.created_ms + 1)
        hold = Hold(
            HoldState.OPEN, amount, created_ms, expires_ms, 0, body_hash, wallet, balance, left,
            verdict, uses,
        )  # fmt: skip
        self._bind(hold, 1)
        self.known[name] = hold
        self.changed.add(name)
        return HoldAnswer(verdict, balance, left, hold)

    def _resolve(self, name: str, state: HoldState, at_ms: int) -> Hold:
        hold = msgspec.structs.replace(self.known[name], state=state, resolved_ms=at_ms)
        self._bind(hold, -1)
        self.known[name] = hold
        self.changed.add(name)
        return hold

    def _bind(self, hold: Hold, sign: int) -> None:
        funds = self.funds.get(hold.wallet)
        if funds is not None:
            self.funds[hold.wallet] = replace(funds, held=funds.held + sign * hold.amount)
        for quota, quantity in hold.quotas:
            self.uses[quota] = self.uses.get(quota, 0) + sign * quantity


def bound(holds: Mapping[str, Hold]) -> tuple[dict[str, int], dict[str, int]]:
    """What open holds bind of wallets (ids in hex) and of quotas (names)."""
    wallets: dict[str, int] = {}
    quotas: dict[str, int] = {}
    for hold in holds.values():
        if hold.state is HoldState.OPEN:
            if hold.wallet:
                wallets[hold.wallet] = wallets.get(hold.wallet, 0) + hold.amount
            for quota, quantity in hold.quotas:
                quotas[quota] = quotas.get(quota, 0) + quantity
    return wallets, quotas


def names_in(asked: Sequence[Asked]) -> tuple[set[str], set[str], set[str]]:
    """The holds, wallets and quotas that questions are about."""
    about = [one for one in asked if one[0] in {"h", "a"}]
    return (
        {one[1] for one in asked},
        {one[3] for one in about if one[3]},
        {quota[0] for one in about for quota in one[7]},
    )


def _is_enough(left: Any, amount: Any) -> bool:
    return bool(left > 0 and left >= amount)
