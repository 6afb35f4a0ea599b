"""What is counted of scored rows, in parts that add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FREQUENT = 1000
"""So many unknown tokens are kept when counts are stored."""


@dataclass(slots=True)
class Counts:
    """Of some rows; ``+=`` adds those of others."""

    rows: int = 0
    nulls: int = 0
    """Rows without a query: null, or not text."""
    not_text: int = 0
    """Those of the nulls that held something else than text."""
    too_long: int = 0
    """Rows of more than ``MAX_QUERY_BYTES`` bytes, which are not scored."""
    truncated: int = 0
    """Rows of which only the first tokens were scored."""
    covered: int = 0
    """Rows with at least one label."""
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64 [labels]: rows that have the label."""
    tokens: int = 0
    """Tokens that were scored."""
    unknown: int = 0
    """Those of ``tokens`` that the model has no row for."""
    examined: int = 0
    """Rows that ``frequent`` was counted on."""
    frequent: Counter[str] = field(default_factory=Counter)
    """How often each unknown token stands in the examined rows."""

    def __iadd__(self, other: Counts) -> Counts:
        for name in ("rows", "nulls", "not_text", "too_long", "truncated", "covered"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("examined", "tokens", "unknown"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.labels = self.labels + other.labels if len(self.labels) else other.labels.copy()
        self.frequent.update(other.frequent)
        if len(self.frequent) > 100 * FREQUENT:
            self.frequent = Counter(dict(self.frequent.most_common(10 * FREQUENT)))
        return self

    def as_json(self) -> dict[str, Any]:
        """What ``from_json`` reads."""
        content: dict[str, Any] = {
            name: getattr(self, name) for name in self.__slots__ if name not in _SPECIAL
        }
        content["labels"] = self.labels.tolist()
        content["frequent"] = dict(self.frequent.most_common(FREQUENT))
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Counts:
        """The counts that ``as_json`` gave."""
        counts = cls()
        for name in cls.__slots__:
            if name not in _SPECIAL:
                setattr(counts, name, int(content[name]))
        counts.labels = np.array(content["labels"], dtype=np.int64)
        counts.frequent = Counter(content["frequent"])
        return counts


_SPECIAL = ("labels", "frequent")
