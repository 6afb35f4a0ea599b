"""Counts how often two artifacts answer the same query differently, and how long each takes."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.comparison import rate
from service.counters import CounterFile, Series, read_all
from topiccore import Answer, TopicModel

KIND = "comparison"
COMPARED, DIFFERING, DIFFERING_BEST, FAILURES, WORKERS, SECONDS = range(6)
COMPARED_NAME = "topiccore_compared_queries_total"
DIFFERING_NAME = "topiccore_differing_queries_total"
FAILURES_NAME = "topiccore_comparison_failures_total"
WORKERS_NAME = "topiccore_comparing_workers"
SECONDS_NAME = "topiccore_comparison_kernel_seconds"
LABELS_NAME = "topiccore_compared_labels_total"

ROLES = ("stable", "candidate")
EMITTED_BY = ("both", *ROLES)
BOUNDS_US = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 1000, 5000)
"""Upper ends of the buckets of the times, in microseconds."""
BUCKETS = (*(f"{bound / 1e6:g}" for bound in BOUNDS_US), "+Inf", "sum")

_BOUNDS = tuple(1000 * bound for bound in BOUNDS_US)

Pair = tuple[str, str]
"""The ids of the stable artifact and of the candidate."""


class ComparisonCounts:
    """The counts of one pair of artifacts in one process; threads may share it.

    Labels are compared by code.  Without a folder the process counts for itself.
    """

    def __init__(self, stable: TopicModel, candidate: TopicModel, folder: Path | None = None):
        self.pair: Pair = (stable.id, candidate.id)
        self._folder = folder
        codes = dict.fromkeys(
            label.code for model in (stable, candidate) for label in model.taxonomy
        )
        self._series = _series(self.pair, list(codes))
        first = len(self._series) - len(codes) * len(EMITTED_BY)
        self._places = {code: first + len(EMITTED_BY) * i for i, code in enumerate(codes)}
        # A code that the two have under different topics counts for the stable one's.
        self._topics = {
            label.code: label.topic or label.code
            for model in (candidate, stable)
            for label in model.taxonomy
        }
        self._file = None
        self._values: list[int] | memoryview[int] = [0] * len(self._series)
        if folder is not None:
            self._file = CounterFile(folder, KIND, self._series, pair=self.pair)
            self._values = self._file.values
        self._lock = threading.Lock()

    def add(self, stable: Answer, candidate: Answer, stable_ns: int, candidate_ns: int) -> None:
        """Counts a query with both answers by the models' own thresholds, and their times."""
        values, places = self._values, self._places
        ours = [label.code for label in stable]
        theirs = [label.code for label in candidate]
        with self._lock:
            values[COMPARED] += 1
            place = SECONDS
            for taken in (stable_ns, candidate_ns):
                values[place + bisect_left(_BOUNDS, taken)] += 1
                values[place + len(BUCKETS) - 1] += taken
                place += len(BUCKETS)
            if ours == theirs:
                for code in ours:
                    values[places[code]] += 1
                return
            left, right = set(ours), set(theirs)
            for code in left & right:
                values[places[code]] += 1
            if left != right:
                values[DIFFERING] += 1
                for code in left - right:
                    values[places[code] + 1] += 1
                for code in right - left:
                    values[places[code] + 2] += 1
            if self._best(ours) != self._best(theirs):
                values[DIFFERING_BEST] += 1

    def failed(self, queries: int) -> None:
        """Counts queries on which the comparison failed; they were answered all the same."""
        with self._lock:
            self._values[FAILURES] += queries

    def set_live(self, live: bool) -> None:
        """Tells whether the process compares this pair now."""
        self._values[WORKERS] = int(live)

    def remove(self) -> None:
        """Ends counting, when another pair has taken the place of this."""
        if self._file is not None:
            self._file.remove()

    def totals(self) -> Counter[Series]:
        """The counts of all processes that compare or have compared this pair."""
        if self._folder is not None:
            return read_pairs(self._folder).get(self.pair, Counter())
        return Counter(dict(zip(self._series, self._values, strict=True)))

    def _best(self, codes: list[str]) -> str | None:
        return self._topics[codes[0]] if codes else None


def read_pairs(folder: Path) -> dict[Pair, Counter[Series]]:
    """For each pair that is compared now the counts of all processes, of the dead as well."""
    found: dict[Pair, Counter[Series]] = {}
    alive: set[Pair] = set()
    ended: list[tuple[Pair, Path]] = []
    for counted in read_all(folder, KIND):
        stable, candidate = counted.about["pair"]
        pair = (stable, candidate)
        counts = Counter(dict(zip(counted.series, counted.values.tolist(), strict=True)))
        if counted.alive:
            alive.add(pair)
        else:
            del counts[(WORKERS_NAME, pair)]
            ended.append((pair, counted.path))
        found.setdefault(pair, Counter()).update(counts)
    for pair, path in ended:
        # Nothing is alive for a moment when the only worker is replaced.
        if alive and pair not in alive:
            path.unlink(missing_ok=True)
    return {pair: counts for pair, counts in found.items() if pair in alive}


def nothing(stable: TopicModel) -> dict[str, Any]:
    """What ``GET /v1/comparison`` gives when there is no second artifact."""
    return {"stable": stable.id, "candidate": None, "mode": None, "share": None} | _counted(
        Counter(), (stable.id, ""), []
    )


def content(
    counts: Counter[Series], stable: TopicModel, candidate: TopicModel, mode: str, share: float
) -> dict[str, Any]:
    """What ``GET /v1/comparison`` gives of a pair: the counts, with shares and intervals.

    ``mode`` is ``canary`` or ``shadow``, ``share`` that of the requests, from 0 to 1.
    """
    pair = (stable.id, candidate.id)
    return {
        "stable": stable.id,
        "candidate": candidate.id,
        "mode": mode,
        "share": share,
    } | _counted(counts, pair, list(_labels(counts, stable, candidate)))


def _counted(counts: Counter[Series], pair: Pair, labels: list[dict[str, Any]]) -> dict[str, Any]:
    compared = counts[(COMPARED_NAME, pair)]
    return {
        "workers": counts[(WORKERS_NAME, pair)],
        "compared": compared,
        "failures": counts[(FAILURES_NAME, pair)],
        "differing": rate(counts[(DIFFERING_NAME, (*pair, "labels"))], compared),
        "differing_best": rate(counts[(DIFFERING_NAME, (*pair, "best_topic"))], compared),
        "kernel_microseconds": {role: _times(counts, pair, role) for role in ROLES},
        "labels": labels,
    }


def _labels(
    counts: Counter[Series], stable: TopicModel, candidate: TopicModel
) -> Iterator[dict[str, Any]]:
    compared = counts[(COMPARED_NAME, (stable.id, candidate.id))]
    names = {label.code: label for model in (candidate, stable) for label in model.taxonomy}
    kinds = [{label.code for label in model.taxonomy} for model in (stable, candidate)]
    for code in dict.fromkeys(
        label.code for model in (stable, candidate) for label in model.taxonomy
    ):
        both, ours, theirs = (
            counts[(LABELS_NAME, (stable.id, candidate.id, code, by))] for by in EMITTED_BY
        )
        yield {
            "code": code,
            "name": names[code].name,
            "topic": names[code].topic,
            "known_to": [role for role, codes in zip(ROLES, kinds, strict=True) if code in codes],
            "both": both,
            "stable_only": ours,
            "candidate_only": theirs,
            "differing": rate(ours + theirs, compared),
        }


def _times(counts: Counter[Series], pair: Pair, role: str) -> dict[str, float | None]:
    numbers = [counts[(SECONDS_NAME, (*pair, role, bucket))] for bucket in BUCKETS[:-1]]
    total = sum(numbers)
    if not total:
        return {"mean": None, "p50": None, "p99": None}

    def quantile(share: float) -> float | None:
        seen = 0
        for bound, number in zip(BOUNDS_US, numbers, strict=False):
            seen += number
            if seen >= share * total:
                return float(bound)
        return None

    mean = counts[(SECONDS_NAME, (*pair, role, "sum"))] / total / 1000
    return {"mean": round(mean, 3), "p50": quantile(0.5), "p99": quantile(0.99)}


def _series(pair: Pair, codes: list[str]) -> list[Series]:
    found: list[Series] = [
        (COMPARED_NAME, pair),
        (DIFFERING_NAME, (*pair, "labels")),
        (DIFFERING_NAME, (*pair, "best_topic")),
        (FAILURES_NAME, pair),
        (WORKERS_NAME, pair),
    ]
    found += [(SECONDS_NAME, (*pair, role, bucket)) for role in ROLES for bucket in BUCKETS]
    found += [(LABELS_NAME, (*pair, code, by)) for code in codes for by in EMITTED_BY]
    return found
