"""Answers as JSON."""

from __future__ import annotations

import json
from typing import Any

# ASCII with escapes: a name with a lone surrogate cannot break an answer.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


def encode(content: Any) -> bytes:
    """Compact JSON; raises ``ValueError`` for NaN and infinity, which JSON does not have."""
    return _encode(content).encode("ascii")
