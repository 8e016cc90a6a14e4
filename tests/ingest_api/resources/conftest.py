"""The API for every test here, and a gateway behind it for those about money."""

from collections.abc import Iterator

import pytest

from tests.support.api import Api, api, new_customer
from tests.support.counter import Counter, open_counter
from tests.support.gateways.razorpay import FakeRazorpay, running_razorpay

__all__ = ["api", "new_customer"]


@pytest.fixture(scope="module")
def razorpay_server() -> Iterator[FakeRazorpay]:
    with running_razorpay() as fake:
        yield fake


@pytest.fixture
def counter(
    api: Api, razorpay_server: FakeRazorpay, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Counter]:
    with open_counter(api, razorpay_server, monkeypatch) as opened:
        yield opened
