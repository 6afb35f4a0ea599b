"""What the student learns from: labelled and annotated queries, streamed in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training.annotations import Annotations, annotated_ids, learned_ids, read_annotations
from training.config import AnnotationsConfig
from training.dataset import Dataset
from training.errors import DataError
from training.features import QueryFeatures
from training.pool import pool_texts
from training.stored_examples import StoredExamples
from training.student import Chunk

CHUNK = 8192
"""Queries whose features are in memory at a time."""


@dataclass(frozen=True)
class Examples:
    """Texts with targets in [0, 1], float32 CSR [texts, labels], and weights, float32 [texts]."""

    texts: list[str]
    targets: sp.csr_matrix
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.texts)

    def text_batches(self) -> Iterator[list[str]]:
        """All texts, some at a time."""
        yield self.texts

    def totals(self) -> tuple[float, NDArray[np.float64]]:
        """The sum of the weights, and of each label's weighted targets, [labels]."""
        return float(self.weights.sum()), np.asarray(self.targets.T @ self.weights.astype(float))

    def prior(self) -> NDArray[np.float64]:
        """The weighted mean target of each label, [labels]."""
        weight, targets = self.totals()
        return targets / weight

    def chunks(self, features: QueryFeatures, seed: int) -> Callable[[int], Iterator[Chunk]]:
        """A maker of passes over the examples, each in an order of its own."""

        def epoch(number: int) -> Iterator[Chunk]:
            order = np.random.default_rng([seed, number]).permutation(len(self))
            for start in range(0, len(order), CHUNK):
                chosen = order[start : start + CHUNK]
                sparse, dense = features.transform([self.texts[i] for i in chosen.tolist()])
                yield Chunk(sparse, dense, self.targets[chosen], self.weights[chosen])

        return epoch

    def occurrences(self, features: QueryFeatures) -> NDArray[np.int64]:
        """In how many examples each sparse feature stands, int64 [sparse features]."""
        counts = np.zeros(features.sparse_columns, np.int64)
        for start in range(0, len(self), CHUNK):
            sparse, _ = features.transform(self.texts[start : start + CHUNK])
            counts += np.bincount(sparse.indices, minlength=len(counts))
        return counts


@dataclass(frozen=True)
class StreamedExamples:
    """Examples in memory, and more of them in files; what ``Examples`` does, in bounded memory."""

    memory: Examples
    stored: StoredExamples

    def __len__(self) -> int:
        return len(self.memory) + len(self.stored)

    def text_batches(self) -> Iterator[list[str]]:
        """All texts, some at a time."""
        yield from self.memory.text_batches()
        yield from self.stored.text_batches()

    def prior(self) -> NDArray[np.float64]:
        """The weighted mean target of each label, [labels]."""
        weight, targets = self.memory.totals()
        more = self.stored.totals
        return np.asarray((targets + more.targets) / (weight + more.weight))

    def chunks(self, features: QueryFeatures, seed: int) -> Callable[[int], Iterator[Chunk]]:
        """A maker of passes over the examples, each in an order of its own.

        Chunks of the examples in memory come between those of the files, evenly spread.
        """
        in_memory = self.memory.chunks(features, seed)

        def epoch(number: int) -> Iterator[Chunk]:
            ours = in_memory(number)
            every = len(self.stored) / max(len(self.memory), 1)
            due = 0.0
            for batch in self.stored.batches([seed, number], CHUNK):
                while due <= 0 and (chunk := next(ours, None)) is not None:
                    yield chunk
                    due += every * chunk.sparse.shape[0]
                due -= len(batch.texts)
                yield Chunk(*features.transform(batch.texts), batch.targets, batch.weights)
            yield from ours

        return epoch

    def occurrences(self, features: QueryFeatures) -> NDArray[np.int64]:
        """In how many examples each sparse feature stands, int64 [sparse features]."""
        counts = self.memory.occurrences(features)
        for texts in self.stored.text_batches():
            for start in range(0, len(texts), CHUNK):
                sparse, _ = features.transform(texts[start : start + CHUNK])
                counts += np.bincount(sparse.indices, minlength=len(counts))
        return counts


def labelled_examples(data: Dataset) -> Examples:
    """The training queries with their gold sets."""
    train = data.train
    gold = sp.csr_matrix(train.gold, dtype=np.float32)
    return Examples(train.texts, gold, np.ones(len(train), np.float32))


def annotated_examples(
    data: Dataset,
    file: Path,
    config: AnnotationsConfig,
    cache: Path,
    report: Callable[[str], None],
) -> Examples:
    """The training queries and what the teacher says of them and of other texts.

    A labelled query's target is its gold set and, to the share ``config.labelled``, the teacher's
    out-of-fold scores; another text's target is the teacher's scores.  Raises ``DataError`` and
    ``CollectionError``.
    """
    weights = {
        name: weight
        for name, weight in vars(config).items()
        if name not in ("file", "texts", "texts_weight", "labelled") and weight > 0
    }
    # Filled-in rows are not of the collections: the annotated texts are chosen without them.
    own = zip(data.train.texts, data.train.ids, strict=True)
    known = [*(text for text, identity in own if identity in data.queries), *data.validation.texts]
    identities = annotated_ids(file, {*weights, "logged"})
    wanted = {name: identities[name] for name in weights}
    seeds = _seeds(file, identities["logged"], data.queries)
    texts: dict[str, Mapping[str, str]] = {
        **pool_texts(cache, data.queries, seeds, known, data.test.texts, wanted, report)
    }
    if config.labelled:
        texts["labelled"] = data.queries
    found = read_annotations(file, texts, [label.code for label in data.taxonomy]).sources
    labelled = labelled_examples(data)
    if config.labelled:
        labelled = _mixed(labelled, data, found.pop("labelled"), config.labelled, file)
    taken = set(data.train.texts)
    others = []
    for name, part in found.items():
        free = [row for row, text in enumerate(part.texts) if text not in taken]
        weight = np.full(len(free), weights[name], np.float32)
        others.append(Examples([part.texts[row] for row in free], part.scores[free], weight))
    return joined([labelled, *others])


def _seeds(file: Path, annotated: Iterable[str], queries: Mapping[str, str]) -> list[str]:
    # What the teacher's queries were made from, whichever of them are labelled here: those that it
    # learned from and the logged ones that it annotated.
    learned, logged = learned_ids(file), set(annotated)
    if unknown := next((identity for identity in learned if identity not in queries), None):
        raise DataError(f"{file}: id {unknown} is in no collection")
    return [
        *(queries[identity] for identity in learned),
        *(text for identity, text in queries.items() if identity in logged),
    ]


def _mixed(
    labelled: Examples, data: Dataset, taught: Annotations, share: float, file: Path
) -> Examples:
    # Gold sets and, to a share, the teacher's scores; filled-in rows have none of these.
    rows = [row for row, identity in enumerate(data.train.ids) if identity in data.queries]
    scores = _rows_of(taught, [data.train.ids[row] for row in rows], file)
    own = sp.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, np.arange(len(rows)))),
        shape=(len(labelled), len(rows)),
    )
    weight = np.ones(len(labelled), np.float32)
    weight[rows] = 1 - share
    mixed = sp.diags(weight) @ labelled.targets + share * (own @ scores)
    return Examples(labelled.texts, sp.csr_matrix(mixed, dtype=np.float32), labelled.weights)


def _rows_of(part: Annotations, ids: Sequence[str], file: Path) -> sp.csr_matrix:
    row_of = {identity: row for row, identity in enumerate(part.ids)}
    if missing := next((identity for identity in ids if identity not in row_of), None):
        raise DataError(f"{file}: no annotation of the labelled query {missing}")
    return part.scores[[row_of[identity] for identity in ids]]


def joined(parts: Sequence[Examples]) -> Examples:
    """All examples of several sets."""
    return Examples(
        [text for part in parts for text in part.texts],
        sp.vstack([part.targets for part in parts], format="csr"),
        np.concatenate([part.weights for part in parts]),
    )
