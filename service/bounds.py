"""Bounds on what a worker does at a time besides answering; beyond them the answer is a 503."""

from __future__ import annotations

from http import HTTPStatus

from service.problems import Problem
from service.request_meter import RequestMeter
from service.settings import Settings
from service.slots import Slots

EXPLANATIONS = 2


class Bound:
    """A context that so many threads may be in; raises ``Problem`` for more."""

    def __init__(self, number: int, reason: str, detail: str, meter: RequestMeter | None):
        self._slots = Slots(number)
        self._reason = reason
        self._detail = detail
        self._meter = meter

    def __enter__(self) -> None:
        if not self._slots.take():
            if self._meter is not None:
                self._meter.rejected(self._reason)
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, self._detail, headers={"retry-after": "1"}
            )

    def __exit__(self, *_: object) -> None:
        self._slots.give()


class Bounds:
    """The bounds of a worker."""

    def __init__(self, settings: Settings, meter: RequestMeter | None):
        # A body that comes slowly holds its thread, and the server sets it no time limit.
        self.bodies = Bound(
            settings.max_bodies, "bodies", "The server is reading all the bodies it can.", meter
        )
        # An explanation takes a thousand times as long as an answer, and others wait for it.
        self.explanations = Bound(
            EXPLANATIONS, "explanations", "The server is making all explanations it can.", meter
        )
