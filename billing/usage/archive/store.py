"""Where archives lie: a folder, or a bucket of an S3-compatible service.

An address is a path, or `s3://bucket/prefix`. Credentials, region and endpoint of S3 come from the
usual `AWS_*` environment variables (`AWS_ENDPOINT_URL` for another service than Amazon's).
"""

import os
import secrets
from pathlib import Path
from typing import Final, Protocol

from billing.errors import InvalidError, UnavailableError

_S3: Final = "s3://"


class Store(Protocol):
    """Files by relative path. What is written is durable when `write` returns."""

    address: str

    def write(self, path: str, content: bytes) -> None:
        """Put a file there, whole or not at all."""

    def read(self, path: str) -> bytes:
        """All of a file.

        Raises:
            UnavailableError: if it cannot be read.
        """


def open_store(address: str) -> Store:
    """The place of that address.

    Raises:
        InvalidError: if the address is neither a path nor `s3://…`.
    """
    if address.startswith(_S3):
        return _Bucket(address)
    if "://" in address:
        raise InvalidError(f"{address} is neither a folder nor an address s3://bucket/prefix.")
    return _Folder(Path(address))


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.address = str(self._root)

    def write(self, path: str, content: bytes) -> None:
        target = self._root / path
        try:
            self._put(target, content)
        except OSError as error:
            raise UnavailableError(f"{target} cannot be written: {error.strerror}.") from error

    def _put(self, target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        for folder in (target.parent, *target.parent.relative_to(self._root).parents):
            _sync(self._root / folder)

    def read(self, path: str) -> bytes:
        try:
            return (self._root / path).read_bytes()
        except OSError as error:
            raise UnavailableError(f"The archive cannot be read: {error}") from error


def _sync(folder: Path) -> None:
    """Have the names in a folder on disk, as its files are."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Bucket:
    def __init__(self, address: str) -> None:
        import pyarrow as pa  # noqa: PLC0415 - only where there is S3
        from pyarrow import fs  # noqa: PLC0415

        self.address = address.rstrip("/")
        try:
            self._files, self._root = fs.FileSystem.from_uri(self.address)
        except (pa.ArrowInvalid, OSError) as error:
            raise InvalidError(f"{address} cannot be used: {error}") from None

    def write(self, path: str, content: bytes) -> None:
        try:
            with self._files.open_output_stream(f"{self._root}/{path}") as stream:
                stream.write(content)
        except OSError as error:
            raise UnavailableError(f"{self.address}/{path} cannot be written: {error}") from error

    def read(self, path: str) -> bytes:
        try:
            with self._files.open_input_stream(f"{self._root}/{path}") as stream:
                return bytes(stream.read())
        except OSError as error:
            raise UnavailableError(f"{self.address}/{path} cannot be read: {error}") from error
