"""The dbt project on an empty database: it builds, its contracts hold, its unit tests pass."""

import json

from tests.support.dbt import DbtProjectRunner


def test_everything_builds_on_an_empty_database_and_every_unit_test_passes(
    dbt: DbtProjectRunner, database_url: str
) -> None:
    dbt.build(database_url, ["fqn:*"], unit_tests=True)

    results = json.loads((dbt.target_dir / "run_results.json").read_text())["results"]
    unit_tests = [row for row in results if row["unique_id"].startswith("unit_test.")]
    assert len(unit_tests) >= 3
    assert {row["status"] for row in unit_tests} == {"pass"}


def test_marts_read_no_staging_model_and_carry_contracts(
    dbt: DbtProjectRunner, database_url: str
) -> None:
    manifest = dbt.parse(database_url)
    marts = [
        node
        for node in manifest.nodes.values()
        if node.resource_type == "model" and node.fqn[1] == "marts"
    ]
    assert marts
    for node in marts:
        assert node.config.contract.enforced, node.name
        staging = [parent for parent in node.depends_on.nodes if ".stg_" in parent]
        assert not staging, f"{node.name} reads {staging}"
