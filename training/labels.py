"""Labelled queries: ids and label codes in a file, texts from the collections, both checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy
from training.collections import text_sum
from training.errors import DataError
from training.tables import read_table

HEADER = ["id", "sha256_8", "count", "labels"]
NO_LABEL = "-"
_COUNT = re.compile("[1-9][0-9]{0,8}")
_SHOWN = 5


@dataclass(frozen=True)
class LabelledQueries:
    """Queries with their gold sets.

    ``gold`` is bool [queries, labels], a subtopic's topic included; ``counts`` is int64 [queries],
    how often each text was logged.
    """

    ids: list[str]
    texts: list[str]
    counts: NDArray[np.int64]
    gold: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.texts)

    def without(self, others: LabelledQueries) -> LabelledQueries:
        """The queries whose text is not among those of ``others``."""
        taken = set(others.texts)
        return self.take([row for row, text in enumerate(self.texts) if text not in taken])

    def corrected(self, others: LabelledQueries) -> LabelledQueries:
        """These queries with the labels that ``others`` has for their texts; nothing else of it."""
        place = {text: row for row, text in enumerate(others.texts)}
        own = [row for row, text in enumerate(self.texts) if text in place]
        gold = self.gold.copy()
        gold[own] = others.gold[[place[self.texts[row]] for row in own]]
        return LabelledQueries(self.ids, self.texts, self.counts, gold)

    def joined(self, others: LabelledQueries) -> LabelledQueries:
        """These queries, and then ``others``."""
        return LabelledQueries(
            self.ids + others.ids,
            self.texts + others.texts,
            np.concatenate([self.counts, others.counts]),
            np.concatenate([self.gold, others.gold]),
        )

    def take(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> LabelledQueries:
        """The queries at these positions."""
        chosen = np.asarray(rows, dtype=np.int64)
        return LabelledQueries(
            [self.ids[row] for row in chosen],
            [self.texts[row] for row in chosen],
            self.counts[chosen],
            self.gold[chosen],
        )


def read_labels(path: Path, queries: Mapping[str, str], taxonomy: Taxonomy) -> LabelledQueries:
    """Reads a tab-separated labels file and takes the texts from ``queries``, by id.

    Raises ``DataError`` that names the line when a column is missing, an id is unknown or appears
    twice, a checksum is not that of the text, a count is no number or a label is not in the
    taxonomy.
    """
    ids: list[str] = []
    texts: list[str] = []
    counts: list[int] = []
    codes: list[list[str]] = []
    seen: dict[str, int] = {}
    for number, (identity, checksum, count, labels) in read_table(path, HEADER):
        if identity in seen:
            raise DataError(f"{path}:{number}: id {identity} stands in line {seen[identity]} too")
        seen[identity] = number
        if identity not in queries:
            raise DataError(f"{path}:{number}: id {identity} is in no collection")
        if text_sum(queries[identity]) != checksum:
            raise DataError(
                f"{path}:{number}: id {identity} has checksum {checksum}, the collection's text "
                f"has {text_sum(queries[identity])}"
            )
        if not _COUNT.fullmatch(count):
            raise DataError(f"{path}:{number}: count {count!r} is not a number from 1 to 999999999")
        ids.append(identity)
        texts.append(queries[identity])
        counts.append(int(count))
        codes.append(_codes(labels, taxonomy, f"{path}:{number}"))
    if not ids:
        raise DataError(f"{path}: no labelled query")
    return LabelledQueries(ids, texts, np.array(counts, np.int64), gold_sets(codes, taxonomy))


def _codes(labels: str, taxonomy: Taxonomy, place: str) -> list[str]:
    codes = labels.split()
    if codes == [NO_LABEL]:
        return []
    for code in codes:
        try:
            taxonomy.index_of(code)
        except KeyError:
            raise DataError(f"{place}: label {code!r} is not in the taxonomy") from None
    if not codes:
        raise DataError(f"{place}: no label ({NO_LABEL!r} says that none is right)")
    return codes


def gold_sets(codes: list[list[str]], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """bool [queries, labels] from label codes; a subtopic's topic is set with it."""
    gold = np.zeros((len(codes), len(taxonomy)), dtype=bool)
    for row, labels in enumerate(codes):
        for code in labels:
            place = taxonomy.index_of(code)
            gold[row, place] = True
            if taxonomy.parents[place] >= 0:
                gold[row, taxonomy.parents[place]] = True
    return gold


def refuse_leakage(learned: LabelledQueries, test: LabelledQueries, kind: str) -> None:
    """Raises ``DataError`` with the number of test queries whose text ``learned`` has too.

    It names the first of them and their like; ``kind`` says what ``learned`` holds.
    """
    place = {text: row for row, text in enumerate(learned.texts)}
    found = [
        f"{identity} that of {learned.ids[place[text]]}"
        for text, identity in zip(test.texts, test.ids, strict=True)
        if text in place
    ]
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DataError(
            f"{len(found)} of {len(test)} test queries have the text of a {kind} query: "
            f"{', '.join(found[:_SHOWN])}{more}"
        )
