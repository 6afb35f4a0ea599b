"""A student of labels alone, as a function from queries to scores: for cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.evaluate import coverage_at_precision, topic_scores
from training.examples import labelled_examples
from training.labels import LabelledQueries
from training.student import sigmoid

if TYPE_CHECKING:
    from training.stages import Run

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of the labelled queries: the points of a learning curve."""


def student_of(
    run: Run,
) -> Callable[[LabelledQueries], Callable[[list[str]], NDArray[np.floating]]]:
    """A maker of students with the settings and features of a run."""

    def fit(queries: LabelledQueries) -> Callable[[list[str]], NDArray[np.floating]]:
        examples = labelled_examples(replace(run.data, train=queries))
        estimator = run.learned(examples, quiet=True)

        def scores(texts: list[str]) -> NDArray[np.floating]:
            return sigmoid(estimator.logits(*run.features.transform(texts)))

        return scores

    return fit


def learning_curve(run: Run) -> Iterator[tuple[int, float]]:
    """(labelled queries, coverage at 90 % precision on the validation queries), fewest first."""
    train, validation = run.data.train, run.data.validation
    order = np.random.default_rng(run.config.seed).permutation(len(train))
    for share in SHARES:
        chosen = order[: round(share * len(order))]
        if not len(chosen):
            continue
        run.report(f"learning curve: {len(chosen)} labelled queries")
        scores = student_of(run)(train.take(np.sort(chosen)))(validation.texts)
        raised = topic_scores(scores, run.data.taxonomy)
        yield len(chosen), round(coverage_at_precision(raised, validation.gold).coverage, 4)
