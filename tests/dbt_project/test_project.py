"""The dbt project on an empty database: it builds, its contracts hold, its unit tests pass."""

from tests.support.dbt import DbtProjectRunner


def test_everything_builds_on_an_empty_database_and_every_unit_test_passes(
    dbt: DbtProjectRunner, database_url: str
) -> None:
    results = dbt.build(database_url, ["fqn:*"], unit_tests=True)

    unit_tests = [status for name, status in results.items() if name.startswith("unit_test.")]
    assert len(unit_tests) >= 3
    assert set(unit_tests) == {"pass"}


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
