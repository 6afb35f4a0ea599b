"""Latencies, and what can be said of them on a noisy machine."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its two-sided bootstrap interval."""

    value: float
    low: float
    high: float


@contextmanager
def without_collector() -> Iterator[None]:
    """No garbage collection while a measurement runs, as ``timeit`` does."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def clock_cost() -> float:
    """Seconds that two calls of the clock take by themselves (the median of many)."""
    clock = time.perf_counter_ns
    gaps = [-(clock() - clock()) for _ in range(2000)]
    return float(np.median(gaps)) / 1e9


def call_latencies(
    call: Callable[[Any], Any], inputs: Sequence[Any], budget: float | None = None
) -> NDArray[np.float64]:
    """Seconds of ``call(input)`` for each input, float64 [inputs]; the clock's cost is taken off.

    ``budget`` ends the run early once that many seconds have passed (at least one input is done).
    """
    clock = time.perf_counter_ns
    taken = np.zeros(len(inputs), dtype=np.int64)
    done = 0
    cost = clock_cost()
    with without_collector():
        end = clock() + int((budget if budget is not None else 1e6) * 1e9)
        for done, value in enumerate(inputs, start=1):
            start = clock()
            call(value)
            now = clock()
            taken[done - 1] = now - start
            if now > end:
                break
    return np.maximum(taken[:done] / 1e9 - cost, 0.0)


def loop_seconds(call: Callable[[Any], Any], inputs: Sequence[Any]) -> float:
    """Seconds per input of a plain loop over the inputs: the clock is read twice in all."""
    clock = time.perf_counter_ns
    with without_collector():
        start = clock()
        for value in inputs:
            call(value)
        return (clock() - start) / 1e9 / len(inputs)


def median_ratio(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    confidence: float = 0.95,
    resamples: int = 4000,
    seed: int = 1,
) -> Interval:
    """The median of ``ours / theirs`` over paired rounds, float64 [launches, rounds].

    Rounds that ran one after the other share what the machine was doing, so each is divided by
    its neighbour before anything is averaged.  The interval is a percentile bootstrap (Efron and
    Tibshirani 1993, chapter 13) in two stages: launches are drawn with replacement, then rounds
    within them, because rounds of one process share its memory layout and are not independent.
    """
    ratios = np.atleast_2d(ours) / np.atleast_2d(theirs)
    launches, rounds = ratios.shape
    random = np.random.default_rng(seed)
    drawn = random.integers(launches, size=(resamples, launches, 1))
    within = random.integers(rounds, size=(resamples, launches, rounds))
    medians = np.median(ratios[drawn, within].reshape(resamples, -1), axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return Interval(float(np.median(ratios)), float(low), float(high))
