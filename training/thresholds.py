"""Per-label thresholds that keep a promised precision.

Which labels to emit so that the most queries are covered while a share ``precision`` of all
emitted labels is right?  A label whose score is at least ``precision`` raises the precision of the
whole: it is emitted.  A label with a lower score costs precision, so it must be worth it: the best
topic of a query is, since it covers the query, and any further label is not.  So there are two cuts
on the calibrated scores: ``further`` for all labels but the best topic, near the target and set in
advance, and a lower one for the best topic, which is searched for.  Below the target ``further``
emits more subtopics and pays for them with queries: the best topic then has to make up for what
they cost.  The calibration turns the cuts into logit thresholds per label.

The searched cut is the lowest whose precision is shown, at the set confidence, to reach the target:
candidates are tested from the strictest one with enough emissions on, and the first failure ends
the search, which keeps the error of the whole search at that of one test (fixed-sequence testing in
Learn then Test, Angelopoulos et al. 2021, arXiv:2110.01052).  A second sequence, of best topics
alone, is for data on which no further label keeps the target; it has a tenth of the error allowed.
Each test is exact and on whole queries (``training.precision_test``), because labels of one query
are not independent.

The scores tested are cross-fitted: those of a query come from a calibration that has not seen it
(``training.calibration.cross_fitted_scores``), for a calibration flatters the queries it was fitted
on.  What separates the promise from a theorem:

- The calibrations of the parts are tested, that of all queries is shipped.  It has seen more, and
  each of the few numbers it learns leans on all labels or is held back by a prior.
- Queries of one part help to score the others, so the tests' draws are independent only in the
  limit of many queries, for a learner as stable as this (Bayle et al. 2020, arXiv:2007.12671).
- Of a query that emits more than ``MOST_PER_QUERY`` labels only so many count.

tests/test_thresholds.py measures how often calibration, search and shipped model together break the
promise where the truth is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy
from training.calibration import Calibration
from training.config import ThresholdsConfig
from training.context import beside_best
from training.evaluate import with_topics
from training.precision_test import MOST_PER_QUERY, is_precise

CANDIDATES = np.round(np.arange(0.99, 0.1975, -0.005), 3)
"""Cuts on the score, strictest first."""
MIN_VALIDATION = 1
"""A label that fewer validation queries have is never emitted.

Of a label that none has, every emission there is wrong.  More than one is not asked for: a few
queries cannot show how precise a single label is, and the promise is for all labels together.
"""
BEST_TOPIC, FURTHER = "best topic", "further labels"
_ERROR_OF_BEST_TOPICS_ALONE = 0.1


@dataclass(frozen=True)
class Thresholds:
    """``logits`` and ``beside`` are float32 [labels], +inf for a label that is never emitted.

    ``beside`` holds for labels of other topics than the query's best.  ``cuts`` has the score that
    the best topic and that further labels must reach (``inf``: none is emitted).
    """

    logits: NDArray[np.float32]
    beside: NDArray[np.float32]
    cuts: dict[str, float]


def choose_thresholds(
    logits: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    gold: NDArray[np.bool_],
    support: NDArray[np.integer[Any]],
    calibration: Calibration,
    taxonomy: Taxonomy,
    config: ThresholdsConfig,
    seed: int,
) -> Thresholds:
    """Thresholds from queries not learned from.

    ``logits``, ``scores`` and ``gold`` are [queries, labels]; each score is by a calibration that
    has not seen the query.  On them the cuts are chosen; ``calibration``, of all queries, turns
    these into logits.  ``support`` [labels] is how many training queries have each label: the
    evidence its weights stand on.  In ``scores``, too, labels are left out by ``MIN_VALIDATION``,
    and by other queries than the one that is scored: else the choice of labels would flatter.
    """
    order = np.random.default_rng(seed).permutation(len(logits))
    topics = taxonomy.parents < 0
    best = ~beside_best(logits, taxonomy)[order] & topics
    known = (support >= config.min_support) & (gold.sum(axis=0) >= MIN_VALIDATION)
    scores = np.where(known, scores[order], -1)
    gold = gold[order]

    def search(further: float, share: float) -> tuple[float, float]:
        error = (1 - config.confidence) * share
        part = replace(config, confidence=1 - error)
        found = float("inf"), float("inf")
        emissions = []
        for cut in CANDIDATES.tolist():
            cuts = cut, max(cut, further)
            emitted = with_topics(scores >= np.where(best, *cuts), taxonomy)
            wrong = (emitted & ~gold).sum(axis=1)
            emissions.append((cuts, wrong, emitted.sum(axis=1)))
        sizes = [size for _, _, size in emissions]
        limit = labels_per_query(sizes)
        for cuts, wrong, size in emissions[_first_to_tell(sizes, part, limit) :]:
            if not is_precise(wrong, size, part.precision, part.confidence, limit):
                break
            found = cuts
        return found

    chosen = search(config.further, 1 - _ERROR_OF_BEST_TOPICS_ALONE)
    if not np.isfinite(chosen[0]):
        chosen = search(float("inf"), _ERROR_OF_BEST_TOPICS_ALONE)
    thresholds = [
        np.where(known, calibration.logit_at(cut) if np.isfinite(cut) else np.inf, np.inf)
        for cut in chosen
    ]
    return Thresholds(
        np.where(topics, *thresholds).astype(np.float32),
        thresholds[1].astype(np.float32),
        dict(zip((BEST_TOPIC, FURTHER), chosen, strict=True)),
    )


def labels_per_query(sizes: Sequence[NDArray[np.integer[Any]]]) -> int:
    """The most labels that a query of these emissions has, up to ``MOST_PER_QUERY``.

    The fewer labels one query may cost, the sooner something is shown.  What queries emit does not
    tell what is right, so the choice is free.
    """
    largest = max(int(size.max(initial=1)) for size in sizes)
    return min(largest, MOST_PER_QUERY)


def _first_to_tell(
    sizes: Sequence[NDArray[np.integer[Any]]], config: ThresholdsConfig, limit: int
) -> int:
    # Too few emissions say nothing either way, so the search begins where half of the wrong labels
    # allowed, evenly spread, would be shown to be few enough; where there is too little evidence
    # for that, a quarter, or none.  This asks for the sizes alone, so where the search begins does
    # not hang on what is right.
    for share in (0.5, 0.25, 0.0):
        for place, size in enumerate(sizes):
            error = (1 - config.precision) * share
            allowed = np.append(0, np.floor(np.cumsum(size) * error)).astype(np.int64)
            wrong: NDArray[np.int64] = allowed[1:] - allowed[:-1]
            if is_precise(wrong, size, config.precision, config.confidence, limit):
                return place
    return len(sizes)
