"""Every figure of a report, as one JSON-able dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from topiccore import TopicModel
from training.dataset import Dataset
from training.quality import PRECISION, measure
from training.report.answers import answers_of
from training.report.comparison import compare
from training.report.confusions import confusions
from training.report.curves import Curves, curves
from training.report.errors import errors
from training.report.groups import by_length, by_unknown_tokens
from training.report.per_label import below_target, per_label
from training.report.reliability import reliability

SCHEMA = "topiccore-report-2"
"""The version of the JSON file; it rises when a key is renamed or goes, or means something else."""
THIS_MODEL = "this model"
Figures = dict[str, Any]


def figures(
    model: TopicModel,
    data: Dataset,
    others: Mapping[str, Curves],
    learning_curve: Sequence[tuple[int, float]],
    previous: TopicModel | None,
) -> Figures:
    """The figures of a model on the test queries; on the validation queries where there are none.

    ``others`` are curves of other scorers on the same queries; ``learning_curve`` pairs numbers of
    labelled queries with coverage at 90 % precision; ``previous`` is an artifact to compare with.
    """
    queries = data.test if len(data.test) else data.validation
    answers = answers_of(model, queries)
    quality = measure(model, queries)
    labels = per_label(model, data, queries, answers)
    settings = dict(model.artifact.training).get("settings", {})
    target = settings.get("thresholds", {}).get("precision", PRECISION)
    found: Figures = {
        "schema": SCHEMA,
        "model": model.id,
        "measured_on": "test queries" if len(data.test) else "validation queries",
        "queries": len(queries),
        "traffic": int(queries.counts.sum()),
        "labels": [
            {"code": x.code, "name": model.taxonomy.full_name(x.code), "topic": x.topic is None}
            for x in model.taxonomy
        ],
        "quality": quality,
        "curves": {THIS_MODEL: curves(answers.scores, queries, model.taxonomy), **others},
        "coverage_at_90": {
            THIS_MODEL: {
                view: {name: own["coverage_at_90"] for name, own in quality[view].items()}
                for view in quality
                if isinstance(quality[view], dict)
            },
            **{name: _at_precision(found) for name, found in others.items()},
        },
        "per_label": labels,
        "below_target": {"target": target, "labels": below_target(labels, target)},
        "confusions": confusions(answers.emitted, queries.gold, model.taxonomy),
        "reliability": reliability(answers.scores, queries.gold),
        "learning_curve": [list(pair) for pair in learning_curve],
        "errors": errors(queries, answers, model.taxonomy),
        "by_length": by_length(queries, answers),
        "by_unknown_tokens": by_unknown_tokens(queries, answers),
        "training": dict(model.artifact.training),
        "data": dict(model.artifact.data),
        "sums": dict(data.sums),
        "sizes": {
            "training queries": len(data.train),
            "validation queries": len(data.validation),
            "test queries": len(data.test),
            "unlabelled texts": len(data.pool),
        },
    }
    if previous is not None:
        found["comparison"] = compare(model, answers, previous, queries)
    return found


def _at_precision(found: Curves) -> dict[str, dict[str, float]]:
    return {
        view: {
            name: max((x for x, y in points if y >= PRECISION), default=0.0)
            for name, points in by_weighting.items()
        }
        for view, by_weighting in found.items()
    }
