"""Labels in two levels: topics and their subtopics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TaxonomyLabel:
    """One label: a topic (``topic`` is ``None``) or a subtopic of the topic with that code."""

    code: str
    name: str
    topic: str | None
    scope: str = ""


class Taxonomy(Sequence[TaxonomyLabel]):
    """The labels in a fixed order; a label's position is its index in every array.

    Raises ``TypeError`` when a code, name, topic or scope is not text, and ``ValueError`` when a
    code appears twice, a subtopic names a topic that is not there, does not stand right behind it
    and its other subtopics, or there is no label at all.
    """

    def __init__(self, labels: Sequence[TaxonomyLabel]):
        self._labels = tuple(labels)
        self._index: dict[str, int] = {}
        parents = []
        if not self._labels:
            raise ValueError("a taxonomy needs at least one label")
        for position, label in enumerate(self._labels):
            if not all(isinstance(x, str) for x in (label.code, label.name, label.scope)):
                raise TypeError(f"label {position}: its code, name or scope is not text")
            if label.code in self._index:
                raise ValueError(f"label {label.code!r} appears twice")
            if label.topic is None:
                parents.append(-1)
            else:
                parent = self._index.get(label.topic, -1)
                if parent < 0 or parents[parent] >= 0:
                    raise ValueError(
                        f"subtopic {label.code!r}: no topic {label.topic!r} stands before it"
                    )
                if position - 1 != parent and parents[-1] != parent:
                    raise ValueError(
                        f"subtopic {label.code!r} stands behind another topic than its own"
                    )
                parents.append(parent)
            self._index[label.code] = position
        self.parents: NDArray[np.int32] = np.array(parents, dtype=np.int32)
        """int32 [labels], read-only: the index of a subtopic's topic, -1 for a topic."""
        self.parents.flags.writeable = False

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, position):  # type: ignore[no-untyped-def]
        return self._labels[position]

    def __iter__(self) -> Iterator[TaxonomyLabel]:
        return iter(self._labels)

    def __contains__(self, code: object) -> bool:
        return code in self._index

    def index_of(self, code: str) -> int:
        """The position of a label; ``KeyError`` when there is none with that code."""
        return self._index[code]

    @property
    def topics(self) -> list[TaxonomyLabel]:
        """The labels that are topics, in order."""
        return [label for label in self._labels if label.topic is None]

    def subtopics(self, topic: str) -> list[TaxonomyLabel]:
        """The subtopics of a topic, in order; empty for a code that is no topic."""
        return [label for label in self._labels if label.topic == topic]

    def full_name(self, code: str) -> str:
        """``"Vehicles"`` for a topic, ``"Vehicles > Motorcycles"`` for a subtopic."""
        label = self._labels[self._index[code]]
        if label.topic is None:
            return label.name
        return f"{self._labels[self._index[label.topic]].name} > {label.name}"
