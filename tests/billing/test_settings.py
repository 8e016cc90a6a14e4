"""Settings and their documentation."""

from pathlib import Path

from billing.settings import Settings

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_pages_for_operators_name_every_setting() -> None:
    described = OPERATIONS.read_text()
    prefix = Settings.model_config.get("env_prefix", "")
    variables = {
        str(field.validation_alias or prefix + name.upper())
        for name, field in Settings.model_fields.items()
    }

    assert {one for one in variables if f"| `{one}` |" not in described} == set()
