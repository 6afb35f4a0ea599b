"""The id of a request: the caller's, if it is one, else a new one."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import Any

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)
_FIELDS = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)
_LENGTH = 55
"""Of the fields of version 00, with their dashes."""


class RequestIds:
    """Makes ids that no other process makes: make one object in each."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    def of(self, environ: dict[str, Any]) -> str:
        """``X-Request-Id`` where it is well-formed, else the trace's id, else a new id."""
        given = environ.get("HTTP_X_REQUEST_ID")
        if given is not None and _ID.fullmatch(given):
            return str(given)
        trace = traceparent(environ)
        if trace is not None:
            return trace[3:35]
        return f"{self._prefix}-{next(self._numbers):x}"


def traceparent(environ: dict[str, Any]) -> str | None:
    """The header of W3C Trace Context, level 1, where it is well-formed.

    Of a version above 00 it is what the standard makes of it (3.2.4, "Versioning of traceparent"):
    trace, parent and the flag ``sampled`` as version 00, whatever fields come after them.
    """
    text = environ.get("HTTP_TRACEPARENT")
    if text is None or not _FIELDS.match(text):
        return None
    if text.startswith("00"):
        return str(text) if len(text) == _LENGTH else None
    if text[_LENGTH : _LENGTH + 1] not in ("", "-"):
        return None
    sampled = int(text[_LENGTH - 1], 16) & 1
    return f"00{text[2 : _LENGTH - 2]}0{sampled}"
