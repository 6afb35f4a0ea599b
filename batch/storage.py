"""Files where they are: this machine, or whatever fsspec reaches.

Everything is written aside and then takes its name, so that a file is whole or not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from batch.errors import BatchError

_MARKS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder on a file system; ``str`` is what its user calls it."""

    system: Any
    path: str
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def local(self) -> bool:
        """Whether it is a path of this machine."""
        return isinstance(self.system, LocalFileSystem)

    def open(self) -> pa.NativeFile:
        """An Arrow file to read; raises ``OSError``."""
        if self.local and self.system.isfile(self.path):
            return pa.OSFile(self.path)
        if self.local:  # a pipe or a device, which Arrow opens only as a Python file
            return pa.PythonFile(Path(self.path).open("rb"), mode="r")
        return pa.PythonFile(self.system.open(self.path, "rb"), mode="r")

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        return bool(self.system.exists(self.path))

    def is_folder(self) -> bool:
        """Whether there is a folder."""
        return bool(self.system.isdir(self.path))

    def size(self) -> int:
        """Bytes of the file; raises ``OSError``."""
        return int(self.system.info(self.path)["size"])

    def mark(self) -> list[str]:
        """What changes when the file does: its size and its time or tag."""
        found = self.system.info(self.path)
        stamp = next((str(found[name]) for name in _MARKS if found.get(name) is not None), "")
        return [str(found["size"]), stamp]

    def child(self, name: str) -> Location:
        """A file below this folder."""
        join = self.path.rstrip("/") + "/" + name
        return Location(self.system, join, self.name.rstrip("/") + "/" + name)

    def read_bytes(self) -> bytes:
        """The whole file."""
        return bytes(self.system.cat_file(self.path))

    def remove(self) -> None:
        """Removes the file, or the folder with all that is in it, if it is there."""
        try:
            if self.exists():
                self.system.rm(self.path, recursive=True)
        except OSError as error:
            raise BatchError(f"cannot remove {self}: {reason(error)}") from error

    @contextmanager
    def create(self) -> Iterator[BinaryIO]:
        """A file to write that takes this name when the block succeeds and else is gone.

        Raises ``BatchError`` naming the file when it cannot be written, or is being written by
        another process of this machine.
        """
        folder, _, last = self.path.rpartition("/")
        partial = f"{folder}/.{last}.partial"
        try:
            self.system.makedirs(folder, exist_ok=True)
            with self._local(partial) if self.local else self._remote(partial) as stream:
                yield stream
        except OSError as error:
            raise BatchError(f"cannot write {self}: {reason(error)}") from error

    @contextmanager
    def _local(self, partial: str) -> Iterator[BinaryIO]:
        try:
            with open(partial, "wb", opener=_uncut) as stream:
                if not _locked(stream, partial):
                    raise BatchError(f"{self} is being written by another run")
                stream.truncate(0)
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                os.replace(partial, self.path)
        except BaseException:
            _remove_abandoned(partial)
            raise

    @contextmanager
    def _remote(self, partial: str) -> Iterator[BinaryIO]:
        try:
            with self.system.open(partial, "wb") as stream:
                yield stream
            self.system.mv(partial, self.path)
        finally:
            if self.system.exists(partial):
                self.system.rm_file(partial)


def _remove_abandoned(path: str) -> None:
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        if _locked(stream, path):
            os.unlink(path)


def _uncut(path: str, flags: int) -> int:
    # What another run has written there stays until it is known to be dead.
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def _locked(stream: BinaryIO, path: str) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Before the lock was free, the file may have got its final name.
    return os.path.exists(path) and os.path.samestat(os.fstat(stream.fileno()), os.stat(path))


def locate(name: str) -> Location:
    """The place that a path or URL names; raises ``BatchError`` when nothing here reaches it."""
    try:
        system, path = url_to_fs(name)
    except (ImportError, ValueError) as error:
        raise BatchError(f"{name}: {error}") from error
    return Location(system, path, name)


def reason(error: BaseException) -> str:
    """What went wrong, in the words of the system where it has some."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
