"""Scores queries as a request asks for, and writes the answers as JSON."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from service.encoding import encode
from service.live import START, LoadedModel, score_at
from service.score_request import NO_OPTIONS, Options
from topiccore import Answer, EmittedLabel, Explanation

SHARES = 50
"""The features that an explanation lists for a label: those with the largest shares."""


def answer_one(loaded: LoadedModel, query: bytes, options: Options) -> tuple[bytes, int]:
    """The JSON answer to one query, and the nanoseconds that the model took for it."""
    if options is NO_OPTIONS and loaded.comparer is None:
        tally = None if loaded.counts is None else loaded.counts.tally
        started = perf_counter_ns()
        return loaded.writer.write(query, tally), perf_counter_ns() - started
    started = perf_counter_ns()
    answer = loaded.model.score(query, **_kernel_options(loaded, options))
    taken = perf_counter_ns() - started
    if loaded.counts is not None and options.min_score is None:
        loaded.counts.tally.add(answer, options.max_labels is None or options.topics_only)
    if loaded.comparer is not None and _comparable(options):
        loaded.comparer.one(query, answer, taken)
    labels = _chosen(loaded, answer, options)
    if options.explain:
        started = perf_counter_ns()
        content = _explained(loaded, query, labels, answer.truncated)
        taken += perf_counter_ns() - started
        return encode(content | {"model": loaded.model.id}), taken
    return _write_one(loaded, labels, answer.truncated), taken


def answer_batch(loaded: LoadedModel, queries: list[bytes], options: Options) -> tuple[bytes, int]:
    """The JSON answers to many queries in order, and the nanoseconds that the model took."""
    started = perf_counter_ns()
    answers = loaded.model.score_batch(queries, **_kernel_options(loaded, options))
    taken = perf_counter_ns() - started
    if loaded.counts is not None and options.min_score is None:
        whole = options.max_labels is None or options.topics_only
        for answer in answers:
            loaded.counts.tally.add(answer, whole)
    if loaded.comparer is not None and _comparable(options):
        loaded.comparer.many(queries, answers, taken)
    if options.explain:
        started = perf_counter_ns()
        results = [
            _explained(loaded, query, _chosen(loaded, answer, options), answer.truncated)
            for query, answer in zip(queries, answers, strict=True)
        ]
        taken += perf_counter_ns() - started
        return encode({"results": results, "model": loaded.model.id}), taken
    parts = [
        f'{{"topics":[{_write(loaded, _chosen(loaded, answer, options))}],'
        f'"truncated":{"true" if answer.truncated else "false"}}}'
        for answer in answers
    ]
    return f'{{"results":[{",".join(parts)}],"model":"{loaded.model.id}"}}'.encode("ascii"), taken


def _kernel_options(loaded: LoadedModel, options: Options) -> dict[str, Any]:
    if options.min_score is None and options.max_labels is None:
        return {}
    limit = None if options.topics_only else options.max_labels
    if limit is not None:
        # Any larger number means the same, and the kernel's integers are small.
        limit = min(limit, len(loaded.openings))
    return {"min_score": options.min_score, "max_labels": limit}


def _comparable(options: Options) -> bool:
    # Else the answers are not those of the models' own thresholds, or not whole.
    return options.min_score is None and (options.max_labels is None or options.topics_only)


def _chosen(loaded: LoadedModel, answer: Answer, options: Options) -> list[EmittedLabel]:
    if not options.topics_only:
        return answer
    topics = [label for label in answer if label.code in loaded.topics]
    return topics if options.max_labels is None else topics[: options.max_labels]


def _write_one(loaded: LoadedModel, labels: list[EmittedLabel], truncated: bool) -> bytes:
    return f"{START}{_write(loaded, labels)}{loaded.endings[truncated]}".encode("ascii")


def _write(loaded: LoadedModel, labels: list[EmittedLabel]) -> str:
    openings = loaded.openings
    return ",".join(["%s%.4f}" % (openings[label.code], label.score) for label in labels])  # noqa: UP031


def _explained(
    loaded: LoadedModel, query: bytes, labels: list[EmittedLabel], truncated: bool
) -> dict[str, Any]:
    explanations = loaded.model.explain(query, [label.code for label in labels])
    topics = [
        {
            "code": label.code,
            "name": label.name,
            "score": round(label.score, 4),
            "explanation": _explanation(loaded, explanation),
        }
        for label, explanation in zip(labels, explanations, strict=True)
    ]
    return {"topics": topics, "truncated": truncated}


def _explanation(loaded: LoadedModel, explanation: Explanation) -> dict[str, Any]:
    threshold = explanation.threshold
    place = loaded.model.taxonomy.index_of(explanation.code)
    return {
        "logit": round(explanation.logit, 4),
        "context_logit": round(explanation.context_logit, 4),
        # A label that is never emitted has an infinite threshold, which JSON does not have.
        "threshold": round(threshold, 4) if abs(threshold) < float("inf") else None,
        "threshold_score": score_at(loaded.model.artifact, place, threshold),
        "bias": round(explanation.bias, 4),
        "shares": [
            {"text": x.text, "share": round(x.share, 4)} for x in explanation.shares[:SHARES]
        ],
        "context": [{"kind": x.text, "share": round(x.share, 4)} for x in explanation.context],
        "unknown": list(explanation.unknown),
    }
