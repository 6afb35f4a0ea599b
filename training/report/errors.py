"""The queries a model gets wrong, by kind of error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy
from training.labels import LabelledQueries
from training.report.answers import Answers, told_codes

EXAMPLES = 50
NOTHING, NOT_ANY, TOPIC, SUBTOPIC, EXTRA = KINDS = (
    "nothing emitted",
    "emitted where no label is right",
    "wrong topic",
    "right topic, wrong subtopic",
    "an extra label beside right ones",
)


def errors(queries: LabelledQueries, answers: Answers, taxonomy: Taxonomy) -> dict[str, Any]:
    """By kind, ``count`` (queries), ``traffic`` (how often they were logged) and ``examples``.

    The examples are the most asked first, at most ``EXAMPLES``; each has the score of the label
    that matters: of the wrong label with the highest score, or of the best one not emitted.
    """
    found: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for row in range(len(queries)):
        kind = kind_of(answers.emitted[row], queries.gold[row], taxonomy)
        if kind:
            found[kind].append(row)
    return {
        kind: {
            "count": len(rows),
            "traffic": int(queries.counts[rows].sum()),
            "examples": [
                _example(queries, answers, row, taxonomy)
                for row in sorted(rows, key=lambda row: -int(queries.counts[row]))[:EXAMPLES]
            ],
        }
        for kind, rows in found.items()
    }


def kind_of(emitted: NDArray[np.bool_], gold: NDArray[np.bool_], taxonomy: Taxonomy) -> str | None:
    """The kind of error of one query, bool [labels]; ``None`` where nothing emitted is wrong."""
    if not emitted.any():
        return NOTHING if gold.any() else None
    extra = emitted & ~gold
    if not extra.any():
        return None
    if not gold.any():
        return NOT_ANY
    if not (emitted & gold).any():
        return TOPIC
    parents = taxonomy.parents
    subtopics = parents >= 0
    right_subtopic = (emitted & gold & subtopics).any()
    in_right_topic = (extra & subtopics & gold[parents]).any()
    return SUBTOPIC if in_right_topic and not right_subtopic else EXTRA


def _example(
    queries: LabelledQueries, answers: Answers, row: int, taxonomy: Taxonomy
) -> dict[str, Any]:
    emitted, gold = answers.emitted[row], queries.gold[row]
    wrong = emitted & ~gold
    place = int(np.where(wrong if wrong.any() else ~emitted, answers.scores[row], -1).argmax())
    return {
        "text": queries.texts[row],
        "traffic": int(queries.counts[row]),
        "gold": told_codes(gold, taxonomy),
        "emitted": told_codes(emitted, taxonomy),
        "label": taxonomy[place].code,
        "score": round(float(answers.scores[row, place]), 4),
    }
