"""The table for people and the file for comparisons."""

import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LATENCY = "ms"


@dataclass
class Row:
    """One figure with what it must and should reach."""

    what: str
    measured: float | None
    unit: str
    must: float | None
    aim: float | None
    higher_is_better: bool = False
    spin_ms: float = 0.0
    """The machine's reference before the case; much above the quiet value: disturbed."""
    detail: dict[str, Any] = field(default_factory=dict)

    def reaches(self, wanted: float | None) -> bool:
        """Whether the figure is at least as good."""
        if wanted is None or self.measured is None:
            return wanted is None
        if self.higher_is_better:
            return self.measured >= wanted
        return self.measured <= wanted

    @property
    def verdict(self) -> str:
        """For the last column."""
        if self.measured is None:
            return "not measured"
        if not self.reaches(self.must):
            return "NO"
        return "yes, aim" if self.reaches(self.aim) else "yes"


def print_table(rows: list[Row]) -> None:
    """The figures reached."""
    lines = [("what", "measured", "must", "aim", "pass", "spin")]
    for row in rows:
        sign = "≥" if row.higher_is_better else "≤"
        lines.append(
            (
                row.what,
                "-" if row.measured is None else f"{_number(row.measured)} {row.unit}",
                "" if row.must is None else f"{sign} {_number(row.must)}",
                "" if row.aim is None else f"{sign} {_number(row.aim)}",
                row.verdict,
                f"{row.spin_ms:.0f} ms",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print(" | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def write_json(
    folder: Path, rows: list[Row], about: dict[str, Any], *, name: str = "intake"
) -> Path:
    """Everything, into a file named by the time."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    file = folder / f"{name}-{now:%Y%m%d-%H%M%S}.json"
    told = {
        "at": now.isoformat(),
        "machine": f"{platform.node()} {platform.machine()} {platform.python_version()}",
        **about,
        "rows": [{**asdict(row), "verdict": row.verdict} for row in rows],
    }
    file.write_text(json.dumps(told, indent=2, default=str) + "\n")
    return file
