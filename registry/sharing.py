"""The permissions of what a registry makes: those of its root folder, for everybody or a group."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path


def file_mode(root: Path) -> int:
    """Of a file that is written again: by the group too, if that may write in the root folder."""
    return 0o664 if _shared(root) else 0o644


def folder_mode(root: Path) -> int:
    """Of a folder; one that a group shares passes that group on to what is made in it."""
    return 0o2775 if _shared(root) else 0o755


def make_folder(root: Path, name: str) -> None:
    """Makes a folder of the root, if it is not there."""
    folder = root / name
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(folder_mode(root))


def make_temporary_folder(root: Path, parent: Path, prefix: str) -> Path:
    """Makes a folder of a new name, which another of the group can delete if this process dies."""
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
    folder.chmod(folder_mode(root))
    return folder


def open_file(root: Path, file: Path, flags: int) -> int:
    """The descriptor of a file, which is made if need be."""
    try:
        return os.open(file, flags)
    except FileNotFoundError:
        mode = file_mode(root)
        descriptor = os.open(file, flags | os.O_CREAT, mode)
        # Another process may have made it meanwhile, and may be of another user.
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, mode)
        return descriptor


def _shared(root: Path) -> bool:
    return bool(root.stat().st_mode & stat.S_IWGRP)
