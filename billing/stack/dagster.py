"""The home of Dagster in the embedded stack: `dagster.yaml` and where its own tables live."""

from pathlib import Path

import psycopg
from sqlalchemy import make_url

SCHEMA = "dagster"

_YAML = """\
# Written by `billing stack` at every start.
telemetry:
  enabled: false
nux:
  enabled: false
storage:
  postgres:
    postgres_url:
      env: DAGSTER_POSTGRES_URL
local_artifact_storage:
  module: dagster._core.storage.root
  class: LocalArtifactStorage
  config:
    base_dir: {home}
compute_logs:
  module: dagster._core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config:
    base_dir: {home}/compute_logs
# a small machine: two runs at a time, each in one process of the code server
run_launcher:
  module: dagster
  class: DefaultRunLauncher
concurrency:
  runs:
    max_concurrent_runs: 2
run_monitoring:
  enabled: true
schedules:
  use_threads: true
  num_workers: 2
sensors:
  use_threads: true
  num_workers: 2
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days: 7
"""


_WORKSPACE = """\
# Written by `billing stack` at every start.
load_from:
  - grpc_server:
      host: {host}
      port: {port}
      # schedules and histories are kept under this name, whatever the port
      location_name: orchestration
"""


def write_home(home: Path, host: str, port: int) -> None:
    """Write `dagster.yaml` and where the definitions are served; Dagster's own files stay."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_YAML.format(home=home))
    workspace_file(home).write_text(_WORKSPACE.format(host=host, port=port))


def workspace_file(home: Path) -> Path:
    """The file that tells the daemon and the web server where the definitions are served."""
    return home / "workspace.yaml"


def ensure_schema(database_url: str) -> None:
    """Create the schema of Dagster's own tables unless it is there."""
    with psycopg.connect(database_url) as connection:
        connection.execute(f"create schema if not exists {SCHEMA}")


def storage_url(database_url: str) -> str:
    """The same database for Dagster: through psycopg2, the driver it is written for."""
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    url = url.update_query_dict({"options": f"-csearch_path={SCHEMA}"})
    return url.render_as_string(hide_password=False)
