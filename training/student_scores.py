"""A student of labels alone, as a function from queries to scores: for cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.examples import labelled_examples
from training.labels import LabelledQueries
from training.stages import Run
from training.student import sigmoid


def student_of(
    run: Run,
) -> Callable[[LabelledQueries], Callable[[list[str]], NDArray[np.floating]]]:
    """A maker of students with the settings and features of a run."""

    def fit(queries: LabelledQueries) -> Callable[[list[str]], NDArray[np.floating]]:
        examples = labelled_examples(replace(run.data, train=queries))
        estimator = run.estimator()
        estimator.report = None
        estimator.fit_stream(
            examples.chunks(run.features, run.config.seed),
            len(examples),
            examples.occurrences(run.features),
            examples.prior(),
        )

        def scores(texts: list[str]) -> NDArray[np.floating]:
            return sigmoid(estimator.logits(*run.features.transform(texts)))

        return scores

    return fit
