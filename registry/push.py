"""Takes an artifact into the registry: written aside, verified there, then moved into place."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import topiccore
from registry import layout
from registry.errors import RegistryError
from registry.files import copy_file, sync_folder, write_json
from registry.people import Author, now
from registry.sharing import make_temporary_folder
from registry.store import Registry
from topiccore import artifact
from topiccore.artifact import ARRAYS, MANIFEST, Artifact
from topiccore.errors import ArtifactError

FILES = (MANIFEST, *(f"{name}.npy" for name in ARRAYS))
_REPORT_KEYS = ("schema", "measured_on", "queries", "traffic", "quality", "sizes", "sums")
"""What is kept of a report; the rest is long, or has queries in it."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: ``state`` is "pushed", "already there" or "repaired"."""

    identity: str
    state: str
    path: Path
    remarks: tuple[str, ...] = ()


def push(
    registry: Registry,
    source: Path,
    author: Author,
    *,
    report: Path | None = None,
    note: str | None = None,
) -> Pushed:
    """Adds the artifact in ``source``, or in the run folder ``source``, as a version.

    A version that is there already stays as it was; one whose files are damaged gets them anew, and
    one without figures of a report those that come now.
    Raises ``ArtifactError`` for an artifact that does not load, and ``RegistryError``.
    """
    folder, found, remarks = _find(source)
    loaded = artifact.load(folder)
    figures = None
    if report is not None or found is not None:
        figures = _read_report(report or found, loaded.id)  # type: ignore[arg-type]
        if figures is None and report is not None:
            raise RegistryError(f"{report}: is the report on another artifact")
        if figures is None:
            remarks += (f"{found}: is the report on another artifact, and was left out",)
    record = {
        "schema": "topiccore-version-1",
        "id": loaded.id,
        "when": now(),
        "who": author.who,
        "host": author.host,
        "note": note,
        "topiccore": topiccore.__version__,
        "report": figures,
    }
    try:
        state = _add(registry, folder, loaded.id, record, author)
        if figures is not None and state != "pushed":
            remarks += _keep_report(registry, loaded.id, figures, author)
    except OSError as error:
        raise RegistryError(f"{registry.root}: cannot take {folder} in: {error}") from error
    return Pushed(loaded.id, state, registry.version_path(loaded.id), remarks)


def _find(source: Path) -> tuple[Path, Path | None, tuple[str, ...]]:
    if not (source / MANIFEST).exists() and (source / "artifact" / MANIFEST).exists():
        report = source / "report.json"
        return (source / "artifact").resolve(), report if report.exists() else None, ()
    return source.resolve(), None, ()


def _read_report(file: Path, identity: str) -> dict[str, Any] | None:
    try:
        content = file.read_bytes()
        found = json.loads(content)
    except (OSError, ValueError) as error:
        raise RegistryError(f"{file}: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("model"), str):
        raise RegistryError(f"{file}: not the report of 'topiccore report'")
    if found["model"] != identity:
        return None
    kept = {key: found.get(key) for key in _REPORT_KEYS}
    return kept | {"sha256": hashlib.sha256(content).hexdigest()}


def _keep_report(
    registry: Registry, identity: str, figures: Mapping[str, Any], author: Author
) -> tuple[str, ...]:
    with registry.locked(author):
        record = registry.record(identity)
        kept = record.get("report")
        if kept is None:
            added = {"when": now(), "who": author.who, "host": author.host}
            record |= {"report": figures, "report_added": added}
            write_json(registry.version_path(identity) / layout.RECORD, record, mode=0o444)
            return ("the report's figures were added to the version that is there",)
    if kept.get("sha256") == figures["sha256"]:
        return ()
    return ("the version that is there has the figures of another report, which were kept",)


def _add(
    registry: Registry, folder: Path, identity: str, record: Mapping[str, Any], author: Author
) -> str:
    place = registry.version_path(identity)
    if place.exists():
        return _refresh(registry, folder, place, author)
    staging = make_temporary_folder(
        registry.root, layout.incoming_folder(registry.root), f"{identity[:12]}-"
    )
    try:
        for name in FILES:
            copy_file(folder / name, staging / name)
        write_json(staging / layout.RECORD, record, mode=0o444)
        # What counts is what was written here; the source may have changed since it was loaded.
        _verify(staging, identity, folder)
        sync_folder(staging)
        with registry.locked(author):
            if not place.exists():
                os.rename(staging, place)
                sync_folder(place.parent)
                return "pushed"
        return _refresh(registry, folder, place, author)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refresh(registry: Registry, folder: Path, place: Path, author: Author) -> str:
    with registry.locked(author):
        if not place.exists():
            raise RegistryError(f"{place}: was deleted while it was pushed; push again")
        # 'gc' spares for an hour what somebody has just pushed.
        with contextlib.suppress(PermissionError):
            os.utime(place)
        try:
            artifact.load(place)
            return "already there"
        except ArtifactError:
            for name in FILES:
                fresh = place / f".{name}.{os.getpid()}"
                try:
                    copy_file(folder / name, fresh)
                    os.replace(fresh, place / name)
                finally:
                    fresh.unlink(missing_ok=True)
            sync_folder(place)
            _verify(place, place.name, folder)
            return "repaired"


def _verify(copy: Path, identity: str, source: Path) -> Artifact:
    try:
        loaded = artifact.load(copy)
    except ArtifactError as error:
        raise RegistryError(f"{source}: its copy is not what was read: {error}") from error
    if loaded.id != identity:
        raise RegistryError(f"{source}: was replaced while it was copied; push again")
    return loaded
