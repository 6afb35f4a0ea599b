"""Which labels are likely wrong: out-of-fold scores of the student, judged by cleanlab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy
from training.labels import LabelledQueries

LIKELY = 0.5
"""Labels that the student gives at least this score are shown as what might be right."""

Fit = Callable[[LabelledQueries], Callable[[list[str]], NDArray[np.floating]]]
"""Learns from queries; what it returns gives scores, [texts, labels] in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A labelled query, how well its labels agree with the student (in [0, 1], low is doubtful),
    the codes it has and those the student would give."""

    text: str
    quality: float
    given: tuple[str, ...]
    likely: tuple[str, ...]


def out_of_fold(
    queries: LabelledQueries, fit: Fit, folds: int, seed: int, report: Callable[[str], None]
) -> NDArray[np.float32]:
    """Scores of each query by a student that has learned from the other folds."""
    order = np.random.default_rng(seed).permutation(len(queries))
    scores = np.zeros(queries.gold.shape, np.float32)
    for number, held in enumerate(np.array_split(order, folds), start=1):
        report(f"doubts: fold {number}/{folds}")
        learned = fit(queries.take(np.setdiff1d(order, held)))
        scores[held] = learned([queries.texts[row] for row in held.tolist()])
    return scores


def find_doubts(
    queries: LabelledQueries, scores: NDArray[np.floating], taxonomy: Taxonomy, count: int
) -> list[Doubt]:
    """The doubtful queries, the worst first, at most ``count``.

    A query is doubtful when cleanlab finds one of its labels, or the lack of one, to be an error
    (confident learning, Northcutt et al. 2021, arXiv:1911.00068, for each label) and the student
    would give others.  The quality of its labels is cleanlab's for multi-label data (Thyagarajan et
    al. 2022, arXiv:2211.13895).
    """
    # Here, because cleanlab is an extra.
    from cleanlab.multilabel_classification import get_label_quality_scores
    from cleanlab.multilabel_classification.filter import find_label_issues

    given = [np.flatnonzero(row).tolist() for row in queries.gold]
    shares = np.asarray(scores, dtype=np.float64)
    quality = get_label_quality_scores(given, shares)
    likely = scores >= LIKELY
    doubtful = find_label_issues(given, shares, n_jobs=1) & (likely != queries.gold).any(axis=1)
    order = np.argsort(quality, kind="stable")
    return [
        Doubt(
            queries.texts[row],
            float(quality[row]),
            _codes(given[row], taxonomy),
            _codes(np.flatnonzero(likely[row]).tolist(), taxonomy),
        )
        for row in order[doubtful[order]][:count].tolist()
    ]


def _codes(places: list[int], taxonomy: Taxonomy) -> tuple[str, ...]:
    # A subtopic brings its topic, so the topic is not shown beside it.
    brought = {int(taxonomy.parents[place]) for place in places}
    return tuple(taxonomy[place].code for place in places if place not in brought)
