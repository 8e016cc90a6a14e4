"""Generated names, addresses and notes that try to be more than text.

`HOSTILE_TEXTS` says how many (1000 for the long proof), `HOSTILE_SEED` where chance begins.
"""

import io
import os
import random
import re
import socket
import threading

import pypdf

from invoicing.document import Address
from invoicing.render import render_pdf
from tests.invoicing import document_samples as samples

TEXTS = int(os.environ.get("HOSTILE_TEXTS", "30"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
_PER_DOCUMENT = 6
_ONE_WAY = str.maketrans("}])>", "{[(<")
_DRAWN_OTHERWISE = re.compile("[\u0590-\u06ff\u0900-\u097f\u202e]")


class Trap:
    """A port that counts who knocks."""

    def __init__(self) -> None:
        self.knocks = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                visitor, _ = self._server.accept()
            except OSError:
                return
            self.knocks += 1
            visitor.close()

    def close(self) -> None:
        self._server.close()


def fragments(address: str) -> list[str]:
    return [
        f'<img src="{address}/i.png">',
        f"<link rel=stylesheet href={address}/s.css>",
        f"<style>@import url({address}/a.css);</style>",
        f'<object data="{address}/o"></object>',
        f"background:url({address}/b)",
        "<script>alert(1)</script>",
        "</td></table><h1>Paid</h1>",
        "{{ 7*7 }}",
        "{% for x in y %}",
        "{{ document.__class__.__mro__ }}",
        "${jndi:ldap://127.0.0.1/a}",
        "#{7*7}",
        "<%= 7*7 %>",
        "&lt;b&gt; &amp; &#x41;",
        "'; DROP TABLE invoices; --",
        "=cmd|' /C calc'!A0",
        "שלום עולם",
        "مرحبا",
        "\u202eabc\u202c",
        "😀😃😎",
        "Ωμέγα Привет",
        "लखनऊ",
        "W" * 120,
        "https://example.invalid/" + "a" * 150,
        "\\ \" ' ` < > & %",
        "file:///etc/passwd",
        "O'Brien & Søn",
    ]


def compact(text: str) -> str:
    """Without blanks and marks that are not seen."""
    return re.sub(r"[\s\u200b-\u200f\u202a-\u202e\u2066-\u2069\u00ad]", "", text)


def test_whatever_customers_write_is_printed_as_written_and_fetches_nothing() -> None:
    trap, chance = Trap(), random.Random(SEED)
    known = fragments(trap.address)
    texts = [
        f"{number}~ " + " ".join(chance.sample(known, chance.randint(1, 3)))
        for number in range(TEXTS)
    ]
    sample = samples.intra_state()
    missing = []
    try:
        for start in range(0, TEXTS, _PER_DOCUMENT):
            mine = texts[start : start + _PER_DOCUMENT]
            name, *rest = mine
            address = Address(lines=tuple(rest[:2]) or ("x",), city="Pune", state_code="27")
            document = samples.intra_state(notes=tuple(rest[2:]))
            document = document.model_copy(
                update={
                    "recipient": sample.recipient.model_copy(
                        update={"legal_name": name, "address": address}
                    ),
                }
            )
            pages = pypdf.PdfReader(io.BytesIO(render_pdf(document))).pages
            printed = compact(" ".join(page.extract_text() for page in pages))
            mirrored = any(_DRAWN_OTHERWISE.search(text) for text in mine)
            missing += [text for text in mine if not _stands_in(text, printed, mirrored)]
    finally:
        trap.close()
    assert missing == []
    assert trap.knocks == 0


def _stands_in(text: str, printed: str, mirrored: bool) -> bool:
    """Literally. Beside right-to-left or combining script, every word and every letter of it: a
    PDF holds those in drawing order, where neighbouring signs change places too.

    A PDF names each shape once. Where the shape of a closing bracket was first drawn for an opening
    one, right to left, it is read as that in all the document: brackets tell nothing there.
    """
    special = _DRAWN_OTHERWISE.findall(text)
    if not special:
        found = compact(text) in printed
        alike = mirrored and compact(text).translate(_ONE_WAY) in printed.translate(_ONE_WAY)
        return found or alike
    words = re.findall(r"[A-Za-z0-9]+", text)
    drawn = all(word in printed or word[::-1] in printed for word in words)
    return drawn and set(special) <= set(printed) | {"\u202e"}
