"""A PDF on the page: drawn as images, which every browser shows, phones and sandboxes too."""

import io
from typing import Final

import pypdfium2
import streamlit as st

_DOTS_PER_POINT: Final = 2
"""144 dots an inch: sharp on a laptop, about 150 kB a page."""
_PAGES_SHOWN: Final = 10


def page_images(content: bytes) -> list[bytes]:
    """The first pages of a PDF as PNG."""
    images = []
    with pypdfium2.PdfDocument(content) as document:
        for number in range(min(len(document), _PAGES_SHOWN)):
            target = io.BytesIO()
            document[number].render(scale=_DOTS_PER_POINT).to_pil().save(
                target, "PNG", optimize=True
            )
            images.append(target.getvalue())
    return images


def show_pdf(images: list[bytes], *, title: str) -> None:
    """Show the pages, one below the other, in a frame that scrolls by itself."""
    with st.container(border=True, height=760, key="pdf_pages"):
        for number, image in enumerate(images, 1):
            st.image(image, width="stretch", alt=f"{title}, page {number} of {len(images)}")
