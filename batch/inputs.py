"""From what a user names (files, globs, folders, ``-``) to a list of inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from batch import formats
from batch.errors import BatchError
from batch.formats import Format
from batch.storage import Location, locate

STANDARD_INPUT = "-"
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Input:
    """A file to score; ``location`` is ``None`` for standard input.

    ``relative`` is its path below the folder that was named, or its name; ``folder`` is that folder
    when all of its files are inputs.
    """

    location: Location | None
    relative: str
    format: Format
    folder: Location | None = None

    def __str__(self) -> str:
        return "standard input" if self.location is None else str(self.location)


def find_inputs(names: Sequence[str], given: Format | None) -> list[Input]:
    """All files, in the order of the names and sorted below a folder or a glob.

    ``given`` is the format of all of them; else the ending of each tells.  Raises ``BatchError``
    for a name that names nothing, a file of unknown format, and a file that is named twice.
    """
    found: list[Input] = []
    for name in names:
        if name == STANDARD_INPUT:
            found.append(Input(None, "stdin", given or Format("txt")))
            continue
        try:
            place = locate(name)
            folder = place if place.is_folder() else None
            for location, relative in _files(name, place):
                kind = given or formats.of_name(relative)
                if kind is None:
                    instead = f", or choose files ('{name.rstrip('/')}/*.csv')" if folder else ""
                    raise BatchError(
                        f"{location}: its ending tells no format; name one (--from){instead}"
                    )
                found.append(Input(location, relative, kind, folder))
        except OSError as error:
            raise BatchError(f"cannot read {name}: {error.strerror or error}") from error
    seen: set[object] = set()
    for one in found:
        key = None if one.location is None else one.location.identity()
        if key in seen:
            raise BatchError(f"{one} is named twice")
        seen.add(key)
    return found


def _files(name: str, place: Location) -> list[tuple[Location, str]]:
    if place.is_folder():
        paths = [path for path in place.system.find(place.path) if not _hidden(path, place.path)]
        if not paths:
            raise BatchError(f"{name}: the folder holds no file")
        return [(_named(place, name, path, place.path), _below(path, place.path)) for path in paths]
    if place.exists():
        return [(place, place.path.rpartition("/")[2])]
    if _MAGIC.search(place.path):
        fixed = _MAGIC.split(place.path)[0].rpartition("/")[0]
        base = _MAGIC.split(name)[0].rpartition("/")[0]
        paths = sorted(path for path in place.system.glob(place.path) if place.system.isfile(path))
        if not paths:
            raise BatchError(f"{name}: no file is of that pattern")
        return [(_named(place, base, path, fixed), _below(path, fixed)) for path in paths]
    raise BatchError(f"{name}: there is no such file")


def _named(place: Location, base: str, path: str, folder: str) -> Location:
    below = _below(path, folder)
    return Location(place.system, path, f"{base.rstrip('/')}/{below}" if base else below)


def _below(path: str, folder: str) -> str:
    return path[len(folder) :].lstrip("/")


def _hidden(path: str, folder: str) -> bool:
    # What other writers of folders leave beside the data: _SUCCESS, .crc and unfinished files.
    return any(part.startswith((".", "_")) for part in _below(path, folder).split("/"))
