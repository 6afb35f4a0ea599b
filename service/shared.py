"""The folder that the processes of one server share, and the word by which they are called."""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import tempfile
from pathlib import Path

from topiccore import TopiccoreError

PLACE_VARIABLE = "TOPICCORE_MEMORY_FOLDER"
"""Where the folder is made, if not in ``/dev/shm`` or else among temporary files."""
FOLDER_VARIABLE = "TOPICCORE_SHARED_FOLDER"
_PREFIX = "topiccore-"
_FILE = "control"
_PATH = 16
_SIZE = 4096 + _PATH


def make_folder() -> tuple[Path, Control]:
    """A new folder, in memory where the system has such a place, and its control.

    What servers that were killed have left is removed.  Raises ``TopiccoreError`` where the place
    that ``TOPICCORE_MEMORY_FOLDER`` names cannot be written.
    """
    place = _place()
    for old in place.glob(f"{_PREFIX}*"):
        if _abandoned(old / _FILE):
            remove_folder(old)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    hidden = folder / "new"
    with hidden.open("x+b") as file:
        # The map keeps the lock, as long as this process or one forked from it lives.
        fcntl.flock(file, fcntl.LOCK_EX)
        os.posix_fallocate(file.fileno(), 0, _SIZE)
        control = Control(mmap.mmap(file.fileno(), _SIZE))
        hidden.rename(folder / _FILE)
    return folder, control


def remove_folder(folder: Path) -> None:
    """Removes the folder with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)


def open_control(folder: Path) -> Control:
    """The control of a folder that another process has made."""
    with (folder / _FILE).open("r+b") as file:
        return Control(mmap.mmap(file.fileno(), _SIZE))


def _place() -> Path:
    wanted = os.environ.get(PLACE_VARIABLE)
    if wanted:
        if not os.access(wanted, os.W_OK | os.X_OK) or not os.path.isdir(wanted):
            raise TopiccoreError(
                f"{PLACE_VARIABLE} is {wanted!r}, not a folder that can be written"
            )
        return Path(wanted)
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK):
        return memory
    return Path(tempfile.gettempdir())


def _abandoned(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_uid != os.getuid():
                return False
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Control:
    """Shared memory by which the main process calls the workers to look for a new artifact."""

    def __init__(self, memory: mmap.mmap):
        self._map = memory

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
