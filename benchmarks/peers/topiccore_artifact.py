"""topiccore itself, with an artifact that the training pipeline made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import topiccore

TITLE = "topiccore"
PACKAGES: tuple[str, ...] = ()
SETTINGS: dict[str, Any] = {}


def train(
    texts: Sequence[str],
    targets: NDArray[np.float32],
    folder: Path,
    report: Callable[[str], None],
) -> None:
    raise NotImplementedError("artifacts come from 'topiccore train'")


def load(folder: Path) -> topiccore.TopicModel:
    return topiccore.load(folder)


def score(model: topiccore.TopicModel, query: str) -> topiccore.Answer:
    return model.score(query)


def score_batch(model: topiccore.TopicModel, queries: Sequence[str]) -> list[topiccore.Answer]:
    return model.score_batch(queries)


def probabilities(model: topiccore.TopicModel, queries: Sequence[str]) -> NDArray[np.float32]:
    found = np.zeros((len(queries), len(model.taxonomy)), np.float32)
    for row, answer in enumerate(model.score_batch(queries, min_score=0)):
        for label in answer:
            found[row, model.taxonomy.index_of(label.code)] = label.score
    return found
