"""Adds up what all processes of a server have counted, the dead among them."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service import answer_counts, comparison_counts, request_meter
from service.counters import Counted, Series, read_all


@dataclass(slots=True)
class Totals:
    """The sums of all processes."""

    counts: Counter[Series] = field(default_factory=Counter)
    workers: int = 0
    """Processes that count now."""
    models: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """For the id of each artifact that is in use, what its training expects of answers."""

    @property
    def current(self) -> str | None:
        """The artifact with which most workers answer."""
        name = answer_counts.NAMES[answer_counts.LIVE]
        return max(self.models, key=lambda model: self.counts[(name, (model,))], default=None)


class Ledger:
    """Reads the counters of a folder; threads may share it.

    With ``keep`` it takes over the counts of processes that have ended and removes their files:
    one ledger of a folder may do that.
    """

    def __init__(self, folder: Path, *, keep: bool = False):
        self._folder = folder
        self._keep = keep
        self._ended: dict[str | None, Counter[Series]] = {}
        self._lock = threading.Lock()
        self.lost = 0
        """Processes that have ended."""

    def read(self) -> Totals:
        """The sums as they are now."""
        with self._lock:
            totals = Totals()
            for counted in read_all(self._folder):
                # Every worker tells of comparisons, so no process takes their counts over.
                if counted.about["kind"] != comparison_counts.KIND:
                    self._add(counted, totals)
            for model, counts in self._ended.items():
                # The counts of an artifact that nobody has loaded any more are no use to anyone.
                if model is None or model in totals.models:
                    totals.counts.update(counts)
            return totals

    def _add(self, counted: Counted, totals: Totals) -> None:
        model = counted.about.get("artifact")
        gauge = answer_counts.NAMES[answer_counts.LIVE]
        counts = {
            series: value
            for series, value in zip(counted.series, counted.values.tolist(), strict=True)
            if counted.alive or series[0] != gauge
        }
        if counted.alive:
            totals.counts.update(counts)
            if counted.about["kind"] == request_meter.KIND:
                totals.workers += 1
            else:
                totals.models[str(model)] = counted.about["expected"]
        elif self._keep:
            self._ended.setdefault(model, Counter()).update(counts)
            counted.path.unlink(missing_ok=True)
            self.lost += counted.about["kind"] == request_meter.KIND
        else:
            totals.counts.update(counts)
