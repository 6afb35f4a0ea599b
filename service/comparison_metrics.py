"""What Prometheus gets to see of comparisons of two artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from service.comparison_counts import (
    BUCKETS,
    COMPARED_NAME,
    DIFFERING_NAME,
    FAILURES_NAME,
    LABELS_NAME,
    ROLES,
    SECONDS_NAME,
    WORKERS_NAME,
    Pair,
    read_pairs,
)
from service.counters import Series

_PAIR = ["stable", "candidate"]
_COUNTERS = {
    COMPARED_NAME: ("Queries that both artifacts have scored.", []),
    DIFFERING_NAME: ("Those of them that differ in labels, or in the best topic.", ["of"]),
    FAILURES_NAME: ("Queries on which the comparison failed.", []),
    LABELS_NAME: (
        "Compared queries that a label was emitted for, by both or one alone.",
        ["label", "emitted_by"],
    ),
}


def comparisons(folder: Path) -> Iterator[Metric]:
    """The metrics of every pair of artifacts that workers compare now."""
    pairs = read_pairs(folder)
    workers = GaugeMetricFamily(
        WORKERS_NAME, "Workers that compare the two artifacts.", labels=_PAIR
    )
    for pair, counts in pairs.items():
        workers.add_metric(pair, counts[(WORKERS_NAME, pair)])
    yield workers
    for name, (text, labels) in _COUNTERS.items():
        family = CounterMetricFamily(name.removesuffix("_total"), text, labels=[*_PAIR, *labels])
        for counts in pairs.values():
            for (series, values), value in counts.items():
                # Most labels are never emitted, and there are three series for each.
                if series == name and (value or name != LABELS_NAME):
                    family.add_metric(values, value)
        yield family
    yield _seconds(pairs)


def _seconds(pairs: dict[Pair, Counter[Series]]) -> Metric:
    family = HistogramMetricFamily(
        SECONDS_NAME,
        "Time that an artifact took for a compared query.",
        labels=[*_PAIR, "artifact"],
    )
    for pair, counts in pairs.items():
        for role in ROLES:
            total, buckets = 0, []
            for bucket in BUCKETS[:-1]:
                total += counts[(SECONDS_NAME, (*pair, role, bucket))]
                buckets.append((bucket, total))
            seconds = counts[(SECONDS_NAME, (*pair, role, "sum"))] / 1e9
            family.add_metric([*pair, role], buckets, seconds)
    return family
