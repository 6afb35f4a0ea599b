"""Scores with one artifact the queries that another answers, and counts the differences."""

from __future__ import annotations

import logging
from time import perf_counter_ns

from service.comparison_counts import ComparisonCounts
from topiccore import Answer, TopicModel

logger = logging.getLogger(__name__)


class Comparer:
    """Called with each answer, before it is written; changes and raises nothing."""

    def __init__(self, other: TopicModel, counts: ComparisonCounts, *, stable_answers: bool):
        self._other = other
        self._counts = counts
        self._stable_answers = stable_answers
        self._told = False

    def one(self, query: bytes, answer: Answer, nanoseconds: int) -> None:
        """Compares the answer to a query, for which the model took this time."""
        try:
            started = perf_counter_ns()
            other = self._other.score(query)
            taken = perf_counter_ns() - started
            if self._stable_answers:
                self._counts.add(answer, other, nanoseconds, taken)
            else:
                self._counts.add(other, answer, taken, nanoseconds)
        except Exception as error:
            self._failed(error, 1)

    def many(self, queries: list[bytes], answers: list[Answer], nanoseconds: int) -> None:
        """The same for a batch; each query counts with the mean time."""
        if not queries:
            return
        try:
            started = perf_counter_ns()
            others = self._other.score_batch(queries)
            times = (nanoseconds // len(queries), (perf_counter_ns() - started) // len(queries))
            if self._stable_answers:
                for pair in zip(answers, others, strict=True):
                    self._counts.add(*pair, *times)
            else:
                for pair in zip(others, answers, strict=True):
                    self._counts.add(*pair, *times[::-1])
        except Exception as error:
            self._failed(error, len(queries))

    def _failed(self, error: Exception, queries: int) -> None:
        self._counts.failed(queries)
        if not self._told:
            self._told = True
            # Not the error's message: it may have the query.
            logger.error("a comparison failed with %s; more are only counted", type(error).__name__)
