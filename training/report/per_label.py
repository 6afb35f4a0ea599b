"""What a model is worth label by label, and why it never emits some labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore import TopicModel
from topiccore.artifact import Artifact
from training.calibration import calibration_error
from training.dataset import Dataset
from training.labels import LabelledQueries
from training.report.answers import Answers
from training.report.intervals import ratio, wilson

ENOUGH = 60
"""Queries with a score of at least 0.05 that a label's calibration error asks for."""
_PER_BIN = 20


def per_label(
    model: TopicModel, data: Dataset, queries: LabelledQueries, answers: Answers
) -> list[dict[str, Any]]:
    """A dictionary for each label, in the order of the taxonomy.

    ``train`` and ``validation`` are ``None`` where the data has no such queries; a figure is
    ``None`` where it would be one of nothing (or, for ``calibration_error``, of too little).
    """
    artifact = model.artifact
    settings = dict(artifact.training).get("settings", {})
    least = settings.get("thresholds", {}).get("min_support", 0)
    beside = artifact.array("beside")
    rows = []
    for place, label in enumerate(model.taxonomy):
        emitted, gold = answers.emitted[:, place], queries.gold[:, place]
        right, told, wanted = (int(x.sum()) for x in (emitted & gold, emitted, gold))
        scores = answers.scores[:, place]
        support = _support(data.train, place)
        never = bool(np.isposinf(artifact.thresholds[place]))
        rows.append(
            {
                "code": label.code,
                "train": support,
                "validation": _support(data.validation, place),
                "gold": wanted,
                "emitted": told,
                "right": right,
                "precision": ratio(right, told),
                "interval": [round(x, 4) for x in wilson(right, told)],
                "recall": ratio(right, wanted),
                "f1": ratio(2 * right, told + wanted),
                "mean_score": round(float(scores[emitted].mean()), 4) if told else None,
                "calibration_error": _calibration_error(scores, gold),
                "threshold": _score_at(artifact, place, artifact.thresholds[place]),
                "threshold_beside": _score_at(artifact, place, beside[place]),
                "never": _why(support, least) if never else None,
            }
        )
    return rows


def _support(queries: LabelledQueries, place: int) -> int | None:
    return int(queries.gold[:, place].sum()) if len(queries) else None


def _calibration_error(scores: NDArray[np.float32], gold: NDArray[np.bool_]) -> float | None:
    count = int((scores >= 0.05).sum())
    if count < ENOUGH:
        return None
    return round(calibration_error(scores[:, None], gold[:, None], min(15, count // _PER_BIN)), 4)


def _score_at(artifact: Artifact, place: int, logit: np.float32) -> float | None:
    if np.isposinf(logit):
        return None
    value = float(artifact.slopes[place]) * float(logit) + float(artifact.intercepts[place])
    return round(float(1 / (1 + np.exp(-np.clip(value, -50, 50)))), 4)


def _why(support: int | None, least: int) -> str:
    if support is not None and support < least:
        return f"{support} training queries, {least} are asked for"
    if support is None:
        return "the model has no threshold for it"
    return "no cut is shown to keep the precision"
