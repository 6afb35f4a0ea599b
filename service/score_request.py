"""What a client asks, from the query string or from a JSON body, with every field checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import falcon

from service.body import read_object
from service.problems import Problem
from service.settings import Settings

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One query in UTF-8; ``None`` stands for the model's own thresholds and for all labels."""

    query: bytes
    min_score: float | None
    max_labels: int | None


def from_query_string(req: falcon.Request, settings: Settings) -> ScoreRequest:
    """Reads ``q``, ``min_score`` and ``max_labels``; raises ``Problem``."""
    _check_encoding(req.query_string)
    _check_names(req.params, {"q", "min_score", "max_labels"})
    given = {name: _single(name, value) for name, value in req.params.items()}
    if "q" not in given:
        raise _bad("The parameter q is missing.", "q")
    min_score = given.get("min_score")
    if min_score is not None and not _NUMBER.fullmatch(min_score):
        raise _bad("min_score is not a number.", "min_score")
    max_labels = given.get("max_labels")
    if max_labels is not None and not _INTEGER.fullmatch(max_labels):
        raise _bad("max_labels is not an integer of at most 18 digits.", "max_labels")
    return ScoreRequest(
        _query(given["q"], "q", settings),
        None if min_score is None else _min_score(float(min_score)),
        None if max_labels is None else _max_labels(int(max_labels)),
    )


def from_body(req: falcon.Request, settings: Settings) -> ScoreRequest:
    """Reads ``query``, ``min_score`` and ``max_labels`` from JSON; raises ``Problem``."""
    if req.query_string:
        raise _bad("A POST takes its parameters from the body, not from the URL.")
    content = read_object(req, settings.max_body_bytes)
    _check_names(content, {"query", "min_score", "max_labels"})
    if "query" not in content:
        raise _bad("The field query is missing.", "query")
    query = content["query"]
    if not isinstance(query, str):
        raise _bad("query is not a string.", "query")
    min_score = content.get("min_score", 0.0)
    # bool is a kind of int in Python, not in JSON.
    if isinstance(min_score, bool) or not isinstance(min_score, (int, float)):
        raise _bad("min_score is not a number.", "min_score")
    max_labels = content.get("max_labels", 0)
    if isinstance(max_labels, bool) or not isinstance(max_labels, int):
        raise _bad("max_labels is not an integer.", "max_labels")
    return ScoreRequest(
        _query(query, "query", settings),
        _min_score(min_score) if "min_score" in content else None,
        _max_labels(max_labels) if "max_labels" in content else None,
    )


def _check_encoding(query_string: str) -> None:
    # Falcon decodes leniently; what it would have to guess is refused here.
    if query_string.isascii() and "%" not in query_string:
        return
    for pair in query_string.split("&"):
        name, _, value = pair.partition("=")
        _check_decodes("A parameter's name", name, None)
        _check_decodes("The value", value, name[:64])


def _check_decodes(what: str, text: str, field: str | None) -> None:
    if not text.isascii():
        raise _bad(f"{what} has characters that are not percent-encoded.", field)
    if _BROKEN_ESCAPE.search(text):
        raise _bad(f"{what} has a % that two hexadecimal digits do not follow.", field)
    try:
        unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"{what}, percent-decoded, is not UTF-8.", field) from error


def _check_names(given: Iterable[str], known: set[str]) -> None:
    for name in given:
        if name not in known:
            raise _bad(f"Unknown; known here: {', '.join(sorted(known))}.", name[:64])


def _single(name: str, value: str | list[str]) -> str:
    if not isinstance(value, str):
        raise _bad("This parameter is given twice.", name)
    return value


def _query(text: str, field: str, settings: Settings) -> bytes:
    try:
        query = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _bad("The query has half of a surrogate pair.", field) from error
    if len(query) > settings.max_query_bytes:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The query has more than {settings.max_query_bytes} bytes of UTF-8.",
            field,
        )
    return query


def _min_score(value: Any) -> float:
    if not 0 <= value <= 1:
        raise _bad("min_score is not between 0 and 1.", "min_score")
    return float(value)


def _max_labels(value: int) -> int:
    if value < 0:
        raise _bad("max_labels is below 0.", "max_labels")
    return value


def _bad(detail: str, field: str | None = None) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail, field)
