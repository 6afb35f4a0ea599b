"""What an unfinished run has done already, kept in its output folder until it is finished.

A hidden folder with the settings of the run and a small file for each output that is complete, or
just about to be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from batch.counts import Counts
from batch.errors import BatchError
from batch.inputs import Input
from batch.outputs import Job
from batch.storage import Location

NAME = ".topiccore-batch"
_SETTINGS = "settings.json"
Marks: TypeAlias = list[list[str] | None]


class Journal:
    """Opened on a folder; continues the run that was interrupted there if it is the same one.

    ``settings`` is all that shapes the outputs.  Raises ``BatchError`` when the folder holds an
    unfinished run with other settings, unless ``overwrite``.
    """

    def __init__(self, folder: Location, settings: Mapping[str, Any], overwrite: bool):
        self._place = folder.child(NAME)
        # As they are when they have been read back.
        self._settings = json.loads(json.dumps(settings))
        self._overwrite = overwrite
        self._begun = False
        if not self._place.exists():
            return
        found = _read(self._place.child(_SETTINGS)) or {}
        if found.get("settings") == self._settings:
            self._begun = True
            self._overwrite = overwrite or found.get("overwrite") is True
        elif found and not overwrite:
            raise BatchError(
                f"{folder} holds an unfinished run with another model or other options; "
                "--overwrite begins anew"
            )

    @property
    def may_replace(self) -> bool:
        """Whether outputs of earlier runs may be replaced."""
        return self._overwrite

    def counts_of(self, job: Job) -> Counts | None:
        """What was counted when the job was done; ``None`` when it is to do (again)."""
        entry = self._entry(job)
        if not entry or job.output is None or not job.output.exists():
            return None
        marks = marks_of(job)
        if None in marks or entry.get("inputs") != marks:
            return None
        if entry.get("size") != job.output.size():
            return None
        try:
            return Counts.from_json(entry["counts"])
        except (KeyError, TypeError, ValueError, AttributeError):
            # Of another version.
            return None

    def is_own(self, job: Job) -> bool:
        """Whether the job's output is of this run, even if of an input since changed."""
        return self._entry(job) is not None

    def announce(self, job: Job) -> None:
        """Notes that the job's output is about to take its name.

        A run that is killed just after that finds its own file there, not one of somebody else.
        """
        self._note(job, {})

    def record(self, job: Job, marks: Marks, counts: Counts) -> None:
        """Notes a job whose output is there; ``marks`` are those of its inputs when it began."""
        if job.output is not None:
            size = job.output.size()
            self._note(job, {"inputs": marks, "size": size, "counts": counts.as_json()})

    def _note(self, job: Job, entry: dict[str, Any]) -> None:
        if not self._begun:
            self._place.remove()
            _write(
                self._place.child(_SETTINGS),
                {"settings": self._settings, "overwrite": self._overwrite},
            )
            self._begun = True
        _write(self._place.child(_name(job)), entry)

    def close(self) -> None:
        """The run is finished: what it leaves are its outputs."""
        self._place.remove()

    def _entry(self, job: Job) -> dict[str, Any] | None:
        return _read(self._place.child(_name(job))) if self._begun else None


def marks_of(job: Job) -> Marks:
    """What changes when an input of the job does, or is read otherwise; raises ``OSError``.

    ``None`` for standard input and pipes: what they give is never known to be the same.
    """
    return [_mark(one) for one in job.inputs]


def _mark(source: Input) -> list[str] | None:
    mark = source.location.mark() if source.location is not None else None
    return mark and [source.format.kind, source.format.compression or "", *mark]


def _name(job: Job) -> str:
    return (
        hashlib.sha256(job.relative.encode("utf-8", "surrogateescape")).hexdigest()[:32] + ".json"
    )


def _write(place: Location, content: dict[str, Any]) -> None:
    with place.create() as stream:
        stream.write(json.dumps(content).encode())


def _read(place: Location) -> dict[str, Any] | None:
    if not place.exists():
        return None
    try:
        found = json.loads(place.read_bytes())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
