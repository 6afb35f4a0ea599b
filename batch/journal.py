"""What an unfinished run has done already, kept in its output folder until it is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from batch.counts import Counts
from batch.errors import BatchError
from batch.outputs import Job
from batch.storage import Location

NAME = ".topiccore-batch.json"
_VERSION = 1


class Journal:
    """Opened on a folder; continues the run that was interrupted there if it is the same one.

    ``settings`` is all that shapes the outputs.  Raises ``BatchError`` when the folder holds an
    unfinished run with other settings, unless ``overwrite``.
    """

    def __init__(self, folder: Location, settings: Mapping[str, Any], overwrite: bool):
        self._place = folder.child(NAME)
        self._settings = json.loads(json.dumps(settings))
        self._overwrite = overwrite
        self._done: dict[str, dict[str, Any]] = {}
        if not self._place.exists():
            return
        found = self._read()
        if found is not None and found["settings"] == self._settings:
            self._done = found["done"]
            self._overwrite = overwrite or found["overwrite"]
        elif not overwrite:
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
        entry = self._done.get(job.relative)
        if entry is None or job.output is None or not job.output.exists():
            return None
        if entry["inputs"] != marks_of(job) or entry["size"] != job.output.size():
            return None
        return Counts.from_json(entry["counts"])

    def is_own(self, job: Job) -> bool:
        """Whether this run has written the job's output, even if from an input since changed."""
        return job.relative in self._done

    def record(self, job: Job, marks: list[list[str]], counts: Counts) -> None:
        """Notes a job whose output is there; ``marks`` are those of its inputs when it began."""
        if job.output is None:
            return
        self._done[job.relative] = {
            "inputs": marks,
            "size": job.output.size(),
            "counts": counts.as_json(),
        }
        content = {
            "version": _VERSION,
            "settings": self._settings,
            "overwrite": self._overwrite,
            "done": self._done,
        }
        with self._place.create() as stream:
            stream.write(json.dumps(content).encode())

    def close(self) -> None:
        """The run is finished: what it leaves are its outputs."""
        self._place.remove()

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._place.read_bytes())
        except ValueError:
            return None
        return found if isinstance(found, dict) and found.get("version") == _VERSION else None


def marks_of(job: Job) -> list[list[str]]:
    """What changes when an input of the job does; raises ``OSError``."""
    return [[] if one.location is None else one.location.mark() for one in job.inputs]
