"""Reads a JSON object from a request body that may be anything."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import falcon

from service.environ import BODY_READ
from service.problems import Problem

JSON = "application/json"
MAX_NESTING = 64


def read(req: falcon.Request, limit: int) -> bytes:
    """At most ``limit`` bytes of a body that says it is JSON; raises ``Problem``."""
    _check_headers(req)
    return _read(req, limit)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; raises ``Problem``."""
    content = _parse(body)
    if not isinstance(content, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not a JSON object.")
    return content


def _check_headers(req: falcon.Request) -> None:
    if req.env.get("CONTENT_TYPE") == JSON and "HTTP_CONTENT_ENCODING" not in req.env:
        return
    kind, *parameters = (part.strip().lower() for part in (req.content_type or "").split(";"))
    charset = [part for part in parameters if part.startswith("charset=")]
    utf8 = all(part[8:].strip('"') in ("utf-8", "utf8") for part in charset)
    if kind != JSON or not utf8:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body must be {JSON} in UTF-8.")
    if req.env.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() not in ("", "identity"):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed.")


def _read(req: falcon.Request, limit: int) -> bytes:
    coding = req.env.get("HTTP_TRANSFER_ENCODING")
    if coding is not None and coding.strip().lower() != "chunked":
        # Servers take the chunks apart and leave any other coding in the body.
        raise Problem(HTTPStatus.NOT_IMPLEMENTED, "The only transfer coding known is chunked.")
    chunked = coding is not None
    length = None if chunked else req.content_length
    if length is None and not req.env.get("wsgi.input_terminated"):
        # Such a server does not tell where the body ends: a read could wait for ever.
        if chunked:
            raise Problem(HTTPStatus.LENGTH_REQUIRED, "The body needs a Content-Length.")
        return b""
    if length is not None and length > limit:
        raise _too_large(limit)
    missing = limit + 1 if length is None else length
    parts = []
    try:
        # req.stream, because Falcon's bounded_stream takes a chunked body for an empty one.
        while missing > 0 and (part := req.stream.read(missing)):
            parts.append(part)
            missing -= len(part)
    except OSError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body ended early.") from error
    except Exception as error:
        # Each server has its own for chunks that are none.
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not framed as HTTP has it.") from error
    if length is not None and missing > 0:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is shorter than its Content-Length.")
    body = b"".join(parts)
    if len(body) > limit:
        raise _too_large(limit)
    req.env[BODY_READ] = True
    return body


def _too_large(limit: int) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {limit} bytes.")


def _parse(body: bytes) -> Any:
    if not body:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is empty; it must be a JSON object.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"The body is not UTF-8 at byte {error.start}."
        ) from error
    if text.startswith("\ufeff"):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body starts with a byte order mark.")
    if _nested_deeply(text):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is nested too deeply.")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
        ) from error
    except ValueError as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "The body is not JSON: a number is no JSON number or too long."
        ) from error


def _nested_deeply(text: str) -> bool:
    # The decoder recurses on the C stack, and Python's own limit on that is, in some versions,
    # more than the small stack of a server's thread holds.
    if text.count("[") + text.count("{") <= MAX_NESTING:
        return False
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    return outside.count("[") + outside.count("{") > MAX_NESTING


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        raise Problem(HTTPStatus.BAD_REQUEST, "This field is given twice.", name[:64])
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
