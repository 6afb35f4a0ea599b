"""Files where they are: this machine, or whatever fsspec reaches.

Everything is written aside and then takes its name, so that a file is whole or not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from batch.errors import BatchError
from batch.local_folders import mode
from topiccore.errors import TopiccoreError

PARTIAL = ".partial"
"""So end the hidden names of unfinished files."""
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

    def identity(self) -> tuple[Any, str]:
        """What two names of one place share, whether it is there or not."""
        return ("", os.path.realpath(self.path)) if self.local else (self.system, self.path)

    def identities(self) -> set[tuple[Any, Any]]:
        """The identity and, of a file of this machine, what its other names share besides."""
        found: set[tuple[Any, Any]] = {self.identity()}
        if self.local:
            with contextlib.suppress(OSError):
                status = os.stat(self.path)
                found.add((status.st_dev, status.st_ino))
        return found

    def lies_in(self, folder: Location) -> bool:
        """Whether it is the folder, or below it."""
        system, path = self.identity()
        other, root = folder.identity()
        return bool(system == other) and f"{path}/".startswith(f"{root.rstrip('/')}/")

    def open(self) -> pa.NativeFile:
        """An Arrow file to read; raises ``OSError``."""
        if self.local and self.is_regular():
            return pa.OSFile(os.fsencode(self.path))
        if self.local:  # a pipe or a device, which Arrow opens only as a Python file
            return pa.PythonFile(Path(self.path).open("rb"), mode="r")
        with foreign_errors(self):
            return pa.PythonFile(self.system.open(self.path, "rb"), mode="r")

    def exists(self) -> bool:
        """Whether there is a file or folder; raises ``BatchError`` when that cannot be told."""
        return self._is(bool, "exists")

    def is_folder(self) -> bool:
        """Whether there is a folder; raises ``BatchError`` when that cannot be told."""
        return self._is(stat.S_ISDIR, "isdir")

    def is_regular(self) -> bool:
        """Whether there is a file that is no folder, pipe or device; raises ``BatchError``."""
        return self._is(stat.S_ISREG, "isfile")

    def _is(self, kind: Callable[[int], bool], question: str) -> bool:
        # ``kind`` judges the mode of a file of this machine; a store is asked the question.
        with self._told("read"):
            if self.local:
                return kind(mode(self.path))
            return bool(getattr(self.system, question)(self.path))

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            with foreign_errors(self):
                yield
        except OSError as error:
            raise BatchError(f"cannot {what} {self}: {reason(error)}") from error

    def size(self) -> int:
        """Bytes of the file; raises ``OSError``."""
        with foreign_errors(self):
            return int(self.system.info(self.path)["size"])

    def mark(self) -> list[str] | None:
        """What changes when the file does: its place, size and time or tag; raises ``OSError``.

        ``None`` for what is no regular file.
        """
        if self.local:
            status = os.stat(self.path)
            if not stat.S_ISREG(status.st_mode):
                return None
            return [self.identity()[1], str(status.st_size), str(status.st_mtime_ns)]
        with foreign_errors(self):
            found = self.system.info(self.path)
        if found.get("type") != "file":
            return None
        stamp = next((str(found[name]) for name in _MARKS if found.get(name) is not None), "")
        return [self.path, str(found["size"]), stamp]

    def child(self, name: str) -> Location:
        """A file below this folder."""
        join = self.path.rstrip("/") + "/" + name
        return Location(self.system, join, self.name.rstrip("/") + "/" + name)

    def read_bytes(self) -> bytes:
        """The whole file."""
        with self._told("read"):
            return bytes(self.system.cat_file(self.path))

    def remove(self) -> None:
        """Removes the file, or the folder with all that is in it, if it is there."""
        with self._told("remove"):
            if self.exists():
                self.system.rm(self.path, recursive=True)

    def check_creation(self) -> None:
        """Raises ``BatchError`` when ``create`` would; leaves nothing."""
        with contextlib.suppress(_Enough), self.create():
            raise _Enough

    @contextmanager
    def create(self) -> Iterator[BinaryIO]:
        """A file to write that takes this name when the block succeeds and else is gone.

        Raises ``BatchError`` naming the file when it cannot be written, or is being written by
        another process of this machine.
        """
        folder, _, last = self.path.rpartition("/")
        partial = f"{folder}/.{last}{PARTIAL}"
        with (
            self._told("write"),
            self._local(partial) if self.local else self._remote(partial) as stream,
        ):
            yield stream

    @contextmanager
    def _local(self, partial: str) -> Iterator[BinaryIO]:
        with _made(os.path.dirname(partial)):
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
                remove_abandoned(partial)
                raise

    @contextmanager
    def _remote(self, partial: str) -> Iterator[BinaryIO]:
        self.system.makedirs(partial.rpartition("/")[0], exist_ok=True)
        try:
            with self.system.open(partial, "wb") as stream:
                yield stream
            self.system.mv(partial, self.path)
        finally:
            if self.system.exists(partial):
                self.system.rm_file(partial)


class _Enough(Exception):  # noqa: N818
    """A file is not to be written after all."""


@contextmanager
def _made(folder: str) -> Iterator[None]:
    """The folder is there; if it was not and the block fails, it is gone again."""
    missing = []
    above = folder
    while not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    try:
        os.makedirs(folder, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in missing:
                os.rmdir(path)
        raise


def remove_abandoned(path: str) -> None:
    """Removes an unfinished file of this machine, unless a run is writing it."""
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
    if "://" not in name:
        # A name with :: is a chain of stores to fsspec.
        system = LocalFileSystem()
        return Location(system, system._strip_protocol(name), name)
    try:
        system, path = url_to_fs(name)
    except Exception as error:
        raise BatchError(f"{name}: {reason(error)}") from error
    return Location(system, path, name)


@contextmanager
def foreign_errors(place: Location | None) -> Iterator[None]:
    """What the package of a store raises, whatever it is, becomes an ``OSError``."""
    try:
        yield
    except (OSError, TopiccoreError, _Enough):
        raise
    except Exception as error:
        if place is None or place.local:
            raise
        raise OSError(reason(error)) from error


def reason(error: BaseException) -> str:
    """What went wrong, in the words of the system where it has some."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
