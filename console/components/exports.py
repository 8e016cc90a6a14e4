"""Buttons that give a whole list as a file."""

from functools import partial

import streamlit as st

from billing.access.actor import Actor
from billing.exports.files import FileFormat
from billing.exports.service import ExportFilter, export_bytes
from console.database import engine


def export_buttons(actor: Actor, name: str, wanted: ExportFilter | None = None) -> None:
    """A button per format; the file is made when one is pressed."""
    chosen = wanted or ExportFilter()
    with st.container(horizontal=True):
        for one in FileFormat:
            st.download_button(
                f"Export {one.value.upper()}",
                partial(export_bytes, engine(), actor, name, chosen, one),
                file_name=f"{name}.{one.value}", mime=one.media_type,
                icon=":material/download:", key=f"export_{name}_{one.value}", on_click="ignore",
            )  # fmt: skip
