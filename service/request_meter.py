"""Counts the requests of a process: by route and status, their time, the model's part of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.counters import CounterFile, Series
from service.page import PATHS
from topiccore._scoring import Timings

KIND = "requests"
ROUTES = (
    *("/v1/topics", "/v1/topics:batch", "/v1/model", "/v1/taxonomy"),
    *("/v1/stats", "/v1/comparison"),
    *("/openapi.json", "/healthz", "/readyz", "/", "other"),
)
METHODS = ("GET", "POST", "HEAD", "other")
STATUSES = (
    *("200", "204", "304", "400", "401", "404", "405", "408", "411", "413"),
    *("415", "500", "501", "503", "other"),
)
REASONS = ("overload", "bodies", "explanations", "token")
RELOADS = ("loaded", "refused", "unchanged")
CANDIDATES = (*RELOADS, "removed")
BOUNDS_US = (
    *(5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750),
    *(1000, 1500, 2000, 3000, 5000, 7500, 10_000),
)
"""Upper ends of the buckets of both histograms, in microseconds."""

REQUESTS_NAME = "topiccore_http_requests_total"
SECONDS_NAME = "topiccore_http_request_seconds"
KERNEL_NAME = "topiccore_kernel_seconds"
REJECTED_NAME = "topiccore_rejected_requests_total"
RELOADS_NAME = "topiccore_reloads_total"
CANDIDATE_NAME = "topiccore_candidate_reloads_total"

_BOUNDS = tuple(1000 * bound for bound in BOUNDS_US)
_HISTOGRAM = len(_BOUNDS) + 2  # counts of the buckets, of what is above them, then the sum


def _series() -> list[Series]:
    found: list[Series] = [
        (REQUESTS_NAME, (route, method, status))
        for route in ROUTES
        for method in METHODS
        for status in STATUSES
    ]
    buckets = [*(f"{bound / 1e6:g}" for bound in BOUNDS_US), "+Inf", "sum"]
    found += [(SECONDS_NAME, (route, bucket)) for route in ROUTES for bucket in buckets]
    found += [(KERNEL_NAME, (bucket,)) for bucket in buckets]
    found += [(REJECTED_NAME, (reason,)) for reason in REASONS]
    found += [(RELOADS_NAME, (result,)) for result in RELOADS]
    found += [(CANDIDATE_NAME, (result,)) for result in CANDIDATES]
    return found


def is_failure(status: str) -> bool:
    """Whether a status of three digits tells that the server is at fault.

    503 says that there is too much to do, 501 that the client's transfer coding is unknown.
    """
    return status[0] == "5" and status not in ("501", "503")


class RequestMeter:
    """Counts into a file of shared memory; threads may share it."""

    def __init__(self, folder: Path):
        series = _series()
        places = {one: place for place, one in enumerate(series)}
        self._timings = Timings(
            CounterFile(folder, KIND, series).values, np.array(_BOUNDS, dtype=np.int64)
        )
        self._routes = dict.fromkeys(PATHS, ROUTES.index("/"))
        self._routes |= {route: i for i, route in enumerate(ROUTES)}
        self._methods = {method: len(STATUSES) * i for i, method in enumerate(METHODS)}
        self._statuses = {status: i for i, status in enumerate(STATUSES)}
        self._other = len(ROUTES) - 1
        self._block = len(METHODS) * len(STATUSES)
        self._seconds = places[(SECONDS_NAME, (ROUTES[0], f"{BOUNDS_US[0] / 1e6:g}"))]
        self._kernel = places[(KERNEL_NAME, (f"{BOUNDS_US[0] / 1e6:g}",))]
        self._rejected = {reason: places[(REJECTED_NAME, (reason,))] for reason in REASONS}
        self._reloads = {result: places[(RELOADS_NAME, (result,))] for result in RELOADS}
        self._candidates = {result: places[(CANDIDATE_NAME, (result,))] for result in CANDIDATES}

    def request(
        self, path: str, method: str, status: str, nanoseconds: int, kernel: int | None
    ) -> None:
        """Counts a request; ``kernel`` is the model's part of its time, if it had one."""
        route = self._routes.get(path, self._other)
        place = (
            route * self._block
            + self._methods.get(method, 3 * len(STATUSES))
            + self._statuses.get(status, len(STATUSES) - 1)
        )
        timings = self._timings
        timings.add(place)
        timings.observe(self._seconds + route * _HISTOGRAM, nanoseconds)
        if kernel is not None:
            timings.observe(self._kernel, kernel)

    def rejected(self, reason: str) -> None:
        """Counts a request that was refused for one of ``REASONS``."""
        self._timings.add(self._rejected[reason])

    def reload(self, result: str) -> None:
        """Counts an attempt to take up a new artifact, with one of ``RELOADS``."""
        self._timings.add(self._reloads[result])

    def candidate(self, result: str) -> None:
        """Counts an attempt to take up a second artifact, with one of ``CANDIDATES``."""
        self._timings.add(self._candidates[result])
