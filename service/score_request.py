"""What a client asks, from the query string or from a JSON body, with every field checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import falcon
import msgspec

from service.body import parse_object, read
from service.problems import Problem
from service.settings import Settings

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_OPTIONS = ("min_score", "max_labels", "topics_only", "explain")
_PARAMETERS = frozenset({"q", *_OPTIONS})
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Options(msgspec.Struct, frozen=True):
    """What is asked for besides the query.

    ``None`` stands for the model's own thresholds and for all labels.
    """

    min_score: float | None = None
    max_labels: int | None = None
    topics_only: bool = False
    explain: bool = False


NO_OPTIONS = Options()


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    min_score: float | msgspec.UnsetType = msgspec.UNSET
    max_labels: int | msgspec.UnsetType = msgspec.UNSET
    topics_only: bool | msgspec.UnsetType = msgspec.UNSET
    explain: bool | msgspec.UnsetType = msgspec.UNSET


class _One(_Fields, kw_only=True):
    query: str


class _Batch(_Fields, kw_only=True):
    queries: list[str]


_decode_one = msgspec.json.Decoder(_One).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode


def from_query_string(text: str, settings: Settings) -> tuple[bytes, Options]:
    """Reads ``q`` and the options; raises ``Problem``."""
    if text.startswith("q=") and "&" not in text:
        return _short_enough(_decoded("The value", text[2:], "q"), settings), NO_OPTIONS
    given: dict[str, str] = {}
    for pair in text.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if name not in _PARAMETERS:
            name = _decoded("A parameter's name", name, None).decode("utf-8")
            _check_name(name, _PARAMETERS)
        if name in given:
            raise _bad("This parameter is given twice.", name)
        given[name] = value
    if "q" not in given:
        raise _bad("The parameter q is missing.", "q")
    query = _short_enough(_decoded("The value", given["q"], "q"), settings)
    if len(given) == 1:
        return query, NO_OPTIONS
    return query, _options_of_texts(
        {name: _decoded("The value", given[name], name).decode("utf-8") for name in given}
    )


def _short_enough(query: bytes, settings: Settings) -> bytes:
    if len(query) > settings.max_query_bytes:
        raise _too_long("q", settings)
    return query


def _options_of_texts(given: dict[str, str]) -> Options:
    min_score, max_labels = given.get("min_score"), given.get("max_labels")
    if min_score is not None and not _NUMBER.fullmatch(min_score):
        raise _bad("min_score is not a number.", "min_score")
    if max_labels is not None and not _INTEGER.fullmatch(max_labels):
        raise _bad("max_labels is not an integer of at most 18 digits.", "max_labels")
    for name in ("topics_only", "explain"):
        if given.get(name, "0") not in _BOOLEANS:
            raise _bad(f"{name} is not true or false.", name)
    return Options(
        None if min_score is None else _min_score(float(min_score)),
        None if max_labels is None else _max_labels(int(max_labels)),
        _BOOLEANS[given.get("topics_only", "0")],
        _BOOLEANS[given.get("explain", "0")],
    )


def from_body(req: falcon.Request, settings: Settings) -> tuple[bytes, Options]:
    """Reads ``query`` and the options from JSON; raises ``Problem``."""
    body = _body(req, settings.max_body_bytes)
    try:
        found = _decode_one(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = None
    if found is not None and body.count(b":") == _given(found):
        options = NO_OPTIONS if body.count(b":") == 1 else _options_of_fields(found)
        return _query(found.query, "query", settings), options
    content = parse_object(body)
    _check_names(content, {"query", *_OPTIONS})
    if "query" not in content:
        raise _bad("The field query is missing.", "query")
    return _query(content["query"], "query", settings), _options_of_values(content)


def from_batch_body(req: falcon.Request, settings: Settings) -> tuple[list[bytes], Options]:
    """Reads ``queries`` and the options from JSON; raises ``Problem``."""
    body = _body(req, settings.max_batch_bytes)
    try:
        found = _decode_batch(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = None
    if found is not None and body.count(b":") == _given(found):
        queries: Any = found.queries
        options = _options_of_fields(found)
    else:
        content = parse_object(body)
        _check_names(content, {"queries", *_OPTIONS})
        if "queries" not in content:
            raise _bad("The field queries is missing.", "queries")
        queries = content["queries"]
        if not isinstance(queries, list):
            raise _bad("queries is not an array.", "queries")
        options = _options_of_values(content)
    most = settings.max_batch_queries
    if len(queries) > most:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"queries has more than {most} queries.", "queries"
        )
    if options.explain and len(queries) > settings.max_explained:
        raise _bad(f"explain is for at most {settings.max_explained} queries.", "explain")
    return [_query(query, f"queries[{i}]", settings) for i, query in enumerate(queries)], options


def _body(req: falcon.Request, limit: int) -> bytes:
    if req.env.get("QUERY_STRING"):
        raise _bad("A POST takes its parameters from the body, not from the URL.")
    return read(req, limit)


def _given(found: _Fields) -> int:
    # As many colons as fields: no field stands there twice, which msgspec would not tell.
    unset = msgspec.UNSET
    return (
        1
        + (found.min_score is not unset)
        + (found.max_labels is not unset)
        + (found.topics_only is not unset)
        + (found.explain is not unset)
    )


def _options_of_fields(found: _Fields) -> Options:
    unset = msgspec.UNSET
    return Options(
        None if found.min_score is unset else _min_score(found.min_score),
        None if found.max_labels is unset else _max_labels(found.max_labels),
        found.topics_only is True,
        found.explain is True,
    )


def _options_of_values(content: dict[str, Any]) -> Options:
    min_score = content.get("min_score", 0.0)
    # bool is a kind of int in Python, not in JSON.
    if isinstance(min_score, bool) or not isinstance(min_score, (int, float)):
        raise _bad("min_score is not a number.", "min_score")
    max_labels = content.get("max_labels", 0)
    # To JSON Schema, 3.0 is an integer.
    if isinstance(max_labels, float) and max_labels.is_integer():
        max_labels = int(max_labels)
    if isinstance(max_labels, bool) or not isinstance(max_labels, int):
        raise _bad("max_labels is not an integer.", "max_labels")
    for name in ("topics_only", "explain"):
        if not isinstance(content.get(name, False), bool):
            raise _bad(f"{name} is not true or false.", name)
    return Options(
        _min_score(min_score) if "min_score" in content else None,
        _max_labels(max_labels) if "max_labels" in content else None,
        content.get("topics_only", False),
        content.get("explain", False),
    )


def _decoded(what: str, text: str, field: str | None) -> bytes:
    if not text.isascii():
        raise _bad(f"{what} has characters that are not percent-encoded.", field)
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text.encode("ascii")
    if _BROKEN_ESCAPE.search(text):
        raise _bad(f"{what} has a % that two hexadecimal digits do not follow.", field)
    found = unquote_to_bytes(text)
    try:
        found.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"{what}, percent-decoded, is not UTF-8.", field) from error
    return found


def _check_names(given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        _check_name(name, known)


def _check_name(name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise _bad(f"Unknown; known here: {', '.join(sorted(known))}.", name[:64])


def _query(text: Any, field: str, settings: Settings) -> bytes:
    if not isinstance(text, str):
        raise _bad(f"{field} is not a string.", field)
    try:
        query = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _bad("The query has half of a surrogate pair.", field) from error
    if len(query) > settings.max_query_bytes:
        raise _too_long(field, settings)
    return query


def _too_long(field: str, settings: Settings) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The query has more than {settings.max_query_bytes} bytes of UTF-8.",
        field,
    )


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
