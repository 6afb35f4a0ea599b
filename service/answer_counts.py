"""Counts what a model answers: queries, covered queries, labels, unknown tokens."""

from __future__ import annotations

import threading
from pathlib import Path

from service.counters import CounterFile
from topiccore import Answer, TopicModel

KIND = "answers"
QUERIES, COVERED, TRUNCATED, TOKENS, UNKNOWN, LIVE, LABELS = range(7)
NAMES = (
    "topiccore_queries_total",
    "topiccore_covered_queries_total",
    "topiccore_truncated_queries_total",
    "topiccore_tokens_total",
    "topiccore_unknown_tokens_total",
    "topiccore_model_workers",
)
LABEL_NAME = "topiccore_emitted_labels_total"


class AnswerCounts:
    """The counts of one artifact in one process; threads may share it.

    Only answers by the model's own thresholds count: the others tell what a client asked for.
    """

    def __init__(self, folder: Path, model: TopicModel):
        self.model = model.id
        codes = [label.code for label in model.taxonomy]
        self._places = {code: LABELS + i for i, code in enumerate(codes)}
        self._file = CounterFile(
            folder,
            KIND,
            [(name, (model.id,)) for name in NAMES] + [(LABEL_NAME, (model.id, c)) for c in codes],
            artifact=model.id,
            expected=model.training.get("expected"),
        )
        self._lock = threading.Lock()

    def add(self, answer: Answer, whole: bool) -> None:
        """Counts an answer; ``whole`` tells that no label of it was cut off."""
        values, places = self._file.values, self._places
        with self._lock:
            values[QUERIES] += 1
            values[TOKENS] += answer.tokens
            if answer.unknown:
                values[UNKNOWN] += answer.unknown
            if answer:
                values[COVERED] += 1
                if whole:
                    for label in answer:
                        values[places[label.code]] += 1
            if answer.truncated:
                values[TRUNCATED] += 1

    def set_live(self, live: bool) -> None:
        """Tells whether this artifact is the one that the process answers with."""
        self._file.values[LIVE] = int(live)

    def remove(self) -> None:
        """Ends counting, when another artifact has taken the place of this."""
        self._file.remove()
