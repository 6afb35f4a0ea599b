"""The lock under which a registry changes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from registry.errors import ConflictError, RegistryError
from registry.people import Author
from registry.sharing import open_file

WAIT_SECONDS = 30.0
"""How long a change waits for another that is under way; one takes milliseconds."""
_GLANCE_SECONDS = 0.02


@contextlib.contextmanager
def locked(file: Path, author: Author, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Holds the lock of a file; the kernel gives it back when the process ends, however it ends.

    Raises ``ConflictError`` that names the holder after ``wait`` seconds.
    """
    try:
        descriptor = open_file(file.parent, file, os.O_RDWR)
    except OSError as error:
        raise RegistryError(f"{file}: cannot be opened: {error.strerror}") from error
    try:
        _take(descriptor, file, wait)
        text = f"{author.who} on {author.host}, process {os.getpid()}\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, file: Path, wait: float) -> None:
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
                raise ConflictError(
                    f"{file}: held for {wait:.0f} s by {holder or 'someone'}; nothing was changed"
                ) from None
        time.sleep(_GLANCE_SECONDS)
