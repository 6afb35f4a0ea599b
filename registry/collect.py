"""Deleting versions that nothing refers to."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registry import history, layout
from registry.errors import RegistryError
from registry.files import sync_folder
from registry.people import Author, seconds_since
from registry.sharing import make_temporary_folder
from registry.store import Registry

SPARED_SECONDS = 3600.0
"""A version pushed in this time is about to be promoted."""


@dataclass(frozen=True, slots=True)
class Collected:
    """Ids and sizes in bytes of what was deleted, or would be; names of unfinished pushes too."""

    versions: dict[str, int]
    unfinished: dict[str, int]
    kept: dict[str, str]
    """Why each of the others stays."""


def collect(
    registry: Registry, author: Author, *, keep: int, force: bool = False, dry_run: bool = False
) -> Collected:
    """Deletes the versions that no channel has or had in its last ``keep`` changes.

    Those pushed within ``SPARED_SECONDS`` stay unless ``force`` is given, and unfinished pushes as
    young stay in any case.
    """
    with registry.locked(author):
        kept = dict(_referred_to(registry, keep))
        for identity in registry.identities():
            if identity not in kept and not force and _age(registry, identity) < SPARED_SECONDS:
                kept[identity] = "pushed within the last hour"
        going = [x for x in registry.identities() if x not in kept]
        sizes = {x: folder_bytes(registry.version_path(x)) for x in going}
        incoming = layout.incoming_folder(registry.root)
        unfinished = {
            place.name: folder_bytes(place)
            for place in sorted(incoming.iterdir())
            if time.time() - place.stat().st_mtime >= SPARED_SECONDS
        }
        if not dry_run:
            try:
                for identity in going:
                    _set_aside(registry, registry.version_path(identity))
                for name in unfinished:
                    shutil.rmtree(incoming / name)
            except OSError as error:
                raise RegistryError(f"{registry.root}: cannot delete: {error}") from error
    return Collected(sizes, unfinished, {x: kept[x] for x in sorted(kept)})


def _referred_to(registry: Registry, keep: int) -> Iterator[tuple[str, str]]:
    folder = layout.history_file(registry.root, layout.CURRENT).parent
    names = {x.stem for x in folder.glob("*.jsonl")} | set(registry.channels())
    channels = registry.channels()
    for name in sorted(names):
        records = history.read_history(registry.root, name)
        changes = [record for record in records if record["action"] != "refused"]
        for record in changes[-keep:] if keep else []:
            for identity in (record["from"], record["to"]):
                if identity is not None:
                    yield identity, f"in the last {keep} changes of {name}"
    for name, identity in channels.items():
        yield identity, f"the version of {name}"


def _age(registry: Registry, identity: str) -> float:
    ages = [time.time() - registry.version_path(identity).stat().st_mtime]
    # A version whose record is damaged is as old as its folder says.
    with contextlib.suppress(RegistryError, ValueError, TypeError):
        ages.append(seconds_since(registry.record(identity)["when"]))
    return min(ages)


def _set_aside(registry: Registry, place: Path) -> None:
    # In one step, so that no reader ever finds a version with half its files.
    aside = make_temporary_folder(
        registry.root, layout.incoming_folder(registry.root), f"{place.name[:12]}-old-"
    )
    os.rename(place, aside / place.name)
    sync_folder(place.parent)
    shutil.rmtree(aside)


def folder_bytes(folder: Path) -> int:
    """The size of a folder's files."""
    return sum(x.stat().st_size for x in folder.rglob("*") if x.is_file())
