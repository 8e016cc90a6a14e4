"""docker-compose.yml fits the code it starts; no container engine is needed to see that."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from billing.cli.main import app
from billing.stack.doctor_servers import REDIS_MUST

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


def test_every_dependency_is_a_service_that_can_meet_the_condition() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES, name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], f"{name} waits for {needed}"


def test_every_volume_is_declared() -> None:
    used = {
        mount.partition(":")[0] for one in SERVICES.values() for mount in one.get("volumes", [])
    }
    assert used == set(COMPOSE["volumes"])


def test_redis_neither_loses_a_write_nor_evicts() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    for name, value in REDIS_MUST.items():
        assert f"--{name} {value}" in command


@pytest.mark.parametrize("name", OURS)
def test_our_modules_are_the_ones_the_commands_name(name: str) -> None:
    words = SERVICES[name]["command"]
    ours = re.findall(
        r"\b((?:ingest_api|orchestration|console)[./][\w./]+?)(?:\.py)?(?::|\s|$)", " ".join(words)
    )
    for module in ours:
        file = ROOT / module.replace(".", "/")
        assert file.with_suffix(".py").exists() or (file / "__init__.py").exists(), module


@pytest.mark.parametrize("arguments", [["migrate"], ["dagster-home"], ["writer"], ["doctor"]])
def test_the_commands_containers_run_exist(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0


def test_every_variable_of_the_compose_file_is_explained() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert used <= set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
