"""Per-label thresholds that keep a promised precision.

Calibrated scores make labels comparable, so each level of the taxonomy (topics, subtopics) needs
one cut on the scores; the calibration turns it into one logit threshold per label.  The cuts are
the lowest ones whose precision is shown, at the set confidence, to reach the target: candidates
are tested from the strictest one with enough emissions on, and the first failure ends the search,
which keeps the error of the whole search at that of one test (fixed-sequence testing in Learn then
Test, Angelopoulos et al. 2021, arXiv:2110.01052).  Each test is the betting bound of Waudby-Smith
and Ramdas 2020 (arXiv:2010.09686) on whole queries, because labels of one query are not
independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy
from training.calibration import Calibration
from training.config import ThresholdsConfig
from training.evaluate import with_topics

CANDIDATES = np.round(np.arange(0.99, 0.195, -0.01), 2)
"""Cuts on the score, strictest first."""
LABELS_PER_QUERY = 4
"""A query that emits more labels of a level counts as so many, the wrong ones first."""


@dataclass(frozen=True)
class Thresholds:
    """``logits`` is float32 [labels], +inf for a label that is never emitted.

    ``cuts`` has the score that each level's labels must reach (``inf``: none reaches the target).
    """

    logits: NDArray[np.float32]
    cuts: dict[str, float]


def choose_thresholds(
    logits: NDArray[np.floating[Any]],
    gold: NDArray[np.bool_],
    support: NDArray[np.integer[Any]],
    calibration: Calibration,
    taxonomy: Taxonomy,
    config: ThresholdsConfig,
    seed: int,
) -> Thresholds:
    """Thresholds from logits and gold sets of queries not learned from, both [queries, labels].

    ``support`` [labels] is how many training queries have each label: the evidence its weights
    stand on.
    """
    scores = calibration.scores(logits, taxonomy)
    topics = taxonomy.parents < 0
    values = np.full(len(taxonomy), np.inf)
    known = support >= config.min_support
    cuts: dict[str, float] = {}
    emitted = np.zeros(scores.shape, dtype=bool)
    order = np.random.default_rng(seed).permutation(len(scores))
    # Subtopics first: they bring topics, and that counts when the topics' cut is chosen.
    for level, chosen in (("subtopics", ~topics), ("topics", topics)):
        if not chosen.any():
            continue
        brought = with_topics(emitted, taxonomy)
        cut = _lowest_cut(scores, gold, brought, chosen & known, chosen, config, order)
        cuts[level] = cut
        if not np.isfinite(cut):
            continue
        kept = chosen & known
        values[kept] = calibration.logit_at(cut)[kept]
        emitted |= (scores >= cut) & kept
    return Thresholds(values.astype(np.float32), cuts)


def _lowest_cut(
    scores: NDArray[np.floating[Any]],
    gold: NDArray[np.bool_],
    brought: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    level: NDArray[np.bool_],
    config: ThresholdsConfig,
    order: NDArray[np.int64],
) -> float:
    # ``kept`` labels of the ``level`` may be emitted by their score, all of it may be brought.
    level_scores = np.where(kept, scores, -1)[:, level]
    level_gold, level_brought = gold[:, level], brought[:, level]
    best = float("inf")
    for cut in CANDIDATES:
        reached = (level_scores >= cut) | level_brought
        wrong = (reached & ~level_gold).sum(axis=1)
        size = reached.sum(axis=1)
        # Too few emissions say nothing either way; the search begins below them.
        wrong, size = wrong[order], size[order]
        if not _tells(size, config):
            continue
        if not is_precise(wrong, size, config.precision, config.confidence):
            break
        best = float(cut)
    return best


def _tells(size: NDArray[np.integer[Any]], config: ThresholdsConfig) -> bool:
    # Whether half of the wrong labels allowed, evenly spread, would be shown to be few enough.
    # This asks for the sizes alone, so where the search begins does not hang on what is right.
    half = np.floor(np.cumsum(size) * (1 - config.precision) / 2).astype(np.int64)
    return is_precise(np.diff(half, prepend=0), size, config.precision, config.confidence)


def is_precise(
    wrong: NDArray[np.integer[Any]],
    size: NDArray[np.integer[Any]],
    precision: float,
    confidence: float,
) -> bool:
    """Whether emitted labels are shown to have at least that precision, at that confidence.

    ``wrong`` and ``size`` are how many labels of each query are wrong and emitted.  The queries
    are independent draws, in an order that does not depend on them.
    """
    error = 1 - precision
    # The bettor may have won early and lost again since: what is shown must hold here too.
    if wrong.sum() > error * size.sum():
        return False
    size = np.minimum(size, LABELS_PER_QUERY)
    wrong = np.minimum(wrong, size)
    # In [0, 1], with a mean of at most ``error`` just when wrong / size is at most ``error``.
    values = (wrong - error * size) / LABELS_PER_QUERY + error
    return _betting_p_value(values, error) <= 1 - confidence


def _betting_p_value(values: NDArray[np.floating[Any]], mean: float) -> float:
    # Of "the mean of the values is above ``mean``": 1 / the largest capital of a bettor who wins
    # when values are low.  Stakes are predictable: they use only the values before.
    count = len(values)
    running = (0.5 + np.cumsum(values)) / np.arange(2, count + 2)
    spread = (0.25 + np.cumsum((values - running) ** 2)) / np.arange(2, count + 2)
    before = np.concatenate([[0.25], spread[:-1]])
    stakes = np.minimum(np.sqrt(2 * np.log(1 / 0.05) / (count * before)), 0.75 / (1 - mean))
    capital = np.cumsum(np.log1p(stakes * (mean - values)))
    return float(min(1.0, np.exp(-capital.max())))
