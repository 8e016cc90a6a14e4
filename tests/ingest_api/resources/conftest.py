"""The API for every test here."""

from tests.support.api import api, new_customer

__all__ = ["api", "new_customer"]
