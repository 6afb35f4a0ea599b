"""What Prometheus gets to see, at a port of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

import topiccore
from service import drift, request_meter
from service.answer_counts import LABEL_NAME, LIVE, NAMES
from service.comparison_metrics import comparisons
from service.counters import Series
from service.ledger import Ledger, Totals
from service.metrics_server import MetricsServer
from topiccore import TopiccoreError

_HELP = {
    request_meter.REQUESTS_NAME: ("Requests answered.", ["route", "method", "status"]),
    request_meter.REJECTED_NAME: ("Requests refused to protect the server.", ["reason"]),
    request_meter.RELOADS_NAME: ("Attempts to take up a new artifact.", ["result"]),
    request_meter.CANDIDATE_NAME: ("Attempts to take up a second artifact.", ["result"]),
    NAMES[0]: ("Queries answered by the model's own thresholds.", ["model"]),
    NAMES[1]: ("Those of them with at least one emitted label.", ["model"]),
    NAMES[2]: ("Those of them of which only the first tokens were scored.", ["model"]),
    NAMES[3]: ("Tokens of the queries.", ["model"]),
    NAMES[4]: ("Those of them that the model has no row for.", ["model"]),
    LABEL_NAME: ("Queries that a label was emitted for.", ["model", "label"]),
}
_HISTOGRAMS = {
    request_meter.SECONDS_NAME: ("Time of a request within the application.", ["route"]),
    request_meter.KERNEL_NAME: ("The model's part of that time.", []),
}
_BUCKETS = [*(f"{bound / 1e6:g}" for bound in request_meter.BOUNDS_US), "+Inf"]


class MetricsError(TopiccoreError):
    """The metrics cannot be given at their address."""


class ServiceCollector(Collector):
    """The metrics of all workers of a server."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._ledger = Ledger(folder, keep=True)
        self._window = drift.Window()

    def describe(self) -> list[Metric]:
        """Nothing: what there is depends on what was asked."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Reads every counter and gives the sums."""
        totals = self._ledger.read()
        yield InfoMetricFamily(
            "topiccore_build", "The version.", value={"version": topiccore.__version__}
        )
        yield GaugeMetricFamily("topiccore_workers", "Workers that run.", value=totals.workers)
        yield CounterMetricFamily(
            "topiccore_lost_workers", "Workers that have ended.", value=self._ledger.lost
        )
        yield from _counters(totals.counts)
        yield from _histograms(totals.counts)
        workers = GaugeMetricFamily(
            NAMES[LIVE], "Workers that answer with the artifact.", labels=["model"]
        )
        for model in totals.models:
            workers.add_metric([model], totals.counts[(NAMES[LIVE], (model,))])
        yield workers
        yield from _drift(totals, self._window.recent(totals))
        yield from comparisons(self._folder)


def _counters(counts: Counter[Series]) -> Iterator[Metric]:
    found: dict[str, CounterMetricFamily] = {}
    for name, (text, names) in _HELP.items():
        found[name] = CounterMetricFamily(name.removesuffix("_total"), text, labels=names)
    for (name, labels), value in counts.items():
        # Most routes never give most statuses.
        if name in found and (value or name != request_meter.REQUESTS_NAME):
            found[name].add_metric(labels, value)
    yield from found.values()


def _histograms(counts: Counter[Series]) -> Iterator[Metric]:
    for name, (text, labels) in _HISTOGRAMS.items():
        family = HistogramMetricFamily(name, text, labels=labels)
        owners = {series[1][:-1]: None for series in counts if series[0] == name}
        for owner in owners:
            total, buckets = 0, []
            for bucket in _BUCKETS:
                total += counts[(name, (*owner, bucket))]
                buckets.append((bucket, total))
            if total:
                seconds = counts[(name, (*owner, "sum"))] / 1e9
                family.add_metric(list(owner), buckets, seconds)
        yield family


def _drift(totals: Totals, recent: Counter[Series]) -> Iterator[Metric]:
    model = totals.current
    if model is None:
        return
    expected = totals.models[model] or {}
    live = drift.shares(recent, model)
    labels = drift.label_shares(recent, model)
    wanted = expected.get("labels") or {}
    yield GaugeMetricFamily(
        "topiccore_window_queries", "Queries of the last hour.", value=live["queries"]
    )
    for name, text in (
        ("coverage", "Share of queries with a label"),
        ("unknown_tokens", "Share of tokens that the model does not know"),
    ):
        if name in live:
            yield GaugeMetricFamily(
                f"topiccore_{name}_ratio", f"{text}, in the last hour.", value=live[name]
            )
        if name in expected:
            yield GaugeMetricFamily(
                f"topiccore_expected_{name}_ratio", f"{text}, in training.", value=expected[name]
            )
    for metric, text, values in (
        ("topiccore_label_share_ratio", "Share of queries, in the last hour.", labels),
        ("topiccore_expected_label_share_ratio", "Share of queries, in training.", wanted),
    ):
        if values and live["queries"]:
            family = GaugeMetricFamily(metric, text, labels=["label"])
            for code, share in values.items():
                family.add_metric([code], share)
            yield family
    if live["queries"] >= drift.LEAST_QUERIES:
        yield _distances(live, labels, expected, wanted)


def _distances(
    live: dict[str, float],
    labels: dict[str, float],
    expected: dict[str, float],
    wanted: dict[str, float],
) -> Metric:
    family = GaugeMetricFamily(
        "topiccore_drift_distance",
        "Distance from training, from 0 to 1: Jensen-Shannon of labels, else the difference.",
        labels=["of"],
    )
    emitted = round(sum(labels.values()) * live["queries"])
    found = drift.distance(labels, wanted, emitted)
    if found is not None:
        family.add_metric(["labels"], found)
    for name in ("coverage", "unknown_tokens"):
        if name in live and name in expected:
            family.add_metric([name], abs(live[name] - expected[name]))
    return family


def serve_metrics(folder: Path, host: str, port: int) -> MetricsServer:
    """Gives the metrics to whoever asks, from threads of this process; raises ``MetricsError``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceCollector(folder))
    try:
        server = MetricsServer(host, port, make_wsgi_app(registry))
    except OSError as error:
        raise MetricsError(
            f"cannot give metrics at {host}:{port}: {error.strerror or error}"
        ) from error
    server.start()
    return server
