"""Where dbt finds the database: the environment that `dbt_project/profiles.yml` reads."""

from pathlib import Path
from typing import Final

from sqlalchemy import make_url

PROJECT_DIR: Final = Path(__file__).resolve().parents[2] / "dbt_project"


def dbt_env(database_url: str) -> dict[str, str]:
    """The `DBT_*` variables for a `postgresql://` URL, over TCP or over a socket folder.

    Args:
        database_url: a socket folder stands in `?host=/folder`.
    """
    url = make_url(database_url)
    host = url.host or url.query.get("host", "127.0.0.1")
    port = url.port or url.query.get("port", "5432")
    return {
        "DBT_HOST": str(host),
        "DBT_PORT": str(port),
        "DBT_USER": url.username or "postgres",
        "DBT_PASSWORD": url.password or "",
        "DBT_DBNAME": url.database or "postgres",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
