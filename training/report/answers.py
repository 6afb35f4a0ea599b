"""What a model says of labelled queries, found once for all parts of a report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topiccore import TopicModel
from topiccore.taxonomy import Taxonomy
from training.calibration import Calibration
from training.labels import LabelledQueries


@dataclass(frozen=True)
class Answers:
    """``scores`` float32 and ``emitted`` bool, both [queries, labels]; a score is in [0, 1].

    ``tokens`` and ``unknown`` are int64 [queries]: how many tokens a query has, and how many of
    them the model has no row for.
    """

    scores: NDArray[np.float32]
    emitted: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    unknown: NDArray[np.int64]


def answers_of(model: TopicModel, queries: LabelledQueries) -> Answers:
    """The answers of a model, which has the labels of ``queries.gold``."""
    artifact, taxonomy = model.artifact, model.taxonomy
    calibration = Calibration.of(artifact)
    answers = model.score_batch(queries.texts)
    emitted = np.zeros(queries.gold.shape, bool)
    for row, answer in enumerate(answers):
        emitted[row, [taxonomy.index_of(label.code) for label in answer]] = True
    return Answers(
        calibration.scores(model.logits(queries.texts), taxonomy),
        emitted,
        np.array([answer.tokens for answer in answers], np.int64),
        np.array([answer.unknown for answer in answers], np.int64),
    )


def told_codes(row: NDArray[np.bool_], taxonomy: Taxonomy) -> list[str]:
    """The codes of a set of labels, without the topics that a subtopic among them brings."""
    places = np.flatnonzero(row).tolist()
    brought = {int(taxonomy.parents[place]) for place in places}
    return [taxonomy[place].code for place in places if place not in brought]
