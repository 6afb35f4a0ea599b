"""Which files a folder of this machine holds; what cannot be looked into is told, not left out."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence

MAGIC = re.compile(r"[*?\[]")
"""What makes a name a pattern."""


def files_below(folder: str, hidden: Sequence[str]) -> Iterator[str]:
    """The paths of all files in it and its folders, but for names with these beginnings.

    A link to a folder is not followed, and told as if it were a file.  Raises ``OSError``.
    """
    for entry in _entries(folder):
        if entry.name.startswith(tuple(hidden)):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(entry.path, hidden)
        else:
            yield entry.path


def files_like(folder: str, parts: Sequence[str], hidden: Sequence[str]) -> Iterator[str]:
    """The paths of the files below it that are of a pattern, of which ``parts`` are the names.

    ``**`` is any number of folders.  Raises ``OSError``.
    """
    part, rest = parts[0], parts[1:]
    if part == "**" and not rest:
        yield from filter(_is_file, files_below(folder, hidden))
        return
    if part == "**":
        yield from files_like(folder, rest, hidden)
    for path in _matching(folder, part, hidden):
        if not rest:
            yield from [path] if _is_file(path) else []
        elif stat.S_ISDIR(mode(path)) and not (part == "**" and os.path.islink(path)):
            yield from files_like(path, parts if part == "**" else rest, hidden)


def _matching(folder: str, part: str, hidden: Sequence[str]) -> Iterator[str]:
    if not MAGIC.search(part):
        yield os.path.join(folder, part)
        return
    matches = re.compile(fnmatch.translate(part)).match
    for entry in _entries(folder):
        if matches(entry.name) and not entry.name.startswith(tuple(hidden)):
            yield entry.path


def mode(path: str) -> int:
    """What ``stat`` says of a path, 0 where there is nothing; raises ``OSError``."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _is_file(path: str) -> bool:
    return stat.S_ISREG(mode(path))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)
