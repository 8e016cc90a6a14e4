"""The import directions of docs/architecture.md, held by a test."""

import pytest

from tests.architecture.source import PACKAGES, imports, modules

MAY_IMPORT = {
    "billing": {"billing"},
    "invoicing": {"invoicing", "billing"},
    "ingest_api": {"ingest_api", "invoicing", "billing"},
    "orchestration": {"orchestration", "invoicing", "billing"},
    "console": {"console", "invoicing", "billing"},
}

FOREIGN_TO = {
    "billing": {"fastapi", "starlette", "dagster", "streamlit", "weasyprint", "stripe", "razorpay"},
    "invoicing": {"fastapi", "starlette", "dagster", "streamlit"},
    "ingest_api": {"dagster", "streamlit", "weasyprint"},
    "orchestration": {"fastapi", "streamlit", "weasyprint"},
    "console": {"fastapi", "dagster", "weasyprint"},
}

PURE = ("billing.money", "billing.periods", "billing.rating", "billing.tax")
IMPURE = ("sqlalchemy", "psycopg", "redis", "billing.db")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    breaches = [
        f"{name}:{line} imports {imported}"
        for name, file in modules(package)
        for line, imported in imports(file)
        if imported.split(".")[0] in PACKAGES and imported.split(".")[0] not in MAY_IMPORT[package]
    ]
    assert not breaches


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_stays_clear_of_frameworks_that_are_not_its_own(package: str) -> None:
    breaches = [
        f"{name}:{line} imports {imported}"
        for name, file in modules(package)
        for line, imported in imports(file)
        if imported.split(".")[0] in FOREIGN_TO[package]
    ]
    assert not breaches


def test_pure_modules_know_no_database() -> None:
    breaches = [
        f"{name}:{line} imports {imported}"
        for name, file in modules("billing")
        if name.startswith(PURE)
        for line, imported in imports(file)
        if imported.startswith(IMPURE)
    ]
    assert not breaches


def test_nothing_imports_the_tests() -> None:
    breaches = [
        f"{name}:{line}"
        for name, file in modules()
        for line, imported in imports(file)
        if imported.split(".")[0] == "tests"
    ]
    assert not breaches
