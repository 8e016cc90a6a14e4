"""The gateways that can be used: ours that have keys, and those that others installed."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points

from billing.errors import NotFoundError
from invoicing.gateways.protocol import Gateway
from invoicing.gateways.razorpay import RazorpayGateway
from invoicing.gateways.settings import GatewaySettings
from invoicing.gateways.stripe import StripeGateway

ENTRY_POINTS = "billing.gateways"
"""Entry points of this group name a class that is made with `GatewaySettings`."""

_OURS: dict[str, Callable[[GatewaySettings], Gateway]] = {
    RazorpayGateway.name: RazorpayGateway,
    StripeGateway.name: StripeGateway,
}


class Gateways:
    """Gateways by name; one that lacks its keys is not among them."""

    def __init__(self, gateways: Mapping[str, Gateway]) -> None:
        self._gateways = dict(gateways)

    @classmethod
    def load(cls, settings: GatewaySettings | None = None) -> "Gateways":
        """What can be used with these settings."""
        settings = settings or GatewaySettings.load()
        makers = {**_OURS, **{one.name: one.load() for one in entry_points(group=ENTRY_POINTS)}}
        usable: dict[str, Gateway] = {}
        for name, make in makers.items():
            try:
                usable[name] = make(settings)
            except ValueError:
                continue  # its keys are not set
        return cls(usable)

    def get(self, name: str) -> Gateway:
        """A gateway.

        Raises:
            NotFoundError: if it is not known here, or has no keys.
        """
        if name not in self._gateways:
            usable = ", ".join(sorted(self._gateways)) or "none; set the keys of one"
            raise NotFoundError(
                f"There is no gateway {name} that can be used. Usable: {usable}.",
                code="unknown_gateway",
            )
        return self._gateways[name]

    def for_currency(self, code: str) -> list[Gateway]:
        """Those that take a currency, by name."""
        return [
            gateway for _, gateway in sorted(self._gateways.items()) if code in gateway.currencies
        ]

    @property
    def names(self) -> list[str]:
        """What can be used."""
        return sorted(self._gateways)


@cache
def gateways() -> Gateways:
    """The gateways of this process, by its environment."""
    return Gateways.load()
