"""Quality by kinds of queries: by their length, and by how much of them the model knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.labels import LabelledQueries
from training.report.answers import Answers
from training.report.intervals import ratio, wilson

LENGTHS = ("0", "1", "2", "3", "4", "5", "6 or more")
UNKNOWN = ("none", "up to a third", "up to a half", "more than half")


def by_length(queries: LabelledQueries, answers: Answers) -> list[dict[str, Any]]:
    """Figures by the number of tokens."""
    return _figures(queries, answers, np.minimum(answers.tokens, len(LENGTHS) - 1), LENGTHS)


def by_unknown_tokens(queries: LabelledQueries, answers: Answers) -> list[dict[str, Any]]:
    """Figures by the share of tokens that the model has no row for."""
    # Whole numbers, because a third is none of a float's.
    known_third = 3 * answers.unknown > answers.tokens
    known_half = 2 * answers.unknown > answers.tokens
    group = (answers.unknown > 0).astype(int) + known_third + known_half
    return _figures(queries, answers, group, UNKNOWN)


def _figures(
    queries: LabelledQueries, answers: Answers, group: NDArray[np.int64], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    rows = []
    for number, name in enumerate(names):
        chosen = group == number
        if not chosen.any():
            continue
        emitted, weights = answers.emitted[chosen], queries.counts[chosen]
        covered = emitted.any(axis=1)
        told = int(emitted.sum())
        right = int((emitted & queries.gold[chosen]).sum())
        rows.append(
            {
                "group": name,
                "queries": int(chosen.sum()),
                "coverage": ratio(int(covered.sum()), int(chosen.sum())),
                "traffic_coverage": ratio(int(weights[covered].sum()), int(weights.sum())),
                "precision": ratio(right, told),
                "interval": [round(x, 4) for x in wilson(right, told)],
            }
        )
    return rows
