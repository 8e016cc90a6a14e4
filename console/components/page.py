"""What every page does before its own content."""

from collections.abc import Callable

import streamlit as st

from billing.access.actor import Actor
from console.access import PageName, require_actor, require_page
from console.components.boundary import guarded
from console.components.forms import forget, say_now
from console.components.text import note


def show_page(name: PageName, title: str, lead: str, render: Callable[[Actor], None]) -> None:
    """Check that the actor may see the page, then show its title, messages and content.

    Args:
        lead: one sentence that says what the page is for.
    """

    @guarded
    def run() -> None:
        actor = require_actor()
        require_page(actor, name)
        st.title(title, anchor=False)
        note(lead)
        shown = say_now()
        render(actor)
        forget(shown)

    run()
