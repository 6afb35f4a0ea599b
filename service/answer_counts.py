"""Counts what a model answers: queries, covered queries, labels, unknown tokens."""

from __future__ import annotations

import threading
from pathlib import Path

from service.counters import CounterFile
from topiccore import Answer, TopicModel
from topiccore._scoring import features

KIND = "answers"
SAMPLED = 64
"""One query of so many is looked at for unknown tokens, which costs more than to score it."""
QUERIES, COVERED, TRUNCATED, SAMPLES, TOKENS, UNKNOWN, LIVE, LABELS = range(8)
NAMES = (
    "topiccore_queries_total",
    "topiccore_covered_queries_total",
    "topiccore_truncated_queries_total",
    "topiccore_sampled_queries_total",
    "topiccore_sampled_tokens_total",
    "topiccore_sampled_unknown_tokens_total",
    "topiccore_model_workers",
)
LABEL_NAME = "topiccore_emitted_labels_total"


class AnswerCounts:
    """The counts of one artifact in one process; threads may share it.

    Only answers by the model's own thresholds count: the others tell what a client asked for.
    """

    def __init__(self, folder: Path, model: TopicModel):
        self._model = model
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

    def add(self, query: bytes, answer: Answer, whole: bool) -> None:
        """Counts an answer; ``whole`` tells that no label of it was cut off."""
        values, places = self._file.values, self._places
        with self._lock:
            number = values[QUERIES]
            values[QUERIES] = number + 1
            if answer:
                values[COVERED] += 1
                if whole:
                    for label in answer:
                        values[places[label.code]] += 1
            if answer.truncated:
                values[TRUNCATED] += 1
        if number % SAMPLED == 0:
            self._sample(query)

    def _sample(self, query: bytes) -> None:
        tokens, unknown = unknown_tokens(self._model, query)
        values = self._file.values
        with self._lock:
            values[SAMPLES] += 1
            values[TOKENS] += tokens
            values[UNKNOWN] += unknown

    def set_live(self, live: bool) -> None:
        """Tells whether this artifact is the one that the process answers with."""
        self._file.values[LIVE] = int(live)

    def remove(self) -> None:
        """Ends counting, when another artifact has taken the place of this."""
        self._file.remove()


def unknown_tokens(model: TopicModel, query: bytes) -> tuple[int, int]:
    """The tokens of a query, and those of them that the model has no row for."""
    _, buckets, counts = features([query])
    tokens = int(counts[0])
    index = model.artifact.index
    unknown = 0
    for bucket in buckets[:tokens].tolist():
        first, end = index.groups[bucket >> 16], index.groups[(bucket >> 16) + 1]
        unknown += bucket & 0xFFFF not in index.keys[first:end]
    return tokens, unknown
