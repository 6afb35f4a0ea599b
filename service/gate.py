"""What every request passes before and after Falcon: ids, tokens, bounds, counts, the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from time import perf_counter_ns
from typing import Any, Protocol

from service.environ import KERNEL_NS, LOADED, REQUEST_ID
from service.live import LiveModel
from service.problems import PROBLEM_JSON, document
from service.request_id import RequestIds, traceparent
from service.request_meter import RequestMeter
from service.slots import Slots
from service.tokens import Tokens

HEALTH = frozenset({"/healthz", "/readyz"})

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Log(Protocol):
    """Writes down requests that were answered."""

    def answered(
        self, environ: dict[str, Any], status: str, nanoseconds: int, kernel: int | None
    ) -> None:
        """Tells of an answer; ``status`` has three digits."""


class Gate:
    """The WSGI application around Falcon's.

    This is no Falcon middleware, because that costs each request several microseconds.
    """

    def __init__(
        self,
        app: WsgiApp,
        live: LiveModel,
        in_flight: int,
        meter: RequestMeter | None = None,
        tokens: Tokens | None = None,
        log: Log | None = None,
    ):
        self._app = app
        self._live = live
        self._slots = Slots(in_flight)
        self._meter = meter
        self._tokens = tokens
        self._log = log
        self._request_id = RequestIds().of

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answers a request; the model that is live now stays the one of this request."""
        started = perf_counter_ns()
        loaded = environ[LOADED] = self._live.current
        request_id = environ[REQUEST_ID] = self._request_id(environ)
        code = "500"

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal code
            code = status[:3]
            headers += (
                loaded.header,
                ("x-request-id", request_id),
                ("x-content-type-options", "nosniff"),
            )
            if "HTTP_TRACEPARENT" in environ and (trace := traceparent(environ)) is not None:
                headers.append(("traceparent", trace))
            return start_response(status, headers, exc_info)

        try:
            if environ["PATH_INFO"] in HEALTH:
                return self._app(environ, start)
            if self._tokens is not None and not self._tokens.allow(
                environ.get("HTTP_AUTHORIZATION")
            ):
                return self._refuse(
                    start,
                    request_id,
                    HTTPStatus.UNAUTHORIZED,
                    "token",
                    "The request needs a bearer token that is valid here.",
                    ("www-authenticate", "Bearer"),
                )
            if not self._slots.take():
                return self._refuse(
                    start,
                    request_id,
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "overload",
                    "The server has as many requests under way as it takes.",
                    ("retry-after", "1"),
                )
            try:
                return self._app(environ, start)
            finally:
                self._slots.give()
        finally:
            taken = perf_counter_ns() - started
            kernel = environ.get(KERNEL_NS)
            if self._meter is not None:
                self._meter.request(
                    environ["PATH_INFO"], environ["REQUEST_METHOD"], code, taken, kernel
                )
            if self._log is not None:
                self._log.answered(environ, code, taken, kernel)

    def _refuse(
        self,
        start: Callable[..., Any],
        request_id: str,
        status: HTTPStatus,
        reason: str,
        detail: str,
        header: tuple[str, str],
    ) -> Iterable[bytes]:
        if self._meter is not None:
            self._meter.rejected(reason)
        body = document(status, detail, request_id=request_id)
        start(
            f"{status.value} {status.phrase}",
            [
                ("content-type", PROBLEM_JSON),
                ("content-length", str(len(body))),
                ("cache-control", "no-store"),
                header,
            ],
        )
        return [body]
