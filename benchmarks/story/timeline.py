"""What was answered in each phase, from the counts that the load generator writes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted up to a time (seconds of ``time.monotonic``)."""

    time: float
    answered: int
    failed: int
    models: Mapping[str, int]


@dataclass(slots=True)
class Phase:
    """A time, and the versions that were meant to answer in it; all of them, where ``shared``."""

    name: str
    allowed: frozenset[str]
    shared: bool
    start: float
    end: float = float("inf")


@dataclass(frozen=True, slots=True)
class Tally:
    """What was answered in a phase, and by which versions."""

    phase: Phase
    answered: int
    failed: int
    models: Mapping[str, int]

    def problems(self) -> list[str]:
        """What was not as it should be."""
        found = []
        if self.failed:
            found.append(f"{self.phase.name}: {self.failed} requests failed")
        for model, count in self.models.items():
            if model not in self.phase.allowed:
                found.append(f"{self.phase.name}: {count} answers of {model[:12]}")
        if not self.answered:
            found.append(f"{self.phase.name}: no request was answered")
        elif self.phase.shared and (missing := self.phase.allowed - set(self.models)):
            found.append(f"{self.phase.name}: no answer of {', '.join(x[:12] for x in missing)}")
        return found


@dataclass
class Timeline:
    """The phases of a run, one after the other without a gap."""

    phases: list[Phase] = field(default_factory=list)

    def begin(self, name: str, allowed: Iterable[str], shared: bool = False) -> None:
        """Ends the phase before, if any, and begins another."""
        self.end()
        self.phases.append(Phase(name, frozenset(allowed), shared, time.monotonic()))

    def end(self) -> None:
        """Ends the last phase."""
        if self.phases:
            self.phases[-1].end = min(self.phases[-1].end, time.monotonic())

    @contextmanager
    def phase(self, name: str, allowed: Iterable[str], shared: bool = False) -> Iterator[None]:
        """A block that is a phase."""
        self.begin(name, allowed, shared)
        yield

    def tallies(self, counts: Sequence[Count], unfinished: int = 0) -> list[Tally]:
        """What each phase saw; every answer falls into one phase.

        So many requests were ``unfinished`` when the load was stopped: the last count has them
        among the failed ones, and no phase has.

        The counts are 50 ms apart.  What came between the last before a border and the first
        behind it is said to be of whichever phase allows more versions, the one before if equal:
        an answer that neither of the two may give is told all the same.
        """
        borders = [0]
        for before, after in zip(self.phases, self.phases[1:], strict=False):
            late = len(after.allowed) <= len(before.allowed)
            place = next(
                (i for i, one in enumerate(counts) if one.time >= after.start), len(counts) - 1
            )
            borders.append(place if late else max(place - 1, 0))
        borders.append(len(counts) - 1)
        counts = [*counts[:-1], replace(counts[-1], failed=counts[-1].failed - unfinished)]
        return [
            _between(phase, counts[first], counts[last], first == 0)
            for phase, first, last in zip(self.phases, borders, borders[1:], strict=False)
        ]


def read_counts(path: Path) -> list[Count]:
    """The counts of a load; raises ``ValueError`` naming the file when there are none."""
    lines = path.read_text(encoding="ascii").splitlines()
    if not lines:
        raise ValueError(f"{path}: no counts")
    return [Count(**json.loads(line)) for line in lines]


def _between(phase: Phase, first: Count, last: Count, whole: bool) -> Tally:
    # The first count of all holds what came before it.
    since = Count(first.time, 0, 0, {}) if whole else first
    models = {
        model: count - since.models.get(model, 0)
        for model, count in last.models.items()
        if count > since.models.get(model, 0)
    }
    return Tally(phase, last.answered - since.answered, last.failed - since.failed, models)
