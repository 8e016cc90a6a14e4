"""How commands speak: results on standard output, complaints on standard error."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def complain(sentence: str, details: Sequence[str] = ()) -> None:
    """Say what went wrong, and each wrong field on a line of its own."""
    err.print(Text(sentence, style="bold red"), soft_wrap=True)
    for detail in details:
        err.print(Text(f"  {detail}"), soft_wrap=True)
