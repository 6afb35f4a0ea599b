"""What a comparison of two artifacts tells, and whether it speaks for promoting the second.

Pure: it needs neither the service nor its packages, only the JSON of ``GET /v1/comparison``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from topiccore import TopiccoreError

Z = 1.959963984540054
"""The normal quantile of intervals of 95 %."""


class ComparisonError(TopiccoreError):
    """A comparison is not as ``GET /v1/comparison`` gives it; the message names the field."""


class Decision(Enum):
    """What to do with the candidate."""

    PROMOTE = "promote"
    WAIT = "wait"
    """More queries have to be compared before one can tell."""
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate may be like; shares from 0 to 1, ``None`` for no limit."""

    min_compared: int = 1000
    """Queries compared, at least."""
    max_differing: float | None = 0.05
    """Share of the queries for which other labels are emitted."""
    max_differing_best: float | None = None
    """Share of the queries of which the best topic is another."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and what led to it, a sentence each."""

    decision: Decision
    reasons: tuple[str, ...]


def wilson(count: int, of: int, z: float = Z) -> tuple[float, float]:
    """The ends of Wilson's score interval for a share, in [0, 1] (Wilson 1927).

    ``count`` of ``of`` were found, ``z`` is the normal quantile.  (0, 1) where ``of`` is 0.
    """
    if of == 0:
        return 0.0, 1.0
    share, spread = count / of, z * z / of
    middle = share + spread / 2
    half = z * math.sqrt((share * (1 - share) + spread / 4) / of)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    # Rounding alone would leave the ends a hair off where they are exact.
    return (0.0 if count == 0 else low), (1.0 if count == of else high)


def rate(count: int, of: int) -> dict[str, Any]:
    """A count with its share and the interval, as the JSON has them; no share of nothing."""
    low, high = wilson(count, of)
    return {
        "count": count,
        "share": round(count / of, 6) if of else None,
        "low": round(low, 6),
        "high": round(high, 6),
    }


def verdict(
    comparison: Mapping[str, Any],
    limits: Limits = Limits(),
    *,
    candidate: str | None = None,
    stable: str | None = None,
) -> Verdict:
    """Whether a candidate may be promoted.

    A share holds its limit when all of its interval does, and breaks it when none of it does;
    between the two, and below ``min_compared``, the decision is to wait.

    Args:
        comparison: the content of ``GET /v1/comparison``.
        limits: what is allowed.
        candidate: the id of the artifact that is to be promoted; another is rejected.
        stable: the id of the artifact that it is to replace; ``None``: any.

    Raises ``ComparisonError`` for what is no such content.
    """
    for role, wanted in (("candidate", candidate), ("stable", stable)):
        found = _field(comparison, role, (str, type(None)))
        if wanted is not None and found != wanted:
            told = "none" if found is None else found[:12]
            return Verdict(Decision.REJECT, (f"the {role} is {told}, not {wanted[:12]}",))
    if comparison["candidate"] is None:
        return Verdict(Decision.WAIT, ("there is no candidate",))
    compared = _count(comparison, "compared")
    failures = _count(comparison, "failures")
    if failures:
        return Verdict(Decision.REJECT, (f"{failures} queries could not be compared",))
    decisions, reasons = [Decision.PROMOTE], []
    if compared < limits.min_compared:
        decisions.append(Decision.WAIT)
        reasons.append(f"{compared} queries are compared, not {limits.min_compared}")
    for name, text, limit in (
        ("differing", "emit other labels", limits.max_differing),
        ("differing_best", "have another best topic", limits.max_differing_best),
    ):
        if limit is None:
            continue
        count = _count(_field(comparison, name, (Mapping,)), "count", f"{name}.")
        if count > compared:
            raise ComparisonError(f"{name}.count is {count}, of {compared}")
        low, high = wilson(count, compared)
        # A few queries say little, but what they say may be clear.
        decision = (
            Decision.PROMOTE if high <= limit else Decision.REJECT if low > limit else Decision.WAIT
        )
        decisions.append(decision)
        reasons.append(
            f"{count} of {compared} queries {text}: {low:.2%} to {high:.2%}, limit {limit:.2%}"
        )
    worst = next(
        one for one in (Decision.REJECT, Decision.WAIT, Decision.PROMOTE) if one in decisions
    )
    return Verdict(worst, tuple(reasons))


def _field(content: Mapping[str, Any], name: str, kinds: tuple[type, ...], at: str = "") -> Any:
    value = content.get(name, ...)
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ComparisonError(f"{at}{name} is missing or of another type")
    return value


def _count(content: Mapping[str, Any], name: str, at: str = "") -> int:
    value: int = _field(content, name, (int,), at)
    if value < 0:
        raise ComparisonError(f"{at}{name} is below 0")
    return value
