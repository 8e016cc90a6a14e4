"""Reading the project's own source for the architecture tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("billing", "ingest_api", "invoicing", "orchestration", "console")


def modules(*packages: str) -> Iterator[tuple[str, Path]]:
    """Every module of the packages, as `(dotted name, file)`."""
    for package in packages or PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def tree(file: Path) -> ast.Module:
    """The file as a syntax tree."""
    return ast.parse(file.read_text(), filename=str(file))


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Every imported module, also inside functions, as `(line, dotted name)`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
