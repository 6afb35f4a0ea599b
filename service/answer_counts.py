"""Counts what a model answers: queries, covered queries, labels, unknown tokens."""

from __future__ import annotations

from pathlib import Path

from service.counters import CounterFile
from topiccore import TopicModel
from topiccore._scoring import Tally

KIND = "answers"
QUERIES, COVERED, TRUNCATED, TOKENS, UNKNOWN, LIVE = range(6)
NAMES = (
    "topiccore_queries_total",
    "topiccore_covered_queries_total",
    "topiccore_truncated_queries_total",
    "topiccore_tokens_total",
    "topiccore_unknown_tokens_total",
    "topiccore_model_workers",
)
"""The first five are those of a ``Tally``, in its order."""
LABEL_NAME = "topiccore_emitted_labels_total"


class AnswerCounts:
    """The counts of one artifact in one process; threads may share it.

    ``tally`` is for answers by the model's own thresholds: others tell what a client asked for.
    """

    def __init__(self, folder: Path, model: TopicModel):
        self.model = model.id
        codes = [label.code for label in model.taxonomy]
        names = [(name, (model.id,)) for name in NAMES]
        labels = [(LABEL_NAME, (model.id, code)) for code in codes]
        self._file = CounterFile(
            folder,
            KIND,
            [*names[:LIVE], *labels, names[LIVE]],
            artifact=model.id,
            expected=model.training.get("expected"),
        )
        self.tally = Tally(self._file.values[:-1], codes)

    def set_live(self, live: bool) -> None:
        """Tells whether this artifact is the one that the process answers with."""
        self._file.values[-1] = int(live)

    def remove(self) -> None:
        """Ends counting, when another artifact has taken the place of this."""
        self._file.remove()
