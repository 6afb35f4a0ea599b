"""How long two models take over the same queries, measured in turns in one process."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topiccore import TopicModel

_MOST_QUERIES = 2000
_ROUND_SECONDS = 0.01
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Bounds:
    """``ratio``: the largest of the new model's time to the old one's."""

    ratio: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Seconds per query (medians of the rounds); the median ratio with its 95 % interval."""

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    failed: bool


def score_alternately(
    model: TopicModel, other: TopicModel, texts: Sequence[str], rounds: int, seed: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds per query of both models, float64 [rounds] each; one query a call, as in serving.

    In each round both score the same queries right after one another, in an order drawn anew: what
    else the machine does falls on both.
    """
    random = np.random.default_rng(seed)
    chosen = list(texts)
    if len(chosen) > _MOST_QUERIES:
        chosen = [chosen[row] for row in random.permutation(len(chosen))[:_MOST_QUERIES]]
    both = (model, other)
    # The first pass fetches both models' pages; it also tells how much a round can hold.
    slowest = max(_seconds(one, chosen, 1) for one in both)
    repeats = max(1, int(_ROUND_SECONDS / max(slowest * len(chosen), 1e-7)))
    taken = np.zeros((2, rounds))
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for place in random.permutation(2).tolist():
                taken[place, turn] = _seconds(both[place], chosen, repeats)
    finally:
        if enabled:
            gc.enable()
    return taken[0], taken[1]


def judge(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], bounds: Bounds, seed: int = 1
) -> Verdict:
    """Judges rounds that were run in pairs, float64 [rounds] each.

    It fails when the median of the ratios is above the bound.  The interval is a percentile
    bootstrap over rounds (Efron and Tibshirani 1993, chapter 13).
    """
    ratios = ours / theirs
    random = np.random.default_rng(seed)
    drawn = ratios[random.integers(len(ratios), size=(_RESAMPLES, len(ratios)))]
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    ratio = float(np.median(ratios))
    return Verdict(
        float(np.median(ours)),
        float(np.median(theirs)),
        ratio,
        float(low),
        float(high),
        failed=ratio > bounds.ratio,
    )


def _seconds(model: TopicModel, texts: Sequence[str], repeats: int) -> float:
    score = model.score
    start = time.perf_counter_ns()
    for _ in range(repeats):
        for text in texts:
            score(text)
    return (time.perf_counter_ns() - start) / 1e9 / len(texts) / repeats
