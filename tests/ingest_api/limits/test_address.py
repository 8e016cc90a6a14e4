"""Whose address counts, and whose word."""

import pytest

from billing.errors import InvalidError
from ingest_api.limits.address import client_address, trusted_networks

PROXY = "10.0.0.5"


def seen(client: str | None, *forwarded: str, trusted: str = "10.0.0.0/8") -> str:
    scope = {
        "type": "http",
        "client": (client, 1) if client else None,
        "headers": [(b"x-forwarded-for", one.encode()) for one in forwarded],
    }
    return client_address(scope, trusted_networks(trusted))


def test_the_word_of_a_stranger_does_not_count() -> None:
    assert seen("203.0.113.9", "198.51.100.1") == "203.0.113.9"
    assert seen(PROXY, "198.51.100.1", trusted="") == PROXY


def test_what_a_trusted_hop_saw_counts_and_not_what_was_said_before_it() -> None:
    assert seen(PROXY, "1.2.3.4, 198.51.100.1") == "198.51.100.1"
    assert seen(PROXY, "1.2.3.4", "198.51.100.1, 10.1.1.1") == "198.51.100.1"


def test_nonsense_ends_the_chain() -> None:
    assert seen(PROXY, "198.51.100.1, unknown") == PROXY
    assert seen(PROXY, "") == PROXY
    assert seen(None) == "unknown"


def test_all_addresses_of_one_ipv6_site_count_together() -> None:
    assert seen("2001:db8:1:2::1") == seen("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert seen("::ffff:203.0.113.9") == "203.0.113.9"


def test_a_wrong_network_is_refused() -> None:
    with pytest.raises(InvalidError, match="BILLING_TRUSTED_PROXIES"):
        trusted_networks("10.0.0.0/40")
