"""The part of a report that an artifact carries along: curves and counts of each label."""

from __future__ import annotations

from typing import Any

from topiccore import TopicModel
from training.labels import LabelledQueries
from training.report.answers import answers_of
from training.report.curves import curves

POINTS = 24


def brief(model: TopicModel, queries: LabelledQueries) -> dict[str, Any]:
    """Figures of a model on labelled queries, in some 15 kB of JSON for 356 labels.

    ``curves`` are as ``training.report.curves`` makes them, of fewer points.  ``per_label`` has by
    code ``[gold, emitted, right]``: the queries that have the label, that it was emitted for, and
    both.
    """
    answers = answers_of(model, queries)
    columns = (queries.gold, answers.emitted, queries.gold & answers.emitted)
    counts = zip(*(column.sum(axis=0).tolist() for column in columns), strict=True)
    return {
        "curves": curves(answers.scores, queries, model.taxonomy, POINTS),
        "per_label": {
            label.code: list(row) for label, row in zip(model.taxonomy, counts, strict=True)
        },
    }
