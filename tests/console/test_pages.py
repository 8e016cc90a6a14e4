"""Every page, for every role."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from billing.access.roles import Role
from console.access import PAGES

SignIn = Callable[..., AppTest]


@pytest.mark.parametrize("role", [role for role in Role if PAGES[role]])
def test_each_role_sees_its_pages_and_none_fails(sign_in: SignIn, role: Role) -> None:
    app = sign_in(role)
    for page in PAGES[role]:
        app.switch_page(f"app_pages/{page.value}.py").run()
        assert not app.exception, page
        assert not app.error, (page, [error.value for error in app.error])
        assert app.title[0].value == page.value.capitalize()
