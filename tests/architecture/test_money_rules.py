"""No floats near money, and one rounding rule: looked for in the source itself."""

import ast

from tests.architecture.source import modules, tree

ROUNDING_HOME = "billing.money"
FLOATS_ALLOWED = ("billing.stack", "billing.demo", "billing.cli", "console.components.charts")
"""Seconds, coordinates of a picture, and made-up traffic; never an amount."""


def test_no_module_near_money_names_a_float() -> None:
    breaches = [
        f"{name}:{node.lineno}"
        for name, file in modules("billing", "invoicing")
        if not name.startswith(FLOATS_ALLOWED)
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Name) and node.id == "float"
    ]
    assert not breaches


def test_rounding_happens_in_one_place() -> None:
    breaches = [
        f"{name}:{node.lineno}"
        for name, file in modules("billing", "invoicing", "ingest_api")
        if name != ROUNDING_HOME
        for node in ast.walk(tree(file))
        if (isinstance(node, ast.Name) and node.id == "round")
        or (isinstance(node, ast.Attribute) and node.attr == "quantize")
    ]
    assert not breaches
