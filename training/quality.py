"""The quality of a model on labelled queries, as figures and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from topiccore import TopicModel
from training.calibration import Calibration, calibration_error
from training.evaluate import coverage_at_precision, quality, topic_scores, views
from training.labels import LabelledQueries

PRECISION = 0.9
"""The precision at which scorers are compared by the coverage they reach."""


def measure(model: TopicModel, queries: LabelledQueries) -> dict[str, Any]:
    """What the model emits by its own thresholds, and what its scores could reach.

    Returns ``queries``, ``calibration_error`` and, per view ("all labels", "topics", "subtopics")
    and weighting ("queries", "traffic"), ``precision``, ``coverage``, ``labels`` per query and
    ``coverage_at_90``; the last is by a single cut on the scores.
    """
    taxonomy = model.taxonomy
    emitted = np.zeros(queries.gold.shape, dtype=bool)
    for row, answer in enumerate(model.score_batch(queries.texts)):
        emitted[row, [taxonomy.index_of(label.code) for label in answer]] = True
    artifact = model.artifact
    calibration = Calibration.of(artifact)
    scores = calibration.scores(model.logits(queries.texts), taxonomy)
    raised = topic_scores(scores, taxonomy)
    figures: dict[str, Any] = {
        "queries": len(queries),
        "calibration_error": round(calibration_error(scores, queries.gold), 4),
    }
    for name, chosen in views(taxonomy):
        figures[name] = {}
        for weighting, weights in (("queries", None), ("traffic", queries.counts)):
            found = quality(emitted[:, chosen], queries.gold[:, chosen], weights)
            cut = coverage_at_precision(
                raised[:, chosen], queries.gold[:, chosen], PRECISION, weights
            )
            figures[name][weighting] = {
                "precision": round(found.precision, 4),
                "coverage": round(found.coverage, 4),
                "labels": round(found.labels, 4),
                "coverage_at_90": round(cut.coverage, 4),
            }
    return figures


def expected_shares(model: TopicModel, texts: Sequence[str]) -> dict[str, Any]:
    """What a model emits on queries it has not learned from, to compare live traffic with.

    Returns ``queries`` (how many), the shares ``coverage`` (of queries with a label) and
    ``unknown_tokens`` (of tokens without a row), and ``labels``: by code, the share of queries.
    """
    counts = Counter[str]()
    covered = tokens = unknown = 0
    for answer in model.score_batch(texts):
        counts.update([label.code for label in answer])
        covered += bool(answer)
        tokens += answer.tokens
        unknown += answer.unknown
    queries = len(texts)
    return {
        "queries": queries,
        "coverage": round(covered / max(queries, 1), 5),
        "unknown_tokens": round(unknown / max(tokens, 1), 5),
        "labels": {
            label.code: round(counts[label.code] / max(queries, 1), 5) for label in model.taxonomy
        },
    }


def quality_table(figures: dict[str, Any]) -> str:
    """The figures of ``measure`` as lines for people; a dash where nothing is emitted."""
    lines = [
        f"quality on {figures['queries']} test queries (by its own thresholds, each query once | "
        "weighted by traffic)",
        f"{'':12}{'precision':>18}{'coverage':>18}{'labels/query':>16}"
        f"{'coverage at 90 % precision':>30}",
    ]
    for name in ("all labels", "topics", "subtopics"):
        if name not in figures:
            continue
        once, traffic = figures[name]["queries"], figures[name]["traffic"]
        lines.append(
            f"{name:12}"
            + _pair(precision_of(once), precision_of(traffic), 18)
            + _pair(once["coverage"], traffic["coverage"], 18)
            + f"{once['labels']:16.2f}"
            + _pair(once["coverage_at_90"], traffic["coverage_at_90"], 30)
        )
    lines.append(f"expected calibration error: {figures['calibration_error']:.3f}")
    return "\n".join(lines)


def precision_of(figures: dict[str, float]) -> float | None:
    """The precision in figures of ``measure``; ``None`` where nothing is emitted: it has none."""
    return figures["precision"] if figures["coverage"] else None


def _pair(once: float | None, traffic: float | None, width: int) -> str:
    shown = ("-" if share is None else f"{share:.1%}" for share in (once, traffic))
    return " | ".join(shown).rjust(width)
