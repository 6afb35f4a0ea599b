"""Where the artifact is: a directory, a link or file that names one, or a registry folder."""

from __future__ import annotations

import os
from pathlib import Path

from topiccore import ArtifactError
from topiccore.artifact import MANIFEST

CURRENT = ("current", "channels/current")
"""The links, or files with a path, by which a registry folder names the version to serve."""


def find_artifact(path: Path) -> Path:
    """The artifact directory that ``path`` means now, without links.

    Raises ``ArtifactError`` when a registry's ``current``, or another file, names none.
    """
    if path.is_file():
        return _follow(path)
    if not (path / MANIFEST).exists():
        for name in CURRENT:
            if os.path.lexists(path / name):
                return _follow(path / name)
    # The files of one artifact, even when a link is set to another while they are read.
    return path.resolve()


def _follow(current: Path) -> Path:
    if not current.is_file():
        return current.resolve()
    try:
        text = current.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{current}: {error}") from error
    if not text or "\0" in text or "\n" in text:
        raise ArtifactError(f"{current}: is not the path of an artifact")
    return (current.parent / text).resolve()


def signature(path: Path) -> object:
    """A value that changes when the artifact is replaced or a file of it is; raises ``OSError``."""
    folder = find_artifact(path)
    with os.scandir(folder) as entries:
        files = [(entry.name, entry.stat(follow_symlinks=True)) for entry in entries]
    return str(folder), sorted((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in files)
