"""``/v1/stats``: how much the server does, in a few numbers that only grow."""

from __future__ import annotations

import threading
import time
from collections import Counter
from http import HTTPStatus
from typing import Any

import falcon

from service import request_meter
from service.answer_counts import COVERED, NAMES, QUERIES, TOKENS, UNKNOWN
from service.counters import Series
from service.encoding import encode
from service.ledger import Ledger, Totals
from service.problems import Problem

ROUTES = ("/v1/topics", "/v1/topics:batch")
"""Where queries are answered; only these requests count here."""
KEEP_SECONDS = 0.5
"""How long an answer is given again: all counters are read for one."""
_ANSWERS = {
    "queries": QUERIES,
    "covered": COVERED,
    "tokens": TOKENS,
    "unknown_tokens": UNKNOWN,
}
_BOUNDS = [bound / 1e6 for bound in request_meter.BOUNDS_US]
_BUCKETS = [*(f"{bound:g}" for bound in _BOUNDS), "+Inf"]


class StatsResource:
    """Sums of all workers since the server started; ``None``: nothing counts."""

    def __init__(self, ledger: Ledger | None):
        self._ledger = ledger
        self._lock = threading.Lock()
        self._data = b""
        self._until = 0.0

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        """Tells requests, their time, queries and coverage."""
        if self._ledger is None:
            raise Problem(
                HTTPStatus.NOT_FOUND, "This server keeps no counts: topiccore serve starts one."
            )
        with self._lock:
            if time.monotonic() >= self._until:
                self._data = encode(summary(self._ledger.read()))
                self._until = time.monotonic() + KEEP_SECONDS
            resp.data = self._data
        resp.cache_control = ["no-store"]

    on_head = on_get


def summary(totals: Totals) -> dict[str, Any]:
    """The numbers of the answer.

    ``time`` is in seconds since 1970.  ``requests`` are those of ``ROUTES``; of them ``refused``
    were answered 503 and ``failed`` with another 5xx but 501.  A histogram has in ``counts[i]``
    what took at most ``bounds[i]`` seconds and more than the bound before, and one count more for
    the rest; ``sum`` is in seconds.  ``answers`` are those of the current ``model``.
    """
    counts, model = totals.counts, totals.current
    statuses: Counter[str] = Counter()
    for (name, labels), value in counts.items():
        if name == request_meter.REQUESTS_NAME and labels[0] in ROUTES:
            statuses[labels[2]] += value
    expected = (totals.models.get(model) if model is not None else None) or {}
    return {
        "time": round(time.time(), 3),
        "workers": totals.workers,
        "model": model,
        "requests": {
            "total": statuses.total(),
            "refused": statuses["503"],
            "failed": sum(n for status, n in statuses.items() if request_meter.is_failure(status)),
        },
        "request_seconds": _histogram(counts, request_meter.SECONDS_NAME, [(r,) for r in ROUTES]),
        "kernel_seconds": _histogram(counts, request_meter.KERNEL_NAME, [()]),
        "answers": {
            field: 0 if model is None else counts[(NAMES[place], (model,))]
            for field, place in _ANSWERS.items()
        },
        "expected": {
            name: expected[name] for name in ("coverage", "unknown_tokens") if name in expected
        },
    }


def _histogram(
    counts: Counter[Series], name: str, owners: list[tuple[()]] | list[tuple[str]]
) -> dict[str, Any]:
    return {
        "bounds": _BOUNDS,
        "counts": [sum(counts[(name, (*one, bucket))] for one in owners) for bucket in _BUCKETS],
        "sum": sum(counts[(name, (*one, "sum"))] for one in owners) / 1e9,
    }
