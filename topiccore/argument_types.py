"""Numbers on a command line, for ``type=`` of argparse: a wrong one is told as wrong usage."""

from __future__ import annotations

import argparse


def share(text: str) -> float:
    """A number from 0 to 1; raises ``ArgumentTypeError``, ``ValueError`` if it is no number."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def natural(text: str) -> int:
    """A whole number from 0 on; raises as ``share`` does."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def positive(text: str) -> int:
    """A whole number from 1 on; raises as ``share`` does."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
