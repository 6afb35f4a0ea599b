"""How quality is measured: precision and coverage of what is emitted.

With G a query's gold set and E what is emitted for it (a subtopic brings its topic):
precision = sum |E and G| / sum |E| over all queries, coverage = share of queries with E not empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class Quality:
    """Shares in [0, 1]; ``labels`` is emitted labels per query; precision is 1 of nothing."""

    precision: float
    coverage: float
    labels: float


@dataclass(frozen=True, slots=True)
class CutQuality:
    """The largest ``coverage`` any single ``cut`` on the scores reaches at a precision."""

    coverage: float
    cut: float


def with_topics(emitted: NDArray[np.bool_], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """bool [queries, labels]: emitted labels, and the topics that emitted subtopics bring."""
    complete = emitted.copy()
    for place, parent in enumerate(taxonomy.parents.tolist()):
        if parent >= 0:
            complete[:, parent] |= emitted[:, place]
    return complete


def topic_scores(scores: NDArray[np.floating], taxonomy: Taxonomy) -> NDArray[np.floating]:
    """Scores in which a topic has at least the score of its best subtopic (a copy)."""
    raised = scores.copy()
    for place, parent in enumerate(taxonomy.parents.tolist()):
        if parent >= 0:
            np.maximum(raised[:, parent], raised[:, place], out=raised[:, parent])
    return raised


def quality(
    emitted: NDArray[np.bool_],
    gold: NDArray[np.bool_],
    weights: NDArray[np.number] | None = None,
) -> Quality:
    """Quality of emitted sets, bool [queries, labels], queries weighted (for example by count)."""
    weights = np.ones(len(gold)) if weights is None else np.asarray(weights, dtype=float)
    size = emitted.sum(axis=1)
    right = (emitted & gold).sum(axis=1)
    total = float(weights @ size)
    return Quality(
        precision=float(weights @ right) / total if total else 1.0,
        coverage=float(weights @ (size > 0)) / float(weights.sum()),
        labels=total / float(weights.sum()),
    )


def coverage_at_precision(
    scores: NDArray[np.floating],
    gold: NDArray[np.bool_],
    precision: float = 0.9,
    weights: NDArray[np.number] | None = None,
) -> CutQuality:
    """The largest coverage any single cut on ``scores`` reaches with at least that precision.

    ``scores`` and ``gold`` are [queries, labels]; raise topics to their subtopics' scores first
    (``topic_scores``).  A cut emits every score that is at least it; ties stand or fall together.
    """
    weights = np.ones(len(gold)) if weights is None else np.asarray(weights, dtype=float)
    flat = scores.ravel()
    order = np.argsort(-flat, kind="stable")
    ranked = flat[order]
    weight = np.repeat(weights, scores.shape[1])[order]
    right = np.cumsum(weight * gold.ravel()[order])
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    good = np.flatnonzero((right >= precision * np.cumsum(weight)) & last_of_tie)
    if not len(good):
        return CutQuality(coverage=0.0, cut=float("inf"))
    cut = ranked[good[-1]]
    covered = scores.max(axis=1) >= cut
    return CutQuality(float(weights @ covered) / float(weights.sum()), float(cut))


def views(taxonomy: Taxonomy) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The label sets quality is reported over: all, topics alone, subtopics alone."""
    topics = taxonomy.parents < 0
    yield "all labels", np.ones(len(taxonomy), dtype=bool)
    yield "topics", topics
    if not topics.all():
        yield "subtopics", ~topics
