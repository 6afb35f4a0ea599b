"""Calibration: from a query's logits to scores that are probabilities.

    score[l] = sigmoid(bent(slope[l] * (logit[l] + weights[l] . context[l]) + intercept[l]))

The context (``training.context``) is what the query's other labels say: a topic whose rival is
nearly as strong is less sure than its logit alone tells, one with a strong subtopic is surer.
The bend (``training.bends``) is for scores that are next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from topiccore.artifact import Artifact
from topiccore.taxonomy import Taxonomy
from training.bends import bent, fit_bend, straightened
from training.context import context
from training.student import sigmoid

FOLDS = 10
"""Parts for cross-fitting: each calibration has seen nine tenths of the queries."""
_STEPS = 25
_CLOSE_ENOUGH = 1e-5
_LEAST_SLOPE = 0.05
_LOW = -12.0
"""Logits below this say no more than this: far too low for a label to be emitted."""
_FOCUS, _LABELS_A_POWER = 6, 500
"""The most and, for a power of 1, how many labels the queries have: see ``focus``."""
_LEAST_WEIGHT = 1e-4
"""What a pair without any chance weighs."""

_LARGEST = 1e12
"""Logits beyond this are overflows; times any weight it is still a float32."""


@dataclass(frozen=True)
class Calibration:
    """``slopes`` (above 0) and ``intercepts`` float32 [labels], ``weights`` float32 [3, labels].

    ``bends`` is float32 [2, labels]: knees and steepness; left out, there is no bend.
    """

    slopes: NDArray[np.float32]
    intercepts: NDArray[np.float32]
    weights: NDArray[np.float32]
    bends: NDArray[np.float32] = field(default_factory=lambda: np.zeros((2, 1), np.float32))

    @classmethod
    def of(cls, artifact: Artifact) -> Calibration:
        """That of an artifact."""
        return cls(artifact.slopes, artifact.intercepts, artifact.context, artifact.bends)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """As an artifact names them."""
        return {
            "slopes": self.slopes,
            "intercepts": self.intercepts,
            "context": self.weights,
            "bends": self.bends,
        }

    def in_context(
        self, logits: NDArray[np.floating[Any]], taxonomy: Taxonomy
    ) -> NDArray[np.float32]:
        """Logits in context, what thresholds are compared with; float32 [queries, labels].

        Weights that were spoilt can have logits overflow: infinite ones count as very large ones,
        and one that is no number as a very low one, which no threshold lets pass either.
        """
        sums = np.nan_to_num(np.array(logits, dtype=np.float32), copy=False, nan=-np.inf)
        np.clip(sums, -_LARGEST, _LARGEST, out=sums)
        for weights, values in zip(self.weights, context(sums, taxonomy), strict=True):
            sums += weights * values
        return sums

    def straight(
        self, logits: NDArray[np.floating[Any]], taxonomy: Taxonomy
    ) -> NDArray[np.float32]:
        """Log-odds before the bend, float32 [queries, labels], from logits of that shape."""
        return self.in_context(logits, taxonomy) * self.slopes + self.intercepts

    def scores(self, logits: NDArray[np.floating[Any]], taxonomy: Taxonomy) -> NDArray[np.float32]:
        """The scores, float32 [queries, labels], from logits of that shape."""
        return sigmoid(bent(self.straight(logits, taxonomy), *self.bends))

    def logit_at(self, score: float) -> NDArray[np.float64]:
        """float64 [labels]: the logit in context at which a label has this score, in (0, 1)."""
        odds = np.full(len(self.slopes), np.log(score / (1 - score)))
        odds = straightened(odds, *self.bends.astype(float))
        return np.asarray((odds - self.intercepts.astype(float)) / self.slopes)


def calibrate(
    logits: NDArray[np.floating[Any]],
    gold: NDArray[np.bool_],
    taxonomy: Taxonomy,
    prior: float = 100.0,
    pair_weights: NDArray[np.float32] | None = None,
) -> Calibration:
    """Fits a calibration on queries the student has not learned from.

    All topics share one slope and one set of weights, and so do all subtopics: a logistic
    regression on logit and context.  Then each label gets a slope and an intercept on top of that
    (Platt 1999), which a normal prior of precision ``prior`` pulls to 1 and 0, so that a label
    with little evidence has what its level has.

    ``pair_weights``, [queries, labels], is what each pair of a query and a label weighs.  Left out:
    a power (``focus``) of its score by a first fit in which all weigh the same.  Of a million pairs
    hardly any is in question, and what is best for all of them is far off where decisions are made.
    What is best there reads too high below; last, a bend for each level mends that.
    """
    if pair_weights is None:
        equal = np.ones(logits.shape, np.float32)
        first = calibrate(logits, gold, taxonomy, prior, equal)
        scores = first.scores(logits, taxonomy)
        pair_weights = np.maximum(scores ** focus(gold), np.float32(_LEAST_WEIGHT))
    labels = len(taxonomy)
    slopes, intercepts = np.ones(labels), np.zeros(labels)
    weights = np.zeros((3, labels))
    planes = context(logits, taxonomy)
    topics = taxonomy.parents < 0
    for level in (topics, ~topics):
        if level.any() and 0 < gold[:, level].sum() < gold[:, level].size:
            inputs = np.stack([logits[:, level], *planes[:, :, level]], axis=-1).reshape(-1, 4)
            inputs = np.maximum(inputs, _LOW)
            fitted = LogisticRegression(C=1e3, max_iter=1000).fit(
                inputs, gold[:, level].ravel(), sample_weight=pair_weights[:, level].ravel()
            )
            slopes[level] = max(float(fitted.coef_[0, 0]), _LEAST_SLOPE)
            weights[:, level] = fitted.coef_[0, 1:, None] / slopes[level]
            intercepts[level] = fitted.intercept_[0]
    shared = Calibration(*(x.astype(np.float32) for x in (slopes, intercepts, weights)))
    log_odds = shared.straight(logits, taxonomy)
    scale, shift = _fit(np.clip(log_odds, -40, 40), gold, pair_weights, prior)
    fitted_to_labels = Calibration(
        (slopes * scale).astype(np.float32),
        (intercepts * scale + shift).astype(np.float32),
        weights.astype(np.float32),
    )
    log_odds = fitted_to_labels.straight(logits, taxonomy)
    bends = np.zeros((2, labels), np.float32)
    for level in (topics, ~topics):
        bends[:, level] = np.reshape(fit_bend(log_odds[:, level], gold[:, level]), (2, 1))
    return replace(fitted_to_labels, bends=bends)


def focus(gold: NDArray[np.bool_]) -> float:
    """The power of its score that a pair weighs: the more labels queries have, the higher, 1 to 6.

    The higher, the fewer pairs decide: those that are nearly sure, where the target's cut lies.
    """
    return min(max(int(gold.sum()) / _LABELS_A_POWER, 1.0), _FOCUS)


def cross_fitted_scores(
    logits: NDArray[np.floating[Any]],
    gold: NDArray[np.bool_],
    taxonomy: Taxonomy,
    seed: int,
    least: int = 0,
) -> NDArray[np.float32]:
    """float32 [queries, labels]: each query's scores by a calibration that has not seen the query.

    The queries are divided at random; each part is scored by a calibration of all other parts.
    A label that fewer than ``least`` queries of those have scores 0.
    """
    scores = np.empty(logits.shape, np.float32)
    order = np.random.default_rng(seed).permutation(len(logits))
    for part in np.array_split(order, min(FOLDS, len(order))):
        rest = np.setdiff1d(order, part)
        fitted = calibrate(logits[rest], gold[rest], taxonomy)
        seen = gold[rest].sum(axis=0) >= least
        scores[part] = np.where(seen, fitted.scores(logits[part], taxonomy), 0)
    return scores


def _fit(
    values: NDArray[np.float32],
    gold: NDArray[np.bool_],
    weights: NDArray[np.float32],
    prior: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Newton's method in every column at once.
    slopes, intercepts = np.ones(values.shape[1]), np.zeros(values.shape[1])
    for _ in range(_STEPS):
        scores = sigmoid(values * slopes.astype(np.float32) + intercepts.astype(np.float32))
        error = weights * (scores - gold)
        curvature = weights * scores * (1 - scores)
        gradient_slope = np.einsum("ql,ql->l", error, values) + prior * (slopes - 1)
        gradient_intercept = error.sum(axis=0) + prior * intercepts
        weighted = curvature * values
        a = np.einsum("ql,ql->l", weighted, values) + prior
        b = weighted.sum(axis=0)
        c = curvature.sum(axis=0) + prior
        determinant = a * c - b * b
        step_slope = (c * gradient_slope - b * gradient_intercept) / determinant
        step_intercept = (a * gradient_intercept - b * gradient_slope) / determinant
        # Damped: far from the optimum a full Newton step can overshoot.
        size = np.maximum(1, np.maximum(np.abs(step_slope) / 0.5, np.abs(step_intercept) / 2))
        slopes = np.maximum(slopes - step_slope / size, _LEAST_SLOPE)
        intercepts = intercepts - step_intercept / size
        if max(np.abs(step_slope).max(), np.abs(step_intercept).max()) < _CLOSE_ENOUGH:
            break
    return slopes, intercepts


def calibration_error(
    scores: NDArray[np.floating[Any]], gold: NDArray[np.bool_], bins: int = 15
) -> float:
    """Expected calibration error over all (query, label) pairs with a score of at least 0.05.

    Pairs are put into ``bins`` of equal size by score; the error is the mean distance between
    mean score and share that is right, weighted by size.  Below 0.05 nearly every pair is easy,
    and millions of them would hide what happens where decisions are made.
    """
    chosen = scores >= 0.05
    values, right = scores[chosen], gold[chosen]
    if not len(values):
        return 0.0
    order = np.argsort(values, kind="stable")
    total = sum(
        abs(float(values[part].mean()) - float(right[part].mean())) * len(part)
        for part in np.array_split(order, min(bins, len(order)))
    )
    return total / len(values)
