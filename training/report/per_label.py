"""What a model is worth label by label, and why it never emits some labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore import TopicModel
from topiccore.artifact import Artifact
from topiccore.reference import score_at
from training.calibration import calibration_error
from training.dataset import Dataset
from training.labels import LabelledQueries
from training.report.answers import Answers, answers_of
from training.report.intervals import clopper_pearson, ratio, wilson
from training.thresholds import MIN_VALIDATION

ENOUGH = 60
"""Queries with a score of at least 0.05 that a label's calibration error asks for."""
_PER_BIN = 20


def per_label(
    model: TopicModel, data: Dataset, queries: LabelledQueries, answers: Answers
) -> list[dict[str, Any]]:
    """A dictionary for each label, in the order of the taxonomy.

    ``train`` and ``validation`` are ``None`` where the data has no such queries; a figure is
    ``None`` where it would be one of nothing (or, for ``calibration_error``, of too little).
    ``on_validation`` is what the thresholds give on the queries they were chosen on, ``None``
    without such queries.
    """
    artifact = model.artifact
    settings = dict(artifact.training).get("settings", {})
    least = settings.get("thresholds", {}).get("min_support", 0)
    beside = artifact.array("beside")
    validation = _on_validation(model, data, queries, answers)
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
                "on_validation": validation[place],
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
                "never": _why(support, _support(data.validation, place), least) if never else None,
            }
        )
    return rows


def below_target(rows: list[dict[str, Any]], target: float) -> list[str]:
    """The codes of labels whose precision on validation queries is shown to be below ``target``.

    Shown: the upper end of the 95 % interval is below it.
    """
    return [
        row["code"]
        for row in rows
        if row["on_validation"] and row["on_validation"]["interval"][1] < target
    ]


def _on_validation(
    model: TopicModel, data: Dataset, queries: LabelledQueries, answers: Answers
) -> list[dict[str, Any] | None]:
    if not len(data.validation):
        return [None] * len(model.taxonomy)
    if queries is not data.validation:
        answers = answers_of(model, data.validation)
    told = answers.emitted.sum(axis=0).tolist()
    right = (answers.emitted & data.validation.gold).sum(axis=0).tolist()
    return [
        {
            "emitted": of,
            "right": part,
            "precision": ratio(part, of),
            "interval": [round(x, 4) for x in clopper_pearson(part, of)],
        }
        for part, of in zip(right, told, strict=True)
    ]


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
    return round(score_at(artifact, place, float(logit)), 4)


def _why(support: int | None, validation: int | None, least: int) -> str:
    if support is not None and support < least:
        return f"{support} training queries, {least} are asked for"
    if support is None:
        return "the model has no threshold for it"
    if validation is not None and validation < MIN_VALIDATION:
        return "no validation query has it, so nothing shows that it is ever right"
    return "no cut is shown to keep the precision"
