"""A second artifact that answers a share of the requests, or is compared on them in the shadow."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Any

from service import comparison_counts
from service.comparer import Comparer
from service.comparison_counts import ComparisonCounts
from service.live import LoadedModel

CANARY, SHADOW = "canary", "shadow"
HEADER = "HTTP_X_TOPICCORE_CANARY"
_PATHS = frozenset({"/v1/topics", "/v1/topics:batch"})
_ALL = 1 << 32


class Candidate:
    """The candidate beside the stable artifact.

    Args:
        stable: what answers, without a candidate.
        loaded: the candidate.
        mode: ``CANARY`` or ``SHADOW``.
        share: of the requests, from 0 to 1, that the canary answers or the shadow is compared on.
        counts: where comparisons are counted.
    """

    def __init__(
        self,
        stable: LoadedModel,
        loaded: LoadedModel,
        mode: str,
        share: float,
        counts: ComparisonCounts,
    ):
        self._stable = stable
        self._loaded = loaded
        self._mode = mode
        self._share = share
        self._counts = counts
        self._bound = round(share * _ALL)
        if mode == CANARY:
            comparer = Comparer(stable.model, counts, stable_answers=False)
            self._compared = replace(loaded, comparer=comparer)
        else:
            comparer = Comparer(loaded.model, counts, stable_answers=True)
            self._compared = replace(stable, comparer=comparer)

    def choose(self, live: LoadedModel, environ: dict[str, Any], request_id: str) -> LoadedModel:
        """What answers a request, by its id: the same in every process and on every machine."""
        if environ["PATH_INFO"] not in _PATHS:
            return live
        if self._mode == CANARY and (wanted := environ.get(HEADER)) is not None:
            # Not compared: whoever picks the artifact may pick the queries, too.
            if wanted == "always":
                return self._loaded
            if wanted == "never":
                return self._stable
        if self._bound == _ALL or number(request_id) < self._bound:
            return self._compared
        return self._stable

    def comparison(self) -> dict[str, Any]:
        """What ``GET /v1/comparison`` gives."""
        return comparison_counts.content(
            self._counts.totals(),
            self._stable.model,
            self._loaded.model,
            self._mode,
            self._share,
        )


def number(request_id: str) -> int:
    """Of a request the place in [0, 2**32) by which it is chosen: the lowest shares come first.

    The first four bytes of the id's BLAKE2b digest of four bytes, the most significant first.
    """
    return int.from_bytes(blake2b(request_id.encode(), digest_size=4).digest(), "big")
