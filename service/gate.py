"""What every request passes before and after Falcon: ids, tokens, bounds, counts, the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from time import perf_counter_ns
from typing import Any, Protocol

from service.answers import answer_one
from service.environ import KERNEL_NS, LOADED, QUERY, REQUEST_ID
from service.live import LiveModel, LoadedModel
from service.page import PATHS
from service.problems import PROBLEM_JSON, Problem, document, status_line
from service.request_id import RequestIds, traceparent
from service.request_meter import RequestMeter
from service.score_request import from_query_string
from service.settings import Settings
from service.slots import Slots
from service.tokens import Tokens
from service.unread import Unread, has_body

TOPICS = "/v1/topics"
JSON_TYPE = ("content-type", "application/json")
PAGE_HEADERS = (
    (
        "content-security-policy",
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
)
"""What a page for people gets, unless it has its own: nothing comes in from elsewhere."""
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
        settings: Settings,
        meter: RequestMeter | None = None,
        tokens: Tokens | None = None,
        log: Log | None = None,
        unread: Unread | None = None,
    ):
        self._app = app
        self._live = live
        self._settings = settings
        self._slots = Slots(settings.max_in_flight)
        self._meter = meter
        self._tokens = tokens
        self._log = log
        self._unread = Unread(settings, None) if unread is None else unread
        self._request_id = RequestIds().of

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answers a request; the model that is live now stays the one of this request."""
        started = perf_counter_ns()
        loaded = self._live.current
        request_id = environ[REQUEST_ID] = self._request_id(environ)
        if loaded.second is not None:
            loaded = loaded.second.choose(loaded, environ, request_id)
        environ[LOADED] = loaded
        method = environ["REQUEST_METHOD"]
        if (
            environ["PATH_INFO"] == TOPICS
            and (method == "GET" or method == "HEAD")
            and not has_body(environ)
            and _has_one_host(environ)
        ):
            body = self._quick(environ, loaded)
            if body is not None:
                headers = [
                    JSON_TYPE,
                    ("content-length", str(len(body))),
                    loaded.header,
                    ("x-request-id", request_id),
                ]
                if "HTTP_TRACEPARENT" in environ and (trace := traceparent(environ)) is not None:
                    headers.append(("traceparent", trace))
                start_response("200 OK", headers)
                self._count(environ, "200", started)
                return [body] if method == "GET" else []
        return self._pass_on(environ, start_response, started)

    def _quick(self, environ: dict[str, Any], loaded: LoadedModel) -> bytes | None:
        # Most requests by far: answered here they take half the time that they take in Falcon,
        # which answers all that is at fault or out of the ordinary.
        if self._tokens is not None and not self._tokens.allow(environ.get("HTTP_AUTHORIZATION")):
            return None
        try:
            query, options = from_query_string(environ["QUERY_STRING"], self._settings)
        except Problem:
            return None
        if options.explain or not self._slots.take():
            return None
        environ[QUERY] = query
        try:
            body, environ[KERNEL_NS] = answer_one(loaded, query, options)
        except Exception:
            return None
        finally:
            self._slots.give()
        return body

    def _pass_on(
        self, environ: dict[str, Any], start_response: Callable[..., Any], started: int
    ) -> Iterable[bytes]:
        request_id, loaded = environ[REQUEST_ID], environ[LOADED]
        code = "500"

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal code
            if (
                environ["REQUEST_METHOD"] == "OPTIONS"
                and status.startswith("200")
                and ("content-length", "0") in headers
            ):
                # Falcon gives it the content type of the other answers.
                status = "204 No Content"
                headers = [one for one in headers if not one[0].startswith("content-")]
            code = status[:3]
            headers += (
                loaded.header,
                ("x-request-id", request_id),
                ("x-content-type-options", "nosniff"),
            )
            given = dict(headers)
            if given.get("content-type", "").startswith("text/html"):
                headers.extend(one for one in PAGE_HEADERS if one[0] not in given)
            if (trace := traceparent(environ)) is not None:
                headers.append(("traceparent", trace))
            if "connection" not in given and has_body(environ) and not self._unread.finish(environ):
                headers.append(("connection", "close"))
            return start_response(status, headers, exc_info)

        try:
            if (fault := _fault(environ)) is not None:
                close = ("connection", "close")
                return self._refuse(start, request_id, HTTPStatus.BAD_REQUEST, None, fault, close)
            if environ["PATH_INFO"] in HEALTH:
                return self._app(environ, start)
            if (
                self._tokens is not None
                and environ["PATH_INFO"] not in PATHS
                and not self._tokens.allow(environ.get("HTTP_AUTHORIZATION"))
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
            self._count(environ, code, started)

    def _count(self, environ: dict[str, Any], code: str, started: int) -> None:
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
        reason: str | None,
        detail: str,
        header: tuple[str, str],
    ) -> Iterable[bytes]:
        if self._meter is not None and reason is not None:
            self._meter.rejected(reason)
        body = document(status, detail, request_id=request_id)
        start(
            status_line(status),
            [
                ("content-type", PROBLEM_JSON),
                ("content-length", str(len(body))),
                ("cache-control", "no-store"),
                header,
            ],
        )
        return [body]


def _fault(environ: dict[str, Any]) -> str | None:
    # What servers let pass in a request's head that they should refuse; Granian takes a target that
    # is an authority for one with an empty path.
    if environ["PATH_INFO"][:1] not in ("/", "*"):
        return "The target of the request is not a path."
    return None if _has_one_host(environ) else "The request needs one header Host."


def _has_one_host(environ: dict[str, Any]) -> bool:
    # RFC 9112, 3.2, which Granian leaves to the application: several are joined by commas, and
    # where there is none an empty one is given.
    host = environ.get("HTTP_HOST")
    return "," not in host if host else environ["SERVER_PROTOCOL"] in ("HTTP/1", "HTTP/1.0")
