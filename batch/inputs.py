"""From what a user names (files, globs, folders, ``-``) to a list of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batch import formats
from batch.errors import BatchError
from batch.formats import Format
from batch.local_folders import MAGIC, files_below, files_like
from batch.storage import Location, foreign_errors, locate, reason

STANDARD_INPUT = "-"
_UNFINISHED = (".", "_")
"""So begins what other writers leave beside the data: _SUCCESS, .crc and unfinished files."""


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
        place = locate(name)
        try:
            folder = place if place.is_folder() else None
            with foreign_errors(place):
                files = _files(name, place)
            for location, relative in files:
                kind = given or formats.of_name(relative)
                if kind is None:
                    instead = f", or choose files ('{name.rstrip('/')}/*.csv')" if folder else ""
                    raise BatchError(
                        f"{location}: its ending tells no format; name one (--from){instead}"
                    )
                found.append(Input(location, relative, kind, folder))
        except OSError as error:
            within = error.filename not in (None, place.path)
            where = f"{error.filename}, in {name}" if within else name
            raise BatchError(f"cannot read {where}: {reason(error)}") from error
    seen: dict[object, Input] = {}
    for one in found:
        other = seen.setdefault(one.location and one.location.identity(), one)
        if other is not one:
            told = "" if str(other) == str(one) else f": it is {other}"
            raise BatchError(f"{one} is named twice{told}")
    return found


def _files(name: str, place: Location) -> list[tuple[Location, str]]:
    if place.is_folder():
        paths = _paths_below(place)
        if not paths:
            raise BatchError(f"{name}: the folder holds no file")
        return [(_named(place, name, path, place.path), _below(path, place.path)) for path in paths]
    if place.exists():
        return [(place, place.path.rpartition("/")[2])]
    if MAGIC.search(place.path):
        fixed = MAGIC.split(place.path)[0].rpartition("/")[0]
        base = MAGIC.split(name)[0].rpartition("/")[0]
        paths = _paths_like(place, fixed)
        if not paths:
            raise BatchError(f"{name}: no file is of that pattern")
        return [(_named(place, base, path, fixed), _below(path, fixed)) for path in paths]
    raise BatchError(f"{name}: there is no such file")


def _paths_below(place: Location) -> list[str]:
    if place.local:
        return sorted(files_below(place.path, _UNFINISHED))
    found = place.system.find(place.path)
    return [path for path in found if not _begins(_below(path, place.path), _UNFINISHED)]


def _paths_like(place: Location, fixed: str) -> list[str]:
    pattern = _below(place.path, fixed)
    hidden = () if _begins(pattern, (".",)) else (".",)
    if place.local:
        return sorted({*files_like(fixed or "/", pattern.split("/"), hidden)})
    found = sorted(path for path in place.system.glob(place.path) if place.system.isfile(path))
    return [path for path in found if not _begins(_below(path, fixed), hidden)]


def _named(place: Location, base: str, path: str, folder: str) -> Location:
    below = _below(path, folder)
    return Location(place.system, path, f"{base.rstrip('/')}/{below}" if base else below)


def _below(path: str, folder: str) -> str:
    return path[len(folder) :].lstrip("/")


def _begins(path: str, beginnings: tuple[str, ...]) -> bool:
    """Whether a name in the path has one of these beginnings."""
    return any(part.startswith(beginnings) for part in path.split("/"))
