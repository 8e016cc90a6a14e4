"""Tables 11A and 11B: advances that wait for an invoice, and those that found one.

The lots of a wallet are used first in, first out, by the tax that the ledger moved: an invoice
that took 900 of the 1,800 tax of a lot used half of it. What was received and invoiced within one
month appears nowhere. Simplification: lots are told apart by their tax alone, so an advance that
bore none (an export under LUT, a promotion) is in neither table, which is what the law wants too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from billing.money import round_half_up
from invoicing.gstr1.facts import Amounts, Draw, DrawKind, Lot, first_of_month


@dataclass(frozen=True, slots=True)
class Take:
    """The part of a lot that one document used."""

    lot: Lot
    number: str
    kind: DrawKind
    month: date
    """In which it counts: the later of the lot's and the document's."""
    tax_minor: int
    amounts: Amounts

    @property
    def is_within_month(self) -> bool:
        """Received and used in the same month."""
        return self.month == first_of_month(self.lot.day)


@dataclass(frozen=True, slots=True)
class Advances:
    """What became of the lots."""

    lots: tuple[Lot, ...]
    takes: tuple[Take, ...]
    unfounded: tuple[tuple[Draw, int], ...]
    """Tax that documents took without a lot for it: an advance lacks its voucher."""

    def received(self, month: date) -> list[tuple[Lot, Amounts]]:
        """Of each lot of the month what no document of the month used: table 11A."""
        used: dict[str, Amounts] = {}
        for take in self.takes:
            if take.month == month and take.is_within_month:
                used[take.lot.number] = used.get(take.lot.number, Amounts()) + take.amounts
        return [
            (lot, lot.amounts - used.get(lot.number, Amounts()))
            for lot in self.lots
            if first_of_month(lot.day) == month
        ]

    def adjusted(self, month: date) -> list[tuple[Lot, Amounts]]:
        """Of older lots what invoices of the month used: table 11B."""
        return self._of_older(month, DrawKind.INVOICE)

    def refunded(self, month: date) -> list[tuple[Lot, Amounts]]:
        """Of older lots what went back in the month. No table takes it; form RFD-01 does."""
        return self._of_older(month, DrawKind.REFUND)

    def _of_older(self, month: date, kind: DrawKind) -> list[tuple[Lot, Amounts]]:
        return [
            (take.lot, take.amounts)
            for take in self.takes
            if take.month == month and take.kind is kind and not take.is_within_month
        ]


@dataclass(slots=True)
class _Remaining:
    lot: Lot
    drawn_minor: int = 0

    @property
    def left_minor(self) -> int:
        return self.lot.tax_minor - self.drawn_minor

    def take(self, draw: Draw, tax_minor: int) -> Take:
        before = _share(self.lot, self.drawn_minor)
        self.drawn_minor += tax_minor
        month = first_of_month(max(self.lot.day, draw.day))
        amounts = _share(self.lot, self.drawn_minor) - before
        return Take(self.lot, draw.number, draw.kind, month, tax_minor, amounts)


@dataclass(slots=True)
class _Wallet:
    open: list[_Remaining] = field(default_factory=list)

    def draw(self, draw: Draw) -> tuple[list[Take], int]:
        takes: list[Take] = []
        wanted = draw.tax_minor
        named_first = sorted(self.open, key=lambda one: one.lot.number not in draw.of)
        for remaining in named_first:
            if not wanted:
                break
            part = min(wanted, remaining.left_minor)
            takes.append(remaining.take(draw, part))
            wanted -= part
        self.open = [one for one in self.open if one.left_minor]
        return takes, wanted


def follow(lots: Sequence[Lot], draws: Sequence[Draw]) -> Advances:
    """Use up the lots of every wallet in the order things were posted."""
    wallets: dict[str, _Wallet] = {}
    takes: list[Take] = []
    unfounded: list[tuple[Draw, int]] = []
    events: list[Lot | Draw] = [lot for lot in lots if lot.tax_minor]
    events += [draw for draw in draws if draw.tax_minor]
    # At the same instant what comes in is there before it is used.
    for event in sorted(events, key=lambda one: (one.at, isinstance(one, Draw), one.number)):
        wallet = wallets.setdefault(event.wallet, _Wallet())
        if isinstance(event, Lot):
            wallet.open.append(_Remaining(event))
            continue
        taken, missing = wallet.draw(event)
        takes += taken
        if missing:
            unfounded.append((event, missing))
    return Advances(tuple(lot for lot in lots if lot.tax_minor), tuple(takes), tuple(unfounded))


def _share(lot: Lot, drawn_minor: int) -> Amounts:
    """What a part of a lot's tax stands for; the whole tax stands for the whole lot."""
    part = Decimal(drawn_minor) / lot.tax_minor
    whole = lot.amounts
    return Amounts(
        int(round_half_up(whole.taxable * part, 0)),
        int(round_half_up(whole.igst * part, 0)),
        int(round_half_up(whole.cgst * part, 0)),
        int(round_half_up(whole.sgst * part, 0)),
    )
