"""From the members' logits to calibrated scores: gradient-boosted trees over (query, label) pairs.

Each pair is described by what every member says of the label, of its topic (or best subtopic) and
of its rivals, by the labels of the nearest labelled queries, and by the label's share.  One model
serves all labels, so rare labels borrow evidence from frequent ones.  The log-loss makes its
scores probabilities; labels that no member finds likely are not scored at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from topiccore.taxonomy import Taxonomy
from training.teacher_config import StackerConfig

Floats = NDArray[np.float32]


class Neighbours:
    """The labels of the most similar labelled queries, by cosine of their vectors."""

    def __init__(self, vectors: NDArray[np.float16], gold: NDArray[np.bool_], count: int):
        self.vectors = vectors.astype(np.float32)
        self.gold = gold
        # A labelled query is no neighbour of itself.
        self.count = min(count, len(vectors) - 1)

    def votes(
        self, vectors: NDArray[np.float16], first: int | None = None
    ) -> tuple[Floats, Floats]:
        """(share of the votes, similarity of the nearest with it), float32 [queries, labels].

        A vote weighs exp(12 (cosine - 1)).  ``first`` says that ``vectors`` are the labelled
        queries from that row on: a query is then no neighbour of itself.
        """
        shares = np.zeros((len(vectors), self.gold.shape[1]), np.float32)
        nearest = np.zeros_like(shares)
        for start in range(0, len(vectors), 1024):
            block = vectors[start : start + 1024].astype(np.float32)
            similarity = block @ self.vectors.T
            if first is not None:
                own = np.arange(len(block))
                similarity[own, first + start + own] = -1
            found = np.argpartition(-similarity, self.count, axis=1)[:, : self.count]
            similarity = np.take_along_axis(similarity, found, axis=1)
            weights = np.exp(12 * (similarity - 1))
            rows = slice(start, start + len(block))
            for place in range(self.count):
                gold = self.gold[found[:, place]]
                shares[rows] += weights[:, place, None] * gold
                np.maximum(nearest[rows], similarity[:, place, None] * gold, out=nearest[rows])
            shares[rows] /= weights.sum(axis=1, keepdims=True) + 0.02
        return shares, nearest


@dataclass(frozen=True)
class Pairs:
    """Candidate (query, label) pairs: their rows, labels and features [pairs, features]."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    features: Floats


class Stacker:
    """Scores pairs; ``fit`` on out-of-fold logits, ``scores`` on any."""

    def __init__(self, config: StackerConfig, taxonomy: Taxonomy, shares: NDArray[np.floating]):
        self.config = config
        self.parents = taxonomy.parents
        self.is_topic = taxonomy.parents < 0
        self.prior = np.log(shares + 1e-5).astype(np.float32)
        self.model: HistGradientBoostingClassifier | None = None

    def pairs(
        self, logits: Sequence[Floats], votes: tuple[Floats, Floats], texts: Sequence[str]
    ) -> Pairs:
        """The candidates of each text: its likeliest labels by the members' mean."""
        mean = np.mean([_sigmoid(member) for member in logits], axis=0)
        count = min(self.config.candidates, mean.shape[1])
        labels = np.argsort(-mean, axis=1, kind="stable")[:, :count].ravel()
        rank = np.tile(np.arange(count), len(mean))
        rows = np.repeat(np.arange(len(mean)), count)
        kept = mean[rows, labels] > self.config.least
        rows, labels, rank = rows[kept], labels[kept], rank[kept]
        columns = [column for member in logits for column in self._views(member, rows, labels)]
        shares, nearest = votes
        words = np.array([len(text.split()) for text in texts])
        characters = np.array([len(text) for text in texts])
        columns += [
            *(shares[rows, labels], nearest[rows, labels], nearest.max(axis=1)[rows]),
            *(rank, self.is_topic[labels], self.prior[labels]),
            *(words[rows], characters[rows], mean[rows, labels]),
        ]
        return Pairs(rows, labels, np.stack(columns, axis=1).astype(np.float32))

    def _views(
        self, logits: Floats, rows: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> list[Floats]:
        relatives = np.where(self.is_topic, -np.inf, 0).astype(np.float32) + logits
        best = np.full_like(logits, -np.inf)
        for label, parent in enumerate(self.parents.tolist()):
            if parent >= 0:
                np.maximum(best[:, parent], logits[:, label], out=best[:, parent])
        has_none = np.isinf(best[0]) & self.is_topic
        best[:, has_none] = logits[:, has_none]
        best[:, ~self.is_topic] = logits[:, self.parents[~self.is_topic]]
        ranked = -np.sort(-(relatives if not self.is_topic.all() else logits), axis=1)
        own = relatives[rows, labels]
        first = ranked[rows, 0]
        rival = np.where(own >= first, ranked[rows, min(1, ranked.shape[1] - 1)], first)
        expected = _sigmoid(relatives).sum(axis=1)[rows]
        return [logits[rows, labels], best[rows, labels], rival, expected]

    def fit(self, pairs: Pairs, gold: NDArray[np.bool_]) -> None:
        """Learns from out-of-fold pairs."""
        self.model = self._new().fit(pairs.features, gold[pairs.rows, pairs.labels])

    def out_of_fold(
        self, pairs: Pairs, gold: NDArray[np.bool_], folds: NDArray[np.int64]
    ) -> sp.csr_matrix:
        """float32 CSR [queries, labels]: each query scored by a model of the other ``folds``."""
        targets = gold[pairs.rows, pairs.labels]
        found = np.zeros(len(targets), np.float32)
        for fold in np.unique(folds):
            held = folds[pairs.rows] == fold
            model = self._new().fit(pairs.features[~held], targets[~held])
            found[held] = model.predict_proba(pairs.features[held])[:, 1]
        return sp.csr_matrix((found, (pairs.rows, pairs.labels)), shape=gold.shape)

    def scores(self, pairs: Pairs, queries: int) -> sp.csr_matrix:
        """float32 CSR [queries, labels], probabilities; pairs that are no candidates are absent."""
        if self.model is None:
            raise ValueError("the stacker is not fitted")
        found = self.model.predict_proba(pairs.features)[:, 1].astype(np.float32)
        return sp.csr_matrix(
            (found, (pairs.rows, pairs.labels)), shape=(queries, len(self.parents))
        )

    def _new(self) -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier(
            max_iter=self.config.trees,
            learning_rate=self.config.learning_rate,
            max_leaf_nodes=self.config.leaves,
            min_samples_leaf=100,
            l2_regularization=5,
            early_stopping=False,
            random_state=0,
        )


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)), dtype=np.float32)
