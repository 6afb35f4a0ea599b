"""Makes an artifact ready to answer: load, check, fetch its pages, have it answer a query."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from service.answer_counts import AnswerCounts
from service.live import WARM_UP_QUERY, LoadedModel, prepare
from service.location import find_artifact
from topiccore import ArtifactError, load
from topiccore.artifact import ARRAYS

_PAGE = 4096


class Counts(Protocol):
    """Counts that end when another artifact takes the place of theirs."""

    def remove(self) -> None:
        """Ends counting."""


def take_up(path: Path, folder: Path | None) -> LoadedModel:
    """Loads the artifact that ``path`` means, checks it, and has it answer a query.

    ``folder`` is where its answers are counted.  Raises ``ArtifactError``.
    """
    model = load(find_artifact(path))
    # Its pages are fetched now, not by the first clients.
    for name in ARRAYS:
        data = model.artifact.array(name).reshape(-1).view(np.uint8)
        int(data[::_PAGE].sum())
    try:
        model.score(WARM_UP_QUERY)
        loaded = prepare(model, None if folder is None else AnswerCounts(folder, model))
    except Exception as error:
        raise ArtifactError(f"{path}: does not answer: {type(error).__name__}: {error}") from error
    if loaded.counts is not None:
        loaded.counts.set_live(True)
    return loaded
