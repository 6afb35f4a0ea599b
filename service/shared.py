"""The folder that the processes of one server share, and the word by which they are called."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path

FOLDER_VARIABLE = "TOPICCORE_SHARED_FOLDER"
_FILE = "control"
_PATH = 16
_SIZE = 4096 + _PATH


def make_folder() -> Path:
    """A new folder, in memory where the system has such a place."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    folder = Path(tempfile.mkdtemp(prefix="topiccore-", dir=memory if usable else None))
    with (folder / _FILE).open("xb") as file:
        os.posix_fallocate(file.fileno(), 0, _SIZE)
    return folder


def remove_folder(folder: Path) -> None:
    """Removes the folder with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)


class Control:
    """Shared memory by which the main process calls the workers to look for a new artifact."""

    def __init__(self, folder: Path):
        with (folder / _FILE).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)

    def call(self) -> None:
        """Makes every worker look, at its next glance."""
        self._map[:8] = (self.calls() + 1).to_bytes(8, "little")

    def calls(self) -> int:
        """How often there was a call."""
        return int.from_bytes(self._map[:8], "little")

    @property
    def last_good(self) -> Path | None:
        """The artifact that a worker loaded last; ``None`` as long as none has."""
        length = int.from_bytes(self._map[8:_PATH], "little")
        return Path(os.fsdecode(self._map[_PATH : _PATH + length])) if length else None

    @last_good.setter
    def last_good(self, path: Path) -> None:
        data = os.fsencode(path)
        if len(data) <= _SIZE - _PATH:
            self._map[_PATH : _PATH + len(data)] = data
            self._map[8:_PATH] = len(data).to_bytes(8, "little")
