"""A run's folder: what each stage left, and from which inputs, so that nothing stale is used."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.files import replacing

KEYS_FILE = "stages.json"


class RunFolder:
    """Arrays and JSON files of one run; every file appears whole or not at all."""

    def __init__(self, path: Path):
        self.path = path

    def save_arrays(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Writes ``name.npz``."""
        with replacing(self.path / f"{name}.npz") as partial, partial.open("wb") as stream:
            np.savez(stream, **cast("dict[str, Any]", arrays))

    def load_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Reads ``name.npz``; raises ``TrainingError`` that names the file."""
        file = self.path / f"{name}.npz"
        try:
            # Opened here, because np.load leaves a damaged file open.
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise _unreadable(file, error) from error

    def save_json(self, name: str, content: Any) -> None:
        """Writes ``name.json``."""
        with replacing(self.path / f"{name}.json") as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def load_json(self, name: str) -> Any:
        """Reads ``name.json``; raises ``TrainingError`` that names the file."""
        file = self.path / f"{name}.json"
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _unreadable(file, error) from error

    def key_of(self, stage: str) -> str | None:
        """The key a stage was finished with, ``None`` when it is not finished."""
        return self._keys().get(stage)

    def begin(self, stage: str) -> None:
        """Forgets that a stage was finished: it is about to write its files again."""
        keys = self._keys()
        if keys.pop(stage, None) is not None:
            self._write_keys(keys)

    def finish(self, stage: str, key: str) -> None:
        """Notes that a stage's files are whole, and the key of what they were made from."""
        self._write_keys({**self._keys(), stage: key})

    def _keys(self) -> dict[str, str]:
        file = self.path / KEYS_FILE
        if not file.exists():
            return {}
        try:
            keys = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            keys = None
        # An unreadable note is no note: the stages run again.
        return keys if isinstance(keys, dict) else {}

    def _write_keys(self, keys: dict[str, str]) -> None:
        with replacing(self.path / KEYS_FILE) as partial:
            partial.write_text(json.dumps(keys, indent=1) + "\n", encoding="utf-8")


def _unreadable(file: Path, error: Exception) -> TrainingError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return TrainingError(f"{file}: {reason}; run 'topiccore train --again' to make it anew")


def key_from(*parts: Any) -> str:
    """A key of JSON-able parts: 64 hex digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
