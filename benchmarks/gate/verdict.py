"""What the times of a measure say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.timing import Interval, median_ratio


@dataclass(frozen=True)
class Bounds:
    """The largest ratio to the base, and the largest seconds of anything a request waits for."""

    ratio: float
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """Seconds per query (medians of the rounds); ``base`` and ``ratio`` only where there is one."""

    measure: str
    head: float
    base: float | None
    ratio: Interval | None
    text: str
    failed: bool


def judge(
    measure: str,
    times: Mapping[str, Sequence[Sequence[float]]],
    head: str,
    bounds: Bounds,
    per_request: bool = True,
) -> Verdict:
    """Judges a measure by the seconds of both sides, [launches, rounds] under each side's name.

    ``per_request``: whether the absolute bound holds for it.
    """
    ours = np.array(times[head])
    others = [np.array(seconds) for side, seconds in times.items() if side != head]
    now = float(np.median(ours))
    if per_request and now > bounds.seconds:
        return Verdict(measure, now, None, None, "FAILED: above the absolute bound", True)
    if not others:
        return Verdict(measure, now, None, None, "no base", False)
    [theirs] = others
    ratio = median_ratio(ours, theirs)
    base = float(np.median(theirs))
    if ratio.value > bounds.ratio and ratio.low > 1:
        return Verdict(measure, now, base, ratio, "FAILED: slower", True)
    if ratio.value > bounds.ratio:
        text = "may be slower, too noisy to tell"
    elif ratio.low > 1:
        text = "slower, within the limit"
    elif ratio.high < 1:
        text = "faster"
    else:
        text = "same"
    return Verdict(measure, now, base, ratio, text, False)
