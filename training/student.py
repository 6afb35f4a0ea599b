"""The student: one logistic regression per label, all trained together, from a stream of chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

_EPSILON = 1e-8
_BLOCKS = 4
"""Labels are learned in so many groups, on as many threads as there are cores.  A fixed number,
because the shape of a matrix product can change its last bits."""


@dataclass(frozen=True)
class Chunk:
    """Some examples: features and targets in [0, 1].

    ``sparse`` is float32 CSR [queries, columns], ``dense`` float32 [queries, dimensions],
    ``targets`` [queries, labels] (CSR or array), ``weights`` float32 [queries].
    """

    sparse: sp.csr_matrix
    dense: NDArray[np.float32]
    targets: Any
    weights: NDArray[np.float32]


class MultiLabelLogisticRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Multi-label logistic regression on sparse and dense features, by minibatch Adagrad.

    A scikit-learn estimator: ``fit``, ``decision_function``, ``predict_proba``, ``predict``,
    ``coef_`` [labels, features] and ``intercept_`` [labels], float32.  All labels learn in one
    pass over the data, and targets may be any probability in [0, 1], where scikit-learn's
    one-versus-rest fits every label by itself to 0 or 1.  ``fit_stream`` learns from chunks that
    are made while it runs: memory does not grow with the examples.

    Adagrad: Duchi, Hazan, Singer 2011 (JMLR 12); the rate falls linearly to 0.  Rows of weights
    that a minibatch does not touch are not read.  One seed gives one result on any number of
    cores.

    Args:
        epochs: passes over the data.
        batch: queries per step.
        learning_rate: initial Adagrad rate of the sparse features and the intercept.
        dense_learning_rate: the same for the dense features.
        dense_features: how many of the last columns of ``fit``'s matrix are dense (word vectors).
        l2: the L2 penalty of the sparse features; a feature's is spread over its occurrences.
        smoothing: targets are moved to [smoothing, 1 - smoothing].
        seed: of the order of the examples.
        report: called with a line of progress per epoch.
    """

    def __init__(
        self,
        *,
        epochs: int = 6,
        batch: int = 256,
        learning_rate: float = 1.0,
        dense_learning_rate: float = 0.1,
        dense_features: int = 0,
        l2: float = 0.1,
        smoothing: float = 0.005,
        seed: int = 0,
        report: Callable[[str], None] | None = None,
    ):
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.dense_learning_rate = dense_learning_rate
        self.dense_features = dense_features
        self.l2 = l2
        self.smoothing = smoothing
        self.seed = seed
        self.report = report

    def fit(self, X: sp.csr_matrix, y: NDArray[Any]) -> MultiLabelLogisticRegression:  # noqa: N803
        """Learns from CSR [queries, features] and targets in [0, 1], [queries, labels].

        Raises ``ValueError`` when shapes, values or settings are not such.
        """
        X = sp.csr_matrix(X, dtype=np.float32)  # noqa: N806
        y = np.asarray(y)
        self._check(X, y)
        split = X.shape[1] - self.dense_features
        sparse, dense = X[:, :split], np.asarray(X[:, split:].todense(), dtype=np.float32)
        rng = np.random.default_rng(self.seed)
        ones = np.ones(X.shape[0], np.float32)

        def epoch(_: int) -> Iterator[Chunk]:
            order = rng.permutation(X.shape[0])
            yield Chunk(sparse[order], dense[order], y[order], ones)

        prior = np.asarray(y.mean(axis=0)).ravel()
        occurrences = np.bincount(sparse.indices, minlength=split)
        return self.fit_stream(epoch, X.shape[0], occurrences, prior)

    def fit_stream(
        self,
        epoch: Callable[[int], Iterable[Chunk]],
        queries: int,
        occurrences: NDArray[np.integer[Any]],
        prior: NDArray[np.floating[Any]],
    ) -> MultiLabelLogisticRegression:
        """Learns from the chunks that ``epoch(number)`` yields, number from 0 to ``epochs`` - 1.

        Args:
            epoch: makes one pass over the examples, in an order of its own.
            queries: how many there are in a pass; the learning rate falls over all passes.
            occurrences: in how many queries each sparse feature stands, [sparse features].
            prior: the mean target of each label, [labels]; where the intercepts start.
        """
        blocks = [block for block in np.array_split(np.arange(len(prior)), _BLOCKS) if len(block)]
        steps = _Steps(self, occurrences, queries)
        learners = [_Adagrad(steps, prior[block]) for block in blocks]
        # The threads below are the cores' work; BLAS starting its own would only be in their way.
        with ThreadPoolExecutor() as pool, threadpool_limits(1):
            for number in range(self.epochs):
                done = 0
                for chunk in epoch(number):
                    share = (number + done / queries) / self.epochs
                    list(
                        pool.map(
                            lambda pair, chunk=chunk, share=share: pair[0].learn(
                                chunk, chunk.targets[:, pair[1]], share
                            ),
                            zip(learners, blocks, strict=True),
                        )
                    )
                    done += chunk.sparse.shape[0]
                if self.report:
                    self.report(f"epoch {number + 1}/{self.epochs}")
        self.coef_ = np.vstack(
            [np.vstack([learner.weights, learner.dense_weights]).T for learner in learners]
        )
        self.intercept_ = np.concatenate([learner.bias for learner in learners])
        self.classes_ = np.arange(len(prior))
        self.n_features_in_ = len(occurrences) + self.dense_features
        return self

    def _check(self, X: sp.csr_matrix, y: NDArray[Any]) -> None:  # noqa: N803
        if y.ndim != 2:
            raise ValueError(f"targets have {y.ndim} dimensions, not 2")
        if X.shape[0] != y.shape[0] or X.shape[0] == 0:
            raise ValueError(f"{X.shape[0]} rows of features for {y.shape[0]} rows of targets")
        if y.size and not (y.min() >= 0 and y.max() <= 1):
            raise ValueError("targets are not all in [0, 1]")
        if not np.isfinite(X.data).all():
            raise ValueError("features are not all finite")
        if not 0 <= self.dense_features <= X.shape[1]:
            raise ValueError(f"{self.dense_features} dense features of {X.shape[1]}")
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, below 1")

    def decision_function(self, X: sp.csr_matrix) -> NDArray[np.float32]:  # noqa: N803
        """The logits, float32 [queries, labels], of CSR [queries, features]."""
        check_is_fitted(self)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def logits(self, sparse: sp.csr_matrix, dense: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same from the two parts of the features."""
        check_is_fitted(self)
        split = sparse.shape[1]
        values = sparse @ self.coef_[:, :split].T + dense @ self.coef_[:, split:].T
        return np.asarray(values + self.intercept_)

    def predict_proba(self, X: sp.csr_matrix) -> NDArray[np.float32]:  # noqa: N803
        """The scores before calibration, float32 [queries, labels]."""
        return sigmoid(self.decision_function(X))

    def predict(self, X: sp.csr_matrix) -> NDArray[np.int64]:  # noqa: N803
        """1 where a logit is at least 0, int64 [queries, labels]."""
        return np.asarray(self.decision_function(X) >= 0, dtype=np.int64)


def sigmoid(logits: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """1 / (1 + exp(-logits)), same dtype, without overflow warnings."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))))


class _Steps:
    """What all groups of labels share: sizes and settings."""

    def __init__(
        self,
        settings: MultiLabelLogisticRegression,
        occurrences: NDArray[np.integer[Any]],
        queries: int,
    ):
        self.columns = len(occurrences)
        self.dense = settings.dense_features
        self.batch = settings.batch
        self.epochs = settings.epochs
        self.queries = queries
        self.rate = np.float32(settings.learning_rate)
        self.dense_rate = np.float32(settings.dense_learning_rate)
        self.penalty = (settings.l2 / np.maximum(occurrences, 1)).astype(np.float32)
        self.smoothing = np.float32(settings.smoothing)


class _Adagrad:
    """A group of labels: weights [features, labels] and their sums of squared gradients."""

    def __init__(self, steps: _Steps, prior: NDArray[np.floating[Any]]):
        labels = len(prior)
        prior = np.clip(prior, 1e-5, 1 - 1e-5)
        self.steps = steps
        self.bias = np.log(prior / (1 - prior)).astype(np.float32)
        self.bias_squares = np.zeros(labels, np.float32)
        self.weights = np.zeros((steps.columns, labels), np.float32)
        self.squares = np.zeros_like(self.weights)
        self.dense_weights = np.zeros((steps.dense, labels), np.float32)
        self.dense_squares = np.zeros_like(self.dense_weights)
        self._buffers = np.empty((3, 0, labels), np.float32)

    def learn(self, chunk: Chunk, targets: Any, share: float) -> None:
        """Steps through a chunk; ``share`` of all the work was done before it."""
        steps = self.steps
        count = chunk.sparse.shape[0]
        for start in range(0, count, steps.batch):
            part = slice(start, start + steps.batch)
            wanted = targets[part]
            wanted = wanted.toarray() if sp.issparse(wanted) else wanted
            wanted = np.asarray(wanted, dtype=np.float32)
            wanted = wanted * (1 - 2 * steps.smoothing) + steps.smoothing
            done = share + start / steps.queries / steps.epochs
            self._step(chunk.sparse[part], chunk.dense[part], wanted, chunk.weights[part], 1 - done)

    def _step(
        self,
        sparse: sp.csr_matrix,
        dense: NDArray[np.float32],
        targets: NDArray[np.float32],
        example_weights: NDArray[np.float32],
        decay: float,
    ) -> None:
        touched, columns, counts = np.unique(
            sparse.indices, return_inverse=True, return_counts=True
        )
        if len(touched) > len(self._buffers[0]):
            self._buffers = np.empty((3, 2 * len(touched), len(self.bias)), np.float32)
        local = sp.csr_matrix(
            (sparse.data, columns.astype(np.int32), sparse.indptr),
            shape=(sparse.shape[0], len(touched)),
        )
        weights = _rows(self.weights, touched, self._buffers[0])
        errors = local @ weights
        errors += dense @ self.dense_weights
        errors += self.bias
        np.negative(errors, out=errors)
        np.exp(np.minimum(errors, 80, out=errors), out=errors)
        errors += 1
        np.reciprocal(errors, out=errors)
        errors -= targets
        errors *= example_weights[:, None]

        gradient = local.T @ errors
        penalty = (self.steps.penalty[touched] * counts.astype(np.float32))[:, None]
        # Into buffers: fresh memory for each step would cost more than the arithmetic.
        scratch = self._buffers[2][: len(touched)]
        gradient += np.multiply(weights, penalty, out=scratch)
        squares = _rows(self.squares, touched, self._buffers[1])
        squares += np.multiply(gradient, gradient, out=scratch)
        self.squares[touched] = squares
        np.sqrt(squares, out=squares)
        squares += _EPSILON
        gradient /= squares
        gradient *= self.steps.rate * np.float32(decay)
        weights -= gradient
        self.weights[touched] = weights

        rate = self.steps.dense_rate * np.float32(decay)
        gradient = dense.T @ errors
        self.dense_squares += gradient * gradient
        self.dense_weights -= rate * gradient / (np.sqrt(self.dense_squares) + _EPSILON)

        gradient = errors.sum(axis=0)
        self.bias_squares += gradient * gradient
        self.bias -= (
            self.steps.rate * np.float32(decay) * gradient / (np.sqrt(self.bias_squares) + _EPSILON)
        )


def _rows(
    values: NDArray[np.float32], rows: NDArray[np.integer[Any]], out: NDArray[np.float32]
) -> NDArray[np.float32]:
    # Without a mode, np.take would make a copy of ``out`` first.
    return values.take(rows, axis=0, out=out[: len(rows)], mode="clip")
