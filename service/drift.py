"""How far what the model answers is from what its training saw."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

from service.answer_counts import COVERED, LABEL_NAME, NAMES, QUERIES, TOKENS, UNKNOWN
from service.counters import Series
from service.ledger import Totals

WINDOW_SECONDS = 3600.0
STEP_SECONDS = 60.0
LEAST_QUERIES = 2000
"""Fewer queries in the window say too little of the shares of hundreds of labels."""


class Window:
    """The answers of the last hour, from sums that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._model: str | None = None
        self._past: deque[tuple[float, Counter[Series]]] = deque([(clock(), Counter())])

    def recent(self, totals: Totals) -> Counter[Series]:
        """What the current artifact has answered within the window; another begins at 0."""
        now = self._clock()
        model = totals.current
        counts = Counter(
            {series: n for series, n in totals.counts.items() if series[1][:1] == (model,)}
        )
        if model != self._model:
            self._model = model
            self._past.clear()
            self._past.append((now, Counter()))
        while len(self._past) > 1 and self._past[1][0] <= now - WINDOW_SECONDS:
            self._past.popleft()
        base = self._past[0][1]
        if now - self._past[-1][0] >= STEP_SECONDS:
            self._past.append((now, counts))
        return Counter({series: n - base[series] for series, n in counts.items()})


def shares(recent: Mapping[Series, int], model: str) -> dict[str, float]:
    """``coverage``, ``unknown_tokens`` and ``queries`` of a window; no share of nothing."""
    queries = recent.get((NAMES[QUERIES], (model,)), 0)
    tokens = recent.get((NAMES[TOKENS], (model,)), 0)
    found = {"queries": float(queries)}
    if queries:
        found["coverage"] = recent.get((NAMES[COVERED], (model,)), 0) / queries
    if tokens:
        found["unknown_tokens"] = recent.get((NAMES[UNKNOWN], (model,)), 0) / tokens
    return found


def label_shares(recent: Mapping[Series, int], model: str) -> dict[str, float]:
    """For each label the share of the queries of a window that it was emitted for."""
    queries = recent.get((NAMES[QUERIES], (model,)), 0)
    return {
        labels[1]: n / queries if queries else 0.0
        for (name, labels), n in recent.items()
        if name == LABEL_NAME and labels[0] == model
    }


def distance(live: Mapping[str, float], expected: Mapping[str, float]) -> float | None:
    """The Jensen-Shannon distance between two distributions over labels, in [0, 1].

    It is the square root of the divergence in bits (Endres and Schindelin 2003), of the shares
    divided by their sum.  ``None`` where one of them is empty.
    """
    total, whole = sum(live.values()), sum(expected.values())
    if total <= 0 or whole <= 0:
        return None
    divergence = 0.0
    for label in live.keys() | expected.keys():
        p, q = live.get(label, 0.0) / total, expected.get(label, 0.0) / whole
        middle = (p + q) / 2
        divergence += sum(x * math.log2(x / middle) / 2 for x in (p, q) if x > 0)
    return math.sqrt(max(divergence, 0.0))
