"""Fuzz target: any bytes as the rows of an artifact of encoding sparse8.  Nothing may crash.

Loading does not look into the cells (that would read all of a mapped file), so the kernel must be
safe with whatever stands there.  ``fuzz/run.py`` runs it.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import atheris
import models
import numpy as np

from topiccore import TopicModel
from topiccore.artifact import Artifact

QUERY = " ".join([*models.WORDS, *models.PAIRS])
BASE: Artifact = models.make()[1].artifact
FEATURES = len(BASE.index.keys)


def check(data: bytes) -> None:
    """The first bytes divide the rest among the features."""
    places = np.frombuffer(data[:FEATURES].ljust(FEATURES, b"\0"), np.uint8).astype(np.int64)
    rest = data[FEATURES:]
    cells = np.frombuffer(rest[: len(rest) // 2 * 2], dtype="<u2").copy()
    ends = np.minimum(np.cumsum(places), len(cells))
    ends[-1] = len(cells)
    entries = np.concatenate([[0], ends]).astype(np.uint32)
    model = TopicModel(replace(BASE, index=replace(BASE.index, entries=entries), rows=cells))
    logits = model.logits([QUERY])
    assert np.array_equal(model.logits([QUERY]), logits, equal_nan=True)
    answer = model.score(QUERY, min_score=0)
    assert len(answer) <= models.LABELS
    model.score(QUERY)


if __name__ == "__main__":
    if not __debug__:
        raise SystemExit("assertions are off")
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
