"""Precision-coverage curves, and a file of curves of scorers that are not in a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy
from training.config import HERE
from training.errors import DataError
from training.evaluate import topic_scores, views
from training.files import replacing
from training.labels import LabelledQueries

CURVES = HERE / "report" / "curves.json"
"""Curves of the teacher and of peers on the test queries of the built-in collections."""
POINTS = 80
Curves = dict[str, dict[str, list[list[float]]]]
"""By view ("all labels", "topics", "subtopics") and weighting ("queries", "traffic"): points
[coverage, precision], coverage ascending."""


def curves(
    scores: NDArray[np.floating[Any]],
    queries: LabelledQueries,
    taxonomy: Taxonomy,
    points: int = POINTS,
) -> Curves:
    """What every cut on the scores [queries, labels] gives, at most ``points`` points a curve."""
    raised = topic_scores(scores, taxonomy)
    weightings = {"queries": np.ones(len(queries)), "traffic": queries.counts.astype(float)}
    return {
        view: {
            name: _curve(raised[:, chosen], queries.gold[:, chosen], weights, points)
            for name, weights in weightings.items()
        }
        for view, chosen in views(taxonomy)
    }


def _curve(
    scores: NDArray[np.floating[Any]],
    gold: NDArray[np.bool_],
    weights: NDArray[np.float64],
    most: int,
) -> list[list[float]]:
    best = np.sort(scores.max(axis=1))[::-1]
    cuts = np.unique(best[np.linspace(0, len(best) - 1, min(most, len(best))).astype(int)])
    points = []
    for cut in cuts[::-1].tolist():
        emitted = scores >= cut
        labels = (emitted.sum(axis=1) * weights).sum()
        right = ((emitted & gold).sum(axis=1) * weights).sum()
        covered = (emitted.any(axis=1) * weights).sum()
        points.append([round(covered / weights.sum(), 4), round(right / labels, 4)])
    return points


def read_curves(path: Path, test_sum: str) -> dict[str, Curves]:
    """The curves of a file by name; none when there is no file, or it is of other test queries.

    Raises ``DataError`` when the file is not such.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["curves"]) if content["test"] == test_sum else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no file of curves: {error!r}") from error


def add_curves(path: Path, test_sum: str, added: Mapping[str, Curves]) -> None:
    """Puts curves into a file, in place of those of the same names."""
    found = {**read_curves(path, test_sum), **added}
    with replacing(path) as partial:
        content = {"test": test_sum, "curves": dict(sorted(found.items()))}
        partial.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
