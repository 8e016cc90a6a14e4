"""Whose address a request comes from: `X-Forwarded-For` counts only behind hops that we trust."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from billing.errors import InvalidError

_IPV6_SITE_BITS: Final = 64
"""One customer of a provider has at least a /64, and may use any address in it."""

Network = IPv4Network | IPv6Network


def trusted_networks(setting: str) -> tuple[Network, ...]:
    """The networks of `BILLING_TRUSTED_PROXIES`.

    Raises:
        InvalidError: if one of them is none.
    """
    try:
        return tuple(ip_network(part.strip()) for part in setting.split(",") if part.strip())
    except ValueError as error:
        raise InvalidError(f"BILLING_TRUSTED_PROXIES: {error}.") from error


def client_address(scope: Scope, trusted: tuple[Network, ...]) -> str:
    """The nearest address that is not one of our own proxies."""
    client = scope.get("client")
    nearest = _parse(client[0]) if client else None
    if nearest is None:
        return "unknown"
    forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
    while _is_trusted(nearest, trusted) and forwarded:
        before = _parse(forwarded.pop())
        if before is None:
            break
        nearest = before
    return _site(nearest)


def _is_trusted(address: IPv4Address | IPv6Address, trusted: tuple[Network, ...]) -> bool:
    return any(address in network for network in trusted)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.strip())
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _site(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_SITE_BITS), strict=False))
    return str(address)
