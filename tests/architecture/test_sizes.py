"""Small modules and small functions, so that a reader holds one of them in mind at a time."""

import ast

from tests.architecture.source import modules, tree

MODULE_LINES = 400
FUNCTION_LINES = 70


def test_no_module_outgrows_the_cap() -> None:
    too_long = {
        name: lines
        for name, file in modules()
        if "migrations" not in name and (lines := len(file.read_text().splitlines())) > MODULE_LINES
    }
    assert not too_long


def test_no_function_outgrows_the_cap() -> None:
    too_long = {
        f"{name}.{node.name}": lines
        for name, file in modules()
        if "migrations" not in name
        for node in ast.walk(tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    }
    assert not too_long
