"""How deep JSON is nested, found without recursion: what reads it later has a stack to lose."""

from __future__ import annotations

import numpy as np

from batch.errors import BatchError

DEEPEST = 500
"""Values in lists and objects, so many within each other, are read."""
_STRUCTURE = b'[]{}"\n'
_OTHERS = bytes(byte for byte in range(256) if byte not in _STRUCTURE)
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def check_depth(data: bytes, number: int) -> None:
    """Raises ``BatchError`` with the first line that is nested too deep.

    ``data`` begins in the line ``number``.
    """
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
    structure = unescaped.translate(None, _OTHERS)
    marks = np.frombuffer(structure, np.uint8)
    outside = np.cumsum(marks == ord('"'), dtype=np.uint8) % 2 == 0
    depth = np.cumsum(_STEPS[marks] * outside, dtype=np.int32)
    if depth.max() > DEEPEST:
        line = number + structure.count(b"\n", 0, int(np.argmax(depth > DEEPEST)))
        raise BatchError(f"line {line}: nested deeper than {DEEPEST}")
