"""What the client makes of the service's JSON; nothing of it is taken on trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class AnswerError(Exception):
    """An answer is not the service's; the message names the place in it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A label that a query is about; ``score`` is a probability."""

    code: str
    name: str
    score: float
    explanation: Mapping[str, Any] | None = None
    """Where it was asked for: logit, threshold, bias, shares and context, as the service tells."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The answer to one query, best first."""

    topics: tuple[Topic, ...]
    truncated: bool
    """Only the first tokens of the query were scored."""
    model: str
    """The id of the artifact that gave the answer."""
    request_id: str


def one(answer: dict[str, Any], request_id: str) -> Topics:
    """The answer to one query; raises ``AnswerError``."""
    return _topics(answer, "", member(answer, "model", str), request_id)


def many(answer: dict[str, Any], queries: int, request_id: str) -> list[Topics]:
    """The answers to a batch of so many queries, in order; raises ``AnswerError``."""
    results = member(answer, "results", list)
    if len(results) != queries:
        raise AnswerError(f"results has {len(results)} entries for {queries} queries")
    model = member(answer, "model", str)
    return [
        _topics(result, f"results[{number}]", model, request_id)
        for number, result in enumerate(results)
    ]


def member(content: Any, name: str, kind: type, place: str = "") -> Any:
    """The member of an object at ``place``; raises ``AnswerError`` where it is of another type."""
    if not isinstance(content, dict):
        raise AnswerError(f"{place} is not an object")
    full = f"{place}.{name}" if place else name
    if name not in content:
        raise AnswerError(f"{full} is missing")
    value = content[name]
    # A boolean is a number to Python.
    if not isinstance(value, (int, float) if kind is float else kind) or (
        isinstance(value, bool) and kind is not bool
    ):
        raise AnswerError(f"{full} is not {_KINDS[kind]}")
    return value


_KINDS = {
    str: "a string",
    float: "a number",
    bool: "true or false",
    list: "an array",
    dict: "an object",
}


def _topics(result: Any, place: str, model: str, request_id: str) -> Topics:
    prefix = f"{place}." if place else ""
    topics = tuple(
        _topic(topic, f"{prefix}topics[{number}]")
        for number, topic in enumerate(member(result, "topics", list, place))
    )
    return Topics(topics, member(result, "truncated", bool, place), model, request_id)


def _topic(content: Any, place: str) -> Topic:
    return Topic(
        member(content, "code", str, place),
        member(content, "name", str, place),
        member(content, "score", float, place),
        member(content, "explanation", dict, place) if "explanation" in content else None,
    )
