"""A place that is looked at again and again: whether what is there has changed, for good."""

from __future__ import annotations

import os
from pathlib import Path

from service.location import signature
from topiccore import ArtifactError

_ABSENT = "absent"


class Watched:
    """The signature of an artifact's place when it was last taken up, and when last looked at.

    Args:
        path: as ``location.find_artifact`` takes it.
        optional: that nothing is there any more is a change as well.
    """

    def __init__(self, path: Path, *, optional: bool = False):
        self._path = path
        self._optional = optional
        self._taken = self._signature()
        self._steady = self._taken

    @property
    def empty(self) -> bool:
        """Whether nothing was there when it was last taken up; told only if it is optional."""
        return self._taken == _ABSENT

    def take(self) -> None:
        """Remembers what is there now as taken up, or refused: until it changes again."""
        self._taken = self._signature()

    def changed(self) -> bool:
        """Whether there is a change since ``take`` that has lasted since the last call."""
        found = self._signature()
        steady, self._steady = self._steady, found
        # None: it is just being replaced.
        return found is not None and found != self._taken and found == steady

    def _signature(self) -> object:
        if self._optional and not os.path.lexists(self._path):
            return _ABSENT
        try:
            return signature(self._path)
        except (OSError, ArtifactError):
            return None
