"""The id of a request: the caller's, if it is one, else a new one."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import Any

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)


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
    """The header of W3C Trace Context, level 1, where it is well-formed."""
    text = environ.get("HTTP_TRACEPARENT")
    if text is None or not _TRACEPARENT.fullmatch(text):
        return None
    return str(text)
